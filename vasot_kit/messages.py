"""What the command line says, in one line each, when the system refuses something or the kit warns of something."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any


def refused(error: OSError | MemoryError) -> str:
    """What the system refused to do, the file that it concerns, and a remedy."""
    from vasot_kit.cache import cache_folder  # it takes a quarter of a second, and errors are rare

    if isinstance(error, MemoryError):
        return "the memory does not suffice; use fewer frames at a time, or a smaller batch"
    what = error.strerror or str(error) or type(error).__name__
    remedy = "check the path and its permissions"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free space, or write elsewhere"
    if str(error.filename).startswith(str(cache_folder())):
        remedy += "; VASOT_CACHE names the folder of the cache"
    return f"{what}{f': {error.filename}' if error.filename else ''}; {remedy}"


def show_warning(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
    """Say in one line what the kit itself warns of; what libraries tell programmers is not shown."""
    if (
        category is UserWarning
        and Path(__file__).parents[1] in Path(filename).parents
        and "site-packages" not in filename
    ):
        print(f"vasot: warning: {' '.join(str(message).split())}", file=sys.stderr)


def say_where(out: Path, shown: bool) -> None:
    """Say where the results of own films are, and open their page if that is wanted."""
    import webbrowser

    from vasot_kit.own_films.report import REPORT

    page = out / REPORT
    if not page.exists():  # of features that are aligned there is nothing to look at
        print(f"wrote {out}")
        return
    print(f"wrote {out}; open {page} in a browser")
    if shown and not webbrowser.open(page.resolve().as_uri()):
        print("no browser was found; open the report by hand", file=sys.stderr)
