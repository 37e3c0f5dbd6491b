"""The folder in which Numba keeps the compiled code of the CPU kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba


@contextmanager
def keyed_by_source() -> Iterator[None]:
    """Modules imported in this context keep their compiled code in a folder named by a hash of all ``cpu*.py`` sources.

    Numba itself recompiles a function only when the file of that function changes. After a change in another file, from
    which it takes inlined functions, it would go on using the old code. ``NUMBA_CACHE_DIR`` moves the whole cache.
    """
    config: Any = numba.config
    folder, before = Path(__file__).parent, config.CACHE_DIR
    sources = b"".join(path.read_bytes() for path in sorted(folder.glob("cpu*.py")))
    config.CACHE_DIR = str(Path(before or folder / "__pycache__") / hashlib.sha256(sources).hexdigest()[:12])
    try:
        yield
    finally:
        config.CACHE_DIR = before
