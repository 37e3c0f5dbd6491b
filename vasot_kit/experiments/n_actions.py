"""The number of actions K from the recordings alone.

Recordings are cut into more segments than they have, and the segments are merged step by step into fewer and fewer
classes. A classifier of single frames, fitted on the other recordings, then predicts the class of every frame. Classes
that are parts of one action are confused, and classes that occur in one recording only are not found again: both lower
its F1. Too few classes are easy to predict by chance. The *gain*, mean F1 over classes minus the F1 of random guesses
with the same frequencies, is therefore largest in between. Source: CLaP (Ermshaus, Schäfer, Leser 2024), which merges
states by the same score; here with Ward's clustering and linear discriminants in place of its time series classifier.

It is a proposal and not to be trusted blindly. With the length that ``vasot_kit.experiments.auto.action_length`` finds,
found and true K are 9 and 10 on the class scores of 50 Salads and 7 and 7 on Breakfast coffee, but 7 and 12 on mocap6,
5 and 12 on HAPT, 12 and 6 on toy, and 13 and 4, 24 and 8, 20 and 12, 12 and 20 on generated data sets. The curve is
often flat, and one recording alone gives too many actions: look at the curve and at the plausible range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.ndimage import uniform_filter1d
from scipy.sparse import diags_array
from sklearn.cluster import AgglomerativeClustering

from vasot_kit.experiments.auto import standardised
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError, InputError

MOST_ACTIONS = 32
MOST_FRAMES = 500  # of a recording that are looked at
MOST_RECORDINGS = 60
FOLDS = 5
SEGMENTS = 1.5  # as many as the recordings are believed to have, times this
SMOOTHING = 0.2  # window of the running mean, as a share of an action
KEPT_VARIANCE = 0.95  # by the principal components
SHRINKAGE = 0.05  # of the covariance within classes


@dataclass(frozen=True)
class ActionCount:
    """A number of actions and what it was chosen by.

    Attributes:
        n_actions: K, the candidate with the largest gain.
        candidates: (n,) numbers of actions that were compared, ascending.
        gain: (n,) F1 of recognising the classes in other recordings minus the F1 of guesses; at most 1.
        error: (n,) standard error of the gain over the parts of the recordings that were predicted.
    """

    n_actions: int
    candidates: np.ndarray
    gain: np.ndarray
    error: np.ndarray

    @property
    def plausible(self) -> tuple[int, int]:
        """Least and largest candidate whose gain is within one standard error of the best."""
        best = int(self.gain.argmax())
        near = self.candidates[self.gain >= self.gain[best] - self.error[best]]
        return int(near[0]), int(near[-1])


def count_actions(dataset: Dataset, share: float, seed: int = 0) -> ActionCount:
    """The number of actions of the recordings, from their features alone.

    Args:
        dataset: with features; its labels and its ``n_actions`` are not looked at.
        share: mean length of a segment as a share of its recording, in (0, 1].
        seed: of the parts into which the recordings are divided.

    Raises:
        InputError: the share lies outside (0, 1].
        DataError: the recordings hardly ever change, or are too short for two actions.
    """
    if not 0 < share <= 1:
        raise InputError(f"share {share} of a segment; give a number above 0 and at most 1")
    recordings = _represented(dataset, share, seed)
    segments = [_cut(each, max(2, round(SEGMENTS / share))) for each in recordings]
    first = np.cumsum([0] + [int(each[-1]) + 1 for each in segments])
    owner = [each + start for each, start in zip(segments, first, strict=False)]
    means = np.concatenate([_means(each, cut) for each, cut in zip(recordings, segments, strict=True)])
    candidates = np.arange(2, min(MOST_ACTIONS, len(means) // 2) + 1)
    if not len(candidates):
        raise DataError(f"data set {dataset.name!r} has {len(means)} segments; at least 4 are needed to count actions")
    tree = cut_tree(linkage(means, "ward"), candidates)
    parts = _parts(recordings, np.random.default_rng(seed))
    frames, segment = np.concatenate(recordings), np.concatenate(owner)
    measured = [_gain_and_error(frames, tree[segment, column], parts) for column in range(len(candidates))]
    gain, error = np.array(measured).T
    return ActionCount(int(candidates[gain.argmax()]), candidates, gain, error)


def _represented(dataset: Dataset, share: float, seed: int) -> list[np.ndarray]:
    """For each recording (n, d) principal components of its standardised features, of unit length and smoothed."""
    videos = dataset.train_part.videos
    if len(videos) > MOST_RECORDINGS:
        chosen = np.random.default_rng(seed).choice(len(videos), MOST_RECORDINGS, replace=False)
        videos = tuple(videos[i] for i in sorted(chosen))
    frames = [standardised(video.features.numpy().astype(float)[:: -(-len(video) // MOST_FRAMES)]) for video in videos]
    together = np.concatenate(frames)
    if not together.any():
        raise DataError(f"the features of data set {dataset.name!r} never change; nothing can be told apart")
    variance, axes = np.linalg.eigh(together.T @ together)
    explained = np.cumsum(variance[::-1]) / variance.sum()
    axes = axes[:, ::-1][:, : int((explained < KEPT_VARIANCE).sum()) + 1]
    found = []
    for each in frames:
        x = each @ axes
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        found.append(uniform_filter1d(x, max(1, round(SMOOTHING * share * len(x))), axis=0, mode="nearest"))
    return found


def _cut(recording: np.ndarray, wanted: int) -> np.ndarray:
    """(n,) number of the segment of each frame, ascending: Ward's clustering in which only neighbours are merged."""
    n = len(recording)
    neighbours = diags_array([np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1], shape=(n, n))
    cluster = AgglomerativeClustering(min(wanted, n // 2), connectivity=neighbours).fit_predict(recording)
    return np.cumsum(np.diff(cluster, prepend=cluster[0]) != 0)


def _means(recording: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """(S, d) mean of each segment."""
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    return np.add.reduceat(recording, starts) / np.diff(starts, append=len(segment))[:, None]


def _parts(recordings: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """(frames of all recordings,) the part in which each is predicted: some recordings, or a stretch of every one."""
    pieces = [len(each) for each in recordings]
    if len(pieces) < FOLDS:  # too few recordings: a part is a stretch of each
        return np.concatenate([np.arange(n) * FOLDS // n for n in pieces])
    part = rng.permutation(np.arange(len(pieces)) % FOLDS)
    return np.repeat(part, pieces)


def _gain_and_error(frames: np.ndarray, classes: np.ndarray, parts: np.ndarray) -> tuple[float, float]:
    """Gain of a classifier that predicts each part after it was fitted on the others, and its jackknife error.

    Args:
        frames: (n, d).
        classes: (n,) the class of each frame.
        parts: (n,) the part that each frame belongs to.
    """
    predicted = np.empty_like(classes)
    for part in np.unique(parts):
        seen = parts != part
        predicted[~seen] = _classified(frames[seen], classes[seen], frames[~seen])
    without = np.array([_gain(classes[parts != part], predicted[parts != part]) for part in np.unique(parts)])
    error = np.sqrt((len(without) - 1) * without.var())
    return _gain(classes, predicted), float(error)


def _classified(seen: np.ndarray, classes: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """(m,) classes of the (m, d) unseen frames by linear discriminants of the (n, d) seen ones.

    All classes weigh the same in the covariance and as guesses, so that a long action does not swallow short ones.
    scikit-learn's discriminants are the same, and 20 times slower with many small classes.
    """
    known, number, size = np.unique(classes, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(number, column) / size for column in seen.T], axis=1)
    within = seen - means[number]
    covariance = within.T @ (within / size[number, None]) / len(known)
    ridge = SHRINKAGE * np.trace(covariance) / len(covariance) + 1e-12
    weights = np.linalg.solve((1 - SHRINKAGE) * covariance + ridge * np.eye(len(covariance)), means.T)
    scores = unseen @ weights - 0.5 * (means * weights.T).sum(1)
    return np.asarray(known[scores.argmax(1)])


def _gain(classes: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over classes, minus the mean F1 of guesses that are as frequent as the predictions."""
    n_classes = int(max(classes.max(), predicted.max())) + 1
    true, guessed, both = (
        np.bincount(each, minlength=n_classes) / len(classes)
        for each in (classes, predicted, classes[classes == predicted])
    )
    present = true + guessed > 0
    f1 = 2 * (both - true * guessed)[present] / (true + guessed)[present]
    return float(f1.mean())
