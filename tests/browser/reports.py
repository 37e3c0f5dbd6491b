"""A report page in a browser, read and clicked as readers do."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

DRAWN = """() => [...document.querySelectorAll("figure canvas")].every(
    (canvas) => canvas.dataset.sample < 0 || canvas.dataset.drawn === canvas.dataset.sample)"""

# What is written on canvases while they are drawn anew: from where to where, its ink, and the colour below its middle.
WRITTEN = """(drawings) => {
  const draw = CanvasRenderingContext2D.prototype.fillText, written = [];
  const probe = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  CanvasRenderingContext2D.prototype.fillText = function (words, x, y) {
    const wide = this.measureText(words).width, at = this.getTransform().transformPoint({x, y});
    const left = x - wide * {left: 0, center: 0.5, right: 1}[this.textAlign];
    probe.clearRect(0, 0, 1, 1);
    probe.drawImage(this.canvas, -Math.round(at.x), -Math.round(at.y));
    const below = [...probe.getImageData(0, 0, 1, 1).data];
    written.push({words, left, right: left + wide, y, ink: this.fillStyle, below});
    draw.call(this, words, x, y);
  };
  for (const each of drawings) each.redraw();
  CanvasRenderingContext2D.prototype.fillText = draw;
  return written;
}"""


class Report:
    """A page that was opened from a file, and what its scripts complained of."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page, self.problems = page, list[str]()
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda asked: self.problems.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(file.as_uri())

    def told(self) -> list[tuple[int, float] | None]:
        """For each film the number of the frame and the seconds that stand below it."""
        self.page.wait_for_function(DRAWN)
        found = [re.fullmatch(r"frame (\d+) · ([\d.]+) s", words) for words in self.captions.all_inner_texts()]
        return [None if each is None else (int(each[1]), float(each[2])) for each in found]

    @property
    def captions(self) -> Locator:
        return self.page.locator("figcaption output")

    def picture(self, film: int) -> np.ndarray:
        """(H, W, 3) what is shown of a film."""
        self.page.wait_for_function(DRAWN)
        png = self.page.locator("figure canvas").nth(film).evaluate("(canvas) => canvas.toDataURL().split(',')[1]")
        with Image.open(io.BytesIO(base64.b64decode(png))) as image:
            return np.array(image.convert("RGB"), float)

    def seek(self, sample: int) -> None:
        self.page.locator("#slider").evaluate(
            "(slider, sample) => { slider.value = sample; slider.dispatchEvent(new Event('input')); }", sample
        )

    def click(self, canvas: str, across: float, down: float) -> None:
        """Click at these shares of a canvas."""
        found = self.page.locator(canvas)
        found.scroll_into_view_if_needed()
        box = found.bounding_box()
        assert box is not None
        found.click(position={"x": across * box["width"], "y": down * box["height"]})

    def written(self, drawings: str) -> list[dict[str, Any]]:
        """What these drawings of the page write: ``words``, ``left``, ``right``, ``y``, ``ink`` and ``below``."""
        found: list[dict[str, Any]] = self.page.evaluate(WRITTEN, self.page.evaluate_handle(f"() => [{drawings}]"))
        return found
