"""Progress bars that name what is done now and whose clock goes on while it is done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tqdm.auto import tqdm

EVERY = 0.5  # seconds


@contextmanager
def phase(name: str, shown: bool, total: int = 1, unit: str = "film") -> Iterator[tqdm]:
    """A bar of so many steps, for a ``with`` block; in a terminal its seconds go on between two steps too.

    Args:
        name: what is done, e.g. ``matching A with B``.
        shown: whether there is a bar at all.
        total: steps; with a single one the bar shows the seconds only.
        unit: of a step.
    """
    form = "{desc}: {elapsed}{postfix}" if total == 1 else None
    over = Event()

    def tick() -> None:
        while not over.wait(EVERY):
            bar.refresh()

    with tqdm(total=total, desc=name, unit=unit, disable=not shown, bar_format=form) as bar:
        clock = Thread(target=tick, daemon=True)
        if shown and sys.stderr.isatty():
            clock.start()
        try:
            yield bar
        finally:
            over.set()
            if clock.is_alive():
                clock.join()
