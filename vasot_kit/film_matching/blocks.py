"""Which parts of two recordings belong together where steps are swapped, done again, missing or extra. [ours]

A path of :mod:`vasot_kit.film_matching.pairing` keeps the order of both recordings. Here the rows of a plan are read in
order as well, but a *block*, a run of pairs by the same steps (1, 1), (1, 2), (2, 1), may begin at any column, at a
price, whether other rows were paired with it before or not. One pass over the plan finds the best blocks in O(NM).

Steps that look alike would be taken for each other. So a block costs what the best block between *different* parts of
one recording gains, which is what a block gains that means nothing. And the order is given up only where blocks in free
order gain more, by a share of that price, than those of the best reading of the same kind in which columns never go
back. Alignments with jumps are known from genomes with rearrangements (Brudno et al., Glocal alignment, Bioinformatics
2003); the price is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit

from vasot_kit.film_matching.pairing import LONG_STEP_WEIGHT, PathPrices

Span = tuple[int, int]  # a first place, and the one after the last
_BEGINS = 3  # beside the numbers of the three steps


class Block(NamedTuple):
    """Rows and columns that belong together, in order.

    Attributes:
        x, y: the first one and the one after the last.
    """

    x: Span
    y: Span


class Reading(NamedTuple):
    """A plan read as blocks.

    Attributes:
        blocks: those of all rows first, by row, and then those of columns that no row belongs to yet; or the whole plan
            as one block where the order is kept.
        disorder: by how much the free order gains more than the order kept, in multiples of what it has to.
        gain: of the best blocks, their price paid.
    """

    blocks: list[Block]
    disorder: float
    gain: float


def blocks_of(gains: np.ndarray, price: float, prices: PathPrices) -> Reading:
    """The blocks of a plan in whatever order they come, or all of it as one block where the order is kept.

    Args:
        gains: (N, M) what each pair gains, see :func:`vasot_kit.film_matching.pairing.gains_of`.
        price: of a block, see :func:`price_of`.
        prices: of which ``pair`` and ``order`` are used.
    """
    n, m = gains.shape
    whole, need = [Block((0, n), (0, m))], prices.order * price
    rows, columns = gains - prices.pair, np.ascontiguousarray(gains.T) - prices.pair
    kept, free = ([_best(each, price, in_order) for each in (rows, columns)] for in_order in (True, False))
    more = max(after[1] - before[1] for before, after in zip(kept, free, strict=True)) / need
    gain = max(kept[0][1], free[0][1])
    if more <= 1:
        return Reading(whole, more, gain)
    found = free[0][0]
    shown = np.zeros(m, bool)
    for block in found:
        shown[slice(*block.y)] = True
    found += [Block(x, y) for y, x in free[1][0] if shown[slice(*y)].mean() < 0.5]
    by_row = sorted(found)
    in_order = all(a.x[1] <= b.x[0] and a.y[1] <= b.y[0] for a, b in pairwise(by_row))
    return Reading(whole if in_order else found, more, gain)


def price_of(within: Sequence[np.ndarray], prices: PathPrices) -> float:
    """What a block costs: the gain of the best one between different parts of a recording, the least of several.

    Args:
        within: the gains of each recording with itself, without those of moments near each other.
        prices: of which ``pair`` and ``block``, the least price, are used.
    """
    return max(prices.block, min(_best_run(gains - prices.pair) for gains in within))


def _best(gains: np.ndarray, price: float, in_order: bool) -> tuple[list[Block], float]:
    """The blocks of the best reading, by row, and what they gain together."""
    total, ends = _read(gains, price, in_order)
    return [Block((a, b), (c, d)) for a, b, c, d in ends[::-1].tolist()], total


@njit(cache=True)
def _best_run(gains: np.ndarray) -> float:
    """What the best single block gains."""
    n, m = gains.shape
    inside, best = np.zeros((n, m)), 0.0
    for i in range(n):
        for j in range(m):
            top = gains[i, j] + (max(0.0, inside[i - 1, j - 1]) if i > 0 and j > 0 else 0.0)
            if i > 0 and j > 1:
                top = max(top, inside[i - 1, j - 2] + LONG_STEP_WEIGHT * (gains[i, j] + gains[i, j - 1]))
            if i > 1 and j > 0:
                top = max(top, inside[i - 2, j - 1] + LONG_STEP_WEIGHT * (gains[i, j] + gains[i - 1, j]))
            inside[i, j] = top
            best = max(best, top)
    return best


@njit(cache=True)
def _read(gains: np.ndarray, price: float, in_order: bool) -> tuple[float, np.ndarray]:
    """What the best reading gains, and (B, 4) the rows and columns of its blocks, the last block first.

    ``free[i, j]`` is the best of rows before i outside a block and columns before j, of all columns where the order is
    free; ``inside[i, j]`` the best that pairs row i with column j.
    """
    n, m = gains.shape
    free, ended = np.zeros((n + 1, m + 1)), np.full((n + 1, m + 1), -1, np.int32)
    inside, came = np.full((n, m), -np.inf), np.zeros((n, m), np.int8)
    for i in range(n):
        free[i + 1, 0] = free[i, 0]
        best, place = -np.inf, -1
        for j in range(m):
            here = gains[i, j]
            top, way = (free[i, j] if in_order else free[i, m]) - price + here, _BEGINS
            if i > 0 and j > 0 and inside[i - 1, j - 1] + here > top:
                top, way = inside[i - 1, j - 1] + here, 0
            if i > 0 and j > 1:
                wide = inside[i - 1, j - 2] + LONG_STEP_WEIGHT * (here + gains[i, j - 1])
                if wide > top:
                    top, way = wide, 1
            if i > 1 and j > 0:
                tall = inside[i - 2, j - 1] + LONG_STEP_WEIGHT * (here + gains[i - 1, j])
                if tall > top:
                    top, way = tall, 2
            inside[i, j], came[i, j] = top, way
            if top > best:
                best, place = top, j
            free[i + 1, j + 1], ended[i + 1, j + 1] = free[i, j + 1], -1
            if best > free[i + 1, j + 1]:
                free[i + 1, j + 1], ended[i + 1, j + 1] = best, place
    found = np.zeros((n, 4), np.int64)
    count, i, j = 0, n, m
    while i > 0:
        last = int(ended[i, j])
        if last < 0:
            i -= 1
            continue
        row, column = i - 1, last
        while came[row, column] != _BEGINS:
            way = came[row, column]
            row, column = row - (2 if way == 2 else 1), column - (2 if way == 1 else 1)
        found[count] = row, i, column, last + 1
        count += 1
        i, j = row, column if in_order else m
    return float(free[n, m]), found[:count]
