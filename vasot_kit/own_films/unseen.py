"""Recordings that a trained model has not seen, made into the input that it was trained on."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vasot_kit.datasets import load_dataset
from vasot_kit.datasets.registry import DATASETS, expanded
from vasot_kit.films.clips import LIBRARY
from vasot_kit.films.media import PICTURE_SUFFIXES, video_files
from vasot_kit.films.motion import Motion
from vasot_kit.films.recordings import FeatureExtractor, Recording, make_dataset, read_recordings
from vasot_kit.folders import load_folder
from vasot_kit.folders.files import ARRAYS, TEXT, read_features, read_mapping
from vasot_kit.folders.reading import feature_files
from vasot_kit.own_films.inputs import feature_extractor, films_by_name, films_in, refuse_still, sampling_rate
from vasot_kit.runs.models import Inputs, how_described
from vasot_lib.data import Dataset, Video
from vasot_lib.data.video import Context
from vasot_lib.errors import DataError, InputError


class Unseen(NamedTuple):
    """New recordings.

    Attributes:
        dataset: with labels where there are any; its features are made and scaled as in the training.
        recordings: one per video; of features from files, numbers of frames stand for their seconds.
        films: the files or folders of pictures that were read; empty where features were.
    """

    dataset: Dataset
    recordings: list[Recording]
    films: list[Path]


def read_unseen(
    new: str,
    inputs: Inputs,
    background: str = "",
    features: str | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Unseen:
    """Read recordings as those were read that a model was trained on.

    Args:
        new: a film, a feature file, a folder of either, a labelled feature folder, or the name of a data set.
        inputs: of the model.
        background: its class that scores leave out.
        features: the extractor, where its network has weights from a file.
        device: where a network that describes films runs.
        progress: show progress bars.

    Raises:
        InputError: recordings of another kind or width than the model was trained on, or no such recordings.
        DataError: recordings that cannot be read.
    """
    path = expanded(new)
    if not path.exists():
        if new.partition("/")[0] not in DATASETS:
            raise InputError(f"{new} is neither a file or a folder nor the name of a data set; check it")
        return _without_films(load_dataset(new), inputs, new)
    if _holds_features(path):
        return _without_films(_features(path, inputs, background), inputs, new)
    if not inputs.features and inputs.size is None:
        raise InputError(
            f"{path} is no .npy, .npz, .txt or .csv file and holds none, but the model was trained on features from "
            f"files, {inputs.feature_dim} a frame; of a film make the same features first, and name their file"
        )
    films = [path] if path.is_file() or _holds_pictures(path) else list(films_in(path).values())
    films_by_name(films)
    extractor = _extractor(inputs, features, device)
    if any(film.is_dir() for film in films):
        print(
            f"folders of pictures are taken for {inputs.folder_fps:g} pictures a second, the rate that the model has "
            "for them",
            file=sys.stderr,
        )
    # Films of which the model saw every frame: uneven ones are sampled evenly, as in vasot segment.
    fps = sampling_rate(films, math.inf) if inputs.fps is None and not inputs.size else inputs.fps
    recordings = read_recordings(
        films, extractor, fps=fps, size=inputs.size, progress=progress, folder_fps=inputs.folder_fps
    )
    refuse_still(recordings)
    return Unseen(_fitted(make_dataset("new", recordings), inputs, new), recordings, films)


def _extractor(inputs: Inputs, features: str | None, device: str) -> FeatureExtractor:
    if inputs.size is not None:
        return Motion()  # its features are not looked at
    from_file = "@" in inputs.features and not inputs.features.endswith("@random")
    if from_file and not features:
        kind, _, file = inputs.features.partition("@")
        given = f"{LIBRARY}FOLDER" if kind.startswith(LIBRARY) else f"{kind}@FILE"
        raise InputError(
            f"the model was trained on {kind} with weights from a file, {file}; name it: --features {given}"
        )
    extractor = feature_extractor(features or inputs.features, device)
    if extractor.name != inputs.features:
        raise InputError(f"features are {extractor.name!r} but the model was trained on {inputs.features!r}")
    return extractor


def _holds_features(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in (*ARRAYS, *TEXT)
    return (path / "features").is_dir() or (bool(feature_files(path)) and not video_files(path))


def _holds_pictures(folder: Path) -> bool:
    return any(file.suffix.lower() in PICTURE_SUFFIXES for file in folder.iterdir() if not file.name.startswith("."))


def _features(path: Path, inputs: Inputs, background: str) -> Dataset:
    """A feature file, a folder of them or a labelled feature folder."""
    if inputs.size is not None:
        raise InputError(f"{path} holds features but the model was trained on pictures; name the film")
    labelled = path.is_dir() and ((path / "features").is_dir() or (path / "groundTruth").is_dir())
    files = [] if labelled else [path] if path.is_file() else feature_files(path)
    root = path if labelled else files[0].parent.parent if files[0].parent.name == "features" else files[0].parent
    made_by, fps = how_described(root)
    if inputs.features and (made_by, fps) != (inputs.features, inputs.fps):
        own, wanted = (f"{each} frames a second" if each else "every frame" for each in (fps, inputs.fps))
        made = f"are {made_by} of {own}" if made_by else "do not say how they were made"
        raise InputError(
            f"features in {root} {made}, but the model was trained on {inputs.features} of {wanted}; "
            "name the film itself"
        )
    if not labelled:
        stems = [file.stem for file in files]
        if len({*stems}) < len(stems):
            raise DataError(f"{path} holds two feature files of one name; keep one of them")
        tables = [(file.stem, read_features(file)) for file in files]
        dim = inputs.feature_dim  # (channels, frames) are turned round, as load_folder does
        return Dataset(
            "new", tuple(Video(n, t.T.contiguous() if t.shape[1] != dim == len(t) else t) for n, t in tables)
        )
    mapping = root / "mapping" / "mapping.txt"
    known = mapping.is_file() and background in read_mapping(mapping)
    return load_folder(root, background=background if known else None)


def _without_films(dataset: Dataset, inputs: Inputs, new: str) -> Unseen:
    dataset = _fitted(dataset, inputs, new)
    frames = [np.arange(len(video)) for video in dataset.videos]
    videos = zip(dataset.videos, frames, strict=True)
    recordings = [Recording(Path(f"{video.name}.npy"), n.astype(float), n, video.features) for video, n in videos]
    return Unseen(dataset, recordings, [])


def _fitted(dataset: Dataset, inputs: Inputs, new: str) -> Dataset:
    """The data set with the features, or pictures, that the model takes."""
    dataset = replace(dataset, n_actions=0)  # the model's own number is looked for, in short recordings too
    if inputs.size is not None and inputs.context is not None:
        return dataset.as_pictures(Context(*inputs.context))
    if dataset.videos[0].context is not None:
        raise InputError(f"{new} shows pictures but the model was trained on features, {inputs.feature_dim} a frame")
    if dataset.feature_dim != inputs.feature_dim:
        raise InputError(
            f"{new} has {dataset.feature_dim} features a frame but the model was trained on {inputs.feature_dim}; "
            "make them as for the training"
        )
    if dataset.scaling not in ("none", inputs.scaling):
        raise InputError(
            f"the features of {new} are {dataset.scaling} but the model was trained on features that are "
            f"{inputs.scaling if inputs.scaling != 'none' else 'as they came'}; give them as for the training"
        )
    if dataset.scaling == inputs.scaling:
        return dataset
    return dataset.standardised(shrink=inputs.scaling == "shrunk")
