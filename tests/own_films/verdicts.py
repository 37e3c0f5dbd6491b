"""How often the verdict on two films is right, and what a confidence means, on generated pairs.

    python -m tests.own_films.verdicts [SEED [PICTURE]]

prints, by motion, with poses and by appearance alone, the verdicts on pairs that show the same and on 200 that have
nothing to do with each other, and draws the reliability diagram: the share of frames that are matched rightly, by their
confidence. Poses are made of the true joints of generated people, with errors as a network might have them. By
appearance, there are rendered procedures as well, of which other seeds have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_auc_score

from tests.own_films import orders
from tests.own_films.actors import PLAIN, RATE, group, guessed_pose
from tests.own_films.walkers import FRAMES, joints_and_films
from tests.own_films.walkers import RATE as WALK
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import match_films
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.copies import altered_copy, tempo_warp
from vasot_kit.films.motion import motion_maps

GROUPS, TAKES, TOYS, UNRELATED = 12, 14, 10, 200
MOTION, POSE, LOOKS = "motion", "motion and pose", "appearance"
NEAR = 3  # frames; a match that is no further from the truth counts as right
BINS = np.linspace(0, 1, 11)
Right = Callable[[np.ndarray], np.ndarray]  # from (N,) matches to whether they are right


class Film(NamedTuple):
    """A film, described; and of which event."""

    event: str
    described: FilmDescription


class Pair(NamedTuple):
    """Two films; ``right`` tells which of the (N,) matches of X are, None where nothing can be."""

    kind: str
    x: FilmDescription
    y: FilmDescription
    right: Right | None


def described(pictures: np.ndarray, rate: float, by: str, pose: np.ndarray | None = None) -> FilmDescription:
    poses, looks = [] if pose is None else [torch.from_numpy(pose)], []
    if by == LOOKS:
        small = (np.asarray(Image.fromarray(each).resize((Appearance.side, Appearance.side))) for each in pictures)
        looks = [torch.from_numpy(Appearance()(small, rate))]
    return FilmDescription(motion_maps(iter(pictures)), rate, looks, poses=poses, by_motion=by != LOOKS)


def near(truth: np.ndarray) -> Right:
    """Right is what is near the (N,) true frames, which are NaN where there is no partner."""
    return lambda matches: np.abs(matches - truth) <= NEAR


def in_phase(from_x: np.ndarray, from_y: np.ndarray) -> Right:
    return lambda matches: from_y[np.clip(np.round(matches), 0, len(from_y) - 1).astype(int)] == from_x


def people(seed: int, by: str) -> tuple[list[Pair], list[Film]]:
    """Every person with the next of the group."""
    pairs, films = [], []
    for g in range(GROUPS):
        actors = group([seed, g], PLAIN if g % 2 else None)
        poses = [guessed_pose(each.joints, [seed, g, k]) if by == POSE else None for k, each in enumerate(actors)]
        found = [described(each.pictures, RATE, by, pose) for each, pose in zip(actors, poses, strict=True)]
        films += [Film(f"group {g}", each) for each in found]
        for x, y in zip(range(len(found)), [*range(1, len(found)), 0], strict=True):
            pairs.append(Pair("two people", found[x], found[y], in_phase(actors[x].phase, actors[y].phase)))
    return pairs, films


def walks(seed: int, by: str) -> tuple[list[Pair], list[Film]]:
    """Two cameras each, and without poses a copy of a whole take and one of a part of it."""
    pairs, films, rng = [], [], np.random.default_rng(seed)
    for k in range(TAKES):
        takes = joints_and_films([seed + 1000, k])
        poses = [
            guessed_pose(joints, [seed, 99, k, c], WALK) if by == POSE else None for c, (_, joints) in enumerate(takes)
        ]
        found = [described(film, WALK, by, pose) for (film, _), pose in zip(takes, poses, strict=True)]
        films += [Film(f"take {k}", each) for each in found]
        synchronous = near(np.arange(float(FRAMES)))
        pairs += [Pair("two cameras", x, y, synchronous) for x, y in pairwise(found)]
        for (film, _), x in () if by == POSE else zip(takes[:2], found, strict=False):
            warp = tempo_warp(len(film), 0.7, 1.4, rng)
            copy, cut = altered_copy(film, warp, rng), int(rng.uniform(0, 0.4) * len(warp.shows))
            there = np.where(warp.truth < cut, np.nan, warp.truth - cut)
            pairs.append(Pair("copy", x, described(copy, WALK, by), near(warp.truth)))
            pairs.append(Pair("copy of a part", x, described(copy[cut:], WALK, by), near(there)))
    return pairs, films


def procedures(seed: int) -> tuple[list[Pair], list[Film]]:
    """Two films each of a procedure, whose colours and light differ little, or as much as by default."""
    pairs, films = [], []
    for style, words in ((orders.STYLE, "procedure"), (1.0, "procedure in another light")):
        for kind in orders.KINDS:
            for number in range(seed, seed + TOYS):
                shown = orders.order_pair(kind, number, style)
                labels = [np.asarray(each.labels) for each in shown]
                found = [orders.film_by_looks(each) for each in shown]
                pairs.append(Pair(f"{words}, {kind}", *found, in_phase(*labels)))
                films += [Film(f"procedure {number}", each) for each in found]
    return pairs, films


def unrelated(films: list[Film], seed: int) -> list[Pair]:
    rng, pairs = np.random.default_rng(seed), []
    while len(pairs) < UNRELATED:
        x, y = (films[k] for k in rng.integers(0, len(films), 2))
        if x.event != y.event:
            pairs.append(Pair("unrelated", x.described, y.described, None))
    return pairs


def judged(seed: int, by: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows per pair (``pair``, ``closeness``, ``recognition``, ``verdict``) and per frame (``same``,
    ``confidence``, ``right``)."""
    sources = [people(seed, by), walks(seed, by), *([procedures(seed)] if by == LOOKS else [])]
    films = [film for _, some in sources for film in some]
    rows, frames = [], []
    for pair in [*(pair for pairs, _ in sources for pair in pairs), *unrelated(films, seed)]:
        found = match_films(pair.x, pair.y)
        rows.append(
            {"pair": pair.kind, "closeness": found.closeness, "recognition": found.recognition, "verdict": found.kind}
        )
        right = np.zeros(len(found.matches), bool) if pair.right is None else pair.right(found.matches)
        frames.append(pd.DataFrame({"same": pair.right is not None, "confidence": found.confidence, "right": right}))
    return pd.DataFrame(rows), pd.concat(frames)


def reliability(frames: pd.DataFrame) -> pd.DataFrame:
    """Per bin of confidence its mean and the share of right frames, films that show the same being half of all."""
    weight = frames.groupby("same").right.transform("size").rdiv(0.5)
    bins = np.clip(np.digitize(frames.confidence, BINS) - 1, 0, len(BINS) - 2)
    total = weight.groupby(bins).sum()
    means = {name: (weight * frames[name]).groupby(bins).sum() / total for name in ("confidence", "right")}
    return pd.DataFrame({**means, "frames": total})


@click.command()
@click.argument("seed", type=click.IntRange(min=0), default=0)
@click.argument("picture", type=click.Path(dir_okay=False, path_type=Path), required=False)
def main(seed: int, picture: Path | None) -> None:
    """Print the tables; draw the diagram where a file is named."""
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name in (MOTION, POSE, LOOKS):
        rows, frames = judged(seed, name)
        evidence = rows.closeness if name != LOOKS else rows.recognition
        print(f"\nby {name}: area under the curve {roc_auc_score(rows.pair != 'unrelated', evidence):.3f}")
        print(pd.crosstab(rows.pair, rows.verdict).to_string())
        found = reliability(frames)
        print(found.round(2).to_string())
        axes.plot(found.confidence, found.right, marker="o", label=f"by {name}")
    axes.set(
        xlabel="confidence of a frame", ylabel="share of frames that are matched rightly", xlim=(0, 1), ylim=(0, 1)
    )
    axes.legend(frameon=False)
    if picture is not None:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main()
