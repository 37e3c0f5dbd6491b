"""All scores of a trained method on a data set, and rows of the same scores for baselines that learn nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vasot_lib.data import Dataset, Video, correspondence
from vasot_lib.errors import DataError
from vasot_lib.evaluation import (
    baseline_embeddings,
    baseline_segmentations,
    frame_error,
    label_transfer,
    score_alignment,
    score_segmentation,
    straight_line,
    uniform_label_transfer,
)
from vasot_lib.methods import Method
from vasot_lib.paths import dtw

Scores = dict[str, Any]


def evaluate(method: Method, dataset: Dataset, protocol: str = "split") -> Scores:
    """All scores of the tasks that a trained method is made for; keys as in ``vasot_lib.evaluation``.

    - Segmentation: scores per activity and per video. A method whose actions have no meaning across videos gets only
      those per video.
    - Alignment, from embeddings: ``acc_*``, ``progress``, ``tau`` and ``ap_*``.
    - Alignment, from the matches of each video with the next video of its activity: ``transfer`` is the share of frames
      whose match has the same label; ``frame_error`` and ``frame_error_p90`` are the mean and the 90th percentile of
      the distance from the true match as a share of the video's length, where the true match is known.

    Args:
        method: trained, on any device.
        dataset: with labels. Where it has a published split, segmentations and matches are scored on its test videos.
        protocol: of the scores from embeddings, see ``score_alignment``.

    Raises:
        DataError: a video without labels.
    """
    scores: Scores = {}
    tested = dataset.test_part
    if "segmentation" in method.tasks:
        predictions = [method.segment(video).cpu().numpy() for video in tested.videos]
        found = score_segmentation(predictions, _labels(tested), dataset.background)
        # A method that clusters each video by itself has no names for its actions across videos.
        scores |= {
            k: value for k, value in found.items() if method.shared_actions or k.endswith("_video") or k == "jsd"
        }
    if "alignment" in method.tasks:
        embeddings = [method.embed(video).cpu().numpy() for video in dataset.videos]
        scores |= _score_embeddings(embeddings, dataset, protocol)
        scores |= _score_matches(lambda x, y: method.align(x, y).cpu().numpy(), tested)
    return scores


def baseline_rows(dataset: Dataset, seed: int = 0) -> list[Scores]:
    """One row per baseline that learns nothing, with ``dataset``, ``method``, ``seed`` and its scores.

    Segmentation: an equal split, and K-means on the videos that are scored. Alignment from embeddings: raw features,
    and relative time. Alignment from matches: DTW on raw features, the straight line, and the uniform plan, which
    matches every frame of X with all frames of Y.

    Args:
        dataset: with labels.
        seed: of K-means.

    Raises:
        DataError: a video without labels.
    """
    tested = dataset.test_part
    rows = [
        {"method": name, **score_segmentation(predictions, _labels(tested), dataset.background)}
        for name, predictions in baseline_segmentations(tested, seed).items()
    ]
    rows += [
        {"method": name, **_score_embeddings(embeddings, dataset)}
        for name, embeddings in baseline_embeddings(dataset).items()
    ]
    matchers: dict[str, Matcher] = {
        "dtw": lambda x, y: dtw(x.features.numpy(), y.features.numpy()),
        "straight_line": lambda x, y: straight_line(len(x), len(y)),
    }
    rows += [{"method": name, **_score_matches(matcher, tested)} for name, matcher in matchers.items()]
    uniform = [uniform_label_transfer(_labels_of(x), _labels_of(y), dataset.background) for x, y in _pairs(tested)]
    if uniform:
        rows.append({"method": "uniform_plan", "transfer": float(np.mean(uniform))})
    return [{"dataset": dataset.name, "seed": seed, **row} for row in rows]


Matcher = Callable[[Video, Video], np.ndarray]


def _labels_of(video: Video) -> np.ndarray:
    if video.labels is None:
        raise DataError(f"video {video.name!r} has no labels to score against; bring its ground truth")
    return video.labels.numpy()


def _labels(dataset: Dataset) -> list[np.ndarray]:
    return [_labels_of(video) for video in dataset.videos]


def _pairs(dataset: Dataset) -> Iterator[tuple[Video, Video]]:
    """Each video with the next of its activity, so that the number of pairs grows only linearly with that of videos."""
    for activity in dict.fromkeys(video.activity for video in dataset.videos):
        videos = [video for video in dataset.videos if video.activity == activity]
        if len(videos) > 1:
            yield from zip(videos, videos[1:] + videos[:1], strict=True)


def _score_embeddings(embeddings: Sequence[np.ndarray], dataset: Dataset, protocol: str = "split") -> Scores:
    activities = [video.activity for video in dataset.videos]
    return score_alignment(
        embeddings, _labels(dataset), ordered=dataset.ordered, background=dataset.background, protocol=protocol,
        activities=activities, parts=[video.part for video in dataset.videos],
    )  # fmt: skip


def _score_matches(match: Matcher, dataset: Dataset) -> Scores:
    transfers, errors = [], []  # per pair of videos; an error is (mean, 90th percentile)
    for x, y in _pairs(dataset):
        matches = match(x, y)
        transfers.append(label_transfer(matches, _labels_of(x), _labels_of(y), dataset.background))
        if x.position is not None and y.position is not None:
            error = frame_error(matches, correspondence(x, y).numpy(), len(y))
            errors.append((error["mean_share"], error["p90_share"]))
    scores: Scores = {"transfer": float(np.mean(transfers))} if transfers else {}
    if errors:
        scores["frame_error"], scores["frame_error_p90"] = (float(value) for value in np.mean(errors, axis=0))
    return scores
