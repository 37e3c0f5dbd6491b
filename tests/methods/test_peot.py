"""PEOT: smoothing and loss against loops from the formulas, what is drawn, learning rates, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vasot_kit.experiments.config import make_config
from vasot_kit.methods.peot import PEOT, ProbabilisticTerm, smooth
from vasot_lib.data import Dataset, collate, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.evaluation import score_segmentation
from vasot_lib.training import TrainingSettings, fit
from vasot_lib.transport import Segmentation


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lengths(*real: int) -> torch.Tensor:
    return torch.arange(max(real)) < torch.tensor(real)[:, None]


def adjacency(x: np.ndarray) -> np.ndarray:
    """(N, N) A^ of one video, entry by entry."""
    n = len(x)
    a = np.zeros((n, n))
    for i in range(n):
        for j in range(max(0, i - 1), min(n, i + 2)):
            a[i, j] = (x[i] @ x[j] + 1) / 2
    degree = [sum(a[i]) for i in range(n)]
    return np.array([[a[i, j] / np.sqrt(degree[i] * degree[j]) for j in range(n)] for i in range(n)])


def test_smoothing_equals_the_product_with_the_adjacency_matrix() -> None:
    x, values, real = F.normalize(random(3, 9, 4), dim=2), random(3, 9, 4, seed=1), (9, 6, 1)
    found = smooth(values, x, lengths(*real))
    for b, n in enumerate(real):
        np.testing.assert_allclose(found[b, :n], adjacency(x[b, :n].numpy()) @ values[b, :n].numpy(), rtol=1e-12)


def test_smoothing_has_the_right_gradients() -> None:
    x, values = random(2, 5, 3).requires_grad_(), random(2, 5, 3, seed=1).requires_grad_()
    mask = lengths(5, 3)
    assert torch.autograd.gradcheck(lambda v, f: smooth(v, F.normalize(f, dim=2), mask), (values, x))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=12, seed=0)


def built(dataset: Dataset, seed: int = 0, **hyper: object) -> PEOT:
    torch.manual_seed(seed)
    method = PEOT(MLPEncoder(dataset.feature_dim), dataset.n_actions, ProbabilisticTerm(**hyper))
    method.initialise(dataset, 64, torch.Generator().manual_seed(seed))
    return method


@pytest.mark.parametrize("smoothed", [True, False])
def test_loss_equals_loops_over_samples_videos_and_frames(smoothed: bool, dataset: Dataset) -> None:
    """Every sample of every video by itself, with a plan of its own."""
    recipe = Segmentation(radius=0.1)
    method = built(dataset, samples=2, smooth=smoothed, transport=recipe, tau=0.2)
    batch = collate(dataset.videos[:3], 150, None)
    noise = method.noise(batch, torch.zeros(3, batch.mask.shape[1], 40))
    losses = []
    with torch.no_grad():
        actions = F.normalize(method.actions.weight, dim=1)
        for b, n in enumerate(batch.mask.sum(1).tolist()):
            x = method.encoder(batch.features[b, :n])
            a = torch.from_numpy(adjacency(x.numpy())).float() if smoothed else torch.eye(n)
            mu = a @ (x @ method.mean.weight.T + method.mean.bias)
            sigma = (a @ (x @ method.log_sigma.weight.T + method.log_sigma.bias)).exp()
            for s in range(2):
                z = F.normalize(mu + noise[s, b, :n] * sigma, dim=1)
                targets = recipe.match(z[None], actions, torch.ones(1, n, dtype=torch.bool))[0][0]
                p = (z @ actions.T / 0.2).softmax(1)
                losses.append(float(-(targets * p.log()).sum(1).mean()))
    assert method(batch)["loss"].item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_after_training_a_frame_is_the_middle_of_its_gaussian(dataset: Dataset) -> None:
    method, video = built(dataset), dataset.videos[0]
    x = method.encoder(video.features)
    expected = torch.from_numpy(adjacency(x.detach().numpy())).float() @ method.mean(x)
    torch.testing.assert_close(method.embed(video), F.normalize(expected, dim=1), rtol=1e-4, atol=1e-5)


def test_what_is_drawn_follows_from_the_video_and_the_seed_and_not_from_the_batch(dataset: Dataset) -> None:
    method = built(dataset)
    like = torch.zeros(3, 64, 40)
    torch.manual_seed(1)
    together = method.noise(collate(dataset.videos[:3], 64, None), like)
    assert together.shape == (3, 3, 64, 40)
    assert abs(float(together.mean())) < 0.02 and float(together.std()) == pytest.approx(1, abs=0.02)
    alone = collate(dataset.videos[:3], 64, None)
    alone.videos = torch.tensor([1])
    torch.testing.assert_close(method.noise(alone, like[:1])[:, 0], together[:, 1])
    torch.manual_seed(2)
    assert not torch.equal(method.noise(alone, like[:1])[:, 0], together[:, 1])


def test_without_samples_the_loss_is_that_of_the_means(dataset: Dataset) -> None:
    method, batch = built(dataset, samples=0), collate(dataset.videos[:2], 64, None)
    assert method.log_sigma is None
    expected, _ = method.hyper.loss(method.embed_frames(batch.features, batch.mask), method.actions.weight, batch.mask)
    torch.testing.assert_close(method(batch)["loss"], expected)


@pytest.mark.parametrize(("given", "expected"), [(1e-5, 1e-5), (None, 1e-2)])
def test_actions_have_a_learning_rate_of_their_own(given: float | None, expected: float, dataset: Dataset) -> None:
    """Adam's first step moves every weight by its learning rate."""
    method = built(dataset, actions_lr=given, actions="random")
    before = {name: value.clone() for name, value in method.state_dict().items()}
    settings = TrainingSettings(epochs=1, batch_size=2, frames=64, lr=1e-2)
    fit(method, replace(dataset, videos=dataset.videos[:2]), settings, progress=False)
    moved = {name: float((value - before[name]).abs().max()) for name, value in method.state_dict().items()}
    assert moved["mean.weight"] == pytest.approx(1e-2, rel=0.01)
    assert moved["actions.weight"] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("wrong", [{"samples": -1}, {"actions_lr": 0.0}, {"tau": 0.0}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is"):
        ProbabilisticTerm(**wrong)


def test_published_values_are_those_of_the_release() -> None:
    desktop, tea = (make_config(name, "peot", "paper") for name in ("desktop_assembly", "breakfast/tea"))
    assert (desktop.hyper.samples, desktop.hyper.actions_lr, desktop.training.lr) == (1, 1e-3, 5e-3)
    assert (desktop.hyper.transport.radius, desktop.hyper.decode.radius) == (0.01, 0.01)
    assert (tea.hyper.samples, tea.hyper.transport.rho, tea.hyper.decode.alpha, tea.training.epochs) == (
        3,
        0.2,
        0.7,
        15,
    )
    assert make_config("mocap6", "peot", "kit").hyper.transport.radius == 0.04


def test_training_beats_the_untrained_encoder(dataset: Dataset) -> None:
    def mof(method: PEOT) -> float:
        predictions = [method.segment(video).numpy() for video in dataset.videos]
        return score_segmentation(predictions, [video.labels.numpy() for video in dataset.videos], None)["mof"]

    method = built(dataset, actions_lr=1e-3, actions="kmeans_in_order")
    before = mof(method)
    history = fit(method, dataset, TrainingSettings(epochs=15, frames=64, lr=3e-3), progress=False)
    assert history[-1]["loss"] < history[0]["loss"]
    assert mof(method) > before
