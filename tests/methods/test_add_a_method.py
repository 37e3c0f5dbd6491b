"""The page on adding a method: its code runs, and its method passes the test kit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vasot_kit.methods import METHODS

PAGE = Path(__file__).parents[2] / "docs" / "add_a_method.md"


def test_the_code_of_the_page_runs_in_order(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(METHODS, "sela", METHODS["asot"])  # so that the registry is as before afterwards
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    # Dataclasses look for their module by name.
    space: dict[str, object] = {"__name__": __name__}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), space)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("['interface', 'shapes', 'loss', 'masks', 'parts', 'seeds', 'replays', 'resume'")
    assert [line.split()[0] for line in lines[1:]] == ["sela", "asot"]
