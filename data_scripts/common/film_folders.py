"""Write films or pictures with one phase or class name per frame, the layout of the alignment data sets.

<path>/videos/[<activity>/]<video>.mp4 | .avi             a film
<path>/frames/[<activity>/]<video>/000001.jpg ...         or its pictures
<path>/groundTruth/<video>                                one name per line, one line per frame
<path>/mapping/mapping.txt                                one "id name" per line
<path>/splits/<part>.txt                                  one "[<activity>/]<video>" per line, where parts are published
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from data_scripts.common.script import Inventory, Options, PublishedFacts, verify
from vasot_kit.folders.saving import refuse_existing
from vasot_kit.whole_folders import whole_folder
from vasot_lib.errors import DataError

DEPTH = 4  # how many folders deep files are searched below --source


@dataclass(frozen=True)
class FilmRecording:
    """One recording to write: pictures or a film, with labels.

    Attributes:
        key: ``[activity/]video``.
        labels: a class name per frame; None for a recording without labels.
        pictures: its frames in order, as files or JPEG bytes; empty if it is a film.
        film: the file of the film; None if it is pictures.
        frames: number of frames of the film.
        part: its part of the published split, e.g. ``train``.
    """

    key: str
    labels: Sequence[str] | None = None
    pictures: Sequence[Path | bytes] = ()
    film: Path | None = None
    frames: int = 0
    part: str = ""

    def __len__(self) -> int:
        return len(self.pictures) or self.frames


@dataclass
class LengthCheck:
    """Checks that the parts of a recording have the same length; with ``trim`` they may be cut, and that is noted.

    Attributes:
        options: the options of the user.
        trimmed: key of a recording -> difference of its longest and shortest part in frames.
    """

    options: Options
    trimmed: dict[str, int] = field(default_factory=dict)

    def length(self, key: str, counts: Mapping[str, int]) -> int:
        """The length of a recording whose parts have the lengths ``counts``, e.g. ``{"frames": 46, "labels": 45}``.

        Raises:
            DataError: they differ and ``trim`` was not asked for.
        """
        shortest, longest = min(counts.values()), max(counts.values())
        if shortest == 0:
            none = next(name for name, count in counts.items() if count == 0)
            raise DataError(f"{key} has no {none}; copy it again, or remove it from the source")
        if shortest == longest:
            return shortest
        if not self.options.trim:
            listed = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise DataError(
                f"{key} has {listed} (difference {longest - shortest}); copy it again, "
                f"or pass --trim to cut to {shortest}"
            )
        self.trimmed[key] = longest - shortest
        return shortest

    def notes(self, done: str = "all were cut to the shorter") -> list[str]:
        """A note on the recordings of unequal lengths, if there were any; ``done`` says what was done with them."""
        if not self.trimmed:
            return []
        worst = max(self.trimmed, key=lambda key: self.trimmed[key])
        unequal = f"{len(self.trimmed)} recordings had unequal lengths"
        return [f"{unequal}, most of all {worst} (difference {self.trimmed[worst]}); {done}"]


def write_recordings(
    target: Path,
    recordings: Iterable[FilmRecording],
    classes: Sequence[str],
    facts: PublishedFacts,
    options: Options | None = None,
    *,
    total: int | None = None,
) -> Inventory:
    """Write the folder, one recording at a time; it appears only if the ``facts`` hold.

    Files are hard-linked if the file system allows it, and copied otherwise. A link needs no space on the disk, but a
    file that is edited in one place also changes in the other.

    Args:
        target: the folder; must not exist.
        recordings: read one after the other.
        classes: all class names in the order of their ids; empty for recordings without labels.
        facts: checked when all recordings are written, before the folder appears.
        options: the options of the user.
        total: number of recordings, for the progress bar.

    Raises:
        DataError: the target exists, a name occurs twice or leads out of the folder, a label is not a class, or an
            error of ``recordings`` or ``verify``; nothing is left behind.
    """
    refuse_existing(target)
    found, names, parts = Inventory(classes=classes or None), set[str](), dict[str, list[str]]()
    with whole_folder(target) as scratch:
        for recording in tqdm(recordings, desc=target.name, total=total, unit="video", disable=None):
            _check(recording, names, classes)
            _write(scratch, recording)
            parts.setdefault(recording.part, []).append(recording.key)
            found.add(recording.key, len(recording), recording.labels or ())
        verify(found, facts, options)
        if classes:
            _write_lines(scratch / "mapping" / "mapping.txt", [f"{k} {name}" for k, name in enumerate(classes)])
        for part in sorted(filter(None, parts)):
            _write_lines(scratch / "splits" / f"{part}.txt", parts[part])
    return found


def report_difference(line: str, found: Inventory, options: Options) -> None:
    """Raise a difference from published numbers that ``verify`` does not compare; with --partial it becomes a note.

    Args:
        line: the numbers and their source.
        found: gets the note.
        options: the options of the user.

    Raises:
        DataError: without ``--partial``.
    """
    if not options.partial:
        raise DataError(f"{line}; copy what is missing, or pass --partial to take it as it is")
    found.notes.append(line)


def _check(recording: FilmRecording, names: set[str], classes: Sequence[str]) -> None:
    key = recording.key
    for part in key.split("/"):
        if not part.strip() or part in (".", "..") or "\\" in part or not part.isprintable() or len(part) > 200:
            raise DataError(f"a recording is named {key!r}, which cannot be the name of a file; nothing was written")
    if (name := key.rpartition("/")[2]) in names:
        raise DataError(f"two recordings are named {name!r}; keep one of them")
    names.add(name)
    unknown = sorted(set(recording.labels or ()) - set(classes))
    if unknown:
        raise DataError(f"{key} has the label {unknown[0]!r}, which is none of the {len(classes)} classes; correct it")
    if recording.labels is not None and len(recording.labels) != len(recording):
        raise DataError(f"{key} has {len(recording)} frames but {len(recording.labels)} labels; copy it again")


def _write(scratch: Path, recording: FilmRecording) -> None:
    if recording.film is not None:
        _link_or_copy(recording.film, scratch / "videos" / f"{recording.key}{recording.film.suffix.lower()}")
    for number, picture in enumerate(recording.pictures, start=1):
        _link_or_copy(picture, scratch / "frames" / recording.key / f"{number:06d}.jpg")
    if recording.labels is not None:
        _write_lines(scratch / "groundTruth" / recording.key.rpartition("/")[2], recording.labels)


def _link_or_copy(source: Path | bytes, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        file.write_bytes(source)
        return
    try:
        os.link(source.resolve(), file)  # a hard link to a symbolic link would break when that is moved
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, file)


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def find_below(source: Path, name: str, holding: str = "") -> Path | None:
    """The file or folder of this name that is nearest below ``source``; None if there is none.

    Args:
        source: where to search, ``DEPTH`` folders deep.
        name: its name, or a pattern.
        holding: pattern of a file or folder that it must hold.
    """
    for depth in range(DEPTH):
        for place in sorted(source.glob("*/" * depth + name)):
            if not holding or next(place.glob(holding), None) is not None:
                return place
    return None


def numbered_pictures(folder: Path, first: int) -> list[Path]:
    """The numbered ``.jpg`` files of a folder, in order.

    Args:
        folder: the folder of one recording.
        first: the number of the first picture.

    Raises:
        DataError: there are no pictures, one is missing in between, or one is empty.
    """
    files = sorted((file for file in folder.glob("*.jpg") if file.stem.isdecimal()), key=lambda file: int(file.stem))
    if not files:
        raise DataError(f"{folder} holds no .jpg files; copy it again")
    for number, file in enumerate(files, start=first):
        if int(file.stem) != number:
            raise DataError(f"{folder} has no frame {number} but a frame {file.stem}; copy it again")
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty; copy it again")
    return files


def count_frames(film: Path) -> int:
    """The number of frames of a film, by counting its packets without decoding them.

    Raises:
        DataError: not a film, damaged, or without pictures.
    """
    import av

    try:
        with av.open(str(film)) as container:
            stream = container.streams.video[0]
            count = sum(1 for packet in container.demux(stream) if packet.size)
    except (av.FFmpegError, IndexError, OSError) as error:
        raise DataError(f"{film} is damaged or not a film ({str(error).splitlines()[0]}); copy it again") from error
    if not count:
        raise DataError(f"{film} holds no frames; copy it again")
    return count
