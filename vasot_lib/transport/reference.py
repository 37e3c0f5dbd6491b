r"""The two solution schemes in plain torch: the module to read. The kernels of ``fused/`` are tested against it.

Both schemes start from the uniform plan ``p q'``. Each iteration replaces the structure term by its linearisation at
the current plan T_k, so that the cost of an entry is the gradient ``G = (1 - alpha) C + alpha Cx T_k Cy``, and computes
a new plan for that cost.

``sinkhorn`` [ours] minimises the linearised problem plus a proximal term ``eps KL(T || T_k)`` by generalised Sinkhorn
sweeps. Entropy and proximal term together weigh ``2 eps``. With the log-kernel ``S = (eps log T_k - G) / (2 eps)``, and
``phi = lambda / (lambda + 2 eps)`` on a relaxed side, ``phi = 1`` on a fixed one, a sweep updates the potentials

    u <- phi_x (log p - log sum_j exp(v_j + S_ij)),     v <- phi_y (log q - log sum_i exp(u_i + S_ij))

and the new plan is ``exp(u_i + v_j + S_ij)``. This one formula covers balanced, semi-relaxed and relaxed transport. The
sweeps start from the v of the last iteration. With a total mass s, where p and q are bounds, u and v are at most 0 and
a third potential w, the same for all entries, follows them: ``w <- log s - log sum_ij exp(u_i + v_j + S_ij)``; this is
Dykstra's algorithm (Benamou et al., SIAM J. Sci. Comput. 2015). The proximal term halves the step in log T. Without it
the iteration can jump between two plans for ever where the structure term, which is not convex, outweighs the entropy.
With it, the mass that moves per iteration fell below 2 % in all cases of the tests (alpha .6, epsilon .04, 100
iterations); it need not fall to zero, and which of the two schemes ends at the lower objective depends on the case.

``mirror`` [published]: where a side is relaxed, each iteration is one explicit step of mirror descent,
``log T <- log T - step (G + eps log T + lambda log(marginal / mass))``, with mass q (or p) of the relaxed side, after
which the plan is scaled to the masses of the fixed side; the step size is ``4 / max(gradient)`` of the first iteration.
Where both sides are fixed, the published update is the Sinkhorn projection of ``exp(-G / eps)``, and every iteration
starts it afresh. Source: SPEC section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vasot_lib.transport.problem import LARGEST_COST, TINY, Problem, check_memory

Scheme = Literal["mirror", "sinkhorn"]

SWEEPS_BETWEEN_CHECKS = 10
MOST_FINISHING_SWEEPS = 1000
# Weight of the first finishing sweeps and the largest one, see `next_weight`; only steps of a logarithm shorter than
# SHORT are lengthened by it, because far from the solution longer ones can lead away from it.
FIRST_WEIGHT, MOST_WEIGHT, SHORT = 1.7, 1.95, 1.0
MASS_TOLERANCE = 1e-4  # relative error of a mass that a half sweep has just met; rounding makes smaller ones
BUFFERS = 11  # arrays of the plan's size that :func:`run` needs beside the cost, measured


@dataclass(frozen=True)
class Schedule:
    """Which scheme runs and for how long; the fields are arguments of :func:`vasot_lib.transport.solve`."""

    scheme: Scheme
    iterations: int
    sweeps: int
    finish: bool
    tolerance: float
    trace: bool = False
    stop_early: bool = False


@dataclass(frozen=True)
class Solution:
    """What :func:`run` and its counterparts in ``fused/`` return."""

    matrix: Tensor  # (B, N, M) transport plan
    objective: Tensor  # (B,) J of the plan
    marginal_error_x: Tensor  # (B,) relative error of the row masses
    marginal_error_y: Tensor  # (B,) the same for the columns
    residual: Tensor  # (B,) mass that the last iteration moved
    trace: Tensor | None = None  # (iterations + 1, B) J before the first and after every iteration, if asked for


def run(problem: Problem, schedule: Schedule) -> Solution:
    """Iterate from the uniform plan, project onto the marginals where that is asked for, and measure the result."""
    if schedule.stop_early and len(problem.p) > 1:
        return one_by_one(run, problem, schedule)
    state: Sinkhorn | Mirror
    if problem.balanced or schedule.scheme == "sinkhorn":
        state = Sinkhorn(problem, schedule.sweeps, proximal=schedule.scheme == "sinkhorn")
    else:
        state = Mirror(problem)
    matrix = problem.p.unsqueeze(2) * problem.q.unsqueeze(1) * (problem.total_mass or 1.0)
    objectives = [problem.objective(matrix)] if schedule.trace else []
    residual = matrix.new_zeros(len(matrix))
    for iteration in range(schedule.iterations):
        previous, matrix = matrix, state.step(matrix)
        if schedule.trace:
            objectives.append(problem.objective(matrix))
        if schedule.stop_early or iteration == schedule.iterations - 1:
            before, residual = residual, (matrix - previous).abs().sum((1, 2))
            if schedule.stop_early and has_settled(residual.item(), before.item(), schedule.tolerance):
                break
    bounded = problem.total_mass is not None
    if isinstance(state, Sinkhorn) and problem.balanced and schedule.finish:
        matrix = (_project_below if bounded else _project)(state.log_plan, problem, schedule.tolerance)
    error_x = marginal_error(matrix.sum(2), problem.p, bounded)
    error_y = marginal_error(matrix.sum(1), problem.q, bounded)
    objectives += objectives[-1:] * (schedule.iterations + 1 - len(objectives))  # a plan that has settled keeps its J
    trace = torch.stack(objectives) if schedule.trace else None
    return Solution(matrix, problem.objective(matrix), error_x, error_y, residual, trace)


def has_settled(moved: float, before: float, tolerance: float) -> bool:
    """Whether further iterations would together move less than half the ``tolerance``, each a fixed share of the last.

    Where this one ``moved`` r and that ``before`` it b, the sum of the geometric series is ``r^2 / (b - r)``. Half the
    tolerance, because the share can grow: what was left out was up to .64 of the tolerance in 80 cases of ten settings.
    After the first iteration, where b is 0, only a plan that has not moved at all is settled.
    """
    return moved <= tolerance and 2.0 * moved * moved <= tolerance * (before - moved)


def next_weight(weight: float, shrunk: float) -> float:
    """The weight of the next finishing sweeps, from the share of the error that those before have left.

    Over-relaxed sweeps, whose steps are lengthened by a weight w, are several times fewer. Near the solution a plain
    sweep leaves a share s of the error, and one with w the share l for which ``(l + w - 1)^2 = l w^2 s``. The best w is
    ``2 / (1 + sqrt(1 - s))``, which leaves ``w - 1``; as long as more is left, l tells s. Where the error has grown,
    the next sweeps are plain. Source: Young, Trans. Amer. Math. Soc. 1954; for Sinkhorn sweeps Thibault et al.,
    Algorithms 2021.
    """
    if shrunk >= 1.0:
        return 1.0
    left = shrunk ** (1.0 / SWEEPS_BETWEEN_CHECKS)
    if left <= weight - 1.0:
        return weight
    plain = (left + weight - 1.0) ** 2 / (left * weight**2)
    return min(2.0 / (1.0 + max(1.0 - plain, 0.0) ** 0.5), MOST_WEIGHT)


def one_by_one(run: Callable[[Problem, Schedule], Solution], problem: Problem, schedule: Schedule) -> Solution:
    """The solutions of the samples, each by itself: one that has settled needs no more iterations, others may."""
    parts = [vars(run(sample, schedule)) for sample in problem.samples()]
    given = [name for name, value in parts[0].items() if value is not None]
    return Solution(**{name: torch.cat([part[name] for part in parts], dim=int(name == "trace")) for name in given})


def with_exact_masses(solution: Solution, problem: Problem, schedule: Schedule) -> Solution:
    """Solve those samples by :func:`run` whose kernel has rows or columns that float32 rounded to 0 in ``fused/``.

    Everywhere else the side on which the last half sweep ended has its masses.
    """
    error = solution.marginal_error_x if schedule.finish else solution.marginal_error_y
    lost = ~(error <= MASS_TOLERANCE)  # NaN too
    if not bool(lost.any()):
        return solution
    check_memory(problem.cost, BUFFERS)
    exact = vars(run(problem, schedule))
    mixed = {
        name: torch.where(lost.view(-1, *[1] * (value.ndim - 1)), exact[name], value)
        for name, value in vars(solution).items()
        if value is not None
    }
    return Solution(**mixed)


class Kernel:
    """A (B, N, M) array given by its logarithm, of which weighted sums are taken: exact ones, however small they are.

    The products of the exponentials are used where a sum is at least ``TINY``; next to it, terms that floats round to 0
    do not count. The others are summed up as logarithms, which takes longer.
    """

    def __init__(self, log: Tensor, problem: Problem):
        self.log, self.value = log, log.exp()
        self.real_row, self.real_column = problem.p > 0, problem.q > 0
        self.underflows = False  # whether a sum was smaller than ``TINY``

    def log_row_sums(self, log_b: Tensor) -> Tensor:
        """``log sum_j K_ij b_j``, (B, N)."""
        top = log_b.amax(1, keepdim=True)
        sums = torch.bmm(self.value, (log_b - top).exp().unsqueeze(2)).squeeze(2)
        return self._exact(_log(sums) + top, sums < TINY, self.real_row, log_b.unsqueeze(1), 2)

    def log_column_sums(self, log_a: Tensor) -> Tensor:
        """``log sum_i a_i K_ij``, (B, M)."""
        top = log_a.amax(1, keepdim=True)
        sums = torch.bmm((log_a - top).exp().unsqueeze(1), self.value).squeeze(1)
        return self._exact(_log(sums) + top, sums < TINY, self.real_column, log_a.unsqueeze(2), 1)

    def _exact(self, log_sums: Tensor, small: Tensor, real: Tensor, log_weights: Tensor, dim: int) -> Tensor:
        small = small & real
        if not bool(small.any()):
            return log_sums
        self.underflows = True
        return torch.where(small, (self.log + log_weights).logsumexp(dim), log_sums)


class Sinkhorn:
    """Generalised Sinkhorn sweeps on the linearised problem: ``sinkhorn``, and ``mirror`` on balanced problems.

    With ``proximal`` the term ``gamma KL(T || T_k)``, gamma = eps, is added, and the potential v of the columns is kept
    between iterations; without it gamma is 0 and every iteration starts from v = 0.
    """

    def __init__(self, problem: Problem, sweeps: int, proximal: bool):
        self.problem, self.sweeps, self.proximal = problem, sweeps, proximal
        self.scale = problem.epsilon * (2.0 if proximal else 1.0)  # eps + gamma
        self.phi_x, self.phi_y = (
            1.0 if r is None else r / (r + self.scale) for r in (problem.relax_x, problem.relax_y)
        )
        # A sweep ends on the columns. Where only the rows are fixed, half a sweep more makes their masses exact.
        self.end_on_rows = problem.relax_x is None and problem.relax_y is not None
        self.log_p, self.log_q = problem.p.log(), problem.q.log()  # -inf on padding
        self.real_column = problem.q > 0
        self.v = torch.where(self.real_column, 0.0, self.log_q)
        self.log_plan = self.log_p.unsqueeze(2) + self.log_q.unsqueeze(1)
        self.w = torch.zeros_like(self.v[:, :1])

    def step(self, plan: Tensor) -> Tensor:
        """One linearisation and its sweeps: the (B, N, M) plan T_k to T_(k+1)."""
        # v + S; the kernel below is exp of it, with each row divided by its largest entry.
        log_kernel = torch.add(self.v.unsqueeze(1), self.problem.gradient(plan), alpha=-1.0 / self.scale)
        if self.proximal:
            log_kernel.add_(self.log_plan, alpha=1.0 - self.problem.epsilon / self.scale)
        row_max = log_kernel.amax(2).clamp_min(torch.finfo(log_kernel.dtype).min)  # -inf on padding
        kernel = Kernel(log_kernel.sub_(row_max.unsqueeze(2)), self.problem)
        log_a, log_b = self._sweep(kernel, row_max)
        self.log_plan = kernel.log.add_(log_a.unsqueeze(2)).add_(log_b.unsqueeze(1))
        if self.proximal:
            self.v = torch.where(self.real_column, self.v + log_b, self.v)
        if self.problem.total_mass is not None:
            return self.log_plan.exp()
        if self.problem.relax_y is None:
            return _with_masses(self.log_plan, self.problem.q, 1)
        return _with_masses(self.log_plan, self.problem.p, 2) if self.end_on_rows else self.log_plan.exp()

    def _sweep(self, kernel: Kernel, row_max: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the scalings a, (B, N), and b, (B, M), such that ``a_i kernel_ij b_j`` is the plan."""
        log_b = torch.zeros_like(self.v)
        if self.problem.total_mass is not None:
            w = self.w if self.proximal else torch.zeros_like(self.w)
            for _ in range(self.sweeps):
                log_a, log_b, w = _sweep_below(kernel, self.problem, log_b, w, row_max, -self.v)
            self.w = w
            return log_a, log_b
        for _ in range(self.sweeps):
            log_a = self._scale_rows(kernel, log_b, row_max)
            # b scales the kernel, which holds exp(v) already: the potential is v + log b, and the update of a relaxed
            # side is for the potential as a whole.
            log_b = self.phi_y * (self.log_q - kernel.log_column_sums(log_a)) - (1.0 - self.phi_y) * self.v
            log_b = torch.where(self.real_column, log_b, -torch.inf)
        return (self._scale_rows(kernel, log_b, row_max) if self.end_on_rows else log_a), log_b

    def _scale_rows(self, kernel: Kernel, log_b: Tensor, row_max: Tensor) -> Tensor:
        """``log a = u + row_max`` of the update of u; on a fixed side row_max drops out."""
        return self.phi_x * (self.log_p - kernel.log_row_sums(log_b)) + (1.0 - self.phi_x) * row_max


class Mirror:
    """Explicit mirror descent where a side is relaxed.

    ``log_plan`` is log T up to one constant per entry of the fixed side, which scaling to the masses removes.
    """

    def __init__(self, problem: Problem):
        self.problem = problem
        self.real = (problem.p > 0).unsqueeze(2) & (problem.q > 0).unsqueeze(1)
        self.log_plan = _log(problem.p).unsqueeze(2) + _log(problem.q).unsqueeze(1)
        self.step_size = mirror_step(problem)

    def step(self, plan: Tensor) -> Tensor:
        """One explicit step: the (B, N, M) plan T_k to T_(k+1)."""
        problem = self.problem
        slope = problem.gradient(plan)
        if problem.relax_x is not None:
            slope = slope + problem.relax_x * log_ratio(plan.sum(2), problem.p).unsqueeze(2)
        if problem.relax_y is not None:
            slope = slope + problem.relax_y * log_ratio(plan.sum(1), problem.q).unsqueeze(1)
        keep = 1.0 - self.step_size * problem.epsilon
        self.log_plan = keep * self.log_plan - self.step_size * slope
        return self._scale_to_fixed_side(self.log_plan.masked_fill(~self.real, -torch.inf))

    def _scale_to_fixed_side(self, log_plan: Tensor) -> Tensor:
        if self.problem.relax_x is None:
            return _with_masses(log_plan, self.problem.p, 2)
        if self.problem.relax_y is None:
            return _with_masses(log_plan, self.problem.q, 1)
        return log_plan.exp()


def mirror_step(problem: Problem) -> Tensor:
    """``4 / max(gradient)`` at the uniform plan for each sample, (B, 1, 1); the release takes it over the batch.

    The published gradient of a KL term is ``lambda log(marginal / mass) + lambda``, which is lambda at the uniform
    plan. In log T the entropy and the KL terms have a curvature of up to c = eps + lambda, and a step larger than
    ``2 / c`` diverges. Where the rule would take one, or where no entry of the gradient is positive, the step is
    ``1 / c``.
    """
    p, q = problem.p.unsqueeze(2), problem.q.unsqueeze(1)
    relaxation = (problem.relax_x or 0.0) + (problem.relax_y or 0.0)
    gradient = torch.add(problem.epsilon * (_log(p) + _log(q)) + relaxation, problem.cost, alpha=1.0 - problem.alpha)
    if problem.structure is not None:
        first, second = problem.structure
        gradient.add_(first(p) * second(q), alpha=problem.alpha)  # p q' is of rank one, and so is Cx p q' Cy
    unused = ~((p > 0) & (q > 0) & (problem.cost < LARGEST_COST))
    largest = gradient.masked_fill_(unused, -torch.inf).amax((1, 2), keepdim=True)
    curvature = problem.epsilon + relaxation
    return torch.where(largest > 2.0 * curvature, 4.0 / largest, 1.0 / curvature)


def _project(log_plan: Tensor, problem: Problem, tolerance: float) -> Tensor:
    """Scale rows and columns of the plan by over-relaxed sweeps until both marginals are met; rows always are.

    The errors are computed only every few sweeps. A sample whose errors are small enough is left as it is, so that its
    plan does not depend on how many sweeps the other samples of the batch still need.
    """
    log_p, log_q = problem.p.log(), problem.q.log()
    kernel, log_b = Kernel(log_plan, problem), torch.where(problem.q > 0, 0.0, log_q)
    weights, before = [FIRST_WEIGHT] * len(log_b), [math.inf] * len(log_b)
    for _ in range(MOST_FINISHING_SWEEPS // SWEEPS_BETWEEN_CHECKS):
        log_a = log_p - kernel.log_row_sums(log_b)
        column_masses = (log_b + kernel.log_column_sums(log_a)).exp()
        error = marginal_error(column_masses, problem.q)
        done = error <= tolerance / 2
        if bool(done.all()):
            break
        errors = error.tolist()
        weights = [next_weight(w, now / max(last, TINY)) for w, now, last in zip(weights, errors, before, strict=True)]
        before = errors
        if kernel.underflows:  # the scaled plan is a kernel whose sums need no logarithms
            kernel = Kernel(kernel.log + log_a.unsqueeze(2) + log_b.unsqueeze(1), problem)
            log_a, log_b = torch.where(problem.p > 0, 0.0, log_p), torch.where(problem.q > 0, 0.0, log_q)
        swept, weight = log_b, error.new_tensor(weights).unsqueeze(1)
        for sweep in range(SWEEPS_BETWEEN_CHECKS):
            swept = _lengthened(swept, log_q - kernel.log_column_sums(log_a), weight)
            rows = log_p - kernel.log_row_sums(swept)  # the first time as they are: a GPU has no others there
            log_a = _lengthened(log_a, rows, weight) if sweep else rows
        log_b = torch.where(done.unsqueeze(1), log_b, swept)
    return _with_masses(kernel.log + log_b.unsqueeze(1), problem.p, 2)


def _lengthened(log: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """A step from logarithms of scalings, -inf where there is no mass, towards what a plain sweep makes of them."""
    step = torch.where(log > -torch.inf, target - log, 0.0)
    return log + torch.where(step.abs() < SHORT, weight * step, step)


def _sweep_below(
    kernel: Kernel, problem: Problem, log_b: Tensor, w: Tensor, most_x: Tensor | float, most_y: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """One sweep with a total mass: the new log a, (B, N), which contains w, log b, (B, M), and w, (B, 1).

    ``most_x`` and ``most_y`` are the values of log a - w and log b at which the potentials u and v are 0.
    """
    log_a = torch.minimum(problem.p.log() - kernel.log_row_sums(log_b), w + most_x)
    sums = kernel.log_column_sums(log_a)
    room = (problem.q.log() - sums).clamp_max(most_y)
    log_b = torch.where(problem.q > 0, room, -torch.inf)
    step = math.log(problem.total_mass or 1.0) - (sums + log_b).logsumexp(1, keepdim=True)
    return log_a + step, log_b, w + step


def _project_below(log_plan: Tensor, problem: Problem, tolerance: float) -> Tensor:
    """Scale a plan with the total mass by sweeps until no row or column exceeds its bound; likewise."""
    kernel = Kernel(log_plan, problem)
    log_a, log_b = (torch.zeros_like(m).masked_fill(m == 0, -torch.inf) for m in (problem.p, problem.q))
    w = torch.zeros_like(log_b[:, :1])
    for _ in range(MOST_FINISHING_SWEEPS // SWEEPS_BETWEEN_CHECKS):
        masses = (log_a + kernel.log_row_sums(log_b)).exp(), (log_b + kernel.log_column_sums(log_a)).exp()
        errors = [marginal_error(m, most, True) for m, most in zip(masses, (problem.p, problem.q), strict=True)]
        done = (torch.maximum(*errors) <= tolerance / 2).unsqueeze(1)
        if bool(done.all()):
            break
        swept = log_a, log_b, w
        for _ in range(SWEEPS_BETWEEN_CHECKS):
            swept = _sweep_below(kernel, problem, swept[1], swept[2], 0.0, 0.0)
        log_a, log_b, w = (torch.where(done, *pair) for pair in zip((log_a, log_b, w), swept, strict=True))
    return (kernel.log + log_a.unsqueeze(2) + log_b.unsqueeze(1)).exp()


def _with_masses(log_plan: Tensor, mass: Tensor, dim: int) -> Tensor:
    """The plan with exactly these row (dim 2) or column (dim 1) masses, however large its logarithms are."""
    return torch.nan_to_num(log_plan.softmax(dim)) * mass.unsqueeze(dim)


def _log(mass: Tensor) -> Tensor:
    return mass.clamp_min(TINY).log()


def log_ratio(marginal: Tensor, mass: Tensor) -> Tensor:
    """``log(marginal / mass)``, 0 on entries without mass."""
    return torch.where(mass > 0, _log(marginal) - _log(mass), 0.0)


def marginal_error(marginal: Tensor, mass: Tensor, bounded: bool = False) -> Tensor:
    """(B,) the largest ``|marginal - mass| / mass`` where there is mass; with bounds, of what exceeds them."""
    off = (marginal - mass).clamp_min(0.0) if bounded else (marginal - mass).abs()
    return (off / mass.clamp_min(TINY)).masked_fill(mass == 0, 0.0).amax(1)
