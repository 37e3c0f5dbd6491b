"""Pool the UCI smartphone recordings (HAPT) to 2 Hz and write them as a labelled feature folder.

    python -m data_scripts.hapt --source FOLDER [--root DATA_ROOT]

FOLDER is the unpacked archive "Smartphone-Based Recognition of Human Activities and Postural Transitions" (UCI Machine
Learning Repository, data set 341), or its subfolder RawData. Per half second: mean, standard deviation and mean
absolute difference of three acceleration and three rotation channels (18-d); the label most of its samples carry.
Cite Reyes-Ortiz, Oneto, Sama, Parra, Anguita, Neurocomputing 2015. No commercial use.

Example: python -m data_scripts.hapt --source ~/Downloads/HAPT
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

import numpy as np

from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run, verify, write_folder
from data_scripts.common.signals import pooled
from vasot_kit.folders.files import read_features
from vasot_lib.errors import DataError

COLUMNS = 5  # of labels.txt
WINDOW = 25  # samples at 50 Hz: half a second
CLASSES = [
    "unlabelled",
    *("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "laying"),
    *("stand_to_sit", "sit_to_stand", "sit_to_lie", "lie_to_sit", "stand_to_lie", "lie_to_stand"),
]
FACTS = PublishedFacts(videos=61, sources={"videos": "RawData/labels.txt of the archive: experiments 1 to 61"})


def read_segments(file: Path) -> np.ndarray:
    """The rows of labels.txt: experiment, user, class, first and last sample, counted from 1.

    Raises:
        DataError: it is damaged, or another file.
    """
    table = read_features(file).numpy()
    if table.shape[1] != COLUMNS or not (table == np.floor(table)).all() or not np.isfinite(table).all():
        raise DataError(
            f"{file} has {table.shape[1]} columns or a number that is not whole; expected rows of {COLUMNS} whole "
            "numbers (experiment, user, class, first and last sample), unpack the archive again"
        )
    classes = sorted(set(table[:, 2].astype(int).tolist()))
    if classes != list(range(1, len(CLASSES))):
        raise DataError(f"{file} names classes {classes}; expected 1 to {len(CLASSES) - 1}, unpack the archive again")
    return table.astype(int)


def read_recording(acceleration: Path, table: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(N, 18) features and N class names; ``table`` is that of :func:`read_segments`.

    Raises:
        DataError: a file is missing, damaged or misnamed, or has no segment or one that does not lie in it.
    """
    numbers = re.fullmatch(r"acc_exp(\d+)_user\d+", acceleration.stem)
    if numbers is None:
        raise DataError(f"{acceleration} should be named like acc_exp01_user01.txt; unpack the archive again")
    rows = np.flatnonzero(table[:, 0] == int(numbers[1]))
    if not len(rows):
        raise DataError(f"{acceleration} has no row in labels.txt; unpack the archive again")
    rotation = acceleration.with_name(acceleration.name.replace("acc_", "gyro_", 1))
    if not rotation.is_file():
        raise DataError(f"{rotation} is missing; unpack the archive again")
    halves = [read_features(file).numpy() for file in (acceleration, rotation)]
    if halves[0].shape != halves[1].shape or halves[0].shape[1] != 3:
        shapes = " and ".join(str(half.shape) for half in halves)
        raise DataError(
            f"{acceleration.name} and its gyro file have shapes {shapes}; expected equal ones with 3 columns"
        )
    samples = np.zeros(len(halves[0]), dtype=int)
    for row in rows:
        label, first, last = table[row, 2:].tolist()
        if not 1 <= first <= last <= len(samples):
            raise DataError(
                f"row {row + 1} of labels.txt is a segment from sample {first} to {last}, but {acceleration} has the "
                f"samples 1 to {len(samples)}; unpack the archive again"
            )
        samples[first - 1 : last] = label
    return pooled(acceleration, np.concatenate(halves, axis=1).astype(np.float64), samples, WINDOW, CLASSES)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: not the archive, an incomplete one, or a target that exists.
    """
    folders = [source, source / "RawData", *sorted(source.glob("*/RawData"))]
    raw = next((folder for folder in folders if (folder / "labels.txt").is_file()), None)
    if raw is None:
        raise DataError(f"{source / 'RawData' / 'labels.txt'} is missing; --source must be the unpacked archive")
    table = read_segments(raw / "labels.txt")
    files = sorted(raw.glob("acc_exp*_user*.txt"))
    verify(Inventory(lengths={file.stem: None for file in files}), FACTS, options)
    recordings = ((file.stem.removeprefix("acc_"), *read_recording(file, table)) for file in files)
    return write_folder(target, recordings, CLASSES, FACTS, options, total=len(files))


SCRIPT = Script(
    name="hapt",
    about=__doc__,
    convert=convert,
    next_step="download data set 341 (Smartphone-Based Recognition of Human Activities and Postural Transitions) from "
    "the UCI Machine Learning Repository",
)
main = partial(run, SCRIPT)

if __name__ == "__main__":
    sys.exit(main())
