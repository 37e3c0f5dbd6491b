"""The key steps that recordings of one task share, by trained models: the command ``vasot key-steps``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vasot_kit.experiments.key_steps import EQUAL, RAW, Ways, all_ways, scored_ways
from vasot_kit.experiments.segments import MOST_RECORDINGS
from vasot_kit.figures import plot_key_steps
from vasot_kit.own_films.outputs import Outputs, segment_times
from vasot_kit.own_films.unseen import Unseen, read_unseen
from vasot_kit.runs.models import Model, read_model
from vasot_lib.checks import Count, Seed, check_value
from vasot_lib.data import Dataset
from vasot_lib.errors import InputError
from vasot_lib.evaluation import hungarian

SHOWN = 6  # recordings in the figure
SCORES = ("step_precision", "step_recall", "step_f1", "step_iou")


def write_key_steps(recordings: str, runs: Sequence[Path], out: Path, steps: int | None = None, seed: int = 0) -> str:
    """Find the key steps of recordings by the embeddings of trained models, and by what learns nothing.

    Args:
        recordings: what :func:`vasot_kit.own_films.unseen.read_unseen` reads, such as the name of a data set.
        runs: folders of ``vasot train`` on such recordings, one per model.
        out: folder for ``config.json``, ``key_steps.csv`` (the segments of every recording by every way),
            ``key_steps.png`` (the first six recordings) and, where there are labels, ``scores.csv``.
        steps: K; where None, as many as the runs looked for.
        seed: of K-means.

    Returns:
        A table of the scores as text; empty where there are no labels.

    Raises:
        InputError: runs of different K, or without one, and no ``steps``; more steps than a recording has frames; a
            run that is named twice, or a bad seed; recordings of another kind or width.
        DataError: no finished run, recordings that cannot be read, or ``out`` holds something else.
    """
    check_value("seed", seed, Seed)
    check_value("steps", steps, Count | None)
    models = _named([read_model(run) for run in runs], runs)
    k = _number_of_steps(models, steps)
    read = {name: read_unseen(recordings, model.inputs, model.background) for name, model in models.items()}
    unseen = next(iter(read.values()))
    data = unseen.dataset
    activities = sorted({video.activity for video in data.videos})
    if len(activities) > 1:  # as scores of key steps are per task
        warnings.warn(
            f"{recordings} holds the activities {', '.join(activities)}, and their key steps are looked for together; "
            "give the recordings of one of them to find its own",
            stacklevel=1,
        )
    shortest = min(data.videos, key=len)
    if k > len(shortest):
        raise InputError(
            f"{k} key steps are looked for but recording {shortest.name!r} has {len(shortest)} frames; ask for fewer "
            "by --steps K, or leave it out"
        )
    embedded, own = {}, {}
    for name, model in models.items():
        videos = read[name].dataset.videos
        embedded[name] = [model.method.embed(video).numpy() for video in videos]
        if model.actions:
            own[name] = [model.suited(len(video)).segment(video).numpy() for video in videos]
    ways = all_ways(data, embedded, own, k, seed)
    config = {"command": "key-steps", "steps": k, "seed": seed, "data": data.checksum()}
    config["weights"] = {name: model.weights[:16] for name, model in models.items()}
    outputs = Outputs(out, config, unseen.films)
    if not any(way == "shared" for _, way in ways):
        print(
            f"no shared steps: they need 2 to {MOST_RECORDINGS} recordings (fewer where steps are short; these are "
            f"{len(data.videos)}), and features that change"
        )
    labelled = all(video.labels is not None for video in data.videos)
    _write_segments(outputs, unseen, ways)
    _draw(outputs, data, ways, next(iter(models)), labelled)
    return _write_scores(outputs, data, ways, seed) if labelled else ""


def _named(models: Sequence[Model], runs: Sequence[Path]) -> dict[str, Model]:
    """Models by the name of their method, or by their folder where several have the same."""
    places = [run.resolve() for run in runs]
    twice = next((run for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"the run {twice} is named twice; name it once")
    methods = [model.config.method for model in models]
    names = methods if len({*methods}) == len(methods) else [place.name for place in places]
    if len({*names}) < len(names) or {EQUAL, RAW} & {*names}:
        raise InputError(f"the folders of the runs are called {', '.join(names)}; give each a name of its own")
    return dict(zip(names, models, strict=True))


def _number_of_steps(models: Mapping[str, Model], steps: int | None) -> int:
    found = {name: model.method.n_actions for name, model in models.items()}
    if steps is not None:
        return steps
    if len({*found.values()}) > 1 or not any(found.values()):
        raise InputError(f"the runs looked for {found} actions; say how many key steps to look for: --steps K")
    return next(iter(found.values()))


def _write_segments(outputs: Outputs, unseen: Unseen, ways: Ways) -> None:
    unit, form = ("seconds", "{:.4f}".format) if unseen.films else ("frame", "{:.0f}".format)
    rows = [
        (recording.name, name, how, step + 1, form(start), form(end))
        for (name, how), found in ways.items()
        for recording, labels in zip(unseen.recordings, found, strict=True)
        for step, start, end in segment_times(recording, labels)
    ]
    outputs.table("key_steps.csv", ("recording", "embeddings", "way", "step", f"start_{unit}", f"end_{unit}"), rows)


def _draw(outputs: Outputs, data: Dataset, ways: Ways, first: str, labelled: bool) -> None:
    """All ways but clustering, in the colours of the classes or of the first run's steps."""
    others = {key: rows for key, rows in ways.items() if key[1] != "clustering"}
    reference, classes, background = ways[first, "cut"], [], None
    if labelled:
        reference = [video.labels.numpy() for video in data.videos if video.labels is not None]
        classes, background = list(data.classes), data.background
    classes = classes or [f"step {step + 1}" for step in range(1 + max(int(rows.max()) for rows in reference))]
    bars = {"truth": reference} if labelled else {}
    for (name, how), rows in others.items():
        bars[" ".join(filter(None, (name.replace("_", " "), how)))] = _as_classes(rows, reference, background)
    names = [video.name for video in data.videos[:SHOWN]]
    figure = plot_key_steps(
        {name: {bar: rows[v] for bar, rows in bars.items()} for v, name in enumerate(names)}, classes, background
    )
    outputs.figure("key_steps.png", figure)


def _as_classes(
    steps: Sequence[np.ndarray], reference: Sequence[np.ndarray], background: int | None
) -> list[np.ndarray]:
    """Key steps as the classes that they are matched to, -1 for those that are matched to none."""
    found, given = np.concatenate(steps), np.concatenate(reference)
    scored = given != background
    classes = hungarian(found[scored], given[scored])
    return [np.array([classes.get(step, -1) for step in rows.tolist()]) for rows in steps]


def _write_scores(outputs: Outputs, data: Dataset, ways: Ways, seed: int) -> str:
    rows = scored_ways(data, ways, seed)
    cells = [[row["embeddings"], row["steps"], *(f"{row[score]:.4f}" for score in SCORES)] for row in rows]
    outputs.table("scores.csv", ("embeddings", "way", *SCORES), cells)
    lines = [["", "", *(score.removeprefix("step_") for score in SCORES)], *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
