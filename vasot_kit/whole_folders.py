"""Writing a folder so that a reader, or a run that was killed, never finds half of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vasot_lib.files import HOST, remove_left


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target``; what was written there becomes ``target`` at the end.

    ``target`` must not exist or be empty; folders above it are made if needed. If the block raises, nothing is left.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with scratch_folder(target.parent, target.name) as beside:
            yield beside
            beside.replace(target)
    finally:
        with suppress(OSError):  # rmdir refuses folders that are not empty
            for folder in made:
                folder.rmdir()


@contextmanager
def scratch_folder(place: Path, name: str) -> Iterator[Path]:
    """Give a hidden folder in ``place``, removed at the end; what killed processes have left is removed first."""
    remove_left(place, f".{name}.{HOST}.")
    folder = place / f".{name}.{HOST}.{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier process of the same number
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
