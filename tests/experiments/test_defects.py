"""Each defect of the released code is the defect it is said to be."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F

from vasot_kit.experiments.config import build, make_config, with_overrides
from vasot_kit.experiments.defects import DEFECTS, BatchWideStep, ShiftedDummy, with_defect
from vasot_lib.data import toy
from vasot_lib.errors import InputError
from vasot_lib.training import fit
from vasot_lib.transport import Alignment, Segmentation


def frames(batch: int, n: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(batch, n, 8, generator=torch.Generator().manual_seed(seed)), dim=2)


def masks(*lengths: int, width: int) -> torch.Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def test_shifted_dummy_gives_frame_j_what_belongs_to_frame_j_plus_1() -> None:
    x, y = frames(2, 12), frames(2, 10, seed=1)
    mask_x, mask_y = masks(12, 9, width=12), masks(10, 7, width=10)
    right = Alignment(radius=0.2).match(x, y, mask_x, mask_y)
    shifted = ShiftedDummy(radius=0.2).match(x, y, mask_x, mask_y).x_to_y
    for sample, (n, m) in enumerate(((12, 10), (9, 7))):
        torch.testing.assert_close(shifted[sample, :n, : m - 1], right.x_to_y[sample, :n, 1:m])
        dummy = right.plan.matrix[sample, 1 : n + 1, 0] / right.plan.matrix[sample, 1 : n + 1].sum(1)
        torch.testing.assert_close(shifted[sample, :n, m - 1], dummy, atol=2e-3, rtol=0.0)
        assert (shifted[sample, :, m:] == 0).all()


def test_batch_wide_step_is_the_right_plan_alone_and_another_one_in_company() -> None:
    recipe, wide = (kind(alpha=0.3, rho=0.35, scheme="mirror") for kind in (Segmentation, BatchWideStep))
    x, actions = frames(2, 40), frames(1, 5, seed=2)[0]
    x[1] = actions[0]  # a video whose frames all look like action 1 has another largest gradient
    mask = masks(40, 40, width=40)
    alone = torch.cat([wide.match(x[k : k + 1], actions, mask[k : k + 1])[0] for k in (0, 1)])
    right, _ = recipe.match(x, actions, mask)
    torch.testing.assert_close(alone, right, atol=2e-4, rtol=2e-3)
    together, _ = wide.match(x, actions, mask)
    assert (together - right).abs().max() > 1e-3


def test_w_0_leaves_the_plans_that_a_structural_prior_without_neighbours_would() -> None:
    right = with_overrides(make_config("toy", "vasot", "paper"), DEFECTS["w = 0"].reference)
    transport = right.hyper.alignment.transport
    off, _ = with_defect(right, "w = 0")
    x, y = frames(1, 20), frames(1, 20, seed=1)
    mask = masks(20, width=20)
    plan = off.hyper.alignment.transport.match(x, y, mask, mask).x_to_y
    # By hand: the gradient (1 - alpha) C without structure, so scale the cost instead of epsilon.
    flat = replace(transport, alpha=0.0, epsilon=transport.epsilon / 0.7)
    torch.testing.assert_close(plan, flat.match(x, y, mask, mask).x_to_y, atol=1e-4, rtol=1e-3)
    with pytest.raises(InputError, match="window of 0 frames, which switches the structural prior off"):
        replace(transport, radius=0.02).match(x, y, mask, mask)  # the kit refuses what the release does silently


def test_with_one_inner_sweep_rows_miss_their_mass() -> None:
    config, _ = with_defect(make_config("toy", "vasot", "paper"), "one inner sweep")
    x, y = frames(1, 64), frames(1, 64, seed=1)
    mask = masks(64, width=64)
    assert config.hyper.alignment.transport.match(x, y, mask, mask).plan.marginal_error_x > 0.2
    right = make_config("toy", "vasot", "paper").hyper.alignment.transport
    assert right.match(x, y, mask, mask).plan.marginal_error_x < 2e-3


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect_changes_what_it_says_and_nothing_else(name: str) -> None:
    right = with_overrides(make_config("toy", "vasot", "paper"), DEFECTS[name].reference)
    wrong, protocol = with_defect(right, name)
    assert (wrong != right) != (protocol == "release")
    part = DEFECTS[name].task.lower()
    before, after = asdict(right), asdict(wrong)
    other = {"alignment": "segmentation", "segmentation": "alignment"}[part]
    assert after["hyper"][other] == before["hyper"][other]
    assert {**after, "hyper": None} == {**before, "hyper": None}


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect_can_be_trained_with(name: str) -> None:
    config = make_config("toy", "vasot", "paper", epochs=1, overrides={"training.frames": 48})
    config, _ = with_defect(config, name)
    data = toy(n_videos=2)
    (epoch,) = fit(build(config, data), data, config.training, progress=False)
    assert 0 <= epoch["converged_segmentation"] <= 1
