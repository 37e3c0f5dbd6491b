"""Sounds of one event as two microphones hear them, and how often their shift is found.

    python -m tests.films.sounds [PAIRS [SEED]]

Kinds of events: speech-like noise, knocks at random times, knocks in a steady beat (no shift is right), hum with noise.
Each microphone has filters, an echo and noise of its own. A pair of one event is cut at different times; a pair of two
events has the same kind of sound. The first number is that of pairs per case, the second the first seed.
"""

from __future__ import annotations

import click
import numpy as np
from scipy.signal import butter, fftconvolve, lfilter

from vasot_kit.films.sound import SAMPLES, bands_of, shift_of

KINDS = ("speech", "knocks", "beat", "hum")


def event(kind: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) what is to be heard."""
    n = int(seconds * SAMPLES)
    noise = rng.normal(size=n)
    if kind == "speech":
        loud = np.repeat(rng.random(int(seconds * 6) + 1) * (rng.random(int(seconds * 6) + 1) < 0.6), SAMPLES // 6 + 1)
        return lfilter(*butter(2, [300 / 4000, 2500 / 4000], "band"), noise * loud[:n])
    if kind == "hum":
        return np.sin(2 * np.pi * 120 * np.arange(n) / SAMPLES) + 0.3 * noise
    count = int(2 * seconds) + 1
    times = np.cumsum(rng.exponential(0.7, count)) if kind == "knocks" else rng.random() / 2 + np.arange(count) / 2
    wave = np.zeros(n + 800)
    for at in (times * SAMPLES).astype(int):
        if at < n:
            wave[at : at + 800] += rng.uniform(0.3, 1) * rng.normal(size=800) * np.exp(-np.arange(800) / 150)
    return wave[:n]


def heard(wave: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) the same through a microphone of its own; ``decibels`` from noise to sound."""
    low, high = rng.uniform(80, 250), rng.uniform(1800, 3800)
    wave = lfilter(*butter(1, [low / 4000, high / 4000], "band"), wave)
    echo = np.exp(-np.arange(2400) / rng.uniform(150, 900)) * rng.normal(size=2400)
    echo[0] = rng.uniform(3, 8)
    wave = fftconvolve(wave, echo)[: len(wave)]
    noise = lfilter(*butter(1, 1000 / 4000), rng.normal(size=len(wave)))
    return rng.uniform(0.01, 1) * (wave / max(wave.std(), 1e-9) + noise / noise.std() * 10 ** (-decibels / 20))


def two_of_one(
    kind: str, seconds: float, decibels: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """What two microphones hear of one event, and how many seconds later its moments come in the second."""
    wave, n = event(kind, 1.6 * seconds, rng), int(seconds * SAMPLES)
    first, second = (int(rng.uniform(0, 0.5) * n) for _ in range(2))
    parts = (heard(wave[start : start + n], decibels, rng) for start in (first, second))
    return *parts, (first - second) / SAMPLES


@click.command()
@click.argument("pairs", type=click.IntRange(min=1), default=20)
@click.argument("seed", type=click.IntRange(min=0), default=1000)
def main(pairs: int, seed: int) -> None:
    """Print the shares of pairs with a shift."""
    rng = np.random.default_rng(seed)
    print("kind    seconds  one event: right, wrong, none; two events: a shift  (of each)")
    for kind in KINDS:
        for seconds in (4, 8, 20):
            counts = np.zeros(4, int)
            for decibels in (15, 3, -3):
                for _ in range(pairs):
                    x, y, true = two_of_one(kind, seconds, decibels, rng)
                    found = shift_of(bands_of(x), bands_of(y)).seconds
                    counts[2 if found is None else int(abs(found - true) > 0.03)] += 1
                    other = heard(event(kind, seconds, rng), decibels, rng)
                    counts[3] += shift_of(bands_of(x), bands_of(other)).seconds is not None
            print(
                f"{kind:8} {seconds:5}  {counts[0]}, {counts[1]}, {counts[2]}; {counts[3]}  ({3 * pairs})", flush=True
            )


if __name__ == "__main__":
    main()
