"""Real films of different people: matched into the right phase, and called the same or not.

    python -m tests.own_films.real_people FOLDER

FOLDER holds clones of three repositories of GitHub, side by side; their films belong to those who made them and are not
here:

    twelckle/golfswingcomparison                seven players, from in front, in slow motion of very different rates
    chonyy/ML-auto-baseball-pitching-overlay    seven pitches of three players, by the camera behind them
    calimiro-ai/WorkoutTracker                  push-ups, squats and pull-ups, six films each

prints, for golf and pitches, the share of frames that are matched into the right one of five phases, and the verdicts
on all pairs that show the same and on 400 that do not. The phases were read from the pictures by eye, to a few frames.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import click
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize

from tests.own_films.verdicts import in_phase, reliability
from vasot_kit.experiments.baselines import straight_line
from vasot_kit.film_matching.matching import MatchingSettings
from vasot_kit.own_films.align import Described, describe_films, match_pairs
from vasot_kit.own_films.inputs import AUTO
from vasot_lib.paths import dtw

# The first frames of the second to the fifth phase. Of a swing: back, down, through and the finish; of a pitch: stride,
# throw, follow-through and recovery.
GOLF = {
    "Aberg": (20, 86, 108, 152), "Dechambeau": (98, 229, 273, 395), "Fowler": (68, 156, 184, 232),
    "Matsuyama": (40, 270, 331, 410), "Morikawa": (10, 455, 555, 765), "Rory": (49, 160, 199, 282),
    "Tiger": (60, 285, 466, 760),
}  # fmt: skip
PITCHES = {
    "videos10/1": (16, 37, 42, 62), "videos3/1111": (4, 20, 27, 46), "videos7/2": (13, 26, 32, 52),
    "videos11/1": (6, 24, 29, 42), "videos12/1": (6, 24, 29, 44), "videos1/11": (22, 43, 48, 62),
    "videos8/1": (20, 37, 42, 58),
}  # fmt: skip
EXERCISES = {
    "push-ups": (1, 10, 12, 14, 20, 26),
    "squats": (11, 12, 13, 14, 17, 19),
    "pull-ups": (10, 14, 16, 18, 5, 8),
}
UNRELATED = 400


def clips(folder: Path) -> list[tuple[str, Path, tuple[int, ...]]]:
    """What each film shows, its file, and its phases where they are known."""
    golf, pitches = folder / "golfswingcomparison/proSwing", folder / "ML-auto-baseball-pitching-overlay/videos"
    work = folder / "WorkoutTracker/data/raw"
    return [
        *(("golf", golf / f"{name}_Swing.mp4", phases) for name, phases in GOLF.items()),
        *(("pitch", pitches / f"{name}.mp4", phases) for name, phases in PITCHES.items()),
        *((kind, work / kind / f"{kind[:-1]}_{n}.mp4", ()) for kind, numbers in EXERCISES.items() for n in numbers),
    ]


def at_moments(films: Described, way: str, i: int, j: int) -> np.ndarray:
    """(N,) matches by DTW on what films are matched by, at moments between which equally much moves."""
    described = films.ways[way][i], films.ways[way][j]
    x, y = (film.at(rate=min(each.fps for each in described)) for film in described)
    found = dtw(joined(x.tables), joined(y.tables))
    return np.interp(np.arange(len(x.mass)), x.frames, y.frames[found])


def joined(tables: tuple[Tensor, ...]) -> np.ndarray:
    return np.concatenate([normalize(table, dim=1).numpy() for table in tables], axis=1)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Print the tables."""
    kinds, files, phases = zip(*clips(folder), strict=True)
    films = describe_films(files, AUTO, None, "cpu", MatchingSettings(), True)
    counts = [len(film.times) for film in films.recordings]
    phase = [np.searchsorted(at, np.arange(n), side="right") for at, n in zip(phases, counts, strict=True)]
    pairs = list(permutations(range(len(files)), 2))
    same = [(i, j) for i, j in pairs if kinds[i] == kinds[j]]
    others = [(i, j) for i, j in pairs if kinds[i] != kinds[j]]
    asked = same + [others[k] for k in np.random.default_rng(0).choice(len(others), UNRELATED, replace=False)]
    found = {
        way: match_pairs(films._replace(ways={way: films.ways[way]}), asked, MatchingSettings(), False)
        for way in films.ways
    }
    right, verdicts, frames = [], [], []
    for number, (i, j) in enumerate(asked):
        each = {way: of_way[number] for way, of_way in found.items()}
        each[AUTO] = max(each.values(), key=lambda alignment: alignment.gain)
        kind = kinds[i] if kinds[i] == kinds[j] else "unrelated"
        is_right = in_phase(phase[i], phase[j]) if kind in ("golf", "pitch") else None
        for way, alignment in each.items():
            verdicts.append(
                {"features": way, "pair": kind, "verdict": alignment.kind, "closeness": alignment.closeness}
            )
            if is_right is not None:
                line = straight_line(counts[i], counts[j])
                ways = {"vasot align": alignment.matches, "straight line": line}
                if way != AUTO:
                    ways["DTW"] = at_moments(films, way, i, j)
                right += [
                    {"features": way, "pair": kind, "way": name, "right": float(is_right(matches).mean())}
                    for name, matches in ways.items()
                ]
            if is_right is not None or kind == "unrelated":
                hits = np.zeros(counts[i], bool) if is_right is None else is_right(alignment.matches)
                confidence = {"features": way, "same": is_right is not None, "confidence": alignment.confidence}
                frames.append(pd.DataFrame({**confidence, "right": hits}))
    shares = pd.DataFrame(right).pivot_table(index="features", columns=["pair", "way"], values="right", sort=False)
    print(shares.round(3).to_string())
    table, each_frame = pd.DataFrame(verdicts), pd.concat(frames)
    print(pd.crosstab([table.features, table.pair], table.verdict).to_string())
    for way, rows in table.groupby("features", sort=False):
        print(way, "area under the curve", round(roc_auc_score(rows.pair != "unrelated", rows.closeness), 3))
    for way in ("motion", "motion+pose"):
        print(way, reliability(each_frame[each_frame.features == way]).round(2).to_string(), sep="\n")


if __name__ == "__main__":
    main()
