"""How everything here is run: once, in a folder of its own, recorded, and taken up again where it was interrupted.

A notebook and a training without one are both a :class:`Run`, which :func:`once` does. Many of them at a time are done
by :func:`vasot_kit.runs.workers.run_many`.
"""

from __future__ import annotations

import errno
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

from vasot_kit.runs.records import read_params, write_text
from vasot_lib.errors import DataError

LOCK = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system without locks says
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
        recorded = read_params(self.folder)
        return recorded.get("status") == "finished" and self._agrees(recorded) and (self.folder / self.result).exists()

    def record(self, status: str) -> None:
        """Write ``params.yaml``; files that a run with another identity has left are removed first."""
        before = read_params(self.folder)
        if before and not self._agrees(before):
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
        write_text(self.folder / "params.yaml", yaml.safe_dump(self._state(status), sort_keys=False))

    def _state(self, status: str) -> dict[str, Any]:
        return json.loads(json.dumps({**self.identity, "status": status}))  # tuples become lists, as YAML has no tuples

    def _agrees(self, recorded: Mapping[str, Any]) -> bool:
        """Whether a run of the same identity wrote it. Runs of an older version do not name all that decides."""
        state = self._state("")
        return all(recorded.get(name, state[name]) == state[name] for name in self.identity)


def once(run: Run, work: Callable[[int | None], object], quiet: bool = False) -> bool:
    """Do the work of a run, unless it is finished; where another process is doing it, wait for that one.

    A run that was interrupted is done again among the files that it left, so that it can go on from its checkpoints.
    Files of a run with another identity, such as an older version of a notebook, are removed before.

    Args:
        run: its folder is made if needed.
        work: writes the result into the folder. It is given the descriptor of the folder's lock; see :func:`held`.
        quiet: say nothing where it has to wait.

    Returns:
        Whether this process did the work.
    """
    if run.is_finished():
        return False
    run.folder.mkdir(parents=True, exist_ok=True)
    with held(run.folder, quiet) as lock:
        if run.is_finished():  # by the process that held the folder before
            return False
        run.record("started")
        work(lock)
        run.record("finished")
    return True


@contextmanager
def held(folder: Path, quiet: bool = False) -> Iterator[int | None]:
    """Hold a folder: another process that wants to hold it waits, and says so on standard error unless ``quiet``.

    The system ends the hold when the last process that has the lock's descriptor ends. A child that inherits the
    descriptor therefore keeps holding the folder if this process is killed and the child lives on.

    Yields:
        The descriptor of the lock; None on a network file system without locks, where nobody can be kept waiting.

    Raises:
        DataError: the lock belongs to another user and cannot be waited for.
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
    except PermissionError as error:
        if not path.exists():
            raise DataError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error
        raise DataError(
            f"{path} cannot be locked ({error.strerror}): another user has run the same or still does; when that has "
            "ended remove the file, or choose another folder"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        # The run is worth more than its protection.
    try:
        yield descriptors[0] if descriptors else None
    finally:
        path.unlink(missing_ok=True)  # those who wait notice it and lock a new file
        lock.release()
