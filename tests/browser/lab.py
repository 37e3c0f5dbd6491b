"""JupyterLab in headless Chromium, driven as a reader drives it: open a notebook, run it, move what is in it."""

from __future__ import annotations

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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.shown import HOST, PATIENCE, ShownExplorer, until

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
PROBLEMS = '.jp-RenderedText[data-mime-type$="jupyter.error"], .jp-RenderedText[data-mime-type$="jupyter.stderr"]'


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


class OpenNotebook:
    """A notebook in JupyterLab with explorers."""

    def __init__(self, page: Page) -> None:
        self.page, self._thrown = page, list[str]()
        page.on("pageerror", lambda error: self._thrown.append(str(error)))

    def run_all(self) -> None:
        """Run > Run All Cells; returns when the last cell ran."""
        until(self._ran, "the cells to run")
        problems = self.problems()
        assert not problems, "\n".join(problems)

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

    def explorer(self, cell: int) -> ShownExplorer:
        """The explorer that a code cell shows."""
        return ShownExplorer(self.page.locator(".jp-CodeCell").nth(cell).locator(HOST))

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
