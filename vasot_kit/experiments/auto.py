"""The preset ``auto``: the radius of the structural priors from the recordings, without labels.

Frames are clustered by K-means. The probability that two frames of one recording fall into the same cluster decays with
the time between them, because they fall into one segment less and less often. The scale of that decay is the mean
length of a segment, and the radius is a fixed share of it.

How fixed the order of the actions is, and how long each lasts, is learnt during the training
(:mod:`vasot_lib.transport.times`) by ASOT and VASOT. Three trainings of either, or of CLOT, vote, or give way to the
segments that recordings share (:mod:`vasot_kit.experiments.restarts`).

Everything else but VASOT's learning rate is the recipe of the preset ``kit`` with one row for all data sets: rho is .15
for segmentation, until the temporal prior is learnt, and .35 for alignment, as published for 50 Salads and for VAOT.
All of this was chosen on toy, mocap6, class scores of 50 Salads and generated procedures, and then frozen.

Where features change cluster many times within an action, the length comes out too short: on Breakfast coffee .026 of a
recording, where labels say .217.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import least_squares
from sklearn.cluster import KMeans

from vasot_kit.experiments.presets import ALIGNMENT_PREFIX, SEGMENTATION_PREFIX
from vasot_kit.experiments.segments import evenly
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError

# Radius per length of an action. VASOT's MoF / F1 with .25, .30, .35: on mocap6 .70 / .53, .72 / .53, .73 / .53, on a
# quarter of the class scores of 50 Salads .66 / .73, .66 / .70, .63 / .69, on toy .69 / .67, .70 / .70, .62 / .63.
RADIUS_PER_LENGTH = 0.3
MOST_FRAMES = 2000  # of a recording that are clustered
MOST_RECORDINGS = 60
LEAST_SHARE, LARGEST_RATIO = 0.01, 1000.0  # of features that are taken as they are, see well_scaled
# By how much agreement rises again after its minimum where actions come back in a rhythm: .39 in class scores of
# JIGSAWS, where four stitches are sewn; .10 to .16 on coffee (ten seeds), at most .08 on toy, mocap6, HAPT and three
# other sets of class scores.
LEAST_RISE = 0.2
LEAST_WEIGHT = 0.2  # of the longer decay, below which it is no action
CLUSTERS = 12  # where the number of actions is not known


@dataclass(frozen=True)
class ActionLength:
    """How long an action lasts, and what it was read from.

    Attributes:
        share: mean length of a segment as a share of its recording, at most a half.
        lags: (n,) times between two frames as shares of a recording, ascending.
        agreement: (n,) share of the pairs of frames at each lag that lie in one cluster, beyond chance.
        fitted: (n,) what the two decays that were fitted give there.
    """

    share: float
    lags: np.ndarray
    agreement: np.ndarray
    fitted: np.ndarray


def radius_names(method: str) -> list[str]:
    """The dotted names of a method's radii, of which that of decoding is the last; none without structural priors."""
    segmentation, alignment = SEGMENTATION_PREFIX.get(method), ALIGNMENT_PREFIX.get(method)
    names = [f"{prefix}transport.radius" for prefix in (segmentation, alignment) if prefix is not None]
    return names if segmentation is None else [*names, f"{segmentation}decode.radius"]


def auto_radii(dataset: Dataset, method: str, frames: int, seed: int = 0) -> dict[str, float]:
    """The radii of a method by dotted name; none for a method without structural priors.

    Args:
        dataset: with features; its labels are not looked at.
        method: its name.
        frames: that are sampled from a recording in training, where the window must reach one of them.
        seed: of K-means.

    Raises:
        DataError: the features of the recordings hardly ever change.
    """
    names = radius_names(method)
    if not names:
        return {}
    wanted = round(RADIUS_PER_LENGTH * action_length(dataset, seed).share, 4)
    shortest = min(len(video) for video in dataset.videos)
    training, decoding = max(wanted, 1 / min(shortest, frames)), max(wanted, 1 / shortest)
    return {name: decoding if name.endswith("decode.radius") else training for name in names}


def action_length(dataset: Dataset, seed: int = 0) -> ActionLength:
    """Mean length of a segment as a share of its recording, from features alone.

    Features are standardised within each recording and, where there are several, scaled to unit length, so that neither
    the level of a recording nor the size of a frame decides its cluster.

    Args:
        dataset: K-means looks for its ``n_actions`` clusters, or for 12 where that is not known.
        seed: of K-means.

    Raises:
        DataError: the features of the recordings hardly ever change.
    """
    k = dataset.n_actions if dataset.n_actions > 1 else CLUSTERS
    frames = []
    for video in dataset.train_part.videos[:MOST_RECORDINGS]:
        rows = evenly(len(video), MOST_FRAMES)
        x = standardised(video.features[torch.from_numpy(rows)].double().numpy())
        frames.append(of_unit_length(x))
    together = np.concatenate(frames)
    if len(np.unique(together.round(6), axis=0)) <= k:
        raise DataError(
            f"data set {dataset.name!r} has no more than {k} different frames, too few to see how long an action "
            "lasts; check the features, or give the number of actions and the preset kit"
        )
    clusters = KMeans(k, n_init=3, random_state=seed).fit(together).labels_
    return segment_length(np.split(clusters, np.cumsum([len(x) for x in frames])[:-1]))


def well_scaled(dataset: Dataset) -> Dataset:
    """The data set, with the features of each recording standardised where an encoder would not see them otherwise.

    Its first layer adds random weights times the channels, and a bias of the same size as one channel of size 1. What
    changes within a recording is lost behind the rest where it has less than a hundredth of the energy of the channels'
    means and of the bias, or behind one channel where channels differ by a factor of a thousand. Features that
    methods were measured on are far from these limits: at the least a quarter, and at the most a factor of 16.

    Args:
        dataset: with features. A warning says where they are changed, and which recordings never change.
    """
    if dataset.videos[0].context is not None:
        return dataset
    still = [video.name for video in dataset.videos if bool((video.features == video.features[0]).all())]
    if still and len(still) < len(dataset.videos):  # auto_radii refuses it where none changes
        warnings.warn(
            f"{', '.join(still[:3])}{' and others' if len(still) > 3 else ''} of data set {dataset.name!r} never "
            "changes, and would get an action of its own; leave it out",
            stacklevel=2,
        )
    videos = [video.features.double() for video in dataset.train_part.videos]
    variance = torch.cat([(x - x.mean(0)).square() for x in videos]).mean(0)
    level = torch.cat(videos).mean(0)
    # As in standardised(): less is the rounding of float32.
    changing = variance[variance.sqrt() > 1e-6 * torch.stack([x.abs().amax(0) for x in videos]).amax(0)]
    if not len(changing):
        return dataset  # auto_radii refuses it
    share = float(changing.sum() / (changing.sum() + level.square().sum() + 1))
    ratio = float((changing.max() / changing.min()).sqrt())
    if share >= LEAST_SHARE and ratio <= LARGEST_RATIO:
        return dataset
    warnings.warn(
        f"the features of data set {dataset.name!r} are standardised within each recording: what changes has "
        f"{share:.1g} of their energy, and channels differ in size by a factor of {ratio:.1g}",
        stacklevel=2,
    )
    return dataset.standardised()


def standardised(x: np.ndarray) -> np.ndarray:
    """(n, D) features of one recording with mean 0 and deviation 1; constant channels become 0."""
    deviation = x.std(0)
    changes = deviation > 1e-6 * np.abs(x).max(0)  # less is the rounding of float32
    return (x - x.mean(0)) / np.where(changes, deviation, np.inf)


def of_unit_length(x: np.ndarray) -> np.ndarray:
    """(n, D) rows scaled to length 1, but for a single channel, of which only the sign would be left."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) if x.shape[1] > 1 else x


def segment_length(clusters: Sequence[np.ndarray]) -> ActionLength:
    """Mean length L of the segments in noisy labels, as a share of the recording.

    Where the length of segments is distributed exponentially and actions follow one another at random, two frames at
    distance d lie in one segment with probability ``exp(-d / L)``. Where clusters also change within segments, a share
    of the pairs agrees only over a shorter scale. The sum of both decays is fitted to the agreement beyond chance.
    Where a round of actions comes back in a rhythm, agreement falls far below chance and rises again: then only what
    comes before its minimum is fitted.

    Args:
        clusters: (N,) cluster of each frame, per recording.

    Raises:
        DataError: no recordings, one of a single frame, or no recording in which the cluster changes.
    """
    shortest = min((len(labels) for labels in clusters), default=0)
    if shortest < 2:
        raise DataError(
            f"{len(clusters)} recordings, the shortest of {shortest} frames; give some, of 2 frames or more"
        )
    if all((np.asarray(labels) == labels[0]).all() for labels in clusters):
        raise DataError("the cluster changes in no recording, so that no action ends; give recordings that change")
    lags = np.unique(np.geomspace(1, 1000, 60).round()) / 2000
    same = np.mean([[_same(labels, lag) for lag in lags] for labels in clusters], axis=0)
    chance = float(np.mean([np.square(np.bincount(labels) / len(labels)).sum() for labels in clusters]))
    agreement = (same - chance) / max(1 - chance, 1e-9)
    rise = agreement - np.minimum.accumulate(agreement)
    if rise.max() > LEAST_RISE:
        # A round of actions comes back again and again. Frames half a round apart are never in one segment, so that
        # what comes before the minimum is the decay itself, without agreement by chance.
        low = int(agreement[: rise.argmax()].argmin())
        share, fitted = _fit(lags[: low + 1], same[: low + 1], _decays)
        return ActionLength(share, lags, agreement, (_decays(lags, *fitted) - chance) / (1 - chance))
    share, fitted = _fit(lags, agreement, _decays_beyond_chance)
    return ActionLength(share, lags, agreement, _decays_beyond_chance(lags, *fitted))


def _fit(
    lags: np.ndarray, agreement: np.ndarray, decays: Callable[..., np.ndarray]
) -> tuple[float, tuple[float, float, float]]:
    """The scale of the decay that lasts longer, and the weight and both scales of two decays that fit the agreement."""
    fits = [
        least_squares(lambda p: decays(lags, *_unpacked(p)) - agreement, [1.0, np.log(short), np.log(long)])
        for short in (0.002, 0.01)
        for long in (0.03, 0.1, 0.3)
    ]
    weight, short, long = _unpacked(min(fits, key=lambda fitted: fitted.cost).x)
    if short > long:
        weight, short, long = 1 - weight, long, short
    # Where one decay describes the curve, the other is free to be anything.
    return short if weight < LEAST_WEIGHT else long, (weight, short, long)


def _same(labels: np.ndarray, lag: float) -> float:
    distance = min(len(labels) - 1, max(1, round(lag * len(labels))))
    return float((labels[distance:] == labels[:-distance]).mean())


def _decays(lags: np.ndarray, weight: float, short: float, long: float) -> np.ndarray:
    """(n,) share of the pairs of frames at each lag that lie in one segment; ``weight`` is that of the long decay."""
    return (1 - weight) * np.exp(-lags / short) + weight * np.exp(-lags / long)


def _decays_beyond_chance(lags: np.ndarray, weight: float, short: float, long: float) -> np.ndarray:
    """(n,) agreement beyond chance of two frames at each lag.

    Chance is counted over all pairs of frames of a recording, also those of one segment. The decays therefore lie above
    it by less than their values: their own mean over all pairs is taken off.
    """
    scales, weights = np.array([short, long]), np.array([1 - weight, weight])
    over_all_pairs = float(2 * scales * (1 - scales * (1 - np.exp(-1 / scales))) @ weights)
    return (_decays(lags, weight, short, long) - over_all_pairs) / (1 - over_all_pairs)


def _unpacked(parameters: np.ndarray) -> tuple[float, float, float]:
    """Weight of the long decay, and both scales, from numbers without bounds."""
    weight, short, long = np.clip(parameters, (-20, -12, -9), (20, -0.7, -0.7))  # at most half a recording
    return float(1 / (1 + np.exp(-weight))), float(np.exp(short)), float(np.exp(long))
