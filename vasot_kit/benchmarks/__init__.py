"""Benchmarks, mostly as ratios within one run: the solver against other solvers, the steps and parts of training."""

from vasot_kit.benchmarks.pixels import bench_pixels
from vasot_kit.benchmarks.solver import bench_solver
from vasot_kit.benchmarks.training import bench_training, step_costs

__all__ = ["bench_pixels", "bench_solver", "bench_training", "step_costs"]
