"""Baselines without learning, which a method has to beat to show that it has learnt anything (SPEC section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from vasot_lib.checks import Count, Range, Seed, check_value
from vasot_lib.data.video import Dataset
from vasot_lib.errors import InputError


def equal_split(n_frames: int, k: int) -> np.ndarray:
    """(n_frames,) labels 0 to k - 1 in order, each for the same number of frames (up to one).

    Args:
        n_frames: length of the video.
        k: number of parts.

    Raises:
        InputError: k is not a whole number between 1 and n_frames.
    """
    check_value("n_frames", n_frames, Count)
    check_value("k", k, Count)
    if k > n_frames:
        raise InputError(f"cannot cut {n_frames} frames into k = {k} parts; choose k between 1 and {n_frames}")
    return np.arange(n_frames) * k // n_frames


def kmeans_segmentation(features: Sequence[np.ndarray], k: int, seed: int) -> list[np.ndarray]:
    """Cluster the frames of all videos together by K-means; the cluster of a frame is its label.

    Args:
        features: (N_v, D) features of each video v.
        k: number of clusters.
        seed: of the ten random initialisations, of which the best is kept.

    Returns:
        (N_v,) labels of each video.
    """
    from sklearn.cluster import KMeans

    check_value("seed", seed, Seed)
    check_value("k", k, Annotated[int, Range(least=1, most=sum(map(len, features)))])
    found = KMeans(k, n_init=10, random_state=seed).fit_predict(np.concatenate(features))
    return np.split(found, np.cumsum([len(rows) for rows in features])[:-1])


def straight_line(n: int, m: int) -> np.ndarray:
    """(n,) for each frame i of X the frame j of Y at the nearest relative time, the one with the smallest |i/n - j/m|.

    This is what the temporal prior alone would choose. Of two equally near frames the earlier one is taken.

    Args:
        n: number of frames of X.
        m: number of frames of Y.

    Raises:
        InputError: not whole numbers of at least 1.
    """
    check_value("n", n, Count)
    check_value("m", m, Count)
    return np.minimum(np.ceil(np.arange(n) * m / n - 0.5).astype(int), m - 1)


def baseline_segmentations(dataset: Dataset, seed: int) -> dict[str, list[np.ndarray]]:
    """Segmentations without learning by name, each as the (N_v,) labels of every video; K is ``dataset.n_actions``.

    - ``equal_split``: K parts of equal length.
    - ``kmeans``: K-means on the features, each channel standardised over the whole data set, as for the figures in SPEC
      section 9.
    - ``kmeans_unit``: K-means on ``raw`` of :func:`baseline_embeddings`, standardised per video and of unit length.
      Often the stronger of the two.

    Args:
        dataset: the videos to segment.
        seed: of K-means.
    """
    from sklearn.preprocessing import StandardScaler

    k = dataset.n_actions
    features = [video.features.numpy() for video in dataset.videos]
    scaler = StandardScaler().fit(np.concatenate(features))
    return {
        "equal_split": [equal_split(len(rows), k) for rows in features],
        "kmeans": kmeans_segmentation([scaler.transform(rows) for rows in features], k, seed),
        "kmeans_unit": kmeans_segmentation(baseline_embeddings(dataset)["raw"], k, seed),
    }


def baseline_embeddings(dataset: Dataset) -> dict[str, list[np.ndarray]]:
    """Embeddings without learning by name, each as the (N_v, D) embeddings of every video, for ``score_alignment``.

    - ``raw``: the features, standardised per video and scaled to unit length; rows of zeros stay zero.
    - ``time``: the relative time i / N alone, as a point on a quarter circle, so that the nearest neighbours by
      Euclidean distance and by cosine are the same.

    Args:
        dataset: the videos to embed.
    """
    raw = [video.features.numpy() for video in dataset.standardised().videos]
    angles = [np.arange(len(video)) / len(video) * np.pi / 2 for video in dataset.videos]
    return {
        "raw": [rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12) for rows in raw],
        "time": [np.stack([np.cos(angle), np.sin(angle)], axis=1) for angle in angles],
    }
