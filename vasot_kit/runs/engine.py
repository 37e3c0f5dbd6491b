"""How everything here is run: once, in a folder of its own, recorded, and taken up again where it was interrupted.

A notebook and a training without one are both a :class:`Run`, which :func:`once` does. Many of them at a time are done
by :func:`vasot_kit.runs.workers.run_many`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from filelock import FileLock, Timeout

from vasot_kit.runs.records import write_text
from vasot_kit.runs.values import yaml_errors
from vasot_lib.errors import DataError

LOCK = ".lock"
LOOKS_AGAIN_AFTER = 0.2  # seconds, for whoever waits for a lock


@dataclass(frozen=True)
class Run:
    """A folder, and everything that decides what will be in it.

    ``params.yaml`` in the folder holds the identity and the status of the run, ``started`` or ``finished``.

    Attributes:
        folder: where the run leaves its files.
        identity: plain values that decide its result, such as parameters and checksums of code and data.
        result: a file that every finished run has in its folder.
    """

    folder: Path
    identity: Mapping[str, Any]
    result: ClassVar[str] = "metrics.json"

    def is_finished(self) -> bool:
        """Whether the folder holds the result of a run with the same identity."""
        return self._recorded() == self._state("finished") and (self.folder / self.result).exists()

    def record(self, status: str) -> None:
        """Write ``params.yaml``; files that a run with another identity has left are removed first."""
        before = self._recorded()
        if before and before != self._state(before.get("status", "")):
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
        write_text(self.folder / "params.yaml", yaml.safe_dump(self._state(status), sort_keys=False))

    def _state(self, status: str) -> dict[str, Any]:
        return json.loads(json.dumps({**self.identity, "status": status}))  # tuples become lists, as YAML has no tuples

    def _recorded(self) -> dict[str, Any]:
        path = self.folder / "params.yaml"
        try:
            with yaml_errors():
                found = yaml.safe_load(path.read_text()) if path.exists() else {}
        except yaml.YAMLError as error:
            raise DataError(f"{path} is damaged; remove its folder and run again") from error
        if not isinstance(found, dict):
            raise DataError(f"{path} is damaged, it holds no mapping; remove its folder and run again")
        return found


def once(run: Run, work: Callable[[int | None], object], quiet: bool = False) -> None:
    """Do the work of a run, unless it is finished; where another process is doing it, wait for that one.

    A run that was interrupted is done again among the files that it left, so that it can go on from its checkpoints.
    Files of a run with another identity, such as an older version of a notebook, are removed before.

    Args:
        run: its folder is made if needed.
        work: writes the result into the folder. It is given the descriptor of the folder's lock; see :func:`held`.
        quiet: say nothing where it has to wait.
    """
    if run.is_finished():
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    with held(run.folder, quiet) as lock:
        if not run.is_finished():  # the process that held the folder before may have done it
            run.record("started")
            work(lock)
            run.record("finished")


@contextmanager
def held(folder: Path, quiet: bool = False) -> Iterator[int | None]:
    """Hold a folder: another process that wants to hold it waits, and says so on standard error unless ``quiet``.

    The system ends the hold when the last process that has the lock's descriptor ends. A child that inherits the
    descriptor therefore keeps holding the folder if this process is killed and the child lives on.

    Yields:
        The descriptor of the lock; None on a network file system without locks, where nobody can be kept waiting.
    """
    path = folder / LOCK
    descriptors: list[int] = []
    lock = FileLock(path, poll_interval=LOOKS_AGAIN_AFTER, on_acquired=descriptors.append)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if not quiet:
                shown = os.path.relpath(folder)
                print(f"waiting for another process that runs the same into {shown}", file=sys.stderr)
            lock.acquire()
    except OSError:  # the file system has no locks, and the run is worth more than its protection
        pass
    try:
        yield descriptors[0] if descriptors else None
    finally:
        path.unlink(missing_ok=True)  # those who wait notice it and lock a new file
        lock.release()
