"""Segment films of one activity into actions: the command ``vasot segment``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_kit.experiments.collapse import warn_of_collapse
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.n_actions import count_actions
from vasot_kit.experiments.presets import preset_values
from vasot_kit.experiments.segments import found_again_by_frame
from vasot_kit.experiments.together import embed_all, segment_all
from vasot_kit.figures import plot_action_count
from vasot_kit.films.media import FOLDER_FPS
from vasot_kit.films.recordings import make_dataset, read_recordings
from vasot_kit.own_films.inputs import (
    MAX_FRAMES,
    check_rate,
    feature_extractor,
    films_by_name,
    folder_rate,
    refuse_other_rates,
    refuse_still,
    sampling_rate,
)
from vasot_kit.own_films.outputs import TABLE, Outputs
from vasot_kit.own_films.segments import write_segments
from vasot_kit.runs.models import WEIGHTS, Inputs, write_model
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError, InputError
from vasot_lib.methods import Method
from vasot_lib.training import fit, save_checkpoint

COUNT = "n_actions.png"
ENOUGH = 3  # with fewer films no encoder is trained: two do not show which steps the activity has


def segment_films(
    films: Sequence[Path],
    n_actions: int | None,
    out: Path,
    *,
    features: str = "motion",
    fps: float | None = None,
    epochs: int | None = None,
    seed: int = 0,
    synchronised: bool = False,
    device: str = "cpu",
    progress: bool = True,
) -> list[np.ndarray]:
    """Find the actions of films of one activity and write them to a folder.

    VASOT is trained on three films or more, without labels; the radius of its structural priors is read from the films.
    With one or two films the actions are the K-means centres of the embeddings of an untrained encoder. In both cases
    frames are assigned to actions by transport with a temporal prior. Of several films every segment says in which
    share of the others its action is found again, see
    :func:`vasot_kit.experiments.segments.found_again_by_frame`.

    Args:
        films: files, or folders of pictures.
        n_actions: K; None to estimate it from the films, see :mod:`vasot_kit.experiments.n_actions`. The estimate is
            printed and stands in the page, and ``n_actions.png`` shows what it comes from.
        out: folder for ``segments.csv``, per film ``<name>.csv`` and ``<name>.eaf`` (ELAN), ``timelines.png``,
            ``config.json`` and the model for ``vasot apply``, ``weights.safetensors`` and ``model.json``.
        features: see :func:`vasot_kit.own_films.inputs.feature_extractor`.
        fps: samples per second; by default every frame, or fewer where a film would give more than 2000. Of a folder
            of pictures, how many there are per second, 30 by default.
        epochs: epochs of training; those of the preset by default, 0 for an untrained encoder.
        seed: seed of K-means and training.
        synchronised: the films are cameras of one event that begin together; all get the same action at the same time,
            by the mean of their embeddings.
        device: where the training and a backbone run.
        progress: show progress bars.

    Returns:
        For each film (N,) actions, numbered in the order in which they happen on average.

    Raises:
        InputError: no films, K below 2 or above the frames of a film, a rate that is not a positive number, cameras
            with different rates.
        DataError: a film that cannot be read, is too short or shows nothing that changes, two of one name, or ``out``
            holds something else.
    """
    if not films:
        raise InputError("no film was given; give at least one")
    if n_actions is not None and n_actions < 2:
        raise InputError(f"the number of actions is {n_actions}; give at least 2, or none to estimate it")
    check_rate(films, fps)
    folder_fps = folder_rate(films, fps)
    if TABLE in films_by_name(films):
        raise DataError(f"a film is called {TABLE!r}, as is the table of all films; rename it")
    extractor = feature_extractor(features, device)
    fps = sampling_rate(films, MAX_FRAMES) if fps is None else fps
    if synchronised and fps is None:
        refuse_other_rates(films)
    if epochs is None and len(films) < ENOUGH:
        epochs = 0
    settings: dict[str, Any] = {"seed": seed, "device": device, "epochs": epochs}
    # What is known before the films are read: all but the radius.
    values = preset_values("auto", "own", "vasot", epochs)
    config = make_config("own", "vasot", "kit", overrides=values, **settings)
    known = {name: value for name, value in config.as_dict().items() if name != "hyper"}
    wanted = {"command": "segment", "actions": n_actions, "features": extractor.name, "fps": fps}
    wanted |= {} if folder_fps == FOLDER_FPS else {"folder_fps": folder_fps}
    wanted |= {"synchronised": True} if synchronised else {}
    outputs = Outputs(out, {**wanted, **known, "preset": "auto"}, films)
    recordings = read_recordings(films, extractor, fps=fps, progress=progress, folder_fps=folder_fps)
    refuse_still(recordings)
    dataset = make_dataset("own", recordings, n_actions or 0).standardised()
    note = ""
    if n_actions is None:
        dataset, note = _counted(dataset, outputs, seed, epochs, progress)
    config = make_config("own", "vasot", "auto", recordings=dataset, **settings)
    method = build(config, dataset)
    history = fit(method, dataset, config.training, progress=progress)
    warn_of_collapse(history)
    embedded = embed_all(method, dataset.videos)
    found = _seen_together(method, dataset, embedded) if synchronised else segment_all(method, dataset.videos, embedded)
    labels, order = _ordered(found, method.n_actions)
    again = found_again_by_frame(labels, embedded) if len(films) > 1 else None
    actions = range(1, dataset.n_actions + 1)
    write_segments(outputs, recordings, labels, actions, progress=progress, note=note, found_again=again)
    save_checkpoint(outputs.place(WEIGHTS), method, None, history, outputs.mark)
    inputs = Inputs.of(dataset, extractor.name, fps, folder_fps)
    write_model(out, method, config, inputs, actions, order, mark=outputs.mark)
    return labels


def _counted(dataset: Dataset, outputs: Outputs, seed: int, epochs: int | None, progress: bool) -> tuple[Dataset, str]:
    """The films with the number of actions that is estimated from them, and what is said about it."""
    if progress:
        print("no --actions: their number is estimated from the films ...", flush=True)
    count = count_actions(dataset, seed, epochs, progress)
    note = f"{count}. See {COUNT}; to choose another number, give --actions K and another folder."
    if progress:
        print(note, flush=True)
    outputs.figure(COUNT, plot_action_count(count, "how many actions?"))
    return replace(dataset, n_actions=count.n_actions), note


def _seen_together(method: Method, dataset: Dataset, embedded: Sequence[Tensor]) -> list[Tensor]:
    """Actions of cameras of one event, those of the mean embedding of all films at each time, up to each film's end."""
    longest = max(range(len(embedded)), key=lambda k: len(embedded[k]))
    total = torch.zeros_like(embedded[longest])
    for each in embedded:
        total[: len(each)] += each
    (found,) = segment_all(method, [dataset.videos[longest]], [F.normalize(total, dim=1)])
    return [found[: len(each)] for each in embedded]


def _ordered(found: Sequence[Tensor], n_actions: int) -> tuple[list[np.ndarray], list[int]]:
    """Actions of each film, numbered by the mean time at which they happen, and the number of each of the K actions.

    Time is the share of the film that has passed. Actions that do not happen come last.
    """
    labels = [actions.cpu().numpy() for actions in found]
    time = np.concatenate([np.arange(len(each)) / len(each) for each in labels])
    together = np.concatenate(labels)
    mean = {int(k): time[together == k].mean() for k in np.unique(together)}
    ranked = sorted(range(n_actions), key=lambda k: (mean.get(k, 1.0), k))
    order = [ranked.index(k) for k in range(n_actions)]
    return [np.array(order)[each] for each in labels], order
