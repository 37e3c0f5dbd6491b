"""The files of labelled folders: features, labels, the mapping of classes, lists."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Container
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from vasot_lib.errors import DataError

TEXT, ARRAYS = (".txt", ".csv"), (".npy", ".npz")
SEGMENT = re.compile(r"(\d+(?:\.\d+)?)\s*[-–,;:\s]\s*(\d+(?:\.\d+)?)\s*[,;:\s]\s*(\S.*)")
MOST_FRAMES = 10**8  # of a segment
# What NumPy and zipfile raise for damaged files.
PROBLEMS = (
    *(ValueError, TypeError, EOFError, OSError, KeyError, SyntaxError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def read_features(file: Path) -> torch.Tensor:
    """Read (N, D) float32 features from a ``.npy``, ``.npz``, ``.txt`` or ``.csv`` file.

    Numbers in a text file are separated by spaces, tabs, commas or semicolons; with semicolons, commas are decimal.

    Raises:
        DataError: the file is empty, damaged, pickled, or not a table of numbers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data", which raises a DataError below
            array = _read_text_table(file) if file.suffix.lower() in TEXT else _read_array(file)
        with np.errstate(over="ignore"):  # becomes infinite, which Video refuses
            table = np.asarray(array, dtype=np.float32)
    except DataError:
        raise
    except PROBLEMS as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise DataError(
                f"{file} holds pickled objects, which are not read because they can run code; "
                "save it as a plain float array"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file} is damaged or not a table of numbers ({reason}); copy it again") from error
    if table.size == 0:
        raise DataError(f"{file} holds no frames; copy it again or remove it together with its ground truth")
    if table.ndim != 2:
        raise DataError(f"{file} has shape {table.shape}; expected (frames, channels)")
    return torch.from_numpy(np.ascontiguousarray(table))


def _read_array(file: Path) -> np.ndarray:
    """The array of a ``.npy`` file, or the only one of a ``.npz`` file."""
    loaded = np.load(file, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return _real(loaded)
    with loaded:
        names = list(loaded.files)
        if len(names) != 1:
            raise DataError(f"{file} holds {len(names)} arrays ({', '.join(names)}); keep only the features in it")
        return _real(loaded[names[0]])


def _real(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it holds {array.dtype}")
    return array


def _read_text_table(file: Path) -> np.ndarray:
    text = file.read_text(encoding="utf-8-sig")
    if ";" in text:
        text = text.replace(",", ".")
    rows = [line.strip().strip(";,") for line in text.replace(";", " ").replace(",", " ").splitlines()]
    return np.loadtxt(rows, ndmin=2)


def read_labels(file: Path, known: Container[str] = ()) -> list[str]:
    """The class name of every frame, from one name per line or from segments ``first last name`` in frames.

    Segments count from 1 and include their last frame, or count from 0 and end before the first frame of the next one;
    from 0 they include their last frame where each begins one frame after the end of the one before.
    Numbers and name are separated by a dash, comma, semicolon, colon or white space.

    Args:
        file: the text file.
        known: class names; if the first line is one of them, every line is a name, whatever it looks like.

    Raises:
        DataError: empty, not text, times in seconds, or segments that overlap or leave a gap.
    """
    lines = read_lines(file)
    if not lines:
        raise DataError(f"{file} is empty; copy it again or remove it together with its features")
    found = [SEGMENT.fullmatch(line) for line in lines]
    if lines[0] in known or found[0] is None:
        return lines
    labels: list[str] = []
    from_zero = float(found[0][1]) == 0
    # Counted from 0 with the last frame included, as 0-9, 10-14.
    pairs = [(each, following) for each, following in pairwise(found) if each and following]
    included = from_zero and bool(pairs) and all(float(b[1]) == float(a[2]) + 1 for a, b in pairs)
    for number, (line, match) in enumerate(zip(lines, found, strict=True), start=1):
        if match is None:
            raise DataError(f"{file} line {number} reads {line!r}; expected 'first-last name' as in the lines before")
        if "." in match[1] + match[2]:
            raise DataError(
                f"{file} line {number} reads {line!r}, a time interval; give its first and last frame, "
                "or one class name per line and frame"
            )
        first, last = int(match[1]) - (not from_zero), int(match[2]) + included
        if first != len(labels) or last <= first:
            raise DataError(
                f"{file} line {number} reads {line!r}; expected a segment that begins with frame "
                f"{len(labels) + (not from_zero)}, correct it by hand"
            )
        if last - first > MOST_FRAMES:
            raise DataError(f"{file} line {number} reads {line!r}, more than {MOST_FRAMES} frames; correct it by hand")
        labels += [match[3]] * (last - first)
    return labels


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
        text = file.read_text(encoding="utf-8-sig")  # Notepad writes a mark before the text
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not a text file in UTF-8; save it as such, or copy it again") from error
    return [line.strip() for line in text.rstrip().splitlines()]
