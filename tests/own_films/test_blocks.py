"""Blocks in free order: the best of all readings; steps swapped, done again, missing or extra; the order kept."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.own_films.orders import film_by_looks, judged, labels_of, measured, order_pair
from tests.own_films.test_matching import wandering
from vasot_kit.film_matching import blocks
from vasot_kit.film_matching.accuracy import film_motion
from vasot_kit.film_matching.blocks import Block, blocks_of, price_of
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import FilmAlignment, match_films
from vasot_kit.film_matching.pairing import LONG_STEP_WEIGHT, PathPrices
from vasot_kit.films.recordings import Recording
from vasot_kit.own_films.pairs import Pair, pair_of
from vasot_kit.own_films.transfer import occurrences

PRICES = PathPrices(pair=0.0, order=0.2)


def every_block(gains: np.ndarray, row: int) -> Iterator[tuple[int, int, int, float]]:
    """All blocks that begin in a row: its first column, the last row and the last column, and what it gains."""
    n, m = gains.shape

    def onward(first: int, i: int, j: int, gain: float) -> Iterator[tuple[int, int, int, float]]:
        yield first, i, j, gain
        for a, b in ((1, 1), (1, 2), (2, 1)):
            u, v = i + a, j + b
            if u < n and v < m:
                passed = {(1, 1): 0.0, (1, 2): gains[u, v - 1], (2, 1): gains[u - 1, v]}[a, b]
                step = gains[u, v] if a == b else LONG_STEP_WEIGHT * (gains[u, v] + passed)
                yield from onward(first, u, v, gain + step)

    for j in range(m):
        yield from onward(j, row, j, gains[row, j])


def best_of_all(gains: np.ndarray, price: float, in_order: bool, row: int = 0, after: int = -1) -> float:
    """The best reading of the rows from one on, by trying all of them."""
    if row >= len(gains):
        return 0.0
    readings = [best_of_all(gains, price, in_order, row + 1, after)]
    for first, i, j, gain in every_block(gains, row):
        if first > after or not in_order:
            readings.append(gain - price + best_of_all(gains, price, in_order, i + 1, j))
    return max(readings)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("in_order", [True, False])
def test_it_is_the_best_of_all_readings(in_order: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:  # what Numba compiles, as Python: the same numbers, and coverage sees it
        for name in ("_read", "_best_run"):
            monkeypatch.setattr(blocks, name, getattr(blocks, name).py_func)
    for seed, (n, m) in product(range(4), ((3, 4), (4, 3))):
        gains = np.random.default_rng(seed).normal(size=(n, m))
        found, total = blocks._best(gains, 0.4, in_order)
        assert total == pytest.approx(best_of_all(gains, 0.4, in_order))
        assert found == sorted(found)
        if in_order:
            assert all(a.y[1] <= b.y[0] for a, b in zip(found, found[1:], strict=False))
        runs = max(gain for row in range(n) for *_, gain in every_block(gains, row))
        assert price_of([gains, gains + 9], PathPrices(block=0.01, pair=0.0)) == pytest.approx(runs)


def shown(*steps: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Gains of .4 for pairs on diagonals of ten rows and columns each, and -.1 for all others."""
    gains = np.full((10 * size[0], 10 * size[1]), -0.1)
    for i, j in steps:
        gains[10 * i + np.arange(10), 10 * j + np.arange(10)] = 0.4
    return gains


def tens(*steps: tuple[int, int]) -> list[Block]:
    return [Block((10 * i, 10 * i + 10), (10 * j, 10 * j + 10)) for i, j in steps]


def test_steps_are_found_in_any_order() -> None:
    swapped = tens((0, 1), (1, 0), (2, 2))
    assert blocks_of(shown((0, 1), (1, 0), (2, 2), size=(3, 3)), 1.0, PRICES)[0] == swapped
    again = shown((0, 0), (1, 1), (2, 0), size=(3, 2))
    found = blocks_of(again, 1.0, PRICES)
    assert found.blocks == [Block((0, 20), (0, 20)), *tens((2, 0))] and found.disorder == pytest.approx((4 - 1) / 0.2)
    assert found.gain == pytest.approx(8 - 1 + 4 - 1)  # twenty pairs and ten, less the price of each block
    assert blocks_of(again.T, 1.0, PRICES)[0] == [Block((0, 20), (0, 20)), *tens((0, 2))]


@pytest.mark.parametrize(
    "gains",
    [
        shown((0, 0), (1, 1), (2, 2), size=(3, 3)),
        shown((0, 0), (1, 2), size=(2, 3)),
        shown((0, 0), (2, 1), size=(3, 2)),
    ],
    ids=["the same", "missing", "extra"],
)
def test_the_order_is_kept_where_it_is_the_same(gains: np.ndarray) -> None:
    n, m = gains.shape
    found = blocks_of(gains, 1.0, PRICES)
    assert found[:2] == ([Block((0, n), (0, m))], 0.0)
    assert found.gain == pytest.approx(0.4 * (gains > 0).sum() - (1 if n == m else 2))


def test_a_block_has_to_gain_more_than_other_parts_of_a_film_do() -> None:
    swapped = shown((0, 1), (1, 0), (2, 2), size=(3, 3))
    assert len(blocks_of(swapped, 3.5, PRICES)[0]) == 1 < len(blocks_of(swapped, 3.0, PRICES)[0])


# ---- films


def looks(pictures: np.ndarray) -> torch.Tensor:
    small = pictures.reshape(len(pictures), 8, 8, 8, 8, 3).mean((2, 4, 5)).reshape(len(pictures), -1)
    return torch.from_numpy(small.astype(np.float32))


def matched(x: np.ndarray, y: np.ndarray, by_motion: bool = False) -> FilmAlignment:
    described = (FilmDescription(film_motion(each, 60).maps, 60, [looks(each)], by_motion=by_motion) for each in (x, y))
    return match_films(*described)


def paired(found: FilmAlignment) -> Pair:
    x, y = (
        Recording(Path(f"{name}.mp4"), np.arange(n) / 60, np.arange(n), torch.zeros(n, 1))
        for name, n in zip("ab", found.plan.shape, strict=True)
    )
    return pair_of(x, y, found)


FILM = wandering(180, seed=3)
STEPS = np.repeat([0, 1, 2], 60)


@pytest.mark.parametrize(
    ("order", "expected"),
    [((1, 0, 2), [1, 0, 2]), ((0, 1, 0, 2), [0, 1, 0, 2]), ((0, 2), [0, 2]), ((2, 0, 1), [2, 0, 1])],
)
def test_parts_of_a_film_are_found_in_another_order(order: tuple[int, ...], expected: list[int]) -> None:
    cut = np.concatenate([np.arange(60) + 60 * step for step in order])
    pair = paired(matched(FILM[cut], FILM))
    assert pair.in_order == (list(order) == sorted(order))
    there = pair.partner >= 0
    assert there.mean() > 0.85 and np.abs(pair.partner - cut)[there].mean() < 3
    assert [each.step for each in occurrences(pair, STEPS)] == expected
    assert "another order" in pair.verdict or pair.in_order or pair.kind == "unclear"


def test_what_the_other_film_shows_twice_is_a_piece_of_its_own() -> None:
    cut = np.concatenate([np.arange(180), np.arange(60)])
    pair = paired(matched(FILM, FILM[cut]))
    again = [piece for piece in pair.pieces if piece.x and piece.y and piece.y[0] > 170]
    assert len(again) == 1 and again[0].x is not None and again[0].x[1] < 70
    assert np.abs(pair.back - cut)[190:235].mean() < 5 and np.abs(pair.partner - np.arange(180)).mean() < 3
    assert set(pair.piece[:170].tolist()) == {pair.pieces.index(next(p for p in pair.pieces if p is not again[0]))}


def test_films_whose_motion_is_compared_keep_their_order() -> None:
    cut = np.concatenate([np.arange(60, 120), np.arange(60), np.arange(120, 180)])
    found = matched(FILM[cut], FILM, by_motion=True)
    assert found.in_order and found.disorder is None and "try --features appearance" in paired(found).reading
    other = matched(FILM[cut], FILM)
    assert "of the 1.0 that is needed" in paired(other).reading
    # Why an order is kept that pieces in another one would gain on.
    kept = other._replace(in_order=True, disorder=1.5)
    assert "Read in one order: that of the best pieces." in paired(kept._replace(recognition=1.3)).reading
    assert "Read in one order: too little looks alike in both" in paired(kept._replace(recognition=1.1)).reading


@pytest.mark.parametrize("seed", [8001, 8008])
def test_a_step_that_is_done_again_is_found_where_it_comes_back(seed: int) -> None:
    """It needs the mass of the step twice, and has other neighbours; with the plan of the path both were missed."""
    x, y = order_pair("done again", seed)
    right, in_order = judged(match_films(film_by_looks(x), film_by_looks(y)), labels_of(x), labels_of(y))
    assert in_order and right > 0.9


def test_a_step_that_the_other_film_does_not_show_takes_no_partners_from_another_step() -> None:
    """Before, .78 of the frames were right, because the extra step was paired with the one after it."""
    x, y = order_pair("extra", 5007)
    found = match_films(film_by_looks(x), film_by_looks(y))
    right, in_order = judged(found, labels_of(x), labels_of(y))
    assert in_order and right > 0.9
    assert found.paired[labels_of(x) == 1].mean() < 0.3


@pytest.mark.slow
def test_swapped_steps_are_in_the_right_place_and_the_same_order_is_kept() -> None:
    """Seen on ten other pairs: .92 of the frames in the right step, .62 where the order is kept."""
    rows = measured(2, seed=40, kinds=("the same", "swapped")).groupby("kind").mean()
    assert rows["in another order"].to_dict() == {"the same": 0.0, "swapped": 1.0}
    assert rows["right, read"].min() > 0.8 > 0.75 > rows.loc["swapped", "right, kept"]
