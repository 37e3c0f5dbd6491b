"""The mean path of a plan: known paths are found, no information is a straight line, sums equal counting all paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasot_lib import paths
from vasot_lib.errors import InputError
from vasot_lib.paths import LONG_STEP_WEIGHT, mean_path

Node = tuple[int, int]
STEPS = ((1, 1), (1, 2), (2, 1))


def flat(n: int, m: int) -> np.ndarray:
    return np.full((n, m), 1 / (n * m))


def along(path: np.ndarray, m: int) -> np.ndarray:
    """All mass of each row on the two columns around the path's place."""
    columns = np.arange(m)
    return np.clip(1 - np.abs(path[:, None] - columns), 0, None) / len(path)


def walk(seed: int, n: int) -> list[Node]:
    """A path from (0, 0) to (n - 1, n - 1) in allowed steps, half of them long ones where the end lets them."""
    rng = np.random.default_rng(seed)
    nodes = [(0, 0)]
    while nodes[-1] != (n - 1, n - 1):
        i, j = nodes[-1]
        a, b = STEPS[rng.choice(3, p=(0.5, 0.25, 0.25))]
        rest = (n - 1 - i - a, n - 1 - j - b)
        if min(rest) >= 0 and max(rest) <= 2 * min(rest):
            nodes.append((i + a, j + b))
    return nodes


def cells(start: Node, end: Node) -> list[Node]:
    """The cells that a step enters."""
    (i, j), (u, v) = start, end
    return {(1, 1): [(u, v)], (1, 2): [(u, v - 1), (u, v)], (2, 1): [(u - 1, v), (u, v)]}[u - i, v - j]


def rows_of(nodes: list[Node]) -> np.ndarray:
    """Where a path is in every row; a row that a step passes lies half way."""
    rows = [i for i, _ in nodes]
    return np.interp(np.arange(rows[-1] + 1), rows, [j for _, j in nodes])


def every_path(start: Node, end: Node) -> Iterator[list[Node]]:
    if start == end:
        yield [end]
    elif start[0] < end[0] and start[1] < end[1]:
        for a, b in STEPS:
            yield from ([start, *rest] for rest in every_path((start[0] + a, start[1] + b), end))


def price(cost: np.ndarray, nodes: list[Node]) -> float:
    total = 0.0
    for start, end in zip(nodes, nodes[1:], strict=False):
        entered = cells(start, end)
        total += (1.0 if len(entered) == 1 else LONG_STEP_WEIGHT) * sum(cost[cell] for cell in entered)
    return total


SMOOTH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "straight": lambda t: t,
    "slow, fast, slow": lambda t: t - 0.07 * np.sin(2 * np.pi * t),  # tempo .56 to 1.44
    "fast, then slow": lambda t: t + 0.35 * t * (1 - t),  # tempo 1.35 to .65
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize(("n", "m"), [(60, 60), (150, 150), (90, 60), (160, 40)])
def test_a_plan_on_a_known_path_gives_that_path(name: str, n: int, m: int) -> None:
    path = SMOOTH[name](np.linspace(0, 1, n)) * (m - 1)
    assert np.abs(mean_path(along(path, m)) - path).max() < 0.5
    assert np.abs(mean_path(along(path, m), weight=1.0) - path).max() < 0.6


@pytest.mark.parametrize("name", SMOOTH)
def test_where_y_is_longer_the_path_is_known_to_a_frame_of_x(name: str) -> None:
    n, m = 60, 120
    path = SMOOTH[name](np.linspace(0, 1, n)) * (m - 1)
    assert np.abs(mean_path(along(path, m)) - path).max() < (m - 1) / (n - 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_path_of_allowed_steps_is_found_exactly(seed: int) -> None:
    """Up to twice and half the speed; with a large weight only the best path counts."""
    n = 40
    nodes = walk(seed, n)
    plan = np.full((n, n), 1e-9)
    for start, end in zip(nodes, nodes[1:], strict=False):
        for cell in cells(start, end):
            plan[cell] = 1.0
    expected = rows_of(nodes)
    assert {0.5, 2.0} <= set(np.diff(expected))
    assert mean_path(plan, weight=50.0) == pytest.approx(expected, abs=1e-6)


def test_the_tempo_bends_within_a_frame() -> None:
    """Twice as fast for a third, half as fast for the rest."""
    nodes = [(i, 2 * i) for i in range(21)] + [(20 + 2 * k, 40 + k) for k in range(1, 21)]
    expected = rows_of(nodes)
    assert expected[-1] == len(expected) - 1 == 60
    plan = along(expected, 61)
    assert np.abs(mean_path(plan, weight=1.0) - expected).max() < 0.5
    assert np.abs(mean_path(plan) - expected).max() < 1.5  # the corner is rounded


@pytest.mark.parametrize(("n", "m"), [(20, 20), (200, 200), (40, 70), (70, 40)])
def test_no_information_gives_the_straight_line(n: int, m: int) -> None:
    straight = np.linspace(0, m - 1, n)
    assert np.abs(mean_path(flat(n, m)) - straight).max() < 0.25
    rng = np.random.default_rng(n)
    p, q = (rng.uniform(0.2, 2, size) for size in (n, m))
    plan = np.outer(p / p.sum(), q / q.sum())
    assert mean_path(plan, p / p.sum(), q / q.sum()) == pytest.approx(mean_path(flat(n, m)), abs=1e-6)
    assert np.abs(mean_path(plan, weight=5.0) - straight).max() > 0.5  # without the masses it looks like information


def test_a_multiple_of_the_plan_and_masses_in_any_unit_change_nothing() -> None:
    rng = np.random.default_rng(0)
    plan, p, q = rng.uniform(0.1, 1, (30, 20)), rng.uniform(0.2, 2, 30), rng.uniform(0.2, 2, 20)
    found = mean_path(plan, p, q)
    for other in (mean_path(1e3 * plan, p, q), mean_path(plan, 7 * p, q), mean_path(plan, p, q / 50)):
        assert other == pytest.approx(found, abs=1e-5)


def test_the_transposed_plan_gives_the_inverse_path() -> None:
    path = SMOOTH["slow, fast, slow"](np.linspace(0, 1, 100)) * 99
    plan = along(path, 100)
    there, back = mean_path(plan), mean_path(plan.T)
    assert np.interp(there, np.arange(100), back) == pytest.approx(np.arange(100), abs=0.5)


PLAIN = paths._log_path_sums.py_func  # what Numba compiles, as Python: the same numbers, and coverage sees it
forms = pytest.mark.parametrize("sums", [paths._log_path_sums, PLAIN], ids=["compiled", "plain"])


@forms
@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_sums_are_those_over_all_paths(n: int, sums: Callable[..., np.ndarray]) -> None:
    cost = np.random.default_rng(n).uniform(-1, 3, (n, n))
    for to_end in (False, True):
        expected = np.zeros((n, n))
        for cell in np.ndindex(n, n):
            ends = (cell, (n - 1, n - 1)) if to_end else ((0, 0), cell)
            expected[cell] = sum(np.exp(-price(cost, nodes)) for nodes in every_path(*ends))
        assert np.exp(sums(cost, to_end)) == pytest.approx(expected)  # 0 where no path comes


@forms
@pytest.mark.parametrize("weight", [0.1, 1.0, 5.0])
def test_the_mean_is_that_over_all_paths(
    weight: float, sums: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "_log_path_sums", sums)
    for seed in range(5):
        plan = np.random.default_rng(seed).uniform(0, 1, (5, 5)) ** 3
        cost = -weight * np.log(25 * plan / plan.sum() + paths.PLAN_FLOOR)
        found = list(every_path((0, 0), (4, 4)))
        shares = np.exp([-price(cost, nodes) for nodes in found])
        expected = shares @ np.array([rows_of(nodes) for nodes in found]) / shares.sum()
        assert mean_path(plan, weight=weight) == pytest.approx(expected, abs=1e-9)


@given(
    st.integers(2, 12), st.integers(2, 12), st.integers(0, 10**6), st.sampled_from([1, 5, 40]),
    st.sampled_from([0.1, 1.0, 10.0]),
)  # fmt: skip
def test_from_corner_to_corner_at_half_to_twice_the_speed(n: int, m: int, seed: int, sharp: int, weight: float) -> None:
    """Also where the plan says otherwise."""
    found = mean_path(np.random.default_rng(seed).random((n, m)) ** sharp, weight=weight)
    assert found.shape == (n,) and (found[0], found[-1]) == pytest.approx((0, m - 1), abs=1e-9)
    tempo = np.diff(found) * (n - 1) / (m - 1)
    assert tempo.min() > 0.5 - 1e-6 and tempo.max() < 2 + 1e-6


BAD = np.array([[1.0, np.nan], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (dict(plan=np.ones(4)), r"the plan has shape \(4,\); expected \(N, M\)"),
        (dict(plan=np.ones((1, 4))), r"the plan has shape \(1, 4\); expected \(N, M\), at least 2 x 2"),
        (dict(plan=BAD), "finite and not negative"),
        (dict(plan=-np.eye(3)), "finite and not negative"),
        (dict(plan=np.zeros((3, 4))), "the plan is 0 everywhere"),
        (dict(weight=0.0), "weight is 0.0; it must be a finite number above 0"),
        (dict(weight=float("nan")), "weight is nan"),
        (dict(mass_x=np.ones(4)), r"mass_x has shape \(4,\); expected \(3,\) positive numbers"),
        (dict(mass_y=np.array([1.0, 0, 1])), r"mass_y has shape \(3,\); expected \(3,\) positive numbers"),
    ],
)
def test_what_makes_no_path_is_refused_in_one_line(values: dict, says: str) -> None:
    with pytest.raises(InputError, match=says) as failure:
        mean_path(**{"plan": np.eye(3), **values})
    assert "\n" not in str(failure.value)
