"""A copy of the chapters to work on: ``vasot new FOLDER``."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from vasot_kit.whole_folders import whole_folder
from vasot_lib.errors import DataError, InputError

ROOT = Path(__file__).parents[1]
SHARE = "share/vasot/"  # where pip puts the chapters and the tables that they read, below the environment
KINDS = (
    *("notebooks/*.ipynb", "notebooks/solutions/*.ipynb", "results/*.csv", "results/h100/*.json"),
    *("docs/*.md", "docs/*.png"),
)


def copy_chapters(folder: Path) -> list[Path]:
    """Copy chapters, solutions, the tables that they read and the documents into a new folder, all or nothing.

    Args:
        folder: must not exist, or be empty.

    Returns:
        The chapters in the folder, without their solutions.

    Raises:
        InputError: the folder has something in it.
        DataError: the kit was installed without its chapters.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already and not empty; name a new folder")
    found = _shipped()
    if not found:
        raise DataError("this installation has no chapters; install the kit again with pip, or clone its repository")
    with whole_folder(folder) as beside:
        for name, source in found.items():
            target = beside / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return sorted((folder / "notebooks").glob("*.ipynb"))


def _shipped() -> dict[str, Path]:
    """Name in the copy -> file, from the repository where the kit runs in one, else from where pip has put them."""
    here = {path.relative_to(ROOT).as_posix(): path for kind in KINDS for path in sorted(ROOT.glob(kind))}
    if any(name.endswith(".ipynb") for name in here):
        return here
    try:
        installed = files("vasot") or []
    except PackageNotFoundError:
        return {}
    names = {
        path.as_posix().rpartition(SHARE)[2]: Path(str(path.locate())) for path in installed if SHARE in path.as_posix()
    }
    return {name: path for name, path in names.items() if path.is_file()}
