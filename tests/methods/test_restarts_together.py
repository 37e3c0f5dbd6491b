"""Restarts that are matched in one call of the solver, and the actions that they decide on in the end."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vasot_kit.experiments import segments
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.restarts import restarts
from vasot_lib.data import Batch, Dataset, collate, toy
from vasot_lib.errors import InputError
from vasot_lib.methods import Method
from vasot_lib.methods.asot import ASOT
from vasot_lib.methods.base import ActionEmbeddings
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


def found(members: list[torch.Tensor], features: torch.Tensor, dataset: Dataset) -> tuple[Method, Dataset]:
    """Two finished restarts that gave all recordings the segmentations ``members``, embeddings being the features."""
    config = make_config("toy", "asot", "auto", overrides={"restarts": 2, "encoder.out": 8}, recordings=dataset)
    method: Any = build(config, dataset)
    videos = [
        replace(v, features=each, labels=v.labels[: len(each)], position=None)
        for v, each in zip(dataset.videos, features, strict=True)
    ]
    for member, labels in zip(method.members, members, strict=True):
        member.embed_whole = lambda features, mask: F.normalize(features, dim=-1)
        member.decode = lambda x, mask, labels=labels: labels[None]
        member.times.counts.fill_(1)
    data = replace(dataset, videos=tuple(videos))
    method.finalise(data, torch.Generator())
    return method, data


def noisy(actions: torch.Tensor, dataset: Dataset) -> torch.Tensor:
    """(V, N, 8) features of recordings in which each action is a direction of its own, and noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(dataset.videos), len(actions), 8, generator=generator)
    return torch.eye(K, 8)[actions] + 0.05 * noise


def means(method: Method, data: Dataset, labels: torch.Tensor) -> torch.Tensor:
    frames = torch.stack([method.embed(video) for video in data.videos])
    return F.normalize(torch.stack([frames[:, labels == k].mean((0, 1)) for k in range(K)]), dim=1)


def test_right_actions_get_the_means_of_their_frames(dataset: Dataset) -> None:
    truth = torch.arange(K).repeat_interleave(LENGTH)
    method, data = found([truth, truth], noisy(truth, dataset), dataset)
    assert method.agreement == 1
    torch.testing.assert_close(method.actions.weight, means(method, data, truth))
    assert all((method.segment(video) == truth).all() for video in data.videos)


def test_a_wrong_vote_gives_way_to_the_segments_that_recordings_share(dataset: Dataset) -> None:
    truth, apart = torch.arange(K).repeat_interleave(LENGTH), torch.arange(K * LENGTH) % K
    method, data = found([apart, apart], noisy(truth, dataset), dataset)
    assert all(len({*zip(method.segment(v).tolist(), truth.tolist(), strict=True)}) == K for v in data.videos)
    # When each action happens is counted from the new actions, not from the vote.
    assert (method.times.counts > 0).sum() < 1.5 * method.times.counts.shape[1]


def test_a_vote_that_stands_counts_all_recordings_not_those_that_are_linked(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_RECORDINGS", 2)
    truth = torch.arange(K).repeat_interleave(LENGTH)
    features = noisy(truth, dataset)
    features[1, 2 * LENGTH :, 5] += 2  # the last action looks different in the second recording, which is not linked
    method, data = found([truth, truth], features, dataset)
    torch.testing.assert_close(method.actions.weight, means(method, data, truth))


def test_an_action_that_no_frame_has_keeps_its_embedding() -> None:
    actions = ActionEmbeddings(K, 8)
    before = actions.weight[2].clone()
    actions.set_means(torch.cat([torch.ones(2, 8), torch.zeros(1, 8)]))
    torch.testing.assert_close(actions.weight[2], before)
    torch.testing.assert_close(actions.weight.norm(dim=1), torch.ones(K))


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
    with pytest.raises(InputError, match="restarts is 2 but 'asot' cannot have any"):
        restarts(members)
    with pytest.raises(InputError, match="restarts is 1 for 'asot'; give at least 2"):
        restarts(members[:1])
    with pytest.raises(InputError, match="restarts is 0; give at least 2"):
        restarts([])
