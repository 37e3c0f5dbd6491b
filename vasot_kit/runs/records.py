"""What a run leaves behind: its folder, ``metrics.json``, its figures; and how the rows are gathered again."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vasot_kit.runs.values import yaml_errors
from vasot_lib.errors import DataError, InputError
from vasot_lib.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTPUT_VARIABLE = "VASOT_OUTPUT"
REQUIRED = ("dataset", "method", "seed")


def output_dir(notebook_name: str) -> Path:
    """The folder that a notebook writes to, made if needed.

    The strict runner names it in ``VASOT_OUTPUT``; by hand it is ``outputs/interactive/<name>`` of the repository,
    also when the kernel runs inside its ``notebooks`` folder.
    """
    here = Path.cwd()
    root = here.parent if here.name == "notebooks" else here
    named = os.environ.get(OUTPUT_VARIABLE)
    folder = Path(named) if named else root / "outputs" / "interactive" / notebook_name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def record(
    rows: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    *,
    dataset_checksums: Mapping[str, str],
    notebook: str,
    folder: Path | None = None,
) -> Path:
    """Write ``metrics.json`` of a run atomically: rows, config, seed, versions, data checksums, time.

    Args:
        rows: one per method, data set and seed; each carries ``dataset``, ``method``, ``seed`` and its scores. A
            score that is NaN or infinite is written as null.
        config: what the run was asked for; nested plain values.
        dataset_checksums: ``Dataset.checksum()`` by name of data set.
        notebook: name of the notebook, without suffix.
        folder: where to write; that of the notebook's run where None.

    Raises:
        InputError: no rows, or a row without one of the required keys.
    """
    if not rows:
        raise InputError("record() got no rows; give at least one with dataset, method and seed")
    for index, row in enumerate(rows):
        missing = [key for key in REQUIRED if key not in row]
        if missing:
            raise InputError(f"row {index} lacks {', '.join(missing)}; its keys are {', '.join(map(str, row))}")
    content = {
        "notebook": notebook,
        "rows": [dict(row) for row in rows],
        "config": dict(config),
        "seed": sorted({row["seed"] for row in rows if row["seed"] is not None}),
        "versions": versions(),
        "data": dict(dataset_checksums),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = (folder or output_dir(notebook)) / "metrics.json"
    write_text(path, to_json(content))
    return path


def collect(folder: Path | str) -> list[dict[str, Any]]:
    """Rows of every run at or below a folder, each with the ``notebook`` that made it and its ``run`` folder.

    The trainings that a notebook keeps below its own folder are among the rows of the notebook and not counted again.
    What a run that failed or has not finished has recorded so far does not count.

    Raises:
        DataError: a ``metrics.json`` or ``params.yaml`` that is not readable.
    """
    runs: dict[Path, dict[str, Any]] = {}
    begun = {
        path.parent for path in Path(folder).rglob("params.yaml") if read_params(path.parent).get("status") == "started"
    }
    for path in sorted(Path(folder).rglob("metrics.json")):
        if begun.intersection(path.parents):
            continue
        content = read_metrics(path)
        # The tables that gather several runs are called metrics.json too, but have no config.
        if "config" in content:
            runs[path.parent] = content
    return [
        {**row, "notebook": str(content.get("notebook")), "run": place.relative_to(folder).as_posix()}
        for place, content in runs.items()
        if not any(parent in runs for parent in place.parents)
        for row in content["rows"]
    ]


def read_params(folder: Path) -> dict[str, Any]:
    """What ``params.yaml`` in the folder of a run holds; empty where there is none.

    Raises:
        DataError: it is damaged.
    """
    path = folder / "params.yaml"
    try:
        with yaml_errors():
            found = yaml.safe_load(path.read_text()) if path.exists() else {}
    except yaml.YAMLError as error:
        raise DataError(f"{path} is damaged; remove its folder and run again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is damaged, it holds no mapping; remove its folder and run again")
    return found


def read_metrics(path: Path) -> dict[str, Any]:
    """The content of a ``metrics.json``, whose ``rows`` are mappings with a data set, a method and a seed.

    Raises:
        DataError: it is not valid JSON, or has no such rows.
    """
    remedy = "delete its folder and run the same again"
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); {remedy}") from error
    rows = content.get("rows") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= {*REQUIRED} for row in rows):
        raise DataError(f"{path} is damaged, it has no rows with {', '.join(REQUIRED)}; {remedy}")
    return content


def save_figure(fig: Figure, name: str, *, notebook: str) -> Path:
    """Save a figure as ``figures/<name>.png`` in the folder of the notebook's run."""
    path = output_dir(notebook) / "figures" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as beside:
        fig.savefig(beside, dpi=110, bbox_inches="tight", format="png")
    return path


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "scipy", "scikit-learn", "vasot"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def to_json(content: Any) -> str:
    """JSON text of nested plain and numpy values; NaN and infinities become null."""
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees either the old content or the whole new one."""
    with whole_file(path) as beside:
        beside.write_text(text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and torch, scalars as well as arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
