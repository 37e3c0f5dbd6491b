"""CLOT: each part against loops from the formulas, what the release's cost loses, the ablation, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.methods.helpers import unit
from vasot_kit.experiments.config import make_config
from vasot_kit.methods.clot import CLOT, ClosedLoop, Dispatch, refine, sorted_projection_cost, time_encoding
from vasot_lib.data import Dataset, collate, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.evaluation import score_segmentation
from vasot_lib.training import TrainingSettings, fit
from vasot_lib.transport import Segmentation


def lengths(*real: int) -> torch.Tensor:
    return torch.arange(max(real)) < torch.tensor(real)[:, None]


@pytest.mark.parametrize("to_all", [False, True])
def test_dispatching_equals_loops_with_padding(to_all: bool) -> None:
    x, actions, real = unit(2, 9, 4), unit(3, 4, seed=1), (9, 5)
    layer = Dispatch(to_all).double()
    with torch.no_grad():
        layer.scale.fill_(2.0)
        layer.shift.fill_(-0.3)
    found = layer(x, actions, lengths(*real)).detach().numpy()
    for b, n in enumerate(real):
        frames, a = x[b, :n].numpy(), actions.numpy()
        s = [[1 / (1 + math.exp(0.3 - 2.0 * float(f @ a[k]))) for k in range(3)] for f in frames]
        nearest = [max(range(3), key=lambda k, row=row: row[k]) for row in s]
        out = []
        for k in range(3):
            members = [i for i in range(n) if nearest[i] == k]
            out.append((sum((s[i][k] * frames[i] for i in members), a[k])) / (len(members) + 1))
        for i in range(n):
            given = range(3) if to_all else [nearest[i]]
            expected = frames[i] + sum(s[i][k] * out[k] for k in given)
            np.testing.assert_allclose(found[b, i], expected / np.linalg.norm(expected), rtol=1e-10)


def test_refinement_equals_loops() -> None:
    x, segments, tau = unit(2, 5, 4), unit(2, 3, 4, seed=1), 0.3
    found = refine(x, segments, tau).numpy()
    for b in range(2):
        for i in range(5):
            weights = [math.exp(float(x[b, i] @ segments[b, q]) / (2.0 * tau)) for q in range(3)]
            new = x[b, i] + sum(w / sum(weights) * segments[b, q] for q, w in enumerate(weights))
            np.testing.assert_allclose(found[b, i], new / new.norm(), rtol=1e-10)


def test_released_cost_equals_loops_with_padding() -> None:
    x, actions, real = unit(2, 7, 4), unit(3, 4, seed=1), (7, 4)
    found = sorted_projection_cost(x, actions, lengths(*real), torch.Generator().manual_seed(5)).numpy()
    points = torch.randn(150, 4, generator=torch.Generator().manual_seed(5)).double().numpy()
    points = [2.0 * p / np.linalg.norm(p) for p in points]

    def projected(rows: np.ndarray) -> np.ndarray:
        table = np.array([[np.linalg.norm(row - p) for p in points] for row in rows])
        table = np.array([row / np.linalg.norm(row) for row in table])
        return np.array([sorted(column) for column in table.T]).T

    for b, n in enumerate(real):
        frames, of_actions = projected(x[b, :n].numpy()), projected(actions.numpy())
        expected = [[np.linalg.norm(row - other) for other in of_actions] for row in frames]
        np.testing.assert_allclose(found[b, :n], expected, rtol=1e-4, atol=1e-6)


def test_trap_of_the_release_its_cost_does_not_know_which_frame_a_row_is() -> None:
    """Frames in another order have another segmentation, but the same cost."""
    x, actions, mask = unit(1, 8, 4), unit(3, 4, seed=1), lengths(8)
    costs = [
        sorted_projection_cost(frames, actions, mask, torch.Generator().manual_seed(0)) for frames in (x, x.flip(1))
    ]
    torch.testing.assert_close(*costs)


def test_time_is_relative_and_does_not_see_padding() -> None:
    encoded = time_encoding(6, lengths(8, 4))
    torch.testing.assert_close(encoded[1, :4], encoded[0, ::2])


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=12, seed=0)


def built(dataset: Dataset, seed: int = 0, **hyper: object) -> CLOT:
    torch.manual_seed(seed)
    method = CLOT(MLPEncoder(dataset.feature_dim), dataset.n_actions, ClosedLoop(**hyper))
    method.initialise(dataset, 64, torch.Generator().manual_seed(seed))
    return method


def test_loss_equals_loops_over_levels_and_videos(dataset: Dataset) -> None:
    """Every level of every video by itself, with a plan of its own; the segments' plan has no structural prior."""
    recipe, flat = Segmentation(radius=0.1), Segmentation(radius=0.1, alpha=0.0)
    method = built(dataset, transport=recipe, tau=0.2, w_segment=0.5, w_refine=2.0)
    batch = collate(dataset.videos[:3], 150, None)
    sums = {"frame": 0.0, "segment": 0.0, "refined": 0.0}
    with torch.no_grad():
        actions = F.normalize(method.actions.weight, dim=1)
        for b, n in enumerate(batch.mask.sum(1).tolist()):
            real = torch.ones(1, n, dtype=torch.bool)
            x = method.dispatch(method.encoder(batch.features[b : b + 1, :n]), actions, real)
            segments = method.decoder(x, real)
            levels = {
                "frame": (x, recipe, 1.0),
                "segment": (segments, flat, 0.5),
                "refined": (refine(x, segments, 0.2), recipe, 2.0),
            }
            for name, (rows, problem, weight) in levels.items():
                everything = torch.ones(rows.shape[:2], dtype=torch.bool)
                targets = problem.match(rows, actions, everything)[0][0]
                p = (rows[0] @ actions.T / 0.2).softmax(1)
                sums[name] += weight * float(-(targets * p.log()).sum(1).mean()) / 3
    terms = method(batch)
    for name, value in sums.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-3)
    assert terms["loss"].item() == pytest.approx(sum(sums.values()), rel=1e-3)


@pytest.mark.parametrize(
    ("parts", "terms"),
    [
        ({"dispatch": "none"}, {"frame", "segment", "refined"}),
        ({"w_segment": 0.0}, {"frame", "refined"}),
        ({"w_refine": 0.0}, {"frame", "segment"}),
        ({"w_segment": 0.0, "w_refine": 0.0}, {"frame"}),
        ({"cost": "release", "dispatch": "release"}, {"frame", "segment", "refined"}),
    ],
)
def test_parts_can_be_switched_off(parts: dict[str, object], terms: set[str], dataset: Dataset) -> None:
    method = built(dataset, **parts)
    found = method(collate(dataset.videos[:2], 64, None))
    assert set(found) == terms | {"loss", "converged_segmentation"}
    found["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())
    video = dataset.videos[0]
    assert method.segment(video).shape == (len(video),)
    embedded = method.embed(video)
    batch = collate([video], None, None)
    plain = method.embed_frames(batch.features, batch.mask)[0]
    assert torch.equal(embedded, plain) == ("w_refine" in parts)


def test_without_its_parts_it_is_asot(dataset: Dataset) -> None:
    method = built(dataset, dispatch="none", w_segment=0.0, w_refine=0.0)
    batch = collate(dataset.videos[:2], 64, None)
    expected, _ = method.hyper.loss(method.encoder(batch.features), method.actions.weight, batch.mask)
    torch.testing.assert_close(method(batch)["loss"], expected)


@pytest.mark.parametrize("wrong", [{"w_refine": -1.0}, {"cost": "sliced"}, {"layers": 0}])
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))}"):
        ClosedLoop(**wrong)


def test_the_release_has_its_own_cost_and_dispatching() -> None:
    paper, release = (make_config("hapt", "clot", preset).hyper for preset in ("paper", "release"))
    assert (paper.cost, paper.dispatch, release.cost, release.dispatch) == ("paper", "paper", "release", "release")
    assert paper.transport == make_config("hapt", "asot", "paper").hyper.transport


def test_training_beats_the_untrained_encoder(dataset: Dataset) -> None:
    def mof(method: CLOT) -> float:
        predictions = [method.segment(video).numpy() for video in dataset.videos]
        return score_segmentation(predictions, [video.labels.numpy() for video in dataset.videos], None)["mof"]

    method = built(dataset, actions="kmeans_in_order")
    before = mof(method)
    history = fit(method, dataset, TrainingSettings(epochs=10, frames=64, lr=3e-3), progress=False)
    assert all(history[-1][term] < history[0][term] for term in ("frame", "segment", "refined"))
    assert mof(method) > before
