"""The folder in which Numba keeps the compiled code of the CPU kernels."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba

from vasot_lib.files import TEMPORARY, remove_left

FOLDER = Path(__file__).parent
SOURCES = (*sorted(FOLDER.glob("cpu*.py")), FOLDER.parent / "reference.py")  # of the compiled kernels


@contextmanager
def keyed_by_source() -> Iterator[None]:
    """Modules imported in this context keep their compiled code in a folder named by a hash of all their sources.

    Numba itself recompiles a function only when the file of that function changes. After a change in another file, from
    which it takes functions or constants, it would go on using the old code. ``NUMBA_CACHE_DIR`` moves the whole cache.
    """
    config: Any = numba.config
    before = config.CACHE_DIR
    sources = b"".join(path.read_bytes() for path in SOURCES)
    place = Path(before or FOLDER / "__pycache__")
    if not _writable(place):  # compiled anew by every process; Numba itself would stop
        remove_left(Path(tempfile.gettempdir()), TEMPORARY)
        place = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    config.CACHE_DIR = str(place / hashlib.sha256(sources).hexdigest()[:12])
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
