"""What a run records: schema, plain JSON whatever the values, atomic, gathered again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from vasot_kit.runs.records import collect, output_dir, record, save_figure, write_text
from vasot_lib.errors import DataError, InputError

ROW = {"dataset": "toy", "method": "asot", "seed": 1, "mof": 0.5}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "50_ablations" / "0123456789ab"
    monkeypatch.setenv("VASOT_OUTPUT", str(folder))
    return folder


def test_metrics_carry_seed_versions_checksums_and_config(run: Path) -> None:
    path = record([ROW], {"alpha": 0.3}, dataset_checksums={"toy": "ff"}, notebook="50_ablations")
    assert path == run / "metrics.json"
    content = json.loads(path.read_text())
    assert content["rows"] == [ROW]
    assert content["config"] == {"alpha": 0.3}
    assert content["data"] == {"toy": "ff"}
    assert content["seed"] == [1]
    assert content["notebook"] == "50_ablations"
    assert content["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"python", "numpy", "scikit-learn", "vasot"} <= set(content["versions"])
    assert content["created"].endswith("+00:00")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan"), torch.tensor(float("nan"))])
def test_score_that_is_no_number_becomes_null(run: Path, bad: object) -> None:
    path = record([{**ROW, "tau": bad}], {}, dataset_checksums={}, notebook="n")
    assert json.loads(path.read_text())["rows"][0]["tau"] is None


def test_numpy_and_torch_values_become_plain(run: Path) -> None:
    row = {**ROW, "seed": np.int64(2), "mof": torch.tensor(0.25), "per_class": np.array([0.5, 1.0])}
    written = json.loads(record([row], {"shape": (3, 4)}, dataset_checksums={}, notebook="n").read_text())
    assert written["rows"] == [{**ROW, "seed": 2, "mof": 0.25, "per_class": [0.5, 1.0]}]
    assert written["config"] == {"shape": [3, 4]}


@pytest.mark.parametrize("key", ["dataset", "method", "seed"])
def test_row_without_a_required_key_is_refused(run: Path, key: str) -> None:
    row = {name: value for name, value in ROW.items() if name != key}
    with pytest.raises(InputError, match=f"row 1 lacks {key}"):
        record([ROW, row], {}, dataset_checksums={}, notebook="n")
    assert not (run / "metrics.json").exists()


def test_no_rows_are_refused(run: Path) -> None:
    with pytest.raises(InputError, match="no rows"):
        record([], {}, dataset_checksums={}, notebook="n")


def test_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    write_text(path, "old")

    def full_disk(self: Path, text: str) -> int:
        with self.open("w") as stream:
            stream.write(text[:1])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_text(path, "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("inside", [".", "notebooks"])
def test_by_hand_the_output_goes_to_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    (tmp_path / inside).mkdir(exist_ok=True)
    monkeypatch.delenv("VASOT_OUTPUT", raising=False)
    monkeypatch.chdir(tmp_path / inside)
    assert output_dir("40_train") == tmp_path / "outputs" / "interactive" / "40_train"
    assert output_dir("40_train").is_dir()


def test_figure_is_a_png_in_the_folder_of_the_run(run: Path) -> None:
    path = save_figure(Figure(figsize=(1, 1)), "plan", notebook="n")
    assert path == run / "figures" / "plan.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [found.name for found in path.parent.iterdir()] == ["plan.png"]


def test_collect_gathers_every_run_but_no_table_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("b", 2), ("a", 1)):
        monkeypatch.setenv("VASOT_OUTPUT", str(tmp_path / "40_train" / name))
        record([{**ROW, "seed": seed}], {}, dataset_checksums={}, notebook="40_train")
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": [ROW]}))
    expected = [
        {**ROW, "seed": 1, "notebook": "40_train", "run": "40_train/a"},
        {**ROW, "seed": 2, "notebook": "40_train", "run": "40_train/b"},
    ]
    assert collect(tmp_path) == expected


def test_runs_that_have_not_finished_are_not_counted(run: Path, tmp_path: Path) -> None:
    """One that failed after it had recorded, whose trainings do not stand for it either."""
    record([ROW], {}, dataset_checksums={}, notebook="50_ablations")
    training = run / "a" / "training"
    training.mkdir(parents=True)
    record([ROW], {}, dataset_checksums={}, notebook="study", folder=training)
    (training / "params.yaml").write_text("status: finished\n")
    for status, rows in (("started", 0), ("finished", 1)):
        (run / "params.yaml").write_text(f"status: {status}\n")
        assert len(collect(tmp_path)) == len(collect(run)) == rows


def test_trainings_below_a_run_are_not_counted_twice(run: Path, tmp_path: Path) -> None:
    record([ROW], {}, dataset_checksums={}, notebook="50_ablations")
    training = run / "a" / "training"
    training.mkdir(parents=True)
    record([ROW], {}, dataset_checksums={}, notebook="study", folder=training)
    assert [row["notebook"] for row in collect(tmp_path)] == ["50_ablations"]
    assert [row["notebook"] for row in collect(run / "a")] == ["study"]


def test_collect_names_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"rows": [')
    with pytest.raises(DataError, match=r"metrics\.json is not valid JSON"):
        collect(tmp_path)
