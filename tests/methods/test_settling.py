"""Action embeddings and segmentations that settle, and restarts that are matched in one call of the solver."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vasot_kit.experiments.config import build, make_config
from vasot_lib.data import Dataset, Video, collate, toy
from vasot_lib.methods import Method
from vasot_lib.methods.asot import ASOT
from vasot_lib.training import fit

K, LENGTH = 3, 20


def model(method: str, dataset: Dataset, preset: str = "auto", epochs: int = 2, **overrides: object) -> Method:
    names = {"training.frames": 32, "encoder.hidden": 8, "encoder.out": 4, **overrides}
    config = make_config("toy", method, preset, epochs=epochs, overrides=names, recordings=dataset)
    built = build(config, dataset)
    fit(built, dataset, config.training, progress=False)
    return built


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, n_steps=3, seed=1)


class AsTheyAre(ASOT):
    """ASOT whose embeddings are the features."""

    def embed(self, video: Video) -> torch.Tensor:
        return F.normalize(video.features, dim=1)


def clear(dataset: Dataset) -> tuple[AsTheyAre, Dataset, torch.Tensor]:
    """Recordings of K actions, each in a direction of its own, in one order; and the true actions of a recording."""
    config = make_config("toy", "asot", "auto", overrides={"restarts": 1}, recordings=dataset)
    method = build(config, dataset)
    method.__class__ = AsTheyAre
    truth = torch.arange(K).repeat_interleave(LENGTH)
    generator = torch.Generator().manual_seed(0)
    directions = torch.eye(K, method.encoder.n_out)
    videos = [
        replace(
            video,
            features=directions[truth]
            + 0.05 * torch.randn(len(truth), 40, generator=generator)[:, : method.encoder.n_out],
            labels=truth,
            position=None,
        )
        for video in dataset.videos
    ]
    return method, replace(dataset, videos=tuple(videos)), truth


def test_actions_reach_the_means_of_their_frames(dataset: Dataset) -> None:
    method, clean, truth = clear(dataset)
    method.settle(clean, [truth] * len(clean.videos))
    means = torch.stack([torch.cat([method.embed(v)[truth == k] for v in clean.videos]).mean(0) for k in range(K)])
    torch.testing.assert_close(method.actions.weight, F.normalize(means, dim=1))
    assert all((method.segment(video) == truth).all() for video in clean.videos)


def test_a_boundary_in_the_wrong_place_moves_to_the_right_one(dataset: Dataset) -> None:
    method, clean, truth = clear(dataset)
    wrong = truth.clone()
    wrong[LENGTH : LENGTH + 8] = 0
    wrong[2 * LENGTH - 6 : 2 * LENGTH] = 2
    method.settle(clean, [wrong] * len(clean.videos))
    assert all((method.segment(video) == truth).all() for video in clean.videos)


def test_an_action_that_no_frame_has_keeps_its_embedding(dataset: Dataset) -> None:
    method, clean, truth = clear(dataset)
    before = method.actions.weight[2].clone()
    method.actions.set_means(torch.cat([torch.ones(2, before.shape[0]), torch.zeros(1, before.shape[0])]))
    torch.testing.assert_close(method.actions.weight[2], before)
    torch.testing.assert_close(method.actions.weight.norm(dim=1), torch.ones(K))


def test_a_single_training_settles_where_the_prior_was_learnt_and_only_there(dataset: Dataset) -> None:
    settled = model("asot", dataset, epochs=3, restarts=1)
    weight = settled.actions.weight.detach().clone()
    settled.settle(dataset, [settled.segment(video) for video in dataset.videos])
    assert (F.cosine_similarity(weight, settled.actions.weight) > 0.99).all()
    plain = model("asot", dataset, "kit", epochs=3)
    frames = torch.cat([plain.embed(video) for video in dataset.videos])
    found = F.one_hot(torch.cat([plain.segment(video) for video in dataset.videos]), K).float()
    assert (F.cosine_similarity(found.T @ frames, plain.actions.weight) < 0.999).any()


@pytest.mark.parametrize("method", ["vaot", "asot", "vasot", "rgwot"])
def test_all_restarts_at_once_have_the_losses_of_one_after_another(dataset: Dataset, method: str) -> None:
    together = model(method, dataset, restarts=3)
    assert together.as_one
    batch = collate(dataset.videos, 24, None)
    short = batch.mask.clone()
    short[1, 20:] = False
    batch = replace(batch, mask=short)
    found, each = together(batch), [member(batch) for member in together.members]
    assert found["loss"].item() == pytest.approx(sum(terms["loss"].item() for terms in each), rel=1e-5)
    for name in found.keys() - {"loss"}:
        assert found[name].item() == pytest.approx(sum(terms[name].item() for terms in each) / 3, rel=1e-5)


@pytest.mark.parametrize(("method", "values"), [("clot", {}), ("peot", {}), ("vasot", {"hyper.weights": "learned"})])
def test_who_has_parameters_of_its_own_goes_one_after_another(
    dataset: Dataset, method: str, values: dict[str, object]
) -> None:
    together = model(method, dataset, restarts=2, **values)
    assert not together.as_one
    assert torch.isfinite(together(collate(dataset.videos, 24, None))["loss"])
