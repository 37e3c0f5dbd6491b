"""Which frame of one film corresponds to which of another: a transport plan, and the pairs read from it. [ours]

Films of different people differ most where nothing happens: one waits long before a movement and the other does not.
So films are compared at *moments* between which equally much moves, as many as there are frames in which something
moves. Waiting then takes a few moments, however long it is, and no prior on the clock is needed. The marginals are
relaxed: a movement that only one of the films shows need not go anywhere. From the plan a path is read that may skip
frames of either film at a price and may begin and end anywhere, see :mod:`vasot_kit.film_matching.pairing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vasot_kit.film_matching.blocks import Block, Reading, Span, blocks_of, price_of
from vasot_kit.film_matching.description import STILL, FilmDescription, FilmMoments
from vasot_kit.film_matching.pairing import FLOOR, PairedPath, PathPrices, gains_of, paired_path
from vasot_kit.film_matching.pieces import FilmPiece, joined, moved, pieces_of
from vasot_kit.film_matching.verdict import (
    BY_LOOKS,
    BY_MOTION,
    BY_MOTION_AND_POSE,
    FEW,
    LEAST,
    RECOGNISED,
    closeness_of,
    kind_by_looks,
    recognition_of,
)
from vasot_kit.films.sound import Shift
from vasot_lib.checks import NotNegativeWeight, Positive, Radius, Share, Weight, check_fields
from vasot_lib.transport import Far, Near, solve

MOST = 5.0  # a logarithm of the plan that is larger, or smaller than minus this, says no more than this one
SELF = 0.1  # of a film's moments; those nearer to each other are not compared where a film is compared with itself
NOT_ITSELF = 5.0  # their distance, in multiples of the mean
# By how much either film may be played faster, and what counts for a match and against it beside its gain. Chosen on
# real films of people who play golf or pitch, whole and cut, on generated people and walkers, and on cameras.
SPEEDS = (2.0, 4.0, 8.0)
ENOUGH = 16  # moments; films of fewer tell too little to say that their tempo is another one
CLOSENESS, COVERED, PIECE, OTHER_TEMPO = 2.0, 6.0, 0.3, 1.8
LOOSE, LOOSE_PATH = 0.05, {"gap": 3.0, "least": 0.3}  # where looks speak for a match, see _reading


@dataclass(frozen=True)
class MatchingSettings:
    """The weights of the matching of two films; the defaults are the kit's, chosen on generated films and on
    cameras of pose2sim.

    Attributes:
        alpha, radius, epsilon: as in :class:`vasot_lib.transport.Alignment`. Where the radius covers less than one
            moment of a short film, the window is one moment.
        relax: strength of the marginals on both sides; the smaller it is, the more mass may stay away.
        still: see :data:`vasot_kit.film_matching.description.STILL`.
        path: what gaps and ends of the path cost.
    """

    alpha: Share = 0.2
    radius: Radius = 0.04
    epsilon: Positive = 0.07
    relax: Weight = 0.3
    still: NotNegativeWeight = STILL
    path: PathPrices = field(default_factory=PathPrices)

    def __post_init__(self) -> None:
        check_fields(self)


class FilmAlignment(NamedTuple):
    """The transport plan between the N and M frames of two films and what was read from it.

    Attributes:
        plan: (N, M) transport plan, scaled to sum 1; frames without a partner have little mass.
        share: (N, M) the plan over the product of the films' masses: 1 where two frames get the mass that they would
            get if the films had nothing to do with each other.
        matches: (N,) for each frame of X its frame of Y, fractional and increasing. A frame without a partner lies
            between the matches of its neighbours.
        confidence: (N,) probability that a frame of X has a partner, times that of the films showing the same, see
            :meth:`vasot_kit.film_matching.verdict.Scale.certainty`.
        pieces: what both films show and what only one does, in order.
        closeness: how near the pairs of the path are in their motion, and in their pose where it is compared, see
            :func:`vasot_kit.film_matching.verdict.closeness_of`; about 1 for films of one event.
        kind: ``match`` where both films show the same from start to end, ``part`` where parts of them do, ``unclear``,
            or ``none``.
        disorder: how much more the best reading in free order gains than the best that keeps the order, in multiples
            of what it has to gain more; None where motion or pose was compared: the order is kept.
        recognition: how much of one film is seen again in the other by its looks, see
            :func:`vasot_kit.film_matching.verdict.recognition_of`; None where motion or pose was compared.
        in_order: whether the plan was read as one path that keeps the order, or as blocks.
        gain: by how much the plan prefers the pairs of the path: mean logarithm of its mass there over what chance
            would give. Where looks are compared it is that of the plan with the usual marginals, see :func:`_reading`.
        tempo: how many times as long as X the film Y was taken to need for the same; 1 for their own tempo.
        features: by which the films were compared, where that was chosen for them; empty otherwise.
        sound: how their sounds lie in time; None where they were not compared.
        certainty: the probability of the films showing the same by which ``confidence`` was multiplied.
    """

    plan: Tensor
    share: Tensor
    matches: np.ndarray
    confidence: np.ndarray
    pieces: Sequence[FilmPiece]
    closeness: float
    kind: str
    disorder: float | None = None
    recognition: float | None = None
    in_order: bool = True
    gain: float = 0.0
    tempo: float = 1.0
    features: str = ""
    sound: Shift | None = None
    certainty: float = 1.0

    @property
    def paired(self) -> np.ndarray:
        """(N,) whether a frame of X has a partner."""
        inside = np.zeros(len(self.matches), bool)
        for piece in self.pieces:
            if piece.x is not None and piece.y is not None:
                inside[slice(*piece.x)] = True
        return inside

    @property
    def whole(self) -> bool:
        """Whether both films show the same from start to end."""
        return all(piece.x is not None and piece.y is not None for piece in self.pieces)


def match_films(
    x: FilmDescription, y: FilmDescription, settings: MatchingSettings | None = None, prior: Tensor | None = None
) -> FilmAlignment:
    """Match the frames of two films that show the same thing, or parts of it, in the same order or in another.

    They are compared at their own tempo, and with one of them played up to eight times as fast, for one of them may be
    in slow motion. Another tempo than their own is taken where its match is better by more than it costs.

    Args:
        x: of N frames, and K moments at its own tempo.
        y: of M frames and L moments, described by the same features.
        settings: the weights.
        prior: (K, L) added to the cost, whose mean is 1, where something else says which moments belong together. Then
            nothing but their own tempo is looked at.
    """
    settings = settings or MatchingSettings()
    rate = min(x.fps, y.fps)
    x_at, y_at = (cache(partial(film.at, rate=rate)) for film in (x, y))
    best = _match(x_at(1.0), y_at(1.0), settings, prior)
    for tempo in (*SPEEDS, *(1 / speed for speed in SPEEDS)) if prior is None else ():
        faster_x, faster_y = max(1 / tempo, 1.0), max(tempo, 1.0)
        if min(len(x_at(1.0).frames) / faster_x, len(y_at(1.0).frames) / faster_y) >= ENOUGH:
            found = _match(x_at(faster_x), y_at(faster_y), settings)._replace(tempo=tempo)
            best = max(best, found, key=_quality)
    return best


def _quality(found: FilmAlignment) -> float:
    """How good a match is among those of one pair at several tempos. Parts of a film fit other parts at a wrong tempo,
    above all where a movement comes back as in walking, so what counts most is how much of both films it pairs."""
    both = [(piece.x, piece.y, piece.again) for piece in found.pieces if piece.x is not None and piece.y is not None]
    of_x = sum(end - start for (start, end), _, again in both if not again)
    of_y = sum(end - start for _, (start, end), _ in both)
    covered = (of_x / found.plan.shape[0] + of_y / found.plan.shape[1]) / 2
    price = PIECE * len(both) + OTHER_TEMPO * (found.tempo != 1)
    return found.gain + CLOSENESS * found.closeness + COVERED * covered - price


def _match(x: FilmMoments, y: FilmMoments, settings: MatchingSettings, prior: Tensor | None = None) -> FilmAlignment:
    """The match of two films of K and L moments; ``prior`` is (K, L)."""
    cost = _distances(x.tables, y.tables)
    cost = cost if prior is None else cost + prior.to(cost)
    usual = _plan(cost, settings)
    plan, (blocks, disorder, _), recognition = _reading(usual, cost, x, y, settings)
    loose = recognition is not None and recognition >= RECOGNISED
    prices = replace(settings.path, **LOOSE_PATH) if loose else settings.path
    read = [_read_block(plan, block, x, y, prices) for block in blocks]
    plan /= plan.sum()
    n, m, (k, width) = len(x.mass), len(y.mass), plan.shape
    matches, sure, pairs = np.full(n, np.nan), np.zeros(n), np.zeros((k, width))
    shown: list[FilmPiece] = []
    for block, part in zip(blocks, read, strict=True):
        first_time = np.isnan(matches[part.frames])  # a later block may show what has its matches already
        matches[part.frames] = np.where(first_time, part.matches, matches[part.frames])
        sure[part.frames] = np.where(first_time, part.sure, sure[part.frames])
        pairs[slice(*block.x), slice(*block.y)] += part.pairs
        shown += [piece._replace(again=not first_time.any()) for piece in part.pieces]
    known = np.flatnonzero(~np.isnan(matches))
    matches = np.interp(np.arange(n), known, matches[known])
    framed = _on_frames(_on_frames(plan, y.frames, m).T, x.frames, n).T
    judged = [(x.motion, y.motion), *([(x.pose, y.pose)] if x.pose else [])]
    closeness = closeness_of([_distances(*tables).double().numpy() for tables in judged], pairs)
    scale = BY_LOOKS if recognition is not None else BY_MOTION_AND_POSE if x.pose else BY_MOTION
    pieces = shown if len(read) == 1 else joined(shown, n, m)
    whole = all(None not in piece[:2] for piece in pieces)
    kind = scale.kind(closeness, whole) if recognition is None else kind_by_looks(closeness, recognition, whole)
    if kind == "none" and min(n, m) <= FEW:
        kind = "unclear"
    certainty = scale.certainty(closeness)
    gained = np.log(usual.size / usual.sum() * usual + FLOOR).clip(-MOST, MOST)
    return FilmAlignment(
        torch.from_numpy(framed).float(), torch.from_numpy(framed / np.outer(x.mass, y.mass)).float(), matches,
        sure * certainty, pieces, closeness, kind,
        None if recognition is None else disorder, recognition, len(read) == 1,
        float((gained * pairs).sum() / pairs.sum()), certainty=certainty,
    )  # fmt: skip


def _plan(cost: Tensor, settings: MatchingSettings) -> np.ndarray:
    """(K, L) the transport plan of that cost between moments."""
    k, width = cost.shape
    windows = Near(max(settings.radius, 1 / k)), Far(max(settings.radius, 1 / width))
    solved = solve(
        cost[None], windows if settings.alpha else None, alpha=settings.alpha, epsilon=settings.epsilon,
        relax_x=settings.relax, relax_y=settings.relax,
    )  # fmt: skip
    return solved.matrix[0].double().numpy()


def _reading(
    usual: np.ndarray, cost: Tensor, x: FilmMoments, y: FilmMoments, settings: MatchingSettings
) -> tuple[np.ndarray, Reading, float | None]:
    """The plan that is read, its blocks, see :func:`vasot_kit.film_matching.blocks.blocks_of`, and the recognition.

    Films whose motion or pose is compared keep their order, because one step often moves as another does: by motion,
    one pair in four of people who do the same would be read in another order. By looks steps can be told apart, but
    only where looks speak for a match; elsewhere, too, people who do the same would be read in another order. Then the
    marginals are weaker: what one film alone shows can stay without a partner, and what is done again gets its mass
    twice. Gaps cost less too, and pairs have to gain something, because a step that one film alone shows is seen to be
    another. Another order is read without a structural prior, for other steps are beside those that are moved. The
    verdict and the gain are those of the usual plan, whatever the features, so that they can be compared.
    """
    k, width = cost.shape
    one = [Block((0, k), (0, width))]
    if x.pose or any(table is x.motion[0] for table in x.tables):
        return usual, Reading(one, 0.0, 0.0), None
    within = [_within(film) for film in (x, y)]
    price = _price(within, settings)
    kept = blocks_of(gains_of(usual, settings.path), price, settings.path)
    recognition = recognition_of(kept.gain, price, (k * width) ** 0.5)
    if recognition < RECOGNISED:
        return usual, kept._replace(blocks=one), recognition
    loosely = replace(settings, relax=min(settings.relax, LOOSE))
    freely = replace(loosely, alpha=0.0)
    plan = _plan(cost, freely)
    found = blocks_of(gains_of(plan, settings.path), _price(within, freely), settings.path)
    return _plan(cost, loosely) if len(found.blocks) == 1 else plan, found, recognition


def _within(film: FilmMoments) -> Tensor:
    """(K, K) distances of a film from itself, moments that are near each other set apart."""
    places = torch.arange(len(film.frames))
    near = (places[:, None] - places).abs() < SELF * len(places)
    return _distances(film.tables, film.tables).masked_fill(near, NOT_ITSELF)


def _price(within: Sequence[Tensor], settings: MatchingSettings) -> float:
    """What a block costs in plans with these settings; ``within`` as of :func:`_within`, of both films."""
    return price_of([gains_of(_plan(cost, settings), settings.path) for cost in within], settings.path)


class _Part(NamedTuple):
    """What a block of moments shows: the frames of X there, their matches and how sure they have partners, the pairs of
    moments, and the pieces."""

    frames: slice
    matches: np.ndarray
    sure: np.ndarray
    pairs: np.ndarray
    pieces: list[FilmPiece]


def _read_block(plan: np.ndarray, block: Block, x: FilmMoments, y: FilmMoments, prices: PathPrices) -> _Part:
    """Read a block of a plan between moments as a path that keeps the order.

    Where only parts of the films show the same, the path is read again within each of them: a part of X may fit several
    places of Y about as well, and the mean over all paths then lies between them, at none.
    """
    (start, end), (first, last) = _frames(block.x, x), _frames(block.y, y)
    path, matches = _path_in(plan, block, x, y, prices, (start, end))
    at_x, at_y = _moments_at(block.x, x)[start:end], _moments_at(block.y, y)[first:last]
    sure_x, sure_y = (
        np.interp(at, np.arange(len(sure)), sure) for at, sure in ((at_x, path.paired_x), (at_y, path.paired_y))
    )
    pieces = [moved(piece, start, first) for piece in pieces_of(matches - first, sure_x, sure_y)]
    for piece in pieces if len(pieces) > 1 else ():
        if piece.x is None or piece.y is None:
            continue
        within = Block(_moments_in(piece.x, block.x, x), _moments_in(piece.y, block.y, y))
        if min(within.x[1] - within.x[0], within.y[1] - within.y[0]) < 2:
            continue
        frames = slice(piece.x[0] - start, piece.x[1] - start)
        matches[frames] = _path_in(plan, within, x, y, prices, piece.x)[1]
        columns = slice(within.y[0] - block.y[0], within.y[1] - block.y[0])
        there = path.pairs[:, columns].sum(1) / np.maximum(path.pairs.sum(1), FLOOR)  # and not at another place
        sure_x[frames] *= np.interp(at_x[frames], np.arange(len(there)), there)
    return _Part(slice(start, end), matches, sure_x, path.pairs, pieces)


def _path_in(
    plan: np.ndarray, block: Block, x: FilmMoments, y: FilmMoments, prices: PathPrices, frames: Span
) -> tuple[PairedPath, np.ndarray]:
    """The path through a block of a plan between moments, and the matches of those frames of X."""
    inside = plan[slice(*block.x), slice(*block.y)]
    path = paired_path(inside * (plan.size / inside.size), prices)
    at = _moments_at(block.x, x)[slice(*frames)]
    columns = np.interp(at, np.arange(len(inside)), path.position)
    return path, np.interp(columns, np.arange(inside.shape[1]), y.frames[slice(*block.y)])


def _moments_in(frames: Span, span: Span, film: FilmMoments) -> Span:
    """The moments of a span that lie within some frames."""
    first, last = span[0] + np.searchsorted(film.frames[slice(*span)], (frames[0] - 0.5, frames[1] - 0.5))
    return int(first), int(last)


def _moments_at(span: Span, film: FilmMoments) -> np.ndarray:
    """(N,) the fractional moment of each frame, counted from the first of a span of moments."""
    return np.interp(np.arange(len(film.mass)), film.frames[slice(*span)], np.arange(span[1] - span[0]))


def _frames(span: Span, film: FilmMoments) -> Span:
    """The frames that are nearer to a span of moments than to those before and after it."""
    middles = np.ceil((film.frames[1:] + film.frames[:-1]) / 2).astype(int)
    edges = np.concatenate([[0], middles, [len(film.mass)]])
    return int(edges[span[0]]), int(edges[span[1]])


def _distances(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    """(K, L) cosine distances of two films, each table in multiples of its mean, and the mean of all tables."""
    apart = [1 - normalize(a, dim=1) @ normalize(b, dim=1).T for a, b in zip(x, y, strict=True)]
    return torch.stack([table / table.mean().clamp_min(LEAST) for table in apart]).mean(0)


def _on_frames(plan: np.ndarray, moments: np.ndarray, m: int) -> np.ndarray:
    """(N, m) plan on the m frames of Y, from a plan whose columns are moments of Y.

    The mass of a column is spread evenly over the time of Y that is nearer to its moment than to those of its
    neighbours, and then summed up within each frame.
    """
    edges = np.concatenate([[-0.5], (moments[1:] + moments[:-1]) / 2, [m - 0.5]])
    total = np.pad(np.cumsum(plan, axis=1), ((0, 0), (1, 0)))
    frames = np.arange(m + 1) - 0.5
    return np.diff([np.interp(frames, edges, row) for row in total], axis=1)
