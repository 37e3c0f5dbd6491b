r"""The fused GPU path: the two schemes of :mod:`vasot_lib.transport.reference` in one Triton kernel, with fixed rows.

On small plans a step takes less time than the launch of a kernel. So a whole solve is one launch: iterations, finishing
sweeps, objective and errors (:mod:`vasot_lib.transport.fused.gpu_kernel`). Several programs work on a sample together
and meet at a barrier between steps. Without a GPU the tests run the kernel in Triton's interpreter.

The plan itself is not stored: it is ``T_ij = a_i K_ij b_j``. A constant per row of log K is arbitrary, since rows are
scaled to p anyway. One iteration is

1. ``sum_along_row`` (where the prior of the columns has a band): P, the running sum of T along j, written over K.
   Reads 1 array of the plan's size, writes 1.
2. ``sum_band_along_column`` or ``sum_along_column``: ``Z = T Cy`` and Q, its running sum along i. Q starts again from 0
   in every chunk of rows, so that tall plans give work to all programs. Reads 1 (the four places of P that are needed,
   j - w - 1, j - 1, j and j + w, share cache lines), writes 1. The row's mass, which the matrix of ones adds to each
   column alike, is left out with the other constants of a row; without it Z is small and its sums are more exact.
3. ``step_rows``: ``S = keep log K + shift_j - rate ((1 - alpha) C + alpha Cx Z)``, ``K = exp(S - max_j S)``,
   ``a = p / sum_j K``, and the column sums of ``a K``. Reads 3 (C, log K, Q), writes 2.
4. ``scale_columns``: adds up the column sums of all programs; b, the potential v and the next ``shift``. Vectors only.

The schemes are the same iteration with different numbers:

    sinkhorn   rate = 1 / (2 eps),  keep = 1/2,            shift = v + log(b) / 2  (v includes the last log b)
    mirror     rate = step size,    keep = 1 - rate eps,   shift = -rate lambda_y (log colsum(T) - log q),  b = 1
    mirror, balanced                rate = 1 / eps,  keep = 0 (log K is not kept),  shift = 0

So an iteration reads and writes 9 arrays of the plan's size with a band, 7 without (2 fewer for ``mirror``,
balanced; 2 to 4 in all without structure). Each entry is exponentiated once, or twice where a row does not fit into
one tile. The working memory is K, log K and Q, and the last two plans. Every further sweep is ``sweep_rows`` and
``scale_columns`` and reads 1 array; so do most of the finishing sweeps.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec

import torch
from torch import Tensor

from vasot_lib.transport.fused.gpu_arguments import Arrays, How, Sizes, Weights
from vasot_lib.transport.problem import NeedsHost, Problem, host_reads_nothing
from vasot_lib.transport.reference import (
    MOST_FINISHING_SWEEPS,
    SWEEPS_BETWEEN_CHECKS,
    Schedule,
    Solution,
    with_exact_masses,
)

ENTRIES = 2048  # of a tile
WIDEST_ROW = 1024  # the widest row that is read in one tile; wider ones are read in tiles of a quarter of that
WIDEST_FLAT_ROW = 4096  # the widest row without a band (actions), which is always read in one tile
SHORTEST_CHUNK, MOST_CHUNKS = 64, 32  # rows of a chunk, and chunks, of the running sums along i
BAND_COLUMNS = 32  # columns of a tile of sum_band_along_column: 32 float32 are a memory line
# Eight warps with at most 128 registers for each of their threads: two programs fit on a multiprocessor. A cooperative
# launch needs room for all of its programs at once.
WARPS, REGISTERS, PROGRAMS_PER_MULTIPROCESSOR = 8, 128, 2
# Programs that work on one sample: at least so many, if need be on one sample after another, and at most so many
# before they share the columns of b too, since each would have to add up the column sums of all others.
FEWEST_PARTS, MOST_UNSHARED_PARTS = 4, 96


def takes(problem: Problem, schedule: Schedule) -> bool:
    """Whether :func:`run` can solve this problem: on a CUDA device, or on the CPU with TRITON_INTERPRET=1 set."""
    cost = problem.cost
    on_device = cost.is_cuda or (cost.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")
    if not on_device or not _has_triton() or cost.dtype != torch.float32:
        return False
    if problem.relax_x is not None or problem.total_mass is not None or problem.forbids or schedule.trace:
        return False
    if cost.shape[1] * cost.shape[2] >= 2**31:  # 32-bit offsets
        return False
    if problem.structure is None:
        return True
    first, second = problem.structure
    flat = second.free == 0 and cost.shape[2] <= WIDEST_FLAT_ROW
    return first.ones == 0 and (second.band != 0 or flat)


def run(problem: Problem, schedule: Schedule) -> Solution:
    """As :func:`vasot_lib.transport.reference.run`, up to float32 rounding, for problems that :func:`takes` accepts."""
    looks_for_losses = problem.balanced and not schedule.finish  # finishing sweeps bring back what was rounded to 0
    if looks_for_losses and host_reads_nothing():
        raise NeedsHost("without finishing sweeps the host has to look whether masses were rounded to 0")
    # triton is slow to import, and not installed everywhere
    from vasot_lib.transport.fused import gpu_kernel

    with torch.cuda.device_of(problem.cost):
        launch = Launch(problem, schedule)
        gpu_kernel.solve[launch.grid](*launch.arguments, **launch.constants)
    solution = Solution(launch.plan, *launch.outcome)
    return with_exact_masses(solution, problem, schedule) if looks_for_losses else solution


class Launch:
    """Memory, arguments and constants of the one launch that solves a problem.

    Attributes:
        grid: programs of a group, and groups.
        plan: (B, N, M) the solution.
        outcome: (4, B) objective, marginal errors of rows and of columns, and mass that the last iteration moved.
    """

    def __init__(self, problem: Problem, schedule: Schedule):
        self.problem, self.schedule = problem, schedule
        self.batch, self.n, self.m = problem.cost.shape
        chunk = max(SHORTEST_CHUNK, _power_of_two(-(-self.n // MOST_CHUNKS)))
        self.sizes = Sizes(self.n, self.m, chunk, -(-self.n // chunk))
        self.mirror = schedule.scheme == "mirror" and not problem.balanced
        self.structure = 0 if problem.structure is None else 2 if problem.structure[1].band else 1
        self.how = self._how()
        # No more threads than entries of a tile: one thread could overwrite an entry that another has yet to read.
        warps = max(min(WARPS, self.how.rows * self.how.tile // 32), 1)
        self.constants = dict(how=self.how, num_warps=warps, maxnreg=REGISTERS)
        if problem.cost.is_cuda and self.grid[0] > 1:
            self.constants["launch_cooperative_grid"] = True
        sweeps = 1 if self.mirror else schedule.sweeps
        checks = MOST_FINISHING_SWEEPS // SWEEPS_BETWEEN_CHECKS
        self.arguments = (
            *(self._arrays(), self.sizes, self._weights(), self.batch, self.grid[0]),
            *(schedule.iterations, sweeps, checks, SWEEPS_BETWEEN_CHECKS, float(schedule.tolerance)),
        )

    def _how(self) -> How:
        problem, widest = self.problem, WIDEST_FLAT_ROW if self.structure == 1 else WIDEST_ROW
        wide = _power_of_two(self.m) > widest
        tile = WIDEST_ROW // 4 if wide else _power_of_two(self.m)
        rows = min(max(ENTRIES // tile, 1), 64, _power_of_two(self.n))
        columns = min(_power_of_two(self.m), BAND_COLUMNS)
        group = max(ENTRIES // 4 // columns, 1)
        self.grid = share_out(self.batch, -(-self.n // rows), _programs_at_once(problem.cost.device))
        return How(
            self.structure, self.mirror, self.schedule.scheme == "sinkhorn",
            exact_rows=not self.mirror and problem.relax_y is not None,
            finish=problem.balanced and self.schedule.finish, stop=self.schedule.stop_early, wide=wide,
            together=self.grid[0] > 1, shared=self.grid[0] > MOST_UNSHARED_PARTS, rows=rows, tile=tile, columns=columns,
            band_rows=min(group, _power_of_two(self.n)), group=group,
        )  # fmt: skip

    def _arrays(self) -> Arrays:
        problem, parts = self.problem, self.grid[0]
        cost, p, q = (t.contiguous() for t in (problem.cost, problem.p, problem.q))
        shape = (self.batch, self.n, self.m)
        padded = min(problem.lengths_x) < self.n or min(problem.lengths_y) < self.m
        self.plan = cost.new_zeros(shape) if padded else cost.new_empty(shape)  # padding is never written
        self.outcome = cost.new_empty(4, self.batch)
        kernel, log_kernel = cost.new_empty(shape), cost.new_empty(shape)
        lengths = [self._integers(each) for each in (problem.lengths_x, problem.lengths_y)]
        windows, running = lengths, kernel  # without structure: never read
        if problem.structure is not None:
            windows, running = [self._integers(side.windows) for side in problem.structure], cost.new_empty(shape)
        rows, columns = self.batch * self.n, self.batch * self.m
        copied = columns if self.how.shared else columns * parts
        sizes = (rows, rows, columns * self.sizes.chunks, columns * 2 * parts, *(copied,) * 3, self.batch * 5 * parts)
        aligned = [-(-size // 4) * 4 for size in sizes]  # Triton compiles anew for each pattern of unaligned pointers
        vectors = cost.new_empty(sum(aligned)).split(aligned)
        barrier = torch.zeros(self.grid[1], dtype=torch.int32, device=cost.device)
        matrices = kernel, log_kernel, running, self.plan
        return Arrays._make((cost, p, q, *lengths, *windows, *matrices, *vectors, self.outcome, barrier))

    def _integers(self, values: tuple[int, ...]) -> Tensor:
        device = self.problem.cost.device
        if len(set(values)) == 1:  # written by the device itself, which need not wait for the host
            return torch.full((len(values),), values[0], dtype=torch.int32, device=device)
        return torch.tensor(values, dtype=torch.int32, device=device)

    def _weights(self) -> Weights:
        problem, alpha = self.problem, float(self.problem.alpha)
        epsilon, relax = float(problem.epsilon), float(problem.relax_y or 0.0)
        if problem.structure is None:
            return Weights(1.0 - alpha, 0, 0.0, 0.0, 0, 0.0, 0.0, 0.0, epsilon, relax)
        x, y = problem.structure
        first, second = (x.free, alpha * x.identity, alpha * x.band), (y.free, y.ones, y.identity, y.band)
        return Weights(1.0 - alpha, *first, *second, epsilon, relax)


def share_out(batch: int, blocks: int, room: int) -> tuple[int, int]:
    """Programs of a group, and groups, for samples of so many blocks of rows, where ``room`` programs run at once."""
    parts = min(blocks, max(room // batch, min(FEWEST_PARTS, room)))
    return parts, min(batch, room // parts)


@cache
def _has_triton() -> bool:
    """Triton is installed for NVIDIA devices, and takes tuples of arguments."""
    if find_spec("triton") is None or torch.version.hip is not None:
        return False
    return tuple(map(int, version("triton").split(".")[:2])) >= (3, 3)


@cache
def _programs_at_once(device: torch.device) -> int:
    """How many programs of a launch run at the same time; one in Triton's interpreter."""
    if device.type == "cpu":
        return 1
    return PROGRAMS_PER_MULTIPROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def _power_of_two(size: int) -> int:
    """The smallest power of two that is at least ``size``."""
    return 1 << (size - 1).bit_length()
