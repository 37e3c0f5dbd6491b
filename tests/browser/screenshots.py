"""Pictures of every explorer as JupyterLab shows it, and how it flows: ``make screenshots``."""

from __future__ import annotations

import inspect
import statistics
import sys
import tempfile
from pathlib import Path

from tests.browser import explorers
from tests.browser.lab import Lab, chromium, open_browser
from tests.browser.shown import PLAYED, ShownExplorer
from vasot_kit.explorers import Explorer
from vasot_kit.explorers.explorer import Slider

FOLDER = Path("outputs/screenshots")
PLAYS = 3000  # milliseconds
COMPUTED = """(host) => {
  window.computed = [];
  const note = () => window.computed.push(Number(host.dataset.computed));
  new MutationObserver(note).observe(host, {attributeFilter: ["data-computed"]});
}"""


def main() -> None:
    """Write the pictures and print a line for each."""
    if chromium() is None:
        sys.exit("no Chromium on the PATH; on Debian and Ubuntu: apt-get install chromium")
    FOLDER.mkdir(parents=True, exist_ok=True)
    source = inspect.getsource(explorers)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_browser() as browser,
        Lab(browser, Path(folder), width=1340, height=1400) as lab,
        lab.open([source, *(f"{name}()" for name in explorers.EXPLORERS)]) as notebook,
    ):
        notebook.run_all()
        for cell, (name, build) in enumerate(explorers.EXPLORERS.items(), 1):
            shown, mirror = notebook.explorer(cell), build()
            shown.host.scroll_into_view_if_needed()
            shown.shows(mirror.values)
            notebook.page.wait_for_timeout(300)
            shown.host.screenshot(path=FOLDER / f"{name}.png")
            print(f"{FOLDER / name}.png  {_flow(shown, mirror)}", flush=True)


def _flow(shown: ShownExplorer, mirror: Explorer) -> str:
    """Pictures in a second and the time to compute, while the slider that has most to do plays from its beginning."""
    control = next(c for c in reversed(mirror.controls) if isinstance(c, Slider))
    shown.slider(control.label).press("Home")
    shown.host.evaluate(COMPUTED)
    shown.play(control.label)
    pictures, changes = shown.host.evaluate(PLAYED, PLAYS)
    shown.pause()
    times = list(map(float, shown.host.evaluate("() => window.computed")))
    return (
        f"{pictures:.0f} pictures a second, {changes:.0f} of them of new values; "
        f"computed in {statistics.median(times):.0f} ms, {max(times):.0f} at most"
    )


if __name__ == "__main__":
    main()
