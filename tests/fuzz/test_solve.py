"""Transport: solve, make_problem, the structural priors, the recipes, long recordings."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.fuzz.conftest import attempt, inputs, odd, odd_size, usually
from vasot_lib.transport import Alignment, Distinct, Far, Near, Plan, Segmentation, align_long, solve

DTYPES = [*[torch.float32] * 8, *[torch.float64] * 5, torch.float16, torch.bfloat16, torch.int64]
weights = usually(st.sampled_from([1e-12, 1e-6, 1e-3, 0.01, 0.07, 0.5, 10.0, 1e6, 1e12]))
relaxations = st.none() | weights
sizes = st.integers(1, 20)
schedules = {
    "scheme": usually(st.sampled_from(["sinkhorn", "mirror"])), "iterations": usually(st.integers(1, 5), odd_size),
    "sweeps": usually(st.integers(1, 3), odd_size), "finish": usually(st.booleans()),
}  # fmt: skip


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@st.composite
def costs(draw: st.DrawFn) -> Any:
    """Costs of any scale and sign, some with a value that is none, some of another type or shape."""
    shape, seed = (draw(st.integers(1, 2)), draw(sizes), draw(sizes)), draw(st.integers(0, 99))
    scale = draw(st.sampled_from([1e-6, *[1.0] * 5, 30.0, 1e4, 1e15, *[1e30] * (seed == 0)]))
    cost = (random(shape, seed) - draw(st.sampled_from([0.0, 0.0, 0.5, 1.0]))) * scale
    match draw(st.integers(0, 15)):
        case 0:
            cost[-1, 0, -1] = draw(st.sampled_from([float("nan"), float("inf"), -float("inf")]))
        case 1:
            return draw(st.sampled_from([cost[0], cost.numpy(), cost.tolist(), cost[:, :0], None, 3.0, "cost"]))
        case 2:
            return cost.round()  # many equal entries
    return cost.to(draw(st.sampled_from(DTYPES)))


def masks(batch: int, n: int) -> st.SearchStrategy[Any]:
    lengths = st.lists(st.integers(1, n), min_size=batch, max_size=batch)
    real = lengths.map(lambda each: torch.arange(n) < torch.tensor(each)[:, None])
    others = (torch.zeros(batch, n, dtype=torch.bool), torch.ones(n, dtype=torch.bool), torch.ones(batch, n), [[True]])
    return st.none() | usually(real, st.sampled_from([*others, torch.arange(n).expand(batch, n) > 0]))


def masses(mask: Any, batch: int, n: int) -> st.SearchStrategy[Any]:
    def some(seed: int) -> Tensor:
        mass = random((batch, n), seed) * (mask if isinstance(mask, Tensor) and mask.shape == (batch, n) else 1.0)
        mass[:, n // 2 :: 3] *= seed % 3 > 0  # real entries without mass
        return mass / mass.sum(1, keepdim=True)

    bad = st.sampled_from([torch.ones(batch, n), -torch.ones(batch, n), torch.full((batch, n), torch.nan), [1.0]])
    return st.none() | usually(st.integers(0, 99).map(some), bad)


priors = st.builds(
    lambda kind, radius, free: lambda: Distinct() if kind is Distinct else kind(radius, free),
    st.sampled_from([Near, Far, Far, Distinct]),
    usually(st.sampled_from([0.3, 0.5, 1.0]), odd | st.sampled_from([0.01, 1e-9])),
    usually(st.sampled_from([0, 0, 1]), odd | st.integers(2, 30)),
)  # fmt: skip


def check(plan: Plan, shape: tuple[int, ...], finish: bool) -> None:
    """Finite, of the right shape and type, the masses of the sides that are fixed, and errors as they are reported."""
    problem, matrix = plan.problem, plan.matrix
    assert matrix.shape == shape and matrix.dtype == problem.cost.dtype
    for value in (matrix, plan.objective, plan.residual, plan.marginal_error_x, plan.marginal_error_y):
        assert value.isfinite().all()
    assert (matrix >= 0).all()
    for sums, mass, reported in (
        (matrix.sum(2), problem.p, plan.marginal_error_x),
        (matrix.sum(1), problem.q, plan.marginal_error_y),
    ):
        assert (sums[mass == 0] == 0).all()
        off = (sums - mass).abs() if problem.total_mass is None else (sums - mass).clamp_min(0.0)
        error = (off / mass.clamp_min(1e-30)).masked_fill(mass == 0, 0.0).amax(1)
        torch.testing.assert_close(reported, error, rtol=1e-3, atol=1e-4)
    if problem.relax_x is None or problem.relax_y is None:
        total = torch.full((len(matrix),), problem.total_mass or 1.0, dtype=matrix.dtype)
        torch.testing.assert_close(matrix.sum((1, 2)), total, rtol=0, atol=1e-4)
    if problem.total_mass is None and (problem.relax_x is None or problem.relax_y is None):
        rows_last = finish if problem.balanced else problem.relax_x is None
        assert (plan.marginal_error_x if rows_last else plan.marginal_error_y).max() < 1e-3


@inputs(1200)
@given(data=st.data())
def test_solve(data: st.DataObject) -> None:
    draw = data.draw
    cost = draw(costs())
    shape = tuple(cost.shape) if isinstance(cost, Tensor) and cost.ndim == 3 else (1, 4, 4)
    mask_x, mask_y = draw(masks(shape[0], max(shape[1], 1))), draw(masks(shape[0], shape[2]))
    options = {name: draw(values) for name, values in schedules.items()}
    options |= dict(
        epsilon=draw(weights), relax_x=draw(st.none() | st.none() | relaxations), relax_y=draw(relaxations),
        mask_x=mask_x, mask_y=mask_y, mass_x=draw(masses(mask_x, shape[0], max(shape[1], 1))),
        mass_y=draw(masses(mask_y, shape[0], shape[2])), tolerance=draw(usually(st.just(1e-3))),
        total_mass=draw(st.none() | st.none() | usually(st.sampled_from([0.3, 0.9, 1.0]))),
        trace=draw(usually(st.just(False))), alpha=draw(usually(st.sampled_from([0.0, 0.3, 0.7, 1.0]))),
    )  # fmt: skip
    structured, first, second = draw(st.booleans()), draw(priors), draw(priors)

    def call() -> Plan:
        structure = draw(usually(st.just((first(), second())))) if structured else None
        return solve(cost, structure, **options)

    plan = attempt("solve", call)
    if plan is not None:
        check(plan, shape, options["finish"])


def embeddings(draw: st.DrawFn, *shape: int) -> Any:
    x = random(shape, draw(st.integers(0, 99))) - 0.4
    match draw(st.integers(0, 19)):
        case 0:
            x[..., 0, 0] = draw(st.sampled_from([float("nan"), float("inf")]))
        case 1:
            x[..., 0, :] = 0.0
        case 2:
            return draw(st.sampled_from([x.numpy(), x.tolist(), x[..., :0], x[..., :-1], x.long(), x.double(), x[0]]))
        case 3:
            x *= 1e30
    return x


recipe_options = {
    "alpha": usually(st.sampled_from([0.0, 0.3, 0.9])), "radius": usually(st.sampled_from([0.3, 0.5, 1.0])),
    "rho": usually(st.sampled_from([0.0, 0.35, 5.0, 1e12])), "epsilon": weights, "relax": relaxations, **schedules,
}  # fmt: skip
dummies = {
    "dummy": usually(st.sampled_from(["none", "soft", "threshold"])), "zeta": usually(st.sampled_from([0.0, 0.5])),
    "dummy_mass": st.none() | usually(st.sampled_from([0.0, 0.2, 0.99])), "structured_dummy": usually(st.booleans()),
}  # fmt: skip


@inputs(500)
@given(data=st.data())
def test_recipes(data: st.DataObject) -> None:
    draw = data.draw
    batch, n, m = draw(st.integers(1, 2)), draw(st.integers(1, 16)), draw(st.integers(1, 16))
    x, y = embeddings(draw, batch, n, 4), embeddings(draw, batch, m, 4)
    mask_x, mask_y = (torch.ones(batch, size, dtype=torch.bool) for size in (n, m))
    if draw(st.booleans()):
        mask_x, mask_y = draw(masks(batch, n)), draw(masks(batch, m))
    options = {name: draw(values) for name, values in {**recipe_options, **dummies}.items()}
    targets = attempt("recipes", lambda: Alignment(**options).match(x, y, mask_x, mask_y))
    if targets is not None:
        assert targets.x_to_y.shape == (batch, n, m) and targets.y_to_x.shape == (batch, m, n)
        assert targets.x_to_y.isfinite().all() and (targets.x_to_y >= 0).all()
        if options["finish"] or options["relax"] is not None:
            assert (targets.x_to_y.sum(2) <= 1 + 1e-3).all()
    actions = embeddings(draw, draw(st.integers(1, 6)), 4)
    options = {name: value for name, value in options.items() if name in recipe_options}
    found = attempt("recipes", lambda: Segmentation(**options).match(x, actions, mask_x))
    if found is not None:
        assert found[0].shape == (batch, n, len(actions)) and found[0].isfinite().all()


@inputs(300)
@given(data=st.data())
def test_long(data: st.DataObject) -> None:
    draw = data.draw
    n, m = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    x, y = embeddings(draw, n, 4), embeddings(draw, m, 4)
    options = {name: draw(values) for name, values in {**recipe_options, **dummies}.items()}
    bins, sweeps = draw(usually(st.integers(2, 20), odd_size)), draw(usually(st.integers(0, 3), odd_size))

    def rows() -> Tensor:
        return align_long(x, y, Alignment(**options), bins, sweeps).rows(0, len(x))

    plan = attempt("long", rows)
    if plan is not None:
        assert plan.shape == (n, m) and plan.isfinite().all() and (plan >= 0).all() and (plan.sum(1) <= 1 + 1e-3).all()
