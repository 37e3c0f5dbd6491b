"""Which frames of two recordings belong together, and which have no partner: a pair hidden Markov model. [ours]

A path through the plan pairs frames in order. From one cell to the next it takes one of the steps

    (1, 1), (1, 2), (2, 1)     both recordings go on, Y at the same speed, at twice or at half of it
    a gap in X or in Y         frames of one recording that the other does not show, or shows much faster

and it may begin and end anywhere, so that each recording may have frames before and after what both show. A pair of
frames contributes ``weight * log(T_ij / (p_i q_j))``, which is positive where the plan pairs them more than chance
would; gaps and unpaired ends have a price. The weight of a path is the exponential of its sum, and all answers are
means over all paths with these weights, which one pass forward and one pass back compute in O(NM).

Source of pair hidden Markov models and of gaps with a price for opening and one for going on: Durbin, Eddy, Krogh,
Mitchison, Biological Sequence Analysis, 1998, chapter 4. Here they read a transport plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from vasot_lib.checks import NotNegativeWeight, Weight, check_fields
from vasot_lib.errors import InputError
from vasot_lib.paths import table

FLOOR = 1e-9  # of the plan in multiples of p_i q_j, so that no pair is impossible
# Weight of each of the two cells that a step (1, 2) or (2, 1) enters. With it a step (a, b) has the weight (a + b) / 2,
# so that adding a constant to all pairs favours no tempo.
LONG_STEP_WEIGHT = 0.75
NEGLIGIBLE = 1e-14  # probability of a state that is not followed further back


@dataclass(frozen=True)
class PathPrices:
    """What a path pays, in the unit of weighted logarithms of the plan.

    Attributes:
        weight: weight of a pair; a tenth, because the frames beside each other say much the same.
        most: largest logarithm of a pair that counts.
        gap, gap_frame: opening a gap between two pairs, and each further frame in it.
        end, end_frame: leaving frames of one recording before the first or after the last pair, and each of them.
        least: what each pair has to gain. The mean over all paths counts paths, of which there are the more the more
            pairs they have: with 0, pairs that gain nothing are preferred to a gap.
        block, pair: the least price of a block, and what each of its pairs has to gain, where the order is free; see
            :mod:`vasot_kit.film_matching.blocks`.
        order: by how much blocks in free order have to gain more than in order, in multiples of the price of a block.
    """

    weight: Weight = 0.1
    most: Weight = 5.0
    gap: NotNegativeWeight = 10.0
    gap_frame: NotNegativeWeight = 0.15
    end: NotNegativeWeight = 2.0
    end_frame: NotNegativeWeight = 0.02
    least: NotNegativeWeight = 0.0
    block: Weight = 2.5
    pair: NotNegativeWeight = 0.06
    order: Weight = 0.35

    def __post_init__(self) -> None:
        check_fields(self)


class PairedPath(NamedTuple):
    """The mean over all paths through a plan between N and M frames.

    Attributes:
        position: (N,) column of each row, fractional and increasing. A row without a partner lies between those of its
            neighbours; before the first and after the last pair the columns go on as the rows do.
        paired_x: (N,) probability that a row has a partner.
        paired_y: (M,) probability that a column has one.
        pairs: (N, M) probability that a row is paired with a column.
    """

    position: np.ndarray
    paired_x: np.ndarray
    paired_y: np.ndarray
    pairs: np.ndarray


class Visits(NamedTuple):
    """With which probability a path does something; (N, M) where nothing else is said.

    Attributes:
        pairs: pairs row i with column j.
        rows: passes over row i by a step (2, 1), between column j - 1 and column j.
        columns: (M,) passes over column j by a step (1, 2).
        gaps: skips row i in a gap behind column j.
        first, last: has its first, or its last, pair there.
    """

    pairs: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    gaps: np.ndarray
    first: np.ndarray
    last: np.ndarray


def paired_path(plan: ArrayLike, prices: PathPrices | None = None) -> PairedPath:
    """Pair the frames of two recordings in order, with frames that have no partner between, before and after.

    Args:
        plan: see :func:`gains_of`.
        prices: what gaps and ends cost.

    Raises:
        InputError: not a matrix of at least 2 x 2 finite entries >= 0, or all of them 0.

    >>> plan = np.kron(np.eye(3), np.eye(30))[:30, :60] / 30  # the 30 frames of X are the first 30 of 60 frames of Y
    >>> found = paired_path(plan)
    >>> found.position[[0, 10, 20]].round(1).tolist(), found.paired_y[[0, 20, 40, 59]].round(1).tolist()
    ([0.0, 10.0, 20.0], [1.0, 1.0, 0.0, 0.0])
    """
    prices = prices or PathPrices()
    gains = gains_of(plan, prices) - prices.least
    given = np.array([prices.gap, prices.gap_frame, prices.end, prices.end_frame])
    sums, total = _forward(gains, given)
    return _means(Visits(*_backward(gains, given, sums, total)))


def gains_of(plan: ArrayLike, prices: PathPrices) -> np.ndarray:
    """(N, M) what a path gains by each pair: ``weight * min(log(N M T_ij), most)``.

    Args:
        plan: (N, M) transport plan T whose rows, and whose columns, have equal masses; with relaxed marginals it gives
            frames without a partner little mass.
        prices: the weights.

    Raises:
        InputError: not a matrix of at least 2 x 2 finite entries >= 0, or all of them 0.
    """
    matrix = table("the plan", plan)
    if matrix.ndim != 2 or min(matrix.shape) < 2 or not np.isfinite(matrix).all() or matrix.min() < 0:
        raise InputError(f"the plan has shape {matrix.shape}; expected (N, M), at least 2 x 2, finite and not negative")
    if not matrix.any():
        raise InputError("the plan is 0 everywhere; check the transport that it came from")
    return prices.weight * np.minimum(np.log(matrix.size * matrix + FLOOR), prices.most)


def _means(visits: Visits) -> PairedPath:
    """The means over all paths. A row that a step (2, 1) passes over, or that lies in a gap, is between two columns."""
    m = visits.pairs.shape[1]
    columns = np.arange(m)
    inside = visits.pairs @ columns + visits.rows @ (columns - 0.5) + visits.gaps @ np.minimum(columns + 0.5, m - 1)
    ended = np.append(0, np.cumsum(visits.last.sum(1))[:-1])
    after = ended * (m - 1) - _before(visits.last[::-1, ::-1])[::-1]
    position = inside + _before(visits.first) + after
    paired_x, paired_y = (visits.pairs + visits.rows).sum(1), visits.pairs.sum(0) + visits.columns
    return PairedPath(position, paired_x.clip(0, 1), paired_y.clip(0, 1), visits.pairs)


def _before(first: np.ndarray) -> np.ndarray:
    """(N,) the sum over the first pairs of paths, times their (N, M) probabilities, of the column of each row before.

    Before the first pair the columns go back as the rows do, at most to column 0.
    """
    n, m = first.shape
    rows, columns = np.arange(n)[:, None], np.arange(m)
    ahead = np.zeros((n, n + m))  # by how much the column of the first pair is ahead of its row, from -n
    ahead[rows, columns - rows + n] = first
    later = np.zeros_like(ahead)
    later[:-1] = np.cumsum(ahead[:0:-1], axis=0)[::-1]
    return (later * np.maximum(rows + np.arange(-n, m), 0)).sum(1)


# A path is in one of three states: it has just paired row i with column j (0), or it has skipped row i after pairing
# column j (1), or skipped column j after row i (2); rows are skipped before columns. State 3 is any of them. These are
# the ways to arrive at a state: from which one, how many rows and columns before.
_TO = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3])
_FROM = np.array([3, 3, 3, 0, 1, 0, 1, 2, 0, 1, 2])
_ROWS = np.array([1, 1, 2, 1, 1, 0, 0, 0, 0, 0, 0])
_COLUMNS = np.array([1, 2, 1, 0, 0, 1, 1, 1, 0, 0, 0])
_PRICE = np.array([-1, -1, -1, 0, 1, 0, 0, 1, -1, -1, -1])  # 0: opens a gap, 1: goes on in it
_WIDE, _TALL = 1, 2  # the steps (1, 2) and (2, 1)


@njit(cache=True)
def _gain(way: int, i: int, j: int, score: np.ndarray, prices: np.ndarray) -> float:
    """What a path gains by one way to arrive at cell (i, j)."""
    if way == 0:
        return score[i, j]
    if way == _WIDE:
        return LONG_STEP_WEIGHT * (score[i, j] + score[i, j - 1])
    if way == _TALL:
        return LONG_STEP_WEIGHT * (score[i, j] + score[i - 1, j])
    return -prices[_PRICE[way]] if _PRICE[way] >= 0 else 0.0


@njit(cache=True)
def _unpaired(before: int, prices: np.ndarray) -> float:
    """The price of that many frames before the first or after the last pair."""
    return prices[2] + prices[3] * before if before else 0.0


@njit(cache=True)
def _both(a: float, b: float) -> float:
    """log(exp(a) + exp(b))"""
    top, low = max(a, b), min(a, b)
    return top + np.log1p(np.exp(low - top)) if low > top - 40 else top


@njit(cache=True)
def _forward(score: np.ndarray, prices: np.ndarray) -> tuple[np.ndarray, float]:
    """(4, N, M) for each state, the log of the sum over all paths that arrive in it; and that over all whole paths."""
    n, m = score.shape
    sums = np.full((4, n, m), -np.inf)
    total = -np.inf
    for i in range(n):
        for j in range(m):
            sums[0, i, j] = score[i, j] - _unpaired(i, prices) - _unpaired(j, prices)  # the path begins here
            for way in range(len(_TO)):
                u, v, state = i - _ROWS[way], j - _COLUMNS[way], _TO[way]
                if u >= 0 and v >= 0 and sums[_FROM[way], u, v] > -np.inf:
                    arriving = sums[_FROM[way], u, v] + _gain(way, i, j, score, prices)
                    sums[state, i, j] = _both(sums[state, i, j], arriving)
            last = sums[0, i, j] - _unpaired(n - 1 - i, prices) - _unpaired(m - 1 - j, prices)
            total = _both(total, last)
    return sums, total


@njit(cache=True)
def _backward(
    score: np.ndarray, prices: np.ndarray, sums: np.ndarray, total: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The fields of :class:`Visits`: the probability of a state is handed back to those that it was reached from."""
    n, m = score.shape
    visits = np.zeros((4, n, m))
    rows, columns, first, last = np.zeros((n, m)), np.zeros(m), np.zeros((n, m)), np.zeros((n, m))
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            ends = sums[0, i, j] - _unpaired(n - 1 - i, prices) - _unpaired(m - 1 - j, prices)
            last[i, j] = np.exp(ends - total)
            visits[0, i, j] += last[i, j]
            for way in range(len(_TO) - 1, -1, -1):
                u, v, state, origin = i - _ROWS[way], j - _COLUMNS[way], _TO[way], _FROM[way]
                if u < 0 or v < 0 or visits[state, i, j] <= NEGLIGIBLE:
                    continue
                arriving = sums[origin, u, v] + _gain(way, i, j, score, prices)
                share = visits[state, i, j] * np.exp(arriving - sums[state, i, j])
                visits[origin, u, v] += share
                if way == _WIDE:
                    columns[j - 1] += share
                elif way == _TALL:
                    rows[i - 1, j] += share
            if visits[0, i, j] > NEGLIGIBLE:
                begins = score[i, j] - _unpaired(i, prices) - _unpaired(j, prices)
                first[i, j] = visits[0, i, j] * np.exp(begins - sums[0, i, j])
    return visits[0], rows, columns, visits[1], first, last
