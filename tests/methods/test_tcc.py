"""TCC against loops written from its formula; masks and guards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vasot_kit.methods.tcc import TCC, CycleBack
from vasot_lib.data import Batch
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def real(*lengths: int) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def slow_cycle_back(x: np.ndarray, y: np.ndarray, tau: float, weight: float) -> float:
    """One video pair without padding, from the formula."""

    def soft_match(v: np.ndarray, among: np.ndarray) -> np.ndarray:
        e = np.array([math.exp(-((v - w) ** 2).sum() / len(v) / tau) for w in among])
        return e / e.sum()

    n, total = len(x), 0.0
    for i in range(n):
        neighbour = sum(a * w for a, w in zip(soft_match(x[i], y), y, strict=True))
        beta = soft_match(neighbour, x)
        mu = sum(beta[k] * k / n for k in range(n))
        variance = max(sum(beta[k] * (k / n - mu) ** 2 for k in range(n)), 1 / (12 * n**2))
        total += ((i / n - mu) ** 2 / variance + weight * math.log(variance)) / n
    return total


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_loss_equals_loops_with_padding(scale: float) -> None:
    x, y, n, m = scale * normal(2, 7, 3), scale * normal(2, 6, 3, seed=1), (7, 4), (3, 6)
    expected = np.mean([slow_cycle_back(x[b, : n[b]].numpy(), y[b, : m[b]].numpy(), 0.1, 0.3) for b in range(2)])
    term = CycleBack(tau=0.1, variance_weight=0.3)
    assert term.loss(x, y, real(*n), real(*m)).item() == pytest.approx(expected, rel=1e-9)


def test_both_directions_count_alike() -> None:
    x, y = normal(1, 6, 3), normal(1, 4, 3, seed=1)
    padded = torch.cat((x, torch.cat((y, torch.zeros(1, 2, 3)), 1)))
    batch = Batch(padded, real(6, 4), torch.arange(6).expand(2, 6), torch.tensor([0, 1]))
    method = TCC(MLPEncoder(3, unit_length=False), 2, CycleBack())
    there, back = (slow_cycle_back(a[0].numpy(), b[0].numpy(), 0.1, 0.001) for a, b in ((x, y), (y, x)))
    assert method.loss_terms(padded, batch)["loss"].item() == pytest.approx((there + back) / 2, rel=1e-9)


def test_padding_and_batch_mates_change_nothing_and_learn_nothing() -> None:
    x, y, term = normal(2, 7, 3), normal(2, 6, 3, seed=1), CycleBack()
    alone = [
        term.loss(x[b : b + 1, :n], y[b : b + 1, :m], real(n), real(m)) for b, (n, m) in enumerate([(4, 6), (7, 3)])
    ]
    junk_x, junk_y = x.clone(), y.clone()
    junk_x[0, 4:], junk_y[1, 3:] = 50.0, -50.0
    junk_x, junk_y = junk_x.requires_grad_(), junk_y.requires_grad_()
    together = term.loss(junk_x, junk_y, real(4, 7), real(6, 3))
    torch.testing.assert_close(together, sum(alone) / 2)
    together.backward()
    assert junk_x.grad is not None and junk_y.grad is not None
    assert junk_x.grad[0, 4:].abs().sum() == 0 and junk_y.grad[1, 3:].abs().sum() == 0
    assert junk_x.grad[0, :4].abs().sum() > 0 and junk_y.grad[1, :3].abs().sum() > 0


def test_equal_embeddings_are_the_uniform_case() -> None:
    """Every beta is uniform: mu = (n - 1) / 2n and s^2 = (n^2 - 1) / 12 n^2, so the mean of (i - mu)^2 / s^2 is 1."""
    n, mask = 9, real(9)
    x = torch.zeros(1, n, 4, dtype=torch.float64)
    expected = 1.0 + 0.001 * math.log((n**2 - 1) / (12 * n**2))
    assert CycleBack().loss(x, x, mask, mask).item() == pytest.approx(expected)


def test_a_certain_cycle_stays_finite() -> None:
    """Far apart frames give one-hot matches, variance 0: the loss is lambda log of one frame's variance."""
    x, mask = 100.0 * torch.eye(8)[None].requires_grad_(), real(8)
    loss = CycleBack().loss(x, x, mask, mask)
    loss.backward()
    assert loss.item() == pytest.approx(0.001 * math.log(1 / (12 * 8**2)), rel=1e-5)


def test_gradient_of_a_certain_but_wrong_cycle_is_finite() -> None:
    """Two frames of X at the same place in Y: the cycle of one ends in the other."""
    x = (100.0 * torch.eye(4)[None]).requires_grad_()
    y = x.detach()[:, [1, 1, 2, 3]].clone().requires_grad_()
    loss = CycleBack().loss(x, y, real(4), real(4))
    loss.backward()
    assert loss.isfinite()
    assert all(e.grad is not None and e.grad.isfinite().all() for e in (x, y))


def test_a_cycle_that_returns_costs_less() -> None:
    x, other, mask = 2.0 * normal(1, 12, 8), 2.0 * normal(1, 12, 8, seed=1), real(12)
    assert CycleBack().loss(x, x, mask, mask) < 0.1 * CycleBack().loss(x, other, mask, mask)


def test_a_shift_of_all_embeddings_changes_nothing() -> None:
    """So the encoder's last bias would learn from rounding noise alone; the method leaves it out."""
    x, y, mask = normal(1, 7, 3), normal(1, 7, 3, seed=1), real(7)
    torch.testing.assert_close(CycleBack().loss(x + 3.0, y + 3.0, mask, mask), CycleBack().loss(x, y, mask, mask))
    method = TCC(MLPEncoder(3, unit_length=False), 2, CycleBack())
    assert [name for name, _ in method.named_parameters() if "layers.2" in name] == ["encoder.layers.2.weight"]


@pytest.mark.parametrize("values", [dict(tau=0.0), dict(tau=math.inf), dict(variance_weight=-0.1)])
def test_bad_values_are_refused(values: dict) -> None:
    with pytest.raises(InputError, match=f"{next(iter(values))} is .*; it must be a finite number"):
        CycleBack(**values)
