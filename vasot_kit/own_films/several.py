"""More than two films: which of them is the reference, one table of all, and the verdicts on all pairs."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from vasot_kit.film_matching.matching import FilmAlignment
from vasot_kit.films.recordings import Recording
from vasot_kit.own_films.outputs import Outputs
from vasot_kit.own_films.pairs import Pair

FIRST, BEST = "first", "best"  # ways to choose the reference


def told_apart(recordings: Sequence[Recording]) -> list[Recording]:
    """The films, of which the first and one of the same name are also called by the folders that differ, or suffixes.

    The other films have different names. Files of results are named by the name alone, which the first does not need.
    """
    found = list(recordings)
    for k, other in enumerate(found[1:], start=1):
        if other.stem == found[0].stem:
            paths = [each.path.resolve() for each in (found[0], other)]
            places = zip(*(reversed(path.parts) for path in paths), strict=False)
            differing = next((each for each in places if each[0] != each[1]), ("first", "second"))
            for place, where in zip((0, k), differing, strict=True):
                found[place] = replace(found[place], called=f"{other.stem} ({where})")
            break
    return found


class Judged(NamedTuple):
    """What was found about two films, without their plan.

    Attributes:
        x, y: the places of the films among all.
        kind, closeness, gain: see :class:`vasot_kit.film_matching.matching.FilmAlignment`.
        sure: the mean confidence of the frames of X.
        covered: of X and of Y, the share of its frames that the other shows.
    """

    x: int
    y: int
    kind: str
    closeness: float
    gain: float
    sure: float
    covered: tuple[float, float]


def judged(places: tuple[int, int], alignment: FilmAlignment) -> Judged:
    """What is kept of the alignment of two films, given by their places among all."""
    both = [piece for piece in alignment.pieces if piece.x is not None and piece.y is not None]
    shares = []
    for side, count in enumerate(alignment.plan.shape):
        shown = np.zeros(count)
        for piece in both:
            start, end = piece[side]  # type: ignore[misc]
            shown[start:end] = piece.share
        shares.append(float(shown.mean()))
    sure = float(alignment.confidence.mean())
    return Judged(*places, alignment.kind, alignment.closeness, alignment.gain, sure, (shares[0], shares[1]))


def best_reference(verdicts: Sequence[Judged], among: Container[int] | None = None) -> int:
    """The place of the film whose plans with the others prefer their pairs most; the first of several.

    Args:
        verdicts: on all pairs of the films, or of those that are asked for.
        among: the places of the films that are asked for; all by default.
    """
    gains: dict[int, float] = {}
    for each in sorted(verdicts):
        for place in (each.x, each.y):
            gains[place] = gains.get(place, 0.0) + each.gain
    asked = [place for place in sorted(gains) if among is None or place in among]
    return max(asked, key=lambda place: gains[place])


def write_table(outputs: Outputs, pairs: Sequence[Pair]) -> None:
    """Write ``films.csv``: for each frame of the reference its frame, seconds, partner and confidence in all films.

    Args:
        outputs: the folder.
        pairs: of the reference, X, with each of the other films.
    """
    reference = pairs[0].x
    parts = ("frame", "seconds", "partner", "confidence")
    columns = ["frame", "seconds", *(f"{part}_{pair.y.stem}" for pair in pairs for part in parts)]
    cells = [list(zip(*_columns(pair), strict=True)) for pair in pairs]
    own = zip(reference.index.tolist(), (f"{at:.4f}" for at in reference.times), strict=True)
    outputs.table("films.csv", columns, [tuple(chain(first, *rest)) for first, *rest in zip(own, *cells, strict=True)])


def _columns(pair: Pair) -> list[list[object]]:
    nearest = pair.y.index[np.clip(np.round(pair.nearest), 0, len(pair.y.times) - 1).astype(int)]
    return [
        nearest.tolist(),
        [f"{at:.4f}" for at in pair.nearest_seconds],
        ["yes" if there else "no" for there in pair.partner >= 0],
        [f"{sure:.4f}" for sure in pair.confidence],
    ]


def write_verdicts(
    outputs: Outputs, recordings: Sequence[Recording], verdicts: Sequence[Judged]
) -> list[dict[str, Any]]:
    """Write ``verdicts.csv``, one row for each pair of films that was matched, and return the rows."""
    rows = [
        {
            "x": recordings[each.x].name,
            "y": recordings[each.y].name,
            "verdict": each.kind,
            "mean_confidence": round(each.sure, 4),
            "closeness": round(each.closeness, 3),
            "gain": round(each.gain, 4),
            "share_of_x": round(each.covered[0], 4),
            "share_of_y": round(each.covered[1], 4),
        }
        for each in verdicts
    ]
    outputs.table("verdicts.csv", list(rows[0]), [tuple(row.values()) for row in rows])
    return rows
