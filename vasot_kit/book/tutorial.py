"""The tutorial: runs its notebooks, and builds the book with what they show on this machine."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dask.system import CPU_COUNT
from tqdm import tqdm

import vasot_kit
import vasot_lib
from vasot_kit.book.build import build_book
from vasot_kit.runs.notebook import NotebookRun, find_run, run_quietly
from vasot_kit.runs.records import collect, to_json, versions, write_text
from vasot_kit.runs.workers import run_many
from vasot_lib.errors import DataError

# The runs of the tutorial: a notebook, and the parameters that differ from its defaults.
TUTORIAL: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("00_quickstart", {}),
    ("05_transport_from_zero", {}),
    ("10_structural_priors", {}),
    ("20_dummy_frames", {}),
    ("30_transport_plans", {}),
    ("40_train", {"dataset": "toy", "method": "vaot"}),
    ("40_train", {"dataset": "toy", "method": "asot"}),
    ("40_train", {"dataset": "toy", "method": "vasot"}),
    ("40_train", {"dataset": "mocap6", "method": "vaot"}),
    ("40_train", {"dataset": "mocap6", "method": "asot"}),
    ("40_train", {"dataset": "mocap6", "method": "vasot"}),
    ("45_gpu_training", {}),
    ("50_ablations", {}),
    ("55_one_model_or_two", {}),
    ("60_methods", {}),
    ("70_own_videos", {}),
    ("80_speed_and_scale", {}),
    ("90_beyond_the_paper", {}),
)

ALONE = ("45_gpu_training", "80_speed_and_scale")  # notebooks that measure times, and so are run alone
MOST_AT_A_TIME = 4  # notebooks that run side by side; each takes some 600 MB


def tutorial(out: Path | str = Path("outputs/tutorial"), notebooks: Path | str = Path("notebooks")) -> None:
    """Run the tutorial's notebooks, build the book in ``out/book`` and write ``metrics.json``.

    Runs that are finished already are not repeated, unless the code of the kit has changed since they were begun.

    Args:
        out: folder for the book and for the folders of the runs.
        notebooks: folder of the notebooks, relative to the working directory.

    Raises:
        DataError: the notebooks are not there.
        VasotError: a notebook failed.
    """
    out, notebooks = Path(out), Path(notebooks)
    for name, _ in TUTORIAL:
        if not (notebooks / f"{name}.ipynb").exists():
            raise DataError(f"there is no {notebooks / name}.ipynb; run from the root of the repository")
    runs = [find_run(notebooks / f"{name}.ipynb", parameters, out) for name, parameters in TUTORIAL]
    _remove_outdated(runs, out / "code.txt")
    changes = [parameters for _, parameters in TUTORIAL]
    _run_side_by_side(runs, changes)
    rows = [
        {**row, "run": run.folder.relative_to(out.resolve()).as_posix()} for run in runs for row in collect(run.folder)
    ]
    write_text(out / "metrics.json", to_json({"rows": rows, "versions": versions()}))
    book(out / "book", notebooks, runs)


def _remove_outdated(runs: Sequence[NotebookRun], record: Path) -> None:
    """Remove runs that an earlier call began with other code, of which ``record`` holds a checksum."""
    packages = (Path(package.__path__[0]) for package in (vasot_lib, vasot_kit))
    sources = [file for package in packages for file in sorted(package.rglob("*.py"))]
    code = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    begun = [run.folder for run in runs if run.folder.exists()]
    if begun and not (record.is_file() and record.read_text() == code):
        print(f"The code has changed since {len(begun)} of {len(runs)} notebooks were run here; all are run again.")
        for folder in begun:
            shutil.rmtree(folder)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_text(record, code)


def book(out: Path, notebooks: Path = Path("notebooks"), runs: Sequence[NotebookRun] = ()) -> None:
    """Build the book, see :func:`vasot_kit.book.build.build_book`, and say where it is and what is wrong with it."""
    for warning in build_book(out, notebooks, runs):
        print(warning)
    print(f"wrote {out}; open {out / 'index.html'} in a browser")


def _run_side_by_side(runs: Sequence[NotebookRun], parameters: Sequence[Mapping[str, Any]]) -> None:
    """Run several notebooks at a time, and after them, one by one, those that measure times."""
    alone = [k for k, run in enumerate(runs) if run.notebook.stem in ALONE]
    others = [k for k in range(len(runs)) if k not in alone]
    with tqdm(total=len(runs), desc="notebooks", unit="run") as bar:
        for some, workers in ((others, min(CPU_COUNT, MOST_AT_A_TIME)), (alone, 0)):
            for index, error in run_many(run_quietly, [runs[k] for k in some], bar, workers):
                if error is not None:
                    raise error
                k = some[index]
                changed = ", ".join(f"{name}={value}" for name, value in parameters[k].items())
                bar.write(f"[{bar.n}/{len(runs)}] {runs[k].notebook.stem} {changed}".rstrip())
