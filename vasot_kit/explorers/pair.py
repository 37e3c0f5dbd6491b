"""Explorer of an alignment: pick a frame of X, see its match distribution and both recordings at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from vasot_kit.explorers.explorer import (
    Choice,
    Explorer,
    Numbers,
    Slider,
    about_actions,
    colour_map,
    picture_sheet,
    step_names,
)
from vasot_kit.figures import plot_plan
from vasot_lib.data import Video, correspondence
from vasot_lib.errors import InputError

PACE = 15  # frames in a second while playing
TRACES = 6  # feature channels that are drawn where there are no pictures
TINY = np.finfo(float).tiny


def explore_pair(
    plans: Mapping[str, Tensor], x: Video, y: Video, classes: Sequence[str] = (), background: int | None = None
) -> Explorer:
    """Pick a frame of X by slider, by playing, or on the plan by mouse, finger or keys.

    Args:
        plans: name -> (N, M) targets, as ``Alignment.match(...).x_to_y[0]`` gives them; buttons choose one of several.
        x: N frames; its pictures are shown if it has any, otherwise the six channels of its features that vary most.
        y: M frames.
        classes: class names; where given, the steps of the frame and of its match are shown.
        background: number of the background class.

    Raises:
        InputError: no plan, or one of another shape than the recordings.
    """
    if not plans:
        raise InputError("explore_pair() got no plans; give at least one, e.g. {'plan': x_to_y}")
    for name, plan in plans.items():
        if not np.isfinite(np.asarray(plan)).all():
            raise InputError(f"plan {name!r} holds NaN or infinite values; a plan of finite embeddings has none")
        if plan.shape != (len(x), len(y)):
            raise InputError(f"plan {name!r} is {tuple(plan.shape)}, the recordings have {len(x)} and {len(y)} frames")
    truth = None if x.position is None or y.position is None else correspondence(x, y).numpy().astype(np.int32)
    labels = [None if video.labels is None else video.labels.numpy().astype(np.int32) for video in (x, y)]
    rows, arrays, tops = {}, {"plans": colour_map("bone_r")}, []
    for which, (name, plan) in enumerate(plans.items()):
        matrix = np.asarray(plan, dtype=float)
        rows[name] = _rows(matrix)
        shares = matrix / max(matrix.sum(1).max(), TINY)
        tops.append(max(float(shares.max()), TINY))
        arrays[f"plan_{which}"] = np.round(255 * np.sqrt(np.maximum(shares, 0) / tops[-1])).astype(np.uint8)
        arrays |= {f"{key}_{which}": values for key, values in rows[name].items()}

    def compute(frame: int, plan: str) -> Numbers:
        match, share, kept, effective = (rows[plan][key][frame] for key in ("match", "share", "kept", "effective"))
        numbers: Numbers = {"best match": int(match) if match >= 0 else "none (tie)"}
        numbers |= {"its share": float(share), "kept": float(kept)}
        numbers["effective matches"] = float(effective)
        if truth is not None:
            numbers["true match"] = int(truth[frame]) if truth[frame] >= 0 else "none"
        if classes and labels[0] is not None and labels[1] is not None:
            step = classes[labels[1][match]] if match >= 0 else "none"
            numbers |= {"step of X": classes[labels[0][frame]], "step of Y": step}
        return numbers

    about = {
        "n": len(x), "m": len(y), "dim": x.features.shape[1], "x": _about(x), "y": _about(y),
        "plans": [{"name": name, "top": top} for name, top in zip(plans, tops, strict=True)], "actions": [],
    }  # fmt: skip
    if truth is not None:
        arrays["truth"] = truth
    for side, video, own in (("x", x, labels[0]), ("y", y, labels[1])):
        if own is not None:
            arrays[f"labels_{side}"] = own
        if video.frames is None:
            arrays[f"traces_{side}"] = _traces(video)
    known = [each for each in labels if each is not None]
    if known:
        about["actions"] = about_actions(classes or step_names(known, background), background)
        about["classes"] = bool(classes) and len(known) == 2
    first = next(iter(plans))
    controls: list[Slider | Choice] = [
        Slider("frame", "frame of X", len(x) // 2, 0, len(x) - 1, 1, len(x) / PACE),
        Choice("plan", "plan", first, tuple(plans)),
    ]
    still = plot_plan(
        np.asarray(plans[first]), labels_x=labels[0], labels_y=labels[1], background=background,
        title=f"X: {x.name}   Y: {y.name}",
    )  # fmt: skip
    title = "A transport plan, the match distribution of one frame, and both recordings"
    return Explorer("pair", title, controls, about, arrays, compute, still)


def _rows(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Of each frame of X: its best match, the share of that, the share that it keeps, and how many matches it has.

    A row that is flat up to rounding has no best match, which is -1.
    """
    kept = matrix.sum(1)
    share = matrix / np.maximum(kept, TINY)[:, None]
    effective = np.exp(-(share * np.log(np.maximum(share, 1e-30))).sum(1))
    flat = np.ptp(matrix, axis=1) <= 1e-6 * matrix.max(1)
    match = np.where(flat, -1, matrix.argmax(1)).astype(np.int32)
    return {"match": match, "share": matrix.max(1), "kept": kept, "effective": effective}


def _about(video: Video) -> dict[str, object]:
    return {"name": video.name, "pictures": picture_sheet(video)}


def _traces(video: Video) -> np.ndarray:
    """(N, up to 6) the channels that vary most, such that lines one apart seldom touch."""
    features = video.features.numpy()
    loud = np.sort(np.argsort(features.std(0))[-TRACES:])
    traces = features[:, loud] - features[:, loud].mean(0)
    return traces / max(float(2.5 * traces.std()), TINY)
