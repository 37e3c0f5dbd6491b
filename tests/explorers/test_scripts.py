"""The solver of the scripts against vasot_lib.transport, and their numbers of a plan against those of the kit."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from tests.explorers.scripts import run
from vasot_kit.experiments.plan_report import plan_report
from vasot_lib.data import toy
from vasot_lib.transport import Alignment, Far, Near, cosine_cost, solve

VIDEOS = toy(4, 6, swaps=0.3, repeats=0.2, style=0.3, seed=2).videos
# In float64, as the scripts compute: at a small epsilon the rounding of float32 moves entries by a thousandth.
X, Y = (video.features[::3].double() for video in (VIDEOS[1], VIDEOS[3]))  # 56 and 58 frames
N, M = len(X), len(Y)
PRIOR = (torch.arange(N).double()[:, None] / N - torch.arange(M).double() / M).abs()
SETTINGS = [
    dict(alpha=alpha, radius=radius, rho=rho, epsilon=epsilon)
    for alpha, radius, rho, epsilon in product((0.0, 0.3, 0.6), (0.02, 0.2), (0.0, 2.0), (0.03, 0.1))
]
SOLVE = """(given) => {
  const done = (steps) => { for (;;) { const step = steps.next(); if (step.done) return step.value; } };
  const [n, m] = [given.x, given.y].map((side) => side.length / given.dim);
  const cost = cosineCost(given.x, given.y, given.dim), prior = temporalPrior(n, m);
  return given.settings.map((setting) => {
    let whole = cost.map((value, k) => value + setting.rho * prior[k]);
    if ("zeta" in setting) whole = withDummy(whole, n, m, setting.zeta);
    const problem = new Problem(whole, Float64Array.from(setting.p), Float64Array.from(setting.q), setting);
    const plan = done(solve(problem, setting));
    return {plan: Array.from(plan), product: Array.from(problem.product(plan)), terms: problem.terms(plan)};
  });
}"""


def solved(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    uniform = {"p": [1 / N] * N, "q": [1 / M] * M}
    given = {"x": X.ravel().tolist(), "y": Y.ravel().tolist(), "dim": X.shape[1]}
    return list(run(SOLVE, {**given, "settings": [uniform | setting for setting in settings]}))


def test_plans_products_and_terms_are_those_of_the_library() -> None:
    settings = [setting for setting in SETTINGS if int(setting["radius"] * min(N, M)) or not setting["alpha"]]
    for setting, found in zip(settings, solved(settings), strict=True):
        cost = cosine_cost(X[None], Y[None]) + setting["rho"] * PRIOR
        structure = Near(setting["radius"]), Far(setting["radius"])
        plan = solve(cost, structure, alpha=setting["alpha"], epsilon=setting["epsilon"])
        matrix = np.array(found["plan"]).reshape(N, M)
        assert np.abs(matrix - plan.matrix[0].numpy()).max() * N * M < 1e-6, setting
        terms = plan.problem.terms(plan.matrix)
        for name in ("linear", "structure", "entropy"):
            assert found["terms"][name] == pytest.approx(getattr(terms, name).item(), abs=1e-9), (setting, name)
        assert found["terms"]["J"] == pytest.approx(plan.objective.item(), abs=1e-9), setting
        if int(setting["radius"] * min(N, M)):
            dense = structure[0].dense(N) @ plan.matrix[0].double() @ structure[1].dense(M)
            np.testing.assert_allclose(np.array(found["product"]).reshape(N, M), dense, atol=1e-9)


@pytest.mark.parametrize("schedule", [dict(finish=False), dict(iterations=7, sweeps=3), dict(finish=True, sweeps=2)])
def test_schedules_are_those_of_the_library(schedule: dict[str, Any]) -> None:
    setting = dict(alpha=0.4, radius=0.05, rho=0.2, epsilon=0.06)
    (found,) = solved([setting | schedule])
    cost = cosine_cost(X[None], Y[None]) + 0.2 * PRIOR
    plan = solve(cost, (Near(0.05), Far(0.05)), alpha=0.4, epsilon=0.06, **schedule)
    assert np.abs(np.array(found["plan"]).reshape(N, M) - plan.matrix[0].numpy()).max() * N * M < 1e-6


@pytest.mark.parametrize("structured", [False, True])
def test_plans_with_a_dummy_are_those_of_the_library(structured: bool) -> None:
    recipe = Alignment(alpha=0.4, dummy="soft", structured_dummy=structured)
    settings, plans = [], []
    for zeta, share in ((0.5, 0.15), (1.0, 0.3), (0.0, 0.6), (1.5, 0.02)):
        setting = replace(recipe, zeta=zeta, dummy_mass=share)
        masks = [torch.ones(1, size, dtype=torch.bool) for size in (N, M)]
        # Masses and prior of a recipe are float32, whatever its embeddings are.
        plans.append(setting.match(X[None], Y[None], *masks).plan.matrix[0].numpy())
        p, q = ([share, *[(1 - share) / size] * size] for size in (N, M))
        problem = dict(
            alpha=0.4, radius=recipe.radius, rho=recipe.rho, epsilon=recipe.epsilon, free=int(not structured)
        )
        settings.append(problem | dict(zeta=zeta, p=p, q=q))
    for plan, found in zip(plans, solved(settings), strict=True):
        assert np.abs(np.array(found["plan"]).reshape(N + 1, M + 1) - plan).max() * N * M < 5e-4


def test_numbers_of_a_plan_are_those_of_the_kit() -> None:
    matrix = np.random.default_rng(0).random((7, 9)) ** 3
    matrix[2] = 0.25  # equal entries: the first is the best
    code = """({matrix, n, m}) => {
      const flat = Float64Array.from(matrix.flat());
      return {match: bestMatches(flat, n), rows: rowSums(flat, n), columns: columnSums(flat, m), top: largest(flat),
              spread: mean(Array.from({length: n}, (_, i) => spread(flat.subarray(i * m, (i + 1) * m))))};
    }"""
    found = run(code, {"matrix": matrix.tolist(), "n": 7, "m": 9})
    assert found["match"] == matrix.argmax(1).tolist() and found["top"] == matrix.max()
    np.testing.assert_allclose(found["rows"], matrix.sum(1))
    np.testing.assert_allclose(found["columns"], matrix.sum(0))
    assert found["spread"] == pytest.approx(plan_report({"plan": matrix}).loc["plan", "effective matches"])


def test_average_precision_takes_equal_shares_together() -> None:
    rng = np.random.default_rng(1)
    for levels in (3, 1000):
        kept, lost = rng.integers(0, levels, 40) / levels, rng.random(40) < 0.3
        (found,) = run(
            "({kept, lost}) => [averagePrecision(kept, lost)]",
            {"kept": kept.tolist(), "lost": lost.astype(int).tolist()},
        )
        assert found == pytest.approx(average_precision_score(lost, -kept))
