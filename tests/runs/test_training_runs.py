"""Trainings without a notebook: what is computed once is read back, and a row says what the library computes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import baseline_rows, by_activity, evaluate
from vasot_kit.runs import training
from vasot_kit.runs.training import BASELINES, Training, run_study
from vasot_lib.errors import DataError, InputError
from vasot_lib.training import fit

SMALL = {"training.frames": 32}
PLAIN = Training("toy", "asot", "paper", seed=1, epochs=1, overrides=SMALL)
DIVERGES = Training("toy", "tcc", epochs=3, overrides={**SMALL, "training.lr": 1e30})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So that trainings run in this process: others know of no monkeypatch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_row_is_what_the_library_computes_and_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = run_study([PLAIN], tmp_path)
    config = make_config("toy", "asot", "paper", seed=1, epochs=1, overrides=SMALL)
    data = load_dataset("toy")
    method = build(config, data)
    fit(method, data, config.training, progress=False)
    assert {name: row[name] for name in ("dataset", "method", "preset", "seed", "line")} == {
        "dataset": "toy", "method": "asot", "preset": "paper", "seed": 1, "line": "asot",
    }  # fmt: skip
    scores = evaluate(method, data)
    assert {name: row[name] for name in scores} == scores and row["seconds"] > 0
    content = json.loads((tmp_path / row["metrics"]).read_text())
    assert content["config"] == config.as_dict() and content["data"] == {"toy": data.checksum()}

    monkeypatch.setattr(training, "_compute", lambda *_: pytest.fail("trained twice"))
    (again,) = run_study([Training(**{**vars(PLAIN), "line": "mine"})], tmp_path)
    assert again == {**row, "line": "mine"}


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("vasot_lib/transport/cost.py", True),
        ("vasot_kit/experiments/evaluate.py", True),
        ("vasot_kit/methods/tot.py", True),
        ("vasot_kit/runs/training.py", True),
        ("vasot_kit/figures/plans.py", False),
    ],
)
def test_code_that_scores_come_from_makes_a_study_anew(
    file: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "ROOT", tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("x = 1")
    before = training._code.__wrapped__()
    (tmp_path / file).write_text("x = 2")
    assert (training._code.__wrapped__() != before) == counts


def test_processes_give_the_rows_of_one_process_and_one_that_fails_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [
        PLAIN,
        Training("toy", "tcc", "paper", epochs=1, overrides=SMALL),
        Training("toy", "tw_finch", line="third"),
    ]
    alone = run_study(good, tmp_path / "alone")
    torch.set_num_threads(2)
    with pytest.raises(InputError, match="the loss is"):
        run_study([DIVERGES, *good], tmp_path / "together")
    monkeypatch.setattr(training, "_compute", lambda *_: pytest.fail("trained twice"))
    together = run_study(good, tmp_path / "together")
    assert [row["line"] for row in together] == ["asot", "tcc", "third"]
    for one, other in zip(alone, together, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert len(list((tmp_path / "together").glob("*/metrics.json"))) == 3


def test_in_one_process_too_a_training_that_fails_loses_no_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the loss is"):
        run_study([DIVERGES, PLAIN], tmp_path)
    assert len(run_study([PLAIN], tmp_path)) == len(list(tmp_path.glob("*/metrics.json"))) == 1


def test_what_changes_the_numbers_is_another_run(tmp_path: Path) -> None:
    data = load_dataset("toy")
    others = [{"seed": 2}, {"overrides": {}}, {"n_actions": 3}, {"defect": "w = 0"}, {"epochs": 2}]
    names = {training._run(Training(**{**vars(PLAIN), **change}), data, tmp_path).folder for change in [{}, *others]}
    assert len(names) == 1 + len(others)
    other = load_dataset("toy_swapped")
    assert training._run(PLAIN, other, tmp_path).folder != training._run(PLAIN, data, tmp_path).folder


def test_a_change_of_the_library_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset("toy")
    before = training._run(PLAIN, data, tmp_path).folder
    monkeypatch.setattr(training, "_code", lambda: "another library")
    assert training._run(PLAIN, data, tmp_path).folder != before


def test_a_run_with_another_k_finds_so_many_actions(tmp_path: Path) -> None:
    (row,) = run_study([Training(**{**vars(PLAIN), "n_actions": 3})], tmp_path)
    assert json.loads(row["changes"]) == {**SMALL, "training.epochs": 1, "K": 3}


def test_baselines_are_rows_of_their_own(tmp_path: Path) -> None:
    rows = run_study([Training("toy", BASELINES)], tmp_path)
    assert [row["line"] for row in rows] == [row["method"] for row in baseline_rows(load_dataset("toy"))]
    assert len({row["metrics"] for row in rows}) == 1


def test_a_training_on_several_activities_has_a_row_for_all_and_one_for_each(tmp_path: Path) -> None:
    whole, first, second = run_study([Training("toy_shared/all", "asot", epochs=0)], tmp_path)
    assert [row["dataset"] for row in (whole, first, second)] == [
        "toy_shared/all", "toy_shared/all/procedure_1", "toy_shared/all/procedure_2",
    ]  # fmt: skip
    config = make_config("toy_shared/all", "asot", epochs=0)
    data = load_dataset("toy_shared/all")
    method = build(config, data)
    fit(method, data, config.training, progress=False)
    for row, part in ((whole, data), *zip((first, second), by_activity(data), strict=True)):
        scores = evaluate(method, part)
        assert {name: row[name] for name in scores} == scores and row["steps"] == whole["steps"]


def test_a_bad_run_is_refused_before_the_first_is_trained(tmp_path: Path) -> None:
    for bad, message in (
        (Training("toy", "asot", overrides={"training.lrr": 1.0}), "did you mean 'training.lr'"),
        (Training("toy", "asott"), "did you mean 'asot'"),
        (Training("toy", "vasot", defect="w=0"), "unknown defect 'w=0'"),
        (Training("toy", "vaot", defect="w = 0"), "the method is 'vaot'; use 'vasot'"),
    ):
        with pytest.raises(InputError, match=message):
            run_study([PLAIN, bad], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_metrics_file_is_named(tmp_path: Path) -> None:
    (row,) = run_study([PLAIN], tmp_path)
    (tmp_path / row["metrics"]).write_text("{")
    with pytest.raises(DataError, match="metrics.json is not valid JSON"):
        run_study([PLAIN], tmp_path)


def test_the_seconds_of_a_training_are_without_what_is_imported_for_it() -> None:
    """Another training has imported it before. That shows in a fresh process alone, which takes some seconds."""
    code = """
import sys
from vasot_kit.datasets import load_dataset
from vasot_kit.runs import training
fit = training.fit
def counted(*args, **options):
    before = set(sys.modules)
    found = fit(*args, **options)
    print("lightning_fabric" in before, len(set(sys.modules) - before))
    return found
training.fit = counted
training._compute(training.Training("toy", "asot", "paper", epochs=1), load_dataset("toy"), "cpu")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (first, imported), (known, more) = (line.split() for line in done.stdout.splitlines())
    assert (first, known, more) == ("False", "True", "0") and int(imported) > 0
