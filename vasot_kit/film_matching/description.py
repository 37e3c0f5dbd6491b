"""A film at moments between which equally much moves, played as fast as one likes. [ours]

How many moments a film has depends on how fast it is played: a movement that is shown four times as slowly takes four
times as many. So a film is described at any speed, and :func:`vasot_kit.film_matching.matching.match_films` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vasot_kit.films.motion import REST, motion_features, time_warped

FEWEST = 8  # moments of a film
STILL = 0.02  # what a frame in which nothing moves counts for, in multiples of the mean motion of a frame


class FilmMoments(NamedTuple):
    """A film of N frames at K moments between which equally much moves.

    Attributes:
        frames: (K,) the frames, fractional and increasing.
        tables: features of the moments that films are matched by, (K, D) each; all tables count the same.
        motion: the tables of motion, by which it is judged whether films match.
        mass: (N,) how much moves in each frame, of sum 1.
        pose: that of a person, by which it is judged too; empty where poses are not compared.
    """

    frames: np.ndarray
    tables: tuple[Tensor, ...]
    motion: tuple[Tensor, ...]
    mass: np.ndarray
    pose: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class FilmDescription:
    """A film of N frames, by what moves in it, by other features, or by both.

    Attributes:
        maps: (N, h, w) how much moves in each cell of the picture, see :mod:`vasot_kit.films.motion`; N >= 2.
        fps: frames per second.
        looks: tables of other features of the frames, (N, D) each; the mean of a film is taken away from each.
        poses: tables of pose features, if any; they also tell whether films match.
        by_motion: whether motion is compared; otherwise it only says at which moments the features are.
        still: see :data:`STILL`.
    """

    maps: np.ndarray
    fps: float
    looks: Sequence[Tensor] = ()
    poses: Sequence[Tensor] = ()
    by_motion: bool = True
    still: float = STILL

    def at(self, speed: float = 1.0, rate: float | None = None) -> FilmMoments:
        """The film, played so many times as fast, at its moments.

        Motion is described twice: at the film's own tempo, and with time running by what moves, which makes films of
        different tempo alike.

        Args:
            speed: how many times as fast.
            rate: moments per second where the film moves evenly; as many as it has frames by default.
        """
        rate = rate or self.fps
        table = motion_features(self.maps, self.fps * speed)
        moved = (1 + REST) * table[:, 0].astype(float) - REST  # in multiples of the mean
        mass = np.maximum(moved, 0) + self.still + 1e-9
        frames = _moments(mass, speed * self.fps / rate)
        motion = (
            _at(torch.from_numpy(table[:, 1:]), frames),
            torch.from_numpy(motion_features(time_warped(self.maps, frames), rate)[:, 1:]),
        )
        # Not scaled: a colour or channel that hardly changes in a film would count as much as what does.
        others, pose = (
            tuple(_at(features - features.mean(0), frames) for features in tables)
            for tables in (self.looks, self.poses)
        )
        tables = (*(motion if self.by_motion else ()), *others, *pose)
        return FilmMoments(frames, tables, motion, mass / mass.sum(), pose)


def _moments(mass: np.ndarray, fewer: float) -> np.ndarray:
    """(K,) frames between which the mass is equal. K is the number of frames that share it, by the sum of squares, so
    many times fewer."""
    share = mass / mass.sum()
    count = min(len(mass), max(round(1 / float((share**2).sum()) / fewer), FEWEST))
    clock = np.cumsum(share) - share / 2  # at the middle of each frame
    return np.interp((np.arange(count) + 0.5) / count, clock, np.arange(len(mass)))


def _at(features: Tensor, moments: np.ndarray) -> Tensor:
    """(K, D) features of fractional frames, from those of (N, D) whole ones."""
    first = torch.from_numpy(moments.astype(int)).clamp(max=len(features) - 2)
    share = (torch.from_numpy(moments) - first)[:, None].float()
    return (1 - share) * features[first] + share * features[first + 1]
