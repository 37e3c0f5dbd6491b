"""Recordings are decoded once, whole or not at all; labels and pictures are those of the frames that were taken."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.films.films import FPS, HEIGHT, WIDTH, Numbers, cut, make_folder, number, read, record
from vasot_kit.films import recordings as module
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.media import stream
from vasot_kit.films.recordings import Recording, make_dataset, read_recordings
from vasot_lib.data import Context
from vasot_lib.errors import DataError, InputError


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
    def interrupted(path: Path, fps: float | None, size: tuple[int, int], _: float) -> Iterator:
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


def test_the_bar_names_the_features_for_which_films_are_read(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_recordings([film], Appearance(), cache=film.parent / "cache")
    assert "reading films for appearance" in capsys.readouterr().err


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
