"""Many runs at a time: studies, sweeps and the tutorial all hand them out to worker processes of dask.distributed.

dask is used on one machine too, since there a worker that dies, out of memory perhaps, takes no other run with it: dask
starts a new one. Python's own pool of processes would break as a whole.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TypeVar

import dask
import psutil
from dask.system import CPU_COUNT
from distributed import Client, Future, LocalCluster
from distributed.scheduler import KilledWorker
from tqdm import tqdm

from vasot_lib.errors import InputError, VasotError

Item = TypeVar("Item")
# Ctrl-C in a terminal reaches the workers too, but it is this process that ends them.
IGNORE_INTERRUPT = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
# A killed process cannot end its workers. Linux does it then; elsewhere dask does, which may take seconds.
END_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
"""
# Of a scheduler; dask would wait long for one without a port.
ADDRESS = re.compile(r"inproc://.+|(\w+://)?[^/:]+:\d+|(\w+://)?\[.+\]:\d+")
ANSWERS_WITHIN = 10  # seconds that a scheduler has
NO_PAGES: dict[str, list[str]] = {
    f"distributed.{who}.http.routes": [] for who in ("scheduler", "worker")
}  # nor numbers: nobody asked
KILLED = "its worker died again and again, out of memory perhaps"


def run_many(
    work: Callable[[Item], object],
    items: Sequence[Item],
    bar: tqdm,
    workers: int,
    *,
    threads: int | None = None,
    scheduler: str | None = None,
) -> Iterator[tuple[int, Exception | None]]:
    """Call ``work`` with every item, several at a time; one that fails does not stop the others.

    Args:
        work: a function of a module, or a ``functools.partial`` of one; what it returns is dropped.
        items: what to call it with.
        bar: shows the progress; advanced by one for every item.
        workers: processes to use; 0 does the work in this process, one item after another. They end with this process,
            even if it is killed.
        threads: that each worker and its children may use. Where None, what the environment says, such as
            ``OMP_NUM_THREADS``, or else its share of the machine's cores.
        scheduler: address of a dask scheduler whose workers see the same files. They are used instead of own ones.

    Yields:
        The index of an item and the error that it ended with, None if it succeeded; in the order in which they end.

    Raises:
        InputError: no scheduler answers at the address, or it is none.
        VasotError: the scheduler was lost.
        KeyboardInterrupt: this process was interrupted, even if the exception of the interrupt itself was lost.
    """
    with _interrupts_kept() as check:
        if workers > 0 and items:
            with _client(min(workers, len(items)), threads, scheduler) as client:
                yield from _hand_out(client, work, items, bar, check)
            return
        for index, item in enumerate(items):
            check()
            failure: Exception | None = None
            try:
                work(item)
            except Exception as error:  # whatever it is, the other items go on
                failure = error
            bar.update()
            yield index, failure


@contextmanager
def _interrupts_kept() -> Iterator[Callable[[], None]]:
    """Give a function that raises KeyboardInterrupt if an interrupt has come, and call it at the end of the context.

    Python raises KeyboardInterrupt wherever the main thread happens to be. In a ``__del__`` method or a callback of a
    weak reference, of which dask has many, it prints the exception and goes on as if nothing had happened.
    """
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if callable(before):
            before(number, frame)

    # Only the main thread sets handlers. An interrupt that is ignored, as in the background of a shell, stays ignored.
    replaced = callable(before) and threading.current_thread() is threading.main_thread()
    if replaced:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield check
        check()
    finally:
        if replaced:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _client(workers: int, threads: int | None, scheduler: str | None) -> Iterator[Client]:
    if scheduler is not None and not ADDRESS.fullmatch(scheduler):
        raise InputError(f"the scheduler is {scheduler!r}; give its host and port, for example tcp://node1:8786")
    # dask gives its own a level; tornado would speak of what an interrupt has left undone.
    for name in ("distributed", "distributed.client", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the bar and the errors say what there is to say
    if scheduler is None:
        with _own_workers(workers, threads) as cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=ANSWERS_WITHIN, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"no dask scheduler answers at {scheduler}; start one with `dask scheduler`") from error
    with client:
        yield client


@contextmanager
def _own_workers(workers: int, threads: int | None) -> Iterator[LocalCluster]:
    """Worker processes on this machine, each with one item at a time."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    share = dict.fromkeys(names, str(threads or max(1, CPU_COUNT // workers)))
    if threads is None:  # what the user has set is meant: results are equal for equal threads
        share |= {name: os.environ[name] for name in names if os.environ.get(name)}
    before = dict(os.environ)  # dask changes it too, whenever it starts a worker
    # Python asks for it when it starts a process; in a notebook IPython's %reset removes it.
    vars(sys.modules["__main__"]).setdefault("__spec__", None)
    os.environ.update(share)
    try:
        with (
            dask.config.set(NO_PAGES),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # any free port; dask says so in a warning where it finds 8787 taken
                silence_logs=logging.CRITICAL,
                memory_limit=0,  # dask would count the worker without the kernel that it has started
                preload=[IGNORE_INTERRUPT, END_WITH_PARENT],
                # Deaths of its worker, before an item is tried alone.
                scheduler_kwargs={"allowed_failures": 1, "dashboard": False},
            ) as cluster,
        ):
            try:
                yield cluster
            except BaseException:  # an interrupt, most of the time: nobody waits for the runs
                _kill(cluster)
                raise
    finally:
        os.environ.clear()
        os.environ.update(before)


def _kill(cluster: LocalCluster) -> None:
    """End the workers and their kernels at once. By itself dask waits for the workers and knows of no kernels."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        try:
            worker = psutil.Process(nanny.pid)
            worker.suspend()  # so that it starts no kernel unseen
            doomed = [worker, *worker.children(recursive=True)]
        except (psutil.NoSuchProcess, TypeError):  # it has no process, or no longer
            continue
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _hand_out(
    client: Client, work: Callable[[Item], object], items: Sequence[Item], bar: tqdm, check: Callable[[], None]
) -> Iterator[tuple[int, Exception | None]]:
    """Hand out no more items at a time than the workers have threads, so that none queues behind another."""
    ended: SimpleQueue[Future] = SimpleQueue()
    waiting, suspects, running = deque(range(len(items))), deque[int](), dict[object, int]()
    most, failed = len(items), 0
    here, data = Path.cwd(), os.environ.get("VASOT_DATA")
    while waiting or running or suspects:
        check()
        if not (waiting or running):
            # dask blames the death of a worker on every item that it had. One at a time it is clear which it was.
            waiting, suspects, most = suspects, deque(), 1
        threads = _threads(client)
        while waiting and len(running) < min(threads, most):
            future = client.submit(_work_there, work, items[waiting[0]], here, data, pure=False)
            running[future.key] = waiting.popleft()
            future.add_done_callback(ended.put)
        try:
            future = ended.get(timeout=1)
        except Empty:
            _show(bar, failed, threads)
            continue
        index, error = running.pop(future.key), _error(future)
        if isinstance(error, KilledWorker):
            if most > 1:
                suspects.append(index)
                continue
            error = VasotError(KILLED)
        failed += error is not None
        _show(bar, failed, threads)
        bar.update()
        yield index, error


def _threads(client: Client) -> int:
    """How many items its workers can work on at a time; workers come and go."""
    try:
        return sum(client.nthreads().values())
    except OSError as error:
        raise VasotError("the scheduler is gone; run the same command again to go on") from error


def _work_there(work: Callable[[Item], object], item: Item, here: Path, data: str | None) -> None:
    """On a worker: do the work as if in the folder, and with the data, of the process that hands it out."""
    os.chdir(here)
    if data is not None:
        os.environ["VASOT_DATA"] = data
    work(item)


def _error(future: Future) -> Exception | None:
    if future.status == "finished":
        return None
    error = future.exception() if future.status == "error" else None
    if isinstance(error, Exception):
        return error
    raise VasotError(f"the scheduler lost a run ({future.status}); run the same command again to go on")


def _show(bar: tqdm, failed: int, threads: int) -> None:
    notes = [f"{failed} failed"] * bool(failed) + ["no workers yet"] * (not threads)
    bar.set_postfix_str(", ".join(notes), refresh=False)
    if sys.stderr.isatty():  # the clock goes on; in a file it would fill lines
        bar.refresh()
