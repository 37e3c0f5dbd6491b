"""`vasot features`: films become a feature folder whose rows and labels are those of the frames that were taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.films.films import cut, make_folder, record
from vasot_kit.films import recordings
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.recordings import read_recordings
from vasot_kit.folders import load_folder
from vasot_kit.own_films import features as module
from vasot_kit.own_films.features import extract_features
from vasot_lib.errors import DataError, InputError

N = 30  # frames of each film, at 30 a second


def name_of(frame: int) -> str:
    return ("pour", "stir", "wait")[frame // 4 % 3]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A film and a folder of pictures of activity tea, with a label per frame."""
    root = tmp_path / "kitchen"
    for part in ("videos/tea", "groundTruth", "mapping"):
        (root / part).mkdir(parents=True)
    record(root / "videos" / "tea" / "one.mp4", n=N)
    make_folder(root / "videos" / "tea" / "two.b", range(N))
    for name in ("one", "two.b"):
        (root / "groundTruth" / name).write_text("".join(f"{name_of(frame)}\n" for frame in range(N)))
    (root / "mapping" / "mapping.txt").write_text("0 never\n1 wait\n2 pour\n3 stir\n")
    return root


def extract(folder: Path, out: Path, **options) -> Path:
    return extract_features(folder, out, progress=False, **{"features": "appearance", **options})


@pytest.mark.parametrize("fps", [None, 10.0, 7.0])
def test_labels_are_those_of_the_frames_that_were_taken(labelled: Path, tmp_path: Path, fps: float | None) -> None:
    (labelled / "splits").mkdir()
    for part, name in (("train", "two.b"), ("val", "one")):
        (labelled / "splits" / f"{part}.txt").write_text(f"tea/{name}\n")
    out = extract(labelled, tmp_path / "out", fps=fps)
    dataset = load_folder(out)
    assert [video.part for video in dataset.videos] == ["val", "train"]
    assert [(video.name, video.activity) for video in dataset.videos] == [("one", "tea"), ("two.b", "tea")]
    assert dataset.classes == ("wait", "pour", "stir")  # the order of the mapping
    films = [labelled / "videos" / "tea" / name for name in ("one.mp4", "two.b")]
    for video, recording in zip(dataset.videos, read_recordings(films, Appearance(), fps=fps), strict=True):
        taken = range(N) if fps is None else [int(k * 30 / fps + 1e-6) for k in range(int(np.ceil(fps)))]
        assert recording.index.tolist() == list(taken)
        assert np.array_equal(video.features, recording.features)
        assert [dataset.classes[label] for label in video.labels] == [name_of(frame) for frame in taken]


def test_labels_as_people_have_them(labelled: Path, tmp_path: Path) -> None:
    expected = load_folder(extract(labelled, tmp_path / "out"))
    (labelled / "groundTruth" / "one").unlink()
    segments = "".join(f"{at} {min(at + 4, N)} {name_of(at)}\n" for at in range(0, N, 4))
    (labelled / "groundTruth" / "one.txt").write_text(segments, encoding="utf-8-sig")
    (labelled / "mapping" / "mapping.txt").write_text("0 never\r\n1 wait\r\n2 pour\r\n3 stir\r\n", encoding="utf-8-sig")
    (labelled / "videos" / "tea" / "._one.mp4").write_bytes(b"Mac OS X")
    (labelled / "splits").mkdir()
    (labelled / "splits" / "._all.txt").write_bytes(b"\xff\xfe")
    (labelled / "splits" / "all.txt").write_text("tea/one\ntea/two.b\n", encoding="utf-8-sig")
    found = load_folder(extract(labelled, tmp_path / "again"))
    assert found.classes == expected.classes
    for video, other in zip(found.videos, expected.videos, strict=True):
        assert np.array_equal(video.features, other.features) and np.array_equal(video.labels, other.labels)


def test_films_without_labels_become_features_alone(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    record(folder / "b.mp4", n=N), make_folder(folder / "a.1", range(9)), make_folder(folder / "a.2", range(7))
    dataset = load_folder(extract(folder, tmp_path / "out"))
    assert [(video.name, len(video), video.labels) for video in dataset.videos] == [
        ("a.1", 9, None), ("a.2", 7, None), ("b", N, None),
    ]  # fmt: skip
    assert (dataset.classes, dataset.n_actions) == ((), 0)
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["features", "features.json"]


def test_what_was_extracted_is_not_opened_again(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_folder(extract(labelled, tmp_path / "out", fps=6))
    for opens in ("stream", "probe"):
        monkeypatch.setattr(recordings, opens, None)
    again = load_folder(extract(labelled, tmp_path / "again", fps=6))
    assert again.checksum() == first.checksum()
    with pytest.raises(TypeError):  # something else is asked for: now it has to be opened
        extract(labelled, tmp_path / "other", fps=5)


def test_a_folder_that_exists_is_refused_before_anything_is_read(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_recordings", None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="out already exists; remove it first"):
        extract(labelled, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no films", "films holds no films; put video files or folders of pictures there"),
        ("no folder", "films does not exist"),
        ("damaged", r"b\.mp4"),
        ("twins", r"b\.avi and .*b\.mp4 have one name"),
    ],
)
def test_what_cannot_be_extracted_leaves_nothing(tmp_path: Path, how: str, message: str) -> None:
    folder = tmp_path / "films"
    if how != "no folder":
        folder.mkdir()
    if how in ("damaged", "twins"):
        film = record(folder / "b.mp4", n=N)
        record(folder / "a.mp4", n=N)
    if how == "damaged":
        cut(film, film.stat().st_size // 2)
    if how == "twins":
        record(folder / "b.avi", n=3)
    with pytest.raises(DataError, match=message) as refused:
        extract(folder, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "films"] == []


def test_twins_in_two_activities_are_refused(labelled: Path, tmp_path: Path) -> None:
    (labelled / "videos" / "coffee").mkdir()
    record(labelled / "videos" / "coffee" / "one.mp4", n=N)
    with pytest.raises(DataError, match=r"coffee/one\.mp4 and .*tea/one\.mp4 have one name"):
        extract(labelled, tmp_path / "out")


def test_unknown_features_are_refused(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="features are 'clip'; use motion, appearance, pose, network or library:model"):
        extract(labelled, tmp_path / "out", features="clip")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fps", [None, 10.0])
@pytest.mark.parametrize("difference", [-7, 5])
def test_films_and_labels_of_other_lengths_are_cut_to_the_shorter(
    labelled: Path, tmp_path: Path, difference: int, fps: float | None
) -> None:
    lines = "".join(f"{name_of(frame)}\n" for frame in range(N + difference))
    (labelled / "groundTruth" / "one").unlink()
    (labelled / "groundTruth" / "one.txt").write_text(lines)  # with a suffix, as load_folder takes them too
    with pytest.raises(DataError, match=r"correct one of them, or cut to the shorter with --trim"):
        extract(labelled, tmp_path / "out", fps=fps)
    dataset = load_folder(extract(labelled, tmp_path / "out", fps=fps, trim=True))
    step, (one, two) = (1 if fps is None else 3), dataset.videos
    taken = range(0, min(N, N + difference), step)
    assert (len(one), len(two)) == (len(taken), N // step)
    assert [dataset.classes[label] for label in one.labels] == [name_of(frame) for frame in taken]
