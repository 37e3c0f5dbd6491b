"""Generated videos of a procedure, with features, rendered pictures and known correspondences between frames.

A *procedure* is a list of K steps. In the features, each step is a curve in a few signal channels; in the pictures, it
is a tool and a path of a hand (``toy_pictures``). Every video performs the procedure at its own speed and in its own
style.

    position  =  step index + progress within the step       (equal in corresponding frames of two videos)
    signal    =  gain * (curve[step](progress) + offset)     (S = D/3 channels)
    nuisance  =  level of this video + its slow drift        (the other 2D/3 channels; larger than the signal)
    features  =  [signal, nuisance] @ mixing  +  temporally correlated noise

``mixing`` is one rotation for all videos, so that no single channel shows the step. The nuisance depends on the video
and, slowly, on time. Nearest neighbours of the raw features are therefore wrong, while an encoder that ignores the
nuisance finds the right ones; one linear layer can do so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import scipy  # its parts are loaded where they are used first
import torch
from torch import Tensor

from vasot_lib.checks import Count, NotNegative, Range, Seed, Share, check_value
from vasot_lib.data.toy_pictures import Scene, autoregressive_noise
from vasot_lib.data.video import Dataset, Video
from vasot_lib.errors import InputError

FRAMES_PER_STEP = 22  # at speed = imbalance = 0
MIN_STEP = 4  # frames; so that every step has a beginning and an end
BACKGROUND = "background"


@dataclass(frozen=True)
class _Procedure:
    """What all videos of one data set have in common.

    Attributes:
        centre, sway, turn: (K, S) coefficients of the curve of each step: constant, cosine and sine in the progress.
        mixing: (D, D) rotation.
        duration: (K,) duration of each step relative to the mean of all steps.
    """

    centre: np.ndarray
    sway: np.ndarray
    turn: np.ndarray
    mixing: np.ndarray
    duration: np.ndarray

    @classmethod
    def draw(cls, n_steps: int, dim: int, imbalance: float, rng: np.random.Generator) -> _Procedure:
        n_signal = dim // 3
        centre, sway, turn = rng.normal(size=(3, n_steps, n_signal))
        duration = np.exp(imbalance * rng.normal(size=n_steps))
        mixing = scipy.stats.ortho_group.rvs(dim, random_state=rng)
        return cls(centre, sway=0.6 * sway, turn=0.4 * turn, mixing=mixing, duration=duration / duration.mean())

    def signal(self, step: np.ndarray, progress: np.ndarray) -> np.ndarray:
        """(N, S) signal without noise, from the (N,) step index and the (N,) progress in [0, 1) of each frame."""
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
    procedures: Sequence[Sequence[int]] = (),
    seed: int = 0,
) -> Dataset:
    """Generate videos of one procedure, or of several that share steps.

    Equal arguments give equal data, and a video does not depend on ``n_videos``.

    Args:
        n_videos: number of videos, about 100 to 200 frames each at the defaults.
        n_steps: K, the number of steps of the procedure, or of all procedures together.
        swaps: probability that two neighbouring steps change places.
        repeats: probability that a step is carried out a second time, somewhere else in the video.
        background: share of frames in [0, .9] that belong to no step; they lie before, between and after the steps.
        imbalance: standard deviation of the logarithm of the durations of different steps.
        speed: standard deviation of the logarithm of the duration of one step over videos, and of the pace within it.
        style: size of the differences between videos: level and drift of the nuisance, gain and offset of the signal;
            in pictures colours, light and camera.
        noise: standard deviation of the temporally correlated noise in every channel (that of the signal is about 1.1).
        dim: D, the number of feature channels, at least 6.
        render: also draw the pictures, (N, 32, 32, 3) uint8.
        procedures: the steps of each of several procedures, in order; video i shows procedure i modulo their number and
            has the activity ``procedure_1``, ``procedure_2``, ... Empty for one procedure of all steps.
        seed: of all random numbers.

    Returns:
        Dataset with features (N, D), labels, ``Video.position``, and ``background`` as the last class if there is any.

    Raises:
        InputError: an argument out of its range.
    """
    check_value("n_videos", n_videos, Count)
    check_value("n_steps", n_steps, Annotated[int, Range(least=2)])
    check_value("dim", dim, Annotated[int, Range(least=6)])
    check_value("background", background, Annotated[float, Range(least=0, most=0.9)])
    for name, share in (("swaps", swaps), ("repeats", repeats)):
        check_value(name, share, Share)
    for name, value in (("imbalance", imbalance), ("speed", speed), ("style", style), ("noise", noise)):
        check_value(name, value, NotNegative)
    for number, steps in enumerate(procedures):
        if len(steps) < 2 or len({*steps}) < len(steps) or not {*steps} <= {*range(n_steps)}:
            raise InputError(f"procedure {number + 1} is {list(steps)}; give 2 or more different steps below {n_steps}")
    # Separate generators, so that more videos, pictures or another style leave the rest of the data as it was.
    check_value("seed", seed, Seed)
    procedure = _Procedure.draw(n_steps, dim, imbalance, np.random.default_rng([seed, 0]))
    scene = Scene.draw(n_steps, np.random.default_rng([seed, 1])) if render else None
    videos = []
    for number in range(n_videos):
        times, look, picture = (np.random.default_rng([seed, 2 + stream, number]) for stream in range(3))
        part = number % len(procedures) if procedures else 0
        own = np.array(procedures[part] if procedures else range(n_steps))
        place, progress = _timeline(procedure.duration[own], swaps, repeats, background, speed, times)
        step = np.append(own, n_steps)[place]
        features = _features(procedure, step, progress, style, noise, look)
        position = np.where(step < n_steps, step + progress, np.nan)
        videos.append(
            Video(
                name=f"toy_{number:02d}",
                features=torch.from_numpy(features.astype(np.float32)),
                labels=torch.from_numpy(step),
                activity=f"procedure_{part + 1}" if procedures else "procedure",
                frames=scene.render(step, progress, style, picture) if scene else None,
                position=torch.from_numpy(position.astype(np.float32)),
            )
        )
    classes = tuple(f"step_{k + 1}" for k in range(n_steps))
    return Dataset(
        name="toy",
        videos=tuple(videos),
        classes=(*classes, BACKGROUND) if background else classes,
        n_actions=n_steps,
        background=n_steps if background else None,
        ordered=swaps == repeats == 0,
    )


def correspondence(x: Video, y: Video) -> Tensor:
    """The true correspondence: for each frame of X the frame of Y that shows the same step at the nearest progress.

    Args:
        x: N frames with ``position``.
        y: M frames with ``position``.

    Returns:
        (N,) int64 frames of Y, the first of equally near ones; -1 on background and if Y does not show the step.

    Raises:
        InputError: a video without true positions, which only generated data has.
    """
    for video in (x, y):
        if video.position is None:
            raise InputError(
                f"video {video.name!r} has no true positions; correspondences are known for generated data only"
            )
    in_x, in_y = x.position, y.position
    assert in_x is not None and in_y is not None
    distance = (in_x[:, None] - in_y[None, :]).abs()  # (N, M)
    distance[in_x.floor()[:, None] != in_y.floor()[None, :]] = torch.inf  # background too, because NaN != NaN
    nearest, index = distance.nan_to_num(torch.inf, posinf=torch.inf).min(dim=1)
    return torch.where(nearest.isfinite(), index, -1)


def _timeline(
    duration: np.ndarray, swaps: float, repeats: float, background: float, speed: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) step index of each frame of a video, K on background, and (N,) progress within the step in [0, 1)."""
    n_steps = len(duration)
    order = _order(n_steps, swaps, repeats, rng)
    tempo = np.exp(speed * rng.normal()) ** 0.5
    lengths = FRAMES_PER_STEP * duration[order] * tempo * np.exp(speed * rng.normal(size=len(order)))
    durations = np.maximum(MIN_STEP, lengths.round().astype(int))
    pace = np.exp(speed * rng.normal(size=len(order)))
    # Background before, between and after the steps, divided by a Dirichlet draw, so that some gaps are nearly empty.
    idle = round(durations.sum() * background / (1 - background))
    gaps = rng.multinomial(idle, rng.dirichlet(np.ones(len(order) + 1)))
    step, progress = [np.full(gaps[0], n_steps)], [np.zeros(gaps[0])]
    for k, n, warp, gap in zip(order, durations, pace, gaps[1:], strict=True):
        step += [np.full(n, k), np.full(gap, n_steps)]
        progress += [((np.arange(n) + 0.5) / n) ** warp, np.zeros(gap)]
    # In float32 a progress too near 1 would round to the next step.
    return np.concatenate(step).astype(np.int64), np.concatenate(progress).clip(0.0, 0.999)


def _order(n_steps: int, swaps: float, repeats: float, rng: np.random.Generator) -> list[int]:
    """The steps of one video in the order in which they occur, some swapped and some repeated."""
    order = list(range(n_steps))
    k = 0
    while k < n_steps - 1:
        if rng.random() < swaps:
            order[k], order[k + 1] = order[k + 1], order[k]
            k += 1  # so that no step moves by more than one place
        k += 1
    for step in range(n_steps):
        if rng.random() < repeats:
            first = order.index(step)
            # Not next to its first occurrence, with which it would form one long step.
            places = [place for place in range(len(order) + 1) if place not in (first, first + 1)]
            order.insert(int(rng.choice(places)), step)
    return order


def _features(
    procedure: _Procedure, step: np.ndarray, progress: np.ndarray, style: float, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """(N, D) float64 features of one video."""
    n, (n_steps, n_signal), dim = len(step), procedure.centre.shape, len(procedure.mixing)
    idle = step == n_steps
    signal = procedure.signal(np.where(idle, 0, step), progress)
    # In the background the signal is random, so that it has no counterpart in other videos.
    signal[idle] = 1.2 * autoregressive_noise(n, n_signal, 0.9, rng)[idle]
    gain = np.exp(0.1 * style * rng.normal(size=n_signal))
    offset = 0.15 * style * rng.normal(size=n_signal)
    level = 1.0 * style * rng.normal(size=dim - n_signal)
    wander = 2.0 * style * autoregressive_noise(n, dim - n_signal, 0.95, rng)
    clean = np.concatenate([gain * (signal + offset), level + wander], axis=1)
    return clean @ procedure.mixing + noise * autoregressive_noise(n, dim, 0.6, rng)
