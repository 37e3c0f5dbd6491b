"""What needs no learning: the answers every method has to beat (SPEC section 9)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from vasot_lib.data.video import Dataset
from vasot_lib.errors import InputError


def equal_split(n_frames: int, k: int) -> np.ndarray:
    """Labels (n_frames,) that cut a video into k parts of equal length (to a frame), in order.

    Args:
        n_frames: length of the video.
        k: number of parts.

    Raises:
        InputError: k outside 1..n_frames.
    """
    if not 1 <= k <= n_frames:
        raise InputError(f"cannot cut {n_frames} frames into k = {k} parts; choose k between 1 and {n_frames}")
    return np.arange(n_frames) * k // n_frames


def kmeans_segmentation(features: Sequence[np.ndarray], k: int, seed: int) -> list[np.ndarray]:
    """One K-means over the frames of all videos; the cluster of a frame is its label.

    Args:
        features: (N_v, D) per video.
        k: number of clusters.
        seed: of the ten random starts, of which the tightest is kept.

    Returns:
        labels (N_v,) per video.
    """
    found = KMeans(k, n_init=10, random_state=seed).fit_predict(np.concatenate(features))
    return np.split(found, np.cumsum([len(rows) for rows in features])[:-1])


def straight_line(n: int, m: int) -> np.ndarray:
    """The temporal prior alone: matches (n,) with the smallest | i/n - j/m |, the earlier of two equally near ones.

    Args:
        n: frames of X.
        m: frames of Y.
    """
    return np.minimum(np.ceil(np.arange(n) * m / n - 0.5).astype(int), m - 1)


def uniform_label_transfer(labels_x: np.ndarray, labels_y: np.ndarray, background: int | None = None) -> float:
    """Label transfer of the uniform plan: the expected share of X's frames that meet their own label in Y.

    The uniform plan has no best match, so this is the expectation of ``label_transfer`` when each frame of X is
    matched to a frame of Y drawn at random.

    Args:
        labels_x: (N,).
        labels_y: (M,).
        background: X's frames of this class are left out.

    Raises:
        InputError: no frame of X is left.
    """
    queries = labels_x[labels_x != background] if background is not None else labels_x
    if not len(queries):
        raise InputError(f"all {len(labels_x)} frames of X are background {background}; nothing to transfer")
    return float((queries[:, None] == labels_y).mean())


def baseline_segmentations(dataset: Dataset, seed: int) -> dict[str, list[np.ndarray]]:
    """Labels (N_v,) per video without learning, all at K = ``dataset.n_actions`` and over all frames.

    ``equal_split``. ``kmeans``: channels scaled to unit variance over the whole data set, as for SPEC section 9's
    figures. ``kmeans_unit``: K-means on ``raw`` of ``baseline_embeddings`` (standardised per video, unit length), which
    is what an encoder that learned nothing would give; often the stronger of the two.

    Args:
        dataset: scored later by ``score_segmentation``.
        seed: of K-means.
    """
    k = dataset.n_actions
    features = [video.features.numpy() for video in dataset.videos]
    scaler = StandardScaler().fit(np.concatenate(features))
    return {
        "equal_split": [equal_split(len(rows), k) for rows in features],
        "kmeans": kmeans_segmentation([scaler.transform(rows) for rows in features], k, seed),
        "kmeans_unit": kmeans_segmentation(baseline_embeddings(dataset)["raw"], k, seed),
    }


def baseline_embeddings(dataset: Dataset) -> dict[str, list[np.ndarray]]:
    """Embeddings (N_v, D) per video without learning, for ``score_alignment``.

    ``raw``: standardised features at unit length (all-zero rows stay zero). ``time``: relative time i/N alone, as a
    point on a quarter circle, so that Euclidean and cosine neighbours agree.

    Args:
        dataset: any.
    """
    raw = [video.features.numpy() for video in dataset.standardised().videos]
    angles = [np.arange(len(video)) / len(video) * np.pi / 2 for video in dataset.videos]
    return {
        "raw": [rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12) for rows in raw],
        "time": [np.stack([np.cos(angle), np.sin(angle)], axis=1) for angle in angles],
    }
