"""Pool the recordings of LARa, motion capture of picking and packing, and write a labelled feature folder.

    python -m data_scripts.lara --source FOLDER [--root DATA_ROOT] [--trim]

FOLDER is the unpacked "OMoCap annotated data" of version 3 (zenodo.org/records/8189341): for each recording, of 200
samples a second, a file of motion such as L02_S15_R04.csv and one of classes, L02_S15_R04_labels.csv. Of 22 joints the
positions relative to the lower back are taken, in mm along the axes of the room. Its own, which is then always 0, is
left out, and so are all rotations, because angles jump by a full turn. Per half second and for each of 63 coordinates:
mean, standard deviation and mean absolute difference of neighbouring samples (189-d); the class that most of its
samples carry. All 8 classes are kept, none and synchronization too, as in SMQ (arXiv 2508.04513); a sample without a
class counts as none, as in its release.

Labels and motion have equally many samples. A recording where they do not is refused; --trim cuts to the shorter where
they differ by less than half a second. The registered data set is standardised within each recording, so that heights
do not tell people apart.

The script was not run on the true archive. What it knows of the files was read in released code:

- one or five lines come before the samples, and the columns are two counters, then rotation x, y, z in degrees and
  position x, y, z in mm of 22 joints, the lower back the 12th of them: the annotation tool of LARa's authors
  (github.com/wilfer9008/Annotation_Tool_LARa, src/data_management.py), which subtracts the lower back;
- names of files, and 8 columns of 0 and 1 for the classes before those of the attributes: SMQ's release
  (github.com/bachlab/SMQ, src/data/lara.py), which subtracts the 22nd joint, the root.

Cite Niemann et al., LARa, Sensors 2020, 20(15), 4083 (doi 10.3390/s20154083).

Example: python -m data_scripts.lara --source ~/Downloads/LARa
"""

from __future__ import annotations

import re
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run, write_folder
from data_scripts.common.signals import pooled, read_samples
from vasot_lib.errors import DataError

WINDOW = 100  # samples: half a second
HEADER = 5  # lines before the samples, at most
COUNTERS, JOINTS, CHANNELS, LOWER_BACK = 2, 22, 6, 11
COLUMNS = COUNTERS + JOINTS * CHANNELS
LABELS = "_labels.csv"
CLASSES = [
    *("standing", "walking", "cart", "handling_upwards", "handling_centred", "handling_downwards"),
    *("synchronization", "none"),
]


def _letters(name: str) -> str:
    """The letters of a name in a header, so that C4_Handling(upwards) and Handling (upwards) are one."""
    return re.sub(r"^c\d_|[^a-z]", "", name.strip().lower())


def _is_sample(line: str) -> bool:
    try:
        return len([float(cell) for cell in line.split(",")]) > 1  # a line of the header is the rate alone
    except ValueError:
        return False


def _first_lines(file: Path) -> list[str]:
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        return list(islice(lines, HEADER + 1))


def read_motion(file: Path) -> np.ndarray:
    """(T, 63) positions of all joints but the lower back, relative to it, in mm.

    Raises:
        DataError: it is damaged, or no motion of LARa.
    """
    lines = _first_lines(file)
    header = next((k for k, line in enumerate(lines) if _is_sample(line)), None)
    if header is None:
        raise DataError(f"{file} has no samples in its first {HEADER + 1} lines; unpack the archive again")
    named = {k for line in lines[:header] for k, cell in enumerate(line.split(",")) if "lowerback" in _letters(cell)}
    place = COUNTERS + LOWER_BACK * CHANNELS
    if named and min(named) != place:
        raise DataError(f"{file} has the lower back in column {min(named) + 1}; expected it in column {place + 1}")
    table = read_samples(file, ",", header)
    if table.shape[1] != COLUMNS:
        raise DataError(
            f"{file} has {len(table)} samples of {table.shape[1]} columns; expected {COLUMNS} columns: "
            "--source must be the OMoCap annotated data alone"
        )
    joints = table[:, COUNTERS:].reshape(-1, JOINTS, CHANNELS)[:, :, 3:]
    return np.delete(joints - joints[:, [LOWER_BACK]], LOWER_BACK, axis=1).reshape(len(table), -1)


def read_classes(file: Path) -> np.ndarray:
    """(T,) the number of the class of each sample.

    Raises:
        DataError: it is missing or damaged, or no labels of LARa.
    """
    if not file.is_file():
        raise DataError(f"{file} is missing; unpack the archive again")
    names = "".join(_first_lines(file)[:1]).strip().split(",")[: len(CLASSES)]
    if [_letters(name) for name in names] != [_letters(name) for name in CLASSES]:
        raise DataError(f"{file} begins with the columns {', '.join(names)}; expected {', '.join(CLASSES)}")
    table = read_samples(file, ",", 1)
    if table.shape[1] < len(CLASSES):
        raise DataError(
            f"{file} has {table.shape[1]} columns; expected {len(CLASSES)} or more, unpack the archive again"
        )
    table = table[:, : len(CLASSES)]
    wrong = np.flatnonzero(~np.isin(table, (0, 1)).all(axis=1) | (table.sum(axis=1) > 1))
    if len(wrong):
        row = table[wrong[0]].tolist()
        raise DataError(f"{file} has classes {row} in sample {wrong[0] + 1}; expected zeros and at most one 1")
    return np.where(table.any(axis=1), table.argmax(axis=1), CLASSES.index("none"))


def read_recording(motion: Path, options: Options) -> tuple[np.ndarray, list[str]]:
    """(N, 189) features and N class names of a recording.

    Raises:
        DataError: motion or labels are missing or damaged, or differ in length.
    """
    classes = read_classes(motion.with_name(motion.stem + LABELS))
    positions = read_motion(motion)
    counts = len(positions), len(classes)
    shorter, difference = min(counts), max(counts) - min(counts)
    if difference and (not options.trim or difference >= WINDOW):
        remedy = "unpack the archive again" if difference >= WINDOW else f"pass --trim to cut both to {shorter}"
        raise DataError(f"{motion} has {counts[0]} samples but {counts[1]} labels; {remedy}")
    return pooled(motion, positions[:shorter], classes[:shorter], WINDOW, CLASSES)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: no or damaged recordings, or a target that exists.
    """
    tables = sorted(source.rglob("[!.]*.csv"))
    files = [file for file in tables if not file.name.endswith(LABELS)]
    if not files:
        raise DataError(f"{source} holds no .csv of motion; --source must be the unpacked OMoCap annotated data")
    expected = {file.with_name(file.stem + LABELS) for file in files}
    if alone := [file for file in tables if file.name.endswith(LABELS) and file not in expected]:
        motion = alone[0].name.removesuffix(LABELS) + ".csv"
        raise DataError(f"{alone[0]} has no {motion} beside it; unpack the archive again")
    recordings = ((file.stem, *read_recording(file, options)) for file in files)
    return write_folder(target, recordings, CLASSES, PublishedFacts(), options, total=len(files))


SCRIPT = Script(
    name="lara",
    about=__doc__,
    convert=convert,
    next_step="download the OMoCap annotated data of version 3 from zenodo.org/records/8189341 and unpack them",
    trims=True,
)
main = partial(run, SCRIPT)

if __name__ == "__main__":
    sys.exit(main())
