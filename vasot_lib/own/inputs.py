"""What the commands on own films share: which features, how many frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vasot_lib.data.pixels.appearance import Appearance
from vasot_lib.data.pixels.media import probe
from vasot_lib.data.pixels.motion import Motion
from vasot_lib.data.pixels.recordings import Describer
from vasot_lib.errors import InputError

MAX_FRAMES = 2000  # of a film, sampled; a plan between two such films has 4 million entries


def describer(name: str, device: str = "cpu") -> Describer:
    """What makes the features of films.

    Args:
        name: ``motion`` (what moves where, for aligning films of one take or one movement), ``appearance`` (colours by
            place, for cutting films of a fixed camera into actions), or a frozen network such as
            ``torchvision:resnet50``, see :class:`vasot_lib.backbones.Backbone`.
        device: where a network runs.

    Raises:
        InputError: no such features.
        DataError: weights that cannot be had.
    """
    own: dict[str, Describer] = {"appearance": Appearance(), "motion": Motion()}
    if name in own:
        return own[name]
    if ":" not in name:
        raise InputError(f"features are {name!r}; use motion, appearance or library:model, e.g. torchvision:resnet50")
    from vasot_lib.backbones import Backbone

    return Backbone(name, device)


def rate_of(films: Sequence[Path], most: int) -> float | None:
    """Samples per second at which no film gives more than ``most``; None (every frame) where all are short enough."""
    clips = [probe(film) for film in films]
    if all(clip.duration * clip.fps <= most for clip in clips):
        return None
    return most / max(clip.duration for clip in clips)
