"""Which frame of one film corresponds to which of another: a transport plan, and the path read from it. [ours]"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vasot_kit.films.motion import motion_features, time_warped
from vasot_lib.paths import FRAME_WEIGHT, mean_path
from vasot_lib.transport import Far, Near, solve


@dataclass(frozen=True)
class MatchingSettings:
    """The weights of the matching of two films; the defaults are the kit's, chosen on generated films.

    Attributes:
        alpha, radius, rho, epsilon: as in :class:`vasot_lib.transport.Alignment`. Where the radius covers less than
            one frame of a short film, the window is one frame.
        weight: weight of a frame in the mean path, see :func:`vasot_lib.paths.mean_path`; half of it in the rounds.
        motion_mass: whether a frame's mass is how much moves in it, where that is known, and the temporal prior
            compares shares of the motion instead of shares of the frames; otherwise all frames have the same mass.
        rounds: how often the second film is brought to the tempo of the first and matched again, see
            :func:`match_motion`.
    """

    alpha: float = 0.3
    radius: float = 0.04
    rho: float = 0.35
    epsilon: float = 0.07
    weight: float = FRAME_WEIGHT
    motion_mass: bool = True
    rounds: int = 2


class FilmAlignment(NamedTuple):
    """The transport plan between the frames of two films and the path that was read from it.

    Attributes:
        plan: (N, M) transport plan.
        share: (N, M) the plan over the product of its marginals: 1 where two frames get the mass that they would get
            if the films had nothing to do with each other.
        matches: (N,) for each frame of X its frame of Y, fractional and increasing.
    """

    plan: Tensor
    share: Tensor
    matches: np.ndarray


class FilmMotion(NamedTuple):
    """What moves in a film of N frames, and the features that follow from it.

    Attributes:
        maps: (N, h, w) how much moves in each cell of the picture, see :mod:`vasot_kit.films.motion`.
        fps: frames per second.
        features: (N, D) what frames are compared by.
        mass: (N,) how much moves in each frame; its mean is 1.
    """

    maps: np.ndarray
    fps: float
    features: Tensor
    mass: Tensor


def film_motion(maps: np.ndarray, fps: float) -> FilmMotion:
    """The features and masses of (N, h, w) motion maps, ``fps`` of them a second."""
    table = torch.from_numpy(motion_features(maps, fps))
    return FilmMotion(maps, fps, features=table[:, 1:], mass=table[:, 0])


def match_films(
    x: Tensor,
    y: Tensor,
    mass_x: Tensor | None = None,
    mass_y: Tensor | None = None,
    settings: MatchingSettings | None = None,
) -> FilmAlignment:
    """Match the frames of two films that show the same from start to end.

    Balanced transport carries all the mass of a part of X to the corresponding part of Y, so both parts should have the
    same mass. If all frames have the same mass, a part that is played faster in Y has fewer frames and less mass there,
    and the plan is pulled towards the straight line. How much moves in the part altogether is the same at any speed.
    With that as mass, neither the marginals nor a temporal prior on ``u_i = p_1 + ... + p_i`` depend on the speed.

    Args:
        x: (N, D) features.
        y: (M, D) features.
        mass_x: (N,) how much moves in each frame of X, in any unit; None gives all frames the same mass.
        mass_y: (M,) the same for Y.
        settings: the weights; ``rounds`` is not used here.
    """
    settings = settings or MatchingSettings()
    p, q = (_marginal(mass, len(rows), settings) for rows, mass in ((x, mass_x), (y, mass_y)))
    distance = torch.cdist(x[None].float(), y[None].float())[0]
    prior = (_clock(p)[:, None] - _clock(q)).abs()
    cost = distance / distance.mean().clamp_min(1e-9) + settings.rho * prior
    windows = Near(max(settings.radius, 1 / len(x))), Far(max(settings.radius, 1 / len(y)))
    solved = solve(
        cost[None], windows if settings.alpha else None, alpha=settings.alpha, epsilon=settings.epsilon,
        mass_x=p[None], mass_y=q[None],
    )  # fmt: skip
    plan = solved.matrix[0]
    return FilmAlignment(plan, plan / (p[:, None] * q), mean_path(plan, p, q, settings.weight))


def match_motion(x: FilmMotion, y: FilmMotion, settings: MatchingSettings | None = None) -> FilmAlignment:
    """Match two films by what moves in them, then bring the second to the tempo of the first and match again.

    Args:
        x: of N frames, at least 2.
        y: of M frames, at least 2.
        settings: the weights, and the number of ``rounds``.
    """
    settings = settings or MatchingSettings()
    first = match_films(x.features, y.features, x.mass, y.mass, settings)
    return match_at_one_tempo(x, y, first, settings)


def match_at_one_tempo(
    x: FilmMotion, y: FilmMotion, first: FilmAlignment, settings: MatchingSettings | None = None
) -> FilmAlignment:
    """Improve an alignment in rounds: Y is warped in time to the tempo of X, described anew and matched again.

    Motion features look at windows of time, so the same movement at another tempo gives other features. Y is therefore
    resampled such that frame i shows what frame i of X was matched with; its features then come closer to those of X.
    In one match the path runs at 1/2 to 2 times the mean tempo of Y; the rounds together can go beyond that.

    Args:
        x, y: as in :func:`match_motion`.
        first: how they were matched before.
        settings: the weights, and the number of ``rounds``; with 0 of them ``first`` is returned.
    """
    settings = settings or MatchingSettings()
    if not settings.rounds:
        return first
    # At one tempo neighbouring frames of the plan repeat each other, so a single frame says less about the path.
    again = replace(settings, weight=settings.weight / 2)
    matches = first.matches
    for _ in range(settings.rounds):
        shown = matches  # the moments of Y that the warped film shows
        warped = film_motion(time_warped(y.maps, shown), x.fps)
        match = match_films(x.features, warped.features, x.mass, warped.mass, again)
        matches = np.asarray(np.interp(match.matches, np.arange(len(shown)), shown))
    plan = _on_frames(match.plan, shown, len(y.maps))
    return FilmAlignment(plan, plan / (plan.sum(1, keepdim=True) * plan.sum(0)).clamp_min(1e-30), matches)


def _marginal(mass: Tensor | None, n: int, settings: MatchingSettings) -> Tensor:
    """(n,) masses of sum 1."""
    if mass is None or not settings.motion_mass:
        return torch.full((n,), 1 / n)
    return (mass / mass.sum()).float()


def _clock(p: Tensor) -> Tensor:
    """(N,) the mass that lies before the middle of each frame: its time between 0 and 1."""
    return p.cumsum(0) - p / 2


def _on_frames(plan: Tensor, shown: np.ndarray, m: int) -> Tensor:
    """(N, m) plan on the m frames of Y, from a plan whose columns show the moments ``shown`` of Y.

    The mass of a column is spread evenly over the time of Y that is nearer to its moment than to those of its
    neighbours, and then summed up within each frame.
    """
    edges = np.concatenate([[-0.5], (shown[1:] + shown[:-1]) / 2, [m - 0.5]])
    total = np.pad(np.cumsum(plan.double().numpy(), axis=1), ((0, 0), (1, 0)))
    frames = np.arange(m + 1) - 0.5
    return torch.from_numpy(np.diff([np.interp(frames, edges, row) for row in total], axis=1)).to(plan.dtype)
