"""Two films of the same thing, frame by frame: the command ``vasot align``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vasot_lib.data.pixels.media import probe
from vasot_lib.data.pixels.motion import Motion
from vasot_lib.data.pixels.recordings import Recording, read_recordings
from vasot_lib.errors import InputError
from vasot_lib.figures import plot_alignment
from vasot_lib.own.inputs import MAX_FRAMES, by_name, check_rate, describer, rate_of
from vasot_lib.own.outputs import Outputs
from vasot_lib.transport import Far, Near, solve
from vasot_lib.transport.paths import WEIGHT, mean_path

THUMBNAIL = 96  # pixels of the longer side of pictures in the figure


@dataclass(frozen=True)
class FilmMatching:
    """How two films are matched; the defaults are the kit's, chosen on generated films.

    Attributes:
        alpha, radius, rho, epsilon: as in :class:`vasot_lib.transport.Alignment`; the window of a short film is one
            frame.
        weight: of a frame in the mean path, see :func:`vasot_lib.transport.paths.mean_path`.
        motion_mass: frames have the mass of their motion and the temporal prior runs on that clock, where the features
            say how much moves; otherwise every frame weighs the same.
    """

    alpha: float = 0.3
    radius: float = 0.04
    rho: float = 0.35
    epsilon: float = 0.07
    weight: float = WEIGHT
    motion_mass: bool = True


class FilmMatch(NamedTuple):
    """A plan between two films and the path that was read from it.

    Attributes:
        plan: (N, M) transport plan.
        share: (N, M) the same over the product of the masses: 1 where frames meet as often as by chance.
        matches: (N,) frame of Y for each frame of X, fractional and increasing.
    """

    plan: Tensor
    share: Tensor
    matches: np.ndarray


def match_films(
    x: Tensor, y: Tensor, mass_x: Tensor | None = None, mass_y: Tensor | None = None, how: FilmMatching | None = None
) -> FilmMatch:
    """Match the frames of two films that show the same from start to end.

    Balanced transport keeps the masses, so what has mass decides what is kept. With the same mass for every frame a
    film that is played faster in places is pulled to the straight line. Motion is kept by any speed: with the mass
    ``p`` of a frame being how much moves in it, neither the marginals nor a temporal prior on the clock
    ``u_i = p_1 + ... + p_i`` see the speed. [ours]

    Args:
        x: (N, D) features.
        y: (M, D) features.
        mass_x: (N,) how much moves in each frame of X, in any unit; None weighs all frames the same.
        mass_y: (M,) the same for Y.
        how: weights of the problem.
    """
    how = how or FilmMatching()
    p, q = (
        torch.full((len(f),), 1 / len(f)) if mass is None or not how.motion_mass else (mass / mass.sum()).float()
        for f, mass in ((x, mass_x), (y, mass_y))
    )
    distance = torch.cdist(x[None].float(), y[None].float())[0]
    u, v = (mass.cumsum(0) - mass / 2 for mass in (p, q))
    cost = distance / distance.mean().clamp_min(1e-9) + how.rho * (u[:, None] - v).abs()
    structure = (Near(max(how.radius, 1 / len(x))), Far(max(how.radius, 1 / len(y)))) if how.alpha else None
    plan = solve(cost[None], structure, alpha=how.alpha, epsilon=how.epsilon, mass_x=p[None], mass_y=q[None]).matrix[0]
    return FilmMatch(plan, plan / (p[:, None] * q), mean_path(plan, p, q, how.weight))


def split_mass(recording: Recording, features: str) -> tuple[Tensor, Tensor | None]:
    """Features for comparing frames, and how much moves in each frame where they say so."""
    if features == Motion.name:
        return recording.features[:, 1:], recording.features[:, 0]
    rows = recording.features - recording.features.mean(0)
    return rows / rows.std(0).clamp_min(1e-6), None


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
        features: see :func:`vasot_lib.own.inputs.describer`.
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
    describe = describer(features, device)
    if len(films) > 2:
        by_name(films[1:])
    fps = rate_of(films, MAX_FRAMES) if fps is None else fps
    outputs = Outputs(out, {"command": "align", "features": describe.name, "fps": fps, "matching": asdict(how)}, films)
    recordings = [_with_thumbnails(film, describe, fps, progress) for film in films]
    reference, found = recordings[0], []
    for other in recordings[1:]:
        x, mass_x = split_mass(reference, features)
        y, mass_y = split_mass(other, features)
        match = match_films(x, y, mass_x, mass_y, how)
        _write(outputs, reference, other, match, f"{other.name}-" if len(films) > 2 else "")
        found.append(match)
    return found


def _with_thumbnails(film: Path, describe: object, fps: float | None, progress: bool) -> Recording:
    clip = probe(film)
    scale = THUMBNAIL / max(clip.height, clip.width)
    size = (max(2, round(clip.height * scale)), max(2, round(clip.width * scale)))
    return read_recordings([film], describe, fps=fps, size=size, progress=progress)[0]  # type: ignore[arg-type]


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
