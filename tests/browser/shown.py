"""An explorer in a browser, in JupyterLab or in a page without a kernel, driven as a reader drives it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator

PATIENCE = 120.0  # seconds; machines of a CI are slow, and nobody waits for what is there
HOST = "[data-explorer]"
# The colours of a canvas: as many as there are, and a number that changes with any of them.
PICTURE = """(canvas) => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0;
  for (let k = 0; k < data.length; k++) sum = (31 * sum + data[k]) % 4294967291;
  return [sum, new Set(new Uint32Array(data.buffer)).size];
}"""
# Pictures in a second, and how many of them showed new values, while a slider plays for so many milliseconds.
PLAYED = """(host, milliseconds) => new Promise((done) => {
  const times = [], values = new Set();
  const watch = (now) => {
    times.push([now, Number(host.dataset.pictures)]);
    values.add(host.dataset.shown);
    if (now - times[0][0] < milliseconds) requestAnimationFrame(watch);
    else done([times.at(-1)[1] - times[0][1], values.size - 1].map((many) => 1000 * many / (now - times[0][0])));
  };
  requestAnimationFrame(watch);
})"""


def until(found: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first value of ``found`` that is true; fails with ``what`` when none comes in time."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return value


class ShownExplorer:
    """One explorer; its panels lie in a shadow root, into which locators look."""

    def __init__(self, host: Locator) -> None:
        self.host = host

    def values(self) -> dict[str, Any]:
        """The values of the controls that belong to what is shown."""
        return dict(json.loads(self.host.get_attribute("data-shown") or "{}"))

    def shows(self, values: dict[str, Any]) -> None:
        """Wait until what belongs to these values is shown."""
        until(lambda: self.values() == values, f"{values}, {self.values()} is shown")

    def numbers(self) -> dict[str, str]:
        """The texts of the numbers below the panels, by name."""
        script = "(found) => found.map((e) => [e.dataset.name, e.textContent])"
        return dict(self.host.locator(".numbers dd").evaluate_all(script))

    def slider(self, label: str) -> Locator:
        """The slider with this label."""
        return self.host.get_by_label(label, exact=True)

    def play(self, label: str) -> None:
        """Press the play button of a slider."""
        self.host.get_by_role("button", name=f"Play {label}", exact=True).click()

    def pause(self) -> None:
        """Press the button of the slider that plays."""
        self.host.get_by_role("button", name="Pause").click()

    def choose(self, option: str) -> None:
        """Press the button of an option."""
        self.host.locator("fieldset span").get_by_text(option, exact=True).click()

    def panel(self, area: str) -> Locator:
        """The canvas of a panel."""
        return self.host.locator(f'figure[data-area="{area}"] canvas')

    def picture(self, area: str) -> tuple[int, int]:
        """A number that changes with the picture of a panel, and how many colours it has."""
        number, colours = self.panel(area).evaluate(PICTURE)
        return number, colours

    def over(self, area: str, across: float, down: float) -> None:
        """Move the mouse over a panel, to these shares of its width and height."""
        canvas = self.panel(area)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        canvas.hover(position={"x": across * box["width"], "y": down * box["height"]})

    def tip(self) -> list[str]:
        """The lines of what is said of the entry under the cursor."""
        return self.host.locator(".tip:visible > div").all_inner_texts()
