"""Labelled feature folders, the layout of the ASOT, CTE and MS-TCN family (SPEC section 8).

<path>/features/[<activity>/]<video>.npy | .txt     (N, D), one row per frame
<path>/groundTruth/[<activity>/]<video>[.txt]       one class name per line
<path>/mapping/mapping.txt                          one "id name" per line
<path>/splits/<part>.txt                            one "[<activity>/]<video>" per line, where a split is published
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

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
) -> Dataset:
    """Read a labelled feature folder, with the videos sorted by file name.

    If the folder has neither ``groundTruth/`` nor a mapping and no ``background`` is given, the videos have no labels.

    Args:
        path: folder with ``features/``, ``groundTruth/`` and the mapping.
        name: of the data set; the name of the folder by default.
        activity: read only this subfolder of ``features/``; by default all subfolders and the files beside them.
        background: name of the class that scores leave out.
        n_actions: K; by default the number of classes that occur, without the background.
        mapping: path of the mapping file within the folder; ids may be any distinct integers.
        merge: read names that share an id in the mapping as one class, as level Eval of 50 Salads needs; see
            :func:`read_merged_mapping`.
        trim: if features and labels of a video differ in length, cut both to the shorter instead of refusing it.

    Returns:
        Dataset whose ``classes`` are those that occur, and the background, in the order of the mapping file.

    Raises:
        DataError: a file is missing, empty, damaged or pickled, lengths differ, or a label is not in the mapping.
        InputError: ``activity`` or ``background`` does not exist.
    """
    root = Path(path)
    file = root / mapping
    if background is None and not file.exists() and not (root / "groundTruth").exists():
        return _unlabelled(root, name, activity, n_actions or 0)
    names = read_merged_mapping(file) if merge else {label: label for label in read_mapping(file)}
    if background is not None and background not in names.values():
        raise unknown_name("background class", background, names.values())
    recordings = [
        _read_video(features, root, names, file, trim) for features in _feature_files(root / "features", activity)
    ]
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
    return "" if file.parent == root / "features" else file.parent.name


def _parts(root: Path, files: Sequence[Path]) -> list[str]:
    return read_split(root, ["/".join(filter(None, (_activity(file, root), file.stem))) for file in files])


def read_split(root: Path, keys: Sequence[str]) -> list[str]:
    """The part of each recording in the split that ``<root>/splits`` lists; empty strings if there is no split.

    Args:
        root: folder of the data set.
        keys: ``[activity/]video`` of each recording.

    Raises:
        DataError: a recording is listed in two parts or in none.
    """
    parts: dict[str, str] = {}
    files = sorted((root / "splits").glob("*.txt"))
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
    files = _feature_files(root / "features", activity)
    videos = tuple(
        Video(file.stem, read_features(file), activity=_activity(file, root), part=part)
        for file, part in zip(files, _parts(root, files), strict=True)
    )
    return Dataset(name or root.resolve().name, videos, n_actions=n_actions)


def read_features(file: Path) -> torch.Tensor:
    """Read (N, D) float32 features from a ``.npy`` or ``.txt`` file.

    Raises:
        DataError: the file is empty, damaged, pickled, or not a table of numbers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data", which raises a DataError below
            array = np.load(file, allow_pickle=False) if file.suffix == ".npy" else np.loadtxt(file, ndmin=2)
        table = np.asarray(array, dtype=np.float32)
    except (ValueError, TypeError, EOFError, OSError) as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise DataError(
                f"{file} holds pickled objects, which are not read because they can run code; "
                "save it as a plain float array"
            ) from error
        reason = str(error).splitlines()[0]
        raise DataError(f"{file} is damaged or not a table of numbers ({reason}); copy it again") from error
    if table.size == 0:
        raise DataError(f"{file} holds no frames; copy it again or remove it together with its ground truth")
    if table.ndim != 2:
        raise DataError(f"{file} has shape {table.shape}; expected (frames, channels)")
    return torch.from_numpy(table)


def _read_video(
    file: Path, root: Path, names: Mapping[str, str], mapping: Path, trim: bool
) -> tuple[Path, torch.Tensor, list[str]]:
    truth = _truth_file(file, root)
    features, labels = read_features(file), read_lines(truth)
    if not labels:
        raise DataError(f"{truth} is empty; copy it again or remove it together with {file.name}")
    unknown = next((label for label in labels if label not in names), None)
    if unknown is not None:
        raise DataError(f"label {unknown!r} in {truth} is not in {mapping}; add it there or correct the label")
    if len(labels) != len(features):
        shorter = min(len(labels), len(features))
        if not trim:
            raise DataError(
                f"{truth} has {len(labels)} labels but {file.name} has {len(features)} feature rows "
                f"(difference {len(labels) - len(features):+d}); "
                f"correct one of them or pass trim=True to cut to {shorter}"
            )
        features, labels = features[:shorter], labels[:shorter]
    return file, features, [names[label] for label in labels]


def _feature_files(folder: Path, activity: str | None) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; expected features/, groundTruth/ and mapping/ (SPEC section 8)")
    if activity is not None:
        activities = [entry.name for entry in folder.iterdir() if entry.is_dir()]
        if activity not in activities:
            raise unknown_name("activity", activity, activities)
        folder = folder / activity
    files = sorted(file for file in (*folder.glob("*"), *folder.glob("*/*")) if file.suffix in (".npy", ".txt"))
    if not files:
        raise DataError(f"{folder} holds no .npy or .txt feature files; copy them there")
    stems = [file.stem for file in files]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise DataError(f"{folder} holds more than one feature file named {twice!r}; keep one of them")
    return files


def _truth_file(file: Path, root: Path) -> Path:
    truth = root / "groundTruth"
    places = [truth / file.stem, truth / f"{file.stem}.txt"]
    places += [truth / file.parent.name / place.name for place in places]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(f"{places[0]} is missing; add the ground truth of {file.name} or remove that feature file")
    return found


def read_mapping(file: Path) -> list[str]:
    """Class names in the order of the lines ``id name`` of a mapping file.

    Raises:
        DataError: the file is missing or empty, a line has another form, or an id or a name occurs twice.
    """
    pairs = read_id_name_lines(file)
    for number, (identity, name) in enumerate(pairs, start=1):
        before = pairs[: number - 1]
        if any(identity == other or name == named for other, named in before):
            line = f"{identity} {name}"
            raise DataError(f"{file} line {number} repeats an id or a name ({line!r}); every class needs its own")
    return [name for _, name in pairs]


def read_merged_mapping(file: Path) -> dict[str, str]:
    """Name -> class, in the order of the lines ``id name`` of a mapping file; names with the same id are one class.

    If the names of a class start with the same word and those of no other class do, the class is called by this word
    (``cut_tomato``, ``cut_cheese`` -> ``cut``); otherwise by all its names, joined by ``|``.

    Raises:
        DataError: the file is missing or empty, a line has another form, or a name occurs twice.
    """
    pairs = read_id_name_lines(file)
    groups: dict[str, list[str]] = {}
    for identity, name in pairs:
        groups.setdefault(identity, []).append(name)
    twice = next((name for _, name in pairs if [other for _, other in pairs].count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{file} gives {twice!r} more than one id; keep one of them")
    first = {name: name.split("_")[0] for _, name in pairs}
    titles = {}
    for identity, group in groups.items():
        words = {first[name] for name in group}
        shared = len(words) == 1 and not any(first[name] in words for _, name in pairs if name not in group)
        titles[identity] = group[0] if len(group) == 1 else words.pop() if shared else "|".join(group)
    return {name: titles[identity] for identity, name in pairs}


def read_id_name_lines(file: Path) -> list[tuple[str, str]]:
    """The ids and names of the lines ``id name`` of a mapping file.

    Raises:
        DataError: the file is missing or empty, or a line has another form.
    """
    if not file.is_file():
        raise DataError(f"{file} is missing; write one line 'id name' per class")
    pairs = []
    for number, line in enumerate(read_lines(file), start=1):
        parts = line.split(maxsplit=1)
        if len(parts) != 2 or not parts[0].lstrip("-").isdigit():
            raise DataError(f"{file} line {number} reads {line!r}; expected 'id name'")
        pairs.append((parts[0], parts[1]))
    if not pairs:
        raise DataError(f"{file} is empty; write one line 'id name' per class")
    return pairs


def read_lines(file: Path) -> list[str]:
    """The lines of a text file without surrounding white space and without blank lines at the end.

    Raises:
        DataError: the file is not text in UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not a text file; copy it again") from error
    return [line.strip() for line in text.rstrip().splitlines()]
