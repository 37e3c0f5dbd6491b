from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from vasot_kit.films.motion import Motion
from vasot_kit.films.recordings import load_recordings

PHASES = ["bowling: to ball swung fully back", "bowling: to ball release", "bowling: to end"]
# recording -> part, folder of the label, name in the .mat, labels
RECORDINGS = {
    "0001": ("train", "bowling", "bowl", [0, 0, 1, 2, 2]),
    "0002": ("val", "bowling", "bowl", [0, 1, 1, 2]),
    "0007": ("train", "tennis_serve", "tennis_serve", [0, 1, 2, 3, 3, 3]),
}


@pytest.fixture
def source(tmp_path):
    """Three recordings with phases and one without; grey pictures, picture k has level 10 k."""
    root = tmp_path / "downloads"
    for name, (part, folder, action, labels) in {**RECORDINGS, "0009": ("", "", "jump_rope", [0] * 3)}.items():
        frames = root / "Penn_Action" / "frames" / name
        frames.mkdir(parents=True)
        for number in range(1, len(labels) + 1):
            Image.new("L", (8, 8), 10 * number).save(frames / f"{number:06d}.jpg")
        mats = root / "Penn_Action" / "labels"
        mats.mkdir(exist_ok=True)
        points = np.zeros((len(labels), 13))
        savemat(mats / f"{name}.mat", {"action": action, "pose": "back", "x": points, "nframes": len(labels)})
        if part:
            file = root / "penn_action_labels" / part / folder / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, np.array(labels))
    return root


@pytest.fixture
def convert(script, tmp_path, source):
    """Run the script with facts of the tiny set."""

    def run(*options: str, source: Path = source) -> int:
        penn = script("penn_action")
        penn.FACTS = penn.PublishedFacts(
            activities={"bowling": 2, "tennis_serve": None}, sources={"activities": "the test"}
        )
        penn.SEQUENCES = 4
        return penn.main(["--source", str(source), "--root", str(tmp_path / "data"), *options])

    return run


def test_pictures_and_phases_are_joined(convert, source, tmp_path, capsys):
    assert convert() == 0
    assert "3 recordings, 15 frames, 42 classes; activities: bowling (2), tennis_serve (1)" in capsys.readouterr().out
    target = tmp_path / "data" / "penn_action"
    assert (target / "groundTruth" / "0001").read_text().splitlines() == [PHASES[k] for k in RECORDINGS["0001"][3]]
    assert (target / "splits" / "train.txt").read_text() == "bowling/0001\ntennis_serve/0007\n"
    assert (target / "splits" / "val.txt").read_text() == "bowling/0002\n"
    loaded = load_recordings(target, Motion(), activity="bowling")
    assert [(video.name, video.part) for video in loaded.videos] == [("0001", "train"), ("0002", "val")]
    assert {file.name for file in (target / "frames").glob("*/*")} == set(RECORDINGS)
    pictures = sorted((target / "frames" / "bowling" / "0002").iterdir())
    assert [file.name for file in pictures] == ["000001.jpg", "000002.jpg", "000003.jpg", "000004.jpg"]
    levels = [np.asarray(Image.open(file)).mean() for file in pictures]
    assert levels == pytest.approx([10, 20, 30, 40], abs=2)
    # linked, not doubled
    assert pictures[0].samefile(source / "Penn_Action" / "frames" / "0002" / "000001.jpg")
    mapping = (target / "mapping" / "mapping.txt").read_text().splitlines()
    assert len(mapping) == 42 and mapping[0] == "0 baseball_pitch: to knee fully up"
    assert [line.split(" ", 1)[1] for line in mapping if " bowling" in line] == PHASES


def test_where_links_are_impossible_files_are_copied(convert, source, tmp_path, monkeypatch):
    def link(*_: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr("data_scripts.common.film_folders.os.link", link)
    assert convert() == 0
    copy = tmp_path / "data" / "penn_action" / "frames" / "bowling" / "0002" / "000001.jpg"
    original = source / "Penn_Action" / "frames" / "0002" / "000001.jpg"
    assert not copy.samefile(original) and copy.read_bytes() == original.read_bytes()


def test_symbolic_links_of_the_source_are_not_taken_over(convert, source, tmp_path):
    picture = source / "Penn_Action" / "frames" / "0002" / "000001.jpg"
    picture.symlink_to(picture.rename(tmp_path / "elsewhere.jpg"))
    assert convert() == 0
    written = tmp_path / "data" / "penn_action" / "frames" / "bowling" / "0002" / "000001.jpg"
    assert written.is_file() and not written.is_symlink()


def test_the_phases_are_those_of_the_specification(script):
    counts = {action: len(names) for action, names in script("penn_action").PHASES.items()}
    assert counts == {
        "baseball_pitch": 4,
        "baseball_swing": 3,
        "bench_press": 2,
        "bowling": 3,
        "clean_and_jerk": 6,
        "golf_swing": 3,
        "jumping_jacks": 4,
        "pushups": 2,
        "pullups": 2,
        "situp": 2,
        "squats": 4,
        "tennis_forehand": 3,
        "tennis_serve": 4,
    }


def test_folders_may_bear_the_names_of_the_mat_files(convert, source, tmp_path):
    for part in ("train", "val"):
        folder = source / "penn_action_labels" / part / "bowling"
        folder.rename(folder.with_name("bowl"))
    assert convert() == 0
    assert (tmp_path / "data" / "penn_action" / "frames" / "bowling" / "0001").is_dir()


def test_archives_are_unpacked(convert, source, tmp_path):
    packed = tmp_path / "packed"
    packed.mkdir()
    for name in ("Penn_Action", "penn_action_labels"):
        with tarfile.open(packed / f"{name}.tar.gz", "w:gz") as tar:
            tar.add(source / name, arcname=name)
    assert convert(source=packed) == 0
    assert len(list((tmp_path / "data" / "penn_action" / "frames").glob("*/*"))) == 3
    assert sorted(file.name for file in packed.iterdir()) == ["Penn_Action.tar.gz", "penn_action_labels.tar.gz"]


def test_half_an_archive_and_one_that_leads_out_are_refused(convert, source, tmp_path, capsys):
    packed = tmp_path / "packed"
    packed.mkdir()
    whole = tmp_path / "whole.tar.gz"
    with tarfile.open(whole, "w:gz") as tar:
        tar.add(source / "Penn_Action", arcname="Penn_Action")
    (packed / "Penn_Action.tar.gz").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert convert(source=packed) == 1
    assert "Penn_Action.tar.gz is no archive, damaged or downloaded by half" in capsys.readouterr().err
    with tarfile.open(packed / "Penn_Action.tar.gz", "w:gz") as tar:
        tar.add(source / "Penn_Action" / "labels" / "0001.mat", arcname="../../escaped.mat")
    assert convert(source=packed) == 1
    assert "'../../escaped.mat', which leads out of its folder" in capsys.readouterr().err
    assert not list(tmp_path.rglob("escaped*")) and not (tmp_path / "data").exists()


def frames(source: Path) -> Path:
    return source / "Penn_Action" / "frames" / "0001"


def labels(source: Path) -> Path:
    return source / "penn_action_labels" / "train" / "bowling" / "0001.npy"


def mat(source: Path) -> Path:
    return source / "Penn_Action" / "labels" / "0001.mat"


def remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda s: (frames(s) / "000005.jpg").unlink(),
            r"bowling/0001 has 5 labels, 4 pictures, 5 frames by its .mat ",
        ),
        (lambda s: np.save(labels(s), [0, 1, 2]), r"has 3 labels, 5 pictures, .*difference 2.*--trim to cut to 3"),
        (lambda s: (frames(s) / "000003.jpg").unlink(), "0001 has no frame 3 but a frame 000004"),
        (lambda s: (frames(s) / "000003.jpg").write_bytes(b""), "000003.jpg is empty; copy it again"),
        (lambda s: remove(frames(s)), r"found 3 sequences in .*, expected 4 \(page of Penn Action\)"),
        (lambda s: mat(s).unlink(), "0001.mat is missing; unpack Penn_Action.tar.gz again"),
        (lambda s: mat(s).write_bytes(mat(s).read_bytes()[:150]), "0001.mat is damaged or another file"),
        (lambda s: mat(s).write_text("<html>not found</html>" * 50), "0001.mat is damaged or another file"),
        (lambda s: savemat(mat(s), {"action": "squat", "nframes": 5}), "labels bowling but 0001.mat says 'squat'"),
        (lambda s: np.save(labels(s), [0, 1, 2, 3, 3]), "has the label 3; bowling has the phases 0 to 2"),
        (lambda s: np.save(labels(s), [0, 1, -1, 2, 2]), "has the label -1; bowling has"),
        (lambda s: np.save(labels(s), [0, 1, 0.5, 2, 2]), "expected one whole number per frame"),
        (lambda s: np.save(labels(s), np.eye(5)), r"is an array \(5, 5\) of float64; expected one whole number"),
        (lambda s: np.save(labels(s), np.array([{}, 1], dtype=object)), "is a pickle, which is not read because"),
        (lambda s: labels(s).write_bytes(labels(s).read_bytes()[:140]), "0001.npy is damaged"),
        (
            lambda s: np.savez(labels(s).open("wb"), a=[0, 1]),
            "0001.npy is a .npz archive of arrays; expected one array",
        ),
        (lambda s: labels(s).write_bytes(b"PK\x03\x04 junk"), "0001.npy is damaged"),
        (lambda s: np.save(labels(s), np.zeros(5, complex)), "of complex128; expected one whole number per frame"),
        (lambda s: np.save(labels(s), [0, 1, np.inf, 2, 2]), "of float64; expected one whole number per frame"),
        (lambda s: (frames(s) / "000005.jpg").rename(frames(s) / "00000\u00b2.jpg"), "5 labels, 4 pictures"),
        (lambda s: labels(s).unlink(), r"found 1 videos of bowling, expected 2 \(the test\); .* or pass --partial"),
        (lambda s: labels(s).rename(labels(s).with_stem("0001_a")), "0001_a.npy should be named like the recording"),
        (lambda s: labels(s).parent.rename(labels(s).parents[1] / "golf"), "golf is none of the 13 actions"),
        (
            lambda s: labels(s).rename(s / "penn_action_labels" / "val" / "bowling" / "0007.npy"),
            "two recordings are named '0007'|but 0007.mat says 'tennis_serve'",
        ),
    ],
)
def test_a_fault_is_one_line_and_nothing_is_written(convert, source, tmp_path, capsys, harm, message):
    harm(source)
    assert convert() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error), error
    assert list((tmp_path / "data").glob("*")) == []


def test_trim_cuts_to_the_shortest_and_says_so(convert, source, tmp_path, capsys):
    np.save(labels(source), [0, 1, 2])
    assert convert("--trim") == 0
    printed = capsys.readouterr().out
    assert "note: 1 recordings had unequal lengths, most of all bowling/0001 (difference 2); all were cut" in printed
    target = tmp_path / "data" / "penn_action"
    assert len((target / "groundTruth" / "0001").read_text().splitlines()) == 3
    assert len(list((target / "frames" / "bowling" / "0001").iterdir())) == 3


def test_a_part_is_taken_when_asked_for(convert, source, tmp_path, capsys):
    remove(source / "penn_action_labels" / "train" / "tennis_serve")
    remove(source / "Penn_Action" / "frames" / "0009")
    assert convert() == 1
    assert "found no videos of tennis_serve" in capsys.readouterr().err
    assert convert("--partial") == 0
    printed = capsys.readouterr().out
    assert "2 recordings, 9 frames" in printed
    assert "note: found no videos of tennis_serve" in printed and "note: found 3 sequences" in printed


def test_what_is_missing_is_named(convert, source, tmp_path, capsys):
    assert convert(source=source / "Penn_Action") == 1
    assert "holds no train/<action>/0001.npy; put the phase labels there" in capsys.readouterr().err
    assert convert(source=source / "penn_action_labels") == 1
    assert "holds no folder frames with recordings; put Penn_Action.tar.gz there" in capsys.readouterr().err
    assert convert(source=tmp_path / "nowhere") == 1
    assert "nowhere does not exist" in capsys.readouterr().err


def test_without_a_source_the_next_step_is_printed(script, tmp_path, capsys):
    assert script("penn_action").main(["--root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "Penn_Action.tar.gz" in error and "minghchen/CARL_code" in error
    assert "python -m data_scripts.penn_action --source FOLDER" in error and not any(tmp_path.iterdir())
