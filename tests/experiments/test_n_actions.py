"""The number of actions from features alone: known answers, odd recordings, and labels that are not looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vasot_kit.experiments.n_actions import MOST_ACTIONS, _joined, count_actions
from vasot_lib.data import Dataset, Video
from vasot_lib.errors import DataError


def recordings(n_actions: int, n_recordings: int = 8, frames: int = 20, seed: int = 0) -> Dataset:
    """Recordings in which every action occurs once, in any order, as a noisy constant vector."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.normal(size=(n_actions, 16))
    videos = []
    for number in range(n_recordings):
        label = np.repeat(rng.permutation(n_actions), frames)
        features = centres[label] + 0.5 * rng.normal(size=(len(label), 16))
        videos.append(Video(f"r{number}", torch.from_numpy(features.astype(np.float32))))
    return Dataset("generated", tuple(videos))


def changed(dataset: Dataset, change: object) -> Dataset:
    return replace(dataset, videos=tuple(replace(v, features=change(v.features)) for v in dataset.videos))  # type: ignore[operator]


@pytest.mark.parametrize("n_actions", [4, 12])
def test_actions_that_differ_are_counted(n_actions: int) -> None:
    count = count_actions(recordings(n_actions), epochs=3)
    assert abs(count.n_actions - n_actions) <= n_actions / 5
    low, high = count.plausible
    assert low <= count.n_actions <= min(high, count.classes)
    assert low <= count.n_actions / 1.6 and high >= count.n_actions * 1.6  # it may be off by more than a fifth
    assert count.candidates[0] == 2 and count.candidates[-1] <= MOST_ACTIONS
    assert len(count.candidates) == len(count.gain) == len(count.error)
    assert f"{count.n_actions} actions" in str(count) and f"{low} to {high} are plausible" in str(count)


def test_a_recording_alone_gets_an_answer_that_is_not_too_small() -> None:
    together = torch.cat([video.features for video in recordings(5).videos])
    assert 4 <= count_actions(Dataset("one", (Video("a", together),))).n_actions <= 15


def test_classes_that_follow_one_another_without_a_jump_are_parts_of_one_movement() -> None:
    """Two movements of 60 frames each, in two classes each; between the movements the embeddings jump."""
    along = np.linspace(0, 1, 60)
    frames = np.stack([np.r_[along, along], np.repeat([0.0, 5.0], 60)], axis=1)
    halves = np.repeat([0, 1, 2, 3], 30)
    assert _joined([frames, frames[::-1]], [halves, halves[::-1]], share=0.5) == 2
    steps = np.array([[0.0, 0], [1, 0], [0, 5], [1, 5]])[halves]  # the same classes, each of them constant
    noisy = steps + 0.05 * np.random.default_rng(0).normal(size=steps.shape)
    assert _joined([noisy, noisy[::-1]], [halves, halves[::-1]], share=0.25) == 4


def test_the_answer_does_not_depend_on_labels_scales_or_channels_that_say_nothing() -> None:
    plain = changed(recordings(6), lambda x: x[: len(x) // 2])
    plain = replace(
        plain, videos=plain.videos[:2]
    )  # two: no training, which starts from other weights with more channels
    scales = torch.logspace(-4, 4, 16)
    odd = changed(plain, lambda x: torch.cat([x * scales, torch.full((len(x), 3), 7.0)], dim=1))
    expected = count_actions(plain)
    assert count_actions(odd).n_actions == expected.n_actions
    told = replace(plain, classes=("a", "b"), n_actions=2)
    assert count_actions(told).n_actions == expected.n_actions


@pytest.mark.parametrize("frames", [2, 3, 50, 5000])
@pytest.mark.parametrize("n_recordings", [2, 3])
def test_recordings_of_any_length_give_an_answer_or_say_why_not(frames: int, n_recordings: int) -> None:
    walk = torch.randn(frames, 6, generator=torch.Generator().manual_seed(0)).cumsum(0)
    walk[: frames // 3] = 0.0
    dataset = Dataset("walk", tuple(Video(str(i), walk.flip(0) if i % 2 else walk) for i in range(n_recordings)))
    try:
        assert 2 <= count_actions(dataset, epochs=1).n_actions <= min(MOST_ACTIONS, frames)
    except DataError as refused:
        assert "\n" not in str(refused)


def test_recordings_that_never_change_are_refused() -> None:
    still = Dataset("still", (Video("a", torch.ones(60, 4)), Video("b", torch.zeros(60, 4))))
    with pytest.raises(DataError, match="'still' has no more than 12 different frames"):
        count_actions(still)
