"""Features of how a frame looks, without a network: colours, and how much moves, in each part of the picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

GRID = 8  # cells along each side of the picture, for colours
MOTION_GRID = 4  # and for motion


class Appearance:
    """Mean colour of 8 x 8 cells of the picture (192 numbers) and log motion of 4 x 4 cells (16), per frame.

    This is enough if the camera stands still and the steps differ by what lies where. A network that was trained on
    pictures (:mod:`vasot_kit.films.backbones`) gives better features otherwise.
    """

    name = "appearance"
    side = 96
    one_process = False

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, 208) float32 features of N pictures (H, W, 3) uint8."""
        rows, before = [], None
        for picture in pictures:
            grey = picture.mean(2)
            moved = np.zeros_like(grey) if before is None else np.abs(grey - before)
            motion = np.log1p(_pooled(moved.astype(np.uint8), MOTION_GRID))
            rows.append(np.concatenate([_pooled(picture, GRID), motion]))
            before = grey
        table, colours = np.array(rows, dtype=np.float32), 3 * GRID * GRID
        if len(table) > 1:
            table[0, colours:] = table[1, colours:]  # no frame comes before the first one
        table[:, :colours] /= 255
        return table


def _pooled(picture: np.ndarray, grid: int) -> np.ndarray:
    """Means over ``grid`` x ``grid`` cells, flattened."""
    small = Image.fromarray(picture).resize((grid, grid), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel()
