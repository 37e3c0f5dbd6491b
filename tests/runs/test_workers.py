"""Many runs at a time: none is lost with another, and no worker outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from io import StringIO
from pathlib import Path

import psutil
import pytest
from tqdm import tqdm

from vasot_kit.runs import workers
from vasot_kit.runs.workers import run_many

PARENT = """
import os, time
from pathlib import Path
from tqdm import tqdm
from vasot_kit.runs.workers import run_many
def work(name):
    Path(name).write_text(f"{os.getpid()}\\n")
    time.sleep(60)
if __name__ == "__main__":
    list(run_many(work, ["a.txt", "b.txt"], tqdm(), 2))
"""


def test_workers_of_a_killed_process_end_in_the_middle_of_their_work(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, stderr=subprocess.DEVNULL)
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    while not all(file.exists() and file.read_text().endswith("\n") for file in files):
        assert parent.poll() is None
        time.sleep(0.05)
    workers = [psutil.Process(int(file.read_text())) for file in files]
    assert parent.pid not in {worker.pid for worker in workers}
    parent.kill()
    parent.wait()
    psutil.wait_procs(workers, timeout=10)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def test_workers_start_in_a_notebook_after_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["__main__"], "__spec__")  # as %reset does
    with tqdm(total=1, disable=True) as bar:
        ended = list(run_many(os.mkdir, [str(tmp_path / "made")], bar, workers=1))
    assert ended == [(0, None)] and (tmp_path / "made").is_dir()


def test_without_workers_one_that_fails_does_not_stop_the_others() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        done.append(1 // item)

    with tqdm(total=3, disable=False, file=StringIO()) as bar:  # a disabled bar, as in other tests, does not count
        ended = list(run_many(work, [1, 0, 1], bar, workers=0))
        assert bar.n == 3
    assert done == [1, 1]
    assert [(index, type(error)) for index, error in ended] == [
        (0, type(None)),
        (1, ZeroDivisionError),
        (2, type(None)),
    ]


class Swallows(tqdm):
    """A bar that is interrupted when an item ends, and loses the exception as Python does in a ``__del__`` method."""

    class _Dies:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def update(self, n: float | None = 1) -> None:
        super().update(n)
        self._Dies()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("workers", "items"), [(1, 2), (0, 2), (0, 1)])
def test_an_interrupt_whose_exception_is_lost_stops_all(workers: int, items: int) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Swallows(total=items, disable=False, file=StringIO()) as bar:
        with pytest.raises(KeyboardInterrupt):
            list(run_many(abs, range(items), bar, workers))
        assert bar.n == 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("threads", "set_here", "expected"), [(None, "3", "3"), (None, None, "8"), (1, "3", "1")])
def test_threads_that_the_user_has_set_are_kept(
    threads: int | None, set_here: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers on 16 cores. A study, which cuts its trainings to a thread each, says how many."""
    seen: list[str] = []

    def cluster(**_: object) -> AbstractContextManager[None]:
        seen.append(os.environ["OMP_NUM_THREADS"])
        return nullcontext()

    monkeypatch.setattr(workers, "CPU_COUNT", 16)
    monkeypatch.setattr(workers, "LocalCluster", cluster)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if set_here:
        monkeypatch.setenv("OMP_NUM_THREADS", set_here)
    with workers._own_workers(2, threads):
        pass
    assert seen == [expected] and os.environ.get("OMP_NUM_THREADS") == set_here
