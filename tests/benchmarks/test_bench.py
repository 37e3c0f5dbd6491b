"""The benchmarks measure what they name: peers solve the same problem, rows tell goals from figures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from timeit import timeit
from typing import Any

import pytest
import torch

from vasot_kit.benchmarks import solver as bench
from vasot_kit.benchmarks import timing, training
from vasot_kit.benchmarks.peers import ott_solver, solve_batch_with_pot, solve_by_convolution, solve_with_pot
from vasot_kit.benchmarks.solver import ACTIONS, FRAMES, bench_solver, pair_cost
from vasot_kit.benchmarks.timing import Measurement, interleaved_times, peak_memory
from vasot_kit.benchmarks.training import _pair, step_costs
from vasot_kit.cli import main
from vasot_kit.methods import METHODS
from vasot_lib import steps
from vasot_lib.data import toy
from vasot_lib.errors import InputError
from vasot_lib.transport import Plan, solve
from vasot_lib.transport.problem import NeedsHost, host_reads_nothing


def test_the_published_scheme_restated_gives_our_mirror_plan() -> None:
    """Same step rule on one sample, so the speeds compare one computation and not two."""
    cost = pair_cost(1, 200, 12)
    ours = solve(cost, ACTIONS, alpha=0.3, relax_y=0.1, scheme="mirror").matrix
    torch.testing.assert_close(solve_by_convolution(cost, 0.04, relax_y=0.1), ours, rtol=1e-3, atol=1e-7)
    cost = pair_cost(1, 90, 75)
    ours = solve(cost, FRAMES, alpha=0.3, scheme="mirror", finish=False).matrix
    torch.testing.assert_close(solve_by_convolution(cost, 0.04, far=True), ours, rtol=1e-3, atol=1e-7)


def test_pot_solves_the_same_problem() -> None:
    """With its inner problems solved out; after one sweep each side's marginals are open in another way."""
    cost, few = pair_cost(1, 60, 50), dict(alpha=0.3, epsilon=0.15, iterations=4)
    ours = solve(cost.double(), FRAMES, scheme="mirror", sweeps=500, tolerance=1e-9, **few).matrix[0]
    theirs = solve_with_pot(cost[0].double(), 0.04, sweeps=500, **few)
    assert (ours - theirs).abs().sum() < 1e-3


def test_pots_batched_solver_takes_the_same_steps() -> None:
    """One linearisation from the uniform plan, solved out: its kernel is exp(-G / eps), as that of mirror."""
    pytest.importorskip("ot.batch")
    import ot

    cost = pair_cost(2, 40, 30).double()
    near, far = (dense.expand(2, -1, -1) for dense in (FRAMES[0].dense(40), FRAMES[1].dense(30)))
    theirs = ot.solve_gromov_batch(
        near, -far / 4.0, reg=0.3, M=cost, alpha=0.3, symmetric=True, max_iter=1, max_iter_inner=2000, tol_inner=1e-12
    )
    ours = solve(cost, FRAMES, alpha=0.3, epsilon=0.3, scheme="mirror", iterations=1, sweeps=2000, tolerance=1e-9)
    assert (ours.matrix - theirs.plan).abs().sum((1, 2)).max() < 1e-6
    assert solve_batch_with_pot(cost, 0.04).sum((1, 2)).allclose(torch.ones(2, dtype=torch.float64), atol=1e-6)


def test_ott_takes_the_same_steps() -> None:
    """With its inner problems solved out, in float32, which JAX computes in unless told otherwise."""
    pytest.importorskip("jax")
    pytest.importorskip("ott")
    cost, few = pair_cost(1, 60, 50), dict(alpha=0.3, epsilon=0.15, iterations=4)
    ours = solve(cost.double(), FRAMES, scheme="mirror", sweeps=500, tolerance=1e-9, **few).matrix[0]
    assert (ours - ott_solver(cost[0], 0.04, sweeps=500, **few)()).abs().sum() < 1e-3
    assert ott_solver(cost[0], 0.04)().sum().item() == pytest.approx(1.0, abs=1e-4)


def test_a_row_knows_whether_its_goal_is_met() -> None:
    assert Measurement("a", 7.0, "x", "<= 8").met is True
    assert Measurement("a", 7.0, "x", ">= 12").met is False
    assert Measurement("a", None, "x", ">= 12").met is None and "MISSING" in str(Measurement("a", None, "x", ">= 12"))
    assert "MISSING" not in str(Measurement("a", None, "x")) and Measurement("a", 7.0, "x").met is None


def test_functions_run_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "TURN", 0.0)
    calls: list[str] = []
    times = interleaved_times({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, seconds=0.0)
    assert calls == ["a", "a", "b", "b"] * 3 and set(times) == {"a", "b"}  # the first of each turn is not timed


def test_a_long_call_is_not_warmed_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "LONG_CALL", 0.01)
    calls: list[str] = []
    functions = {"long": lambda: (calls.append("long"), time.sleep(0.06)), "short": lambda: calls.append("short")}
    times = interleaved_times(functions, seconds=0.0)
    assert calls.count("long") == 4 and times["long"] > 0.05


def test_a_whole_training_and_its_evaluation_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_dataset", lambda name: toy(n_videos=4, n_steps=3, seed=1))
    fitted, segmented, aligned, evaluated = training._hapt("cpu", epochs=1)
    assert fitted.value > 0 and "4 recordings" in fitted.note
    assert "segmentation" in segmented.name and "alignment" in aligned.name and "the first time" in aligned.note
    assert segmented.value > 0 and aligned.value > 0 and evaluated.value > 0
    assert evaluated.unit == "s" and "MoF" in evaluated.note


@pytest.mark.filterwarnings("ignore:CUDA is not available, disabling CUDA profiling")
@pytest.mark.parametrize("works", [True, False])
def test_steps_that_are_not_recorded_miss_their_goals(works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU does, with a stand-in for its graphs, once such as cannot be made."""

    def record(function: Callable[[], None]) -> Callable[[], None]:
        if not works:
            raise NeedsHost("to look at the plan")
        return function

    begin = steps.Steps.begin

    def begin_recording(self: steps.Steps) -> None:
        self.records = True
        begin(self)

    monkeypatch.setattr(steps, "record", record)
    monkeypatch.setattr(steps, "BEFORE_RECORDING", 1)
    monkeypatch.setattr(steps.Steps, "begin", begin_recording)
    monkeypatch.setattr(training, "_pair", lambda count: _pair(min(count, 2)))
    monkeypatch.setattr(timing, "TURN", 0.0)
    step, faster = training._recorded_steps("cpu", 0.0)
    assert step.goal == "<= 1.5" and faster.goal == ">= 10"
    for row in (step, faster):
        assert (row.value is not None) == works and row.note.startswith("not recorded: ") != works
        assert ("MISSING" in str(row)) != works
    assert steps.record is record and "0 graphs" in step.note


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
def test_peak_memory_sees_what_is_freed_again() -> None:
    used = peak_memory(lambda: torch.ones(2**26).sum())  # 256 MiB, gone when it returns
    assert used is not None and 2**27 < used < 2**29


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time every function by a single call; how calls take turns has a test of its own."""

    def time_once(functions: Mapping[str, Callable[[], object]], *_: object) -> dict[str, float]:
        return {name: timeit(function, number=1) for name, function in functions.items()}

    monkeypatch.setattr(bench, "interleaved_times", time_once)
    monkeypatch.setattr(training, "interleaved_times", time_once)


@pytest.mark.usefixtures("once")
def test_every_row_of_the_solver_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SCALING", (64, 128, 256))
    rows = list(bench_solver(seconds=0.0, largest=256))
    assert len({row.name for row in rows}) == len(rows)
    # Of three single calls a fitted exponent may have any sign, and so may exp passes and what is outside of the
    # iterations, which are differences of times.
    assert all(row.value is None or row.value > 0 or "exp" in row.name or "outside" in row.name for row in rows)
    goals = [row.name for row in rows if row.goal]
    for part in ("exp passes", "POT", "published scheme", "exponent", "buffers"):
        assert any(part in name for name in goals), part


@pytest.mark.usefixtures("once")
def test_whole_solves_are_called_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU; here a stand-in for the recording notes what the host was not asked for."""
    recorded: list[bool] = []

    def stand_in(call: Callable[[], None]) -> Callable[[], None]:
        call()
        return call

    def solve_noting(cost: torch.Tensor, *structure: object, **options: Any) -> Plan:
        plan = solve(cost, *structure, **options)
        if host_reads_nothing():
            recorded.append(options["finish"])  # else the host would have to look at the plan
        return plan

    monkeypatch.setattr(bench, "record", stand_in)
    monkeypatch.setattr(bench, "solve", solve_noting)
    monkeypatch.setattr(bench, "WHOLE", [((1, 120, 120), finish, "<= 0.1", "0.4") for finish in (True, False)])
    finished, replayed, unfinished, _ = bench._whole_solves("cpu", 0.0)
    assert finished.name == "one solve, 1 x 120 x 120, finished" and unfinished.name == "one solve, 1 x 120 x 120"
    assert finished.goal and not replayed.goal and "recorded" in replayed.name and "0.4 ms" in unfinished.note
    assert len(recorded) == 6 and all(recorded)


@pytest.mark.usefixtures("once")
def test_training_benchmark_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.setenv("VASOT_DATA", str(tmp_path))
    file = tmp_path / "bench.json"
    assert main(["bench", "training", "--json", str(file), "--seconds", "0"]) == 0
    report = json.loads(file.read_text())
    assert report["machine"]["threads"] >= 1 and report["benchmark"] == "training"
    (hapt,) = (row for row in report["rows"] if "HAPT" in row["name"])
    assert hapt["value"] is None and "bring it with" in hapt["note"]
    rows = [row for row in report["rows"] if row is not hapt]
    assert {row["unit"] for row in rows} == {"ms", "x", "%"} and rows[0]["goal"] == "<= 40"
    learners = {name for name, method in METHODS.items() if method.learns}
    assert learners <= {row["name"].removeprefix("step of ") for row in rows}
    assert "VASOT step" in capsys.readouterr().out


def test_a_benchmark_that_is_ended_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(device: str, seconds: float) -> Iterator[Measurement]:
        yield Measurement("a step", 1.25, "ms", "<= 1.5")
        raise InputError("the machine goes back")

    monkeypatch.setattr("vasot_kit.benchmarks.bench_training", ended)
    assert main(["bench", "training", "--json", str(tmp_path / "bench.json")]) == 2
    (row,) = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert row["name"] == "a step" and row["value"] == 1.25 and row["met"] is True


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
def test_a_step_that_holds_n_squared_numbers_costs_more_memory_than_one_that_holds_n() -> None:
    costs = step_costs(["tcc", "cte"], seconds=0.0)
    assert costs["tcc"]["mib"] > 2 * costs["cte"]["mib"] > 0
    assert costs["tcc"]["ms"] > 0 and costs["cte"]["weights"] > costs["tcc"]["weights"]


def test_bench_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["bench", "training", "--json", str(tmp_path / "absent" / "bench.json")]) == 2
    assert "is no folder to write bench.json into" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main(["bench", "training", "--device", "cuda"]) == 2
        assert "no CUDA device" in capsys.readouterr().err
