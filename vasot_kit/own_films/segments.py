"""What the actions of recordings are written as: tables, timelines, films that name them, one page, and exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from vasot_kit.figures import action_style, plot_timelines
from vasot_kit.figures.style import font_with, is_dark
from vasot_kit.films.media import probe, write_video
from vasot_kit.films.progress import phase
from vasot_kit.films.recordings import Recording
from vasot_kit.folders.files import Interval
from vasot_kit.own_films.exports import Tier
from vasot_kit.own_films.outputs import HEIGHT, TABLE, Outputs, frame_edges, segment_times
from vasot_kit.own_films.pictures import Pictures, shown, small_pictures
from vasot_kit.own_films.report import segment_means, segments_page


def write_segments(
    outputs: Outputs,
    recordings: Sequence[Recording],
    labels: Sequence[np.ndarray],
    actions: Sequence[int | str],
    in_seconds: bool = True,
    progress: bool = False,
    background: int | None = None,
    procedure: Mapping[str, Any] | None = None,
    note: str = "",
    found_again: Sequence[np.ndarray] | None = None,
) -> None:
    """Write the actions of recordings: tables of frames and of segments, timelines, a page, and what films have beside.

    Args:
        outputs: the folder.
        recordings: what was segmented.
        labels: (N,) actions of each recording, from 0.
        actions: their names, or numbers, which figures and ELAN show as ``action 1``. Tables have plain numbers only
            where there are no names, because a name may be a number too.
        in_seconds: whether the recordings are films. Features from files have no seconds, and nothing to look at.
        progress: show progress bars.
        background: the action that stands for none; it is drawn grey, and other tools do not get it.
        procedure: for the page, see :func:`vasot_kit.own_films.report.segments_page`.
        note: what the page says below its title.
        found_again: (N,) shares of the other recordings in which the action of a frame is found again, see
            :func:`vasot_kit.experiments.segments.found_again_by_frame`; tables have the mean over each segment.
    """
    named = [each for each in actions if isinstance(each, str)]
    word = "action"
    while any(name.startswith(f"{word} ") for name in named):  # a class may be called "action 1"
        word = f"unnamed {word}"
    names = [each if isinstance(each, str) else f"{word} {each}" for each in actions]
    tabled = names if named else actions
    unit, form = ("seconds", "{:.4f}".format) if in_seconds else ("frame", "{:.0f}".format)
    rows, found = [], []
    for number, (recording, each) in enumerate(zip(recordings, labels, strict=True)):
        frames = zip(recording.index.tolist(), recording.times.tolist(), each.tolist(), strict=True)
        if in_seconds:
            table = [(i, form(t), tabled[a]) for i, t, a in frames]
            outputs.table(f"{recording.name}.csv", ("frame", "seconds", "action"), table)
        else:
            outputs.table(f"{recording.name}.csv", ("frame", "action"), [(i, tabled[a]) for i, _, a in frames])
        times = list(segment_times(recording, each))
        means = segment_means(each, None if found_again is None else found_again[number])
        rows += [
            (recording.name, tabled[action], form(start), form(end), *([] if found_again is None else [mean]))
            for (action, start, end), mean in zip(times, ("" if m is None else f"{m:.3f}" for m in means), strict=True)
        ]
        found.append([Interval(start, end, names[action]) for action, start, end in times if action != background])
    columns = ("recording", "action", f"start_{unit}", f"end_{unit}", "found_again")
    outputs.table(f"{TABLE}.csv", columns[:4] if found_again is None else columns, rows)
    result = [
        {"name": recording.name, "segments": [each._asdict() for each in intervals]}
        for recording, intervals in zip(recordings, found, strict=True)
    ]
    steps = {} if procedure is None else {"steps": procedure["table"]}
    outputs.json("result.json", {"unit": unit, "actions": names, "recordings": result, **steps})
    bars = {each.name: (frame_edges(each), found) for each, found in zip(recordings, labels, strict=True)}
    # What cannot be looked for in another recording is not drawn as if it were seldom found.
    known = None if found_again is None else [np.nan_to_num(share, nan=1.0) for share in found_again]
    by_name = None if known is None else dict(zip(bars, known, strict=True))
    timelines = plot_timelines(bars, names, "seconds" if in_seconds else "frames", background, by_name)
    outputs.figure("timelines.png", timelines)
    pictures: list[Pictures] | None = None
    if in_seconds:
        with phase("writing films with their actions", progress, len(recordings)) as bar:
            for recording, each, intervals in zip(recordings, labels, found, strict=True):
                _write_film(outputs, recording, each, intervals, names, background)
                bar.update()
        with phase("pictures of the report", progress, len(recordings)) as bar:
            pictures = small_pictures(recordings, bar)
    segments_page(outputs, recordings, pictures, labels, names, background, procedure, note, found_again)


def _write_film(
    outputs: Outputs,
    recording: Recording,
    labels: np.ndarray,
    intervals: Sequence[Interval],
    names: Sequence[str],
    background: int | None,
) -> None:
    """Write what belongs beside one film: for ELAN, for players, and the film itself with the names of its actions."""
    outputs.elan(f"{recording.name}.eaf", [Tier("actions", recording, 0, intervals)])
    outputs.chapters(f"{recording.name}.vtt", recording, intervals)
    rate = (len(recording.times) - 1) / float(recording.times[-1] - recording.times[0])
    pictures = captioned(recording, labels, names, background)
    write_video(outputs.place(f"{recording.name}.mp4"), pictures, rate, f"config {outputs.mark}", quick=True)


class _Caption(NamedTuple):
    """Where the name of an action stands in a picture, and its pixels."""

    place: tuple[slice, slice]
    pixels: np.ndarray


def captioned(
    recording: Recording, labels: np.ndarray, names: Sequence[str], background: int | None = None
) -> Iterator[np.ndarray]:
    """The pictures of a film with the name of their action, and below them a bar of all its actions with the time.

    Args:
        recording: a film of N samples.
        labels: (N,) actions, from 0.
        names: of the actions.
        background: the action that stands for none.
    """
    clip = probe(recording.path)
    height = min(HEIGHT, clip.height)
    width = max(2, round(clip.width * height / clip.height))
    captions = {
        action: _caption(names[action], action_style(action, background).colour, height, width)
        for action in np.unique(labels).tolist()
    }
    bar = max(4, height // 24)
    colours = np.array([_rgb(action_style(action, background).colour) for action in range(len(names))], np.uint8)
    at = np.linspace(0, len(labels), width, endpoint=False).astype(int)
    strip = np.repeat(colours[labels[at]][None], bar, 0)
    for number, (picture, action) in enumerate(zip(shown(recording, height, width), labels.tolist(), strict=True)):
        below = strip.copy()
        x = round(number / max(1, len(labels) - 1) * (width - 1))
        below[:, max(0, x - 2) : x + 3] = 255
        below[:, max(0, x - 1) : x + 2] = 0
        with_name = picture.copy()
        with_name[captions[action].place] = captions[action].pixels
        yield np.concatenate([with_name, below])


def _caption(name: str, colour: str, height: int, width: int) -> _Caption:
    """The name in the colour of its action, as large as fits, in the lower left corner."""
    size = max(10, height // 16)
    font = ImageFont.truetype(font_with(name) or findfont("DejaVu Sans"), size)
    while size > 6 and font.getlength(name) > width - 1.2 * size:
        size -= 1
        font = font.font_variant(size=size)
    wide, tall = min(width, round(font.getlength(name) + 1.2 * size)), min(height, round(1.7 * size))
    box = Image.new("RGB", (wide, tall), colour)
    ink = "white" if is_dark(colour) else "black"
    ImageDraw.Draw(box).text((wide / 2, tall / 2), name, fill=ink, font=font, anchor="mm")
    return _Caption((slice(height - tall, height), slice(0, wide)), np.asarray(box))


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))
