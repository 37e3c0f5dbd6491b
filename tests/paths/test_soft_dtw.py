"""Soft-DTW against loops over cells and against hard dynamic time warping."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from vasot_kit.methods.soft_dtw import soft_dtw
from vasot_lib.errors import InputError


def costs(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def paths(n: int, m: int) -> list[list[tuple[int, int]]]:
    """All monotone paths from (0, 0) to (n - 1, m - 1)."""
    if (n, m) == (1, 1):
        return [[(0, 0)]]
    before = [(n - 1, m), (n, m - 1), (n - 1, m - 1)]
    return [[*path, (n - 1, m - 1)] for i, j in before if min(i, j) > 0 for path in paths(i, j)]


def by_paths(cost: np.ndarray, gamma: float) -> tuple[float, np.ndarray]:
    """Value and gradient as a sum over all paths: softmin of their costs, and the odds of passing each cell."""
    found = paths(*cost.shape)
    weights = np.array([math.exp(-sum(cost[cell] for cell in path) / gamma) for path in found])
    visits = np.zeros_like(cost)
    for weight, path in zip(weights / weights.sum(), found, strict=True):
        for cell in path:
            visits[cell] += weight
    return -gamma * math.log(weights.sum()), visits


def by_cells(cost: np.ndarray, gamma: float) -> float:
    n, m = cost.shape
    value = np.full((n + 1, m + 1), np.inf)
    value[0, 0] = 0.0
    for i, j in itertools.product(range(1, n + 1), range(1, m + 1)):
        three = np.array([value[i - 1, j - 1], value[i - 1, j], value[i, j - 1]])
        low = three.min()
        value[i, j] = cost[i - 1, j - 1] + low - gamma * np.log(np.exp((low - three) / gamma).sum())
    return float(value[n, m])


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 4), (4, 1), (4, 5), (5, 3)])
@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_value_and_gradient_are_those_of_the_sum_over_all_paths(n: int, m: int, gamma: float) -> None:
    cost = costs(1, n, m).requires_grad_()
    value, visits = by_paths(cost[0].detach().numpy(), gamma)
    found = soft_dtw(cost, gamma)
    found.sum().backward()
    assert cost.grad is not None
    assert found.item() == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(cost.grad[0].numpy(), visits, atol=1e-9)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (50, 20), (7, 60)])
def test_value_equals_the_recursion_over_cells(n: int, m: int) -> None:
    cost = costs(1, n, m)
    assert soft_dtw(cost, 0.1).item() == pytest.approx(by_cells(cost[0].numpy(), 0.1), rel=1e-9)


def test_small_gamma_gives_the_cheapest_path() -> None:
    cost = costs(1, 5, 6)
    cheapest = min(sum(float(cost[0][cell]) for cell in path) for path in paths(5, 6))
    values = [soft_dtw(cost, gamma).item() for gamma in (1.0, 0.1, 0.01, 1e-4)]
    assert values == sorted(values) and values[-1] == pytest.approx(cheapest, abs=1e-6)


def test_gradcheck_with_lengths() -> None:
    lengths = torch.tensor([6, 3, 1]), torch.tensor([5, 5, 2])
    cost = costs(3, 6, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: soft_dtw(c, 0.3, *lengths), (cost,))


def test_padding_and_batch_mates_change_nothing() -> None:
    cost, n, m = costs(3, 9, 8), (9, 4, 6), (3, 8, 5)
    cost[1, 4:], cost[2, :, 5:] = 1e6, torch.nan
    cost.requires_grad_()
    together = soft_dtw(cost, 0.1, torch.tensor(n), torch.tensor(m))
    together.sum().backward()
    assert cost.grad is not None
    for b in range(3):
        own = cost.detach()[b : b + 1, : n[b], : m[b]].clone().requires_grad_()
        alone = soft_dtw(own, 0.1)
        alone.sum().backward()
        assert own.grad is not None
        torch.testing.assert_close(together[b], alone[0])
        torch.testing.assert_close(cost.grad[b, : n[b], : m[b]], own.grad[0])
        assert cost.grad[b].sum().item() == pytest.approx(own.grad.sum().item())


def test_single_precision_at_the_size_of_a_training_step() -> None:
    exact, single = costs(1, 256, 256).requires_grad_(), costs(1, 256, 256).float().requires_grad_()
    for cost in (exact, single):
        soft_dtw(cost, 0.1).sum().backward()
    assert soft_dtw(single, 0.1).item() == pytest.approx(soft_dtw(exact, 0.1).item(), rel=1e-5)
    assert exact.grad is not None and single.grad is not None
    torch.testing.assert_close(single.grad.double(), exact.grad, atol=2e-2, rtol=0.0)


@pytest.mark.gpu
def test_same_on_the_gpu() -> None:
    lengths = torch.tensor([60, 33]), torch.tensor([50, 50])
    here = costs(2, 60, 50).requires_grad_()
    there = here.detach().cuda().requires_grad_()
    values = [soft_dtw(cost, 0.1, *lengths) for cost in (here, there)]
    for value in values:
        value.sum().backward()
    assert here.grad is not None and there.grad is not None
    torch.testing.assert_close(values[1].cpu(), values[0])
    torch.testing.assert_close(there.grad.cpu(), here.grad)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"cost has shape \(4, 5\); soft_dtw needs \(B, N, M\)"):
        soft_dtw(costs(4, 5), 0.1)
    with pytest.raises(InputError, match="gamma is 0.0; it must be a finite number of at least 1e-12"):
        soft_dtw(costs(1, 4, 5), 0.0)
