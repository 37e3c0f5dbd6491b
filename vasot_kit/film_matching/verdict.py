"""Whether two films show the same thing: how near the moments that were matched are to each other. [ours]

Motion is always looked at, and the pose of a person where it was compared. Where only the looks of films were compared,
their motion had no part in the matching and is a second opinion: a lower closeness is as good there, and has to agree
with how much of one film is seen again in the other. The closeness of a match was chosen on generated films and
cameras, all other numbers on these and on real films of people who do the same or something else: golf swings, pitches,
push-ups, squats and pull-ups. docs/own_recordings.md says how often they are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

CLOSE = 5.0  # percentile of the distances of all pairs of moments that stands for a very close pair
BY_LENGTH = 0.02  # of the gain of a block per moment; chance finds longer blocks in longer films
# Frames. Of a film of so few it is not said that it shows something else, because their distances are no evidence. Of
# 48 parts of generated films, .69 of those of 10 frames lie below ``none`` of the very film that they are cut from (.60
# of another one), .21 (.27) of 15, .02 (.04) of 20, .06 (.04) of 24, .02 (.10) of 30.
FEW = 25
LEAST = 1e-3  # mean distance; films whose moments all look the same have no distances to tell


class Scale(NamedTuple):
    """What a closeness means.

    Attributes:
        match, none: films are called a match from the first on, and said not to show the same below the second.
        even: of as many films that show the same as of films that do not.
        steepness: of the logarithm of their odds around it.
    """

    match: float
    none: float
    even: float
    steepness: float

    def certainty(self, closeness: float) -> float:
        """Share of the films of that closeness that show the same, if half of all films do."""
        return float(expit(self.steepness * (closeness - self.even)))

    def kind(self, closeness: float, whole: bool) -> str:
        """``match`` or ``part`` (by whether the films are matched as a whole), ``unclear`` or ``none``."""
        if closeness < self.match:
            return "none" if closeness < self.none else "unclear"
        return "match" if whole else "part"


BY_MOTION = Scale(match=1.15, none=0.5, even=0.74, steepness=8)
BY_MOTION_AND_POSE = Scale(match=1.0, none=0.4, even=0.64, steepness=10)
BY_LOOKS = Scale(match=0.75, none=0.1, even=0.5, steepness=12)
RECOGNISED, STRANGE = 1.2, 0.05  # recognition from which on looks speak for a match, and below which they do not at all


def kind_by_looks(closeness: float, recognition: float, whole: bool) -> str:
    """The kind of a pair that only looks matched: a match and ``none`` need motion and recognition to agree.

    Args:
        closeness: in motion, see :func:`closeness_of`.
        recognition: see :func:`recognition_of`.
        whole: as in :meth:`Scale.kind`.
    """
    kind = BY_LOOKS.kind(closeness, whole)
    if kind == "none":
        return kind if recognition < STRANGE else "unclear"
    return kind if recognition >= RECOGNISED or closeness >= BY_MOTION.match else "unclear"


def recognition_of(gain: float, price: float, moments: float) -> float:
    """What the blocks of a plan gain, in multiples of what chance gives them at most.

    Args:
        gain: of the best blocks, see :class:`vasot_kit.film_matching.blocks.Reading`.
        price: of a block: what the best one between different parts of one film gains.
        moments: of a film; the geometric mean of both.
    """
    return gain / (price + BY_LENGTH * moments)


def closeness_of(distances: Sequence[np.ndarray], pairs: np.ndarray) -> float:
    """How near the pairs of a path are: 0 is the mean distance of all pairs of moments, 1 that of the nearest 5 %.

    Args:
        distances: (K, L) each, by motion and by whatever else is asked; the mean of what they say is taken.
        pairs: (K, L) probabilities that two moments are paired.
    """
    found = []
    for distance in distances:
        near = float((distance * pairs).sum() / pairs.sum())
        closest = float(np.percentile(distance, CLOSE))
        found.append(float((distance.mean() - near) / max(distance.mean() - closest, LEAST)))
    return sum(found) / len(found)
