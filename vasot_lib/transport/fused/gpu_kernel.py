r"""The one Triton kernel of the GPU path: a whole solve, from the cost to the plan and its objective, in one launch.

A group of ``parts`` programs works on a sample. They share its rows, in the sums along i its columns, and wait for each
other at a barrier in memory (:func:`meet`) wherever a step reads what another program wrote. The launch is cooperative,
so that all programs run at the same time. Where there are more samples than groups, a group solves one sample after
another. :mod:`vasot_lib.transport.fused.gpu` describes the steps.

``arrived`` counts the arrivals at the barrier after which all programs of the group may go on. ``parity`` says which of
two sets of column sums is written: a program may write those of the next sweep while another still reads these.
``vector`` is the row of b, v and shift that a program reads and writes.
"""
# mypy: disallow-untyped-defs=False

import triton
import triton.language as tl

from vasot_lib.transport.fused.gpu_phases import (
    MEASURES,
    TINY,
    absorb,
    column_total,
    largest_error,
    measure_rows,
    scale_columns,
    step_rows,
    structure_term,
    sum_along_column,
    sum_along_row,
    sum_band_along_column,
    sweep_rows,
    write_plan,
)

# Rows of ``Arrays.partial``: what each program of a group has measured.
LARGEST, MOVED, OBJECTIVE, ERROR_X, ERROR_Y = (tl.constexpr(row) for row in range(5))
PARTS_AT_ONCE = tl.constexpr(64)  # parts whose measurements are read at a time
NONE, FLAT, BAND = (tl.constexpr(kind) for kind in range(3))  # STRUCTURE: what the prior of the columns needs


@triton.jit(do_not_specialize=["batch", "parts", "iterations", "sweeps", "checks", "sweeps_between"])
def solve(
    arrays, sizes, weights, batch, parts, iterations, sweeps, checks, sweeps_between, tolerance,
    STRUCTURE: tl.constexpr, MIRROR: tl.constexpr, PROXIMAL: tl.constexpr, EXACT_ROWS: tl.constexpr,
    FINISH: tl.constexpr, WIDE: tl.constexpr, TOGETHER: tl.constexpr, SHARED: tl.constexpr, ROWS: tl.constexpr,
    TILE: tl.constexpr, COLUMNS: tl.constexpr, BAND_ROWS: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Solve ``batch`` samples.

    ``MIRROR``: explicit mirror steps (a relaxed side); otherwise Sinkhorn sweeps, with a ``PROXIMAL`` term or without.
    ``EXACT_ROWS``: half a sweep more after each iteration makes the row masses exact. ``FINISH``: sweeps at the end,
    checked every ``sweeps_between`` sweeps and at most ``checks`` times, until the marginals are met. ``WIDE``: a row
    takes several tiles. ``TOGETHER``: there is more than one program for a sample. ``SHARED``: programs share the
    columns of b instead of computing all of them themselves.

    There is one step before the iterations, which finds the step size of ``MIRROR``, and one after them, which measures
    the plan. Both need the structure term as the iterations do, and code that stands here once is compiled once.
    """
    part = tl.program_id(0)
    arrived = 0
    for each in range(tl.program_id(1), batch, tl.num_programs(1)):
        sample = tl.cast(each, tl.int64)
        vector = sample if SHARED else sample * parts + part
        scale = weights.epsilon * (2.0 if PROXIMAL else 1.0)
        rate, keep = 1.0 / scale, 1.0 - weights.epsilon / scale
        phi = weights.relax / (weights.relax + scale) if EXACT_ROWS else 1.0
        arrived = _start(arrays, sizes, sample, vector, part, parts, arrived, TOGETHER, ROWS, TILE)
        parity = 0
        for step in range(-1 if MIRROR else 0, iterations + 1):
            if step >= iterations - 1:
                arrived = _collect(
                    arrays, sizes, sample, vector, part, parts, arrived, EXACT_ROWS, TOGETHER, ROWS, TILE
                )
            if FINISH:  # noqa: SIM102 (one of them is known when the kernel is compiled)
                if step == iterations:
                    arrived, parity = _finish(
                        arrays, sizes, weights, sample, vector, part, parts, arrived, parity, checks, sweeps_between,
                        tolerance, WIDE, TOGETHER, SHARED, ROWS, TILE, COLUMNS, GROUP,
                    )  # fmt: skip
            if STRUCTURE != NONE:
                full = tl.where((step < 0) | (step == iterations), 1.0, 0.0)
                arrived = _structure(
                    arrays, sizes, weights, sample, vector, part, parts, arrived, full,
                    STRUCTURE, EXACT_ROWS, TOGETHER, ROWS, TILE, COLUMNS, BAND_ROWS,
                )  # fmt: skip
            if step < 0:
                rate, arrived = _mirror_rate(
                    arrays, sizes, weights, sample, part, parts, arrived, STRUCTURE, TOGETHER, ROWS, TILE
                )
                keep = 1.0 - weights.epsilon * rate
                arrived = _start(arrays, sizes, sample, vector, part, parts, arrived, TOGETHER, ROWS, TILE)
            elif step < iterations:
                arrived, parity = _iterate(
                    arrays, sizes, weights, sample, vector, part, parts, arrived, parity, sweeps, rate, keep, phi,
                    STRUCTURE, MIRROR, PROXIMAL, FINISH, WIDE, TOGETHER, SHARED, ROWS, TILE, COLUMNS, GROUP,
                )  # fmt: skip
        arrived = _measure(
            arrays, sizes, weights, batch, sample, part, parts, arrived, parity,
            STRUCTURE, EXACT_ROWS or MIRROR, TOGETHER, ROWS, TILE, COLUMNS, GROUP,
        )  # fmt: skip


@triton.jit
def meet(arrays, parts, arrived, TOGETHER: tl.constexpr):
    """Wait until all programs of the group are here; what they have written can be read afterwards."""
    tl.debug_barrier()
    if TOGETHER:
        arrived += parts
        barrier = arrays.barrier + tl.program_id(1)
        tl.atomic_add(barrier, 1, sem="acq_rel", scope="gpu")
        while tl.atomic_add(barrier, 0, sem="acq_rel", scope="gpu") < arrived:
            pass
        tl.debug_barrier()
    return arrived


@triton.jit
def _iterate(
    arrays, sizes, weights, sample, vector, part, parts, arrived, parity, sweeps, rate, keep, phi,
    STRUCTURE: tl.constexpr, MIRROR: tl.constexpr, PROXIMAL: tl.constexpr, FINISH: tl.constexpr, WIDE: tl.constexpr,
    TOGETHER: tl.constexpr, SHARED: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr, COLUMNS: tl.constexpr,
    GROUP: tl.constexpr,
):  # fmt: skip
    """The next kernel, and the Sinkhorn sweeps on it."""
    n = tl.load(arrays.lengths_x + sample)
    sums = arrays.column_sums + ((sample * 2 + parity) * parts + part) * sizes.m
    for block in range(part, tl.cdiv(n, ROWS), parts):
        rows = block * ROWS + tl.arange(0, ROWS)
        step_rows(
            arrays, sizes, weights, sample, vector, sums, rows, rate, keep, block == part,
            STRUCTURE != NONE, MIRROR or PROXIMAL, MIRROR or PROXIMAL or FINISH, WIDE, TILE,
        )  # fmt: skip
    arrived = meet(arrays, parts, arrived, TOGETHER)
    for _ in range(1, sweeps):
        arrived = _scale(
            arrays, sizes, weights, sample, vector, part, parts, arrived, parity, rate, keep, phi,
            MIRROR, False, TOGETHER, SHARED, ROWS, COLUMNS, GROUP,
        )  # fmt: skip
        parity = 1 - parity
        arrived = _sweep(arrays, sizes, sample, vector, part, parts, arrived, parity, TOGETHER, ROWS, TILE)
    arrived = _scale(
        arrays, sizes, weights, sample, vector, part, parts, arrived, parity, rate, keep, phi,
        MIRROR, PROXIMAL, TOGETHER, SHARED, ROWS, COLUMNS, GROUP,
    )  # fmt: skip
    return arrived, 1 - parity


@triton.jit
def _start(
    arrays, sizes, sample, vector, part, parts, arrived,
    TOGETHER: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The uniform plan: K = 1, a = p and b = q, with log q kept in log K."""
    n = tl.load(arrays.lengths_x + sample)
    for start in range(0, sizes.m, TILE):
        columns = start + tl.arange(0, TILE)
        real = columns < sizes.m
        mass = tl.load(arrays.q + sample * sizes.m + columns, mask=real, other=0.0)
        at_column = vector * sizes.m + columns
        tl.store(arrays.b + at_column, mass, mask=real)
        tl.store(arrays.v + at_column, tl.zeros_like(mass), mask=real)
        tl.store(arrays.shift + at_column, tl.where(mass > 0, 0.0, -float("inf")), mask=real)
        for block in range(part, tl.cdiv(n, ROWS), parts):
            rows = block * ROWS + tl.arange(0, ROWS)
            at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
            inside = (rows < n)[:, None] & real[None, :]
            one = tl.full((ROWS, TILE), 1.0, tl.float32)
            tl.store(arrays.kernel + at, one, mask=inside)
            tl.store(arrays.log_kernel + at, one * tl.log(tl.maximum(mass, TINY))[None, :], mask=inside)
            at_row = sample * sizes.n + rows
            tl.store(arrays.a + at_row, tl.load(arrays.p + at_row, mask=rows < n, other=0.0), mask=rows < n)
    return meet(arrays, parts, arrived, TOGETHER)


@triton.jit
def _structure(
    arrays, sizes, weights, sample, vector, part, parts, arrived, full, STRUCTURE: tl.constexpr,
    EXACT_ROWS: tl.constexpr, TOGETHER: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr, COLUMNS: tl.constexpr,
    BAND_ROWS: tl.constexpr,
):  # fmt: skip
    """Z = T Cy and its running sums Q along i, in which :func:`structure_term` looks up ``Cx Z``."""
    n = tl.load(arrays.lengths_x + sample)
    chunks = tl.cdiv(n, sizes.chunk)
    if STRUCTURE == BAND:
        for block in range(part, tl.cdiv(n, ROWS), parts):
            rows = block * ROWS + tl.arange(0, ROWS)
            sum_along_row(arrays, sizes, weights, sample, vector, rows, EXACT_ROWS, TILE)
        arrived = meet(arrays, parts, arrived, TOGETHER)
        tiles = tl.cdiv(tl.load(arrays.lengths_y + sample), COLUMNS)
        for each in range(part, tiles * chunks, parts):
            columns = (each % tiles) * COLUMNS + tl.arange(0, COLUMNS)
            sum_band_along_column(arrays, sizes, weights, sample, each // tiles, columns, full, BAND_ROWS)
    else:
        for chunk in range(part, chunks, parts):
            sum_along_column(arrays, sizes, weights, sample, vector, chunk, full, EXACT_ROWS, ROWS, TILE)
    return meet(arrays, parts, arrived, TOGETHER)


@triton.jit
def _mirror_rate(
    arrays, sizes, weights, sample, part, parts, arrived, STRUCTURE: tl.constexpr, TOGETHER: tl.constexpr,
    ROWS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The step size of ``reference.mirror_step``: 4 over the largest entry of the gradient at the uniform plan."""
    n = tl.load(arrays.lengths_x + sample)
    m = tl.load(arrays.lengths_y + sample)
    largest = -float("inf")
    for block in range(part, tl.cdiv(n, ROWS), parts):
        rows = block * ROWS + tl.arange(0, ROWS)
        p = tl.load(arrays.p + sample * sizes.n + rows, mask=rows < n, other=0.0)
        for start in range(0, m, TILE):
            columns = start + tl.arange(0, TILE)
            q = tl.load(arrays.q + sample * sizes.m + columns, mask=columns < sizes.m, other=0.0)
            real = (p > 0)[:, None] & (q > 0)[None, :]
            at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
            slope = weights.linear * tl.load(arrays.cost + at, mask=real, other=0.0)
            if STRUCTURE != NONE:
                slope += structure_term(arrays, sizes, weights, sample, rows, columns, n)
            log_plan = tl.log(tl.maximum(p, TINY))[:, None] + tl.log(tl.maximum(q, TINY))[None, :]
            slope += weights.epsilon * log_plan + weights.relax
            largest = tl.maximum(largest, tl.max(tl.where(real, slope, -float("inf"))))
    largest, arrived = _largest(arrays, sample, part, parts, arrived, largest, TOGETHER)
    curvature = weights.epsilon + weights.relax
    return tl.where(largest > 2.0 * curvature, 4.0 / largest, 1.0 / curvature), arrived


@triton.jit
def _largest(arrays, sample, part, parts, arrived, value, TOGETHER: tl.constexpr):
    """The largest of the values that the programs of the group bring."""
    if TOGETHER:
        tl.store(arrays.partial + (sample * MEASURES + LARGEST) * parts + part, value)
        arrived = meet(arrays, parts, arrived, TOGETHER)
        value = _over_parts(arrays, sample, parts, LARGEST, True)
    tl.debug_barrier()  # what the value was computed from may be overwritten next
    return value, arrived


@triton.jit
def _over_parts(arrays, sample, parts, what: tl.constexpr, MAXIMUM: tl.constexpr):
    """The largest, or the sum, of what the programs of the group have written to ``partial``."""
    values = arrays.partial + (sample * MEASURES + what) * parts
    result = tl.full((PARTS_AT_ONCE,), -float("inf") if MAXIMUM else 0.0, tl.float32)
    for start in range(0, parts, PARTS_AT_ONCE):
        each = start + tl.arange(0, PARTS_AT_ONCE)
        if MAXIMUM:
            result = tl.maximum(result, tl.load(values + each, mask=each < parts, other=-float("inf")))
        else:
            result += tl.load(values + each, mask=each < parts, other=0.0)
    return tl.max(result) if MAXIMUM else tl.sum(result)


@triton.jit
def _sweep(
    arrays, sizes, sample, vector, part, parts, arrived, parity,
    TOGETHER: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Half a Sinkhorn sweep: a from b, and the column sums of ``a K``."""
    n = tl.load(arrays.lengths_x + sample)
    sums = arrays.column_sums + ((sample * 2 + parity) * parts + part) * sizes.m
    for block in range(part, tl.cdiv(n, ROWS), parts):
        rows = block * ROWS + tl.arange(0, ROWS)
        sweep_rows(arrays, sizes, sample, vector, sums, rows, block == part, TILE)
    return meet(arrays, parts, arrived, TOGETHER)


@triton.jit
def _scale(
    arrays, sizes, weights, sample, vector, part, parts, arrived, parity, rate, keep, phi, MIRROR: tl.constexpr,
    PROXIMAL: tl.constexpr, TOGETHER: tl.constexpr, SHARED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    GROUP: tl.constexpr,
):  # fmt: skip
    """The other half of the sweep: b from the column sums, and what the next step adds to log K."""
    used = tl.minimum(parts, tl.cdiv(tl.load(arrays.lengths_x + sample), ROWS))
    sums = arrays.column_sums + (sample * 2 + parity) * parts * sizes.m
    for tile in range(part if SHARED else 0, tl.cdiv(sizes.m, COLUMNS), parts if SHARED else 1):
        columns = tile * COLUMNS + tl.arange(0, COLUMNS)
        total = column_total(sizes, sums, used, columns, GROUP)
        scale_columns(arrays, sizes, weights, sample, vector, columns, total, rate, keep, phi, MIRROR, PROXIMAL)
    return meet(arrays, parts, arrived, TOGETHER and SHARED)


@triton.jit
def _finish(
    arrays, sizes, weights, sample, vector, part, parts, arrived, parity, checks, sweeps_between, tolerance,
    WIDE: tl.constexpr, TOGETHER: tl.constexpr, SHARED: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
    COLUMNS: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Sinkhorn sweeps until the column masses are met to half the ``tolerance``; the row masses always are.

    The first sweep after each check puts b into log K and computes K anew, with each row divided by its largest entry.
    So no row can vanish, and a column that did gets its mass back.
    """
    n = tl.load(arrays.lengths_x + sample)
    error, check = float("inf"), 0
    while (error > tolerance / 2) & (check < checks):
        if check > 0:
            arrived = _scale(
                arrays, sizes, weights, sample, vector, part, parts, arrived, parity, 0.0, 1.0, 1.0,
                False, False, TOGETHER, SHARED, ROWS, COLUMNS, GROUP,
            )  # fmt: skip
        for tile in range(part if SHARED else 0, tl.cdiv(sizes.m, COLUMNS), parts if SHARED else 1):
            absorb(arrays, sizes, vector, tile * COLUMNS + tl.arange(0, COLUMNS))
        arrived = meet(arrays, parts, arrived, TOGETHER and SHARED)
        parity = 1 - parity
        sums = arrays.column_sums + ((sample * 2 + parity) * parts + part) * sizes.m
        for block in range(part, tl.cdiv(n, ROWS), parts):
            rows = block * ROWS + tl.arange(0, ROWS)
            step_rows(
                arrays, sizes, weights, sample, vector, sums, rows, 0.0, 1.0, block == part,
                False, True, True, WIDE, TILE,
            )  # fmt: skip
        arrived = meet(arrays, parts, arrived, TOGETHER)
        for _ in range(1, tl.where(check > 0, sweeps_between, 1)):
            arrived = _scale(
                arrays, sizes, weights, sample, vector, part, parts, arrived, parity, 0.0, 1.0, 1.0,
                False, False, TOGETHER, SHARED, ROWS, COLUMNS, GROUP,
            )  # fmt: skip
            parity = 1 - parity
            arrived = _sweep(arrays, sizes, sample, vector, part, parts, arrived, parity, TOGETHER, ROWS, TILE)
        error = _column_error(arrays, sizes, sample, vector, part, parts, parity, ROWS, COLUMNS, GROUP)
        error, arrived = _largest(arrays, sample, part, parts, arrived, error, TOGETHER)
        check += 1
    for block in range(part, tl.cdiv(n, ROWS), parts):
        rows = block * ROWS + tl.arange(0, ROWS)
        write_plan(arrays, sizes, sample, vector, rows, False, TILE)
    return meet(arrays, parts, arrived, TOGETHER), parity


@triton.jit
def _column_error(
    arrays, sizes, sample, vector, part, parts, parity, ROWS: tl.constexpr, COLUMNS: tl.constexpr, GROUP: tl.constexpr
):  # fmt: skip
    """The largest relative error of the column masses ``b_j sum_i a_i K_ij`` over the columns of this program."""
    used = tl.minimum(parts, tl.cdiv(tl.load(arrays.lengths_x + sample), ROWS))
    sums = arrays.column_sums + (sample * 2 + parity) * parts * sizes.m
    error = 0.0
    for tile in range(part, tl.cdiv(sizes.m, COLUMNS), parts):
        columns = tile * COLUMNS + tl.arange(0, COLUMNS)
        mass = tl.load(arrays.q + sample * sizes.m + columns, mask=columns < sizes.m, other=0.0)
        reached = column_total(sizes, sums, used, columns, GROUP)
        reached *= tl.load(arrays.b + vector * sizes.m + columns, mask=columns < sizes.m, other=0.0)
        error = tl.maximum(error, largest_error(reached, mass))
    return error


@triton.jit
def _collect(
    arrays, sizes, sample, vector, part, parts, arrived, EXACT_ROWS: tl.constexpr, TOGETHER: tl.constexpr,
    ROWS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Write the plan, and how much mass has moved since it was written before."""
    moved = 0.0
    for block in range(part, tl.cdiv(tl.load(arrays.lengths_x + sample), ROWS), parts):
        rows = block * ROWS + tl.arange(0, ROWS)
        moved += write_plan(arrays, sizes, sample, vector, rows, EXACT_ROWS, TILE)
    tl.store(arrays.partial + (sample * MEASURES + MOVED) * parts + part, moved)
    return meet(arrays, parts, arrived, TOGETHER)


@triton.jit
def _measure(
    arrays, sizes, weights, batch, sample, part, parts, arrived, parity, STRUCTURE: tl.constexpr,
    RELAXED: tl.constexpr, TOGETHER: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr, COLUMNS: tl.constexpr,
    GROUP: tl.constexpr,
):  # fmt: skip
    """Objective and marginal errors of the written plan; with a structure, Q must belong to it."""
    n = tl.load(arrays.lengths_x + sample)
    sums = arrays.column_sums + ((sample * 2 + parity) * parts + part) * sizes.m
    objective, error_x, error_y = 0.0, 0.0, 0.0
    for block in range(part, tl.cdiv(n, ROWS), parts):
        rows = block * ROWS + tl.arange(0, ROWS)
        terms, reached = measure_rows(
            arrays, sizes, weights, sample, sums, rows, block == part, STRUCTURE != NONE, TILE
        )
        objective += terms
        mass = tl.load(arrays.p + sample * sizes.n + rows, mask=rows < n, other=0.0)
        error_x = tl.maximum(error_x, largest_error(reached, mass))
    arrived = meet(arrays, parts, arrived, TOGETHER)
    used = tl.minimum(parts, tl.cdiv(n, ROWS))
    sums = arrays.column_sums + (sample * 2 + parity) * parts * sizes.m
    for tile in range(part, tl.cdiv(tl.load(arrays.lengths_y + sample), COLUMNS), parts):
        columns = tile * COLUMNS + tl.arange(0, COLUMNS)
        mass = tl.load(arrays.q + sample * sizes.m + columns, mask=columns < sizes.m, other=0.0)
        reached = column_total(sizes, sums, used, columns, GROUP)
        error_y = tl.maximum(error_y, largest_error(reached, mass))
        if RELAXED:
            log_ratio = tl.log(tl.maximum(reached, TINY)) - tl.log(tl.maximum(mass, TINY))
            objective += weights.relax * tl.sum(tl.where(mass > 0, reached * log_ratio - reached + mass, 0.0))
    partial = arrays.partial + sample * MEASURES * parts + part
    tl.store(partial + OBJECTIVE * parts, objective)
    tl.store(partial + ERROR_X * parts, error_x)
    tl.store(partial + ERROR_Y * parts, error_y)
    arrived = meet(arrays, parts, arrived, TOGETHER)
    if part == 0:
        outcome = arrays.outcome + sample
        tl.store(outcome, _over_parts(arrays, sample, parts, OBJECTIVE, False))
        tl.store(outcome + batch, _over_parts(arrays, sample, parts, ERROR_X, True))
        tl.store(outcome + 2 * batch, _over_parts(arrays, sample, parts, ERROR_Y, True))
        tl.store(outcome + 3 * batch, _over_parts(arrays, sample, parts, MOVED, False))
    return arrived
