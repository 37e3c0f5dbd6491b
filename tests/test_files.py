"""A file is there whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_scripts.common.download import unpack
from data_scripts.common.script import unpacked_source
from vasot_kit.folders import save_folder
from vasot_kit.whole_folders import whole_folder
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


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "above" / "folder"
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as beside:
        (beside / "half").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with whole_folder(target) as beside:
        (beside / "whole").touch()
        assert not target.exists() and beside.parent == target.parent and beside.name.startswith(".")
    assert list(tmp_path.rglob("*")) == [target.parent, target, target / "whole"]


def test_folders_of_killed_processes_are_removed_by_the_next(tmp_path: Path) -> None:
    dead = 2**22 + 1  # above every process number of Linux
    left = tmp_path / f".data.{HOST}.{dead}"
    mine = tmp_path / f".data.{HOST}.{os.getpid()}"  # of an earlier process with the number of this one
    old = tmp_path / f".data.{HOST}.{os.getppid()}"  # it ended before the process that has its number now
    for folder in (left, mine, old):
        (folder / "features").mkdir(parents=True)
    os.utime(old, (0, 0))
    save_folder(tmp_path / "data", {"x": (np.zeros((2, 2)), None)}, [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


SAVING = """
import os, signal, sys
import numpy as np
from vasot_kit.folders import save_folder
def recordings():
    yield "one", (np.zeros((2, 2)), None)
    os.kill(os.getpid(), signal.SIGKILL)
save_folder(sys.argv[1], recordings(), [])
"""


def test_what_save_folder_left_when_it_was_killed_is_removed_by_the_next_call(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", SAVING, str(tmp_path / "data")], cwd=Path(__file__).parents[1])
    assert killed.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 1
    save_folder(tmp_path / "data", {"x": (np.zeros((2, 2)), None)}, [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_archives_are_unpacked_over_what_a_killed_process_left(tmp_path: Path) -> None:
    for folder in (".unpacked", ".data"):
        (tmp_path / f"{folder}.{HOST}.{2**22 + 1}").mkdir()
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as pack:
        pack.writestr("x.txt", "1")
    with unpacked_source(tmp_path / "data.zip") as folder:
        assert (folder / "data" / "x.txt").read_text() == "1"
    unpack(tmp_path / "data.zip", tmp_path / "data")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "data.zip"]
