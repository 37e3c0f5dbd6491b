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

from vasot_lib.transport import problem, reference

TINY = tl.constexpr(problem.TINY)
FIRST_WEIGHT, MOST_WEIGHT, SHORT = (
    tl.constexpr(value) for value in (reference.FIRST_WEIGHT, reference.MOST_WEIGHT, reference.SHORT)
)
MEASURES = tl.constexpr(5)
NONE, FLAT, BAND = (tl.constexpr(kind) for kind in range(3))  # ``How.structure``: what the prior of the columns needs
LOWEST = tl.constexpr(-1e30)  # below every row maximum, and finite: -inf - -inf would be NaN


@triton.jit
def sum_along_row(job, how: tl.constexpr, block):
    """Replace K by P, the running sum along j of ``T_ij = a_i K_ij b_j`` from column ``free`` on; write the row sums.

    ``exact_rows``: first set ``a_i = p_i / sum_j K_ij b_j``, the half sweep that a fixed side of rows ends on.
    """
    rows = block * how.rows + tl.arange(0, how.rows)
    at = job.arrays.kernel + job.sample * job.sizes.n * job.sizes.m + rows[:, None] * job.sizes.m
    scale = row_scaling(job, how, rows, how.exact_rows, 1.0, False)
    carry = tl.zeros_like(scale)
    for start in range(0, job.m, how.tile):
        columns = start + tl.arange(0, how.tile)
        real = (rows < job.n)[:, None] & (columns < job.sizes.m)[None, :]
        taking_part = (columns < job.sizes.m) & (columns >= job.weights.free_y)
        weight = tl.load(job.arrays.b + job.vector * job.sizes.m + columns, mask=taking_part, other=0.0)
        plan = tl.load(at + columns[None, :], mask=real, other=0.0) * scale[:, None] * weight[None, :]
        tl.store(at + columns[None, :], carry[:, None] + tl.cumsum(plan, 1), mask=real)
        carry += tl.sum(plan, 1)
    tl.store(job.arrays.row_sums + job.sample * job.sizes.n + rows, carry, mask=rows < job.n)


@triton.jit
def sum_band_along_column(job, how: tl.constexpr, chunk, columns, full):
    """``Z = T Cy`` from the running sums P along j, and Q, the running sum of Z along i within a chunk of rows.

    ``Z_ij = (identity - band) (P_j - P_(j-1)) + band (P_(j+w) - P_(j-w-1))``. The matrix of ones would add the row's
    mass, which is the same in all columns and drops out of K. It is left out where ``full`` is 0, because without it Z
    is small and its running sums are more exact. The free (dummy) columns would not get it and are given
    ``-ones sum_j T_ij`` instead. Where ``full`` is 1, Z is the product as it is.
    """
    half = tl.load(job.arrays.windows_y + job.sample)
    last = tl.minimum(columns + half, job.m - 1)
    before = columns - half - 1
    carry = tl.zeros_like(columns).to(tl.float32)
    for start in range(chunk * job.sizes.chunk, tl.minimum((chunk + 1) * job.sizes.chunk, job.n), how.band_rows):
        rows = start + tl.arange(0, how.band_rows)
        at = job.sample * job.sizes.n * job.sizes.m + rows[:, None] * job.sizes.m
        real = (rows < job.n)[:, None] & (columns < job.sizes.m)[None, :]
        sums = job.arrays.kernel + at
        window = tl.load(sums + last[None, :], mask=real, other=0.0)
        window -= tl.load(sums + before[None, :], mask=real & (before >= 0)[None, :], other=0.0)
        plan = tl.load(sums + columns[None, :], mask=real, other=0.0)
        plan -= tl.load(sums + columns[None, :] - 1, mask=real & (columns >= 1)[None, :], other=0.0)
        ones = job.weights.ones_y * tl.load(
            job.arrays.row_sums + job.sample * job.sizes.n + rows, mask=rows < job.n, other=0.0
        )
        z = (job.weights.identity_y - job.weights.band_y) * plan + job.weights.band_y * window
        z = tl.where((columns >= job.weights.free_y)[None, :], z, -ones[:, None]) + full * ones[:, None]
        z = tl.where(real & (rows >= job.weights.free_x)[:, None], z, 0.0)
        tl.store(job.arrays.running + at + columns[None, :], carry[None, :] + tl.cumsum(z, 0), mask=real)
        carry += tl.sum(z, 0)
    total = job.arrays.chunk_sums + (job.sample * job.sizes.chunks + chunk) * job.sizes.m
    tl.store(total + columns, carry, mask=columns < job.sizes.m)


@triton.jit
def sum_along_column(job, how: tl.constexpr, chunk, full):
    """Z and Q as in :func:`sum_band_along_column` where the columns have no band: whole rows at once, from K itself.

    ``Z_ij = identity T_ij + full ones sum_j T_ij``; ``how.exact_rows`` as in :func:`sum_along_row`.
    """
    columns = tl.arange(0, how.tile)
    weight = tl.load(job.arrays.b + job.vector * job.sizes.m + columns, mask=columns < job.sizes.m, other=0.0)
    carry = tl.full((how.tile,), 0.0, tl.float32)
    for start in range(chunk * job.sizes.chunk, tl.minimum((chunk + 1) * job.sizes.chunk, job.n), how.rows):
        rows = start + tl.arange(0, how.rows)
        at, real = entries(job, rows, columns)
        plan = tl.load(job.arrays.kernel + at, mask=real, other=0.0) * weight[None, :]
        at_row = job.sample * job.sizes.n + rows
        if how.exact_rows:
            scale = tl.load(job.arrays.p + at_row, mask=rows < job.n, other=0.0) / tl.maximum(tl.sum(plan, 1), TINY)
            tl.store(job.arrays.a + at_row, scale, mask=rows < job.n)
        else:
            scale = tl.load(job.arrays.a + at_row, mask=rows < job.n, other=0.0)
        plan *= scale[:, None]
        z = job.weights.identity_y * plan + full * job.weights.ones_y * tl.sum(plan, 1)[:, None]
        z = tl.where(real & (rows >= job.weights.free_x)[:, None], z, 0.0)
        tl.store(job.arrays.running + at, carry[None, :] + tl.cumsum(z, 0), mask=real)
        carry += tl.sum(z, 0)
    total = job.arrays.chunk_sums + (job.sample * job.sizes.chunks + chunk) * job.sizes.m
    tl.store(total + columns, carry, mask=columns < job.sizes.m)


@triton.jit
def entries(job, rows, columns):
    """Where the entries of some rows and columns lie in a (B, N, M) tensor, and which of them may be loaded."""
    at = job.sample * job.sizes.n * job.sizes.m + rows[:, None] * job.sizes.m + columns[None, :]
    return at, (rows < job.n)[:, None] & (columns < job.sizes.m)[None, :]


@triton.jit
def log_step(job, how: tl.constexpr, rows, columns, rate, keep, FINISHING: tl.constexpr):
    """``S_ij = keep log K_ij + shift_j - rate (linear C_ij + (Cx Z)_ij)``, the logarithm of the next kernel."""
    at, real = entries(job, rows, columns)
    push = tl.load(
        job.arrays.shift + job.vector * job.sizes.m + columns, mask=columns < job.sizes.m, other=-float("inf")
    )
    gradient = job.weights.linear * tl.load(job.arrays.cost + at, mask=real, other=0.0)
    if how.structure != NONE and not FINISHING:
        gradient += structure_term(job, rows, columns)
    log_k = push[None, :] - rate * gradient
    if how.mirror or how.proximal or FINISHING:
        log_k += keep * tl.load(job.arrays.log_kernel + at, mask=real, other=0.0)
    # Columns without mass stay -inf; a negative keep may have turned theirs into +inf or NaN.
    return tl.where(real & (push > -float("inf"))[None, :], log_k, -float("inf"))


@triton.jit
def structure_term(job, rows, columns):
    """``alpha Cx Z`` from Q: ``(identity - band) Z_i + band sum of Z over i-w .. i+w``; 0 on free (dummy) rows.

    Q starts again from 0 in every chunk of rows. Where the window reaches over several chunks, the sums of the chunks
    between its ends are added. There are few of them, and this way rounding errors grow with the window instead of with
    the length of the recording.
    """
    at = job.arrays.running + job.sample * job.sizes.n * job.sizes.m + columns[None, :]
    real = (rows < job.n)[:, None] & (columns < job.sizes.m)[None, :]
    half = tl.load(job.arrays.windows_x + job.sample)
    last = tl.minimum(rows + half, job.n - 1)
    before = rows - half - 1
    window = tl.load(at + last[:, None] * job.sizes.m, mask=real, other=0.0)
    window -= tl.load(at + before[:, None] * job.sizes.m, mask=real & (before >= 0)[:, None], other=0.0)
    first_chunk = tl.maximum(before, 0) // job.sizes.chunk
    last_chunk = last // job.sizes.chunk
    chunk_sums = job.arrays.chunk_sums + job.sample * job.sizes.chunks * job.sizes.m + columns[None, :]
    for c in range(tl.min(first_chunk, 0), tl.max(last_chunk, 0)):
        between = real & ((first_chunk <= c) & (c < last_chunk))[:, None]
        window += tl.load(chunk_sums + c * job.sizes.m, mask=between, other=0.0)
    z = tl.load(at + rows[:, None] * job.sizes.m, mask=real, other=0.0)
    inside = real & (rows % job.sizes.chunk != 0)[:, None]
    z -= tl.load(at + (rows - 1)[:, None] * job.sizes.m, mask=inside, other=0.0)
    product = (job.weights.identity_x - job.weights.band_x) * z + job.weights.band_x * window
    return tl.where((rows >= job.weights.free_x)[:, None], product, 0.0)


@triton.jit
def step_rows(job, how: tl.constexpr, sums, block, rate, keep, FINISHING: tl.constexpr):
    """The next kernel ``K = exp(S - max_j S)`` of some rows, their scaling ``a = p / sum_j K``, and sums of ``a K``.

    Writes K and a, log K if it is needed again, and adds the sums over the rows of the block to ``sums``; the first
    block of the program replaces what they hold. ``FINISHING``: log K and b alone make the next kernel.
    Where a row takes several tiles, S is kept in K until the maximum of the whole row is known, and each entry is
    exponentiated twice.
    """
    rows = block * how.rows + tl.arange(0, how.rows)
    at_row = job.sample * job.sizes.n + rows
    mass = tl.load(job.arrays.p + at_row, mask=rows < job.n, other=0.0)
    if how.wide:
        top = tl.zeros_like(mass) + LOWEST
        total = tl.zeros_like(mass)
        for start in range(0, job.m, how.tile):
            columns = start + tl.arange(0, how.tile)
            log_k = log_step(job, how, rows, columns, rate, keep, FINISHING)
            at, real = entries(job, rows, columns)
            tl.store(job.arrays.kernel + at, log_k, mask=real)
            higher = tl.maximum(top, tl.max(log_k, 1))
            total = total * tl.exp(top - higher) + tl.sum(tl.exp(log_k - higher[:, None]), 1)
            top = higher
        scale = mass / tl.maximum(total, TINY)
        tl.debug_barrier()  # S was written by all threads of this program
        for start in range(0, job.m, how.tile):
            columns = start + tl.arange(0, how.tile)
            at, real = entries(job, rows, columns)
            log_k = tl.load(job.arrays.kernel + at, mask=real, other=-float("inf")) - top[:, None]
            _write_rows(job, how, sums, at, real, columns, log_k, tl.exp(log_k), scale, block == job.part)
    else:
        columns = tl.arange(0, how.tile)
        log_k = log_step(job, how, rows, columns, rate, keep, FINISHING)
        log_k -= tl.maximum(tl.max(log_k, 1), LOWEST)[:, None]
        kernel = tl.exp(log_k)
        scale = mass / tl.maximum(tl.sum(kernel, 1), TINY)
        at, real = entries(job, rows, columns)
        _write_rows(job, how, sums, at, real, columns, log_k, kernel, scale, block == job.part)
    tl.store(job.arrays.a + at_row, scale, mask=rows < job.n)
    tl.debug_barrier()  # the next rows add to the same sums


@triton.jit
def _write_rows(job, how: tl.constexpr, sums, at, real, columns, log_k, kernel, scale, first):
    if how.mirror or how.proximal or how.finish:
        tl.store(job.arrays.log_kernel + at, log_k, mask=real)
    tl.store(job.arrays.kernel + at, kernel, mask=real)
    add_sums(job, sums, columns, tl.sum(kernel * scale[:, None], 0), first)


@triton.jit
def add_sums(job, sums, columns, values, first):
    """Add ``values`` to the columns of the (M,) array ``sums``; if ``first``, replace what it holds."""
    before = tl.load(sums + columns, mask=columns < job.sizes.m, other=0.0)
    tl.debug_barrier()  # several threads may hold an entry, and one of them stores it
    tl.store(sums + columns, values + tl.where(first, 0.0, before), mask=columns < job.sizes.m)


@triton.jit
def sweep_rows(job, how: tl.constexpr, sums, block, weight, LENGTHENED: tl.constexpr):
    """Half a Sinkhorn sweep, ``a_i = p_i / sum_j K_ij b_j``; adds the sums of ``a K`` over the rows to ``sums``."""
    rows = block * how.rows + tl.arange(0, how.rows)
    scale = row_scaling(job, how, rows, True, weight, LENGTHENED)
    for start in range(0, job.m, how.tile):
        columns = start + tl.arange(0, how.tile)
        at, real = entries(job, rows, columns)
        kernel = tl.load(job.arrays.kernel + at, mask=real, other=0.0)
        add_sums(job, sums, columns, tl.sum(kernel * scale[:, None], 0), block == job.part)
    tl.debug_barrier()  # the next rows add to the same sums


@triton.jit
def row_scaling(job, how: tl.constexpr, rows, EXACT_ROWS: tl.constexpr, weight, LENGTHENED: tl.constexpr):
    """The scaling a of the rows; with ``EXACT_ROWS`` it is first set to ``p_i / sum_j K_ij b_j``, or lengthened."""
    at_row = job.sample * job.sizes.n + rows
    if EXACT_ROWS:
        mass = tl.load(job.arrays.p + at_row, mask=rows < job.n, other=0.0)
        total = tl.zeros_like(mass)
        for start in range(0, job.m, how.tile):
            columns = start + tl.arange(0, how.tile)
            at, real = entries(job, rows, columns)
            b = tl.load(job.arrays.b + job.vector * job.sizes.m + columns, mask=columns < job.sizes.m, other=0.0)
            total += tl.sum(tl.load(job.arrays.kernel + at, mask=real, other=0.0) * b[None, :], 1)
        scale = mass / tl.maximum(total, TINY)
        if LENGTHENED:
            scale = lengthened(tl.load(job.arrays.a + at_row, mask=rows < job.n, other=0.0), scale, weight)
            tl.debug_barrier()  # several threads may hold an entry, and one of them stores it
        tl.store(job.arrays.a + at_row, scale, mask=rows < job.n)
    else:
        scale = tl.load(job.arrays.a + at_row, mask=rows < job.n, other=0.0)
    return scale


@triton.jit
def column_total(job, how: tl.constexpr, sums, parts, columns):
    """The column sums of the first ``parts`` rows of a (parts, M) array, which is read ``how.group`` rows at a time."""
    total = tl.zeros_like(columns).to(tl.float32)
    for start in range(0, parts, how.group):
        part = start + tl.arange(0, how.group)
        at = sums + part[:, None] * job.sizes.m + columns[None, :]
        total += tl.sum(tl.load(at, mask=(part < parts)[:, None] & (columns < job.sizes.m)[None, :], other=0.0), 0)
    return total


@triton.jit
def scale_columns(
    job, columns, total, rate, keep, phi, MIRROR: tl.constexpr, PROXIMAL: tl.constexpr, weight, LENGTHENED: tl.constexpr
):
    """From the column sums s = ``total`` of ``a K`` compute b and the ``shift`` of the next :func:`log_step`.

    Sinkhorn: ``log b = phi (log q - log s) - (1 - phi) v``, or a ``LENGTHENED`` step to it. With ``PROXIMAL`` (last
    sweep of an iteration) also ``v += log b`` and ``shift = v + keep log b``. Mirror: ``shift = -rate lambda_y (log s -
    log q)``, and b is 1. Columns without mass always have b = 0.
    """
    real = columns < job.sizes.m
    mass = tl.load(job.arrays.q + job.sample * job.sizes.m + columns, mask=real, other=0.0)
    log_ratio = tl.log(tl.maximum(total, TINY)) - tl.log(tl.maximum(mass, TINY))
    at = job.vector * job.sizes.m + columns
    if MIRROR:
        push = -rate * job.weights.relax * log_ratio
        scale = tl.where(mass > 0, 1.0, 0.0)
    else:
        potential = tl.load(job.arrays.v + at, mask=real & (mass > 0), other=0.0)
        log_b = -phi * log_ratio - (1.0 - phi) * potential
        scale = tl.where(mass > 0, tl.exp(log_b), 0.0)
        if LENGTHENED:
            scale = lengthened(tl.load(job.arrays.b + at, mask=real, other=0.0), scale, weight)
        tl.debug_barrier()  # several threads may hold an entry, and one of them stores it
        push = potential + log_b + keep * log_b
        if PROXIMAL:
            tl.store(job.arrays.v + at, potential + log_b, mask=real & (mass > 0))
    tl.store(job.arrays.b + at, scale, mask=real)
    if MIRROR or PROXIMAL:
        tl.store(job.arrays.shift + at, tl.where(mass > 0, push, -float("inf")), mask=real)


@triton.jit
def lengthened(old, new, weight):
    """As ``reference._lengthened``: ``old (new / old)^weight`` where the two are near each other, otherwise ``new``."""
    step = tl.log(tl.maximum(new, TINY)) - tl.log(tl.maximum(old, TINY))
    return tl.where((old > 0) & (tl.abs(step) < SHORT), new * tl.exp((weight - 1.0) * step), new)


@triton.jit
def next_weight(weight, shrunk, sweeps):
    """As :func:`vasot_lib.transport.reference.next_weight`."""
    left = tl.exp(tl.log(tl.maximum(shrunk, TINY)) / sweeps)
    plain = (left + weight - 1.0) * (left + weight - 1.0) / (left * weight * weight)
    longer = tl.minimum(2.0 / (1.0 + tl.sqrt(tl.maximum(1.0 - plain, 0.0))), MOST_WEIGHT)
    return tl.where(shrunk >= 1.0, 1.0, tl.where(left > weight - 1.0, longer, weight))


@triton.jit
def absorb(job, columns):
    """Move b into the ``shift`` of the next :func:`log_step`; then b is 1, or 0 where a column has no mass."""
    at = job.vector * job.sizes.m + columns
    b = tl.load(job.arrays.b + at, mask=columns < job.sizes.m, other=0.0)
    tl.debug_barrier()  # several threads may hold an entry, and one of them stores it
    tl.store(
        job.arrays.shift + at, tl.where(b > 0, tl.log(tl.maximum(b, TINY)), -float("inf")), mask=columns < job.sizes.m
    )
    tl.store(job.arrays.b + at, tl.where(b > 0, 1.0, 0.0), mask=columns < job.sizes.m)


@triton.jit
def write_plan(job, how: tl.constexpr, block, EXACT_ROWS: tl.constexpr):
    """Write the plan ``a_i K_ij b_j`` of some rows; returns how far it is from what was there, ``sum |difference|``."""
    rows = block * how.rows + tl.arange(0, how.rows)
    scale = row_scaling(job, how, rows, EXACT_ROWS, 1.0, False)
    moved = 0.0
    for start in range(0, job.m, how.tile):
        columns = start + tl.arange(0, how.tile)
        at, real = entries(job, rows, columns)
        weight = tl.load(job.arrays.b + job.vector * job.sizes.m + columns, mask=columns < job.sizes.m, other=0.0)
        plan = tl.load(job.arrays.kernel + at, mask=real, other=0.0) * scale[:, None] * weight[None, :]
        moved += tl.sum(tl.abs(plan - tl.load(job.arrays.plan + at, mask=real, other=0.0)))
        tl.store(job.arrays.plan + at, plan, mask=real)
    return moved


@triton.jit
def measure_rows(job, how: tl.constexpr, sums, block):
    """The terms of J of some rows of the written plan but for the relaxation, and the largest error of their masses.

    Adds the column masses to ``sums``, as :func:`step_rows` does.
    """
    objective = 0.0
    rows = block * how.rows + tl.arange(0, how.rows)
    mass = tl.load(job.arrays.p + job.sample * job.sizes.n + rows, mask=rows < job.n, other=0.0)
    reached = tl.zeros_like(mass)
    for start in range(0, job.m, how.tile):
        columns = start + tl.arange(0, how.tile)
        at, real = entries(job, rows, columns)
        plan = tl.load(job.arrays.plan + at, mask=real, other=0.0)
        value = job.weights.linear * tl.load(job.arrays.cost + at, mask=real, other=0.0)
        if how.structure != NONE:
            value += 0.5 * structure_term(job, rows, columns)
        value += job.weights.epsilon * (tl.log(tl.where(plan > 0, plan, 1.0)) - 1.0)
        objective += tl.sum(tl.where(plan > 0, plan * value, 0.0))  # Q was never written in all columns of padding
        reached += tl.sum(plan, 1)
        add_sums(job, sums, columns, tl.sum(plan, 0), block == job.part)
    tl.debug_barrier()  # the next rows add to the same sums
    return objective, largest_error(reached, mass)


@triton.jit
def largest_error(reached, mass):
    """The largest ``|reached - mass| / mass`` over the entries that have mass."""
    return tl.max(tl.where(mass > 0, tl.abs(reached - mass) / tl.maximum(mass, TINY), 0.0))
