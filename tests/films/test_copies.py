"""Copies at another tempo: where every frame went is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasot_kit.films.copies import TimeWarp, altered_copy, power_warp, tempo_warp
from vasot_lib.errors import InputError

TEMPI = st.tuples(st.floats(0.2, 1.5), st.floats(1.0, 3.0))


def undone(warp: TimeWarp) -> np.ndarray:
    """For each frame of the film: what is shown at the place where the truth says it is; half a frame off at most."""
    return np.interp(warp.truth, np.arange(len(warp.shows)), warp.shows)


def test_a_power_of_1_changes_nothing() -> None:
    warp = power_warp(20, 1.0)
    assert warp.shows.tolist() == list(range(20)) and warp.truth == pytest.approx(np.arange(20))


def test_a_square_shows_what_it_should() -> None:
    warp = power_warp(5, 2.0)
    assert warp.shows.tolist() == [0, 0, 1, 2, 4]  # 4 t^2 at 0, 1/4, 1/2, 3/4, 1: 0, .25, 1, 2.25, 4
    assert warp.truth == pytest.approx([0, 2, 4 * 0.5**0.5, 4 * 0.75**0.5, 4])


@given(st.integers(2, 200), st.floats(0.4, 2.5))
def test_truth_undoes_a_power(n: int, exponent: float) -> None:
    warp = power_warp(n, exponent)
    assert len(warp.shows) == len(warp.truth) == n and warp.shows.dtype == np.int64
    for path in (warp.shows, warp.truth):
        assert path[0] == 0 and path[-1] == pytest.approx(n - 1) and np.diff(path).min() >= 0
    place = warp.truth / (n - 1)
    assert (n - 1) * place**exponent == pytest.approx(np.arange(n), abs=1e-6)


@pytest.mark.parametrize("exponent", [1.35, 1 / 1.35])
def test_a_power_above_1_starts_slowly(exponent: float) -> None:
    truth = power_warp(101, exponent).truth
    assert (truth[1:-1] > np.arange(1, 100)).all() == (exponent > 1)
    assert (truth[1:-1] < np.arange(1, 100)).all() == (exponent < 1)
    assert np.abs(undone(power_warp(101, exponent)) - np.arange(101)).max() < 1


@given(st.integers(2, 200), TEMPI, st.integers(0, 99))
def test_a_copy_is_as_long_as_its_tempo_takes(n: int, tempi: tuple[float, float], seed: int) -> None:
    low, high = tempi[0], max(tempi)
    warp = tempo_warp(n, low, high, np.random.default_rng(seed))
    m = len(warp.shows)
    assert len(warp.truth) == n and warp.truth[0] == 0 and warp.truth[-1] == pytest.approx(m - 1)
    assert (n - 1) / high - 0.5 <= m - 1 <= (n - 1) / low + 0.5
    assert warp.shows.dtype == np.int64 and warp.shows.min() >= 0 and warp.shows.max() <= n - 1
    if m > 1:  # a very fast and short film may be one picture
        assert (warp.shows[0], warp.shows[-1]) == (0, n - 1)
        assert np.diff(warp.shows).min() >= 0
        step = np.diff(warp.truth) * (n - 1) / (m - 1)
        assert step.max() / step.min() <= high / low + 1e-6


def test_an_even_tempo_of_2_drops_every_other_frame() -> None:
    warp = tempo_warp(21, 2.0, 2.0, np.random.default_rng(0))
    assert warp.shows.tolist() == list(range(0, 21, 2)) and warp.truth == pytest.approx(np.arange(21) / 2)
    half = tempo_warp(11, 0.5, 0.5, np.random.default_rng(0))
    assert len(half.shows) == 21 and half.truth == pytest.approx(2 * np.arange(11))
    assert half.shows[::2].tolist() == list(range(11))


def test_the_tempo_wanders_and_the_seed_says_how() -> None:
    first, again, other = (tempo_warp(200, 0.7, 1.4, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first.truth, again.truth) and not np.array_equal(first.truth[:100], other.truth[:100])
    step = np.diff(first.truth)
    assert step.max() / step.min() > 1.2
    assert np.abs(undone(first) - np.arange(200)).max() < 1


@pytest.mark.parametrize("n", [0, 1])
def test_a_film_of_one_frame_has_no_tempo(n: int) -> None:
    with pytest.raises(InputError, match=f"{n} frames and exponent 2.0; give at least 2 frames"):
        power_warp(n, 2.0)
    with pytest.raises(InputError, match=f"{n} frames at tempo 1.0 to 1.0; give at least 2 frames"):
        tempo_warp(n, 1.0, 1.0, np.random.default_rng(0))


@pytest.mark.parametrize("exponent", [0.0, -1.0, float("inf"), float("nan")])
def test_powers_that_are_none_are_refused(exponent: float) -> None:
    with pytest.raises(InputError, match="a positive exponent"):
        power_warp(9, exponent)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0)]
)
def test_tempi_that_are_none_are_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match="give at least 2 frames and 0 < low <= high"):
        tempo_warp(9, low, high, np.random.default_rng(0))


# ---- pictures


def shades(n: int, height: int = 40, width: int = 60) -> np.ndarray:
    """Frame k is grey, the brighter the later."""
    grey = np.linspace(90, 160, n).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (n, height, width, 3)).copy()


def test_a_copy_shows_the_frames_of_its_warp() -> None:
    warp = TimeWarp(np.array([0, 0, 3, 9, 9, 5]), np.zeros(10))
    copy = altered_copy(shades(10), warp, np.random.default_rng(0)).astype(float)
    assert copy.shape == (6, 40, 60, 3)
    shade = copy.mean((1, 2))  # noise is gone, colours and contrast are the same for all frames
    assert shade[0] == pytest.approx(shade[1], abs=1) and shade[3] == pytest.approx(shade[4], abs=1)
    gain = (shade[3] - shade[0]) / 70  # per channel
    assert gain.min() > 0.8 * 0.9 - 0.02 and gain.max() < 1.2 * 1.1 + 0.02
    for frame, grey in ((2, 90 + 70 / 3), (5, 90 + 70 * 5 / 9)):
        assert shade[frame] == pytest.approx(shade[0] + gain * (int(grey) - 90), abs=1)


def test_noise_is_drawn_for_every_frame_of_the_copy() -> None:
    same = TimeWarp(np.zeros(4, int), np.zeros(2))
    copy = altered_copy(shades(2), same, np.random.default_rng(0)).astype(float)
    assert copy.std((1, 2)) == pytest.approx(np.full((4, 3), 0.02 * 255), rel=0.1)
    assert (copy[1:] - copy[:1]).std() == pytest.approx(0.02 * 255 * 2**0.5, rel=0.1)


def test_the_crop_is_a_part_of_the_picture_and_the_seed_says_which() -> None:
    pictures = np.zeros((2, 40, 60, 3), np.uint8)
    pictures[..., 0] = 3 * np.arange(60) + 20
    pictures[..., 1] = (4 * np.arange(40) + 20)[:, None]
    warp, places = power_warp(2, 1.0), set()
    for seed in range(8):
        copy = altered_copy(pictures, warp, np.random.default_rng(seed))
        assert copy.shape == pictures.shape and copy.dtype == np.uint8
        slope = np.diff(copy[..., 0].mean((0, 1))[5:-5]).mean() / 3 / 0.9  # nine tenths of the width fill the picture
        assert 0.7 < slope < 1.35  # contrast
        places.add(copy.tobytes())
        assert np.array_equal(copy, altered_copy(pictures, warp, np.random.default_rng(seed)))
    assert len(places) == 8


def test_small_pictures_lose_nothing() -> None:
    for seed in range(4):
        copy = altered_copy(shades(3, 8, 9), power_warp(3, 1.0), np.random.default_rng(seed))
        assert copy.shape == (3, 8, 9, 3)
