"""Which frames of a recording are given: at even times, or by their numbers; only these are converted to pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from vasot_lib.errors import DataError

EARLY = 1e-3  # seconds by which a frame may be early: Matroska rounds time stamps to milliseconds


@dataclass(frozen=True)
class Frame:
    """One frame of a recording.

    Attributes:
        index: which decoded frame of the recording, from 0.
        time: seconds since the first frame.
        picture: (H, W, 3) uint8 RGB, upright.
    """

    index: int
    time: float
    picture: np.ndarray


@dataclass(frozen=True)
class Shown:
    """A frame that is shown from ``time`` until ``end``, in seconds; ``picture`` converts or reads it."""

    index: int
    time: float
    end: float
    picture: Callable[[], np.ndarray]

    def frame(self) -> Frame:
        """The frame with its picture."""
        return Frame(self.index, self.time, self.picture())


def numbered(source: Iterator[Shown], numbers: Iterable[int]) -> Iterator[Frame]:
    """The frames with these indices, which do not decrease; one that comes several times is converted once."""
    for number, times in groupby(numbers):
        frame = next((item.frame() for item in source if item.index == number), None)
        if frame is None:
            return
        for _ in times:
            yield frame


def sampled(source: Iterator[Shown], fps: float) -> Iterator[Frame]:
    """The frames shown at 0, 1 / fps, 2 / fps, ...; a frame is held until the next one tells how long it lasts."""
    held: Shown | None = None
    failure: DataError | None = None
    k = 0
    while True:
        try:
            new = next(source, None)
        except DataError as error:  # raised after the frames that could be read
            new, failure = None, error
        if held is not None:
            until, frame = (held.end if new is None else new.time) - EARLY, None
            while k / fps < until:
                frame = frame or held.frame()
                yield frame
                k += 1
        if new is None:
            break
        held = new
    if failure is not None:
        raise failure
