"""The results of a command on own films: one folder, in which every file names the configuration that made it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vasot_kit.films.media import content_hash, probe, stream, write_video
from vasot_kit.films.recordings import Recording
from vasot_kit.folders.files import Interval
from vasot_kit.own_films.exports import Tier, write_chapters, write_elan
from vasot_kit.runs.records import to_json, versions, write_text
from vasot_lib.errors import DataError
from vasot_lib.evaluation import segments
from vasot_lib.files import whole_file

CONFIG = "config.json"
TABLE = "segments"  # name of the table of all recordings; each also has a table of its own
HEIGHT = 360  # pixels of the pictures in a side-by-side film; less where a film has fewer
MOST_NAMED = 3  # differences, or films, in the line that refuses a folder
GAP = 4  # white pixels between the two pictures
GREY = 0xDD  # of the picture beside a frame without a partner


class Outputs:
    """A folder of results of one configuration.

    Args:
        folder: made when the first file is written; may hold what the same configuration wrote before.
        config: everything that the results depend on, as plain values.
        recordings: the films that were read; their names, contents and order are a part of the configuration.

    Attributes:
        mark: the first eight hexadecimal digits of the configuration's SHA-256; every file carries them.
        about: the configuration with the recordings and the versions of what made the results.

    Raises:
        DataError: the folder holds results of another configuration, or something else.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], recordings: Sequence[Path]):
        self.folder = folder
        # A list: films of two folders may share a name, and which one comes first matters.
        inputs = [{"name": path.name, "hash": content_hash(path)} for path in recordings]
        everything = {**config, "recordings": inputs}
        self.mark = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:8]
        self.about = {**everything, "versions": versions()}
        self._begun = False
        if self._found() not in ("", self.mark):
            raise DataError(f"{folder} holds {self._held()}; choose another folder, or remove it")

    def place(self, name: str) -> Path:
        """The path of a file to write. The configuration comes just before the first, so a failure leaves no folder."""
        if not self._begun:
            if self._found():
                print(f"replacing what {self.folder} holds of the same films and settings ({self.mark})")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / CONFIG, to_json({"config": self.mark, **self.about}))
            self._begun = True
        return self.folder / name

    def _found(self) -> str:
        """The mark of what the folder holds already; empty where it holds nothing."""
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            return ""
        try:
            return str(json.loads((self.folder / CONFIG).read_text())["config"])
        except (OSError, ValueError, KeyError, TypeError):
            return "other files"

    def _held(self) -> str:
        """What the folder holds, as far as it is not what is to be written: of which other films and settings."""
        try:
            before = _settings(json.loads((self.folder / CONFIG).read_text()))
            films = [[f"{each['name']}" for each in about["recordings"]] for about in (before, self.about)]
            hashes = [[each["hash"] for each in about["recordings"]] for about in (before, self.about)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "other files"
        now = _settings(json.loads(json.dumps(self.about)))
        if before.get("command") != now.get("command"):
            return f"results of vasot {before.get('command')}"
        found = []
        if films[0] != films[1] and sorted(hashes[0]) == sorted(hashes[1]):
            found.append("the same films in another order")
        elif films[0] != films[1]:
            found.append(f"other films ({', '.join(films[0][:MOST_NAMED])}{', ...' * (len(films[0]) > MOST_NAMED)})")
        elif hashes[0] != hashes[1]:
            pairs = zip(films[0], *hashes, strict=True)
            found.append(f"another version of {', '.join(name for name, old, new in pairs if old != new)}")
        for name in dict.fromkeys([*before, *now]):
            values = before.get(name), now.get(name)
            if values[0] != values[1] and name != "recordings":
                hashed = any(re.fullmatch("[0-9a-f]{8,}", str(value)) for value in values)
                told = ["none" if value is None else value for value in values]
                found.append(f"other {name}" if hashed else f"{name} {told[0]} (now {told[1]})")
        return f"results of {', '.join(found[:MOST_NAMED]) or 'another version'}"

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
        """Write a CSV file; its last column is the mark."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*columns, "config"])
        writer.writerows([*row, self.mark] for row in rows)
        target = self.place(name)
        write_text(target, text.getvalue())
        return target

    def figure(self, name: str, figure: Figure) -> Path:
        """Write a PNG file; the mark stands in its corner and in its metadata."""
        figure.text(0.995, 0.005, f"config {self.mark}", ha="right", va="bottom", fontsize=7, color="#777777")
        target = self.place(name)
        with whole_file(target) as beside:
            figure.savefig(beside, dpi=130, format="png", metadata={"Description": f"config {self.mark}"})
        return target

    def arrays(self, name: str, **arrays: np.ndarray) -> Path:
        """Write an NPZ file; its array ``config`` is the mark."""
        target = self.place(name)
        with whole_file(target) as beside, beside.open("wb") as file:
            np.savez_compressed(file, **{"config": np.array(self.mark), **arrays})  # type: ignore[arg-type]
        return target

    def side_by_side(self, name: str, x: Recording, y: Recording, matches: np.ndarray) -> Path:
        """Write a film that browsers play, as long as X: every frame of X beside its match in Y.

        Args:
            matches: (N,) samples of Y; -1 leaves a grey picture beside a frame.
        """
        rate = (len(x.times) - 1) / float(x.times[-1] - x.times[0])
        return write_video(self.place(name), _pairs(x, y, matches), rate, f"config {self.mark}", quick=True)

    def elan(self, name: str, tiers: Sequence[Tier]) -> Path:
        """Write an annotation file of ELAN, see :func:`vasot_kit.own_films.exports.write_elan`."""
        target = self.place(name)
        write_elan(target, self.mark, tiers)
        return target

    def chapters(self, name: str, recording: Recording, intervals: Sequence[Interval]) -> Path:
        """Write the chapters of a film, see :func:`vasot_kit.own_films.exports.write_chapters`."""
        target = self.place(name)
        write_chapters(target, self.mark, recording, intervals)
        return target

    def json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a JSON file; its ``config`` is the mark."""
        text = to_json({"config": self.mark, **content})
        target = self.place(name)
        write_text(target, re.sub(r"\[[^][{}]*]", lambda found: " ".join(found[0].split()), text))  # rows on one line
        return target


def _settings(about: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Everything that results depend on, also what lies inside of other settings, by name."""
    found: dict[str, Any] = {}
    for name, value in about.items():
        if isinstance(value, Mapping):
            found |= _settings(value, f"{within}{name}.")
        elif name != "config":
            found[f"{within}{name}"] = value
    return {name: value for name, value in found.items() if not name.startswith("versions.")}


def frame_edges(recording: Recording) -> np.ndarray:
    """(N + 1,) seconds: frame i is shown from edge i to edge i + 1; the last frame for the median duration, as far as
    the film goes."""
    last = recording.times[-1]
    end = last + np.median(np.diff(recording.times))
    return np.append(recording.times, recording.end if last < recording.end < end else end)


def segment_times(recording: Recording, labels: np.ndarray) -> Iterator[tuple[int, float, float]]:
    """The action, the start and the end in seconds of every segment; a frame lasts until the next one."""
    edges = frame_edges(recording)
    for action, start, end in zip(*(part.tolist() for part in segments(labels)), strict=True):
        yield action, float(edges[start]), float(edges[end])


def _pairs(x: Recording, y: Recording, matches: np.ndarray) -> Iterator[np.ndarray]:
    """The pictures side by side, in constant memory; Y is decoded once, and once more wherever matches go back."""
    clips = [probe(recording.path) for recording in (x, y)]
    height = min(HEIGHT, *(clip.height for clip in clips))
    left, right = ((height, max(2, round(clip.width * height / clip.height / 2) * 2)) for clip in clips)
    there = y.index[matches[matches >= 0]]
    runs = np.split(there, np.nonzero(np.diff(there) < 0)[0] + 1)
    frames = chain.from_iterable(stream(y.path, size=right, numbers=run.tolist()) for run in runs)
    grey, gap = np.full((*right, 3), GREY, np.uint8), np.full((height, GAP, 3), 255, np.uint8)
    for frame, j in zip(stream(x.path, size=left, numbers=x.index.tolist()), matches.tolist(), strict=True):
        yield np.concatenate([frame.picture, gap, grey if j < 0 else next(frames).picture], axis=1)
