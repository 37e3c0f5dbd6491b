r"""The two schemes in plain torch: the path that is meant to be read, and that every fused path is tested against.

Both schemes linearise the structure term at the current plan, ``G = (1 - alpha) C + alpha Cx T Cy``, and then move.

``sinkhorn`` [ours]: minimise the linearised problem plus a proximal term ``eps KL(T || T_k)`` by generalised Sinkhorn
sweeps that start from the last potentials u, v. With the kernel ``S = (eps log T_k - G) / (2 eps)`` and
``phi = lambda / (lambda + 2 eps)`` on a relaxed side, 1 on a fixed one, a sweep is

    u <- phi_x (log p - log sum_j exp(v_j + S_ij)),     v <- phi_y (log q - log sum_i exp(u_i + S_ij))

and the plan is ``exp(u_i + v_j + S_ij)``: balanced, semi-relaxed and relaxed transport in one formula. The proximal
term halves the step in log T. Without it the map can cycle between two plans where the structure term, which is not
convex, outweighs the entropy. With it the mass that moves per iteration fell below 2 % in the cases of the tests
(alpha .6, epsilon .04, 100 iterations); it may go on moving a little, and which scheme ends lower depends on the case.

``mirror`` [published]: where a side is relaxed, one explicit mirror-descent step per iteration,
``log T <- log T - step (G + eps log T + lambda log(marginal / uniform))``, then the fixed side is renormalised; the
step is ``4 / max(gradient)`` of the first iteration. Balanced, the published update is a Sinkhorn projection of
``exp(-G / eps)`` that starts afresh each time. Source: SPEC section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vasot_lib.transport.problem import TINY, Problem

Scheme = Literal["mirror", "sinkhorn"]

SWEEPS_BETWEEN_CHECKS = 10
MOST_FINISHING_SWEEPS = 1000


@dataclass(frozen=True)
class Schedule:
    """How long and by which scheme to iterate; see :func:`vasot_lib.transport.solve` for each of them."""

    scheme: Scheme
    iterations: int
    sweeps: int
    finish: bool
    tolerance: float
    trace: bool = False


@dataclass(frozen=True)
class Outcome:
    """What any path hands back: (B, N, M) plan, and (B,) objective, marginal errors and mass moved last."""

    matrix: Tensor
    objective: Tensor
    error_x: Tensor
    error_y: Tensor
    residual: Tensor
    trace: Tensor | None = None


def run(problem: Problem, schedule: Schedule) -> Outcome:
    """Iterate from the uniform plan, finish, measure."""
    state: Sinkhorn | Mirror
    if problem.balanced or schedule.scheme == "sinkhorn":
        state = Sinkhorn(problem, schedule.sweeps, proximal=schedule.scheme == "sinkhorn")
    else:
        state = Mirror(problem)
    matrix = problem.p.unsqueeze(2) * problem.q.unsqueeze(1)
    objectives = [problem.objective(matrix)] if schedule.trace else []
    for _ in range(schedule.iterations):
        previous, matrix = matrix, state.step(matrix)
        if schedule.trace:
            objectives.append(problem.objective(matrix))
    residual = (matrix - previous).abs().sum((1, 2))
    if problem.balanced and schedule.finish:
        matrix = _project(matrix, problem, schedule.tolerance)
    errors = marginal_error(matrix.sum(2), problem.p), marginal_error(matrix.sum(1), problem.q)
    trace = torch.stack(objectives) if schedule.trace else None
    return Outcome(matrix, problem.objective(matrix), *errors, residual, trace)


class Sinkhorn:
    """Generalised Sinkhorn sweeps on the linearised problem: ``sinkhorn``, and ``mirror`` on balanced problems.

    ``proximal`` adds ``gamma KL(T || T_k)`` with gamma = eps and keeps the potential of the columns between iterations;
    without it every iteration starts afresh.
    """

    def __init__(self, problem: Problem, sweeps: int, proximal: bool):
        self.problem, self.sweeps, self.proximal = problem, sweeps, proximal
        self.scale = problem.epsilon * (2.0 if proximal else 1.0)  # eps + gamma
        self.phi_x, self.phi_y = (
            1.0 if r is None else r / (r + self.scale) for r in (problem.relax_x, problem.relax_y)
        )
        # A sweep ends on the columns; where only the rows are fixed, half a sweep more makes those exact.
        self.end_on_rows = problem.relax_x is None and problem.relax_y is not None
        self.log_p, self.log_q = problem.p.log(), problem.q.log()  # -inf on padding
        self.real_column = problem.q > 0
        self.v = torch.where(self.real_column, 0.0, self.log_q)
        self.log_plan = _log(problem.p).unsqueeze(2) + _log(problem.q).unsqueeze(1) if proximal else None

    def step(self, plan: Tensor) -> Tensor:
        """One linearisation and its sweeps: (B, N, M) to (B, N, M)."""
        log_kernel = torch.add(self.v.unsqueeze(1), self.problem.gradient(plan), alpha=-1.0 / self.scale)
        if self.log_plan is not None:
            log_kernel.add_(self.log_plan, alpha=1.0 - self.problem.epsilon / self.scale)
        top = log_kernel.amax(2)  # each row's largest entry becomes 1: no row can underflow
        log_kernel.sub_(top.unsqueeze(2))
        kernel = log_kernel.exp()
        a, b = self._sweep(kernel, top)
        if self.log_plan is not None:
            self.log_plan = log_kernel.add_(_log(a).unsqueeze(2)).add_(_log(b).unsqueeze(1))
            self.v = torch.where(self.real_column, self.v + _log(b), self.v)
        return kernel.mul_(a.unsqueeze(2)).mul_(b.unsqueeze(1))

    def _sweep(self, kernel: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
        """Scalings (B, N) and (B, M) of the shifted kernel; the first carries ``exp(top)``."""
        b = torch.ones_like(self.v)
        for _ in range(self.sweeps):
            a = self._rows(kernel, b, top)
            # Relative potentials scale the kernel, absolute ones enter the relaxed update.
            log_b = self.phi_y * (self.log_q - _log(_left(a, kernel))) - (1.0 - self.phi_y) * self.v
            b = torch.where(self.real_column, log_b, -torch.inf).exp()
        return (self._rows(kernel, b, top) if self.end_on_rows else a), b

    def _rows(self, kernel: Tensor, b: Tensor, top: Tensor) -> Tensor:
        log_a = self.phi_x * (self.log_p - _log(_right(kernel, b))) + (1.0 - self.phi_x) * top
        return log_a.exp()


class Mirror:
    """Explicit mirror descent where a side is relaxed; log T is kept up to the constants that renormalising removes."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.real = (problem.p > 0).unsqueeze(2) & (problem.q > 0).unsqueeze(1)
        self.log_plan = _log(problem.p).unsqueeze(2) + _log(problem.q).unsqueeze(1)
        self.step_size = mirror_step(problem)

    def step(self, plan: Tensor) -> Tensor:
        """One explicit step: (B, N, M) to (B, N, M)."""
        problem = self.problem
        slope = problem.gradient(plan)
        if problem.relax_x is not None:
            slope = slope + problem.relax_x * _log_ratio(plan.sum(2), problem.p).unsqueeze(2)
        if problem.relax_y is not None:
            slope = slope + problem.relax_y * _log_ratio(plan.sum(1), problem.q).unsqueeze(1)
        shrink = 1.0 - self.step_size * problem.epsilon
        self.log_plan = shrink * self.log_plan - self.step_size * slope
        return self._normalise(self.log_plan.masked_fill(~self.real, -torch.inf))

    def _normalise(self, log_plan: Tensor) -> Tensor:
        if self.problem.relax_x is None:
            return torch.nan_to_num(log_plan.softmax(2)) * self.problem.p.unsqueeze(2)
        if self.problem.relax_y is None:
            return torch.nan_to_num(log_plan.softmax(1)) * self.problem.q.unsqueeze(1)
        return log_plan.exp()


def mirror_step(problem: Problem) -> Tensor:
    """``4 / max(gradient)`` at the uniform plan, per sample (the release: over the batch), (B, 1, 1).

    The published gradient of KL carries + lambda. Entropy and KL terms curve by their weights, c = eps + lambda: a step
    beyond ``2 / c`` diverges, so there, and where no gradient is positive, it is ``1 / c``.
    """
    p, q = problem.p.unsqueeze(2), problem.q.unsqueeze(1)
    relaxation = (problem.relax_x or 0.0) + (problem.relax_y or 0.0)
    gradient = torch.add(problem.epsilon * (_log(p) + _log(q)) + relaxation, problem.cost, alpha=1.0 - problem.alpha)
    if problem.structure is not None:
        first, second = problem.structure
        gradient.add_(first(p) * second(q), alpha=problem.alpha)  # p q' is of rank one, and so is its product
    largest = gradient.masked_fill_(~((p > 0) & (q > 0)), -torch.inf).amax((1, 2), keepdim=True)
    curvature = problem.epsilon + relaxation
    return torch.where(largest > 2.0 * curvature, 4.0 / largest, 1.0 / curvature)


def _project(plan: Tensor, problem: Problem, tolerance: float) -> Tensor:
    """Sinkhorn sweeps on the plan itself until both marginals are met; looks at the errors only every few sweeps.

    A sample that is done is left alone, so that what its batch mates still need does not change it.
    """
    b = torch.ones_like(problem.q)
    for _ in range(MOST_FINISHING_SWEEPS // SWEEPS_BETWEEN_CHECKS):
        a = problem.p / _right(plan, b).clamp_min(TINY)
        done = marginal_error(b * _left(a, plan), problem.q) <= tolerance / 2
        if bool(done.all()):
            break
        swept = b
        for _ in range(SWEEPS_BETWEEN_CHECKS):
            swept = problem.q / _left(problem.p / _right(plan, swept).clamp_min(TINY), plan).clamp_min(TINY)
        b = torch.where(done.unsqueeze(1), b, swept)
    a = problem.p / _right(plan, b).clamp_min(TINY)
    return plan * a.unsqueeze(2) * b.unsqueeze(1)


def _right(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.bmm(matrix, vector.unsqueeze(2)).squeeze(2)


def _left(vector: Tensor, matrix: Tensor) -> Tensor:
    return torch.bmm(vector.unsqueeze(1), matrix).squeeze(1)


def _log(mass: Tensor) -> Tensor:
    return mass.clamp_min(TINY).log()


def _log_ratio(marginal: Tensor, mass: Tensor) -> Tensor:
    return torch.where(mass > 0, _log(marginal) - _log(mass), 0.0)


def marginal_error(marginal: Tensor, mass: Tensor) -> Tensor:
    """(B,) largest ``|marginal - mass| / mass``."""
    return ((marginal - mass).abs() / mass.clamp_min(TINY)).masked_fill(mass == 0, 0.0).amax(1)
