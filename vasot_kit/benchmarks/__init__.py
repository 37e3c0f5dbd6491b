"""Benchmarks that print ratios within one run: the solver against its peers and its floor, training step by step."""

from vasot_kit.benchmarks.pixels import bench_pixels
from vasot_kit.benchmarks.solver import bench_solver
from vasot_kit.benchmarks.training import bench_training, step_costs

__all__ = ["bench_pixels", "bench_solver", "bench_training", "step_costs"]
