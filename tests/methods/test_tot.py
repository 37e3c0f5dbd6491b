"""TOT: its pseudo-labels and losses against loops from the formulas, and what it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.methods.helpers import unit
from vasot_kit.methods.tot import TOT, OnlineClustering, TemporalTransport, temporal_coherence
from vasot_lib.data import Dataset, Video, collate, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.evaluation import score_segmentation
from vasot_lib.training import TrainingSettings, fit


def lengths(*real: int) -> torch.Tensor:
    return torch.arange(max(real)) < torch.tensor(real)[:, None]


def sinkhorn(x: np.ndarray, actions: np.ndarray, recipe: TemporalTransport, order: list[int]) -> np.ndarray:
    """(N, K) pseudo-labels of one video, entry by entry: actions first in each sweep, then frames."""
    n, k = len(x), len(actions)
    plan = np.empty((n, k))
    for i in range(n):
        for place, action in enumerate(order):
            d = abs(i / n - place / k) / np.sqrt(1 / n**2 + 1 / k**2)
            plan[i, action] = np.exp(x[i] @ actions[action] / recipe.epsilon) * np.exp(-(d**2) / (2 * recipe.sigma**2))
    for _ in range(recipe.sweeps):
        for action in range(k):
            plan[:, action] *= 1 / k / plan[:, action].sum()
        for i in range(n):
            plan[i] *= 1 / n / plan[i].sum()
    return plan * n


@pytest.mark.parametrize("order", [None, [2, 0, 3, 1]])
@pytest.mark.parametrize("recipe", [TemporalTransport(), TemporalTransport(0.07, 0.75, 5)])
def test_pseudo_labels_equal_loops_with_padding(recipe: TemporalTransport, order: list[int] | None) -> None:
    x, actions, mask = unit(2, 11, 5), unit(4, 5, seed=1), lengths(11, 7)
    given = None if order is None else torch.tensor([order, order])
    targets = recipe.match(x, actions, mask, given).numpy()
    for b, n in enumerate((11, 7)):
        expected = sinkhorn(x[b, :n].numpy(), actions.numpy(), recipe, order or [0, 1, 2, 3])
        np.testing.assert_allclose(targets[b, :n], expected, rtol=1e-6, atol=1e-12)
        assert (targets[b, n:] == 0).all()


def test_pseudo_labels_in_single_precision_are_those_in_double() -> None:
    x, actions, mask = unit(2, 64, 5), unit(4, 5, seed=1), lengths(64, 40)
    single = TemporalTransport().match(x.float(), actions.float(), mask)
    torch.testing.assert_close(single.double(), TemporalTransport().match(x, actions, mask), rtol=1e-3, atol=1e-4)


def test_frames_are_exact_and_actions_become_equally_frequent() -> None:
    x, actions, mask = unit(2, 40, 5), unit(4, 5, seed=1), lengths(40, 24)
    for sweeps, tolerance in ((3, 0.7), (2000, 1e-4)):
        targets = TemporalTransport(sweeps=sweeps).match(x, actions, mask)
        torch.testing.assert_close(targets.sum(2), mask.double())
        share = targets.sum(1) / mask.sum(1, keepdim=True)
        assert ((share * 4 - 1).abs() < tolerance).all()


def test_frames_that_all_look_alike_are_labelled_in_order() -> None:
    x = unit(1, 3).expand(1, 40, 3)
    recipe, actions, mask = TemporalTransport(sigma=0.5, sweeps=20), unit(1, 3).expand(4, 3), lengths(40)
    labels = recipe.match(x, actions, mask)[0].argmax(1)
    assert labels.unique_consecutive().tolist() == [0, 1, 2, 3]
    assert labels.bincount().min() >= 4  # the diagonal runs through the first frame of an action, not its middle
    labels = recipe.match(x, actions, mask, torch.tensor([[2, 0, 3, 1]]))[0].argmax(1)
    assert labels.unique_consecutive().tolist() == [2, 0, 3, 1]


def test_a_narrow_gaussian_decides_over_the_scores_and_a_wide_one_does_not() -> None:
    actions = torch.eye(2, dtype=torch.float64)
    x = actions[[1] * 10 + [0] * 10][None]  # the two actions in the wrong order
    narrow, wide = (TemporalTransport(sigma=sigma).match(x, actions, lengths(20))[0] for sigma in (0.1, 10.0))
    assert narrow[:5].argmax(1).tolist() == [0] * 5 and narrow[-5:].argmax(1).tolist() == [1] * 5
    assert wide.argmax(1).tolist() == [1] * 10 + [0] * 10


def test_coherence_equals_loops_with_padding() -> None:
    x, parts, step, tau = unit(2, 13, 3), 3, 4, 0.1
    expected = 0.0
    for b, n in enumerate((13, 5)):
        count = min(parts, n // 2)
        edges = [part * n // count for part in range(count + 1)]
        anchors = [edges[p] + step % (edges[p + 1] - edges[p] - 1) for p in range(count)]
        for p in range(count):
            weights = [np.exp(float(x[b, anchors[p]] @ x[b, anchors[q] + 1]) / tau) for q in range(count)]
            expected -= np.log(weights[p] / sum(weights)) / count / 2
    mask = lengths(13, 5)
    assert temporal_coherence(x, mask, parts, step, tau).item() == pytest.approx(expected, rel=1e-9)


def test_coherence_of_the_shortest_video_is_finite_and_so_is_its_gradient() -> None:
    x = unit(2, 9, 3).requires_grad_()
    temporal_coherence(x, lengths(9, 2), 32, 5, 0.1).backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad[1, 2:].abs().sum() == 0


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=12, seed=0)


def built(dataset: Dataset, seed: int = 0, **hyper: object) -> TOT:
    torch.manual_seed(seed)
    return TOT(MLPEncoder(dataset.feature_dim), dataset.n_actions, OnlineClustering(**hyper))


def test_loss_of_a_batch_is_the_mean_over_its_videos_alone(dataset: Dataset) -> None:
    method = built(dataset, coherence=0.5)
    batch = collate(dataset.videos[:3], 180, None)
    assert not batch.mask.all()
    alone = [method(collate([video], 180, None)) for video in dataset.videos[:3]]
    for name, value in method(batch).items():
        torch.testing.assert_close(value, torch.stack([terms[name] for terms in alone]).mean())
    with torch.no_grad():
        together = method.embed_frames(batch.features, batch.mask)
        batch.features[~batch.mask] = 1e3
        torch.testing.assert_close(method.embed_frames(batch.features, batch.mask)[batch.mask], together[batch.mask])


def test_loss_is_the_sum_of_its_terms_and_coherence_is_reported_when_asked_for(dataset: Dataset) -> None:
    batch = collate(dataset.videos[:2], 64, None)
    plain, both = built(dataset)(batch), built(dataset, coherence=0.5)(batch)
    assert set(plain) == {"loss", "cluster"} and set(both) == {"loss", "cluster", "coherence"}
    torch.testing.assert_close(both["loss"], plain["loss"] + both["coherence"])


def test_prototypes_stay_while_they_are_frozen(dataset: Dataset) -> None:
    method = built(dataset, frozen=2)
    first = method.actions.weight.detach().clone()
    optimiser = torch.optim.Adam(method.parameters(), lr=0.01, weight_decay=1e-2)
    batch = collate(dataset.videos[:2], 64, None)
    moved = []
    for method.epoch in range(4):
        method(batch)["loss"].backward()
        moved.append(float((method.actions.weight.detach() - first).abs().max()))  # what this step worked with
        optimiser.step()
        optimiser.zero_grad()
    assert max(moved[:2]) < 1e-6 and 1e-3 < moved[2] < moved[3]


@pytest.mark.parametrize("frozen", [1, 9])
def test_prototypes_are_of_unit_length_after_training_and_after_a_resume_without_a_step(
    frozen: int, dataset: Dataset, tmp_path: Path
) -> None:
    settings = TrainingSettings(epochs=2, frames=64, lr=0.03)
    first, second = built(dataset, frozen=frozen), built(dataset, frozen=frozen)
    fit(first, dataset, settings, checkpoint=tmp_path / "weights", progress=False)
    torch.testing.assert_close(first.actions.weight.norm(dim=1), torch.ones(first.n_actions))
    assert torch.allclose(first.actions.weight, first.initial_prototypes) == (frozen > 2)
    fit(second, dataset, settings, checkpoint=tmp_path / "weights", progress=False)
    torch.testing.assert_close(second.actions.weight, first.actions.weight)


def test_segments_are_all_actions_in_the_fixed_order(dataset: Dataset) -> None:
    labels = built(dataset).segment(dataset.videos[0])
    assert labels.shape == (len(dataset.videos[0]),)
    assert labels.unique_consecutive().tolist() == list(range(dataset.n_actions))


def test_a_video_shorter_than_the_order_is_refused(dataset: Dataset) -> None:
    short = Video("short", dataset.videos[0].features[:3])
    with pytest.raises(InputError, match=f"'short' has 3 frames, too few for {dataset.n_actions} actions in order"):
        built(dataset).segment(short)


@pytest.mark.parametrize("wrong", [{"tau": 0.0}, {"frozen": -1}, {"parts": 1}, {"coherence": -1.0}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is"):
        OnlineClustering(**wrong)
    with pytest.raises(InputError, match="sigma is 0"):
        TemporalTransport(sigma=0.0)
    with pytest.raises(InputError, match="sweeps is 0"):
        TemporalTransport(sweeps=0)


def mof(method: TOT, dataset: Dataset) -> float:
    predictions = [method.segment(video).numpy() for video in dataset.videos]
    return score_segmentation(predictions, [video.labels.numpy() for video in dataset.videos], None)["mof"]


def test_training_beats_the_untrained_encoder(dataset: Dataset) -> None:
    method = built(dataset)
    method.eval()
    before = mof(method, dataset)
    history = fit(method, dataset, TrainingSettings(epochs=20, frames=64), progress=False)
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert mof(method, dataset) > before + 0.08  # .13 to .33 over seeds 0 to 5
