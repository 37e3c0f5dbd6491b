"""The error of film alignments whose truth is known: altered copies, synchronised cameras, generated films."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vasot_kit.experiments.baselines import straight_line
from vasot_kit.experiments.config import build, make_config
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import MatchingSettings, match_films
from vasot_kit.films.copies import TimeWarp, altered_copy, tempo_warp
from vasot_kit.films.motion import motion_features, motion_maps
from vasot_lib.data import Dataset, Video
from vasot_lib.data.video import standardise
from vasot_lib.paths import dtw
from vasot_lib.training import fit

# The ways to match two films, by the names that they have in tables.
LINE, DTW, ARGMAX, EQUAL, BALANCED, OURS, TRAINED = (
    "straight line", "DTW, same features", "plan, argmax", "moments at even times", "balanced marginals",
    "vasot align", "VAOT trained on the pair",
)  # fmt: skip
TEMPO = (0.7, 1.4)  # slowest and fastest speed of an altered copy, relative to the film
EVEN, ALL_MASS = 1e6, 1e4  # values of MatchingSettings.still and .relax with which motion and gaps play no part


class FilmMotion(NamedTuple):
    """What moves in a film.

    Attributes:
        maps: (N, h, w) how much moves in each cell of the picture, see :mod:`vasot_kit.films.motion`.
        fps: frames per second.
        features: (N, D) motion features of the frames.
    """

    maps: np.ndarray
    fps: float
    features: Tensor

    def described(self, settings: MatchingSettings | None = None) -> FilmDescription:
        """What ``vasot align`` compares by default."""
        return FilmDescription(self.maps, self.fps, still=(settings or MatchingSettings()).still)


def film_motion(pictures: np.ndarray, fps: float) -> FilmMotion:
    """The motion of a film of (N, H, W, 3) uint8 pictures."""
    maps = motion_maps(iter(pictures))
    return FilmMotion(maps, fps, torch.from_numpy(motion_features(maps, fps)[:, 1:]))


def warped_pairs(
    films: Mapping[str, np.ndarray],
    between: Callable[[str, str], np.ndarray],
    warps: Mapping[str, Callable[[int], TimeWarp]],
    fps: float,
    *,
    train: bool = False,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Align every ordered pair of films, the second warped in time: one row per pair, warp and way to match.

    Args:
        films: name -> (N, H, W, 3) uint8 pictures.
        between: called with the names of two films; gives for each of the N frames of the first the true, fractional
            frame of the second, NaN where there is none.
        warps: name -> function that makes the warp of a film from its number of frames.
        fps: frames per second of all films.
        train: also train VAOT on each pair (seconds per pair).
        seed: of that training.

    Returns:
        Rows with ``pair``, ``warp``, ``method``, ``error`` and ``p90``: the mean and the 90th percentile of the
        distance from the true frame, in frames of the warped film.
    """
    motions = {name: film_motion(pictures, fps) for name, pictures in films.items()}
    for title, make_warp in warps.items():
        for first, second in permutations(films, 2):
            warp = make_warp(len(films[second]))
            copy = film_motion(films[second][warp.shows], fps)
            truth = np.interp(between(first, second), np.arange(len(warp.truth)), warp.truth)
            yield from _rows(motions[first], copy, truth, {"pair": f"{first} → {second}", "warp": title}, train, seed)


def own_copies(films: Mapping[str, np.ndarray], fps: float, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Align every film with its own copy at another tempo (.7 to 1.4), cropped, recoloured and noisy.

    Args:
        films, fps: as in :func:`warped_pairs`.
        seeds: one copy of each film is made per seed.

    Returns:
        Rows as in :func:`warped_pairs`.
    """
    for number, (name, pictures) in enumerate(films.items()):
        film = film_motion(pictures, fps)
        for seed in seeds:
            rng = np.random.default_rng([seed, number])
            warp = tempo_warp(len(pictures), *TEMPO, rng)
            copy = film_motion(altered_copy(pictures, warp, rng), fps)
            yield from _rows(film, copy, warp.truth, {"pair": name, "warp": f"copy {seed}"}, False, seed)


def _rows(
    x: FilmMotion, y: FilmMotion, truth: np.ndarray, about: Mapping[str, Any], train: bool, seed: int
) -> Iterator[dict[str, Any]]:
    """One row per way to match X with Y; ``truth`` is (N,), ``about`` says which films they are."""
    trained = {TRAINED: _trained(x, y, seed)} if train else {}
    for method, matches in {**ways_to_match(x, y), **trained}.items():
        off = np.abs(matches - truth)[~np.isnan(truth)]
        yield {**about, "method": method, "error": float(off.mean()), "p90": float(np.percentile(off, 90))}


def ways_to_match(x: FilmMotion, y: FilmMotion) -> dict[str, np.ndarray]:
    """Name -> (N,) frames of Y for the frames of X, by every way that needs no training."""
    films = x.described(), y.described()
    ours = match_films(*films)
    balanced, even = MatchingSettings(relax=ALL_MASS), MatchingSettings(still=EVEN)
    return {
        LINE: straight_line(len(x.maps), len(y.maps)),
        DTW: dtw(x.features.numpy(), y.features.numpy()),
        ARGMAX: ours.plan.argmax(1).numpy(),
        EQUAL: match_films(x.described(even), y.described(even), even).matches,
        BALANCED: match_films(*films, balanced).matches,
        OURS: ours.matches,
    }


def _trained(x: FilmMotion, y: FilmMotion, seed: int) -> np.ndarray:
    """VAOT is trained on the features of these two films alone; its embeddings are matched instead of the features."""
    data = Dataset("pair", (Video("x", x.features), Video("y", y.features)))
    config = make_config("pair", "vaot", "kit", seed=seed, epochs=100, overrides={"training.frames": 64})
    model = build(config, data)
    fit(model, data, config.training, progress=False)
    first, second = (
        FilmDescription(film.maps, film.fps, [standardise(model.embed(video))], by_motion=False)
        for film, video in zip((x, y), data.videos, strict=True)
    )
    return match_films(first, second).matches
