"""Partial transport: a plan of a given total mass whose row and column masses are bounds."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from vasot_lib.errors import InputError
from vasot_lib.transport import Distinct, Far, Near, solve
from vasot_lib.transport.fused import gpu
from vasot_lib.transport.problem import make_problem
from vasot_lib.transport.reference import Schedule

N, M = 12, 9
EXACT = {"iterations": 400, "tolerance": 1e-8}


def costs(batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(batch, N, M, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def masses() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    drawn = [torch.rand(2, size, generator=generator, dtype=torch.float64) + 0.2 for size in (N, M)]
    return tuple(mass / mass.sum(1, keepdim=True) for mass in drawn)  # type: ignore[return-value]


@pytest.mark.parametrize("total", [0.2, 0.6, 0.95])
def test_it_is_the_entropic_plan_of_pot(total: float) -> None:
    cost, (p, q) = costs(), masses()
    plan = solve(cost, epsilon=0.1, mass_x=p, mass_y=q, total_mass=total, **EXACT)
    assert plan.converged.all()
    for found, c, a, b in zip(plan.matrix, cost, p, q, strict=True):
        expected = ot.partial.entropic_partial_wasserstein(
            a.numpy(), b.numpy(), c.numpy(), 0.1, total, numItermax=20_000, stopThr=1e-14
        )
        np.testing.assert_allclose(found, expected, atol=1e-7)


def test_with_little_entropy_it_is_the_exact_plan_of_pot() -> None:
    cost, (p, q) = costs(), masses()
    plan = solve(cost, epsilon=0.001, mass_x=p, mass_y=q, total_mass=0.5, iterations=400, sweeps=5).matrix
    for found, c, a, b in zip(plan, cost, p, q, strict=True):
        expected = ot.partial.partial_wasserstein(a.numpy(), b.numpy(), c.numpy(), m=0.5)
        assert abs((found.numpy() - expected) * c.numpy()).sum() < 1e-3
        assert (found.numpy() * c.numpy()).sum() == pytest.approx((expected * c.numpy()).sum(), abs=1e-3)


@pytest.mark.parametrize("structure", [(Near(0.2), Far(0.2)), (Near(0.2), Distinct())])
def test_a_fused_plan_is_the_partial_plan_for_its_own_gradient(structure: tuple[Near, Far]) -> None:
    """Stationarity: linearised at the solution, the problem is one of POT's."""
    cost, (p, q) = costs(), masses()
    plan = solve(
        cost, structure, alpha=0.3, epsilon=0.2, mass_x=p, mass_y=q, total_mass=0.6, iterations=1000, tolerance=1e-7
    )
    assert plan.converged.all()
    gradient = plan.problem.gradient(plan.matrix)
    for found, g, a, b in zip(plan.matrix, gradient, p, q, strict=True):
        expected = ot.partial.entropic_partial_wasserstein(
            a.numpy(), b.numpy(), g.numpy(), 0.2, 0.6, numItermax=20_000, stopThr=1e-14
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scheme", ["sinkhorn", "mirror"])
def test_the_total_is_met_and_bounds_are_kept_by_both_schemes(scheme: str, dtype: torch.dtype) -> None:
    plan = solve(costs(dtype=dtype), (Near(0.2), Far(0.2)), alpha=0.4, epsilon=0.05, total_mass=0.7, scheme=scheme)
    torch.testing.assert_close(plan.matrix.sum((1, 2)), torch.full((2,), 0.7, dtype=dtype), atol=1e-5, rtol=0)
    assert (
        (plan.matrix >= 0).all() and (plan.matrix.sum(2) <= 1.001 / N).all() and (plan.matrix.sum(1) <= 1.001 / M).all()
    )
    assert (plan.marginal_error_x <= 1e-3).all() and (plan.marginal_error_y <= 1e-3).all()


def test_all_of_the_mass_is_balanced_transport() -> None:
    balanced = solve(costs(), epsilon=0.1, **EXACT).matrix
    torch.testing.assert_close(solve(costs(), epsilon=0.1, total_mass=1.0, **EXACT).matrix, balanced, atol=1e-6, rtol=0)


def test_rows_without_a_cheap_partner_are_left_out() -> None:
    """Four frames match one to one; the others of X and Y are like nothing in the other video."""
    cost = torch.ones(1, 6, 5)
    cost[0, torch.arange(4), torch.arange(4)] = 0.0
    plan = solve(cost, epsilon=0.02, total_mass=0.6).matrix[0]
    assert plan[4:].sum() < 1e-6 and plan[:, 4].sum() < 1e-6 and plan.diagonal().sum() == pytest.approx(0.6, abs=1e-4)


def test_padding_other_samples_and_forbidden_pairs() -> None:
    cost = costs(3)
    cost[2, 3, 4] = torch.inf
    mask = torch.ones(3, N, dtype=torch.bool)
    mask[1, 8:] = False
    settings = {"alpha": 0.3, "epsilon": 0.1, "total_mass": 0.6}
    together = solve(cost, (Near(0.2), Far(0.2)), mask_x=mask, **settings).matrix
    for row, part in enumerate((cost[:1], cost[1:2, :8], cost[2:])):
        alone = solve(part, (Near(0.2), Far(0.2)), **settings).matrix[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-9, rtol=1e-6)
    assert (together[1, 8:] == 0).all() and together[2, 3, 4] == 0


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for total, message in ((0.0, "total_mass is 0.0; it must be"), (1.1, "total_mass is 1.1")):
        with pytest.raises(InputError, match=message):
            solve(costs(), total_mass=total)
    with pytest.raises(InputError, match="total_mass is 0.5 and a side is relaxed; give total_mass, or"):
        solve(costs(), total_mass=0.5, relax_y=0.1)
    with pytest.raises(InputError, match="potentials are for plans without it"):
        solve(costs(), total_mass=0.5).potentials()
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(gpu, "_has_triton", lambda: True)
    problem = make_problem(costs(dtype=torch.float32), total_mass=0.5)
    assert not gpu.takes(problem, Schedule("sinkhorn", 25, 1, True, 1e-3))
