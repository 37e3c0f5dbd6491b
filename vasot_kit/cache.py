"""The folder for what the kit downloads once, or can compute again."""

from __future__ import annotations

import os
from pathlib import Path

import pooch


def cache_folder() -> Path:
    """``VASOT_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("VASOT_CACHE") or pooch.os_cache("vasot"))
