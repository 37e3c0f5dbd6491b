"""From a data set and a method to rows of scores; the baselines that need no learning give rows of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vasot_lib.data import Dataset, Video, correspondence
from vasot_lib.evaluation import (
    baseline_embeddings,
    baseline_segmentations,
    dtw,
    frame_error,
    label_transfer,
    score_alignment,
    score_segmentation,
    straight_line,
)
from vasot_lib.methods import Method

Scores = dict[str, Any]


def evaluate(method: Method, dataset: Dataset) -> Scores:
    """All scores of the tasks that a trained method is made for; keys as in ``vasot_lib.evaluation``.

    Segmentation: activity and video level. Alignment: from the embeddings (``acc_*``, ``progress``, ``tau``, ``ap_*``,
    protocol ``split``), and from the transport plan between each video and the next of its activity (``transfer``:
    share of frames whose match has the same label; ``frame_error``: mean distance from the true match as a share of
    the length, where the truth is known).

    Args:
        method: trained, on any device.
        dataset: with labels.
    """
    scores: Scores = {}
    if "segmentation" in method.tasks:
        predictions = [method.segment(video).cpu().numpy() for video in dataset.videos]
        scores |= score_segmentation(predictions, _labels(dataset), dataset.background)
    if "alignment" in method.tasks:
        embeddings = [method.embed(video).cpu().numpy() for video in dataset.videos]
        scores |= _score_embeddings(embeddings, dataset)
        scores |= _score_matches(lambda x, y: method.align(x, y).cpu().numpy(), dataset)
    return scores


def baseline_rows(dataset: Dataset, seed: int = 0) -> list[Scores]:
    """One row per baseline that learns nothing, with ``dataset``, ``method``, ``seed`` and its scores.

    Equal split and K-means segment; raw features and relative time are embedded and scored like a method; DTW on raw
    features and the straight line match frames.
    """
    rows = [
        {"method": name, **score_segmentation(predictions, _labels(dataset), dataset.background)}
        for name, predictions in baseline_segmentations(dataset, seed).items()
    ]
    rows += [
        {"method": name, **_score_embeddings(embeddings, dataset)}
        for name, embeddings in baseline_embeddings(dataset).items()
    ]
    matchers: dict[str, Matcher] = {
        "dtw": lambda x, y: dtw(x.features.numpy(), y.features.numpy()),
        "straight_line": lambda x, y: straight_line(len(x), len(y)),
    }
    rows += [{"method": name, **_score_matches(matcher, dataset)} for name, matcher in matchers.items()]
    return [{"dataset": dataset.name, "seed": seed, **row} for row in rows]


Matcher = Callable[[Video, Video], np.ndarray]


def _labels(dataset: Dataset) -> list[np.ndarray]:
    return [video.labels.numpy() for video in dataset.videos if video.labels is not None]


def _score_embeddings(embeddings: Sequence[np.ndarray], dataset: Dataset) -> Scores:
    activities = [video.activity for video in dataset.videos]
    return score_alignment(
        embeddings, _labels(dataset), ordered=dataset.ordered, background=dataset.background, activities=activities
    )


def _score_matches(match: Matcher, dataset: Dataset) -> Scores:
    """Mean over pairs (video, next video of the same activity): linear in the number of videos."""
    transfers, errors = [], []
    for activity in dict.fromkeys(video.activity for video in dataset.videos):
        videos = [video for video in dataset.videos if video.activity == activity]
        for x, y in zip(videos, videos[1:] + videos[:1], strict=True):
            if x is y or x.labels is None or y.labels is None:
                continue
            matches = match(x, y)
            transfers.append(label_transfer(matches, x.labels.numpy(), y.labels.numpy(), dataset.background))
            if x.position is not None and y.position is not None:
                errors.append(frame_error(matches, correspondence(x, y).numpy(), len(y))["mean_share"])
    scores: Scores = {"transfer": float(np.mean(transfers))} if transfers else {}
    return scores | ({"frame_error": float(np.mean(errors))} if errors else {})
