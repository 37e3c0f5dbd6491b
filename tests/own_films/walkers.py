"""Generated films of a body that walks and gestures, each take from three cameras: a kind that weights were chosen on.

    python -m tests.own_films.walkers [TAKES [SEED]]

prints how far every way to match is off (`vasot_kit.film_matching.accuracy`), over all pairs of cameras and two warps.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from vasot_kit.film_matching.accuracy import DTW, warped_pairs
from vasot_kit.films.copies import power_warp

RATE, FRAMES = 60, 100
HEIGHT, WIDTH, FINER = 128, 72, 3  # drawn at three times the size
WARPS = {f"t^{exponent:.2f}": partial(power_warp, exponent=exponent) for exponent in (1.35, 1 / 1.35)}
SKIN, DARK, CAP = np.array([200, 160, 140]), np.array([40, 60, 40]), np.array([20, 140, 150])


class Limb(NamedTuple):
    """Both ends, (N, 3) each, in metres; radius and colour."""

    start: np.ndarray
    end: np.ndarray
    radius: float
    colour: np.ndarray


class Camera(NamedTuple):
    """Where it stands, (3,); its axes right, up, forward, (3, 3); its focal length."""

    place: np.ndarray
    axes: np.ndarray
    focal: float

    @classmethod
    def looking(cls, place: np.ndarray, at: np.ndarray, roll: float, focal: float) -> Camera:
        """From a place at a point, and not quite upright."""
        forward = (at - place) / np.linalg.norm(at - place)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        up = np.cross(right, forward)
        turned = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
        return cls(place, np.stack([*turned, forward]), focal)


def take(seed: int | list[int], cameras: int = 3, frames: int = FRAMES) -> dict[str, np.ndarray]:
    """Name -> (N, H, W, 3) uint8 pictures of one take, synchronous."""
    return {f"camera {k + 1}": film for k, (film, _) in enumerate(joints_and_films(seed, cameras, frames))}


def joints_and_films(
    seed: int | list[int], cameras: int = 3, frames: int = FRAMES
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pictures of one take by each camera, and the (N, 15, 3) joints that it sees."""
    rng = np.random.default_rng(seed)
    limbs, around = _body(rng, frames), rng.uniform(0, 2 * np.pi)
    films = []
    for number in range(cameras):
        camera = _camera(rng, around + number * rng.uniform(0.6, 1.9))
        films.append((body_film(limbs, camera, rng), seen_joints(limbs, camera)))
    return films


def wander(rng: np.random.Generator, n: int, low: float = 0.4, high: float = 2.5) -> np.ndarray:
    """(n,) a smooth random movement of size about 1, with frequencies in Hz."""
    time, frequency = np.arange(n) / RATE, rng.uniform(low, high, 4)
    size = rng.normal(size=4) / 2 / np.sqrt(frequency)
    return size @ np.sin(2 * np.pi * frequency[:, None] * time + rng.uniform(0, 2 * np.pi, (4, 1)))


def turn(axis: int, angle: np.ndarray) -> np.ndarray:
    """(n, 3, 3) rotations about one axis."""
    first, second = (k for k in range(3) if k != axis)
    turns = np.tile(np.eye(3), (len(angle), 1, 1))
    turns[:, first, first] = turns[:, second, second] = np.cos(angle)
    turns[:, second, first] = np.sin(angle)
    turns[:, first, second] = -np.sin(angle)
    return turns


def _body(rng: np.random.Generator, n: int) -> list[Limb]:
    """Legs walk, arms and trunk do as they like."""
    own = partial(wander, rng, n)
    phase = 2 * np.pi * rng.uniform(0.6, 1.2) * np.arange(n) / RATE + rng.uniform(0, 6) + 0.5 * own(0.2, 0.8)
    vigour = rng.uniform(0.4, 1.3)
    pelvis = np.stack([0.05 * own(), 0.05 * own(), 0.95 + 0.03 * np.cos(2 * phase)], 1)
    trunk = turn(0, 0.15 * own()) @ turn(1, 0.15 * own()) @ turn(2, 0.4 * own())
    neck, head = pelvis + trunk @ [0, 0, 0.5], pelvis + trunk @ [0, 0, 0.72]
    limbs = [Limb(pelvis, neck, 0.16, SKIN), Limb(neck + 0.4 * (head - neck), head, 0.1, CAP)]
    for side in (-1, 1):
        step = phase + (side > 0) * np.pi
        thigh = turn(0, 0.5 * vigour * np.sin(step) + 0.15 * own()) @ turn(1, 0.12 * side + 0.1 * own())
        shank = thigh @ turn(0, -0.55 * vigour * (1 - np.cos(step + 1)))
        hip = pelvis + trunk @ [0.1 * side, 0, 0]
        knee = hip + thigh @ [0, 0, -0.42]
        foot = knee + shank @ [0, 0, -0.42]
        toes = foot + shank @ [0, 0.16, 0]
        limbs += [Limb(hip, knee, 0.085, DARK), Limb(knee, foot, 0.06, SKIN), Limb(foot, toes, 0.045, SKIN)]
        swing = [rng.uniform(0.3, 1.2) * own() for _ in range(3)]
        upper = trunk @ turn(1, side * (0.9 * swing[0] - 0.5)) @ turn(0, swing[1] + 0.3)
        lower = upper @ turn(0, 0.6 + 0.8 * swing[2])
        shoulder = neck + trunk @ [0.2 * side, 0, -0.04]
        elbow = shoulder + upper @ [0, 0, -0.3]
        limbs += [Limb(shoulder, elbow, 0.05, SKIN), Limb(elbow, elbow + lower @ [0, 0, -0.28], 0.042, SKIN)]
    return limbs


def _camera(rng: np.random.Generator, around: float) -> Camera:
    """It looks at the body from 3 to 4 metres, and not quite upright."""
    distance, height, roll = rng.uniform(3.0, 4.2), rng.uniform(0.8, 2.4), rng.uniform(-0.25, 0.25)
    place = np.array([distance * np.cos(around), distance * np.sin(around), height])
    at = np.array([0, 0, 0.95]) + 0.12 * rng.normal(size=3)
    return Camera.looking(place, at, roll, rng.uniform(1.0, 1.35))


def body_film(limbs: list[Limb], camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Lit from one side, before a wall of random colours, with noise."""
    height, width = HEIGHT * FINER, WIDTH * FINER
    wall = Image.fromarray(rng.uniform(40, 200, (8, 5, 3)).astype(np.uint8)).resize((width, height), Image.BICUBIC)
    light, bright = rng.normal(size=3), rng.uniform(0.7, 1.2)
    light /= np.linalg.norm(light)
    seen = []
    for limb in limbs:
        ends = [(end - camera.place) @ camera.axes.T for end in (limb.start, limb.end)]
        along = limb.end - limb.start
        shade = 0.7 + 0.3 * np.abs(along @ light) / np.linalg.norm(along, axis=1)
        depth = (ends[0][:, 2] + ends[1][:, 2]) / 2
        places = [np.array([width, height]) / 2 + camera.focal * height * e[:, :2] * [1, -1] / e[:, 2:] for e in ends]
        thick = 2 * camera.focal * height * limb.radius / depth
        seen.append((depth, places, thick, (limb.colour * bright * shade[:, None]).clip(0, 255).astype(int)))
    pictures = []
    for t in range(len(limbs[0].start)):
        picture = wall.copy()
        pen = ImageDraw.Draw(picture)
        for _, places, thick, colour in sorted(seen, key=lambda limb: -limb[0][t]):  # far ones first
            ends, fill = [tuple(place[t]) for place in places], tuple(colour[t])
            pen.line(ends, fill=fill, width=max(1, int(thick[t])))
            for x, y in ends:
                pen.ellipse((x - thick[t] / 2, y - thick[t] / 2, x + thick[t] / 2, y + thick[t] / 2), fill=fill)
        small = np.asarray(picture.resize((WIDTH, HEIGHT), Image.BOX), float)
        pictures.append((small + rng.normal(scale=1.5, size=small.shape)).clip(0, 255).astype(np.uint8))
    return np.array(pictures)


def seen_joints(limbs: list[Limb], camera: Camera) -> np.ndarray:
    """(N, 15, 3) the joints that pose features use, in metres: right of the camera, down, and away from it."""
    left, right = limbs[2:7], limbs[7:]  # each thigh, shank, foot, upper and lower arm
    pairs = [(part[k].start, part[k].end) for k in (3, 4, 0, 1, 2) for part in (left, right)]
    shoulders, elbows, hips = ([pair[0] for pair in pairs[k : k + 2]] for k in (0, 2, 4))
    wrists, knees, ankles, toes = ([pair[1] for pair in pairs[k : k + 2]] for k in (2, 4, 6, 8))
    joints = np.stack([limbs[1].end, *shoulders, *elbows, *wrists, *hips, *knees, *ankles, *toes], axis=1)
    return (joints - camera.place) @ camera.axes.T * [1, -1, 1]


def measured(takes: int, seed: int = 0) -> pd.DataFrame:
    """Rows of :func:`vasot_kit.film_matching.accuracy.warped_pairs` for several takes."""
    rows: list[dict] = []
    for number in range(takes):
        films = take([seed, number])
        found = warped_pairs(films, lambda *_: np.arange(float(FRAMES)), WARPS, RATE)
        rows += [{"take": number, **row} for row in found]
    return pd.DataFrame(rows)


@click.command()
@click.argument("takes", type=click.IntRange(min=1), default=12)
@click.argument("seed", type=click.IntRange(min=0), default=0)
def main(takes: int, seed: int) -> None:
    """Print the table."""
    rows = measured(takes, seed)
    errors = rows.pivot_table(index=["take", "pair", "warp"], columns="method", values="error", sort=False)
    table = rows.groupby("method", sort=False)[["error", "p90"]].mean()
    table["below DTW"] = [f"{(errors[name] < errors[DTW]).sum()} of {len(errors)}" for name in table.index]
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
