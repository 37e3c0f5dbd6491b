"""The two problems of the paper: what their settings and masks come to, against the same problems put by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.transport.helpers import random_walk
from vasot_lib.transport import Alignment, Distinct, Far, Near, Segmentation, solve

CHANGED = [
    {}, {"alpha": 0.6}, {"alpha": 0.0}, {"radius": 0.3}, {"rho": 0.8}, {"epsilon": 0.2}, {"relax": 0.5},
    {"scheme": "mirror"}, {"scheme": "sinkhorn"}, {"iterations": 3}, {"sweeps": 3, "iterations": 2},
    {"relax": None}, {"finish": False, "relax": None},
]  # fmt: skip
LENGTHS_X, LENGTHS_Y = (20, 26), (24, 15)


def name(changes: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in changes.items()) or "defaults"


def padded(lengths: tuple[int, ...], seed: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """Embeddings of each sample; all in one tensor with padding that must not matter; and its mask."""
    samples = [random_walk(n, seed=seed + k) for k, n in enumerate(lengths)]
    batch = torch.full((len(lengths), max(lengths) + 2, 24), 7.0, dtype=torch.float64)
    for row, sample in zip(batch, samples, strict=True):
        row[: len(sample)] = sample
    return samples, batch, torch.arange(batch.shape[1]) < torch.tensor(lengths)[:, None]


def cost(x: Tensor, y: Tensor, rho: float) -> Tensor:
    """Of one sample, entry by entry."""
    rows = [[1 - u @ v + rho * abs(i / len(x) - j / len(y)) for j, v in enumerate(y)] for i, u in enumerate(x)]
    return torch.stack([torch.stack(row) for row in rows])


def test_the_settings_are_those_that_the_kit_measured_to_work_best() -> None:
    shared = dict(alpha=0.3, radius=0.04, epsilon=0.07, iterations=25, sweeps=1, finish=True)
    assert asdict(Segmentation()) == shared | dict(rho=0.15, relax=0.11, scheme="mirror")
    dummy = dict(dummy="soft", zeta=0.5, dummy_mass=None, structured_dummy=False)
    assert asdict(Alignment()) == shared | dummy | dict(rho=0.35, relax=None, scheme="sinkhorn")


@pytest.mark.parametrize("changes", CHANGED, ids=name)
def test_segmentation_is_the_problem_of_frames_and_actions(changes: dict[str, Any]) -> None:
    recipe = Segmentation(**{"radius": 0.1, **changes})
    samples, batch, mask = padded(LENGTHS_X, seed=1)
    actions = random_walk(5, seed=9, step=3.0)
    labels, plan = recipe.match(batch, actions, mask)
    for k, x in enumerate(samples):
        alone = solve(
            cost(x, actions, recipe.rho)[None], (Near(recipe.radius), Distinct()), alpha=recipe.alpha,
            epsilon=recipe.epsilon, relax_y=recipe.relax, scheme=recipe.scheme, iterations=recipe.iterations,
            sweeps=recipe.sweeps, finish=recipe.finish,
        )  # fmt: skip
        torch.testing.assert_close(plan.matrix[k, : len(x)], alone.matrix[0], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(labels[k, : len(x)], len(x) * alone.matrix[0], rtol=1e-6, atol=1e-7)
        assert labels[k, len(x) :].abs().sum() == 0


@pytest.mark.parametrize(
    "changes",
    [*CHANGED, {"dummy": "none"}, {"dummy": "threshold", "zeta": 0.4}, {"zeta": 0.9}, {"dummy_mass": 0.3},
     {"structured_dummy": True, "alpha": 0.6}],
    ids=name,
)  # fmt: skip
def test_alignment_is_the_problem_of_frames_and_frames(changes: dict[str, Any]) -> None:
    recipe = Alignment(**{"radius": 0.1, **changes})
    (xs, x, mask_x), (ys, y, mask_y) = padded(LENGTHS_X, seed=1), padded(LENGTHS_Y, seed=2)
    targets = recipe.match(x, y, mask_x, mask_y)
    dummies = recipe.dummy != "none"
    free = int(dummies and not recipe.structured_dummy)
    dropped: list[Tensor] = []
    for k, (one, other) in enumerate(zip(xs, ys, strict=True)):
        n, m = len(one), len(other)
        whole = torch.full((n + dummies, m + dummies), recipe.zeta, dtype=torch.float64)
        whole[dummies:, dummies:] = cost(one, other, recipe.rho)
        masses = []
        for frames in (n, m):
            share = recipe.dummy_mass if recipe.dummy_mass is not None else 1 / (frames + 1)
            real = torch.full((frames,), (1 - share * dummies) / frames, dtype=torch.float64)
            masses.append(torch.cat((torch.tensor([share] * dummies, dtype=torch.float64), real)))
        alone = solve(
            whole[None], (Near(recipe.radius, free), Far(recipe.radius, free)), alpha=recipe.alpha,
            epsilon=recipe.epsilon, relax_y=recipe.relax, mass_x=masses[0][None], mass_y=masses[1][None],
            scheme=recipe.scheme, iterations=recipe.iterations, sweeps=recipe.sweeps, finish=recipe.finish,
        ).matrix[0]  # fmt: skip
        torch.testing.assert_close(
            targets.plan.matrix[k, : n + dummies, : m + dummies], alone, rtol=1e-4, atol=1e-7
        )  # masses are float32
        for found, plan, mass in (
            (targets.x_to_y[k, :n, :m], alone, masses[0]),
            (targets.y_to_x[k, :m, :n], alone.T, masses[1]),
        ):
            expected = plan[dummies:, dummies:] / mass[dummies:, None]
            if recipe.dummy == "threshold":
                expected = torch.where(expected.amax(1, keepdim=True) >= recipe.zeta, expected, 0.0)
                dropped.append(expected.sum(1) == 0)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        assert targets.x_to_y[k, n:].abs().sum() == 0 and targets.y_to_x[k, m:].abs().sum() == 0
    assert not dropped or 0 < torch.cat(dropped).float().mean() < 1


def test_the_two_sides_may_give_the_dummy_other_shares() -> None:
    x, y = random_walk(12, seed=1)[None], random_walk(15, seed=2)[None]
    masks = torch.ones(1, 12, dtype=torch.bool), torch.ones(1, 15, dtype=torch.bool)
    problem = Alignment(radius=0.2, dummy_mass=0.3).match(x, y, *masks, dummy_shares=(0.1, 0.2)).plan.problem
    assert problem.p[0, 0].item() == pytest.approx(0.1) and problem.q[0, 0].item() == pytest.approx(0.2)
    assert problem.p[0, 1:].tolist() == pytest.approx([0.9 / 12] * 12)
    assert problem.q[0, 1:].tolist() == pytest.approx([0.8 / 15] * 15)


def test_half_precision_is_solved_with_masses_in_single() -> None:
    x, y = random_walk(40, seed=1)[None].bfloat16(), random_walk(50, seed=2)[None].bfloat16()
    masks = torch.ones(1, 40, dtype=torch.bool), torch.ones(1, 50, dtype=torch.bool)
    plan = Alignment(radius=0.1).match(x, y, *masks).plan
    assert plan.matrix.dtype == plan.problem.p.dtype == plan.problem.q.dtype == torch.float32
    assert plan.marginal_error_x.item() < 1e-3
