"""Segments that recordings share: known boundaries, known neighbours, and steps that clusters cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from vasot_kit.experiments.segments import (
    LEAST_GAIN,
    LINKED_FRAMES,
    MOST_SEGMENTS,
    Links,
    better_shared,
    cut,
    found_again,
    found_again_by_frame,
    linked_recordings,
    nearest_frames,
    shared_actions,
)

K, LENGTH = 5, 30
SHARE = 1 / K


def movements(n_recordings: int, noise: float = 0.02, seed: int = 0) -> tuple[list[Tensor], np.ndarray]:
    """Recordings of five steps. The first moves far; the next two are nearly alike, and never follow one another."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, np.pi / 2, LENGTH)
    steps = np.zeros((K, LENGTH, 6))
    steps[0, :, 0], steps[0, :, 1] = np.cos(angle), np.sin(angle)
    steps[1:3, :, 2], steps[1, :, 3], steps[2, :, 3] = 0.98, 0.2, -0.2
    steps[3, :, 4] = steps[4, :, 5] = 1
    orders = [np.insert(rng.permutation([0, 3, 4]), rng.permutation(4)[:2], [1, 2]) for _ in range(n_recordings)]
    plain = [steps[order].reshape(K * LENGTH, 6) for order in orders]
    recordings = [F.normalize(torch.from_numpy(x + noise * rng.normal(size=x.shape)), dim=1) for x in plain]
    return recordings, np.concatenate(orders).repeat(LENGTH)


def test_a_recording_is_cut_where_it_jumps() -> None:
    truth = np.repeat([0, 1, 2, 3], [20, 35, 15, 30])
    recording = np.eye(4)[truth] + 0.01 * np.random.default_rng(0).normal(size=(100, 4))
    assert (cut(recording, 0.25, 4) == truth).all()
    assert cut(recording, 0.25, 2)[-1] == 1, "as many segments as wanted"
    noisy = np.concatenate([recording[:1] + 1.2, recording, recording[-1:] - 1.2])
    assert (np.flatnonzero(np.diff(cut(noisy, 0.25, 4))) + 1 == [21, 56, 71]).all(), "not at a single frame at an end"


def test_every_frame_has_its_nearest_in_each_other_recording() -> None:
    one, two, three = torch.eye(4), torch.eye(4)[[2, 0]], torch.eye(4)[[3, 1, 2]]
    links = nearest_frames([one, two, three], SHARE)
    pairs = set(zip(links.frames.tolist(), links.nearest.tolist(), strict=True))
    assert len(links.frames) == 4 * 2 + 2 * 2 + 3 * 2
    assert {(0, 5), (2, 4), (1, 7), (2, 8), (3, 6), (4, 2), (5, 0), (4, 8), (6, 3), (8, 4)} <= pairs
    assert not len(nearest_frames([one], SHARE).frames)


def test_each_frame_says_in_which_share_of_the_others_it_is_found_again() -> None:
    places = torch.eye(3)
    embedded = [5 * places[[0, 0, 1]], places[[0, 1, 1]], places[[1, 0]]]
    actions = [np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([1, 2])]  # in the last the first place is action 2
    one, two, three = found_again_by_frame(actions, embedded)
    assert one.tolist() == [0.5, 0.5, 1] and two.tolist() == [0.5, 1, 1] and three.tolist() == [1, 0]


def test_recordings_are_compared_within_their_activity() -> None:
    """Of two recordings of tea and one of coffee, which has other actions, each of tea is found again in the other."""
    embedded = [torch.eye(3), torch.eye(3), torch.eye(3)]
    actions = [np.array([0, 1, 2]), np.array([0, 1, 2]), np.array([3, 4, 5])]
    tea, other, coffee = found_again_by_frame(actions, embedded, ["tea", "tea", "coffee"])
    assert tea.tolist() == other.tolist() == [1, 1, 1] and np.isnan(coffee).all()
    assert found_again_by_frame(actions, embedded)[0].tolist() == [0.5, 0.5, 0.5]


def test_between_the_frames_that_are_compared_the_share_is_interpolated() -> None:
    truth = np.repeat([0, 1], 1000)
    embedded = list(torch.eye(2)[torch.from_numpy(np.tile(truth, 2))].split(2000))
    found = found_again_by_frame([truth, np.where(np.arange(2000) < 1500, truth, 0)], embedded)
    assert [len(each) for each in found] == [2000, 2000]
    assert found[0][:990].min() == 1 and found[1][1010:1490].min() == 1 and found[1][1510:].max() == 0


def test_of_a_long_recording_some_frames_are_linked_to_the_right_ones() -> None:
    truth = np.concatenate([np.repeat([0, 1, 2, 3], 250), np.repeat([2, 0, 3, 1], 10)])
    recordings = list(torch.eye(4)[torch.from_numpy(truth)].split([1000, 40]))
    links = nearest_frames(recordings, SHARE)
    assert len(links.frames) == LINKED_FRAMES + 40
    assert (truth[links.frames] == truth[links.nearest]).all()
    assert len(nearest_frames(recordings, 0.01).frames) == 400 + 40, "four frames for each of a hundred actions"


def test_shared_actions_are_found_again_and_random_ones_are_not() -> None:
    links = nearest_frames(movements(6)[0], SHARE)
    truth = movements(6)[1]
    rng = np.random.default_rng(0)
    assert found_again(truth, links) > 0.98
    assert abs(found_again(rng.permutation(truth), links)) < 0.05
    assert found_again(np.zeros_like(truth), links) == 0
    assert found_again(np.array([0, 1]), Links(np.array([0, 1]), np.array([1, 0]))) == -1
    # Three of four agree, where half would by chance: (3/4 - 1/2) / (1 - 1/2).
    assert found_again(np.array([0, 0, 1, 1]), Links(np.arange(4), np.array([0, 1, 2, 0]))) == pytest.approx(0.5)


def test_a_step_that_moves_far_stays_whole_and_two_that_are_nearly_alike_apart() -> None:
    recordings, truth = movements(6)
    found = shared_actions(recordings, K, SHARE, nearest_frames(recordings, SHARE))
    assert found is not None and adjusted_rand_score(found, truth) > 0.95
    clusters = KMeans(K, n_init=10, random_state=0).fit_predict(torch.cat(recordings).numpy())
    assert adjusted_rand_score(clusters, truth) < 0.8, "clusters of frames cut the one and join the others"


def test_what_is_found_again_clearly_better_is_taken() -> None:
    recordings, truth = movements(14)
    by_time = np.tile(np.repeat(np.arange(K), LENGTH), 14)  # the same in all recordings, whatever is done
    better = better_shared(by_time, recordings, K, SHARE)
    assert better is not None and adjusted_rand_score(better, truth) > 0.95
    links = nearest_frames(recordings, SHARE)
    for wrong, taken in ((0, False), (12, False), (80, True)):  # in twelve frames the vote is wrong, but not clearly
        vote = truth.copy()
        vote[:wrong] = (vote[:wrong] + 1) % K
        assert (found_again(better, links) > found_again(vote, links) + LEAST_GAIN) is taken
        assert (better_shared(vote, recordings, K, SHARE) is not None) is taken


def test_with_few_recordings_more_is_asked_for() -> None:
    recordings, truth = movements(4)
    links = nearest_frames(recordings, SHARE)
    vote = truth.copy()
    vote[:14] = (vote[:14] + 1) % K
    gain = found_again(shared_actions(recordings, K, SHARE, links), links) - found_again(vote, links)
    assert LEAST_GAIN < gain < 0.25 / 3
    assert better_shared(vote, recordings, K, SHARE) is None


@pytest.mark.parametrize(("n_recordings", "k"), [(1, K), (4, 4 * K), (4, 4 * K + 1)])
def test_without_other_recordings_or_enough_segments_nothing_changes(n_recordings: int, k: int) -> None:
    recordings, truth = movements(n_recordings)
    assert shared_actions(recordings, k, SHARE, nearest_frames(recordings, SHARE)) is None
    assert better_shared(truth, recordings, k, SHARE) is None


def test_more_segments_than_fit_into_memory_are_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    recordings = [F.normalize(torch.randn(4 * MOST_SEGMENTS, 2, generator=generator), dim=1) for _ in range(2)]
    share = 0.3 / MOST_SEGMENTS
    assert shared_actions(recordings, K, share, Links(np.array([0]), np.array([1]))) is None


def test_numbering_of_recordings_does_not_matter() -> None:
    recordings, _ = movements(5)
    found = shared_actions(recordings, K, SHARE, nearest_frames(recordings, SHARE))
    back = shared_actions(recordings[::-1], K, SHARE, nearest_frames(recordings[::-1], SHARE))
    assert found is not None and back is not None
    assert adjusted_rand_score(found, np.concatenate(np.split(back, 5)[::-1])) == pytest.approx(1)


def test_so_many_recordings_are_linked_that_their_segments_are_not_too_many() -> None:
    assert (linked_recordings(7, 0.1) == np.arange(7)).all()
    assert len(linked_recordings(500, 0.1)) == 60
    some = linked_recordings(500, 0.005)
    assert len(some) == 15 and some[0] == 0 and some[-1] == 499
