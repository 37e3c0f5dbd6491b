"""Measures of a transport plan: how much mass real frames keep, how sharp it is, how often it matches equal labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import one_hot

from vasot_lib.data import Video
from vasot_lib.errors import InputError
from vasot_lib.methods import Method
from vasot_lib.transport import AlignmentTargets

TINY = 1e-30  # a row with less mass counts as empty


def match_matrix(method: Method, x: Video, y: Video) -> Tensor:
    """(N, M) where each frame of X goes: row i of the transport plan, or a single 1 for a method without a plan.

    Raises:
        InputError: the method does not align videos.
    """
    if "alignment" not in method.tasks:
        raise InputError(f"method {method.name!r} does not align; it is made for: {', '.join(method.tasks)}")
    term = getattr(method.hyper, "alignment", method.hyper)
    if not hasattr(term, "transport"):
        return one_hot(method.align(x, y), len(y)).float()
    everything = [torch.ones(1, len(video), dtype=torch.bool) for video in (x, y)]
    targets: AlignmentTargets = term.transport.match(method.embed(x)[None], method.embed(y)[None], *everything)
    return targets.x_to_y[0]


def plan_report(
    plans: Mapping[str, ArrayLike],
    labels_x: ArrayLike | None = None,
    labels_y: ArrayLike | None = None,
    background: int | None = None,
) -> pd.DataFrame:
    """Compare transport plans between the same two videos, such as a plan, the uniform plan and that of a prior alone.

    Args:
        plans: name -> (N, M) targets; row i sums to the share of the mass of frame i that goes to real frames of Y.
        labels_x: (N,) classes of the frames of X; if None, the two columns that need labels are left out.
        labels_y: (M,) classes of the frames of Y.
        background: class whose frames of X are left out of the two columns that need labels.

    Returns:
        A row per plan with the columns

        - ``kept``: the mean row sum, which is the share of mass that does not go to the dummy frame.
        - ``effective matches``: exp of the entropy of a row in nats, which is 1 for a hard match and M for a uniform
          row; the mean over frames that keep mass, as in the columns below.
        - ``right step``: the share of a row's mass on frames of Y with the same label, the mean over frames of X.
        - ``argmax right``: the share of frames of X whose largest entry lies on a frame with the same label. Frames
          whose label does not occur in Y count as wrong in both.
        - ``from uniform``: the total variation distance of a row from the uniform one, 0 to 1, the mean over frames.

    Raises:
        InputError: plans of different shapes, labels of one video only, or labels of another length.
    """
    shapes = {name: np.shape(plan) for name, plan in plans.items()}
    if len(set(shapes.values())) != 1:
        raise InputError(f"the plans have shapes {shapes}; give at least one, all of (frames of X, frames of Y)")
    n, m = next(iter(shapes.values()))
    if (labels_x is None) != (labels_y is None):
        raise InputError("plan_report() got labels of one side only; give both or none")
    for name, labels, size in (("labels_x", labels_x, n), ("labels_y", labels_y, m)):
        if labels is not None and np.shape(labels) != (size,):
            raise InputError(f"{name} have shape {np.shape(labels)}; expected ({size},), one per frame")
    rows = {}
    for name, plan in plans.items():
        matrix = np.asarray(plan, dtype=float)
        kept = matrix.sum(1)
        share = matrix / np.maximum(kept, TINY)[:, None]
        not_empty = kept > TINY
        entropy = -(share * np.log(np.maximum(share, TINY))).sum(1)
        row = {"kept": kept.mean(), "effective matches": np.exp(entropy[not_empty]).mean()}
        if labels_x is not None and labels_y is not None:
            counted = not_empty & (np.asarray(labels_x) != background)
            same = np.asarray(labels_x)[:, None] == np.asarray(labels_y)
            row["right step"] = (share * same).sum(1)[counted].mean()
            row["argmax right"] = same[np.arange(n), matrix.argmax(1)][counted].mean()
        row["from uniform"] = 0.5 * np.abs(share - 1 / m).sum(1)[not_empty].mean()
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")
