r"""The fused CPU path for few columns, as in segmentation: explicit mirror steps, vectorised over the frames.

Rows of ten or twenty entries are too short for vector registers. Here arrays are transposed, (B, M, N): inner loops
run over frames, and the sum over the actions of every frame is a sum of M vectors. The prior of the columns is
``Distinct`` (or has no band), so that ``T Cy`` is ``identity * T = -T`` up to a constant per frame, which drops out.
With the symbols of :mod:`vasot_lib.transport.fused.cpu` an iteration is

1. *gradient_step*: ``L <- keep L - rate ((1 - alpha) C - alpha Cx T) + shift``, with running sums of ``T = a K`` along
   the frames;
2. *normalise*: ``K = 2^(L - max_k L)``, one exponential per entry; the a that scales each frame to p; the column sums.

Arrays of the plan's size: the caller's cost, the transposed cost (in the end the plan), L and K.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from vasot_lib.transport.fused import cpu_kernels as kernels
from vasot_lib.transport.fused.cpu_kernels import EXACT, LOG2E, ROWS, Array, f32
from vasot_lib.transport.fused.cpu_loop import column_sums, has_settled, per_sample

MOST_FRAMES = 2048  # over which running sums are taken before they start again, beside a few windows
CHUNK = 512  # frames that are normalised at a time, so that M rows of them stay in the cache


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _step_row(row, cost, plan, running, centre, band, linear, keep, shift, half):
    for j in range(row.size):
        near = running[j + 2 * half + 1] - running[j]
        row[j] = keep * row[j] + linear * cost[j] + centre * plan[j] + band * near + shift


@njit(parallel=True, fastmath=EXACT, cache=True)
def gradient_step(cost, log_plan, kernel, vectors, alpha, x, y, sizes, scratch):
    """The gradient step on log T."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        n, m, half = sizes.n[s], sizes.m[s], x.windows[s]
        linear = -LOG2E * vectors.rate[s] * (f32(1.0) - alpha)
        weight = -LOG2E * vectors.rate[s] * alpha * y.identity
        # Running sums start again in every span of frames: over a long recording they would grow so large that their
        # difference, the sum over a window, had few digits left.
        span = MOST_FRAMES + 6 * half
        for begin in range(first, last, span):
            end = min(begin + span, last)
            low, high = max(begin - half, 0), min(end + half, n)
            some, running, a = scratch.rows[task], scratch.running[task], vectors.a[s, low:high]
            for k in range(0, m, ROWS):
                count = min(ROWS, m - k)
                for c in range(count):
                    kernels.multiply(kernel[s, k + c, low:high], a, some[c])
                kernels.running_sums(some, running, 0, high - low, half)
                for c in range(count):
                    _step_row(
                        log_plan[s, k + c, begin:end], cost[s, k + c, begin:end], some[c, begin - low :],
                        running[c, begin - low :], weight * (x.identity - x.band), weight * x.band, linear,
                        vectors.keep[s], vectors.shift[s, k + c], half,
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
def _share(p: Array, total: Array, a: Array) -> None:
    for j in range(p.size):
        a[j] = p[j] / total[j]


@njit(parallel=True, fastmath=EXACT, cache=True)
def normalise(log_plan, kernel, p, a, sizes, top, partial):
    """From log T to K and a; the column sums go to ``partial``; ``top`` is working memory, (T, 2, CHUNK)."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m, sums = sizes.m[s], partial[task]
        sums[:m] = f32(0.0)
        for start in range(first, last, CHUNK):
            stop = min(start + CHUNK, last)
            largest, total = top[task, 0, : stop - start], top[task, 1, : stop - start]
            largest[:] = f32(-np.inf)
            for k in range(m):
                _raise_to(largest, log_plan[s, k, start:stop])
            total[:] = f32(0.0)
            for k in range(m):
                _exp_column(log_plan[s, k, start:stop], largest, total, kernel[s, k, start:stop])
            _share(p[s, start:stop], total, a[s, start:stop])
            for k in range(m):
                sums[k] += kernels.dot(kernel[s, k, start:stop], a[s, start:stop])


@njit(parallel=True, fastmath=EXACT, cache=True)
def collect(kernel, a, plan, sizes, totals, compare):
    """Write ``T = a K`` to the (B, N, M) plan; with ``compare``, the mass that moves goes to ``totals``."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        moved = 0.0
        for k in range(sizes.m[s]):
            for i in range(first, last):
                value = a[s, i] * kernel[s, k, i]
                if compare:
                    moved += abs(value - plan[s, i, k])
                plan[s, i, k] = value
        totals[task] = moved


@njit(cache=True)
def solve_few(
    cost, log_plan, kernel, plan, vectors, coefficients, alpha, x, y, sizes, scratch, measured, iterations, stop
):  # fmt: skip
    """All mirror steps, or until one sample has settled to ``stop``, if that is positive.

    Otherwise the (B, N, M) plan may share its memory with the transposed (B, M, N) cost.
    """
    columns = measured.columns
    top = np.empty((len(sizes.tasks), 2, CHUNK), np.float32)
    before = moved = 0.0
    for k in range(iterations):
        gradient_step(cost, log_plan, kernel, vectors, alpha, x, y, sizes, scratch)
        last = k == iterations - 1
        if last or (stop > 0.0 and k == 0):
            collect(kernel, vectors.a, plan, sizes, scratch.totals, False)
        normalise(log_plan, kernel, vectors.p, vectors.a, sizes, top, scratch.sums)
        column_sums(sizes, scratch.sums, columns)
        for s in range(len(sizes.m)):
            m = sizes.m[s]
            kernels.relax(columns[s, :m], vectors.q[s, :m], vectors.shift[s, :m], vectors.rate[s] * coefficients.relax)
        if last or stop > 0.0:
            collect(kernel, vectors.a, plan, sizes, scratch.totals, True)
            per_sample(sizes, scratch.totals, measured.moved)
            before, moved = moved, measured.moved[0]
            if stop > 0.0 and has_settled(moved, before, stop):
                break
