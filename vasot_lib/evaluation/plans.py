"""Does the transport do anything? A plan beside plans that know nothing, and labels decoded from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def viterbi(scores: ArrayLike, switch: float = 0.0, order: Sequence[int] | None = None) -> np.ndarray:
    """The labelling of best total score: ``max sum_i scores[i, z_i] - switch * (number of changes)``.

    Args:
        scores: (N, K) log-probabilities of each action at each frame, e.g. the log of a plan's rows.
        switch: cost in nats of every change of action; 0 without an order gives the argmax of every frame.
        order: actions that occur one after another, each for at least one frame (a transcript, SPEC section 10);
            None lets every action follow every other.

    Returns:
        (N,) actions.

    Raises:
        InputError: scores that are not (N, K) or hold NaN, a negative switch cost, a transcript longer than N frames
            or with an unknown action.
    """
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or np.isnan(table).any():
        raise InputError(f"the scores have shape {table.shape}; expected (frames, actions) without NaN")
    if not switch >= 0:
        raise InputError(f"switch is {switch}; a change of action costs 0 or more")
    n, k = table.shape
    if order is not None:
        if not 0 < len(order) <= n or not set(order) <= set(range(k)):
            raise InputError(f"order has {len(order)} actions {list(order)}; expected 1 to {n} numbers below {k}")
        path = _best_path(table[:, list(order)], switch, in_order=True)
        return np.asarray(order)[path]
    return _best_path(table, switch, in_order=False)


def _best_path(table: np.ndarray, switch: float, in_order: bool) -> np.ndarray:
    """States through the (N, S) table: stay, or move to the next one (in order) or to any other."""
    n, s = table.shape
    total = table[0].copy()
    if in_order:
        total[1:] = -np.inf
    came_from = np.empty((n, s), dtype=int)
    states = np.arange(s)
    for i in range(1, n):
        if in_order:
            source = states - 1
            moved = np.append(-np.inf, total[:-1]) - switch
        else:
            source = np.full(s, total.argmax())
            moved = np.full(s, total.max() - switch)
        stays = total >= moved
        came_from[i] = np.where(stays, states, source)
        total = np.where(stays, total, moved) + table[i]
    path = np.empty(n, dtype=int)
    path[-1] = s - 1 if in_order else total.argmax()
    for i in range(n - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path
