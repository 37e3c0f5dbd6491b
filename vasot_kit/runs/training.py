"""Trainings without a notebook: one, which ``vasot train`` runs on a cluster too, and the many that a table needs.

A training on ``toy`` takes a second or two, less than starting the kernel of a notebook. On a CPU as many trainings run
at a time as torch would use threads, each on one thread, since matrices of this size gain little from a second one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from vasot_kit.datasets import load_dataset
from vasot_kit.datasets.registry import expanded, is_folder
from vasot_kit.experiments.auto import well_scaled
from vasot_kit.experiments.collapse import warn_of_collapse
from vasot_kit.experiments.config import Config, build, make_config
from vasot_kit.experiments.defects import with_defect
from vasot_kit.experiments.evaluate import Scores, baseline_rows, by_activity, evaluate, scores_without_labels
from vasot_kit.experiments.n_actions import ActionCount, count_actions
from vasot_kit.experiments.presets import preset_values
from vasot_kit.methods import find_method
from vasot_kit.runs.engine import Run, held, once
from vasot_kit.runs.models import WEIGHTS, Inputs, how_described, name_actions, refuse_other, write_model
from vasot_kit.runs.records import read_metrics, record, to_json, versions, write_text
from vasot_lib.data import Dataset, n_batches
from vasot_lib.errors import DataError, InputError
from vasot_lib.training import History, fit, is_first_process

BASELINES = "baselines"  # the method of a training that scores all answers that need no learning
COUNT, COUNT_FIGURE = "n_actions.json", "n_actions.png"  # what an estimated number of actions comes from
METER = ("mean_cosine", "effective_rank")
ROOT = Path(__file__).resolve().parents[2]
# The rooms of the kit that scores come from, besides the whole library: this file too, which trains and scores.
KIT = ("datasets", "experiments", "films", "methods", "runs")


@dataclass(frozen=True)
class Training:
    """One training, or the baselines of one data set and seed.

    Attributes:
        dataset, preset, seed, epochs, overrides: as in ``make_config``.
        method: a method, or ``baselines``.
        line: the line of the table that it belongs to; the method where empty. Not part of what is computed, so that
            one training can stand in several tables.
        n_actions: K, where it departs from the data set's.
        defect: a key of ``defects.DEFECTS``, or empty.
    """

    dataset: str
    method: str
    preset: str = "kit"
    seed: int = 0
    line: str = ""
    epochs: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    n_actions: int | None = None
    defect: str = ""

    def config(self, device: str, data: Dataset) -> tuple[Config, str]:
        """Its configuration for a data set, and the protocol that the alignment is scored by.

        Raises:
            InputError: a bad name or value.
            DataError: recordings from which the preset ``auto`` cannot read the radius.
        """
        config = make_config(
            self.dataset, self.method, self.preset,
            seed=self.seed, device=device, epochs=self.epochs, overrides=self.overrides,
            pixels=data.videos[0].context is not None, recordings=data,
        )  # fmt: skip
        return with_defect(config, self.defect)

    def changes(self) -> dict[str, Any]:
        """Values that depart from the preset, by dotted name."""
        others = ("training.epochs", self.epochs), ("K", self.n_actions), ("defect", self.defect)
        return dict(self.overrides) | {name: value for name, value in others if value not in (None, "")}


def train_and_score(training: Training, out: Path, device: str = "cpu", **reading: Any) -> Path | None:
    """Train, score and record: ``out`` gets ``weights.safetensors``, ``model.json`` and ``metrics.json``.

    Of a data set with several activities ``metrics.json`` also has a row for each of them. Recordings without labels
    get a row with what can be said without; where K is not given either, it is estimated, and ``n_actions.json`` has
    what from.

    The weights are written after every epoch and a run goes on from them, on as many processes as it is started with
    then. A finished run is scored again, or goes on where more epochs are asked for (except UFSA's: its stages are
    shares of the number of epochs, so another number is another training).

    Args:
        training: of a method; its ``line`` does not matter.
        out: the folder of this run, made if needed; on several nodes one that the first can write to.
        device: ``cpu``, ``cuda`` or ``auto``.
        reading: of a folder, arguments of :func:`vasot_kit.folders.load_folder`.

    Returns:
        The path of ``metrics.json``; None in all processes but the first.

    Raises:
        InputError: a bad name or value, or the weights in ``out`` come from more epochs than asked for.
        DataError: the data set is absent, its split leaves no recording to score, or ``out`` holds another
            configuration's run.
    """
    data = _load(training, **reading)
    config = training.config(device, data)[0]
    n_batches(data.train_part, config.training.batch_size, find_method(training.method).paired)  # raises without pairs
    if _labelled(data):
        _ = data.test_part  # raises where a split leaves none to score, before anything is trained
    with _folder(out) if is_first_process() else nullcontext():
        refuse_other(out, config, data)
        count = _number_of_actions(data, training, out)
        if count is not None:
            training = replace(training, n_actions=count.n_actions)
        rows, asked = _compute(training, data, device, out / WEIGHTS)
        if not rows:
            return None
        if count is None:  # what an interrupted training has left says nothing of this one
            for left in (out / COUNT, out / COUNT_FIGURE):
                left.unlink(missing_ok=True)
        elif not (out / COUNT).exists():
            _keep(count, _origin(data, training), out)
        if "agreement" in rows[0] and not _labelled(data):
            print(f"the trainings agree by {rows[0]['agreement']:.2f}, where 1 is everywhere and 0 as by chance")
        if "found_again" in rows[0]:
            of_activity = " of its activity" if len(by_activity(data)) > 1 else ""
            print(f"an action is found again in {rows[0]['found_again']:.0%} of the other recordings{of_activity}")
        if _labelled(data):
            rows += baseline_rows(data, rows[0]["seed"], training.preset)  # an override may have another seed
        return record(rows, asked, dataset_checksums={data.name: data.checksum()}, notebook="train", folder=out)


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make the folder of a run and hold it; a new one in which an error left nothing is removed again."""
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with held(out):
            yield
    finally:
        if new and not any(out.iterdir()):
            out.rmdir()


def run_study(
    trainings: Sequence[Training], folder: Path | str, *, data_root: Path | str | None = None, device: str = "cpu"
) -> list[Scores]:
    """Train and score what is not there yet; the rows of all trainings, read from their metrics files.

    A finished training is found again as long as its configuration, the data and the library's code are the same.

    Args:
        trainings: in the order of the table's lines.
        folder: of the study; every training gets ``folder/<dataset>-<method>-<hash>/metrics.json``.
        data_root: of the data sets.
        device: ``cpu``, ``cuda`` or ``auto``.

    Returns:
        One row per training and one per baseline with its scores, ``line``, ``seconds`` (of the training) and
        ``metrics`` (its file, relative to ``folder``). A training on several activities also has a row for each, with
        actions matched to the classes of this activity alone.

    Raises:
        InputError: a bad name or value in any of the trainings, before the first is done; or what only the data can
            show, such as a radius of less than one frame, when all others are done.
        DataError: an absent data set, or a metrics file that is not readable.
        VasotError: a process that trained was killed again and again; the others are done.
    """
    folder = Path(folder)
    data = {name: load_dataset(name, data_root) for name in dict.fromkeys(one.dataset for one in trainings)}
    runs = [_run(one, data[one.dataset], folder) for one in trainings]
    missing = {run.folder: (one, run) for one, run in zip(trainings, runs, strict=True) if not run.is_finished()}
    for one, _ in missing.values():
        if one.method != BASELINES:
            one.config(device, data[one.dataset])
    if missing:
        from vasot_kit.runs.workers import run_many  # which takes a second: a single training does without it

        threads = torch.get_num_threads() if device == "cpu" else 1  # trainings do not share one GPU
        work, jobs = partial(_train, data_root=data_root, device=device), list(missing.values())
        with tqdm(total=len(jobs), desc="trainings", unit="run") as bar:
            ended = list(run_many(work, jobs, bar, threads if threads > 1 else 0, threads=1))
        failures = [error for _, error in ended if error is not None]
        if failures:
            raise failures[0]
    return [
        {**row, "line": one.line or row["method"], "metrics": f"{run.folder.name}/metrics.json"}
        for one, run in zip(trainings, runs, strict=True)
        for row in _read(run.folder / "metrics.json")
    ]


def _load(training: Training, data_root: Path | str | None = None, **reading: Any) -> Dataset:
    """The data set of a training; a folder's features are scaled for ``auto``, which is for recordings of any kind."""
    if not is_folder(training.dataset):
        return load_dataset(training.dataset, data_root, **reading)
    values = preset_values(training.preset, training.dataset, training.method, pixels=True) | dict(training.overrides)
    data = load_dataset(training.dataset, data_root, side=values.get("encoder.side", 0), **reading)
    return well_scaled(data) if training.preset == "auto" else data


def _train(job: tuple[Training, Run], data_root: Path | str | None, device: str) -> None:
    training, run = job
    data = _load(training, data_root)
    checksums = {training.dataset: data.checksum()}

    def work(_: int | None) -> None:
        record(*_compute(training, data, device), dataset_checksums=checksums, notebook="study", folder=run.folder)

    once(run, work)


def _compute(
    training: Training, data: Dataset, device: str, checkpoint: Path | None = None
) -> tuple[list[Scores], dict[str, Any]]:
    """Rows, and the configuration that they come from; no rows in any process but the first that a launcher started.

    Args:
        checkpoint: where to keep the weights and to go on from; a training that has one also shows a bar.
    """
    if training.n_actions is not None:
        data = replace(data, n_actions=training.n_actions)
    if training.method == BASELINES:
        return baseline_rows(data, training.seed, training.preset), asdict(training)
    config, protocol = training.config(device, data)
    if checkpoint is None:  # its time is recorded
        _warm_up(config.method, config.training.device)
    model = build(config, data)
    start = time.perf_counter()
    history = fit(model, data, config.training, checkpoint=checkpoint, progress=checkpoint is not None)
    # A training that goes on from a checkpoint would know the time of its last part only.
    timed = {} if checkpoint else {"seconds": time.perf_counter() - start}
    if len(history) > config.training.epochs:
        raise InputError(
            f"{checkpoint} holds {len(history)} epochs but {config.training.epochs} were asked for; "
            "choose another folder"
        )
    if not is_first_process():
        return [], {}
    warn_of_collapse(history)
    if device in ("auto", "cuda") and torch.cuda.is_available():
        model.cuda()  # fit has moved it to the CPU, which takes one video at a time
    scored = partial(evaluate, model, protocol=protocol) if _labelled(data) else partial(scores_without_labels, model)
    parts = by_activity(data)
    row, *others = (
        score_row(scored(part), part, config, history, training.changes()) | timed
        for part in (data, *(parts if len(parts) > 1 else []))
    )
    rows = [row, *({**other, "steps": row["steps"]} for other in others)]
    model.cpu()
    if checkpoint:
        source = how_described(expanded(training.dataset)) if is_folder(training.dataset) else ("", None)
        background = "" if data.background is None else data.classes[data.background]
        write_model(
            checkpoint.parent, model, config, Inputs.of(data, *source), *name_actions(model, data), background
        )  # fmt: skip
    return rows, config.as_dict()


@cache
def _warm_up(method: str, device: str) -> None:
    """Train for an epoch on next to nothing: the first training of a process would be timed with seconds of imports."""
    data, config = load_dataset("toy"), make_config("toy", method, device=device, epochs=1)
    fit(build(config, data), data, replace(config.training, frames=32), progress=False)


def _labelled(data: Dataset) -> bool:
    return any(video.labels is not None for video in data.videos)


def _number_of_actions(data: Dataset, training: Training, out: Path) -> ActionCount | None:
    """K of recordings without labels that it is not given for: as kept in the folder of the run, or estimated."""
    if data.n_actions or _labelled(data) or "segmentation" not in find_method(training.method).tasks:
        return None
    # A run goes on with the number that it began with, also for more epochs. Weights may be of another training too,
    # which is then refused.
    begun = (out / WEIGHTS).exists()
    origin = _origin(data, training)
    count = estimate_in(out, None if begun else origin)
    if count is None:
        count = _counted(data, training, out)
        if not begun:
            _keep(count, origin, out)
    elif is_first_process():
        print(f"{count}, as kept in {out / COUNT}", flush=True)
    return count


def _origin(data: Dataset, training: Training) -> dict[str, Any]:
    """What an estimate of K depends on."""
    return {"data": data.checksum(), "seed": training.seed, "epochs": training.epochs}


def estimate_in(out: Path, origin: Mapping[str, Any] | None = None) -> ActionCount | None:
    """The number of actions that the training in a folder was given by its recordings; None if it was not.

    Args:
        out: the folder.
        origin: what the estimate has to come from; None for anything.

    Raises:
        DataError: the file that says it is damaged.
    """
    path = out / COUNT
    try:
        kept = json.loads(path.read_text())
        curve = (np.array(kept[name], float) for name in ("gain", "error"))
        low, high = kept["plausible"]
        count = ActionCount(int(kept["n_actions"]), (int(low), int(high)), np.array(kept["candidates"], int), *curve)
        return count if origin is None or origin == {name: kept.get(name) for name in origin} else None
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} is damaged: it does not hold the estimate of a training; remove it, or train into another folder"
        ) from error


def _keep(count: ActionCount, origin: Mapping[str, Any], out: Path) -> None:
    if is_first_process():
        curve = {name: getattr(count, name).tolist() for name in ("candidates", "gain", "error")}
        write_text(
            out / COUNT, to_json({"n_actions": count.n_actions, "plausible": count.plausible, **curve, **origin})
        )


def _counted(data: Dataset, training: Training, out: Path) -> ActionCount:
    """K, estimated from the recordings; the first process says so."""
    count = count_actions(data, training.seed, training.epochs, progress=is_first_process())
    if is_first_process():
        print(f"{count}. See {out / COUNT}; to choose another number, give --actions K and another folder.", flush=True)
    return count


def score_row(scores: Scores, dataset: Dataset, config: Config, history: History, changes: Mapping[str, Any]) -> Scores:
    """The row of a trained method in ``metrics.json``: names, seed, optimiser steps, scores.

    Of the last epoch also the collapse meter and the share of plans that converged.

    Args:
        scores: of ``evaluate``.
        dataset: that it was trained on.
        config: what it was trained with.
        history: of its training.
        changes: values that depart from the preset, by dotted name; a row says so.
    """
    row = {"dataset": dataset.name, "method": config.method, "preset": config.preset, "seed": config.training.seed}
    per_epoch = n_batches(dataset.train_part, config.training.batch_size, find_method(config.method).paired)
    row |= {"steps": per_epoch * len(history), **scores}
    last = history[-1] if history else {}
    row |= {name: last[name] for name in last if name in METER or name.startswith("converged_")}
    return row | ({"changes": json.dumps(dict(changes))} if changes else {})


def _run(training: Training, data: Dataset, folder: Path) -> Run:
    """Its folder in a study, named by all that its numbers depend on."""
    computed = {name: value for name, value in asdict(training).items() if name != "line"}
    identity = {"training": computed, "data": data.checksum(), "code": _code()}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    return Run(folder / f"{training.dataset.replace('/', '-')}-{training.method}-{digest}", identity)


@cache
def _code() -> str:
    """Checksum of the code that scores come from, and of the packages it uses: a change of it makes a study anew."""
    rooms = [ROOT / "vasot_lib", *(ROOT / "vasot_kit" / room for room in KIT)]
    files = [path for room in rooms for path in sorted(room.rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files) + to_json(versions()).encode()).hexdigest()


def _read(path: Path) -> list[Scores]:
    return read_metrics(path)["rows"]
