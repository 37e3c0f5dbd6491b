"""Two films that were aligned: which frames belong together, in both directions, and the files that say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vasot_kit.figures import plot_alignment
from vasot_kit.film_matching.matching import FilmAlignment
from vasot_kit.film_matching.pieces import FilmPiece
from vasot_kit.film_matching.verdict import RECOGNISED
from vasot_kit.films.recordings import Recording
from vasot_kit.films.sound import Shift
from vasot_kit.folders.files import Interval
from vasot_kit.own_films.exports import Tier
from vasot_kit.own_films.outputs import Outputs, frame_edges
from vasot_kit.own_films.pictures import Pictures


class Pair(NamedTuple):
    """The alignment of films X, of N samples, and Y, of M samples.

    Attributes:
        x, y: the films.
        plan: (N, M) transport plan.
        share: (N, M) the plan over the product of its marginals.
        matches: (N,) for each sample of X its sample of Y, fractional; NaN where it has none.
        partner: (N,) the same as a whole number; -1 for none.
        back: (M,) for each sample of Y one of X that belongs to it; -1 for none.
        piece: (N,) the number of the piece that a sample of X lies in; -1 where it has no partner.
        pieces: one or more, in the order in which the alignment has them.
        nearest: (N,) the same as ``matches``; where a sample has no partner, a place between those of its neighbours.
        confidence: (N,) probability that a sample of X has a partner.
        closeness: how near matched samples are, see :class:`vasot_kit.film_matching.matching.FilmAlignment`.
        verdict: one sentence.
        kind: ``match``, ``part``, ``unclear`` or ``none``.
        in_order, disorder, recognition: how the plan was read and why, see the same class.
        tempo: how many times as long as X the film Y was taken to need for the same; 1 for their own tempo.
        features: by which they were compared, where that was chosen for them; empty otherwise.
        sound: how their sounds lie in time; None where they were not compared.
    """

    x: Recording
    y: Recording
    plan: np.ndarray
    share: np.ndarray
    matches: np.ndarray
    partner: np.ndarray
    back: np.ndarray
    piece: np.ndarray
    pieces: Sequence[FilmPiece]
    nearest: np.ndarray
    confidence: np.ndarray
    closeness: float
    verdict: str
    kind: str
    in_order: bool
    disorder: float | None
    recognition: float | None
    tempo: float
    features: str
    sound: Shift | None

    @property
    def reading(self) -> str:
        """What was compared, what the sound says, which film is in slow motion, and how the plan was read and why."""
        chosen = f"Compared by {self.features}, which pairs these films most clearly. " if self.features else ""
        chosen += f"{self.heard} ".lstrip() + self._played
        if self.disorder is None:
            return f"{chosen}Read in one order; where steps may change places, try --features appearance alone."
        if self.kind == "none":
            return f"{chosen}Other clothes, light or places can hide what is the same; try --features motion."
        if self.in_order and self.disorder > 1:
            alike = self.recognition is not None and self.recognition >= RECOGNISED
            why = "that of the best pieces" if alike else "too little looks alike in both to tell another one"
            return f"{chosen}Read in one order: {why}."
        gain = f"gain {self.disorder:.1f} of the 1.0 that is needed"
        if self.in_order:
            return f"{chosen}Read in one order: pieces in another order would not fit much better ({gain})."
        return f"{chosen}Read as pieces in any order, which fit better than one path that keeps the order ({gain})."

    @property
    def _played(self) -> str:
        """Which film was played faster, with a space behind it; empty where none was, or they do not match at all."""
        if self.tempo == 1 or self.kind == "none":
            return ""
        slow, times = (self.y, self.tempo) if self.tempo > 1 else (self.x, 1 / self.tempo)
        return f"Compared as if {slow.name} were in slow motion: played {times:g} times as fast it fits better. "

    @property
    def heard(self) -> str:
        """What the sound says; empty where it was not asked."""
        if self.sound is None:
            return ""
        if self.sound.silent:
            silent = [{"x": self.x, "y": self.y}[side].name for side in self.sound.silent]
            return f"{' and '.join(silent)} {'have' if len(silent) > 1 else 'has'} no sound to compare."
        if self.sound.seconds is None:
            return "Their sound does not say how they lie in time."
        when = f"{abs(self.sound.seconds):.2f} s {'later' if self.sound.seconds >= 0 else 'earlier'}"
        return f"By their sound, moments of {self.x.name} come {when} in {self.y.name}, and the matches keep to that."

    @property
    def seconds(self) -> np.ndarray:
        """(N,) seconds of Y for each sample of X; NaN for none."""
        return np.where(np.isnan(self.matches), np.nan, self.nearest_seconds)

    @property
    def nearest_seconds(self) -> np.ndarray:
        """(N,) the same; where a sample has no partner, seconds between those of its neighbours."""
        return np.interp(self.nearest, np.arange(len(self.y.times)), self.y.times)

    @property
    def sure(self) -> float:
        """The mean confidence."""
        return float(self.confidence.mean())

    @property
    def offset(self) -> float | None:
        """The median of how much later, in seconds, moments of X come in Y; None where no frames match."""
        apart = self.seconds - self.x.times
        return None if np.isnan(apart).all() else float(np.nanmedian(apart))


def pair_of(x: Recording, y: Recording, alignment: FilmAlignment) -> Pair:
    """The pair of two films and their alignment."""
    pieces, there, nearest = alignment.pieces, alignment.paired, alignment.matches.copy()
    for each in pieces:
        if each.x is not None and each.y is not None and not each.again:
            # A mean over all paths may lie in a part of Y that the most probable of them leave out.
            nearest[slice(*each.x)] = nearest[slice(*each.x)].clip(each.y[0], each.y[1] - 1)
    matches = np.where(there, nearest, np.nan)
    partner = np.where(there, np.clip(np.round(np.nan_to_num(matches)), 0, len(y.times) - 1), -1).astype(int)
    piece = np.full(len(matches), -1)
    for number, each in enumerate(pieces):
        if each.x is not None and each.y is not None and not each.again:
            piece[slice(*each.x)] = number
    piece[~there] = -1
    back = backwards(partner, piece, len(y.times))
    for each in pieces:
        if each.x is not None and each.y is not None and each.again:
            back[slice(*each.y)] = np.linspace(each.x[0], each.x[1] - 1, each.y[1] - each.y[0]).round()
    return Pair(
        x, y, alignment.plan.numpy(), alignment.share.numpy(), matches, partner, back, piece, pieces,
        nearest, alignment.confidence, alignment.closeness, _verdict(x, y, alignment), alignment.kind,
        alignment.in_order, alignment.disorder, alignment.recognition, alignment.tempo, alignment.features,
        alignment.sound,
    )  # fmt: skip


def order_kept(pairs: Sequence[Pair]) -> str:
    """What has to be said where what was compared kept the order of films that may match; empty where nothing has."""
    kept = [pair for pair in pairs if pair.disorder is None and pair.kind != "none"]
    if not kept:
        return ""
    others = "appearance" if any(pair.features for pair in kept) else "auto or appearance"
    return f"Steps in another order are not looked for by motion or poses; --features {others} finds them."


def _verdict(x: Recording, y: Recording, alignment: FilmAlignment) -> str:
    """Whether two films show the same, in one sentence."""
    if alignment.kind == "none":
        return f"{x.name} and {y.name} do not seem to show the same thing."
    both = [piece for piece in alignment.pieces if piece.x is not None and piece.y is not None]
    if not both or (alignment.in_order and len(both) == len(alignment.pieces)):
        where = ""
    else:
        parts = [
            f"{start:.1f} to {end:.1f} s with {there:.1f} to {until:.1f} s"
            for piece in both
            for (start, end), (there, until) in [(within(x, piece.x), within(y, piece.y))]  # type: ignore[arg-type]
        ]
        where = ": " + ", ".join(parts)
    if alignment.kind == "unclear":
        return f"It is not clear whether {x.name} and {y.name} show the same thing{where}."
    how = "" if alignment.in_order else " in another order"
    return f"{x.name} and {y.name} match{' in parts' if alignment.kind == 'part' else ''}{how}{where}."


def backwards(partner: np.ndarray, piece: np.ndarray, m: int) -> np.ndarray:
    """(m,) for each sample of Y the first one of X that it is the partner of, or the nearest within the same piece."""
    back = np.full(m, -1)
    for i in range(len(partner) - 1, -1, -1):
        if partner[i] >= 0:
            back[partner[i]] = i
    for i in range(len(partner) - 1):
        first, last = partner[i], partner[i + 1]
        if piece[i] == piece[i + 1] and 0 <= first < last - 1:
            skipped = np.arange(first + 1, last)
            back[skipped] = np.where(back[skipped] < 0, np.where(2 * skipped <= first + last, i, i + 1), back[skipped])
    return back


def write_pair(outputs: Outputs, pair: Pair, pictures: tuple[Pictures, Pictures], prefix: str) -> None:
    """Write tables of frames and pieces, the plan, a figure, and both films side by side; names begin with prefix."""
    x, y = pair.x, pair.y
    spread = _spread(pair.plan, y.times)
    rows = []
    nearest = y.index[np.clip(np.round(pair.nearest), 0, len(y.times) - 1).astype(int)]
    for k, (j, seconds, there) in enumerate(zip(nearest, pair.nearest_seconds, pair.partner >= 0, strict=True)):
        sure = "yes" if there else "no", f"{pair.confidence[k]:.4f}"
        rows.append((x.index[k], f"{x.times[k]:.4f}", j, f"{seconds:.4f}", f"{spread[k]:.4f}", *sure))
    columns = ["frame_x", "seconds_x", "frame_y", "seconds_y", "spread_seconds", "partner", "confidence"]
    outputs.table(f"{prefix}correspondence.csv", columns, rows)
    outputs.arrays(f"{prefix}plan.npz", plan=pair.plan, matches=pair.matches)
    pieces = []
    for number, each in enumerate(pair.pieces):
        spans = ((film, getattr(each, side)) for film, side in ((x, "x"), (y, "y")))
        seconds = ["" if span is None else f"{at:.4f}" for film, span in spans for at in within(film, span or (0, 0))]
        pieces.append((number + 1, *seconds, "" if each.share is None else f"{each.share:.4f}"))
    outputs.table(f"{prefix}pieces.csv", ["piece", "start_x", "end_x", "start_y", "end_y", "share"], pieces)
    figure = plot_alignment(pair.share, pair.matches, *pictures, names=(x.name, y.name), confidence=pair.confidence)
    outputs.figure(f"{prefix}alignment.png", figure)
    outputs.side_by_side(f"{prefix}side_by_side.mp4", x, y, pair.partner)


def write_exports(outputs: Outputs, pair: Pair, prefix: str) -> None:
    """Write the pieces for other tools: ``pieces.vtt``, chapters of X, and ``alignment.eaf``, which plays both films.

    ELAN plays both at one speed; Y begins as much later as most of the matched moments do.
    """
    x, y = pair.x, pair.y
    apart = (pair.offset or 0.0) + y.start - x.start  # seconds of Y's file less those of X's at moments that match
    tiers = []
    for film, other, side, origin in ((x, y, "x", max(-apart, 0.0)), (y, x, "y", max(apart, 0.0))):
        intervals = [Interval(*within(film, span), _named(piece, other, side)) for piece, span in _spans(pair, side)]
        tiers.append(Tier(f"{side.upper()}: {film.name}", film, origin, intervals))
        if side == "x":
            outputs.chapters(f"{prefix}pieces.vtt", x, intervals)
    outputs.elan(f"{prefix}alignment.eaf", tiers)


def _spans(pair: Pair, side: str) -> list[tuple[FilmPiece, tuple[int, int]]]:
    """The pieces that a film shows, ``x`` or ``y``, each with its samples there."""
    both = ((piece, getattr(piece, side)) for piece in pair.pieces)
    return [(piece, span) for piece, span in both if span is not None]


def within(recording: Recording, span: tuple[int, int]) -> tuple[float, float]:
    """Seconds at which samples of a film begin and end."""
    edges = frame_edges(recording)
    return float(edges[span[0]]), float(edges[span[1]])


def _named(piece: FilmPiece, other: Recording, side: str) -> str:
    there = piece.y if side == "x" else piece.x
    if there is None:
        return f"not in {other.name}"
    start, end = within(other, there)
    return f"{other.name} {start:.2f}-{end:.2f} s"


def result(pair: Pair) -> dict[str, Any]:
    """What was found about a pair, in seconds, as plain values; ``piece`` counts from 0."""
    sides = {"x": pair.x, "y": pair.y}
    pieces = [
        {
            **{f"seconds_{side}": within(sides[side], span) for side in sides if (span := getattr(piece, side))},
            "share": piece.share,
            "again": piece.again,
        }
        for piece in pair.pieces
    ]
    return {
        "x": pair.x.path.name,
        "y": pair.y.path.name,
        "verdict": pair.verdict,
        "kind": pair.kind,
        "reading": pair.reading,
        **({"features": pair.features} if pair.features else {}),
        **({} if pair.sound is None else {"sound": pair.sound._asdict()}),
        "tempo": pair.tempo,
        "in_order": pair.in_order,
        "disorder": None if pair.disorder is None else round(pair.disorder, 3),
        "closeness": round(pair.closeness, 3),
        "recognition": None if pair.recognition is None else round(pair.recognition, 3),
        "mean_confidence": pair.sure,
        "offset_seconds": pair.offset,
        "pieces": pieces,
        "matches": {
            "seconds_x": pair.x.times.round(4),
            "seconds_y": pair.seconds.round(4),
            "confidence": pair.confidence.round(4),
        },
    }


def _spread(plan: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(N,) standard deviation, in seconds, of where the mass of a frame of X goes in Y; large where it is unsure."""
    rows = plan / np.maximum(plan.sum(1, keepdims=True), 1e-30)
    mean = rows @ times
    return np.sqrt(np.maximum(rows @ times**2 - mean**2, 0))
