r"""The fused GPU path: the two schemes of :mod:`vasot_lib.transport.reference` in Triton kernels, with fixed rows.

The tests run it in Triton's interpreter, and those marked ``gpu`` on a GPU (last on an H100). On small plans a kernel
takes less time than its launch, which is why :mod:`vasot_lib.transport.fused.gpu_graphs` records and replays launches.

The plan itself is not stored: it is ``T_ij = a_i K_ij b_j``. A constant per row of log K is arbitrary, since rows are
scaled to p anyway. One iteration is two to four kernel launches, without allocation or synchronisation with the host:

1. ``running_sums`` (where the prior of the columns has a band): P, the running sum of T along j, written over K.
   Reads 1 array of the plan's size, writes 1.
2. ``second_side_band`` or ``second_side_flat``: ``Z = T Cy`` and Q, its running sum along i. Q starts again from 0 in
   every chunk of rows, so that tall plans keep the whole device busy. Reads 1 (the four places of P that are needed, j
   - w - 1, j - 1, j and j + w, share cache lines), writes 1. The row's mass, which the matrix of ones adds to each
   column alike, is left out with the other constants of a row; without it Z is small and its sums are more exact.
3. ``move``: ``S = keep log K + shift_j - rate ((1 - alpha) C + alpha Cx Z)``, ``K = exp(S - max_j S)``,
   ``a = p / sum_j K``, and the column sums of ``a K`` per block of rows. Reads 3 (C, log K, Q), writes 2.
4. ``scale_columns``: adds up the column sums of all blocks; b, the potential v and the next ``shift``. Vectors only.

The schemes are the same iteration with different numbers:

    sinkhorn   rate = 1 / (2 eps),  keep = 1/2,            shift = v + log(b) / 2  (v includes the last log b)
    mirror     rate = step size,    keep = 1 - rate eps,   shift = -rate lambda_y (log colsum(T) - log q),  b = 1
    mirror, balanced                rate = 1 / eps,  keep = 0 (log K is not kept),  shift = 0

So an iteration reads and writes 9 arrays of the plan's size with a band, 7 without (2 fewer for ``mirror``,
balanced; 2 to 4 in all without structure). Each entry is exponentiated once, or twice where a row does not fit into
one tile. The working memory is K, log K and Q, and for the column sums one more such array divided by the rows of a
block; at the end, the last two plans. Every further sweep is ``sweep`` and ``scale_columns`` and reads 1 array. The
finishing sweeps are the same two kernels with the plan in the place of K, and the host looks at the errors once every
few sweeps.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from vasot_lib.transport.problem import TINY, Problem
from vasot_lib.transport.reference import (
    MOST_FINISHING_SWEEPS,
    SWEEPS_BETWEEN_CHECKS,
    Schedule,
    Solution,
    marginal_error,
    mirror_step,
)

# Sizes and numbers of warps are those that were fastest on an H100; compared with 64 rows and four warps for the band
# and eight warps for `move`, batches of plans take a quarter less time.
ENTRIES, MOVE_WARPS = 2048, 4  # entries of a tile, and warps that work on it in `move`
WIDEST_ROW = 1024  # the widest row that is read in one tile; wider ones are read in tiles of a quarter of that
WIDEST_FLAT_ROW = 4096  # the widest row without a band (actions), which is always read in one tile
SHORTEST_CHUNK, MOST_CHUNKS = 64, 32  # rows of a chunk, and chunks, of the running sums along i
# Columns and rows of a tile of second_side_band: 32 float32 are a memory line, and one warp sums 16 rows by itself.
BAND_COLUMNS, BAND_ROWS, BAND_WARPS = 32, 16, 1
BLOCKS_AT_ONCE, SCALED_COLUMNS = 32, 64


def takes(problem: Problem, schedule: Schedule) -> bool:
    """Whether :func:`run` can solve this problem: on a CUDA device, or on the CPU with TRITON_INTERPRET=1 set."""
    cost = problem.cost
    on_device = cost.is_cuda or (cost.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")
    if not on_device or find_spec("triton") is None or cost.dtype != torch.float32:
        return False
    if problem.relax_x is not None or schedule.trace or cost.shape[1] * cost.shape[2] >= 2**31:  # 32-bit offsets
        return False
    if problem.structure is None:
        return True
    first, second = problem.structure
    flat = second.free == 0 and cost.shape[2] <= WIDEST_FLAT_ROW
    return first.ones == 0 and (second.band != 0 or flat)


def run(problem: Problem, schedule: Schedule) -> Solution:
    """As :func:`vasot_lib.transport.reference.run`, up to float32 rounding, for problems that :func:`takes` accepts."""
    with torch.cuda.device_of(problem.cost):
        solver = Solver(problem, schedule)
        solver.run()
        matrix, residual = solver.kernel, solver.residual
        del solver  # J is measured in plain torch, which needs room of its own
        return measure(problem, matrix, residual)


def measure(problem: Problem, matrix: Tensor, residual: Tensor) -> Solution:
    """The solution with its objective and marginal errors, computed from the (B, N, M) plan."""
    error_x, error_y = marginal_error(matrix.sum(2), problem.p), marginal_error(matrix.sum(1), problem.q)
    return Solution(matrix, problem.objective(matrix), error_x, error_y, residual)


def _power_of_two(size: int) -> int:
    """The smallest power of two that is at least ``size``."""
    return 1 << (size - 1).bit_length()


class Solver:
    """Memory and kernel launches of one solve; it can run again after ``cost``, ``p`` and ``q`` were written to.

    ``iterate`` and ``sweep_on`` never wait for the device, so that ``gpu_graphs`` can record them.

    Attributes:
        kernel: (B, N, M) the plan, after :meth:`run`.
        residual: (B,) mass that the last iteration moved.
    """

    def __init__(self, problem: Problem, schedule: Schedule):
        from vasot_lib.transport.fused import gpu_kernels  # triton is slow to import, and not installed everywhere

        self.kernels, self.problem, self.schedule = gpu_kernels, problem, schedule
        self.mirror = schedule.scheme == "mirror" and not problem.balanced
        self.proximal = schedule.scheme == "sinkhorn"
        self.finishes = problem.balanced and schedule.finish
        self.sweeps = 1 if self.mirror else schedule.sweeps
        self.end_on_rows = not self.mirror and problem.relax_y is not None  # half a sweep more, as in the reference
        self.exact_rows = False
        self.cost, self.p, self.q = (t.contiguous() for t in (problem.cost, problem.p, problem.q))
        self.batch, self.n, self.m = self.cost.shape
        self._lay_out()
        self._allocate()

    def run(self) -> None:
        """Iterate from the uniform plan and finish."""
        self.iterate()
        if self.finishes:
            for _ in range(MOST_FINISHING_SWEEPS // SWEEPS_BETWEEN_CHECKS):
                if bool(self.done.all()):
                    break
                self.sweep_on()
            self.kernel.mul_(self.a.unsqueeze(2)).mul_(self.b.unsqueeze(1))

    def iterate(self) -> None:
        """All iterations and, where finishing sweeps follow, the first half of the first of them."""
        self._start()
        for _ in range(self.schedule.iterations - 1):
            self._step()
        previous = self._plan(torch.empty_like(self.kernel))
        self._step()
        self.residual = previous.sub_(self._plan(self.kernel)).abs_().sum((1, 2))
        if self.finishes:
            self.b.fill_(1.0)
            self._sweep()
            self._check_marginals()

    def sweep_on(self) -> None:
        """Finishing sweeps on the plan itself, up to the next check of the marginals, as in the reference."""
        for _ in range(SWEEPS_BETWEEN_CHECKS):
            self._scale(1.0, proximal=False)
            self._sweep()
        self._check_marginals()

    def _lay_out(self) -> None:
        self.single = _power_of_two(self.m) <= WIDEST_ROW
        self.tile = _power_of_two(self.m) if self.single else WIDEST_ROW // 4
        self.rows = min(max(ENTRIES // self.tile, 1), 64, _power_of_two(self.n))
        self.blocks = -(-self.n // self.rows)
        self.chunk = max(SHORTEST_CHUNK, _power_of_two(-(-self.n // MOST_CHUNKS)))
        self.chunks = -(-self.n // self.chunk)

    def _allocate(self) -> None:
        new, shape = self.cost.new_empty, self.cost.shape
        self.a, self.b = torch.empty_like(self.p), torch.empty_like(self.q)
        self.kernel = new(shape)
        self.keeps = self.proximal or self.mirror
        self.log_kernel = new(shape) if self.keeps else self.kernel  # without log K: a placeholder that is not read
        self.v, self.shift = torch.empty_like(self.q), torch.empty_like(self.q)
        # Zeros, because nothing is ever written beyond a sample's last block or column.
        self.column_sums = self.cost.new_zeros(self.batch, self.blocks, self.m)
        self.row_sums = torch.empty_like(self.p)
        self.lengths_x, self.lengths_y = (
            self._integers(lengths) for lengths in (self.problem.lengths_x, self.problem.lengths_y)
        )
        self.done = torch.zeros_like(self.lengths_x)
        self.windows_x = self.windows_y = self.done
        self.running, self.chunk_sums = self.kernel, self.row_sums  # without structure: placeholders that are not read
        if self.problem.structure is not None:
            self.windows_x, self.windows_y = (self._integers(side.windows) for side in self.problem.structure)
            self.running, self.chunk_sums = new(shape), new(self.batch, self.chunks, self.m)

    def _integers(self, values: tuple[int, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=self.cost.device)

    def _start(self) -> None:
        """The uniform plan, and the weights ``rate`` and ``keep``, (B,), and ``phi``."""
        self.exact_rows = False  # the rows of the uniform plan have their masses already
        self.a.copy_(self.p)
        self.b.copy_(self.q)
        self.kernel.fill_(1.0)
        if self.keeps:
            self.log_kernel.copy_(self.q.clamp_min(TINY).log().unsqueeze(1))
        self.v.zero_()
        self.shift.copy_(torch.where(self.q > 0, 0.0, -torch.inf))
        self.done.zero_()
        problem, epsilon = self.problem, self.problem.epsilon
        if self.mirror:
            self.rate = mirror_step(problem).flatten()
            self.keep, self.phi = 1.0 - epsilon * self.rate, 1.0
            return
        scale = epsilon * (2.0 if self.proximal else 1.0)
        self.rate = self.cost.new_full((self.batch,), 1.0 / scale)
        self.keep = torch.full_like(self.rate, 1.0 - epsilon / scale)
        self.phi = 1.0 if problem.relax_y is None else problem.relax_y / (problem.relax_y + scale)

    def _step(self) -> None:
        """One linearisation and its sweeps."""
        if self.problem.structure is not None:
            self._second_side()
        self._move()
        for sweep in range(1, self.sweeps + 1):
            self._scale(self.phi, self.proximal and sweep == self.sweeps)
            if sweep < self.sweeps:
                self._sweep()
        self.exact_rows = self.end_on_rows

    def _plan(self, out: Tensor) -> Tensor:
        """(B, N, M) the current plan, written to ``out``; if that is K, only sweeps on the plan may follow."""
        if self.exact_rows:
            self._sweep()
        return torch.mul(self.kernel, self.a.unsqueeze(2), out=out).mul_(self.b.unsqueeze(1))

    def _check_marginals(self) -> None:
        """Mark the samples that meet their marginals as done."""
        error = marginal_error(self.b * self.column_sums.sum(1), self.q)
        self.done.copy_(error <= self.schedule.tolerance / 2)

    def _second_side(self) -> None:
        assert self.problem.structure is not None
        first, second = self.problem.structure
        lengths, sizes = (self.lengths_x, self.lengths_y), (self.n, self.m)
        sums = (self.running, self.chunk_sums)
        where = (*sizes, self.chunk, self.chunks, first.free)
        if not second.band:
            tile = _power_of_two(self.m)
            self.kernels.second_side_flat[self.chunks, self.batch](
                self.kernel, self.a, self.b, self.p, *sums, self.lengths_x, *where, second.identity,
                EXACT_ROWS=self.exact_rows, ROWS=min(max(ENTRIES // tile, 1), self.chunk), TILE=tile,
            )  # fmt: skip
            return
        self.kernels.running_sums[self.blocks, self.batch](
            self.kernel, self.a, self.b, self.p, self.row_sums, *lengths, *sizes, second.free,
            EXACT_ROWS=self.exact_rows, ROWS=self.rows, TILE=self.tile,
        )  # fmt: skip
        columns = min(_power_of_two(self.m), BAND_COLUMNS)
        self.kernels.second_side_band[-(-self.m // columns), self.chunks, self.batch](
            self.kernel, self.row_sums, *sums, *lengths, self.windows_y, *where,
            second.free, second.ones, second.identity, second.band,
            ROWS=min(BAND_ROWS, self.chunk), COLUMNS=columns, num_warps=BAND_WARPS,
        )  # fmt: skip

    def _move(self) -> None:
        alpha, structure = self.problem.alpha, self.problem.structure
        first = structure[0] if structure is not None else None
        free, identity, band = 0, 0.0, 0.0
        if first is not None:
            free, identity, band = first.free, alpha * first.identity, alpha * first.band
        self.kernels.move[self.blocks, self.batch](
            self.cost, self.running, self.chunk_sums, self.log_kernel, self.kernel, self.shift, self.keep, self.rate,
            self.p, self.a, self.column_sums, self.lengths_x, self.lengths_y, self.windows_x,
            self.n, self.m, self.blocks, self.chunk, self.chunks, free, 1.0 - alpha, identity, band,
            STRUCTURE=structure is not None, KEEPS=self.keeps, SINGLE=self.single,
            ROWS=self.rows, TILE=self.tile, num_warps=MOVE_WARPS,
        )  # fmt: skip

    def _sweep(self) -> None:
        self.kernels.sweep[self.blocks, self.batch](
            self.kernel, self.a, self.b, self.p, self.column_sums, self.done, self.lengths_x, self.lengths_y,
            self.n, self.m, self.blocks, ROWS=self.rows, TILE=self.tile,
        )  # fmt: skip

    def _scale(self, phi: float, proximal: bool) -> None:
        tile = min(_power_of_two(self.m), SCALED_COLUMNS)
        self.kernels.scale_columns[-(-self.m // tile), self.batch](
            self.column_sums, self.b, self.v, self.shift, self.q, self.keep, self.rate, self.done,
            self.lengths_x, self.m, self.blocks, phi, self.problem.relax_y or 0.0,
            MIRROR=self.mirror, PROXIMAL=proximal, BLOCK_ROWS=self.rows, BLOCKS=BLOCKS_AT_ONCE, TILE=tile,
        )  # fmt: skip
