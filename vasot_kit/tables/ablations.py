"""The runs of the chapter on ablations: parts left out, settings varied, presets, defects, weights of the two tasks.

Every function takes a :class:`Training` with what all of them have in common; the ``line`` of each says what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vasot_kit.experiments.config import make_config
from vasot_kit.experiments.defects import DEFECTS
from vasot_kit.experiments.presets import ALIGNMENT_PREFIX, PRESETS, SEGMENTATION_PREFIX
from vasot_kit.runs.training import Training

# The paper's ablation of the alignment (SPEC section 11): the settings of the alignment that each row changes.
PARTS: dict[str, dict[str, Any]] = {
    "all": {},
    "w/o structural prior": {"transport.alpha": 0.0},
    "w/o temporal prior": {"transport.rho": 0.0},
    "w/o balance": {"transport.relax": 0.1},
    "w/o dummy frames": {"transport.dummy": "none"},
}
# The same rows on IKEA ASM in percent, from the paper's table; never to be mixed with measured values.
PUBLISHED_PARTS: dict[str, dict[str, float]] = {
    part: dict(zip(("acc_0.1", "acc_0.5", "acc_1.0", "ap_5", "ap_10", "ap_15"), figures, strict=True))
    for part, figures in {
        "all": (33.73, 36.42, 38.64, 31.49, 31.92, 32.01),
        "w/o structural prior": (30.29, 35.52, 37.81, 27.54, 27.33, 27.15),
        "w/o temporal prior": (17.84, 17.84, 17.84, 15.63, 15.64, 15.56),
        "w/o balance": (17.84, 20.71, 25.24, 15.49, 15.69, 15.78),
        "w/o dummy frames": (30.16, 34.49, 36.10, 29.57, 29.24, 28.87),
    }.items()
}
K = "K / actions"


@dataclass(frozen=True)
class Setting:
    """A hyper-parameter of VASOT and the values that it is given.

    Attributes:
        places: dotted names in VASOT's configuration; all of them get the same value.
        values: those of the sensitivity studies of the releases (SPEC section 7).
    """

    places: tuple[str, ...]
    values: tuple[float, ...]


def _both(name: str) -> tuple[str, ...]:
    """The dotted names of a setting in the transport of both tasks, which the releases vary together."""
    return tuple(f"{term['vasot']}transport.{name}" for term in (ALIGNMENT_PREFIX, SEGMENTATION_PREFIX))


SETTINGS: dict[str, Setting] = {
    "r": Setting((*_both("radius"), "hyper.segmentation.decode.radius"), (0.02, 0.04, 0.06, 0.08, 0.1)),
    "alpha": Setting(_both("alpha"), (0.1, 0.3, 0.5, 0.7, 0.9)),
    "rho": Setting((*_both("rho"), "hyper.segmentation.decode.rho"), (0.1, 0.15, 0.2, 0.25, 0.3)),
    "epsilon": Setting(_both("epsilon"), (0.03, 0.05, 0.07, 0.09, 0.11)),
    "lambda": Setting(("hyper.segmentation.transport.relax",), (0.08, 0.11, 0.14, 0.17, 0.2)),
    # No release varies it.
    "zeta": Setting(("hyper.alignment.transport.zeta",), (0.1, 0.3, 0.5, 0.7, 0.9)),
    # The releases use 10, 14, 19, 24, 29 for the 19 actions of 50 Salads Mid; here as multiples of the true number.
    K: Setting((), (10 / 19, 14 / 19, 1.0, 24 / 19, 29 / 19)),
}
RIGHT = "without"  # begins the line of the run without a defect, with which the run with it is compared


def part_runs(base: Training) -> list[Training]:
    """VAOT with all of its parts and with each of them left out."""
    return [
        _changed(base, "vaot", part, {f"{ALIGNMENT_PREFIX['vaot']}{name}": value for name, value in changes.items()})
        for part, changes in PARTS.items()
    ]


def setting_runs(base: Training, n_actions: int) -> dict[tuple[str, float], Training]:
    """(setting, value) -> run of VASOT with this setting at this value.

    Args:
        base: what all runs have in common.
        n_actions: number of actions of the data set; K is set to multiples of it, at least 2.
    """
    runs = {}
    for name, setting in SETTINGS.items():
        for value in setting.values:
            run = _changed(base, "vasot", f"{name} = {value:.3g}", dict.fromkeys(setting.places, value))
            runs[name, value] = replace(run, n_actions=max(2, round(value * n_actions))) if name == K else run
    return runs


def chosen_settings(dataset: str, preset: str) -> dict[str, float]:
    """The values in a preset of the settings that :func:`setting_runs` varies; those of the alignment where the tasks
    differ."""
    config = make_config(dataset, "vasot", preset)

    def value(place: str) -> float:
        node: Any = config
        for name in place.split("."):
            node = getattr(node, name)
        return node

    return {name: value(setting.places[0]) if setting.places else 1.0 for name, setting in SETTINGS.items()}


def preset_runs(base: Training) -> list[Training]:
    """VAOT, ASOT and VASOT with every preset that is fixed beforehand."""
    return [
        replace(base, method=method, preset=preset, line=f"{method}, {preset}")
        for method in ("vaot", "asot", "vasot")
        for preset in PRESETS
        if preset != "auto"
    ]


def defect_runs(base: Training) -> list[Training]:
    """For each defect VASOT without it and with it."""
    runs = []
    for name, defect in DEFECTS.items():
        right = _changed(base, "vasot", f"{RIGHT} {name}", defect.reference)
        runs += [right, replace(right, line=name, defect=name)]
    return runs


def weight_runs(base: Training, weights: tuple[float, ...]) -> dict[tuple[float, float], Training]:
    """(w_align, w_seg) -> run of VASOT with these weights of its two losses, for all pairs but (0, 0)."""
    return {
        (align, segment): _changed(
            base, "vasot", f"align {align:g}, segment {segment:g}", {"hyper.w_align": align, "hyper.w_seg": segment}
        )
        for align in weights
        for segment in weights
        if align or segment
    }


def _changed(base: Training, method: str, line: str, changes: Mapping[str, Any]) -> Training:
    return replace(base, method=method, line=line, overrides={**base.overrides, **changes})
