"""Two films of the same thing, frame by frame: the command ``vasot align``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vasot_kit.figures import plot_alignment
from vasot_kit.films.media import probe
from vasot_kit.films.motion import CELLS, Motion, MotionMaps
from vasot_kit.films.recordings import Describer, Recording, read_recordings
from vasot_kit.own_films.inputs import MAX_FRAMES, by_name, check_rate, describer, rate_of
from vasot_kit.own_films.matching import FilmMatch, FilmMatching, Moving, match_films, match_motion
from vasot_kit.own_films.outputs import Outputs
from vasot_lib.data.video import standardise
from vasot_lib.errors import InputError

THUMBNAIL = 96  # pixels of the longer side of pictures in the figure


def align_films(
    films: Sequence[Path],
    out: Path,
    *,
    features: str = Motion.name,
    fps: float | None = None,
    device: str = "cpu",
    how: FilmMatching | None = None,
    progress: bool = True,
) -> list[FilmMatch]:
    """Align films with the first one and write what came out to a folder.

    Args:
        films: two or more files or folders of pictures; every film is aligned with the first.
        out: folder for ``plan.npz``, ``correspondence.csv``, ``side_by_side.mp4``, ``alignment.png`` (with the name of
            the film before them where there are more than two) and ``config.json``.
        features: see :func:`vasot_kit.own_films.inputs.describer`.
        fps: samples per second; by default every frame, or fewer where a film would give more than 2000.
        device: of a backbone.
        how: weights of the problem.
        progress: show bars.

    Raises:
        InputError: fewer than two films, or a rate that is not a positive number.
        DataError: a film that cannot be read, two of one name beside the first, or ``out`` holds something else.
    """
    if len(films) < 2:
        raise InputError(f"{len(films)} film was given; an alignment takes at least two")
    check_rate(fps)
    how = how or FilmMatching()
    moving = features == Motion.name
    describe = MotionMaps() if moving else describer(features, device)
    if len(films) > 2:
        by_name(films[1:])
    fps = rate_of(films, MAX_FRAMES) if fps is None else fps
    outputs = Outputs(out, {"command": "align", "features": features, "fps": fps, "matching": asdict(how)}, films)
    recordings = [_with_thumbnails(film, describe, fps, progress) for film in films]
    reference, found = recordings[0], []
    for other in recordings[1:]:
        if moving:
            match = match_motion(_moving(reference, fps), _moving(other, fps), how)
        else:
            match = match_films(standardise(reference.features), standardise(other.features), how=how)
        _write(outputs, reference, other, match, f"{other.name}-" if len(films) > 2 else "")
        found.append(match)
    return found


def _moving(recording: Recording, fps: float | None) -> Moving:
    maps = recording.features.numpy().reshape(-1, CELLS, CELLS)
    return Moving(maps, fps or probe(recording.path).fps)


def _with_thumbnails(film: Path, describe: Describer, fps: float | None, progress: bool) -> Recording:
    clip = probe(film)
    scale = THUMBNAIL / max(clip.height, clip.width)
    size = (max(2, round(clip.height * scale)), max(2, round(clip.width * scale)))
    return read_recordings([film], describe, fps=fps, size=size, progress=progress)[0]


def _write(outputs: Outputs, x: Recording, y: Recording, match: FilmMatch, prefix: str) -> None:
    assert x.frames is not None and y.frames is not None
    share = match.share.numpy()
    nearest = np.clip(np.round(match.matches), 0, len(y.times) - 1).astype(int)
    seconds = np.interp(match.matches, np.arange(len(y.times)), y.times)
    spread = _spread(share, y.times)
    rows = zip(x.index.tolist(), x.times.tolist(), y.index[nearest].tolist(), seconds.tolist(), spread, strict=True)
    outputs.table(
        f"{prefix}correspondence.csv",
        ("frame_x", "seconds_x", "frame_y", "seconds_y", "spread_seconds"),
        ((i, f"{s:.4f}", j, f"{t:.4f}", f"{width:.4f}") for i, s, j, t, width in rows),
    )
    outputs.arrays(f"{prefix}plan.npz", plan=match.plan.numpy(), matches=match.matches)
    names = (x.name, y.name)
    outputs.figure(f"{prefix}alignment.png", plot_alignment(share, match.matches, x.frames, y.frames, names=names))
    outputs.side_by_side(f"{prefix}side_by_side.mp4", x, y, nearest)


def _spread(share: np.ndarray, times: np.ndarray) -> list[float]:
    """Standard deviation in seconds of where the plan sends each frame: large where it is not sure."""
    rows = share / np.maximum(share.sum(1, keepdims=True), 1e-30)
    mean = rows @ times
    return np.sqrt(np.maximum(rows @ times**2 - mean**2, 0)).tolist()
