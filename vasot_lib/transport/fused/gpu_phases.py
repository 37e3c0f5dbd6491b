r"""The steps of a solve on a GPU, as Triton device functions on blocks of rows or tiles of columns.

:mod:`vasot_lib.transport.fused.gpu_kernel` puts them together to one kernel, and
:mod:`vasot_lib.transport.fused.gpu` explains how they follow each other.

All (B, N, M) tensors are contiguous float32, and sums are accumulated in float32. A step works on the n real rows of a
sample, and on its columns up to the end of the tile in which the last of the m real ones lies. Columns without mass,
such as padding, have ``shift`` -inf and b 0, so that whatever is computed there enters no sum. Loads and stores are
masked by the width M of the tensor instead of m, because then they can be vectorised. Sums are taken in a fixed order:
the same call gives the same bits.

This module needs triton and is therefore imported on the first use only. Arguments carry no annotations but
``tl.constexpr``, which is what Triton reads them for.
"""
# mypy: disallow-untyped-defs=False

import triton
import triton.language as tl

from vasot_lib.transport import problem

TINY = tl.constexpr(problem.TINY)
MEASURES = tl.constexpr(5)
LOWEST = tl.constexpr(-1e30)  # below every row maximum, and finite: -inf - -inf would be NaN


@triton.jit
def sum_along_row(arrays, sizes, weights, sample, vector, rows, EXACT_ROWS: tl.constexpr, TILE: tl.constexpr):
    """Replace K by P, the running sum along j of ``T_ij = a_i K_ij b_j`` from column ``free`` on; write the row sums.

    ``EXACT_ROWS``: first set ``a_i = p_i / sum_j K_ij b_j``, the half sweep that a fixed side of rows ends on.
    ``vector`` is the row of b, v and shift that belongs to the program.
    """
    n = tl.load(arrays.lengths_x + sample)
    m = tl.load(arrays.lengths_y + sample)
    at = arrays.kernel + sample * sizes.n * sizes.m + rows[:, None] * sizes.m
    scale = row_scaling(arrays, sizes, sample, vector, rows, n, m, EXACT_ROWS, TILE)
    carry = tl.zeros_like(scale)
    for start in range(0, m, TILE):
        columns = start + tl.arange(0, TILE)
        real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
        taking_part = (columns < sizes.m) & (columns >= weights.free_y)
        weight = tl.load(arrays.b + vector * sizes.m + columns, mask=taking_part, other=0.0)
        plan = tl.load(at + columns[None, :], mask=real, other=0.0) * scale[:, None] * weight[None, :]
        tl.store(at + columns[None, :], carry[:, None] + tl.cumsum(plan, 1), mask=real)
        carry += tl.sum(plan, 1)
    tl.store(arrays.row_sums + sample * sizes.n + rows, carry, mask=rows < n)


@triton.jit
def sum_band_along_column(arrays, sizes, weights, sample, chunk, columns, full, ROWS: tl.constexpr):
    """``Z = T Cy`` from the running sums P along j, and Q, the running sum of Z along i within a chunk of rows.

    ``Z_ij = (identity - band) (P_j - P_(j-1)) + band (P_(j+w) - P_(j-w-1))``. The matrix of ones would add the row's
    mass, which is the same in all columns and drops out of K. It is left out where ``full`` is 0, because without it Z
    is small and its running sums are more exact. The free (dummy) columns would not get it and are given
    ``-ones sum_j T_ij`` instead. Where ``full`` is 1, Z is the product as it is.
    """
    n = tl.load(arrays.lengths_x + sample)
    m = tl.load(arrays.lengths_y + sample)
    half = tl.load(arrays.windows_y + sample)
    last = tl.minimum(columns + half, m - 1)
    before = columns - half - 1
    carry = tl.zeros_like(columns).to(tl.float32)
    for start in range(chunk * sizes.chunk, tl.minimum((chunk + 1) * sizes.chunk, n), ROWS):
        rows = start + tl.arange(0, ROWS)
        at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m
        real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
        sums = arrays.kernel + at
        window = tl.load(sums + last[None, :], mask=real, other=0.0)
        window -= tl.load(sums + before[None, :], mask=real & (before >= 0)[None, :], other=0.0)
        plan = tl.load(sums + columns[None, :], mask=real, other=0.0)
        plan -= tl.load(sums + columns[None, :] - 1, mask=real & (columns >= 1)[None, :], other=0.0)
        ones = weights.ones_y * tl.load(arrays.row_sums + sample * sizes.n + rows, mask=rows < n, other=0.0)
        z = (weights.identity_y - weights.band_y) * plan + weights.band_y * window
        z = tl.where((columns >= weights.free_y)[None, :], z, -ones[:, None]) + full * ones[:, None]
        z = tl.where(real & (rows >= weights.free_x)[:, None], z, 0.0)
        tl.store(arrays.running + at + columns[None, :], carry[None, :] + tl.cumsum(z, 0), mask=real)
        carry += tl.sum(z, 0)
    total = arrays.chunk_sums + (sample * sizes.chunks + chunk) * sizes.m
    tl.store(total + columns, carry, mask=columns < sizes.m)


@triton.jit
def sum_along_column(
    arrays, sizes, weights, sample, vector, chunk, full, EXACT_ROWS: tl.constexpr, ROWS: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """Z and Q as in :func:`sum_band_along_column` where the columns have no band: whole rows at once, from K itself.

    ``Z_ij = identity T_ij + full ones sum_j T_ij``; ``EXACT_ROWS`` as in :func:`sum_along_row`.
    """
    n = tl.load(arrays.lengths_x + sample)
    columns = tl.arange(0, TILE)
    weight = tl.load(arrays.b + vector * sizes.m + columns, mask=columns < sizes.m, other=0.0)
    carry = tl.zeros((TILE,), tl.float32)
    for start in range(chunk * sizes.chunk, tl.minimum((chunk + 1) * sizes.chunk, n), ROWS):
        rows = start + tl.arange(0, ROWS)
        at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
        real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
        plan = tl.load(arrays.kernel + at, mask=real, other=0.0) * weight[None, :]
        at_row = sample * sizes.n + rows
        if EXACT_ROWS:
            scale = tl.load(arrays.p + at_row, mask=rows < n, other=0.0) / tl.maximum(tl.sum(plan, 1), TINY)
            tl.store(arrays.a + at_row, scale, mask=rows < n)
        else:
            scale = tl.load(arrays.a + at_row, mask=rows < n, other=0.0)
        plan *= scale[:, None]
        z = weights.identity_y * plan + full * weights.ones_y * tl.sum(plan, 1)[:, None]
        z = tl.where(real & (rows >= weights.free_x)[:, None], z, 0.0)
        tl.store(arrays.running + at, carry[None, :] + tl.cumsum(z, 0), mask=real)
        carry += tl.sum(z, 0)
    total = arrays.chunk_sums + (sample * sizes.chunks + chunk) * sizes.m
    tl.store(total + columns, carry, mask=columns < sizes.m)


@triton.jit
def log_step(
    arrays, sizes, weights, sample, vector, rows, columns, n, rate, keep, STRUCTURE: tl.constexpr, KEEPS: tl.constexpr
):  # fmt: skip
    """``S_ij = keep log K_ij + shift_j - rate (linear C_ij + (Cx Z)_ij)``, the logarithm of the next kernel."""
    at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
    real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
    push = tl.load(arrays.shift + vector * sizes.m + columns, mask=columns < sizes.m, other=-float("inf"))
    gradient = weights.linear * tl.load(arrays.cost + at, mask=real, other=0.0)
    if STRUCTURE:
        gradient += structure_term(arrays, sizes, weights, sample, rows, columns, n)
    log_k = push[None, :] - rate * gradient
    if KEEPS:
        log_k += keep * tl.load(arrays.log_kernel + at, mask=real, other=0.0)
    # Columns without mass stay -inf; a negative keep may have turned theirs into +inf or NaN.
    return tl.where(real & (push > -float("inf"))[None, :], log_k, -float("inf"))


@triton.jit
def structure_term(arrays, sizes, weights, sample, rows, columns, n):
    """``alpha Cx Z`` from Q: ``(identity - band) Z_i + band sum of Z over i-w .. i+w``; 0 on free (dummy) rows.

    Q starts again from 0 in every chunk of rows. Where the window reaches over several chunks, the sums of the chunks
    between its ends are added. There are few of them, and this way rounding errors grow with the window instead of with
    the length of the recording.
    """
    at = arrays.running + sample * sizes.n * sizes.m + columns[None, :]
    real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
    half = tl.load(arrays.windows_x + sample)
    last = tl.minimum(rows + half, n - 1)
    before = rows - half - 1
    window = tl.load(at + last[:, None] * sizes.m, mask=real, other=0.0)
    window -= tl.load(at + before[:, None] * sizes.m, mask=real & (before >= 0)[:, None], other=0.0)
    first_chunk = tl.maximum(before, 0) // sizes.chunk
    last_chunk = last // sizes.chunk
    chunk_sums = arrays.chunk_sums + sample * sizes.chunks * sizes.m + columns[None, :]
    for c in range(tl.min(first_chunk, 0), tl.max(last_chunk, 0)):
        between = real & ((first_chunk <= c) & (c < last_chunk))[:, None]
        window += tl.load(chunk_sums + c * sizes.m, mask=between, other=0.0)
    z = tl.load(at + rows[:, None] * sizes.m, mask=real, other=0.0)
    inside = real & (rows % sizes.chunk != 0)[:, None]
    z -= tl.load(at + (rows - 1)[:, None] * sizes.m, mask=inside, other=0.0)
    product = (weights.identity_x - weights.band_x) * z + weights.band_x * window
    return tl.where((rows >= weights.free_x)[:, None], product, 0.0)


@triton.jit
def step_rows(
    arrays, sizes, weights, sample, vector, sums, rows, rate, keep, first,
    STRUCTURE: tl.constexpr, KEEPS: tl.constexpr, WRITES_LOG: tl.constexpr, WIDE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The next kernel ``K = exp(S - max_j S)`` of some rows, their scaling ``a = p / sum_j K``, and sums of ``a K``.

    Writes K and a, log K if ``WRITES_LOG``, and adds the sums over the rows to ``sums``, which they start if ``first``.
    With ``WIDE`` a row takes several tiles: S is kept in K until the maximum of the whole row is known, and each entry
    is exponentiated twice.
    """
    n = tl.load(arrays.lengths_x + sample)
    m = tl.load(arrays.lengths_y + sample)
    at_row = sample * sizes.n + rows
    mass = tl.load(arrays.p + at_row, mask=rows < n, other=0.0)
    if WIDE:
        top = tl.zeros_like(mass) + LOWEST
        total = tl.zeros_like(mass)
        for start in range(0, m, TILE):
            columns = start + tl.arange(0, TILE)
            log_k = log_step(arrays, sizes, weights, sample, vector, rows, columns, n, rate, keep, STRUCTURE, KEEPS)
            at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
            tl.store(arrays.kernel + at, log_k, mask=(rows < n)[:, None] & (columns < sizes.m)[None, :])
            higher = tl.maximum(top, tl.max(log_k, 1))
            total = total * tl.exp(top - higher) + tl.sum(tl.exp(log_k - higher[:, None]), 1)
            top = higher
        scale = mass / tl.maximum(total, TINY)
        tl.debug_barrier()  # S was written by all threads of this program
        for start in range(0, m, TILE):
            columns = start + tl.arange(0, TILE)
            at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
            real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
            log_k = tl.load(arrays.kernel + at, mask=real, other=-float("inf")) - top[:, None]
            _write_rows(arrays, sizes, sums, at, real, columns, log_k, tl.exp(log_k), scale, first, WRITES_LOG)
    else:
        columns = tl.arange(0, TILE)
        log_k = log_step(arrays, sizes, weights, sample, vector, rows, columns, n, rate, keep, STRUCTURE, KEEPS)
        log_k -= tl.maximum(tl.max(log_k, 1), LOWEST)[:, None]
        kernel = tl.exp(log_k)
        scale = mass / tl.maximum(tl.sum(kernel, 1), TINY)
        at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
        real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
        _write_rows(arrays, sizes, sums, at, real, columns, log_k, kernel, scale, first, WRITES_LOG)
    tl.store(arrays.a + at_row, scale, mask=rows < n)
    tl.debug_barrier()  # the next rows add to the same sums


@triton.jit
def _write_rows(
    arrays, sizes, sums, at, real, columns, log_k, kernel, scale, first, WRITES_LOG: tl.constexpr
):  # fmt: skip
    if WRITES_LOG:
        tl.store(arrays.log_kernel + at, log_k, mask=real)
    tl.store(arrays.kernel + at, kernel, mask=real)
    add_sums(sizes, sums, columns, tl.sum(kernel * scale[:, None], 0), first)


@triton.jit
def add_sums(sizes, sums, columns, values, first):
    """Add ``values`` to the columns of the (M,) array ``sums``; if ``first``, replace what it holds."""
    before = tl.load(sums + columns, mask=columns < sizes.m, other=0.0)
    tl.debug_barrier()  # several threads may hold an entry, and one of them stores it
    tl.store(sums + columns, values + tl.where(first, 0.0, before), mask=columns < sizes.m)


@triton.jit
def sweep_rows(arrays, sizes, sample, vector, sums, rows, first, TILE: tl.constexpr):
    """Half a Sinkhorn sweep, ``a_i = p_i / sum_j K_ij b_j``; adds the sums of ``a K`` over the rows to ``sums``."""
    n = tl.load(arrays.lengths_x + sample)
    m = tl.load(arrays.lengths_y + sample)
    scale = row_scaling(arrays, sizes, sample, vector, rows, n, m, True, TILE)
    for start in range(0, m, TILE):
        columns = start + tl.arange(0, TILE)
        real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
        at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
        kernel = tl.load(arrays.kernel + at, mask=real, other=0.0)
        add_sums(sizes, sums, columns, tl.sum(kernel * scale[:, None], 0), first)
    tl.debug_barrier()  # the next rows add to the same sums


@triton.jit
def row_scaling(arrays, sizes, sample, vector, rows, n, m, EXACT_ROWS: tl.constexpr, TILE: tl.constexpr):
    """The scaling a of the rows; with ``EXACT_ROWS`` it is first set to ``p_i / sum_j K_ij b_j``."""
    at_row = sample * sizes.n + rows
    if EXACT_ROWS:
        mass = tl.load(arrays.p + at_row, mask=rows < n, other=0.0)
        total = tl.zeros_like(mass)
        for start in range(0, m, TILE):
            columns = start + tl.arange(0, TILE)
            real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
            weight = tl.load(arrays.b + vector * sizes.m + columns, mask=columns < sizes.m, other=0.0)
            at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
            total += tl.sum(tl.load(arrays.kernel + at, mask=real, other=0.0) * weight[None, :], 1)
        scale = mass / tl.maximum(total, TINY)
        tl.store(arrays.a + at_row, scale, mask=rows < n)
    else:
        scale = tl.load(arrays.a + at_row, mask=rows < n, other=0.0)
    return scale


@triton.jit
def column_total(sizes, sums, parts, columns, GROUP: tl.constexpr):
    """The column sums of the first ``parts`` rows of a (parts, M) array, which is read ``GROUP`` rows at a time."""
    total = tl.zeros_like(columns).to(tl.float32)
    for start in range(0, parts, GROUP):
        part = start + tl.arange(0, GROUP)
        at = sums + part[:, None] * sizes.m + columns[None, :]
        total += tl.sum(tl.load(at, mask=(part < parts)[:, None] & (columns < sizes.m)[None, :], other=0.0), 0)
    return total


@triton.jit
def scale_columns(
    arrays, sizes, weights, sample, vector, columns, total, rate, keep, phi,
    MIRROR: tl.constexpr, PROXIMAL: tl.constexpr,
):  # fmt: skip
    """From the column sums s = ``total`` of ``a K`` compute b and the ``shift`` of the next :func:`log_step`.

    Sinkhorn: ``log b = phi (log q - log s) - (1 - phi) v``. With ``PROXIMAL`` (last sweep of an iteration) also
    ``v += log b`` and ``shift = v + keep log b``. Mirror: ``shift = -rate lambda_y (log s - log q)``, and b is 1.
    Columns without mass always have b = 0.
    """
    real = columns < sizes.m
    mass = tl.load(arrays.q + sample * sizes.m + columns, mask=real, other=0.0)
    log_ratio = tl.log(tl.maximum(total, TINY)) - tl.log(tl.maximum(mass, TINY))
    at = vector * sizes.m + columns
    if MIRROR:
        push = -rate * weights.relax * log_ratio
        scale = tl.where(mass > 0, 1.0, 0.0)
    else:
        potential = tl.load(arrays.v + at, mask=real & (mass > 0), other=0.0)
        log_b = -phi * log_ratio - (1.0 - phi) * potential
        tl.debug_barrier()  # several threads may hold an entry, and one of them stores it
        scale = tl.where(mass > 0, tl.exp(log_b), 0.0)
        push = potential + log_b + keep * log_b
        if PROXIMAL:
            tl.store(arrays.v + at, potential + log_b, mask=real & (mass > 0))
    tl.store(arrays.b + at, scale, mask=real)
    if MIRROR or PROXIMAL:
        tl.store(arrays.shift + at, tl.where(mass > 0, push, -float("inf")), mask=real)


@triton.jit
def absorb(arrays, sizes, vector, columns):
    """Move b into the ``shift`` of the next :func:`log_step`; then b is 1, or 0 where a column has no mass."""
    at = vector * sizes.m + columns
    b = tl.load(arrays.b + at, mask=columns < sizes.m, other=0.0)
    tl.debug_barrier()  # several threads may hold an entry, and one of them stores it
    tl.store(arrays.shift + at, tl.where(b > 0, tl.log(tl.maximum(b, TINY)), -float("inf")), mask=columns < sizes.m)
    tl.store(arrays.b + at, tl.where(b > 0, 1.0, 0.0), mask=columns < sizes.m)


@triton.jit
def write_plan(arrays, sizes, sample, vector, rows, EXACT_ROWS: tl.constexpr, TILE: tl.constexpr):
    """Write the plan ``a_i K_ij b_j`` of some rows; returns how far it is from what was there, ``sum |difference|``."""
    n = tl.load(arrays.lengths_x + sample)
    m = tl.load(arrays.lengths_y + sample)
    scale = row_scaling(arrays, sizes, sample, vector, rows, n, m, EXACT_ROWS, TILE)
    moved = 0.0
    for start in range(0, m, TILE):
        columns = start + tl.arange(0, TILE)
        real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
        at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
        weight = tl.load(arrays.b + vector * sizes.m + columns, mask=columns < sizes.m, other=0.0)
        plan = tl.load(arrays.kernel + at, mask=real, other=0.0) * scale[:, None] * weight[None, :]
        moved += tl.sum(tl.abs(plan - tl.load(arrays.plan + at, mask=real, other=0.0)))
        tl.store(arrays.plan + at, plan, mask=real)
    return moved


@triton.jit
def measure_rows(
    arrays, sizes, weights, sample, sums, rows, first, STRUCTURE: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    """The terms of J of some rows of the written plan but for the relaxation, and the masses of these rows.

    Adds the column masses to ``sums``, as :func:`step_rows` does.
    """
    n = tl.load(arrays.lengths_x + sample)
    m = tl.load(arrays.lengths_y + sample)
    objective = 0.0
    reached = tl.zeros_like(tl.load(arrays.p + sample * sizes.n + rows, mask=rows < n, other=0.0))
    for start in range(0, m, TILE):
        columns = start + tl.arange(0, TILE)
        real = (rows < n)[:, None] & (columns < sizes.m)[None, :]
        at = sample * sizes.n * sizes.m + rows[:, None] * sizes.m + columns[None, :]
        plan = tl.load(arrays.plan + at, mask=real, other=0.0)
        value = weights.linear * tl.load(arrays.cost + at, mask=real, other=0.0)
        if STRUCTURE:
            value += 0.5 * structure_term(arrays, sizes, weights, sample, rows, columns, n)
        value += weights.epsilon * (tl.log(tl.where(plan > 0, plan, 1.0)) - 1.0)
        objective += tl.sum(tl.where(plan > 0, plan * value, 0.0))  # Q was never written in all columns of padding
        reached += tl.sum(plan, 1)
        add_sums(sizes, sums, columns, tl.sum(plan, 0), first)
    tl.debug_barrier()  # the next rows add to the same sums
    return objective, reached


@triton.jit
def largest_error(reached, mass):
    """The largest ``|reached - mass| / mass`` over the entries that have mass."""
    return tl.max(tl.where(mass > 0, tl.abs(reached - mass) / tl.maximum(mass, TINY), 0.0))
