"""Long pairs by way of bins: equal to the full solve where nothing is binned, close to it where it is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.errors import InputError
from vasot_lib.transport import Alignment, align_long
from vasot_lib.transport import long as long_module


def procedure(n: int, seed: int, steps: int = 8, noise: float = 0.08) -> Tensor:
    """(n, 40): the same steps in the same order, of random length, frames with noise of their own."""
    generator = torch.Generator().manual_seed(seed)
    actions = F.normalize(torch.randn(steps, 40, generator=torch.Generator().manual_seed(0)), dim=1)
    ends = (torch.rand(steps, generator=generator) + 0.3).cumsum(0)
    step = torch.searchsorted(ends / ends[-1], (torch.arange(n) + 0.5) / n)
    return F.normalize(actions[step] + noise * torch.randn(n, 40, generator=generator), dim=1)


def whole(x: Tensor, y: Tensor, recipe: Alignment) -> Tensor:
    masks = (torch.ones(1, len(e), dtype=torch.bool) for e in (x, y))
    return recipe.match(x[None], y[None], *masks).x_to_y[0]


def distance(a: Tensor, b: Tensor) -> float:
    """Mean total variation of rows: 0 equal, 1 disjoint."""
    return (0.5 * (a - b).abs().sum(1).mean()).item()


@pytest.mark.parametrize("recipe", [Alignment(dummy="none"), Alignment(), Alignment(relax=0.1)])
def test_with_a_bin_per_frame_it_is_the_full_solve(recipe: Alignment) -> None:
    x, y = procedure(120, 1), procedure(90, 2)
    plan = align_long(x, y, recipe, bins=200)
    assert distance(plan.rows(0, 120), whole(x, y, recipe)) < 2e-3


@pytest.mark.parametrize("dummy", ["none", "soft"])
def test_bins_come_close_to_the_full_solve_and_sweeps_closer(dummy: str) -> None:
    x, y = procedure(800, 3), procedure(600, 4)
    recipe = Alignment(dummy=dummy)
    full = whole(x, y, recipe)
    far, near = (distance(align_long(x, y, recipe, bins=200, sweeps=s).rows(0, 800), full) for s in (0, 3))
    assert near < 0.08 and near < far / 2
    uniform = torch.full_like(full, 1 / 600)
    assert near < distance(uniform, full) / 8
    agree = (align_long(x, y, recipe, bins=200).argmax() - full.argmax(1)).abs().float().mean() / 600
    assert agree < 0.01


def test_more_bins_are_nearer() -> None:
    x, y = procedure(600, 5), procedure(600, 6)
    full = whole(x, y, Alignment())
    errors = [distance(align_long(x, y, Alignment(), bins=bins).rows(0, 600), full) for bins in (60, 200, 600)]
    assert errors[0] > errors[1] > errors[2]


def test_blocks_of_rows_are_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = align_long(procedure(150, 7), procedure(70, 8), Alignment(), bins=50)
    monkeypatch.setattr(long_module, "ENTRIES_AT_ONCE", 70 * 32)
    assert [len(block) for block in plan.blocks()] == [32, 32, 32, 32, 22]
    torch.testing.assert_close(torch.cat(list(plan.blocks())), plan.rows(0, 150))
    assert torch.equal(plan.argmax(), plan.rows(0, 150).argmax(1))


def test_rows_give_to_the_dummy_what_the_coarse_plan_gave() -> None:
    x, y = procedure(400, 9), procedure(400, 10)
    background = F.normalize(torch.randn(100, 40, generator=torch.Generator().manual_seed(1)), dim=1)
    x = torch.cat((x[:200], background, x[200:]))
    kept = align_long(x, y, Alignment(dummy_mass=0.2), bins=250).rows(0, 500).sum(1)
    assert kept[200:300].mean() < 0.6 * torch.cat((kept[:200], kept[300:])).mean()
    assert (kept <= 1 + 1e-5).all()


@pytest.mark.parametrize("bins", [60, 200])
def test_the_dummy_has_the_mass_of_one_frame_however_many_bins(bins: int) -> None:
    x, y = procedure(600, 3), procedure(500, 4)
    share = 1 - align_long(x, y, Alignment(), bins=bins).rows(0, 600).sum(1).mean()
    assert share.item() == pytest.approx(1 - whole(x, y, Alignment()).sum(1).mean().item(), abs=2e-4)


@pytest.mark.parametrize("dummy_mass", [None, 0.2])
def test_the_coarse_problem_gives_the_dummy_the_share_that_frames_would(dummy_mass: float | None) -> None:
    problem = align_long(
        procedure(400, 3), procedure(330, 4), Alignment(dummy_mass=dummy_mass), bins=80
    ).coarse.plan.problem
    shares = (dummy_mass, dummy_mass) if dummy_mass else (1 / 401, 1 / 331)
    assert (problem.p[0, 0].item(), problem.q[0, 0].item()) == pytest.approx(shares)


def between_bins(frames: int, bins: int) -> Tensor:
    """(frames, bins) weights of the two bins between whose middles a frame lies, or of the outermost one."""
    weights = torch.zeros(frames, bins, dtype=torch.float64)
    for frame in range(frames):
        place = min(max((frame + 0.5) * bins / frames - 0.5, 0.0), bins - 1.0)
        low = min(int(place), bins - 2)
        weights[frame, low], weights[frame, low + 1] = 1 - (place - low), place - low
    return weights


def test_a_row_is_the_softmax_of_what_the_module_says() -> None:
    """Of one bin for 16 / 6 frames of X and for 2 of Y, entry by entry; then a sweep by its formula."""
    x, y = procedure(16, 1, steps=3).double(), 3 * procedure(12, 2, steps=3).double()
    recipe = Alignment(alpha=0.2, radius=0.2, rho=0.5, epsilon=0.3, relax=0.4, dummy_mass=0.2)
    plan = align_long(x, y, recipe, bins=6, sweeps=0)
    spans = ((0, 3), (2, 6), (5, 8), (8, 11), (10, 14), (13, 16))  # of whole frames, where a bin ends within one
    small_x = torch.stack([x[first:last].mean(0) for first, last in spans])
    small_y = (y / 3).view(6, 2, -1).mean(1)
    coarse = recipe.match(
        small_x[None], small_y[None], torch.ones(1, 6, dtype=torch.bool), torch.ones(1, 6, dtype=torch.bool)
    )
    log_plan = coarse.plan.matrix[0].log()

    def cost(a: Tensor, b: Tensor) -> Tensor:
        prior = (torch.arange(len(a))[:, None] / len(a) - torch.arange(len(b)) / len(b)).abs()
        return 1 - F.normalize(a, dim=1) @ F.normalize(b, dim=1).T + 0.5 * prior

    smooth = between_bins(16, 6) @ (log_plan[1:, 1:] + 0.8 * cost(small_x, small_y) / 0.3) @ between_bins(12, 6).T
    dummy = between_bins(16, 6) @ log_plan[1:, :1] + torch.tensor(12 / 6).log()
    scores = torch.cat((dummy, smooth - 0.8 * cost(x, y) / 0.3), dim=1)
    torch.testing.assert_close(plan.with_dummy(0, 16), scores.softmax(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(plan.rows(3, 7), scores.softmax(1)[3:7, 1:], rtol=1e-4, atol=1e-6)

    masses = coarse.x_to_y[0].sum(0) * (16 / 6)
    # A frame of Y lies between the middles of the frames of the coarse plan as if these were frames of their own.
    wanted = torch.cat(((16 - masses.sum())[None], between_bins(12, 6) @ masses * (6 / 12)))
    phi, columns = 0.4 / (0.4 + 0.3), torch.zeros(13, dtype=torch.float64)
    for _ in range(2):
        columns = phi * (columns + wanted.log() - (scores + columns).softmax(1).sum(0).log())
    swept = align_long(x, y, recipe, bins=6, sweeps=2)
    torch.testing.assert_close(swept.columns, columns, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(swept.with_dummy(0, 16), (scores + columns).softmax(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("relax", [0.1, 0.3])
def test_sweeps_leave_a_relaxed_side_the_masses_it_asks_for(relax: float) -> None:
    """They once pulled every column to the mass that it has in the coarse plan, which relaxed columns need not have."""
    x, y = procedure(600, 1), procedure(500, 2)
    recipe = Alignment(relax=relax, dummy="none")
    full = whole(x, y, recipe)
    before, after = (align_long(x, y, recipe, bins=300, sweeps=sweeps).rows(0, 600) for sweeps in (0, 3))
    assert (after.argmax(1) == full.argmax(1)).float().mean() > 0.87
    assert distance(after, full) < 0.6 * distance(before, full)
    assert (after.sum(0) - full.sum(0)).abs().sum() < 0.6 * (before.sum(0) - full.sum(0)).abs().sum()


@pytest.mark.parametrize(("epsilon", "limit"), [(0.07, 0.1), (0.03, 0.3)])
def test_sharper_plans_are_further_off(epsilon: float, limit: float) -> None:
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(600, 40, generator=generator).mul(0.3).cumsum(0)
    y = walk[torch.linspace(0, 599, 500).long()] + 0.2 * torch.randn(500, 40, generator=generator)
    recipe = Alignment(epsilon=epsilon)
    assert distance(align_long(walk, y, recipe, bins=150).rows(0, 600), whole(walk, y, recipe)) < limit


def test_no_graph_is_kept() -> None:
    x = procedure(60, 1).requires_grad_()
    plan = align_long(x, procedure(50, 2), Alignment(), bins=30)
    assert not plan.columns.requires_grad and not plan.rows(0, 5).requires_grad


def test_bad_arguments() -> None:
    for bins, sweeps, message in ((2.5, 3, "bins is 2.5"), (20, -1, "sweeps is -1"), (1, 3, "bins is 1; it must be")):
        with pytest.raises(InputError, match=message):
            align_long(procedure(20, 0), procedure(30, 0), Alignment(), bins=bins, sweeps=sweeps)
    for x, y in ((procedure(20, 0)[:0], procedure(30, 0)), (procedure(20, 0), procedure(30, 0)[:0])):
        with pytest.raises(InputError, match="expected"):
            align_long(x, y, Alignment())
    with pytest.raises(InputError, match="dummy is 'threshold', which looks at whole rows"):
        align_long(procedure(20, 0), procedure(30, 0), Alignment(dummy="threshold"))
    plan = align_long(procedure(20, 0), procedure(30, 0), Alignment(radius=0.2), bins=10)
    for start, stop, message in (
        (-1, 3, "start is -1; it must"),
        (3, 2, "stop is 2"),
        (0, 21, "stop is 21; .* most 20"),
    ):
        with pytest.raises(InputError, match=message):
            plan.rows(start, stop)
