"""Many trainings for one table: each recorded in a folder of its own, done once, and read back from its metrics file.

The same as a sweep (``vasot sweep``), but without a notebook per training: a training on ``toy`` takes a second or two,
starting a kernel takes longer. On a CPU as many trainings run at a time as torch would use threads, each on one thread,
since matrices of this size gain little from a second one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.config import Config, build, make_config
from vasot_kit.experiments.defects import with_defect
from vasot_kit.experiments.evaluate import Scores, baseline_rows, evaluate
from vasot_kit.runs.processes import worker_pool
from vasot_kit.runs.records import record, to_json, versions
from vasot_kit.runs.train import score_row
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError, VasotError
from vasot_lib.training import fit

BASELINES = "baselines"  # the method of a run that scores all answers that need no learning
ROOT = Path(__file__).resolve().parents[2]
# The rooms of the kit that scores come from, besides the whole library.
KIT = ("datasets", "experiments", "films")


@dataclass(frozen=True)
class Run:
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


def run_study(
    runs: Sequence[Run], folder: Path | str, *, data_root: Path | str | None = None, device: str = "cpu"
) -> list[Scores]:
    """Train and score what is not there yet; the rows of all runs, read from their metrics files.

    A finished run is found again as long as its configuration, the data and the library's code are the same.

    Args:
        runs: in the order of the table's lines.
        folder: of the study; every run gets ``folder/<dataset>-<method>-<hash>/metrics.json``.
        data_root: of the data sets.
        device: ``cpu``, ``cuda`` or ``auto``.

    Returns:
        One row per training and one per baseline with its scores, ``line``, ``seconds`` (of the training) and
        ``metrics`` (its file, relative to ``folder``).

    Raises:
        InputError: a bad name or value in any of the runs, before the first is trained; or what only the data can show,
            such as a radius of less than one frame, when all others are done.
        DataError: an absent data set, or a metrics file that is not readable.
        VasotError: a process that trained was killed; what had been finished by then is kept.
    """
    folder = Path(folder)
    data = {name: load_dataset(name, data_root) for name in dict.fromkeys(run.dataset for run in runs)}
    places = [folder / _name(run, data[run.dataset]) for run in runs]
    missing = {place: run for place, run in zip(places, runs, strict=True) if not (place / "metrics.json").exists()}
    for run in missing.values():
        if run.method != BASELINES:
            _config(run, device)
    if missing:
        for _ in tqdm(_train(missing, data_root, device), total=len(missing), desc="trainings", unit="run"):
            pass
    return [
        {**row, "line": run.line or row["method"], "metrics": (place / "metrics.json").relative_to(folder).as_posix()}
        for run, place in zip(runs, places, strict=True)
        for row in _read(place / "metrics.json")
    ]


def _config(run: Run, device: str) -> tuple[Config, str]:
    config = make_config(
        run.dataset, run.method, run.preset, seed=run.seed, device=device, epochs=run.epochs, overrides=run.overrides
    )
    return with_defect(config, run.defect)


def _train(missing: Mapping[Path, Run], data_root: Path | str | None, device: str) -> Iterator[None]:
    """Train, score and record every run; yields once for each as it ends. One that fails does not stop the others."""
    jobs = [(run, place, data_root, device) for place, run in missing.items()]
    threads = torch.get_num_threads() if device == "cpu" else 1  # one device is not shared
    failures: list[VasotError] = []
    if threads == 1:
        for job in jobs:
            try:
                _run(*job)
            except VasotError as error:
                failures.append(error)
            yield
    else:
        with worker_pool(min(threads, len(jobs)), _use_one_thread) as pool:
            try:
                for future in as_completed([pool.submit(_run, *job) for job in jobs]):
                    try:
                        future.result()
                    except VasotError as error:
                        failures.append(error)
                    yield
            except BrokenProcessPool as error:
                raise VasotError("a training was killed, out of memory perhaps; the same call again goes on") from error
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    if failures:
        raise failures[0]


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)  # of what numpy and scikit-learn call


def _run(run: Run, place: Path, data_root: Path | str | None, device: str) -> None:
    data = load_dataset(run.dataset, data_root)
    rows, config = _compute(run, data, device)
    place.mkdir(parents=True, exist_ok=True)
    record(rows, config, dataset_checksums={run.dataset: data.checksum()}, notebook="study", folder=place)


def _compute(run: Run, data: Dataset, device: str) -> tuple[list[Scores], dict[str, Any]]:
    """Rows, and the configuration that they come from."""
    if run.n_actions is not None:
        data = replace(data, n_actions=run.n_actions)
    if run.method == BASELINES:
        return baseline_rows(data, run.seed), asdict(run)
    config, protocol = _config(run, device)
    model = build(config, data)
    start = time.perf_counter()
    history = fit(model, data, config.training, progress=False)
    seconds = time.perf_counter() - start
    others = ("training.epochs", run.epochs), ("K", run.n_actions), ("defect", run.defect)
    changes = dict(run.overrides) | {name: value for name, value in others if value not in (None, "")}
    row = score_row(evaluate(model, data, protocol), data.name, config, history, changes)
    return [row | {"seconds": seconds}], config.as_dict()


def _name(run: Run, data: Dataset) -> str:
    computed = {name: value for name, value in asdict(run).items() if name != "line"}
    parts = [computed, data.checksum(), _code()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{run.dataset.replace('/', '-')}-{run.method}-{digest}"


@cache
def _code() -> str:
    """Of everything that scores come from: a change of the library or of one below makes a study start anew."""
    rooms = [ROOT / "vasot_lib", *(ROOT / "vasot_kit" / room for room in KIT)]
    files = [path for room in rooms for path in sorted(room.rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files) + to_json(versions()).encode()).hexdigest()


def _read(path: Path) -> list[Scores]:
    try:
        return json.loads(path.read_text())["rows"]
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); delete its folder and run the study again") from error
