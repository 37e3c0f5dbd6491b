"""Runs of notebooks by papermill, which refuse parameters that the notebook does not have or of another type."""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import math
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillException, PapermillExecutionError

from vasot_kit.runs.engine import Run, once
from vasot_kit.runs.records import OUTPUT_VARIABLE, read_params, write_text
from vasot_lib.errors import DataError, InputError, VasotError, unknown_name
from vasot_lib.files import TEMPORARY, remove_left

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL_STARTS_WITHIN = 300  # seconds; many at once on a slow file system take their time


@dataclass(frozen=True)
class NotebookRun(Run):
    """A notebook with all of its parameters, and the folder that belongs to both.

    Attributes:
        folder: ``out/<notebook>/<hash of notebook name and parameters>``, absolute.
        identity: file name of the notebook, checksum of its code, and its parameters: the defaults, overlaid with what
            was given. Where ``dataset`` is a folder of one's own, also a checksum of its files.
        notebook: absolute path.
    """

    notebook: Path
    result = "notebook.ipynb"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """By name."""
        return self.identity["parameters"]

    def is_finished(self) -> bool:
        """As of any run; a notebook that recorded rows must still have them."""
        lost = read_params(self.folder).get("recorded") and not (self.folder / "metrics.json").exists()
        return not lost and super().is_finished()

    def _state(self, status: str) -> dict[str, Any]:
        recorded = (self.folder / "metrics.json").exists()
        return super()._state(status) | {"source": str(self.notebook), "recorded": recorded}

    def refuse_other(self) -> None:
        """Refuse a folder with results of another notebook of the same name, which are not to be replaced.

        Who moves a notebook and its results finds no notebook at the old place, and goes on with the results.

        Raises:
            DataError: that other notebook is still where it was.
        """
        before = read_params(self.folder)
        source = Path(before.get("source", self.notebook))
        if source != self.notebook and source.is_file() and not self._agrees(before):
            raise DataError(
                f"{_shown(self.folder)} is of {_shown(source)}, another notebook of that name; choose another --out or "
                "rename one of them"
            )


def find_run(notebook: Path | str, parameters: Mapping[str, Any], out: Path | str) -> NotebookRun:
    """The run that :func:`run_notebook` would make or find; nothing is written.

    Raises:
        DataError, InputError: as :func:`run_notebook`.
    """
    source = Path(notebook).resolve()
    effective = effective_parameters(source, parameters)
    digest = hashlib.sha256(json.dumps([source.stem, effective], sort_keys=True).encode()).hexdigest()[:12]
    identity = {"notebook": source.name, "code": _code_checksum(source), "parameters": effective}
    if (data := _own_folder(effective.get("dataset"), source.parent)) is not None:
        identity["data"] = _data_checksum(data)
    run = NotebookRun(Path(out).resolve() / source.stem / digest, identity, source)
    run.refuse_other()
    return run


def with_absolute_folder(parameters: Mapping[str, Any], here: Path) -> Mapping[str, Any]:
    """The parameters, where ``dataset`` is a folder at a path relative to ``here`` with its absolute path.

    The notebook runs in its own folder, where a relative path would lead elsewhere.
    """
    folder = _own_folder(parameters.get("dataset"), here)
    if folder is None or str(parameters["dataset"]).startswith(("/", "~")):
        return parameters
    return {**parameters, "dataset": str(folder.resolve())}


def _own_folder(dataset: Any, here: Path) -> Path | None:
    """The folder of one's own that the value of ``dataset`` names, relative to ``here``; None for other values.

    A folder that is called like a registered data set has to be named by ``./`` and its name, as everywhere.
    """
    if not isinstance(dataset, str) or not dataset or not (here / dataset).exists() and not dataset.startswith("~"):
        return None
    from vasot_kit.datasets.registry import DATASETS, expanded  # which imports torch

    folder = here / expanded(dataset)
    return folder if folder.is_dir() and dataset.partition("/")[0] not in DATASETS else None


def _data_checksum(folder: Path) -> str:
    """Of all that a data set is read from, see :mod:`vasot_kit.folders.reading`."""
    from vasot_kit.datasets.registry import holds_films
    from vasot_kit.films.media import video_files
    from vasot_kit.folders.reading import feature_files

    inside = (folder / name for name in ("features", "groundTruth", "mapping", "splits", "videos", "frames"))
    places = {*inside, *(video_files(folder) if holds_films(folder) else feature_files(folder))}
    paths = {path for place in places for path in (place, *place.rglob("*"))}
    files = [path for path in sorted(paths) if path.is_file() and not path.name.startswith(".")]
    read = [(path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return _contents_checksum(folder, tuple(read))


@cache
def _contents_checksum(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    """Read once for all cells of a sweep, as long as no size and time of a file is another one."""
    digest = hashlib.sha256()
    for name, size, _ in files:
        digest.update(f"{name} {size}\n".encode())
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def run_notebook(
    notebook: Path | str, parameters: Mapping[str, Any], out: Path | str, *, progress: bool = True
) -> Path:
    """Execute a notebook with parameters into a folder of its own; a run that is already there is not repeated.

    The folder is ``out/<notebook>/<hash of notebook name and effective parameters>`` and holds ``notebook.ipynb``,
    ``metrics.json`` (written by the notebook), ``params.yaml``, ``environment.txt`` and ``figures/``. The notebook
    runs in its own folder, with this interpreter. A notebook whose code changed since, or the files of the folder that
    its parameter ``dataset`` names, is run again from an empty folder; an interrupted run is run again in the folder as
    it was left, so that it can resume. A run that another process works on is waited for.

    Args:
        notebook: the file; never written to.
        parameters: by name; the others keep the default of the notebook's parameters cell. A relative path of a
            folder for ``dataset`` starts from the current folder.
        out: the folder of all experiments.
        progress: show a bar over the cells, and say in the end where the run is.

    Returns:
        The folder of the run.

    Raises:
        DataError: no such notebook, not a notebook, or the folder holds a run of another one of the same name.
        InputError: no parameters cell, an unknown parameter, a value of another type than the default.
        VasotError: a cell failed; the notebook as far as it came is kept as ``failed.ipynb``.
    """
    run = find_run(notebook, with_absolute_folder(parameters, Path.cwd()), out)
    done = once(run, lambda lock: _execute(run, lock, progress), quiet=not progress)
    if progress:
        print(f"{'wrote' if done else 'there already:'} {run.folder}")
    return run.folder


def run_quietly(run: NotebookRun) -> None:
    """One of many runs, without a progress bar.

    Raises:
        VasotError: as :func:`run_notebook`, or the notebook or its data have changed since the run was planned, whose
            results would not be looked for where they are.
    """
    if find_run(run.notebook, run.parameters, run.folder.parents[1]).identity != run.identity:
        raise VasotError(f"{run.notebook.name} or its data changed after the start; run the same command again")
    once(run, lambda lock: _execute(run, lock, progress=False), quiet=True)


def effective_parameters(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a notebook's parameters cell, overlaid with the given values.

    Raises:
        DataError, InputError: as :func:`run_notebook`.
    """
    cells = _read_notebook(notebook).cells
    if not any("parameters" in cell.metadata.get("tags", ()) for cell in cells):
        raise InputError(f"{notebook.name} has no cell tagged 'parameters'; add one that holds plain literals")
    try:
        with warnings.catch_warnings(action="ignore"):  # of cells without an id, which are no fault of who runs it
            inspected = papermill.inspect_notebook(notebook)
    except (ValueError, AttributeError, TypeError, LookupError, nbformat.ValidationError, PapermillException) as error:
        raise InputError(f"{notebook.name} names no kernel; save it once from Jupyter with a Python kernel") from error
    values = {name: _default(notebook, name, found) for name, found in inspected.items()}
    for name, value in parameters.items():
        if name not in values:
            raise unknown_name(f"parameter of {notebook.name}", name, values)
        values[name] = _fitting(notebook, name, value, values[name])
    return values


def _default(notebook: Path, name: str, found: Mapping[str, Any]) -> Any:
    try:
        default = ast.literal_eval(found["default"])
        if not _is_plain(default):
            raise ValueError(default)
        return default
    except (ValueError, SyntaxError) as error:
        raise InputError(
            f"parameter {name!r} of {notebook.name} has the default {found['default']!r}; make it a plain literal"
        ) from error


def _fitting(notebook: Path, name: str, value: Any, default: Any) -> Any:
    """The value in the type of the default. A default of None says nothing about the type."""
    try:
        plain = _is_plain(value)
    except RecursionError:  # YAML can name a list within itself
        plain = False
    if not plain:
        raise InputError(
            f"parameter {name!r} of {notebook.name} is {value!r}; give finite numbers, text, true, false, null, or "
            "lists and mappings of these, with text as the names of a mapping"
        )
    if default is None or type(value) is type(default):
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    raise InputError(
        f"parameter {name!r} of {notebook.name} is {value!r} ({type(value).__name__}); "
        f"expected {type(default).__name__}, as its default {default!r}"
    )


def _is_plain(value: Any) -> bool:
    """Whether JSON can take a value and gives the same back."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _execute(run: NotebookRun, lock: int | None, progress: bool) -> None:
    source, running, failed = run.notebook, run.folder / "running.ipynb", run.folder / "failed.ipynb"
    for stale in (run.folder / run.result, run.folder / "metrics.json", failed):
        stale.unlink(missing_ok=True)
    write_text(run.folder / "environment.txt", _environment())
    # The level is set because papermill logs what the progress bar shows already.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # after an interrupt it would speak of the kernel's end
    try:
        remove_left(Path(tempfile.gettempdir()), TEMPORARY)
        with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{os.getpid()}-") as sockets:
            papermill.execute_notebook(
                source,
                running,
                parameters=dict(run.parameters),
                kernel_name="python3",
                language="python",
                cwd=source.parent,
                progress_bar=progress,
                start_timeout=KERNEL_STARTS_WITHIN,
                kernel_manager_class=_kernel_manager(run.folder, lock, sockets),
            )
    except PapermillExecutionError as error:
        running.replace(failed)
        reason = " ".join(str(error.evalue).split())
        # A bad value that only the notebook could see is still bad use.
        kind = InputError if error.ename == InputError.__name__ else VasotError
        raise kind(
            f"{source.name}: cell {error.cell_index} raised {error.ename}: {reason}; see {_shown(failed)}"
        ) from error
    except DeadKernelError as error:
        if running.exists():
            running.replace(failed)
        raise VasotError(f"{source.name}: its kernel died, out of memory perhaps; see {_shown(failed)}") from error
    except KeyboardInterrupt:
        if progress:
            print("stopped; the same command again takes it up")
        raise
    except RuntimeError as error:  # nbclient's way to say so
        raise VasotError(f"{source.name}: its kernel did not start ({error}); run it again") from error
    nbformat.write(without_widgets(nbformat.read(running, as_version=4)), running)
    running.replace(run.folder / run.result)


def without_widgets(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook without the views of widgets, which are empty places without their kernel."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    return notebook


def _kernel_manager(folder: Path, lock: int | None, sockets: str) -> type[AsyncKernelManager]:
    """A manager whose kernel is this interpreter, whatever kernels are installed.

    The kernel knows its folder, and inherits the lock: if this process is killed, the folder is held until the kernel
    ends too.
    """
    # Absolute, because the kernel works in another folder. data_root() would say the same but costs seconds of imports.
    data = Path(os.environ.get("VASOT_DATA") or "data").resolve()
    environment = {OUTPUT_VARIABLE: str(folder), "VASOT_DATA": str(data)}
    # The log level hides remarks about encryption on one machine and about the interrupt at shutdown.
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
    spec = KernelSpec(argv=command, env=environment, display_name="Python 3", language="python")

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            # Not TCP: a port that was free may be taken when the kernel comes to it, and many start at a time.
            self.transport = "ipc"
            self.connection_file = str(Path(sockets) / "kernel.json")
            await super().start_kernel(pass_fds=() if lock is None else (lock,), **options)

    return ThisPython


def _read_notebook(notebook: Path) -> nbformat.NotebookNode:
    if not notebook.is_file():
        raise DataError(f"there is no notebook {_shown(notebook)}; give the path of an .ipynb file")
    no_notebook = DataError(f"{_shown(notebook)} is not a notebook; give the path of an .ipynb file")
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)  # nbformat would print what it finds invalid
    try:
        with warnings.catch_warnings(action="ignore"):
            found = nbformat.read(notebook, as_version=4)
    except (
        ValueError,
        AttributeError,
        TypeError,
        LookupError,
        AssertionError,
        RecursionError,
        nbformat.ValidationError,
    ) as error:
        raise no_notebook from error
    if not (isinstance(found.get("metadata"), dict) and isinstance(found.get("cells"), list)):
        raise no_notebook
    if not all(map(_is_cell, found.cells)):
        raise no_notebook
    return found


def _is_cell(cell: Any) -> bool:
    """Whether it has what is read here; nbformat takes fields that are null."""
    return (
        isinstance(cell, dict)
        and isinstance(cell.get("source"), str)
        and isinstance(cell.get("metadata"), dict)
        and isinstance(cell["metadata"].get("tags", []), list)
        and cell.get("cell_type") in ("code", "markdown", "raw")
    )


def _code_checksum(notebook: Path) -> str:
    cells = [cell.source for cell in _read_notebook(notebook).cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:12]


def _environment() -> str:
    packages = sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower)
    return "\n".join([f"python=={platform.python_version()}", f"# {platform.platform()}", *packages]) + "\n"


def _shown(path: Path) -> str:
    return os.path.relpath(path)
