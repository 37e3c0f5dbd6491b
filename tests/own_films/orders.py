"""Rendered procedures whose steps come in another order than in the film that is labelled.

    python -m tests.own_films.orders [PAIRS [SEED [STYLE]]]

prints, for each way in which the order differs, how many pairs are read in another order, the share of frames in the
right step, where the order is kept too, and the share of pairs whose steps come out in the right order. Compared by
appearance; ``STYLE`` says how much colours, light and camera differ between films.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from PIL import Image

from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import MatchingSettings, match_films
from vasot_kit.film_matching.pairing import PathPrices
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.motion import motion_maps
from vasot_kit.films.recordings import Recording
from vasot_kit.own_films.pairs import pair_of
from vasot_kit.own_films.transfer import occurrences
from vasot_lib.data import Video, toy

STEPS, RATE, STYLE = 6, 25, 0.3
KINDS = ("the same", "swapped", "done again", "missing", "extra", "all of it")
KEPT = MatchingSettings(path=PathPrices(order=1e9))  # never read in another order


def steps_of(labels: np.ndarray) -> list[int]:
    """The steps of a film in its order."""
    return [step for step, _ in groupby(step for step in labels.tolist() if step < STEPS)]


def order_pair(kind: str, seed: int, style: float = STYLE) -> tuple[Video, Video]:
    """A film whose steps differ in that way, and the film of the procedure in its order."""
    whole = list(range(STEPS))
    less = np.delete(whole, np.random.default_rng([seed, 99]).integers(STEPS)).tolist()
    knobs: dict[str, Any] = {"render": True, "style": style, "seed": seed}
    order = less if kind in ("missing", "all of it") else whole
    swaps, repeats = {"swapped": (0.4, 0.0), "done again": (0.0, 0.25), "all of it": (0.3, 0.2)}.get(kind, (0.0, 0.0))
    others = toy(12, STEPS, swaps=swaps, repeats=repeats, procedures=[order, order], **knobs).videos[1:]
    shown = toy(1, STEPS, procedures=[less if kind == "extra" else whole], **knobs).videos[0]
    if swaps + repeats == 0:
        return others[0], shown
    return next(each for each in others if steps_of(labels_of(each)) != order), shown


def labels_of(video: Video) -> np.ndarray:
    assert video.labels is not None
    return video.labels.numpy()


def film_by_looks(video: Video) -> FilmDescription:
    """A rendered video, described by its appearance alone."""
    assert video.frames is not None
    larger = [picture.repeat(4, 0).repeat(4, 1) for picture in video.frames]
    small = (np.asarray(Image.fromarray(each).resize((Appearance.side, Appearance.side))) for each in larger)
    looks = torch.from_numpy(Appearance()(small, RATE))
    return FilmDescription(motion_maps(iter(larger)), RATE, [looks], by_motion=False)


def measured(pairs: int, seed: int = 0, style: float = STYLE, kinds: Sequence[str] = KINDS) -> pd.DataFrame:
    """A row for each kind and pair, with what the table of this module says, for the order as read and kept."""
    rows = []
    for kind in kinds:
        for number in range(seed, seed + pairs):
            x, y = order_pair(kind, number, style)
            row: dict[str, Any] = {"kind": kind}
            described = film_by_looks(x), film_by_looks(y)
            for name, settings in (("read", MatchingSettings()), ("kept", KEPT)):
                found = match_films(*described, settings)
                right, in_order = judged(found, labels_of(x), labels_of(y))
                row |= {f"right, {name}": right, f"order right, {name}": in_order}
                row |= {"in another order": not found.in_order} if name == "read" else {}
            rows.append(row)
    return pd.DataFrame(rows)


def judged(found: Any, of_x: np.ndarray, of_y: np.ndarray) -> tuple[float, bool]:
    """The share of frames of steps that are in the right one, or have none where Y has none; and the order of steps."""
    x, y = (Recording(Path("film.mp4"), np.arange(len(each)) / RATE, np.arange(len(each)), torch.zeros(len(each), 1))
            for each in (of_x, of_y))  # fmt: skip
    pair = pair_of(x, y, found)
    there = np.isin(of_x, of_y[of_y < STEPS])
    truth, got = np.where(there, of_x, STEPS), np.where(pair.partner >= 0, of_y[pair.partner], STEPS)
    steps = [each.step for each in occurrences(pair, np.where(of_y < STEPS, of_y, -1))]
    return float((got == truth)[of_x < STEPS].mean()), steps == steps_of(truth)


@click.command()
@click.argument("pairs", type=click.IntRange(min=1), default=10)
@click.argument("seed", type=click.IntRange(min=0), default=0)
@click.argument("style", type=click.FloatRange(min=0), default=STYLE)
def main(pairs: int, seed: int, style: float) -> None:
    """Print the table."""
    print(measured(pairs, seed, style).groupby("kind", sort=False).mean().round(2).T.to_string())


if __name__ == "__main__":
    main()
