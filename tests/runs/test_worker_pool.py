"""Workers end with the process that started them."""

from __future__ import annotations

import subprocess
import sys

import psutil

PARENT = """
import os, time
from vasot_kit.runs.processes import worker_pool
if __name__ == "__main__":
    with worker_pool(2, os.getpid) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
        pool.submit(time.sleep, 60)
        time.sleep(60)
"""


def test_workers_of_a_killed_process_end_in_the_middle_of_their_work() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert workers and all(worker.is_running() for worker in workers)
    parent.kill()
    parent.wait()
    psutil.wait_procs(workers, timeout=10)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
