from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from vasot_kit.datasets import load_dataset

NAME = "L02_S15_R04"
JOINTS, BACK = 22, 11
NAMES = ["Head", *(f"Joint{k}" for k in range(1, BACK)), "LowerBack", *(f"Joint{k}" for k in range(12, 21)), "Root"]
FIVE = (
    "Segments\n200\n"
    + ",," + ",,,,,,".join(f"Subject01:{name}" for name in NAMES) + ",,,,,\n"
    + "Frame,Sub Frame" + ",RX,RY,RZ,TX,TY,TZ" * JOINTS + "\n"
    + "," + ",deg,deg,deg,mm,mm,mm" * JOINTS + "\n"
)  # fmt: skip
ONE = "sample,classlabel" + "".join(
    f",{'lower back' if k == BACK else k}_{way}{axis}" for k in range(JOINTS) for way in "RT" for axis in "XYZ"
)
CLASSES = "Standing,Walking,Cart,Handling(upwards),Handling(centred),Handling(downwards),Synchronization,None"
STANDING, CART, UPWARDS, NONE = 0, 2, 3, 7


def motion(samples: int) -> np.ndarray:
    """Joint k lies at 10 k, -10 k and 1000, all walk along x; besides, the head swings along y and the root along z.

    All rotations are 180 and -180 by turns, as angles about the half turn are.
    """
    rows = np.zeros((samples, 2 + 6 * JOINTS))
    rows[:, 0] = np.arange(1, samples + 1)
    joints, time = rows[:, 2:].reshape(samples, JOINTS, 6), np.arange(samples)
    joints[:, :, :3] = np.where(time % 2, -180, 180)[:, None, None]
    joints[:, :, 3] = 10 * np.arange(JOINTS) + 3 * time[:, None]
    joints[:, :, 4] = -10 * np.arange(JOINTS)
    joints[:, :, 5] = 1000
    joints[:, 0, 4] += time % 2
    joints[:, -1, 5] += time
    return rows


def write_motion(file: Path, rows: np.ndarray, header: str = FIVE) -> None:
    file.write_text(header + "".join(",".join(f"{cell:g}" for cell in row) + "\n" for row in rows.tolist()))


def write_labels(file: Path, classes: np.ndarray, names: str = CLASSES) -> None:
    """One-hot rows and two attributes, which are not read; the class -1 is a row without a class."""
    rows = np.column_stack([classes[:, None] == np.arange(8), np.ones((len(classes), 2), bool)]).astype(int)
    file.write_text(
        f"{names},I-A_GaitCycle,I-B_Step\n" + "".join(",".join(map(str, row)) + "\n" for row in rows.tolist())
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two recordings of 830 samples: 140 of standing, 10 without a class, then a cart; the other one lifts."""
    root = tmp_path / "archive" / "OMoCap data" / "S15"
    root.mkdir(parents=True)
    write_motion(root / f"{NAME}.csv", motion(830))
    write_labels(root / f"{NAME}_labels.csv", np.repeat([STANDING, -1, CART], [140, 10, 680]))
    write_motion(root / "L02_S15_R05.csv", motion(830), ONE + "\n")
    write_labels(root / "L02_S15_R05_labels.csv", np.full(830, UPWARDS), CLASSES.replace("(", " ("))
    return root


def test_positions_relative_to_the_lower_back_are_pooled(script, source, tmp_path, capsys, monkeypatch) -> None:
    root = tmp_path / "data"
    assert script("lara").main(["--source", str(source.parents[1]), "--root", str(root)]) == 0
    assert "2 recordings, 16 frames, 8 classes, 189 channels" in capsys.readouterr().out
    rows = np.load(root / "lara" / "features" / f"{NAME}.npy")
    assert rows.shape == (8, 189)  # 830 samples are eight half seconds
    means, deviations, steps = np.split(rows, 3, axis=1)
    assert np.isin(means[:, 0::3], [10 * (k - BACK) for k in range(JOINTS) if k != BACK]).all()  # x: the walk is gone
    assert means[:, :3] == pytest.approx(np.array([[-110, 110.5, 0]] * 8))  # the head
    assert means[:, -3:] == pytest.approx(np.array([[100, -100, 49.5 + 100 * k] for k in range(8)]))  # the root
    assert deviations[:, 1] == pytest.approx([0.5] * 8) and steps[:, 1] == pytest.approx([1] * 8)
    assert deviations[:, -1] == pytest.approx([np.sqrt((100**2 - 1) / 12)] * 8) and steps[:, -1] == pytest.approx(
        [1] * 8
    )
    still = np.delete(np.arange(63), [1, 62])
    assert not deviations[:, still].any() and not steps[:, still].any()  # no rotation is among them
    other = np.load(root / "lara" / "features" / "L02_S15_R05.npy")
    assert np.array_equal(other, rows)  # both kinds of header give the same
    monkeypatch.setenv("VASOT_DATA", str(root))
    dataset = load_dataset("lara")
    named = {video.name: [dataset.classes[label] for label in video.labels] for video in dataset.videos}
    assert named == {NAME: ["standing"] + ["cart"] * 7, "L02_S15_R05": ["handling_upwards"] * 8}
    assert dataset.n_actions == 8 and abs(float(dataset.videos[0].features[:, -64].mean())) < 1e-6


def test_a_sample_without_a_class_is_one_of_none(script, source, tmp_path) -> None:
    write_labels(source / f"{NAME}_labels.csv", np.repeat([-1, NONE, CART], [200, 60, 570]))
    classes = script("lara").read_classes(source / f"{NAME}_labels.csv")
    assert classes.tolist() == [NONE] * 260 + [CART] * 570


def test_the_names_of_the_annotation_tool_are_known(script, source) -> None:
    names = ",".join(f"C{k}_{name}" for k, name in enumerate(CLASSES.split(","), start=1))
    write_labels(source / f"{NAME}_labels.csv", np.full(830, CART), names)
    assert set(script("lara").read_classes(source / f"{NAME}_labels.csv").tolist()) == {CART}


def test_lengths_that_differ_are_refused_or_cut(script, source, tmp_path, capsys) -> None:
    arguments = ["--source", str(source), "--root", str(tmp_path / "data")]
    write_labels(source / f"{NAME}_labels.csv", np.full(799, CART))
    assert script("lara").main(arguments) == 1
    assert f"{NAME}.csv has 830 samples but 799 labels; pass --trim to cut both to 799" in capsys.readouterr().err
    assert script("lara").main([*arguments, "--trim"]) == 0
    assert len(np.load(tmp_path / "data" / "lara" / "features" / f"{NAME}.npy")) == 7
    write_labels(source / f"{NAME}_labels.csv", np.full(930, CART))  # by half a second
    capsys.readouterr()
    assert script("lara").main(["--source", str(source), "--root", str(tmp_path / "more"), "--trim"]) == 1
    assert "has 830 samples but 930 labels; unpack the archive again" in capsys.readouterr().err
    write_motion(source / f"{NAME}.csv", motion(120))
    write_labels(source / f"{NAME}_labels.csv", np.full(60, CART))  # nothing is left of a half second
    assert script("lara").main(["--source", str(source), "--root", str(tmp_path / "more"), "--trim"]) == 1
    assert f"{NAME}.csv has 60 samples; expected 100 or more" in capsys.readouterr().err
    assert not (tmp_path / "more").exists()


def narrow(folder: Path) -> None:
    write_motion(folder / f"{NAME}.csv", motion(830)[:, :31], "time\n")  # as many columns as the sensors have


def turned_round(folder: Path) -> None:
    file = folder / f"{NAME}.csv"
    file.write_text(file.read_text().replace("LowerBack", "Spine").replace("Head", "LowerBack"))


def two_classes(folder: Path) -> None:
    file = folder / f"{NAME}_labels.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], "1,0,1" + lines[2][5:], *lines[3:]]))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / f"{NAME}_labels.csv").unlink(), f"{NAME}_labels.csv is missing; unpack"),
        (lambda folder: (folder / f"{NAME}.csv").unlink(), f"{NAME}_labels.csv has no {NAME}.csv beside it; unpack"),
        (lambda folder: (folder / f"{NAME}.csv").write_text(FIVE), rf"{NAME}.csv has no samples in its first 6 lines"),
        (lambda folder: write_motion(folder / f"{NAME}.csv", motion(99)), r"has 99 samples but 830 labels; unpack"),
        (narrow, r"830 samples of 31 columns; expected 134 columns: --source must be the OMoCap annotated data"),
        (turned_round, rf"{NAME}.csv has the lower back in column 3; expected it in column 69"),
        (lambda folder: write_motion(folder / f"{NAME}.csv", motion(830) * np.where(np.arange(134) == 5, np.nan, 1)),
         rf"{NAME} has a number that is not finite in frame 1; unpack"),
        (lambda folder: (folder / f"{NAME}.csv").write_text(FIVE + "1,0" + ",0" * 132 + "\n1,0\n"),
         rf"{NAME}.csv is damaged .*unpack the archive again"),
        (lambda folder: write_labels(folder / f"{NAME}_labels.csv", np.full(830, CART), CLASSES.replace("Cart", "Car")),
         r"labels.csv begins with the columns Standing, Walking, Car, .*; expected standing, walking, cart"),
        (lambda folder: (folder / f"{NAME}_labels.csv").write_text("class,I-A_GaitCycle\n2,0\n"),
         r"begins with the columns class, I-A_GaitCycle; expected standing"),
        (lambda folder: (folder / f"{NAME}_labels.csv").write_text(""), r"labels.csv begins with the columns ;"),
        (lambda folder: (folder / f"{NAME}_labels.csv").write_text(f"{CLASSES}\n1,0\n"), "has 2 columns; expected 8"),
        (two_classes, r"has classes \[1.0, 0.0, 1.0, .*\] in sample 2; expected zeros and at most one 1"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused_and_nothing_written(script, source, tmp_path, capsys, harm, message) -> None:
    harm(source)
    assert script("lara").main(["--source", str(source), "--root", str(tmp_path / "data")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)
    assert not (tmp_path / "data").exists()


def test_an_interrupted_run_leaves_nothing(script, source, tmp_path, capsys, monkeypatch) -> None:
    module = script("lara")
    read = module.read_motion

    def interrupted(file: Path) -> np.ndarray:
        if file.stem == NAME:
            return read(file)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "read_motion", interrupted)
    assert module.main(["--source", str(source), "--root", str(tmp_path / "data")]) == 1
    assert "interrupted; the same command begins again" in capsys.readouterr().err
    assert not list((tmp_path / "data").rglob("*"))


def test_what_is_hidden_is_not_read_and_a_folder_without_recordings_is_refused(
    script, source, tmp_path, capsys
) -> None:
    (source / f"._{NAME}.csv").write_bytes(b"\x00\x05")
    assert script("lara").main(["--source", str(source), "--root", str(tmp_path / "data")]) == 0
    (tmp_path / "empty").mkdir()
    assert script("lara").main(["--source", str(tmp_path / "empty"), "--root", str(tmp_path / "more")]) == 1
    assert "empty holds no .csv of motion; --source must be the unpacked OMoCap" in capsys.readouterr().err
    assert script("lara").main([]) == 2
    assert "zenodo.org/records/8189341" in capsys.readouterr().err
