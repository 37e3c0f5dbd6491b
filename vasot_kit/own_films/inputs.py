"""What the commands on own films share: which features, how many frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from vasot_kit.films.appearance import Appearance
from vasot_kit.films.media import probe, video_files
from vasot_kit.films.motion import Motion
from vasot_kit.films.recordings import Describer
from vasot_lib.errors import DataError, InputError

MAX_FRAMES = 2000  # of a film, sampled; a plan between two such films has 4 million entries


def describer(name: str, device: str = "cpu") -> Describer:
    """What makes the features of films.

    Args:
        name: ``motion`` (what moves where, for aligning films of one take or one movement), ``appearance`` (colours by
            place, for cutting films of a fixed camera into actions), or a frozen network such as
            ``torchvision:resnet50``, see :class:`vasot_kit.films.backbones.Backbone`.
        device: where a network runs.

    Raises:
        InputError: no such features.
        DataError: weights that cannot be had.
    """
    own: dict[str, Describer] = {"appearance": Appearance(), "motion": Motion()}
    if name in own:
        return own[name]
    if ":" not in name:
        raise InputError(f"features are {name!r}; use motion, appearance or library:model, e.g. torchvision:resnet50")
    from vasot_kit.films.backbones import Backbone

    return Backbone(name, device)


def films_in(folder: Path, out: Path | None = None) -> dict[str, Path]:
    """Name -> film, of the video files and folders of pictures in a folder, in natural order.

    Args:
        folder: where they lie.
        out: results that may lie beside them; its pictures are no film.

    Raises:
        DataError: no folder, no films in it, or two of one name.
    """
    films = [film for film in video_files(folder) if out is None or film.resolve() != out.resolve()]
    if not films:
        raise DataError(f"{folder} holds no films; put video files or folders of pictures there")
    return by_name(films)


def by_name(films: Iterable[Path]) -> dict[str, Path]:
    """File name without suffix, or folder name -> film; results are called so.

    Raises:
        DataError: two films of one name.
    """
    named: dict[str, Path] = {}
    for film in films:
        name = film.name if film.is_dir() else film.stem
        if name in named:
            raise DataError(f"{named[name]} and {film} have one name, and results are named by it; rename one of them")
        named[name] = film
    return named


def check_rate(fps: float | None) -> None:
    """Refuse now what would be refused by the first film.

    Raises:
        InputError: not a positive number.
    """
    if fps is not None and not 0 < fps < math.inf:  # false for NaN
        raise InputError(f"fps is {fps}; give a positive number of frames per second, or leave it out")


def rate_of(films: Sequence[Path], most: int) -> float | None:
    """Samples per second at which no film gives more than ``most``; None (every frame) where all are short enough."""
    clips = [probe(film) for film in films]
    if all(clip.duration * clip.fps <= most for clip in clips):
        return None
    return most / max(clip.duration for clip in clips)
