"""Every method behind the one interface, and what is particular to each."""

from __future__ import annotations

import pytest
import torch

from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import evaluate
from vasot_kit.methods import METHODS, find_method
from vasot_kit.methods.checking import check_method
from vasot_lib.data import Batch, Dataset, Video, collate, epoch_batch_parts, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.methods import ActionEmbeddings, Method
from vasot_lib.methods.vasot import UNCERTAINTY_SCALE, gradient_weights
from vasot_lib.training import fit

TASKS = ("alignment", "segmentation")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, seed=3)


def built(name: str, dataset: Dataset, **overrides: object) -> Method:
    overrides = {"training.frames": 64, **{key.replace("__", "."): value for key, value in overrides.items()}}
    method = build(make_config("toy", name, "paper", overrides=overrides), dataset)
    method.initialise(dataset, 64, torch.Generator().manual_seed(0))
    return method


def first_batch(dataset: Dataset, paired: bool) -> Batch:
    ((whole, _),) = next(epoch_batch_parts(dataset, 64, 4, paired, torch.Generator().manual_seed(0)))
    return whole


@pytest.mark.parametrize("name", METHODS)
def test_every_method_passes_the_test_kit(name: str) -> None:
    learnt = ["loss", "masks", "parts", "seeds", "replays", "resume"] if METHODS[name].learns else []
    passed = check_method(METHODS[name])
    assert passed[: 2 + len(learnt)] == ["interface", "shapes", *learnt]


def gain(name: str, data: Dataset, epochs: int, seed: int) -> float:
    """What training adds to AP@5."""

    def score(epochs: int) -> float:
        config = make_config("toy", name, seed=seed, epochs=epochs)
        method = build(config, data)
        fit(method, data, config.training, progress=False)
        return evaluate(method, data)["ap_5"]

    return score(epochs) - score(0)


@pytest.mark.parametrize(("name", "epochs"), [("lav", 30), ("vava", 8), ("vaot", 8), ("vasot", 8)])
def test_alignment_is_learnt_on_toy(name: str, epochs: int) -> None:
    """Seen over seeds 0 to 2: .41 to .51."""
    assert gain(name, toy(), epochs, seed=0) > 0.3


@pytest.mark.parametrize(("name", "margin"), [("tcc", 0.05), ("gtcc", 0.1)])
def test_alignment_is_learnt_where_videos_share_their_looks(name: str, margin: float) -> None:
    """The mean of three seeds, seen: tcc .17 .05 .11, gtcc .31 .11 .25. Where styles differ more, both learn little."""
    data = toy(n_videos=6, style=0.5)
    assert sum(gain(name, data, epochs=20, seed=seed) for seed in range(3)) / 3 > margin


@pytest.mark.parametrize("name", ["vaot", "vasot"])
def test_frames_that_go_to_the_dummy_have_no_partner(name: str, dataset: Dataset) -> None:
    """They once got the largest of what was left in their row, an arbitrary frame."""
    directions = torch.eye(12)[:, :8]  # eight actions; the first three frames of X show none of them
    y = Video("y", directions[:8].repeat_interleave(5, 0))
    x = Video("x", torch.cat((-torch.ones(3, 8), y.features)))
    key = "hyper.transport" if name == "vaot" else "hyper.alignment.transport"
    method = built(name, dataset, **{f"{key}.dummy_mass": 0.3, f"{key}.epsilon": 0.03})
    method.embed_whole = lambda features, mask: torch.nn.functional.normalize(features, dim=2)  # type: ignore[method-assign]
    matches, share = method.align(x, y), method.dummy_share(x, y)
    assert matches[:3].tolist() == [-1, -1, -1] and (share[:3] > 0.9).all()
    assert torch.equal(matches[3:] // 5, torch.arange(40) // 5) and (share[3:] < 0.5).all()


@pytest.mark.parametrize(("name", "wrong"), [("asot", "align"), ("vaot", "segment")])
def test_a_task_that_a_method_is_not_made_for_is_refused(name: str, wrong: str, dataset: Dataset) -> None:
    method = built(name, dataset)
    with pytest.raises(InputError, match=f"method '{name}' does not {wrong}"):
        method.align(*dataset.videos[:2]) if wrong == "align" else method.segment(dataset.videos[0])


def test_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(InputError) as refusal:
        find_method("vasto")
    assert str(refusal.value) == f"unknown method 'vasto' (did you mean 'vasot'?); known: {', '.join(sorted(METHODS))}"


def test_vasot_is_the_weighted_sum_of_both_losses(dataset: Dataset) -> None:
    batch = first_batch(dataset, paired=True)
    both = built("vasot", dataset)(batch)
    only_align = built("vasot", dataset, hyper__w_seg=0.0)(batch)
    only_segment = built("vasot", dataset, hyper__w_align=0.0)(batch)
    torch.testing.assert_close(both["loss"], both["alignment"] + both["segmentation"])
    torch.testing.assert_close(only_align["loss"], both["alignment"])
    torch.testing.assert_close(only_segment["loss"], both["segmentation"])


def test_learned_weights_are_best_at_one_over_each_loss(dataset: Dataset) -> None:
    """exp(-s) L + s is least at s = log L, where it is 1 + log L; training starts at s = 0, from the fixed weights."""
    batch = first_batch(dataset, paired=True)
    fixed = built("vasot", dataset, hyper__w_align=8.0)(batch)
    method = built("vasot", dataset, hyper__w_align=8.0, hyper__weights="learned")
    torch.testing.assert_close(method(batch)["loss"], fixed["loss"])
    losses = torch.stack([fixed["alignment"], fixed["segmentation"]]).detach()
    with torch.no_grad():
        method.uncertainty.copy_(losses.log() / UNCERTAINTY_SCALE)
    best = method(batch)["loss"]
    torch.testing.assert_close(best, (1 + losses.log()).sum())
    best.backward()
    torch.testing.assert_close(method.uncertainty.grad, torch.zeros(2), atol=1e-4, rtol=0)


def test_a_gradient_loses_what_is_against_the_other_one() -> None:
    one, other = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    weights = gradient_weights(torch.stack([one, other]), "pcgrad")
    projected = [a - (a @ b) / (b @ b) * b for a, b in ((one, other), (other, one))]
    torch.testing.assert_close(weights[0] * one + weights[1] * other, projected[0] + projected[1])
    agreeing = torch.stack([one, -other])
    torch.testing.assert_close(gradient_weights(agreeing, "pcgrad"), torch.ones(2))


def test_the_bargain_of_both_gradients_is_struck() -> None:
    """Nash-MTL's condition: the product of all gradients with the step is one over the weights."""
    gradients = torch.randn(2, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients[1] *= 7
    weights = gradient_weights(gradients, "nash")
    torch.testing.assert_close(gradients @ (weights @ gradients), 1 / weights)


@pytest.mark.parametrize("how", ["pcgrad", "nash"])
def test_both_losses_are_weighed_by_their_gradients(dataset: Dataset, how: str) -> None:
    batch = first_batch(dataset, paired=True)
    method = built("vasot", dataset, hyper__w_align=8.0, hyper__weights=how)
    embedded = method.embed_frames(batch.features, batch.mask)
    terms = method.loss_terms(embedded, batch)
    gradients = [torch.autograd.grad(terms[name], embedded, retain_graph=True)[0].flatten() for name in TASKS]
    weights = gradient_weights(torch.stack(gradients), how)
    torch.testing.assert_close(terms["loss"], weights @ torch.stack([terms[name] for name in TASKS]))
    terms["loss"].backward()
    with torch.no_grad():
        assert method(batch)["loss"].isfinite()


def test_vasot_segmentation_loss_is_the_sum_over_both_videos(dataset: Dataset) -> None:
    batch = first_batch(dataset, paired=True)
    method = built("vasot", dataset)
    term = method.hyper.segmentation
    x, actions = method.encoder(batch.features), method.actions.weight
    halves = [term.loss(x[rows::2], actions, batch.mask[rows::2])[0] for rows in (0, 1)]
    torch.testing.assert_close(method(batch)["segmentation"], sum(halves))


def test_kmeans_actions_are_unit_length_and_lie_among_the_frames(dataset: Dataset) -> None:
    torch.manual_seed(0)
    encoder, actions = MLPEncoder(dataset.feature_dim), ActionEmbeddings(5, 40)
    actions.initialise(encoder, dataset, 64, torch.Generator().manual_seed(1))
    torch.testing.assert_close(actions.weight.norm(dim=1), torch.ones(5))
    batch = collate(dataset.videos, 64, None)
    nearest = (encoder(batch.features)[batch.mask] @ actions.weight.T).amax(0)
    assert (nearest > 0.8).all()


def test_renormalise_puts_actions_back_on_the_sphere() -> None:
    actions = ActionEmbeddings(3, 4)
    with torch.no_grad():
        actions.weight.mul_(3.0)
    actions.renormalise()
    torch.testing.assert_close(actions.weight.norm(dim=1), torch.ones(3))


def test_more_actions_than_frames_is_refused() -> None:
    small = toy(n_videos=2, seed=0)
    with pytest.raises(InputError, match="K is 500 but the data set has 20 frames"):
        ActionEmbeddings(500, 40).initialise(MLPEncoder(small.feature_dim), small, 10, torch.Generator())


def test_symmetric_loss_does_not_care_which_video_comes_first(dataset: Dataset) -> None:
    batch = first_batch(dataset, paired=True)
    swapped = Batch(*(getattr(batch, name)[[1, 0, 3, 2]] for name in ("features", "mask", "index")), batch.videos)
    method = built("vaot", dataset, hyper__symmetric=True, hyper__transport__rho=0.0, hyper__transport__alpha=0.0)
    torch.testing.assert_close(method(batch)["loss"], method(swapped)["loss"], rtol=1e-3, atol=1e-3)


def test_contrastive_term_is_reported_when_asked_for(dataset: Dataset) -> None:
    terms = built("vaot", dataset, hyper__contrast=0.5)(first_batch(dataset, paired=True))
    torch.testing.assert_close(terms["loss"], terms["alignment"] + terms["contrast"])
