"""Objective and gradient against autograd, finite differences and POT."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import ot
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.helpers import random_cost
from vasot_lib.errors import InputError
from vasot_lib.transport import (
    Distinct,
    Far,
    Near,
    add_dummy,
    cosine_cost,
    dummy_marginal,
    make_problem,
    solve,
    temporal_prior,
)
from vasot_lib.transport.problem import check_memory

SIDES = [(Near(0.2), Far(0.2)), (Near(0.2), Distinct())]


def test_cosine_cost_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    y = torch.tensor([[3.0, 0.0], [-1.0, 0.0]])
    assert cosine_cost(x, y).tolist() == [[0, 2], [1, 1], [1, 1]]  # an all-zero frame costs 1, not NaN
    for half in (torch.float16, torch.bfloat16):
        assert cosine_cost(x.to(half), y.to(half)).tolist() == [[0, 2], [1, 1], [1, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cosine_cost_does_not_depend_on_lengths(dtype: torch.dtype) -> None:
    x, y = random_cost(1, 5, 4)[0].to(dtype) - 0.5, random_cost(1, 3, 4, seed=1)[0].to(dtype) - 0.5
    for length in (torch.finfo(dtype).tiny, 1e-30, 1e-13, 1e20, torch.finfo(dtype).max / 4):
        torch.testing.assert_close(cosine_cost(x * length, y), cosine_cost(x, y))
        torch.testing.assert_close(cosine_cost(x, y * length), cosine_cost(x, y))


def test_cosine_cost_has_the_gradient_of_its_formula() -> None:
    x, y = (random_cost(1, n, 4, seed=n)[0].sub(0.5).requires_grad_() for n in (5, 3))
    assert torch.autograd.gradcheck(cosine_cost, (x, y))
    zero = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    cosine_cost(zero, y).sum().backward()
    assert zero.grad is not None and zero.grad.isfinite().all()


def test_temporal_prior_by_hand() -> None:
    expected = torch.tensor([[0, 0.5], [0.25, 0.25], [0.5, 0], [0.75, 0.25]])
    torch.testing.assert_close(temporal_prior(4, 2), expected)


def test_trap_temporal_prior_uses_real_lengths_not_padded_ones() -> None:
    prior = temporal_prior(6, 4, torch.tensor([4, 6]), torch.tensor([2, 4]))
    torch.testing.assert_close(prior[0, :4, :2], temporal_prior(4, 2))
    torch.testing.assert_close(prior[1], temporal_prior(6, 4))


@pytest.mark.parametrize("structure", SIDES)
@pytest.mark.parametrize("relax", [(None, None), (None, 0.3), (0.2, None), (0.2, 0.3)])
def test_gradient_is_that_of_the_objective(
    structure: tuple[Near, Far | Distinct], relax: tuple[float | None, float | None]
) -> None:
    problem = make_problem(random_cost(2, 12, 8), structure, alpha=0.4, epsilon=0.1, relax_x=relax[0], relax_y=relax[1])
    plan = random_cost(2, 12, 8, seed=1) / 100 + 0.001
    plan.requires_grad_()
    (exact,) = torch.autograd.grad(problem.objective(plan).sum(), plan)
    with torch.no_grad():
        ours = problem.gradient(plan) + problem.epsilon * plan.log()
        for weight, dim, mass in ((relax[0], 2, problem.p), (relax[1], 1, problem.q)):
            if weight is not None:
                ours = ours + (weight * (plan.sum(dim) / mass).log()).unsqueeze(dim)
        torch.testing.assert_close(ours, exact, rtol=1e-8, atol=1e-10)
        # One finite difference, so that autograd and formula cannot be wrong together.
        bump = torch.zeros_like(plan)
        bump[0, 3, 5] = 1e-6
        slope = (problem.objective(plan + bump) - problem.objective(plan - bump))[0] / 2e-6
        assert slope == pytest.approx(exact[0, 3, 5].item(), rel=1e-5)


@given(n=st.integers(6, 20), m=st.integers(6, 20), alpha=st.floats(0.05, 0.9), seed=st.integers(0, 999))
def test_objective_agrees_with_pot_at_any_plan(n: int, m: int, alpha: float, seed: int) -> None:
    """POT's square loss on (-Cx / sqrt 2, Cy / sqrt 2) is the product loss plus constants (SPEC section 2)."""
    structure = (Near(0.3), Far(0.3))
    cost = random_cost(1, n, m, seed)
    problem = make_problem(cost, structure, alpha=alpha, epsilon=0.1)
    rng = np.random.default_rng(seed)
    p, q = np.full(n, 1 / n), np.full(m, 1 / m)
    plan = ot.sinkhorn(p, q, rng.random((n, m)), 0.3, numItermax=5000, stopThr=1e-14)
    cx, cy = (side.dense(size).numpy() for side, size in zip(structure, (n, m), strict=True))
    const, hx, hy = ot.gromov.init_matrix(-cx / 2**0.5, cy / 2**0.5, p, q, "square_loss")
    product_loss = ot.gromov.gwloss(const, hx, hy, plan) - 0.5 * (p @ cx**2 @ p + q @ cy**2 @ q)
    entropy = -np.sum(plan * np.log(plan)) + plan.sum()
    expected = (1 - alpha) * np.sum(cost[0].numpy() * plan) + alpha / 2 * product_loss - 0.1 * entropy
    assert problem.objective(torch.from_numpy(plan)[None]).item() == pytest.approx(expected, abs=1e-9)


def test_terms_by_hand() -> None:
    """Two frames each: Cx is 2 off the diagonal and Cy the identity, so neighbours pay where they share a partner."""
    cost = torch.tensor([[[0.4, 2.0], [2.0, 0.4]]], dtype=torch.float64)
    problem = make_problem(cost, (Near(0.5), Far(0.5)), alpha=0.3, epsilon=0.1)
    ordered, split = torch.eye(2, dtype=torch.float64)[None] / 2, torch.full((1, 2, 2), 0.25, dtype=torch.float64)
    linear, structure, entropy, relaxation = (term.item() for term in problem.terms(ordered))
    assert (linear, structure, relaxation) == (pytest.approx(0.7 * 0.4), 0.0, 0.0)
    assert entropy == pytest.approx(-0.1 * (np.log(2) + 1))
    # T Cy = T is 1/4 everywhere, so Cx T Cy is 1/2 everywhere.
    assert problem.terms(split).structure.item() == pytest.approx(0.15 * 0.5)


@pytest.mark.parametrize("structure", [None, *SIDES])
@pytest.mark.parametrize("relax_y", [None, 0.3])
def test_terms_add_up_to_the_objective(structure: tuple[Near, Far | Distinct] | None, relax_y: float | None) -> None:
    alpha = 0.4 if structure else 0.0
    problem = make_problem(random_cost(3, 12, 8), structure, alpha=alpha, epsilon=0.1, relax_y=relax_y)
    plan = random_cost(3, 12, 8, seed=1) / 100 + 0.001
    terms = problem.terms(plan)
    assert all(term.shape == (3,) for term in terms)
    torch.testing.assert_close(sum(terms), problem.objective(plan))
    assert (terms.relaxation == 0).all() == (relax_y is None)
    if structure is not None:
        rows, columns = (side.dense(size) for side, size in zip(structure, (12, 8), strict=True))
        torch.testing.assert_close(terms.structure, 0.2 * ((rows @ plan @ columns) * plan).sum((1, 2)))
    bare = make_problem(problem.cost, epsilon=0.1)  # linear term and entropy alone
    torch.testing.assert_close(terms.linear, (1 - alpha) * (bare.objective(plan) - terms.entropy))


BAD = {
    "shape": (dict(cost=torch.zeros(3, 4)), r"cost has shape \(3, 4\); expected \(batch, rows, columns\)"),
    "empty": (dict(cost=torch.zeros(1, 0, 4)), "none of them 0"),
    "dtype": (dict(cost=torch.zeros(1, 3, 4, dtype=torch.int64)), "torch.int64; convert it"),
    "nan": (dict(cost=torch.full((1, 3, 4), torch.nan)), "NaN or -infinity, first at sample 0, row 0, column 0"),
    "alpha": (dict(alpha=1.2), "alpha is 1.2"),
    "epsilon": (dict(epsilon=0.0), "epsilon is 0.0; it must be a finite number of at least 1e-12 and at most 1"),
    "huge epsilon": (dict(epsilon=1e39), "epsilon is 1e.39; it must be a finite number of at least 1e-12 and at most"),
    "tiny epsilon": (dict(epsilon=1e-46), "epsilon is 1e-46"),
    "huge relaxation": (dict(relax_y=1e300), "relax_y is 1e.300; it must be"),
    "huge cost": (dict(cost=torch.full((1, 3, 4), -1e30)), "cost holds -1e.30, first at sample 0, row 0, column 0; it"),
    "array": (dict(cost=np.zeros((1, 3, 4))), "cost is of type numpy.ndarray; pass a torch.Tensor"),
    "mask of lists": (dict(mask_y=[[True] * 4]), "mask_y is of type list; pass a torch.Tensor"),
    "mass of integers": (dict(mass_x=torch.tensor([[1, 0, 0]])), "mass_x is torch.int64; convert it to torch.float32"),
    "mask on another device": (
        dict(mask_x=torch.ones(1, 3, dtype=torch.bool, device="meta")),
        "mask_x is on meta but cost on cpu; move",
    ),
    "one prior": (dict(alpha=0.3, structure=Near(0.5)), "structure is Near"),
    "too large a dummy": (dict(alpha=0.3, structure=(Near(0.5, 3), Far(0.5))), "free leaves 0 frames"),
    "relax": (dict(relax_y=-1.0), "relax_y is -1.0"),
    "relax of rows": (dict(relax_x=-1.0), "relax_x is -1.0"),
    "mask of numbers": (dict(mask_x=torch.ones(1, 3)), "mask_x is torch.float32; convert it to torch.bool"),
    "mass shape": (
        dict(mass_y=torch.ones(1, 3) / 3),
        r"mass_y is torch.float32 of shape \(1, 3\); expected torch.float32",
    ),
    "mass of columns": (dict(mass_y=torch.ones(1, 4)), r"mass_y sums to \[4.0\]; each sample's mass must sum to 1"),
    "mass on padding": (
        dict(mass_x=torch.tensor([[0.5, 0.2, 0.3]]), mask_x=torch.tensor([[True, True, False]])),
        "mass_x is negative somewhere, or not zero on padding",
    ),
    "empty columns": (
        dict(mask_y=torch.zeros(1, 4, dtype=torch.bool)),
        "mask_y leaves no real entry in sample 0; drop",
    ),
    "late nan": (
        dict(cost=torch.tensor([[[0.0, 1.0], [2.0, -torch.inf]]]), mask_x=torch.ones(1, 2, dtype=torch.bool)),
        "NaN or -infinity, first at sample 0, row 1, column 1",
    ),
    "no structure": (dict(alpha=0.3), "no structure is given"),
    "mask shape": (dict(mask_x=torch.ones(1, 4, dtype=torch.bool)), r"expected torch.bool of shape \(1, 3\)"),
    "empty mask": (dict(mask_x=torch.zeros(1, 3, dtype=torch.bool)), "no real entry in sample 0"),
    "mask order": (dict(mask_x=torch.tensor([[False, True, True]])), "padding before real entries"),
    "mass sum": (dict(mass_x=torch.ones(1, 3)), "must sum to 1"),
    "mass sign": (dict(mass_x=torch.tensor([[1.5, -0.5, 0.0]])), "mass_x is negative"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line(case: str) -> None:
    arguments, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        make_problem(**({"cost": torch.zeros(1, 3, 4)} | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prior", [Near, Far])
def test_priors_refuse_what_no_window_can_have(prior: type) -> None:
    """What reaches compiled code is checked before: free = -1 wrote before the memory of the plan."""
    for radius in (0.0, -0.1, 1.5, 1e12, float("nan"), float("inf"), "a"):
        with pytest.raises(
            InputError, match=f"{prior.__name__}.radius is .*; it must be a finite number above 0 and at"
        ):
            prior(radius)
    for free in (-1, 0.5, True):
        with pytest.raises(
            InputError, match=f"{prior.__name__}.free is {free}; it must be a whole number of at least 0"
        ):
            prior(0.5, free)


def test_nan_in_padding_is_ignored() -> None:
    cost = torch.zeros(1, 3, 4)
    cost[:, 2] = torch.nan
    assert make_problem(cost, mask_x=torch.tensor([[True, True, False]])).cost.isfinite().all()


def test_arguments_of_costs_and_dummies_are_named() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    for call, message in (
        (lambda: temporal_prior(0, 3), "n is 0; it must be a whole number of at least 1"),
        (lambda: temporal_prior(3, 0), "m is 0; it must be a whole number of at least 1"),
        (lambda: temporal_prior(3, 3, torch.tensor([2, 0])), r"lengths are \[2, 0\]; every sample needs a real frame"),
        (lambda: add_dummy(torch.zeros(1, 2, 2), -1.0), "zeta is -1.0; it must be a finite number of at least 0"),
        (lambda: dummy_marginal(mask.float(), None), "mask is torch.float32; convert it to torch.bool"),
        (lambda: dummy_marginal(mask[0], None), r"mask has shape \(3,\); expected \(batch, frames\), a real frame in"),
        (lambda: dummy_marginal(torch.zeros_like(mask), None), r"mask has shape \(1, 3\); expected .* a real frame in"),
        (lambda: solve(torch.zeros(1, 3, 3), tolerance=0.0), "tolerance is 0.0; it must be a finite number above 0"),
        (lambda: solve(torch.zeros(1, 3, 3), finish=1), "finish is 1; it must be True or False"),
        (lambda: solve(torch.zeros(1, 3, 3), trace=0), "trace is 0; it must be True or False"),
    ):
        with pytest.raises(InputError, match=f"^{message}"):
            call()


def test_the_prior_is_made_where_it_is_asked_for() -> None:
    assert temporal_prior(3, 4, device="meta").is_meta
    assert temporal_prior(1, 2, torch.tensor([1]), torch.tensor([1])).tolist() == [[[0.0, 1.0]]]


def test_what_does_not_fit_into_memory_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = torch.zeros(1, 1, 1).expand(2, 2**13, 2**13)  # half a GiB in float32, of which one number is stored
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * 2**29))
    check_memory(cost, 3)
    check_memory(torch.zeros(1, 3, 3), 3)
    with pytest.raises(
        InputError, match=r"^plans of 2 x 8192 x 8192 need 4 buffers, 2\.0 GiB, and 1\.5 GiB are free; use a"
    ):
        check_memory(cost, 4)
