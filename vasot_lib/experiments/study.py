"""Many trainings for one table: each recorded in a folder of its own, done once, and read back from its metrics file.

The same as a sweep (``vasot sweep``), but inside the running process and without a notebook per training: a training on
``toy`` takes a second or two, starting a kernel takes longer.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from vasot_lib.data import Dataset, load_dataset
from vasot_lib.errors import DataError
from vasot_lib.experiments.config import Config, build, make_config
from vasot_lib.experiments.defects import with_defect
from vasot_lib.experiments.evaluate import Scores, baseline_rows, evaluate
from vasot_lib.experiments.records import record
from vasot_lib.experiments.train import score_row
from vasot_lib.training import fit

BASELINES = "baselines"  # the method of a run that scores all answers that need no learning
PACKAGE = Path(__file__).resolve().parents[1]
NO_NUMBERS = ("bench", "explore", "figures", "cli.py")  # what they hold does not change a score


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
        InputError: a bad name or value in any of the runs, before the first is trained.
        DataError: an absent data set, or a metrics file that is not readable.
    """
    folder = Path(folder)
    data = {name: load_dataset(name, data_root) for name in dict.fromkeys(run.dataset for run in runs)}
    places = [folder / _name(run, data[run.dataset]) for run in runs]
    missing = {place: run for place, run in zip(places, runs, strict=True) if not (place / "metrics.json").exists()}
    for run in missing.values():
        if run.method != BASELINES:
            _config(run, device)
    for place, run in tqdm(missing.items(), desc="trainings", unit="run") if missing else ():
        rows, config = _compute(run, data[run.dataset], device)
        place.mkdir(parents=True, exist_ok=True)
        checksums = {run.dataset: data[run.dataset].checksum()}
        record(rows, config, dataset_checksums=checksums, notebook="study", folder=place)
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
    changes = dict(run.overrides) | {k: v for k, v in (("K", run.n_actions), ("defect", run.defect)) if v}
    row = score_row(evaluate(model, data, protocol), data.name, config, history, changes)
    return [row | {"seconds": seconds}], config.as_dict()


def _name(run: Run, data: Dataset) -> str:
    computed = {name: value for name, value in asdict(run).items() if name != "line"}
    parts = [computed, data.checksum(), _code()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{run.dataset}-{run.method}-{digest}"


@cache
def _code() -> str:
    """Of everything that scores come from: a change of the library makes a study start anew."""
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in NO_NUMBERS]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _read(path: Path) -> list[Scores]:
    try:
        return json.loads(path.read_text())["rows"]
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); delete its folder and run the study again") from error
