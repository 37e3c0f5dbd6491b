"""Films whose frames come at uneven times, out of order, late or with damaged stamps: results are in true seconds."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from pympi.Elan import Eaf

from tests.films.films import make_folder, record
from tests.own_films.walkers import take
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.containers import even_rate
from vasot_kit.films.media import probe, stream
from vasot_kit.films.recordings import read_recordings
from vasot_kit.folders.files import Interval
from vasot_kit.own_films.align import align_films
from vasot_kit.own_films.exports import Tier
from vasot_kit.own_films.inputs import sampling_rate
from vasot_kit.own_films.outputs import Outputs
from vasot_kit.own_films.segment import segment_films
from vasot_lib.errors import DataError

FPS = 30


def write(file: Path, pictures: Iterable[np.ndarray], stamps: Iterable[int], **options: str) -> Path:
    """A film of H.264 with the time stamps of its frames in units of 1/30 s."""
    with av.open(str(file), "w") as target:
        film = target.add_stream("libx264", rate=FPS, options={"g": "30", "bf": "0", **options})
        film.codec_context.time_base = Fraction(1, FPS)
        for picture, stamp in zip(pictures, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(picture)
            if not film.codec_context.is_open:
                film.height, film.width, film.pix_fmt = *picture.shape[:2], "yuv420p"
            frame.pts, frame.time_base = stamp, Fraction(1, FPS)
            target.mux(film.encode(frame))
        target.mux(film.encode())
    return file


def stamped(file: Path, stamps: Iterable[int]) -> Path:
    """A film whose packets carry these stamps, whatever they are."""
    with av.open(str(file), "w") as target:
        film = target.add_stream("libx264", rate=FPS, options={"bf": "0", "g": "1"})
        film.height, film.width, film.pix_fmt = 48, 64, "yuv420p"
        packets = []
        for k, _ in enumerate(times := list(stamps)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 3 * k % 256, np.uint8))
            frame.pts, frame.time_base = k, Fraction(1, FPS)
            packets += film.encode(frame)
        packets += film.encode()
        for packet, stamp in zip(packets, times, strict=True):
            packet.pts = packet.dts = stamp
            target.mux(packet)
    return file


def times(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = list(csv.DictReader((folder / "correspondence.csv").open()))
    return tuple(np.array([float(row[name]) for row in rows]) for name in ("seconds_x", "seconds_y"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    """A walk of 6 s from one camera, at an even rate, and its pictures."""
    (pictures,) = take([7, 1], cameras=1, frames=360).values()
    shown = list(pictures[::2])
    return write(tmp_path_factory.mktemp("walk") / "even.mp4", shown, range(180)), shown


@pytest.fixture(scope="module")
def thinned(walk: tuple[Path, list[np.ndarray]]) -> Path:
    """The same walk; every third frame of its second half is missing."""
    kept = [k for k in range(180) if k < 90 or k % 3]
    return write(walk[0].with_name("thinned.mp4"), [walk[1][k] for k in kept], kept)


def test_a_rate_that_varies_is_sampled_evenly(
    walk: tuple[Path, list[np.ndarray]], thinned: Path, tmp_path: Path
) -> None:
    even = walk[0]
    assert even_rate(even) is None and even_rate(thinned) == pytest.approx(FPS)
    assert sampling_rate([even, thinned], 2000) == pytest.approx(FPS) and sampling_rate([even, even], 2000) is None
    assert sampling_rate([even, thinned], 60) == pytest.approx(10, rel=0.01)
    errors = {}
    for name, fps in (("asked for", 30.0), ("by itself", None)):
        align_films([even, thinned], tmp_path / name, fps=fps, progress=False)
        seconds, matched = times(tmp_path / name)
        errors[name] = np.abs(matched - seconds).mean()
        assert probe(tmp_path / name / "side_by_side.mp4").duration == pytest.approx(6, abs=0.1)
    assert errors["by itself"] <= errors["asked for"] + 0.002 and errors["asked for"] < 0.035
    align_films([thinned, even], tmp_path / "reverse", progress=False)
    assert probe(tmp_path / "reverse" / "side_by_side.mp4").duration == pytest.approx(6, abs=0.1)


def test_a_side_by_side_film_is_as_long_as_the_film_whatever_its_steps_are(tmp_path: Path) -> None:
    kept = [k for k in range(60) if k % 3]  # evenly thinned: the times stay near a straight line
    film = write(tmp_path / "a.mp4", (np.full((48, 64, 3), 4 * k, np.uint8) for k in kept), kept)
    assert even_rate(film) is None
    (recording,) = read_recordings([film], Appearance(), progress=False)
    out = Outputs(tmp_path / "out", {}, [film]).side_by_side("s.mp4", recording, recording, np.arange(len(kept)))
    assert probe(out).duration == pytest.approx(2, abs=0.06)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_trap_avi_does_not_say_when_frames_are_shown(tmp_path: Path, codec: str) -> None:
    options = {"b_strategy": "0"} if codec == "libx264" else {}
    film = record(tmp_path / "a.avi", n=180, codec=codec, bf="2", **options)
    assert even_rate(film) is None
    assert [frame.time for frame in stream(film)] == pytest.approx(np.arange(180) / FPS, abs=1e-3)
    assert [frame.index for frame in stream(film, fps=15)] == list(range(0, 180, 2))
    align_films([film, film], tmp_path / "out", progress=False)
    seconds, _ = times(tmp_path / "out")
    assert seconds == pytest.approx(np.arange(180) / FPS, abs=1e-3)
    assert probe(tmp_path / "out" / "side_by_side.mp4").duration == pytest.approx(6, abs=0.05)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.mpg", "a.mov"])
def test_frames_stored_out_of_order_come_at_their_times(tmp_path: Path, name: str) -> None:
    codec = "mpeg2video" if name == "a.mpg" else "libx264"
    film = record(tmp_path / name, n=60, codec=codec, bf="2")
    assert even_rate(film) is None
    assert [frame.time for frame in stream(film)] == pytest.approx(np.arange(60) / FPS, abs=2e-3)


@pytest.mark.parametrize("command", ["align", "segment"])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_time_stamps_that_are_all_equal_are_refused(tmp_path: Path, name: str, command: str) -> None:
    film = stamped(tmp_path / name, [0] * 60)
    with pytest.raises(
        DataError, match=r"a\.\w+: the time stamps of all \d+ frames are equal; give it new ones"
    ) as refused:
        if command == "align":
            align_films([film, film], tmp_path / "out", progress=False)
        else:
            segment_films([film], 2, tmp_path / "out", progress=False)
    assert "\n" not in str(refused.value) and [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("stamps", [[*range(30), *range(10**6, 10**6 + 30)], [*range(59), 2**30]])
@pytest.mark.parametrize("fps", [None, 10.0])
def test_time_stamps_that_jump_are_refused(tmp_path: Path, stamps: list[int], fps: float | None) -> None:
    film = stamped(tmp_path / "a.nut", stamps)
    with pytest.raises(DataError, match="the time stamps jump by"):
        next(stream(film, fps))


@pytest.mark.parametrize("fps", [None, 10.0])
def test_time_stamps_that_run_backwards_are_refused(tmp_path: Path, fps: float | None) -> None:
    film = record(tmp_path / "a.mkv", n=60, bf="0", container={"cluster_time_limit": "100"})
    raw = bytearray(film.read_bytes())
    # The fifth cluster, its size in 8 bytes, then its time stamp in milliseconds, 2 bytes.
    place = [at for at in range(len(raw)) if raw[at : at + 4] == b"\x1f\x43\xb6\x75"][4] + 12
    assert raw[place] == 0xE7 and raw[place + 1] & 0x7F == 2
    raw[place + 2] ^= 1
    film.write_bytes(raw)
    with pytest.raises(DataError, match=r"the time stamps run backwards at frame \d+; give it new ones"):
        list(stream(film, fps))


def test_a_pause_between_frames_is_no_damage(tmp_path: Path) -> None:
    film = stamped(tmp_path / "a.mkv", [0, 30, 60, 90, 6000, 9000])
    assert len(list(stream(film))) == 6


def late(file: Path) -> Path:
    """The picture of 2 s begins 2 s after the sound."""
    with av.open(str(file), "w") as target:
        film = target.add_stream("libx264", rate=FPS, options={"bf": "0"})
        film.height, film.width, film.pix_fmt = 48, 64, "yuv420p"
        voice = target.add_stream("aac", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.float32), format="fltp", layout="mono")
        samples.sample_rate, samples.pts = 8000, 0
        target.mux(voice.encode(samples))
        for k in range(60):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * k, np.uint8))
            frame.pts, frame.time_base = 60 + k, Fraction(1, FPS)
            target.mux(film.encode(frame))
        target.mux(film.encode())
        target.mux(voice.encode())
    return file


@pytest.mark.parametrize(
    ("name", "kind"), [("a.mkv", "video/x-matroska"), ("a.mp4", "video/mp4"), ("a.mov", "video/quicktime")]
)
def test_elan_counts_from_the_beginning_of_the_sound(tmp_path: Path, name: str, kind: str) -> None:
    film = late(tmp_path / name)
    assert probe(film).start == pytest.approx(2, abs=0.2)  # the sound may begin a little before 0
    (recording,) = read_recordings([film], Appearance(), progress=False)
    assert recording.times[0] == 0 and recording.start == probe(film).start
    out = Outputs(tmp_path / "out", {}, [film])
    document = Eaf(str(out.elan("a.eaf", [Tier("actions", recording, 0, [Interval(0, 1, "a"), Interval(1, 2, "b")])])))
    (start, middle, _), (again, end, _) = sorted(document.get_annotation_data_for_tier("actions"))
    assert middle == again and (start, middle, end) == pytest.approx(
        [1000 * (recording.start + at) for at in (0, 1, 2)], abs=2
    )
    assert document.get_linked_files()[0]["MIME_TYPE"] == kind


def test_a_film_without_sound_starts_at_zero_and_pictures_are_not_linked(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("b.avi", "mpeg4"), ("c.ts", "libx264"), ("d.webm", "libvpx-vp9")):
        assert probe(record(tmp_path / name, codec=codec, n=10)).start == 0
    folder = make_folder(tmp_path / "pictures", range(4))
    (recording,) = read_recordings([folder], Appearance(), progress=False)
    document = Outputs(tmp_path / "out", {}, [folder]).elan("a.eaf", [Tier("actions", recording, 0, [])])
    assert Eaf(str(document)).get_linked_files() == []


def test_spread_is_that_of_the_plan(aligned: Path) -> None:
    """Of T / p, the share of a frame's mass that goes to each frame of Y, and not of T / (p q)."""
    with np.load(aligned / "plan.npz") as stored:
        plan = stored["plan"]
    spreads = [float(row["spread_seconds"]) for row in csv.DictReader((aligned / "correspondence.csv").open())]
    rows, seconds = plan / plan.sum(1, keepdims=True), np.arange(plan.shape[1]) / 25
    mean = rows @ seconds
    apart = (rows * (seconds - mean[:, None]) ** 2).sum(1) ** 0.5
    assert spreads == pytest.approx(apart, abs=2e-4)
