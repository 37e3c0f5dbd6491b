"""Segment and align new recordings by a model that was trained before: the command ``vasot apply``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from vasot_kit.experiments.evaluate import Scores, evaluate, segmentation_scores, thinned
from vasot_kit.experiments.plan_report import match_matrix
from vasot_kit.experiments.segments import found_again_by_frame
from vasot_kit.experiments.together import embed_all, segment_all
from vasot_kit.figures import plot_plan
from vasot_kit.films.progress import phase
from vasot_kit.films.recordings import Recording
from vasot_kit.own_films.outputs import TABLE, Outputs
from vasot_kit.own_films.pictures import small_pictures
from vasot_kit.own_films.report import matched_page
from vasot_kit.own_films.segments import write_segments
from vasot_kit.own_films.unseen import Unseen, read_unseen
from vasot_kit.runs.models import Model, read_model
from vasot_kit.runs.records import record
from vasot_lib.data import Dataset, Video
from vasot_lib.errors import DataError, InputError


def apply_model(
    run: Path,
    new: str,
    out: Path,
    *,
    reference: str | None = None,
    features: str | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Segment new recordings, and align them with a reference, by the model of a run; nothing is trained.

    All that the training fixed comes from the run: radii, temporal prior, K, action embeddings, decoding, how features
    are made and scaled. A radius is a share of the recording, so its window grows with the recording's length.

    Args:
        run: folder of ``vasot train`` or ``vasot segment``.
        new: a film, a feature file, a folder of either, a labelled feature folder, or the name of a data set.
        out: folder for ``config.json``; of a method that segments ``segments.csv``, per recording ``<name>.csv`` and
            (films) ``<name>.eaf``, ``timelines.png`` and ``report.html``; with a reference per recording
            ``<name>-correspondence.csv``, ``<name>-alignment.png`` and (films) ``<name>-report.html``; where there are
            labels ``metrics.json``.
        reference: a film or feature file, such as one of those trained on; None for no alignment.
        features: the extractor of films, where its network has weights from a file.
        device: where a network that describes films runs.
        progress: show progress bars.

    Returns:
        Name of the recording -> (N,) places of its actions in the order of the figures; none if the method finds none.

    Raises:
        InputError: a run whose method learns nothing, recordings of another kind or width than it was trained on, a
            reference for a method that does not align, or none for one that only aligns.
        DataError: no finished run, recordings that cannot be read, or ``out`` holds something else.
    """
    model = read_model(run)
    tasks = model.method.tasks
    if reference and "alignment" not in tasks:
        raise InputError(f"method {model.config.method!r} does not align; leave the reference out")
    if not reference and not model.actions:
        raise InputError(f"method {model.config.method!r} finds no actions of its own; name a recording to align with: "
                         "--reference FILE")  # fmt: skip
    unseen = read_unseen(new, model.inputs, model.background, features, device, progress)
    other = read_unseen(reference, model.inputs, "", features, device, progress) if reference else None
    _check_names(unseen, other)
    labelled = all(video.labels is not None for video in unseen.dataset.videos)
    if labelled:
        _ = unseen.dataset.test_part  # raises where a split leaves none to score, before anything is written
    config = {"command": "apply", "weights": model.weights[:16], "inputs": asdict(model.inputs)}
    data = {"data": unseen.dataset.checksum(), "reference": other.dataset.checksum() if other else ""}
    outputs = Outputs(out, config | data | {"trained": model.config.as_dict()}, unseen.films)
    found: dict[str, np.ndarray] = {}
    if model.actions:
        place = np.array(model.order)
        videos = unseen.dataset.videos
        embedded = embed_all(model.method, videos)
        for video, rows in zip(videos, embedded, strict=True):
            found[video.name] = segment_all(model.suited(len(video)), [video], [rows])[0].numpy()
        labels = [place[clusters] for clusters in found.values()]
        activities = [video.activity for video in videos]
        comparable = len(set(activities)) < len(videos) and model.method.shared_actions
        again = found_again_by_frame(labels, embedded, activities) if comparable else None
        several = again is not None and len(set(activities)) > 1
        note = "An action is looked for in the other recordings of the same activity." if several else ""
        write_segments(
            outputs,
            unseen.recordings,
            labels,
            model.actions,
            bool(unseen.films),
            progress,
            note=note,
            found_again=again,
        )
    if other is not None:
        _align(outputs, model, unseen, other, progress)
    if labelled:
        _record(outputs, model, unseen.dataset, found)
    return {name: np.array(model.order)[clusters] for name, clusters in found.items()}


def _check_names(unseen: Unseen, other: Unseen | None) -> None:
    if any(video.name == TABLE for video in unseen.dataset.videos):
        raise DataError(f"a recording is called {TABLE!r}, as is the table of all recordings; rename it")
    if other is not None and len(other.recordings) > 1:
        raise InputError(f"the reference holds {len(other.recordings)} recordings; name one of them")


def _align(outputs: Outputs, model: Model, unseen: Unseen, other: Unseen, progress: bool) -> None:
    """For each recording a table with the match of every frame in the reference, a figure of the plan, and a page.

    Of recordings of more than 5,000 frames, so many are matched, at even distances.
    """
    y, there = _at_most(other.dataset.videos[0], other.recordings[0])
    in_seconds = bool(unseen.films)
    columns = ("frame_x", "seconds_x", "frame_y", "seconds_y") if in_seconds else ("frame_x", "frame_y")
    for x, here in map(_at_most, unseen.dataset.videos, unseen.recordings):
        method = model.suited(min(len(x), len(y)))
        matches, share = method.align(x, y).numpy(), method.dummy_share(x, y).numpy()
        rows = []
        for i, (j, unmatched) in enumerate(zip(matches.tolist(), share.tolist(), strict=True)):
            pair: list[object] = []
            for side, k in ((here, i), (there, j)):
                frame = [int(side.index[k]), f"{side.times[k]:.4f}"] if k >= 0 else ["", ""]
                pair += frame if in_seconds else frame[:1]
            rows.append((*pair, f"{unmatched:.4f}"))
        outputs.table(f"{x.name}-correspondence.csv", (*columns, "share_without_partner"), rows)
        labels = [None, None]
        if model.actions:
            labels = [np.array(model.order)[model.suited(len(v)).segment(v).numpy()] for v in (x, y)]
        plan = match_matrix(model.suited(min(len(x), len(y))), x, y)  # again: radii follow the last length asked for
        title = f"X: {x.name}   Y: {y.name}"
        figure = plot_plan(
            plan, labels_x=labels[0], labels_y=labels[1], matches={"match": matches}, title=title,
            frames=(here.index, there.index),
        )  # fmt: skip
        outputs.figure(f"{x.name}-alignment.png", figure)
        if in_seconds:
            with phase(f"report of {x.name} and {y.name}", progress, 2) as bar:
                pictures = small_pictures([here, there], bar)
            matched_page(outputs, here, there, pictures, plan.numpy(), matches, 1 - share)


def _at_most(video: Video, recording: Recording) -> tuple[Video, Recording]:
    """Those frames of both whose matches are looked for."""
    few, kept = thinned(video)
    places = {"times": recording.times[kept], "index": recording.index[kept], "features": few.features}
    return (few, replace(recording, **places)) if len(few) < len(video) else (video, recording)


def _record(outputs: Outputs, model: Model, dataset: Dataset, found: Mapping[str, np.ndarray]) -> None:
    """Write the scores of labelled recordings; alignment is scored where every activity has two of them."""
    method = model.suited(min(len(video) for video in dataset.videos))
    several = min(Counter(video.activity for video in dataset.videos).values()) > 1
    scores: Scores = {}
    if several or "alignment" not in method.tasks:
        scores = evaluate(method, dataset, predictions=found or None)
    elif found:
        scores = segmentation_scores(method, dataset, found)
    if found and model.actions:
        scores["mof_named"] = _named(model, dataset, found)
    names = {"method": model.config.method, "preset": model.config.preset, "seed": model.config.training.seed}
    row = {"dataset": dataset.name, **names, **scores}
    checksums = {dataset.name: dataset.checksum()}
    about = {"config": outputs.mark, **model.config.as_dict()}
    record([row], about, dataset_checksums=checksums, notebook="apply", folder=outputs.folder)


def _named(model: Model, dataset: Dataset, found: Mapping[str, np.ndarray]) -> float:
    """The share of frames whose action carries the name of their class, by the names that the run gave its actions."""
    right, scored = 0, 0
    for video in dataset.test_part.videos:
        assert video.labels is not None
        labels = video.labels.numpy()
        kept = labels != dataset.background
        names = [model.actions[model.order[k]] for k in found[video.name][kept].tolist()]  # a number is no class
        right += sum(name == dataset.classes[k] for name, k in zip(names, labels[kept].tolist(), strict=True))
        scored += int(kept.sum())
    return right / max(scored, 1)
