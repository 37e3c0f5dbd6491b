"""Which frame of one film goes with which of another: a transport problem, and how its plan is read. [ours]"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vasot_kit.films.motion import motion_features, retimed
from vasot_lib.paths import WEIGHT, mean_path
from vasot_lib.transport import Far, Near, solve


@dataclass(frozen=True)
class FilmMatching:
    """How two films are matched; the defaults are the kit's, chosen on generated films.

    Attributes:
        alpha, radius, rho, epsilon: as in :class:`vasot_lib.transport.Alignment`; the window of a short film is one
            frame.
        weight: of a frame in the mean path, see :func:`vasot_lib.paths.mean_path`; half of it in the rounds.
        motion_mass: frames have the mass of their motion and the temporal prior runs on that clock, where the features
            say how much moves; otherwise every frame weighs the same.
        rounds: how often the second film is brought to the tempo of the first and matched again, see
            :func:`match_motion`.
    """

    alpha: float = 0.3
    radius: float = 0.04
    rho: float = 0.35
    epsilon: float = 0.07
    weight: float = WEIGHT
    motion_mass: bool = True
    rounds: int = 2


class FilmMatch(NamedTuple):
    """A plan between two films and the path that was read from it.

    Attributes:
        plan: (N, M) transport plan.
        share: (N, M) the same over the product of the masses: 1 where frames meet as often as by chance.
        matches: (N,) frame of Y for each frame of X, fractional and increasing.
    """

    plan: Tensor
    share: Tensor
    matches: np.ndarray


class Moving(NamedTuple):
    """What moves in a film.

    Attributes:
        maps: (N, h, w) how much in each cell of the picture, see :mod:`vasot_kit.films.motion`.
        fps: of them.
    """

    maps: np.ndarray
    fps: float


def described(maps: np.ndarray, fps: float) -> tuple[Tensor, Tensor]:
    """(N, D) features for comparing frames, and (N,) how much moves in each, from (N, h, w) maps."""
    table = torch.from_numpy(motion_features(maps, fps))
    return table[:, 1:], table[:, 0]


def match_films(
    x: Tensor, y: Tensor, mass_x: Tensor | None = None, mass_y: Tensor | None = None, how: FilmMatching | None = None
) -> FilmMatch:
    """Match the frames of two films that show the same from start to end.

    Balanced transport keeps the masses, so what has mass decides what is kept. With the same mass for every frame a
    film that is played faster in places is pulled to the straight line. Motion is kept by any speed: with the mass
    ``p`` of a frame being how much moves in it, neither the marginals nor a temporal prior on the clock
    ``u_i = p_1 + ... + p_i`` see the speed.

    Args:
        x: (N, D) features.
        y: (M, D) features.
        mass_x: (N,) how much moves in each frame of X, in any unit; None weighs all frames the same.
        mass_y: (M,) the same for Y.
        how: weights of the problem.
    """
    how = how or FilmMatching()
    p, q = (_masses(mass, len(rows), how) for rows, mass in ((x, mass_x), (y, mass_y)))
    distance = torch.cdist(x[None].float(), y[None].float())[0]
    cost = distance / distance.mean().clamp_min(1e-9) + how.rho * (_clock(p)[:, None] - _clock(q)).abs()
    structure = (Near(max(how.radius, 1 / len(x))), Far(max(how.radius, 1 / len(y)))) if how.alpha else None
    plan = solve(cost[None], structure, alpha=how.alpha, epsilon=how.epsilon, mass_x=p[None], mass_y=q[None]).matrix[0]
    return FilmMatch(plan, plan / (p[:, None] * q), mean_path(plan, p, q, how.weight))


def match_motion(x: Moving, y: Moving, how: FilmMatching | None = None) -> FilmMatch:
    """Match two films by what moves in them, the second one at the tempo of the first.

    Features of motion look at windows of time, and the same seconds of a film at another tempo show something else. So
    what was found is put to use: Y is resampled to show at each moment what X shows, described again and matched
    again, from step to step nearer. A path goes at 1/2 to 2 times the mean tempo; matched again, it goes beyond that.

    Args:
        x: of N frames, at least 2.
        y: of M frames, at least 2.
        how: weights of the problem, and ``rounds``.
    """
    how = how or FilmMatching()
    (rows_x, mass_x), (rows_y, mass_y) = (described(film.maps, film.fps) for film in (x, y))
    match = match_films(rows_x, rows_y, mass_x, mass_y, how)
    if not how.rounds:
        return match
    again = replace(how, weight=how.weight / 2)  # at one tempo neighbours say less that is new
    at = match.matches
    for _ in range(how.rounds):
        shown = at
        rows, mass = described(retimed(y.maps, shown), x.fps)
        match = match_films(rows_x, rows, mass_x, mass, again)
        at = np.asarray(np.interp(match.matches, np.arange(len(shown)), shown))
    plan = _on_frames(match.plan, shown, len(y.maps))
    return FilmMatch(plan, plan / (plan.sum(1, keepdim=True) * plan.sum(0)).clamp_min(1e-30), at)


def _masses(mass: Tensor | None, n: int, how: FilmMatching) -> Tensor:
    if mass is None or not how.motion_mass:
        return torch.full((n,), 1 / n)
    return (mass / mass.sum()).float()


def _clock(p: Tensor) -> Tensor:
    """How much lies before the middle of each frame."""
    return p.cumsum(0) - p / 2


def _on_frames(plan: Tensor, shown: np.ndarray, m: int) -> Tensor:
    """(N, m) from the plan to columns that show the moments ``shown``: spread over the frames in between."""
    edges = np.concatenate([[-0.5], (shown[1:] + shown[:-1]) / 2, [m - 0.5]])
    total = np.pad(np.cumsum(plan.double().numpy(), axis=1), ((0, 0), (1, 0)))
    frames = np.arange(m + 1) - 0.5
    return torch.from_numpy(np.diff([np.interp(frames, edges, row) for row in total], axis=1)).to(plan.dtype)
