"""Altered copies of a film with known matches, to measure alignments: another tempo, crop, colours, and noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from vasot_lib.errors import InputError


class TimeWarp(NamedTuple):
    """The playing of a film of N frames at another tempo, as a copy of M frames.

    Attributes:
        shows: (M,) int64, the frame of the film that each frame of the copy shows; some come twice and some not at all.
        truth: (N,) the frame of the copy that corresponds to each frame of the film, fractional.
    """

    shows: np.ndarray
    truth: np.ndarray


def power_warp(n: int, exponent: float) -> TimeWarp:
    """A warp in which the time of the film is the time of the copy to a power; both have n frames.

    With an exponent above 1 the copy starts slowly and ends fast.

    Raises:
        InputError: fewer than 2 frames or an exponent that is not positive.
    """
    if n < 2 or not 0.0 < exponent < math.inf:
        raise InputError(f"{n} frames and exponent {exponent}; give at least 2 frames and a positive exponent")
    time = np.linspace(0, 1, n)
    return TimeWarp(np.round((n - 1) * time**exponent).astype(int), (n - 1) * time ** (1 / exponent))


def tempo_warp(n: int, low: float, high: float, rng: np.random.Generator, knots: int = 5) -> TimeWarp:
    """A warp whose tempo varies at random between ``low`` and ``high`` times that of the film.

    Args:
        n: frames of the film; how many the copy has depends on the tempo.
        low, high: bounds of the tempo; 1 is that of the film.
        rng: draws the tempo at ``knots`` moments, between which it is linear.
        knots: number of these moments, at even distances.

    Raises:
        InputError: fewer than 2 frames, or not 0 < low <= high.
    """
    if n < 2 or not 0.0 < low <= high < math.inf:
        raise InputError(f"{n} frames at tempo {low} to {high}; give at least 2 frames and 0 < low <= high")
    tempo = np.interp(np.linspace(0, knots - 1, n - 1), np.arange(knots), rng.uniform(low, high, knots))
    truth = np.concatenate([[0.0], np.cumsum(1 / tempo)])
    count = round(truth[-1]) + 1
    truth *= (count - 1) / truth[-1]
    return TimeWarp(np.round(np.interp(np.arange(count), truth, np.arange(n))).astype(int), truth)


def altered_copy(pictures: np.ndarray, warp: TimeWarp, rng: np.random.Generator) -> np.ndarray:
    """A copy of a film at another tempo, with a tenth cropped away, enlarged to its size, other colours and noise.

    Contrast changes by up to a fifth, brightness by up to a tenth, every colour channel by up to a tenth; the noise has
    a standard deviation of 2 % of the range and is drawn for every frame of the copy.

    Args:
        pictures: (N, H, W, 3) uint8.
        warp: of a film of N frames, to M.
        rng: draws the crop, the colours and the noise.

    Returns:
        (M, H, W, 3) uint8.
    """
    _, h, w, _ = pictures.shape
    top, left = (int(rng.integers(0, side // 10 + 1)) for side in (h, w))
    box = (left, top, left + w - w // 10, top + h - h // 10)
    shown = (Image.fromarray(pictures[k]).resize((w, h), Image.Resampling.BILINEAR, box) for k in warp.shows)
    cut = np.array([np.asarray(each) for each in shown], np.float32) / 255
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.9, 1.1, size=3)
    changed = (cut - 0.5) * gain + 0.5 + rng.uniform(-0.1, 0.1)
    noisy = changed + rng.normal(scale=0.02, size=cut.shape)
    return (255 * noisy.clip(0, 1)).astype(np.uint8)
