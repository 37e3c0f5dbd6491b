"""Action embeddings and segmentations that settle, and restarts that are matched in one call of the solver."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.restarts import restarts
from vasot_lib.data import Batch, Dataset, collate, toy
from vasot_lib.errors import InputError
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


def clear(dataset: Dataset, agreement: float) -> tuple[Method, Dataset, torch.Tensor]:
    """Restarts whose embeddings are the features, recordings of K actions in one order, the actions of a recording."""
    config = make_config("toy", "asot", "auto", overrides={"restarts": 2, "encoder.out": 4}, recordings=dataset)
    method = build(config, dataset)
    width = method.actions.weight.shape[1]
    method.__class__ = type(
        "AsTheyAre", (type(method),), {"embed": lambda self, video: F.normalize(video.features, dim=1)}
    )
    method.agreement.fill_(agreement)
    truth = torch.arange(K).repeat_interleave(LENGTH)
    generator = torch.Generator().manual_seed(0)
    videos = []
    for video in dataset.videos:
        features = torch.eye(K, width)[truth] + 0.05 * torch.randn(len(truth), width, generator=generator)
        videos.append(replace(video, features=features, labels=truth, position=None))
    return method, replace(dataset, videos=tuple(videos)), truth


def wrong(truth: torch.Tensor) -> torch.Tensor:
    labels = truth.clone()
    labels[LENGTH : LENGTH + 8] = 0
    labels[2 * LENGTH - 6 : 2 * LENGTH] = 2
    return labels


def means(method: Method, data: Dataset, labels: torch.Tensor) -> torch.Tensor:
    frames = torch.stack([method.embed(video) for video in data.videos])
    return F.normalize(torch.stack([frames[:, labels == k].mean((0, 1)) for k in range(K)]), dim=1)


@pytest.mark.parametrize("agreement", [0.0, 1.0])
def test_right_actions_get_the_means_of_their_frames_and_stay(dataset: Dataset, agreement: float) -> None:
    method, clean, truth = clear(dataset, agreement)
    method.settle(clean, truth.repeat(len(clean.videos)))
    torch.testing.assert_close(method.actions.weight, means(method, clean, truth))
    assert all((method.segment(video) == truth).all() for video in clean.videos)


def test_boundaries_in_the_wrong_place_move_to_the_right_one(dataset: Dataset) -> None:
    method, clean, truth = clear(dataset, 0.3)
    method.settle(clean, wrong(truth).repeat(len(clean.videos)))
    torch.testing.assert_close(method.actions.weight, means(method, clean, truth))


def test_where_restarts_agree_their_segmentation_stands(dataset: Dataset) -> None:
    method, clean, truth = clear(dataset, 0.9)
    method.settle(clean, wrong(truth).repeat(len(clean.videos)))
    torch.testing.assert_close(method.actions.weight, means(method, clean, wrong(truth)))


def test_an_action_that_no_frame_has_keeps_its_embedding(dataset: Dataset) -> None:
    method, _, _ = clear(dataset, 0.3)
    before = method.actions.weight[2].clone()
    method.actions.set_means(torch.cat([torch.ones(2, before.shape[0]), torch.zeros(1, before.shape[0])]))
    torch.testing.assert_close(method.actions.weight[2], before)
    torch.testing.assert_close(method.actions.weight.norm(dim=1), torch.ones(K))


@pytest.mark.parametrize("method", ["vaot", "asot", "vasot"])
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
    weights = [weight for weight in together.members.parameters() if weight.requires_grad]
    ours = torch.autograd.grad(found["loss"], weights, allow_unused=True)
    theirs = torch.autograd.grad(torch.stack([terms["loss"] for terms in each]).sum(), weights, allow_unused=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("method", ["asot", "vasot"])
def test_a_batch_in_parts_trains_all_restarts_as_a_whole_one(dataset: Dataset, method: str) -> None:
    values = {"restarts": 2, "training.batch_size": 4}
    whole, parts = (model(method, dataset, **values, **{"training.accumulate": count}) for count in (1, 2))
    for one, other in zip(whole.members.parameters(), parts.members.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("clot", {}),
        ("clot", {"hyper.dispatch": "none", "hyper.w_segment": 0.0, "hyper.w_refine": 0.0}),
        ("peot", {}),
        ("rgwot", {}),
        ("vasot", {"hyper.weights": "learned"}),
    ],
)
def test_losses_of_another_kind_are_computed_one_after_another(
    dataset: Dataset, method: str, values: dict[str, object]
) -> None:
    together = model(method, dataset, restarts=2, **values)
    assert not together.as_one
    assert torch.isfinite(together(collate(dataset.videos, 24, None))["loss"])


def test_a_loss_of_ones_own_gets_the_members_actions(dataset: Dataset) -> None:
    class Mine(ASOT):
        def loss_terms(self, embedded: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
            return {"loss": (embedded @ self.actions.weight.T).mean()}

    members = []
    for seed in (0, 1):
        config = make_config("toy", "asot", "kit", seed=seed, recordings=dataset)
        member = build(config, dataset)
        member.__class__ = Mine
        members.append(member)
    together, batch = restarts(members), collate(dataset.videos, 24, None)
    assert together(batch)["loss"].item() == pytest.approx(sum(member(batch)["loss"].item() for member in members))


def test_who_computes_something_after_each_step_cannot_be_restarted(dataset: Dataset) -> None:
    class Following(ASOT):
        def end_step(self, reduce: object) -> None:
            """Something."""

    members = [build(make_config("toy", "asot", "kit", recordings=dataset), dataset) for _ in range(2)]
    for member in members:
        member.__class__ = Following
    with pytest.raises(InputError, match="2 restarts of 'asot'"):
        restarts(members)
