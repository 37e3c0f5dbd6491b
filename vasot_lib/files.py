"""Writing a file so that a reader, or a run that was killed, never finds half of it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HOST = re.sub(r"[^\w-]", "", platform.node())[:20]  # a process number says nothing about another machine's processes


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
    """Remove the files of a folder named ``prefix`` and the number of a process that has ended."""
    if folder.is_dir():
        for file in folder.iterdir():
            number = file.name.removeprefix(prefix)
            if file.name != number and number.isdecimal() and not psutil.pid_exists(int(number)):
                file.unlink(missing_ok=True)
