"""A browser and JupyterLab for all tests of this folder; on a machine without them the tests skip."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.reports import Report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.lab import Lab


# Not for the session: playwright's event loop would stay, and notebooks that run in this process need their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, the same for all: a second one in this process would not start."""
    if find_spec("playwright") is None:
        pytest.skip("playwright is not installed; pip install -r requirements.txt")
    from tests.browser.lab import chromium, open_browser

    if chromium() is None:
        pytest.skip("no Chromium on the PATH; on Debian and Ubuntu: apt-get install chromium")
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="package")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server."""
    from tests.browser.lab import Lab

    with Lab(browser, tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture
def opened(browser: Browser) -> Iterator[Any]:
    """Opens a report; at the end nothing may have gone wrong, and nothing may have been asked of a network."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    reports: list[Report] = []

    def open_report(file: Path) -> Report:
        reports.append(Report(page, file))
        return reports[-1]

    yield open_report
    problems = [problem for report in reports for problem in report.problems]
    page.close()
    assert problems == []
