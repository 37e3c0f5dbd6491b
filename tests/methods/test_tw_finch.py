"""TW-FINCH against loops written from the paper, and its place among methods that learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vasot_kit.methods.tw_finch as module
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import evaluate
from vasot_kit.methods import METHODS
from vasot_kit.methods.tw_finch import TWFinch, temporal_clusters
from vasot_kit.tables.scores import PER_VIDEO
from vasot_lib.data import Dataset, Video, collate, toy
from vasot_lib.errors import InputError
from vasot_lib.methods import Method
from vasot_lib.training import fit

Groups = list[list[int]]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "tw_finch", TWFinch)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, seed=3)


def built(dataset: Dataset, seed: int = 0) -> tuple[Method, list[dict[str, float]]]:
    config = make_config("toy", "tw_finch", "paper", seed=seed)
    method = build(config, dataset)
    return method, fit(method, dataset, config.training, progress=False)


def slow_distances(features: np.ndarray, groups: Groups) -> np.ndarray:
    out = np.full((len(groups), len(groups)), np.inf)
    for i, a in enumerate(groups):
        for j, b in enumerate(groups):
            if i != j:
                u, v = features[a].mean(0), features[b].mean(0)
                cosine = float(u @ v) / float(np.sqrt(u @ u) * np.sqrt(v @ v))
                out[i, j] = (1.0 - cosine) * abs(np.mean(a) - np.mean(b)) / len(features)
    return out


def slow_partition(features: np.ndarray, groups: Groups) -> Groups:
    """Clusters linked where one is the other's first neighbour or both have the same one; connected components."""
    first = slow_distances(features, groups).argmin(1)
    n, components, seen = len(groups), [], set()
    linked = [[first[i] == j or first[j] == i or first[i] == first[j] for j in range(n)] for i in range(n)]
    for start in range(n):
        stack, members = [start], []
        while stack:
            i = stack.pop()
            if i not in seen:
                seen.add(i)
                members += groups[i]
                stack += [j for j in range(n) if linked[i][j]]
        if members:
            components.append(sorted(members))
    return components


def slow_clusters(features: np.ndarray, k: int) -> list[int]:
    groups: Groups = [[i] for i in range(len(features))]
    while len(coarser := slow_partition(features, groups)) >= k:
        groups = coarser
    while len(groups) > k:
        distances = slow_distances(features, groups)
        i, j = sorted(np.unravel_index(distances.argmin(), distances.shape))
        joined = sorted(groups[i] + groups[j])
        groups = [group for number, group in enumerate(groups) if number not in (i, j)] + [joined]
    groups.sort()  # by their first frames
    return [next(number for number, group in enumerate(groups) if i in group) for i in range(len(features))]


def wandering(n: int, dim: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)).cumsum(0) + rng.normal(size=(n, dim))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "k"), [(50, 2), (50, 5), (50, 11), (26, 16)])
def test_clusters_equal_loops(seed: int, n: int, k: int) -> None:
    """16 is more than the first partition of 26 frames holds: there, single frames are joined."""
    features = wandering(n, 4, seed)
    assert (len(slow_partition(features, [[i] for i in range(n)])) < k) == (k == 16)
    assert temporal_clusters(features, k).tolist() == slow_clusters(features, k)


def test_by_hand() -> None:
    """Three steps of constant direction; the third looks like the first, but is far away from it in time."""
    angle = np.array([0.0, 1, 2, 90, 91, 92, 3, 4, 5]) * np.pi / 180
    features = np.stack((np.cos(angle), np.sin(angle)), 1)
    assert temporal_clusters(features, 3).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert temporal_clusters(features, 2).tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert temporal_clusters(features, 9).tolist() == list(range(9))
    assert temporal_clusters(features, 1).tolist() == [0] * 9


@pytest.mark.parametrize("k", [2, 6, 12, 40])
def test_exactly_k_clusters_in_order_of_their_first_frames(k: int) -> None:
    labels = temporal_clusters(wandering(120, 8, 1), k)
    _, first = np.unique(labels, return_index=True)
    assert labels.dtype == np.int64 and len(first) == k and (np.diff(first) > 0).all()


def test_scale_of_the_features_and_size_of_the_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features = wandering(120, 8, 2)
    expected = temporal_clusters(features, 7)
    np.testing.assert_array_equal(temporal_clusters(64.0 * features, 7), expected)
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 300)  # two rows at once
    np.testing.assert_array_equal(temporal_clusters(features, 7), expected)


def test_frames_that_do_not_differ_are_joined_by_time() -> None:
    """Rounding decides nothing: equal frames are as near to each other as they are in time."""
    poses = np.random.default_rng(0).normal(size=(3, 5))
    for order in ([0, 1, 2], [0, 1, 0]):
        assert temporal_clusters(np.repeat(poses[order], 20, axis=0), 3).tolist() == [0] * 20 + [1] * 20 + [2] * 20
    for still in (np.ones((40, 5)), np.zeros((40, 5))):
        labels = temporal_clusters(still, 4)
        assert len(np.unique(labels)) == 4 and (np.diff(labels) >= 0).all()


def test_all_zero_frames_are_far_from_all_others() -> None:
    features = np.concatenate((np.zeros((10, 3)), np.eye(3)[[0] * 10 + [1] * 10]))
    assert temporal_clusters(features, 3).tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_nothing_is_learnt_and_scores_are_those_of_single_videos(dataset: Dataset) -> None:
    method, history = built(dataset)
    assert history == []
    scores = evaluate(method, dataset)
    assert set(scores) == {*PER_VIDEO, "jsd"}
    assert scores["mof_video"] > 0.65  # .725; equal split .705


def test_segmentation_needs_the_features_of_the_video_alone(dataset: Dataset) -> None:
    """Other first weights, another seed: the same clusters."""
    one, other = built(dataset)[0], built(dataset, seed=1)[0]
    for video in dataset.videos:
        labels = one.segment(video)
        assert labels.dtype == torch.int64 and labels.shape == (len(video),)
        assert torch.equal(labels, other.segment(video))
        assert labels.unique().tolist() == list(range(dataset.n_actions))


def test_asking_for_a_loss_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="method 'tw_finch' learns nothing and has no loss"):
        built(dataset)[0](collate(dataset.videos, 16, None))


def test_a_video_shorter_than_k_is_refused(dataset: Dataset) -> None:
    short = Video("short", torch.ones(4, dataset.feature_dim))
    with pytest.raises(InputError, match="cannot cut 4 frames into k = 6 clusters; choose k between 1 and 4"):
        built(dataset)[0].segment(short)
