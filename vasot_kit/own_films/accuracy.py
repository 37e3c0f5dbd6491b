"""How far an alignment of films is off, where the truth is known: copies, synchronised cameras, generated films."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from vasot_kit.experiments.config import build, make_config
from vasot_kit.films.copies import Warp, altered_copy, tempo_warp
from vasot_kit.films.motion import motion_maps
from vasot_kit.own_films.matching import Moving, described, match_films, match_motion
from vasot_lib.data import Dataset, Video
from vasot_lib.evaluation import straight_line
from vasot_lib.paths import dtw
from vasot_lib.training import fit

LINE, DTW, ARGMAX, EQUAL, ONCE, OURS, TRAINED = (
    "straight line", "DTW, same features", "plan, argmax", "plan, path, equal masses", "plan, path, motion as mass",
    "vasot align", "VAOT trained on the pair, path",
)  # fmt: skip
TEMPO = (0.7, 1.4)


class Film(NamedTuple):
    """Pictures and their features.

    Attributes:
        pictures: (N, H, W, 3) uint8.
        moving: what moves in them.
        features: (N, D).
        mass: (N,) how much moves.
    """

    pictures: np.ndarray
    moving: Moving
    features: Tensor
    mass: Tensor


def describe(pictures: np.ndarray, fps: float) -> Film:
    """Pictures with the features that ``vasot align`` takes by default."""
    moving = Moving(motion_maps(iter(pictures)), fps)
    return Film(pictures, moving, *described(*moving))


def warped_pairs(
    films: Mapping[str, np.ndarray],
    between: Callable[[str, str], np.ndarray],
    warps: Mapping[str, Callable[[int], Warp]],
    fps: float,
    *,
    train: bool = False,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Every ordered pair of films, the second warped in time: one row per pair, warp and way to match.

    Args:
        films: name -> (N, H, W, 3) uint8 pictures.
        between: names of two films -> (N,) for each frame of the first the true, fractional frame of the second; NaN
            where there is none.
        warps: name -> frames of a film -> its warp.
        fps: of the films.
        train: also train VAOT on each pair (seconds per pair).
        seed: of that training.

    Returns:
        rows with ``pair``, ``warp``, ``method``, ``error`` and ``p90`` (mean and 90th percentile of the distance from
        the true frame, in frames of the warped film).
    """
    shown = {name: describe(pictures, fps) for name, pictures in films.items()}
    for title, warp_of in warps.items():
        for first, second in permutations(films, 2):
            warp = warp_of(len(films[second]))
            copy = describe(films[second][warp.shows], fps)
            place = np.interp(between(first, second), np.arange(len(warp.truth)), warp.truth)
            yield from _rows(shown[first], copy, place, {"pair": f"{first} → {second}", "warp": title}, train, seed)


def own_copies(films: Mapping[str, np.ndarray], fps: float, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Every film against its own copy at another tempo (.7 to 1.4), cropped, recoloured and noisy.

    Args:
        films, fps: as in :func:`warped_pairs`.
        seeds: a copy of each film per seed.

    Returns:
        rows as in :func:`warped_pairs`.
    """
    for number, (name, pictures) in enumerate(films.items()):
        film = describe(pictures, fps)
        for seed in seeds:
            rng = np.random.default_rng([seed, number])
            warp = tempo_warp(len(pictures), *TEMPO, rng)
            copy = describe(altered_copy(pictures, warp, rng), fps)
            yield from _rows(film, copy, warp.truth, {"pair": name, "warp": f"copy {seed}"}, False, seed)


def _rows(x: Film, y: Film, truth: np.ndarray, about: Mapping[str, Any], train: bool, seed: int) -> Iterator[dict]:
    equal = match_films(x.features, y.features)
    found: dict[str, np.ndarray] = {
        LINE: straight_line(len(x.mass), len(y.mass)),
        DTW: dtw(x.features.numpy(), y.features.numpy()),
        ARGMAX: equal.plan.argmax(1).numpy(),
        EQUAL: equal.matches,
        ONCE: match_films(x.features, y.features, x.mass, y.mass).matches,
        OURS: match_motion(x.moving, y.moving).matches,
    }
    if train:
        found[TRAINED] = _trained(x, y, seed)
    for method, matches in found.items():
        off = np.abs(matches - truth)[~np.isnan(truth)]
        yield {**about, "method": method, "error": float(off.mean()), "p90": float(np.percentile(off, 90))}


def _trained(x: Film, y: Film, seed: int) -> np.ndarray:
    """VAOT on the features of the two films alone, its embeddings matched in the place of the features."""
    data = Dataset("pair", (Video("x", x.features), Video("y", y.features)))
    config = make_config("pair", "vaot", "kit", seed=seed, epochs=100, overrides={"training.frames": 64})
    model = build(config, data)
    fit(model, data, config.training, progress=False)
    first, second = (model.embed(video) for video in data.videos)
    return match_films(first, second, x.mass, y.mass).matches
