"""Where Numba keeps what it compiled for this folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba


@contextmanager
def keyed_by_source() -> Iterator[None]:
    """Modules that are imported inside cache under a hash of all sources of this folder.

    Numba looks at the file of a function alone: after a change in another file, such as a pull may bring, it would go
    on with what it had compiled from the old one. ``NUMBA_CACHE_DIR`` moves the whole cache.
    """
    config: Any = numba.config
    folder, before = Path(__file__).parent, config.CACHE_DIR
    sources = b"".join(path.read_bytes() for path in sorted(folder.glob("cpu*.py")))
    config.CACHE_DIR = str(Path(before or folder / "__pycache__") / hashlib.sha256(sources).hexdigest()[:12])
    try:
        yield
    finally:
        config.CACHE_DIR = before
