r"""The Triton kernels of the fused GPU path; :mod:`vasot_lib.transport.fused.gpu` explains how they work together.

All (B, N, M) tensors are contiguous float32, and sums are accumulated in float32. A launch has a grid of programs,
blocks of rows or columns first and samples last. A program works on the n real rows of its sample, and on its columns
up to the end of the tile in which the last of the m real ones lies. Columns without mass, such as padding, have
``shift`` -inf and b 0, so that whatever is computed there enters no sum. Loads and stores are masked by the width M of
the tensor instead of m, because then they can be vectorised. Sums are taken in a fixed order: the same call gives the
same bits.

This module needs triton and is therefore imported on the first use only. Kernel arguments carry no annotations but
``tl.constexpr``, which is what Triton reads them for.
"""
# mypy: disallow-untyped-defs=False

import triton
import triton.language as tl

from vasot_lib.transport import problem

TINY = tl.constexpr(problem.TINY)
LOWEST = tl.constexpr(-1e30)  # below every row maximum, and finite: -inf - -inf would be NaN


@triton.jit
def running_sums(
    kernel, a, b, p, row_sums, lengths_x, lengths_y, N, M, free,
    EXACT_ROWS: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Replace K by P, the running sum along j of ``T_ij = a_i K_ij b_j`` from column ``free`` on; write the row sums.

    ``EXACT_ROWS``: first set ``a_i = p_i / sum_j K_ij b_j``, the half sweep that a fixed side of rows ends on.
    """
    sample = tl.program_id(1).to(tl.int64)
    n = tl.load(lengths_x + sample)
    m = tl.load(lengths_y + sample)
    if tl.program_id(0) * ROWS >= n:
        return
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = kernel + sample * N * M + rows[:, None] * M
    if EXACT_ROWS:
        scale = _row_scaling(at, b + sample * M, p + sample * N, rows, n, m, M, ROWS, TILE)
        tl.store(a + sample * N + rows, scale, mask=rows < n)
    else:
        scale = tl.load(a + sample * N + rows, mask=rows < n, other=0.0)
    carry = tl.zeros((ROWS,), tl.float32)
    for start in range(0, m, TILE):
        columns = start + tl.arange(0, TILE)
        real = (rows < n)[:, None] & (columns < M)[None, :]
        weight = tl.load(b + sample * M + columns, mask=(columns < M) & (columns >= free), other=0.0)
        plan = tl.load(at + columns[None, :], mask=real, other=0.0) * scale[:, None] * weight[None, :]
        tl.store(at + columns[None, :], carry[:, None] + tl.cumsum(plan, 1), mask=real)
        carry += tl.sum(plan, 1)
    tl.store(row_sums + sample * N + rows, carry, mask=rows < n)


@triton.jit
def second_side_band(
    prefix, row_sums, running, chunk_sums, lengths_x, lengths_y, windows, N, M, chunk, chunks, free_x, free_y,
    ones, identity, band, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``Z = T Cy`` from the running sums P along j, and Q, the running sum of Z along i within a chunk of rows.

    ``Z_ij = (identity - band) (P_j - P_(j-1)) + band (P_(j+w) - P_(j-w-1))``. The matrix of ones would add the row's
    mass, which is the same in all columns and drops out of K. It is left out, because without it Z is small and its
    running sums are more exact. The free (dummy) columns would not get it and are given ``-ones sum_j T_ij`` instead.
    """
    sample = tl.program_id(2).to(tl.int64)
    n = tl.load(lengths_x + sample)
    m = tl.load(lengths_y + sample)
    half = tl.load(windows + sample)
    if tl.program_id(0) * COLUMNS >= m:
        return
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    last = tl.minimum(columns + half, m - 1)
    before = columns - half - 1
    first_row = tl.program_id(1) * chunk
    carry = tl.zeros((COLUMNS,), tl.float32)
    for start in range(first_row, tl.minimum(first_row + chunk, n), ROWS):
        rows = start + tl.arange(0, ROWS)
        at = sample * N * M + rows[:, None] * M
        real = (rows < n)[:, None] & (columns < M)[None, :]
        window = tl.load(prefix + at + last[None, :], mask=real, other=0.0)
        window -= tl.load(prefix + at + before[None, :], mask=real & (before >= 0)[None, :], other=0.0)
        plan = tl.load(prefix + at + columns[None, :], mask=real, other=0.0)
        plan -= tl.load(prefix + at + columns[None, :] - 1, mask=real & (columns >= 1)[None, :], other=0.0)
        total = tl.load(row_sums + sample * N + rows, mask=rows < n, other=0.0)
        z = tl.where((columns >= free_y)[None, :], (identity - band) * plan + band * window, -ones * total[:, None])
        z = tl.where(real & (rows >= free_x)[:, None], z, 0.0)
        tl.store(running + at + columns[None, :], carry[None, :] + tl.cumsum(z, 0), mask=real)
        carry += tl.sum(z, 0)
    tl.store(chunk_sums + (sample * chunks + tl.program_id(1)) * M + columns, carry, mask=columns < M)


@triton.jit
def second_side_flat(
    kernel, a, b, p, running, chunk_sums, lengths_x, N, M, chunk, chunks, free_x, identity,
    EXACT_ROWS: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Z and Q as in :func:`second_side_band` where the second side has no band: whole rows at once, from K itself.

    ``Z_ij = identity T_ij``; ``EXACT_ROWS`` as in :func:`running_sums`.
    """
    sample = tl.program_id(1).to(tl.int64)
    n = tl.load(lengths_x + sample)
    columns = tl.arange(0, TILE)
    weight = tl.load(b + sample * M + columns, mask=columns < M, other=0.0)
    first_row = tl.program_id(0) * chunk
    carry = tl.zeros((TILE,), tl.float32)
    for start in range(first_row, tl.minimum(first_row + chunk, n), ROWS):
        rows = start + tl.arange(0, ROWS)
        at = sample * N * M + rows[:, None] * M + columns[None, :]
        real = (rows < n)[:, None] & (columns < M)[None, :]
        plan = tl.load(kernel + at, mask=real, other=0.0) * weight[None, :]
        if EXACT_ROWS:
            mass = tl.load(p + sample * N + rows, mask=rows < n, other=0.0)
            scale = mass / tl.maximum(tl.sum(plan, 1), TINY)
            tl.store(a + sample * N + rows, scale, mask=rows < n)
        else:
            scale = tl.load(a + sample * N + rows, mask=rows < n, other=0.0)
        z = tl.where(real & (rows >= free_x)[:, None], identity * plan * scale[:, None], 0.0)
        tl.store(running + at, carry[None, :] + tl.cumsum(z, 0), mask=real)
        carry += tl.sum(z, 0)
    tl.store(chunk_sums + (sample * chunks + tl.program_id(0)) * M + columns, carry, mask=columns < M)


@triton.jit
def move(
    cost, running, chunk_sums, log_kernel, kernel, shift, keep, rate, p, a, column_sums, lengths_x, lengths_y, windows,
    N, M, blocks, chunk, chunks, free, linear, identity, band,
    STRUCTURE: tl.constexpr, KEEPS: tl.constexpr, SINGLE: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The next kernel and its row scaling: writes K, a, log K if ``KEEPS``, and the column sums of ``a K`` per block.

    ``S_ij = keep log K_ij + shift_j - rate (linear C_ij + (Cx Z)_ij)``, ``K = exp(S - max_j S)``, ``a = p / sum_j K``.
    With ``SINGLE`` a row fits into one tile and each entry is exponentiated once. Otherwise S is stored in K until the
    maximum of the whole row is known, and each entry is exponentiated twice.
    """
    sample = tl.program_id(1).to(tl.int64)
    n = tl.load(lengths_x + sample)
    m = tl.load(lengths_y + sample)
    if tl.program_id(0) * ROWS >= n:
        return
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    mass = tl.load(p + sample * N + rows, mask=rows < n, other=0.0)
    base = sample * N * M
    top = tl.full((ROWS,), LOWEST, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, m, TILE):
        columns = start + tl.arange(0, TILE)
        at = base + rows[:, None] * M + columns[None, :]
        real = (rows < n)[:, None] & (columns < M)[None, :]
        push = tl.load(shift + sample * M + columns, mask=columns < M, other=-float("inf"))
        gradient = linear * tl.load(cost + at, mask=real, other=0.0)
        if STRUCTURE:
            gradient += _first_side(
                running + base, chunk_sums + sample * chunks * M, rows, columns, real, n, M, chunk,
                tl.load(windows + sample), free, identity, band,
            )  # fmt: skip
        log_k = push[None, :] - tl.load(rate + sample) * gradient
        if KEEPS:
            log_k += tl.load(keep + sample) * tl.load(log_kernel + at, mask=real, other=0.0)
        # Columns without mass stay -inf; a negative keep may have turned theirs into +inf or NaN.
        log_k = tl.where(real & (push > -float("inf"))[None, :], log_k, -float("inf"))
        higher = tl.maximum(top, tl.max(log_k, 1))
        if SINGLE:
            log_k -= higher[:, None]
            exponential = tl.exp(log_k)
            total = tl.sum(exponential, 1)
            scale = mass / tl.maximum(total, TINY)
            if KEEPS:
                tl.store(log_kernel + at, log_k, mask=real)
            tl.store(kernel + at, exponential, mask=real)
            sums = tl.sum(exponential * scale[:, None], 0)
            tl.store(column_sums + (sample * blocks + tl.program_id(0)) * M + columns, sums, mask=columns < M)
        else:
            total = total * tl.exp(top - higher) + tl.sum(tl.exp(log_k - higher[:, None]), 1)
            tl.store(kernel + at, log_k, mask=real)
        top = higher
    scale = mass / tl.maximum(total, TINY)
    tl.store(a + sample * N + rows, scale, mask=rows < n)
    if not SINGLE:
        tl.debug_barrier()  # S was written by all threads of this program
        for start in range(0, m, TILE):
            columns = start + tl.arange(0, TILE)
            at = base + rows[:, None] * M + columns[None, :]
            real = (rows < n)[:, None] & (columns < M)[None, :]
            log_k = tl.load(kernel + at, mask=real, other=-float("inf")) - top[:, None]
            exponential = tl.exp(log_k)
            if KEEPS:
                tl.store(log_kernel + at, log_k, mask=real)
            tl.store(kernel + at, exponential, mask=real)
            sums = tl.sum(exponential * scale[:, None], 0)
            tl.store(column_sums + (sample * blocks + tl.program_id(0)) * M + columns, sums, mask=columns < M)


@triton.jit
def sweep(
    kernel, a, b, p, column_sums, done, lengths_x, lengths_y, N, M, blocks, ROWS: tl.constexpr, TILE: tl.constexpr
):
    """Half a Sinkhorn sweep, ``a_i = p_i / sum_j K_ij b_j``, and the column sums of ``a K`` per block.

    Samples marked ``done`` are left as they are.
    """
    sample = tl.program_id(1).to(tl.int64)
    n = tl.load(lengths_x + sample)
    m = tl.load(lengths_y + sample)
    if (tl.program_id(0) * ROWS >= n) | (tl.load(done + sample) != 0):
        return
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = kernel + sample * N * M + rows[:, None] * M
    scale = _row_scaling(at, b + sample * M, p + sample * N, rows, n, m, M, ROWS, TILE)
    tl.store(a + sample * N + rows, scale, mask=rows < n)
    for start in range(0, m, TILE):
        columns = start + tl.arange(0, TILE)
        real = (rows < n)[:, None] & (columns < M)[None, :]
        sums = tl.sum(tl.load(at + columns[None, :], mask=real, other=0.0) * scale[:, None], 0)
        tl.store(column_sums + (sample * blocks + tl.program_id(0)) * M + columns, sums, mask=columns < M)


@triton.jit
def scale_columns(
    column_sums, b, v, shift, q, keep, rate, done, lengths_x, M, blocks, phi, relax,
    MIRROR: tl.constexpr, PROXIMAL: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCKS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Add up the column sums s of all blocks, then compute b and the ``shift`` of the next :func:`move`.

    Sinkhorn: ``log b = phi (log q - log s) - (1 - phi) v``; ``PROXIMAL`` (last sweep of an iteration): ``v += log b``
    and ``shift = v + keep log b``. Mirror: ``shift = -rate lambda_y (log s - log q)``, and b is 1 (0 without mass).
    """
    sample = tl.program_id(1).to(tl.int64)
    if tl.load(done + sample) != 0:
        return
    used = tl.cdiv(tl.load(lengths_x + sample), BLOCK_ROWS)
    columns = tl.program_id(0) * TILE + tl.arange(0, TILE)
    real = columns < M
    total = tl.zeros((TILE,), tl.float32)
    for start in range(0, used, BLOCKS):
        block = start + tl.arange(0, BLOCKS)
        at = column_sums + (sample * blocks + block)[:, None] * M + columns[None, :]
        total += tl.sum(tl.load(at, mask=(block < used)[:, None] & real[None, :], other=0.0), 0)
    mass = tl.load(q + sample * M + columns, mask=real, other=0.0)
    log_ratio = tl.log(tl.maximum(total, TINY)) - tl.log(tl.maximum(mass, TINY))
    at_column = sample * M + columns
    if MIRROR:
        push = tl.where(mass > 0, -tl.load(rate + sample) * relax * log_ratio, -float("inf"))
        tl.store(shift + at_column, push, mask=real)
        tl.store(b + at_column, tl.where(mass > 0, 1.0, 0.0), mask=real)
    else:
        potential = tl.load(v + at_column, mask=real & (mass > 0), other=0.0)
        scale = tl.where(mass > 0, tl.exp(-phi * log_ratio - (1.0 - phi) * potential), 0.0)
        tl.store(b + at_column, scale, mask=real)
        if PROXIMAL:
            log_b = tl.log(tl.maximum(scale, TINY))
            tl.store(v + at_column, potential + log_b, mask=real & (mass > 0))
            push = tl.where(mass > 0, potential + log_b + tl.load(keep + sample) * log_b, -float("inf"))
            tl.store(shift + at_column, push, mask=real)


@triton.jit
def _row_scaling(at, b, p, rows, n, m, M, ROWS: tl.constexpr, TILE: tl.constexpr):
    """``p_i / sum_j K_ij b_j``; ``at`` points to column 0 of the rows."""
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, m, TILE):
        columns = start + tl.arange(0, TILE)
        real = (rows < n)[:, None] & (columns < M)[None, :]
        weight = tl.load(b + columns, mask=columns < M, other=0.0)
        total += tl.sum(tl.load(at + columns[None, :], mask=real, other=0.0) * weight[None, :], 1)
    return tl.load(p + rows, mask=rows < n, other=0.0) / tl.maximum(total, TINY)


@triton.jit
def _first_side(running, chunk_sums, rows, columns, real, n, M, chunk, half, free, identity, band):
    """``Cx Z`` from Q: ``(identity - band) Z_i + band sum of Z over i-w .. i+w``; zero on free (dummy) rows.

    Q starts again from 0 in every chunk of rows. Where the window reaches over several chunks, the sums of the chunks
    between its ends are added. There are few of them, and this way rounding errors grow with the window instead of with
    the length of the recording.
    """
    at = running + columns[None, :]
    last = tl.minimum(rows + half, n - 1)
    before = rows - half - 1
    window = tl.load(at + last[:, None] * M, mask=real, other=0.0)
    window -= tl.load(at + before[:, None] * M, mask=real & (before >= 0)[:, None], other=0.0)
    first_chunk = tl.maximum(before, 0) // chunk
    last_chunk = last // chunk
    for c in range(tl.min(first_chunk, 0), tl.max(last_chunk, 0)):
        sums = tl.load(
            chunk_sums + c * M + columns[None, :],
            mask=real & ((first_chunk <= c) & (c < last_chunk))[:, None],
            other=0.0,
        )
        window += sums
    z = tl.load(at + rows[:, None] * M, mask=real, other=0.0)
    z -= tl.load(at + (rows - 1)[:, None] * M, mask=real & (rows % chunk != 0)[:, None], other=0.0)
    return tl.where((rows >= free)[:, None], (identity - band) * z + band * window, 0.0)
