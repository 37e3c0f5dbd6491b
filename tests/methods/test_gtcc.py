"""GTCC against loops written from its formulas; mixtures, windows, gate, masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from vasot_kit.methods.gtcc import GTCC, Gate, MultiCycleBack, fit_mixture, one_sided_window
from vasot_lib.data import Batch
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def real(*lengths: int) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def built(dim: int = 3, **hyper: Any) -> GTCC:
    torch.manual_seed(0)
    return GTCC(MLPEncoder(dim, n_out=dim, unit_length=False), 2, MultiCycleBack(**hyper)).double()


def slow_mixture(alpha: np.ndarray, k: int, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """EM for one distribution over frames; weights (K,) and Gaussians (K, M)."""
    m = len(alpha)
    mean = [(m - 1) / 2 + ((c + 0.5) / k - 0.5) * m for c in range(k)]
    variance, weight = [max((m / k) ** 2, 0.5)] * k, [1 / k] * k

    def densities(frame: int) -> np.ndarray:
        return np.array(
            [
                math.exp(-((frame - mean[c]) ** 2) / (2 * variance[c])) / math.sqrt(2 * math.pi * variance[c])
                for c in range(k)
            ]
        )

    for _ in range(iterations):
        belongs = (
            np.array([weight * densities(j) / (weight * densities(j)).sum() for j in range(m)]).T * alpha
        )  # (K, M)
        weight = [row.sum() for row in belongs]
        mean = [sum(row[j] * j for j in range(m)) / row.sum() for row in belongs]
        variance = [
            max(sum(row[j] * (j - mean[c]) ** 2 for j in range(m)) / row.sum(), 0.5) for c, row in enumerate(belongs)
        ]
    gaussians = np.array([densities(j) for j in range(m)]).T
    return np.array(weight) / sum(weight), gaussians / gaussians.sum(1, keepdims=True)


def slow_error(x: np.ndarray, y: np.ndarray, start: int, ahead: bool, hyper: MultiCycleBack) -> float:
    """Squared error of one cycle of a video pair without padding."""
    n = len(x)
    alpha = np.array([math.exp(-math.dist(x[start], v) / hyper.tau) for v in y])
    weight, gaussians = slow_mixture(alpha / alpha.sum(), hyper.components, hyper.iterations)
    width = max(round(hyper.window * n), 2)
    allowed = set(range(start, start + width) if ahead else range(start - width + 1, start + 1))
    allowed |= set(range(width)) if start < width else set()
    allowed |= set(range(n - width, n)) if start >= n - width else set()
    total = 0.0
    for pi, gaussian in zip(weight, gaussians, strict=True):
        neighbour = gaussian @ y
        beta = {k: math.exp(-math.dist(neighbour, x[k]) / hyper.tau) for k in sorted(allowed & set(range(n)))}
        total += pi * (start - sum(k * b for k, b in beta.items()) / sum(beta.values())) ** 2
    return total


@pytest.mark.parametrize("ahead", [(True, False), (False, True)])
def test_errors_equal_loops_with_padding(ahead: tuple[bool, bool]) -> None:
    n, m, starts = (9, 7), (6, 8), torch.tensor([[0, 4, 8], [6, 2, 5]])
    x, y = normal(2, 9, 3), normal(2, 8, 3, seed=1)
    hyper = MultiCycleBack(tau=0.7, components=3, iterations=4, window=0.4)
    found = hyper.errors(x, y, real(*n), real(*m), starts, torch.tensor(ahead))
    for b in range(2):
        pair = x[b, : n[b]].numpy(), y[b, : m[b]].numpy()
        expected = [slow_error(*pair, int(start), ahead[b], hyper) for start in starts[b]]
        np.testing.assert_allclose(found[b].numpy(), expected, rtol=1e-8)


def test_a_mixture_finds_both_places_of_a_repeated_action() -> None:
    frame = torch.arange(60, dtype=torch.float64)
    bump = [torch.exp(-((frame - centre) ** 2) / (2 * 3.0**2)) for centre in (15, 40)]
    alpha = (bump[0] + 2 * bump[1]) / (bump[0] + 2 * bump[1]).sum()
    weight, gaussians = fit_mixture(alpha[None, None], real(60), 2, 50)
    torch.testing.assert_close(weight[0, 0], torch.tensor([1 / 3, 2 / 3], dtype=torch.float64), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close((gaussians @ frame)[0, 0], torch.tensor([15.0, 40.0]).double(), rtol=1e-3, atol=1e-3)


def test_mixtures_come_close_to_what_they_are_fitted_to() -> None:
    """EM never raises KL(alpha || mixture); many components describe a smooth distribution well."""
    alpha = normal(1, 4, 50).cumsum(2).softmax(2)

    def divergence(iterations: int) -> torch.Tensor:
        weight, gaussians = fit_mixture(alpha, real(50), 15, iterations)
        mixture = (weight.unsqueeze(3) * gaussians).sum(2)
        torch.testing.assert_close(mixture.sum(2), torch.ones(1, 4).double())
        return (alpha * (alpha / mixture).log()).sum(2)

    few, many = divergence(1), divergence(30)
    assert (many < few).all() and (many < 0.1).all()


def test_a_certain_match_makes_a_finite_mixture_around_it() -> None:
    alpha = torch.zeros(1, 1, 30)
    alpha[0, 0, 7] = 1.0
    weight, gaussians = fit_mixture(alpha, real(30), 15, 8)
    assert weight.isfinite().all() and gaussians.isfinite().all()
    mean = (weight.unsqueeze(3) * gaussians).sum(2)[0, 0] @ torch.arange(30.0)
    assert mean.item() == pytest.approx(7.0, abs=0.01)


def test_windows_by_hand() -> None:
    def frames(start: int, ahead: bool, length: int = 10) -> list[int]:
        window = one_sided_window(
            torch.tensor([[start]]), torch.tensor([ahead]), real(12)[:, :12] & (torch.arange(12) < length), 0.3
        )
        return window[0, 0].nonzero().flatten().tolist()

    assert frames(5, ahead=True) == [5, 6, 7]
    assert frames(5, ahead=False) == [3, 4, 5]
    assert frames(1, ahead=False) == [0, 1, 2]  # the first three see each other
    assert frames(2, ahead=True) == [0, 1, 2, 3, 4]
    assert frames(9, ahead=True) == [7, 8, 9]  # so do the last three, and padding is no frame
    assert frames(1, ahead=True, length=3) == [0, 1, 2]  # a window holds two frames or more


def test_gates_are_centred_and_never_below_the_floor() -> None:
    torch.manual_seed(0)
    x, y = normal(2, 40, 3), normal(2, 30, 3, seed=1)
    gates = Gate(3).double()(x, y, real(40, 25), real(30, 20), 0.6)
    for b, n in enumerate((40, 25)):
        assert gates[b, :n].min() >= 0.6 and gates[b, :n].max() <= 1.0
        score = ((gates[b, :n] - 0.6) / 0.4).logit()
        torch.testing.assert_close(score.mean(), torch.tensor(0.0).double(), atol=1e-6, rtol=0)
        torch.testing.assert_close(score.std(unbiased=False), torch.tensor(1.0).double(), atol=1e-5, rtol=0)
    flat = torch.zeros_like(x).requires_grad_()
    Gate(3).double()(flat, y, real(40, 25), real(30, 20), 0.6).sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()  # frames that are all alike


@pytest.mark.parametrize("epoch", [0, 10])
def test_loss_is_the_gated_error_both_ways(epoch: int) -> None:
    x, y, length = normal(1, 9, 3), normal(1, 9, 3, seed=1), (9, 6)
    embedded, mask = torch.cat((x, y)), real(*length)
    method = built(tau=0.5, components=3, iterations=3, window=0.5, decay=0.9, starts=4)
    method.epoch, floor = epoch, 0.9 ** (epoch + 1)
    batch = Batch(embedded, mask, mask.long(), torch.tensor([0, 1]))
    found, (starts, ahead) = method.loss_terms(embedded, batch), method.draw_cycles(batch)
    sides = [(x[0].numpy(), y[0, :6].numpy()), (y[0, :6].numpy(), x[0].numpy())]
    expected = cycle = 0.0
    for (a, b), row in zip(sides, (0, 1), strict=True):
        query = method.gate.layers(torch.from_numpy(b)).mean(0).detach().numpy()  # type: ignore[union-attr]
        score = a @ query
        gates = floor + (1 - floor) / (1 + np.exp(-(score - score.mean()) / score.std()))
        errors = [slow_error(a, b, int(i), bool(ahead[row]), method.hyper) for i in starts[row]]
        cycle += np.mean(errors) / 2
        pairs = zip(gates[starts[row].numpy()], errors, strict=True)
        expected += np.mean([gate * e + (1 - gate) / max(e, 1 / 12) for gate, e in pairs]) / 2
    assert found["loss"].item() == pytest.approx(expected, rel=1e-6)
    assert found["cycle"].item() == pytest.approx(cycle, rel=1e-6)


def test_without_decay_there_is_no_gate() -> None:
    method, embedded, mask = built(decay=1.0), normal(2, 30, 3), real(30, 30)
    assert method.gate is None
    terms = method.loss_terms(embedded, Batch(embedded, mask, mask.long(), torch.tensor([0, 1])))
    torch.testing.assert_close(terms["loss"], terms["cycle"])


def test_cycles_start_from_real_frames_only() -> None:
    mask, embedded = real(40, 5, 25, 40), normal(4, 40, 3)
    starts, _ = built().draw_cycles(Batch(embedded, mask, mask.long(), torch.tensor([0, 1, 2, 3])))
    assert starts.shape == (4, 20) and all(len(set(row.tolist())) == 20 for row in starts)
    assert mask.gather(1, starts).sum(1).tolist() == [20, 5, 20, 20]
    junk = embedded.clone()
    junk[1, 5:] = 99.0  # what fills the row of a short video counts nothing
    losses = [
        built().loss_terms(e, Batch(e, mask, mask.long(), torch.tensor([0, 1, 2, 3])))["loss"] for e in (embedded, junk)
    ]
    torch.testing.assert_close(*losses)


def test_draws_of_a_pair_depend_on_the_epoch_and_not_on_the_rest_of_the_batch() -> None:
    batch = Batch(
        normal(4, 40, 3), real(40, 30, 25, 40), torch.zeros(4, 40, dtype=torch.int64), torch.tensor([7, 1, 3, 7])
    )
    second = Batch(batch.features[2:], batch.mask[2:], batch.index[2:], batch.videos[2:])
    method = built()
    whole, part = method.draw_cycles(batch), method.draw_cycles(second)
    for drawn, alone in zip(whole, part, strict=True):
        torch.testing.assert_close(drawn[2:], alone)
    torch.manual_seed(1)
    assert not torch.equal(method.draw_cycles(batch)[0], whole[0])
    sides = []
    for seed in range(40):
        torch.manual_seed(seed)
        sides.append(method.draw_cycles(batch)[1])
    assert 0.3 < torch.stack(sides).double().mean() < 0.7


def test_padding_and_batch_mates_change_nothing_and_learn_nothing() -> None:
    x, y, hyper = normal(2, 9, 3), normal(2, 8, 3, seed=1), MultiCycleBack(components=3, window=0.5)
    starts, ahead = torch.tensor([[0, 5], [8, 3]]), torch.tensor([True, False])
    alone = [
        hyper.errors(x[b : b + 1, :n], y[b : b + 1, :m], real(n), real(m), starts[b : b + 1], ahead[b : b + 1])
        for b, (n, m) in enumerate([(6, 8), (9, 4)])
    ]
    x[0, 6:], y[1, 4:] = 50.0, -50.0
    x, y = x.requires_grad_(), y.requires_grad_()
    together = hyper.errors(x, y, real(6, 9), real(8, 4), starts, ahead)
    torch.testing.assert_close(together, torch.cat(alone))
    together.sum().backward()
    assert x.grad is not None and y.grad is not None
    assert x.grad[0, 6:].abs().sum() == 0 and y.grad[1, 4:].abs().sum() == 0
    assert x.grad[0, :6].abs().sum() > 0 and y.grad[1, :4].abs().sum() > 0


def test_far_apart_embeddings_give_finite_losses_and_gradients() -> None:
    """Matches are one-hot and every cycle is perfect: 1 / l has its pole there."""
    method = built(8, decay=0.5)
    embedded = (1000.0 * torch.eye(8).double().expand(2, 8, 8)).clone().requires_grad_()
    loss = method.loss_terms(
        embedded, Batch(embedded, real(8, 8), torch.zeros(2, 8, dtype=torch.int64), torch.tensor([0, 1]))
    )["loss"]
    loss.backward()
    assert loss.isfinite() and embedded.grad is not None and embedded.grad.isfinite().all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(tau=0.0), "tau is 0.0"),
        (dict(components=0), "components is 0; it must be a whole number of at least 1"),
        (dict(starts=0), "starts is 0"),
        (dict(window=0.0), "window is 0.0; it must be a finite number above 0 and at most 1"),
        (dict(decay=1.5), "decay is 1.5"),
    ],
)
def test_bad_values_are_refused(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiCycleBack(**values)
