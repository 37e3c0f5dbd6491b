"""Features of how a frame looks, without a network: colours by place and where something moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

GRID = 8  # places along each side for colours
MOVES = 4  # and for motion


class Appearance:
    """Mean colour of 8 x 8 places (192 numbers) and log motion energy of 4 x 4 (16), per frame.

    Enough where the camera stands still and steps differ by what lies where; a network that was trained on pictures
    (:mod:`vasot_kit.films.backbones`) knows more.
    """

    name = "appearance"
    side = 96
    alone = False

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, 208) float32 from N pictures (H, W, 3) uint8."""
        rows, before = [], None
        for picture in pictures:
            grey = picture.mean(2)
            moved = np.zeros_like(grey) if before is None else np.abs(grey - before)
            rows.append(np.concatenate([_pooled(picture, GRID), np.log1p(_pooled(moved.astype(np.uint8), MOVES))]))
            before = grey
        table = np.array(rows, dtype=np.float32)
        if len(table) > 1:
            table[0, -MOVES * MOVES :] = table[1, -MOVES * MOVES :]  # nothing came before the first frame
        table[:, : -MOVES * MOVES] /= 255
        return table


def _pooled(picture: np.ndarray, grid: int) -> np.ndarray:
    """Means over ``grid`` x ``grid`` places, flattened."""
    small = Image.fromarray(picture).resize((grid, grid), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel()
