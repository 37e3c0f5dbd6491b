"""Which features pair films best, and which `auto` picks: generated people, walkers, rendered toy, and real cameras.

    python -m tests.own_films.choices [GROUPS [SEED]]

prints the share of frames that are matched rightly (into the right phase or step, or within three frames of the truth),
for every kind of features and for the pick, and how often each is picked. Poses are made of the true joints with errors
as a network might have them; for the cameras they are found in the pictures. Rendered toy shows no person.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch

from tests.own_films.actors import RATE, group, guessed_pose
from tests.own_films.toys import record_toys
from tests.own_films.verdicts import Right, in_phase, near
from tests.own_films.walkers import RATE as WALK
from tests.own_films.walkers import joints_and_films
from vasot_kit.datasets import pose2sim
from vasot_kit.datasets.pretrained import pose_files
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import match_films
from vasot_kit.films.copies import power_warp
from vasot_kit.films.media import probe, stream
from vasot_kit.films.motion import Motion, motion_maps
from vasot_kit.films.pose import JOINTS, Pose, pose_features
from vasot_kit.own_films.inputs import AUTO, CHOICES, POSE, feature_extractor

Ways = dict[str, FilmDescription]
EXPONENTS = (1.35, 1 / 1.35)  # of the warps in time


def ways(pictures: np.ndarray, rate: float, pose: np.ndarray | None = None) -> Ways:
    """A film described by each choice of features that can be had."""
    tables = {name: feature_extractor(name)(iter(pictures), rate) for name in ("appearance", "network")}
    if pose is not None:
        tables[POSE] = pose
    found = {}
    for choice in CHOICES:
        names = choice.split("+")
        looks = {name: torch.from_numpy(tables[name]) for name in names if name in tables}
        if set(names) <= {Motion.name, *looks}:
            poses = [looks.pop(POSE)] if POSE in looks else []
            by_motion = Motion.name in names
            maps = motion_maps(iter(pictures))
            found[choice] = FilmDescription(maps, rate, [*looks.values()], poses=poses, by_motion=by_motion)
    return found


def people(groups: int, seed: int) -> Iterator[tuple[str, Ways, Ways, Right]]:
    for g in range(groups):
        actors = group([seed, g])
        films = [ways(a.pictures, RATE, guessed_pose(a.joints, [seed, g, k])) for k, a in enumerate(actors)]
        for i, j in permutations(range(len(films)), 2):
            yield "people", films[i], films[j], in_phase(actors[i].phase, actors[j].phase)


def walks(groups: int, seed: int) -> Iterator[tuple[str, Ways, Ways, Right]]:
    for k in range(groups):
        takes = joints_and_films([seed + 1000, k])
        films = [ways(film, WALK, guessed_pose(joints, [seed, k, c], WALK)) for c, (film, joints) in enumerate(takes)]
        warps = [power_warp(len(film), EXPONENTS[c % 2]) for c, (film, _) in enumerate(takes)]
        warped = [
            ways(film[warp.shows], WALK, guessed_pose(joints[warp.shows], [seed, k, c, 1], WALK))
            for c, ((film, joints), warp) in enumerate(zip(takes, warps, strict=True))
        ]
        for i, j in permutations(range(len(films)), 2):
            yield "walkers", films[i], warped[j], near(warps[j].truth)


def toys(groups: int, seed: int) -> Iterator[tuple[str, Ways, Ways, Right]]:
    for k in range(groups):
        with tempfile.TemporaryDirectory() as scratch:
            dataset, _ = record_toys(Path(scratch), 4, seed=seed + k)
        labels = [np.asarray(video.labels) for video in dataset.videos]
        films = [ways(np.asarray(video.frames).repeat(4, 1).repeat(4, 2), 25) for video in dataset.videos]
        for i, j in permutations(range(len(films)), 2):
            yield "toy", films[i], films[j], in_phase(labels[i], labels[j])


def cameras() -> Iterator[tuple[str, Ways, Ways, Right]]:
    """One real person; the poses are those of every frame, warped as the film is."""
    pose = Pose(*pose_files())
    films: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for name, file in pose2sim.films(pose2sim.fetch()).items():
        clip = probe(file)
        small, large = ((round(clip.height * s), round(clip.width * s)) for s in (128 / clip.height, 512 / clip.height))
        bodies = [body for body in pose.bodies(frame.picture for frame in stream(file, size=large)) if body]
        shown = np.array([frame.picture for frame in stream(file, size=small)])
        rows = ([each.metres[[*JOINTS]] for each in bodies], [each.visible[[*JOINTS]] for each in bodies])
        films[name] = shown, np.array(rows[0]), np.array(rows[1])
    whole = {name: ways(shown, WALK, pose_features(*rows, WALK)) for name, (shown, *rows) in films.items()}
    for exponent in EXPONENTS:
        warp = power_warp(pose2sim.FRAMES, exponent)
        at = warp.shows
        warped = {
            name: ways(shown[at], WALK, pose_features(joints[at], visible[at], WALK))
            for name, (shown, joints, visible) in films.items()
        }
        for x, y in permutations(films, 2):
            yield "camera 2" if "cam02" in (x, y) else "cameras 1, 3, 4", whole[x], warped[y], near(warp.truth)


def chosen(pairs: Iterator[tuple[str, Ways, Ways, Right]]) -> Iterator[dict[str, object]]:
    """Rows with ``kind``, ``features``, ``right`` and, for the pick, ``pick``."""
    for kind, x, y, right in pairs:
        found = {way: match_films(x[way], y[way]) for way in x}
        best = max(found, key=lambda way: found[way].gain)
        for way, pick in (*((way, "") for way in found), (best, best)):
            yield {
                "kind": kind, "features": AUTO if pick else way, "pick": pick,
                "right": float(right(found[way].matches).mean()),
            }  # fmt: skip


@click.command()
@click.argument("groups", type=click.IntRange(min=1), default=2)
@click.argument("seed", type=click.IntRange(min=0), default=0)
def main(groups: int, seed: int) -> None:
    """Print the tables."""
    rows = pd.DataFrame(
        row
        for pairs in (people(groups, seed), walks(groups, seed), toys(groups, seed), cameras())
        for row in chosen(pairs)
    )
    print(rows.pivot_table(index="features", columns="kind", values="right", sort=False).round(3).to_string())
    picks = rows[rows.pick != ""]
    print(pd.crosstab(picks.pick, picks.kind).to_string())


if __name__ == "__main__":
    main()
