"""Runs of notebooks by papermill, which refuse parameters that the notebook does not have or of another type."""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
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
from vasot_kit.runs.records import OUTPUT_VARIABLE, write_text
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
            was given.
        notebook: absolute path.
    """

    notebook: Path
    result = "notebook.ipynb"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """By name."""
        return self.identity["parameters"]


def find_run(notebook: Path | str, parameters: Mapping[str, Any], out: Path | str) -> NotebookRun:
    """The run that :func:`run_notebook` would make or find; nothing is written.

    Raises:
        DataError, InputError: as :func:`run_notebook`.
    """
    source = Path(notebook).resolve()
    effective = effective_parameters(source, parameters)
    digest = hashlib.sha256(json.dumps([source.stem, effective], sort_keys=True).encode()).hexdigest()[:12]
    identity = {"notebook": source.name, "code": _code_checksum(source), "parameters": effective}
    return NotebookRun(Path(out).resolve() / source.stem / digest, identity, source)


def run_notebook(
    notebook: Path | str, parameters: Mapping[str, Any], out: Path | str, *, progress: bool = True
) -> Path:
    """Execute a notebook with parameters into a folder of its own; a run that is already there is not repeated.

    The folder is ``out/<notebook>/<hash of notebook name and effective parameters>`` and holds ``notebook.ipynb``,
    ``metrics.json`` (written by the notebook), ``params.yaml``, ``environment.txt`` and ``figures/``. The notebook
    runs in its own folder, with this interpreter. A notebook whose code changed since is run again from an empty
    folder; an interrupted run is run again in the folder as it was left, so that it can resume. A run that another
    process works on is waited for.

    Args:
        notebook: the file; never written to.
        parameters: by name; the others keep the default of the notebook's parameters cell.
        out: the folder of all experiments.
        progress: show a bar over the cells.

    Returns:
        The folder of the run.

    Raises:
        DataError: no such notebook, or not a notebook.
        InputError: no parameters cell, an unknown parameter, a value of another type than the default.
        VasotError: a cell failed; the notebook as far as it came is kept as ``failed.ipynb``.
    """
    run = find_run(notebook, parameters, out)
    once(run, lambda lock: _execute(run, lock, progress), quiet=not progress)
    return run.folder


def run_quietly(run: NotebookRun) -> None:
    """One of many runs, without a progress bar. The notebook is read anew, since it may have changed meanwhile."""
    run_notebook(run.notebook, run.parameters, run.folder.parents[1], progress=False)


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
        return ast.literal_eval(found["default"])
    except (ValueError, SyntaxError) as error:
        raise InputError(
            f"parameter {name!r} of {notebook.name} has the default {found['default']!r}; make it a plain literal"
        ) from error


def _fitting(notebook: Path, name: str, value: Any, default: Any) -> Any:
    """The value in the type of the default. A default of None says nothing about the type."""
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


def _execute(run: NotebookRun, lock: int | None, progress: bool) -> None:
    source, running, failed = run.notebook, run.folder / "running.ipynb", run.folder / "failed.ipynb"
    for stale in (run.folder / run.result, run.folder / "metrics.json", failed):
        stale.unlink(missing_ok=True)
    write_text(run.folder / "environment.txt", _environment())
    # The level is set because papermill logs what the progress bar shows already.
    logging.getLogger("papermill").setLevel(logging.ERROR)
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
