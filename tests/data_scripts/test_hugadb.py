from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from vasot_kit.datasets import load_dataset

FILE = "HuGaDB_v2_various_07_00.txt"
HEADER = "#Activity\tsitting walking \n#ActivityID\t5 1 \n#Date 10-26-17-47\n" + "acc_rf_x\t" * 38 + "act\n"


def write(folder: Path, name: str, activity: np.ndarray) -> None:
    """A recording whose channel c is c at every sample, plus a saw in the first and a ramp in the second."""
    rows = np.tile(np.arange(39), (len(activity), 1))
    rows[:, 0] = np.arange(len(activity)) % 2
    rows[:, 1] = np.arange(len(activity))
    rows[:, -1] = activity
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(HEADER + "\n".join("\t".join(map(str, row)) for row in rows.tolist()) + "\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two recordings of 365 samples: 40 of sitting, then walking; the second sits throughout."""
    root = tmp_path / "archive"
    write(root / "HuGaDB v2", FILE, np.repeat([5, 1], [40, 325]))
    write(root / "HuGaDB v2", "HuGaDB_v2_various_08_00.txt", np.full(365, 5))
    return root


def test_half_seconds_are_pooled_and_standardised_when_loaded(script, source, tmp_path, capsys, monkeypatch) -> None:
    root = tmp_path / "data"
    assert script("hugadb").main(["--source", str(source), "--root", str(root)]) == 0
    assert "2 recordings, 24 frames, 12 classes, 108 channels" in capsys.readouterr().out
    rows = np.load(root / "hugadb" / "features" / "various_07_00.npy")
    assert rows.shape == (12, 108)  # 365 samples are twelve half seconds
    assert rows[:2, :3] == pytest.approx(np.array([[0.5, 14.5, 2], [0.5, 44.5, 2]]))  # means
    assert rows[:, 36] == pytest.approx([0.5] * 12)  # the deviation of the saw
    assert rows[:, 72:75] == pytest.approx(np.array([[1, 1, 0]] * 12))  # differences of neighbouring samples
    monkeypatch.setenv("VASOT_DATA", str(root))
    dataset = load_dataset("hugadb")
    first = dataset.videos[0]
    assert [dataset.classes[label] for label in first.labels] == ["sitting"] + ["walking"] * 11
    assert dataset.n_actions == 12 and abs(float(first.features[:, 1].mean())) < 1e-6


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda file: file.rename(file.with_name("HuGaDB_v1_various_07_00.txt")), None),
        (lambda file: file.write_text(HEADER), f"{FILE} has 0 samples"),
        (lambda file: file.write_text(HEADER + "1\t2\n" * 40), f"{FILE} has 40 samples of 2 columns"),
        (lambda file: file.write_text(HEADER + "1\ttwo\n"), f"{FILE} is damaged .*unpack the archive again"),
        (lambda file: write(file.parent, FILE, np.full(40, 13)), rf"{FILE} names activities \[13.0\]; .*from 1 to 12"),
        (lambda file: write(file.parent, FILE, np.full(29, 1)), f"{FILE} has 29 samples; expected 30 or more, unpack"),
        (lambda file: file.write_text(file.read_text().replace("\t38\t", "\tx\t").replace("\t7\t", "\tinf\t")
                                      .replace("\tx\t", "\t38\t")),
         "various_07_00 has a number that is not finite in frame 1; unpack or copy it again"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused_and_nothing_written(script, source, tmp_path, capsys, harm, message) -> None:
    harm(source / "HuGaDB v2" / FILE)
    code = script("hugadb").main(["--source", str(source), "--root", str(tmp_path / "data")])
    if message is None:  # the recordings of version 1 are not taken
        assert code == 0 and "1 recordings" in capsys.readouterr().out
        return
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1 and re.search(message, line)
    assert not (tmp_path / "data").exists()


def test_two_recordings_of_one_name_are_refused(script, source, tmp_path, capsys) -> None:
    write(source / "copy", FILE, np.full(365, 1))
    assert script("hugadb").main(["--source", str(source), "--root", str(tmp_path / "data")]) == 1
    assert "two recordings are named 'various_07_00'; keep one of them" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_folder_without_recordings_is_refused(script, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    assert script("hugadb").main(["--source", str(tmp_path / "empty"), "--root", str(tmp_path / "data")]) == 1
    assert (
        "empty holds no HuGaDB_v2_*.txt; --source must be the unpacked archive of version 2" in capsys.readouterr().err
    )
