from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from vasot_lib.data import Dataset, Video, correspondence, toy
from vasot_lib.errors import InputError
from vasot_lib.evaluation import segments


def steps_shown(video: Video, n_steps: int) -> list[int]:
    """The steps in the order they occur; a step begins where the label changes or the position falls back."""
    shown, before = [], (-1, 0.0)
    for now in zip(video.labels.tolist(), video.position.tolist(), strict=True):
        if now[0] < n_steps and (now[0] != before[0] or now[1] < before[1]):
            shown.append(now[0])
        before = now
    return shown


def share_of_same_step(dataset: Dataset, rows: list[np.ndarray], k: int = 5) -> float:
    """AP@k: among the k nearest step frames of other videos, the share with the same label."""
    labels = [video.labels.numpy() for video in dataset.videos]
    steps = [np.flatnonzero(label != dataset.background) for label in labels]
    scores = []
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        pool = np.concatenate([rows[j][steps[j]] for j in others])
        answer = np.concatenate([labels[j][steps[j]] for j in others])
        near = NearestNeighbors(n_neighbors=k).fit(pool).kneighbors(rows[i][steps[i]], return_distance=False)
        scores.append((answer[near] == labels[i][steps[i], None]).ravel())
    return float(np.concatenate(scores).mean())


def features_of(dataset: Dataset) -> list[np.ndarray]:
    return [video.features.numpy() for video in dataset.videos]


def equal(a: Video, b: Video) -> bool:
    return torch.equal(a.features, b.features) and torch.equal(a.labels, b.labels)


def test_same_arguments_same_data_other_seed_other_data():
    assert toy(seed=3).checksum() == toy(seed=3).checksum()
    assert toy(seed=3).checksum() != toy(seed=4).checksum()


def test_a_video_depends_neither_on_how_many_there_are_nor_on_rendering():
    few, many, drawn = toy(2), toy(5), toy(2, render=True)
    assert all(equal(a, b) and equal(a, c) for a, b, c in zip(few.videos, many.videos, drawn.videos, strict=False))
    assert few.videos[0].frames is None


@settings(max_examples=40)
@given(
    n_steps=st.integers(2, 9),
    swaps=st.floats(0, 1),
    repeats=st.floats(0, 1),
    background=st.floats(0, 0.6),
    speed=st.floats(0, 1.5),
    imbalance=st.floats(0, 1.5),
    seed=st.integers(0, 10**6),
)
def test_position_says_what_the_labels_say(n_steps, swaps, repeats, background, speed, imbalance, seed):
    dataset = toy(
        2,
        n_steps,
        swaps=swaps,
        repeats=repeats,
        background=background,
        speed=speed,
        imbalance=imbalance,
        seed=seed,
    )
    for video in dataset.videos:
        idle = video.labels == n_steps
        assert torch.equal(idle, video.position.isnan())
        assert torch.equal(video.position[~idle].floor().long(), video.labels[~idle])
        shown = steps_shown(video, n_steps)
        assert set(shown) == set(range(n_steps))
        assert max(shown.count(step) for step in shown) <= 2


def test_default_shows_every_step_once_and_in_order():
    dataset = toy()
    assert dataset.ordered
    assert all(steps_shown(video, 6) == [0, 1, 2, 3, 4, 5] for video in dataset.videos)
    lengths = [len(video) for video in dataset.videos]
    assert min(lengths) >= 80 and max(lengths) <= 250 and len(set(lengths)) > 6


def test_swaps_exchange_neighbours_only_and_repeats_show_a_step_twice():
    swapped = toy(20, swaps=0.5)
    orders = [steps_shown(video, 6) for video in swapped.videos]
    assert not swapped.ordered
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert any(order != list(range(6)) for order in orders)
    assert all(abs(step - place) <= 1 for order in orders for place, step in enumerate(order))
    assert steps_shown(toy(1, swaps=1.0).videos[0], 6) == [1, 0, 3, 2, 5, 4]

    repeated = toy(20, repeats=1.0)
    assert not repeated.ordered
    for video in repeated.videos:
        order = steps_shown(video, 6)
        assert sorted(order) == sorted([*range(6), *range(6)])
        assert all(a != b for a, b in itertools.pairwise(order))


def test_background_has_the_asked_share_and_zero_means_no_class():
    for share in (0.1, 0.4):
        dataset = toy(background=share)
        assert dataset.classes[dataset.background] == "background" and len(dataset.classes) == dataset.n_actions + 1
        measured = sum(int((video.labels == dataset.background).sum()) for video in dataset.videos) / dataset.n_frames
        assert measured == pytest.approx(share, abs=0.01)
    without = toy(background=0.0)
    assert without.background is None and without.classes == tuple(f"step_{k}" for k in range(1, 7))
    assert all(video.position.isfinite().all() for video in without.videos)


def test_without_speed_and_imbalance_all_steps_last_equally_long():
    counts = [video.labels.bincount().tolist() for video in toy(speed=0.0, imbalance=0.0, background=0.0).videos]
    assert counts == [[22] * 6] * 12
    # imbalance belongs to the procedure, so it is the same in every video; speed belongs to the video
    unequal = [video.labels.bincount().tolist() for video in toy(speed=0.0, imbalance=0.8, background=0.0).videos]
    assert len(set(unequal[0])) > 3 and all(row == unequal[0] for row in unequal)
    paced = [video.labels.bincount().tolist() for video in toy(speed=0.4, imbalance=0.0, background=0.0).videos]
    assert len({tuple(row) for row in paced}) == 12


def test_without_style_and_noise_equal_positions_have_equal_features():
    dataset = toy(3, style=0.0, noise=0.0, speed=0.0)
    x, y = dataset.videos[:2]
    match = correspondence(x, y)
    real = match >= 0
    assert torch.allclose(x.features[real], y.features[match[real]], atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_raw_features_fail_across_videos_and_style_is_the_reason(seed):
    dataset, plain = toy(seed=seed), toy(seed=seed, style=0.0)
    assert share_of_same_step(dataset, features_of(dataset)) < 0.5
    assert share_of_same_step(plain, features_of(plain)) > 0.95


def test_raw_pixels_fail_across_videos_and_style_is_the_reason():
    def score(style: float) -> float:
        dataset = toy(6, style=style, render=True)
        pixels = [video.frames.reshape(len(video), -1).astype(np.float32) for video in dataset.videos]
        return share_of_same_step(dataset, pixels)

    assert score(1.0) < 0.4
    assert score(0.0) > 0.95


def test_a_supervised_network_finds_the_step_in_new_videos():
    dataset = toy(24)

    def frames(videos: tuple[Video, ...]) -> tuple[np.ndarray, np.ndarray]:
        labels = torch.cat([video.labels for video in videos])
        step = labels != dataset.background
        return torch.cat([video.features for video in videos])[step].numpy(), labels[step].numpy()

    (x, y), (new, truth) = frames(dataset.videos[:12]), frames(dataset.videos[12:])
    scale = StandardScaler().fit(x)
    network = MLPClassifier((64,), alpha=1.0, max_iter=60, n_iter_no_change=60, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        network.fit(scale.transform(x), y)
    assert network.score(scale.transform(new), truth) > 0.8


def test_correspondence_is_the_identity_on_a_video_itself():
    for video in toy(3, swaps=0.5, repeats=0.5).videos:
        expected = torch.where(video.position.isnan(), -1, torch.arange(len(video)))
        match = correspondence(video, video)
        # a repeated step shows some positions twice; the first of them is as good
        assert torch.equal(match < 0, expected < 0)
        assert torch.equal(video.position[match[match >= 0]], video.position[match >= 0])
    once = toy(1).videos[0]
    assert torch.equal(correspondence(once, once)[once.labels < 6], torch.arange(len(once))[once.labels < 6])


@given(seed=st.integers(0, 10**6))
def test_correspondence_agrees_with_a_search_frame_by_frame(seed):
    x, y = toy(2, 3, swaps=0.5, repeats=0.3, seed=seed).videos
    match = correspondence(x, y).tolist()
    for i, (label, place) in enumerate(zip(x.labels.tolist(), x.position.tolist(), strict=True)):
        same = [j for j in range(len(y)) if int(y.labels[j]) == label and label < 3]
        if not same:
            assert match[i] == -1
        else:
            nearest = min(abs(float(y.position[j]) - place) for j in same)
            assert match[i] in same and abs(float(y.position[match[i]]) - place) == pytest.approx(nearest, abs=1e-6)


def test_correspondence_by_hand_and_without_truth():
    def video(places: list[float]) -> Video:
        return Video("hand", torch.zeros(len(places), 2), position=torch.tensor(places))

    x, y = video([0.1, 0.95, torch.nan, 1.05, 2.5]), video([0.0, 0.9, 1.0, 1.5, torch.nan])
    assert correspondence(x, y).tolist() == [0, 1, -1, 2, -1]  # .95 goes to .9 although 1.0 is as near
    with pytest.raises(InputError, match="no true positions"):
        correspondence(x, Video("real", torch.zeros(3, 2)))


def test_pictures_have_the_documented_form_and_follow_the_step():
    dataset = toy(3, 9, render=True, style=0.0)  # more steps than tools
    for video in dataset.videos:
        assert video.frames.shape == (len(video), 32, 32, 3) and video.frames.dtype == np.uint8
    x, y = dataset.videos[:2]
    match = correspondence(x, y)
    here, there = x.frames[match >= 0].astype(float), y.frames[match[match >= 0]].astype(float)
    assert np.abs(here - there).mean() < 0.5 * np.abs(here - there[::-1]).mean()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"n_videos": 0}, "n_videos is 0"),
        ({"n_steps": 1}, "n_steps is 1"),
        ({"dim": 5}, "dim is 5"),
        ({"swaps": -0.1}, "swaps is -0.1; it must be a finite number of at least 0 and at most 1"),
        ({"repeats": 1.5}, "repeats is 1.5"),
        ({"background": 0.95}, "background is 0.95; it must be a finite number of at least 0 and at most 0.9"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"style": -1.0}, "style is -1.0"),
    ],
)
def test_knobs_out_of_range_are_named(knobs, message):
    with pytest.raises(InputError, match=message):
        toy(**knobs)


def test_procedures_share_steps_and_their_curves() -> None:
    """Every video shows the steps of its own procedure in order, and a shared step is the same curve in both."""
    procedures = ((0, 1, 2), (3, 1, 4, 2))
    data = toy(4, 5, procedures=procedures, style=0, noise=0, background=0, seed=3)
    assert data.n_actions == len(data.classes) == 5
    for number, video in enumerate(data.videos):
        assert video.activity == f"procedure_{number % 2 + 1}"
        assert tuple(segments(video.labels.numpy())[0].tolist()) == procedures[number % 2]
    x, y = data.videos[:2]
    match = correspondence(x, y)
    shared = torch.isin(x.labels, torch.tensor([1, 2]))
    assert (match[~shared] == -1).all() and (match[shared] >= 0).all()
    far, near = torch.cdist(x.features, y.features).mean(), (x.features - y.features[match])[shared].norm(dim=1)
    assert near.mean() < 0.1 * far


@pytest.mark.parametrize("wrong", [(0,), (0, 0), (0, 5)])
def test_a_procedure_that_is_none_is_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"procedure 2 is \[.*\]; give 2 or more different steps below 5"):
        toy(4, 5, procedures=((0, 1), wrong))
