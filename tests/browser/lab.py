"""JupyterLab in headless Chromium, driven as a reader drives it: open a notebook, run it, move what is in it."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from playwright.sync_api import Browser, Locator, Page, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# For root, and for containers with little shared memory; the rest keeps the browser off the network and the GPU.
FLAGS = (
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
# No questions about news and updates; all cells stay in the page, wherever it is scrolled to.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
PATIENCE = 120.0  # seconds; machines of a CI are slow, and nobody waits for what is there
EXPLORER = ".widget-vbox:has(> img.vasot-picture), .widget-vbox:has(> * > img.vasot-picture)"
PROBLEMS = '.jp-RenderedText[data-mime-type$="jupyter.error"], .jp-RenderedText[data-mime-type$="jupyter.stderr"]'
PNG = """async (image) => {
  const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return [btoa(text), image.naturalWidth, image.naturalHeight];
}"""


def chromium() -> str | None:
    """Where Chromium is, or None."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Headless Chromium; one at a time in a process, since Playwright's event loop runs in its thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


def until(found: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first value of ``found`` that is true; fails with ``what`` when none comes in time."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)
    return value


class Seen(NamedTuple):
    """A picture as the browser has it."""

    png: bytes
    width: int
    height: int


class Slider:
    """One slider with its label and its readout."""

    def __init__(self, box: Locator) -> None:
        self._box = box

    def press(self, *keys: str) -> None:
        """Press keys with the handle in focus: ArrowLeft, ArrowRight, Home, End, PageUp, PageDown."""
        for key in keys:
            self._box.locator(".noUi-handle").press(key)

    def value(self) -> float:
        """What the readout says."""
        return float(self._box.locator(".widget-readout").inner_text().replace("−", "-"))


class OpenNotebook:
    """A notebook in JupyterLab with explorers, of which one at a time is looked at.

    Attributes:
        cell: number of the code cell that shows this explorer; the first cell that shows one where None.
    """

    def __init__(self, page: Page) -> None:
        self.page, self._thrown = page, list[str]()
        self.cell: int | None = None
        page.on("pageerror", lambda error: self._thrown.append(str(error)))

    def run_all(self) -> None:
        """Run > Run All Cells; returns when the last cell ran and the explorer shows its picture."""
        until(self._ran, "the cells to run")
        problems = self.problems()
        assert not problems, "\n".join(problems)
        until(lambda: self.picture().width, "the picture of the explorer")

    def _ran(self) -> bool:
        """False where nothing runs: JupyterLab drops cells without a word while it still greets their kernel."""
        self.page.locator("#jp-MainMenu >> text=Run").first.click()
        self.page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
        now = busy = time.monotonic()
        while busy > now - 3 and not self.problems():
            prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
            if all(re.search(r"\d", prompt) for prompt in prompts):
                return True
            now = time.monotonic()
            busy = now if any("*" in prompt for prompt in prompts) else busy
            time.sleep(0.05)
        return bool(self.problems())

    @property
    def explorer(self) -> Locator:
        """The box with controls, picture and numbers."""
        where = self.page if self.cell is None else self.page.locator(".jp-CodeCell").nth(self.cell)
        return where.locator(EXPLORER).first

    def slider(self, description: str) -> Slider:
        """The slider with this label."""
        label = self.page.locator(f'.widget-label:text-is("{description}")')
        return Slider(self.explorer.locator(".widget-slider").filter(has=label))

    def choose(self, option: str) -> None:
        """Press the toggle button with this text."""
        self.explorer.locator(f'.widget-toggle-button:text-is("{option}")').click()

    def play(self) -> None:
        """Press the play button; pressed once more, it pauses."""
        self.explorer.locator(".widget-play button").first.click()

    def click_picture(self, across: float, down: float) -> None:
        """Click the picture at these shares of its width and height, from the top left."""
        image = self.explorer.locator("img.vasot-picture")
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        assert box is not None
        image.click(position={"x": across * box["width"], "y": down * box["height"]})

    def numbers(self) -> dict[str, str]:
        """The texts of the numbers beside the picture, by name."""
        script = "(found) => found.map((e) => [e.dataset.name, e.textContent])"
        return dict(self.explorer.locator(".vasot-number").evaluate_all(script))

    def message(self) -> str:
        """The line that says what is wrong; empty when nothing is."""
        return " ".join(self.explorer.locator(".vasot-error").all_inner_texts())

    def picture(self) -> Seen:
        """The picture as it is now."""
        png, width, height = self.explorer.locator("img.vasot-picture").evaluate(PNG)
        return Seen(base64.b64decode(png), width, height)

    def problems(self) -> list[str]:
        """Errors and warnings in the outputs of the cells, and what the page's scripts threw."""
        return [*self.page.locator(PROBLEMS).all_inner_texts(), *self._thrown]


class Lab:
    """One JupyterLab server, as long as the ``with`` block lasts.

    Args:
        browser: shows its pages.
        folder: empty; holds the notebooks and all that JupyterLab writes.
        width, height: of the browser window, in pixels.
    """

    def __init__(self, browser: Browser, folder: Path, width: int = 1280, height: int = 1400) -> None:
        self._browser, self.folder, self.width, self.height = browser, folder, width, height
        self.token = secrets.token_hex(16)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def __enter__(self) -> Lab:
        with ExitStack() as opened:
            self._start_server()
            opened.callback(self._end_server)
            until(self._answers, "JupyterLab to answer")
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @contextmanager
    def open(self, cells: list[str]) -> Iterator[OpenNotebook]:
        """Open a new notebook with these code cells; its kernel goes when the block ends."""
        name = f"{secrets.token_hex(4)}.ipynb"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)
        page = self._browser.new_page(viewport={"width": self.width, "height": self.height})
        page.set_default_timeout(1000 * PATIENCE)
        try:
            page.goto(f"{self._address}/lab/tree/{name}?token={self.token}&reset")
            until(self._kernel_waits, "the kernel to start and the page to connect to it")
            page.locator("#jp-main-statusbar >> text=/Python 3 .*Idle/").wait_for()
            yield OpenNotebook(page)
        finally:
            page.close()
            for session in json.loads(self._request("api/sessions")):
                self._request(f"api/sessions/{session['id']}", "DELETE")

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start_server(self) -> None:
        settings = self.folder / ".config" / "labconfig"
        settings.mkdir(parents=True)
        (settings / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
        places: Mapping[str, str] = {
            name: str(self.folder / place)
            for name, place in (("JUPYTER_CONFIG_DIR", ".config"), ("JUPYTER_DATA_DIR", ".data"),
                                ("JUPYTER_RUNTIME_DIR", ".runtime"), ("IPYTHONDIR", ".ipython"))
        }  # fmt: skip
        # One thread each: browser, server and kernel share the machine.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **places}
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
            *(f"--port={self.port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}"),
            f"--ServerApp.root_dir={self.folder}",
        ]
        with (self.folder / ".log").open("w") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def _end_server(self) -> None:
        self._server.terminate()
        try:
            self._server.wait(15)
        except subprocess.TimeoutExpired:
            self._server.kill()

    def _answers(self) -> bool:
        assert self._server.poll() is None, f"JupyterLab ended:\n{(self.folder / '.log').read_text()[-2000:]}"
        try:
            return bool(self._request("api"))
        except OSError:
            return False

    def _kernel_waits(self) -> bool:
        try:
            kernels = json.loads(self._request("api/kernels"))
        except OSError:  # the server stumbles over a kernel that is just coming up
            return False
        return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)

    def _request(self, path: str, method: str = "GET") -> bytes:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self._address}/{path}", headers=headers, method=method)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content
