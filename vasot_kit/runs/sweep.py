"""A grid of runs of one notebook, several at a time; what is finished is not run again.

A grid is a YAML file. One mapping of lists stands for all combinations of their values; several mappings in a list are
joined:

    notebook: ../notebooks/40_train.ipynb  # relative to this file
    fixed: {preset: kit}                   # optional
    grid:
      dataset: [toy, mocap6]
      method: [asot, vasot]
      seed: [0, 1, 2]
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from dask.system import CPU_COUNT
from tqdm import tqdm

from vasot_kit.runs.notebook import NotebookRun, find_run, run_quietly, with_absolute_folder
from vasot_kit.runs.records import REQUIRED, collect, write_text
from vasot_kit.runs.values import read_yaml
from vasot_kit.runs.workers import run_many
from vasot_lib.errors import DataError, InputError, VasotError, unknown_name

KEYS = ("notebook", "fixed", "grid")
BAR = "{percentage:3.0f}% |{bar}| {n_fmt} of {total_fmt} runs, {elapsed} gone, {remaining} to go{postfix}"


@dataclass(frozen=True, eq=False)
class Cell:
    """One point of a grid: the values that the grid gives it, and its run."""

    values: Mapping[str, Any]
    run: NotebookRun

    def __str__(self) -> str:
        return _listed(self.values)


def sweep(grid: Path, out: Path, workers: int | None = None, scheduler: str | None = None) -> None:
    """Run every cell of a grid and write ``<name of the grid>_rows.csv`` into ``out``, beside the folders of the runs.

    Killed at any moment, the same call again goes on: finished runs are kept, the others are run. A cell that fails
    does not stop the others.

    Args:
        grid: the file; see the head of this module.
        out: folder of all runs, as for :func:`vasot_kit.runs.notebook.run_notebook`.
        workers: runs at a time on this machine; as many as it has cores where None.
        scheduler: address of a dask scheduler whose workers see the same files, instead of this machine.

    Raises:
        InputError: something in the grid is wrong; nothing was run.
        DataError: the grid or its notebook is not there, or not what it should be; or the data set is not there, where
            no ``scheduler`` is given.
        VasotError: cells failed; they are listed on standard output.
    """
    if workers is not None and scheduler is not None:
        raise InputError(f"{workers} workers and scheduler {scheduler} were given; its workers exist already: give one")
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1")
    cells = read_grid(grid, out)
    missing = [cell for cell in cells if not cell.run.is_finished()]
    if scheduler is None:
        _refuse_absent(missing)
    failures: dict[Cell, str] = {}
    if missing:
        workers = min(workers or CPU_COUNT, len(missing))
        print(_plan(cells, missing, workers, scheduler), flush=True)
        runs, there = [cell.run for cell in missing], len(cells) - len(missing)
        try:
            with tqdm(total=len(cells), initial=there, bar_format=BAR, smoothing=0, dynamic_ncols=True) as bar:
                for index, error in run_many(run_quietly, runs, bar, workers, scheduler=scheduler):
                    if error is not None:
                        failures[missing[index]] = _reason(error)
        except KeyboardInterrupt:
            print("stopped; the same command again goes on from here")
            raise
    _report(cells, missing, failures, out, f"{grid.stem}_rows.csv")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, VasotError) else " ".join(f"{type(error).__name__}: {error}".split())


def _listed(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


# The grid


def read_grid(path: Path, out: Path) -> list[Cell]:
    """The cells of a grid, each checked as far as it can be without running it.

    Raises:
        InputError, DataError: as :func:`sweep`.
    """
    content = _read(path)
    fixed = content.get("fixed", {})
    notebook = path.parent / content["notebook"]
    cells: list[Cell] = []
    folders = set()
    for values in _combinations(path, content["grid"], fixed):
        try:
            run = find_run(notebook, with_absolute_folder({**fixed, **values}, path.parent), out)
            _check(run.parameters)
        except InputError as error:
            raise InputError(f"{path}: {_listed(values)}: {error}") from error
        cell = Cell(values, run)
        if run.folder in folders:
            raise InputError(f"{path}: {cell} stands twice, defaults of the notebook included; remove one")
        folders.add(run.folder)
        cells.append(cell)
    return cells


def _read(path: Path) -> dict[str, Any]:
    """The file's content: ``notebook`` is a string, ``fixed`` a mapping, ``grid`` is there."""
    try:
        content = read_yaml(path.read_text())
    except OSError as error:
        raise DataError(f"cannot read the grid {path} ({error.strerror}); give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"{path} is not YAML: {place}{problem}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {content!r:.60}; a grid is a mapping with the keys {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            raise unknown_name(f"key of {path}", key, KEYS)
    for key in ("notebook", "grid"):
        if key not in content:
            raise InputError(f"{path} has no {key!r}; a grid names a notebook and lists values under 'grid'")
    if not isinstance(content["notebook"], str):
        raise InputError(f"{path}: notebook is {content['notebook']!r}; expected a path relative to this file")
    if not isinstance(content.get("fixed", {}), dict):
        raise InputError(f"{path}: fixed is {content['fixed']!r}; expected parameters with one value each")
    return content


def _combinations(path: Path, grid: Any, fixed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All combinations of the values of each mapping, the last name varying fastest."""
    combinations = []
    for lists in grid if isinstance(grid, list) else [grid]:
        if not isinstance(lists, dict):
            raise InputError(f"{path}: grid holds {lists!r}; expected parameters with a list of values each")
        if not lists:
            raise InputError(f"{path}: grid holds an empty mapping; list values of at least one parameter")
        for name, values in lists.items():
            if not isinstance(values, list):
                raise InputError(f"{path}: {name} is {values!r}; expected a list, for example [{values}]")
            if not values:
                raise InputError(f"{path}: {name} is an empty list; give at least one value or remove it")
            if name in fixed:
                raise InputError(f"{path}: {name} stands under fixed and under grid; remove one")
        combinations += [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    if not combinations:
        raise InputError(f"{path} has no cells; list values of at least one parameter under 'grid'")
    return combinations


def _check(parameters: Mapping[str, Any]) -> None:
    """What the notebooks of the kit would refuse themselves, a kernel and many imports later."""
    # Imported here because the workers import this module too, and have no use for torch.
    from vasot_kit.datasets.registry import expanded, find_entry, is_folder
    from vasot_kit.experiments.config import make_config

    if not {"dataset", "method", "preset"} <= parameters.keys():
        return
    dataset, method, preset = (parameters[name] for name in ("dataset", "method", "preset"))
    if not (isinstance(dataset, str) and is_folder(dataset)):
        find_entry(dataset)
    elif not (folder := expanded(dataset)).is_absolute() or not folder.is_dir():  # one beside the grid is absolute here
        raise InputError(
            f"there is no folder {dataset}, as seen from the grid; name one, or a data set from `vasot data`"
        )
    optional = {name: parameters[name] for name in ("seed", "device", "epochs", "overrides") if name in parameters}
    # auto has the values of kit, but for a radius that only the recordings tell.
    make_config(dataset, method, "kit" if preset == "auto" else preset, **optional)


def _refuse_absent(cells: Sequence[Cell]) -> None:
    """Refuse a data set that has to be brought first, which every cell would say, a kernel later.

    Raises:
        DataError: it is not there.
    """
    for cell in cells:
        parameters = cell.run.parameters
        if not {"dataset", "method", "preset"} <= parameters.keys() or parameters.get("data_root"):
            continue
        from vasot_kit.datasets.registry import data_root, find_entry, is_folder, refuse_absent

        if not is_folder(parameters["dataset"]):
            refuse_absent(find_entry(parameters["dataset"])[0], data_root())


# What is said and written


def _plan(cells: Sequence[Cell], missing: Sequence[Cell], workers: int, scheduler: str | None) -> str:
    there = f", {len(cells) - len(missing)} of them there already" if len(missing) < len(cells) else ""
    place = f"the workers of {scheduler}" if scheduler else f"{workers} worker{'s'[: workers > 1]}"
    return f"{len(cells)} runs of {cells[0].run.notebook.name}{there}; on {place}"


def _report(cells: Sequence[Cell], missing: Sequence[Cell], failures: Mapping[Cell, str], out: Path, name: str) -> None:
    """Write the table of all rows and say what there is and what failed."""
    for cell, reason in failures.items():
        print(f"failed: {cell}\n  {reason}")
    print(f"{len(missing) - len(failures)} run, {len(cells) - len(missing)} there already, {len(failures)} failed")
    finished = [cell for cell in cells if cell not in failures]
    of_cells = {cell: _rows(cell, out.resolve()) for cell in finished}
    rows = [row for found in of_cells.values() for row in found]
    if rows:
        write_text(out / name, _csv(rows))
        print(f"wrote {out / name}: {len(rows)} rows of {len(finished)} runs")
    else:
        (out / name).unlink(missing_ok=True)  # its rows are of runs that are no longer there
    if rowless := [cell for cell, found in of_cells.items() if not found]:
        print(f"{len(rowless)} of {len(finished)} runs recorded no rows, the first of them {rowless[0]}")
    if failures:
        raise VasotError(f"{len(failures)} of {len(cells)} runs failed; the same command again runs only these")


def _rows(cell: Cell, base: Path) -> list[dict[str, Any]]:
    """Rows of a cell, each with the run's folder and with those values of the grid that it does not name itself."""
    run = cell.run.folder.relative_to(base).as_posix()
    return [{**cell.values, **row, "run": run} for row in collect(cell.run.folder)]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    last = ("notebook", "run")
    names = [*dict.fromkeys([*REQUIRED, *(name for row in rows for name in row if name not in last)]), *last]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in row.items()})
    return text.getvalue()
