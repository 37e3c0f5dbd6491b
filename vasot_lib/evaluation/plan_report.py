"""What a transport plan says, beside plans that know nothing: mass kept, sharpness, right matches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vasot_lib.errors import InputError

TINY = 1e-30


def plan_report(
    plans: Mapping[str, ArrayLike],
    labels_x: ArrayLike | None = None,
    labels_y: ArrayLike | None = None,
    background: int | None = None,
) -> pd.DataFrame:
    """One row per plan; set the uniform plan and the plan of the temporal prior alone beside the one in question.

    Args:
        plans: name -> (N, M) targets, row i sums to the share of frame i that is matched to real frames of Y.
        labels_x: (N,) classes; without labels the two columns about steps are left out.
        labels_y: (M,) classes.
        background: class whose frames of X are not asked for a partner.

    Returns:
        Columns: ``kept``, the mean share that stays on real frames; ``effective matches``, exp of a row's entropy
        (nats): 1 for a hard match, M for a uniform row, averaged over frames that keep mass; ``right step``, the share
        of a frame's kept mass on frames with its label; ``argmax right``, the share of frames whose best match has
        its label; ``from uniform``, the mean total variation between row and uniform row, 0 to 1. Frames whose label
        does not occur in Y cannot be right and count all the same.

    Raises:
        InputError: plans of different shapes, or labels of another length.
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
        full = kept > TINY
        entropy = -(share * np.log(np.maximum(share, TINY))).sum(1)
        row = {"kept": kept.mean(), "effective matches": np.exp(entropy[full]).mean()}
        if labels_x is not None and labels_y is not None:
            asked = full & (np.asarray(labels_x) != background)
            same = np.asarray(labels_x)[:, None] == np.asarray(labels_y)
            row["right step"] = (share * same).sum(1)[asked].mean()
            row["argmax right"] = same[np.arange(n), matrix.argmax(1)][asked].mean()
        row["from uniform"] = 0.5 * np.abs(share - 1 / m).sum(1)[full].mean()
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")
