"""Features of what moves, without a network: for films of one take, or of one movement, from any side. [ours]

What two cameras share is *when* things move, and *how alike* the moments of a film are to each other: temporal
self-similarity (Junejo, Dexter, Laptev, Perez, ECCV 2008), which is also what Gromov-Wasserstein transport compares. A
small map of where a frame moves is made of its neighbours; from the maps follow, per frame,

    self-similarity   distances between all pairs of frames in a window around it, at three widths, by their mean
    bands             log motion in 1, 3 and 10 horizontal bands of the part of the picture that moves, with context

each standardised and of equal weight. How much moves stands before them: it is the mass of a frame in a transport that
does not see how fast a film is played, see :func:`vasot_kit.own_films.matching.match_films`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter1d

RATE = 60.0  # frames per second at which the windows below are meant
CELLS = 16  # of the map, along the longer side
# Half-width, step and smoothing of the self-similarity, in frames.
SCALES = ((6, 1, 0.7), (12, 2, 1.0), (24, 4, 1.4))
BANDS = (1, 3, 10)
NOISE = 0.03  # of the full range; a floor that does not flicker, as the median of a compressed film does
MOST = 0.1  # a difference above it counts no more: how bright a thing is says little


class Motion:
    """The features of :func:`motion_features`."""

    name = "motion"
    side = 128
    alone = False

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, 361) float32 from N pictures (H, W, 3) uint8, of which three are held."""
        return motion_features(motion_maps(pictures), fps)


class MotionMaps:
    """The maps that those are made of: for whoever resamples a film in time and describes it anew."""

    name = "motion maps"
    side = Motion.side
    alone = False

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, 256) float32: maps with nothing around them, row by row."""
        maps = motion_maps(pictures)
        _, h, w = maps.shape
        return np.pad(maps, ((0, 0), (0, CELLS - h), (0, CELLS - w))).reshape(len(maps), -1).astype(np.float32)


def motion_features(maps: np.ndarray, fps: float) -> np.ndarray:
    """One column of how much moves (mean 1), then 360 of self-similarity and bands, (N, 361) float32.

    Args:
        maps: (N, h, w); rows and columns without motion around them change nothing.
        fps: maps per second.
    """
    beat = max(fps / RATE, 0.5)  # windows keep their seconds, as long as some frames lie in them
    moved = np.sqrt(_smooth(maps.mean((1, 2)), 4.0 * beat))
    mass = moved + 0.2 * moved.mean() + 1e-9
    parts = [_self_similarity(maps, half, step, sigma, beat) for half, step, sigma in SCALES]
    parts = [_unit(part) for part in (*parts, _bands(maps, beat))]
    return np.concatenate([(mass / mass.mean())[:, None], *parts], axis=1).astype(np.float32)


def motion_maps(pictures: Iterator[np.ndarray]) -> np.ndarray:
    """(N, h, w): frame t is the difference of t - 1 and t + 1; the ends repeat their neighbours."""
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


def retimed(maps: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(N, h, w): what would move in each of N frames that show the moments ``at`` of a film of M frames, M >= 2.

    Args:
        maps: (M, h, w) of that film.
        at: (N,) fractional frames of it, not decreasing; N >= 2.
    """
    first = np.minimum(at.astype(int), len(maps) - 2)
    share = (at - first)[:, None, None]
    tempo = np.gradient(at)[:, None, None]  # twice as fast, twice as far from frame to frame
    return tempo * ((1 - share) * maps[first] + share * maps[first + 1])


def _motion_map(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(h, w) mean over each cell of the difference of two pictures, beyond the noise."""
    sides = before.shape[:2]
    block = min(*sides, max(1, round(max(sides) / (4 * CELLS))))  # averaging takes the pixels' own noise out
    small = [_pooled(picture, block, block).astype(np.float32) for picture in (before, after)]
    difference = np.abs(small[1] - small[0]).max(-1) / 255
    difference = np.clip(difference - max(NOISE, 2.5 * float(np.median(difference))), 0, MOST)
    h, w = (min(side, max(1, round(CELLS * side / max(difference.shape)))) for side in difference.shape)
    return _pooled(difference[..., None], difference.shape[0] // h, difference.shape[1] // w)[..., 0]


def _pooled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means over blocks; what does not fill a block is cut off."""
    h, w = picture.shape[0] // height, picture.shape[1] // width
    blocks = picture[: h * height, : w * width].reshape(h, height, w, width, -1)
    return blocks.mean((1, 3), dtype=np.float32)


def _self_similarity(maps: np.ndarray, half: int, step: int, sigma: float, beat: float) -> np.ndarray:
    """(N, P): distances of all pairs among frames i - half to i + half, relative to their mean."""
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
    """(N, 14 x 9): log motion in horizontal bands, of nine frames around each."""
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


def _unit(values: np.ndarray) -> np.ndarray:
    """Total variance 1, so that parts of different width weigh the same."""
    return values / np.sqrt(values.var(0).sum() + 1e-12)
