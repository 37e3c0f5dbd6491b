"""How well films are matched that share only a part of what they show: generated people who walk and gesture.

    python -m tests.own_films.overlaps [SEED [TAKES]]

prints how far frames are off that both films show, and how well those are found that only one does, for two cameras by
motion and with poses, and for an altered copy by motion. Of either film up to half is cut away at the beginning, the
end or both; at least a quarter of the take is in both. Poses are made of the true joints with errors.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import click
import numpy as np
import torch

from tests.own_films.actors import guessed_pose
from tests.own_films.walkers import RATE, joints_and_films
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import FilmAlignment, match_films
from vasot_kit.films.copies import altered_copy, tempo_warp
from vasot_kit.films.motion import motion_maps

FRAMES, LEAST, CUTS = 240, 0.25, 6  # of a take, shared, and pairs of a take
NEAR = 3  # frames


class Found(NamedTuple):
    """A match of films X and Y and the (N,) true places of its frames in Y, NaN where Y does not show them."""

    match: FilmAlignment
    truth: np.ndarray

    @property
    def off(self) -> float:
        """Mean error of the frames that both films show."""
        return float(np.nanmean(np.abs(self.match.matches - self.truth)))


def cuts(rng: np.random.Generator) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """First frames of X and Y, and those after the last: X earlier than Y, Y inside X, and anything."""
    found = []
    for kind in range(CUTS):
        away = (rng.uniform(0, 0.5, 4) * FRAMES).astype(int)
        half = away // 2
        x, y = [
            ((0, FRAMES - away[0]), (away[1], FRAMES)),
            ((0, FRAMES), (half[0], FRAMES - half[1])),
            ((half[0], FRAMES - half[1]), (half[2], FRAMES - half[3])),
        ][kind % 3]
        if min(x[1], y[1]) - max(x[0], y[0]) >= LEAST * FRAMES:
            found.append((x, y))
    return found


def described(maps: np.ndarray, pose: np.ndarray | None = None) -> FilmDescription:
    return FilmDescription(maps, RATE, poses=[] if pose is None else [torch.from_numpy(pose)])


def matched(seed: int, takes: int) -> dict[str, list[Found]]:
    """The matches of all pairs by what was compared."""
    rng, found = np.random.default_rng(seed), defaultdict(list)
    for k in range(takes):
        cameras = joints_and_films([seed, k], 2, FRAMES)
        maps = [motion_maps(iter(film)) for film, _ in cameras]
        poses = [guessed_pose(joints, [seed, k, c], RATE) for c, (_, joints) in enumerate(cameras)]
        warp = tempo_warp(FRAMES, 0.8, 1.25, rng)
        copied = motion_maps(iter(altered_copy(cameras[0][0], warp, rng)))
        for (a, b), (start, end) in cuts(rng):
            at = np.arange(a, b, dtype=float)
            truth = np.where((at >= start) & (at < end), at - start, np.nan)
            x = maps[0][a:b], poses[0][a:b]
            y = maps[1][start:end], poses[1][start:end]
            found["two cameras, motion"].append(Found(match_films(described(x[0]), described(y[0])), truth))
            found["two cameras, with poses"].append(Found(match_films(described(*x), described(*y)), truth))
            start, end = (int(np.interp(each, np.arange(FRAMES), warp.truth)) for each in (start, end - 1))
            there = np.where((warp.truth >= start) & (warp.truth < end), warp.truth - start, np.nan)[a:b]
            found["altered copy, motion"].append(
                Found(match_films(described(x[0]), described(copied[start:end])), there)
            )
    return found


@click.command()
@click.argument("seed", type=click.IntRange(min=0), default=0)
@click.argument("takes", type=click.IntRange(min=1), default=12)
def main(seed: int, takes: int) -> None:
    """Print the table."""
    for name, pairs in matched(seed, takes).items():
        errors = np.array([pair.off for pair in pairs])
        alone = np.concatenate([~pair.match.paired for pair in pairs])
        truly = np.concatenate([np.isnan(pair.truth) for pair in pairs])
        f1 = 2 * (alone & truly).sum() / (alone.sum() + truly.sum())
        print(f"{name}: {len(pairs)} pairs, {np.mean(errors <= NEAR):.2f} of them off by at most {NEAR} frames")
        print(f"    error in frames: mean {errors.mean():.2f}, of the median pair {np.median(errors):.2f}")
        print(f"    frames without partner: F1 {f1:.2f}")


if __name__ == "__main__":
    main()
