"""Worker processes that never outlive the one that started them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any


def worker_pool(workers: int, prepare: Callable[..., None], *arguments: Any) -> ProcessPoolExecutor:
    """A pool of fresh processes, each of which ends at once when this process ends, be it killed.

    Python's own pool would leave them waiting for work for ever, with all that they have in memory.

    Args:
        workers: how many.
        prepare: called once in each of them, with ``arguments``; of a module, as what is submitted must be.
    """
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin, (prepare, *arguments))


def _begin(prepare: Callable[..., None], *arguments: Any) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    prepare(*arguments)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
