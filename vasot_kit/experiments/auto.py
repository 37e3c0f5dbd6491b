"""The preset ``auto``: the radius of the structural priors from the recordings, without labels.

Frames are clustered by K-means. The probability that two frames of one recording fall into the same cluster decays with
the time between them, because they fall into one segment less and less often. The scale of that decay is the mean
length of a segment, and the radius is a fixed share of it.

Everything else is the recipe of the preset ``kit`` with one row for all data sets: rho is .15 for segmentation and .35
for alignment, as published for 50 Salads and for VAOT. The share of the length and these two values were chosen on toy,
mocap6, class scores of 50 Salads and generated procedures of 12 steps, and then frozen. How fixed the order of the
actions is could be measured too, but no rule that leads from there to rho held on all of these: at a strength that was
about the same, .35 for segmentation instead of .15 added .09 to the MoF of toy and took .03 from the class scores.

Where features change cluster many times within an action, the length comes out too short: on Breakfast coffee .026 of a
recording, where labels say .217.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import least_squares
from sklearn.cluster import KMeans

from vasot_kit.experiments.config import Config, with_overrides
from vasot_kit.experiments.presets import ALIGNMENT_PREFIX, SEGMENTATION_PREFIX
from vasot_lib.data import Dataset, Video
from vasot_lib.errors import DataError

# Radius per length of an action. VASOT's MoF / F1 with .25, .30, .35: mocap6 .70 / .53, .72 / .53, .73 / .53;
# a quarter of the class scores of 50 Salads .66 / .73, .66 / .70, .63 / .69; toy .69 / .67, .70 / .70, .62 / .63.
RADIUS_PER_LENGTH = 0.3
MOST_FRAMES = 2000  # of a recording that are clustered
MOST_RECORDINGS = 60
CLUSTERS = 12  # where the number of actions is not known


@dataclass(frozen=True)
class ActionScale:
    """How long an action lasts, and the curve that says so.

    Attributes:
        share: L, mean length of a segment as a share of its recording.
        lags: (n,) time between two frames, as shares of the recording.
        agreement: (n,) how much more often than by chance two frames at that distance share a cluster; 1 for always, 0
            as often as by chance.
        steady: a, weight of the decay over L; the rest decays over ``flicker``, because clusters change within actions.
        flicker: f, share of the recording.
    """

    share: float
    lags: np.ndarray
    agreement: np.ndarray
    steady: float
    flicker: float

    @property
    def fitted(self) -> np.ndarray:
        """(n,) the curve that was fitted to ``agreement``: ``(1 - a) exp(-lag / f) + a exp(-lag / L)`` minus its own
        mean over all pairs of frames, which the count of chance contains, and divided by 1 minus that."""
        return _two_decays(self.lags, self.steady, self.flicker, self.share)


def auto_config(config: Config, dataset: Dataset) -> tuple[Config, ActionScale | None]:
    """The configuration with radii read from the recordings, and the scale that they follow from.

    Args:
        config: with any radii; the seed is that of K-means.
        dataset: with features; its labels are not looked at.

    Returns:
        A method without structural priors keeps its configuration, and has no scale.

    Raises:
        DataError: the features of the recordings hardly ever change.
    """
    segmentation, alignment = SEGMENTATION_PREFIX.get(config.method), ALIGNMENT_PREFIX.get(config.method)
    if segmentation is None and alignment is None:
        return config, None
    scale = action_scale(dataset, config.training.seed)
    shortest = min(len(video) for video in dataset.videos)
    # The window must reach a frame, in training one of the frames that are sampled from a recording.
    training = radius(scale, min(shortest, config.training.frames))
    values = {f"{alignment}transport.radius": training} if alignment is not None else {}
    if segmentation is not None:
        values |= {f"{segmentation}transport.radius": training, f"{segmentation}decode.radius": radius(scale, shortest)}
    return with_overrides(config, values), scale


def radius(scale: ActionScale, n_frames: int) -> float:
    """r for recordings of at least so many frames: a share of an action's length, but no less than one frame."""
    return max(round(RADIUS_PER_LENGTH * scale.share, 4), 1 / n_frames)


def action_scale(dataset: Dataset, seed: int = 0) -> ActionScale:
    """How long an action lasts, as a share of its recording, from features alone.

    Features are standardised within each recording and scaled to unit length, so that neither the level of a recording
    nor the size of a frame decides its cluster. Where the length of segments is distributed exponentially and actions
    follow one another at random, two frames at distance d lie in one segment with probability ``exp(-d / L)``.

    Args:
        dataset: K-means looks for its ``n_actions`` clusters, or for 12 where that is not known.
        seed: of K-means.

    Raises:
        DataError: the features of the recordings hardly ever change.
    """
    k = dataset.n_actions if dataset.n_actions > 1 else CLUSTERS
    frames = [_standardised(video) for video in dataset.train_part.videos[:MOST_RECORDINGS]]
    together = np.concatenate(frames)
    if len(np.unique(together.round(6), axis=0)) <= k:
        raise DataError(
            f"data set {dataset.name!r} has no more than {k} different frames; the preset auto cannot see how long an "
            "action lasts: choose preset kit, or give the radius"
        )
    clusters = KMeans(k, n_init=3, random_state=seed).fit(together).labels_
    return fit_scale(np.split(clusters, np.cumsum([len(x) for x in frames])[:-1]))


def fit_scale(clusters: Sequence[np.ndarray]) -> ActionScale:
    """The scale of the segments in a sequence of labels.

    Args:
        clusters: (N,) cluster of each frame, per recording.

    >>> rng = np.random.default_rng(0)
    >>> jumps = rng.random(20000) < 1 / 500  # a new segment every 500 frames: a fortieth of the recording
    >>> round(fit_scale([np.cumsum(jumps) * 7 % 12]).share, 3)
    0.021
    """
    lags = np.unique(np.geomspace(1, 1000, 60).round()) / 2000
    same = np.mean([[_same(labels, lag) for lag in lags] for labels in clusters], axis=0)
    chance = float(np.mean([np.square(np.bincount(labels) / len(labels)).sum() for labels in clusters]))
    agreement = (same - chance) / max(1 - chance, 1e-9)
    fits = [
        least_squares(lambda p: _two_decays(lags, *_unpacked(p)) - agreement, [1.0, np.log(flicker), np.log(share)])
        for flicker in (0.002, 0.01)
        for share in (0.03, 0.1, 0.3)
    ]
    steady, flicker, share = _unpacked(min(fits, key=lambda fitted: fitted.cost).x)
    if steady < 0.2 or flicker > share:  # one decay describes the curve, and the other is free to be anything
        steady, flicker, share = 1 - steady, share, flicker
    return ActionScale(float(share), lags, agreement, float(steady), float(flicker))


def _standardised(video: Video) -> np.ndarray:
    """(n, D) features of at most 2,000 frames, evenly spread, of mean 0 and deviation 1, then of unit length."""
    rows = np.linspace(0, len(video) - 1, min(len(video), MOST_FRAMES)).round().astype(int)
    x = video.features[torch.from_numpy(rows)].double().numpy()
    size = np.abs(x).max(0)
    x -= x.mean(0)
    deviation = x.std(0)
    x /= np.where(deviation > 1e-6 * size, deviation, np.inf)  # a constant channel says nothing
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _same(labels: np.ndarray, lag: float) -> float:
    distance = min(len(labels) - 1, max(1, round(lag * len(labels))))
    return float((labels[distance:] == labels[:-distance]).mean())


def _two_decays(lags: np.ndarray, steady: float, flicker: float, share: float) -> np.ndarray:
    """(n,) what :class:`ActionScale` fits. Chance is counted over all pairs of frames of a recording, those of one
    segment among them; the decays lie above that by as much as their own mean over all pairs is taken off."""
    scales, weights = np.array([flicker, share]), np.array([1 - steady, steady])
    decays = np.exp(-lags[:, None] / scales) @ weights
    over_all_pairs = float(2 * scales * (1 - scales * (1 - np.exp(-1 / scales))) @ weights)
    return (decays - over_all_pairs) / (1 - over_all_pairs)


def _unpacked(parameters: np.ndarray) -> tuple[float, float, float]:
    """Weight of the slow decay, and both scales, from numbers without bounds."""
    weight, flicker, share = np.clip(parameters, (-20, -12, -9), (20, -0.7, -0.7))  # at most half a recording
    return 1 / (1 + np.exp(-weight)), float(np.exp(flicker)), float(np.exp(share))
