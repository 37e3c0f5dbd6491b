"""Pool the recordings of HuGaDB, six motion sensors on the legs, to half seconds and write a labelled feature folder.

    python -m data_scripts.hugadb --source FOLDER [--root DATA_ROOT]

FOLDER is the unpacked archive of version 2, with files HuGaDB_v2_various_PERSON_NUMBER.txt of about 60 samples a
second. Per half second and for each of 36 channels (acceleration and rotation of both feet, shins and thighs): mean,
standard deviation and mean absolute difference of neighbouring samples (108-d); the label that most of its samples
carry. The two muscle channels are left out, as in SMQ (arXiv 2508.04513).

The authors list recordings in which gyroscopes were amplified tenfold. All are kept; the registered data set is
standardised within each recording, so that the amplification does not tell people apart.

Cite Chereshnev and Kertesz-Farkas, AIST 2017 (arXiv 1705.08506).

Example: python -m data_scripts.hugadb --source ~/Downloads/HuGaDB
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np

from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run, write_folder
from data_scripts.common.signals import pooled, read_samples
from vasot_lib.errors import DataError

WINDOW = 30  # samples: half a second
HEADER = 4  # lines: activities, their numbers, date, names of the columns
SENSORS, COLUMNS = 36, 39  # the last three columns are both muscles and the activity, counted from 1
CLASSES = [
    *("walking", "running", "going_up", "going_down", "sitting", "sitting_down", "standing_up", "standing"),
    *("bicycling", "up_by_elevator", "down_by_elevator", "sitting_in_car"),
]


def read_recording(file: Path) -> tuple[np.ndarray, list[str]]:
    """(N, 108) features and N class names of a file.

    Raises:
        DataError: it is damaged, or not one of HuGaDB.
    """
    table = read_samples(file, "\t", HEADER)
    if table.shape[1] != COLUMNS:
        raise DataError(f"{file} has {len(table)} samples of {table.shape[1]} columns; expected {COLUMNS} columns")
    activity = table[:, -1]
    if unknown := sorted(set(activity.tolist()) - set(range(1, len(CLASSES) + 1))):
        raise DataError(f"{file} names activities {unknown}; expected whole numbers from 1 to {len(CLASSES)}")
    return pooled(file, table[:, :SENSORS], activity.astype(int) - 1, WINDOW, CLASSES)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: no or damaged recordings, or a target that exists.
    """
    files = sorted(source.rglob("HuGaDB_v2_*.txt"))
    if not files:
        raise DataError(f"{source} holds no HuGaDB_v2_*.txt; --source must be the unpacked archive of version 2")
    recordings = ((file.stem.removeprefix("HuGaDB_v2_"), *read_recording(file)) for file in files)
    return write_folder(target, recordings, CLASSES, PublishedFacts(), options, total=len(files))


SCRIPT = Script(
    name="hugadb",
    about=__doc__,
    convert=convert,
    next_step="download version 2 from the addresses in the README of github.com/romanchereshnev/HuGaDB and unpack it",
)
main = partial(run, SCRIPT)

if __name__ == "__main__":
    sys.exit(main())
