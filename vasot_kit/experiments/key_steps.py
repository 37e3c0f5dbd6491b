"""Procedure learning: the key steps that the recordings of one task have in common, and the scores of EgoProceL.

Embeddings of all recordings are clustered, each cluster is a key step, and a graph cut joins neighbouring frames:

    minimise  sum_i (1 - u_i,z_i) + c [z_i != z_i+1]        over the key steps z_i of the frames of a recording

u_ik is the membership of frame i in cluster k as in fuzzy C-means, ``|x_i - m_k|^-2 / sum_j |x_i - m_j|^-2``, and c
the price of a change. On a chain of frames the minimum is found exactly, by the Viterbi algorithm.

Clusters take a step for a point. :func:`shared_steps` takes it for a movement, which other recordings repeat.

Source: Bansal et al., ECCV 2022 (EgoProceL, with the module PCM). The release prices a change by the difference of the
two cluster *numbers*, which are arbitrary, and cuts all recordings as one chain by alpha expansion. Here every change
costs the same, by default what it costs there between neighbouring numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from vasot_kit.experiments.auto import action_length
from vasot_kit.experiments.baselines import baseline_embeddings, equal_split
from vasot_kit.experiments.segments import linked_recordings, nearest_frames, shared_actions
from vasot_kit.experiments.together import embed_all, segment_all
from vasot_lib.checks import Count, NotNegative, Seed, check_value
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError, InputError
from vasot_lib.evaluation import hungarian
from vasot_lib.methods import Method
from vasot_lib.paths import viterbi

EQUAL, RAW = "equal_split", "raw"  # what learns nothing
Ways = dict[tuple[str, str], list[np.ndarray]]  # (embeddings, how) -> (N_v,) key step of each frame of every recording
RELEASED_RATIO = 5.0 / 0.2  # price of a change over that of a frame, times K [release of EgoProceL]


def key_steps(embeddings: Sequence[np.ndarray], k: int, change: float | None = None, seed: int = 0) -> list[np.ndarray]:
    """(N_v,) key step of each frame of every recording, 0 to K - 1.

    Args:
        embeddings: (N_v, D) of each recording of one task.
        k: number of key steps.
        change: c; 0 is clustering alone, None is 25 / K.
        seed: of K-means.

    Raises:
        InputError: no recordings, fewer frames than K, or a value out of range.
    """
    check_value("k", k, Count)
    check_value("change", change, NotNegative | None)
    check_value("seed", seed, Seed)
    if sum(len(rows) for rows in embeddings) < k:
        raise InputError(f"k is {k} but there are {sum(len(rows) for rows in embeddings)} frames; ask for fewer steps")
    means = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(np.concatenate(embeddings)).cluster_centers_
    price = RELEASED_RATIO / k if change is None else change
    return [viterbi(memberships(rows, means), switch=price) for rows in embeddings]


def shared_steps(embeddings: Sequence[np.ndarray], k: int, share: float) -> list[np.ndarray] | None:
    """(N_v,) key step of each frame of every recording by :func:`vasot_kit.experiments.segments.shared_actions`.

    Args:
        embeddings: (N_v, D) of each recording of one task, of unit length.
        k: number of key steps.
        share: mean length of an action as a share of a recording.

    Returns:
        None where recordings are one or too many to be linked, or have no more than K segments together.
    """
    rows = [torch.from_numpy(each) for each in embeddings]
    if len(linked_recordings(len(rows), share)) < len(rows):
        return None
    found = shared_actions(rows, k, share, nearest_frames(rows, share))
    return None if found is None else np.split(found, np.cumsum([len(each) for each in rows])[:-1])


def key_step_rows(dataset: Dataset, methods: Mapping[str, Method], seed: int = 0) -> list[dict[str, Any]]:
    """One row of scores for each way to the key steps of a data set with labels; K is that of the data set.

    Args:
        dataset: recordings of one task, with labels.
        methods: trained methods by name.
        seed: of K-means.
    """
    embedded = {
        name: [rows.cpu().numpy() for rows in embed_all(method, dataset.videos)] for name, method in methods.items()
    }
    own = {
        name: [actions.cpu().numpy() for actions in segment_all(method, dataset.videos)]
        for name, method in methods.items()
        if "segmentation" in method.tasks
    }
    return scored_ways(dataset, all_ways(dataset, embedded, own, dataset.n_actions, seed), seed)


def all_ways(
    dataset: Dataset,
    embedded: Mapping[str, Sequence[np.ndarray]],
    own: Mapping[str, Sequence[np.ndarray]],
    k: int,
    seed: int = 0,
) -> Ways:
    """The key steps by every way, numbered by the mean relative time of their frames.

    ``equal_split`` cuts every recording into K parts. The raw features (standardised per recording, of unit length) and
    the embeddings of each method are clustered (``clustering``), cut (``cut``), and divided into segments that
    recordings share (``shared``, where :func:`shared_steps` finds any). A method that segments has its own
    ``segmentation`` as well.

    Args:
        dataset: V recordings of one task.
        embedded: name of the method -> (N_v, D) embeddings of each recording.
        own: name of the method -> (N_v,) actions of each recording, for those that segment.
        k: number of key steps.
        seed: of K-means.
    """
    try:
        share = action_length(dataset, seed).share
    except DataError:  # features that hardly ever change, in which nothing jumps
        share = None
    found: Ways = {(EQUAL, ""): [equal_split(len(video), k) for video in dataset.videos]}
    for name, rows in {RAW: baseline_embeddings(dataset)["raw"], **embedded}.items():
        found |= {(name, "clustering"): key_steps(rows, k, 0.0, seed), (name, "cut"): key_steps(rows, k, None, seed)}
        shared = None if share is None else shared_steps(rows, k, share)
        found |= {} if shared is None else {(name, "shared"): shared}
    found |= {(name, "segmentation"): list(rows) for name, rows in own.items()}
    return {way: in_order(rows) for way, rows in found.items()}


def in_order(steps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same (N_v,) key steps, numbered from 0 by the mean relative time of their frames, without unused numbers."""
    time = np.concatenate([np.arange(len(rows)) / len(rows) for rows in steps])
    names, place = np.unique(np.concatenate(steps), return_inverse=True)
    mean = np.bincount(place, time) / np.bincount(place)
    renamed = np.argsort(np.argsort(mean, kind="stable"))[place]
    return np.split(renamed, np.cumsum([len(rows) for rows in steps])[:-1])


def scored_ways(dataset: Dataset, ways: Ways, seed: int = 0) -> list[dict[str, Any]]:
    """A row with the scores of each way, for a data set with labels; ``seed`` is written into the rows."""
    truths = [video.labels.numpy() for video in dataset.videos if video.labels is not None]
    return [
        {"dataset": dataset.name, "embeddings": name, "steps": how, "seed": seed}
        | score_key_steps(predictions, truths, dataset.background)
        for (name, how), predictions in ways.items()
    ]


def memberships(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(N, K) u, rows summing to 1, from (N, D) embeddings and (K, D) cluster means."""
    near = 1.0 / cdist(x, means, "sqeuclidean").clip(min=1e-12)
    return near / near.sum(1, keepdims=True)


def score_key_steps(
    predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray], background: int | None = None
) -> dict[str, float]:
    """Scores of the key steps of one task, each a fraction.

    Clusters and steps are matched one to one over all recordings, so that as many frames as possible agree. Precision,
    recall and IoU are computed for each step that occurs, and averaged over the steps; a step without a cluster counts
    as 0. ``step_f1`` is the harmonic mean of the averages ``step_precision`` and ``step_recall``.

    Args:
        predictions: (N_v,) key step of each frame of every recording.
        truths: (N_v,) true steps.
        background: the step whose frames are left out before anything is counted. The release keeps them, as one more
            step; for that, give None.

    Raises:
        InputError: no frames, recordings of another number or length than their labels, or a background that is no
            number.
    """
    check_value("background", background, int | None)
    if len(predictions) != len(truths):
        raise InputError(
            f"{len(predictions)} recordings with key steps for {len(truths)} with labels; give both of each"
        )
    for number, (found, given) in enumerate(zip(predictions, truths, strict=True)):
        if len(found) != len(given):
            raise InputError(f"recording {number} has {len(found)} key steps but {len(given)} labels; give one a frame")
    found, truth = (np.concatenate([*some, np.empty(0, dtype=int)]) for some in (predictions, truths))
    found, truth = found[truth != background], truth[truth != background]
    if not len(truth):
        raise InputError("there are no frames of steps to score; give recordings with labels")
    cluster_of = {step: cluster for cluster, step in hungarian(found, truth).items()}
    steps = np.unique(truth)
    precision, recall, iou = np.zeros((3, len(steps)))
    for place, step in enumerate(steps):
        if step in cluster_of:
            has, is_found = truth == step, found == cluster_of[step]
            both = np.sum(has & is_found)
            precision[place], recall[place] = both / np.sum(is_found), both / np.sum(has)
            iou[place] = both / np.sum(has | is_found)
    p, r = precision.mean(), recall.mean()
    return {
        "step_precision": float(p),
        "step_recall": float(r),
        "step_f1": float(2 * p * r / (p + r)) if p + r else 0.0,
        "step_iou": float(iou.mean()),
    }
