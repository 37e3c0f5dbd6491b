"""Align films of the same procedure frame by frame: the command ``vasot align``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vasot_kit.figures import plot_alignment
from vasot_kit.films.media import probe
from vasot_kit.films.motion import CELLS, Motion, MotionMaps
from vasot_kit.films.recordings import FeatureExtractor, Recording, read_recordings
from vasot_kit.own_films.inputs import (
    MAX_FRAMES,
    check_rate,
    feature_extractor,
    films_by_name,
    refuse_still,
    sampling_rate,
)
from vasot_kit.own_films.matching import (
    FilmAlignment,
    FilmMotion,
    MatchingSettings,
    film_motion,
    match_films,
    match_motion,
)
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
    settings: MatchingSettings | None = None,
    progress: bool = True,
) -> list[FilmAlignment]:
    """Align films with the first one and write the results to a folder.

    Args:
        films: two or more files or folders of pictures; every film is aligned with the first.
        out: folder for ``plan.npz``, ``correspondence.csv``, ``side_by_side.mp4``, ``alignment.png`` (with the name of
            the film before them where there are more than two) and ``config.json``.
        features: see :func:`vasot_kit.own_films.inputs.feature_extractor`.
        fps: samples per second; by default every frame, or fewer where a film would give more than 2000.
        device: where a backbone runs.
        settings: the weights of the matching.
        progress: show progress bars.

    Returns:
        The alignment of the first film with each of the others, in their order.

    Raises:
        InputError: fewer than two films, or a rate that is not a positive number.
        DataError: a film that cannot be read, two of one name beside the first, or ``out`` holds something else.
    """
    if len(films) < 2:
        raise InputError(f"{len(films)} film was given; an alignment takes at least two")
    check_rate(fps)
    settings = settings or MatchingSettings()
    by_motion = features == Motion.name
    extractor = feature_extractor(features, device)
    extractor = MotionMaps() if by_motion else extractor
    if len(films) > 2:
        films_by_name(films[1:])
    fps = sampling_rate(films, MAX_FRAMES) if fps is None else fps
    outputs = Outputs(out, {"command": "align", "features": features, "fps": fps, "matching": asdict(settings)}, films)
    recordings = [_read_with_thumbnails(film, extractor, fps, progress) for film in films]
    refuse_still(recordings)
    reference, alignments = recordings[0], []
    for other in recordings[1:]:
        if by_motion:
            alignment = match_motion(_film_motion(reference, fps), _film_motion(other, fps), settings)
        else:
            rows = standardise(reference.features), standardise(other.features)
            alignment = match_films(*rows, settings=settings)
        _write(outputs, reference, other, alignment, f"{other.name}-" if len(films) > 2 else "")
        alignments.append(alignment)
    return alignments


def _film_motion(recording: Recording, fps: float | None) -> FilmMotion:
    """The motion of a recording whose features are motion maps, one map per row."""
    maps = recording.features.numpy().reshape(-1, CELLS, CELLS)
    return film_motion(maps, fps or probe(recording.path).fps)


def _read_with_thumbnails(film: Path, extractor: FeatureExtractor, fps: float | None, progress: bool) -> Recording:
    clip = probe(film)
    scale = THUMBNAIL / max(clip.height, clip.width)
    size = (max(2, round(clip.height * scale)), max(2, round(clip.width * scale)))
    return read_recordings([film], extractor, fps=fps, size=size, progress=progress)[0]


def _write(outputs: Outputs, x: Recording, y: Recording, alignment: FilmAlignment, prefix: str) -> None:
    assert x.frames is not None and y.frames is not None
    share = alignment.share.numpy()
    nearest = np.clip(np.round(alignment.matches), 0, len(y.times) - 1).astype(int)
    seconds = np.interp(alignment.matches, np.arange(len(y.times)), y.times)
    spread = _spread(alignment.plan.numpy(), y.times)
    rows = zip(x.index.tolist(), x.times.tolist(), y.index[nearest].tolist(), seconds.tolist(), spread, strict=True)
    outputs.table(
        f"{prefix}correspondence.csv",
        ("frame_x", "seconds_x", "frame_y", "seconds_y", "spread_seconds"),
        ((i, f"{s:.4f}", j, f"{t:.4f}", f"{width:.4f}") for i, s, j, t, width in rows),
    )
    outputs.arrays(f"{prefix}plan.npz", plan=alignment.plan.numpy(), matches=alignment.matches)
    names = (x.name, y.name)
    outputs.figure(f"{prefix}alignment.png", plot_alignment(share, alignment.matches, x.frames, y.frames, names=names))
    outputs.side_by_side(f"{prefix}side_by_side.mp4", x, y, nearest)


def _spread(plan: np.ndarray, times: np.ndarray) -> list[float]:
    """For each frame of X the standard deviation, in seconds, of where its mass goes in Y; large where it is unsure."""
    rows = plan / np.maximum(plan.sum(1, keepdims=True), 1e-30)
    mean = rows @ times
    return np.sqrt(np.maximum(rows @ times**2 - mean**2, 0)).tolist()
