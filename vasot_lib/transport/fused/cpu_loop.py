"""The iterations of the fused CPU path, from the first kernel to the measured plan, in one compiled function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vasot_lib.transport.fused import cpu_kernels as kernels
from vasot_lib.transport.fused.cpu_kernels import EXACT, LOG2E, NEVER, TINY, Array, f32
from vasot_lib.transport.reference import MOST_FINISHING_SWEEPS, SWEEPS_BETWEEN_CHECKS


class Scheme(NamedTuple):
    """The numbers that tell the schemes apart; phi is lambda / (lambda + scale), 1 where the columns are fixed."""

    mirror: bool
    proximal: bool
    phi: np.float32
    relax: np.float32
    end_on_rows: bool
    sweeps: int


class Vectors(NamedTuple):
    """Masses, scalings and potentials: (B, N), (B, M) or (B,); see the module's text."""

    p: Array
    q: Array
    r: Array
    b: Array
    v: Array
    w: Array
    keep: Array
    step: Array


class Scratch(NamedTuple):
    """Per task: four rows of T, their running sums, a sliding window and a row of zeros, column sums, a total."""

    rows: Array
    running: Array
    window: Array
    sums: Array
    totals: NDArray[np.float64]


class Measured(NamedTuple):
    """Per sample: row sums, column sums, J without the terms of relaxed marginals, mass that moved last."""

    rows: Array
    columns: Array
    objective: NDArray[np.float64]
    moved: NDArray[np.float64]


@njit(cache=True)
def solve(cost, plan, kernel, z, vectors, scheme, alpha, x, y, sizes, scratch, measured, iterations, tolerance):
    """All iterations and the finishing sweeps, which a tolerance below 0 leaves out; ``plan`` is log T at first.

    Leaves a plan that is still to be scaled by r and b.
    """
    p, r, b = vectors.p, vectors.r, vectors.b
    structured = alpha > f32(0.0)
    r_before, b_before = r.copy(), b.copy()
    for k in range(iterations):
        last = k == iterations - 1
        if k > 0 and scheme.end_on_rows:
            kernels.sweep(kernel, b, r, p, sizes, scratch.sums)
        if structured:  # and so relative; for a constant True Numba would compile `blur` once more
            kernels.blur(kernel, r, b, z, scratch.rows, scratch.running, y, sizes, structured)
        if last:
            r_before[:], b_before[:] = r, b
        # The last kernel goes over log T, so that the plan before it is still there to compare with.
        kernels.move(
            cost, plan, kernel, last, z, p, r, vectors.w, vectors.keep, vectors.step, alpha, x, sizes, scratch.window,
            scratch.sums,
        )  # fmt: skip
        for _ in range(scheme.sweeps - 1):
            _columns(vectors, scheme, sizes, scratch.sums, measured.columns, False)
            kernels.sweep(plan if last else kernel, b, r, p, sizes, scratch.sums)
        _columns(vectors, scheme, sizes, scratch.sums, measured.columns, True)
    if scheme.end_on_rows:
        kernels.sweep(plan, b, r, p, sizes, scratch.sums)
    kernels.moved(kernel, r_before, b_before, plan, r, b, sizes, scratch.totals)
    per_sample(sizes, scratch.totals, measured.moved)
    if tolerance > f32(0.0):
        kernels.scale(plan, r, b, sizes)
        _project(plan, vectors, sizes, scratch.sums, measured.columns, tolerance)


@njit(cache=True)
def finish(cost, plan, z, vectors, alpha, epsilon, x, y, sizes, scratch, measured):
    """Scale the plan by r and b and measure it."""
    r, b = vectors.r, vectors.b
    structured = alpha > f32(0.0)
    if structured:
        kernels.blur(plan, r, b, z, scratch.rows, scratch.running, y, sizes, not structured)
    kernels.scale(plan, r, b, sizes)
    kernels.measure(
        cost, plan, z, alpha, epsilon, x, sizes, scratch.window, scratch.sums, measured.rows, scratch.totals
    )
    per_sample(sizes, scratch.totals, measured.objective)
    kernels.column_sums(sizes, scratch.sums, measured.columns)


@njit(forceinline=True, cache=True)
def per_sample(sizes, totals, out):
    """Add up the totals of each sample's tasks."""
    out[:] = 0.0
    for task in range(len(sizes.tasks)):
        out[sizes.tasks[task, 0]] += totals[task]


@njit(forceinline=True, cache=True)
def _columns(vectors, scheme, sizes, sums, columns, last):
    """From the column sums of all tasks to b and w; only the last sweep of an iteration moves the potential v."""
    kernels.column_sums(sizes, sums, columns)
    for s in range(len(sizes.m)):
        m = sizes.m[s]
        q, b, v, w = vectors.q[s, :m], vectors.b[s, :m], vectors.v[s, :m], vectors.w[s, :m]
        if scheme.mirror:
            kernels.relax(columns[s, :m], q, w, vectors.step[s] * scheme.relax)
        else:
            _scalings(columns[s, :m], q, b, v, scheme.phi)
            if last and scheme.proximal:
                _advance(b, q, v, w, vectors.keep[s])


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _scalings(columns: Array, q: Array, b: Array, v: Array, phi: f32) -> None:
    """``log b = phi (log q - log columns) - (1 - phi) v``; columns without mass get b = 0."""
    for j in range(q.size):
        log_b = phi * (kernels.log(max(q[j], TINY)) - kernels.log(max(columns[j], TINY))) - (f32(1.0) - phi) * v[j]
        b[j] = kernels.exp2(min(LOG2E * log_b, f32(127.0))) if q[j] > f32(0.0) else f32(0.0)


@njit(forceinline=True, fastmath=EXACT, cache=True)
def _advance(b: Array, q: Array, v: Array, w: Array, keep: f32) -> None:
    """The potential moves by log b, and L gets its share of it."""
    for j in range(q.size):
        log_b = kernels.log(max(b[j], TINY))
        v[j] = v[j] + log_b if q[j] > f32(0.0) else NEVER
        w[j] = LOG2E * (keep * log_b + v[j])


@njit(cache=True)
def _project(plan, vectors, sizes, sums, columns, tolerance):
    """r and b that bring the plan to both marginals; what is done is left alone, as in ``reference``."""
    q, b = vectors.q, vectors.b
    done = np.zeros(len(sizes.m), np.bool_)
    for k in range(MOST_FINISHING_SWEEPS + 1):
        kernels.sweep(plan, b, vectors.r, vectors.p, sizes, sums)
        kernels.column_sums(sizes, sums, columns)
        if k % SWEEPS_BETWEEN_CHECKS == 0:
            for s in range(len(done)):
                error = f32(0.0)
                for j in range(sizes.m[s]):
                    if q[s, j] > f32(0.0):
                        error = max(error, abs(b[s, j] * columns[s, j] - q[s, j]) / q[s, j])
                done[s] = error <= tolerance
            if done.all() or k == MOST_FINISHING_SWEEPS:
                return
        for s in range(len(done)):
            if not done[s]:
                for j in range(sizes.m[s]):
                    b[s, j] = q[s, j] / max(columns[s, j], TINY)
