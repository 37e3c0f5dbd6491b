r"""The solver for float32 on the CPU, in two passes over memory per iteration: the numbers of ``reference.py``.

The plan is ``T_ij = a_i K_ij b_j`` with a kernel K whose largest entry in each row is 1. ``L = log T`` is kept up to a
constant per row, because rows are scaled to p anyway. An iteration is

1. *blur*: from a row of T, its total and its running sums along j to the same row of ``Z = T Cy``;
2. *move*: the sum of Z over a window that slides down the rows gives ``Cx T Cy`` and with it the gradient G; then
   ``L <- keep L - rate G + shift_j``, the row maxima, ``K = exp(L - maximum)``, one exponential per entry, a that
   scales the rows to p, and the column sums.

All schemes are this iteration with different numbers ``keep`` (how much of the last log T remains), ``rate`` (the
weight of the gradient) and different vectors b and ``shift``, which follow from the column sums of ``a K``:

- ``sinkhorn``: keep 1/2, rate 1/(2 eps), b from the column sums, ``shift = v + keep log b`` with the potential v;
- ``mirror`` where both sides are fixed: keep 0, rate 1/eps, b from the column sums, shift 0;
- ``mirror`` where the columns are relaxed: rate is the step size, keep ``1 - rate eps``, b = 1,
  ``shift = -rate lambda log(column sums / q)``.

The arrays of the plan's size are C, L, K and Z; in the last iteration K is written over L, but where samples may stop
early, for which the last K is kept beside the new one. L and shift are logarithms
to base 2. Both passes work on samples and blocks of rows in parallel.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import numpy as np
import torch
from numba import get_num_threads, set_num_threads
from torch import Tensor

from vasot_lib.transport.fused.cache import keyed_by_source
from vasot_lib.transport.problem import Problem
from vasot_lib.transport.reference import Schedule, Solution, marginal_error, mirror_step, one_by_one, with_exact_masses
from vasot_lib.transport.structure import Operator

with keyed_by_source():
    from vasot_lib.transport.fused.cpu_actions import MOST_FRAMES, solve_few
    from vasot_lib.transport.fused.cpu_kernels import NO_MASS, ROWS, Sizes, StructureMatrix, f32
    from vasot_lib.transport.fused.cpu_loop import Coefficients, Measured, Scratch, Vectors, finish, solve

PROCESS = os.getpid()  # OpenMP does not survive a fork: a child process must not run this code
_one_at_a_time = threading.Lock()  # not every threading layer of Numba can be entered twice
_torch_threads = torch.get_num_threads()
MOST_THREADS = get_num_threads()  # this starts Numba's threads, which resets the number of torch's threads
torch.set_num_threads(_torch_threads)
CACHE_LINES = 32  # float32 numbers in two cache lines, which processors fetch in pairs
FEW_COLUMNS = 64  # with fewer columns, loops are vectorised over the frames (cpu_actions)
ENTRIES_PER_THREAD = 16_384  # with fewer, one more thread costs more time than it saves
MOST_GROWTH = 1e26  # by finishing; entries that float32 had rounded to 0 before it, those below 1e-38, then still are 0
MOST_BLOCKS = 64  # blocks of rows of a sample; a power of two, as numbers of threads mostly are


def run(problem: Problem, schedule: Schedule) -> Solution:
    """Iterate, finish and measure; see :func:`vasot_lib.transport.reference.run`."""
    if schedule.stop_early and len(problem.p) > 1:
        return one_by_one(run, problem, schedule)
    with _one_at_a_time:
        threads = get_num_threads()
        try:
            solution = _run(problem, schedule)
        finally:
            set_num_threads(threads)
    return with_exact_masses(solution, problem, schedule) if problem.balanced else solution


def _run(problem: Problem, schedule: Schedule) -> Solution:
    cost = problem.cost.contiguous()
    batch, n, m = cost.shape
    threads = max(1, min(torch.get_num_threads(), MOST_THREADS, cost.numel() // ENTRIES_PER_THREAD))
    set_num_threads(threads)
    sizes = _sizes(problem)
    first, second = problem.structure or (None, None)
    x, y = _structure_matrix(first, problem.lengths_x), _structure_matrix(second, problem.lengths_y)
    coefficients, vectors = _coefficients(problem, schedule)
    few = coefficients.mirror and m < FEW_COLUMNS and y.band == 0.0 and x.free == 0
    scratch = _scratch(
        len(sizes.tasks),
        max(min(n, MOST_FRAMES + 8 * int(x.windows.max())), m) if few else m,
        int((x if few else y).windows.max()),
    )
    rows, columns = (np.zeros((batch, size), np.float32) for size in (n, m))
    measured = Measured(rows, columns, np.zeros(batch), np.zeros(batch))
    # log T to base 2, up to a constant per row.
    log_plan = problem.q.log2().clamp_min(float(NO_MASS))
    weights = f32(problem.alpha), f32(problem.epsilon)
    stop = schedule.tolerance if schedule.stop_early else 0.0
    if few:
        transposed_log, kernel = (_spread(e.unsqueeze(2), (batch, m, n)).numpy() for e in (log_plan, problem.q))
        transposed = _spread(cost.transpose(1, 2), (batch, m, n))
        # Written over the transposed cost, once that is not needed any more.
        plan = torch.empty(batch, n, m) if stop else transposed.view(batch, n, m)
        solve_few(
            transposed.numpy(), transposed_log, kernel, plan.numpy(), vectors, coefficients, weights[0], x, y, sizes,
            scratch, measured, schedule.iterations, stop,
        )  # fmt: skip
        vectors.a[:] = 1.0
        z = transposed_log.reshape(batch, n, m)
    else:
        plan = _spread(log_plan.unsqueeze(1), cost.shape)
        kernel = _spread(problem.q.unsqueeze(1), cost.shape).numpy()
        z = np.empty(cost.shape if problem.structure else (0, 0, 0), np.float32)
        tolerance = f32(schedule.tolerance / 2 if problem.balanced and schedule.finish else -1.0)
        spare = np.empty(cost.shape if stop else (0, 0, 0), np.float32)
        solve(
            cost.numpy(), plan.numpy(), kernel, spare, z, vectors, coefficients, weights[0], x, y, sizes, scratch,
            measured, schedule.iterations, tolerance, stop,
        )  # fmt: skip
    # Finishing may raise entries by so much that those which float32 had rounded to 0 would count.
    lost = torch.from_numpy(vectors.a.max(1).astype(float) * vectors.b.max(1)) > MOST_GROWTH
    finish(cost.numpy(), plan.numpy(), z, vectors, *weights, x, y, sizes, scratch, measured)
    if min(problem.lengths_x) < n or min(problem.lengths_y) < m:
        plan.masked_fill_((problem.p == 0).unsqueeze(2) | (problem.q == 0).unsqueeze(1), 0.0)
    marginals = torch.from_numpy(rows), torch.from_numpy(columns)
    objective = torch.from_numpy(measured.objective).float() + problem.relaxation(*marginals)
    error_x, error_y = marginal_error(marginals[0], problem.p), marginal_error(marginals[1], problem.q)
    errors = error_x.masked_fill(lost, torch.inf) if problem.balanced and schedule.finish else error_x, error_y
    return Solution(plan, objective, *errors, torch.from_numpy(measured.moved).float())


def _spread(values: Tensor, shape: Sequence[int]) -> Tensor:
    """A contiguous copy of that shape; always a copy, also where a side has one entry."""
    return values.expand(shape).clone(memory_format=torch.contiguous_format)


def _scratch(tasks: int, length: int, window: int) -> Scratch:
    wide = length + CACHE_LINES  # tasks that write to the same cache line would wait for each other at every row
    single = np.float32
    return Scratch(
        np.zeros((tasks, ROWS, wide), single), np.empty((tasks, ROWS, wide + 2 * window + 2), single),
        np.empty((tasks, 2, wide), single), np.empty((tasks, wide), single), np.empty(tasks),
    )  # fmt: skip


def _sizes(problem: Problem) -> Sizes:
    """Lengths and tasks. Tasks depend on the size of the problem alone: any number of threads gives the same bits."""
    entries = problem.cost[0].numel()
    blocks = 1 << (min(max(entries // ENTRIES_PER_THREAD, 1), MOST_BLOCKS).bit_length() - 1)
    tasks = [
        (s, n * block // blocks, n * (block + 1) // blocks)
        for s, n in enumerate(problem.lengths_x)
        for block in range(blocks)
    ]
    return Sizes(np.array(problem.lengths_x), np.array(problem.lengths_y), np.array(tasks))


def _structure_matrix(operator: Operator | None, lengths: Sequence[int]) -> StructureMatrix:
    if operator is None:
        return StructureMatrix(f32(0.0), f32(0.0), f32(0.0), 0, np.zeros(len(lengths), np.int64))
    windows = np.minimum(np.array(operator.windows), lengths)
    return StructureMatrix(f32(operator.ones), f32(operator.identity), f32(operator.band), operator.free, windows)


def _coefficients(problem: Problem, schedule: Schedule) -> tuple[Coefficients, Vectors]:
    mirror = schedule.scheme == "mirror" and not problem.balanced
    proximal = schedule.scheme == "sinkhorn"
    relax, batch = problem.relax_y or 0.0, len(problem.p)
    scale = problem.epsilon * (2.0 if proximal else 1.0)
    rate = mirror_step(problem).flatten() if mirror else torch.full((batch,), 1.0 / scale)
    keep = 1.0 - rate * problem.epsilon
    phi = relax / (relax + scale) if problem.relax_y is not None and not mirror else 1.0
    coefficients = Coefficients(
        mirror, proximal, f32(phi), f32(relax), problem.relax_y is not None and not mirror,
        1 if mirror else schedule.sweeps,
    )  # fmt: skip
    q = problem.q.contiguous()
    v = torch.where(q > 0, 0.0, float(NO_MASS))
    a = problem.p.clone()  # the first plan is p q': the kernel holds q
    tensors = (problem.p.contiguous(), q, a, (q > 0).float(), v, v.clone(), keep, rate)
    return coefficients, Vectors(*(tensor.numpy() for tensor in tensors))
