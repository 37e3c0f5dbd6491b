"""What the chapter on ablations trains: every run is a valid configuration that differs where its line says."""

from __future__ import annotations

import pytest

from vasot_kit.experiments.config import Config, make_config
from vasot_kit.experiments.defects import DEFECTS, with_defect
from vasot_kit.experiments.presets import PRESETS
from vasot_kit.runs.training import Training
from vasot_kit.tables.ablations import (
    PARTS,
    PUBLISHED_PARTS,
    RIGHT,
    SETTINGS,
    K,
    chosen_settings,
    defect_runs,
    part_runs,
    preset_runs,
    setting_runs,
    weight_runs,
)

BASE = Training("mocap6", "", "kit", epochs=3, overrides={"training.frames": 128})


def config(run: Training) -> Config:
    made = make_config(run.dataset, run.method, run.preset, epochs=run.epochs, overrides=run.overrides)
    return with_defect(made, run.defect)[0]


def test_parts_are_left_out_of_vaot_one_at_a_time() -> None:
    runs = part_runs(BASE)
    assert [run.line for run in runs] == list(PARTS) == list(PUBLISHED_PARTS)
    made = [config(run) for run in runs]
    assert all(one.training.frames == 128 and one.training.epochs == 3 for one in made)
    assert all(one != made[0] for one in made[1:])


def test_published_rows_hold_the_three_equal_figures() -> None:
    constant = PUBLISHED_PARTS["w/o temporal prior"]
    assert constant["acc_0.1"] == constant["acc_0.5"] == constant["acc_1.0"] == 17.84


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "auto"])  # its radius is no number yet
def test_settings_are_moved_over_their_grid_in_both_tasks(preset: str) -> None:
    runs = setting_runs(Training("mocap6", "", preset), 12)
    assert len({run.line for run in runs.values()}) == len(runs) == 35
    for (name, value), run in runs.items():
        made = config(run)
        terms = made.hyper.alignment.transport, made.hyper.segmentation.transport
        if name == "r":
            assert {term.radius for term in terms} == {value} == {made.hyper.segmentation.decode.radius}
        elif name in ("alpha", "rho", "epsilon"):
            assert {getattr(term, name) for term in terms} == {value}
        assert (run.n_actions is None) == (name != K)
    assert [runs[K, value].n_actions for value in SETTINGS[K].values] == [6, 9, 12, 15, 18]


def test_chosen_settings_are_those_of_the_preset() -> None:
    chosen = chosen_settings("hapt", "paper")
    assert chosen == {"r": 0.04, "alpha": 0.3, "rho": 0.15, "epsilon": 0.07, "lambda": 0.11, "zeta": 0.5, K: 1.0}


def test_every_preset_and_every_defect_has_its_lines() -> None:
    lines = [run.line for run in preset_runs(BASE)]
    assert len(set(lines)) == 9 and "vasot, release" in lines
    runs = {run.line: run for run in defect_runs(BASE)}
    for name, defect in DEFECTS.items():
        right, wrong = runs[f"{RIGHT} {name}"], runs[name]
        assert (right.defect, wrong.defect, right.overrides) == ("", name, wrong.overrides)
        assert defect.protocol != "split" or config(right) != config(wrong)


def test_weights_leave_out_a_model_without_a_loss() -> None:
    runs = weight_runs(BASE, (0.0, 1.0, 2.0))
    assert len(runs) == 8 and (0.0, 0.0) not in runs
    assert (config(runs[2.0, 0.0]).hyper.w_align, config(runs[2.0, 0.0]).hyper.w_seg) == (2.0, 0.0)
