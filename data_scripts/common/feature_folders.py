"""Convert downloaded features and labels, in the folder layouts of the ASOT, CTE, TOT and MS-TCN repositories.

<anywhere>/features/[<any folders>/]<video>.npy | .txt      (N, D); (D, N) as in MS-TCN is transposed
<anywhere>/groundTruth/[<any folders>/]<video>[.txt]        one class name per line, or "first-last name" per segment
<anywhere>/mapping.txt                                      "id name"; beside or below groundTruth
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_scripts.common.script import (
    MAX_NAMED,
    FeatureRecording,
    Inventory,
    Options,
    PublishedFacts,
    verify,
    write_folder,
)
from vasot_kit.folders.files import read_features, read_id_name_lines, read_labels, read_mapping
from vasot_lib.errors import DataError

# Up to this difference CTE cuts labels and features without a message; above it stops (its Video._check_gt).
TRIM_LIMIT = 50


@dataclass(frozen=True)
class Layout:
    """The properties of one data set that the conversion depends on.

    Attributes:
        facts: what is published about it.
        activity: gives the activity of a video from its name; empty if there is only one activity.
        ignore: whether a label file of this name is not a part of the data set.
        classes: class names if the download has no mapping; by default the labels that occur, sorted.
        variants: file name of a further mapping -> the mapping to write if the download has none, and the number of
            its ids.
    """

    facts: PublishedFacts
    activity: Callable[[str], str] = lambda _: ""
    ignore: Callable[[str], bool] = lambda _: False
    classes: Sequence[str] | None = None
    variants: Mapping[str, tuple[Mapping[str, int], int]] = field(default_factory=dict)


def convert(source: Path, target: Path, options: Options, layout: Layout) -> Inventory:
    """Write a labelled feature folder from a downloaded one.

    The labels of all videos are checked before the first features are read.

    Raises:
        DataError: a part is missing or damaged, features and labels differ in length, a label is not in the mapping,
            or the numbers differ from the published ones.
    """
    truths = {
        name: file for name, file in _files(source, "groundTruth", ("", ".txt")).items() if not layout.ignore(name)
    }
    features = _files(source, "features", (".npy", ".txt"))
    found = Inventory()
    names = _matched(truths, features, options, found)
    keys = {name: "/".join(filter(None, (layout.activity(name), name))) for name in names}
    found.lengths = dict.fromkeys(keys.values())
    verify(found, layout.facts, options)
    labels_seen: dict[str, None] = {}
    for name in names:
        labels = read_labels(truths[name])
        labels_seen |= dict.fromkeys(labels)
        found.seen.setdefault(layout.activity(name), set()).update(labels)
    classes = _classes(source, list(labels_seen), layout, found)
    found.classes = classes
    verify(found, layout.facts, options)

    def recordings() -> Iterator[FeatureRecording]:
        for name in names:
            yield keys[name], *_recording(features[name], truths[name], options, layout.facts, found)

    variants = {f"mapping/{name}": _variant(source, name, classes, *layout.variants[name]) for name in layout.variants}
    written = write_folder(target, recordings(), classes, layout.facts, options, extra=variants, total=len(names))
    written.notes = list(dict.fromkeys([*found.notes, *written.notes]))
    return written


def _files(source: Path, folder: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Video name -> its file, of all files with one of the suffixes below folders of that name."""
    roots = [path for path in sorted(source.rglob("*")) if path.is_dir() and path.name.lower() == folder.lower()]
    if source.name.lower() == folder.lower():
        roots.insert(0, source)
    if not roots:
        raise DataError(
            f"{source} holds no folder {folder}/; expected features/, groundTruth/ and mapping/, unpack all parts there"
        )
    files: dict[str, Path] = {}
    for root in roots:
        for file in sorted(root.rglob("*")):
            inner = file.relative_to(root).parts[:-1]
            if not file.is_file() or file.name.startswith(".") or "mapping" in inner:
                continue
            name = file.stem
            if file.suffix not in suffixes or name.startswith("mapping"):
                continue
            if name in files and files[name] != file:
                raise DataError(f"{source} holds {name!r} twice: {files[name]} and {file}; keep one of them")
            files[name] = file
    if not files:
        raise DataError(f"{roots[0]} holds no files of videos; unpack or copy it again")
    return files


def _matched(truths: Mapping[str, Path], features: Mapping[str, Path], options: Options, found: Inventory) -> list[str]:
    """The videos that have features and labels; those with only one of them are an error, or a note with --partial."""
    for what, names in (
        ("feature file but no labels", sorted(set(features) - set(truths))),
        ("labels but no feature file", sorted(set(truths) - set(features))),
    ):
        if not names:
            continue
        listed = ", ".join(names[:MAX_NAMED]) + (
            f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        )
        line = f"{len(names)} videos have a {what}: {listed}".replace("a labels", "labels")
        if not options.partial:
            raise DataError(f"{line}; copy what is missing, or pass --partial to leave them out")
        found.notes.append(f"{line}; left out")
    names = sorted(set(truths) & set(features))
    if not names:
        raise DataError("no video has both a feature file and labels; take both from one download")
    return names


def _classes(source: Path, seen: Sequence[str], layout: Layout, found: Inventory) -> Sequence[str]:
    file = _mapping_file(source, "mapping.txt")
    if file is None:
        classes = list(layout.classes or sorted(seen))
        where = "the known classes of this data set"
        found.notes.append("the download has no mapping.txt; classes are numbered here, which changes no score")
    else:
        classes = read_mapping(file)
        where = str(file)
    unknown = [label for label in seen if label not in classes]
    if unknown:
        raise DataError(
            f"label(s) {', '.join(map(repr, unknown[:MAX_NAMED]))} are not in {where}; take both from one download"
        )
    return classes


def _mapping_file(source: Path, name: str) -> Path | None:
    """The mapping file of that name that is nearest to the top."""
    return min(source.rglob(name), key=lambda file: (len(file.parts), str(file)), default=None)


def _variant(source: Path, name: str, classes: Sequence[str], default: Mapping[str, int], expected: int) -> str:
    """The text of a mapping in which several classes share an id."""
    file = _mapping_file(source, name)
    ids = default if file is None else {label: int(number) for number, label in read_id_name_lines(file)}
    missing = [label for label in classes if label not in ids]
    if missing:
        raise DataError(f"{file or name} gives no id to {', '.join(missing)}; take it and mapping.txt from one place")
    if len(set(ids.values())) != expected:
        raise DataError(f"{file or name} has {len(set(ids.values()))} ids; expected {expected}")
    return "".join(f"{number} {label}\n" for label, number in ids.items())


def _recording(
    file: Path, truth: Path, options: Options, facts: PublishedFacts, found: Inventory
) -> tuple[np.ndarray, list[str]]:
    features, labels = read_features(file).numpy(), read_labels(truth)
    if len(features) != len(labels) and features.shape[1] == len(labels):
        features = features.T  # MS-TCN keeps (D, N)
        found.notes.append("features were stored as (channels, frames) and are turned round")
    if facts.dim is not None and features.shape[1] == facts.dim + 1 and np.all(np.diff(features[:, 0]) == 1):
        features = features[:, 1:]
        found.notes.append("the first channel only counted the frames and is left out")
    difference = len(labels) - len(features)
    if difference == 0:
        return features, labels
    shorter = min(len(labels), len(features))
    rows = f"{truth} has {len(labels)} labels but {file.name} has {len(features)} feature rows"
    said = f"{rows} (difference {difference:+d})"
    if abs(difference) > TRIM_LIMIT:
        ratio = max(len(labels), len(features)) / shorter
        raise DataError(
            f"{said}, {ratio:.2f} times as many: another video or another frame rate; take both from one download"
        )
    if not options.trim:
        raise DataError(f"{said}; pass --trim to cut both to {shorter}, or take both from one download")
    found.notes.append(f"{file.stem} was cut to {shorter} frames (difference {difference:+d})")
    return features[:shorter], labels[:shorter]
