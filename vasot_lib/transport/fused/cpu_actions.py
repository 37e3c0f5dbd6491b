r"""The fused CPU path for few columns, as in segmentation: explicit mirror steps with the frames along the vectors.

Rows of ten or twenty entries are too short for vector registers. Here arrays are (B, M, N), so that every loop runs
over frames and what was a sum over a row is a sum of M vectors. ``T Cy`` of ``Distinct`` is ``-T`` up to a constant
per frame, which drops out, so an iteration is

1. *step*: ``L <- keep L - step ((1 - alpha) C - alpha Cx T) + w``, with running sums of ``T = r K`` along the frames,
2. *normalise*: ``K = 2^(L - max_k L)``, one exponential per entry, r that scales each frame to p, the column sums.

Plan-sized arrays: the caller's cost, C transposed (the plan in the end), L and K.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from vasot_lib.transport.fused import cpu_kernels as kernels
from vasot_lib.transport.fused.cpu_kernels import EXACT, LOG2E, ROWS, Array, f32
from vasot_lib.transport.fused.cpu_loop import per_sample

MOST_FRAMES = 2048  # whose running sums are taken in one go, besides a few windows
CHUNK = 512  # frames that are normalised at a time: M rows of so many stay in the cache


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _step_row(row, cost, plan, running, own, band, linear, keep, w, width):
    for j in range(row.size):
        near = running[j + 2 * width + 1] - running[j]
        row[j] = keep * row[j] + linear * cost[j] + own * plan[j] + band * near + w


@njit(parallel=True, fastmath=EXACT, cache=True)
def step(cost, log_plan, kernel, vectors, alpha, x, y, sizes, scratch):
    """The gradient step on log T."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        n, m, width = sizes.n[s], sizes.m[s], x.windows[s]
        linear = -LOG2E * vectors.step[s] * (f32(1.0) - alpha)
        weight = -LOG2E * vectors.step[s] * alpha * y.own
        # Running sums begin anew in every span: over a long recording they would lose the digits of a window.
        span = MOST_FRAMES + 6 * width
        for begin in range(first, last, span):
            end = min(begin + span, last)
            low, high = max(begin - width, 0), min(end + width, n)
            some, running, r = scratch.rows[task], scratch.running[task], vectors.r[s, low:high]
            for k in range(0, m, ROWS):
                count = min(ROWS, m - k)
                for c in range(count):
                    kernels.multiply(kernel[s, k + c, low:high], r, some[c])
                kernels.running_sums(some, running, 0, high - low, width)
                for c in range(count):
                    _step_row(
                        log_plan[s, k + c, begin:end], cost[s, k + c, begin:end], some[c, begin - low :],
                        running[c, begin - low :], weight * (x.own - x.band), weight * x.band, linear,
                        vectors.keep[s], vectors.w[s, k + c], width,
                    )  # fmt: skip


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _raise_to(top: Array, row: Array) -> None:
    for j in range(row.size):
        top[j] = row[j] if row[j] > top[j] else top[j]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _exp_column(row: Array, top: Array, total: Array, out: Array) -> None:
    for j in range(row.size):
        value = kernels.exp2(row[j] - top[j])
        out[j] = value
        total[j] += value


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _share(p: Array, total: Array, r: Array) -> None:
    for j in range(p.size):
        r[j] = p[j] / total[j]


@njit(parallel=True, fastmath=EXACT, cache=True)
def normalise(log_plan, kernel, p, r, sizes, top, partial):
    """From log T to K and r; the column sums to ``partial``. top: (T, 2, CHUNK) scratch."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m, sums = sizes.m[s], partial[task]
        sums[:m] = f32(0.0)
        for start in range(first, last, CHUNK):
            stop = min(start + CHUNK, last)
            largest, total = top[task, 0, : stop - start], top[task, 1, : stop - start]
            largest[:] = log_plan[s, 0, start:stop]
            for k in range(1, m):
                _raise_to(largest, log_plan[s, k, start:stop])
            total[:] = f32(0.0)
            for k in range(m):
                _exp_column(log_plan[s, k, start:stop], largest, total, kernel[s, k, start:stop])
            _share(p[s, start:stop], total, r[s, start:stop])
            for k in range(m):
                sums[k] += kernels.dot(kernel[s, k, start:stop], r[s, start:stop])


@njit(parallel=True, fastmath=EXACT, cache=True)
def collect(kernel, r, plan, sizes, totals, compare):
    """``T = r K`` to a (B, N, M) plan; with ``compare`` what is in the plan is T before, and ``totals`` what moved."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        moved = 0.0
        for k in range(sizes.m[s]):
            for i in range(first, last):
                value = r[s, i] * kernel[s, k, i]
                if compare:
                    moved += abs(value - plan[s, i, k])
                plan[s, i, k] = value
        totals[task] = moved


@njit(cache=True)
def solve_few(cost, log_plan, kernel, plan, vectors, scheme, alpha, x, y, sizes, scratch, measured, iterations):
    """All mirror steps; ``plan`` is (B, N, M) and may share its memory with the cost, which is turned: (B, M, N)."""
    columns = measured.columns
    top = np.empty((len(sizes.tasks), 2, CHUNK), np.float32)
    for k in range(iterations):
        step(cost, log_plan, kernel, vectors, alpha, x, y, sizes, scratch)
        last = k == iterations - 1
        if last:
            collect(kernel, vectors.r, plan, sizes, scratch.totals, False)
        normalise(log_plan, kernel, vectors.p, vectors.r, sizes, top, scratch.sums)
        kernels.column_sums(sizes, scratch.sums, columns)
        for s in range(len(sizes.m)):
            m = sizes.m[s]
            kernels.relax(columns[s, :m], vectors.q[s, :m], vectors.w[s, :m], vectors.step[s] * scheme.relax)
    collect(kernel, vectors.r, plan, sizes, scratch.totals, True)
    per_sample(sizes, scratch.totals, measured.moved)
