"""Writing folders of films: what a killed process leaves is removed by the next, which ends with the same files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_scripts.common import film_folders
from data_scripts.common.film_folders import FilmRecording, write_recordings
from data_scripts.common.script import Inventory, PublishedFacts

KEYS = ("tea/one", "tea/two", "milk/three")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def recordings(source: Path, killed_before: str = "") -> Iterator[FilmRecording]:
    """A film, and two recordings of which each has a picture in a file and one in memory."""
    for number, key in enumerate(KEYS):
        if key == killed_before:
            kill()
        if number == 0:
            yield FilmRecording(key, ["pour", "stir"], film=source / "film.mp4", frames=2, part="train")
        else:
            yield FilmRecording(key, ["stir", "pour"], [source / "1.jpg", b"second"], part="val")


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("moment", [*KEYS, "in a recording", "at the check", "at the end"])
def test_a_killed_process_leaves_nothing_that_the_next_does_not_remove(tmp_path: Path, moment: str) -> None:
    source, target = tmp_path / "source", tmp_path / "data" / "kitchen"
    source.mkdir()
    (source / "film.mp4").write_bytes(b"film")
    (source / "1.jpg").write_bytes(b"first")
    write_recordings(tmp_path / "whole", recordings(source), ("pour", "stir"), PublishedFacts())
    expected = written(tmp_path / "whole")
    assert expected.keys() == {
        "videos/tea/one.mp4", "frames/tea/two/000001.jpg", "frames/tea/two/000002.jpg", "frames/milk/three/000001.jpg",
        "frames/milk/three/000002.jpg", "groundTruth/one", "groundTruth/two", "groundTruth/three",
        "mapping/mapping.txt", "splits/train.txt", "splits/val.txt",
    }  # fmt: skip
    child = os.fork()
    if not child:
        lines = film_folders._write_lines
        if moment == "in a recording":
            film_folders._link_or_copy = lambda *_: kill()
        if moment == "at the check":
            film_folders.verify = lambda *_: kill()
        if moment == "at the end":
            film_folders._write_lines = lambda file, *rest: kill() if file.name == "val.txt" else lines(file, *rest)
        try:
            write_recordings(target, recordings(source, moment), ("pour", "stir"), PublishedFacts())
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not target.exists() and len(list(target.parent.iterdir())) == 1  # a hidden folder with what it had written
    found = write_recordings(target, recordings(source), ("pour", "stir"), PublishedFacts())
    assert isinstance(found, Inventory) and [entry.name for entry in target.parent.iterdir()] == ["kitchen"]
    assert written(target) == expected
    assert sorted(path.name for path in source.iterdir()) == ["1.jpg", "film.mp4"]  # linked, not moved
