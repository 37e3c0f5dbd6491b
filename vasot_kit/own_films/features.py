"""Features of films by a frozen network, as a labelled feature folder: the command ``vasot features``."""

from __future__ import annotations

from pathlib import Path

from vasot_kit.films.recordings import label_lines, labelled_films, read_recordings
from vasot_kit.own_films.inputs import by_name, check_rate, describer, films_in
from vasot_lib.data.folder import read_mapping, refuse_existing, save_folder


def describe_films(
    folder: Path, out: Path, *, features: str, fps: float | None = None, device: str = "cpu", progress: bool = True
) -> Path:
    """Write ``features/``, and the labels at the same frames where the films have them.

    What was described is kept in the cache film by film, so the same again after an interruption goes on.

    Args:
        folder: with films, or with ``videos/`` (or ``frames/``), ``groundTruth/`` and ``mapping/``.
        out: the feature folder; must not exist.
        features: see :func:`vasot_kit.own_films.inputs.describer`.
        fps: samples per second; every frame where None.
        device: where the network runs.
        progress: show bars.

    Raises:
        InputError: no such features, or a rate that is not a positive number.
        DataError: no films, a film that cannot be read, two of one name, or ``out`` exists.
    """
    check_rate(fps)
    refuse_existing(out)  # now, not after hours of describing
    labelled = (folder / "groundTruth").is_dir()
    films = labelled_films(folder) if labelled else films_in(folder)
    by_name(films.values())
    recordings = read_recordings(list(films.values()), describer(features, device), fps=fps, progress=progress)
    names = read_mapping(folder / "mapping" / "mapping.txt") if labelled else []
    described = {}
    for key, recording in zip(films, recordings, strict=True):
        labels = label_lines(folder, key, recording, names, fps) if labelled else None
        described[key] = (recording.features.numpy(), labels)
    splits = sorted((folder / "splits").glob("*.txt")) if labelled else []
    save_folder(out, described, names, {f"splits/{file.name}": file.read_text(encoding="utf-8") for file in splits})
    return out
