"""One training from configuration to recorded scores, without a notebook: what ``vasot train`` runs on a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.config import Config, build, make_config
from vasot_kit.experiments.evaluate import Scores, baseline_rows, evaluate
from vasot_kit.runs.records import record
from vasot_lib.errors import InputError
from vasot_lib.training import History, fit, is_first_process

WEIGHTS = "weights.safetensors"


def train_and_score(
    dataset: str,
    method: str,
    preset: str,
    out: Path,
    *,
    seed: int = 0,
    epochs: int | None = None,
    device: str = "cpu",
    overrides: Mapping[str, Any] | None = None,
) -> Path | None:
    """Train, score and record: ``out`` gets ``weights.safetensors`` and ``metrics.json``, as from notebook 40_train.

    The weights are written after every epoch and a run goes on from them, on as many processes as it is started with
    then. A finished run is scored again, or goes on where more epochs are asked for.

    Args:
        dataset, method, preset, seed, epochs, device, overrides: as in ``make_config``.
        out: the folder of this run, made if needed; on several nodes one that the first can write to.

    Returns:
        The path of ``metrics.json``; None in all processes but the first.

    Raises:
        InputError: a bad name or value, or the weights in ``out`` come from more epochs than asked for.
        DataError: the data set is absent, or ``out`` holds another configuration's weights.
    """
    config = make_config(dataset, method, preset, seed=seed, device=device, epochs=epochs, overrides=overrides)
    data = load_dataset(dataset)
    model = build(config, data)
    history = fit(model, data, config.training, checkpoint=out / WEIGHTS)
    if len(history) > config.training.epochs:
        raise InputError(
            f"{out / WEIGHTS} holds {len(history)} epochs but {config.training.epochs} were asked for; "
            "choose another folder"
        )
    if not is_first_process():
        return None
    changes = dict(overrides or {}) | ({} if epochs is None else {"training.epochs": epochs})
    row = score_row(evaluate(model, data), data.name, config, history, changes)
    rows = [row, *baseline_rows(data, seed)]
    return record(rows, config.as_dict(), dataset_checksums={data.name: data.checksum()}, notebook="train", folder=out)


def score_row(scores: Scores, dataset: str, config: Config, history: History, changes: Mapping[str, Any]) -> Scores:
    """The row of a trained method in ``metrics.json``: names, seed, scores, collapse meter.

    Args:
        scores: of ``evaluate``.
        dataset: its name.
        config: what it was trained with.
        history: of its training.
        changes: values that depart from the preset, by dotted name; a row says so.
    """
    row = {"dataset": dataset, "method": config.method, "preset": config.preset, "seed": config.training.seed, **scores}
    row |= {name: history[-1][name] for name in ("mean_cosine", "effective_rank") if history}
    return row | ({"changes": json.dumps(dict(changes))} if changes else {})
