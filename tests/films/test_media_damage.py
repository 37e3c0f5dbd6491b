"""Damaged, truncated and foreign files: what is good is read, then one line says what is wrong."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.films.films import cut, make_folder, numbers, packets, picture, read_until_error, record
from vasot_kit.films.media import probe, stream, write_video
from vasot_lib.errors import DataError


def test_a_truncated_mp4_gives_what_is_there_and_says_how_much(tmp_path):
    file = record(tmp_path / "a.mp4", n=120, bf="0")
    ends = [packet.pos + packet.size for packet in packets(file)]
    whole = file.read_bytes()
    size = len(whole) * 6 // 10
    n = sum(end <= size for end in ends)
    assert 20 < n < 100 and size not in ends
    seen, message = read_until_error(cut(file, size))
    assert seen == list(range(n))
    assert f"{n} of 120 frames ({n / 30:.2f} of 4.00 s)" in message
    assert "then a packet is incomplete; copy it again" in message
    for step in (1, 3):  # what was read comes first there too
        assert read_until_error(file, fps=30 / step)[0] == list(range(0, n, step))
    file.write_bytes(whole[: ends[11]])  # no packet is broken, they only end
    seen, message = read_until_error(file)
    assert seen == list(range(12)) and "12 of 120 frames (0.40 of 4.00 s) could be read, then it ends" in message


def test_the_count_tells_a_truncated_avi(tmp_path):
    file = record(tmp_path / "a.avi", n=120, codec="mpeg4")
    last = packets(file)[100]
    cut(file, last.pos + last.size)
    with av.open(str(file)) as container:  # FFmpeg shortens the stated duration to fit the size of the file
        assert container.duration / av.time_base < 101 / 30
    seen, message = read_until_error(file)
    assert seen == list(range(101)) and "101 of 120 frames" in message


@pytest.mark.parametrize(("missing", "raises"), [(2, False), (3, True)])
def test_a_container_may_be_off_by_two_frames(tmp_path, missing, raises):
    file = record(tmp_path / "a.mp4", bf="0")
    last = packets(file)[-missing - 1]
    cut(file, last.pos + last.size)
    if raises:
        assert "27 of 30 frames" in read_until_error(file)[1]
    else:
        assert numbers(file) == list(range(28))


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")])
def test_a_truncated_matroska_file_is_told_by_its_duration(tmp_path, name, codec):
    file = record(tmp_path / name, n=60, codec=codec)
    cut(file, file.stat().st_size * 6 // 10)
    seen, message = read_until_error(file)
    n = len(seen)
    assert 0 < n < 57 and seen == list(range(n))
    assert f"{n} frames ({n / 30:.2f} of 2.00 s) could be read" in message


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mkv", "libvpx-vp9", {}),
        ("a.avi", "mpeg4", {}),
        ("a.mp4", "libx265", {"x265-params": "log-level=none"}),  # FFmpeg drops damaged frames by default
    ],
)
def test_damage_in_the_middle_is_never_passed_over(tmp_path, name, codec, options):
    file = record(tmp_path / name, codec=codec, **options)
    broken = packets(file)[15]
    raw = bytearray(file.read_bytes())
    rest = range(broken.pos + broken.size // 3, broken.pos + broken.size)
    raw[rest.start : rest.stop] = np.random.default_rng(1).bytes(len(rest))
    file.write_bytes(raw)
    seen, message = read_until_error(file)
    assert 5 < len(seen) <= 20 and seen == list(range(len(seen)))
    assert f"{len(seen)} of 30 frames" in message or f"{len(seen)} frames" in message


def make_bad(folder: Path, what: str) -> Path:
    file = folder / "bad.mp4"
    match what:
        case "empty":
            file.touch()
        case "garbage":
            file.write_bytes(np.random.default_rng(0).bytes(5000))
        case "text":
            file.write_text("not a video\n" * 50)
        case "text that FFmpeg would film":
            file = folder / "bad.txt"
            file.write_text("not a video\n" * 50)
        case "picture":
            file = folder / "bad.png"
            Image.fromarray(picture(1)).save(file)
        case "no index":
            write_video(file, [picture(k) for k in range(30)], fps=10)
            raw = file.read_bytes()
            file.write_bytes(raw.replace(b"moov", b"lost"))
        case "cut before the index":
            record(file, container={"movflags": "-faststart"})
            cut(file, file.stat().st_size * 6 // 10)
        case "no video frame":
            record(file)
            cut(file, packets(file)[0].pos)
        case "sound":
            with av.open(str(file), "w") as target:
                voice = target.add_stream("aac", rate=8000, layout="mono")
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
                samples.sample_rate, samples.pts = 8000, 0
                target.mux(voice.encode(samples))
                target.mux(voice.encode())
        case "no pictures":
            file = folder / "pictures"
            file.mkdir()
            (file / "notes.txt").touch()
        case "deep pictures":
            file = make_folder(folder / "pictures", [0])
            Image.fromarray(np.zeros((4, 4), np.uint16)).save(file / "0.png")
    return file


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "does not exist; check the path"),
        ("empty", r"is empty \(0 bytes\); copy it again"),
        ("garbage", "is not a video of a known format .*convert"),
        ("text", "is not a video of a known format .*convert"),
        ("text that FFmpeg would film", r"is not a video \(tty\); give a video file"),
        ("picture", "is not a video .*or a folder of pictures"),
        ("no index", r"has no usable index \(moov\).*copy it again"),
        ("cut before the index", r"has no usable index \(moov\).*copy it again"),
        ("no video frame", "0 of 30 frames .*could be read"),
        ("sound", "has no video stream.*; give a recording with pictures"),
        ("no pictures", "holds no .jpg, .jpeg or .png pictures; copy them there"),
        ("deep pictures", "0.png has more than 8 bits per channel .*convert it"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path, what, says):
    path = make_bad(tmp_path, what)
    for attempt in (probe, lambda path: list(stream(path)), lambda path: list(stream(path, fps=5))):
        with pytest.raises(DataError, match=says) as failure:
            attempt(path)
        assert "\n" not in str(failure.value) and str(path) in str(failure.value)
