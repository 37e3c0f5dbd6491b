"""``report.html``: one page of a call, which shows its films without a server, a network or a video decoder."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from vasot_kit.figures.style import COLOURS
from vasot_kit.film_matching.pieces import FilmPiece
from vasot_kit.films.recordings import Recording
from vasot_kit.own_films.outputs import Outputs, frame_edges
from vasot_kit.own_films.pairs import Pair, backwards
from vasot_kit.own_films.pictures import Pictures
from vasot_kit.runs.records import write_text
from vasot_lib.evaluation import segments

REPORT = "report.html"
PAGES = Path(__file__).with_name("pages")
MOST_CELLS = 400  # rows and columns of a plan in a page


def align_page(
    outputs: Outputs,
    recordings: Sequence[Recording],
    pictures: Sequence[Pictures],
    pairs: Sequence[Pair],
    verdicts: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write the page of films that were aligned with the first of them.

    Args:
        outputs: the folder.
        recordings: the films, the reference first.
        pictures: of each of them.
        pairs: of the reference with each of the others, in their order.
        verdicts: on pairs of the films, see :func:`vasot_kit.own_films.several.write_verdicts`.
    """
    names = [recording.name for recording in recordings]
    title = f"{names[0]} and {names[1]}" if len(names) == 2 else f"{names[0]} and {len(names) - 1} other films"
    films = [film_data(*each) for each in zip(recordings, pictures, strict=True)]
    data = {"films": films, "pairs": [_pair_data(pair) for pair in pairs], "unit": "seconds"}
    data |= {"verdicts": list(verdicts), "names": names}
    return write_page(outputs, "align.html.j2", title, data, reference=names[0])


def matched_page(
    outputs: Outputs,
    x: Recording,
    y: Recording,
    pictures: Sequence[Pictures],
    plan: np.ndarray,
    partner: np.ndarray,
    confidence: np.ndarray,
) -> Path:
    """Write the page of two films that a trained model aligned, named by X.

    Args:
        outputs: the folder.
        x: film of N samples.
        y: film of M samples.
        pictures: of both.
        plan: (N, M) where the mass of each sample of X goes.
        partner: (N,) sample of Y for each sample of X; -1 for none.
        confidence: (N,) between 0 and 1.
    """
    there = partner >= 0
    apart = y.times[partner[there]] - x.times[there]
    piece = np.where(there, 0, -1)
    pair = {
        "matches": numbers(np.where(there, partner, np.nan)),
        "partner": partner.tolist(),
        "back": backwards(partner, piece, len(y.times)).tolist(),
        "piece": piece.tolist(),
        "pieces": [FilmPiece((0, len(x.times)), (0, len(y.times)), None)._asdict()],
        "confidence": numbers(confidence, 3),
        "plan": base64.b64encode(plan_picture(plan)).decode(),
        "verdict": f"The model matches {there.mean():.0%} of the frames of {x.name} with frames of {y.name}.",
        "reading": "",
        "kind": "",
        "sure": float(confidence.mean()),
        "matched": float(there.mean()),
        "offset": float(np.median(apart)) if there.any() else None,
    }
    films = [film_data(*each) for each in zip((x, y), pictures, strict=True)]
    data = {"films": films, "pairs": [pair], "unit": "seconds", "verdicts": [], "names": [x.name, y.name]}
    name = f"{x.name}-{REPORT}"
    return write_page(outputs, "align.html.j2", f"{x.name} and {y.name}", data, name, reference=x.name)


def segments_page(
    outputs: Outputs,
    recordings: Sequence[Recording],
    pictures: Sequence[Pictures] | None,
    labels: Sequence[np.ndarray],
    names: Sequence[str],
    background: int | None = None,
    procedure: Mapping[str, Any] | None = None,
    note: str = "",
    found_again: Sequence[np.ndarray] | None = None,
) -> Path:
    """Write the page of recordings that were cut into actions.

    Args:
        outputs: the folder.
        recordings: what was segmented.
        pictures: of each film; None where features came from files.
        labels: (N,) actions of each recording, from 0.
        names: of the actions.
        background: the action that stands for none.
        procedure: for a table of the steps of the first recording: ``steps``, each with its ``name`` and ``action``,
            and ``films``, each with its steps ``found``, their ``states``, spans of samples that are ``extra``, and
            ``kind``, ``verdict`` and ``reading`` of its match.
        note: what the page says below its title.
        found_again: of each recording (N,) shares of the others in which the action of a frame is found again.
    """
    films = []
    for number, (recording, found) in enumerate(zip(recordings, labels, strict=True)):
        again = segment_means(found, None if found_again is None else found_again[number])
        parts = zip(*(part.tolist() for part in segments(found)), again, strict=True)
        film = film_data(recording, None if pictures is None else pictures[number])
        films.append({**film, "segments": [list(part) for part in parts]})
    numbers = [str(place + 1) for place in range(len(names))]
    kinds = len(names) - (background is not None)
    what = "film" if pictures is not None else "recording"
    title = f"{kinds} actions in {len(films)} {what}{'s' if len(films) > 1 else ''}"
    if procedure is not None:
        others = f"{len(films) - 1} other film{'s' if len(films) > 2 else ''}"
        title = f"The {len(procedure['steps'])} steps of {recordings[0].name} in {others}"
    data: dict[str, Any] = {"films": films, "actions": names, "numbers": numbers}
    data |= {"unit": "seconds" if pictures else "frames", "background": background, "procedure": procedure}
    happened = len(set(np.unique(np.concatenate(list(labels))).tolist()) - {background})
    happening = "" if happened == kinds else f"{happened} of them happen{'s' * (happened == 1)}."
    sure = ""
    if found_again is not None:
        mean = np.nanmean(np.concatenate(found_again))
        sure = (
            f"In the mean over all frames an action is found again in {mean:.0%} of the "
            f"other {what}s (pale: seldom). That is not how much is right, but where many are compared, pale is more "
            "often wrong."
        )
    summary = " ".join(filter(None, (happening, note, sure)))
    template = "segment.html.j2" if procedure is None else "transfer.html.j2"
    return write_page(outputs, template, title, data, summary=summary, what=what)


def segment_means(labels: np.ndarray, by_frame: np.ndarray | None) -> list[float | None]:
    """The mean of (N,) values over each segment of (N,) labels; None for each where there are no values, or NaN."""
    if by_frame is None or np.isnan(by_frame).any():
        return [None for _ in segments(labels)[0]]
    return [float(by_frame[start:end].mean()) for _, start, end in zip(*segments(labels), strict=True)]


def write_page(
    outputs: Outputs, template: str, title: str, data: Mapping[str, Any], name: str = REPORT, **values: Any
) -> Path:
    """Write a page from a template with its data, its scripts and its styles inside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    stored = json.dumps({**data, "colours": COLOURS}, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    about = {name: _shown(value) for name, value in outputs.about.items()}
    rate = outputs.about.get("fps")
    if rate:
        values["sampled"] = f"At most {rate:.4g} frames a second of each film were used."
    page = environment.get_template(template).render(title=title, data=stored, mark=outputs.mark, about=about, **values)
    target = outputs.place(name)
    write_text(target, page)
    return target


def film_data(recording: Recording, pictures: Pictures | None) -> dict[str, Any]:
    """What a page has to know of a film; without pictures where its features came from a file."""
    size = pictures or Pictures(1, 1, 1, [])
    return {
        "name": recording.name,
        "times": numbers(recording.times),
        "index": recording.index.tolist(),
        "end": round(float(frame_edges(recording)[-1]), 4),
        "width": size.width,
        "height": size.height,
        "step": size.step,
        "pictures": [base64.b64encode(picture).decode() for picture in size.encoded],
    }


def numbers(values: np.ndarray, digits: int = 4) -> list[float | None]:
    """The values, rounded; None for NaN."""
    return [None if np.isnan(value) else round(value, digits) for value in values.tolist()]


def _pair_data(pair: Pair) -> dict[str, Any]:
    return {
        "matches": numbers(pair.matches, 3),
        "partner": pair.partner.tolist(),
        "back": pair.back.tolist(),
        "piece": pair.piece.tolist(),
        "pieces": [piece._asdict() for piece in pair.pieces],
        "confidence": numbers(pair.confidence, 3),
        "verdict": pair.verdict,
        "reading": pair.reading,
        "kind": pair.kind,
        "plan": base64.b64encode(plan_picture(pair.plan)).decode(),
        "sure": pair.sure,
        "offset": pair.offset,
        "matched": float((pair.partner >= 0).mean()),
    }


def plan_picture(plan: np.ndarray) -> bytes:
    """A grey PNG of a plan, at most 400 x 400: the square root of its shares of the fullest row, as in the figures."""
    for axis in (0, 1):
        n = plan.shape[axis]
        blocks = min(n, MOST_CELLS)
        starts = np.arange(blocks) * n // blocks
        plan = np.add.reduceat(plan, starts, axis) / np.diff(np.append(starts, n)).reshape((-1, 1) if axis == 0 else -1)
    grey = np.round(255 * np.sqrt(plan / max(plan.max(), np.finfo(float).tiny))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_shown, value))
    return "default" if value is None else str(value)
