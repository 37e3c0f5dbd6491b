"""Films are written whole or not at all, in constant memory; files are hashed and found."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from tests.films.films import HEIGHT, WIDTH, make_folder, numbers, picture
from vasot_kit.films.media import content_hash, stream, video_files, write_video
from vasot_lib.errors import DataError, InputError


def boxes(file: Path) -> list[str]:
    raw, at, found = file.read_bytes(), 0, []
    while at < len(raw):
        found.append(raw[at + 4 : at + 8].decode())
        at += struct.unpack_from(">I", raw, at)[0]
    return found


@pytest.mark.parametrize("shape", [(48, 64), (47, 64), (48, 63), (47, 63), (1, 1)])
def test_a_written_video_plays_in_browsers(tmp_path, shape):
    image = picture(3)[: shape[0], : shape[1]]
    file = write_video(tmp_path / "a.mp4", [image] * 4, fps=29.97)
    order = boxes(file)
    assert order.index("moov") < order.index("mdat")
    with av.open(str(file)) as container:
        film = container.streams.video[0]
        assert (film.codec_context.name, film.pix_fmt) == ("h264", "yuv420p")
        assert film.average_rate == Fraction(2997, 100)
    # odd sizes are padded, nothing is cut away
    height, width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
    read = next(stream(file)).picture.astype(int)
    assert read.shape == (height, width, 3)
    assert np.abs(read[: shape[0], : shape[1]] - image).mean() < 12
    assert np.abs(read[-1] - image[-1, np.minimum(np.arange(width), shape[1] - 1)]).mean() < 25


def failing(n: int) -> Iterator[np.ndarray]:
    for k in range(n):
        yield picture(k)
    raise RuntimeError("the renderer failed")


def test_a_video_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError, match="the renderer failed"):
        write_video(tmp_path / "a.mp4", failing(80), fps=10)
    assert list(tmp_path.iterdir()) == []
    file = write_video(tmp_path / "a.mp4", [picture(9)] * 3, fps=10)
    before = file.read_bytes()
    with pytest.raises(RuntimeError, match="the renderer failed"):
        write_video(file, failing(80), fps=10)
    assert list(tmp_path.iterdir()) == [file] and file.read_bytes() == before


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        ([], "no pictures for .*a.mp4; a video needs at least one"),
        ([picture(0), picture(1)[:40]], r"picture 1 of .*a.mp4 has shape \(40, 64, 3\), the first \(48, 64, 3\)"),
        ([picture(0)[..., 0]], r"picture 0 of .*a.mp4 is uint8 \(48, 64\); give uint8 \(H, W, 3\)"),
        ([picture(0) / 255], r"picture 0 of .*a.mp4 is float64"),
        ([picture(0)[:0]], r"picture 0 of .*a.mp4 is uint8 \(0, 64, 3\)"),
    ],
)
def test_pictures_that_make_no_video_are_refused(tmp_path, pictures, says):
    with pytest.raises(InputError, match=says):
        write_video(tmp_path / "a.mp4", iter(pictures), fps=10)
    assert list(tmp_path.iterdir()) == []


def test_only_mp4_is_written(tmp_path):
    with pytest.raises(InputError, match=r"a.webm does not end in .mp4"):
        write_video(tmp_path / "a.webm", [picture(0)], fps=10)


# ---- memory


def test_memory_stays_constant_over_a_long_video(tmp_path):
    alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
    most = 0

    def watched(k: int, image: np.ndarray) -> np.ndarray:
        nonlocal most
        alive[k] = image
        most = max(most, len(alive))
        return image

    def film() -> Iterator[np.ndarray]:
        for k in range(300):
            yield watched(k, np.full((240, 320, 3), k % 256, np.uint8))

    file = write_video(tmp_path / "a.mp4", film(), fps=50)
    assert most <= 3
    most, n = 0, 0
    list(stream(file, fps=1))  # the decoder's own memory
    before = psutil.Process().memory_info().rss
    for frame in stream(file):
        watched(frame.index, frame.picture)
        n += 1
    # 300 pictures of 230 kB are 69 MB, and 35 MB before they are converted
    assert n == 300 and most <= 3 and psutil.Process().memory_info().rss - before < 20e6


# ---- files


def test_a_hash_depends_on_names_and_bytes_only(tmp_path):
    file = write_video(tmp_path / "a.mp4", [picture(0)] * 2, fps=10)
    copy = tmp_path / "b.mp4"
    copy.write_bytes(file.read_bytes())
    assert content_hash(file) == content_hash(copy) and len(content_hash(file)) == 16
    # sha256 of "abc" (FIPS 180-2)
    copy.write_bytes(b"abc")
    assert content_hash(copy) == "ba7816bf8f01cfea"
    folder, twin = make_folder(tmp_path / "one", range(3)), make_folder(tmp_path / "two", range(3))
    (twin / "notes.txt").touch()
    assert content_hash(folder) == content_hash(twin) != content_hash(file)
    (twin / "frame2.png").rename(twin / "frame3.png")
    assert content_hash(folder) != content_hash(twin)
    (twin / "frame3.png").rename(twin / "frame2.png")
    (twin / "frame2.png").write_bytes(b"other")
    assert content_hash(folder) != content_hash(twin)
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="does not exist|holds no"):
            content_hash(path)


def test_recordings_of_a_folder_come_in_natural_order(tmp_path):
    for name in ("take10.mp4", "take2.MOV", "Take1.webm", "notes.txt", ".take3.mp4", "take4.png"):
        (tmp_path / name).touch()
    make_folder(tmp_path / "take3", [0])
    make_folder(tmp_path / ".take5", [0])
    (tmp_path / "labels").mkdir()
    (tmp_path / "deep" / "take6").mkdir(parents=True)
    (tmp_path / "folder.mp4").mkdir()
    assert [path.name for path in video_files(tmp_path)] == ["Take1.webm", "take2.MOV", "take3", "take10.mp4"]
    assert video_files(tmp_path / "labels") == []
    with pytest.raises(DataError, match="does not exist"):
        video_files(tmp_path / "none")
    with pytest.raises(DataError, match="take10.mp4 is not a folder"):
        video_files(tmp_path / "take10.mp4")


@pytest.mark.parametrize(
    ("suffix", "codec", "kind"),
    [("gif", "gif", None), ("m2ts", "libx264", "mpegts"), ("vob", "mpeg2video", None), ("mjpeg", "mjpeg", None),
     ("mjpg", "mjpeg", "mjpeg"), ("asf", "wmv2", None), ("mxf", "mpeg2video", None), ("3g2", "mpeg4", None),
     ("f4v", "libx264", "mp4"), ("qt", "libx264", "mov"), ("divx", "mpeg4", "avi"), ("mpe", "mpeg2video", "mpeg"),
     ("m2v", "mpeg2video", None)],
)  # fmt: skip
def test_what_can_be_read_is_found_in_a_folder(tmp_path, suffix, codec, kind):
    file = tmp_path / f"a.{suffix}"
    pixels = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    with av.open(str(file), "w", format=kind) as target:
        film = target.add_stream(codec, rate=30)
        film.width, film.height, film.pix_fmt = WIDTH, HEIGHT, pixels
        for k in range(10):
            frame = av.VideoFrame.from_ndarray(picture(k)).reformat(format=pixels)
            frame.pts, frame.time_base = k, Fraction(1, 30)
            target.mux(film.encode(frame))
        target.mux(film.encode())
    assert video_files(tmp_path) == [file] and numbers(file) == list(range(10))
