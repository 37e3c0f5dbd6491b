"""Small pictures of films, encoded so that a page can hold them: its films then play in any browser, frame by frame."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from vasot_kit.films.media import probe, stream
from vasot_kit.films.recordings import Recording

MOST_BYTES = 10_000_000  # of all pictures of a page; as text they take a third more
LARGEST, SMALLEST = 400, 120  # pixels of the longer side
PER_PIXEL = 0.1  # bytes that a pixel takes, about; noise takes more, and then every second picture is left out
QUALITY = 60


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures of the samples 0, step, 2 step, ... of a recording.

    Attributes:
        width, height: in pixels.
        step: 1 where every sample has its picture.
        encoded: WebP files.
    """

    width: int
    height: int
    step: int
    encoded: list[bytes]

    def __getitem__(self, sample: int) -> np.ndarray:
        """(H, W, 3) uint8, the picture of a sample, or the last one before it."""
        with Image.open(io.BytesIO(self.encoded[sample // self.step])) as image:
            return np.array(image.convert("RGB"))


def small_pictures(recordings: Sequence[Recording], bar: tqdm, most: int = MOST_BYTES) -> list[Pictures]:
    """The pictures of films at their samples, as large as the bytes allow; each film is decoded once.

    Where even the smallest pictures of all samples take too much, samples are left out evenly.

    Args:
        recordings: films or folders of pictures.
        bar: is moved on by one for every film.
        most: bytes of all pictures together; every film gets the same number for each of its samples.
    """
    samples = sum(len(recording.times) for recording in recordings)

    def encoded(recording: Recording) -> Pictures:
        return _encode(recording, most * len(recording.times) / samples)

    found = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # nearly all of it is done by FFmpeg and by Pillow
        for pictures in pool.map(encoded, recordings):
            found.append(pictures)
            bar.update()
    return found


def shown(recording: Recording, height: int, width: int) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8, the pictures of the samples of a recording, decoded from front to back in constant memory."""
    return (frame.picture for frame in stream(recording.path, size=(height, width), numbers=recording.index.tolist()))


def _encode(recording: Recording, most: float) -> Pictures:
    clip, n = probe(recording.path), len(recording.times)
    longer = max(clip.height, clip.width)
    area = clip.height * clip.width / longer**2  # of the picture whose longer side is 1
    side = min(math.sqrt(most / n / PER_PIXEL / area), LARGEST, longer)
    step = max(1, math.ceil(min(SMALLEST, longer) ** 2 * area * PER_PIXEL * n / most))
    side = max(side, min(SMALLEST, longer))
    width, height = (max(1, round(pixels * side / longer)) for pixels in (clip.width, clip.height))
    encoded: list[bytes] = []
    for number, picture in enumerate(shown(recording, height, width)):
        if number % step:
            continue
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "WEBP", quality=QUALITY, method=2)
        encoded.append(file.getvalue())
        if sum(map(len, encoded)) > most and len(encoded) > 1:
            encoded, step = encoded[::2], 2 * step
    return Pictures(width, height, step, encoded)
