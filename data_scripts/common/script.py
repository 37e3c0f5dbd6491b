"""What the scripts in data_scripts/ share: bring a data set, check it against what is published, write it, say so.

A script is a :class:`Script` and ``convert(source, target, options) -> Found``; :func:`run` is its ``main``.
Files are fetched and unpacked by :mod:`data_scripts.common.download`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_scripts.common.download import download, download_folder, is_archive, unpack
from vasot_kit.datasets.registry import data_root
from vasot_lib.data.folder import refuse_existing, save_folder
from vasot_lib.data.mocap6 import cache_folder
from vasot_lib.errors import DataError, VasotError

__all__ = [
    "Facts", "Found", "Options", "Recording", "Script", "download", "download_folder", "opened", "report", "run",
    "unpack", "verify", "write_folder",
]  # fmt: skip

Recording = tuple[str, np.ndarray, list[str]]  # "[activity/]video", features (N, D), N class names
NAMED = 5  # differences that a message names
NOTES = 12  # lines after the summary


@dataclass(frozen=True)
class Facts:
    """What is published about a data set. What has no source is left None and not checked.

    Attributes:
        sources: name of a field below -> where its number stands.
        videos, frames: of the whole data set.
        classes: names in the mapping, background included.
        dim: channels of a feature row.
        activities: activity -> its number of videos, or None where that is not published.
        classes_of: activity -> the most classes that its videos may show, ``background`` aside.
        lengths: ``[activity/]video`` -> frames, where they are published.
        background: names of classes that ``classes_of`` does not count.
    """

    sources: Mapping[str, str] = field(default_factory=dict)
    videos: int | None = None
    frames: int | None = None
    classes: int | None = None
    dim: int | None = None
    activities: Mapping[str, int | None] = field(default_factory=dict)
    classes_of: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    background: tuple[str, ...] = ()


@dataclass
class Found:
    """What a script has found or written so far.

    Attributes:
        lengths: ``[activity/]video`` -> frames, or None before the recording was read.
        classes: names in the mapping; None before they are known.
        dim: channels of a feature row; None where there are none, or none was read yet.
        seen: activity -> classes that its videos show.
        notes: what a user should know about this import, one line each.
    """

    lengths: dict[str, int | None] = field(default_factory=dict)
    classes: Sequence[str] | None = None
    dim: int | None = None
    seen: dict[str, set[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int | None:
        """Frames over all videos; None while any is unknown."""
        known = [length for length in self.lengths.values() if length is not None]
        return sum(known) if known and len(known) == len(self.lengths) else None

    @property
    def activities(self) -> dict[str, int]:
        """Activity -> number of videos; empty where there are no activities."""
        return dict(Counter(key.rpartition("/")[0] for key in sorted(self.lengths) if "/" in key))

    def add(self, key: str, frames: int, labels: Iterable[str] = (), dim: int | None = None) -> None:
        """Count one recording.

        Raises:
            DataError: its feature rows are wider or narrower than those before.
        """
        if self.dim is not None and dim != self.dim:
            raise DataError(f"{key} has {dim} channels but the videos before it have {self.dim}; take one kind only")
        self.dim = dim
        self.lengths[key] = frames
        self.seen.setdefault(key.rpartition("/")[0], set()).update(labels)

    def summary(self) -> str:
        """Videos, frames, classes, channels, activities."""
        parts = [f"{len(self.lengths)} recordings"]
        parts += [f"{self.frames} frames"] if self.frames is not None else []
        parts += [f"{len(self.classes)} classes"] if self.classes is not None else []
        parts += [f"{self.dim} channels"] if self.dim is not None else []
        named = ", ".join(f"{name} ({count})" for name, count in self.activities.items())
        return ", ".join(parts) + (f"; activities: {named}" if named else "")


@dataclass(frozen=True)
class Options:
    """What the user asked for: ``trim`` cuts to the shorter, ``partial`` takes a part or another version."""

    trim: bool = False
    partial: bool = False


def verify(found: Found, facts: Facts, options: Options | None = None) -> None:
    """Compare what was found with what is published; what either side does not know yet is passed over.

    Call it as soon as the files are listed, and again when they are read.

    Raises:
        DataError: they differ; names every number, its source and the remedy. With ``options.partial`` the
            differences become notes of ``found``.
    """
    differences = [*_counts(found, facts), *_per_activity(found, facts), *_lengths(found, facts)]
    if not differences:
        return
    if options is not None and options.partial:
        found.notes += [line for line in differences if line not in found.notes]
        return
    raise DataError("; ".join(differences) + "; copy what is missing, or pass --partial to take it as it is")


def _counts(found: Found, facts: Facts) -> Iterator[str]:
    have = {
        "videos": len(found.lengths),
        "frames": found.frames,
        "classes": None if found.classes is None else len(set(found.classes)),
        "dim": found.dim,
    }
    for name, value in have.items():
        expected = getattr(facts, name)
        if None not in (value, expected) and value != expected:
            what = "channels" if name == "dim" else name
            yield f"found {value} {what}, expected {expected} ({facts.sources.get(name, 'no source')})"


def _per_activity(found: Found, facts: Facts) -> Iterator[str]:
    source = facts.sources.get("activities", "no source")
    if facts.activities:
        missing = sorted(set(facts.activities) - set(found.activities))
        unknown = sorted(set(found.activities) - set(facts.activities))
        for what, names in (("no videos of", missing), ("the unknown activities", unknown)):
            if names:
                yield f"found {what} {', '.join(names)} ({source})"
    for name, count in found.activities.items():
        expected = facts.activities.get(name)
        if expected is not None and count != expected:
            yield f"found {count} videos of {name}, expected {expected} ({source})"
    for name, limit in facts.classes_of.items():
        shown = sorted(found.seen.get(name, set()) - set(facts.background))
        if len(shown) > limit:
            source = facts.sources.get("classes_of", "no source")
            yield f"{name} shows {len(shown)} classes, expected at most {limit} ({source}): {', '.join(shown)}"


def _lengths(found: Found, facts: Facts) -> Iterator[str]:
    source = facts.sources.get("lengths", "no source")
    wrong = []
    for key, expected in facts.lengths.items():
        if key not in found.lengths:
            wrong.append(f"{key} is missing")
        elif found.lengths[key] not in (None, expected):
            wrong.append(f"{key} has {found.lengths[key]} frames, expected {expected}")
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        yield f"{', '.join(wrong[:NAMED])}{more} ({source})"


def write_folder(
    target: Path,
    recordings: Iterable[Recording],
    classes: Sequence[str],
    facts: Facts,
    options: Options | None = None,
    *,
    extra: Mapping[str, str] | None = None,
    total: int | None = None,
) -> Found:
    """Write a labelled feature folder one video at a time, with a progress bar; it appears only if ``facts`` hold.

    Args:
        target: the folder; must not exist.
        recordings: one after the other; never more than one is held in memory.
        classes: names in the order of their ids.
        facts: checked when all are written, before the folder appears.
        options: of the user.
        extra: more files of the folder, path -> text.
        total: number of recordings, for the bar.

    Raises:
        DataError: the target exists, or what ``recordings`` or :func:`verify` raise; nothing is left behind.
    """
    found = Found(classes=classes)

    def counted() -> Iterator[tuple[str, tuple[np.ndarray, list[str]]]]:
        bar = tqdm(recordings, desc=target.name, total=total, unit="video", leave=False, disable=None)
        for key, features, labels in bar:
            found.add(key, len(labels), labels, int(features.shape[1]))
            yield key, (features, labels)
        verify(found, facts, options)

    save_folder(target, counted(), classes, extra)
    return found


@dataclass(frozen=True)
class Script:
    """What a script of data_scripts/ is.

    Attributes:
        name: of the script, and of the folder below the data root that it writes.
        about: its docstring, shown by --help.
        convert: reads the source, writes the target, says what it wrote.
        next_step: where the data is, what to download; the command that follows is added.
        fetch: downloads into the folder that it is given what ``convert`` takes as source; None without a public link.
        trims: whether --trim means something.
        counts: whether --partial means something.
    """

    name: str
    about: str
    convert: Callable[[Path, Path, Options], Found]
    next_step: str
    fetch: Callable[[Path], None] | None = None
    trims: bool = False
    counts: bool = True

    @property
    def command(self) -> str:
        """The command that imports what the user has."""
        return f"python data_scripts/{self.name}.py --source FOLDER"


def run(script: Script, argv: list[str] | None = None) -> int:
    """The ``main`` of a script.

    Returns:
        0 with a summary if the data set was written; 1 with one line if what is there cannot be used; 2 with the next
        step where the user has to get the data: no source and no public link, or the link gave nothing.
    """
    parser = argparse.ArgumentParser(description=script.about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="what was downloaded, unpacked or not")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="data root (default: VASOT_DATA, or data)")
    if script.trims:
        parser.add_argument("--trim", action="store_true", help="cut labels and features to the shorter of the two")
    if script.counts:
        parser.add_argument("--partial", action="store_true", help="take a part of the data set, or another version")
    given = vars(parser.parse_args(argv))
    options = Options(trim=given.get("trim", False), partial=given.get("partial", False))
    target, source = data_root(given["root"]) / script.name, given["source"]
    next_step = f"{script.next_step}, then: {script.command}"
    if source is None and script.fetch is None:
        print(next_step, file=sys.stderr)
        return 2

    def write() -> str:
        refuse_existing(target)
        folder = source
        if folder is None and script.fetch is not None:
            folder = cache_folder() / "downloads" / script.name
            try:
                script.fetch(folder)
            except VasotError as error:
                raise _Unfetched(str(error)) from error
        with opened(folder) as unpacked:
            found = script.convert(unpacked, target, options)
        notes = [f"note: {line}" for line in found.notes[:NOTES]]
        notes += [f"note: and {len(found.notes) - NOTES} more"] if len(found.notes) > NOTES else []
        return "\n".join([f"{target}: {found.summary()}", *notes])

    try:
        return report(write)
    except _Unfetched as error:
        print(f"error: {error}\n{next_step}", file=sys.stderr)
        return 2


class _Unfetched(Exception):
    """The download failed."""


def report(action: Callable[[], str]) -> int:
    """Do it; 0 and what it returns is printed, or 1 and one line on stderr."""
    try:
        print(action())
    except (VasotError, OSError) as error:  # a full disk, a folder that may not be written
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the same command begins again, or goes on with a download", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def opened(source: Path) -> Iterator[Path]:
    """A folder with the unpacked files: the source itself, or a scratch copy where it holds only archives.

    Args:
        source: an archive, or a folder. Archives in a folder that also holds folders are left alone.

    Raises:
        DataError: there is no such folder, or what ``unpack`` raises.
    """
    if not source.exists():
        raise DataError(f"--source {source} does not exist; give the folder that holds what was downloaded")
    # Names with a dot in front are leftovers of a run that was killed.
    files = [source] if source.is_file() else sorted(source.glob("[!.]*"))
    archives = [] if any(file.is_dir() for file in files) else [file for file in files if is_archive(file)]
    if source.is_file() and not archives:
        raise DataError(f"--source {source} is no folder and no zip or tar archive; give one of these")
    if not archives:
        yield source
        return
    # Beside the archives: the system's own scratch folder is often small.
    with tempfile.TemporaryDirectory(prefix=".unpacked.", dir=archives[0].parent) as scratch:
        for archive in archives:
            print(f"unpacking {archive.name}", file=sys.stderr, flush=True)
            unpack(archive, Path(scratch) / archive.name.split(".")[0])
        yield Path(scratch)
