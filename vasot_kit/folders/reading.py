"""Labelled feature folders, the layout of the ASOT, CTE and MS-TCN family (SPEC section 8).

<path>/features/[<activity>/]<video>.npy | .npz | .txt | .csv    (N, D), one row per frame; or all (D, N), as MS-TCN's
<path>/groundTruth/[<activity>/]<video>[.txt]       one class name per line, or "first last name" per segment
<path>/mapping/mapping.txt                          one "id name" per line
<path>/splits/<part>.txt                            one "[<activity>/]<video>" per line, where a split is published

Feature files may also lie in <path> itself, where there is no features/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vasot_kit.folders.files import (
    ARRAYS,
    TEXT,
    read_features,
    read_labels,
    read_lines,
    read_mapping,
    read_merged_mapping,
)
from vasot_lib.checks import Count, Positive, check_value
from vasot_lib.data.video import Dataset, Video
from vasot_lib.errors import DataError, unknown_name


def load_folder(
    path: str | Path,
    *,
    name: str | None = None,
    activity: str | None = None,
    background: str | None = None,
    n_actions: int | None = None,
    mapping: str = "mapping/mapping.txt",
    merge: bool = False,
    trim: bool = False,
    stride: int = 1,
    fps: float | None = None,
) -> Dataset:
    """Read a labelled feature folder, with the videos sorted by file name.

    If the folder has neither ``groundTruth/`` nor a mapping and no ``background`` is given, the videos have no labels.

    Args:
        path: folder with ``features/``, ``groundTruth/`` and the mapping; or with the feature files in the
            place of ``features/``.
        name: of the data set; the name of the folder by default.
        activity: read only this subfolder of ``features/``; by default all subfolders and the files beside them.
        background: name of the class that scores leave out.
        n_actions: K; by default the number of classes that occur, without the background.
        mapping: path of the mapping file within the folder; ids may be any distinct integers.
        merge: read names that share an id in the mapping as one class, as level Eval of 50 Salads needs; see
            :func:`read_merged_mapping`.
        trim: if features and labels of a video differ in length, cut both to the shorter instead of refusing it.
        stride: features are of every stride-th frame; only the labels of these frames are used.
        fps: frames per second, of which features may be every stride-th; with it segments in ``groundTruth/`` are times
            in seconds, otherwise they are numbers of frames.

    Features are turned round where they can only be (channels, frames): all videos have as many rows, which are not as
    many as their labels, and differ in the number of columns or have about as many columns as labels.

    Returns:
        Dataset whose ``classes`` are those that occur, and the background, in the order of the mapping file.

    Raises:
        DataError: a file is missing, empty, damaged or pickled, lengths differ, or a label is not in the mapping.
        InputError: ``activity`` or ``background`` does not exist.
    """
    check_value("n_actions", n_actions, Count | None)
    check_value("stride", stride, Count)
    check_value("fps", fps, Positive | None)
    check_value("trim", trim, bool)
    check_value("merge", merge, bool)
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root} is {'a file' if root.exists() else 'missing'}; name the folder of the recordings")
    file = root / mapping
    if background is None and not file.exists() and not (root / "groundTruth").exists():
        return _unlabelled(root, name, activity, n_actions or 0)
    names = read_merged_mapping(file) if merge else {label: label for label in read_mapping(file)}
    if background is not None and background not in names.values():
        raise unknown_name("background class", background, names.values())
    files = _feature_files(root, activity)
    truths = [_truth_file(each, root) for each in files]
    tables = [read_features(each) for each in files]
    labelled = [_known_labels(truth, names, file, fps)[::stride] for truth in truths]
    # With a stride the last frame may be there or not, as its extraction rounded; times are rounded too.
    loose = stride > 1 or fps is not None
    recordings = [
        (each, *_fitted(each, features, truth, labels, trim, stride, loose))
        for each, features, truth, labels in zip(
            files, _turned(tables, [len(labels) for labels in labelled]), truths, labelled, strict=True
        )
    ]
    recordings = [(each, features, [names[label] for label in labels]) for each, features, labels in recordings]
    # A mapping may list more classes: that of Breakfast has 48, of which the coffee videos show 5.
    seen = {label for _, _, labels in recordings for label in labels} | {background}
    classes = tuple(label for label in dict.fromkeys(names.values()) if label in seen)
    index = {label: k for k, label in enumerate(classes)}
    parts = _parts(root, [file for file, _, _ in recordings])
    videos = tuple(
        Video(
            name=file.stem,
            features=features,
            labels=torch.tensor([index[label] for label in labels], dtype=torch.int64),
            activity=_activity(file, root),
            part=part,
        )
        for (file, features, labels), part in zip(recordings, parts, strict=True)
    )
    return Dataset(
        name=name or root.resolve().name,
        videos=videos,
        classes=classes,
        n_actions=n_actions if n_actions is not None else len(classes) - (background is not None),
        background=None if background is None else index[background],
    )


def _activity(file: Path, root: Path) -> str:
    return "" if file.parent in (root, root / "features") else file.parent.name


def _parts(root: Path, files: Sequence[Path]) -> list[str]:
    return read_split(root, ["/".join(filter(None, (_activity(file, root), file.stem))) for file in files])


def split_files(root: Path) -> list[Path]:
    """The files of a published split, one per part."""
    return sorted(file for file in (root / "splits").glob("*.txt") if not file.name.startswith("."))


def read_split(root: Path, keys: Sequence[str]) -> list[str]:
    """The part of each recording in the split that ``<root>/splits`` lists; empty strings if there is no split.

    Args:
        root: folder of the data set.
        keys: ``[activity/]video`` of each recording.

    Raises:
        DataError: a recording is listed in two parts or in none.
    """
    parts: dict[str, str] = {}
    files = split_files(root)
    for file in files:
        for key in filter(None, read_lines(file)):
            if key in parts:
                raise DataError(f"{file} names {key}, which {parts[key]}.txt names as well; keep it in one of them")
            parts[key] = file.stem
    lost = next((key for key in keys if files and key not in parts), None)
    if lost is not None:
        raise DataError(f"no file in {root / 'splits'} names {lost}; add it to one of them, or remove all of splits/")
    return [parts.get(key, "") for key in keys]


def _unlabelled(root: Path, name: str | None, activity: str | None, n_actions: int) -> Dataset:
    files = _feature_files(root, activity)
    videos = tuple(
        Video(file.stem, features, activity=_activity(file, root), part=part)
        for file, features, part in zip(
            files, _turned([read_features(file) for file in files], None), _parts(root, files), strict=True
        )
    )
    return Dataset(name or root.resolve().name, videos, n_actions=n_actions)


def _turned(tables: list[torch.Tensor], lengths: list[int] | None) -> list[torch.Tensor]:
    """The features of all videos as (frames, channels), turned round where they can only be (channels, frames)."""
    rows, columns = ([table.shape[axis] for table in tables] for axis in (0, 1))
    if lengths is None:
        # Recordings hardly ever have as many frames; one of another width among others of one width is a mistake.
        turn = len(set(rows)) == 1 and 3 * len(set(columns)) > max(3, 2 * len(columns))
    else:
        fit = len(set(columns)) > 1 or all(map(_about, columns, lengths))
        turn = rows != lengths and len(set(rows)) == 1 and fit
    return [table.T.contiguous() for table in tables] if turn else tables


def _about(frames: int, labels: int) -> bool:
    """Whether a video's numbers of frames and labels are equal up to the rounding of another decoder."""
    return abs(frames - labels) <= 0.02 * labels


def _known_labels(truth: Path, names: Mapping[str, str], mapping: Path, fps: float | None) -> list[str]:
    labels = read_labels(truth, names, fps)
    unknown = next((label for label in labels if label not in names), None)
    if unknown is not None:
        raise DataError(f"label {unknown!r} in {truth} is not in {mapping}; add it there or correct the label")
    return labels


def _fitted(
    file: Path, features: torch.Tensor, truth: Path, labels: list[str], trim: bool, stride: int, loose: bool
) -> tuple[torch.Tensor, list[str]]:
    """Features and labels of one video, cut to one length where that is allowed."""
    n, m = len(features), len(labels)
    shorter = min(n, m)
    if n != m and not trim and not (loose and abs(n - m) <= 1):
        said = f"{truth} has {m} labels but {file.name} has {n} feature rows (difference {m - n:+d}"
        ratio = round(m / n)
        if stride == 1 and ratio > 1 and abs(m - ratio * n) < ratio:
            raise DataError(
                f"{said}); features of every {ratio}th frame? then pass stride={ratio} to load_folder (--stride "
                f"{ratio} to vasot train), or keep the labels of these frames only"
            )
        if max(n, m) > 1.1 * shorter:
            said += f", {max(n, m) / shorter:.2f} times as many: another video, or another frame rate"
        raise DataError(f"{said}); correct one of them or pass trim=True (--trim) to cut to {shorter}")
    return features[:shorter], labels[:shorter]


def _feature_files(root: Path, activity: str | None) -> list[Path]:
    folder, above = root / "features", root.resolve().parent
    if root.resolve().name == "features" and (above / "groundTruth").is_dir():
        raise DataError(f"the labels of {root} lie beside it, in groundTruth; name the folder above it, {above}")
    if not folder.exists() and activity is None and (alone := feature_files(root)):
        return _once(alone, root)
    if not folder.is_dir() and root.resolve().name == "features":
        raise DataError(f"{root} holds no feature files itself; name the folder above it, {above}")
    if not folder.is_dir():
        raise DataError(
            f"{folder} is missing; put the features of every recording there, as .npy, .npz, .txt or .csv, or into "
            f"{root} itself"
        )
    if activity is not None:
        activities = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        if activity not in activities:
            raise unknown_name("activity", activity, activities)
        folder = folder / activity
    inner = [each for each in folder.iterdir() if each.is_dir() and each.name[0] != "." and each.name != "__MACOSX"]
    files = sorted(file for each in (folder, *inner) for file in feature_files(each))
    if not files:
        raise DataError(f"{folder} holds no .npy or .txt feature files (or .npz, .csv); copy them there")
    return _once(files, folder)


def feature_files(folder: Path) -> list[Path]:
    """The feature files in a folder, but not in those within it, sorted by name."""
    # Hidden files are notes of macOS and others, such as ._video.npy, and hold no features.
    shown = [file for file in folder.iterdir() if not file.name.startswith(".")]
    return sorted(file for file in shown if file.suffix.lower() in (*ARRAYS, *TEXT) and file.is_file())


def _once(files: list[Path], root: Path) -> list[Path]:
    """The same files, none of which has the name of another."""
    stems = [file.stem for file in files]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise DataError(f"{root} holds more than one feature file named {twice!r}; keep one of them")
    return files


def _truth_file(file: Path, root: Path) -> Path:
    truth = root / "groundTruth"
    places = [truth / file.stem, truth / f"{file.stem}.txt"]
    places += [truth / file.parent.name / place.name for place in places]
    found = [place for place in dict.fromkeys(places) if place.is_file()]
    if not found:
        raise DataError(f"{places[0]} is missing; add the ground truth of {file.name} or remove that feature file")
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} are both the ground truth of {file.name}; keep one of them")
    return found[0]
