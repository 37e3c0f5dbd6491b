r"""The solver in two passes over memory per iteration, for float32 on the CPU: what ``reference.py`` computes.

1. *blur*: a row of ``T = r_i K_ij b_j``, its total and its window sums along j give a row of ``Z = T Cy``;
2. *move*: the sum of Z over a window that slides down the rows gives ``Cx T Cy``; with it the log-kernel
   ``S = keep L - step G + w``, its row maximum, one exponential per element, the row scaling, and the column sums.

What tells the schemes apart are the numbers ``keep`` and ``step`` and the vectors w, b between the passes:

- ``sinkhorn``: keep 1/2, step 1/(2 eps), b from the column sums, ``w = v + keep log b``;
- ``mirror``, balanced: keep 0, step 1/eps, b from the column sums, w = 0;
- ``mirror``, relaxed: step from the first gradient, keep ``1 - step eps``, b = 1, ``w = -step lambda log(sums / q)``.

L and w are logarithms to base 2. Constants of a row in L drop out when the row is scaled to p. Four plan-sized arrays
are alive: cost, L = log T, K, Z; the last iteration writes its kernel over L. Both passes run over samples and blocks
of rows in parallel.
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
from vasot_lib.transport.reference import Outcome, Schedule, marginal_error, mirror_step
from vasot_lib.transport.structure import Operator

with keyed_by_source():
    from vasot_lib.transport.fused.cpu_actions import MOST_FRAMES, solve_few
    from vasot_lib.transport.fused.cpu_kernels import NEVER, ROWS, Side, Sizes, f32
    from vasot_lib.transport.fused.cpu_loop import Measured, Scheme, Scratch, Vectors, finish, solve

PROCESS = os.getpid()  # OpenMP does not survive a fork: a child must not come here
_one_at_a_time = threading.Lock()  # not every threading layer of Numba can be entered twice
_torch_threads = torch.get_num_threads()
MOST_THREADS = get_num_threads()  # starts Numba's threads, and that would reset what OMP_NUM_THREADS told torch
torch.set_num_threads(_torch_threads)
CACHE_LINES = 32  # float32 numbers in two lines: processors fetch them in pairs
FEW = 64  # columns below which vectors run over frames instead
SMALL = 16_384  # entries per thread below which one more thread costs more than it brings
MOST_BLOCKS = 64  # per sample; a power of two, which threads come in too


def run(problem: Problem, schedule: Schedule) -> Outcome:
    """Iterate, finish and measure; see :func:`vasot_lib.transport.reference.run`."""
    with _one_at_a_time:
        threads = get_num_threads()
        try:
            return _run(problem, schedule)
        finally:
            set_num_threads(threads)


def _run(problem: Problem, schedule: Schedule) -> Outcome:
    cost = problem.cost.contiguous()
    batch, n, m = cost.shape
    threads = max(1, min(torch.get_num_threads(), MOST_THREADS, cost.numel() // SMALL))
    set_num_threads(threads)
    sizes = _sizes(problem)
    first, second = problem.structure or (None, None)
    x, y = _side(first, problem.lengths_x), _side(second, problem.lengths_y)
    scheme, vectors = _scheme(problem, schedule)
    few = scheme.mirror and m < FEW and y.band == 0.0 and x.free == 0
    scratch = _scratch(
        len(sizes.tasks),
        max(min(n, MOST_FRAMES + 8 * int(x.windows.max())), m) if few else m,
        int((x if few else y).windows.max()),
    )
    rows, columns = (np.zeros((batch, size), np.float32) for size in (n, m))
    measured = Measured(rows, columns, np.zeros(batch), np.zeros(batch))
    # log T to base 2, up to a constant per row.
    log_plan = problem.q.log2().clamp_min(float(NEVER))
    weights = f32(problem.alpha), f32(problem.epsilon)
    if few:
        turned_log, kernel = (_spread(e.unsqueeze(2), (batch, m, n)).numpy() for e in (log_plan, problem.q))
        turned = _spread(cost.transpose(1, 2), (batch, m, n))
        plan = turned.view(batch, n, m)  # over the turned cost, when that has been used for the last time
        solve_few(
            turned.numpy(), turned_log, kernel, plan.numpy(), vectors, scheme, weights[0], x, y, sizes, scratch,
            measured, schedule.iterations,
        )  # fmt: skip
        vectors.r[:] = 1.0
        z = turned_log.reshape(batch, n, m)
    else:
        plan = _spread(log_plan.unsqueeze(1), cost.shape)
        kernel = _spread(problem.q.unsqueeze(1), cost.shape).numpy()
        z = np.empty(cost.shape if problem.structure else (0, 0, 0), np.float32)
        tolerance = f32(schedule.tolerance / 2 if problem.balanced and schedule.finish else -1.0)
        solve(
            cost.numpy(), plan.numpy(), kernel, z, vectors, scheme, weights[0], x, y, sizes, scratch, measured,
            schedule.iterations, tolerance,
        )  # fmt: skip
    finish(cost.numpy(), plan.numpy(), z, vectors, *weights, x, y, sizes, scratch, measured)
    if min(problem.lengths_x) < n or min(problem.lengths_y) < m:
        plan.masked_fill_((problem.p == 0).unsqueeze(2) | (problem.q == 0).unsqueeze(1), 0.0)
    marginals = torch.from_numpy(rows), torch.from_numpy(columns)
    objective = torch.from_numpy(measured.objective).float() + problem.relaxation(*marginals)
    errors = marginal_error(marginals[0], problem.p), marginal_error(marginals[1], problem.q)
    return Outcome(plan, objective, *errors, torch.from_numpy(measured.moved).float())


def _spread(values: Tensor, shape: Sequence[int]) -> Tensor:
    """A contiguous copy of that shape; always a copy, also where a side has one entry."""
    return values.expand(shape).clone(memory_format=torch.contiguous_format)


def _scratch(tasks: int, length: int, window: int) -> Scratch:
    wide = length + CACHE_LINES  # two tasks that write to one cache line would wait for each other at every row
    single = np.float32
    return Scratch(
        np.zeros((tasks, ROWS, wide), single), np.empty((tasks, ROWS, wide + 2 * window + 2), single),
        np.empty((tasks, 2, wide), single), np.empty((tasks, wide), single), np.empty(tasks),
    )  # fmt: skip


def _sizes(problem: Problem) -> Sizes:
    """Tasks of one sample each, by its size alone: the same sums, bit for bit, on any number of threads."""
    entries = problem.cost[0].numel()
    blocks = 1 << (min(max(entries // SMALL, 1), MOST_BLOCKS).bit_length() - 1)
    tasks = [
        (s, n * block // blocks, n * (block + 1) // blocks)
        for s, n in enumerate(problem.lengths_x)
        for block in range(blocks)
    ]
    return Sizes(np.array(problem.lengths_x), np.array(problem.lengths_y), np.array(tasks))


def _side(operator: Operator | None, lengths: Sequence[int]) -> Side:
    if operator is None:
        return Side(f32(0.0), f32(0.0), f32(0.0), 0, np.zeros(len(lengths), np.int64))
    windows = np.minimum(np.array(operator.windows), lengths)
    return Side(f32(operator.ones), f32(operator.own), f32(operator.band), operator.free, windows)


def _scheme(problem: Problem, schedule: Schedule) -> tuple[Scheme, Vectors]:
    mirror = schedule.scheme == "mirror" and not problem.balanced
    proximal = schedule.scheme == "sinkhorn"
    relax, batch = problem.relax_y or 0.0, len(problem.p)
    scale = problem.epsilon * (2.0 if proximal else 1.0)
    step = mirror_step(problem).flatten() if mirror else torch.full((batch,), 1.0 / scale)
    keep = 1.0 - step * problem.epsilon
    phi = relax / (relax + scale) if problem.relax_y is not None and not mirror else 1.0
    scheme = Scheme(
        mirror, proximal, f32(phi), f32(relax), problem.relax_y is not None and not mirror,
        1 if mirror else schedule.sweeps,
    )  # fmt: skip
    q = problem.q.contiguous()
    v = torch.where(q > 0, 0.0, float(NEVER))
    r = problem.p.clone()  # the first plan is p q'; its kernel holds q
    tensors = (problem.p.contiguous(), q, r, (q > 0).float(), v, v.clone(), keep, step)
    return scheme, Vectors(*(tensor.numpy() for tensor in tensors))
