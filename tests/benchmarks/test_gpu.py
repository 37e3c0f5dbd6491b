"""The one command for a machine with a GPU, of which there is none here: parts that fail do not stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import gpu

WRITE = """
import sys
from vasot_kit.benchmarks.timing import Measurement
from vasot_kit.runs.records import to_json
rows = [Measurement("a step", 1.25, "ms", "<= 1.5"), Measurement("a solve", 7.0, "ms", "<= 0.4")]
rows += [Measurement("b", 1.0, "s")]
rows += [Measurement("a training", None, "s", "<= 5", "skipped: no data")] * (sys.argv[1:] == ["missing"])
open(r"{file}", "w").write(to_json({{"rows": [row.as_dict() for row in rows]}}))
"""


@pytest.mark.parametrize(("first", "second", "status"), [("0", "", 0), ("3", "", 1), ("0", "missing", 1)])
def test_all_parts_run_and_every_goal_has_a_figure(
    first: str, second: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(gpu, "OUT", tmp_path)
    monkeypatch.setattr(gpu, "COMPILED", [("-c", "pass")])
    write = ("-c", WRITE.format(file=tmp_path / "solver.json"), second)
    parts = {"tests": (("-c", f"raise SystemExit({first})"), 60), "solver": (write, 60)}
    monkeypatch.setattr(gpu, "PARTS", parts)
    assert gpu.main() == status
    printed = capsys.readouterr().out
    assert f"tests: status {first} after" in printed and "solver: status 0 after" in printed
    assert "goal <= 1.5: met" in printed and "goal <= 0.4: MISSED" in printed and "\nb " not in printed
    assert ("goal <= 5: MISSING" in printed) == (second == "missing")


def test_a_part_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(gpu, "OUT", tmp_path)
    monkeypatch.setattr(gpu, "COMPILED", [])
    monkeypatch.setattr(gpu, "PARTS", {"tests": (("-c", "import time; time.sleep(60)"), 0.1)})
    assert gpu.main() == 1
    assert "tests: status 124" in capsys.readouterr().out


def test_it_names_tests_that_exist_and_ends_within_six_minutes() -> None:
    for each in gpu.TESTS:
        file, _, name = each.partition("::")
        assert f"def {name}" in (Path(__file__).parents[2] / file).read_text()
    assert sum(most for _, most in gpu.PARTS.values()) <= 360
