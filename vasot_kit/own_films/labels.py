"""The labelled steps of a film, read from ELAN, a table of intervals, or one name per frame."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from pympi.Elan import Eaf

from vasot_kit.films.recordings import Recording
from vasot_kit.folders.files import Interval, read_intervals, read_labels, read_lines
from vasot_kit.own_films.outputs import frame_edges, segment_times
from vasot_lib.errors import DataError, InputError

NAMED = ("name", "label", "step", "action")  # headings of the column with the names
ROUNDED = 5e-3  # seconds by which an interval may begin before the last one ends
OVER = 1.0  # seconds by which the last one may end after the film


def read_steps(file: Path, recording: Recording, tier: str | None = None) -> list[Interval]:
    """The steps of a film in their order, in seconds since its first picture.

    Args:
        file: an annotation file of ELAN (``.eaf``); a table with the columns ``start``, ``end`` and ``name`` (``.csv``,
            in seconds, with commas, semicolons or tabs between them; other columns are not looked at, but of several
            ``recording`` s only that of this film); lines ``start end name`` in seconds; or one name per line and frame
            of the film.
        recording: the film.
        tier: of ELAN; needed where several have annotations and none is called ``actions``.

    Raises:
        DataError: none of these, no steps, steps that overlap, lie outside the film or have no name, or names for
            another number of frames.
        InputError: no such tier, or none named where there are several.
    """
    if file.suffix.lower() == ".eaf":
        steps = _of_elan(file, recording, tier)
    elif tier is not None:
        raise InputError(f"tier is {tier!r} but {file} is no file of ELAN; leave the tier out")
    else:
        steps = _of_table(file, recording) or _of_lines(file, recording)
    return _checked(file, recording, sorted(steps))


def _of_elan(file: Path, recording: Recording, tier: str | None) -> list[Interval]:
    try:
        document = Eaf(str(file))
        tiers = {name: document.get_annotation_data_for_tier(name) for name in document.get_tier_names()}
        linked = document.get_linked_files()
    except Exception as error:  # pympi lets through whatever its XML parser or a missing entry raises
        raise DataError(f"{file} is no annotation file of ELAN ({error}); copy it again") from error
    filled = [name for name, found in tiers.items() if found]
    if tier is None:
        tier = "actions" if "actions" in filled else filled[0] if len(filled) == 1 else None
    if tier not in tiers:
        what = f"tier is {tier!r}" if tier else "no tier is named"
        raise InputError(f"{what} but {file} has {', '.join(filled) or 'none with annotations'}; name one with --tier")
    same = [each for each in linked if Path(each["MEDIA_URL"]).name == recording.path.name] or linked
    # ELAN counts from the origin of the film's file, and the file from its sound, which may start before the picture.
    late = float((same[0].get("TIME_ORIGIN") or 0) if same else 0) / 1000 - recording.start
    return [Interval(start / 1000 + late, end / 1000 + late, name) for start, end, name, *_ in tiers[tier]]


def _of_table(file: Path, recording: Recording) -> list[Interval]:
    """Nothing where the first line names no columns of intervals."""
    lines = read_lines(file) or [""]
    between = next((each for each in ",;\t" if each in lines[0]), ",")  # spreadsheets of many languages write ;
    header, *rows = csv.reader(lines, delimiter=between)
    places = {name.strip().lower(): place for place, name in enumerate(header)}
    start, end = (next((p for n, p in places.items() if n.startswith(side)), None) for side in ("start", "end"))
    name = next((places[each] for each in NAMED if each in places), None)
    if start is None or end is None or name is None:
        return []
    films = places.get("recording")
    steps = []
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"{file} line {number} has {len(row)} values, the first line {len(header)}; correct it")
        if films is None or row[films] == recording.name:
            try:
                steps.append(Interval(float(row[start]), float(row[end]), row[name].strip()))
            except ValueError as error:
                raise DataError(f"{file} line {number}: {error}; give seconds, as 12.5") from error
    return steps


def _of_lines(file: Path, recording: Recording) -> list[Interval]:
    intervals = read_intervals(file, whole=file.suffix.lower() == ".csv")
    if intervals is not None:
        return intervals
    names = read_labels(file)
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


def _checked(file: Path, recording: Recording, steps: list[Interval]) -> list[Interval]:
    if not steps:
        raise DataError(f"{file} has no steps of {recording.path.name}; label some")
    before, length = 0.0, float(frame_edges(recording)[-1])
    for start, end, name in steps:
        if not (before - ROUNDED <= start < min(end, length) and end <= length + OVER):
            raise DataError(
                f"{file} has {name!r} from {start:g} to {end:g} s, which overlaps another step or lies outside "
                f"{recording.path.name} ({length:.2f} s); correct it"
            )
        if not name:
            raise DataError(f"{file} has a step without a name from {start:g} to {end:g} s; name it, or remove it")
        before = end
    return steps
