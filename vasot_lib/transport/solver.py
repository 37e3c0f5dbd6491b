"""The solver: one call, and behind it the fastest path that can take the problem.

``reference.py`` is the path to read, in plain torch, for everything. ``fused/`` gives
the same numbers in few passes over memory for what training and evaluation need: float32, row masses fixed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vasot_lib.checks import Count, check_value
from vasot_lib.transport import reference
from vasot_lib.transport.problem import Problem, check_memory, make_problem
from vasot_lib.transport.reference import Outcome, Schedule, Scheme
from vasot_lib.transport.structure import Structure


@dataclass(frozen=True)
class Plan:
    """A solved batch. All of it is measured, nothing assumed.

    Attributes:
        matrix: (B, N, M) transport plan, zero on padding; total mass 1 where a side is fixed
            (float32 loses mass where epsilon is below about a hundredth of the costs: look at the errors).
        objective: (B,) J of the plan.
        marginal_error_x: (B,) largest ``|row mass - p| / p``; on a relaxed side this is what relaxing it gave.
        marginal_error_y: (B,) the same for the columns.
        residual: (B,) mass that the last iteration moved, ``sum |T_k - T_(k-1)|``, before any finishing sweep.
        iterations: linearisations done.
        converged: (B,) residual and the errors of the fixed sides are all within the tolerance.
        trace: (iterations + 1, B) J from the uniform plan on, before finishing; None unless asked for.
    """

    matrix: Tensor
    objective: Tensor
    marginal_error_x: Tensor
    marginal_error_y: Tensor
    residual: Tensor
    iterations: int
    converged: Tensor
    trace: Tensor | None = None


def solve(
    cost: Tensor,
    structure: tuple[Structure, Structure] | None = None,
    *,
    alpha: float = 0.0,
    epsilon: float = 0.07,
    relax_x: float | None = None,
    relax_y: float | None = None,
    mask_x: Tensor | None = None,
    mask_y: Tensor | None = None,
    mass_x: Tensor | None = None,
    mass_y: Tensor | None = None,
    scheme: Scheme = "sinkhorn",
    iterations: int = 25,
    sweeps: int = 1,
    finish: bool = True,
    tolerance: float = 1e-3,
    trace: bool = False,
) -> Plan:
    """Solve a batch of fused Gromov-Wasserstein problems; samples do not influence each other.

    Args:
        cost: (B, N, M) linear cost, the temporal prior included; float32 or float64, on any device (half precision is
            computed in float32). No gradient flows through the plan.
        structure: the structural priors of rows and columns, e.g. ``(Near(r), Far(r))``; needed where alpha > 0.
        alpha: weight of the structure term, 0 to 1; the linear cost gets 1 - alpha.
        epsilon: weight of the entropy; larger is softer.
        relax_x: weight of the KL penalty on the row marginal; None makes the marginal a constraint.
        relax_y: the same for the columns (actions, in segmentation).
        mask_x: (B, N) bool, False on padding, which comes last.
        mask_y: (B, M) bool.
        mass_x: (B, N) row masses p, sum 1; uniform over real rows where None.
        mass_y: (B, M) column masses q.
        scheme: ``sinkhorn`` or ``mirror``, see ``reference.py``.
        iterations: linearisations.
        sweeps: Sinkhorn sweeps per iteration (not used by ``mirror`` on a relaxed problem).
        finish: balanced problems only: after the last iteration project onto the marginals by further sweeps until
            they are met to ``tolerance``, at most 1000. Without it one sweep per iteration, as published, leaves the
            row masses off by as much as their own size.
        tolerance: relative marginal error and moved mass that count as converged.
        trace: also return J at every iteration.

    Raises:
        InputError: see :func:`vasot_lib.transport.problem.make_problem`; also an unknown scheme, iterations < 1.
    """
    check_value("scheme", scheme, Scheme)
    check_value("iterations", iterations, Count)
    check_value("sweeps", sweeps, Count)
    problem = make_problem(
        cost, structure, alpha=alpha, epsilon=epsilon, relax_x=relax_x, relax_y=relax_y,
        mask_x=mask_x, mask_y=mask_y, mass_x=mass_x, mass_y=mass_y,
    )  # fmt: skip
    schedule = Schedule(scheme, iterations, sweeps, finish, tolerance, trace)
    run, buffers = _path(problem, schedule)
    check_memory(problem.cost, buffers)
    outcome = run(problem, schedule)
    converged = outcome.residual <= tolerance
    if relax_x is None:
        converged = converged & (outcome.error_x <= tolerance)
    if relax_y is None:
        converged = converged & (outcome.error_y <= tolerance)
    return Plan(
        outcome.matrix, outcome.objective, outcome.error_x, outcome.error_y, outcome.residual, iterations, converged,
        outcome.trace,
    )  # fmt: skip


def _path(problem: Problem, schedule: Schedule) -> tuple[Callable[[Problem, Schedule], Outcome], int]:
    """Who solves it, and how many plan-sized arrays that takes beside the cost (measured, but for the GPU).

    The fused paths take float32, fixed row masses, rows structured by neighbours alone (``Near``), and no trace.
    """
    cost = problem.cost
    near = problem.structure is None or problem.structure[0].ones == 0.0
    if cost.dtype == torch.float32 and near and problem.relax_x is None and not schedule.trace:
        # Imported here: compilers take a while to load, and triton is not installed everywhere.
        if cost.device.type == "cpu":
            from vasot_lib.transport.fused import cpu

            if os.getpid() == cpu.PROCESS:
                return cpu.run, 3
        elif cost.is_cuda:
            from vasot_lib.transport.fused import gpu, gpu_graphs

            if gpu.takes(problem, schedule):
                return gpu_graphs.run, 7
    return reference.run, 11
