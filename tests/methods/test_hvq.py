"""HVQ: its loss against a loop, FIFA on costs with known boundaries, the order of the actions, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_kit.experiments.config import build, make_config
from vasot_kit.methods.hvq import HVQ, Hierarchy, fifa, in_order
from vasot_lib.data import Dataset, Video, collate, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.training import TrainingSettings, fit

LENGTHS = torch.tensor([0.1, 0.4, 0.2, 0.3])


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, seed=0)


def built(dataset: Dataset, **hyper: Any) -> HVQ:
    torch.manual_seed(0)
    encoder = MLPEncoder(dataset.feature_dim, 16, 8, unit_length=False)
    method = HVQ(encoder, dataset.n_actions, Hierarchy(**{"layers": 3, **hyper}))
    method.initialise(dataset, 1000, torch.Generator().manual_seed(0))
    return method


def nearest(frame: Tensor, codes: Tensor) -> Tensor:
    """The code of highest cosine."""
    return max(codes, key=lambda code: float(frame @ code / frame.norm() / code.norm()))


def test_loss_equals_a_loop_over_videos_and_frames(dataset: Dataset) -> None:
    method = built(dataset, weight=0.5)
    batch = collate(dataset.videos[:3], 1000, None)
    losses = []
    with torch.no_grad():
        for video in dataset.videos[:3]:
            codes, error = [], 0.0
            for x in method.embed(video):
                z = nearest(x, method.fine.codes[:, 0])
                q = nearest(z, method.actions.codes[:, 0])
                error += float((z - x).square().mean() + (q - z).square().mean())
                codes.append(q)
            decoded = method.decoder(torch.stack(codes)[None], torch.ones(1, len(video), dtype=torch.bool))[0]
            f = torch.stack([frame / frame.norm() for frame in video.features])
            losses.append(error / len(video) + 0.5 * float((f - decoded).square().mean()))
    assert method(batch)["loss"].item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_codes_start_at_kmeans_centres_and_actions_at_centres_of_codes(dataset: Dataset) -> None:
    method = built(dataset)
    x = method.embed(dataset.videos[0])
    nearest_code = torch.cdist(x, method.fine.codes[:, 0]).argmin(1)
    for k, code in enumerate(method.fine.codes[:, 0]):
        torch.testing.assert_close(code, x[nearest_code == k].mean(0), rtol=1e-3, atol=1e-4)
    apart = torch.cdist(method.actions.codes[:, 0], method.fine.codes[:, 0]).amin(1)
    assert float(apart.max()) < float(torch.cdist(x, x).max()) / 2


def block_cost(n: int, height: float = 1.0) -> tuple[Tensor, Tensor]:
    """(N, 4) cost that is 0 in the segment of each action, and the (N,) actions."""
    labels = in_order(LENGTHS, n)
    return height * (1.0 - F.one_hot(labels, 4).float()), labels


def test_fifa_finds_the_boundaries_of_a_block_cost() -> None:
    cost, labels = block_cost(200)
    found = fifa(cost, torch.full((4,), 0.25), 3000, 0.02, sharpness=100.0)
    torch.testing.assert_close(found, LENGTHS, atol=0.02, rtol=0)
    assert float((in_order(found, 200) == labels).float().mean()) > 0.95


def test_fifty_steps_move_boundaries_where_time_is_in_frames_and_hardly_where_it_is_the_video() -> None:
    """The two units of ``fifa_time`` with the published number and size of steps."""
    cost, _ = block_cost(200, 2.5)
    start = torch.full((4,), 0.25)
    in_frames, in_videos = (fifa(cost, start, 50, 0.6, sharpness) for sharpness in (0.1 * 200, 0.1))
    assert float((in_frames - LENGTHS).abs().max()) < 0.05
    torch.testing.assert_close(in_videos, start, atol=5e-3, rtol=0)


def test_fifa_takes_the_gradient_of_its_energy() -> None:
    """One step against differences of an energy that loops over frames and actions."""
    cost, start, s = torch.rand(9, 3, dtype=torch.float64), torch.tensor([0.2, 0.3, 0.4], dtype=torch.float64), 7.0

    def energy(log_lengths: Tensor) -> float:
        total, begin = 0.0, 0.0
        lengths = log_lengths.exp().tolist()
        for k, length in enumerate(lengths):
            for i in range(9):
                rise, fall = (1 / (1 + np.exp(-s * d)) for d in (i / 8 - begin, begin + length - i / 8))
                total += rise * fall * float(cost[i, k])
            begin += length
        return total / 27 + abs(sum(lengths) - 1)

    at = start.log()
    slope = [(energy(at + h) - energy(at - h)) / 2e-6 for h in torch.eye(3, dtype=torch.float64) * 1e-6]
    expected = (at - 0.1 * torch.tensor(slope, dtype=torch.float64)).exp()
    torch.testing.assert_close(fifa(cost, start, 1, 0.1, s), expected / expected.sum())


def test_an_action_that_a_video_does_not_have_gets_no_frame() -> None:
    cost, _ = block_cost(100)
    found = fifa(cost, torch.tensor([0.5, 0.0, 0.25, 0.25]), 50, 0.6, 10.0)
    assert 1 not in in_order(found, 100)


@pytest.mark.parametrize("n", [1, 4, 7, 100])
def test_actions_follow_one_another_and_fill_the_video(n: int) -> None:
    labels = in_order(LENGTHS, n)
    assert labels.shape == (n,) and labels.min() >= 0 and labels.max() <= 3
    assert bool((labels.diff() >= 0).all())


def test_actions_are_numbered_by_the_mean_time_of_their_frames(dataset: Dataset) -> None:
    method = built(dataset).eval()
    method.finalise(dataset, torch.Generator())
    frames: list[list[float]] = [[] for _ in range(dataset.n_actions)]
    for video in dataset.videos:
        for i, x in enumerate(method.embed(video)):
            z = nearest(x, method.fine.codes[:, 0])
            k = int(torch.stack([F.cosine_similarity(z, q, dim=0) for q in method.actions.codes[:, 0]]).argmax())
            frames[k].append(i / len(video))
    times = [np.mean(each) if each else 2.0 for each in frames]
    assert times == sorted(times)
    assert bool((method.segment(dataset.videos[0]).diff() >= 0).all())


def test_what_is_shown_outside_of_a_training_step_moves_no_code(dataset: Dataset) -> None:
    method = built(dataset).train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    batch = collate(dataset.videos, 1000, None)
    with torch.no_grad():
        method(batch)
    method.share = 0.0
    method(batch)
    method.end_step(lambda tensor, how: tensor)
    method.share = 1.0
    method(batch)
    method.begin_epoch(dataset, 1000, 0.0)
    method.end_step(lambda tensor, how: tensor)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    method(batch)
    method.end_step(lambda tensor, how: tensor)
    assert not torch.equal(method.fine.codes, before["fine.codes"])


def test_training_lowers_the_loss(dataset: Dataset) -> None:
    method = built(dataset)
    settings = TrainingSettings(epochs=6, batch_size=1, frames=1000)
    history = fit(method, dataset, settings, progress=False)
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]


def test_presets_have_the_published_values() -> None:
    config = make_config("toy", "hvq", "paper")
    training = config.training
    assert (training.epochs, training.batch_size, training.lr, config.encoder.out) == (20, 1, 1e-3, 32)
    assert config.hyper == Hierarchy(weight=0.002, decay=0.8, fine=2, fifa_steps=50, fifa_rate=0.6, fifa_sharpness=0.1)
    assert make_config("toy", "hvq", "release").hyper.fifa_time == "video"
    assert make_config("toy", "hvq", "paper", epochs=3).training.epochs == 3


def test_a_first_video_with_fewer_frames_than_codes_is_refused(dataset: Dataset) -> None:
    short = Dataset("short", (Video("a", torch.randn(9, 24)),), ("x", "y", "z", "u", "v", "w"), n_actions=6)
    method = build(make_config("toy", "hvq"), dataset)
    with pytest.raises(InputError, match="K is 6 but the first video has 9 frames; HVQ needs 12"):
        method.initialise(short, 100, torch.Generator())


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"decay": 1.5}, {"fine": 0}, {"fifa_time": "seconds"}])
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Hierarchy(**wrong)
