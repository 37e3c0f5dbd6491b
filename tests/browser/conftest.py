"""JupyterLab and a browser for all tests of this folder; on a machine without them the tests skip."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.lab import Lab


# Not for the session: playwright's event loop would stay, and notebooks that run in this process need their own.
@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server and one browser."""
    if find_spec("playwright") is None:
        pytest.skip("playwright is not installed; pip install -r requirements.txt")
    from tests.browser.lab import Lab, chromium

    if chromium() is None:
        pytest.skip("no Chromium on the PATH; on Debian and Ubuntu: apt-get install chromium")
    with Lab(tmp_path_factory.mktemp("lab")) as started:
        yield started
