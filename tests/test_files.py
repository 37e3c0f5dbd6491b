"""A file is there whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vasot_lib.files import HOST, whole_file


def test_a_file_is_in_its_place_only_when_all_of_it_was_written(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    with whole_file(target) as beside:
        beside.write_text("first")
        assert not target.exists() and beside.parent == target.parent  # one disk: moving it is one step
        assert beside.name.startswith(".")  # who lists the folder does not take it for a result
    assert target.read_text() == "first" and list(tmp_path.iterdir()) == [target]
    with whole_file(target) as beside:
        beside.write_text("second")
        assert target.read_text() == "first"
    assert target.read_text() == "second" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "table.csv"
    for before in (None, "whole"):
        if before is not None:
            target.write_text(before)
        with pytest.raises(type(error)), whole_file(target) as beside:
            beside.write_text("half")
            raise error
        assert [path.read_text() for path in tmp_path.iterdir()] == ([] if before is None else [before])


KILLED = """
import os, signal, sys
from pathlib import Path
from vasot_lib.files import whole_file
with whole_file(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("whole")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(target)], cwd=Path(__file__).parents[1])
    assert killed.returncode == -signal.SIGKILL and target.read_text() == "whole"
    with whole_file(target) as beside:
        beside.write_text("again")
    assert target.read_text() == "again"


def test_processes_do_not_write_into_each_others_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "table.csv"
    with whole_file(target) as mine:
        mine.write_text("mine")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with whole_file(target) as other:
            other.write_text("other")
        assert target.read_text() == "other" and mine.read_text() == "mine"
    assert target.read_text() == "mine" and list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    target, dead = tmp_path / "a.txt", 2**22 + 1  # above every process number of Linux
    left = [
        tmp_path / f".a.txt.{HOST}.{dead}",
        tmp_path / f".b.txt.{HOST}.{dead}",
        tmp_path / f".a.txt.elsewhere.{dead}",
    ]
    alive = tmp_path / f".a.txt.{HOST}.{os.getppid()}"
    for file in (*left, alive):
        file.touch()
    with whole_file(target) as beside:
        beside.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([*left[1:], alive, target])
