"""Recordings whose pictures show their frame number in black and white bars, so that tests read back which they got."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vasot_kit.films.media import stream
from vasot_kit.films.recordings import Recording, read_recordings
from vasot_lib.errors import DataError

HEIGHT, WIDTH, BITS = 48, 64, 8
FPS = 30


def picture(number: int) -> np.ndarray:
    """Upper half: the bits of the number, highest first. Lower half: red, green and blue from left to right."""
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(BITS):
        canvas[: HEIGHT // 2, 8 * bit : 8 * bit + 8] = 255 * (number >> (BITS - 1 - bit) & 1)
    canvas[HEIGHT // 2 :, :24] = (200, 20, 20)
    canvas[HEIGHT // 2 :, 24:40] = (20, 180, 20)
    canvas[HEIGHT // 2 :, 40:] = (20, 20, 200)
    return canvas


def number(image: np.ndarray) -> int:
    height, width = image.shape[:2]
    bars = image[height // 4, [width * (2 * bit + 1) // (2 * BITS) for bit in range(BITS)], 0]
    return int("".join("1" if level > 127 else "0" for level in bars), 2)


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


def read(*paths: Path, **options) -> list[Recording]:
    extractor = options.pop("extractor", Numbers())
    return read_recordings(paths, extractor, cache=paths[0].parent / "cache", progress=False, **options)


def numbers(path: Path, **options) -> list[int]:
    return [number(frame.picture) for frame in stream(path, **options)]


def record(
    file: Path,
    n: int = 30,
    codec: str = "libx264",
    fps: int = 30,
    stamps: Iterable[int] | None = None,
    sound: float | np.ndarray = 0.0,
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """A recording of pictures 0..n-1; ``stamps`` in milliseconds; ``sound`` in seconds of silence, or samples, 8000 a
    second."""
    if file.suffix in (".mp4", ".mov"):
        container = {"movflags": "+faststart", **(container or {})}
    with av.open(str(file), "w", options=container or {}) as target:
        film = target.add_stream(codec, rate=fps, options={"g": "10", **options})
        film.width, film.height, film.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if stamps is not None:
            film.codec_context.time_base = Fraction(1, 1000)
        voice = target.add_stream("aac", rate=8000, layout="mono") if np.size(sound) > 1 or sound else None
        for k, stamp in enumerate(range(n) if stamps is None else stamps):
            frame = av.VideoFrame.from_ndarray(picture(k))
            frame.pts, frame.time_base = stamp, Fraction(1, fps if stamps is None else 1000)
            target.mux(film.encode(frame))
        target.mux(film.encode())
        if voice is not None:
            wave = sound if isinstance(sound, np.ndarray) else np.zeros(int(8000 * sound), np.float32)
            samples = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 8000, 0
            target.mux(voice.encode(samples))
            target.mux(voice.encode())
    return file


def packets(file: Path) -> list[av.Packet]:
    with av.open(str(file)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def cut(file: Path, size: int) -> Path:
    file.write_bytes(file.read_bytes()[:size])
    return file


def read_until_error(path: Path, **options) -> tuple[list[int], str]:
    seen = []
    with pytest.raises(DataError) as failure:
        for frame in stream(path, **options):
            seen.append(number(frame.picture))
    message = str(failure.value)
    assert "\n" not in message and str(path) in message
    return seen, message


def make_folder(folder: Path, shown: Iterable[int], suffix: str = ".png") -> Path:
    folder.mkdir()
    for k in shown:
        Image.fromarray(picture(k)).save(folder / f"frame{k}{suffix}")
    return folder
