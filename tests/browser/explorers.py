"""The explorers that the browser drives, at 128 x 128 frames. The text of this file is the first cell of a notebook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from vasot_kit.explorers import Explorer, explore_dummy, explore_length, explore_pair, explore_structure
from vasot_lib.data import Video, toy
from vasot_lib.transport import Far, Near, cosine_cost, solve, temporal_prior


def thinned(video: Video, length: int = 128) -> Video:
    """So many frames of a generated video, evenly over its length."""
    kept = torch.linspace(0, len(video) - 1, length).round().long()
    assert video.labels is not None and video.position is not None and video.frames is not None
    return replace(
        video, features=video.features[kept], labels=video.labels[kept], position=video.position[kept],
        frames=video.frames[kept.numpy()],
    )  # fmt: skip


# X swaps two steps, Y repeats one; with little style the features find their like without training.
DATA = toy(4, 6, swaps=0.3, repeats=0.2, style=0.3, render=True, seed=2)
X, Y = thinned(DATA.videos[1]), thinned(DATA.videos[3])


def pair() -> Explorer:
    """Two plans of one pair and a uniform one, with pictures of the frames."""
    cost, prior = cosine_cost(X.features[None], Y.features[None]), temporal_prior(len(X), len(Y))
    plans = {
        name: solve(cost + rho * prior, (Near(0.04), Far(0.04)), alpha=0.3, epsilon=0.07).matrix[0] * len(X)
        for name, rho in (("features", 0.0), ("features and time", 0.35))
    }
    plans["uniform"] = torch.full((len(X), len(Y)), 1 / len(Y))
    return explore_pair(plans, X, Y, DATA.classes, DATA.background)


def structure() -> Explorer:
    """The sliders of the structural priors."""
    return explore_structure(X, Y, DATA.background)


def dummy() -> Explorer:
    """The sliders of the dummy frames."""
    return explore_dummy(X, Y, background=DATA.background)


def length() -> Explorer:
    """The sliders of a generated procedure."""
    return explore_length()


EXPLORERS: dict[str, Callable[[], Explorer]] = {
    "pair": pair, "structure": structure, "dummy": dummy, "length": length
}  # fmt: skip
