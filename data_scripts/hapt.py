"""Pool the UCI smartphone recordings (HAPT) to 2 Hz and write them as a labelled feature folder.

    python -m data_scripts.hapt --source FOLDER [--root DATA_ROOT]

FOLDER is the unpacked archive "Smartphone-Based Recognition of Human Activities and Postural Transitions" (UCI Machine
Learning Repository, data set 341), or its subfolder RawData. Per half second: mean, standard deviation and mean
absolute difference of three acceleration and three rotation channels (18-d); the label most of its samples carry.
Cite Reyes-Ortiz, Oneto, Sama, Parra, Anguita, Neurocomputing 2015. No commercial use.

Example: python -m data_scripts.hapt --source ~/Downloads/HAPT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from data_scripts.common.script import (
    FeatureRecording,
    Inventory,
    Options,
    PublishedFacts,
    Script,
    run,
    verify,
    write_folder,
)
from data_scripts.common.signals import pooled
from vasot_kit.folders.files import read_features
from vasot_lib.errors import DataError

WINDOW = 25  # samples at 50 Hz: half a second
CLASSES = [
    "unlabelled",
    *("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "laying"),
    *("stand_to_sit", "sit_to_stand", "sit_to_lie", "lie_to_sit", "stand_to_lie", "lie_to_stand"),
]
FACTS = PublishedFacts(videos=61, sources={"videos": "RawData/labels.txt of the archive: experiments 1 to 61"})


def read_recording(acceleration: Path, segments: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(N, 18) features and N class names; ``segments`` rows are class, first and last sample, counted from 1."""
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
    for label, first, last in segments:
        samples[first - 1 : last] = label
    return pooled(np.concatenate(halves, axis=1).astype(np.float64), samples, WINDOW, CLASSES)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: not the archive, an incomplete one, or a target that exists.
    """
    folders = [source, source / "RawData", *sorted(source.glob("*/RawData"))]
    raw = next((folder for folder in folders if (folder / "labels.txt").is_file()), None)
    if raw is None:
        raise DataError(f"{source / 'RawData' / 'labels.txt'} is missing; --source must be the unpacked archive")
    table = read_features(raw / "labels.txt").numpy().astype(int)  # experiment, user, class, first, last sample
    if sorted(set(table[:, 2].tolist())) != list(range(1, len(CLASSES))):
        raise DataError(f"{raw / 'labels.txt'} names classes {sorted(set(table[:, 2].tolist()))}; expected 1 to 12")
    files = sorted(raw.glob("acc_exp*_user*.txt"))
    verify(Inventory(lengths={file.stem: None for file in files}), FACTS, options)

    def recordings() -> Iterator[FeatureRecording]:
        for file in files:
            name = file.stem.removeprefix("acc_")
            yield name, *read_recording(file, table[table[:, 0] == int(name[3:5])][:, 2:])

    return write_folder(target, recordings(), CLASSES, FACTS, options, total=len(files))


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
