"""The iterations of the fused CPU path, from the first kernel to the measured plan, in one compiled function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vasot_lib.transport import reference
from vasot_lib.transport.fused import cpu_kernels as kernels
from vasot_lib.transport.fused.cpu_kernels import EXACT, LOG2E, NO_MASS, TINY, Array, f32
from vasot_lib.transport.reference import FIRST_WEIGHT, MOST_FINISHING_SWEEPS, SWEEPS_BETWEEN_CHECKS

has_settled, next_weight = njit(reference.has_settled), njit(reference.next_weight)


class Coefficients(NamedTuple):
    """In what the schemes differ, beside ``keep`` and ``rate``; see :mod:`vasot_lib.transport.fused.cpu`."""

    mirror: bool  # explicit mirror steps, for which b stays 1
    proximal: bool  # the potential v of the columns is kept between iterations
    phi: np.float32  # exponent of the column update, lambda / (lambda + eps + gamma); 1 where the columns are fixed
    relax: np.float32  # lambda of the columns; 0 where they are fixed
    end_on_rows: bool  # every iteration ends with half a sweep that makes the row masses exact
    sweeps: int  # Sinkhorn sweeps per iteration


class Vectors(NamedTuple):
    """The vectors of a solve: masses p, q and scalings a, b such that the plan is ``a_i K_ij b_j``, and others."""

    p: Array  # (B, N)
    q: Array  # (B, M)
    a: Array  # (B, N)
    b: Array  # (B, M)
    v: Array  # (B, M) potential of the columns
    shift: Array  # (B, M) what is added to the columns of the next log-kernel
    keep: Array  # (B,) weight of the last log T in the next log-kernel
    rate: Array  # (B,) weight of the gradient in it


class Scratch(NamedTuple):
    """Working memory, one line per task."""

    rows: Array  # four rows of T
    running: Array  # their running sums
    window: Array  # the sum of Z over a sliding window of rows, and a row of zeros
    sums: Array  # column sums
    totals: NDArray[np.float64]  # one number, such as the mass that moved


class Measured(NamedTuple):
    """What is measured on each plan."""

    rows: Array  # row sums
    columns: Array  # column sums
    objective: NDArray[np.float64]  # J without its KL terms
    moved: NDArray[np.float64]  # mass that the last iteration moved


@njit(cache=True)
def solve(
    cost, plan, kernel, spare, z, vectors, coefficients, alpha, x, y, sizes, scratch, measured, iterations, tolerance,
    stop,
):  # fmt: skip
    """All iterations, then the finishing sweeps, unless ``tolerance`` is negative.

    ``plan`` holds log T at first, and at the end the kernel that is still to be scaled by a and b. If ``stop`` is
    positive, there is one sample, iterations end when it has settled to that, and ``spare`` has room for a kernel.
    """
    p, a, b = vectors.p, vectors.a, vectors.b
    structured = alpha > f32(0.0)
    a_before, b_before = a.copy(), b.copy()
    plain = np.ones(len(sizes.m), f32)
    before = moved = 0.0
    for k in range(iterations):
        last = k == iterations - 1
        in_place = last and stop <= 0.0
        new = plan if in_place else spare if stop > 0.0 else kernel
        if structured:  # the last argument too: a constant True would make Numba compile `blur` again
            kernels.blur(kernel, a, b, z, scratch.rows, scratch.running, y, sizes, structured)
        if last or stop > 0.0:
            a_before, b_before = a.copy(), b.copy()
        # The last kernel is written over log T: the kernel before it is needed to see how much mass moved.
        kernels.move(
            cost, plan, new, in_place, z, p, a, vectors.shift, vectors.keep, vectors.rate, alpha, x, sizes,
            scratch.window, scratch.sums,
        )  # fmt: skip
        for _ in range(coefficients.sweeps - 1):
            _columns(vectors, coefficients, sizes, scratch.sums, measured.columns, False)
            kernels.sweep(new, b, a, p, plain, sizes, scratch.sums)
        _columns(vectors, coefficients, sizes, scratch.sums, measured.columns, True)
        if coefficients.end_on_rows:
            kernels.sweep(new, b, a, p, plain, sizes, scratch.sums)
        if last or stop > 0.0:
            kernels.moved(kernel, a_before, b_before, new, a, b, sizes, scratch.totals)
            per_sample(sizes, scratch.totals, measured.moved)
            before, moved = moved, measured.moved[0]
        if stop > 0.0:
            kernel, spare = new, kernel
            if has_settled(moved, before, stop):
                break
    if stop > 0.0:
        _copy(kernel, plan)
    if tolerance > f32(0.0):
        kernels.scale(plan, a, b, sizes)
        _project(plan, vectors, sizes, scratch.sums, measured.columns, tolerance)


@njit(cache=True)
def finish(cost, plan, z, vectors, alpha, epsilon, x, y, sizes, scratch, measured):
    """Scale the plan by a and b and measure it."""
    a, b = vectors.a, vectors.b
    structured = alpha > f32(0.0)
    if structured:
        kernels.blur(plan, a, b, z, scratch.rows, scratch.running, y, sizes, not structured)
    kernels.scale(plan, a, b, sizes)
    kernels.measure(
        cost, plan, z, alpha, epsilon, x, sizes, scratch.window, scratch.sums, measured.rows, scratch.totals
    )
    per_sample(sizes, scratch.totals, measured.objective)
    column_sums(sizes, scratch.sums, measured.columns)


@njit(forceinline=True, cache=True)
def _copy(source, target):
    """As ``target[:] = source``, for whose error message Numba would compile operations on strings."""
    for s in range(source.shape[0]):
        for i in range(source.shape[1]):
            for j in range(source.shape[2]):
                target[s, i, j] = source[s, i, j]


@njit(forceinline=True, cache=True)
def per_sample(sizes, totals, out):
    """Add up the totals of each sample's tasks."""
    out[:] = 0.0
    for task in range(len(sizes.tasks)):
        out[sizes.tasks[task, 0]] += totals[task]


@njit(forceinline=True, fastmath=EXACT, cache=True)
def column_sums(sizes, partial, out):
    """Add up the lines of ``partial`` that belong to each sample, in order: (T, M) to (B, M)."""
    out[:] = f32(0.0)
    for task in range(len(sizes.tasks)):
        s = sizes.tasks[task, 0]
        for j in range(sizes.m[s]):
            out[s, j] += partial[task, j]


@njit(forceinline=True, cache=True)
def _columns(vectors, coefficients, sizes, sums, columns, last):
    """From the column sums of all tasks to b and shift; the potential v follows in the last sweep of an iteration."""
    column_sums(sizes, sums, columns)
    for s in range(len(sizes.m)):
        m = sizes.m[s]
        q, b, v, shift = vectors.q[s, :m], vectors.b[s, :m], vectors.v[s, :m], vectors.shift[s, :m]
        if coefficients.mirror:
            kernels.relax(columns[s, :m], q, shift, vectors.rate[s] * coefficients.relax)
        else:
            _scalings(columns[s, :m], q, b, v, coefficients.phi)
            if last and coefficients.proximal:
                _advance(b, q, v, shift, vectors.keep[s])


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _scalings(columns: Array, q: Array, b: Array, v: Array, phi: f32) -> None:
    """``log b = phi (log q - log columns) - (1 - phi) v``; columns without mass get b = 0."""
    for j in range(q.size):
        log_b = phi * (kernels.log(max(q[j], TINY)) - kernels.log(max(columns[j], TINY))) - (f32(1.0) - phi) * v[j]
        b[j] = kernels.exp2(min(LOG2E * log_b, f32(127.0))) if q[j] > f32(0.0) else f32(0.0)


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _advance(b: Array, q: Array, v: Array, shift: Array, keep: f32) -> None:
    """``v <- v + log b`` and ``shift = v + keep log b``, since L does not yet contain the b of this iteration."""
    for j in range(q.size):
        log_b = kernels.log(max(b[j], TINY))
        v[j] = v[j] + log_b if q[j] > f32(0.0) else NO_MASS
        shift[j] = LOG2E * (keep * log_b + v[j])


@njit(cache=True)
def _project(plan, vectors, sizes, sums, columns, tolerance):
    """The a and b that scale the plan to both marginals; samples that meet them are left as they are."""
    q, b = vectors.q, vectors.b
    count = len(sizes.m)
    done, before = np.zeros(count, np.bool_), np.full(count, np.inf)
    plain, weights = np.ones(count, f32), np.full(count, f32(FIRST_WEIGHT))
    for k in range(MOST_FINISHING_SWEEPS + 1):
        since = k % SWEEPS_BETWEEN_CHECKS
        kernels.sweep(plan, b, vectors.a, vectors.p, plain if since <= 1 else weights, sizes, sums)
        column_sums(sizes, sums, columns)
        if since == 0:
            for s in range(count):
                error = 0.0
                for j in range(sizes.m[s]):
                    if q[s, j] > f32(0.0):
                        error = max(error, abs(b[s, j] * columns[s, j] - q[s, j]) / q[s, j])
                done[s] = error <= tolerance
                weights[s] = next_weight(weights[s], error / max(before[s], TINY))
                before[s] = error
            if done.all() or k == MOST_FINISHING_SWEEPS:
                return
        for s in range(count):
            if not done[s]:
                for j in range(sizes.m[s]):
                    b[s, j] = kernels.lengthened(b[s, j], q[s, j] / max(columns[s, j], TINY), weights[s])
