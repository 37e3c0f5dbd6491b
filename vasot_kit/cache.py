"""The folder for what the kit downloads once, or can compute again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``VASOT_CACHE``, or the user's cache folder."""
    if folder := os.environ.get("VASOT_CACHE"):
        return Path(folder)
    import pooch  # not needed where the variable is set, and a twentieth of a second to import

    return Path(pooch.os_cache("vasot"))
