"""The solver: one call, which chooses the fastest implementation that can solve the problem.

``reference.py`` solves every problem in plain torch and is the code to read. ``fused/`` computes the same numbers in a
few passes over memory, with Numba on a CPU and with Triton on a GPU, for the problems of training and evaluation:
float32 costs, fixed row masses.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from vasot_lib.checks import Count, Positive, check_value
from vasot_lib.errors import InputError
from vasot_lib.transport import reference
from vasot_lib.transport.potentials import Potentials, dual_potentials
from vasot_lib.transport.problem import (
    LARGEST_COST,
    NeedsHost,
    Problem,
    ProblemOptions,
    check_memory,
    host_reads_nothing,
    make_problem,
)
from vasot_lib.transport.reference import Schedule, Scheme, Solution
from vasot_lib.transport.structure import Structure


@dataclass(frozen=True, kw_only=True)
class Plan(Solution):
    """A solved batch. Objective, errors and convergence are measured on the plan itself.

    Attributes:
        matrix: (B, N, M) transport plan, zero on padding; total mass 1 where a side is fixed, or ``total_mass``.
        objective: (B,) J of the plan.
        marginal_error_x: (B,) largest ``|row mass - p| / p``; on a relaxed side it says how far the masses left p, and
            with a total mass by how much they exceed it.
        marginal_error_y: (B,) the same for the columns.
        residual: (B,) mass that the last iteration moved, ``sum |T_k - T_(k-1)|``, before the finishing sweeps.
        iterations: number of linearisations that was asked for; with ``stop_early`` a sample may have had fewer.
        converged: (B,) bool, whether residual and errors of the fixed sides are all within the tolerance.
        problem: what was solved. It keeps the (B, N, M) cost in memory for as long as the plan is kept; where that
            matters, keep ``matrix`` alone.
        trace: (iterations + 1, B) J of the uniform plan and after every iteration; None unless asked for.
    """

    iterations: int
    converged: Tensor
    problem: Problem

    def potentials(self) -> Potentials:
        """The dual potentials f, (B, N), and g, (B, M), in units of the cost; computed anew at every call, in O(NM).

        At a solution ``eps log T_ij = f_i + g_j - G_ij``, with ``G = problem.gradient(matrix)``;
        :mod:`vasot_lib.transport.potentials` says what holds before convergence. The cost must not have been changed.

        >>> cost = torch.tensor([[[0.0, 1.0], [1.0, 2.0]]])  # i + j, so that the plan is uniform, 1/4 everywhere
        >>> f, g = solve(cost, epsilon=0.5).potentials()
        >>> f, g  # 0.5 log(1/4) = -0.69 = f_0 + g_0 - 0 = f_0 + g_1 - 1 = f_1 + g_1 - 2
        (tensor([[-0.1931,  0.8069]]), tensor([[-0.5000,  0.5000]]))
        """
        return dual_potentials(self.problem, self.matrix)


def solve(
    cost: Tensor,
    structure: tuple[Structure, Structure] | None = None,
    *,
    scheme: Scheme = "sinkhorn",
    iterations: int = 25,
    sweeps: int = 1,
    finish: bool = True,
    tolerance: float = 1e-3,
    trace: bool = False,
    stop_early: bool = False,
    **options: Unpack[ProblemOptions],
) -> Plan:
    """Solve a batch of fused Gromov-Wasserstein problems; samples do not influence each other.

    Args:
        cost: (B, N, M) linear cost, the temporal prior included; float32 or float64, on any device (half precision is
            computed in float32). An infinite cost forbids a pair: it gets no mass. No gradient flows through the plan.
        structure: the structural priors of rows and columns, e.g. ``(Near(r), Far(r))``; needed where alpha > 0.
        alpha: weight of the structure term, 0 to 1; the linear cost gets 1 - alpha.
        epsilon: weight of the entropy; larger is softer.
        relax_x: weight of the KL penalty on the row marginal; None makes the marginal a constraint.
        relax_y: the same for the columns (actions, in segmentation).
        mask_x: (B, N) bool, False on padding, which comes last.
        mask_y: (B, M) bool.
        mass_x: (B, N) row masses p, sum 1; uniform over real rows where None.
        mass_y: (B, M) column masses q.
        total_mass: mass of the plan, at most 1, for partial transport: row and column masses are at most p and q, and
            which of them stay below is part of the solution. None for a plan that has all mass.
        scheme: ``sinkhorn`` or ``mirror``, see :mod:`vasot_lib.transport.reference`.
        iterations: number of linearisations.
        sweeps: Sinkhorn sweeps per iteration (not used by ``mirror`` on a relaxed problem).
        finish: balanced problems only: after the last iteration, project the plan onto the marginals by over-relaxed
            sweeps until both are met to ``tolerance``, at most 1000. Without it one sweep per iteration, as published,
            leaves the row masses off by as much as their own size.
        tolerance: the relative marginal error and the moved mass up to which a plan counts as converged.
        trace: also return J at every iteration.
        stop_early: leave out the last iterations of a sample, where they would together move less mass than
            ``tolerance``, estimated from what the two iterations before them moved. On a CPU samples are then solved
            one after another.

    Raises:
        InputError: see :func:`vasot_lib.transport.problem.make_problem`; also an unknown scheme, iterations < 1, and
            a mass beyond the largest float, where both sides are relaxed and costs lie far below 0.

    The first frames of X and Y look alike, and the other two of either side cannot be told apart by their looks. The
    structural prior, here with a window of one frame, sends neighbours to neighbours:

    >>> from vasot_lib.transport import Far, Near
    >>> cost = torch.tensor([[[0.0, 1.0, 1.0], [1.0, 0.5, 0.5], [1.0, 0.5, 0.5]]])
    >>> solve(cost, epsilon=0.2).matrix[0].mul(100).round()  # per cent of the mass
    tensor([[32.,  1.,  1.],
            [ 1., 16., 16.],
            [ 1., 16., 16.]])
    >>> solve(cost, (Near(0.4), Far(0.4)), alpha=0.4, epsilon=0.2).matrix[0].mul(100).round()
    tensor([[30.,  0.,  3.],
            [ 0., 30.,  3.],
            [ 3.,  3., 27.]])
    """
    check_value("scheme", scheme, Scheme)
    check_value("iterations", iterations, Count)
    check_value("sweeps", sweeps, Count)
    check_value("tolerance", tolerance, Positive)
    for name, flag in (("finish", finish), ("trace", trace), ("stop_early", stop_early)):
        check_value(name, flag, bool)
    problem = make_problem(cost, structure, **options)
    schedule = Schedule(scheme, iterations, sweeps, finish, tolerance, trace, stop_early)
    run, buffers = _implementation(problem, schedule)
    check_memory(problem.cost, buffers)
    solution = run(problem, schedule)
    if problem.forbids:  # kernels round exponentials up to the least float
        solution.matrix.masked_fill_(problem.cost == LARGEST_COST, 0.0)
    if problem.relax_x is not None and problem.relax_y is not None and not bool(solution.objective.isfinite().all()):
        raise InputError(
            f"the plan's mass exceeds {problem.cost.dtype}, since both sides are relaxed and the least cost is "
            f"{problem.cost.min().item():g}; raise relax_x or relax_y, or add a constant to the cost"
        )
    converged = solution.residual <= tolerance
    if problem.relax_x is None:
        converged = converged & (solution.marginal_error_x <= tolerance)
    if problem.relax_y is None:
        converged = converged & (solution.marginal_error_y <= tolerance)
    return Plan(**vars(solution), iterations=iterations, converged=converged, problem=problem)


# help() and notebooks show this signature, in which the options of the problem are written out.
_cost, _structure, *_schedule, _ = inspect.signature(solve).parameters.values()
_, _, *_options = inspect.signature(make_problem).parameters.values()
solve.__signature__ = inspect.signature(solve).replace(  # type: ignore[attr-defined]
    parameters=[_cost, _structure, *_options, *_schedule]
)


def _implementation(problem: Problem, schedule: Schedule) -> tuple[Callable[[Problem, Schedule], Solution], int]:
    """The function that solves the problem, and how many arrays of the plan's size it needs beside the cost.

    The numbers for the CPU were measured, that for the GPU is an estimate. ``fused/`` takes float32, fixed row masses,
    no trace, and ``Near`` as the prior of the rows.
    """
    cost = problem.cost
    near = problem.structure is None or problem.structure[0].ones == 0.0
    every_row = problem.relax_x is None and problem.total_mass is None
    if cost.dtype == torch.float32 and near and every_row and not schedule.trace:
        # Imported here: compilers take a while to load, and triton is not installed everywhere.
        if cost.device.type == "cpu":
            from vasot_lib.transport.fused import cpu

            if os.getpid() == cpu.PROCESS:
                return cpu.run, 4 if schedule.stop_early else 3
        elif cost.is_cuda:
            from vasot_lib.transport.fused import gpu

            if gpu.takes(problem, schedule):
                return gpu.run, 4
    if host_reads_nothing():
        raise NeedsHost("this problem is solved by reference.py, which reads from the device")
    return reference.run, reference.BUFFERS
