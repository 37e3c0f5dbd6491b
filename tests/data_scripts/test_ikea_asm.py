from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data_scripts.film_files import write_film
from vasot_lib.errors import DataError

KALLAX = "Kallax_Shelf_Drawer"
NA, PICK, SLIDE = "NA", "pick up back panel", "slide bottom of drawer"


def segments(labels: list[str]) -> list[dict]:
    """What the data set's exporter makes of a label per frame: runs of two frames and more, [first, last]."""
    found, place = [], 0
    for label, run in groupby(labels):
        length = len(list(run))
        if length > 1:
            found.append({"label": label, "segment": [place, place + length - 1]})
        place += length
    return found


LABELS = {
    "0001_oak_floor": ("training", [NA] * 3 + [PICK] * 4 + [SLIDE] * 3),
    "0002_oak_floor": ("testing", [PICK] * 2 + [NA] + [SLIDE] * 5),  # the exporter loses the NA in between
    "0003_oak_floor": ("testing", [SLIDE] * 4 + [NA] * 2),
}


def write_pictures(folder: Path, n: int) -> None:
    folder.mkdir(parents=True)
    for k in range(n):
        Image.new("L", (8, 8), 20 * k).save(folder / f"{k:06d}.jpg")


def write_segments(source: Path, database: dict) -> None:
    file = source / "action_annotations" / "gt_segments.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"version": "VERSION 1.3", "database": database}))


def database() -> dict:
    entries = {f"{KALLAX}/{scan}": {"subset": part, "annotation": segments(labels)} for scan, (part, labels) in
               LABELS.items()}  # fmt: skip
    return {"Lack_TV_Bench/0009": {"subset": "training", "annotation": segments(["spin leg"] * 3)}, **entries}


def images(source: Path, scan: str) -> Path:
    return source / "ANU_ikea_dataset_video" / KALLAX / scan / "dev3" / "images"


@pytest.fixture
def source(tmp_path):
    """The first scan as pictures, the others as films; another piece of furniture and a folder of poses beside them."""
    root = tmp_path / "downloads"
    for number, (scan, (_, labels)) in enumerate(LABELS.items()):
        if number == 0:
            write_pictures(images(root, scan), len(labels))
        else:
            write_film(images(root, scan) / "scan_video.avi", len(labels))
    write_film(root / "ANU_ikea_dataset_video" / "Lack_TV_Bench" / "0009" / "dev3" / "images" / "scan_video.avi", 3)
    (root / "pose_annotations" / KALLAX / "0001_oak_floor" / "dev3" / "predictions").mkdir(parents=True)
    write_segments(root, database())
    return root


@pytest.fixture
def ikea(script):
    module = script("ikea_asm")
    module.FACTS = module.PublishedFacts(videos=3, classes=3, sources={"videos": "the test", "classes": "the test"})
    module.TEST_VIDEOS, module.TEST_FRAMES, module.TEST_SOURCE = 2, 14, "the test"
    return module


@pytest.fixture
def convert(ikea, tmp_path, source):
    def run(*options: str) -> int:
        return ikea.main(["--source", str(source), "--root", str(tmp_path / "data"), *options])

    return run


def truth(tmp_path: Path, scan: str) -> list[str]:
    return (tmp_path / "data" / "ikea_asm" / "groundTruth" / scan).read_text().splitlines()


def test_films_pictures_and_labels_are_joined(convert, source, tmp_path, capsys):
    assert convert() == 0
    assert f"3 recordings, 24 frames, 3 classes; activities: {KALLAX} (3)" in capsys.readouterr().out
    target = tmp_path / "data" / "ikea_asm"
    for scan, (_, labels) in LABELS.items():
        assert truth(tmp_path, scan) == labels
    assert sorted(file.name for file in target.glob(f"videos/{KALLAX}/*")) == [
        "0002_oak_floor.avi",
        "0003_oak_floor.avi",
    ]
    assert (target / "videos" / KALLAX / "0002_oak_floor.avi").samefile(
        images(source, "0002_oak_floor") / "scan_video.avi"
    )
    pictures = sorted((target / "frames" / KALLAX / "0001_oak_floor").iterdir())
    assert [file.name for file in pictures] == [f"{k:06d}.jpg" for k in range(1, 11)]
    assert [np.asarray(Image.open(file)).mean() for file in pictures[:3]] == pytest.approx([0, 20, 40], abs=2)
    assert (target / "mapping" / "mapping.txt").read_text() == f"0 {NA}\n1 {PICK}\n2 {SLIDE}\n"
    assert (target / "splits" / "train.txt").read_text() == f"{KALLAX}/0001_oak_floor\n"
    assert (target / "splits" / "test.txt").read_text().split() == [
        f"{KALLAX}/0002_oak_floor",
        f"{KALLAX}/0003_oak_floor",
    ]


@pytest.mark.parametrize("seed", range(20))
def test_labels_come_back_from_their_segments(ikea, seed):
    """All frames, where runs of one frame are NA: those are what the exporter loses."""
    rng = np.random.default_rng(seed)
    labels: list[str] = []
    for _ in range(8):
        label = str(rng.choice([NA, PICK, SLIDE]))
        labels += [label] * (1 if label == NA else int(rng.integers(2, 6)))
    while labels[-1] == NA:
        labels.pop()  # nothing says how many frames follow the last segment
    items = segments(labels)
    rng.shuffle(items)
    assert ikea.frame_labels("scan", items) == labels


def test_there_are_33_classes_in_the_order_of_their_names(ikea):
    assert len(ikea.ACTIONS) == 33 and ikea.ACTIONS[0] == NA
    assert list(ikea.ACTIONS[1:]) == sorted(set(ikea.ACTIONS[1:]))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [(PICK, 0, 3), (SLIDE, 3, 5)],
            r"segment \[3, 5\] after one that ends with frame 3; segments must not overlap",
        ),
        ([(PICK, 0, 3), (SLIDE, 5, 4)], r"segment \[5, 4\]"),
        ([(PICK, -1, 3)], r"segment \[-1, 3\]"),
        ([("pick up plate", 0, 3)], "label 'pick up plate', which is no action of the data set"),
    ],
)
def test_impossible_segments_are_refused(ikea, items, message):
    with pytest.raises(DataError, match=message):
        ikea.frame_labels("scan", [{"label": label, "segment": [first, last]} for label, first, last in items])


def annotations(source: Path) -> Path:
    return source / "action_annotations" / "gt_segments.json"


def change(source: Path, scan: str, labels: list[str]) -> None:
    entries = database()
    entries[f"{KALLAX}/{scan}"]["annotation"] = segments(labels)
    write_segments(source, entries)


def cut(file: Path, share: float) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


FIRST, SECOND, THIRD = LABELS


def film(source: Path, scan: str) -> Path:
    return images(source, scan) / "scan_video.avi"


def picture(source: Path, number: int) -> Path:
    return images(source, FIRST) / f"{number:06d}.jpg"


def other_subset(source: Path, subset: object) -> None:
    text = annotations(source).read_text()
    entries = json.loads(text)
    entries["database"][f"{KALLAX}/{FIRST}"]["subset"] = subset
    annotations(source).write_text(json.dumps(entries))


ODD = {f"{KALLAX}/a": {"subset": "training", "annotation": [{"label": NA, "segment": [1.5]}]}}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda s: annotations(s).unlink(), "holds no gt_segments.json; put the action annotations there"),
        (lambda s: cut(annotations(s), 0.5), "gt_segments.json is damaged or another file .JSONDecodeError"),
        (lambda s: annotations(s).write_text('{"results": {}}'), "is damaged or another file .KeyError: 'database'"),
        (lambda s: annotations(s).write_text('{"database": []}'), "is damaged or another file"),
        (lambda s: write_segments(s, {}), f"names no scan of {KALLAX}"),
        (lambda s: write_segments(s, ODD), "has the entry .* expected a subset, a label, a first and a last frame"),
        (lambda s: annotations(s).write_text('{"database": ' + "[" * 10**5), "is damaged .*RecursionError"),
        (lambda s: other_subset(s, "validation"), f"{FIRST} is of subset 'validation', expected training or testing"),
        (
            lambda s: other_subset(s, ["training"]),
            rf"{FIRST} is of subset \['training'\], expected training or testing",
        ),
        (lambda s: images(s, FIRST).parents[2].rename(s / "x"), f"holds no {KALLAX}/<scan>/dev3/images"),
        (lambda s: images(s, THIRD).rename(s / "x"), f"1 annotated scans have no film .* e.g. {KALLAX}/{THIRD}"),
        (lambda s: cut(film(s, THIRD), 0.01), "scan_video.avi is damaged or not a film"),
        (lambda s: film(s, SECOND).unlink(), f"{SECOND}/dev3/images holds no .jpg files"),
        (lambda s: picture(s, 4).unlink(), "has no frame 4 but a frame 000005"),
        (lambda s: picture(s, 0).unlink(), "has no frame 0 but a frame 000001"),
        (lambda s: picture(s, 9).unlink(), "has 9 pictures, 10 labels .difference 1.*--trim to cut to 9"),
        (lambda s: write_film(film(s, SECOND), 9), "has 9 frames, 8 labels .difference 1"),
        (lambda s: change(s, FIRST, [NA] * 5 + ["spin leg"] * 5), "found 4 classes, expected 3 .the test"),
        (lambda s: change(s, THIRD, [SLIDE] * 5), "test split has 13 labelled frames, expected 14 .the test"),
        (lambda s: change(s, FIRST, []), f"{FIRST} has no labels; copy it again"),
    ],
)
def test_a_fault_is_one_line_and_nothing_is_written(convert, source, tmp_path, capsys, harm, message):
    harm(source)
    assert convert() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error), error
    assert list((tmp_path / "data").glob("*")) == []


def test_trim_cuts_pictures_and_labels_the_end_of_a_film_without(convert, source, tmp_path, capsys):
    (images(source, "0001_oak_floor") / "000009.jpg").unlink()
    write_film(images(source, "0002_oak_floor") / "scan_video.avi", 10)
    write_film(images(source, "0003_oak_floor") / "scan_video.avi", 5)
    assert convert("--trim") == 0
    printed = capsys.readouterr().out
    assert f"note: 3 recordings had unequal lengths, most of all {KALLAX}/0002_oak_floor (difference 2)" in printed
    assert truth(tmp_path, "0001_oak_floor") == LABELS["0001_oak_floor"][1][:9]
    assert truth(tmp_path, "0002_oak_floor") == LABELS["0002_oak_floor"][1] + [NA, NA]
    assert truth(tmp_path, "0003_oak_floor") == LABELS["0003_oak_floor"][1][:5]


def test_the_end_of_a_film_may_be_the_only_frames_without_an_action(ikea, convert, source, tmp_path):
    ikea.TEST_VIDEOS = 29
    entry = {"subset": "training", "annotation": segments([PICK, PICK, SLIDE, SLIDE])}
    write_segments(source, {f"{KALLAX}/{scan}": entry for scan in LABELS})
    for number in range(4, 10):
        picture(source, number).unlink()
    for scan in (SECOND, THIRD):
        write_film(film(source, scan), 5)
    assert convert("--trim") == 0
    assert truth(tmp_path, SECOND) == [PICK, PICK, SLIDE, SLIDE, NA]
    assert (tmp_path / "data" / "ikea_asm" / "mapping" / "mapping.txt").read_text().startswith(f"0 {NA}\n")


def test_partial_takes_the_scans_that_are_there(convert, source, tmp_path, capsys):
    images(source, "0003_oak_floor").rename(source / "gone")
    write_film(images(source, "0004_unlabelled") / "scan_video.avi", 4)
    assert convert("--partial") == 0
    printed = capsys.readouterr().out
    assert "2 recordings, 18 frames, 3 classes" in printed
    assert f"note: 1 annotated scans have no film or pictures, e.g. {KALLAX}/0003_oak_floor" in printed
    assert f"note: 1 scans without annotation were left out, e.g. {KALLAX}/0004_unlabelled" in printed
    assert printed.count("found 2 videos, expected 3") == 1


def test_without_a_source_the_next_step_is_printed(ikea, tmp_path, capsys):
    assert ikea.main(["--root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "IkeaASM/IKEA_ASM_Dataset" in error and "python -m data_scripts.ikea_asm --source FOLDER" in error
    assert not any(tmp_path.iterdir())
