"""Join the films of EgoProceL (Bansal et al., ECCV 2022) with their key steps: 16 tasks, seen by who does them.

    python -m data_scripts.egoprocel --source FOLDER [--root DATA_ROOT] [--partial]

FOLDER holds, unpacked or as archives, what EgoProceL-download-README.md of the repository
Sid2697/EgoProceL-egocentric-procedure-learning links to:
1. annotations/, from Google Drive: a table per film with start second, end second and "number name" of every key step;
2. the films of CMU-MMAC, EGTEA Gaze+, EPIC-Tents, MECCANO, PC Assembly and PC Disassembly, each from its owner, with
   the names of the tables, in any folders; best in the folders of the annotations.

Five data sets have their own owners and terms; nobody states terms for the annotations: ask before you pass them on.
Of the cameras of CMU-MMAC only the worn one (7150991) is taken. A key step reaches from the frame of its start second
to the frame of its end second; where two overlap, the later line counts, as in the released code. All other frames are
"background". The released code rounds the frame rate down to a whole number, here it is the film's own.

Tasks that are not there are named; --partial takes those that are. Films are linked, not doubled, where the file system
can. A task is a data set of its own, e.g. egoprocel/pc_assembly.

Example: python -m data_scripts.egoprocel --source ~/Downloads/egoprocel --root data --partial
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data_scripts.common.film_folders import (
    FilmRecording,
    count_frames,
    find_below,
    report_difference,
    write_recordings,
)
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run, verify
from vasot_kit.datasets.registry import EGOPROCEL
from vasot_lib.errors import DataError

FOLDERS = {
    **{f"cmu_{name.lower()}": f"CMU-MMAC/{name}" for name in ("Brownie", "Eggs", "Pizza", "Salad", "Sandwich")},
    "egtea_bacon_and_eggs": "EGTEA_Gaze+/BaconAndEggs", "egtea_cheeseburger": "EGTEA_Gaze+/Cheeseburger",
    "egtea_continental_breakfast": "EGTEA_Gaze+/ContinentalBreakfast", "egtea_greek_salad": "EGTEA_Gaze+/GreekSalad",
    "egtea_pasta_salad": "EGTEA_Gaze+/PastaSalad", "egtea_pizza": "EGTEA_Gaze+/Pizza",
    "egtea_turkey_sandwich": "EGTEA_Gaze+/TurkeySandwich", "epic_tents": "EPIC-Tents", "meccano": "MECCANO",
    "pc_assembly": "pc_assembly", "pc_disassembly": "pc_disassembly",
}  # fmt: skip
WORN_CAMERA = "7150991"  # of the five of CMU-MMAC
ENDING = ".egoprocel.ann"  # which the tables of EPIC-Tents have, and its films have not
FILMS = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm")
BACKGROUND = "background"
SOURCE = "get_category_metadata, tasks.txt and procedure_learning.py of the released code"
FACTS = PublishedFacts(
    activities=dict.fromkeys(FOLDERS),
    classes_of=EGOPROCEL,
    background=(BACKGROUND,),
    sources={"activities": "EgoProceL-download-README.md", "classes_of": SOURCE},
)


class KeyStep(NamedTuple):
    """One line of a table: a key step from second ``start`` to second ``end``."""

    start: float
    end: float
    number: int
    name: str


def read_key_steps(file: Path) -> list[KeyStep]:
    """The lines of a table, in their order.

    Raises:
        DataError: it is no table, a line is no start second, end second and numbered key step, or it is empty.
    """
    steps = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is damaged or no table in UTF-8 ({error}); download the annotations again") from error
    for line, row in enumerate(rows, start=1):
        if not any(cell.strip() for cell in row):  # as editors and spreadsheets leave them at the end
            continue
        numbered = re.fullmatch(r"\s*(\d{1,9})\.?(?:\s+(.*))?", row[2]) if len(row) == 3 else None
        try:
            start, end = (float(value) for value in row[:2])
        except ValueError:
            numbered = None
        if numbered is None or not 0 <= start <= end < math.inf:
            raise DataError(
                f"line {line} of {file} reads {','.join(row)[:200]!r}; expected a start second, an end second and a "
                "key step with its number, e.g. '3.5,10,1 break egg': download the annotations again"
            )
        steps.append(KeyStep(start, end, int(numbered[1]), " ".join((numbered[2] or "").split())))
    if not steps:
        raise DataError(f"{file} is empty; download the annotations again")
    return steps


def frame_labels(key: str, steps: list[KeyStep], names: dict[int, str], frames: int, rate: float) -> list[str]:
    """The class name of every frame.

    Args:
        key: the recording, for messages.
        steps: its key steps.
        names: number of a key step -> its class name.
        frames: number of frames of the film.
        rate: frames per second.

    Raises:
        DataError: a key step begins after the end of the film.
    """
    labels = [BACKGROUND] * frames
    for step in steps:
        # The millionth of a frame: 4.1 s at 30 frames a second are frame 123, where the product is 122.99999999999999.
        first, last = (math.floor(second * rate + 1e-6) for second in (step.start, step.end))
        if first >= frames:
            raise DataError(
                f"{key} has a key step at {step.start:g} s, but its film ends after {frames / rate:g} s; take the "
                "film that its owner publishes, from its first frame on"
            )
        last = min(last, frames - 1)
        labels[first : last + 1] = [names[step.number]] * (last + 1 - first)
    return labels


def find_tables(annotations: Path) -> dict[str, Path]:
    """``task/recording`` -> its table, of all tasks that are there.

    Raises:
        DataError: a recording has two tables.
    """
    found: dict[str, Path] = {}
    for task, folder in FOLDERS.items():
        for file in sorted((annotations / folder).rglob("[!.]*.csv")):
            name = file.stem.removesuffix(ENDING)
            if task.startswith("cmu_") and WORN_CAMERA not in name:
                continue
            # Assembly and disassembly are filmed by the same people, whose films may have the same names.
            key = f"{task}/{task}_{name}" if task.startswith("pc_") else f"{task}/{name}"
            if key in found:
                raise DataError(f"{found[key]} and {file} are both the table of {key}; keep one of them")
            found[key] = file
    return found


def find_film(task: str, table: Path, films: dict[str, list[Path]]) -> Path | None:
    """The film of a table: that of its name, in a folder named as that of the task where there are several.

    Raises:
        DataError: it cannot be told which one it is.
    """
    named = films.get(table.stem.removesuffix(ENDING).lower(), [])
    folder = Path(FOLDERS[task]).name.lower()
    near = [film for film in named if folder in (part.lower() for part in film.parts)] or named
    if len(near) > 1:
        raise DataError(f"{near[0]} and {near[1]} may both be the film of {table}; put it into a folder {folder!r}")
    return near[0] if near else None


def class_names(steps: dict[str, list[KeyStep]], notes: list[str]) -> dict[str, dict[int, str]]:
    """Task -> number of a key step -> its class name, which has the task in front: numbers begin anew in each.

    ``notes`` gets a line for every key step with several names, of which the first counts.
    """
    names: dict[str, dict[int, str]] = {}
    others: dict[tuple[str, int], str] = {}
    for key, some in steps.items():
        task = key.partition("/")[0]
        for step in some:
            name = f"{task} {step.number} {step.name}".strip()
            if names.setdefault(task, {}).setdefault(step.number, name) != name:
                others.setdefault((task, step.number), name)
    notes += [f"{names[task][number]!r} is also named {other!r}; the first name is taken"
              for (task, number), other in others.items()]  # fmt: skip
    return {task: dict(sorted(of_task.items())) for task, of_task in names.items()}


def frame_rate(film: Path) -> float:
    """Frames per second, on average.

    Raises:
        DataError: the film does not say it.
    """
    import av

    with av.open(str(film)) as container:
        rate = container.streams.video[0].average_rate
    if not rate:
        raise DataError(f"{film} does not say how many frames it has in a second; convert it to .mp4")
    return float(rate)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: a part is missing, damaged or does not fit the other, or the target exists.
    """
    annotations = find_below(source, "annotations")
    tables = {} if annotations is None else find_tables(annotations)
    if not tables:
        raise DataError(f"{source} holds no annotations/ with the folders {', '.join(FOLDERS.values())}; put it there")
    films: dict[str, list[Path]] = {}
    for file in sorted(source.rglob("[!.]*")):
        if file.suffix.lower() in FILMS:
            films.setdefault(file.stem.lower(), []).append(file)
    pairs = {key: find_film(key.partition("/")[0], table, films) for key, table in tables.items()}
    before = Inventory(lengths={key: None for key, film in pairs.items() if film is not None})
    if missing := sorted(set(pairs) - set(before.lengths)):
        line = f"{len(missing)} annotated recordings have no film, e.g. {missing[0]} (of {tables[missing[0]].name})"
        report_difference(line, before, options)
    if not before.lengths:
        raise DataError(f"{source} holds no film with the name of a table of the annotations; put the films there")
    verify(before, FACTS, options)
    steps = {key: read_key_steps(tables[key]) for key in before.lengths}
    names = class_names(steps, before.notes)

    def read() -> Iterator[FilmRecording]:
        for key, some in steps.items():
            film = pairs[key]
            assert film is not None
            frames = count_frames(film)
            labels = frame_labels(key, some, names[key.partition("/")[0]], frames, frame_rate(film))
            yield FilmRecording(key, labels, film=film, frames=frames)

    classes = [BACKGROUND, *(name for of_task in names.values() for name in of_task.values())]
    found = write_recordings(target, read(), classes, FACTS, options, total=len(steps))
    found.notes = list(dict.fromkeys([*before.notes, *found.notes]))
    return found


def main(argv: list[str] | None = None) -> int:
    """See ``run``."""
    step = (
        "download the annotations (Google Drive) and the films of the tasks that you want; the links are in "
        "EgoProceL-download-README.md of Sid2697/EgoProceL-egocentric-procedure-learning on GitHub"
    )
    return run(Script("egoprocel", __doc__ or "", convert, step), argv)


if __name__ == "__main__":
    sys.exit(main())
