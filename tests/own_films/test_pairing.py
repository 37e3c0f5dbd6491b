"""Pairs with gaps: sums equal counting all paths, known pairs and gaps are found, unpaired frames are named."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasot_kit.film_matching import pairing
from vasot_kit.film_matching.pairing import LONG_STEP_WEIGHT, PathPrices, paired_path
from vasot_lib.errors import InputError

PAIR, SKIP_X, SKIP_Y = range(3)
Place = tuple[int, int, int]  # what the path does, the row and the column where it is then


def end(prices: PathPrices, frames: int) -> float:
    return prices.end + prices.end_frame * frames if frames else 0.0


def every_path(scores: np.ndarray, prices: PathPrices) -> Iterator[tuple[list[Place], float]]:
    """All paths with what they gain; rows are skipped before columns."""
    n, m = scores.shape

    def onward(path: list[Place], gain: float) -> Iterator[tuple[list[Place], float]]:
        kind, i, j = path[-1]
        if kind == PAIR:
            yield path, gain - end(prices, n - 1 - i) - end(prices, m - 1 - j)
        for a, b in ((1, 1), (1, 2), (2, 1)):
            u, v = i + a, j + b
            if u < n and v < m:
                passed = {(1, 1): 0.0, (1, 2): scores[u, v - 1], (2, 1): scores[u - 1, v]}[a, b]
                step = scores[u, v] if a == b else LONG_STEP_WEIGHT * (scores[u, v] + passed)
                yield from onward([*path, (PAIR, u, v)], gain + step)
        if kind != SKIP_Y and i + 1 < n:
            price = prices.gap_frame if kind == SKIP_X else prices.gap
            yield from onward([*path, (SKIP_X, i + 1, j)], gain - price)
        if j + 1 < m:
            price = prices.gap_frame if kind == SKIP_Y else prices.gap
            yield from onward([*path, (SKIP_Y, i, j + 1)], gain - price)

    for i, j in np.ndindex(n, m):
        yield from onward([(PAIR, i, j)], scores[i, j] - end(prices, i) - end(prices, j))


def places(path: list[Place], n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a path is in each row, and which rows and columns have a partner."""
    at, rows, columns = np.full(n, np.nan), np.zeros(n), np.zeros(m)
    for before, (kind, i, j) in zip([None, *path], path, strict=False):
        if kind == PAIR:
            at[i], rows[i], columns[j] = j, 1, 1
            if before and (i - before[1], j - before[2]) == (2, 1):
                at[i - 1], rows[i - 1] = j - 0.5, 1
            if before and (i - before[1], j - before[2]) == (1, 2):
                columns[j - 1] = 1
        elif kind == SKIP_X:
            at[i] = min(j + 0.5, m - 1)
    (_, i, j), (_, u, v) = path[0], path[-1]
    at[:i] = np.maximum(j - np.arange(i, 0, -1), 0)
    at[u + 1 :] = np.minimum(v + np.arange(1, n - u), m - 1)
    return at, rows, columns


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize(("n", "m"), [(2, 2), (4, 4), (3, 5), (5, 3)])
def test_it_is_the_mean_over_all_paths(n: int, m: int, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:  # what Numba compiles, as Python: the same numbers, and coverage sees it
        for name in ("_forward", "_backward", "_gain", "_unpaired", "_both"):
            monkeypatch.setattr(pairing, name, getattr(pairing, name).py_func)
    for seed in range(3):
        plan = np.random.default_rng(seed).uniform(0, 1, (n, m)) ** 3
        prices = PathPrices(weight=0.7, most=2.0, gap=0.5, gap_frame=0.2, end=0.4, end_frame=0.1)
        scores = prices.weight * np.minimum(np.log(n * m * plan + pairing.FLOOR), prices.most)
        found, gains = zip(*every_path(scores, prices), strict=True)
        found, gains = zip(
            *((path, gain) for path, gain in zip(found, gains, strict=True) if path[-1][0] == PAIR), strict=True
        )
        shares = np.exp(gains) / np.exp(gains).sum()
        expected = [shares @ np.array(each) for each in zip(*(places(path, n, m) for path in found), strict=True)]
        path = paired_path(plan, prices=prices)
        for value, right in zip((path.position, path.paired_x, path.paired_y), expected, strict=True):
            assert value == pytest.approx(right, abs=1e-9)
        on = np.zeros((n, m))
        for visited, share in zip(found, shares, strict=True):
            for kind, i, j in visited:
                on[i, j] += share * (kind == PAIR)
        assert path.pairs == pytest.approx(on, abs=1e-9)


def test_the_example_is_right() -> None:
    found = doctest.testmod(pairing)
    assert found.attempted > 0 and found.failed == 0


SURE = PathPrices(weight=1.0)


def blocks(*sizes: tuple[int, int]) -> np.ndarray:
    """A plan on the diagonals of blocks of these sizes along a staircase; a block with a 0 is a gap."""
    n, m = (sum(size[k] for size in sizes) for k in (0, 1))
    plan, i, j = np.zeros((n, m)), 0, 0
    for a, b in sizes:
        if a and b:
            rows = np.arange(a)
            plan[i + rows, j + np.round(rows * (b - 1) / max(a - 1, 1)).astype(int)] = 1 / n
        i, j = i + a, j + b
    return plan


@pytest.mark.parametrize("tempo", [1.0, 1.5, 2 / 3])
def test_pairs_of_one_tempo_are_found(tempo: float) -> None:
    n, m = 60, round(60 * tempo)
    path = paired_path(blocks((n, m)) + 1e-5, prices=SURE)
    assert np.abs(path.position - np.linspace(0, m - 1, n)).max() < 1
    assert path.paired_x.min() > 0.9 and path.paired_y.min() > 0.9


@pytest.mark.parametrize(
    ("sizes", "alone_x", "alone_y"),
    [
        (((20, 0), (50, 50)), slice(0, 20), slice(0, 0)),
        (((50, 50), (0, 25)), slice(0, 0), slice(50, 75)),
        (((30, 30), (20, 0), (40, 40)), slice(30, 50), slice(0, 0)),
        (((20, 0), (0, 10), (50, 50)), slice(0, 20), slice(0, 10)),
    ],
    ids=["before", "after", "between", "before in both"],
)
def test_frames_without_a_partner_are_named(sizes: Any, alone_x: slice, alone_y: slice) -> None:
    path = paired_path(blocks(*sizes), prices=SURE)
    for sure, alone in ((path.paired_x, alone_x), (path.paired_y, alone_y)):
        expected = np.ones(len(sure))
        expected[alone] = 0
        assert ((sure > 0.5) == expected).all()


def test_a_gap_is_opened_only_where_it_pays() -> None:
    plan = blocks((30, 30), (6, 0), (40, 40)) + 1e-4
    found = [paired_path(plan, prices=PathPrices(weight=1.0, gap=gap)).paired_x[30:36].min() for gap in (1.0, 1e4)]
    assert found[0] < 0.3 and found[1] > 0.99


@pytest.mark.parametrize(("n", "m"), [(30, 30), (20, 45), (45, 20)])
def test_a_plan_without_information_gives_no_jumps(n: int, m: int) -> None:
    path = paired_path(np.ones((n, m)))
    assert np.diff(path.position).min() > 0 and np.diff(path.position).max() < 2.5 * m / n


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 10**6), st.sampled_from([1, 5, 40]))
def test_places_increase_and_probabilities_are_some(n: int, m: int, seed: int, sharp: int) -> None:
    path = paired_path(np.random.default_rng(seed).random((n, m)) ** sharp, prices=PathPrices(weight=1.0, gap=1.0))
    assert np.diff(path.position).min() > -1e-9 and path.position.min() > -1e-9 and path.position.max() < m - 1 + 1e-9
    assert path.paired_x.sum() > 0 and path.pairs.sum(1).max() <= 1 + 1e-9 and path.pairs.sum(0).max() <= 1 + 1e-9


BAD = np.array([[1.0, np.nan], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (dict(plan=np.ones(4)), r"the plan has shape \(4,\); expected \(N, M\)"),
        (dict(plan=np.ones((1, 4))), r"the plan has shape \(1, 4\); expected \(N, M\), at least 2 x 2"),
        (dict(plan=BAD), "finite and not negative"),
        (dict(plan=-np.eye(3)), "finite and not negative"),
        (dict(plan=np.zeros((3, 4))), "the plan is 0 everywhere"),
        (dict(plan=[["a", "b"]]), "the plan: .*expected an array of numbers"),
    ],
)
def test_what_makes_no_path_is_refused_in_one_line(values: dict, says: str) -> None:
    with pytest.raises(InputError, match=says) as failure:
        paired_path(**values)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("field", ["weight", "most", "gap", "gap_frame", "end", "end_frame"])
def test_wrong_prices_are_refused(field: str) -> None:
    for value in (-1.0, float("nan"), "much"):
        with pytest.raises(InputError, match=f"PathPrices.{field} is"):
            PathPrices(**{field: value})  # type: ignore[arg-type]
