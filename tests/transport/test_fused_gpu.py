"""The Triton path against the readable one: on a GPU where there is one, else in Triton's interpreter.

The interpreter runs one program after another, so that a solve there has one program, but in the tests of
:mod:`tests.transport.programs`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.transport.helpers import random_cost
from tests.transport.programs import quicken, run_together
from vasot_kit.benchmarks.solver import pair_cost
from vasot_lib.transport import Distinct, Far, Near, dummy_marginal, make_problem, reference
from vasot_lib.transport.fused import gpu
from vasot_lib.transport.problem import Problem
from vasot_lib.transport.reference import Schedule, Solution

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed: pip install triton", allow_module_level=True)
from vasot_lib.transport.fused import gpu_kernel  # noqa: F401 (its lines count as covered)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TALL = 1300 if DEVICE == "cuda" else 300  # rows: several blocks and chunks; the interpreter takes seconds for each

# Columns that take no part meet inf - inf before they are masked out.
pytestmark = pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")
SECOND_SIDES = {"Far": Far, "Distinct": lambda radius, free: Distinct(), "no structure": None}
both_tilings = pytest.mark.parametrize("tiny", [False, True], ids=["one tile", "many tiles"])
SCHEMES = [("sinkhorn", None), ("sinkhorn", 0.1), ("mirror", None), ("mirror", 0.1)]
schemes = pytest.mark.parametrize(("scheme", "relax"), SCHEMES, ids=["-".join(map(str, each)) for each in SCHEMES])


@pytest.fixture(autouse=True)
def tiling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``tiny``: rows of several tiles, several blocks and chunks even in the smallest problems."""
    if DEVICE == "cpu":
        quicken(monkeypatch)
    if "extreme" not in request.node.name:  # elsewhere the reference must not take over
        monkeypatch.setattr(gpu, "with_exact_masses", lambda solution, problem, schedule: solution)
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("tiny"):
        sizes = dict(ENTRIES=32, WIDEST_ROW=16, SHORTEST_CHUNK=4, BAND_COLUMNS=8)
        for name, size in sizes.items():
            monkeypatch.setattr(gpu, name, size)


def both(problem: Problem, *schedule: object) -> tuple[Solution, Solution]:
    options, cost = Schedule(*schedule), problem.cost.clone()  # type: ignore[arg-type]
    fused = gpu.run(problem, options)
    assert torch.equal(problem.cost, cost), "the caller's cost was written to"
    return fused, reference.run(problem, options)


def check_same(fused: Solution, expected: Solution, lengths: tuple[int, ...], tolerance: float = 1e-5) -> None:
    """Plans scaled to rows of mass 1, and everything that is measured on them."""
    rows = torch.tensor(lengths, device=DEVICE)[:, None, None]
    torch.testing.assert_close(fused.matrix * rows, expected.matrix * rows, rtol=0, atol=tolerance)
    for name in ("objective", "marginal_error_x", "marginal_error_y", "residual"):
        torch.testing.assert_close(getattr(fused, name), getattr(expected, name), rtol=1e-4, atol=tolerance)


def masses(mask: Tensor, zeros: tuple[int, ...], seed: int) -> Tensor:
    """Random masses of the real entries, none at ``zeros``."""
    mass = (0.5 + torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed))).to(DEVICE) * mask
    mass[:, list(zeros)] = 0.0
    return mass / mass.sum(1, keepdim=True)


def structured(second: str, radius: float, free: int = 0) -> dict:
    make = SECOND_SIDES[second]
    return {} if make is None else dict(structure=(Near(radius, free), make(radius, free)), alpha=0.4)


def cost_of(batch: int, n: int, m: int, seed: int = 0) -> Tensor:
    return random_cost(batch, n, m, seed, torch.float32).to(DEVICE)


# Every scheme with every second side, and each scheme and each second side in both tilings. A scheme changes what is
# computed within a row, a tiling how rows are cut; the other half of the product repeats this in a slow interpreter.
PAIRS = [
    (*scheme, second, (i + j) % 2 == 1) for i, scheme in enumerate(SCHEMES) for j, second in enumerate(SECOND_SIDES)
]


@pytest.mark.no_cover
@pytest.mark.parametrize(("scheme", "relax", "second", "tiny"), PAIRS)
@settings(max_examples=2)
@given(data=st.data())
def test_agrees_with_the_reference(
    scheme: str, relax: float | None, second: str, tiny: bool, data: st.DataObject
) -> None:
    """Lengths, windows and masses of their own in each sample; dummies that take no part; entries without mass."""
    draw = data.draw
    n, m, seed = draw(st.integers(9, 12)), draw(st.integers(17, 20)), draw(st.integers(0, 999))
    free = draw(st.integers(0, 1))
    lengths = torch.tensor([[n], [draw(st.integers(6, n))]]), torch.tensor([[draw(st.integers(6, m))], [m]])
    mask_x, mask_y = ((torch.arange(size) < length).to(DEVICE) for size, length in zip((n, m), lengths, strict=True))
    given_masses = {}
    if draw(st.booleans()):
        zeros_x, zeros_y = draw(st.sampled_from([((), ()), ((0,), (0,)), ((3,), (2, 4)), ((0, 2), (5,))]))
        given_masses = dict(mass_x=masses(mask_x, zeros_x, seed), mass_y=masses(mask_y, zeros_y, seed + 1))
    problem = make_problem(
        cost_of(2, n, m, seed), **structured(second, 0.2, free), relax_y=relax, mask_x=mask_x, mask_y=mask_y,
        epsilon=draw(st.sampled_from([0.07, 0.3])), **given_masses,
    )  # fmt: skip
    sweeps, finish = draw(st.sampled_from([1, 3])), not tiny and draw(st.booleans())
    check_same(*both(problem, scheme, 2 if tiny else 3, sweeps, finish, 1e-2), problem.lengths_x)


@pytest.mark.no_cover
@schemes
def test_many_iterations_do_not_drift(scheme: str, relax: float | None) -> None:
    problem = make_problem(cost_of(1, 24, 20), (Near(0.1), Far(0.1)), alpha=0.3, relax_y=relax)
    check_same(*both(problem, scheme, 12, 1, False, 1e-3), problem.lengths_x)


@pytest.mark.parametrize(
    ("n", "m", "second", "radius", "scheme"),
    [
        (6, 1030, "Far", 0.2, "sinkhorn"), (TALL + 200, 5, "Distinct", 0.2, "mirror"),
        pytest.param(TALL, 20, "Far", 0.05, "mirror", marks=pytest.mark.no_cover),
        (4, 1030, "no structure", 0.2, "sinkhorn"),
    ],
)  # fmt: skip
def test_long_sides(n: int, m: int, second: str, radius: float, scheme: str) -> None:
    """Rows wider than a tile, and running sums over several chunks, at the sizes that are meant for a GPU."""
    problem = make_problem(cost_of(1, n, m), **structured(second, radius), relax_y=0.1)
    # On an H100 the two differ by up to 1.9e-5 here: rounding of sums over 1300 rows, in another order.
    check_same(*both(problem, scheme, 2, 1, False, 1e-3), problem.lengths_x, tolerance=3e-5)


@pytest.mark.parametrize(
    "tiny", [False, pytest.param(True, marks=pytest.mark.no_cover)], ids=["one tile", "many tiles"]
)
def test_finish_meets_both_marginals(tiny: bool) -> None:
    problem = make_problem(cost_of(2, 8, 17), (Near(0.2), Far(0.2)), alpha=0.3, epsilon=0.2)
    fused, expected = both(problem, "sinkhorn", 2, 1, True, 1e-3)
    assert fused.marginal_error_x.max() <= 1e-3 and fused.marginal_error_y.max() <= 1e-3
    check_same(fused, expected, problem.lengths_x)


@pytest.mark.no_cover
@pytest.mark.parametrize(("scheme", "relax"), [("sinkhorn", None), ("mirror", 0.1)])
def test_a_sample_does_not_depend_on_its_batch_mates(scheme: str, relax: float | None) -> None:
    """Bit by bit: sums run in a fixed order, and a sample that is finished is left alone."""
    cost = cost_of(3, 9, 8)
    cost[1] *= 4  # needs more finishing sweeps than the others
    options = dict(structure=(Near(0.2), Far(0.2)), alpha=0.3, epsilon=0.3, relax_y=relax)
    schedule = Schedule(scheme, 2, 1, True, 1e-2)  # type: ignore[arg-type]
    together = gpu.run(make_problem(cost, **options), schedule)
    for b in range(3):
        alone = gpu.run(make_problem(cost[b : b + 1], **options), schedule)
        assert torch.equal(together.matrix[b], alone.matrix[0])


@both_tilings
@pytest.mark.parametrize(("scheme", "relax"), [("sinkhorn", None), ("mirror", 0.1)])
def test_padding_is_exactly_zero(scheme: str, relax: float | None, tiny: bool) -> None:
    mask_x, mask_y = (torch.arange(size).expand(1, -1).to(DEVICE) < real for size, real in ((12, 7), (20, 9)))
    problem = make_problem(
        cost_of(1, 12, 20), (Near(0.2), Far(0.2)), alpha=0.3, relax_y=relax, mask_x=mask_x, mask_y=mask_y
    )
    plan = gpu.run(problem, Schedule(scheme, 2, 1, False, 1e-3)).matrix[0]  # type: ignore[arg-type]
    assert plan[7:].abs().sum() == 0 and plan[:, 9:].abs().sum() == 0
    assert plan[:7, :9].sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.no_cover
@pytest.mark.parametrize(("scheme", "relax", "tiny"), [(*each, i % 2 == 1) for i, each in enumerate(SCHEMES)])
def test_extreme_costs_stay_finite(scheme: str, relax: float | None, tiny: bool) -> None:
    problem = make_problem(20 * cost_of(1, 8, 17), (Near(0.2), Far(0.2)), alpha=0.3, epsilon=0.05, relax_y=relax)
    fused, expected = both(problem, scheme, 3, 1, False, 1e-3)
    assert fused.matrix.isfinite().all()
    check_same(fused, expected, problem.lengths_x, tolerance=1e-4)


def test_takes_what_it_can_solve() -> None:
    schedule, traced = (Schedule("sinkhorn", 1, 1, True, 1e-3, trace) for trace in (False, True))
    cost, near, far = cost_of(1, 10, 10), Near(0.2), Far(0.2)
    taken = make_problem(cost, (near, far), alpha=0.3, relax_y=0.1)
    assert gpu.takes(taken, schedule) and gpu.takes(make_problem(cost), schedule)
    assert not gpu.takes(taken, traced)
    wide = cost.new_zeros(1, 10, gpu.WIDEST_FLAT_ROW + 1)
    assert gpu.takes(make_problem(wide, (near, far), alpha=0.3), schedule)
    for problem in (
        make_problem(cost.double()),
        make_problem(cost, relax_x=0.1),
        make_problem(cost, (far, near), alpha=0.3),
        make_problem(wide, (near, Distinct()), alpha=0.3),
    ):
        assert not gpu.takes(problem, schedule)


def test_takes_nothing_on_the_cpu_outside_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not gpu.takes(make_problem(cost_of(1, 5, 5).cpu()), Schedule("sinkhorn", 1, 1, True, 1e-3))


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("scheme", "relax", "second"), [(*each, "Far") for each in SCHEMES] + [("mirror", 0.1, "Distinct")]
)
def test_iterations_end_where_those_of_the_reference_do(scheme: str, relax: float | None, second: str) -> None:
    """Each sample by itself: the easy one earlier than the other, and neither takes all iterations."""
    cost = cost_of(2, 9, 8, seed=1)
    cost[1] *= 2.0
    problem = make_problem(cost, **structured(second, 0.2), relax_y=relax, epsilon=0.5)
    options = Schedule(scheme, 30, 1, True, 3e-2, stop_early=True)  # type: ignore[arg-type]
    fused, expected = gpu.run(problem, options), reference.run(problem, options)
    check_same(fused, expected, problem.lengths_x)
    assert (fused.residual > 1e-6).all()  # what more iterations would move


# With a dummy; more samples than groups of programs, which then have several or one program each; b shared by programs.
@pytest.mark.gpu
@pytest.mark.parametrize(
    ("batch", "n", "m", "dummy"),
    [(1, 257, 257, True), (100, 256, 256, False), (1, 1024, 1024, False), (300, 64, 20, False), (1, 2048, 2048, False)],
)
def test_agrees_with_the_reference_at_the_sizes_that_are_benched(batch: int, n: int, m: int, dummy: bool) -> None:
    """All iterations, and finished plans; on a CPU the fused solver keeps to a quarter of the tolerance here.

    The row of the dummy has 110 times the mass of a frame's, and is rounded accordingly.
    """
    segments, real = m < 100, torch.ones(batch, n - 1, dtype=torch.bool)
    masses_of_frames = {side: dummy_marginal(real, 0.3).to(DEVICE) for side in ("mass_x", "mass_y") if dummy}
    problem = make_problem(
        pair_cost(batch, n, m, DEVICE), (Near(0.04, int(dummy)), Distinct() if segments else Far(0.04, int(dummy))),
        alpha=0.3, relax_y=0.1 if segments else None, **masses_of_frames,
    )  # fmt: skip
    scheme = "mirror" if segments else "sinkhorn"
    check_same(*both(problem, scheme, 25, 1, False, 1e-3), problem.lengths_x, tolerance=1e-3 if dummy else 1e-4)
    if not segments:  # how far the masses are from their goal at the last sweep may differ
        fused, expected = both(problem, scheme, 25, 1, True, 1e-3)
        assert fused.marginal_error_x.max() <= 1e-3 and fused.marginal_error_y.max() <= 1e-3
        torch.testing.assert_close(fused.matrix * n, expected.matrix * n, rtol=3e-3, atol=1e-4)


# Programs of a group that share a problem: with b computed by each of them or shared, more programs than rows' blocks,
# and fewer groups than samples.
@pytest.mark.no_cover
@pytest.mark.skipif(DEVICE == "cuda", reason="on a GPU programs take no turns")
@pytest.mark.parametrize(
    ("scheme", "relax", "second", "unshared", "programs"),
    [("sinkhorn", None, "Far", 9, 3), ("mirror", 0.1, "Distinct", 2, 6), ("sinkhorn", 0.1, "no structure", 1, 4)],
)
def test_programs_that_work_together(
    scheme: str, relax: float | None, second: str, unshared: int, programs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any order between two barriers they give the numbers of one program, up to the order of sums."""
    sizes = dict(ENTRIES=64, SHORTEST_CHUNK=4, BAND_COLUMNS=8, MOST_UNSHARED_PARTS=unshared, FEWEST_PARTS=3)
    for name, size in sizes.items():
        monkeypatch.setattr(gpu, name, size)
    mask_x, mask_y = (
        (torch.arange(size) < torch.tensor(lengths)[:, None]) for size, lengths in ((12, (12, 5)), (10, (7, 10)))
    )
    problem = make_problem(
        cost_of(2, 12, 10), **structured(second, 0.2), relax_y=relax, mask_x=mask_x, mask_y=mask_y, epsilon=0.2
    )
    barriers = run_together(monkeypatch, programs)
    check_same(*both(problem, scheme, 2, 2, True, 1e-2), problem.lengths_x)
    check_same(*both(problem, scheme, 9, 1, True, 0.3, False, True), problem.lengths_x)  # stops early
    assert sum(waiting > 0 for waiting in barriers) > 10


@pytest.mark.no_cover
@pytest.mark.skipif(DEVICE == "cuda", reason="on a GPU nothing says which program is ahead")
def test_without_a_barrier_programs_read_what_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: without its barriers the same launch gives other numbers."""
    monkeypatch.setattr(gpu, "ENTRIES", 64)
    problem = make_problem(cost_of(1, 12, 10), (Near(0.2), Far(0.2)), alpha=0.4, epsilon=0.2)
    run_together(monkeypatch, 3, barriers=False)
    fused, expected = both(problem, "sinkhorn", 2, 1, False, 1e-2)
    assert not torch.allclose(fused.matrix, expected.matrix, rtol=0, atol=1e-3)


def test_memory_is_aligned_whatever_the_size() -> None:
    """Triton compiles a kernel for each pattern of pointers that are multiples of 16 bytes or not: seconds."""
    problem = make_problem(cost_of(3, 7, 5), (Near(0.2), Far(0.2)), alpha=0.3)
    arrays = gpu.Launch(problem, Schedule("sinkhorn", 1, 1, True, 1e-3)).arguments[0]
    assert [name for name, array in arrays._asdict().items() if array.data_ptr() % 16] == []


def test_all_programs_of_a_launch_fit_on_the_device() -> None:
    """The barriers need all of them at once; a sample has no more programs than blocks of rows."""
    for room in (1, 3, 16, 264):
        for batch, blocks in ((1, 2), (1, 65), (16, 4), (64, 32), (700, 5), (1, 625)):
            parts, groups = gpu.share_out(batch, blocks, room)
            assert 1 <= groups <= batch and 1 <= parts <= blocks and parts * groups <= room


def test_masses_that_float32_rounds_to_zero_come_back() -> None:
    """A column that is dear everywhere has no weight in any row of K; the finishing sweeps give it its mass."""
    cost = cost_of(1, 6, 5)
    cost[:, :, 2] += 8.0
    problem = make_problem(cost, epsilon=0.02)
    fused, expected = both(problem, "mirror", 1, 1, True, 1e-3)
    assert fused.marginal_error_y.max() <= 1e-3 and fused.matrix.sum().item() == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(fused.matrix * 6, expected.matrix * 6, rtol=0, atol=1e-3)


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from vasot_lib.transport import Distinct, Far, Near, make_problem
from vasot_lib.transport.fused import gpu, gpu_kernel
from vasot_lib.transport.reference import Schedule

TYPES = {torch.float32: "*fp32", torch.int32: "*i32", int: "i32", float: "fp32"}
gpu._programs_at_once = lambda device: 264  # of an H100
gpu.ENTRIES = 1024  # compiles in half the time

def signature_of(value):
    if isinstance(value, tuple):
        return type(value)(*map(signature_of, value))
    if type(value) is int and value == 1:  # as a launch does
        return "constexpr"
    return TYPES[value.dtype if isinstance(value, torch.Tensor) else type(value)]

def places(value, at=()):
    if isinstance(value, tuple):
        for number, each in enumerate(value):
            yield from places(each, (*at, number))
    else:
        yield at, value

for scheme, m, second, relax in (("sinkhorn", 1100, Far(0.1, 1), None), ("mirror", 20, Distinct(), 0.1)):
    problem = make_problem(torch.rand(2, 100, m), (Near(0.1), second), alpha=0.3, relax_y=relax)
    launch = gpu.Launch(problem, Schedule(scheme, 2, 2, True, 1e-3, stop_early=relax is not None))
    names, constants = gpu_kernel.solve.arg_names, dict(launch.constants)
    options = {name: constants.pop(name) for name in ("num_warps", "maxnreg")}
    signature = dict(zip(names, map(signature_of, launch.arguments))) | dict.fromkeys(constants, "constexpr")
    known = {(names.index(name),): value for name, value in constants.items()}
    aligned = {}
    for at, value in places(launch.arguments):
        if isinstance(value, torch.Tensor):
            aligned[at] = [["tt.divisibility", 16]]
        elif type(value) is int and value == 1:
            known[at] = 1
    options["launch_cooperative_grid"] = launch.grid[0] > 1
    source = triton.compiler.ASTSource(gpu_kernel.solve, signature, known, aligned)
    binary = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert len(binary.asm["cubin"]) > 0
    print(binary.metadata.shared)
"""


@pytest.mark.no_cover
@pytest.mark.skipif(DEVICE == "cuda", reason="on a GPU every other test compiles it")
def test_the_kernel_compiles_for_a_gpu(tmp_path: Path) -> None:
    """What the interpreter lets pass but the compiler does not; a Hopper binary can be built without such a device."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    shared = [int(line) for line in done.stdout.split()]
    assert len(shared) == 2 and max(shared) <= 32 * 2**10  # bytes: two programs fit on every GPU since 2018
