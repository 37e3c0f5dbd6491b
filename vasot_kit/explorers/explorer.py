"""What all explorers are: a page of HTML that computes in the browser, and the same numbers in Python.

An explorer shows itself as one piece of HTML with its data, its styles and its scripts (``browser/``) inside, which
works in a notebook, and in a page without a kernel and without a network. Where scripts do not run, on a code host for
example, a still picture is left. Python computes the same numbers by the library, for exercises and for the tests of
the scripts.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vasot_kit.figures.style import ACCENT, BACKGROUND, INK, PUBLISHED, SOFT, action_style, is_dark
from vasot_lib.data import Video

BROWSER = Path(__file__).with_name("browser")
SHARED = ("solver.js", "numbers.js", "frame.js", "panels.js")
HERE = "#D55E00"  # colour of X and of what is marked; that of Y is ACCENT
COLOURS = {"ink": INK, "soft": SOFT, "accent": ACCENT, "here": HERE, "pale": BACKGROUND, "other": PUBLISHED}
TYPES = {
    "int16": "Int16Array",
    "float32": "Float32Array",
    "float64": "Float64Array",
    "int32": "Int32Array",
    "uint8": "Uint8Array",
}
DPI = 80
LARGEST_PICTURE, MOST_PICTURES = 96, 240

Numbers = dict[str, float | int | str]


class Slider(NamedTuple):
    """A number that is moved from ``low`` to ``high`` by ``step``; playing it all takes ``seconds``."""

    name: str
    label: str
    value: float
    low: float
    high: float
    step: float
    seconds: float = 6.0


class Choice(NamedTuple):
    """One of several options."""

    name: str
    label: str
    value: str
    options: tuple[str, ...]


class Explorer:
    """Controls, panels that follow them, and numbers below the panels.

    Args:
        kind: its script is ``browser/<kind>.js``, its class there ``<Kind>Explorer``.
        title: text for readers who cannot see the panels.
        controls: sliders and choices.
        about: what the script has to know, as JSON.
        arrays: what the script computes from, of a type in ``TYPES``.
        compute: called with the values of the controls by name, gives the numbers; the script has to agree with it.
        still: the picture for places without scripts.
    """

    def __init__(
        self,
        kind: str,
        title: str,
        controls: Sequence[Slider | Choice],
        about: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        compute: Callable[..., Numbers],
        still: Figure,
    ) -> None:
        self.kind, self.title, self.controls, self._compute, self.still = kind, title, tuple(controls), compute, still
        self.about, self.arrays = dict(about), dict(arrays)

    @property
    def values(self) -> dict[str, float | str]:
        """The values of the controls at the start."""
        return {control.name: control.value for control in self.controls}

    def numbers(self, **values: float | str) -> Numbers:
        """The numbers below the panels, unrounded, at these values of the controls; at the start for those not given.

        Raises:
            InputError: values that the library refuses.
        """
        return self._compute(**{**self.values, **values})

    def html(self) -> str:
        """The explorer as a piece of HTML."""
        about = {
            **self.about,
            "kind": self.kind,
            "colours": COLOURS,
            "style": (BROWSER / "style.css").read_text(),
            "controls": [control._asdict() for control in self.controls],
        }
        told = _script_json(about), _script_json({name: _packed(array) for name, array in self.arrays.items()})
        code = "\n".join((BROWSER / name).read_text() for name in (*SHARED, f"{self.kind}.js"))
        mark = hashlib.sha256("".join((*told, code)).encode()).hexdigest()[:12]
        title = html.escape(self.title)
        # The host page may keep its scripts and its markup apart; the mark brings them together again, and at once:
        # while the arrays are unpacked, a notebook may scroll its outputs away.
        return (
            f'<div data-explorer="{mark}" data-lm-suppress-shortcuts="true" role="group" aria-label="{title}">'
            f'<img alt="{title}" src="data:image/png;base64,{_png(self.still)}"></div>\n'
            f"<script>(async () => {{\n{code}\n"
            f"const hosts = [...document.querySelectorAll('[data-explorer=\"{mark}\"]:not([data-started])')];\n"
            'for (const host of hosts) host.dataset.started = "";\n'
            f"const arrays = await unpack({told[1]});\n"
            f"for (const host of hosts) new {self.kind.title()}Explorer(host, {told[0]}, arrays);\n"
            "})();</script>"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return {"text/html": self.html(), "text/plain": f"explore_{self.kind}({settings})"}


def about_actions(classes: Sequence[str], background: int | None) -> list[dict[str, Any]]:
    """How the script draws each class, and what it calls it."""
    actions = []
    for action, name in enumerate(classes):
        style = action_style(action, background)
        number = "" if action == background else str(action + 1)
        actions.append(
            {
                "name": name,
                "number": number,
                "colour": style.colour,
                "hatch": style.hatch,
                "dark": is_dark(style.colour),
            }
        )
    return actions


def step_names(labels: Sequence[np.ndarray], background: int | None) -> list[str]:
    """Names of classes of which only the numbers are known."""
    many = 1 + max(int(each.max()) for each in labels)
    return ["background" if action == background else f"step {action + 1}" for action in range(many)]


def colour_map(name: str) -> np.ndarray:
    """The 256 colours of a colour map of matplotlib, (768,) uint8."""
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].ravel()


def _packed(array: np.ndarray) -> tuple[str, str]:
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    return TYPES[array.dtype.name], base64.b64encode(zlib.compress(data.tobytes(), 9)).decode()


def _script_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return base64.b64encode(buffer.getvalue()).decode()


def picture_sheet(video: Video) -> dict[str, Any] | None:
    """The pictures of a video side by side in one picture, and how to find them there; None where it has none.

    Longer sides than 96 pixels are made smaller, and of many frames every second, third, ... is taken.
    """
    if video.frames is None:
        return None
    height, width = video.frames.shape[1:3]
    scale = min(1.0, LARGEST_PICTURE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    every = math.ceil(len(video) / MOST_PICTURES)
    chosen = video.frames[::every]
    columns = math.ceil(math.sqrt(len(chosen)))
    sheet = Image.new("RGB", (columns * size[0], math.ceil(len(chosen) / columns) * size[1]))
    for number, frame in enumerate(chosen):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(np.asarray(frame)).resize(size), (column * size[0], row * size[1]))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=85)
    url = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"sheet": url, "columns": columns, "width": size[0], "height": size[1], "every": every}
