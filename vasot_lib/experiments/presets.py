"""Presets: named sets of hyper-parameters with their sources. Never mixed silently: a run records which one it used.

- ``paper``: what the text of the paper says.
- ``release``: what the authors' released code runs, its traps included where they are a matter of settings.
- ``kit``: what measured best here on toy and mocap6, applied unchanged to every other data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vasot_lib.errors import unknown_name

PRESETS = ("paper", "release", "kit")


@dataclass(frozen=True)
class Row:
    """One row of SPEC section 7; every value is from the releases' commands for that data set."""

    rho: float
    relax: float
    radius: float = 0.04
    alpha: tuple[float, float] = (0.3, 0.6)  # training, decoding
    lr: float = 1e-3
    weight_decay: float = 1e-4
    epochs: tuple[int, int] = (30, 30)  # ASOT, VASOT
    hidden: int = 128
    out: int = 40


ROWS = {
    "breakfast": Row(0.20, 0.10, alpha=(0.4, 0.7), epochs=(15, 50)),
    "youtube_instructions": Row(0.15, 0.12, epochs=(10, 30), hidden=32, out=32),
    "fifty_salads_eval": Row(0.15, 0.11),
    "fifty_salads_mid": Row(0.15, 0.15),
    "desktop_assembly": Row(0.25, 0.16, radius=0.02),
}
# Data sets that the papers do not have borrow the row of their nearest relative.
BORROWED = {"breakfast_coffee": "breakfast"}
NEAREST = "fifty_salads_eval"

# Where the two terms sit among a method's hyper-parameters.
SEGMENTATION = {"asot": "hyper.", "vasot": "hyper.segmentation."}
ALIGNMENT = {"vaot": "hyper.", "vasot": "hyper.alignment."}


def preset_values(preset: str, dataset: str, method: str) -> dict[str, Any]:
    """Values by dotted name, for :func:`vasot_lib.experiments.config.make_config`.

    Raises:
        InputError: unknown preset.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    row = ROWS[dataset if dataset in ROWS else BORROWED.get(dataset, NEAREST)]
    values: dict[str, Any] = {
        "training.epochs": row.epochs[0 if method == "asot" else 1],
        "training.lr": row.lr,
        "training.weight_decay": row.weight_decay,
        "encoder.hidden": row.hidden,
        "encoder.out": row.out,
    }
    if method in SEGMENTATION:
        values |= _segmentation(SEGMENTATION[method], row, preset, method)
    if method in ALIGNMENT:
        values |= _alignment(ALIGNMENT[method], row, preset)
    return values


def _segmentation(at: str, row: Row, preset: str, method: str) -> dict[str, Any]:
    values: dict[str, Any] = {f"{at}transport.relax": row.relax, f"{at}decode.relax": 0.01}
    for index, stage in enumerate(("transport", "decode")):
        values[f"{at}{stage}.alpha"] = row.alpha[index]
        values[f"{at}{stage}.epsilon"] = (0.07, 0.04)[index]
        values[f"{at}{stage}.radius"] = row.radius
        values[f"{at}{stage}.rho"] = row.rho
        values[f"{at}{stage}.scheme"] = "mirror"
    if preset == "release" and method == "vasot":
        values[f"{at}actions"] = "random"
    return values


def _alignment(at: str, row: Row, preset: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        f"{at}transport.alpha": row.alpha[0],
        f"{at}transport.epsilon": 0.07,
        f"{at}transport.radius": row.radius,
        f"{at}transport.rho": row.rho,
        f"{at}transport.scheme": "mirror",
    }
    if preset == "release":
        values |= {f"{at}transport.finish": False, f"{at}transport.structured_dummy": True}
    return values
