"""Pictures of every explorer as JupyterLab shows it, and how long each takes to redraw: ``make screenshots``."""

from __future__ import annotations

import inspect
import io
import statistics
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

from tests.browser import explorers
from tests.browser.lab import Lab, chromium, open_browser
from vasot_kit.explorers import Explorer
from vasot_kit.explorers.explorer import DPI

FOLDER = Path("outputs/screenshots")
DRAWS = 10


def main() -> None:
    """Write the pictures and print a line for each."""
    if chromium() is None:
        sys.exit("no Chromium on the PATH; on Debian and Ubuntu: apt-get install chromium")
    FOLDER.mkdir(parents=True, exist_ok=True)
    source = inspect.getsource(explorers)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_browser() as browser,
        Lab(browser, Path(folder), width=1340, height=2000) as lab,
    ):
        for name, build in explorers.EXPLORERS.items():
            with lab.open([source, f"{name}()"]) as notebook:
                notebook.run_all()
                notebook.explorer.screenshot(path=FOLDER / f"{name}.png")
            print(f"{FOLDER / name}.png  redraw {1000 * _redraw_seconds(build()):.0f} ms", flush=True)


def _redraw_seconds(explorer: Explorer) -> float:
    """Median over draws with the PNG; the first slider goes to and fro, so that no two in a row are equal."""
    name, slider = next((name, control) for name, control in explorer.controls.items() if hasattr(control, "step"))
    places = cycle((slider.value, slider.value + slider.step))
    seconds = []
    for _ in range(DRAWS + 1):
        values = {**explorer.values, name: next(places)}
        start = time.perf_counter()
        explorer.draw(**values).figure.savefig(io.BytesIO(), format="png", dpi=DPI)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
