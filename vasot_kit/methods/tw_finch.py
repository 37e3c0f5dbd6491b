"""TW-FINCH: segmentation of each video by temporally weighted hierarchical clustering, without training.

    d_ij = (1 - cos(f_i, f_j)) |t_i - t_j|

f_i is the feature of frame i and t_i its frame number. Every frame is linked to its nearest neighbour under d; the
connected components of these links are the clusters of the first partition. The cluster means of features and frame
numbers are clustered in the same way, and so on. In the last partition that has at least K clusters, the two nearest
clusters are merged until K are left. Source: Sarfraz et al., CVPR 2021; SPEC section 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from vasot_lib.data import Batch, Video
from vasot_lib.errors import InputError
from vasot_lib.methods.base import Method

MIN_COSINE_DISTANCE = 1e-12  # smaller cosine distances are rounding errors
BLOCK_ENTRIES = 2**22  # number of distances that are held in memory at a time


@dataclass(frozen=True)
class NoHyperParameters:
    """TW-FINCH has no hyper-parameters."""


class TWFinch(Method):
    """Temporally weighted first-neighbour clustering of the stored features of each video. The encoder is not used.

    Clusters of different videos are unrelated, so only scores at video level make sense. K is that of the data set; the
    paper takes the mean number of actions per video of an activity.
    """

    name = "tw_finch"
    tasks = ("segmentation",)
    paired = False
    Hyper = NoHyperParameters
    learns = False
    shared_actions = False

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Not defined, as there is no training.

        Raises:
            InputError: always.
        """
        raise InputError("method 'tw_finch' learns nothing and has no loss; call segment() without training")

    def segment(self, video: Video) -> Tensor:
        """(N,) cluster of each frame, numbered from 0 to K - 1 in the order in which they first occur.

        Raises:
            InputError: the video has fewer than K frames.
        """
        return torch.from_numpy(temporal_clusters(video.features.cpu().numpy(), self.n_actions))


def temporal_clusters(features: np.ndarray, k: int) -> np.ndarray:
    """(N,) clusters of the frames of one video, exactly k of them, numbered in the order in which they first occur.

    Takes O(N^2 D) time, and the memory of four float64 copies of the features and of four blocks of 2^22 distances.
    Differences from the release: if the first partition already has fewer than k clusters, the release returns it,
    while single frames are merged here until k clusters are left. Frames with equal features have the distance 1e-12
    times their distance in time here; in the release it depends on rounding.

    Args:
        features: (N, D).
        k: number of clusters.

    Raises:
        InputError: k is not between 1 and N.
    """
    n = len(features)
    if not 1 <= k <= n:
        raise InputError(f"cannot cut {n} frames into k = {k} clusters; choose k between 1 and {n}")
    # The last column is time, in frames; dividing it by the length would not change which neighbour is nearest.
    frames = np.column_stack((features.astype(np.float64), np.arange(n)))
    labels = np.arange(n)
    while (count := int(labels.max()) + 1) > k:
        nearest, _ = _nearest(*_unit_vectors_and_times(_centres(frames, labels)), np.arange(count))
        links = csr_array((np.ones(count), (np.arange(count), nearest)), shape=(count, count))
        # The paper also links two frames that share a nearest neighbour; they are connected through it anyway.
        fewer, component = connected_components(links, directed=False)
        labels = component.astype(int)[labels] if fewer >= k else _merge_nearest(frames, labels, k)
    return labels


def _centres(frames: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(C, D + 1) mean of the rows of each of C clusters."""
    members = csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))))
    return members @ frames / np.bincount(labels)[:, None]


def _unit_vectors_and_times(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C, D) features scaled to unit length, where rows of zeros stay zero, and (C,) times, from (C, D + 1) means."""
    features, time = centres[:, :-1], centres[:, -1]
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(min=1e-30), time


def _distance(u: np.ndarray, s: np.ndarray, v: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(n, m) distances d from (n, D) unit vectors u at times s (n,) to (m, D) unit vectors v at times t (m,)."""
    return np.maximum(1.0 - u @ v.T, MIN_COSINE_DISTANCE) * np.abs(s[:, None] - t)


def _nearest(u: np.ndarray, t: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest neighbour of each of the given rows among the other (n, D) unit vectors at times t, and its distance."""
    nearest, distance = np.empty(len(rows), dtype=int), np.empty(len(rows))
    step = max(1, BLOCK_ENTRIES // len(u))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        block = _distance(u[part], t[part], u, t)
        block[np.arange(len(part)), part] = np.inf
        nearest[start : start + step] = block.argmin(1)
        distance[start : start + step] = block.min(1)
    return nearest, distance


def _merge_nearest(frames: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Merge the two nearest clusters until k are left, searching again only for neighbours that a merge may change."""
    centres, size = _centres(frames, labels), np.bincount(labels)
    u, t = _unit_vectors_and_times(centres)
    nearest, distance = _nearest(u, t, np.arange(len(u)))
    merged_into = np.arange(len(u))
    for _ in range(len(u) - k):
        i = int(distance.argmin())
        i, j = sorted((i, int(nearest[i])))
        centres[i] = np.average(centres[[i, j]], axis=0, weights=size[[i, j]])
        size[i] += size[j]
        u[i : i + 1], t[i : i + 1] = _unit_vectors_and_times(centres[i : i + 1])
        merged_into[merged_into == j] = i
        t[j] = distance[j] = np.inf  # removes cluster j: it is infinitely far from all others
        to_merged = _distance(u, t, u[i : i + 1], t[i : i + 1])[:, 0]
        to_merged[i] = np.inf
        nearer = to_merged < distance
        stale = ((nearest == i) | (nearest == j)) & ~nearer & np.isfinite(distance)
        stale[i] = True
        nearest[nearer], distance[nearer] = i, to_merged[nearer]
        rows = stale.nonzero()[0]
        nearest[rows], distance[rows] = _nearest(u, t, rows)
    return np.unique(merged_into[labels], return_inverse=True)[1]
