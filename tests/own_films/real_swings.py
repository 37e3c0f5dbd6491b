"""Real golf swings at their real speed, after set-ups and before finishes of any length.

    python -m tests.own_films.real_swings FOLDER [SEEDS]

FOLDER is that of :mod:`tests.own_films.real_people`, whose films are in slow motion. Frames are left out until a swing
takes 1.1 to 1.7 seconds; before it the player sways, and after it he stands, for a share of the film that is drawn, by
frames of that part of the film played to and fro. Prints the share of frames that are matched into the right phase, the
mean over all ordered pairs and seeds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import click
import numpy as np
import pandas as pd

from tests.own_films.real_people import at_moments, clips
from tests.own_films.verdicts import in_phase
from vasot_kit.experiments.baselines import straight_line
from vasot_kit.film_matching.matching import MatchingSettings
from vasot_kit.films.media import stream, write_video
from vasot_kit.own_films.align import describe_films, match_pairs
from vasot_kit.own_films.inputs import AUTO

RATE = 30
SWING = (34, 52)  # frames
# Shares of a film, before and after the swing. Where they are more than four fifths together, they are shares of a film
# of five times the swing, and a little less of the film that results.
BEFORE, AFTER, MOST = (0.05, 0.65), (0.05, 0.3), 0.8


def frames_of(phases: Sequence[int], count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a swing in slow motion that a film at its real speed shows, and the phase of each."""
    start, _, _, finish = phases
    moves = np.linspace(start, finish, int(rng.uniform(*SWING)), endpoint=False).round().astype(int)
    step = max(1, round((finish - start) / len(moves) / 3))
    before, after = rng.uniform(*BEFORE), rng.uniform(*AFTER)
    total = len(moves) / (1 - min(before + after, MOST))
    sway, stand = np.arange(0, max(start - 2, 2), step), np.arange(finish, count, step)
    shown = np.concatenate([to_and_fro(sway, total * before), moves, to_and_fro(stand, total * after)])
    return shown, np.searchsorted(phases, shown, side="right")


def to_and_fro(frames: np.ndarray, count: float) -> np.ndarray:
    return np.resize(np.concatenate([frames, frames[-2:0:-1]]), max(3, int(count)))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("seeds", type=click.IntRange(min=1), default=3)
def main(folder: Path, seeds: int) -> None:
    """Print the table."""
    films = [(file, phases) for kind, file, phases in clips(folder) if kind == "golf"]
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        with tempfile.TemporaryDirectory() as scratch:
            paths, phase = [], []
            for file, phases in films:
                pictures = [frame.picture for frame in stream(file)]
                shown, each = frames_of(phases, len(pictures), rng)
                paths.append(Path(scratch) / f"{file.stem}_{seed}.mp4")
                write_video(paths[-1], (pictures[k] for k in shown), RATE)
                phase.append(each)
            described = describe_films(paths, AUTO, None, "cpu", MatchingSettings(), True)
        pairs = list(permutations(range(len(paths)), 2))
        found = {
            way: match_pairs(described._replace(ways={way: described.ways[way]}), pairs, MatchingSettings(), False)
            for way in described.ways
        }
        for number, (i, j) in enumerate(pairs):
            each_way = {way: of_way[number] for way, of_way in found.items()}
            each_way[AUTO] = max(each_way.values(), key=lambda alignment: alignment.gain)
            is_right = in_phase(phase[i], phase[j])
            for way, alignment in each_way.items():
                ways = {"vasot align": alignment.matches, "straight line": straight_line(len(phase[i]), len(phase[j]))}
                if way != AUTO:
                    ways["DTW"] = at_moments(described, way, i, j)
                rows += [{"features": way, "way": name, "right": float(is_right(m).mean())} for name, m in ways.items()]
    print(pd.DataFrame(rows).pivot_table(index="features", columns="way", values="right", sort=False).round(3))


if __name__ == "__main__":
    main()
