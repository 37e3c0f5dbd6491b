"""What the GPU kernel is called with. On the host a field holds a tensor or a number, in it a pointer or a scalar."""

from __future__ import annotations

from typing import Any, NamedTuple


class Arrays(NamedTuple):
    """Memory of a solve. ``copies`` is 1, or the number of programs where each computes b, v and shift for itself."""

    cost: Any  # (B, N, M)
    p: Any  # (B, N)
    q: Any  # (B, M)
    lengths_x: Any  # (B,) int32
    lengths_y: Any  # (B,) int32
    windows_x: Any  # (B,) int32
    windows_y: Any  # (B,) int32
    kernel: Any  # (B, N, M) K, or P, the running sums of the plan along j
    log_kernel: Any  # (B, N, M) log K
    running: Any  # (B, N, M) Q, the running sums along i of Z = T Cy
    plan: Any  # (B, N, M) the plan before the last iteration, and in the end the solution
    row_sums: Any  # (B, N) row sums of the plan
    a: Any  # (B, N) scaling of the rows
    chunk_sums: Any  # (B, chunks, M) the sums of Z over each chunk of rows
    column_sums: Any  # (B, 2, parts, M) sums of a_i K_ij over the rows of each program, of this sweep and the last
    b: Any  # (B, copies, M) scaling of the columns
    v: Any  # (B, copies, M) potential of the columns
    shift: Any  # (B, copies, M) what is added to log K in the next step
    partial: Any  # (B, 5, parts) what each program measured
    outcome: Any  # (4, B) objective, the two marginal errors, and the mass that the last iteration moved
    barrier: Any  # (groups,) int32, 0 at the start: how often programs have arrived


class How(NamedTuple):
    """What the kernel is compiled for."""

    structure: int  # what the prior of the columns needs: nothing, its values only, or their running sums (a band)
    mirror: bool  # explicit mirror steps (a relaxed side); otherwise Sinkhorn sweeps
    proximal: bool  # with a proximal term
    exact_rows: bool  # half a sweep more after each iteration makes the row masses exact
    finish: bool  # sweeps at the end until the marginals are met
    stop: bool  # no more iterations once the plan has settled
    wide: bool  # a row takes several tiles
    together: bool  # there is more than one program for a sample
    shared: bool  # programs share the columns of b instead of computing all of them themselves
    rows: int  # of a block
    tile: int  # columns of a tile of whole rows
    columns: int  # of a tile in steps that go along the columns
    band_rows: int  # of such a tile in the running sums along i
    group: int  # programs whose column sums are read at a time


class Job(NamedTuple):
    """A sample that a program works on."""

    arrays: Any
    sizes: Any
    weights: Any
    sample: Any  # its number in the batch
    n: Any  # its real rows
    m: Any  # its real columns
    part: Any  # the number of the program among those that work on the sample
    parts: Any  # how many they are
    vector: Any  # the row of b, v and shift that the program reads and writes


class Sizes(NamedTuple):
    """Shape of the plan, and how rows are cut for the running sums along i."""

    n: Any  # N
    m: Any  # M
    chunk: Any  # rows of a chunk, in each of which the running sums start again
    chunks: Any


class Weights(NamedTuple):
    """Numbers of the problem; the matrices are ``ones 11' + identity I + band Band_w`` as in ``structure.Operator``."""

    linear: Any  # 1 - alpha
    free_x: Any
    identity_x: Any  # times alpha
    band_x: Any  # times alpha
    free_y: Any
    ones_y: Any
    identity_y: Any
    band_y: Any
    epsilon: Any
    relax: Any  # lambda_y, 0 where the columns are fixed
