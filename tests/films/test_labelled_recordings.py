"""Labels of films and folders of pictures are those of the frames that were taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.films.films import FPS, Numbers, make_folder, number, read, record
from vasot_kit.films.recordings import load_recordings
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError, InputError

STEPS = ("boil", "pour", "stir", "idle")


def step(frame: int) -> str:
    """The label of a frame: ten of each step, then idle."""
    return STEPS[min(frame // 10, 3)]


def labelled(root: Path, kind: str = "videos", lengths: dict[str, int] | None = None) -> Path:
    """A data set in the layout of the alignment data sets; labels tell the frames."""
    for key, n in (lengths or {"tea/b": 30, "tea/a": 35, "milk/c": 25}).items():
        film, truth = root / kind / key, root / "groundTruth" / key
        for folder in (film.parent, truth.parent):
            folder.mkdir(parents=True, exist_ok=True)
        make_folder(film, range(n)) if kind == "frames" else record(film.with_suffix(".mp4"), n=n, fps=FPS)
        truth.write_text("".join(f"{step(frame)}\n" for frame in range(n)))
    (root / "mapping").mkdir()
    (root / "mapping" / "mapping.txt").write_text("0 idle\n1 never\n2 boil\n3 pour\n4 stir\n")
    return root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    return tmp_path / "kitchen"


def names(dataset: Dataset, video: int) -> list[str]:
    return [dataset.classes[label] for label in dataset.videos[video].labels.tolist()]


@pytest.mark.parametrize("kind", ["videos", "frames"])
@pytest.mark.parametrize("fps", [None, 60.0, 11.0])
def test_labels_are_those_of_the_frames_that_were_taken(folder: Path, kind: str, fps: float | None) -> None:
    dataset = load_recordings(labelled(folder, kind), Numbers(), fps=fps, size=(24, 32), ordered=True)
    assert (dataset.name, dataset.ordered, dataset.background) == ("kitchen", True, None)
    assert dataset.classes == ("idle", "boil", "pour", "stir") and dataset.n_actions == 4  # what occurs, as mapped
    found = [(video.name, video.activity, len(video)) for video in dataset.videos]
    rate = fps or FPS
    expected = (("c", "milk", 25), ("a", "tea", 35), ("b", "tea", 30))
    assert found == [(name, activity, -(-n * rate // FPS)) for name, activity, n in expected]
    for place, video in enumerate(dataset.videos):
        seen = [number(picture) for picture in video.frames]
        assert seen == video.features[:, 0].int().tolist()
        assert names(dataset, place) == [step(frame) for frame in seen]


def test_one_activity_background_and_number_of_actions(folder: Path) -> None:
    root = labelled(folder)
    dataset = load_recordings(root, Numbers(), name="tea", activity="tea", background="idle")
    assert (dataset.name, dataset.n_actions) == ("tea", 3) and dataset.classes[dataset.background] == "idle"
    assert [video.name for video in dataset.videos] == ["a", "b"]
    assert {video.activity for video in dataset.videos} == {"tea"}
    assert load_recordings(root, Numbers(), activity="tea", n_actions=7).n_actions == 7
    assert load_recordings(root, Numbers(), background="never").classes[1] == "never"
    with pytest.raises(InputError, match="background is 'wait'; the mapping has idle, never, boil"):
        load_recordings(root, Numbers(), background="wait")
    with pytest.raises(DataError, match="soup does not exist"):
        load_recordings(root, Numbers(), activity="soup")


@pytest.mark.parametrize("kind", ["videos", "frames"])
def test_recordings_without_activities_lie_in_one_folder(folder: Path, kind: str) -> None:
    root = labelled(folder, kind, {"b": 12, "a": 15})
    (root / kind / ".trash").mkdir()
    make_folder(root / kind / ".trash" / "c", range(3))
    dataset = load_recordings(root, Numbers())
    assert [(video.name, video.activity, len(video)) for video in dataset.videos] == [("a", "", 15), ("b", "", 12)]


def test_labels_may_lie_beside_the_activities(folder: Path) -> None:
    root = labelled(folder)
    for truth in list((root / "groundTruth").glob("*/*")):
        truth.rename(root / "groundTruth" / truth.name)
    assert names(load_recordings(root, Numbers()), 1) == [step(frame) for frame in range(35)]


@pytest.mark.parametrize(("more", "difference"), [(2, r"\+2"), (-3, "-3")])
def test_labels_of_another_length_are_refused(folder: Path, more: int, difference: str) -> None:
    root = labelled(folder, lengths={"a": 30})
    (root / "groundTruth" / "a").write_text("boil\n" * (30 + more))
    says = rf"groundTruth/a has {30 + more} labels but a.mp4 has 30 frames \(difference {difference}\); correct one"
    with pytest.raises(DataError, match=says):
        load_recordings(root, Numbers())


@pytest.mark.parametrize(("n", "fits"), [(27, False), (28, True), (30, True), (31, True), (36, False)])
def test_of_a_sampled_film_the_length_is_known_to_a_sample(folder: Path, n: int, fits: bool) -> None:
    """At 10 fps the last sample is frame 27, and 28 or 29 may come after it."""
    root = labelled(folder, lengths={"a": 30})
    (root / "groundTruth" / "a").write_text("boil\n" * n)
    if fits:
        assert names(load_recordings(root, Numbers(), fps=10.0), 0) == ["boil"] * 10
    else:
        with pytest.raises(DataError, match=f"has {n} labels but a.mp4 has 28 frames"):
            load_recordings(root, Numbers(), fps=10.0)


@pytest.mark.parametrize("fps", [None, 10.0, 7.0])
def test_labels_may_be_times_in_seconds(folder: Path, fps: float | None) -> None:
    """A sample has the name of the interval in which it is shown, however the film was sampled."""
    root = labelled(folder, lengths={"a": 35})
    expected = load_recordings(root, Numbers(), fps=fps)
    ends = (10 / FPS, 20 / FPS, 30 / FPS, 35 / FPS)
    lines = [f"{at:.3f}\t{end:.3f}\t{name}\n" for at, end, name in zip((0.0, *ends), ends, STEPS, strict=False)]
    (root / "groundTruth" / "a").write_text("".join(lines))
    dataset = load_recordings(root, Numbers(), fps=fps)
    assert dataset.classes == expected.classes and names(dataset, 0) == names(expected, 0)
    (root / "groundTruth" / "a").write_text("0.0 0.8 boil\n")
    with pytest.raises(DataError, match=r"a ends at 0.8 s but a.mp4 at 1.1\d s; correct one of them, or cut to the"):
        load_recordings(root, Numbers())
    (root / "groundTruth" / "a").write_text("0.0 5.0 boil\n")
    with pytest.raises(DataError, match="a ends at 5 s but a.mp4 at 1.1"):
        load_recordings(root, Numbers())
    (root / "groundTruth" / "a").write_text("0.0 0.5 boil\n0.6 1.2 pour\n")
    with pytest.raises(DataError, match="a has no interval at 0.500 s"):
        load_recordings(root, Numbers())


def test_times_of_labels_count_from_the_beginning_of_the_file(folder: Path) -> None:
    """As players show them: the first picture of this film comes half a second after its sound."""
    root = labelled(folder, lengths={"a": 30})
    late = [500 + round(1000 * k / FPS) for k in range(30)]
    record(root / "videos" / "a.mkv", n=30, fps=FPS, stamps=late, sound=1.6)
    (root / "videos" / "a.mp4").unlink()
    (root / "groundTruth" / "a").write_text("0.0 1.0 boil\n1.0 1.5 pour\n")
    (recording,) = read(root / "videos" / "a.mkv")
    assert recording.start == pytest.approx(0.5, abs=0.02)
    assert names(load_recordings(root, Numbers()), 0) == ["boil"] * 15 + ["pour"] * 15


def test_a_folder_of_pictures_has_no_times(folder: Path) -> None:
    root = labelled(folder, "frames", {"a": 12})
    (root / "groundTruth" / "a").write_text("0.0 0.2 boil\n0.2 0.4 pour\n")
    with pytest.raises(DataError, match="a has time intervals, but a folder of pictures has no times; give numbers of"):
        load_recordings(root, Numbers())


def test_what_is_missing_or_unknown_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="kitchen has neither videos/ nor frames/; put the recordings there"):
        load_recordings(folder, Numbers())
    root = labelled(folder)
    truth = root / "groundTruth" / "tea" / "a"
    whole = truth.read_text()
    truth.write_text(whole.replace("stir", "sitr"))
    with pytest.raises(DataError, match="label 'sitr' in .*tea/a is not in the mapping; add it there or correct"):
        load_recordings(root, Numbers())
    truth.unlink()
    with pytest.raises(DataError, match="groundTruth/tea/a is missing; add the labels of a.mp4 or remove"):
        load_recordings(root, Numbers())
    (root / "videos" / "soup").mkdir()
    with pytest.raises(DataError, match="videos holds no recordings of soup; put them there"):
        load_recordings(root, Numbers(), activity="soup")
    (root / "mapping" / "mapping.txt").unlink()
    with pytest.raises(DataError, match="mapping.txt is missing"):
        load_recordings(root, Numbers())


def test_no_recording_is_lost_to_one_of_the_same_name(folder: Path) -> None:
    root = labelled(folder, lengths={"a": 12})
    record(root / "videos" / "a.avi", n=14, codec="mpeg4")
    with pytest.raises(DataError, match="a.avi and a.mp4 beside it have one name; keep one of them"):
        load_recordings(root, Numbers())


def test_the_name_of_a_folder_has_no_suffix(folder: Path) -> None:
    root = labelled(folder, "frames", {"take.1": 12, "take.2": 15})
    dataset = load_recordings(root, Numbers())
    assert [(video.name, len(video)) for video in dataset.videos] == [("take.1", 12), ("take.2", 15)]
