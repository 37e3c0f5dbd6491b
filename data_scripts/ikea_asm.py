"""Join the drawer films of the IKEA ASM data set (Ben-Shabat et al. 2021) with their actions: 90 films, 17 classes.

    python -m data_scripts.ikea_asm --source FOLDER [--root DATA_ROOT] [--trim] [--partial]

FOLDER holds, unpacked or as archives, what the README of IkeaASM/IKEA_ASM_Dataset links to:
1. "Data - RGB top view": Kallax_Shelf_Drawer/<scan>/dev3/images/scan_video.avi, or the pictures 000000.jpg ... that the
   toolbox of the data set extracts from it;
2. "Annotations - action": gt_segments.json, for every scan its subset and segments [first frame, last frame].

The last frame belongs to the segment: the exporter of the data set writes it so, although its own reader stops one
frame before. The exporter loses segments of one frame; of the 22 in the 29 test films 21 are "NA" (no action), so
frames that no segment covers are NA. gt_action.npy holds the same labels as a pickle, which can run code: not read.

A film may be a frame longer than its labels. --trim cuts pictures and labels to the shorter; a film is not cut, the
frames at its end become NA. Films are linked, not doubled, where the file system can.

Example: python -m data_scripts.ikea_asm --source ~/Downloads/ikea_asm --root data
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_scripts.common.film_folders import (
    FilmRecording,
    LengthCheck,
    count_frames,
    find_below,
    numbered_pictures,
    report_difference,
    write_recordings,
)
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run, verify
from vasot_lib.errors import DataError

ACTIVITY, CAMERA, FILM, NO_ACTION = "Kallax_Shelf_Drawer", "dev3", "scan_video.avi", "NA"
# The classes of the data set in their order (IKEAActionDataset.py: NA, then by name); the drawer shows 17 of them.
ACTIONS = (
    *(NO_ACTION, "align leg screw with table thread", "align side panel holes with front panel dowels"),
    *("attach drawer back panel", "attach drawer side panel", "attach shelf to table"),
    *("flip shelf", "flip table", "flip table top", "insert drawer pin"),
    *("lay down back panel", "lay down bottom panel", "lay down front panel", "lay down leg", "lay down shelf"),
    *("lay down side panel", "lay down table top", "other"),
    *("pick up back panel", "pick up bottom panel", "pick up front panel", "pick up leg", "pick up pin"),
    *("pick up shelf", "pick up side panel", "pick up table top", "position the drawer right side up"),
    *("push table", "push table top", "rotate table", "slide bottom of drawer", "spin leg", "tighten leg"),
)
PARTS = {"training": "train", "testing": "test"}
# Of the test split, whose labels are published frame by frame.
TEST_VIDEOS, TEST_FRAMES = 29, 56_198
TEST_SOURCE = "event logs of henrikkirchmann/IKEA_ASM_UncertainEventLogs"
FACTS = PublishedFacts(
    videos=61 + 29,
    classes=17,
    sources={
        "videos": f"dataset_splits.py of taeinkwon/CASA: 61 + 29; 29 also by the {TEST_SOURCE}",
        "classes": f"dataset_splits.py of taeinkwon/CASA; names of the {TEST_SOURCE}",
    },
)


def read_segments(file: Path) -> dict[str, dict[str, Any]]:
    """``Kallax_Shelf_Drawer/<scan>`` -> its entry in the annotations.

    Raises:
        DataError: not the file, damaged, or an entry of another form.
    """
    try:
        database = json.loads(file.read_text(encoding="utf-8"))["database"]
        entries = {key: entry for key, entry in sorted(database.items()) if key.startswith(f"{ACTIVITY}/")}
        forms = [(entry["subset"], item["label"], *item["segment"]) for entry in entries.values()
                 for item in entry["annotation"]]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file} is damaged or another file ({reason}); copy it again") from error
    bad = next((form for form in forms if len(form) != 4 or not all(isinstance(n, int) for n in form[2:])), None)
    if bad is not None:
        raise DataError(f"{file} has the entry {bad}; expected a subset, a label, a first and a last frame")
    if not entries:
        raise DataError(f"{file} names no scan of {ACTIVITY}; take the action annotations of the data set")
    return entries


def frame_labels(key: str, segments: list[dict[str, Any]]) -> list[str]:
    """The class name of every frame, up to the last frame that a segment covers.

    Raises:
        DataError: segments overlap or run backwards, or a label is unknown.
    """
    labels: list[str] = []
    for item in sorted(segments, key=lambda item: item["segment"]):
        first, last = item["segment"]
        if not len(labels) <= first <= last:
            raise DataError(
                f"{key} has the segment {[first, last]} after one that ends with frame {len(labels) - 1}; segments "
                "must not overlap, and their last frame belongs to them: take the file of the data set"
            )
        if item["label"] not in ACTIONS:
            raise DataError(f"{key} has the label {item['label']!r}, which is no action of the data set; correct it")
        labels += [NO_ACTION] * (first - len(labels)) + [item["label"]] * (last + 1 - first)
    return labels


def read_recording(key: str, part: str, labels: list[str], folder: Path, lengths: LengthCheck) -> FilmRecording:
    """The film or the pictures in ``folder``, with labels of the same number.

    Raises:
        DataError: neither is there, or it is damaged, or the numbers differ and ``trim`` was not asked for.
    """
    film = folder / FILM
    if film.is_file():
        count = count_frames(film)
        lengths.length(key, {"frames": count, "labels": len(labels)})
        labels = (labels + [NO_ACTION] * (count - len(labels)))[:count]
        return FilmRecording(key, labels, film=film, frames=count, part=part)
    frames = numbered_pictures(folder, first=0)
    n = lengths.length(key, {"pictures": len(frames), "labels": len(labels)})
    return FilmRecording(key, labels[:n], frames[:n], part=part)


def select(entries: dict[str, Any], present: set[str], options: Options) -> Inventory:
    """The scans that have both annotations and pictures, with notes on the others.

    Raises:
        DataError: one is missing, or there are fewer than published.
    """
    found = Inventory(lengths=dict.fromkeys(sorted(present & set(entries))))
    if missing := sorted(set(entries) - present):
        report_difference(f"{len(missing)} annotated scans have no film or pictures, e.g. {missing[0]}", found, options)
    if unlabelled := sorted(present - set(entries)):
        found.notes.append(f"{len(unlabelled)} scans without annotation were left out, e.g. {unlabelled[0]}")
    verify(found, FACTS, options)
    return found


def check_test_split(labels: dict[str, list[str]], parts: dict[str, str], found: Inventory, options: Options) -> None:
    """Compare the number of labelled frames of the test split with the published one, if all its videos are there.

    Raises:
        DataError: it differs.
    """
    test = [key for key, part in parts.items() if part == "test"]
    frames = sum(len(labels[key]) for key in test)
    if len(test) == TEST_VIDEOS and frames != TEST_FRAMES:
        line = f"the test split has {frames} labelled frames, expected {TEST_FRAMES} ({TEST_SOURCE})"
        report_difference(line, found, options)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: a part is missing, damaged or does not fit the other, or the target exists.
    """
    file, scans = find_below(source, "gt_segments.json"), find_below(source, ACTIVITY, holding=f"*/{CAMERA}/images")
    if file is None:
        raise DataError(f"{source} holds no gt_segments.json; put the action annotations there, unpacked like the rest")
    if scans is None:
        raise DataError(f"{source} holds no {ACTIVITY}/<scan>/{CAMERA}/images; put the top view there, unpacked")
    entries = read_segments(file)
    present = {f"{ACTIVITY}/{images.parents[1].name}" for images in scans.glob(f"*/{CAMERA}/images")}
    before = select(entries, present, options)
    parts = {key: PARTS.get(str(entries[key]["subset"]), "") for key in before.lengths}
    unknown = next((key for key, part in parts.items() if not part), None)
    if unknown is not None:
        subset = entries[unknown]["subset"]
        raise DataError(f"{unknown} is of subset {subset!r}, expected {' or '.join(PARTS)}; download the labels again")
    labels = {key: frame_labels(key, entries[key]["annotation"]) for key in before.lengths}
    check_test_split(labels, parts, before, options)
    lengths = LengthCheck(options)
    # All are read before the classes are known: the end of a film may become NA where no label was.
    recordings = [
        read_recording(key, parts[key], labels[key], scans / key.split("/")[1] / CAMERA / "images", lengths)
        for key in tqdm(before.lengths, desc="reading", unit="video", leave=False, disable=None)
    ]
    shown = set[str]().union(*(recording.labels or () for recording in recordings))
    classes = [name for name in ACTIONS if name in shown]
    found = write_recordings(target, recordings, classes, FACTS, options, total=len(recordings))
    found.notes = list(dict.fromkeys([*before.notes, *found.notes]))
    found.notes += lengths.notes("pictures and labels were cut to the shorter, the ends of films became NA")
    return found


def main(argv: list[str] | None = None) -> int:
    """See ``run``."""
    step = (
        "download 'Data - RGB top view' and 'Annotations - action' (links in the README of "
        "IkeaASM/IKEA_ASM_Dataset on GitHub) into one folder"
    )
    return run(Script("ikea_asm", __doc__ or "", convert, step, trims=True), argv)


if __name__ == "__main__":
    sys.exit(main())
