"""The number of actions K from the recordings alone.

1. VAOT is trained to align the recordings. It needs no K, and its embeddings keep what recordings have in common.
2. Each recording is cut where its embeddings jump, into more segments than it is believed to have.
3. Segments are merged into fewer and fewer classes (Ward). A classifier of single frames, fitted on the other
   recordings, predicts the class of every frame. Parts of one action are confused, and classes of one recording only
   are not found again: both lower its F1. Too few classes are easy to guess. The *gain*, mean F1 minus the F1 of
   guesses with the same frequencies, is largest in between. Source: CLaP (Ermshaus, Schäfer, Leser 2024), which merges
   states by the same score.
4. Classes that follow one another without a jump are parts of one movement, and are joined: where the embeddings just
   before and just after a boundary differ much less than the two classes do.

An estimate, not a measurement: docs/results.md says on which recordings it was right. Look at the curve and the range.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.ndimage import uniform_filter1d

from vasot_kit.experiments.auto import action_length, of_unit_length, standardised
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.segments import cut, jumps, numbered, sums
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError
from vasot_lib.training import fit

LEAST_ACTIONS, MOST_ACTIONS = 2, 32
LEAST_SHARE = 0.03  # of a segment; where features oscillate, the length of an action comes out far too short
MOST_FRAMES = 500  # of a recording that are looked at
MOST_RECORDINGS = 60
ENOUGH = 3  # recordings from which VAOT is trained; with fewer the standardised features stand for its embeddings
FOLDS = 5
SEGMENTS = 1.5  # as many as the recordings are believed to have, times this
SMOOTHING = 0.2  # window of the running mean, as a share of an action
KEPT_VARIANCE = 0.95  # by the principal components
SHRINKAGE = 0.05  # of the covariance within classes
# Joining: the window on both sides of a boundary as a share of an action, what counts as a jump, and the least share of
# the boundaries of one of the two classes that lie between them.
EDGE, JUMP, TOGETHER = 0.12, 0.5, 0.35
# K may be off by this factor in either direction: the true one then lies in the range for 37 of the 41 data sets by
# which the rest was chosen, for 21 of 24 others, and for 25 and 12 of them by the standard error of the gain alone.
OFF_BY = 1.7


@dataclass(frozen=True)
class ActionCount:
    """A number of actions and what it was chosen by.

    Attributes:
        n_actions: K: the number of classes with the largest gain, less those that were joined.
        plausible: least and largest K to expect: those to which candidates within one standard error of the largest
            gain lead, and no narrower than K divided by and times 1.7, by which such estimates are often off.
        candidates: (n,) numbers of classes that were compared, ascending.
        gain: (n,) F1 of recognising the classes in other recordings minus the F1 of guesses; at most 1.
        error: (n,) standard error of the gain over the parts of the recordings that were predicted.
    """

    n_actions: int
    plausible: tuple[int, int]
    candidates: np.ndarray
    gain: np.ndarray
    error: np.ndarray

    @property
    def classes(self) -> int:
        """The candidate with the largest gain, before joining."""
        return int(self.candidates[self.gain.argmax()])

    def __str__(self) -> str:
        low, high = self.plausible
        return f"{self.n_actions} actions, estimated without labels; {low} to {high} are plausible"


def count_actions(dataset: Dataset, seed: int = 0, epochs: int | None = None, progress: bool = False) -> ActionCount:
    """The number of actions of the recordings, from their features alone.

    Args:
        dataset: with features; its labels and its ``n_actions`` are not looked at.
        seed: of the training and of the parts into which the recordings are divided.
        epochs: of the training of VAOT; those of the preset ``auto`` by default.
        progress: show the bar of the training.

    Raises:
        DataError: the recordings hardly ever change, or are too short for two actions.
    """
    videos = dataset.train_part.videos
    if len(videos) > MOST_RECORDINGS:
        chosen = np.random.default_rng(seed).choice(len(videos), MOST_RECORDINGS, replace=False)
        videos = tuple(videos[i] for i in sorted(chosen))
    videos = tuple(replace(video, context=None) for video in videos)  # of films, what moves
    dataset = replace(dataset, videos=videos, n_actions=0).standardised()
    share = max(LEAST_SHARE, action_length(dataset, seed).share)
    plain = _reduced(_embedded(dataset, seed, epochs, progress))
    smooth = [uniform_filter1d(x, max(1, round(SMOOTHING * share * len(x))), axis=0, mode="nearest") for x in plain]
    segment = numbered([cut(each, share, SEGMENTS / share) for each in plain])
    owner, frames = np.concatenate(segment), np.concatenate(smooth)
    size = np.bincount(owner)
    means = np.stack([np.bincount(owner, column) / size for column in frames.T], axis=1)
    most = min(MOST_ACTIONS, len(means) // 2, *(len(video) for video in videos))
    if most < LEAST_ACTIONS:
        raise DataError(f"data set {dataset.name!r} has {len(means)} segments; at least 4 are needed to count actions")
    candidates = np.arange(LEAST_ACTIONS, most + 1)
    tree = cut_tree(linkage(means, "ward"), candidates)
    parts = _parts(smooth, np.random.default_rng(seed))
    measured = [_gain_and_error(frames, tree[owner, column], parts) for column in range(len(candidates))]
    gain, error = np.array(measured).T
    best = int(gain.argmax())
    near = np.flatnonzero(gain >= gain[best] - error[best])
    joined = {int(i): _joined(plain, [tree[each, i] for each in segment], share) for i in near}
    low = max(LEAST_ACTIONS, min(round(joined[best] / OFF_BY), *joined.values()))
    high = max(round(joined[best] * OFF_BY), *joined.values())
    return ActionCount(joined[best], (low, high), candidates, gain, error)


def _embedded(dataset: Dataset, seed: int, epochs: int | None, progress: bool) -> list[np.ndarray]:
    """For each recording (n, d) embeddings of VAOT; standardised features of unit length where there are too few."""
    if len(dataset.videos) < ENOUGH:
        return [of_unit_length(standardised(video.features.double().numpy())) for video in dataset.videos]
    config = make_config("own", "vaot", "auto", seed=seed, epochs=epochs, pixels=False, recordings=dataset)
    method = build(config, dataset)
    fit(method, dataset, config.training, progress=progress)
    with torch.no_grad():
        return [method.embed(video).double().cpu().numpy() for video in dataset.videos]


def _reduced(recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
    """At most 500 frames of each recording, less the mean of all, and their principal components."""
    frames = [each[:: -(-len(each) // MOST_FRAMES)] for each in recordings]
    together = np.concatenate(frames)
    mean = together.mean(0)
    variance, axes = np.linalg.eigh((together - mean).T @ (together - mean))
    explained = np.cumsum(variance[::-1]) / max(variance.sum(), 1e-12)
    axes = axes[:, ::-1][:, : int((explained < KEPT_VARIANCE).sum()) + 1]
    return [(each - mean) @ axes for each in frames]


def _joined(recordings: Sequence[np.ndarray], classes: Sequence[np.ndarray], share: float) -> int:
    """The number of classes, when those that follow one another without a jump are joined, the smoothest pair first."""
    classes = [each.copy() for each in classes]
    totals = [sums(each) for each in recordings]
    while True:
        left = len(np.unique(np.concatenate(classes)))
        pair = _smoothest(totals, classes, share)
        if pair is None or left <= LEAST_ACTIONS:
            return left
        for each in classes:
            each[each == pair[1]] = pair[0]


def _smoothest(totals: Sequence[np.ndarray], classes: Sequence[np.ndarray], share: float) -> tuple[int, int] | None:
    """The two classes between which the embeddings jump least, relative to their distance; None where all pairs jump.

    With J the squared jump at boundaries between the two classes, D the squared distance of the segments' means and W
    the jump at moments within the segments, means over boundaries, that is ``(J - W) / (D - W)``: 1 for a step,
    0 for a movement that goes on.
    """
    measured: dict[tuple[int, int], np.ndarray] = defaultdict(lambda: np.zeros(3))
    between: Counter[tuple[int, int]] = Counter()
    of_class: Counter[int] = Counter()
    for total, each in zip(totals, classes, strict=True):
        for pair, values in _boundaries(total, each, share):
            measured[pair] += values
            between[pair] += 1
            of_class.update(pair)
    best, found = JUMP, None
    for pair, (jump, apart, within) in measured.items():
        if apart <= 1.2 * within or between[pair] < TOGETHER * min(of_class[k] for k in pair):
            continue  # the classes differ no more than neighbouring frames do, or seldom follow one another
        if (ratio := (jump - within) / (apart - within)) < best:
            best, found = ratio, pair
    return found


def _boundaries(
    total: np.ndarray, classes: np.ndarray, share: float
) -> list[tuple[tuple[int, int], tuple[float, float, float]]]:
    """For each boundary of a recording its two classes, ascending, and J, D and W of :func:`_smoothest`."""
    n = len(classes)
    window = max(1, round(EDGE * share * n))
    starts = np.flatnonzero(np.diff(classes, prepend=-1))
    ends = np.append(starts[1:], n)
    at = starts[1:]
    jump = jumps(total, at, np.maximum(at - window, starts[:-1]), window, ends[1:])
    means = (total[ends] - total[starts]) / (ends - starts)[:, None]
    apart = np.square(np.diff(means, axis=0)).sum(1)
    inside = np.arange(window, n - window + 1)
    everywhere = np.concatenate([[0.0], jumps(total, inside, inside - window, window).cumsum()])
    # The frames of a segment whose windows lie within it, as places in `inside`.
    low, high = starts, np.maximum(ends - 2 * window + 1, starts)
    count, inner = high - low, everywhere[high.clip(0, len(inside))] - everywhere[low.clip(0, len(inside))]
    within = np.where(count > 0, inner / np.maximum(count, 1), 0.0)
    both = np.minimum((count > 0)[:-1].astype(int) + (count > 0)[1:], 2)
    typical = (within[:-1] + within[1:]) / np.maximum(both, 1)
    pairs = [(min(a, b), max(a, b)) for a, b in zip(classes[at - 1].tolist(), classes[at].tolist(), strict=True)]
    return list(zip(pairs, zip(jump.tolist(), apart.tolist(), typical.tolist(), strict=True), strict=True))


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
