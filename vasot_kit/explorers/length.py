"""Explorer of the length of an action: generated procedures, and how well their segments show without labels.

To generate and to cluster recordings takes most of a second. The procedures that the sliders lead to were therefore
measured once: ``python -m vasot_kit.explorers.length`` does so again, in five minutes, and writes ``length.npz``.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vasot_kit.experiments.auto import RADIUS_PER_LENGTH, ActionLength, action_length
from vasot_kit.explorers.explorer import Explorer, Numbers, Slider
from vasot_kit.figures import plot_action_length
from vasot_lib.data import toy
from vasot_lib.errors import InputError
from vasot_lib.evaluation import segments

MEASURED = Path(__file__).with_name("length.npz")
CONTROLS = (
    Slider("steps", "steps", 8, 4, 20, 2, 4.0),
    Slider("repeats", "repeats", 0.0, 0, 1, 0.25, 4.0),
    Slider("noise", "noise", 0.2, 0, 1.6, 0.2, 4.0),
)
PLACES = tuple(np.arange(c.low, c.high + c.step / 2, c.step).round(6) for c in CONTROLS)
VIDEOS = 6


def explore_length() -> Explorer:
    """Change a generated procedure of six recordings and see which length of an action they show.

    The panel is that of :func:`vasot_kit.figures.plot_action_length`. The numbers are the length found and that of the
    labels, both as shares of a recording, their ratio, and the radius that the preset ``auto`` takes.
    """
    with np.load(MEASURED) as file:
        stored = dict(file)

    def compute(**values: float) -> Numbers:
        place = _place(**values)
        found, labelled = float(stored["found"][place]), float(stored["labelled"][place])
        return {
            "found": found, "by the labels": labelled, "ratio": found / labelled, "radius": RADIUS_PER_LENGTH * found
        }  # fmt: skip

    first = _place(**{control.name: control.value for control in CONTROLS})
    length = ActionLength(
        float(stored["found"][first]), stored["lags"], stored["agreement"][first] / 1000, stored["fitted"][first] / 1000
    )
    still = plot_action_length(length, float(stored["labelled"][first]))
    title = "The length of an action, and the curve that it is read from"
    return Explorer("length", title, CONTROLS, {"radius": RADIUS_PER_LENGTH}, stored, compute, still)


def measured(steps: float, repeats: float, noise: float) -> tuple[ActionLength, float]:
    """The length that is found in generated recordings, and that of their labels, as shares of a recording."""
    data = toy(VIDEOS, round(steps), repeats=repeats, noise=noise)
    labels = [video.labels.numpy() for video in data.videos if video.labels is not None]
    return action_length(data), float(np.mean([1 / len(segments(each)[0]) for each in labels]))


def _place(**values: float) -> int:
    """Where a procedure stands in the stored arrays, of which the last slider runs fastest."""
    place = 0
    for control, places in zip(CONTROLS, PLACES, strict=True):
        here = np.flatnonzero(np.isclose(places, values[control.name]))
        if not len(here):
            raise InputError(f"{control.name} is {values[control.name]}; measured are {', '.join(map(str, places))}")
        place = place * len(places) + int(here[0])
    return place


def main() -> None:
    """Measure all procedures."""
    lengths, labelled = zip(*(measured(*map(float, each)) for each in tqdm([*product(*PLACES)])), strict=True)
    np.savez_compressed(
        MEASURED, lags=lengths[0].lags, found=np.array([each.share for each in lengths]), labelled=np.array(labelled),
        agreement=np.array([1000 * each.agreement for each in lengths]).round().astype(np.int16),
        fitted=np.array([1000 * each.fitted for each in lengths]).round().astype(np.int16),
    )  # fmt: skip


if __name__ == "__main__":
    main()
