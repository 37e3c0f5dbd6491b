"""The files of labelled folders: features, labels, the mapping of classes, lists."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Container, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vasot_lib.errors import DataError

TEXT, ARRAYS = (".txt", ".csv"), (".npy", ".npz")
SEGMENT = re.compile(r"(\d+(?:\.\d+)?)\s*[-–,;:\s]\s*(\d+(?:\.\d+)?)\s*[,;:\s]\s*(\S.*)")
TIMES = re.compile(r"\d+(?:,\d+)?\s*[;\t]\s*\d+(?:,\d+)?\s*[;\t]")  # with decimal commas, as spreadsheets write
BETWEEN = re.compile(r"[ \t]*[,;][ \t]*| *\t *| +")  # two numbers of a table
NEIGHBOURS = [one + other for one in ",;\t" for other in ",;\t"]  # between which a number may be missing
WITH_COMMA = re.compile(r"(?i)[-+]?(?:\d+(?:,\d+)?(?:e[-+]?\d+)?|nan|inf)")
MOST_FRAMES = 10**8  # of a segment
ROUNDED = 1e-3  # seconds to which the times in files of labels are given
# What NumPy and zipfile raise for damaged files.
PROBLEMS = (
    *(ValueError, TypeError, EOFError, OSError, KeyError, SyntaxError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def read_features(file: Path) -> torch.Tensor:
    """Read (N, D) float32 features from a ``.npy``, ``.npz``, ``.txt`` or ``.csv`` file.

    Numbers in a text file are separated by spaces, tabs, commas or semicolons. Commas are decimal with semicolons, and
    where each number has at most one and white space separates the numbers.

    Raises:
        DataError: the file is empty, damaged, pickled, or not a table of numbers in which each line has all of them.
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
        raise DataError(
            f"{file} is damaged or not a table of numbers ({reason}); copy it again, or move it away "
            "if it is no recording"
        ) from error
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
    # Empty lines and columns at the end come from spreadsheets.
    lines = [line.rstrip(" \t,;") or line.strip() for line in text.rstrip(" \t\r\n,;").splitlines()]
    if ";" in text or ("," in text and all(map(_has_decimal_commas, filter(None, lines)))):
        lines = [line.replace(",", ".") for line in lines]
    if all(line.startswith("\t") for line in lines if line):
        lines = [line.lstrip() for line in lines]  # all are indented
    for number, line in enumerate(lines, start=1):
        close = line.replace(" ", "")
        if close[:1] not in (",", ";", "\t") and not any(pair in close for pair in NEIGHBOURS):
            continue
        if "" in (cells := BETWEEN.split(line.strip(" "))) and close[:1] != "#":
            raise DataError(
                f"{file} line {number} has no number in column {cells.index('') + 1}; fill it in, or remove the line "
                "or the column"
            )
    rows = [line.replace(";", " ").replace(",", " ") for line in lines]
    try:
        return np.loadtxt(rows, ndmin=2)
    except ValueError:
        first, *others = filter(None, lines)
        if others and not _are_numbers(first) and _are_numbers(others[0]):
            raise DataError(
                f"{file} begins with {first[:60]!r}, which is no row of numbers; remove this header"
            ) from None
        raise


def _has_decimal_commas(line: str) -> bool:
    cells = line.split()
    return len(cells) > 1 and all(map(WITH_COMMA.fullmatch, cells))


def _are_numbers(line: str) -> bool:
    try:
        return bool([float(cell) for cell in BETWEEN.split(line.strip())])
    except ValueError:
        return False


class Interval(NamedTuple):
    """A piece of a recording, from a time until before another one, in seconds, and the name of its class."""

    start: float
    end: float
    name: str


def read_labels(file: Path, known: Container[str] = (), fps: float | None = None) -> list[str]:
    """The class name of every frame, from one name per line or from segments ``first last name``.

    Segments in frames count from 1 and include their last frame, or count from 0 and end before the first frame of the
    next one; from 0 they include their last frame where each begins one frame after the end of the one before.
    Numbers and name are separated by a dash, comma, semicolon, colon or white space; with semicolons or tabs, commas in
    numbers are decimal.

    Args:
        file: the text file.
        known: class names; if the first line is one of them, every line is a name, whatever it looks like.
        fps: frames per second; with it segments are times in seconds.

    Raises:
        DataError: empty, not text, times in seconds without ``fps``, or segments that overlap or leave a gap.
    """
    lines = read_lines(file)
    if not lines:
        raise DataError(f"{file} is empty; copy it again or remove it together with its features")
    intervals = read_intervals(file, known, whole=fps is not None)
    if intervals is not None:
        if fps is None:
            number, line = next((n, line) for n, line in enumerate(lines, start=1) if _is_timed(line))
            raise DataError(
                f"{file} line {number} reads {line!r}, a time interval; give its first and last frame, one class name "
                "per line and frame, or the frames per second: load_folder(fps=...), --fps of vasot train"
            )
        frames = (intervals[-1].end - ROUNDED) * fps
        if frames > MOST_FRAMES:
            raise DataError(
                f"{file} ends at {intervals[-1].end:g} s, more than {MOST_FRAMES} frames; correct it by hand"
            )
        return names_at(file, intervals, np.arange(np.ceil(frames)) / fps)
    found = _segments(file, lines, known)
    if not found:
        return lines
    labels: list[str] = []
    from_zero = float(found[0][1]) == 0
    # Counted from 0 with the last frame included, as 0-9, 10-14.
    included = from_zero and len(found) > 1 and all(int(b[1]) == int(a[2]) + 1 for a, b in pairwise(found))
    for number, (line, match) in enumerate(zip(lines, found, strict=True), start=1):
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


def read_intervals(file: Path, known: Container[str] = (), whole: bool = False) -> list[Interval] | None:
    """The lines ``start end name`` of a file whose segments are times in seconds, as a number with a point tells.

    Args:
        file: the text file.
        known: as in :func:`read_labels`.
        whole: whole numbers are seconds too.

    Returns:
        None where the file has something else.

    Raises:
        DataError: empty, not text, an interval that ends before it begins, or one that begins before the last one ends.
    """
    lines = read_lines(file)
    found = _segments(file, lines, known)
    if not found or not (whole or any(map(_is_timed, lines))):
        return None
    intervals: list[Interval] = []
    for number, (line, match) in enumerate(zip(lines, found, strict=True), start=1):
        start, end = float(match[1]), float(match[2])
        least = intervals[-1].end if intervals else 0.0
        if start < least - ROUNDED or end <= start:
            raise DataError(
                f"{file} line {number} reads {line!r}; expected an interval that begins at {least:g} s or later and "
                "ends after it begins, correct it by hand"
            )
        intervals.append(Interval(start, end, match[3]))
    return intervals


def names_at(file: Path, intervals: Sequence[Interval], times: np.ndarray) -> list[str]:
    """The names of (N,) times in seconds that lie before the end of the last interval.

    Raises:
        DataError: one of them lies in none.
    """
    starts, ends = (np.array([getattr(each, side) for each in intervals]) for side in ("start", "end"))
    times = times[times < ends[-1] - ROUNDED] + ROUNDED
    place = np.searchsorted(starts, times, side="right") - 1
    lost = (place < 0) | (times >= ends[place])
    if lost.any():
        at = times[lost.argmax()] - ROUNDED
        raise DataError(
            f"{file} has no interval at {at:.3f} s; add one, with the name of the background if nothing happens"
        )
    return [intervals[k].name for k in place]


def _segments(file: Path, lines: Sequence[str], known: Container[str]) -> list[re.Match[str]]:
    """The parts of all lines; none where the first line is a name."""
    found = [_segment(line) for line in lines]
    if not lines or lines[0] in known or found[0] is None:
        return []
    for number, (line, match) in enumerate(zip(lines, found, strict=True), start=1):
        if match is None:
            raise DataError(f"{file} line {number} reads {line!r}; expected 'first-last name' as in the lines before")
    return [match for match in found if match]


def _segment(line: str) -> re.Match[str] | None:
    if times := TIMES.match(line):
        line = times[0].replace(",", ".") + line[times.end() :]
    return SEGMENT.fullmatch(line)


def _is_timed(line: str) -> bool:
    match = _segment(line)
    return match is not None and "." in match[1] + match[2]


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
