r"""Row-wise kernels of the fused CPU path, compiled by Numba on first use and cached on disk.

Every pass runs over ``tasks``: (T, 3) rows of sample, first row, row behind the last. Arrays are float32: (B, N, M) for
plans, (B, N) and (B, M) for vectors; ``n`` and ``m`` hold the real lengths, and padding is never read nor written.
What a pass adds up over rows goes to one line of ``partial`` per task, so that results do not depend on timing. What
works on rows is inlined by force: compiled twice, it would round differently in the process that compiled it and in
those that load it from disk, as a symbol of its own and as a part of its caller.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Array = NDArray[np.float32]
Ints = NDArray[np.int64]
f32 = np.float32

# The order of operations carries the precision of exp; the rest is free to be vectorised.
EXACT = {"contract", "nnan", "ninf", "nsz"}
TINY = f32(1e-30)
LOG2E = f32(1.4426950408889634)  # L and w are logarithms to base 2: then the exponential needs no scaling
LOWEST = np.int32(-(2**31))
NEVER = f32(-1e30)  # log of no mass at all: finite, so that no infinity enters the arithmetic
NOTHING = np.empty((0, 0, 0), np.float32)  # in place of Z where the blur is not wanted
ROWS = 4  # running sums of so many rows go side by side: one alone would wait for each addition


class Side(NamedTuple):
    """One structure operator: see :class:`vasot_lib.transport.structure.Operator`."""

    ones: f32
    own: f32
    band: f32
    free: int
    windows: Ints


class Sizes(NamedTuple):
    """Real lengths per sample, and which rows each task covers."""

    n: Ints
    m: Ints
    tasks: Ints


@njit(forceinline=True, fastmath=EXACT, cache=True)
def exp2(x):
    """2^x for x <= 127 to 2e-7: a power of two times a polynomial on half an octave either side, vectorised."""
    n = np.rint(max(x, f32(-126.0)))
    r = max(x, f32(-126.0)) - n
    p = f32(1.535336188319500e-4)
    p = p * r + f32(1.339887440266574e-3)
    p = p * r + f32(9.618437357674640e-3)
    p = p * r + f32(5.550332471162809e-2)
    p = p * r + f32(2.402264791363012e-1)
    p = p * r + f32(6.931472028550421e-1)
    p = p * r + f32(1.0)
    value = p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return value if x > f32(-126.0) else f32(0.0)


@njit(forceinline=True, fastmath=True, cache=True)
def log(x):
    """log of a normal x > 0 to 1e-7."""
    bits = f32(x).view(np.int32)
    e = f32((bits >> np.int32(23)) - np.int32(127))
    f = np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    large = f > f32(1.4142135)
    f = (f * f32(0.5) if large else f) - f32(1.0)
    e = e + f32(1.0) if large else e
    p = f32(7.0376836292e-2)
    p = p * f - f32(1.1514610310e-1)
    p = p * f + f32(1.1676998740e-1)
    p = p * f - f32(1.2420140846e-1)
    p = p * f + f32(1.4249322787e-1)
    p = p * f - f32(1.6668057665e-1)
    p = p * f + f32(2.0000714765e-1)
    p = p * f - f32(2.4999993993e-1)
    p = p * f + f32(3.3333331174e-1)
    return e * f32(0.69314718) + (f + f * f * (f * p - f32(0.5)))


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _order(x):
    """float32 to int32 that sorts the same way, and back: compilers keep maxima of integers in vector registers."""
    bits = np.int32(x)
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@njit(forceinline=True, fastmath=True, cache=True)
def dot(x: Array, y: Array) -> f32:
    """Scalar product."""
    total = f32(0.0)
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@njit(forceinline=True, fastmath=True, cache=True)
def _sum(x: Array) -> f32:
    total = f32(0.0)
    for j in range(x.size):
        total += x[j]
    return total


@njit(forceinline=True, fastmath=EXACT, cache=True)
def multiply(x: Array, y: Array, out: Array) -> None:
    """Entry by entry."""
    for j in range(x.size):
        out[j] = x[j] * y[j]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def running_sums(x: Array, running: Array, free: int, m: int, w: int) -> None:
    """running[k, j + w + 1] = sum of row k of x up to j, with w + 1 zeros before and w totals behind."""
    x0, x1, x2, x3 = x[0, free:m], x[1, free:m], x[2, free:m], x[3, free:m]
    n = m - free
    s0, s1, s2, s3 = (
        running[0, w + 1 : w + 1 + n], running[1, w + 1 : w + 1 + n],
        running[2, w + 1 : w + 1 + n], running[3, w + 1 : w + 1 + n],
    )  # fmt: skip
    t0 = t1 = t2 = t3 = f32(0.0)
    for j in range(n):
        t0 += x0[j]
        t1 += x1[j]
        t2 += x2[j]
        t3 += x3[j]
        s0[j] = t0
        s1[j] = t1
        s2[j] = t2
        s3[j] = t3
    for k in range(ROWS):
        running[k, : w + 1] = f32(0.0)
        running[k, n + w + 1 : n + 2 * w + 1] = running[k, n + w]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _window_row(plan: Array, z: Array, running: Array, w: int, y: Side, relative: bool) -> None:
    """One row of ``T Cy`` from the running sums of its T."""
    own, band, free = y.own - y.band, y.band, y.free
    n = plan.size - free
    total = y.ones * running[n + w]
    shift = f32(0.0) if relative else total
    for j in range(free):
        z[j] = shift - total
    inner, out, ahead, behind = plan[free:], z[free:], running[2 * w + 1 :], running
    for j in range(n):
        out[j] = shift + own * inner[j] + band * (ahead[j] - behind[j])


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _distinct_row(plan: Array, z: Array, y: Side, relative: bool) -> None:
    """One row of ``T Cy`` without a window: ones * total + own * T."""
    shift = f32(0.0) if relative else y.ones * _sum(plan)
    for j in range(plan.size):
        z[j] = shift + y.own * plan[j]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _scale_row(x: Array, r: f32, b: Array, out: Array) -> None:
    for j in range(x.size):
        out[j] = r * x[j] * b[j]


@njit(parallel=True, fastmath=EXACT, cache=True)
def blur(kernel, r, b, z, rows, running, y, sizes, relative):
    """``Z = T Cy`` with ``T_ij = r_i K_ij b_j``; T itself lives for four rows at a time.

    ``relative`` leaves out ``ones * total``: the same in a whole row, it drops out when the row is scaled, and what is
    left has fewer digits to lose.
    """
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m, w = sizes.m[s], y.windows[s]
        column, some, sums = b[s, :m], rows[task], running[task]
        for start in range(first, last, ROWS):
            count = min(ROWS, last - start)
            for k in range(count):
                _scale_row(kernel[s, start + k, :m], r[s, start + k], column, some[k, :m])
            if y.band != f32(0.0):
                running_sums(some, sums, y.free, m, w)
            for k in range(count):
                if y.band != f32(0.0):
                    _window_row(some[k, :m], z[s, start + k, :m], sums[k], w, y, relative)
                else:
                    _distinct_row(some[k, :m], z[s, start + k, :m], y, relative)


@njit(parallel=True, fastmath=EXACT, cache=True)
def scale(plan: Array, r: Array, b: Array, sizes: Sizes) -> None:
    """``T_ij <- r_i T_ij b_j``, and r and b become 1."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m = sizes.m[s]
        for i in range(first, last):
            row, factor, column = plan[s, i, :m], r[s, i], b[s, :m]
            for j in range(m):
                row[j] = (row[j] * factor) * column[j]  # factor * column alone may overflow
    r[:] = f32(1.0)
    b[:] = f32(1.0)


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _start_window(z: Array, window: Array, i: int, free: int, n: int, m: int, w: int) -> None:
    """window_j = sum of Z over the rows that the window of row i - 1 covers."""
    window[:m] = f32(0.0)
    for k in range(max(i - w - 1, free), min(i + w, n)):
        row = z[k]
        for j in range(m):
            window[j] += row[j]


@njit(forceinline=True, fastmath=True, cache=True)
def _log_kernel_row(cost, log_plan, z, enter, leave, window, own, band, linear, keep, w):
    """``S = keep L + linear C + own Z + band window + w`` over L, the window moved one row down; the largest S."""
    top = LOWEST
    for j in range(cost.size):
        near = window[j] + (enter[j] - leave[j])
        window[j] = near
        value = keep * log_plan[j] + linear * cost[j] + own * z[j] + band * near + w[j]
        log_plan[j] = value
        top = max(top, _order(f32(value).view(np.int32)))
    return np.int32(_order(top)).view(np.float32)


@njit(forceinline=True, fastmath=True, cache=True)
def _linear_row(cost, log_plan, linear, keep, w):
    """The same without structure."""
    top = LOWEST
    for j in range(cost.size):
        value = keep * log_plan[j] + linear * cost[j] + w[j]
        log_plan[j] = value
        top = max(top, _order(f32(value).view(np.int32)))
    return np.int32(_order(top)).view(np.float32)


@njit(forceinline=True, fastmath=True, cache=True)
def _exp_row(x: Array, top: f32, out: Array) -> f32:
    """``out = 2^(x - top)`` and its sum."""
    total = f32(0.0)
    for j in range(x.size):
        value = exp2(x[j] - top)
        out[j] = value
        total += value
    return total


@njit(forceinline=True, fastmath=True, cache=True)
def _exp_row_in_place(x: Array, top: f32) -> f32:
    """The same over x: with two names for one array the compiler would not dare to use vectors."""
    total = f32(0.0)
    for j in range(x.size):
        x[j] = exp2(x[j] - top)
        total += x[j]
    return total


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _add_row(x: Array, scale: f32, sums: Array) -> None:
    for j in range(x.size):
        sums[j] += scale * x[j]


@njit(parallel=True, fastmath=EXACT, cache=True)
def move(cost, log_plan, kernel, in_place, z, p, r, w, keep, step, alpha, x, sizes, window, partial):
    """From Z to the next L and ``K = 2^(L - row maximum)``, with r that scales the rows of K to p.

    ``in_place`` writes K over L and leaves ``kernel`` as it was.
    """
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        n, m, half = sizes.n[s], sizes.m[s], x.windows[s]
        sums, near, nothing = partial[task, :m], window[task, 0, :m], window[task, 1, :m]
        sums[:] = f32(0.0)
        nothing[:] = f32(0.0)
        linear, weight = -LOG2E * step[s] * (f32(1.0) - alpha), -LOG2E * step[s] * alpha
        own, band = weight * (x.own - x.band), weight * x.band
        anew = max(64, 8 * half)  # rows after which the window is summed up afresh, lest rounding errors pile up
        for i in range(first, last):
            row = log_plan[s, i, :m]
            if alpha > f32(0.0) and i >= x.free:
                if i == x.free or (i - first) % anew == 0:
                    _start_window(z[s], near, i, x.free, n, m, half)
                enter = z[s, i + half, :m] if i + half < n else nothing
                leave = z[s, i - half - 1, :m] if i - half - 1 >= x.free else nothing
                top = _log_kernel_row(
                    cost[s, i, :m], row, z[s, i, :m], enter, leave, near, own, band, linear, keep[s], w[s, :m]
                )
            else:
                top = _linear_row(cost[s, i, :m], row, linear, keep[s], w[s, :m])
            if in_place:
                r[s, i] = p[s, i] / _exp_row_in_place(row, top)
                _add_row(row, r[s, i], sums)
            else:
                r[s, i] = p[s, i] / _exp_row(row, top, kernel[s, i, :m])
                _add_row(kernel[s, i, :m], r[s, i], sums)


@njit(parallel=True, fastmath=EXACT, cache=True)
def sweep(kernel: Array, b: Array, r: Array, p: Array, sizes: Sizes, partial: Array) -> None:
    """``r = p / (K b)``, and the column sums of ``r K``."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m = sizes.m[s]
        sums = partial[task, :m]
        sums[:] = f32(0.0)
        for i in range(first, last):
            row = kernel[s, i, :m]
            r[s, i] = p[s, i] / max(dot(row, b[s, :m]), TINY)
            _add_row(row, r[s, i], sums)


@njit(forceinline=True, fastmath=EXACT, cache=True)
def column_sums(sizes: Sizes, partial: Array, out: Array) -> None:
    """Add up the tasks of each sample, in their order: (T, M) to (B, M)."""
    out[:] = f32(0.0)
    for task in range(len(sizes.tasks)):
        s = sizes.tasks[task, 0]
        for j in range(sizes.m[s]):
            out[s, j] += partial[task, j]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def relax(columns: Array, q: Array, w: Array, weight: f32) -> None:
    """The explicit step of a relaxed side: ``w = -weight log(columns / q)``."""
    for j in range(q.size):
        log_ratio = log(max(columns[j], TINY)) - log(max(q[j], TINY))
        w[j] = -LOG2E * weight * log_ratio if q[j] > f32(0.0) else NEVER


@njit(forceinline=True, fastmath=True, cache=True)
def _objective_row(cost, plan, z, enter, leave, window, own, band, linear, epsilon):
    total = f32(0.0)
    for j in range(plan.size):
        near = window[j] + (enter[j] - leave[j])
        window[j] = near
        t = plan[j]
        entropy = log(max(t, f32(1.2e-38))) - f32(1.0)
        total += t * (linear * cost[j] + own * z[j] + band * near + epsilon * entropy)
    return total


@njit(parallel=True, fastmath=EXACT, cache=True)
def measure(cost, plan, z, alpha, epsilon, x, sizes, window, partial, row_sums, totals):
    """J up to the terms of relaxed marginals to ``totals``, row sums, and column sums to ``partial``."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        n, m, half = sizes.n[s], sizes.m[s], x.windows[s]
        sums, near, nothing = partial[task, :m], window[task, 0, :m], window[task, 1, :m]
        sums[:] = f32(0.0)
        near[:] = f32(0.0)
        nothing[:] = f32(0.0)
        linear, weight = f32(1.0) - alpha, f32(0.5) * alpha
        total = 0.0
        for i in range(first, last):
            row = plan[s, i, :m]
            blurred = enter = leave = nothing
            own = band = f32(0.0)
            if alpha > f32(0.0) and i >= x.free:
                own, band, blurred = weight * (x.own - x.band), weight * x.band, z[s, i, :m]
                if i == x.free or i == first:
                    _start_window(z[s], near, i, x.free, n, m, half)
                enter = z[s, i + half, :m] if i + half < n else nothing
                leave = z[s, i - half - 1, :m] if i - half - 1 >= x.free else nothing
            total += _objective_row(cost[s, i, :m], row, blurred, enter, leave, near, own, band, linear, epsilon)
            row_sums[s, i] = _sum(row)
            _add_row(row, f32(1.0), sums)
        totals[task] = total


@njit(forceinline=True, fastmath=True, cache=True)
def _moved_row(before, scale_before, b_before, after, scale_after, b_after):
    total = f32(0.0)
    for j in range(before.size):
        total += abs(scale_after * after[j] * b_after[j] - scale_before * before[j] * b_before[j])
    return total


@njit(parallel=True, fastmath=EXACT, cache=True)
def moved(before, r_before, b_before, after, r_after, b_after, sizes, totals):
    """``sum |T_k - T_(k-1)|`` per task, from both kernels and their scalings."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m = sizes.m[s]
        total = 0.0
        for i in range(first, last):
            total += _moved_row(
                before[s, i, :m], r_before[s, i], b_before[s, :m], after[s, i, :m], r_after[s, i], b_after[s, :m]
            )
        totals[task] = total
