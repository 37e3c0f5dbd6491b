"""Scores of an action segmentation against ground truth (SPEC section 9).

Predicted labels are arbitrary cluster numbers. The Hungarian method therefore first matches clusters to classes: once
for all videos (activity level, the score that papers report first), or for each video separately (video level, scores
named ``*_video``), which does not require that a cluster means the same action in every video. Frames of the background
class are left out. There may be more or fewer clusters than classes: frames of an unmatched cluster are wrong, and an
unmatched class has IoU 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from vasot_lib.checks import Count, check_value, whole_numbers
from vasot_lib.errors import InputError

DRAWS = 15  # number of frames that the sampled F1 draws from each ground-truth segment
REPETITIONS = 50  # how often the sampled F1 repeats the draws
LENGTH_BIN = 20  # frames; bin width of the histograms of segment lengths, from HVQ

LabelPair = tuple[np.ndarray, np.ndarray]  # predicted and true labels of one video, (N,) each


def hungarian(predicted: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """One-to-one matching of clusters to classes that maximises the number of frames in agreement.

    Args:
        predicted: (N,) integer clusters.
        truth: (N,) integer classes.

    Returns:
        cluster -> class, without pairs that have no frame in common.
    """
    from sklearn.metrics.cluster import contingency_matrix

    predicted, truth = whole_numbers("clusters", predicted), whole_numbers("classes", truth)
    if len(predicted) != len(truth):
        raise InputError(f"{len(predicted)} clusters for {len(truth)} classes; give one of each per frame")
    clusters, classes = np.unique(predicted), np.unique(truth)
    together = contingency_matrix(predicted, truth)  # (clusters, classes), both in sorted order
    rows, columns = scipy.optimize.linear_sum_assignment(together, maximize=True)
    return {int(clusters[k]): int(classes[c]) for k, c in zip(rows, columns, strict=True) if together[k, c] > 0}


def score_segmentation(
    predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray], background: int | None = None
) -> dict[str, float]:
    """All segmentation scores of one set of videos, each a fraction.

    - ``mof``: the share of frames whose cluster is matched to their class.
    - ``miou``: the sum of the IoU of all matched pairs / the number of ground-truth classes.
    - ``f1``: the exact expectation of the F1 of CTE and ASOT, which samples frames (:func:`f1_sampled`). There, a
      ground-truth segment is a hit if more than half of 15 frames drawn from it with replacement have the cluster
      matched to its class; precision is hits / (videos x classes) and recall hits / segments. Hence
      F1 = 2 hits / (videos x classes + segments) is linear in the hits, whose expectation is a sum of binomial tails.
      If classes repeat within a video, there can be more segments than videos x classes, and precision and F1 can
      exceed 1.
    - ``ari``: the adjusted Rand index of all frames, 1 for the true actions and 0 for chance. It needs no matching, and
      neither too few nor too many actions are rewarded, whereas ``mof`` is high where there are few and large ones.
    - ``edit``: 1 - (Levenshtein distance between the predicted and the true sequence of segments) / (length of the
      longer one), the mean over videos.
    - ``f1_10, f1_25, f1_50``: F1 of predicted segments, which are correct if they have the class of a true segment and
      an IoU with it of at least .10, .25 or .50; counted over all videos.
    - ``jsd``: Jensen-Shannon distance (base 2, 0 is best) between the histograms of predicted and true segment lengths,
      with bins of 20 frames; the mean over videos.
    - ``mof_video, f1_video, miou_video``: the first three with a matching for each video, the mean over videos.

    A segment is a maximal run of one label in one video without its background frames. (ASOT's release concatenates all
    videos first. It therefore merges segments across the border of two videos; it also draws from the first frame of
    the next segment and leaves out the last segment.)

    Args:
        predictions: (N_v,) integer clusters of each video v.
        truths: (N_v,) integer classes of each video.
        background: class whose frames are left out, or None.

    Raises:
        InputError: no videos, predictions and truths of different lengths, or only background.

    Source: SPEC section 9; F1 of CTE and ASOT; edit and F1@k of MS-TCN; JSD of HVQ (arXiv 2412.17640).
    """
    from sklearn.metrics import adjusted_rand_score

    videos = _foreground(predictions, truths, background)
    scores = _frame_scores(videos)
    scores["ari"] = float(adjusted_rand_score(*_concatenated(videos)))
    named = _name_clusters(videos)
    scores["edit"] = float(np.mean([_edit(*video) for video in named]))
    scores |= {f"f1_{percent}": _f1_at(named, percent / 100) for percent in (10, 25, 50)}
    scores["jsd"] = float(np.mean([_length_distance(*video) for video in videos]))
    each = [_frame_scores([video]) for video in videos]
    return scores | {f"{name}_video": float(np.mean([score[name] for score in each])) for name in each[0]}


def frame_scores(
    predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray], background: int | None = None
) -> dict[str, float]:
    """``mof``, ``f1`` and ``miou`` of :func:`score_segmentation` alone, with its arguments, in a sixth of its time."""
    return _frame_scores(_foreground(predictions, truths, background))


def f1_sampled(
    predictions: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    background: int | None,
    generator: np.random.Generator,
    repetitions: int = REPETITIONS,
) -> float:
    """The F1 of CTE and ASOT as published, by drawing frames; ``score_segmentation`` gives its expectation as ``f1``.

    Args:
        predictions: (N_v,) integer clusters of each video v.
        truths: (N_v,) integer classes of each video.
        background: class whose frames are left out, or None.
        generator: source of the draws.
        repetitions: how often the 15 frames of each segment are drawn.

    Raises:
        InputError: as ``score_segmentation``.
    """
    check_value("repetitions", repetitions, Count)
    videos = _foreground(predictions, truths, background)
    share = _segment_shares(videos)
    hits = (generator.binomial(DRAWS, share, size=(repetitions, len(share))) > DRAWS / 2).sum() / repetitions
    return _f1(float(hits), videos)


def segments(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The S maximal runs of one label: (S,) their labels, (S,) first frames and (S,) end frames (exclusive).

    Args:
        labels: (N,) labels of one video.
    """
    labels = np.asarray(labels)
    end = np.ones(min(len(labels), 1), bool)  # none of no labels
    edges = np.flatnonzero(np.concatenate([end, labels[1:] != labels[:-1], end]))
    return labels[edges[:-1]], edges[:-1], edges[1:]


def _foreground(
    predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray], background: int | None
) -> list[LabelPair]:
    if len(predictions) != len(truths):
        raise InputError(f"{len(predictions)} predictions for {len(truths)} ground truths; give one per video")
    check_value("background", background, int | None)
    videos = []
    for number, (predicted, truth) in enumerate(zip(predictions, truths, strict=True)):
        predicted, truth = whole_numbers("predictions", predicted), whole_numbers("true labels", truth)
        if predicted.shape != truth.shape or truth.ndim != 1:
            raise InputError(
                f"video {number}: predicted labels have shape {predicted.shape}, true labels {truth.shape}; "
                "both must be (frames,)"
            )
        keep = truth != background if background is not None else np.ones(len(truth), dtype=bool)
        if keep.any():
            videos.append((predicted[keep], truth[keep]))
    if not videos:
        raise InputError(
            f"no frame to score in {len(truths)} video(s) once background {background} is dropped; check the labels"
        )
    return videos


def _concatenated(videos: list[LabelPair]) -> LabelPair:
    return np.concatenate([predicted for predicted, _ in videos]), np.concatenate([truth for _, truth in videos])


def _frame_scores(videos: list[LabelPair]) -> dict[str, float]:
    """``mof``, ``f1`` and ``miou`` with one matching for all the videos that are given."""
    predicted, truth = _concatenated(videos)
    right, iou = 0, 0.0
    for cluster, name in hungarian(predicted, truth).items():
        both = int(((predicted == cluster) & (truth == name)).sum())
        right += both
        iou += both / int(((predicted == cluster) | (truth == name)).sum())
    hits = float(scipy.stats.binom.sf(DRAWS // 2, DRAWS, _segment_shares(videos)).sum())
    return {"mof": right / len(truth), "f1": _f1(hits, videos), "miou": iou / len(np.unique(truth))}


def _segment_shares(videos: list[LabelPair]) -> np.ndarray:
    """(S,) for each ground-truth segment the share of its frames that have the cluster matched to its class."""
    right = [(predicted == truth).astype(float) for predicted, truth in _name_clusters(videos)]
    bounds = [segments(truth)[1:] for _, truth in videos]
    return np.concatenate(
        [np.add.reduceat(ok, starts) / (ends - starts) for ok, (starts, ends) in zip(right, bounds, strict=True)]
    )


def _f1(hits: float, videos: list[LabelPair]) -> float:
    """F1 = 2 hits / (videos x classes + segments)."""
    n_classes = len(np.unique(_concatenated(videos)[1]))
    n_segments = sum(len(segments(truth)[0]) for _, truth in videos)
    return 2 * hits / (len(videos) * n_classes + n_segments)


def _name_clusters(videos: list[LabelPair]) -> list[LabelPair]:
    """Replace each cluster by its matched class. Unmatched ones get new numbers, which differ from every class."""
    predicted, truth = _concatenated(videos)
    matching = hungarian(predicted, truth)
    clusters = np.unique(predicted)
    first_unused = int(truth.max()) + 1
    names = np.array([matching.get(int(cluster), first_unused + place) for place, cluster in enumerate(clusters)])
    return [(names[np.searchsorted(clusters, predicted)], truth) for predicted, truth in videos]


def _edit(predicted: np.ndarray, truth: np.ndarray) -> float:
    """1 - normalised Levenshtein distance between two sequences of segments, one row of its table at a time."""
    found, wanted = segments(predicted)[0], segments(truth)[0]
    columns = np.arange(len(wanted) + 1)
    row = columns
    for place, label in enumerate(found, start=1):
        # First deletions and substitutions, from the row above. Then insertions, from the left: the best one is the
        # running minimum of (value - column).
        step = np.concatenate([[place], np.minimum(row[1:] + 1, row[:-1] + (wanted != label))])
        row = np.minimum.accumulate(step - columns) + columns
    return 1 - float(row[-1]) / max(len(found), len(wanted))


def _f1_at(videos: list[LabelPair], threshold: float) -> float:
    """F1 of predicted segments that have the right class and at least this IoU with a true segment."""
    hits = n_found = n_wanted = 0
    for predicted, truth in videos:
        found, starts, ends = segments(predicted)
        wanted, true_starts, true_ends = segments(truth)
        shared = np.minimum(ends[:, None], true_ends) - np.maximum(starts[:, None], true_starts)
        hull = np.maximum(ends[:, None], true_ends) - np.minimum(starts[:, None], true_starts)
        # If two segments overlap, their hull is their union. If they do not, "shared" is negative and clipped to 0.
        iou = shared.clip(min=0) / hull * (found[:, None] == wanted)
        best = iou.argmax(axis=1)
        # A true segment counts as found once; every further prediction of it is a false positive.
        hits += len(np.unique(best[iou[np.arange(len(found)), best] >= threshold]))
        n_found, n_wanted = n_found + len(found), n_wanted + len(wanted)
    return 2 * hits / (n_found + n_wanted)


def _length_distance(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Jensen-Shannon distance between the histograms of the segment lengths of one video."""
    edges = np.arange(0, len(truth) + LENGTH_BIN + 1, LENGTH_BIN)
    found, wanted = (
        np.histogram(ends - starts, edges)[0] for _, starts, ends in (segments(predicted), segments(truth))
    )
    return float(scipy.spatial.distance.jensenshannon(found, wanted, base=2))
