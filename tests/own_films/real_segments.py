"""`vasot segment` on real films of different people, beside equal shares of time.

    python -m tests.own_films.real_segments FOLDER [SEEDS]

FOLDER is that of :mod:`tests.own_films.real_people`. Golf swings, and pitches, are cut into five actions by each
kind of features. Prints the share of frames whose action is that of their phase (MoF, one matching of actions to phases
for all films) and F1, the means over seeds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
import pandas as pd

from tests.own_films.real_people import clips
from vasot_kit.experiments.baselines import equal_split
from vasot_kit.own_films.segment import segment_films
from vasot_lib.evaluation import score_segmentation

PHASES = 5
FEATURES = ("motion", "appearance", "network", "pose")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("seeds", type=click.IntRange(min=1), default=3)
def main(folder: Path, seeds: int) -> None:
    """Print the table."""
    rows = []
    for kind in ("golf", "pitch"):
        with tempfile.TemporaryDirectory() as scratch:
            films, phases = [], []
            for number, (_, file, starts) in enumerate(each for each in clips(folder) if each[0] == kind):
                films.append(Path(scratch) / f"{number}_{file.stem}.mp4")  # pitches have names in common
                films[-1].symlink_to(file.resolve())
                phases.append(starts)
            for features in FEATURES:
                for seed in range(seeds):
                    out = Path(scratch) / f"{features}-{seed}"
                    found = segment_films(films, PHASES, out, features=features, seed=seed, progress=False)
                    truths = [
                        np.searchsorted(starts, np.arange(len(actions)), side="right")
                        for actions, starts in zip(found, phases, strict=True)
                    ]
                    equal = [equal_split(len(truth), PHASES) for truth in truths]
                    for way, actions in ((features, found), ("equal shares", equal)):
                        scores = score_segmentation(actions, truths)
                        rows.append({"films": kind, "features": way, "mof": scores["mof"], "f1": scores["f1"]})
    table = pd.DataFrame(rows).pivot_table(index="features", columns="films", values=["mof", "f1"], sort=False)
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
