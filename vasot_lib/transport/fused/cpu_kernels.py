r"""Row-wise kernels of the fused CPU path, compiled by Numba on first use and cached on disk.

:mod:`vasot_lib.transport.fused.cpu` explains the algorithm and its symbols. Arrays are float32: (B, N, M) for plans,
(B, N) and (B, M) for vectors. ``sizes.n`` and ``sizes.m`` hold the real lengths; padding is neither read nor written.
``x`` and ``y`` are the :class:`StructureMatrix` of rows and columns.

A *task* is a block of rows of one sample, and a parallel pass runs over all tasks. Sums over rows go to one line of
``partial`` per task and are added up in a fixed order afterwards, whichever thread was faster. Functions of single rows
are always inlined: otherwise Numba may compile them twice, as such and as parts of their callers, with other roundings,
and a process that loads compiled code from disk would get other bits than the one that compiled it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from vasot_lib.transport.reference import SHORT

Array = NDArray[np.float32]
Ints = NDArray[np.int64]
f32 = np.float32

# Flags of LLVM's fast-math without those that reorder sums and products: the precision of exp2 depends on their order.
# Kernels that may reorder them, which lets sums be vectorised, have ``fastmath=True`` instead.
EXACT = {"contract", "nnan", "ninf", "nsz"}
TINY = f32(1e-30)
LOG2E = f32(1.4426950408889634)  # log T and shift are logarithms to base 2, so that exp2 need not scale its argument
LOWEST = np.int32(-(2**31))
NO_MASS = f32(-1e30)  # logarithm of zero mass: finite, so that no infinity enters the arithmetic
ROWS = 4  # rows whose running sums are computed together: a single one would wait for each addition to complete


class StructureMatrix(NamedTuple):
    """A :class:`vasot_lib.transport.structure.Operator` as Numba takes it; windows are (B,) half-widths in frames."""

    ones: f32
    identity: f32
    band: f32
    free: int
    windows: Ints


class Sizes(NamedTuple):
    """(B,) real lengths of rows and of columns; (T, 3) tasks: sample, first row, row after the last."""

    n: Ints
    m: Ints
    tasks: Ints


@njit(forceinline=True, fastmath=EXACT, cache=True)
def exp2(x):
    """2^x for x <= 127, relative error 2e-7: the power of two of the nearest integer times a polynomial of the rest."""
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
    """Natural logarithm of a normal float32 x > 0, relative error 1e-7."""
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
def _sortable(x):
    """The bits of a float32 as an int32 of the same order, and back: only maxima of integers are vectorised."""
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
    """``out = x y``, entry by entry."""
    for j in range(x.size):
        out[j] = x[j] * y[j]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def running_sums(x: Array, running: Array, free: int, m: int, half: int) -> None:
    """``running[k, j + half + 1]`` is the sum of row k of x up to j, after half + 1 zeros and before half totals."""
    x0, x1, x2, x3 = x[0, free:m], x[1, free:m], x[2, free:m], x[3, free:m]
    n = m - free
    s0, s1, s2, s3 = (
        running[0, half + 1 : half + 1 + n], running[1, half + 1 : half + 1 + n],
        running[2, half + 1 : half + 1 + n], running[3, half + 1 : half + 1 + n],
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
        running[k, : half + 1] = f32(0.0)
        running[k, n + half + 1 : n + 2 * half + 1] = running[k, n + half]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _window_row(plan: Array, z: Array, running: Array, half: int, y: StructureMatrix, relative: bool) -> None:
    """One row of ``T Cy`` from the running sums of its T."""
    centre, band, free = y.identity - y.band, y.band, y.free
    n = plan.size - free
    total = y.ones * running[n + half]
    constant = f32(0.0) if relative else total
    for j in range(free):
        z[j] = constant - total
    inner, out, ahead, behind = plan[free:], z[free:], running[2 * half + 1 :], running
    for j in range(n):
        out[j] = constant + centre * inner[j] + band * (ahead[j] - behind[j])


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _distinct_row(plan: Array, z: Array, y: StructureMatrix, relative: bool) -> None:
    """One row of ``T Cy`` without a window: ``ones * total + identity * T``."""
    constant = f32(0.0) if relative else y.ones * _sum(plan)
    for j in range(plan.size):
        z[j] = constant + y.identity * plan[j]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _scale_row(x: Array, a: f32, b: Array, out: Array) -> None:
    for j in range(x.size):
        out[j] = a * x[j] * b[j]


@njit(parallel=True, fastmath=EXACT, cache=True)
def blur(kernel, a, b, z, rows, running, y, sizes, relative):
    """``Z = T Cy`` with ``T_ij = a_i K_ij b_j``; T itself lives for four rows at a time.

    ``relative`` leaves out ``ones * total``. This is the same number in all columns of a row and drops out when the row
    is scaled to p; what is left is smaller and therefore more exact.
    """
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m, half = sizes.m[s], y.windows[s]
        column, some, sums = b[s, :m], rows[task], running[task]
        for start in range(first, last, ROWS):
            count = min(ROWS, last - start)
            for k in range(count):
                _scale_row(kernel[s, start + k, :m], a[s, start + k], column, some[k, :m])
            if y.band != f32(0.0):
                running_sums(some, sums, y.free, m, half)
            for k in range(count):
                if y.band != f32(0.0):
                    _window_row(some[k, :m], z[s, start + k, :m], sums[k], half, y, relative)
                else:
                    _distinct_row(some[k, :m], z[s, start + k, :m], y, relative)


@njit(parallel=True, fastmath=EXACT, cache=True)
def scale(plan: Array, a: Array, b: Array, sizes: Sizes) -> None:
    """``T_ij <- a_i T_ij b_j``, and a and b become 1."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m = sizes.m[s]
        for i in range(first, last):
            row, factor, column = plan[s, i, :m], a[s, i], b[s, :m]
            for j in range(m):
                row[j] = (row[j] * factor) * column[j]  # in this order: factor * column may overflow
    a[:] = f32(1.0)
    b[:] = f32(1.0)


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _start_window(z: Array, window: Array, i: int, free: int, n: int, m: int, half: int) -> None:
    """window_j = sum of Z over the rows that the window of row i - 1 covers."""
    window[:m] = f32(0.0)
    for k in range(max(i - half - 1, free), min(i + half, n)):
        row = z[k]
        for j in range(m):
            window[j] += row[j]


@njit(forceinline=True, fastmath=True, cache=True)
def _log_kernel_row(cost, log_plan, z, enter, leave, window, centre, band, linear, keep, shift):
    """Write ``keep L + linear C + centre Z + band window + shift`` over L; move the window down; the largest entry."""
    top = LOWEST
    for j in range(cost.size):
        near = window[j] + (enter[j] - leave[j])
        window[j] = near
        value = keep * log_plan[j] + linear * cost[j] + centre * z[j] + band * near + shift[j]
        log_plan[j] = value
        top = max(top, _sortable(f32(value).view(np.int32)))
    return np.int32(_sortable(top)).view(np.float32)


@njit(forceinline=True, fastmath=True, cache=True)
def _linear_row(cost, log_plan, linear, keep, shift):
    """The same without a structure term."""
    top = LOWEST
    for j in range(cost.size):
        value = keep * log_plan[j] + linear * cost[j] + shift[j]
        log_plan[j] = value
        top = max(top, _sortable(f32(value).view(np.int32)))
    return np.int32(_sortable(top)).view(np.float32)


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
    """The same written over x. (Called with out = x, :func:`_exp_row` would not be vectorised.)"""
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
def move(cost, log_plan, kernel, in_place, z, p, a, shift, keep, rate, alpha, x, sizes, window, partial):
    """From Z to the next L, ``K = 2^(L - row maximum)``, a that scales its rows to p, and the column sums of ``a K``.

    With ``in_place`` K is written over L, and ``kernel`` stays as it was.
    """
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        n, m, half = sizes.n[s], sizes.m[s], x.windows[s]
        sums, near, nothing = partial[task, :m], window[task, 0, :m], window[task, 1, :m]
        sums[:] = f32(0.0)
        nothing[:] = f32(0.0)
        linear, weight = -LOG2E * rate[s] * (f32(1.0) - alpha), -LOG2E * rate[s] * alpha
        centre, band = weight * (x.identity - x.band), weight * x.band
        refresh = max(64, 8 * half)  # rows after which the window is summed up again, to limit rounding errors
        for i in range(first, last):
            row = log_plan[s, i, :m]
            if alpha > f32(0.0) and i >= x.free:
                if i == x.free or (i - first) % refresh == 0:
                    _start_window(z[s], near, i, x.free, n, m, half)
                enter = z[s, i + half, :m] if i + half < n else nothing
                leave = z[s, i - half - 1, :m] if i - half - 1 >= x.free else nothing
                top = _log_kernel_row(
                    cost[s, i, :m], row, z[s, i, :m], enter, leave, near, centre, band, linear, keep[s], shift[s, :m]
                )
            else:
                top = _linear_row(cost[s, i, :m], row, linear, keep[s], shift[s, :m])
            if in_place:
                a[s, i] = p[s, i] / _exp_row_in_place(row, top)
                _add_row(row, a[s, i], sums)
            else:
                a[s, i] = p[s, i] / _exp_row(row, top, kernel[s, i, :m])
                _add_row(kernel[s, i, :m], a[s, i], sums)


@njit(parallel=True, fastmath=EXACT, cache=True)
def sweep(kernel: Array, b: Array, a: Array, p: Array, weights: Array, sizes: Sizes, partial: Array) -> None:
    """Half a Sinkhorn sweep, ``a = p / (K b)``, :func:`lengthened` by weights; ``partial`` gets the sums of ``a K``."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m = sizes.m[s]
        sums = partial[task, :m]
        sums[:] = f32(0.0)
        for i in range(first, last):
            row = kernel[s, i, :m]
            a[s, i] = lengthened(a[s, i], p[s, i] / max(dot(row, b[s, :m]), TINY), weights[s])
            _add_row(row, a[s, i], sums)


@njit(forceinline=True, fastmath=EXACT, cache=True)
def lengthened(old: f32, new: f32, weight: f32) -> f32:
    """As ``reference._lengthened``: ``old (new / old)^weight`` where the two are near each other, otherwise ``new``."""
    if weight == f32(1.0) or old <= f32(0.0) or new <= f32(0.0):
        return new
    step = log(max(new, TINY)) - log(max(old, TINY))
    return new * exp2(LOG2E * (weight - f32(1.0)) * step) if abs(step) < SHORT else new


@njit(forceinline=True, fastmath=EXACT, cache=True)
def relax(columns: Array, q: Array, shift: Array, weight: f32) -> None:
    """The explicit rate of a relaxed side: ``shift = -weight log(columns / q)``."""
    for j in range(q.size):
        log_ratio = log(max(columns[j], TINY)) - log(max(q[j], TINY))
        shift[j] = -LOG2E * weight * log_ratio if q[j] > f32(0.0) else NO_MASS


@njit(forceinline=True, fastmath=True, cache=True)
def _objective_row(cost, plan, z, enter, leave, window, centre, band, linear, epsilon):
    total = f32(0.0)
    for j in range(plan.size):
        near = window[j] + (enter[j] - leave[j])
        window[j] = near
        t = plan[j]
        entropy = log(max(t, f32(1.2e-38))) - f32(1.0)
        total += t * (linear * cost[j] + centre * z[j] + band * near + epsilon * entropy)
    return total


@njit(parallel=True, fastmath=EXACT, cache=True)
def measure(cost, plan, z, alpha, epsilon, x, sizes, window, partial, row_sums, totals):
    """The objective without its KL terms, per task, to ``totals``; row sums; column sums per task to ``partial``."""
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
            centre = band = f32(0.0)
            if alpha > f32(0.0) and i >= x.free:
                centre, band, blurred = weight * (x.identity - x.band), weight * x.band, z[s, i, :m]
                if i == x.free or i == first:
                    _start_window(z[s], near, i, x.free, n, m, half)
                enter = z[s, i + half, :m] if i + half < n else nothing
                leave = z[s, i - half - 1, :m] if i - half - 1 >= x.free else nothing
            total += _objective_row(cost[s, i, :m], row, blurred, enter, leave, near, centre, band, linear, epsilon)
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
def moved(before, a_before, b_before, after, a_after, b_after, sizes, totals):
    """``sum |T_k - T_(k-1)|`` per task; both plans are given as a kernel and its scalings."""
    for task in prange(len(sizes.tasks)):
        s, first, last = sizes.tasks[task]
        m = sizes.m[s]
        total = 0.0
        for i in range(first, last):
            total += _moved_row(
                before[s, i, :m], a_before[s, i], b_before[s, :m], after[s, i, :m], a_after[s, i], b_after[s, :m]
            )
        totals[task] = total
