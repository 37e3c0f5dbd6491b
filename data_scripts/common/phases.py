"""Recordings as pixels with one phase or class name per frame, as the scripts of the alignment data sets write them.

<path>/videos/[<activity>/]<video>.mp4 | .avi             a film
<path>/frames/[<activity>/]<video>/000001.jpg ...         or its pictures
<path>/groundTruth/<video>                                one name per line, one line per frame
<path>/mapping/mapping.txt                                one "id name" per line
<path>/splits/<part>.txt                                  one "[<activity>/]<video>" per line, where parts are published
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from data_scripts.common.script import Facts, Found, Options, verify
from vasot_lib.data.folder import refuse_existing
from vasot_lib.errors import DataError

DEPTH = 4  # folders below --source in which files are looked for


@dataclass(frozen=True)
class Recording:
    """What is written of one recording.

    Attributes:
        key: ``[activity/]video``.
        labels: a name per frame; None where nothing is labelled.
        pictures: its frames in order, files or JPEG bytes.
        film: or its film, and
        frames: the number of frames of the film.
        part: of the published split, e.g. ``train``.
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
class Cuts:
    """Refuses recordings of unequal lengths, or cuts them and remembers it.

    Attributes:
        options: of the user; ``trim`` cuts.
        cut: key -> difference of the longest and the shortest.
    """

    options: Options
    cut: dict[str, int] = field(default_factory=dict)

    def length(self, key: str, counts: Mapping[str, int]) -> int:
        """The common length of what ``counts`` names, e.g. ``{"frames": 46, "labels": 45}``.

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
        self.cut[key] = longest - shortest
        return shortest

    def notes(self, done: str = "all were cut to the shorter") -> list[str]:
        """One line, or none if nothing was cut; ``done`` says what became of the rest."""
        if not self.cut:
            return []
        worst = max(self.cut, key=lambda key: self.cut[key])
        unequal = f"{len(self.cut)} recordings had unequal lengths"
        return [f"{unequal}, most of all {worst} (difference {self.cut[worst]}); {done}"]


def write_recordings(
    target: Path,
    recordings: Iterable[Recording],
    classes: Sequence[str],
    facts: Facts,
    options: Options | None = None,
    *,
    total: int | None = None,
) -> Found:
    """Write the layout, one recording at a time; it appears only if ``facts`` hold.

    Files are linked where the file system can (hard links: gigabytes are not doubled, and the same file must not be
    edited in one of the places), copied otherwise.

    Args:
        target: the folder; must not exist.
        recordings: one after the other.
        classes: all names in the order of their ids; empty where nothing is labelled.
        facts: checked when all are written, before the folder appears.
        options: of the user.
        total: number of recordings, for the progress bar.

    Raises:
        DataError: the target exists, a name occurs twice or leads out of the folder, a label is not a class, or what
            ``recordings`` or ``verify`` raise; nothing is left behind.
    """
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    found, names, parts = Found(classes=classes or None), set[str](), dict[str, list[str]]()
    try:
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
        scratch.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def differs(line: str, found: Found, options: Options) -> None:
    """A difference from what is published that ``verify`` does not know of.

    Args:
        line: the numbers and their source.
        found: gets it as a note with ``--partial``.
        options: of the user.

    Raises:
        DataError: without ``--partial``.
    """
    if not options.partial:
        raise DataError(f"{line}; copy what is missing, or pass --partial to take it as it is")
    found.notes.append(line)


def _check(recording: Recording, names: set[str], classes: Sequence[str]) -> None:
    key, name = recording.key, recording.key.rpartition("/")[2]
    for part in key.split("/"):
        if not part.strip() or part in (".", "..") or "\\" in part or not part.isprintable() or len(part) > 200:
            raise DataError(f"a recording is named {key!r}, which cannot be the name of a file; nothing was written")
    if name in names:
        raise DataError(f"two recordings are named {name!r}; keep one of them")
    names.add(name)
    unknown = sorted(set(recording.labels or ()) - set(classes))
    if unknown:
        raise DataError(f"{key} has the label {unknown[0]!r}, which is none of the {len(classes)} classes; correct it")
    if recording.labels is not None and len(recording.labels) != len(recording):
        raise DataError(f"{key} has {len(recording)} frames but {len(recording.labels)} labels; copy it again")


def _write(scratch: Path, recording: Recording) -> None:
    if recording.film is not None:
        _place(recording.film, scratch / "videos" / f"{recording.key}{recording.film.suffix.lower()}")
    for number, picture in enumerate(recording.pictures, start=1):
        _place(picture, scratch / "frames" / recording.key / f"{number:06d}.jpg")
    if recording.labels is not None:
        _write_lines(scratch / "groundTruth" / recording.key.rpartition("/")[2], recording.labels)


def _place(source: Path | bytes, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        file.write_bytes(source)
        return
    try:
        os.link(source.resolve(), file)  # a link to a symbolic link would break when that is moved
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, file)


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def find(source: Path, name: str, holding: str = "") -> Path | None:
    """The file or folder of this name nearest below ``source``.

    Args:
        source: where to look, ``DEPTH`` folders deep.
        name: its name; may be a pattern.
        holding: pattern of something that it must hold.
    """
    for depth in range(DEPTH):
        for place in sorted(source.glob("*/" * depth + name)):
            if not holding or next(place.glob(holding), None) is not None:
                return place
    return None


def pictures(folder: Path, first: int) -> list[Path]:
    """The numbered ``.jpg`` files of a folder, in order.

    Args:
        folder: of one recording.
        first: the number that the first one has.

    Raises:
        DataError: none, one is missing in between, or one is empty.
    """
    files = sorted((file for file in folder.glob("*.jpg") if file.stem.isdigit()), key=lambda file: int(file.stem))
    if not files:
        raise DataError(f"{folder} holds no .jpg files; copy it again")
    for number, file in enumerate(files, start=first):
        if int(file.stem) != number:
            raise DataError(f"{folder} has no frame {number} but a frame {file.stem}; copy it again")
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty; copy it again")
    return files


def count_frames(film: Path) -> int:
    """Frames of a film; its packets are counted, none is decoded.

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
