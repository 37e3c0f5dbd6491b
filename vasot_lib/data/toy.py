"""Generated procedures with known truth: features, rendered frames, true correspondences (DESIGN section 5).

A *procedure* is a list of steps. Each step is a curve in a few signal channels, and a hand and a tool that move along
a curve of their own in the picture. Every video performs the procedure at its own speed, in its own style.

    position  =  step index + progress within the step       (the truth two videos share)
    signal    =  gain * (curve[step](progress) + offset)     (D/3 directions)
    nuisance  =  style level + slow drift of this video      (the other 2D/3; louder than the signal)
    features  =  [signal, nuisance] @ mixing  +  temporally correlated noise

``mixing`` is one rotation for all videos, so that no single channel shows the step. The nuisance says which video a
frame comes from and roughly when: raw nearest neighbours find the wrong frames, while an encoder that learns to ignore
it finds the right ones. The matrix is fixed, so one linear layer can do that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from scipy.stats import ortho_group
from torch import Tensor

from vasot_lib.checks import Count, NotNegative, Range, Share, check_value
from vasot_lib.data.toy_pictures import Scene, autoregressive_noise
from vasot_lib.data.video import Dataset, Video
from vasot_lib.errors import InputError

FRAMES_PER_STEP = 22  # at speed = imbalance = 0
MIN_STEP = 4  # frames; so that every step has a beginning and an end
BACKGROUND = "background"


@dataclass(frozen=True)
class _Procedure:
    """What all videos of one data set share: curves (K, S), mixing (D, D), durations (K,) with mean 1."""

    centre: np.ndarray
    sway: np.ndarray
    turn: np.ndarray
    mixing: np.ndarray
    share: np.ndarray

    @classmethod
    def draw(cls, n_steps: int, dim: int, imbalance: float, rng: np.random.Generator) -> _Procedure:
        n_signal = dim // 3
        centre, sway, turn = rng.normal(size=(3, n_steps, n_signal))
        share = np.exp(imbalance * rng.normal(size=n_steps))
        mixing = ortho_group.rvs(dim, random_state=rng)
        return cls(centre=centre, sway=0.6 * sway, turn=0.4 * turn, mixing=mixing, share=share / share.mean())

    def signal(self, step: np.ndarray, progress: np.ndarray) -> np.ndarray:
        """(N,) steps and (N,) progress in [0, 1) -> (N, S) noiseless signal."""
        phase = progress[:, None]
        return self.centre[step] + self.sway[step] * np.cos(np.pi * phase) + self.turn[step] * np.sin(2 * np.pi * phase)


def toy(
    n_videos: int = 12,
    n_steps: int = 6,
    *,
    swaps: float = 0.0,
    repeats: float = 0.0,
    background: float = 0.15,
    imbalance: float = 0.4,
    speed: float = 0.25,
    style: float = 1.0,
    noise: float = 0.2,
    dim: int = 24,
    render: bool = False,
    seed: int = 0,
) -> Dataset:
    """Generate videos of one procedure; equal arguments give equal data, and a video does not depend on ``n_videos``.

    Args:
        n_videos: number of videos, about 100 to 200 frames each at the defaults.
        n_steps: K, the steps of the procedure.
        swaps: probability that two neighbouring steps change places.
        repeats: probability that a step is carried out a second time, somewhere else in the video.
        background: share of frames in [0, .9] that belong to no step; they lie before, between and after the steps.
        imbalance: spread (of the logarithm) of the durations of different steps.
        speed: spread (of the logarithm) of the duration of one step over videos, and of the pace within it.
        style: loudness of what is particular to one video: level and slow drift of the nuisance, gain and offset of the
            signal, colours, light and camera of the pictures.
        noise: standard deviation of the temporally correlated noise in every channel (signal: about 1.1).
        dim: D, feature channels, at least 6; a third of the directions carry the signal.
        render: also draw each frame, (N, 32, 32, 3) uint8.
        seed: of everything.

    Returns:
        Dataset with features (N, D), labels, ``Video.position``, and the class ``background`` last if there is any.

    Raises:
        InputError: a knob out of its range.
    """
    check_value("n_videos", n_videos, Count)
    check_value("n_steps", n_steps, Annotated[int, Range(least=2)])
    check_value("dim", dim, Annotated[int, Range(least=6)])
    check_value("background", background, Annotated[float, Range(least=0, most=0.9)])
    for name, share in (("swaps", swaps), ("repeats", repeats)):
        check_value(name, share, Share)
    for name, value in (("imbalance", imbalance), ("speed", speed), ("style", style), ("noise", noise)):
        check_value(name, value, NotNegative)
    # Separate streams: adding videos, frames or another knob leaves the rest of the data as it was.
    procedure = _Procedure.draw(n_steps, dim, imbalance, np.random.default_rng([seed, 0]))
    scene = Scene.draw(n_steps, np.random.default_rng([seed, 1])) if render else None
    videos = []
    for number in range(n_videos):
        plot, look, picture = (np.random.default_rng([seed, 2 + stream, number]) for stream in range(3))
        step, progress = _timeline(procedure.share, swaps, repeats, background, speed, plot)
        features = _features(procedure, step, progress, style, noise, look)
        position = np.where(step < n_steps, step + progress, np.nan)
        videos.append(
            Video(
                name=f"toy_{number:02d}",
                features=torch.from_numpy(features.astype(np.float32)),
                labels=torch.from_numpy(step),
                activity="procedure",
                frames=scene.render(step, progress, style, picture) if scene else None,
                position=torch.from_numpy(position.astype(np.float32)),
            )
        )
    steps = tuple(f"step_{k + 1}" for k in range(n_steps))
    return Dataset(
        name="toy",
        videos=tuple(videos),
        classes=(*steps, BACKGROUND) if background else steps,
        n_actions=n_steps,
        background=n_steps if background else None,
        ordered=swaps == repeats == 0,
    )


def correspondence(x: Video, y: Video) -> Tensor:
    """For each frame of X the frame of Y that shows the same step at the nearest progress.

    Args:
        x: (N) frames with ``position``.
        y: (M) frames with ``position``.

    Returns:
        (N,) int64 index into Y; -1 on background and where Y does not show the step; the first of equally near ones.

    Raises:
        InputError: a video without true positions (only generated data has them).
    """
    for video in (x, y):
        if video.position is None:
            raise InputError(
                f"video {video.name!r} has no true positions; correspondences are known for generated data only"
            )
    here, there = x.position, y.position
    assert here is not None and there is not None
    distance = (here[:, None] - there[None, :]).abs()  # (N, M)
    distance[here.floor()[:, None] != there.floor()[None, :]] = torch.inf  # NaN != NaN, so background goes as well
    nearest, index = distance.nan_to_num(torch.inf, posinf=torch.inf).min(dim=1)
    return torch.where(nearest.isfinite(), index, -1)


def _timeline(
    share: np.ndarray, swaps: float, repeats: float, background: float, speed: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) step index, K on background, and (N,) progress in [0, 1)."""
    n_steps = len(share)
    order = _order(n_steps, swaps, repeats, rng)
    tempo = np.exp(speed * rng.normal()) ** 0.5
    lengths = FRAMES_PER_STEP * share[order] * tempo * np.exp(speed * rng.normal(size=len(order)))
    durations = np.maximum(MIN_STEP, lengths.round().astype(int))
    pace = np.exp(speed * rng.normal(size=len(order)))
    # Idle time before, between and after the steps: shares of a Dirichlet draw, so that some gaps are nearly empty.
    idle = round(durations.sum() * background / (1 - background))
    gaps = rng.multinomial(idle, rng.dirichlet(np.ones(len(order) + 1)))
    step, progress = [np.full(gaps[0], n_steps)], [np.zeros(gaps[0])]
    for k, n, warp, gap in zip(order, durations, pace, gaps[1:], strict=True):
        step += [np.full(n, k), np.full(gap, n_steps)]
        progress += [((np.arange(n) + 0.5) / n) ** warp, np.zeros(gap)]
    # In float32 a progress too near 1 would round to the next step.
    return np.concatenate(step).astype(np.int64), np.concatenate(progress).clip(0.0, 0.999)


def _order(n_steps: int, swaps: float, repeats: float, rng: np.random.Generator) -> list[int]:
    order = list(range(n_steps))
    k = 0
    while k < n_steps - 1:
        if rng.random() < swaps:
            order[k], order[k + 1] = order[k + 1], order[k]
            k += 1  # a step moves by one place at most
        k += 1
    for step in range(n_steps):
        if rng.random() < repeats:
            first = order.index(step)
            # Not beside itself: that would be one long step.
            places = [place for place in range(len(order) + 1) if place not in (first, first + 1)]
            order.insert(int(rng.choice(places)), step)
    return order


def _features(
    procedure: _Procedure,
    step: np.ndarray,
    progress: np.ndarray,
    style: float,
    noise: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """(N, D) float64."""
    n, (n_steps, n_signal), dim = len(step), procedure.centre.shape, len(procedure.mixing)
    idle = step == n_steps
    signal = procedure.signal(np.where(idle, 0, step), progress)
    # Idle frames wander: nothing in one video's background comes back in another's.
    signal[idle] = 1.2 * autoregressive_noise(n, n_signal, 0.9, rng)[idle]
    gain = np.exp(0.1 * style * rng.normal(size=n_signal))
    offset = 0.15 * style * rng.normal(size=n_signal)
    level = 1.0 * style * rng.normal(size=dim - n_signal)
    wander = 2.0 * style * autoregressive_noise(n, dim - n_signal, 0.95, rng)
    clean = np.concatenate([gain * (signal + offset), level + wander], axis=1)
    return clean @ procedure.mixing + noise * autoregressive_noise(n, dim, 0.6, rng)
