"""Writing a file so that a reader, or a run that was killed, never finds half of it."""

from __future__ import annotations

import glob
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

HOST = re.sub(r"[^\w-]", "", platform.node())[:20]  # a process number says nothing about another machine's processes
TEMPORARY = f".vasot.{HOST}."  # of folders in the temporary folder; the number of the process follows
CLOCKS_DIFFER = 60  # seconds by which the clock of a file system may be wrong


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of ``target``; what was written there becomes ``target`` at the end.

    Moving a file within a folder is atomic. If the block raises, the temporary file is removed and ``target`` stays as
    it was. What a process of this machine that was killed has left beside ``target`` is removed first.
    """
    remove_left(target.parent, f".{target.name}.{HOST}.")
    beside = target.with_name(f".{target.name}.{HOST}.{os.getpid()}")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def remove_left(folder: Path, prefix: str) -> None:
    """Remove what is named ``prefix``, the number of a process that has ended, and perhaps a dash and more."""
    for left in folder.glob(f"{glob.escape(prefix)}*"):
        number = left.name.removeprefix(prefix).split("-")[0]
        with suppress(OSError):  # someone else's, or removed meanwhile
            if number.isdecimal() and _ended(int(number), left.stat().st_mtime):
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()


def _ended(number: int, written: float) -> bool:
    """Whether the process that wrote something at that time has ended, even if another one has its number now."""
    try:
        return psutil.Process(number).create_time() > written + CLOCKS_DIFFER
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
