"""Pictures of the generated videos of ``toy``: a hand works with tools on a table.

Every step has a tool, which is a shape at a fixed place, and a path of the hand. Every video has its own table, tool
and skin colours; light, camera and a shadow change slowly during a video. The same step therefore looks different in
different videos, and raw pixels do not tell which frames correspond.
"""

from __future__ import annotations

from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np
import scipy

SIZE = 32  # pixels
# y, x of pixel centres in [-1, 1]
_Y, _X = np.meshgrid(*(np.linspace(-1 + 1 / SIZE, 1 - 1 / SIZE, SIZE),) * 2, indexing="ij")


def autoregressive_noise(n: int, channels: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """(n, channels) first-order autoregressive noise of variance 1; ``memory`` is the correlation of neighbours."""
    innovation = rng.normal(size=(n, channels))
    innovation[1:] *= np.sqrt(1 - memory**2)
    return scipy.signal.lfilter([1.0], [1.0, -memory], innovation, axis=0)


@dataclass(frozen=True)
class Scene:
    """What all videos of one data set have in common; lengths are in halves of the picture's width.

    Attributes:
        place: (K, 2) position of the tool of each step, y and x in [-1, 1].
        arm: (K, 2) start of the hand's path, relative to the tool; the path ends at the opposite point.
        bow: (K,) how much the path of the hand is bent.
    """

    place: np.ndarray
    arm: np.ndarray
    bow: np.ndarray

    @classmethod
    def draw(cls, n_steps: int, rng: np.random.Generator) -> Scene:
        """Draw a scene for ``n_steps`` steps; the tools lie evenly spaced on a ring."""
        around = 2 * np.pi * (rng.permutation(n_steps) + rng.random()) / n_steps
        swing = 2 * np.pi * rng.random(n_steps)
        return cls(
            place=0.4 * np.stack([np.sin(around), np.cos(around)], axis=1),
            arm=0.5 * np.stack([np.sin(swing), np.cos(swing)], axis=1),
            bow=rng.choice([-0.5, 0.5], size=n_steps),
        )

    def render(self, step: np.ndarray, progress: np.ndarray, style: float, rng: np.random.Generator) -> np.ndarray:
        """Draw the (N, 32, 32, 3) uint8 pictures of a video.

        Args:
            step: (N,) step index, K on background.
            progress: (N,) progress within the step, in [0, 1).
            style: size of the differences between videos; values above 1 count as 1.
            rng: source of all random numbers.
        """
        n, n_steps = len(step), len(self.bow)
        strength = min(style, 1.0)
        look = _Appearance.draw(n_steps, strength, rng)
        rest = (0.5 * autoregressive_noise(n, 2, 0.95, rng)).clip(-0.8, 0.8)
        camera = strength * (0.1 * rng.normal(size=2) + 0.12 * autoregressive_noise(n, 2, 0.95, rng)).clip(-0.3, 0.3)
        light = np.exp(strength * 0.2 * autoregressive_noise(n, 1, 0.95, rng))
        shadow = 0.6 * autoregressive_noise(n, 2, 0.97, rng)
        pictures = np.empty((n, SIZE, SIZE, 3), dtype=np.uint8)
        for i, (k, u) in enumerate(zip(step.tolist(), progress.tolist(), strict=True)):
            y, x = _Y - camera[i, 0], _X - camera[i, 1]
            canvas = look.draw_table(y, x)
            hand = rest[i]
            if k < n_steps:
                tool_y, tool_x = y - self.place[k, 0], x - self.place[k, 1]
                _paint(canvas, _SHAPES[k % len(_SHAPES)](tool_y, tool_x), (0.55 + 0.45 * u) * look.tools[k])
                hand = self._hand(k, u)
            _paint(canvas, np.hypot(y - hand[0], x - hand[1]) - 0.2, look.skin)
            shade = 1 - 0.5 * strength * np.exp(-3 * ((_Y - shadow[i, 0]) ** 2 + (_X - shadow[i, 1]) ** 2))
            canvas = light[i] * shade[..., None] * canvas + rng.normal(scale=0.03, size=canvas.shape)
            pictures[i] = (255 * canvas.clip(0, 1)).astype(np.uint8)
        return pictures

    def _hand(self, k: int, u: float) -> np.ndarray:
        """(2,) position of the hand, y and x, at progress u of step k."""
        across = self.arm[k, ::-1] * (-1, 1)
        return self.place[k] + (1 - 2 * u) * self.arm[k] + self.bow[k] * np.sin(np.pi * u) * across


@dataclass(frozen=True)
class _Appearance:
    """The colours of one video: ``table`` (3,), ``grain`` (4,) of its texture, ``skin`` (3,), ``tools`` (K, 3)."""

    table: np.ndarray
    grain: np.ndarray
    skin: np.ndarray
    tools: np.ndarray

    @classmethod
    def draw(cls, n_steps: int, strength: float, rng: np.random.Generator) -> _Appearance:
        table = np.array(hsv_to_rgb(rng.random(), 0.5, rng.uniform(0.3, 0.8)))
        hues = np.arange(n_steps) / n_steps + strength * rng.random(n_steps)
        return cls(
            table=0.45 * (1 - strength) + strength * table,
            grain=np.append(rng.uniform(-9, 9, size=2), [0.1 * strength, rng.uniform(0, 6)]),
            skin=np.array(hsv_to_rgb(0.07, 0.45, 0.95 - 0.5 * strength * rng.random())),
            tools=np.array([hsv_to_rgb(hue % 1, 0.85, 1.0) for hue in hues]),
        )

    def draw_table(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(32, 32, 3) picture of the table, whose texture moves with the camera through the coordinates y and x."""
        a, b, depth, phase = self.grain
        return self.table + depth * np.sin(a * y + b * x + phase)[..., None]


def _paint(canvas: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> None:
    """Fill a shape, given by its (32, 32) signed distance (negative inside), with an edge that is one pixel wide."""
    cover = (0.5 - distance * SIZE / 2).clip(0, 1)[..., None]
    canvas += cover * (colour - canvas)


_SHAPES = (
    lambda y, x: np.maximum(np.abs(y), np.abs(x)) - 0.3,  # square
    lambda y, x: np.abs(np.hypot(y, x) - 0.3) - 0.09,  # ring
    lambda y, x: np.maximum(np.abs(y) - 0.1, np.abs(x) - 0.5),  # bar
    lambda y, x: np.maximum(np.minimum(np.abs(y), np.abs(x)) - 0.09, np.maximum(np.abs(y), np.abs(x)) - 0.38),  # cross
    lambda y, x: np.abs(y) + np.abs(x) - 0.38,  # diamond
    lambda y, x: np.maximum(np.abs(y) - 0.5, np.abs(x) - 0.1),  # post
    lambda y, x: np.maximum(-y - 0.3, 0.9 * y + 1.6 * np.abs(x) - 0.3),  # triangle
    lambda y, x: np.hypot(y, x) - 0.3,  # disk
)
