"""Scores of frame embeddings and of frame-to-frame matches (SPEC section 9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import scipy
from torch import Tensor

from vasot_lib.checks import Count, Seed, check_value, whole_numbers
from vasot_lib.data.video import TRAIN
from vasot_lib.errors import InputError, unknown_name

PROTOCOLS = ("split", "release")
FRACTIONS = (0.1, 0.5, 1.0)
NEIGHBOURS = (5, 10, 15)
LABELLED_DRAWS = 5  # how often the labelled videos are drawn if only a fraction of the videos is labelled
MAX_FRAMES = 4000  # most frames that the SVM is fitted on or tested on, or that AP queries; more are thinned out evenly


@dataclass(frozen=True)
class _ForegroundFrames:
    """The n foreground frames of one video.

    Attributes:
        embeddings: (n, D).
        labels: (n,).
        time: (n,) frame numbers in the video, from 0.
        length: number of frames of the video, with background.
    """

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
    """All alignment scores of one set of videos, without their background frames.

    - ``acc_0.1, acc_0.5, acc_1.0``: phase classification, the frame accuracy of scikit-learn's ``SVC()`` on embeddings
      if this fraction of the videos (rounded up) is labelled. Below 1.0 it is the mean over 5 random choices of the
      labelled videos. If there are more than 4000 frames to fit or to test on, only every n-th is used.
    - ``progress``: phase progression, the R^2 of a linear regression from embeddings to (t - t_end) / length, where
      t_end is the last frame of a phase; the mean over all phases but the last in time. A video without a phase is left
      out for that phase.
    - ``tau``: Kendall's tau between the frames of one video and their nearest neighbours in another one, the mean over
      all ordered pairs of videos; 0 for a pair in which all frames have the same neighbour.
    - ``ap_5, ap_10, ap_15``: the share of the K nearest frames in all other videos that have the label of the frame,
      the mean over frames (every n-th, if there are more than 4000).

    The protocol decides which videos are used. ``split`` fits SVM and regression on the part ``train`` of a published
    split and computes all scores on the other videos. Without a published split, it fits on videos 0, 2, 4, ... of each
    activity and computes ``acc`` and ``progress`` on videos 1, 3, 5, ...; ``tau`` and ``ap``, which fit nothing, use
    all videos. ``release`` fits and scores on all videos, as the VAOT and LAV releases do, where an SVM can memorise
    its test frames. A table must say which protocol it used.

    Args:
        embeddings: (N_v, D) embeddings of each video v.
        labels: (N_v,) labels of each video.
        ordered: whether all videos show the phases once and in the same order; if not, ``progress`` and ``tau`` are
            None.
        background: class whose frames are left out, or None.
        protocol: ``"split"`` or ``"release"``.
        activities: activity of each video. Each activity is scored separately, and the scores are averaged.
        parts: part of each video in the published split; None, or empty strings, if there is no split.
        seed: of the choice of labelled videos.
        stride: ``tau`` uses every stride-th frame of both videos.

    Raises:
        InputError: unknown protocol, different lengths, fewer than two videos of an activity with frames to score, or a
            split that leaves an activity nothing to fit on or fewer than two videos to score.

    Source: SPEC section 9; protocols of TCC (Dwibedi et al. 2019), LAV and VAOT.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    check_value("seed", seed, Seed)
    check_value("stride", stride, Count)
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
    """Distance between the matched and the true frame of Y, if the true correspondence is known.

    Args:
        matches: (N,) matched frame of Y for each frame of X; -1 if it was left unmatched.
        truth: (N,) true frame of Y for each frame of X; -1 if there is none.
        n_y: number of frames of Y.

    Returns:
        ``mean`` and ``p90`` (90th percentile) of the distance in frames, and ``mean_share`` and ``p90_share``, the same
        as a share of the length of Y, over frames with both a match and a true partner; and ``matched``, the share of
        the frames with a true partner that have a match.

    Raises:
        InputError: different lengths, frames that Y does not have, or no frame has both indices.
    """
    check_value("n_y", n_y, Count)
    matches, truth = _frames_of_y("matches", matches, n_y), _frames_of_y("true partners", truth, n_y)
    _same_length("matches", matches, "true partners", truth)
    known = truth >= 0
    both = known & (matches >= 0)
    if not both.any():
        raise InputError(f"none of {len(truth)} frames has both a match and a true partner; nothing to measure")
    errors = np.abs(matches[both] - truth[both])
    mean, p90, matched = float(errors.mean()), float(np.percentile(errors, 90)), float(both.sum() / known.sum())
    return {"mean": mean, "p90": p90, "mean_share": mean / n_y, "p90_share": p90 / n_y, "matched": matched}


def _frames_of_y(name: str, values: np.ndarray, n_y: int) -> np.ndarray:
    frames = whole_numbers(name, values)
    if len(frames) and not -1 <= frames.min() <= frames.max() < n_y:
        raise InputError(f"{name} run from {frames.min()} to {frames.max()}; Y has frames 0 to {n_y - 1}")
    return frames


def label_transfer(
    matches: np.ndarray, labels_x: np.ndarray, labels_y: np.ndarray, background: int | None = None
) -> float:
    """Share of the frames of X whose matched frame of Y has the same label; unmatched frames (-1) count as wrong.

    Args:
        matches: (N,) matched frame of Y for each frame of X.
        labels_x: (N,) labels of the frames of X.
        labels_y: (M,) labels of the frames of Y.
        background: class whose frames of X are left out, or None.

    Raises:
        InputError: different lengths, or all frames of X are background.
    """
    labels_x, labels_y = whole_numbers("labels of X", labels_x), whole_numbers("labels of Y", labels_y)
    check_value("the number of labels of Y", len(labels_y), Count)
    matches = _frames_of_y("matches", matches, len(labels_y))
    check_value("background", background, int | None)
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
    check_value("background", background, int | None)
    videos: list[_ForegroundFrames] = []
    for number, (rows, names) in enumerate(zip(embeddings, labels, strict=True)):
        rows, names = np.asarray(rows.detach() if isinstance(rows, Tensor) else rows), whole_numbers("labels", names)
        if rows.dtype.kind != "f":
            raise InputError(f"video {number}: embeddings are {rows.dtype}; expected floating-point numbers")
        if rows.ndim != 2 or not rows.shape[1] or names.shape != rows.shape[:1]:
            raise InputError(
                f"video {number}: embeddings have shape {rows.shape} and labels {names.shape}; "
                "expected (frames, D) and (frames,)"
            )
        if not np.isfinite(rows).all():
            raise InputError(
                f"video {number}: embeddings hold NaN or infinite values; training diverged, check it first"
            )
        if videos and rows.shape[1] != videos[0].embeddings.shape[1]:
            widths = f"{rows.shape[1]} and those of video 0 {videos[0].embeddings.shape[1]}"
            raise InputError(f"video {number}: embeddings have width {widths}; they must be equal")
        time = np.arange(len(names)) if background is None else np.flatnonzero(names != background)
        videos.append(_ForegroundFrames(rows[time], names[time], time, len(names)))
    return videos


def _split_videos(
    activity: str, videos: list[_ForegroundFrames], trained: list[bool], protocol: str, split: bool
) -> tuple[list[_ForegroundFrames], list[_ForegroundFrames], list[_ForegroundFrames]]:
    """The videos to fit on, those to score ``acc`` and ``progress`` on, and those to score ``tau`` and ``ap`` on."""
    if protocol == "release":
        return videos, videos, videos
    if not split:
        return videos[::2], videos[1::2], videos
    fit = [video for video, in_train in zip(videos, trained, strict=True) if in_train]
    test = [video for video, in_train in zip(videos, trained, strict=True) if not in_train]
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
    """Embeddings and labels of all videos, thinned to every n-th frame so that at most MAX_FRAMES remain."""
    rows, names = np.concatenate([v.embeddings for v in videos]), np.concatenate([v.labels for v in videos])
    step = math.ceil(len(names) / MAX_FRAMES)
    return rows[::step], names[::step]


def _accuracy(fit: list[_ForegroundFrames], test: list[_ForegroundFrames], share: float, seed: int) -> float:
    from sklearn.svm import SVC  # here and below: half a second, which commands on films do without

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
    from sklearn.linear_model import LinearRegression

    scores = []
    for phase in _phases([*fit, *test])[:-1]:
        (x, y), (x_test, y_test) = (_progress_targets(videos, phase) for videos in (fit, test))
        if len(y) and len(y_test) > 1:
            scores.append(float(LinearRegression().fit(x, y).score(x_test, y_test)))
    return float(np.mean(scores)) if scores else None


def _phases(videos: list[_ForegroundFrames]) -> list[int]:
    """All labels in the order of their mean relative time."""
    names = np.concatenate([video.labels for video in videos])
    place = np.concatenate([video.time / video.length for video in videos])
    return sorted((int(name) for name in np.unique(names)), key=lambda name: place[names == name].mean())


def _progress_targets(videos: list[_ForegroundFrames], phase: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, D) embeddings and (n,) targets (t - t_end) / length of the frames of all videos that show a phase."""
    showing = [video for video in videos if (video.labels == phase).any()]
    if not showing:
        return np.empty((0, 1)), np.empty(0)
    targets = [(video.time - video.time[video.labels == phase].max()) / video.length for video in showing]
    return np.concatenate([video.embeddings for video in showing]), np.concatenate(targets)


def _tau(videos: list[_ForegroundFrames], stride: int) -> float:
    from sklearn.metrics import pairwise_distances_argmin

    scores = []
    for x, y in permutations([video.embeddings[::stride] for video in videos], 2):
        tau = scipy.stats.kendalltau(np.arange(len(x)), pairwise_distances_argmin(x, y)).statistic
        scores.append(0.0 if np.isnan(tau) else float(tau))
    return float(np.mean(scores))


def _retrieval(videos: list[_ForegroundFrames]) -> dict[str, float | None]:
    from sklearn.neighbors import NearestNeighbors

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
