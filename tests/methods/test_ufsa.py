"""UFSA: each part against loops from the formulas or known answers, and what it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vasot_kit.methods.ufsa import (
    UFSA,
    FrameToSegment,
    TranscriptDecoder,
    alignment_loss,
    transcript,
    transcript_loss,
)
from vasot_lib.data import Dataset, Video, collate, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.evaluation import score_segmentation
from vasot_lib.losses import matching_loss
from vasot_lib.training import TrainingSettings, fit


def lengths(*real: int) -> torch.Tensor:
    return torch.arange(max(real)) < torch.tensor(real)[:, None]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_transcript_lists_actions_by_their_peaks_each_once() -> None:
    targets = torch.zeros(2, 6, 3)
    for b, peaks in enumerate(((5, 0, 2), (4, 4, 1))):  # in the second video two actions peak together
        for action, frame in enumerate(peaks):
            targets[b, frame, action] = 1.0
    assert transcript(targets).tolist() == [[1, 2, 0], [2, 0, 1]]


def test_transcript_loss_equals_loops() -> None:
    scores, order = random(2, 4, 4), torch.tensor([[2, 0, 3, 1], [0, 1, 2, 3]])
    expected = 0.0
    for b in range(2):
        for place in range(4):
            weights = [math.exp(float(scores[b, place, k])) for k in range(4)]
            expected -= math.log(weights[int(order[b, place])] / sum(weights)) / 8
    assert transcript_loss(scores, order).item() == pytest.approx(expected, rel=1e-9)


def test_alignment_loss_equals_loops_with_padding() -> None:
    n, k, tau = (7, 5), 3, 0.7
    mask = lengths(*n)
    order = torch.tensor([[2, 0, 1], [1, 0, 2]])
    weights = random(2, k, 7).masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(2)
    targets = random(2, 7, k, seed=1).softmax(2) * mask.unsqueeze(2)
    expected = 0.0
    for b in range(2):
        for i in range(n[b]):
            action = max(range(k), key=lambda a: float(targets[b, i, a]))
            place = order[b].tolist().index(action)
            each = [math.exp(n[b] * float(weights[b, s, i]) / tau) for s in range(k)]
            expected -= math.log(each[place] / sum(each)) / n[b] / 2
    assert alignment_loss(weights, targets, order, mask, tau).item() == pytest.approx(expected, rel=1e-9)


def test_alignment_loss_is_small_where_places_attend_to_the_frames_of_their_action() -> None:
    """Trap of the release: place s stands for the s-th action of the transcript, not for action s."""
    order, mask = torch.tensor([[2, 0, 1]]), lengths(6)
    targets = F.one_hot(torch.tensor([[2, 2, 0, 0, 1, 1]])).double()
    weights = torch.tensor([[0, 0, 1, 1, 2, 2]])
    by_place = F.one_hot(weights).double().transpose(1, 2) / 2  # places in turn attend to two frames each
    assert alignment_loss(by_place, targets, order, mask, 0.2) < 1e-3
    assert alignment_loss(by_place[:, [2, 0, 1]], targets, order, mask, 0.2) > 1


def decoder() -> TranscriptDecoder:
    torch.manual_seed(0)
    return TranscriptDecoder(4, 6, 2).double().eval()


def test_decoder_predicts_a_place_from_those_before_it_only() -> None:
    frames, mask = random(1, 9, 6), lengths(9)
    first, second = (decoder()(torch.tensor([order]), frames, mask) for order in ([2, 0, 3, 1], [2, 0, 1, 3]))
    for (scores, weights), (others, other_weights) in zip(first, second, strict=True):
        torch.testing.assert_close(scores[:, :3], others[:, :3])
        torch.testing.assert_close(weights[:, :3], other_weights[:, :3])
        assert (scores[:, 3] - others[:, 3]).abs().max() > 1e-3


def test_decoder_attends_to_real_frames_only() -> None:
    frames, mask, order = random(2, 9, 6), lengths(9, 5), torch.tensor([[2, 0, 3, 1], [0, 1, 2, 3]])
    layers = decoder()(order, frames, mask)
    assert len(layers) == 2
    alone = decoder()(order[1:], frames[1:, :5], mask[1:, :5])
    for (scores, weights), (its_scores, its_weights) in zip(layers, alone, strict=True):
        torch.testing.assert_close(weights.sum(2), torch.ones(2, 4, dtype=torch.float64))
        assert (weights[1, :, 5:] == 0).all()
        torch.testing.assert_close(weights[1:, :, :5], its_weights)
        torch.testing.assert_close(scores[1:], its_scores)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=12, seed=0)


def built(dataset: Dataset, seed: int = 0, **hyper: object) -> UFSA:
    torch.manual_seed(seed)
    return UFSA(MLPEncoder(dataset.feature_dim), dataset.n_actions, FrameToSegment(**hyper))


def test_frames_see_each_other_and_padding_stays_unseen(dataset: Dataset) -> None:
    method = built(dataset).eval()
    batch = collate(dataset.videos[:3], 180, None)
    with torch.no_grad():
        x = method.embed_frames(batch.features, batch.mask)
        torch.testing.assert_close(x.norm(dim=2), torch.ones(batch.mask.shape))
        features = batch.features.masked_fill(~batch.mask.unsqueeze(2), 1e3)
        torch.testing.assert_close(method.embed_frames(features, batch.mask)[batch.mask], x[batch.mask])
        features[0, 0] += 1.0
        assert (method.embed_frames(features, batch.mask)[0, 1:] - x[0, 1:]).abs().max() > 1e-4


def test_terms_are_the_losses_of_the_parts(dataset: Dataset) -> None:
    method = built(dataset, w_segment=0.5, w_align=2.0, align_tau=0.3)
    batch = collate(dataset.videos[:3], 180, None)
    terms = method(batch)
    x, actions, mask = method.embed_frames(batch.features, batch.mask), method.actions.weight, batch.mask
    fixed = method.hyper.transport.match(x, actions, mask)
    order = transcript(fixed)
    permuted = method.hyper.transport.match(x, actions, mask, order)
    layers = method.decoder(order, x * 40**0.5, mask)
    expected = {
        "frame": matching_loss(x, actions, fixed, 0.1, mask, None),
        "segment": 0.5 * sum(transcript_loss(scores, order) for scores, _ in layers) / 2,
        "align": 2.0 * sum(alignment_loss(weights, permuted, order, mask, 0.3) for _, weights in layers) / 2,
    }
    torch.testing.assert_close(terms, {"loss": sum(expected.values()), **expected})


def test_while_the_encoder_learns_alone_the_decoder_learns_beside_it(dataset: Dataset) -> None:
    method, batch = built(dataset, alone=1), collate(dataset.videos[:2], 64, None)
    weight = method.encoder.layers[0].weight
    for method.epoch, reaches in ((0, False), (1, True)):
        terms = method(batch)
        (grad,) = torch.autograd.grad(terms["align"] + terms["segment"], weight, retain_graph=True, allow_unused=True)
        assert (grad is not None and bool(grad.abs().sum() > 0)) == reaches
        method.zero_grad()
        terms["loss"].backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_segments_are_all_actions_in_the_order_of_the_video(dataset: Dataset) -> None:
    method, video = built(dataset).eval(), dataset.videos[0]
    labels = method.segment(video)
    order = method.action_order(method.embed(video))
    assert labels.unique_consecutive().tolist() == order
    assert sorted(order) == list(range(dataset.n_actions))


def test_order_follows_the_frames_where_they_contradict_the_prior() -> None:
    """Two neighbouring actions swapped: the permutation that the method is made for."""
    method = UFSA(MLPEncoder(4, 8, 4), 4, FrameToSegment())
    with torch.no_grad():
        method.actions.weight.copy_(torch.eye(4))
    x = torch.eye(4)[[0] * 10 + [2] * 10 + [1] * 10 + [3] * 10]
    assert method.action_order(x) == [0, 2, 1, 3]


def test_a_long_video_can_be_segmented(dataset: Dataset) -> None:
    features = torch.randn(3000, dataset.feature_dim, generator=torch.Generator().manual_seed(0))
    assert built(dataset).eval().segment(Video("long", features)).shape == (3000,)


@pytest.mark.parametrize("wrong", [{"align_tau": 0.0}, {"frozen": -1}, {"layers": 0}, {"w_align": -1.0}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"{name} is {value}"):
        FrameToSegment(**wrong)


def mof(method: UFSA, dataset: Dataset) -> float:
    predictions: list[np.ndarray] = [method.segment(video).numpy() for video in dataset.videos]
    return score_segmentation(predictions, [video.labels.numpy() for video in dataset.videos], None)["mof"]


def test_training_beats_the_untrained_encoder(dataset: Dataset) -> None:
    method = built(dataset, frozen=4, alone=6)
    before = mof(method.eval(), dataset)
    history = fit(method, dataset, TrainingSettings(epochs=12, frames=64), progress=False)
    assert all(history[-1][term] < history[0][term] for term in ("frame", "segment", "align"))
    assert mof(method, dataset) > before + 0.12  # .20 to .34 over seeds 0 to 5
