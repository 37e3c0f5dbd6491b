"""Which film others are best aligned with: the first one, or the one that `vasot align --reference best` picks.

    python -m tests.own_films.references [GROUPS [SEED]]

prints the share of the frames of all other films that are matched rightly with each choice of the reference: generated
people (into the right phase), where the first film may stop in the middle of the movement or show another one, and the
four real cameras of pose2sim, each at a tempo of its own (within three frames). ``oracle`` is the best of all choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import click
import numpy as np
import pandas as pd

from tests.own_films.actors import PLAIN, RATE, group
from tests.own_films.verdicts import NEAR
from vasot_kit.datasets import pose2sim
from vasot_kit.film_matching.accuracy import film_motion
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import match_films
from vasot_kit.films.copies import TimeWarp, power_warp
from vasot_kit.films.media import probe, stream
from vasot_kit.own_films.several import best_reference, judged

Right = Callable[[int, int, np.ndarray], np.ndarray]  # of films k and r, and the matches of k in r, which are right
TEMPOS = (1.35, 1.0, 1 / 1.35, 1.15)  # exponents of the warps of the cameras


def chosen(kind: str, films: Sequence[FilmDescription], right: Right) -> dict[str, object]:
    """The share of right frames for each choice of the reference."""
    places = range(len(films))
    share = [
        float(np.mean([right(k, r, match_films(films[k], films[r]).matches).mean() for k in places if k != r]))
        for r in places
    ]
    verdicts = [judged((i, j), match_films(films[i], films[j])) for i, j in combinations(places, 2)]
    picked = share[best_reference(verdicts)]
    return {"films": kind, "first": share[0], "any": np.mean(share), "best": picked, "oracle": max(share)}


def people(groups: int, seed: int) -> Iterator[dict[str, object]]:
    for g in range(groups):
        actors = group([seed, g], PLAIN if g % 2 else None)
        stranger = group([seed, g + 1000])[0]
        half = int(np.flatnonzero(actors[0].phase >= 2)[0])
        firsts = {
            "people": (actors[0].pictures, actors[0].phase),
            "people, the first in part": (actors[0].pictures[:half], actors[0].phase[:half]),
            "people, the first does something else": (stranger.pictures, np.full(len(stranger.phase), -1)),
        }
        others = [film_motion(each.pictures, RATE).described() for each in actors[1:]]
        for kind, (pictures, phase) in firsts.items():
            phases = [phase, *(each.phase for each in actors[1:])]

            def right(k: int, r: int, matches: np.ndarray, phases: list[np.ndarray] = phases) -> np.ndarray:
                return phases[r][np.clip(np.round(matches), 0, len(phases[r]) - 1).astype(int)] == phases[k]

            yield chosen(kind, [film_motion(pictures, RATE).described(), *others], right)


def cameras() -> Iterator[dict[str, object]]:
    """Each camera is the first once."""
    films = []
    warps = [power_warp(pose2sim.FRAMES, exponent) for exponent in TEMPOS]
    for file, warp in zip(pose2sim.films(pose2sim.fetch()).values(), warps, strict=True):
        clip = probe(file)
        size = 128, round(clip.width * 128 / clip.height)
        shown = np.array([frame.picture for frame in stream(file, size=size)])
        films.append(film_motion(shown[warp.shows], clip.fps).described())
    for first in range(len(films)):
        order = [first, *(k for k in range(len(films)) if k != first)]
        ordered = [warps[k] for k in order]

        def right(k: int, r: int, matches: np.ndarray, warps: list[TimeWarp] = ordered) -> np.ndarray:
            truth = np.interp(warps[k].shows, np.arange(pose2sim.FRAMES), warps[r].truth)
            return np.abs(matches - truth) <= NEAR

        yield chosen("four cameras", [films[k] for k in order], right)


@click.command()
@click.argument("groups", type=click.IntRange(min=1), default=10)
@click.argument("seed", type=click.IntRange(min=0), default=0)
def main(groups: int, seed: int) -> None:
    """Print the table."""
    rows = pd.DataFrame([*people(groups, seed), *cameras()])
    print(rows.groupby("films", sort=False).mean().round(3).to_string())


if __name__ == "__main__":
    main()
