"""Files that other tools read: annotations of ELAN, and chapters of players (WebVTT)."""

from __future__ import annotations

import html
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pympi.Elan import Eaf

from vasot_kit.films.media import VIDEO_SUFFIXES
from vasot_kit.films.recordings import Recording
from vasot_kit.folders.files import Interval
from vasot_kit.runs.records import write_text
from vasot_lib.files import whole_file


class Tier(NamedTuple):
    """Intervals of a film.

    Attributes:
        name: what they are.
        recording: the film.
        origin: seconds of the film's file that lie at 0 of the document's time, at least 0.
        intervals: in seconds since the first picture, in any order; of those that overlap the later one begins where
            the earlier one ends.
    """

    name: str
    recording: Recording
    origin: float
    intervals: Sequence[Interval]


def write_elan(target: Path, mark: str, tiers: Sequence[Tier]) -> None:
    """Write an annotation file of ELAN that plays every film from its origin, where it lies; times are in milliseconds.

    ELAN counts from the beginning of a file, which is that of the sound where the picture starts later. It cannot
    play folders of pictures, which are not linked, nor show what lies before an origin, which is left out.
    """
    document = Eaf(author=f"vasot, config {mark}")
    document.add_property("config", mark)
    for tier, recording, origin, intervals in tiers:
        name = _plain(tier)
        path = recording.path.parent.resolve() / recording.path.name
        if not path.is_dir():
            kind, begin = VIDEO_SUFFIXES.get(path.suffix.lower(), "video/mp4"), round(1000 * origin) or None
            place = f"file://{'' if path.as_posix().startswith('/') else '/'}{path.as_posix()}"  # ELAN escapes nothing
            document.add_linked_file(place, _relative(path, target), mimetype=kind, time_origin=begin)
        document.add_tier(name)
        before = 0
        for start, end, words in sorted(intervals):
            first, last = (round(1000 * (recording.start + at - origin)) for at in (start, end))
            if max(first, before) < last:
                document.add_annotation(name, max(first, before), last, _plain(words))
                before = last
    document.remove_tier("default")
    with whole_file(target) as beside:
        document.to_file(str(beside))


def _relative(film: Path, target: Path) -> str | None:
    """The place of a film from the folder of a file, as ELAN writes it; None on another drive of Windows."""
    try:
        place = Path(os.path.relpath(film, target.parent.resolve())).as_posix()
    except ValueError:
        return None
    return place if place.startswith("../") else f"./{place}"


def write_chapters(target: Path, mark: str, recording: Recording, intervals: Sequence[Interval]) -> None:
    """Write the chapters of a film as WebVTT, in the time of its file."""
    cues = [
        f"{_stamp(recording.start + start)} --> {_stamp(recording.start + end)}\n{html.escape(name, quote=False)}\n"
        for start, end, name in sorted((start, end, _plain(name)) for start, end, name in intervals)
    ]
    write_text(target, "\n".join([f"WEBVTT\n\nNOTE config {mark}\n", *cues]))


def _plain(name: str) -> str:
    """A name on one line, without control characters, which no such file may hold."""
    return " ".join("".join(" " if unicodedata.category(mark) == "Cc" else mark for mark in name).split())


def _stamp(seconds: float) -> str:
    """``HH:MM:SS.mmm``"""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
