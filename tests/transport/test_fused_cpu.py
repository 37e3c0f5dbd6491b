"""The fused CPU path against the readable one: plans, marginals, masks, batches, windows, dummy frames, dtypes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.compiled import cache_folder, source_hash
from tests.transport.helpers import random_walk
from vasot_lib.errors import InputError
from vasot_lib.transport import (
    Distinct,
    Far,
    Near,
    cosine_cost,
    make_problem,
    problem,
    reference,
    solve,
    temporal_prior,
)
from vasot_lib.transport.fused import cpu
from vasot_lib.transport.fused import cpu_kernels as kernels
from vasot_lib.transport.problem import Problem
from vasot_lib.transport.reference import Schedule, Solution

ROOT = Path(__file__).parents[2]
KINDS = {
    "balanced": dict(scheme="sinkhorn"),
    "balanced, plain": dict(scheme="mirror"),
    "relaxed columns": dict(scheme="sinkhorn", relax_y=0.1),
    "mirror": dict(scheme="mirror", relax_y=0.1),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def both(bound: Problem, scheme: str, iterations: int = 25, sweeps: int = 1, finish: bool = True) -> Solution:
    """The fused solution, after comparing all of it with the readable one."""
    schedule = Schedule(scheme, iterations, sweeps, finish, tolerance=1e-3)
    fused, readable = cpu.run(bound, schedule), reference.run(bound, schedule)
    assert (fused.matrix - readable.matrix).abs().max() <= 1e-5
    scale = bound.p.unsqueeze(2).clamp_min(1e-30)  # rows as distributions: the stricter comparison
    torch.testing.assert_close(fused.matrix / scale, readable.matrix / scale, rtol=1e-3, atol=1e-4)
    for name in ("objective", "marginal_error_x", "marginal_error_y", "residual"):
        torch.testing.assert_close(getattr(fused, name), getattr(readable, name), rtol=1e-3, atol=1e-4, msg=name)
    return fused


def walks(batch: int, n: int, m: int, seed: int) -> torch.Tensor:
    x = torch.stack([random_walk(n, seed=seed + b, dtype=torch.float32) for b in range(batch)])
    y = torch.stack([random_walk(m, seed=seed + b + 50, dtype=torch.float32) for b in range(batch)])
    return cosine_cost(x, y) + 0.3 * temporal_prior(n, m)


@kinds
@given(
    batch=st.integers(1, 3), n=st.integers(12, 60), m=st.integers(3, 60), seed=st.integers(0, 999),
    alpha=st.floats(0, 0.6), sweeps=st.integers(1, 3), finish=st.booleans(), distinct=st.booleans(),
)  # fmt: skip
def test_same_plan_as_the_readable_path(
    kind: str, batch: int, n: int, m: int, seed: int, alpha: float, sweeps: int, finish: bool, distinct: bool
) -> None:
    options = dict(KINDS[kind])
    scheme = options.pop("scheme")
    second = Distinct() if distinct or m < 12 else Far(0.1)
    bound = make_problem(walks(batch, n, m, seed), (Near(0.1), second), alpha=alpha, **options)
    both(bound, scheme, sweeps=sweeps, finish=finish)


@kinds
def test_padding_windows_and_dummies_per_sample(kind: str) -> None:
    """Samples of unequal length, a dummy first on both sides, padding that holds NaN."""
    options = dict(KINDS[kind])
    scheme = options.pop("scheme")
    cost = walks(3, 48, 40, seed=3)
    n, m = torch.tensor([48, 20, 33]), torch.tensor([25, 40, 31])
    mask_x, mask_y = torch.arange(48) < n[:, None], torch.arange(40) < m[:, None]
    cost = cost.masked_fill(~(mask_x[:, :, None] & mask_y[:, None]), torch.nan)
    for structure in ((Near(0.1), Far(0.1)), (Near(0.1, free=1), Far(0.1, free=1)), (Near(0.1), Distinct()), None):
        alpha = 0.3 if structure else 0.0
        bound = make_problem(cost, structure, alpha=alpha, mask_x=mask_x, mask_y=mask_y, **options)
        fused = both(bound, scheme)
        assert (fused.matrix[~mask_x] == 0).all() and (fused.matrix.transpose(1, 2)[~mask_y] == 0).all()


@kinds
def test_entries_without_mass(kind: str) -> None:
    options = dict(KINDS[kind])
    scheme = options.pop("scheme")
    p, q = torch.full((2, 30), 1 / 29), torch.full((2, 24), 1 / 23)
    p[:, 0] = q[:, 0] = 0
    bound = make_problem(walks(2, 30, 24, seed=7), (Near(0.1), Far(0.1)), alpha=0.3, mass_x=p, mass_y=q, **options)
    fused = both(bound, scheme)
    assert (fused.matrix[:, 0] == 0).all() and (fused.matrix[:, :, 0] == 0).all()


@kinds
@pytest.mark.parametrize("radius", [0.03, 0.5, 1.0])
def test_windows_from_one_frame_to_all(kind: str, radius: float) -> None:
    options = dict(KINDS[kind])
    scheme = options.pop("scheme")
    for second in (Far(radius), Distinct()):
        both(make_problem(walks(1, 37, 45, seed=1), (Near(radius), second), alpha=0.4, **options), scheme)


def test_long_rows_and_many_of_them() -> None:
    """Past the length after which the sliding window is summed up afresh."""
    both(make_problem(walks(1, 700, 90, seed=2), (Near(0.01), Far(0.1)), alpha=0.5), "sinkhorn")
    both(make_problem(walks(1, 1500, 7, seed=2), (Near(0.04), Distinct()), alpha=0.5, relax_y=0.1), "mirror")


@kinds
def test_same_bits_on_any_number_of_threads(kind: str) -> None:
    options = dict(KINDS[kind])
    scheme = options.pop("scheme")
    m, second = (30, Distinct()) if scheme == "mirror" else (140, Far(0.05))
    bound = make_problem(walks(3, 700, m, seed=4), (Near(0.05), second), alpha=0.3, **options)
    threads, plans = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            plans.append(cpu.run(bound, Schedule(scheme, 25, 1, True, 1e-3)).matrix)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(other, plans[0]) for other in plans[1:])


@pytest.mark.no_cover
def test_trap_numba_leaves_the_thread_count_of_torch_alone() -> None:
    """Its threads, once started, made torch forget OMP_NUM_THREADS: processes of one job fought for the cores."""
    program = (
        "import torch; from vasot_lib.transport import solve\n"
        "for _ in range(2): solve(torch.rand(1, 300, 300)); print(torch.get_num_threads())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["1", "1"]


def test_same_input_gives_the_same_bits() -> None:
    cost = walks(2, 160, 150, seed=5)
    first, second = (solve(cost, (Near(0.05), Far(0.05)), alpha=0.3).matrix for _ in range(2))
    assert torch.equal(first, second)


@kinds
@pytest.mark.parametrize(("n", "m"), [(1, 5), (30, 1), (1, 1), (2, 2)])
def test_sides_of_one_entry_and_nothing_of_the_callers_changes(kind: str, n: int, m: int) -> None:
    """Trap: where a side has one entry, expanding and turning copy nothing."""
    options = dict(KINDS[kind])
    generator = torch.Generator().manual_seed(n + m)
    cost, p, q = (torch.rand(2, *size, generator=generator) for size in ((n, m), (n,), (m,)))
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    before = [value.clone() for value in (cost, p, q)]
    scheme = options.pop("scheme")
    both(make_problem(cost, mass_x=p, mass_y=q, **options), scheme)
    assert all(torch.equal(now, then) for now, then in zip((cost, p, q), before, strict=True))


@pytest.mark.parametrize("epsilon", [0.02, 0.005, 0.002])
def test_small_epsilon_fails_honestly_or_not_at_all(epsilon: float) -> None:
    """Trap: an exponential with a floor puts mass where there is none and then reports met marginals."""
    cost = walks(1, 60, 50, seed=11)
    plan = solve(cost, (Near(0.1), Far(0.1)), alpha=0.3, epsilon=epsilon)
    exact = solve(cost.double(), (Near(0.1), Far(0.1)), alpha=0.3, epsilon=epsilon)
    assert plan.matrix.isfinite().all() and plan.objective.isfinite().all()
    apart = (plan.matrix - exact.matrix).abs().sum().item() / 2
    assert apart < 1e-3 or plan.marginal_error_y.item() > 1e-3, apart


@kinds
def test_costs_far_beyond_the_range_of_exp(kind: str) -> None:
    options = dict(KINDS[kind])
    plan = solve(40 * walks(1, 40, 30, seed=6), (Near(0.1), Far(0.1)), alpha=0.3, epsilon=0.05, **options)
    assert plan.matrix.isfinite().all() and plan.objective.isfinite().all()


def test_long_recordings_keep_their_digits() -> None:
    """Running sums over the whole length would lose those of a narrow window."""
    cost = walks(1, 20_000, 6, seed=12)
    options = dict(alpha=0.6, relax_y=0.1, scheme="mirror", iterations=6)
    single, double = (solve(c, (Near(0.005), Distinct()), **options).matrix for c in (cost, cost.double()))
    assert 20_000 * (single - double).abs().max() < 3e-4


@pytest.mark.no_cover
def test_a_forked_process_takes_the_readable_path() -> None:
    """OpenMP ends a forked child that enters it: a data loader with workers would die."""
    program = (
        "import os, torch; from vasot_lib.transport import solve\n"
        "cost = torch.rand(1, 20, 20); mine = solve(cost).matrix; child = os.fork()\n"
        "if not child: os._exit(7 if torch.allclose(solve(cost).matrix, mine, atol=1e-6) else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["7"], out.stderr


def test_compiled_code_is_kept_by_the_sources_it_came_from() -> None:
    """Trap: Numba looks at a function's own file, and would go on with callees that have changed since."""
    solve(walks(1, 20, 20, seed=0))
    assert list(cache_folder().rglob("cpu_loop.solve*.nbc"))


@pytest.mark.no_cover
def test_compiling_and_loading_give_the_same_bits(tmp_path: Path) -> None:
    """Trap: a run that had to compile could not be resumed to the same numbers.

    To compile takes the time of a hundred tests. `make` does that anyway before the tests and keeps what it got.
    """
    environment = dict(os.environ)

    def printed(*command: str) -> str:
        command = (sys.executable, *command)
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    kept = ROOT / ".venv" / ".compiled"
    compiled = kept.read_text() if kept.exists() else ""
    if not compiled.startswith(source_hash()):  # these tests were not started by make
        environment["NUMBA_CACHE_DIR"] = str(tmp_path)
        compiled = printed("-m", "tests.transport.compiled")
        assert list(tmp_path.rglob("cpu_loop.solve*.nbc"))
    assert printed("-c", "from tests.transport.compiled import solutions; print(solutions())") == compiled


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_costs_in_half_precision(dtype: torch.dtype) -> None:
    cost = walks(1, 50, 40, seed=8)
    half, full = (solve(c, (Near(0.1), Far(0.1)), alpha=0.3) for c in (cost.to(dtype), cost))
    assert half.matrix.dtype == torch.float32
    exactly = solve(cost.to(dtype).float(), (Near(0.1), Far(0.1)), alpha=0.3)
    assert torch.equal(half.matrix, exactly.matrix)
    assert (half.matrix - full.matrix).abs().sum() < 0.2  # rounding costs to 8 bits moves some mass, not most


def test_cost_may_be_a_view_and_is_left_as_it_was() -> None:
    wide = walks(1, 40, 60, seed=9)
    view = wide.transpose(1, 2)
    before = view.clone()
    torch.testing.assert_close(solve(view).matrix, solve(before).matrix)
    assert torch.equal(view, before)


def test_no_gradient_flows_through_a_plan() -> None:
    plan = solve(walks(1, 12, 10, seed=1).requires_grad_(), iterations=3)
    assert not plan.matrix.requires_grad and not plan.objective.requires_grad


def test_a_plan_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        available = 2**20

    monkeypatch.setattr(problem.psutil, "virtual_memory", lambda: Full)
    with pytest.raises(InputError, match=r"plans of 1 x 5000 x 5000 need 3 buffers, 0\.3 GiB, .* 0\.0 GiB are free"):
        solve(torch.zeros(1, 1, 1).expand(1, 5000, 5000))


def test_exp_and_log_to_single_precision() -> None:
    x = np.linspace(-125.9, 120, 20001).astype(np.float32)
    powers = np.array([kernels.exp2(value) for value in x], np.float64)
    np.testing.assert_allclose(powers, np.exp2(x.astype(np.float64)), rtol=3e-7)
    positive = np.exp(np.linspace(-80, 80, 20001)).astype(np.float32)
    log = np.array([kernels.log(value) for value in positive], np.float64)
    np.testing.assert_allclose(log, np.log(positive.astype(np.float64)), rtol=3e-7, atol=1e-7)
    assert kernels.exp2(np.float32(-1e30)) < 1e-37


def test_sliding_window_sum_by_hand() -> None:
    z = torch.arange(12, dtype=torch.float32).reshape(6, 2)
    window = np.zeros(2, np.float32)
    kernels._start_window(z.numpy(), window, 3, 1, 6, 2, 1)  # row 3's predecessor covers rows 1 to 3
    assert window.tolist() == [2 + 4 + 6, 3 + 5 + 7]


PLAIN = """
import torch
from tests.transport.test_fused_cpu import KINDS, both, walks
from vasot_lib.transport import Distinct, Far, Near, make_problem
from vasot_lib.transport.fused import cpu

cpu.ENTRIES_PER_THREAD = 50  # several tasks per sample
torch.set_num_threads(2)
for name, options in KINDS.items():
    scheme = options.pop("scheme")
    for m, second in ((10, Distinct()), (12, Far(0.1, free=1)), (66, Far(0.1))):
        for structure, alpha in (((Near(0.1, free=int(m == 12)), second), 0.3), (None, 0.0)):
            bound = make_problem(walks(1, 14, m, seed=1), structure, alpha=alpha, **options)
            both(bound, scheme, iterations=3, sweeps=2)
"""


def test_kernels_as_plain_python() -> None:
    """What Numba compiles is Python that computes the same (and that coverage can see)."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN], cwd=ROOT, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
