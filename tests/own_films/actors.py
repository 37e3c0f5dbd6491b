"""Generated films of several people who do the same fast movement and wait as long as they like before and after it.

    python -m tests.own_films.actors [GROUPS [SEED [plain]]]

prints the share of frames that are matched into the right phase, for every way to match two films, over all ordered
pairs of the five people of each group. The people differ in size, clothes, background, place of the camera, tempo and
in how they do the movement; unless they are ``plain`` they also fidget while they wait. A network finds no pose in such
pictures: pose features are made of the true joints, with an error as a network might have it.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter1d

from tests.own_films.walkers import CAP, DARK, SKIN, Camera, Limb, body_film, seen_joints, turn, wander
from vasot_kit.film_matching.accuracy import film_motion, ways_to_match
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import match_films
from vasot_kit.films.pose import pose_features
from vasot_lib.paths import dtw

RATE, PEOPLE, PHASES = 30, 5, 5
ANGLES = 18  # of the body, with the place of the pelvis: trunk 3, each side 6, pelvis 3
SIZES = np.array([0.3, 0.25, 0.6] + [0.7, 0.3, 0.6, 1.2, 1.0, 0.9] * 2 + [0.15, 0.15, 0.12])
WAIT = (0.05, 0.7)  # shares of a film that its waits before and after the movement have
ERROR = (0.02, 0.02, 0.06)  # metres, by which a joint is misplaced: right, down, away
POSE, POSE_DTW = "vasot align, pose", "DTW, pose"
CLOTHES = (SKIN, DARK, CAP, *map(np.array, ([180, 40, 40], [230, 230, 225], [60, 60, 120], [120, 90, 60])))


class Person(NamedTuple):
    """How much the people of a group differ: poses, fidgets and places of the camera, in shares of the movement."""

    poses: float = 0.25
    fidget: float = 0.5
    camera: float = 0.3


PLAIN = Person(poses=0.12, fidget=0.0, camera=0.15)


class Actor(NamedTuple):
    """(N, H, W, 3) uint8 pictures, the (N,) phases of the movement, from 0, and the (N, 15, 3) joints in metres."""

    pictures: np.ndarray
    phase: np.ndarray
    joints: np.ndarray


def group(seed: int | list[int], kind: Person | None = None, people: int = PEOPLE) -> list[Actor]:
    """Several people, each of whom does one movement of random poses."""
    rng = np.random.default_rng(seed)
    poses = SIZES * rng.normal(size=(PHASES, ANGLES))
    poses[0] /= 4
    frames = rng.uniform(6, 18, PHASES - 1)
    frames[rng.integers(1, PHASES - 1)] = rng.uniform(4, 7)  # one phase is fast
    around = rng.uniform(0, 2 * np.pi)
    return [_actor(rng, poses, frames, around, kind or Person()) for _ in range(people)]


def _actor(rng: np.random.Generator, poses: np.ndarray, frames: np.ndarray, around: float, kind: Person) -> Actor:
    size = np.abs(poses).mean(0)
    mine = poses * rng.uniform(0.85, 1.15) + kind.poses * size * rng.normal(size=poses.shape)
    moves = np.maximum(3, np.round(frames * rng.uniform(0.75, 1.35) * rng.uniform(0.85, 1.15, len(frames)))).astype(int)
    angles, phase = _in_time(rng, mine, moves)
    n = len(phase)
    angles += 0.03 * np.stack([wander(rng, n, 0.2, 1.0) for _ in range(ANGLES)], 1)
    for _ in range(rng.poisson(3 * n / 100) if kind.fidget else 0):
        joints, width = rng.integers(0, ANGLES, 3), rng.uniform(3, 8)
        burst = np.exp(-0.5 * ((np.arange(n) - rng.uniform(0, n)) / width) ** 2)
        angles[:, joints] += burst[:, None] * kind.fidget * size[joints] * rng.normal(size=3)
    limbs, camera = _body(rng, angles), _camera(rng, around + kind.camera * rng.normal())
    return Actor(body_film(limbs, camera, rng), phase, seen_joints(limbs, camera))


def _in_time(rng: np.random.Generator, poses: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 18) angles and (N,) phases: a wait, the moves from pose to pose with at times a rest between, and a wait."""
    rest = rng.uniform(0, 0.15) * (rng.random() < 0.5)
    before, after = WAIT[1], WAIT[1]
    while before + after + rest > 0.82:
        before, after = rng.uniform(*WAIT, 2)
    total = moves.sum() / (1 - before - after - rest)
    rests = np.round(total * np.array([before, 0, 0, 0, after])).astype(int)
    rests[rng.integers(1, PHASES - 1)] += round(total * rest)
    angles, phase = [poses[0]] * rests[0], [0] * rests[0]
    for k, count in enumerate(moves.tolist()):
        time = np.arange(1, count + 1) / count
        ease = (time**2 * (3 - 2 * time))[:, None]
        angles += [*(poses[k] + (poses[k + 1] - poses[k]) * ease), *([poses[k + 1]] * rests[k + 1])]
        phase += [k + 1] * (count + rests[k + 1])
    return np.array(angles), np.array(phase)


def _body(rng: np.random.Generator, angles: np.ndarray) -> list[Limb]:
    size, thick = rng.uniform(0.88, 1.12), rng.uniform(0.8, 1.3)
    shirt, cap, trousers, shoes = (CLOTHES[k] for k in rng.integers(0, len(CLOTHES), 4))
    skin = SKIN * rng.uniform(0.5, 1.1)
    pelvis = angles[:, 15:] + [0, 0, 0.95]
    trunk = turn(0, angles[:, 0]) @ turn(1, angles[:, 1]) @ turn(2, angles[:, 2])
    neck, head = pelvis + trunk @ [0, 0, 0.5], pelvis + trunk @ [0, 0, 0.72]
    limbs = [Limb(pelvis, neck, 0.16 * thick, shirt), Limb(neck + 0.4 * (head - neck), head, 0.1, cap)]
    for side, first in ((-1, 3), (1, 9)):
        hip_x, hip_y, bend, arm_y, arm_x, elbow_bend = angles[:, first : first + 6].T
        thigh = turn(0, hip_x) @ turn(1, 0.12 * side + hip_y)
        shank = thigh @ turn(0, -np.abs(bend))
        hip = pelvis + trunk @ [0.1 * side, 0, 0]
        knee = hip + thigh @ [0, 0, -0.42]
        foot = knee + shank @ [0, 0, -0.42]
        limbs += [Limb(hip, knee, 0.085 * thick, trousers), Limb(knee, foot, 0.06 * thick, trousers)]
        limbs += [Limb(foot, foot + shank @ [0, 0.16, 0], 0.045, shoes)]
        upper = trunk @ turn(1, side * (arm_y - 0.5)) @ turn(0, arm_x + 0.3)
        lower = upper @ turn(0, 0.4 + np.abs(elbow_bend))
        shoulder = neck + trunk @ [0.2 * side, 0, -0.04]
        elbow = shoulder + upper @ [0, 0, -0.3]
        hand = elbow + lower @ [0, 0, -0.28]
        limbs += [Limb(shoulder, elbow, 0.05 * thick, shirt), Limb(elbow, hand, 0.042 * thick, skin)]
    return [Limb(limb.start * size, limb.end * size, limb.radius * size, limb.colour) for limb in limbs]


def _camera(rng: np.random.Generator, around: float) -> Camera:
    distance, height, roll = rng.uniform(3, 5), rng.uniform(1, 1.8), rng.uniform(-0.05, 0.05)
    place = np.array([distance * np.cos(around), distance * np.sin(around), height])
    return Camera.looking(place, np.array([0, 0, 0.95]) + 0.1 * rng.normal(size=3), roll, rng.uniform(1, 1.35))


def guessed_pose(joints: np.ndarray, seed: int | list[int], rate: float = RATE) -> np.ndarray:
    """(N, 324) pose features of joints with errors of two and, in depth, six centimetres; most of them last."""
    noise = np.random.default_rng(seed).normal(size=(2, *joints.shape))
    lasting = gaussian_filter1d(noise[0], 3, axis=0, mode="nearest")
    error = (lasting / lasting.std() + noise[1] / 2) * ERROR
    return pose_features(joints + error, np.ones(joints.shape[:2]), rate)


def right_phase(groups: int, seed: int = 0, kind: Person | None = None) -> pd.DataFrame:
    """Rows with ``group``, ``pair``, ``method`` and ``right``: the share of frames matched into the right phase."""
    rows: list[dict] = []
    for number in range(groups):
        actors = group([seed, number], kind)
        films = [(film_motion(each.pictures, RATE), each.phase) for each in actors]
        poses = [torch.from_numpy(guessed_pose(each.joints, [seed, number, k])) for k, each in enumerate(actors)]
        bodies = [
            FilmDescription(film.maps, RATE, poses=[pose], by_motion=False)
            for (film, _), pose in zip(films, poses, strict=True)
        ]
        for i, j in permutations(range(len(films)), 2):
            (x, from_x), (y, from_y) = films[i], films[j]
            by_pose = {
                POSE: match_films(bodies[i], bodies[j]).matches,
                POSE_DTW: dtw(poses[i].numpy(), poses[j].numpy()),
            }
            for method, matches in {**ways_to_match(x, y), **by_pose}.items():
                found = from_y[np.clip(np.round(matches), 0, len(from_y) - 1).astype(int)]
                rows.append({"group": number, "pair": f"{i} {j}", "method": method, "right": (found == from_x).mean()})
    return pd.DataFrame(rows)


@click.command()
@click.argument("groups", type=click.IntRange(min=1), default=4)
@click.argument("seed", type=click.IntRange(min=0), default=0)
@click.argument("kind", type=click.Choice(["plain"]), required=False)
def main(groups: int, seed: int, kind: str | None) -> None:
    """Print the table."""
    rows = right_phase(groups, seed, PLAIN if kind == "plain" else None)
    print(rows.groupby("method", sort=False).right.mean().round(3).to_string())


if __name__ == "__main__":
    main()
