"""Copies of a film that are known frame by frame: other tempo, other crop, other colours, noise. For measuring."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vasot_lib.errors import InputError


class Warp(NamedTuple):
    """Another tempo.

    Attributes:
        shows: (M,) int64, the frame of the film that each frame of the copy shows; frames come twice or not at all.
        truth: (N,) where each frame of the film is found in the copy, fractional.
    """

    shows: np.ndarray
    truth: np.ndarray


def power_warp(n: int, exponent: float) -> Warp:
    """The film's time is the copy's time to a power: above 1 it starts slowly and ends fast; lengths are equal.

    Raises:
        InputError: fewer than 2 frames or an exponent that is not positive.
    """
    if n < 2 or not 0.0 < exponent < math.inf:
        raise InputError(f"{n} frames and exponent {exponent}; give at least 2 frames and a positive exponent")
    time = np.linspace(0, 1, n)
    return Warp(np.round((n - 1) * time**exponent).astype(int), (n - 1) * time ** (1 / exponent))


def tempo_warp(n: int, low: float, high: float, rng: np.random.Generator, knots: int = 5) -> Warp:
    """Tempo that wanders between ``low`` and ``high`` times the film's; the copy is as long as that takes.

    Args:
        n: frames of the film.
        low, high: of the tempo.
        rng: draws the tempo at ``knots`` moments; it is linear between them.

    Raises:
        InputError: fewer than 2 frames, or not 0 < low <= high.
    """
    if n < 2 or not 0.0 < low <= high < math.inf:
        raise InputError(f"{n} frames at tempo {low} to {high}; give at least 2 frames and 0 < low <= high")
    tempo = np.interp(np.linspace(0, knots - 1, n - 1), np.arange(knots), rng.uniform(low, high, knots))
    truth = np.concatenate([[0.0], np.cumsum(1 / tempo)])
    count = round(truth[-1]) + 1
    truth *= (count - 1) / truth[-1]
    return Warp(np.round(np.interp(np.arange(count), truth, np.arange(n))).astype(int), truth)


def altered_copy(pictures: np.ndarray, warp: Warp, rng: np.random.Generator) -> np.ndarray:
    """(M, H, W, 3) uint8: the film at another tempo, a tenth cropped away, with other colours and noise.

    Contrast changes by up to a fifth, brightness by up to a tenth, every colour channel by up to a tenth; the noise has
    a standard deviation of 2 % of the range and is drawn for every frame of the copy.

    Args:
        pictures: (N, H, W, 3) uint8.
        warp: of N frames.
        rng: draws all of it.
    """
    _, h, w, _ = pictures.shape
    top, left = (int(rng.integers(0, side // 10 + 1)) for side in (h, w))
    cut = pictures[warp.shows, top : top + h - h // 10, left : left + w - w // 10].astype(np.float32) / 255
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.9, 1.1, size=3)
    changed = (cut - 0.5) * gain + 0.5 + rng.uniform(-0.1, 0.1)
    noisy = changed + rng.normal(scale=0.02, size=cut.shape)
    return (255 * noisy.clip(0, 1)).astype(np.uint8)
