"""Align films of the same procedure frame by frame: the command ``vasot align``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from torch import Tensor

from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import FilmAlignment, MatchingSettings, match_films
from vasot_kit.film_matching.pieces import FilmPiece
from vasot_kit.films.media import FOLDER_FPS, probe
from vasot_kit.films.motion import CELLS, Motion, MotionMaps
from vasot_kit.films.progress import phase
from vasot_kit.films.recordings import Recording, read_recordings
from vasot_kit.films.sound import Envelope, Shift, envelope, prior_of, shift_between
from vasot_kit.own_films.inputs import (
    AUTO,
    CHOICES,
    MAX_FRAMES,
    POSE,
    check_rate,
    feature_extractor,
    films_by_name,
    folder_rate,
    refuse_still,
    sampling_rate,
)
from vasot_kit.own_films.outputs import Outputs
from vasot_kit.own_films.pairs import order_kept, pair_of, result, write_exports, write_pair
from vasot_kit.own_films.pictures import small_pictures
from vasot_kit.own_films.report import align_page
from vasot_kit.own_films.several import (
    BEST,
    FIRST,
    Judged,
    best_reference,
    judged,
    told_apart,
    write_table,
    write_verdicts,
)
from vasot_lib.errors import DataError, InputError

T = TypeVar("T")


class Described(NamedTuple):
    """Films that were read, described by each choice of features; ``chosen`` where pairs choose among them, and
    ``sounds`` where those are compared."""

    recordings: list[Recording]
    ways: Mapping[str, list[FilmDescription]]
    chosen: bool
    sounds: list[Envelope] | None = None


def align_films(
    films: Sequence[Path],
    out: Path,
    *,
    reference: str = FIRST,
    features: str = Motion.name,
    fps: float | None = None,
    device: str = "cpu",
    sound: bool = False,
    settings: MatchingSettings | None = None,
    progress: bool = True,
) -> list[FilmAlignment]:
    """Align films with one of them and write the results to a folder.

    Args:
        films: two or more files or folders of pictures; every film is aligned with the reference.
        out: folder for ``report.html``, ``result.json`` and ``config.json``, and for each pair ``plan.npz``,
            ``correspondence.csv``, ``pieces.csv``, ``side_by_side.mp4``, ``alignment.png``, ``alignment.eaf`` (ELAN)
            and ``pieces.vtt`` (chapters), with the name of the other film before them where there are more than two,
            and then also ``films.csv``, which has all films for every frame of the reference, and ``verdicts.csv``.
        reference: ``first``, or ``best`` for the film that the others match best with, for which every film is matched
            with every other.
        features: see :func:`vasot_kit.own_films.inputs.feature_extractor`; several are joined by +, and count the same;
            or ``auto``, see :func:`match_pairs`.
        fps: samples per second; by default every frame, or fewer where a film would give more than 2000. Of a folder
            of pictures, how many there are per second, 30 by default.
        device: where a backbone runs.
        sound: let the sound of both films say how they lie in time, where that is clear: for cameras of one event.
        settings: the weights of the matching.
        progress: show progress bars, and say at the end whether the films match.

    Returns:
        The alignment of the reference with each of the others, in their order; ``result.json`` names the reference.

    Raises:
        InputError: fewer than two films, no such reference, or a rate that is not a positive number or higher than
            that of the films.
        DataError: a film that cannot be read, two of one name beside the first, or ``out`` holds something else.
    """
    if len(films) < 2:
        raise InputError(f"{len(films)} film was given; an alignment takes at least two")
    if reference not in (FIRST, BEST):
        raise InputError(f"reference is {reference!r}; use {FIRST} or {BEST}, and name the film that you want first")
    check_rate(films, fps)
    folder_fps = folder_rate(films, fps)
    settings = settings or MatchingSettings()
    if len(films) > 2:
        films_by_name(films if reference == BEST else films[1:])
    fps = sampling_rate(films, MAX_FRAMES) if fps is None else fps
    config = {"command": "align", "reference": reference, "features": features, "fps": fps}
    config |= {"sound": True} if sound else {}
    config |= {} if folder_fps == FOLDER_FPS else {"folder_fps": folder_fps}
    outputs = Outputs(out, {**config, "matching": asdict(settings)}, films)
    read = describe_films(films, features, fps, device, settings, progress, folder_fps)
    sounds = [envelope(film) for film in read.recordings] if sound else None
    read = read._replace(recordings=told_apart(read.recordings), sounds=sounds)
    match = partial(match_pairs, read, settings=settings, progress=progress)
    if reference == BEST and len(films) > 2:
        place, behind, verdicts = _best(match, len(films))
    else:
        place, behind, verdicts = 0, match([(0, k) for k in range(1, len(films))]), []
    alignments = match([(place, k) for k in range(place)]) + behind
    others = [k for k in range(len(films)) if k != place]
    verdicts = [each for each in verdicts if place not in (each.x, each.y)]
    verdicts = [judged((place, k), each) for k, each in zip(others, alignments, strict=True)] + verdicts
    _write(outputs, read.recordings, place, alignments, verdicts, progress)
    return alignments


def describe_films(
    films: Sequence[Path],
    features: str,
    fps: float | None,
    device: str,
    settings: MatchingSettings,
    progress: bool,
    folder_fps: float = FOLDER_FPS,
) -> Described:
    """Read films and describe them by features, or by all :data:`vasot_kit.own_films.inputs.CHOICES` that can be had
    where ``features`` are ``auto``; folders of pictures have ``folder_fps`` of them a second."""
    chosen = features.strip() == AUTO
    choices = [tuple(name.strip() for name in choice.split("+")) for choice in (CHOICES if chosen else (features,))]
    named = dict.fromkeys(name for choice in choices for name in choice)
    extractors = _had({name: partial(feature_extractor, name, device) for name in named}, chosen)
    extractors.pop(Motion.name, None)  # its maps are read
    reading = partial(read_recordings, films, fps=fps, progress=progress, folder_fps=folder_fps)
    recordings = reading(MotionMaps())
    refuse_still(recordings)
    read = _had({name: partial(reading, extractor) for name, extractor in extractors.items()}, chosen)
    tables = {name: [each.features for each in same] for name, same in read.items()} | {Motion.name: []}
    ways = {
        "+".join(choice): [
            _described(each, {name: tables[name][k] for name in choice if tables[name]}, fps, choice, settings)
            for k, each in enumerate(recordings)
        ]
        for choice in choices
        if set(choice) <= set(tables)
    }
    return Described(recordings, ways, chosen)


def match_pairs(
    films: Described, pairs: Sequence[tuple[int, int]], settings: MatchingSettings, progress: bool
) -> list[FilmAlignment]:
    """Match pairs of films, each given by the places of its X and its Y; of several descriptions of a pair, the one
    whose match has the largest gain is taken. Films that do not seem to show the same have no piece in common.

    Where the shift of their sounds is clear, it guides the match and is the evidence for it: films match however
    different they look, and are ``unclear`` instead of ``none``."""
    alignments = []
    for i, j in pairs:
        x, y = films.recordings[i], films.recordings[j]
        with phase(f"matching {x.name} with {y.name}", progress):
            shift = shift_between(films.sounds[i], films.sounds[j]) if films.sounds else None
            found = [
                match_films(described[i], described[j], settings, _prior(shift, x, y, described[i], described[j]))
                ._replace(features=way if films.chosen else "", sound=shift)
                for way, described in films.ways.items()
            ]  # fmt: skip
        best = max(found, key=lambda alignment: alignment.gain)
        if shift is not None and shift.seconds is not None:
            kind = "unclear" if best.kind == "none" else "match" if best.whole else "part"
            certain = best.certainty if best.kind == "none" else 1.0
            best = best._replace(kind=kind, confidence=best.confidence / best.certainty * certain, certainty=certain)
        if best.kind == "none":
            n, m = best.plan.shape
            best = best._replace(pieces=(FilmPiece((0, n), None, None), FilmPiece(None, (0, m), None)))
        alignments.append(best)
    return alignments


def _best(
    match: Callable[[Sequence[tuple[int, int]]], list[FilmAlignment]], count: int
) -> tuple[int, list[FilmAlignment], list[Judged]]:
    """The place of the reference among films, its matches with the films behind it, and the verdicts on all pairs.

    Every film is matched with those behind it. It has then met all, so that only the matches of the best so far are
    kept. A match is not the same the other way round: those of the reference with the films before it are not here.
    """
    behind: list[FilmAlignment] = []
    verdicts: list[Judged] = []
    for place in range(count):
        row = match([(place, k) for k in range(place + 1, count)])
        verdicts += [judged((place, place + 1 + k), each) for k, each in enumerate(row)]
        if best_reference(verdicts, range(place + 1)) == place:
            behind = row
    return best_reference(verdicts), behind, verdicts


def _prior(
    shift: Shift | None, x: Recording, y: Recording, of_x: FilmDescription, of_y: FilmDescription
) -> Tensor | None:
    """What the sound says about the moments of two films; None where nothing."""
    if shift is None or shift.seconds is None:
        return None
    rate = min(of_x.fps, of_y.fps)
    seconds = (
        np.interp(film.at(rate=rate).frames, np.arange(len(read.times)), read.times)
        for film, read in ((of_x, x), (of_y, y))
    )
    return prior_of(shift.seconds, *seconds)


def _had(wanted: Mapping[str, Callable[[], T]], chosen: bool) -> dict[str, T]:
    """What can be had; where features are chosen among several, those that cannot are left out, with the reason."""
    found = {}
    for name, get in wanted.items():
        try:
            found[name] = get()
        except DataError as error:
            if not chosen:
                raise
            print(f"{name} is left out of the choice of features: {error}", file=sys.stderr)
    return found


def _described(
    recording: Recording,
    looks: Mapping[str, Tensor],
    fps: float | None,
    choice: Sequence[str],
    settings: MatchingSettings,
) -> FilmDescription:
    """A recording whose features are motion maps, one map per row, and other features of the same frames."""
    maps = recording.features.numpy().reshape(-1, CELLS, CELLS)
    rate = fps or probe(recording.path).fps
    poses = [features for name, features in looks.items() if name == POSE]
    others = [features for name, features in looks.items() if name != POSE]
    return FilmDescription(maps, rate, others, poses, Motion.name in choice, settings.still)


def _write(
    outputs: Outputs,
    recordings: Sequence[Recording],
    place: int,
    alignments: Sequence[FilmAlignment],
    verdicts: Sequence[Judged],
    progress: bool,
) -> None:
    reference, others = recordings[place], [each for k, each in enumerate(recordings) if k != place]
    with phase("pictures of the report", progress, len(recordings)) as bar:
        pictures = small_pictures([reference, *others], bar)
    pairs = [pair_of(reference, other, alignment) for other, alignment in zip(others, alignments, strict=True)]
    for pair, shown in zip(pairs, pictures[1:], strict=True):
        with phase(f"writing {reference.name} beside {pair.y.name}", progress):
            prefix = f"{pair.y.stem}-" if len(pairs) > 1 else ""
            write_pair(outputs, pair, (pictures[0], shown), prefix)
            write_exports(outputs, pair, prefix)
    found = {"rate": outputs.about["fps"], "reference": reference.path.name, "pairs": [result(pair) for pair in pairs]}
    table: list[dict[str, Any]] = []
    if len(pairs) > 1:
        write_table(outputs, pairs)
        table = write_verdicts(outputs, recordings, verdicts)
        found["verdicts"] = table
    outputs.json("result.json", found)
    align_page(outputs, [reference, *others], pictures, pairs, table)
    if progress:
        if len(verdicts) > len(pairs):
            print(f"{reference.name} is the reference: it is paired most clearly with the others.")
        print("\n".join(f"{pair.verdict} {pair.heard}".rstrip() for pair in pairs))
        if kept := order_kept(pairs):
            print(kept)
