"""The widget of all explorers: controls, a picture that can be clicked, numbers, and a line for errors."""

from __future__ import annotations

import base64
import gc
import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import anywidget
import ipywidgets as widgets
import traitlets
from matplotlib.figure import Figure

from vasot_lib.errors import InputError

DPI = 80

SCRIPT = """
function render({ model, el }) {
  const image = document.createElement("img");
  image.style.maxWidth = "100%";
  image.className = "vasot-picture";
  const show = () => {
    const before = image.src;
    image.src = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
    if (before) URL.revokeObjectURL(before);
    image.alt = model.get("text");
  };
  image.addEventListener("click", (event) => {
    const box = image.getBoundingClientRect();
    const count = (model.get("clicked")[2] || 0) + 1;
    model.set("clicked", [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, count]);
    model.save_changes();
  });
  model.on("change:png", show);
  show();
  el.appendChild(image);
}
export default { render };
"""


class Picture(anywidget.AnyWidget):
    """A PNG that says where it was clicked: shares of width and height from the top left, and a running number."""

    _esm = SCRIPT
    png = traitlets.Bytes().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    clicked = traitlets.List(traitlets.Float()).tag(sync=True)


class View(NamedTuple):
    """What an explorer shows for one setting of its controls.

    Attributes:
        figure: the picture; a fixed layout is drawn faster than a constrained one.
        numbers: name -> value; floats are shown with four significant digits, everything else as it is.
    """

    figure: Figure
    numbers: Mapping[str, float | int | str]


class Explorer(widgets.VBox):
    """Controls, a picture below them, and numbers below the picture.

    Args:
        draw: called with the values of the controls by name, gives what to show. Equal values must give equal pictures.
            If it raises an InputError, that is shown as one line and the last good picture stays.
        controls: name of an argument of ``draw`` -> ipywidget with a ``value``.
        rows: names of the controls in each row; one row where None.
        extra: widgets that ``draw`` does not depend on, such as a play button that moves a slider.
        click: called with the explorer, the label of the axes that were clicked, and x, y in their data units.
        title: text for readers who cannot see the picture.
    """

    def __init__(
        self,
        draw: Callable[..., View],
        controls: Mapping[str, Any],
        *,
        rows: Sequence[Sequence[str]] | None = None,
        extra: Sequence[widgets.Widget] = (),
        click: Callable[[Explorer, str, float, float], None] | None = None,
        title: str = "",
    ) -> None:
        self.draw, self.controls, self.title, self._click = draw, dict(controls), title, click
        self.picture, self.readout = Picture(text=title), widgets.HTML()
        self.message = widgets.HTML()
        self.shown = draw(**self.values)
        self._show(self.shown)
        lines = [
            widgets.HBox([self.controls[name] for name in row], layout=widgets.Layout(flex_flow="row wrap"))
            for row in rows or [list(self.controls)]
        ]
        super().__init__([*lines, *extra, self.message, self.picture, self.readout])
        for control in self.controls.values():
            control.observe(self._changed, names="value")
            if isinstance(control, widgets.ToggleButtons):  # otherwise the buttons stand below their description
                control.layout.width, control.layout.display = "auto", control.layout.display or "flex"
                control.layout.grid_gap = "8px"
        self.picture.observe(self._clicked, names="clicked")

    @property
    def values(self) -> dict[str, Any]:
        """The present values of the controls."""
        return {name: control.value for name, control in self.controls.items()}

    @property
    def numbers(self) -> dict[str, float | int | str]:
        """The numbers below the picture, unrounded."""
        return dict(self.shown.numbers)

    def static(self) -> Figure:
        """The figure of the present values, for places without widgets."""
        return self.shown.figure

    def _changed(self, _: object = None) -> None:
        # Figures leave much garbage; collecting it while drawing would delay this picture by some 250 ms.
        collecting = gc.isenabled()
        gc.disable()
        try:
            self.shown = self.draw(**self.values)
            self._show(self.shown)
            self.message.value = ""
        except InputError as error:
            self.message.value = f'<span class="vasot-error" style="color:#882255">{html.escape(str(error))}</span>'
        finally:
            if collecting:
                gc.enable()

    def _show(self, shown: View) -> None:
        buffer = io.BytesIO()
        shown.figure.savefig(buffer, format="png", dpi=DPI)
        self.picture.png = buffer.getvalue()
        cells = "".join(
            f'<span style="display:inline-block;margin-right:2em">{html.escape(name)}: '
            f'<b class="vasot-number" data-name="{html.escape(name)}">{html.escape(_text(value))}</b></span>'
            for name, value in shown.numbers.items()
        )
        self.readout.value = f'<div style="line-height:1.6">{cells}</div>'

    def _clicked(self, change: Mapping[str, Any]) -> None:
        if self._click is None:
            return
        across, down, _ = change["new"]
        figure = self.shown.figure
        width, height = figure.bbox.width, figure.bbox.height
        point = (across * width, (1 - down) * height)
        for axes in figure.axes:
            if axes.get_label() and axes.bbox.contains(*point):
                x, y = axes.transData.inverted().transform(point)
                self._click(self, str(axes.get_label()), float(x), float(y))
                return

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget for front ends that can show it, and the picture for those that cannot."""
        bundle = super()._repr_mimebundle_(**options) or {}
        settings = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        picture = base64.b64encode(self.picture.png).decode()
        return {**bundle, "image/png": picture, "text/plain": f"Explorer({settings})"}


def _text(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
