from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from vasot_kit.folders import load_folder


@pytest.fixture
def archive(tmp_path):
    """61 recordings of 110 samples; the first is written so that its pooled values are known."""
    raw = tmp_path / "unpacked" / "RawData"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(1, 62):
        name = f"exp{number:02d}_user{(number + 1) // 2:02d}"
        acceleration, rotation = rng.normal(size=(2, 110, 3))
        if number == 1:
            acceleration[:, 0] = np.arange(110)  # a ramp
            acceleration[:, 1] = np.tile([1.0, -1.0], 55)  # a saw
            rotation[:] = 7.0
        np.savetxt(raw / f"acc_{name}.txt", acceleration)
        np.savetxt(raw / f"gyro_{name}.txt", rotation)
        activity = (number - 1) % 12 + 1
        lines.append(f"{number} {(number + 1) // 2} {activity} 26 62")  # samples 26 to 62, counted from 1
    (raw / "labels.txt").write_text("\n".join(lines))
    return raw


def test_hapt_pools_half_seconds_and_takes_the_majority_label(archive, tmp_path, script, capsys):
    assert script("hapt").main(["--source", str(archive.parent), "--root", str(tmp_path / "data")]) == 0
    assert "61 recordings, 244 frames, 13 classes" in capsys.readouterr().out
    dataset = load_folder(tmp_path / "data" / "hapt", background="unlabelled", n_actions=2)
    assert len(dataset.videos) == 61 and dataset.feature_dim == 18
    first = dataset.videos[0]
    # 110 samples are 4 half seconds; 26..62 fills the second and 12 of the third's 25 samples: no majority there
    assert [dataset.classes[label] for label in first.labels] == ["unlabelled", "walking", "unlabelled", "unlabelled"]
    rows = first.features.numpy()
    assert rows[:, 0] == pytest.approx([12, 37, 62, 87])  # mean of the ramp
    assert rows[:, 6] == pytest.approx([np.sqrt((25**2 - 1) / 12)] * 4)  # its standard deviation
    assert rows[:, 12] == pytest.approx([1] * 4)  # its mean absolute difference
    assert rows[:, 13] == pytest.approx([2] * 4)  # that of the saw
    assert rows[:, [3, 9, 15]] == pytest.approx(np.array([[7, 0, 0]] * 4))


def segment(raw: Path, row: str) -> None:
    lines = (raw / "labels.txt").read_text().splitlines()
    (raw / "labels.txt").write_text("\n".join([row, *lines[1:], "60 30 1 1 20"]))


def shorten(raw: Path, n: int) -> None:
    for file in raw.glob("*_exp01_user01.txt"):
        np.savetxt(file, np.loadtxt(file)[:n])
    segment(raw, f"1 1 1 1 {n}")


def change(raw: Path, number: float) -> None:
    rows = np.loadtxt(raw / "acc_exp01_user01.txt")
    rows[3, 1] = number
    np.savetxt(raw / "acc_exp01_user01.txt", rows)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda raw: (raw / "acc_exp07_user04.txt").unlink(), "found 60 videos, expected 61 .*labels.txt"),
        (lambda raw: (raw / "gyro_exp07_user04.txt").unlink(), "gyro_exp07_user04.txt is missing"),
        (lambda raw: (raw / "gyro_exp07_user04.txt").write_text("1 2 3\n"), r"shapes \(110, 3\) and \(1, 3\)"),
        (lambda raw: (raw / "labels.txt").unlink(), "labels.txt is missing; --source must be the unpacked archive"),
        (lambda raw: (raw / "labels.txt").write_text("1 1 5 1 20\n"), r"names classes \[5\]; expected 1 to 12"),
        (lambda raw: (raw / "labels.txt").write_text("one two\n"), "labels.txt is damaged"),
        (lambda raw: (raw / "labels.txt").write_text("1 1\n"), "labels.txt has 2 columns .*expected rows of 5 whole"),
        (lambda raw: segment(raw, "1 1 1 26 62.5"), "labels.txt has 5 columns or a number that is not whole"),
        (lambda raw: segment(raw, "1 1 1 26 111"),
         "row 1 of labels.txt is a segment from sample 26 to 111, but .*acc_exp01_user01.txt has the samples 1 to 110"),
        (lambda raw: segment(raw, "1 1 1 0 62"), "row 1 of labels.txt is a segment from sample 0 to 62"),
        (lambda raw: segment(raw, "1 1 1 62 26"), "row 1 of labels.txt is a segment from sample 62 to 26"),
        (lambda raw: segment(raw, "2 1 1 26 62"), "acc_exp01_user01.txt has no row in labels.txt; unpack"),
        (lambda raw: (raw / "acc_exp07_user04.txt").rename(raw / "acc_expXX_user04.txt"),
         "acc_expXX_user04.txt should be named like acc_exp01_user01.txt; unpack"),
        (lambda raw: shorten(raw, 24), "acc_exp01_user01.txt has 24 samples; expected 25 or more"),
        (lambda raw: change(raw, np.nan), "exp01_user01 has a number that is not finite in frame 1"),
        (lambda raw: change(raw, 1e39), "exp01_user01 has a number that is not finite in frame 1"),
    ],
)  # fmt: skip
def test_hapt_refuses_an_incomplete_archive_and_writes_nothing(archive, tmp_path, script, capsys, harm, message):
    harm(archive)
    assert script("hapt").main(["--source", str(archive), "--root", str(tmp_path / "data")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert not (tmp_path / "data").exists()


@pytest.fixture
def checkout(tmp_path, script):
    root = tmp_path / "checkout"
    for part in ("data/features/coffee", "data/groundTruth", "data/mapping"):
        (root / part).mkdir(parents=True)
    (root / "data/mapping/mapping.txt").write_text("0 SIL\n5 pour_coffee\n")
    for name, frames in script("breakfast_coffee").FRAMES.items():
        np.savetxt(root / f"data/features/coffee/{name}.txt", np.full((frames, 2), frames))
        (root / f"data/groundTruth/{name}").write_text("SIL\n" * 10 + "pour_coffee\n" * (frames - 10))
    return root


def test_breakfast_coffee_copies_five_videos(checkout, tmp_path, script, capsys):
    assert script("breakfast_coffee").main(["--source", str(checkout), "--root", str(tmp_path / "data")]) == 0
    assert "5 recordings, 3350 frames" in capsys.readouterr().out
    dataset = load_folder(tmp_path / "data" / "breakfast_coffee", activity="coffee")
    assert [len(video) for video in dataset.videos] == [917, 1119, 472, 271, 571]
    assert [float(video.features.mean()) for video in dataset.videos] == [917, 1119, 472, 271, 571]
    assert dataset.videos[0].labels.bincount().tolist() == [10, 907]


def test_breakfast_coffee_refuses_other_lengths_and_missing_files(checkout, tmp_path, script, capsys):
    arguments = ["--source", str(checkout), "--root", str(tmp_path / "data")]
    truth = checkout / "data/groundTruth/P08_webcam01_P08_coffee"
    truth.write_text("SIL\n" * 270)
    assert script("breakfast_coffee").main(arguments) == 1
    assert "has 271 frames and 270 labels; expected 271 of each" in capsys.readouterr().err
    truth.write_text("SIL\n" * 270 + "stir_tea\n")
    assert script("breakfast_coffee").main(arguments) == 1
    assert "labels ['stir_tea'] are not in mapping.txt" in capsys.readouterr().err
    truth.unlink()
    assert script("breakfast_coffee").main(arguments) == 1
    assert "holds no groundTruth/P08_webcam01_P08_coffee; give --source" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("name", "where"), [("hapt", "data set 341"), ("breakfast_coffee", "TOT-CVPR22")])
def test_without_a_source_the_next_step_is_printed(name, where, script, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert script(name).main([]) == 2
    error = capsys.readouterr().err
    assert where in error and f"python -m data_scripts.{name} --source FOLDER" in error
    assert [path.name for path in tmp_path.iterdir()] == []
