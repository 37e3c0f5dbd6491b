"""Recordings on disk as data sets: decoded before training, in worker processes, and kept in a cache.

The features, times and (where training needs them) pictures of a film are stored under the hash of its content and of
the settings. A second call with the same films and settings reads them from there; after an interruption only the films
that are missing are decoded. The pictures of a film are one plain file that is mapped into memory, so a batch reads
only the frames that it draws.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor

from vasot_kit.cache import cache_folder
from vasot_kit.films.media import FOLDER_FPS, content_hash, probe, stream, video_files
from vasot_kit.films.progress import phase
from vasot_kit.folders.files import Interval, names_at, read_intervals, read_labels, read_mapping
from vasot_kit.folders.reading import read_split
from vasot_lib.data.video import Dataset, Video
from vasot_lib.errors import DataError, InputError
from vasot_lib.files import whole_file

_FORMAT = 3  # of the features in the cache; another number makes the cache of an older version unknown
FEW_FILMS = 2  # up to so many are decoded in this process, because FFmpeg uses several cores by itself


class NotDescribed(DataError):
    """An extractor does not find in a film what it describes; the reader puts the film's path before the message."""


class FeatureExtractor(Protocol):
    """Makes the features of a film from its pictures.

    Attributes:
        name: names everything that the features depend on; a part of the cache's key.
        side: pixels of the longer side to which pictures are scaled before.
        one_process: whether all films have to be read in this process, because it holds a network.
    """

    name: str
    side: int
    one_process: bool

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, D) float32 features of N pictures (H, W, 3) uint8, ``fps`` of them a second, read one by one."""


@dataclass(frozen=True)
class Recording:
    """A film that was read, sampled at N frames.

    Attributes:
        path: where it lies.
        times: (N,) seconds since its first frame.
        index: (N,) int64, the numbers of these frames among all decoded frames of the film, from 0.
        features: (N, D) float32.
        frames: (N, H, W, 3) uint8, mapped from a file; None where they were not asked for.
        start: seconds from the beginning of the file, where its sound may start, to its first picture.
        called: its name in results, where it is not that of the file.
        end: seconds at which the film ends, where it was sampled: the last sample may be shown for longer than that.
    """

    path: Path
    times: np.ndarray
    index: np.ndarray
    features: Tensor
    frames: np.ndarray | None = None
    start: float = 0.0
    called: str = ""
    end: float = math.inf

    @property
    def name(self) -> str:
        """What results call it: by default its stem."""
        return self.called or self.stem

    @property
    def stem(self) -> str:
        """File name without suffix, or folder name."""
        return _name(self.path)


def _name(film: Path) -> str:
    return film.name if film.is_dir() else film.stem  # folders have no suffix: take.1 and take.2 are two


@dataclass(frozen=True)
class _Job:
    """The reading of one film into the cache."""

    path: Path
    folder: Path  # of this film in the cache
    extractor: FeatureExtractor
    fps: float | None
    size: tuple[int, int] | None
    folder_fps: float

    def run(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.features.is_file():
            self._extract_features()
        if self.size is not None and not self.pictures.is_file():
            self._store_pictures()

    @property
    def features(self) -> Path:
        settings = json.dumps([self.extractor.name, self.extractor.side, self.fps, _FORMAT, *self._pace])
        return self.folder / f"features-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.npz"

    @property
    def pictures(self) -> Path:
        height, width = self.size or (0, 0)
        pace = "".join(f"-of-{rate}" for rate in self._pace)
        return self.folder / f"pictures-{self.fps or 'all'}{pace}-{height}x{width}.rgb"

    @property
    def _pace(self) -> list[float]:
        """Pictures per second of a folder where that is not the usual number."""
        return [self.folder_fps] if self.path.is_dir() and self.folder_fps != FOLDER_FPS else []

    @property
    def done(self) -> bool:
        return self.features.is_file() and (self.size is None or self.pictures.is_file())

    def _extract_features(self) -> None:
        clip = probe(self.path, self.folder_fps)
        scale = self.extractor.side / max(clip.height, clip.width)
        size = (max(1, round(clip.height * scale)), max(1, round(clip.width * scale)))
        times: list[float] = []
        index: list[int] = []

        def pictures() -> Iterator[np.ndarray]:
            for number, frame in enumerate(stream(self.path, self.fps, size, self.folder_fps)):
                times.append(frame.time if self.fps is None else number / self.fps)
                index.append(frame.index)
                yield frame.picture

        try:
            features = self.extractor(pictures(), self.fps or clip.fps)
        except NotDescribed as error:
            raise NotDescribed(f"{self.path}: {error}") from error
        with whole_file(self.features) as beside, beside.open("wb") as file:
            frames = {"times": np.array(times), "index": np.array(index), "start": np.array(clip.start)}
            frames["end"] = np.array(math.inf if self.fps is None else clip.duration)
            np.savez(file, features=features.astype(np.float32), **frames)  # type: ignore[arg-type]

    def _store_pictures(self) -> None:
        with whole_file(self.pictures) as beside, beside.open("wb") as file:
            for frame in stream(self.path, self.fps, self.size, self.folder_fps):
                file.write(frame.picture.tobytes())

    def read(self) -> Recording:
        with np.load(self.features, allow_pickle=False) as stored:
            times, index, features, start = (stored[name] for name in ("times", "index", "features", "start"))
            end = float(stored["end"]) if "end" in stored else math.inf  # older ones do not say
        frames = None
        if self.size is not None:
            frames = np.memmap(self.pictures, np.uint8, "r", shape=(len(times), *self.size, 3))
        return Recording(self.path, times, index, torch.from_numpy(features), frames, float(start), end=end)


def read_recordings(
    paths: Sequence[str | Path],
    extractor: FeatureExtractor,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    folder_fps: float = FOLDER_FPS,
) -> list[Recording]:
    """Read films or folders of pictures; what was read before comes from the cache.

    A film that is not in the cache is decoded once for its features, and once more if its pictures are kept.

    Args:
        paths: the films; the result has their order.
        extractor: makes the features.
        fps: samples per second; every frame where None.
        size: (height, width) of the pictures that are kept for an encoder; None keeps none.
        cache: folder of the cache; ``recordings`` in the kit's cache by default.
        workers: processes that decode; by default as many as the machine has cores, and none beside this one for one or
            two films.
        progress: show a progress bar where anything has to be decoded.
        folder_fps: pictures per second of folders of pictures.

    Raises:
        InputError: no paths, or ``workers`` below 1.
        DataError: a film is missing, empty, unknown, damaged or truncated, or the disk is too small for the pictures.
    """
    if not paths or (workers is not None and workers < 1):
        raise InputError(f"{len(paths)} recordings and workers {workers}; give at least one of each")
    root = cache or cache_folder() / "recordings"
    jobs = [_Job(Path(path), root / content_hash(path), extractor, fps, size, folder_fps) for path in paths]
    missing = list({job.folder: job for job in jobs if not job.done}.values())
    if missing:
        _check_disk_space(missing, root)
        _decode(missing, workers, progress)
    recordings = [job.read() for job in jobs]
    for recording in recordings:
        if len(recording.times) < 2:
            at = "" if fps is None else f" at {fps} fps"
            remedy = "leave it out" if fps is None else "raise the rate or leave it out"
            raise DataError(f"{recording.path} gives 1 frame{at}; {remedy}")
    return recordings


def _decode(jobs: list[_Job], workers: int | None, progress: bool) -> None:
    workers = workers or (1 if len(jobs) <= FEW_FILMS else min(os.cpu_count() or 1, len(jobs)))
    looks = jobs[0].extractor.name.partition("@")[0]
    with phase(f"reading films for {looks}", progress, len(jobs)) as bar:
        if jobs[0].extractor.one_process:
            workers = 1
        # joblib's processes end with this one, and the script that calls needs no guard for its main module.
        for _ in Parallel(workers, return_as="generator_unordered")(delayed(job.run)() for job in jobs):
            bar.update()


def _check_disk_space(jobs: Sequence[_Job], root: Path) -> None:
    """Refuse pictures that do not fit the disk before hours of decoding, not after them."""
    need = 0.0
    for job in jobs:
        if job.size is not None:
            clip = probe(job.path, job.folder_fps)
            need += 3 * job.size[0] * job.size[1] * clip.duration * (job.fps or clip.fps)
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if need > 0.9 * free:
        raise DataError(
            f"pictures of {len(jobs)} recordings take {need / 1e9:.1f} GB but {root} has {free / 1e9:.1f} GB left; "
            "lower fps or size, or set VASOT_CACHE to another disk"
        )


def make_dataset(name: str, recordings: Sequence[Recording], n_actions: int = 0, activity: str = "") -> Dataset:
    """Recordings without labels as one data set of one activity.

    Raises:
        DataError: two of them have the same name, or their features differ in width.
    """
    videos = [Video(each.name, each.features, activity=activity, frames=each.frames) for each in recordings]
    return Dataset(name, tuple(videos), n_actions=n_actions)


def load_recordings(
    folder: str | Path,
    extractor: FeatureExtractor,
    *,
    name: str | None = None,
    activity: str | None = None,
    background: str | None = None,
    n_actions: int | None = None,
    ordered: bool = False,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Dataset:
    """Read films or folders of pictures with a label per frame, the layout of the alignment data sets (SPEC section 8).

    ``videos/[<activity>/]<video>.mp4`` or ``frames/[<activity>/]<video>/``, ``groundTruth/[<activity>/]<video>`` with
    one name per frame, ``mapping/mapping.txt``, and ``splits/<part>.txt`` where a split is published. If films are
    sampled at ``fps``, so are their labels.

    Args:
        folder: holds these subfolders.
        extractor: makes the features.
        name, activity, background, n_actions: as in :func:`vasot_kit.folders.load_folder`.
        ordered: see :class:`vasot_lib.data.Dataset`.
        fps, size: as in :func:`read_recordings`.

    Raises:
        DataError: something is missing or damaged, a film and its labels differ in length, or the split has gaps.
        InputError: ``background`` does not exist.
    """
    root = Path(folder)
    films = labelled_films(root, activity)
    parts = read_split(root, list(films))
    names = read_mapping(root / "mapping" / "mapping.txt")
    if background is not None and background not in names:
        raise InputError(f"background is {background!r}; the mapping has {', '.join(names)}")
    recordings = read_recordings(list(films.values()), extractor, fps=fps, size=size)
    labels = {key: label_lines(root, key, each, names, fps) for key, each in zip(films, recordings, strict=True)}
    seen = {label for found in labels.values() for label in found} | {background}
    classes = tuple(label for label in names if label in seen)
    index = {label: k for k, label in enumerate(classes)}
    k = n_actions or len(classes) - (background is not None)
    dataset = make_dataset(name or root.resolve().name, recordings, k)
    videos = tuple(
        replace(
            video,
            labels=torch.tensor([index[label] for label in labels[key]]),
            activity=key.rpartition("/")[0],
            part=part,
        )
        for key, part, video in zip(films, parts, dataset.videos, strict=True)
    )
    place = None if background is None else index[background]
    return replace(dataset, videos=videos, classes=classes, background=place, ordered=ordered)


def labelled_films(root: Path, activity: str | None = None) -> Mapping[str, Path]:
    """``[activity/]video`` -> film or folder of pictures, in the layout of :func:`load_recordings`.

    Raises:
        DataError: neither ``videos/`` nor ``frames/``, nothing in it, or two recordings of one name.
    """
    home = next((root / kind for kind in ("videos", "frames") if (root / kind).is_dir()), None)
    if home is None:
        raise DataError(f"{root} has neither videos/ nor frames/; put the recordings there")
    inner = sorted(entry for entry in home.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    folders = [home / activity] if activity else [home, *inner]
    films: dict[str, Path] = {}
    for folder in folders:
        within = "" if folder == home else f"{folder.name}/"
        for film in video_files(folder):
            if folder != home or film.is_file() or not any(entry.is_dir() for entry in film.iterdir()):
                key = within + _name(film)
                if key in films:
                    raise DataError(f"{films[key]} and {film.name} beside it have one name; keep one of them")
                films[key] = film
    if not films:
        raise DataError(f"{home} holds no recordings{f' of {activity}' if activity else ''}; put them there")
    return films


def label_lines(
    root: Path, key: str, recording: Recording, names: Sequence[str], fps: float | None, trim: bool = False
) -> list[str]:
    """The class names of the sampled frames of a recording.

    With ``trim`` a film and its labels may differ in length: labels of frames that the film does not have are left out,
    and the frames without a label, at the end, have none in the result.

    Raises:
        DataError: no labels, too few or too many, or one that is not in the mapping.
    """
    truth = root / "groundTruth"
    stems = (truth / key, truth / Path(key).name)
    file = next((p for p in (*stems, *(stem.with_name(f"{stem.name}.txt") for stem in stems)) if p.is_file()), None)
    if file is None:
        raise DataError(f"{truth / key} is missing; add the labels of {recording.path.name} or remove that recording")
    intervals = read_intervals(file, names)
    labels = read_labels(file, names) if intervals is None else [each.name for each in intervals]
    unknown = next((label for label in labels if label not in names), None)
    if unknown is not None:
        raise DataError(f"label {unknown!r} in {file} is not in the mapping; add it there or correct the label")
    if intervals is not None:
        return _labels_in_time(file, recording, intervals, trim)
    return [labels[row] for row in _labelled_frames(file, recording, len(labels), fps, trim)]


def _labelled_frames(file: Path, recording: Recording, count: int, fps: float | None, trim: bool) -> list[int]:
    """The numbers of the sampled frames that have one of the ``count`` labels of a film's frames."""
    # The length of the whole film is not known where it was sampled: the frames after the last sample may be as many as
    # lie between two samples.
    last = int(recording.index[-1])
    rest = 1 if fps is None else int(np.diff(recording.index).max()) + 1
    if not 0 < count - last <= rest and not (trim and count):
        raise DataError(
            f"{file} has {count} labels but {recording.path.name} has {last + 1} frames "
            f"(difference {count - last - 1:+d}); correct one of them, or cut to the shorter with --trim"
        )
    return [row for row in recording.index.tolist() if row < count]


def _labels_in_time(file: Path, recording: Recording, intervals: Sequence[Interval], trim: bool) -> list[str]:
    """The names of the sampled frames by the time at which a player shows them, from the beginning of the file."""
    if recording.path.is_dir():
        raise DataError(f"{file} has time intervals, but a folder of pictures has no times; give numbers of frames")
    times, end = recording.start + recording.times, intervals[-1].end
    labels = names_at(file, intervals, times)
    step = float(np.diff(times).max())
    missing = len(times) - len(labels)
    # Players show the length of the sound too, which may end a little later.
    if (missing > 1 or end > times[-1] + max(2 * step, 0.5)) and not (trim and labels):
        raise DataError(
            f"{file} ends at {end:g} s but {recording.path.name} at {times[-1] + step:.2f} s; correct one of them, or "
            "cut to the shorter with --trim"
        )
    return labels if trim else labels + labels[-1:] * missing
