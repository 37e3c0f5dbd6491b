"""Runs the scripts of the explorers without a browser, in the node that playwright brings or that is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from vasot_kit.explorers.explorer import BROWSER


def node() -> str:
    """Where node is; skips the test where there is none."""
    found = find_spec("playwright")
    brought = Path(found.origin or "").parent / "driver" / "node" if found else None
    path = str(brought) if brought and brought.exists() else shutil.which("node")
    if path is None:
        pytest.skip("no node here to run scripts; pip install -r requirements.txt brings one with playwright")
    return path


def run(code: str, given: Any, scripts: tuple[str, ...] = ("solver.js", "numbers.js")) -> Any:
    """What a script function of one argument, given as its text, makes of JSON."""
    source = "\n".join((BROWSER / name).read_text() for name in scripts)
    text = f"{source}\nconsole.log(JSON.stringify(({code})(JSON.parse(require('fs').readFileSync(0, 'utf8')))));"
    done = subprocess.run([node(), "-e", text], input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
