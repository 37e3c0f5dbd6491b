"""All scores of a trained method on a data set, and rows of the same scores for baselines that learn nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vasot_kit.experiments.baselines import baseline_embeddings, baseline_segmentations, straight_line
from vasot_kit.experiments.config import make_config
from vasot_kit.experiments.restarts import Restarts
from vasot_kit.experiments.segments import MOST_RECORDINGS, evenly, found_again_by_frame
from vasot_kit.experiments.together import align_all, embed_all, in_batches, segment_all
from vasot_lib.checks import whole_numbers
from vasot_lib.data import Dataset, Video, correspondence
from vasot_lib.errors import DataError, InputError
from vasot_lib.evaluation import frame_error, label_transfer, score_alignment, score_segmentation
from vasot_lib.methods import Method
from vasot_lib.methods.asot import SegmentationTerm
from vasot_lib.methods.base import ActionEmbeddings
from vasot_lib.methods.vaot import AlignmentTerm
from vasot_lib.paths import dtw
from vasot_lib.transport import Alignment, Segmentation

MOST_MATCHED = 5_000  # frames of a recording whose matches are scored; a plan between two such has 25 million entries
Recipe = TypeVar("Recipe", Alignment, Segmentation)
Scores = dict[str, Any]


def evaluate(
    method: Method, dataset: Dataset, protocol: str = "split", predictions: Mapping[str, np.ndarray] | None = None
) -> Scores:
    """All scores of the tasks that a trained method is made for; keys as in ``vasot_lib.evaluation``.

    - Segmentation: scores with one matching of actions to classes for all videos, and with one per video. A method
      whose actions have no meaning across videos gets only those per video.
    - Alignment, from embeddings: ``acc_*``, ``progress``, ``tau`` and ``ap_*``.
    - Alignment, from the matches of each video with the next video of its activity: ``transfer`` is the share of frames
      whose match has the same label; ``frame_error`` and ``frame_error_p90`` are the mean and the 90th percentile of
      the distance from the true match as a share of the video's length, where the true match is known. A frame that
      the method leaves without a partner counts as wrong in ``transfer`` and does not enter ``frame_error``;
      ``matched`` is the share of frames, without those of the background, that have a partner. Methods read
      their matches in different ways. Of recordings of more than 5,000 frames, so many are matched, evenly spaced.
      ``transfer_nearest`` and ``frame_error_nearest`` are those of the nearest
      neighbours of all embeddings, ``transfer_dtw`` and ``frame_error_dtw`` those of dynamic time warping on them.
    - ``agreement`` of a method with restarts, see :class:`vasot_kit.experiments.restarts.Restarts`. It needs no labels.

    Args:
        method: trained, on any device.
        dataset: with labels. Where it has a published split, segmentations and matches are scored on its test videos.
        protocol: of the scores from embeddings, see ``score_alignment``.
        predictions: name of the video -> (N_v,) actions, where the videos were segmented before.

    Raises:
        DataError: a video without labels.
    """
    scores: Scores = {}
    tested = dataset.test_part
    if "segmentation" in method.tasks:
        scores |= segmentation_scores(method, dataset, predictions)
    if "alignment" in method.tasks:
        embeddings = [rows.cpu().numpy() for rows in embed_all(method, dataset.videos)]
        scores |= _score_embeddings(embeddings, dataset, protocol)
        scores |= _score_readings(_with_features(dataset, [torch.from_numpy(rows) for rows in embeddings]).test_part)
        scores |= _score_matches(lambda pairs: align_all(method, pairs), tested)
    return scores


def scores_without_labels(method: Method, dataset: Dataset) -> Scores:
    """What can be said of a trained method where there are no labels.

    - ``agreement``, as :func:`evaluate` has it.
    - ``found_again`` of a method that segments: in which share of the other recordings of the same activity the
      nearest frame has the same action, the mean over all frames, of at most 60 recordings. It is not the share that is
      right (docs/results.md).
    """
    if "segmentation" not in method.tasks:
        return {}
    scores: Scores = {"agreement": float(method.agreement)} if isinstance(method, Restarts) else {}
    if method.shared_actions and len(dataset.videos) > 1:
        videos = [dataset.videos[i] for i in evenly(len(dataset.videos), MOST_RECORDINGS)]
        embedded = embed_all(method, videos)
        actions = [found.cpu().numpy() for found in segment_all(method, videos, embedded)]
        shares = np.concatenate(found_again_by_frame(actions, embedded, [video.activity for video in videos]))
        scores |= {} if np.isnan(shares).all() else {"found_again": float(np.nanmean(shares))}
    return scores


def by_activity(dataset: Dataset) -> list[Dataset]:
    """One data set per activity, called ``name/activity``; classes and K stay those of all activities."""
    names = dict.fromkeys(video.activity for video in dataset.videos)
    videos = ((name, tuple(video for video in dataset.videos if video.activity == name)) for name in names)
    return [replace(dataset, name=f"{dataset.name}/{name}", videos=part) for name, part in videos]


def segmentation_scores(
    method: Method, dataset: Dataset, predictions: Mapping[str, np.ndarray] | None = None
) -> Scores:
    """The scores of :func:`evaluate` that a segmentation gets; arguments as there."""
    tested = dataset.test_part
    if predictions is None:
        found = zip(tested.videos, segment_all(method, tested.videos), strict=True)
        predictions = {video.name: actions.cpu().numpy() for video, actions in found}
    segmented = score_segmentation([predictions[v.name] for v in tested.videos], _labels(tested), dataset.background)
    # A method that clusters each video by itself has no names for its actions across videos.
    scores = {k: value for k, value in segmented.items() if method.shared_actions or k.endswith("_video") or k == "jsd"}
    return scores | ({"agreement": float(method.agreement)} if isinstance(method, Restarts) else {})


def baseline_rows(dataset: Dataset, seed: int = 0, preset: str = "kit") -> list[Scores]:
    """One row per baseline that learns nothing, with ``dataset``, ``method``, ``seed`` and its scores.

    The rows of ``asot_raw`` and ``vaot_raw``, which depend on it, have the ``preset`` too.

    - Segmentation: an equal split, K-means on the videos that are scored, and ``asot_raw``.
    - Alignment from embeddings: raw features, and relative time.
    - Alignment from matches: DTW on the features as they are (``dtw``) and on those of ``raw`` (``dtw_unit``),
      ``vaot_raw``, the straight line, and the uniform plan, which matches every frame of X with all frames of Y.

    ``vaot_raw`` and ``asot_raw`` are these methods without training: the plan of VAOT between the frames of two videos,
    and the decoding plan of ASOT with K-means centres as action embeddings, on the features of ``raw``
    (:func:`vasot_kit.experiments.baselines.baseline_embeddings`) in the place of embeddings that were learnt.

    Args:
        dataset: with labels.
        seed: of K-means.
        preset: of the transport problems of ``vaot_raw`` and ``asot_raw``.

    Raises:
        DataError: a video without labels.
    """
    tested = dataset.test_part
    raw = _with_features(tested, [torch.from_numpy(rows) for rows in baseline_embeddings(tested)["raw"]])
    hyper = {
        method: make_config(dataset.name, method, preset, seed=seed, recordings=dataset).hyper
        for method in ("asot", "vaot")
    }
    segmentations = {**baseline_segmentations(tested, seed), "asot_raw": _untrained_asot(raw, seed, hyper["asot"])}
    rows = [
        {"method": name, **score_segmentation(predictions, _labels(tested), dataset.background)}
        for name, predictions in segmentations.items()
    ]
    known = {name: _score_embeddings(rows, dataset) for name, rows in baseline_embeddings(dataset).items()}
    known["raw"] |= _score_readings(raw)
    rows += [{"method": name, **scores} for name, scores in known.items()]
    by_dtw = {score: known["raw"].get(f"{score}_dtw") for score in ("transfer", "frame_error")}
    rows += [
        {"method": "dtw", **_score_matches(_each(lambda x, y: dtw(x.features.numpy(), y.features.numpy())), tested)},
        {"method": "dtw_unit", **{score: value for score, value in by_dtw.items() if value is not None}},
        {"method": "vaot_raw", **_score_matches(_untrained_vaot(raw, hyper["vaot"]), raw)},
        {"method": "straight_line", **_score_matches(_each(lambda x, y: straight_line(len(x), len(y))), tested)},
    ]
    uniform = [uniform_label_transfer(_labels_of(x), _labels_of(y), dataset.background) for x, y in _pairs(tested)]
    if uniform:
        rows.append({"method": "uniform_plan", "transfer": float(np.mean(uniform))})
    for row in rows:
        if row["method"] in ("asot_raw", "vaot_raw"):
            row["preset"] = preset
    return [{"dataset": dataset.name, "seed": seed, **row} for row in rows]


def uniform_label_transfer(labels_x: np.ndarray, labels_y: np.ndarray, background: int | None = None) -> float:
    """Expectation of ``label_transfer`` if each frame of X is matched to a random frame of Y, as by the uniform plan.

    Args:
        labels_x: (N,) labels of the frames of X.
        labels_y: (M,) labels of the frames of Y.
        background: class whose frames of X are left out, or None.

    Raises:
        InputError: all frames of X are background, labels that are no whole numbers, or none of Y.
    """
    labels_x, labels_y = whole_numbers("labels of X", labels_x), whole_numbers("labels of Y", labels_y)
    if not len(labels_y):
        raise InputError("labels of Y are empty; give one per frame of Y")
    queries = labels_x[labels_x != background] if background is not None else labels_x
    if not len(queries):
        raise InputError(f"all {len(labels_x)} frames of X are background {background}; nothing to transfer")
    return float((queries[:, None] == labels_y).mean())


Pairs = Sequence[tuple[Video, Video]]
Matcher = Callable[[Pairs], list[Tensor]]


def _each(match: Callable[[Video, Video], np.ndarray]) -> Matcher:
    """The matches of all pairs, one pair after another."""
    return lambda pairs: [torch.from_numpy(match(x, y)) for x, y in pairs]


# How matches are read from the embeddings of any method, here the features of two videos.
READINGS: dict[str, Matcher] = {
    "nearest": _each(lambda x, y: torch.cdist(x.features, y.features).argmin(1).numpy()),
    # Between vectors of unit length the squared distance is twice the cosine cost; other embeddings need the distance.
    "dtw": _each(lambda x, y: dtw(x.features.numpy(), y.features.numpy(), "sqeuclidean")),
}


def _untrained_vaot(raw: Dataset, term: AlignmentTerm) -> Matcher:
    """The matches of VAOT's plan between the features of two videos."""
    term = replace(term, transport=_with_neighbours(term.transport, raw))
    return lambda pairs: in_batches(term.align, [(x.features, y.features) for x, y in pairs], most=0)


def _untrained_asot(raw: Dataset, seed: int, term: SegmentationTerm) -> list[np.ndarray]:
    """(N_v,) actions of each video by ASOT's decoding plan, with K-means centres of the features as actions."""
    decode = _with_neighbours(term.decode, raw)
    with torch.random.fork_rng(devices=[]):  # what is drawn here shall not change what a notebook draws afterwards
        actions = ActionEmbeddings(raw.n_actions, raw.feature_dim)
    generator = torch.Generator().manual_seed(seed)
    longest = max(len(video) for video in raw.videos)  # so that every frame is taken
    actions.initialise(torch.nn.Identity(), raw, longest, generator, term.actions == "kmeans_in_order")

    def segment(x: Tensor, mask: Tensor) -> Tensor:
        return decode.match(x, actions.weight.detach(), mask)[0].argmax(2)

    return [found.numpy() for found in in_batches(segment, [(video.features,) for video in raw.videos], most=0)]


def _with_neighbours(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with a radius of at least one frame in every video, without which nothing could be solved."""
    return replace(recipe, radius=max(recipe.radius, 1 / min(len(video) for video in dataset.videos)))


def _with_features(dataset: Dataset, rows: Sequence[Tensor]) -> Dataset:
    """The data set with other features, and without pictures, which an encoder would take in their place."""
    videos = zip(dataset.videos, rows, strict=True)
    return replace(dataset, videos=tuple(replace(video, features=r, context=None) for video, r in videos))


def _labels_of(video: Video) -> np.ndarray:
    if video.labels is None:
        raise DataError(f"video {video.name!r} has no labels to score against; bring its ground truth")
    return video.labels.numpy()


def _labels(dataset: Dataset) -> list[np.ndarray]:
    return [_labels_of(video) for video in dataset.videos]


def _pairs(dataset: Dataset) -> Iterator[tuple[Video, Video]]:
    """Each video with the next of its activity, so that the number of pairs grows only linearly with that of videos."""
    for part in by_activity(dataset):
        if len(part.videos) > 1:
            videos = [thinned(video)[0] for video in part.videos]
            yield from zip(videos, videos[1:] + videos[:1], strict=True)


def thinned(video: Video) -> tuple[Video, np.ndarray]:
    """At most 5,000 frames of a recording of features, at even distances, and which these are."""
    kept = evenly(len(video), len(video) if video.context is not None else MOST_MATCHED)
    if len(kept) == len(video):
        return video, kept
    labels, position = (None if each is None else each[kept] for each in (video.labels, video.position))
    return replace(video, features=video.features[kept], labels=labels, position=position, frames=None), kept


def _score_embeddings(embeddings: Sequence[np.ndarray], dataset: Dataset, protocol: str = "split") -> Scores:
    return score_alignment(
        embeddings, _labels(dataset), ordered=dataset.ordered, background=dataset.background, protocol=protocol,
        activities=[video.activity for video in dataset.videos], parts=[video.part for video in dataset.videos],
    )  # fmt: skip


def _score_readings(embedded: Dataset) -> Scores:
    """The scores of matches that are read in one way from the embeddings of any method, here in place of features."""
    scores: Scores = {}
    for name, matcher in READINGS.items():
        found = _score_matches(matcher, embedded)
        scores |= {f"{score}_{name}": found[score] for score in ("transfer", "frame_error") if score in found}
    return scores


def _score_matches(match: Matcher, dataset: Dataset) -> Scores:
    transfers, errors, matched = [], [], []  # per pair of videos; an error is (mean, 90th percentile)
    pairs = list(_pairs(dataset))
    for (x, y), found in zip(pairs, match(pairs), strict=True):
        matches = found.cpu().numpy()
        transfers.append(label_transfer(matches, _labels_of(x), _labels_of(y), dataset.background))
        matched.append(float((matches >= 0)[_labels_of(x) != dataset.background].mean()))
        if x.position is not None and y.position is not None:
            truth = correspondence(x, y).numpy()
            if ((matches >= 0) & (truth >= 0)).any():
                error = frame_error(matches, truth, len(y))
                errors.append((error["mean_share"], error["p90_share"]))
    scores: Scores = {}
    if transfers:
        scores = {"transfer": float(np.mean(transfers)), "matched": float(np.mean(matched))}
    if errors:
        scores["frame_error"], scores["frame_error_p90"] = (float(value) for value in np.mean(errors, axis=0))
    return scores
