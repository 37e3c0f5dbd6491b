"""Scores of an action segmentation against ground truth (SPEC section 9).

Predicted labels are cluster numbers without names, so the Hungarian method first matches them to classes: once over
all videos (activity level, the headline) or video by video (``*_video``, which forgives naming the same action
differently in every video). Frames of the background class are dropped before matching. The number of clusters may
differ from the number of classes: an unmatched cluster is wrong everywhere, an unmatched class has IoU 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom
from sklearn.metrics.cluster import contingency_matrix

from vasot_lib.errors import InputError

DRAWS = 15  # frames drawn per ground-truth segment by the literature's F1
REPETITIONS = 50
LENGTH_BIN = 20  # frames; bin width of HVQ's histogram of segment lengths

LabelPair = tuple[np.ndarray, np.ndarray]  # predicted and true labels (N,) of one video


def hungarian(predicted: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """One-to-one matching of clusters to classes that maximises the number of frames in agreement.

    Args:
        predicted: (N,) integer clusters.
        truth: (N,) integer classes.

    Returns:
        cluster -> class. Pairs that share no frame are left out.
    """
    clusters, classes = np.unique(predicted), np.unique(truth)
    together = contingency_matrix(predicted, truth)  # (clusters, classes), both in sorted order
    rows, columns = linear_sum_assignment(together, maximize=True)
    return {int(clusters[k]): int(classes[c]) for k, c in zip(rows, columns, strict=True) if together[k, c] > 0}


def score_segmentation(
    predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray], background: int | None = None
) -> dict[str, float]:
    """All segmentation scores of one set of videos, each a fraction.

    - ``mof``: frames whose mapped label is right / all frames.
    - ``miou``: IoU of the matched pairs summed / number of ground-truth classes.
    - ``f1``: the literature's sampled F1 without the sampling. A ground-truth segment counts as hit when more than half
      of 15 frames drawn from it with replacement carry the matched cluster; precision is hits / (videos x classes),
      recall hits / segments. So F1 = 2 hits / (videos x classes + segments) is linear in the hits, and F1 at the
      expected hits (binomial tail), which is given here, is the exact expectation of the sampled score. Where classes
      repeat within a video there are more segments than videos x classes and both precision and F1 can pass 1.
    - ``edit``: 1 - Levenshtein distance of the segment orders / the longer one, mean over videos.
    - ``f1_10, f1_25, f1_50``: F1 of segments found with the right class and an IoU of at least .10, .25, .50, counted
      over all videos.
    - ``jsd``: Jensen-Shannon distance (base 2, 0 is best) between the histograms of predicted and true segment lengths,
      bins of 20 frames, mean over videos.
    - ``mof_video, f1_video, miou_video``: the first three with one matching per video, mean over videos.

    A segment is a maximal run of one label within one video after background frames are dropped. (ASOT's release runs
    over the concatenation of all videos instead: it merges equal labels across a video boundary, draws from the first
    frame of the next segment too and skips the last segment.)

    Args:
        predictions: (N_v,) integer clusters per video.
        truths: (N_v,) integer classes per video.
        background: class whose frames are dropped, or None.

    Raises:
        InputError: no videos, different lengths, or nothing but background.

    Source: SPEC section 9; F1 of CTE and ASOT; edit and F1@k of MS-TCN; JSD of HVQ (arXiv 2412.17640).
    """
    videos = _foreground(predictions, truths, background)
    scores = _frame_scores(videos)
    named = _name_clusters(videos)
    scores["edit"] = float(np.mean([_edit(*video) for video in named]))
    scores |= {f"f1_{percent}": _f1_at(named, percent / 100) for percent in (10, 25, 50)}
    scores["jsd"] = float(np.mean([_length_distance(*video) for video in videos]))
    each = [_frame_scores([video]) for video in videos]
    return scores | {f"{name}_video": float(np.mean([score[name] for score in each])) for name in each[0]}


def f1_sampled(
    predictions: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    background: int | None,
    generator: np.random.Generator,
    repetitions: int = REPETITIONS,
) -> float:
    """The literature's F1 by drawing frames; ``score_segmentation`` gives its expectation as ``f1``.

    Args:
        predictions: (N_v,) integer clusters per video.
        truths: (N_v,) integer classes per video.
        background: class whose frames are dropped, or None.
        generator: source of the draws.
        repetitions: how often each segment is tried.

    Raises:
        InputError: as ``score_segmentation``.
    """
    videos = _foreground(predictions, truths, background)
    share = _segment_shares(videos)
    hits = (generator.binomial(DRAWS, share, size=(repetitions, len(share))) > DRAWS / 2).sum() / repetitions
    return _f1(float(hits), videos)


def segments(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maximal runs of one label: the label, first frame and end frame (exclusive) of each, three arrays (S,).

    Args:
        labels: (N,) labels of one video.
    """
    cuts = np.flatnonzero(np.diff(labels)) + 1
    starts = np.concatenate([[0], cuts])
    return labels[starts], starts, np.concatenate([cuts, [len(labels)]])


def _foreground(
    predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray], background: int | None
) -> list[LabelPair]:
    if len(predictions) != len(truths):
        raise InputError(f"{len(predictions)} predictions for {len(truths)} ground truths; give one per video")
    videos = []
    for number, (predicted, truth) in enumerate(zip(predictions, truths, strict=True)):
        predicted, truth = np.asarray(predicted), np.asarray(truth)
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
    predicted, truth = _concatenated(videos)
    right, iou = 0, 0.0
    for cluster, name in hungarian(predicted, truth).items():
        both = int(((predicted == cluster) & (truth == name)).sum())
        right += both
        iou += both / int(((predicted == cluster) | (truth == name)).sum())
    hits = float(binom.sf(DRAWS // 2, DRAWS, _segment_shares(videos)).sum())
    return {"mof": right / len(truth), "f1": _f1(hits, videos), "miou": iou / len(np.unique(truth))}


def _segment_shares(videos: list[LabelPair]) -> np.ndarray:
    """Share of each ground-truth segment's frames that carry the cluster matched to its class, (S,)."""
    right = [(predicted == truth).astype(float) for predicted, truth in _name_clusters(videos)]
    bounds = [segments(truth)[1:] for _, truth in videos]
    return np.concatenate(
        [np.add.reduceat(ok, starts) / (ends - starts) for ok, (starts, ends) in zip(right, bounds, strict=True)]
    )


def _f1(hits: float, videos: list[LabelPair]) -> float:
    n_classes = len(np.unique(_concatenated(videos)[1]))
    n_segments = sum(len(segments(truth)[0]) for _, truth in videos)
    return 2 * hits / (len(videos) * n_classes + n_segments)


def _name_clusters(videos: list[LabelPair]) -> list[LabelPair]:
    """Clusters under the name of their class; unmatched ones get numbers above every class, so they stay wrong."""
    predicted, truth = _concatenated(videos)
    matching = hungarian(predicted, truth)
    clusters = np.unique(predicted)
    free = int(truth.max()) + 1
    names = np.array([matching.get(int(cluster), free + place) for place, cluster in enumerate(clusters)])
    return [(names[np.searchsorted(clusters, predicted)], truth) for predicted, truth in videos]


def _edit(predicted: np.ndarray, truth: np.ndarray) -> float:
    found, wanted = segments(predicted)[0], segments(truth)[0]
    columns = np.arange(len(wanted) + 1)
    row = columns
    for place, label in enumerate(found, start=1):
        # Deletion or substitution first; insertions run along the row, which is a running minimum of row - column.
        step = np.concatenate([[place], np.minimum(row[1:] + 1, row[:-1] + (wanted != label))])
        row = np.minimum.accumulate(step - columns) + columns
    return 1 - float(row[-1]) / max(len(found), len(wanted))


def _f1_at(videos: list[LabelPair], threshold: float) -> float:
    hits = n_found = n_wanted = 0
    for predicted, truth in videos:
        found, starts, ends = segments(predicted)
        wanted, true_starts, true_ends = segments(truth)
        shared = np.minimum(ends[:, None], true_ends) - np.maximum(starts[:, None], true_starts)
        hull = np.maximum(ends[:, None], true_ends) - np.minimum(starts[:, None], true_starts)
        # Where two segments overlap their hull is their union; where they do not, "shared" is negative.
        iou = shared.clip(min=0) / hull * (found[:, None] == wanted)
        best = iou.argmax(axis=1)
        # A true segment can be found once; every further prediction of it is a false positive.
        hits += len(np.unique(best[iou[np.arange(len(found)), best] >= threshold]))
        n_found, n_wanted = n_found + len(found), n_wanted + len(wanted)
    return 2 * hits / (n_found + n_wanted)


def _length_distance(predicted: np.ndarray, truth: np.ndarray) -> float:
    edges = np.arange(0, len(truth) + LENGTH_BIN + 1, LENGTH_BIN)
    found, wanted = (
        np.histogram(ends - starts, edges)[0] for _, starts, ends in (segments(predicted), segments(truth))
    )
    return float(jensenshannon(found, wanted, base=2))
