"""Dual potentials: known answers, POT's, the plan rebuilt from them, padding, every path of the solver."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from tests.transport.helpers import random_cost, random_walk
from vasot_lib.transport import Distinct, Far, Near, Plan, cosine_cost, solve, temporal_prior

RELAXATIONS = [(None, None), (None, 0.1), (0.1, None), (0.1, 0.1)]
everything = pytest.mark.parametrize("relax", RELAXATIONS, ids=["balanced", "relax_y", "relax_x", "relaxed"])
both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["reference", "fused"])


def rebuilt(plan: Plan) -> Tensor:
    """``exp((f_i + g_j - G_ij) / eps)`` on real entries."""
    problem, (f, g) = plan.problem, plan.potentials()
    real = (problem.p > 0).unsqueeze(2) & (problem.q > 0).unsqueeze(1)
    scores = f.unsqueeze(2) + g.unsqueeze(1) - problem.gradient(plan.matrix)
    return (scores / problem.epsilon).exp().masked_fill(~real, 0.0)


def walks(n: int = 60, m: int = 50, dtype: torch.dtype = torch.float64) -> Tensor:
    return (cosine_cost(random_walk(n, seed=1), random_walk(m, seed=2))[None] + 0.2 * temporal_prior(n, m)).to(dtype)


def test_an_additive_cost_by_hand() -> None:
    """Where C_ij = c_i + d_j every plan is p_i q_j, and both sides of the formula can be written down."""
    c, d = torch.tensor([0.3, 0.1, 0.5], dtype=torch.float64), torch.tensor([0.2, 0.6], dtype=torch.float64)
    f, g = solve((c[:, None] + d)[None], epsilon=0.2).potentials()
    assert torch.allclose(g[0], d - d.mean(), atol=1e-6)
    assert torch.allclose(f[0], 0.2 * np.log(1 / 6) + c + d.mean(), atol=1e-6)


@both_precisions
def test_without_structure_they_are_those_of_pot(dtype: torch.dtype) -> None:
    cost, generator = walks(30, 24), torch.Generator().manual_seed(0)
    p, q = (0.5 + torch.rand(1, n, generator=generator, dtype=torch.float64) for n in (30, 24))
    p, q = p / p.sum(), q / q.sum()
    _, log = ot.sinkhorn(
        p[0].numpy(), q[0].numpy(), cost[0].numpy(), 0.07, numItermax=10_000, stopThr=1e-13, log=True
    )  # fmt: skip
    plan = solve(cost.to(dtype), epsilon=0.07, mass_x=p, mass_y=q, iterations=300, tolerance=1e-6)
    f, g = (potential[0].double().numpy() for potential in plan.potentials())
    theirs_f, theirs_g = 0.07 * np.log(log["u"]), 0.07 * np.log(log["v"])
    constant = q[0].numpy() @ theirs_g  # ours is 0 on average over q
    np.testing.assert_allclose(g, theirs_g - constant, atol=2e-5)
    np.testing.assert_allclose(f, theirs_f + constant, atol=2e-5)
    assert q[0].numpy() @ g == pytest.approx(0.0, abs=1e-6)


def test_relaxed_they_are_those_of_pot() -> None:
    cost = walks(20, 16)
    _, log = ot.unbalanced.sinkhorn_unbalanced(
        np.full(20, 1 / 20), np.full(16, 1 / 16), cost[0].numpy(), 0.1, 0.5, reg_type="entropy", stopThr=1e-13,
        numItermax=10_000, log=True,
    )  # fmt: skip
    f, g = solve(cost, epsilon=0.1, relax_x=0.5, relax_y=0.5, iterations=300).potentials()
    np.testing.assert_allclose(f[0], 0.1 * log["logu"], atol=1e-6)
    np.testing.assert_allclose(g[0], 0.1 * log["logv"], atol=1e-6)


@both_precisions
@everything
def test_relaxed_sides_have_the_closed_form(relax: tuple[float | None, float | None], dtype: torch.dtype) -> None:
    plan = solve(walks(dtype=dtype), (Near(0.05), Far(0.05)), alpha=0.3, relax_x=relax[0], relax_y=relax[1])
    f, g = plan.potentials()
    for weight, potential, masses, mass in (
        (relax[0], f, plan.matrix.sum(2), plan.problem.p),
        (relax[1], g, plan.matrix.sum(1), plan.problem.q),
    ):
        if weight is not None:
            torch.testing.assert_close(potential, -weight * (masses / mass).log(), rtol=1e-4, atol=1e-6)


@both_precisions
@everything
@pytest.mark.parametrize("second", [Far(0.05), Distinct()], ids=["Far", "Distinct"])
def test_a_converged_plan_is_rebuilt_exactly(
    relax: tuple[float | None, float | None], dtype: torch.dtype, second: Far | Distinct
) -> None:
    cost = walks(60, 50 if isinstance(second, Far) else 8, dtype)
    plan = solve(cost, (Near(0.05), second), alpha=0.3, relax_x=relax[0], relax_y=relax[1], iterations=2000)
    moved = 1e-4 if dtype == torch.float32 else 1e-7
    assert plan.residual.item() < moved
    assert (rebuilt(plan) - plan.matrix).abs().sum().item() < 10 * moved


@pytest.mark.parametrize("scheme", ["mirror", "sinkhorn"])
@pytest.mark.parametrize("epsilon", [0.07, 0.02])
@everything
def test_a_plan_that_counts_as_converged_is_rebuilt_to_one_per_cent(
    relax: tuple[float | None, float | None], scheme: str, epsilon: float
) -> None:
    """As the documentation says; and rows that are fixed have their exact masses, converged or not."""
    options = dict(alpha=0.3, epsilon=epsilon, relax_x=relax[0], relax_y=relax[1], scheme=scheme)
    for iterations in (5, 300):
        plan = solve(walks(), (Near(0.05), Far(0.05)), iterations=iterations, **options)
        found = rebuilt(plan)
        if plan.converged.item():
            assert (found - plan.matrix).abs().sum().item() < 0.01
        if relax[0] is None:
            torch.testing.assert_close(found.sum(2), plan.problem.p)
        elif relax[1] is None:
            torch.testing.assert_close(found.sum(1), plan.problem.q)


@both_precisions
@everything
def test_padding_is_zero_and_changes_nothing(relax: tuple[float | None, float | None], dtype: torch.dtype) -> None:
    options = dict(alpha=0.3, relax_x=relax[0], relax_y=relax[1], iterations=100)
    bare = solve(random_cost(1, 30, 24, dtype=dtype), (Near(0.1), Far(0.1)), **options)
    cost = torch.full((2, 47, 31), torch.nan, dtype=dtype)
    cost[0, :30, :24], cost[1] = bare.problem.cost[0], random_cost(1, 47, 31, seed=5, dtype=dtype)[0]
    mask_x, mask_y = (torch.arange(size) < torch.tensor([[n], [size]]) for size, n in ((47, 30), (31, 24)))
    f, g = solve(cost, (Near(0.1), Far(0.1)), mask_x=mask_x, mask_y=mask_y, **options).potentials()
    assert f.dtype == g.dtype == dtype and f.shape == (2, 47) and g.shape == (2, 31)
    assert (f[0, 30:] == 0).all() and (g[0, 24:] == 0).all()
    torch.testing.assert_close(f[0, :30], bare.potentials().f[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(g[0, :24], bare.potentials().g[0], rtol=0, atol=1e-4)


def test_entries_without_mass_have_potential_zero() -> None:
    p = torch.tensor([[0.0, 0.5, 0.5]], dtype=torch.float64)
    plan = solve(random_cost(1, 3, 4), mass_x=p, iterations=300)
    f, g = plan.potentials()
    assert f[0, 0] == 0 and f.isfinite().all() and g.isfinite().all()
    torch.testing.assert_close(rebuilt(plan), plan.matrix, rtol=1e-3, atol=1e-6)


def test_masses_too_small_for_float32_are_left_out() -> None:
    """Many entries of this plan are 0 in float32; the potentials are still those of float64."""
    cost = 10 * walks(40, 40)
    exact, single = (solve(c, epsilon=0.02, iterations=2000, tolerance=1e-5) for c in (cost, cost.float()))
    assert (single.matrix == 0).double().mean() > 0.1 and (exact.matrix > 0).all()
    for ours, theirs in zip(single.potentials(), exact.potentials(), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-4)
