"""Films and folders of pictures: read, sampled, turned upright, written, hashed."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.films.films import HEIGHT, WIDTH, make_folder, number, numbers, packets, picture, read_until_error, record
from vasot_kit.films.media import Clip, probe, stream, write_video
from vasot_kit.films.sampling import Shown
from vasot_lib.errors import InputError

# ---- reading


def test_what_was_written_is_read_back(tmp_path):
    file = write_video(tmp_path / "new" / "a.mp4", (picture(k) for k in range(30)), fps=25)
    assert probe(file) == Clip(file, 25.0, WIDTH, HEIGHT, 30, 1.2)
    frames = list(stream(str(file)))
    assert [frame.index for frame in frames] == [number(frame.picture) for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx([k / 25 for k in range(30)])
    for frame in frames:
        assert frame.picture.shape == (HEIGHT, WIDTH, 3) and frame.picture.dtype == np.uint8
        assert frame.picture.flags.c_contiguous
        # colours too: red stays red, away from the edges where chroma is shared between pixels
        for x, colour in ((12, (200, 20, 20)), (32, (20, 180, 20)), (52, (20, 20, 200))):
            assert frame.picture[36, x].astype(int) == pytest.approx(colour, abs=12)


CONTAINERS = [
    ("a.mp4", "libx264", 30),
    ("a.mov", "libx264", 30),
    ("a.mkv", "libx264", None),
    ("a.avi", "mpeg4", 30),
    ("a.webm", "libvpx-vp9", None),
    ("a.ts", "libx264", None),
    ("a.mpg", "mpeg2video", None),
]


@pytest.mark.parametrize(("name", "codec", "count"), CONTAINERS)
def test_containers(tmp_path, name, codec, count):
    file = record(tmp_path / name, codec=codec)
    assert numbers(file) == list(range(30))
    clip = probe(file)
    assert (clip.fps, clip.width, clip.height, clip.frames) == (30.0, WIDTH, HEIGHT, count)
    assert clip.duration == pytest.approx(1.0, abs=0.25)  # MPEG streams: FFmpeg's estimate


def test_frames_that_are_stored_out_of_order_come_in_the_order_they_are_shown(tmp_path):
    file = record(tmp_path / "a.mp4", bf="3", b_strategy="0")
    stored = [packet.pts for packet in packets(file)]
    assert stored != sorted(stored)
    assert numbers(file) == list(range(30))


@pytest.mark.parametrize("fps", [30, 15, 10, 7, 60, 29.97, 100, 0.5])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_sampling_takes_the_frame_that_is_shown(tmp_path, name, fps):
    # Matroska rounds stamps to milliseconds: frame 2 is stamped 67, sample 2 at 30 fps is due at 66.7
    file = record(tmp_path / name, codec="mpeg4")
    due = [Fraction(k) / Fraction(str(fps)) for k in range(1000)]
    assert numbers(file, fps=fps) == [int(moment * 30) for moment in due if moment < 1]


def test_frames_are_given_by_their_numbers_and_others_are_not_converted(tmp_path, monkeypatch):
    file = record(tmp_path / "a.mp4")
    converted = []
    frame = Shown.frame
    monkeypatch.setattr(Shown, "frame", lambda self: converted.append(self.index) or frame(self))
    found = list(stream(file, numbers=[0, 3, 3, 4, 29]))
    assert [each.index for each in found] == [number(each.picture) for each in found] == [0, 3, 3, 4, 29]
    assert found[1] is found[2] and converted == [0, 3, 4, 29]
    assert [each.index for each in stream(file, numbers=[28, 30])] == [28]  # it has no frame 30


def test_a_repeated_frame_is_the_same_object_and_keeps_index_and_time(tmp_path):
    frames = list(stream(record(tmp_path / "a.mp4", n=3), fps=60))
    assert [frame.index for frame in frames] == [0, 0, 1, 1, 2, 2]
    assert frames[2] is frames[3] and frames[3].time == pytest.approx(1 / 30)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_frame_rate(tmp_path, name):
    stamps = [0, 100, 133, 500, 1500, 1520, 1900, 2000]
    file = record(tmp_path / name, stamps=stamps, bf="0")
    assert [frame.time for frame in stream(file)] == pytest.approx([stamp / 1000 for stamp in stamps])
    # shown at 0, .2, .4, ...; not every second of the eight
    shown = [max(k for k, stamp in enumerate(stamps) if stamp <= moment) for moment in range(0, 2001, 200)]
    assert numbers(file, fps=5)[: len(shown)] == shown == [0, 2, 2, 3, 3, 3, 3, 3, 5, 5, 7]


def test_times_count_from_the_first_frame(tmp_path):
    file = record(tmp_path / "a.mkv", stamps=[5000, 5100, 5200], bf="0")
    assert [frame.time for frame in stream(file)] == pytest.approx([0, 0.1, 0.2])
    assert numbers(file, fps=10)[:3] == [0, 1, 2]


# a b u c d v x y w of ISO 14496-12: a, b, c, d in 16.16 and w in 2.30 fixed point
ONE = 1 << 16
MATRICES = {
    "0": (ONE, 0, 0, ONE, lambda upright: upright),
    "90": (0, ONE, -ONE, 0, lambda upright: np.rot90(upright, 1)),  # a phone held upright: shown turned clockwise
    "180": (-ONE, 0, 0, -ONE, lambda upright: np.rot90(upright, 2)),
    "270": (0, -ONE, ONE, 0, lambda upright: np.rot90(upright, 3)),
    "mirrored": (-ONE, 0, 0, ONE, lambda upright: upright[:, ::-1]),
    "mirrored 90": (0, ONE, ONE, 0, lambda upright: upright.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("size", [None, (96, 128)])
def test_rotation_metadata_is_applied(tmp_path, name, size):
    a, b, c, d, lay_down = MATRICES[name]
    file = tmp_path / "a.mp4"
    write_video(file, (np.ascontiguousarray(lay_down(picture(k))) for k in range(5)), fps=10)
    raw = bytearray(file.read_bytes())
    # tkhd: type, version 0 and flags, 9 x 4 bytes of times, id, duration and layer, then the matrix
    matrix = raw.index(b"tkhd") + 4 + 4 + 36
    assert struct.unpack_from(">9i", raw, matrix) == (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", raw, matrix, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    file.write_bytes(raw)
    clip = probe(file)
    assert (clip.width, clip.height) == (WIDTH, HEIGHT)
    frames = list(stream(file, size=size))
    assert [number(frame.picture) for frame in frames] == list(range(5))
    for frame in frames:
        assert frame.picture.shape == (*(size or (HEIGHT, WIDTH)), 3) and frame.picture.flags.c_contiguous
        height, width = frame.picture.shape[:2]
        assert frame.picture[height * 3 // 4, width // 5].argmax() == 0  # red, left
        assert frame.picture[height * 3 // 4, width * 4 // 5].argmax() == 2  # blue, right


def test_scaling_averages_what_a_pixel_covers(tmp_path):
    checks = np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2 * 255
    file = write_video(tmp_path / "a.mp4", [np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)] * 3, fps=10)
    for frame in stream(file, size=(12, 16)):
        assert frame.picture.shape == (12, 16, 3)
        assert frame.picture[2:-2, 2:-2].astype(float) == pytest.approx(127, abs=20)


def test_an_edit_list_shortens_without_being_damage(tmp_path):
    file = record(tmp_path / "a.mp4", n=60, bf="0")
    raw = bytearray(file.read_bytes())
    entry = raw.index(b"elst") + 12  # type, version and flags, count; then duration (1/1000 s) and first time stamp
    assert struct.unpack_from(">Ii", raw, entry) == (2000, 0)
    struct.pack_into(">Ii", raw, entry, 1000, packets(file)[15].pts)
    file.write_bytes(raw)
    assert numbers(file) == list(range(15, 45))
    assert probe(file).duration == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_sound_that_lasts_longer_is_no_truncation(tmp_path, name):
    assert numbers(record(tmp_path / name, sound=3.0)) == list(range(30))


def test_a_recording_that_states_no_duration_is_measured(tmp_path):
    file = record(tmp_path / "a.webm", codec="libvpx-vp9", container={"live": "1"})
    with av.open(str(file)) as container:
        assert container.duration is None
    assert probe(file).duration == pytest.approx(1.0, abs=0.05)
    assert numbers(file) == list(range(30))


@pytest.mark.parametrize("stamps", [[0], [0, 500, 700]])
def test_a_recording_that_states_no_rate_is_measured(tmp_path, stamps):
    file = record(tmp_path / "a.wmv", codec="wmv2", stamps=stamps)
    with av.open(str(file)) as container:
        assert container.streams.video[0].average_rate is None
    assert probe(file).fps == pytest.approx(len(stamps) / (stamps[-1] / 1000 + 1 / 30), rel=0.02)
    assert numbers(file) == list(range(len(stamps)))


def test_names_may_hold_colons_and_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_video("take:1 é.mp4", [picture(7)] * 2, fps=10)
    assert numbers(file) == [7, 7] and numbers(Path("take:1 é.mp4")) == [7, 7]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_rates_are_positive_numbers(tmp_path, rate):
    folder = make_folder(tmp_path / "pictures", [0])
    # at the call, not at the first frame
    with pytest.raises(InputError, match=f"^fps is {rate}; give a positive number"):
        stream(folder, fps=rate)
    for attempt in (lambda: stream(folder, folder_fps=rate), lambda: probe(folder, folder_fps=rate)):
        with pytest.raises(InputError, match=f"folder_fps is {rate}; give a positive number"):
            attempt()
    with pytest.raises(InputError, match=f"fps is {rate}"):
        write_video(tmp_path / "a.mp4", [picture(0)], fps=rate)


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (10,), (10.5, 3), 7])
def test_sizes_are_two_positive_integers(tmp_path, size):
    with pytest.raises(InputError, match=r"size is .*give \(height, width\) in pixels"):
        stream(make_folder(tmp_path / "pictures", [0]), size=size)


# ---- folders of pictures


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
def test_a_folder_is_read_in_natural_order(tmp_path, suffix):
    folder = make_folder(tmp_path / "pictures", range(12), suffix)
    (folder / "notes.txt").touch()
    (folder / f"._frame1{suffix}").touch()  # what some systems leave beside a file on a foreign disk
    assert numbers(folder) == list(range(12))  # by text, 10 comes before 2
    assert probe(folder, folder_fps=6) == Clip(folder, 6.0, WIDTH, HEIGHT, 12, 2.0)
    assert numbers(folder, fps=3, folder_fps=6) == list(range(0, 12, 2))
    assert [frame.time for frame in stream(folder)] == pytest.approx([k / 30 for k in range(12)])
    scaled = [frame.picture for frame in stream(folder, size=(24, 32))]
    assert {image.shape for image in scaled} == {(24, 32, 3)} and [number(image) for image in scaled] == list(range(12))


def test_grey_and_transparent_pictures_become_rgb(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(picture(5)).convert("L").save(folder / "1.png")
    Image.fromarray(picture(6)).convert("RGBA").save(folder / "2.png")
    assert [(number(frame.picture), frame.picture.shape) for frame in stream(folder)] == [
        (5, (HEIGHT, WIDTH, 3)),
        (6, (HEIGHT, WIDTH, 3)),
    ]


def test_pictures_that_do_not_fit_are_named_after_the_others_were_read(tmp_path):
    folder = make_folder(tmp_path / "pictures", range(5))
    Image.fromarray(picture(3)[:40]).save(folder / "frame3.png")
    seen, message = read_until_error(folder)
    assert seen == [0, 1, 2] and "frame3.png is 64 x 40 pixels but frame0.png is 64 x 48; make all" in message
    Image.fromarray(picture(3)).save(folder / "frame3.png")
    whole = (folder / "frame2.png").read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"text"):
        (folder / "frame2.png").write_bytes(damage)
        seen, message = read_until_error(folder)
        assert seen == [0, 1] and "frame2.png is damaged or not a picture" in message and "remove it" in message
