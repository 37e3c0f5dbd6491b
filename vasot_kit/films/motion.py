"""Features of what moves, without a network: for films of one take, or of one movement, from any side. [ours]

Two cameras that see the same movement from different sides agree in *when* something moves and in *how similar* the
moments of the film are to each other. The latter is temporal self-similarity (Junejo, Dexter, Laptev, Perez, ECCV
2008), which is also what Gromov-Wasserstein transport compares. For every frame a small map of where something moves
is made from the frames before and after it. Two groups of features follow from the maps, per frame:

    self-similarity   distances between all pairs of frames in a window around it, at three widths, by their mean
    bands             log motion in 1, 3 and 10 horizontal bands of the part of the picture that moves, with context

each standardised and of equal weight. The column before them is how much moves. From it follow the moments at which
films are compared, see :class:`vasot_kit.film_matching.description.FilmDescription`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter1d

RATE = 60.0  # frames per second for which the windows below are given
CELLS = 16  # cells of a map along the longer side of the picture
# Half-width, step and smoothing of the self-similarity, in frames.
SCALES = ((6, 1, 0.7), (12, 2, 1.0), (24, 4, 1.4))
BANDS = (1, 3, 10)
# Smaller differences, in shares of the full range, count as noise. So do those below 2.5 times the median difference of
# the picture; the median alone would not do, because it flickers in compressed films.
NOISE = 0.03
REST = 0.2  # mass of a frame in which nothing moves, in multiples of the mean motion
MAX_DIFFERENCE = 0.1  # larger differences count as this one: how bright a moving thing is says little


class Motion:
    """Extracts the features of :func:`motion_features`."""

    name = "motion"
    side = 128
    one_process = False

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, 361) float32 features of N pictures (H, W, 3) uint8, of which three are in memory at a time."""
        return motion_features(motion_maps(pictures), fps)


class MotionMaps:
    """Extracts the maps that motion features are made of, so that a film can be warped in time and described anew."""

    name = "motion maps"
    side = Motion.side
    one_process = False

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, 256) float32: the maps, padded with zeros to 16 x 16 cells and flattened row by row."""
        maps = motion_maps(pictures)
        _, h, w = maps.shape
        return np.pad(maps, ((0, 0), (0, CELLS - h), (0, CELLS - w))).reshape(len(maps), -1).astype(np.float32)


def motion_features(maps: np.ndarray, fps: float) -> np.ndarray:
    """(N, 361) float32: one column of how much moves (mean 1), then 360 of self-similarity and bands.

    Args:
        maps: (N, h, w) of :func:`motion_maps`; padding with rows and columns of zeros changes nothing.
        fps: maps per second.
    """
    beat = _beat(fps)
    moved = np.sqrt(_smooth(maps.mean((1, 2)), 4.0 * beat))
    mass = moved + REST * moved.mean() + 1e-9
    parts = [*self_similarities(maps, fps), unit(_bands(maps, beat))]
    return np.concatenate([(mass / mass.mean())[:, None], *parts], axis=1).astype(np.float32)


def motion_maps(pictures: Iterator[np.ndarray]) -> np.ndarray:
    """(N, h, w): map t is the difference of frames t - 1 and t + 1; the first and last map repeat their neighbours."""
    maps: list[np.ndarray] = []
    held: list[np.ndarray] = []
    for picture in pictures:
        held = [*held[-2:], picture]
        if len(held) == 3:
            maps.append(_motion_map(held[0], held[2]))
    if not maps:  # one or two frames
        maps = [_motion_map(held[0], held[-1])]
        return np.repeat(np.array(maps), len(held), axis=0)
    return np.array([maps[0], *maps, maps[-1]])


def time_warped(maps: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(N, h, w) motion maps of a film of N frames that shows the moments ``at`` of another film, of M frames.

    Args:
        maps: (M, h, w) of the other film; M >= 2.
        at: (N,) fractional frames of it, not decreasing; N >= 2.
    """
    first = np.minimum(at.astype(int), len(maps) - 2)
    share = (at - first)[:, None, None]
    tempo = np.gradient(at)[:, None, None]  # at twice the tempo things move twice as far from frame to frame
    return tempo * ((1 - share) * maps[first] + share * maps[first + 1])


def _motion_map(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(h, w) mean over each cell of the absolute difference of two pictures, as far as it exceeds the noise."""
    sides = before.shape[:2]
    block = min(*sides, max(1, round(max(sides) / (4 * CELLS))))  # averaging removes the noise of single pixels
    small = [_pooled(picture, block, block).astype(np.float32) for picture in (before, after)]
    difference = np.abs(small[1] - small[0]).max(-1) / 255
    difference = np.clip(difference - max(NOISE, 2.5 * float(np.median(difference))), 0, MAX_DIFFERENCE)
    cell = -(-max(difference.shape) // CELLS)  # whole pixels: cells of uneven size would flicker
    return _pooled(difference[..., None], *(min(side, cell) for side in difference.shape))[..., 0]


def _pooled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means over blocks of ``height`` x ``width`` pixels; what does not fill a block is cut off."""
    h, w = picture.shape[0] // height, picture.shape[1] // width
    blocks = picture[: h * height, : w * width].reshape(h, height, w, width, -1)
    return blocks.mean((1, 3), dtype=np.float32)


def self_similarities(values: np.ndarray, fps: float) -> list[np.ndarray]:
    """Of each frame, at three widths: (N, P) distances between all pairs of frames in a window around it.

    Args:
        values: (N, ...) what frames are compared by.
        fps: frames per second.
    """
    return [unit(_self_similarity(values, half, step, sigma, _beat(fps))) for half, step, sigma in SCALES]


def unit(values: np.ndarray) -> np.ndarray:
    """Scaled to a total variance of 1, so that groups of features of different width have the same weight."""
    return values / np.sqrt(values.var(0).sum() + 1e-12)


def _beat(fps: float) -> float:
    """Frames of this film per frame at ``RATE``: windows last the same time at any rate, down to a few frames."""
    return max(fps / RATE, 0.5)


def _self_similarity(maps: np.ndarray, half: int, step: int, sigma: float, beat: float) -> np.ndarray:
    """(N, P): distances between all pairs of frames in a window around each frame, relative to their mean.

    Args:
        maps: (N, ...), what frames are compared by.
        half, step: the window reaches from i - half to i + half, in steps, at 60 frames per second.
        sigma: standard deviation of the smoothing in time, in frames.
        beat: factor from frames at 60 per second to frames of this film.
    """
    flat, n = _smooth(maps.reshape(len(maps), -1), sigma * beat), len(maps)
    reach = max(3 * step, round(half * beat))
    places = np.round(np.linspace(-reach, reach, 2 * (half // step) + 1)).astype(int)
    # apart[o, i] = |flat[i + o] - flat[i]|: linear in N, never N x N.
    apart = np.zeros((2 * reach + 1, n), np.float32)
    for offset in range(1, min(2 * reach + 1, n)):
        apart[offset, : n - offset] = np.linalg.norm(flat[offset:] - flat[:-offset], axis=1)
    near = np.clip(np.arange(n)[:, None] + places, 0, n - 1)
    i, j = np.triu_indices(len(places), 1)
    patch = apart[near[:, j] - near[:, i], near[:, i]]
    return _standard(patch / (patch.mean(1, keepdims=True) + 1e-9))


def _bands(maps: np.ndarray, beat: float) -> np.ndarray:
    """(N, 14 x 9): log motion in 1 + 3 + 10 horizontal bands, of nine frames around each frame."""
    rows = _smooth(maps.sum(2), 2.0 * beat)
    share = np.cumsum(rows.sum(0)) / (rows.sum() + 1e-12)
    rows = rows[:, np.searchsorted(share, 0.01) : np.searchsorted(share, 0.99) + 1]
    total = np.pad(np.cumsum(rows, axis=1), ((0, 0), (1, 0)))
    parts = []
    for count in BANDS:
        edges = np.linspace(0, rows.shape[1], count + 1)
        band = np.diff(np.stack([np.interp(edges, np.arange(total.shape[1]), row) for row in total]), axis=1)
        parts.append(_standard(np.log(band + 0.01 * band.mean() + 1e-12)) / np.sqrt(count))
    features, n = np.concatenate(parts, axis=1), len(maps)
    around = np.round(np.arange(-8, 9, 2) * beat).astype(int)
    return np.concatenate([features[np.clip(np.arange(n) + offset, 0, n - 1)] for offset in around], axis=1)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter1d(values, sigma, axis=0, mode="nearest")


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / (values.std(0) + 1e-6)
