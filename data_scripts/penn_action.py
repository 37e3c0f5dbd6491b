"""Join Penn Action's pictures with the phase labels of TCC (Dwibedi et al. 2019): 13 sports, 2 to 6 phases each.

    python -m data_scripts.penn_action --source FOLDER [--root DATA_ROOT] [--trim] [--partial]

FOLDER holds, unpacked or as archives,
1. Penn_Action.tar.gz, from the page of the data set (dreamdragon.github.io/PennAction; Zhang, Zhu, Derpanis 2013):
   frames/0001/000001.jpg ... and labels/0001.mat (of which the action and the number of frames are read);
2. the phase labels that the authors of CARL share (folder "label files" in the README of minghchen/CARL_code):
   train/<action>/0001.npy and val/<action>/0001.npy, one number per frame. TCC itself never published them.

Pictures are linked, not doubled, where the file system can. CARL also shares films with pickled labels: these are not
read, because a pickle can run code. Where a recording has more or fewer labels than pictures, CARL stretches the longer
one; here it is refused, or cut with --trim. strum_guitar and jump_rope have no phases and are left out.

Example: python -m data_scripts.penn_action --source ~/Downloads/penn --root data
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from data_scripts.common.film_folders import (
    FilmRecording,
    LengthCheck,
    find_below,
    numbered_pictures,
    report_difference,
    write_recordings,
)
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run, verify
from vasot_kit.folders.files import PROBLEMS
from vasot_lib.errors import DataError

# Key events between phases: table 2 of TCC (arXiv 1904.07846). Phase k ends with event k, the last one with the film.
EVENTS = {
    "baseball_pitch": ("knee fully up", "arm fully stretched out", "ball release"),
    "baseball_swing": ("bat swung back fully", "bat hits ball"),
    "bench_press": ("bar fully down",),
    "bowling": ("ball swung fully back", "ball release"),
    "clean_and_jerk": ("bar at hip", "fully squatting", "standing", "begin thrusting", "beginning balance"),
    "golf_swing": ("stick swung fully back", "stick hits ball"),
    "jumping_jacks": ("hands at shoulder, going up", "hands above head", "hands at shoulder, going down"),
    "pullups": ("chin above bar",),
    "pushups": ("head at floor",),
    "situp": ("abs fully crunched",),
    "squats": ("hips at knees, going down", "hips at floor", "hips at knees, going up"),
    "tennis_forehand": ("racket swung fully back", "racket touches ball"),
    "tennis_serve": ("ball released from hand", "racket swung fully back", "ball touches racket"),
}
PHASES = {action: [f"{action}: to {event}" for event in (*events, "end")] for action, events in EVENTS.items()}
# The .mat files name some actions otherwise (list in CARL's tfrecords_to_videos.py).
MAT_NAMES = {"bowling": "bowl", "pullups": "pullup", "pushups": "pushup", "squats": "squat"}
# Training and validation recordings together. None where TCC's table 2 and CARL's dataset_splits.py differ (pushups 207
# and 208, squats 230 and 226, tennis_serve 184 and 167): these numbers are not checked.
FACTS = PublishedFacts(
    activities={
        "baseball_pitch": 103 + 63,
        "baseball_swing": 113 + 57,
        "bench_press": 69 + 71,
        "bowling": 134 + 85,
        "clean_and_jerk": 40 + 42,
        "golf_swing": 87 + 77,
        "jumping_jacks": 56 + 56,
        "pullups": 98 + 101,
        "pushups": None,
        "situp": 50 + 50,
        "squats": None,
        "tennis_forehand": 79 + 74,
        "tennis_serve": None,
    },
    sources={"activities": "TCC's table 2 and CARL's dataset_splits.py"},
)
SEQUENCES = 2326  # page of the data set; strum_guitar and jump_rope included


def label_files(folder: Path) -> dict[str, tuple[str, Path]]:
    """``action/0001`` -> part of the split and label file, for the files ``<folder>/<part>/<action>/0001.npy``.

    Raises:
        DataError: an unknown action, or a recording that occurs twice.
    """
    by_mat_name = {short: name for name, short in MAT_NAMES.items()}
    found: dict[str, tuple[str, Path]] = {}
    for file in sorted((*folder.glob("train/*/*.npy"), *folder.glob("val/*/*.npy"))):
        action = by_mat_name.get(file.parent.name, file.parent.name)
        if action not in PHASES:
            raise DataError(f"{file.parent} is none of the {len(PHASES)} actions ({', '.join(PHASES)}); remove it")
        if not re.fullmatch(r"\d{4}", file.stem):
            raise DataError(f"{file} should be named like the recording, e.g. 0001.npy; rename or remove it")
        if f"{action}/{file.stem}" in found:
            raise DataError(f"{file} occurs a second time in {folder}; keep one of the two")
        found[f"{action}/{file.stem}"] = file.parts[-3], file
    return found


def read_phases(file: Path, action: str) -> list[str]:
    """The phase name of every frame.

    Raises:
        DataError: damaged, a pickle, not one whole number per frame, or a number that is no phase of the action.
    """
    try:
        numbers = np.load(file, allow_pickle=False)
    except PROBLEMS as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise DataError(f"{file} is a pickle, which is not read because it can run code; get it again") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file} is damaged ({reason}); copy it again") from error
    if not isinstance(numbers, np.ndarray):
        numbers.close()
        raise DataError(f"{file} is a .npz archive of arrays; expected one array with a whole number per frame")
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not _are_whole(numbers):
        raise DataError(f"{file} is an array {numbers.shape} of {numbers.dtype}; expected one whole number per frame")
    names = PHASES[action]
    outside = next((int(number) for number in numbers if not 0 <= number < len(names)), None)
    if outside is not None:
        raise DataError(f"{file} has the label {outside}; {action} has the phases 0 to {len(names) - 1}")
    return [names[int(number)] for number in numbers]


def _are_whole(numbers: np.ndarray) -> bool:
    return bool(np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all())


def read_mat(file: Path) -> tuple[str, int]:
    """The action and the number of frames of a recording.

    Raises:
        DataError: missing or damaged.
    """
    if not file.is_file():
        raise DataError(f"{file} is missing; unpack Penn_Action.tar.gz again")
    try:
        content = loadmat(str(file), variable_names=["action", "nframes"])
        return str(content["action"][0]), int(content["nframes"].item())
    except (ValueError, TypeError, LookupError, OSError, NotImplementedError, zlib.error) as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{file} is damaged or another file ({reason}); unpack Penn_Action.tar.gz again") from error


def read(penn: Path, files: dict[str, tuple[str, Path]], lengths: LengthCheck) -> Iterator[FilmRecording]:
    """The recordings, one after the other."""
    for key, (part, file) in files.items():
        action, name = key.split("/")
        labels = read_phases(file, action)
        folder = penn / "frames" / name
        if not folder.is_dir():
            raise DataError(f"{folder} is missing but {file} labels it; unpack Penn_Action.tar.gz again")
        frames = numbered_pictures(folder, first=1)
        shown, count = read_mat(penn / "labels" / f"{name}.mat")
        if shown not in (action, MAT_NAMES.get(action)):
            raise DataError(f"{file} labels {action} but {name}.mat says {shown!r}; take both of the same data set")
        n = lengths.length(key, {"labels": len(labels), "pictures": len(frames), "frames by its .mat": count})
        yield FilmRecording(key, labels[:n], frames[:n], part=part)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: a part is missing, damaged or does not fit the other, or the target exists.
    """
    frames = find_below(source, "frames", holding="[0-9]*")
    if frames is None:
        raise DataError(f"{source} holds no folder frames with recordings; put Penn_Action.tar.gz there")
    labels = find_below(source, "train", holding="*/*.npy")
    if labels is None:
        raise DataError(
            f"{source} holds no train/<action>/0001.npy; put the phase labels there, unpacked like the rest"
        )
    files = label_files(labels.parent)
    before = Inventory(lengths=dict.fromkeys(files))
    verify(before, FACTS, options)
    folders = sum(1 for _ in frames.glob("[0-9][0-9][0-9][0-9]"))
    if folders != SEQUENCES:
        report_difference(
            f"found {folders} sequences in {frames}, expected {SEQUENCES} (page of Penn Action)", before, options
        )
    lengths = LengthCheck(options)
    classes = [name for names in PHASES.values() for name in names]
    found = write_recordings(target, read(frames.parent, files, lengths), classes, FACTS, options, total=len(files))
    found.notes = [*before.notes, *lengths.notes()]  # the counts are those that were verified before
    return found


def main(argv: list[str] | None = None) -> int:
    """See ``run``."""
    step = (
        "download Penn_Action.tar.gz (dreamdragon.github.io/PennAction) and the phase labels (link 'label files' in "
        "the README of minghchen/CARL_code on GitHub) into one folder"
    )
    return run(Script("penn_action", __doc__ or "", convert, step, trims=True), argv)


if __name__ == "__main__":
    sys.exit(main())
