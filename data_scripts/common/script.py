"""The parts that all scripts in data_scripts/ share: the command line, the check against published facts, the writing.

A script is a :class:`Script` with a function ``convert(source, target, options) -> Inventory``; :func:`run` is its
``main``. Files are downloaded and unpacked by :mod:`data_scripts.common.download`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_scripts.common.download import archive_stem, is_archive, unpack
from vasot_kit.cache import cache_folder
from vasot_kit.datasets.registry import data_root
from vasot_kit.folders.saving import refuse_existing, save_folder
from vasot_kit.messages import refused
from vasot_kit.whole_folders import scratch_folder
from vasot_lib.errors import DataError, VasotError

FeatureRecording = tuple[str, np.ndarray, list[str]]  # "[activity/]video", features (N, D), N class names
MAX_NAMED = 5  # differences that a message names, at most
MAX_NOTES = 12  # notes after the summary, at most


@dataclass(frozen=True)
class PublishedFacts:
    """What is published about a data set. A number without a source is None and not checked.

    Attributes:
        sources: name of a field below -> where its numbers are published.
        videos, frames: their numbers in the whole data set.
        classes: number of names in the mapping, background included.
        dim: width of a feature row.
        activities: activity -> its number of videos; None if that is not published.
        classes_of: activity -> the largest number of classes that its videos may show, without ``background``.
        lengths: ``[activity/]video`` -> number of frames.
        background: names of the classes that ``classes_of`` does not count.
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
class Inventory:
    """The recordings and classes that a script has found or written so far.

    Attributes:
        lengths: ``[activity/]video`` -> number of frames, None before the recording is read.
        classes: names in the mapping; None before they are known.
        dim: width of a feature row; None before one is read, and for data sets of films.
        seen: activity -> the classes that its videos show.
        notes: what the user should know about this import, one line each.
    """

    lengths: dict[str, int | None] = field(default_factory=dict)
    classes: Sequence[str] | None = None
    dim: int | None = None
    seen: dict[str, set[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int | None:
        """The number of frames of all videos; None while that of any is unknown."""
        known = [length for length in self.lengths.values() if length is not None]
        return sum(known) if known and len(known) == len(self.lengths) else None

    @property
    def activities(self) -> dict[str, int]:
        """Activity -> its number of videos; empty if there are no activities."""
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
        """The numbers of recordings, frames, classes and channels, and the activities, in one line."""
        parts = [f"{len(self.lengths)} recordings"]
        parts += [f"{self.frames} frames"] if self.frames is not None else []
        parts += [f"{len(self.classes)} classes"] if self.classes is not None else []
        parts += [f"{self.dim} channels"] if self.dim is not None else []
        named = ", ".join(f"{name} ({count})" for name, count in self.activities.items())
        return ", ".join(parts) + (f"; activities: {named}" if named else "")


@dataclass(frozen=True)
class Options:
    """The options of the user: ``trim`` cuts labels and frames to the shorter; ``partial`` accepts fewer data."""

    trim: bool = False
    partial: bool = False


def verify(found: Inventory, facts: PublishedFacts, options: Options | None = None) -> None:
    """Compare what was found with what is published; numbers that are unknown on either side are not compared.

    Scripts call it as soon as the files are listed, and again when they are read.

    Raises:
        DataError: they differ; the message names every number, its source and the remedy. With ``options.partial`` the
            differences become notes of ``found``.
    """
    differences = [*_counts(found, facts), *_per_activity(found, facts), *_lengths(found, facts)]
    if not differences:
        return
    if options is not None and options.partial:
        found.notes += [line for line in differences if line not in found.notes]
        return
    raise DataError("; ".join(differences) + "; copy what is missing, or pass --partial to take it as it is")


def _counts(found: Inventory, facts: PublishedFacts) -> Iterator[str]:
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


def _per_activity(found: Inventory, facts: PublishedFacts) -> Iterator[str]:
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


def _lengths(found: Inventory, facts: PublishedFacts) -> Iterator[str]:
    source = facts.sources.get("lengths", "no source")
    wrong = []
    for key, expected in facts.lengths.items():
        if key not in found.lengths:
            wrong.append(f"{key} is missing")
        elif found.lengths[key] not in (None, expected):
            wrong.append(f"{key} has {found.lengths[key]} frames, expected {expected}")
    if wrong:
        more = f" and {len(wrong) - MAX_NAMED} more" if len(wrong) > MAX_NAMED else ""
        yield f"{', '.join(wrong[:MAX_NAMED])}{more} ({source})"


def write_folder(
    target: Path,
    recordings: Iterable[FeatureRecording],
    classes: Sequence[str],
    facts: PublishedFacts,
    options: Options | None = None,
    *,
    extra: Mapping[str, str] | None = None,
    total: int | None = None,
) -> Inventory:
    """Write a labelled feature folder one video at a time; the folder appears only if the ``facts`` hold.

    Args:
        target: the folder; must not exist.
        recordings: read one after the other; only one is in memory at a time.
        classes: class names in the order of their ids.
        facts: checked when all recordings are written, before the folder appears.
        options: the options of the user.
        extra: path in the folder -> text of further files.
        total: number of recordings, for the progress bar.

    Raises:
        DataError: an error of :func:`vasot_kit.folders.save_folder`, of ``recordings`` or of :func:`verify`; nothing is
            left behind.
    """
    found = Inventory(classes=classes)

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
    """A script of data_scripts/.

    Attributes:
        name: name of the script, and of the folder that it writes below the data root.
        about: its docstring, shown by --help.
        convert: called with source, target and options; writes the target and returns what it wrote.
        next_step: what the user should download, and from where, if the script cannot; the command follows.
        fetch: called with a folder, downloads into it what ``convert`` takes as source; None without a public link.
        trims: whether there is an option --trim.
        counts: whether there is an option --partial.
    """

    name: str
    about: str
    convert: Callable[[Path, Path, Options], Inventory]
    next_step: str
    fetch: Callable[[Path], None] | None = None
    trims: bool = False
    counts: bool = True

    @property
    def command(self) -> str:
        """The command that imports what the user has downloaded."""
        return f"python -m data_scripts.{self.name} --source FOLDER"


def run(script: Script, argv: list[str] | None = None) -> int:
    """The ``main`` of a script.

    Returns:
        0 after printing a summary if the data set was written; 1 after one line on stderr if the source cannot be used;
        2 after the next step if the user has to get the data, because there is no public link or it gave nothing.
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
        with names_target(target, "--root"):
            refuse_existing(target)
        folder = source
        if folder is None and script.fetch is not None:
            folder = cache_folder() / "downloads" / script.name
            try:
                script.fetch(folder)
            except VasotError as error:
                raise _Unfetched(str(error)) from error
        with unpacked_source(folder, target.parent) as unpacked, names_target(target, "--root"):
            found = script.convert(unpacked, target, options)
        notes = [f"note: {line}" for line in found.notes[:MAX_NOTES]]
        notes += [f"note: and {len(found.notes) - MAX_NOTES} more"] if len(found.notes) > MAX_NOTES else []
        return "\n".join([f"{target}: {found.summary()}", *notes])

    try:
        return run_and_report(write)
    except _Unfetched as error:
        print(f"error: {error}\n{next_step}", file=sys.stderr)
        return 2


class _Unfetched(Exception):
    """The download failed."""


def run_and_report(action: Callable[[], str]) -> int:
    """Run the action; print what it returns and return 0, or print its error as one line on stderr and return 1."""
    try:
        print(action())
    except (VasotError, OSError) as error:
        print(f"error: {refused(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the same command begins again, or goes on with a download", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def names_target(target: Path, option: str) -> Iterator[None]:
    """Say that ``target`` cannot be written, where the system refuses that; ``option`` is the one that names another.

    Raises:
        DataError: in place of an OSError, unless it concerns a file of the source.
    """
    try:
        yield
    except OSError as error:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        ours = str(target), str(target.parent / f".{target.name}.")  # the folder, and what is written beside it
        if files and not any(name.startswith(ours) or Path(name) in target.parents for name in files):
            raise
        raise DataError(f"{target} cannot be written ({error.strerror or error}); give another {option}") from error


@contextlib.contextmanager
def unpacked_source(source: Path, spare: Path | None = None) -> Iterator[Path]:
    """A folder with the unpacked files: the source itself, or a temporary copy if it is or holds only archives.

    Args:
        source: an archive or a folder. If the folder holds folders as well, its archives are not unpacked.
        spare: where the copy is made if the folder of the archives cannot be written; it, or the nearest folder above
            it that exists.

    Raises:
        DataError: there is no such folder, or an archive cannot be unpacked.
    """
    if not source.exists():
        raise DataError(f"--source {source} does not exist; give the folder that holds what was downloaded")
    # Names that begin with a dot are leftovers of a run that was killed.
    files = [source] if source.is_file() else sorted(source.glob("[!.]*"))
    archives = [] if any(file.is_dir() for file in files) else [file for file in files if is_archive(file)]
    if source.is_file() and not archives:
        raise DataError(f"--source {source} is no folder and no zip or tar archive; give one of these")
    if not archives:
        yield source
        return
    stems = [archive_stem(archive.name) for archive in archives]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        same = [archive.name for archive, stem in zip(archives, stems, strict=True) if stem == twice]
        raise DataError(f"{' and '.join(same)} in {source} unpack into one folder {twice!r}; keep one of them")
    # The copy is made beside the archives, because the temporary folder of the system is often small.
    place = archives[0].parent
    if spare is not None and not os.access(place, os.W_OK):
        place = next(folder for folder in (spare, *spare.absolute().parents) if folder.is_dir())
    with scratch_folder(place, "unpacked") as scratch:
        for archive, stem in zip(archives, stems, strict=True):
            print(f"unpacking {archive.name}", file=sys.stderr, flush=True)
            unpack(archive, scratch / stem)
        yield scratch
