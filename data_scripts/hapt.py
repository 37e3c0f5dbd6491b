"""Pool the UCI smartphone recordings (HAPT) to 2 Hz and write them as a labelled feature folder.

    python data_scripts/hapt.py --source FOLDER [--root DATA_ROOT]

FOLDER is the unpacked archive "Smartphone-Based Recognition of Human Activities and Postural Transitions" (UCI Machine
Learning Repository, data set 341), or its subfolder RawData. Per half second: mean, standard deviation and mean
absolute difference of three acceleration and three rotation channels (18-d); the label most of its samples carry.
Cite Reyes-Ortiz, Oneto, Sama, Parra, Anguita, Neurocomputing 2015. No commercial use.

Example: python data_scripts/hapt.py --source ~/Downloads/HAPT
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from vasot_lib.data import data_root, save_folder
from vasot_lib.data.folder import read_features
from vasot_lib.errors import DataError, VasotError

WINDOW = 25  # samples at 50 Hz: half a second
RECORDINGS = 61
CLASSES = [
    "unlabelled",
    *("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "laying"),
    *("stand_to_sit", "sit_to_stand", "sit_to_lie", "lie_to_sit", "stand_to_lie", "lie_to_stand"),
]


def pool(signals: np.ndarray) -> np.ndarray:
    """(T, C) samples -> (T // 25, 3 C): mean, standard deviation, mean absolute difference of neighbouring samples."""
    n = len(signals) // WINDOW
    windows = signals[: n * WINDOW].reshape(n, WINDOW, -1)
    steps = np.abs(np.diff(windows, axis=1)).mean(axis=1)
    return np.concatenate([windows.mean(axis=1), windows.std(axis=1), steps], axis=1)


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
    features = pool(np.concatenate(halves, axis=1).astype(np.float64))
    samples = np.zeros(len(halves[0]), dtype=int)
    for label, first, last in segments:
        samples[first - 1 : last] = label
    votes = samples[: len(features) * WINDOW].reshape(-1, WINDOW)
    return features, [CLASSES[np.bincount(window).argmax()] for window in votes]


def convert(source: Path, target: Path) -> int:
    """Write the folder and return its number of frames.

    Raises:
        DataError: not the archive, an incomplete one, or a target that exists.
    """
    raw = source / "RawData" if (source / "RawData").is_dir() else source
    if not (raw / "labels.txt").is_file():
        raise DataError(f"{raw / 'labels.txt'} is missing; --source must be the unpacked archive")
    table = read_features(raw / "labels.txt").numpy().astype(int)  # experiment, user, class, first, last sample
    if sorted(set(table[:, 2].tolist())) != list(range(1, len(CLASSES))):
        raise DataError(f"{raw / 'labels.txt'} names classes {sorted(set(table[:, 2].tolist()))}; expected 1 to 12")
    files = sorted(raw.glob("acc_exp*_user*.txt"))
    if len(files) != RECORDINGS:
        raise DataError(f"{raw} holds {len(files)} recordings; expected {RECORDINGS}, unpack the archive again")
    recordings = {}
    for file in files:
        name = file.stem.removeprefix("acc_")
        experiment = int(name[3:5])
        recordings[name] = read_recording(file, table[table[:, 0] == experiment][:, 2:])
    save_folder(target, recordings, CLASSES)
    return sum(len(labels) for _, labels in recordings.values())


def main(argv: list[str] | None = None) -> int:
    """0 if the folder was written, 1 with one line if not, 2 with the next step where no source was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="the unpacked archive")
    parser.add_argument("--root", type=Path, help="data root (default: VASOT_DATA, or data)")
    options = parser.parse_args(argv)
    if options.source is None:
        print(
            "download data set 341 (Smartphone-Based Recognition of Human Activities and Postural Transitions) from "
            "the UCI Machine Learning Repository, unpack it, then: python data_scripts/hapt.py --source FOLDER",
            file=sys.stderr,
        )
        return 2
    target = data_root(options.root) / "hapt"
    try:
        frames = convert(options.source, target)
    except VasotError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{target}: {RECORDINGS} recordings, {frames} frames, {len(CLASSES)} classes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
