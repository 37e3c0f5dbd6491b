"""What both films show, and what only one of them does, in pieces. [ours]"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SHORTEST = 3  # frames; a shorter run without partners belongs to its neighbours


class FilmPiece(NamedTuple):
    """A part of both films that shows the same, or of one of them that the other does not show.

    Attributes:
        x, y: its first frame and the one after its last, in X and in Y; None in a film that does not show it.
        share: mean probability that its frames have a partner; None where they have none.
        again: whether Y shows for another time what X shows here; the matches of X lie in another piece.
    """

    x: tuple[int, int] | None
    y: tuple[int, int] | None
    share: float | None
    again: bool = False


def pieces_of(matches: np.ndarray, sure_x: np.ndarray, sure_y: np.ndarray) -> list[FilmPiece]:
    """What both films show and what only one does, in order; a part of Y alone comes before the X that follows it."""
    n, m = len(sure_x), len(sure_y)
    alone_x, unsure = _runs(sure_x < 0.5), sure_y < 0.5
    edges = [0, *(edge for run in alone_x for edge in run), n]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        # A part of X that fits several places of a longer Y: none of them is sure, but it is matched with one.
        place = slice(int(matches[start]), int(np.ceil(matches[end - 1])) + 1) if start < end else slice(0)
        if unsure[place].all():
            unsure[place] = False
    alone_y = _runs(unsure)
    places = [_place(run, matches, alone_x, m) for run in alone_y]  # where X is cut by each part of Y alone
    cuts = sorted({*edges, *places})
    spans = list(zip(cuts, cuts[1:], strict=False))
    both = [span for span in spans if not any(a <= span[0] < b for a, b in alone_x)]
    waiting, pieces, shown = list(zip(places, alone_y, strict=True)), [], 0
    for start, end in spans:
        while waiting and waiting[0][0] <= start:
            pieces.append(FilmPiece(None, waiting[0][1], None))
            shown = waiting.pop(0)[1][1]
        until = waiting[0][1][0] if waiting else m
        if (start, end) not in both or shown == until:  # no frame of Y is left for it
            pieces.append(FilmPiece((start, end), None, None))
            continue
        if (start, end) != both[-1] and not (waiting and waiting[0][0] <= end):
            until = min(max(round(float(matches[end - 1])) + 1, shown + 1), until)
        pieces.append(FilmPiece((start, end), (shown, until), float(sure_x[start:end].mean())))
        shown = until
    return _with_all_of_y([*pieces, *(FilmPiece(None, run, None) for _, run in waiting)], m)


def _with_all_of_y(pieces: Sequence[FilmPiece], m: int) -> list[FilmPiece]:
    """The pieces and, where no piece shows frames of Y, pieces of Y alone."""
    found: list[FilmPiece] = []
    shown = 0
    for piece in pieces:
        if piece.y is not None:
            if piece.y[0] > shown:
                found.append(FilmPiece(None, (shown, piece.y[0]), None))
            shown = piece.y[1]
        found.append(piece)
    return found if shown == m else [*found, FilmPiece(None, (shown, m), None)]


def _place(run: tuple[int, int], matches: np.ndarray, alone_x: Sequence[tuple[int, int]], m: int) -> int:
    """The frame of X before which Y shows something alone: the first of the frames that X shows alone there, if any."""
    if run[0] == 0 or run[1] == m:
        return 0 if run[0] == 0 else len(matches)
    there = int(np.searchsorted(matches, (run[0] + run[1] - 1) / 2))
    return next((start for start, end in alone_x if start <= there < end), there)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """The first and the one after the last place of each run of True that is at least ``SHORTEST`` long."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    runs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(start, end) for start, end in runs if end - start >= SHORTEST]


def moved(piece: FilmPiece, start: int, first: int) -> FilmPiece:
    """A piece whose frames are counted from others than 0."""
    x, y = (
        (None if span is None else (span[0] + by, span[1] + by)) for span, by in ((piece.x, start), (piece.y, first))
    )
    return piece._replace(x=x, y=y)


def joined(pieces: Sequence[FilmPiece], n: int, m: int) -> list[FilmPiece]:
    """The pieces that both films show, by their place in X, with what only X shows between, then what only Y does."""
    both = [piece for piece in pieces if piece.x is not None and piece.y is not None]
    alone = []
    for side, count in enumerate((n, m)):
        covered = np.zeros(count, bool)
        for piece in both:
            covered[slice(*piece[side])] = True  # type: ignore[misc]
        alone.append(_runs(~covered))
    of_x = [*both, *(FilmPiece(run, None, None) for run in alone[0])]
    return sorted(of_x, key=lambda piece: piece.x or (0, 0)) + [FilmPiece(None, run, None) for run in alone[1]]
