"""Carry the steps of one labelled film over to others, and list which were done: the command ``vasot transfer``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vasot_kit.film_matching.matching import MatchingSettings
from vasot_kit.films.media import FOLDER_FPS, content_hash
from vasot_kit.films.recordings import Recording
from vasot_kit.folders.files import Interval
from vasot_kit.own_films.align import describe_films, match_pairs
from vasot_kit.own_films.inputs import MAX_FRAMES, check_rate, films_by_name, folder_rate, sampling_rate
from vasot_kit.own_films.labels import read_steps
from vasot_kit.own_films.outputs import TABLE, Outputs, frame_edges
from vasot_kit.own_films.pairs import Pair, order_kept, pair_of, within
from vasot_kit.own_films.segments import write_segments
from vasot_lib.errors import DataError, InputError

STEPS = "steps"  # name of the table of steps
NO_STEP = "no step"
EXTRA = "extra"  # the state of a part that the labelled film does not show
NO_MATCH = "no match"  # the state of all steps of a film that does not show the same as the labelled one

SHORTEST = 0.2  # of a step's length in the labelled film; what lasts or covers less is not the step
LONG = 0.5  # of the shortest step, from which on what the labelled film does not show is told
AGAIN = 0.5  # of the longest time that a film shows a step; a piece may run a little into a step that comes elsewhere
GRACE = 0.25  # of a step's length, by which it may go back without being done again


class Occurrence(NamedTuple):
    """A step that is done in a film.

    Attributes:
        step: its number among the steps of the labelled film, from 0.
        start, end: its first sample and the one after its last.
        confidence: the mean over its samples.
    """

    step: int
    start: int
    end: int
    confidence: float


def transfer_steps(
    labelled: Path,
    labels: Path,
    others: Sequence[Path],
    out: Path,
    *,
    tier: str | None = None,
    background: str | None = None,
    features: str = "motion",
    fps: float | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> dict[str, list[Occurrence]]:
    """Find the steps of a labelled film in other films by matching each of them with it, and write them to a folder.

    Args:
        labelled: a film or a folder of pictures, whose steps are known.
        labels: its steps, see :func:`vasot_kit.own_films.labels.read_steps`.
        others: films of the same procedure.
        out: folder for ``steps.csv``, which step is done, skipped, repeated or out of order in each film, and when,
            what is extra, or ``no match`` where a film does not show the same, with the verdict on the match;
            ``report.html``; and the files of ``vasot segment``, of which ``result.json`` has the same table.
        tier: of a file of ELAN.
        background: a name that is no step.
        features, fps, device: as in :func:`vasot_kit.own_films.align.align_films`.
        progress: show progress bars, and say at the end which steps the films show.

    Returns:
        Name of the film -> the steps that it shows, in its order. A warning names films whose match is not clear, or
        that do not seem to show the same; the latter have no steps.

    Raises:
        InputError: no other film, or a rate that is not a positive number.
        DataError: films or labels that cannot be read, or ``out`` holds something else.
    """
    if not others:
        raise InputError("no film was given beside the labelled one; name at least one")
    films = [labelled, *others]
    check_rate(films, fps)
    folder_fps = folder_rate(films, fps)
    for name in (TABLE, STEPS):
        if name in films_by_name(films):
            raise DataError(f"a film is called {name!r}, as is a table of all films; rename it")
    fps = sampling_rate(films, MAX_FRAMES) if fps is None else fps
    settings = MatchingSettings()
    config: dict[str, Any] = {
        "command": "transfer",
        "labels": content_hash(labels),
        "tier": tier,
        "background": background,
    }
    config |= {"features": features, "fps": fps, "matching": asdict(settings)}
    config |= {} if folder_fps == FOLDER_FPS else {"folder_fps": folder_fps}
    outputs = Outputs(out, config, films)
    pairs_of_films = [(k, 0) for k in range(1, len(films))]
    read = describe_films(films, features, fps, device, settings, progress, folder_fps)
    recordings = read.recordings
    steps = _steps(labels, recordings[0], tier, background)
    of_labelled = step_of_samples(recordings[0], steps)
    alignments = match_pairs(read, pairs_of_films, settings, progress)
    pairs = [pair_of(each, recordings[0], match) for each, match in zip(recordings[1:], alignments, strict=True)]
    found = {pair.x.name: [] if pair.kind == "none" else occurrences(pair, of_labelled) for pair in pairs}
    checked = {pair.x.name: _checked(pair, found[pair.x.name], of_labelled, len(steps)) for pair in pairs}
    note = doubts({name: each["kind"] for name, each in checked.items()})
    _write(outputs, recordings, steps, of_labelled, found, checked, note, progress)
    if note:  # before what it is about
        warnings.warn(note, stacklevel=1)
    if progress:
        names = [step.name for step in steps]
        print("\n".join(told(name, each["states"], names, each["kind"]) for name, each in checked.items()))
        if kept := order_kept(pairs):
            print(kept)
    return found


def _steps(labels: Path, recording: Recording, tier: str | None, background: str | None) -> list[Interval]:
    """The steps of the labelled film, without the background and what the kit itself calls no step."""
    named = read_steps(labels, recording, tier)
    known = list(dict.fromkeys(step.name for step in named))
    if background is not None and background not in known:
        raise InputError(f"background is {background!r} but {labels} has {', '.join(known)}; give one of them")
    steps = [step for step in named if step.name not in (background, NO_STEP)]
    if not steps:
        raise DataError(f"{labels} has nothing but {' and '.join(map(repr, known))}; label the steps")
    return steps


def _checked(pair: Pair, found: Sequence[Occurrence], of_labelled: np.ndarray, n_steps: int) -> dict[str, Any]:
    """The verdict on a film, the spans of its samples that are extra, and the states of all steps."""
    about = {"kind": pair.kind, "verdict": pair.verdict, "reading": pair.reading}
    if pair.kind == "none":
        return {**about, "extra": [], "states": [NO_MATCH] * n_steps}
    long = LONG * np.bincount(of_labelled[of_labelled >= 0]).min() / (_samples_of_y(pair) * pair.tempo)
    alone = [piece.x for piece in pair.pieces if piece.x is not None and piece.y is None]
    extra = [span for span in alone if span[1] - span[0] >= long]
    return {**about, "extra": extra, "states": states(found, n_steps)}


def told(name: str, state: Sequence[str], names: Sequence[str], kind: str) -> str:
    """One line about a film: how many steps it shows, and which are skipped, repeated or out of order.

    Args:
        name: of the film.
        state: of each step, see :func:`states`.
        names: of the steps.
        kind: of the verdict on the film.
    """
    if NO_MATCH in state:
        return f"{name}: {NO_MATCH}"
    of_state = {
        each: ", ".join(f"{k} {names[k - 1]}" for k, found in enumerate(state, start=1) if found == each)
        for each in ("skipped", "repeated", "out of order")
    }
    unclear = "not clear whether it shows the same; " if kind == "unclear" else ""
    shown = f"{unclear}{len(state) - list(state).count('skipped')} of {len(state)} steps"
    return f"{name}: {'; '.join([shown, *(f'{each}: {those}' for each, those in of_state.items() if those)])}"


def doubts(kinds: Mapping[str, str]) -> str:
    """What has to be said of the steps of films because of their verdicts; empty where nothing has.

    Args:
        kinds: name of the film -> the kind of its verdict.
    """
    said = []
    if unclear := [name for name, kind in kinds.items() if kind == "unclear"]:
        show, their = ("shows", "its") if len(unclear) == 1 else ("show", "their")
        said.append(
            f"It is not clear whether {_listed(unclear)} {show} what the labelled film does; "
            f"check {their} steps before you use them."
        )
    if none := [name for name, kind in kinds.items() if kind == "none"]:
        does, gets = ("does", "it gets") if len(none) == 1 else ("do", "they get")
        said.append(f"{_listed(none)} {does} not seem to show what the labelled film does; {gets} no steps.")
    return " ".join(said)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _write(
    outputs: Outputs,
    recordings: Sequence[Recording],
    steps: Sequence[Interval],
    of_labelled: np.ndarray,
    found: Mapping[str, Sequence[Occurrence]],
    checked: Mapping[str, Mapping[str, Any]],
    note: str,
    progress: bool,
) -> None:
    rows: list[tuple[object, ...]] = []
    names = list(dict.fromkeys(step.name for step in steps))
    place = np.array([*(names.index(step.name) for step in steps), len(names)])  # the last one for no step, -1
    labels = [place[of_labelled]]
    spans = [np.nonzero(of_labelled == k)[0] for k in range(len(steps))]
    shown = [[k, int(each[0]), int(each[-1]) + 1, None] for k, each in enumerate(spans) if len(each)]
    films: list[dict[str, Any]] = [{"states": [], "found": shown, "extra": [], "kind": "", "verdict": ""}]
    for recording in recordings[1:]:
        here, kind, state = found[recording.name], *(checked[recording.name][each] for each in ("kind", "states"))
        of_samples = np.full(len(recording.times), -1)
        for each in here:
            of_samples[each.start : each.end] = each.step
        for start, end in checked[recording.name]["extra"]:  # which may interrupt a step
            of_samples[start:end] = -1
        labels.append(place[of_samples])
        films.append({"found": [list(each) for each in here], **checked[recording.name]})
        for k, step in enumerate(steps):
            times = [each for each in here if each.step == k]
            for each in times:
                start, end = within(recording, (each.start, each.end))
                sure = f"{each.confidence:.4f}"
                rows.append((recording.name, k + 1, step.name, state[k], f"{start:.4f}", f"{end:.4f}", sure, kind))
            if not times:
                rows.append((recording.name, k + 1, step.name, state[k], "", "", "", kind))
        for span in checked[recording.name]["extra"]:
            start, end = within(recording, span)
            rows.append((recording.name, "", "", EXTRA, f"{start:.4f}", f"{end:.4f}", "", kind))
    columns = ("recording", "step", "name", "state", "start_seconds", "end_seconds", "confidence", "verdict")
    outputs.table(f"{STEPS}.csv", columns, rows)
    known = [{"name": step.name, "action": int(place[k])} for k, step in enumerate(steps)]
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    procedure = {"steps": known, "films": films, "table": table}
    write_segments(outputs, recordings, labels, [*names, NO_STEP], True, progress, len(names), procedure, note)


def step_of_samples(recording: Recording, steps: Sequence[Interval]) -> np.ndarray:
    """(N,) the number of the step that each sample of a film lies in, by its middle; -1 between steps.

    Raises:
        DataError: a step in which no sample lies, which no film could be seen to show.
    """
    edges = frame_edges(recording)
    middles = (edges[1:] + edges[:-1]) / 2
    found = np.searchsorted([step.start for step in steps], middles, side="right") - 1
    ends = np.array([step.end for step in steps])
    of_samples = np.where((found >= 0) & (middles < ends[found]), found, -1)
    for k, (start, end, name) in enumerate(steps):
        if not (of_samples == k).any():
            raise DataError(
                f"the step {name!r} from {start:g} to {end:g} s has no frame of {recording.path.name} at the rate of "
                "reading; correct its times, or read more frames with --fps"
            )
    return of_samples


def occurrences(pair: Pair, of_y: np.ndarray) -> list[Occurrence]:
    """The steps that film X of a pair shows, in its order; Y is the labelled film.

    Samples of X whose partners lie in one step are one occurrence of it as long as they go on in it; where they go back
    by more than a quarter of the step, it is done again. What covers less than a fifth of the step is left out, as is
    what lasts less than half of the longest time that the film shows the step.

    Args:
        pair: of N and M samples.
        of_y: (M,) the number of the step that each sample of Y lies in, or -1.
    """
    carried = np.where(pair.partner >= 0, of_y[pair.partner], -1)
    lengths = np.bincount(of_y[of_y >= 0])
    most = _samples_of_y(pair) * max(1.0, pair.tempo)

    def joined(runs: Iterable[list[int]]) -> list[list[int]]:
        """Neighbours of one step in which it goes on are one."""
        result: list[list[int]] = []
        for run in runs:
            step, back = carried[run[0]], pair.partner[result[-1][-1]] - pair.partner[run[0]] if result else 0
            if result and carried[result[-1][-1]] == step and back <= GRACE * lengths[step]:
                result[-1] += run
            else:
                result.append(list(run))
        return result

    def is_long(samples: list[int]) -> bool:
        covered = min(np.ptp(pair.partner[samples]) + 1, len(samples) * most)
        return len(samples) > 1 and covered > SHORTEST * lengths[carried[samples[0]]] - 1e-6

    samples = joined([i] for i in np.nonzero(carried >= 0)[0].tolist())
    samples = joined(filter(is_long, samples))
    longest = {carried[each[0]]: len(each) for each in sorted(samples, key=len)}
    samples = [each for each in samples if len(each) >= AGAIN * longest[carried[each[0]]]]
    return [
        Occurrence(
            int(carried[each[0]]), each[0], each[-1] + 1,
            float(pair.confidence[each].mean()),
        )
        for each in samples
    ]  # fmt: skip


def _samples_of_y(pair: Pair) -> float:
    """Samples of Y while one of X, at the rates of both films."""
    return float(np.median(np.diff(pair.x.times)) / np.median(np.diff(pair.y.times)))


def states(found: Sequence[Occurrence], n_steps: int) -> list[str]:
    """For each step ``done``, ``skipped``, ``repeated`` or ``out of order``.

    Out of order are the steps outside the longest part of the film, by the first time of each, that keeps the order.
    """
    first = list(dict.fromkeys(each.step for each in found))
    ordered = _longest_increasing(first)
    times = [sum(each.step == step for each in found) for step in range(n_steps)]
    return [
        "skipped" if times[k] == 0 else "repeated" if times[k] > 1 else "done" if k in ordered else "out of order"
        for k in range(n_steps)
    ]


def _longest_increasing(values: Sequence[int]) -> set[int]:
    """The values of the longest increasing subsequence."""
    best: list[list[int]] = [[]]  # for each value the longest that ends with it
    for value in values:
        before = max((each for each in best if not each or each[-1] < value), key=len)
        best.append(before + [value])
    longest = max(best, key=len)
    return set(longest)
