"""Studies: what is computed once is read back, and what a row says is what its metrics file holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import baseline_rows, evaluate
from vasot_kit.runs import study
from vasot_kit.runs.study import BASELINES, Run, run_study
from vasot_lib.errors import DataError, InputError
from vasot_lib.training import fit

SMALL = {"training.frames": 32}
PLAIN = Run("toy", "asot", "paper", seed=1, epochs=1, overrides=SMALL)


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

    monkeypatch.setattr(study, "_compute", lambda *_: pytest.fail("trained twice"))
    (again,) = run_study([Run(**{**vars(PLAIN), "line": "mine"})], tmp_path)
    assert again == {**row, "line": "mine"}


def test_processes_give_the_rows_of_one_process(tmp_path: Path) -> None:
    runs = [PLAIN, Run("toy", "tcc", "paper", epochs=1, overrides=SMALL), Run("toy", "tw_finch", line="third")]
    alone = run_study(runs, tmp_path / "alone")
    torch.set_num_threads(2)
    together = run_study(runs, tmp_path / "together")
    assert [row["line"] for row in together] == ["asot", "tcc", "third"]
    for one, other in zip(alone, together, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_training_that_fails_loses_no_other(tmp_path: Path, threads: int) -> None:
    bad = Run("toy", "tcc", epochs=3, overrides={**SMALL, "training.lr": 1e30})
    torch.set_num_threads(threads)
    with pytest.raises(InputError, match="the loss is"):
        run_study([bad, PLAIN], tmp_path)
    assert len(run_study([PLAIN], tmp_path)) == len(list(tmp_path.glob("*/metrics.json"))) == 1


def test_what_changes_the_numbers_is_another_run(tmp_path: Path) -> None:
    data = load_dataset("toy")
    others = [{"seed": 2}, {"overrides": {}}, {"n_actions": 3}, {"defect": "w = 0"}, {"epochs": 2}]
    names = {study._name(Run(**{**vars(PLAIN), **change}), data) for change in [{}, *others]}
    assert len(names) == 1 + len(others)
    assert study._name(PLAIN, load_dataset("toy_swapped")) != study._name(PLAIN, data)


def test_a_change_of_the_library_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset("toy")
    before = study._name(PLAIN, data)
    monkeypatch.setattr(study, "_code", lambda: "another library")
    assert study._name(PLAIN, data) != before


def test_a_run_with_another_k_finds_so_many_actions(tmp_path: Path) -> None:
    (row,) = run_study([Run(**{**vars(PLAIN), "n_actions": 3})], tmp_path)
    assert json.loads(row["changes"]) == {**SMALL, "training.epochs": 1, "K": 3}


def test_baselines_are_rows_of_their_own(tmp_path: Path) -> None:
    rows = run_study([Run("toy", BASELINES)], tmp_path)
    assert [row["line"] for row in rows] == [row["method"] for row in baseline_rows(load_dataset("toy"))]
    assert len({row["metrics"] for row in rows}) == 1


def test_a_bad_run_is_refused_before_the_first_is_trained(tmp_path: Path) -> None:
    for bad, message in (
        (Run("toy", "asot", overrides={"training.lrr": 1.0}), "did you mean 'training.lr'"),
        (Run("toy", "asott"), "did you mean 'asot'"),
        (Run("toy", "vasot", defect="w=0"), "unknown defect 'w=0'"),
        (Run("toy", "vaot", defect="w = 0"), "the method is 'vaot'; use 'vasot'"),
    ):
        with pytest.raises(InputError, match=message):
            run_study([PLAIN, bad], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_metrics_file_is_named(tmp_path: Path) -> None:
    (row,) = run_study([PLAIN], tmp_path)
    (tmp_path / row["metrics"]).write_text("{")
    with pytest.raises(DataError, match="metrics.json is not valid JSON"):
        run_study([PLAIN], tmp_path)
