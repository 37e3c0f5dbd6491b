"""The labelled steps of a film, read from ELAN, a table of intervals, or one name per frame."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import numpy as np
from pympi.Elan import Eaf

from vasot_kit.films.recordings import Recording
from vasot_kit.folders.files import Interval, read_intervals, read_labels, read_lines
from vasot_kit.own_films.outputs import frame_edges, segment_times
from vasot_lib.errors import DataError, InputError

_SIDES = ("start", "end")
NUMBER = re.compile(r"\s*\d+(?:[.,]\d+)?\s*")
NAMED = ("name", "label", "step", "action")  # headings of the column with the names
ROUNDED = 5e-3  # seconds by which an interval may begin before the last one ends
OVER = 1.0  # seconds by which the last one may end after the film


def read_steps(file: Path, recording: Recording, tier: str | None = None) -> list[Interval]:
    """The steps of a film in their order, in seconds since its first picture.

    Args:
        file: an annotation file of ELAN (``.eaf``); a table with the columns ``start``, ``end`` and ``name``, in
            seconds, or with one row per frame, ``seconds`` or ``frame``, and ``name``, as ``vasot segment`` writes
            (commas, semicolons or tabs between them; other columns are not looked at, but of several ``recording`` s
            only that of this film); lines ``start end name``, in seconds whatever the suffix and whole numbers too; or
            one name per line and frame of the film. With semicolons or tabs, commas in numbers are decimal.
        recording: the film.
        tier: of ELAN; needed where several have annotations and none is called ``actions``.

    Raises:
        DataError: none of these, such as a table with other columns, no steps, steps that overlap, lie outside the film
            or have no name, or names for another number of frames.
        InputError: no such tier, or none named where there are several.
    """
    if file.suffix.lower() == ".eaf":
        steps = _of_elan(file, recording, tier)
    elif tier is not None:
        raise InputError(f"tier is {tier!r} but {file} is no file of ELAN; leave the tier out")
    else:
        found = _of_table(file, recording)
        steps = _of_lines(file, recording) if found is None else found
    return _checked(file, recording, sorted(steps))


def _of_elan(file: Path, recording: Recording, tier: str | None) -> list[Interval]:
    try:
        document = Eaf(str(file))
        tiers = {name: document.get_annotation_data_for_tier(name) for name in document.get_tier_names()}
        linked = document.get_linked_files()
        same = [each for each in linked if Path(each.get("MEDIA_URL") or "").name == recording.path.name] or linked
        origin = float((same[0].get("TIME_ORIGIN") or 0) if same else 0) / 1000
    except Exception as error:  # pympi lets through whatever its XML parser or a missing entry raises
        raise DataError(f"{file} is no annotation file of ELAN ({error}); copy it again") from error
    filled = [name for name, found in tiers.items() if found]
    if tier is None:
        tier = "actions" if "actions" in filled else filled[0] if len(filled) == 1 else None
    if tier not in tiers:
        what = f"tier is {tier!r}" if tier else "no tier is named"
        raise InputError(f"{what} but {file} has {', '.join(filled) or 'none with annotations'}; name one with --tier")
    if any(None in each[:2] for each in tiers[tier]):
        raise DataError(f"{file} has annotations without a time in the tier {tier!r}; name a tier with times by --tier")
    # ELAN counts from the origin of the film's file, and the file from its sound, which may start before the picture.
    late = origin - recording.start
    return [Interval(start / 1000 + late, end / 1000 + late, name) for start, end, name, *_ in tiers[tier]]


def _of_table(file: Path, recording: Recording) -> list[Interval] | None:
    """The steps of a table of intervals, or of one row per frame; None where the first line names no columns."""
    lines = read_lines(file) or [""]
    between = next((each for each in ",;\t" if each in lines[0]), ",")  # spreadsheets of many languages write ;
    header, *rows = csv.reader((f"{line}\n" for line in lines), delimiter=between)  # names may go over several lines
    places = {name.strip().lower(): place for place, name in enumerate(header)}
    sides = [next((p for n, p in places.items() if n.startswith(s) and "frame" not in n), None) for s in _SIDES]
    name, films = next((places[each] for each in NAMED if each in places), None), places.get("recording")
    times = [each for each in sides if each is not None]
    by_frame = len(times) < 2
    if by_frame:
        times = [places[each] for each in ("seconds", "frame") if each in places][:1]
    if name is None or not times:
        return None
    read: list[tuple[list[float], str]] = []
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"{file} line {number} has {len(row)} values, the first line {len(header)}; correct it")
        if (films is None or row[films] == recording.name) and any(row[place].strip() for place in times):
            try:
                numbers = [float(row[place].replace(",", ".")) for place in times]
            except ValueError as error:
                raise DataError(f"{file} line {number}: {error}; give a number, as 12.5") from error
            read.append((numbers, " ".join(row[name].split())))
    if not by_frame:
        return [Interval(start, end, what) for (start, end), what in read]
    return _of_rows(sorted([(at, what) for (at,), what in read], key=itemgetter(0)), recording, "seconds" not in places)


def _of_rows(rows: Sequence[tuple[float, str]], recording: Recording, in_frames: bool) -> list[Interval]:
    """Neighbouring rows of one name are one step, which lasts until the next row; rows without a name are none."""
    if not rows:
        return []
    at = np.array([row[0] for row in rows])
    edges = frame_edges(recording)
    if in_frames:
        rate = float(np.diff(recording.index).mean() / np.diff(recording.times).mean())
        inside = np.interp(at, recording.index, recording.times)
        at = inside + (at - recording.index[-1]).clip(0) / rate
    lasts = float(np.median(np.diff(at))) if len(at) > 1 else np.inf
    until = np.append(at, min(at[-1] + lasts, max(at[-1], edges[-1]))).tolist()
    starts = [k for k, (_, what) in enumerate(rows) if k == 0 or what != rows[k - 1][1]]
    spans = ((a, b, rows[a][1]) for a, b in pairwise([*starts, len(rows)]))
    return [Interval(until[a], until[b], what) for a, b, what in spans if what]


def _of_lines(file: Path, recording: Recording) -> list[Interval]:
    intervals = read_intervals(file, whole=True)
    if intervals is not None:
        return intervals
    names = read_labels(file)
    _refuse_table(file, names)
    last = int(recording.index[-1])
    rest = int(np.diff(recording.index).max()) + 1  # frames after the last sample, about
    if not 0 < len(names) - last <= rest:
        raise DataError(
            f"{file} has {len(names)} names but {recording.path.name} has {last + 1} frames; give one name per frame, "
            "or intervals in seconds, one 'start end name' per line"
        )
    known = list(dict.fromkeys(names))
    labels = np.array([known.index(names[row]) for row in recording.index.tolist()])
    return [Interval(start, end, known[place]) for place, start, end in segment_times(recording, labels)]


def _refuse_table(file: Path, lines: Sequence[str]) -> None:
    """Refuse a table whose columns are not understood, instead of taking each of its lines for the name of a step."""
    for between in ",;\t":
        header, *rows = csv.reader(lines, delimiter=between)
        numbers = any(NUMBER.fullmatch(cell) for row in rows for cell in row)  # else names may hold a comma each
        if len(header) > 1 and numbers and all(len(row) == len(header) for row in rows):
            found = ", ".join(name.strip() for name in header)
            raise DataError(
                f"{file} has the columns {found}; expected start, end and name with times in seconds, or one row per "
                f"frame with seconds or frame, and name ({', '.join(NAMED[1:-1])} or {NAMED[-1]} count as name)"
            )
    if lines[0].lower() in NAMED and lines[0] not in lines[1:]:
        raise DataError(f"{file} line 1 reads {lines[0]!r}, the heading of a column; leave it out, one name per frame")


def _checked(file: Path, recording: Recording, steps: list[Interval]) -> list[Interval]:
    if not steps:
        raise DataError(f"{file} has no steps of {recording.path.name}; label some")
    before, length = 0.0, float(frame_edges(recording)[-1])
    for start, end, name in steps:
        if not (before - ROUNDED <= start < min(end, length) and end <= length + OVER):
            raise DataError(
                f"{file} has {name!r} from {start:g} to {end:g} s, which overlaps another step or lies outside "
                f"{recording.path.name} ({length:.2f} s); correct it, in seconds"
            )
        if not name:
            raise DataError(f"{file} has a step without a name from {start:g} to {end:g} s; name it, or remove it")
        before = end
    return steps
