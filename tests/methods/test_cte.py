"""CTE: the regression against loops, the decoding against trying every cut, and that it learns."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import evaluate
from vasot_kit.methods import METHODS
from vasot_kit.methods.cte import CTE, TemporalEmbedding
from vasot_lib.data import Batch, Dataset, Video, collate, toy
from vasot_lib.errors import InputError
from vasot_lib.training import fit, load_checkpoint


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "cte", CTE)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=3, seed=3)


class Features(nn.Module):
    """An encoder that leaves the features as they are."""

    def __init__(self, dim: int):
        super().__init__()
        self.n_out = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def on_features(dim: int, k: int, seed: int = 0) -> CTE:
    torch.manual_seed(seed)
    return CTE(Features(dim), k, TemporalEmbedding())  # type: ignore[arg-type]


def padded(lengths: tuple[int, ...], dim: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    videos = [Video(f"v{n}", torch.randn(n, dim, generator=generator)) for n in lengths]
    return collate(videos, None, None)


def clusters_in_order(lengths: tuple[tuple[int, ...], ...], apart: float = 10.0) -> Dataset:
    """Videos whose frames lie around points on a line, one after another; the first points come last in space."""
    rng = np.random.default_rng(0)
    videos = []
    for number, sizes in enumerate(lengths):
        labels = np.repeat(np.arange(len(sizes)), sizes)
        features = rng.normal(size=(len(labels), 2)) + np.stack([-apart * labels, 0.0 * labels], 1)
        videos.append(Video(f"v{number}", torch.from_numpy(features).float(), torch.from_numpy(labels)))
    k = len(lengths[0])
    return Dataset("lines", tuple(videos), tuple("abcdefgh"[:k]), n_actions=k)


def finalised(data: Dataset, seed: int = 0) -> CTE:
    method = on_features(data.feature_dim, data.n_actions)
    method.finalise(data, torch.Generator().manual_seed(seed))
    return method


def test_loss_equals_loops_with_padding() -> None:
    method, batch = on_features(4, 3).double(), padded((7, 4), 4)
    batch.features = batch.features.double()
    weight, bias = method.head.weight[0].tolist(), float(method.head.bias.detach())
    expected = 0.0
    for b, n in enumerate((7, 4)):
        for i in range(n):
            hidden = 1.0 / (1.0 + np.exp(-batch.features[b, i].numpy()))
            predicted = sum(w * h for w, h in zip(weight, hidden, strict=True)) + bias
            expected += (predicted - i / n) ** 2 / n / 2
    assert method(batch)["loss"].item() == pytest.approx(expected, rel=1e-12)


def test_loss_is_zero_for_an_embedding_that_tells_the_time() -> None:
    method = on_features(1, 2)
    time = torch.arange(50) / 50
    video = Video("clock", torch.logit(time.clamp(1e-7))[:, None])
    with torch.no_grad():
        method.head.weight.fill_(1.0)
        method.head.bias.fill_(0.0)
    assert method(collate([video], None, None))["loss"].item() < 1e-10


def test_every_parameter_takes_part_and_embeddings_keep_their_length(dataset: Dataset) -> None:
    method = build(make_config("toy", "cte", "paper"), dataset)
    method(collate(dataset.videos, 64, None))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())
    assert method.embed(dataset.videos[0]).norm(dim=1).std() > 0.01


def test_actions_are_numbered_by_the_time_at_which_they_happen() -> None:
    data = clusters_in_order(((30, 10, 20), (12, 24, 9)))
    for seed in range(3):  # K-means numbers its clusters at random
        method = finalised(data, seed)
        assert (method.means[:, 0].diff() < 0).all()
        for video in data.videos:
            assert video.labels is not None and torch.equal(method.segment(video), video.labels)


def test_gaussians_are_mean_and_covariance_of_the_frames_of_an_action() -> None:
    data = clusters_in_order(((30, 10, 20), (12, 24, 9)))
    method = finalised(data)
    frames, labels = torch.cat([v.features for v in data.videos]).double(), torch.cat([v.labels for v in data.videos])
    for k in range(3):
        members = frames[labels == k]
        off = members - members.mean(0)
        torch.testing.assert_close(method.means[k].double(), members.mean(0), rtol=1e-5, atol=1e-5)
        covariance = (method.cholesky_factors[k] @ method.cholesky_factors[k].T).double()
        expected = off.T @ off / len(members) + 1e-4 * torch.eye(2)
        torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-5)


def test_segmentation_is_the_likeliest_of_all_cuts() -> None:
    """Overlapping clusters, so that the cut is not obvious; all cuts of 14 frames into 3 actions are tried."""
    data = clusters_in_order(((30, 25, 20), (12, 24, 19), (5, 4, 5)), apart=1.5)
    method = finalised(data)
    video = data.videos[2]
    likelihood = np.stack(
        [
            multivariate_normal(mean.numpy(), (scale @ scale.T).numpy()).logpdf(video.features.numpy())
            for mean, scale in zip(method.means.double(), method.cholesky_factors.double(), strict=True)
        ]
    )
    cuts = list(combinations(range(1, 14), 2))
    score = [likelihood[0, :a].sum() + likelihood[1, a:b].sum() + likelihood[2, b:].sum() for a, b in cuts]
    a, b = cuts[int(np.argmax(score))]
    assert method.segment(video).tolist() == [0] * a + [1] * (b - a) + [2] * (14 - b)


def test_generator_alone_decides_and_checkpoints_hold_the_actions(dataset: Dataset, tmp_path: Path) -> None:
    config = make_config("toy", "cte", "paper", overrides={"training.epochs": 1, "training.frames": 32})
    first, again, loaded = (build(config, dataset) for _ in range(3))
    fit(first, dataset, config.training, checkpoint=tmp_path / "w.safetensors", progress=False)
    fit(again, dataset, config.training, progress=False)
    load_checkpoint(tmp_path / "w.safetensors", loaded)
    for video in dataset.videos:
        found = first.segment(video)
        assert torch.equal(found, again.segment(video)) and torch.equal(found, loaded.segment(video))
        assert found[0] == 0 and found[-1] == dataset.n_actions - 1 and found.diff().unique().tolist() == [0, 1]


def test_it_learns() -> None:
    """Margins of trained over untrained encoder seen over 8 seeds: .13 to .29."""
    data = toy()
    for seed in range(3):
        mof = []
        for epochs in (0, 40):
            overrides = {"training.frames": 64}
            config = make_config("toy", "cte", "paper", seed=seed, epochs=epochs, overrides=overrides)
            method = build(config, data)
            history = fit(method, data, config.training, progress=False)
            mof.append(evaluate(method, data)["mof"])
        assert history[-1]["loss"] < 0.3 * history[0]["loss"]
        assert mof[1] > mof[0] + 0.08


def test_ridge_has_to_be_positive() -> None:
    with pytest.raises(InputError, match="ridge is 0.0; it must be a finite number above 0"):
        TemporalEmbedding(ridge=0.0)


def test_segment_before_the_training_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"call fit\(\) before segment\(\)"):
        build(make_config("toy", "cte", "paper"), dataset).segment(dataset.videos[0])


def test_embeddings_that_collapsed_are_refused() -> None:
    data = Dataset("still", (Video("v", torch.ones(20, 3)),), n_actions=4)
    with pytest.raises(InputError, match=r"K is 4 but the embeddings of all frames have 1 different value"):
        finalised(data)


def test_a_video_shorter_than_the_order_is_refused() -> None:
    data = clusters_in_order(((1, 10, 10),))
    short = Video("short", data.videos[0].features[:2])
    with pytest.raises(InputError, match="video 'short' has 2 frames, too few for 3 actions in order; drop it"):
        finalised(data).segment(short)


def test_a_single_frame_may_be_an_action() -> None:
    data = clusters_in_order(((1, 10, 10),))
    method = finalised(data)
    torch.testing.assert_close(method.cholesky_factors[0], 0.01 * torch.eye(2))
    assert torch.equal(method.segment(data.videos[0]), data.videos[0].labels)
