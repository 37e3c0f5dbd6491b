"""One run: done once whoever asks for it, taken up where it was interrupted, worked on by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from vasot_kit.runs.engine import Run, held, once
from vasot_lib.errors import DataError

IDENTITY = {"parameters": {"seed": 3, "scales": (1, 2), "lr": 1e-05}, "code": "ab"}
# Says when it begins; with "orphan" it works for long, and has a child that inherits the lock.
OTHER = """
import os, subprocess, sys, time
from pathlib import Path
from vasot_kit.runs.engine import Run, once
def work(lock):
    with open("log.txt", "a") as log:
        log.write(f"{time.monotonic()}\\n")
    if "orphan" in sys.argv:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2)"], pass_fds=(lock,))
        Path("orphan.txt").touch()
        time.sleep(60)
    Path("run/metrics.json").touch()
once(Run(Path("run"), {"seed": 1}), work)
"""


def other_process(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OTHER, *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def begun(folder: Path) -> list[float]:
    log = folder / "log.txt"
    return [float(line) for line in log.read_text().splitlines()] if log.exists() else []


def status(run: Run) -> str:
    return yaml.safe_load((run.folder / "params.yaml").read_text())["status"]


def test_finished_run_is_not_done_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", IDENTITY)
    done: list[str] = []

    def work(_: int | None) -> None:
        done.append(status(run))
        (run.folder / "metrics.json").touch()

    once(run, work)
    once(run, work)
    assert done == ["started"]
    assert run.is_finished()
    assert sorted(path.name for path in run.folder.iterdir()) == ["metrics.json", "params.yaml"]
    (run.folder / "metrics.json").unlink()
    assert not run.is_finished()


def test_interrupted_run_goes_on_with_the_files_that_it_left(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", IDENTITY)
    checkpoint = run.folder / "figures" / "checkpoint"

    def interrupted(_: int | None) -> None:
        checkpoint.parent.mkdir()
        checkpoint.touch()
        (run.folder / "metrics.json").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once(run, interrupted)
    assert not run.is_finished()
    once(run, lambda _: checkpoint.rename(run.folder / "resumed"))
    assert run.is_finished() and (run.folder / "resumed").exists()


def test_run_with_another_identity_begins_in_an_empty_folder(tmp_path: Path) -> None:
    once(Run(tmp_path, IDENTITY), lambda _: (tmp_path / "metrics.json").touch())
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "plan.png").touch()
    changed = Run(tmp_path, {**IDENTITY, "code": "cd"})
    assert not changed.is_finished()
    found: list[str] = []
    once(changed, lambda _: found.extend(path.name for path in tmp_path.iterdir()))
    assert sorted(found) == [".lock", "params.yaml"]


def test_two_processes_that_wait_for_a_third_do_a_run_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with held(tmp_path / "run"):
        pair = [other_process(tmp_path) for _ in range(2)]
        said = [process.stderr.readline() for process in pair if process.stderr is not None]
        assert said == ["waiting for another process that runs the same into run\n"] * 2
        assert begun(tmp_path) == []
    errors = [process.communicate()[1] for process in pair]
    assert ([process.returncode for process in pair], errors) == ([0, 0], ["", ""])
    assert len(begun(tmp_path)) == 1
    assert not (tmp_path / "run" / ".lock").exists()


def test_child_of_a_killed_process_still_holds_the_folder(tmp_path: Path) -> None:
    process = other_process(tmp_path, "orphan")
    while not (tmp_path / "orphan.txt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    with held(tmp_path / "run", quiet=True):
        assert time.monotonic() - begun(tmp_path)[0] >= 2  # which the child lives for


def test_file_system_without_locks_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    seen: list[int | None] = []
    once(Run(tmp_path, IDENTITY), seen.append)
    assert seen == [None]
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(("code", "message"), [(errno.EACCES, "another user"), (errno.EIO, os.strerror(errno.EIO))])
def test_lock_that_cannot_be_had_stops_the_run_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    def acquire(self: FileLock, **_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(FileLock, "acquire", acquire)
    (tmp_path / ".lock").touch()
    with pytest.raises((DataError, OSError), match=message):
        once(Run(tmp_path, IDENTITY), lambda _: pytest.fail("two work on one run"))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_run_of_an_older_version_that_names_less_is_finished(tmp_path: Path) -> None:
    once(Run(tmp_path, IDENTITY), lambda _: (tmp_path / "metrics.json").touch())
    assert Run(tmp_path, {**IDENTITY, "data": "ef"}).is_finished()
    assert not Run(tmp_path, {**IDENTITY, "code": "ef"}).is_finished()
