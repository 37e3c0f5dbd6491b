"""Scores of frame embeddings and of frame-to-frame matches (SPEC section 9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.stats import kendalltau
from sklearn.linear_model import LinearRegression
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC

from vasot_lib.data.video import TRAIN
from vasot_lib.errors import InputError, unknown_name

PROTOCOLS = ("split", "release")
FRACTIONS = (0.1, 0.5, 1.0)
NEIGHBOURS = (5, 10, 15)
LABELLED_DRAWS = 5  # draws of the labelled videos when only a fraction is labelled
MAX_FRAMES = 4000  # frames that the SVM is fitted on, tested on, and AP queries: every n-th frame above that


@dataclass(frozen=True)
class _ForegroundFrames:
    """The foreground frames of one video: embeddings (n, D), labels (n,), frame numbers (n,), length of the video."""

    embeddings: np.ndarray
    labels: np.ndarray
    time: np.ndarray
    length: int


def score_alignment(
    embeddings: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    *,
    ordered: bool,
    background: int | None = None,
    protocol: str = "split",
    activities: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    seed: int = 0,
    stride: int = 1,
) -> dict[str, float | None]:
    """All alignment scores of one set of videos; background frames are left out of every one.

    - ``acc_0.1, acc_0.5, acc_1.0``: frame accuracy of scikit-learn's ``SVC()`` when that fraction of the videos
      (rounded up) is labelled; below 1 the mean over 5 seeded choices of them. Training and test frames are thinned to
      every n-th so that at most 4000 of each remain.
    - ``progress``: for every phase but the last the target is (t - t_end) / length; R2 of a linear regression on the
      embeddings, mean over phases. Phases go by their mean relative place; a video without a phase has no such target.
    - ``tau``: Kendall's tau between frame order and the order of the nearest neighbours, mean over ordered pairs of
      videos (0 where all frames share one neighbour). Needs no fitting, so it uses all videos that are scored.
    - ``ap_5, ap_10, ap_15``: share of the K nearest frames of other videos with the query's label, mean over all
      frames (thinned to at most 4000 queries, never the frames searched). Uses all videos that are scored.

    ``split`` fits on the part ``train`` of a published split and scores the others, ``tau`` and ``ap`` too; where there
    is no split it fits on videos 0, 2, 4, ... and scores on 1, 3, 5, ... of each activity. ``release`` fits and scores
    on the same videos, as the VAOT and LAV releases do: an SVM can then remember its test frames. A table must say
    which.

    Args:
        embeddings: (N_v, D) per video.
        labels: (N_v,) per video.
        ordered: False (phases repeat or swap) makes ``progress`` and ``tau`` None.
        background: class whose frames are left out, or None.
        protocol: ``"split"`` or ``"release"``.
        activities: one per video; scored one by one, then averaged with equal weight.
        parts: of the published split, one per video; empty strings, or None, where there is none.
        seed: of the choice of labelled videos.
        stride: every stride-th frame of both videos is used for ``tau``.

    Raises:
        InputError: unknown protocol, different lengths, fewer than two videos of an activity with frames to score, or a
            split that leaves an activity nothing to fit on or fewer than two videos to score.

    Source: SPEC section 9; protocols of TCC (Dwibedi et al. 2019), LAV and VAOT.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    videos = _foreground(embeddings, labels, background)
    names, published = (list(given) if given is not None else [""] * len(videos) for given in (activities, parts))
    for what, given in (("activities", names), ("parts", published)):
        if len(given) != len(videos):
            raise InputError(f"{len(given)} {what} for {len(videos)} videos; give one per video")
    groups: dict[str, list[_ForegroundFrames]] = {}
    trained: dict[str, list[bool]] = {}
    for activity, part, video in zip(names, published, videos, strict=True):
        if len(video.labels):
            groups.setdefault(activity, []).append(video)
            trained.setdefault(activity, []).append(part == TRAIN)
    if not groups or min(map(len, groups.values())) < 2:
        sizes = {activity: len(group) for activity, group in groups.items()}
        raise InputError(f"alignment needs 2 or more videos with foreground frames of every activity, got {sizes or 0}")
    scores = []
    for activity, group in groups.items():
        fit, test, found = _split_videos(activity, group, trained[activity], protocol, any(published))
        score: dict[str, float | None] = {f"acc_{share}": _accuracy(fit, test, share, seed) for share in FRACTIONS}
        score["progress"] = _progress(fit, test) if ordered else None
        score["tau"] = _tau(found, stride) if ordered else None
        scores.append(score | _retrieval(found))
    return {name: _mean([score[name] for score in scores]) for name in scores[0]}


def frame_error(matches: np.ndarray, truth: np.ndarray, n_y: int) -> dict[str, float]:
    """Distance between the matched and the true frame where the true correspondence is known.

    Args:
        matches: (N,) indices into Y; -1 where a frame was left unmatched.
        truth: (N,) indices into Y; -1 where there is none.
        n_y: frames of Y.

    Returns:
        ``mean`` and ``p90`` (90th percentile) in frames, ``mean_share`` and ``p90_share`` as a share of Y's length,
        over frames with both indices, and ``matched``, the share of frames with a true partner that were matched.

    Raises:
        InputError: different lengths, or no frame has both indices.
    """
    matches, truth = np.asarray(matches), np.asarray(truth)
    _same_length("matches", matches, "true partners", truth)
    known = truth >= 0
    both = known & (matches >= 0)
    if not both.any():
        raise InputError(f"none of {len(truth)} frames has both a match and a true partner; nothing to measure")
    errors = np.abs(matches[both] - truth[both])
    mean, p90 = float(errors.mean()), float(np.percentile(errors, 90))
    return {
        "mean": mean,
        "p90": p90,
        "mean_share": mean / n_y,
        "p90_share": p90 / n_y,
        "matched": float(both.sum() / known.sum()),
    }


def label_transfer(
    matches: np.ndarray, labels_x: np.ndarray, labels_y: np.ndarray, background: int | None = None
) -> float:
    """Share of X's frames whose matched frame of Y has the same label; an unmatched frame (-1) counts as wrong.

    Args:
        matches: (N,) indices into Y.
        labels_x: (N,).
        labels_y: (M,).
        background: X's frames of this class are left out.

    Raises:
        InputError: different lengths, or no frame of X is left.
    """
    matches, labels_x, labels_y = np.asarray(matches), np.asarray(labels_x), np.asarray(labels_y)
    _same_length("matches", matches, "labels of X", labels_x)
    right = (labels_y[matches] == labels_x) & (matches >= 0)
    if background is not None:
        right = right[labels_x != background]
    if not len(right):
        raise InputError(f"all {len(labels_x)} frames of X are background {background}; nothing to transfer")
    return float(right.mean())


def _same_length(first: str, a: np.ndarray, second: str, b: np.ndarray) -> None:
    if len(a) != len(b):
        raise InputError(f"{len(a)} {first} for {len(b)} {second}; give one per frame of X")


def _foreground(
    embeddings: Sequence[np.ndarray], labels: Sequence[np.ndarray], background: int | None
) -> list[_ForegroundFrames]:
    if len(embeddings) != len(labels):
        raise InputError(f"{len(embeddings)} embedded videos for {len(labels)} label lists; give one per video")
    videos = []
    for number, (rows, names) in enumerate(zip(embeddings, labels, strict=True)):
        rows, names = np.asarray(rows), np.asarray(names)
        if rows.ndim != 2 or names.shape != rows.shape[:1]:
            raise InputError(
                f"video {number}: embeddings have shape {rows.shape} and labels {names.shape}; "
                "expected (frames, D) and (frames,)"
            )
        if not np.isfinite(rows).all():
            raise InputError(
                f"video {number}: embeddings hold NaN or infinite values; training diverged, check it first"
            )
        time = np.arange(len(names)) if background is None else np.flatnonzero(names != background)
        videos.append(_ForegroundFrames(rows[time], names[time], time, len(names)))
    return videos


def _split_videos(
    activity: str, videos: list[_ForegroundFrames], trained: list[bool], protocol: str, split: bool
) -> tuple[list[_ForegroundFrames], list[_ForegroundFrames], list[_ForegroundFrames]]:
    """Those to fit on, those to score what was fitted, and those to score what needs no fitting."""
    if protocol == "release":
        return videos, videos, videos
    if not split:
        return videos[::2], videos[1::2], videos
    fit, test = (
        [video for video, own in zip(videos, trained, strict=True) if own == wanted] for wanted in (True, False)
    )
    if not fit or len(test) < 2:
        raise InputError(
            f"the split leaves {len(fit)} videos of activity {activity!r} to fit on and {len(test)} to score; at least "
            "1 and 2 are needed, bring the others or use protocol='release'"
        )
    return fit, test, test


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _thinned(videos: Sequence[_ForegroundFrames]) -> tuple[np.ndarray, np.ndarray]:
    rows, names = np.concatenate([v.embeddings for v in videos]), np.concatenate([v.labels for v in videos])
    step = math.ceil(len(names) / MAX_FRAMES)
    return rows[::step], names[::step]


def _accuracy(fit: list[_ForegroundFrames], test: list[_ForegroundFrames], share: float, seed: int) -> float:
    count = math.ceil(share * len(fit) - 1e-9)  # .1 * 70 is 7.000000000000001
    rng = np.random.default_rng(seed)
    rows, names = _thinned(test)
    scores = []
    for _ in range(LABELLED_DRAWS if count < len(fit) else 1):
        known_rows, known_names = _thinned([fit[i] for i in sorted(rng.choice(len(fit), count, replace=False))])
        if (known_names == known_names[0]).all():  # SVC refuses to be fitted on one class
            scores.append(float((names == known_names[0]).mean()))
        else:
            scores.append(float(SVC().fit(known_rows, known_names).score(rows, names)))
    return float(np.mean(scores))


def _progress(fit: list[_ForegroundFrames], test: list[_ForegroundFrames]) -> float | None:
    scores = []
    for phase in _phases([*fit, *test])[:-1]:
        (x, y), (x_test, y_test) = (_progress_targets(videos, phase) for videos in (fit, test))
        if len(y) and len(y_test) > 1:
            scores.append(float(LinearRegression().fit(x, y).score(x_test, y_test)))
    return float(np.mean(scores)) if scores else None


def _phases(videos: list[_ForegroundFrames]) -> list[int]:
    names = np.concatenate([video.labels for video in videos])
    place = np.concatenate([video.time / video.length for video in videos])
    return sorted((int(name) for name in np.unique(names)), key=lambda name: place[names == name].mean())


def _progress_targets(videos: list[_ForegroundFrames], phase: int) -> tuple[np.ndarray, np.ndarray]:
    shown = [video for video in videos if (video.labels == phase).any()]
    if not shown:
        return np.empty((0, 1)), np.empty(0)
    targets = [(video.time - video.time[video.labels == phase].max()) / video.length for video in shown]
    return np.concatenate([video.embeddings for video in shown]), np.concatenate(targets)


def _tau(videos: list[_ForegroundFrames], stride: int) -> float:
    scores = []
    for x, y in permutations([video.embeddings[::stride] for video in videos], 2):
        tau = kendalltau(np.arange(len(x)), pairwise_distances_argmin(x, y)).statistic
        scores.append(0.0 if np.isnan(tau) else float(tau))
    return float(np.mean(scores))


def _retrieval(videos: list[_ForegroundFrames]) -> dict[str, float | None]:
    step = math.ceil(sum(len(video.labels) for video in videos) / MAX_FRAMES)
    same = []
    for number, video in enumerate(videos):
        others = [other for place, other in enumerate(videos) if place != number]
        names = np.concatenate([other.labels for other in others])
        search = NearestNeighbors(n_neighbors=min(max(NEIGHBOURS), len(names)), algorithm="brute")
        search.fit(np.concatenate([other.embeddings for other in others]))
        nearest = search.kneighbors(video.embeddings[::step], return_distance=False)
        same.append(names[nearest] == video.labels[::step, None])
    # Rows differ in width only where fewer than 15 other frames exist.
    return {f"ap_{k}": float(np.concatenate([rows[:, :k].mean(axis=1) for rows in same]).mean()) for k in NEIGHBOURS}
