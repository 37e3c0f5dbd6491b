"""Recordings are decoded once, whole or not at all; labels and pictures are those of the frames that were taken."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.films.films import HEIGHT, WIDTH, cut, make_folder, number, record
from vasot_kit.films import recordings as module
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.media import stream
from vasot_kit.films.recordings import Recording, load_recordings, make_dataset, read_recordings
from vasot_lib.data import Context, Dataset
from vasot_lib.errors import DataError, InputError

FPS = 30


@dataclass
class Numbers:
    """The number that a picture shows, and the rate that was said; interrupted after so many pictures."""

    name: str = "numbers"
    side: int = WIDTH
    one_process: bool = True
    interrupt: int | None = None

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        seen = []
        for picture in pictures:
            if len(seen) == self.interrupt:
                raise KeyboardInterrupt
            seen.append((number(picture), fps))
        return np.array(seen, dtype=np.float64)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return record(tmp_path / "a.mp4", fps=FPS)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of every film whose decoding begins."""
    names: list[str] = []

    def watched(path: Path, *rest: object) -> Iterator:
        names.append(path.name)
        return stream(path, *rest)

    monkeypatch.setattr(module, "stream", watched)
    return names


def read(*paths: Path, **options) -> list[Recording]:
    extractor = options.pop("extractor", Numbers())
    return read_recordings(paths, extractor, cache=paths[0].parent / "cache", progress=False, **options)


def shown(recording: Recording) -> list[int]:
    return recording.features[:, 0].int().tolist()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_every_frame_of_a_film(film: Path) -> None:
    (recording,) = read(film)
    assert (recording.name, recording.path) == ("a", film) and recording.frames is None
    assert shown(recording) == recording.index.tolist() == list(range(30))
    assert recording.times == pytest.approx(np.arange(30) / FPS)
    assert recording.features.dtype == torch.float32 and (recording.features[:, 1] == FPS).all()


@pytest.mark.parametrize("fps", [60.0, 15.0, 7.0])
def test_samples_are_the_frames_that_are_shown_then(film: Path, fps: float) -> None:
    (recording,) = read(film, fps=fps)
    k = np.arange(len(recording.times))
    assert recording.times == pytest.approx(k / fps) and len(k) == np.ceil(fps)
    assert shown(recording) == recording.index.tolist() == np.floor(k / fps * FPS + 1e-6).astype(int).tolist()
    assert (recording.features[:, 1] == fps).all()


@pytest.mark.parametrize("fps", [None, 7.0])
def test_kept_pictures_are_the_streamed_ones(film: Path, fps: float | None) -> None:
    size = (24, 32)
    (recording,) = read(film, fps=fps, size=size)
    assert isinstance(recording.frames, np.memmap) and not recording.frames.flags.writeable
    assert np.array_equal(recording.frames, [frame.picture for frame in stream(film, fps, size)])
    assert [number(picture) for picture in recording.frames] == shown(recording)


def test_an_extractor_gets_the_side_that_it_asks_for(tmp_path: Path) -> None:
    class Shapes(Numbers):
        def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
            return np.array([picture.shape for picture in pictures])

    film, upright = record(tmp_path / "a.mp4", n=3), make_folder(tmp_path / "b", range(3))
    for side, height in ((WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2), (2 * WIDTH, 2 * HEIGHT)):
        for path in (film, upright):
            (recording,) = read(path, extractor=Shapes(side=side))
            assert recording.features.tolist() == [[height, side, 3]] * 3


# ---- the cache


def test_a_film_is_decoded_once(film: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(film, size=(24, 32))[0]
    assert decoded == ["a.mp4"] * 2  # for the features, and for the pictures in another size
    decoded.clear()
    copy = film.with_name("b.mp4")
    copy.write_bytes(film.read_bytes())
    for path in (film, copy):  # what a film holds counts, not its name
        again = read(path, size=(24, 32))[0]
        assert torch.equal(first.features, again.features) and np.array_equal(first.frames, again.frames)
        assert np.array_equal(first.times, again.times) and again.path == path
    assert decoded == []
    monkeypatch.setattr(module, "probe", None)  # not even opened
    read(film, copy, size=(24, 32))


def test_a_film_that_is_named_twice_is_decoded_once(film: Path, decoded: list[str]) -> None:
    assert [shown(recording) for recording in read(film, film)] == [list(range(30))] * 2
    assert decoded == ["a.mp4"]


def test_what_the_features_depend_on_is_the_key(film: Path, decoded: list[str]) -> None:
    read(film)
    for change in (dict(fps=10.0), dict(fps=5.0), dict(extractor=Numbers("other")), dict(extractor=Numbers(side=32))):
        decoded.clear()
        read(film, **change)
        assert decoded == ["a.mp4"], change
    decoded.clear()
    for size in ((24, 32), (32, 24)):
        assert read(film, size=size)[0].frames.shape == (30, *size, 3)
    assert decoded == ["a.mp4"] * 2  # pictures only: the features are there
    decoded.clear()
    record(film, n=20)
    assert shown(read(film)[0]) == list(range(20)) and decoded == ["a.mp4"]


def test_the_cache_of_the_kit_is_where_it_is_said_to_be(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(film.parent / "elsewhere"))
    read_recordings([film], Numbers(), progress=False)
    assert len(files(film.parent / "elsewhere" / "recordings")) == 1


def test_an_interrupted_description_leaves_nothing_and_goes_on(tmp_path: Path, decoded: list[str]) -> None:
    films = [record(tmp_path / f"{k}.mp4", n=10 + k) for k in range(3)]
    # of 10, 11 and 12 frames; the second is interrupted at its last
    with pytest.raises(KeyboardInterrupt):
        read(*films, extractor=Numbers(interrupt=10), workers=1)
    assert len(files(tmp_path / "cache")) == 1
    decoded.clear()
    assert [len(shown(recording)) for recording in read(*films)] == [10, 11, 12]
    assert decoded == ["1.mp4", "2.mp4"]


def test_interrupted_pictures_leave_nothing_and_go_on(
    film: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path, fps: float | None, size: tuple[int, int]) -> Iterator:
        for frame in stream(path, fps, size):
            if frame.index == 5 and size == (24, 32):
                raise KeyboardInterrupt
            yield frame

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "stream", interrupted)
        read(film, size=(24, 32))
    assert [name.partition("-")[0] for name in files(film.parent / "cache")] == ["features"]
    assert [number(picture) for picture in read(film, size=(24, 32))[0].frames] == list(range(30))
    assert decoded == ["a.mp4"]  # for the pictures


@pytest.mark.slow
def test_several_processes_give_what_one_gives(tmp_path: Path) -> None:
    films = [record(tmp_path / f"{k}.mp4", n=10 + k) for k in range(3)]
    alone, together = (
        read_recordings(films, Appearance(), size=(24, 32), cache=tmp_path / str(n), workers=n, progress=False)
        for n in (1, 2)
    )
    assert [recording.name for recording in together] == ["0", "1", "2"]
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.features, other.features) and np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.index, other.index) and np.array_equal(one.times, other.times)
    # a damaged film is named from a process of its own too
    cut(films[2], films[2].stat().st_size // 2)
    films[0] = record(films[0], n=5)
    with pytest.raises(DataError, match="2.mp4 is damaged or truncated") as failure:
        read_recordings(films, Appearance(), cache=tmp_path / "2", workers=2, progress=False)
    assert "\n" not in str(failure.value)


def test_a_damaged_film_is_named_and_the_others_stay(tmp_path: Path, decoded: list[str]) -> None:
    films = [record(tmp_path / f"{k}.mp4", n=60 - k) for k in range(3)]
    cut(films[1], films[1].stat().st_size // 2)
    with pytest.raises(DataError, match=r"1\.mp4 is damaged or truncated: \d+ of 59 frames") as failure:
        read(*films, workers=1)
    assert "\n" not in str(failure.value)
    assert len(files(tmp_path / "cache")) == 1  # the first one
    record(films[1], n=59)
    decoded.clear()
    assert [len(shown(recording)) for recording in read(*films, workers=1)] == [60, 59, 58]
    assert decoded == ["1.mp4", "2.mp4"]


def test_pictures_that_the_disk_cannot_hold_are_refused_before_anything_is_decoded(
    film: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need = 30 * 24 * 32 * 3
    for free, fits in ((need, False), (2 * need, True)):
        usage = namedtuple("usage", "total used free")(0, 0, free)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _, usage=usage: usage)
        if fits:
            assert len(read(film, size=(24, 32))[0].frames) == 30
        else:
            with pytest.raises(DataError, match="pictures of 1 recordings take .* GB left; lower fps or size, or set"):
                read(film, size=(24, 32))
            assert decoded == []
            assert shown(read(film)[0]) == list(range(30))  # features are small


def test_what_cannot_be_read_is_refused(film: Path) -> None:
    with pytest.raises(InputError, match="0 recordings and workers None; give at least one"):
        read_recordings([], Numbers())
    with pytest.raises(InputError, match="1 recordings and workers 0; give at least one"):
        read(film, workers=0)
    with pytest.raises(DataError, match="b.mp4 does not exist"):
        read(film, film.with_name("b.mp4"))
    with pytest.raises(DataError, match="a.mp4 gives 1 frame at 0.5 fps; raise the rate or leave it out"):
        read(film, fps=0.5)


# ---- data sets


def test_recordings_without_labels_are_a_data_set(tmp_path: Path) -> None:
    films = [record(tmp_path / f"{name}.mp4", n=n) for name, n in (("a", 12), ("b", 15))]
    found = read(*films, size=(24, 32))
    dataset = make_dataset("takes", found, n_actions=3, activity="tea")
    assert (dataset.name, dataset.n_actions) == ("takes", 3)
    assert [(video.name, len(video), video.activity) for video in dataset.videos] == [
        ("a", 12, "tea"),
        ("b", 15, "tea"),
    ]
    assert dataset.videos[0].labels is None
    seen = dataset.as_pictures(Context(frames=2, stride=4)).videos[1].encoder_input(torch.tensor([9, 2]))
    assert [[number(picture) for picture in pictures] for pictures in seen.numpy()] == [[5, 9], [0, 2]]
    with pytest.raises(DataError, match="two recordings are named 'a'; rename one of them"):
        make_dataset("takes", [found[0], found[0]])


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
