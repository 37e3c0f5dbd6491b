"""Extract the features of films into a feature folder: the command ``vasot features``."""

from __future__ import annotations

from pathlib import Path

from vasot_kit.films.recordings import label_lines, labelled_films, read_recordings
from vasot_kit.folders.files import read_lines, read_mapping
from vasot_kit.folders.reading import split_files
from vasot_kit.folders.saving import refuse_existing, save_folder
from vasot_kit.own_films.inputs import check_rate, feature_extractor, films_by_name, films_in
from vasot_kit.runs.models import DESCRIBED
from vasot_kit.runs.records import to_json


def extract_features(
    folder: Path,
    out: Path,
    *,
    features: str,
    fps: float | None = None,
    device: str = "cpu",
    trim: bool = False,
    progress: bool = True,
) -> Path:
    """Write a feature folder of the films in a folder, with the labels of the same frames where the films have labels.

    The features of each film are kept in the cache, so a call that was interrupted goes on where it stopped.

    Args:
        folder: holds films, or ``videos/`` (or ``frames/``), ``groundTruth/`` and ``mapping/``.
        out: the feature folder to write; must not exist.
        features: see :func:`vasot_kit.own_films.inputs.feature_extractor`.
        fps: samples per second, where a folder of pictures has 30 of them; every frame where None.
        device: where the network runs.
        trim: cut a film and its labels to the shorter of the two where they differ in length.
        progress: show progress bars.

    Returns:
        ``out``.

    Raises:
        InputError: no such features, or a rate that is not a positive number.
        DataError: no films, a film that cannot be read, two of one name, or ``out`` exists.
    """
    refuse_existing(out)  # before hours of work, not after them
    labelled = (folder / "groundTruth").is_dir()
    films = labelled_films(folder) if labelled else films_in(folder)
    films_by_name(films.values())  # raises where two films have one name
    paths = list(films.values())
    check_rate(paths, fps)
    extractor = feature_extractor(features, device)
    recordings = read_recordings(paths, extractor, fps=fps, progress=progress)
    names = read_mapping(folder / "mapping" / "mapping.txt") if labelled else []
    rows = {}
    for key, recording in zip(films, recordings, strict=True):
        labels = label_lines(folder, key, recording, names, fps, trim) if labelled else None
        rows[key] = (recording.features.numpy()[: None if labels is None else len(labels)], labels)
    splits = split_files(folder) if labelled else []
    extra = {f"splits/{file.name}": "\n".join([*read_lines(file), ""]) for file in splits}
    save_folder(out, rows, names, extra | {DESCRIBED: to_json({"features": extractor.name, "fps": fps})})
    return out
