"""Writing a file so that a reader, or a run that was killed, never finds half of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of ``target``; what was written there becomes ``target`` at the end.

    Moving a file within a folder is atomic. If the block raises, the temporary file is removed and ``target`` stays as
    it was.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
