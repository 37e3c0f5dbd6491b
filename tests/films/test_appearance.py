"""Features of how frames look: colours where they are, motion where it is."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from vasot_kit.films.appearance import GRID, MOTION_GRID, Appearance


def describe(pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 8, 8, 3) colours and (N, 4, 4) motion."""
    table = Appearance()(iter(pictures), 30.0)
    assert table.shape == (len(pictures), 208) and table.dtype == np.float32
    return table[:, :192].reshape(-1, GRID, GRID, 3), table[:, 192:].reshape(-1, MOTION_GRID, MOTION_GRID)


def plain(*colour: int) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (48, 64, 3)).copy()


def test_colours_are_those_of_their_place() -> None:
    colours, _ = describe([plain(255, 102, 0)] * 2)
    assert colours == pytest.approx(np.broadcast_to((1.0, 0.4, 0.0), colours.shape), abs=0.005)
    mixed = plain(0, 0, 0)
    mixed[:6, 56:] = (0, 51, 255)  # the place in the upper right corner
    colours, _ = describe([mixed] * 2)
    assert colours[0, 0, 7] == pytest.approx((0, 0.2, 1), abs=0.005)
    colours[:, 0, 7] = 0
    assert not colours.any()


def test_a_place_is_the_mean_of_its_pixels() -> None:
    checks = plain(0, 0, 0)
    checks[::2, ::2] = checks[1::2, 1::2] = 200
    colours, _ = describe([checks] * 2)
    assert colours == pytest.approx(np.full(colours.shape, 100 / 255), abs=0.005)


def test_motion_is_where_something_changes_and_when() -> None:
    before, after = plain(50, 50, 50), plain(50, 50, 50)
    after[:12, 48:] = 90  # the place in the upper right corner
    _, motion = describe([before, before, after, after])
    expected = np.zeros((4, MOTION_GRID, MOTION_GRID))
    expected[2, 0, 3] = np.log1p(40)
    assert motion == pytest.approx(expected, abs=1e-5)


def test_the_first_frame_moves_like_the_second() -> None:
    _, motion = describe([plain(0, 0, 0), plain(30, 30, 30), plain(30, 30, 30)])
    assert motion[0] == pytest.approx(np.full((MOTION_GRID, MOTION_GRID), np.log1p(30)), abs=1e-5)
    assert (motion[0] == motion[1]).all() and not motion[2].any()


def test_one_frame_does_not_move() -> None:
    colours, motion = describe([plain(51, 51, 51)])
    assert colours == pytest.approx(np.full(colours.shape, 0.2), abs=0.005) and not motion.any()


def test_the_size_of_the_pictures_hardly_matters() -> None:
    big = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    small, large = (np.kron(big, np.ones((k, k, 1), np.uint8)) for k in (4, 12))
    assert describe([small])[0] == pytest.approx(describe([large])[0], abs=1e-6)


def test_films_of_any_length_fit() -> None:
    alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
    held = []

    def watched() -> Iterator[np.ndarray]:
        for number in range(30):
            picture = alive[number] = plain(number, 0, 0)
            yield picture
            del picture
            held.append(len(alive))

    assert len(Appearance()(watched(), 30.0)) == 30
    assert max(held) <= 1  # greys of the one before, no pictures
