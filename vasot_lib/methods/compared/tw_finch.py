"""TW-FINCH: a video's own frames, joined with their first neighbours until K clusters are left. Nothing is learnt.

    d_ij = (1 - cos(f_i, f_j)) |t_i - t_j|

Every frame is linked with its nearest one, and the connected components are the clusters of the first partition. The
means of their features and frame numbers are clustered in the same way, and so on; of the last partition with K or more
clusters the nearest two are then joined until K are left. Source: Sarfraz et al., CVPR 2021; SPEC section 10.
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

MIN_COSINE_DISTANCE = 1e-12  # cosine distance below which rounding decides
BLOCK_ENTRIES = 2**22  # distances that are held at once


@dataclass(frozen=True)
class NoHyperParameters:
    """TW-FINCH has no hyper-parameters."""


class TWFinch(Method):
    """Temporally weighted first-neighbour clustering of each video by itself, on the features as they are stored.

    Action k of one video has nothing to do with action k of the next, so only scores of single videos make sense. K is
    the data set's; the paper takes the mean number of actions per video of an activity. The encoder stays unused.
    """

    name = "tw_finch"
    tasks = ("segmentation",)
    paired = False
    Hyper = NoHyperParameters
    learns = False
    shared_actions = False

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """There is no loss.

        Raises:
            InputError: always.
        """
        raise InputError("method 'tw_finch' learns nothing and has no loss; call segment() without training")

    def segment(self, video: Video) -> Tensor:
        """Cluster of each frame, 0 to K - 1 in the order in which they first occur.

        Raises:
            InputError: the video has fewer than K frames.
        """
        return torch.from_numpy(temporal_clusters(video.features.cpu().numpy(), self.n_actions))


def temporal_clusters(features: np.ndarray, k: int) -> np.ndarray:
    """(N,) clusters of the frames of one video, exactly k, numbered in the order in which they first occur.

    Takes O(N^2 D) time, and the memory of four float64 copies of the features and four blocks of 2^22 distances.
    Where the first partition has fewer than k clusters the release returns that; here single frames are joined then.
    Frames with equal features have the distance 1e-12 times their distance in time; in the release rounding decides.

    Args:
        features: (N, D).
        k: number of clusters.

    Raises:
        InputError: k outside 1..N.
    """
    n = len(features)
    if not 1 <= k <= n:
        raise InputError(f"cannot cut {n} frames into k = {k} clusters; choose k between 1 and {n}")
    # Time in frames, as the last column: a common factor changes no neighbour.
    frames = np.column_stack((features.astype(np.float64), np.arange(n)))
    labels = np.arange(n)
    while (count := int(labels.max()) + 1) > k:
        nearest, _ = _nearest(*_directions(_centres(frames, labels)), np.arange(count))
        links = csr_array((np.ones(count), (np.arange(count), nearest)), shape=(count, count))
        # Two that share a first neighbour, the third kind of link in the paper, are connected through it.
        fewer, component = connected_components(links, directed=False)
        labels = component.astype(int)[labels] if fewer >= k else _join_pairs(frames, labels, k)
    return labels


def _centres(frames: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(C, D + 1) means of the rows of each cluster."""
    members = csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))))
    return members @ frames / np.bincount(labels)[:, None]


def _directions(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C, D) features at unit length (all-zero rows stay zero: they are at cosine distance 1) and (C,) times."""
    features, time = centres[:, :-1], centres[:, -1]
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(min=1e-30), time


def _distance(u: np.ndarray, s: np.ndarray, v: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(n, m) from (n, D) unit vectors u at the times s (n,) to (m, D) unit vectors v at the times t (m,)."""
    return np.maximum(1.0 - u @ v.T, MIN_COSINE_DISTANCE) * np.abs(s[:, None] - t)


def _nearest(u: np.ndarray, t: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First neighbour of each of the rows among all (n, D) unit vectors but itself, and the distance to it."""
    nearest, distance = np.empty(len(rows), dtype=int), np.empty(len(rows))
    step = max(1, BLOCK_ENTRIES // len(u))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        block = _distance(u[part], t[part], u, t)
        block[np.arange(len(part)), part] = np.inf
        nearest[start : start + step] = block.argmin(1)
        distance[start : start + step] = block.min(1)
    return nearest, distance


def _join_pairs(frames: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Join the nearest two clusters until k are left; only neighbours that a join may have changed are looked for."""
    centres, size = _centres(frames, labels), np.bincount(labels)
    u, t = _directions(centres)
    nearest, distance = _nearest(u, t, np.arange(len(u)))
    belongs = np.arange(len(u))
    for _ in range(len(u) - k):
        i = int(distance.argmin())
        i, j = sorted((i, int(nearest[i])))
        centres[i] = np.average(centres[[i, j]], axis=0, weights=size[[i, j]])
        size[i] += size[j]
        u[i : i + 1], t[i : i + 1] = _directions(centres[i : i + 1])
        belongs[belongs == j] = i
        t[j] = distance[j] = np.inf  # gone: infinitely far in time
        to_joined = _distance(u, t, u[i : i + 1], t[i : i + 1])[:, 0]
        to_joined[i] = np.inf
        nearer = to_joined < distance
        stale = ((nearest == i) | (nearest == j)) & ~nearer & np.isfinite(distance)
        stale[i] = True
        nearest[nearer], distance[nearer] = i, to_joined[nearer]
        rows = stale.nonzero()[0]
        nearest[rows], distance[rows] = _nearest(u, t, rows)
    return np.unique(belongs[labels], return_inverse=True)[1]
