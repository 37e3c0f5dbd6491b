"""Forbidden pairs, whose cost is infinite: they get no mass, and the rest is what it is without them."""

from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from vasot_lib.errors import InputError
from vasot_lib.transport import Distinct, Far, Near, solve
from vasot_lib.transport.fused import gpu
from vasot_lib.transport.problem import make_problem
from vasot_lib.transport.reference import Schedule, run

PRIORS = {"alignment": (Near(0.2), Far(0.2)), "segmentation": (Near(0.2), Distinct())}
SIDES: dict[str, dict[str, float | None]] = {
    "balanced": {}, "relaxed": {"relax_y": 0.1}, "both relaxed": {"relax_x": 0.2, "relax_y": 0.1},
}  # fmt: skip

SWINGS = "both relaxed", "mirror"


def forbidding(dtype: torch.dtype = torch.float64, n: int = 13, m: int = 9, batch: int = 3) -> Tensor:
    """Costs of which a third are infinite; every row and column keeps some pairs, and balanced plans exist."""
    generator = torch.Generator().manual_seed(4)
    cost = torch.rand(batch, n, m, generator=generator, dtype=torch.float64)
    forbidden = torch.rand(batch, n, m, generator=generator) < 0.33
    forbidden |= torch.arange(n)[:, None] == torch.arange(m)  # the diagonal too
    return cost.masked_fill(forbidden, torch.inf).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [0.0, 0.4])
@pytest.mark.parametrize(
    ("sides", "scheme"),
    # Where the mass itself is free, explicit steps can swing up, with ordinary costs too.
    [(sides, scheme) for sides in SIDES for scheme in ("sinkhorn", "mirror") if (sides, scheme) != SWINGS],
)
@pytest.mark.parametrize("task", PRIORS)
def test_forbidden_pairs_get_no_mass_and_masses_are_met(
    task: str, sides: str, alpha: float, dtype: torch.dtype, scheme: Any
) -> None:
    cost = forbidding(dtype)
    options = {"alpha": alpha, "epsilon": 0.07, **SIDES[sides]}
    plan = solve(cost, PRIORS[task], scheme=scheme, **options)
    assert (plan.matrix[cost.isinf()] == 0).all() and plan.matrix.isfinite().all() and plan.objective.isfinite().all()
    assert (plan.matrix.sum((1, 2)) > 0.3).all()
    if "relax_x" not in options:
        assert (plan.marginal_error_x < 1e-3).all()
    if "relax_y" not in options:
        assert (plan.marginal_error_y < 1e-3).all()
    problem = make_problem(cost.double(), PRIORS[task], **options)
    exact = run(problem, Schedule(scheme, 25, 1, True, 1e-3)).matrix
    assert (plan.matrix.double() - exact).abs().max() < 1e-5


def test_it_is_the_plan_of_pot_for_a_large_cost() -> None:
    cost = forbidding(batch=1)
    p, q = np.full(13, 1 / 13), np.full(9, 1 / 9)
    large = cost[0].masked_fill(cost[0].isinf(), 1e3).numpy()
    expected = ot.bregman.sinkhorn_log(p, q, large, 0.1, numItermax=20_000, stopThr=1e-12)
    found = solve(cost, epsilon=0.1, iterations=300, tolerance=1e-9).matrix[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("scheme", ["sinkhorn", "mirror"])
@pytest.mark.parametrize("options", [{}, {"alpha": 0.3, "relax_y": 0.1}])
def test_a_single_allowed_pair_per_row_is_the_plan(options: dict[str, float], scheme: Any) -> None:
    order = torch.tensor([2, 0, 3, 1])
    cost = torch.full((1, 4, 4), torch.inf)
    cost[0, torch.arange(4), order] = torch.tensor([0.3, 0.9, 0.1, 0.5])
    plan = solve(cost, (Near(0.3), Far(0.3)), scheme=scheme, **options).matrix[0]
    torch.testing.assert_close(plan, torch.eye(4)[order] / 4, atol=1e-6, rtol=0)


def test_other_samples_and_padding_do_not_matter() -> None:
    cost = forbidding(torch.float32, batch=2)
    ordinary = torch.rand(1, 13, 9, generator=torch.Generator().manual_seed(1))
    mask_x = torch.ones(3, 13, dtype=torch.bool)
    mask_x[1, 10:] = False
    for options in ({"relax_y": 0.1, "scheme": "mirror"}, {"scheme": "sinkhorn"}):
        settings = {"alpha": 0.4, "epsilon": 0.07, **options}
        together = solve(torch.cat((cost, ordinary)), PRIORS["alignment"], mask_x=mask_x, **settings).matrix
        parts = cost[:1], cost[1:, :10], ordinary
        for row, part in enumerate(parts):
            alone = solve(part, PRIORS["alignment"], **settings).matrix[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-7, rtol=1e-5)
        assert (together[1, 10:] == 0).all()


def test_a_plan_that_cannot_exist_is_not_called_converged() -> None:
    """Two rows of mass 2/3 may only go to one column of mass 1/3."""
    cost = torch.tensor([[[0.0, torch.inf, torch.inf], [0.0, torch.inf, torch.inf], [0.0, 0.0, 0.0]]])
    plan = solve(cost)
    assert not plan.converged.any() and plan.matrix.isfinite().all() and (plan.matrix[cost.isinf()] == 0).all()


@pytest.mark.parametrize(
    ("cost", "options", "message"),
    [
        (
            [[0.0, 1.0], [torch.inf, torch.inf]],
            {},
            "forbids all pairs of row 1 of sample 0; allow one, or leave it out",
        ),
        ([[0.0, torch.inf], [1.0, torch.inf]], {}, "forbids all pairs of column 1 of sample 0"),
        ([[0.0, torch.inf], [1.0, 0.0]], {"alpha": 1.0}, "forbids pairs, but .1 - alpha. / epsilon is 0; it must"),
        ([[0.0, -torch.inf], [1.0, 0.0]], {}, "cost holds NaN or -infinity, first at sample 0, row 0, column 1"),
        ([[0.0, torch.inf], [1.0, torch.nan]], {}, "cost holds NaN or -infinity, first at sample 0, row 1, column 1"),
    ],
)
def test_what_cannot_be_solved_is_refused(cost: list[list[float]], options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve(torch.tensor([cost]), (Near(0.5), Far(0.5)), **options)


def test_a_row_whose_allowed_pairs_are_all_padding_is_refused() -> None:
    mask = torch.tensor([[True, True, False]])
    cost = torch.zeros(1, 3, 3)
    cost[0, 0, :2] = torch.inf
    with pytest.raises(InputError, match="all pairs of row 0"):
        solve(cost, mask_y=mask)


def test_the_kernel_of_the_gpu_does_not_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(gpu, "_has_triton", lambda: True)
    schedule = Schedule("sinkhorn", 25, 1, True, 1e-3)
    assert gpu.takes(make_problem(torch.zeros(1, 3, 3)), schedule)
    assert not gpu.takes(make_problem(forbidding(torch.float32)), schedule)
