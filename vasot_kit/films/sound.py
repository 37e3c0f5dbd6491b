"""How two films lie in time by their sound: the shift at which the envelopes of both correlate most. [ours]

Cameras that record one event hear the same sound, however different their pictures are. Two takes of one procedure do
not, and a beat that goes on fits at many shifts; then the sound does not say how the films lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import av
import numpy as np
import torch
from torch import Tensor

from vasot_kit.films.containers import open_video
from vasot_kit.films.recordings import Recording

SAMPLES = 8000  # of the sound that are used, per second
RATE = 100  # values of the envelope per second
WINDOW = 256  # samples that a value looks at
EDGES = (100, 200, 300, 450, 700, 1000, 1500, 2200, 3200)  # of the bands, in Hz
QUIET = 1e-3  # of the mean power of a band; what is quieter counts as this
SHORTEST, LEAST_SHARE = 2.0, 0.2  # seconds, and share of the shorter film, that both have to be heard together
NEAR = 0.5  # seconds; shifts within it of the best one are the same answer
# The best shift counts where it is that much more likely than the next, and likely enough by itself. Chosen on 432
# generated pairs of one event and 432 of two.
CLEAR = 1.8
LEAST = 0.8
# Moments that lie REACH or farther from where the sound has them cost WEIGHT more, in multiples of the mean cost. Mean
# error of the twelve pairs of pose2sim's cameras, by motion: 1.57 frames without, .73 with a weight of 1, .27 with 3.
WEIGHT, REACH = 3.0, 0.25


class Shift(NamedTuple):
    """How the sounds of X and Y lie in time.

    Attributes:
        seconds: how much later a moment of X comes in Y, both counted from the first picture; None where it is not
            clear, or where one of the films has no sound.
        correlation: of both envelopes at the best shift, -1 to 1; 0 without sound.
        clearness: how likely the best shift is beside the next; it is clear from 1.8 on, if it is likely by itself.
        silent: ``x``, ``y`` or both, where they have no sound.
    """

    seconds: float | None
    correlation: float = 0.0
    clearness: float = 0.0
    silent: Sequence[str] = ()


class Envelope(NamedTuple):
    """How loud a film is in eight bands, over time.

    Attributes:
        values: (8, T) logarithms of the power at 100 values a second, less their means over a second; T = 0 without
            sound.
        start: seconds from the first picture to the first value.
    """

    values: np.ndarray
    start: float


def envelope(film: Recording) -> Envelope:
    """What is heard in a film; nothing in a folder of pictures."""
    none = Envelope(np.zeros((len(EDGES) - 1, 0)), 0.0)
    if film.path.is_dir():
        return none
    with open_video(film.path) as (container, _):
        if not container.streams.audio:
            return none
        stream = container.streams.audio[0]
        to_mono = av.AudioResampler(format="flt", layout="mono", rate=SAMPLES)
        parts: list[np.ndarray] = []
        try:
            for frame in container.decode(stream):
                parts += [each.to_ndarray()[0] for each in to_mono.resample(frame)]
        except (av.FFmpegError, OSError):
            pass  # what was heard until then may be enough; who decodes the pictures says what is damaged
        first = float((stream.start_time or 0) * (stream.time_base or 0)) - (container.start_time or 0) / av.time_base
    samples = np.concatenate([np.zeros(0, np.float32), *parts])
    if len(samples) < WINDOW:
        return none
    return Envelope(bands_of(samples), first + WINDOW / 2 / SAMPLES - film.start)


def bands_of(samples: np.ndarray) -> np.ndarray:
    """(8, T) the envelope of (n,) samples, 8000 a second; see :class:`Envelope`."""
    from scipy.signal import stft  # whoever does not compare sounds does without it

    step = SAMPLES // RATE
    heights, _, waves = stft(samples, SAMPLES, nperseg=WINDOW, noverlap=WINDOW - step, boundary=None, padded=False)
    power = np.abs(waves) ** 2
    bands = np.stack([power[(heights >= a) & (heights < b)].sum(0) for a, b in zip(EDGES, EDGES[1:], strict=False)])
    loud = np.log(bands + QUIET * bands.mean() + 1e-12)
    total, places = np.pad(loud.cumsum(1), ((0, 0), (1, 0))), np.arange(loud.shape[1])
    start, end = (places - RATE // 2).clip(0), (places + RATE // 2 + 1).clip(max=len(places))
    return loud - (total[:, end] - total[:, start]) / (end - start)


def shift_of(x: np.ndarray, y: np.ndarray) -> Shift:
    """The shift at which two envelopes correlate most, in seconds from the first value of each.

    The correlation at a shift is that of the values which both films have then. Where they are few, it is often high
    by chance. So shifts are compared by the correlation times the root of the seconds that both films have then.

    Args:
        x, y: (8, T) and (8, S), the values of an :class:`Envelope` each.
    """
    from scipy.signal import correlate

    n, m = x.shape[1], y.shape[1]
    lags = np.arange(1 - n, m)
    start, end = (-lags).clip(0), np.minimum(n, m - lags)  # of the values of X that Y has too
    common = end - start
    allowed = common >= max(SHORTEST * RATE, LEAST_SHARE * min(n, m))
    if not allowed.any():
        return Shift(None)
    product = sum(correlate(b, a, mode="full", method="fft") for a, b in zip(x, y, strict=True))
    energy_x, energy_y = (np.pad((each**2).sum(0).cumsum(), (1, 0)) for each in (x, y))
    energy = (energy_x[end] - energy_x[start]) * (energy_y[end + lags] - energy_y[start + lags])
    correlation = np.where(allowed, product / np.sqrt(np.maximum(energy, 1e-12)), 0.0)
    likely = correlation * np.sqrt(common.clip(0) / RATE)
    best = int(likely.argmax())
    others = likely[(np.abs(lags - lags[best]) > NEAR * RATE) & allowed]
    clearness = float(likely[best] / max(others.max(initial=0.0), 1e-12))
    found = clearness >= CLEAR and likely[best] >= LEAST and len(others) > 0
    return Shift(float(lags[best] / RATE) if found else None, float(correlation[best]), min(clearness, 1e3))


def shift_between(x: Envelope, y: Envelope) -> Shift:
    """How two films lie in time by their sound, counted from the first picture of each."""
    if silent := [side for side, film in (("x", x), ("y", y)) if not film.values.size]:
        return Shift(None, silent=silent)
    shift = shift_of(x.values, y.values)
    return shift if shift.seconds is None else shift._replace(seconds=shift.seconds + y.start - x.start)


def prior_of(seconds: float, x: np.ndarray, y: np.ndarray) -> Tensor:
    """What the matching of moments costs by how far they lie from where the sound has them.

    Args:
        seconds: how much later a moment of X comes in Y.
        x, y: (K,) and (L,) seconds of the moments of both films.

    Returns:
        (K, L), 0 to 3, growing up to a distance of a quarter of a second.
    """
    apart = np.abs(y[None] - x[:, None] - seconds)
    return torch.from_numpy(WEIGHT * np.minimum(apart / REACH, 1.0))
