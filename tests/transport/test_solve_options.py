"""What ``solve`` takes beside the problem: masses, options, a trace, no reads of the host, stopping early."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest
import torch

from tests.transport.helpers import check_plan, random_cost
from vasot_lib.errors import InputError
from vasot_lib.transport import Distinct, Far, Near, make_problem, solve, solver
from vasot_lib.transport.fused import gpu
from vasot_lib.transport.problem import NeedsHost, ProblemOptions, without_host_reads


def test_masses_can_be_given() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    plan = solve(random_cost(1, 3, 4), mass_x=p)
    check_plan(plan, p, torch.full((1, 4), 0.25), True, True)


@pytest.mark.parametrize("relax_y", [None, 0.1])
def test_compiled_code_solves_what_it_can_and_nothing_else(
    relax_y: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``Far`` on the rows it would compute another prior."""
    from vasot_lib.transport.fused import cpu

    solved, run = [], cpu.run
    monkeypatch.setattr(cpu, "run", lambda problem, schedule: solved.append(problem) or run(problem, schedule))
    cost = random_cost(1, 12, 10, dtype=torch.float32)
    cases = [
        ((Near(0.2), Far(0.2)), {}, True), (None, {}, True), ((Far(0.2), Far(0.2)), {}, False),
        ((Near(0.2), Distinct()), {"relax_x": 0.1}, False), ((Near(0.2), Far(0.2)), {"trace": True}, False),
    ]  # fmt: skip
    for structure, options, compiled in cases:
        options = dict(alpha=0.0 if structure is None else 0.4, relax_y=relax_y, epsilon=0.2, **options)
        solved.clear()
        single, double = (solve(c, structure, **options) for c in (cost, cost.double()))
        assert len(solved) == compiled, structure
        torch.testing.assert_close(single.matrix.double(), double.matrix, rtol=1e-3, atol=1e-6)


def test_trace_is_none_unless_asked_for() -> None:
    assert solve(random_cost(1, 5, 5)).trace is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(scheme="newton"), "unknown scheme 'newton'; known: mirror, sinkhorn"),
        (dict(iterations=0), "iterations is 0; it must be a whole number of at least 1"),
        (dict(sweeps=0), "sweeps is 0; it must be a whole number of at least 1"),
    ],
)
def test_bad_solver_options(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve(random_cost(1, 3, 3), **arguments)


def test_solve_takes_and_shows_the_arguments_of_the_problem() -> None:
    """They are written once, in make_problem: help() and the type checker must know them all the same."""
    of_problem, of_solve = (inspect.signature(function).parameters for function in (make_problem, solve))
    assert of_problem.items() <= of_solve.items()
    assert list(of_solve)[-7:] == ["scheme", "iterations", "sweeps", "finish", "tolerance", "trace", "stop_early"]
    keywords = {name: hint for name, hint in get_type_hints(make_problem).items() if name not in ("cost", "structure")}
    keywords.pop("return")
    assert get_type_hints(ProblemOptions) == keywords
    with pytest.raises(TypeError, match="unexpected keyword argument 'alhpa'"):
        solve(random_cost(1, 3, 3), alhpa=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_needs_the_host_says_so_before_anything_is_launched(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balanced plans without finishing sweeps, whose lost masses the host looks for; and what reference.py solves."""
    if dtype == torch.float32:
        monkeypatch.setattr(solver, "_implementation", lambda problem, schedule: (gpu.run, 4))
    with without_host_reads(), pytest.raises(NeedsHost):
        solve(torch.rand(1, 3, 3, dtype=dtype), finish=False)


def test_without_host_reads_ends_where_it_should() -> None:
    """Within it a solve with full samples is the same."""
    good, bad = torch.rand(1, 3, 4), torch.full((1, 3, 3), float("nan"))
    with without_host_reads():
        plan = solve(good).matrix
    assert torch.equal(plan, solve(good).matrix)
    with pytest.raises(InputError, match="cost holds NaN"):
        solve(bad)


STOPS = {
    "sinkhorn": dict(scheme="sinkhorn"),
    "sinkhorn, relaxed": dict(scheme="sinkhorn", relax_y=0.1),
    "mirror, balanced": dict(scheme="mirror"),
    "mirror": dict(scheme="mirror", relax_y=0.1),
    "rows relaxed": dict(scheme="sinkhorn", relax_x=0.1),
    "total mass": dict(scheme="sinkhorn", total_mass=0.7),
}


@pytest.mark.parametrize("case", STOPS)
@pytest.mark.parametrize("m", [40, 5], ids=["frames", "actions"])
def test_stopping_early_leaves_out_less_than_the_tolerance(case: str, m: int) -> None:
    """On all paths, for each sample by itself, and after as many iterations as in the readable solver."""
    second, plans = Far(0.2) if m == 40 else Distinct(), []
    options = dict(structure=(Near(0.1), second), alpha=0.3, epsilon=0.2, iterations=60, finish=False) | STOPS[case]
    for dtype in (torch.float32, torch.float64):
        cost = torch.cat([scale * random_cost(1, 50, m, n) for n, scale in enumerate((0.3, 2.0))]).to(dtype)
        stopped = solve(cost, tolerance=1e-2, stop_early=True, **options)
        left_out = (stopped.matrix - solve(cost, **options).matrix).abs().sum((1, 2))
        assert (left_out > 0).all() and (left_out <= 1e-2).all()
        for sample, plan in zip(cost.split(1), stopped.matrix, strict=True):
            assert torch.equal(solve(sample, tolerance=1e-2, stop_early=True, **options).matrix[0], plan)
        assert (stopped.residual <= 1e-2).all()
        plans.append(stopped.matrix.double())
    torch.testing.assert_close(plans[0], plans[1], rtol=0, atol=1e-6)


def test_a_sample_that_stops_early_is_finished_and_traced() -> None:
    cost = random_cost(2, 30, 25, 0, torch.float64)
    cost[1] *= 3.0
    options = dict(structure=(Near(0.1), Far(0.1)), alpha=0.3, epsilon=0.2, iterations=50, stop_early=True)
    plan = solve(cost, trace=True, **options)
    assert plan.converged.all() and plan.marginal_error_y.max() <= 1e-3
    assert plan.trace is not None and plan.trace.shape == (51, 2)
    last = [int((column != column[-1]).sum()) for column in plan.trace.T]  # J stays once a sample has settled
    assert last[0] != last[1] and max(last) < 50


def test_nothing_stops_early_unless_asked_to() -> None:
    """The published schedules have a fixed number of iterations."""
    cost = random_cost(1, 30, 25, 0, torch.float32)
    few, many = (solve(cost, epsilon=0.5, iterations=n, tolerance=0.5, finish=False) for n in (10, 11))
    assert not torch.equal(few.matrix, many.matrix)
