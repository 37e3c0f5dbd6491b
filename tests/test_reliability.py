"""docs/promises.md has the counts of results/reliability.json, and these are of runs without a failure."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.reliability import RESULTS

PROMISES = Path(__file__).parents[1] / "docs" / "promises.md"


def test_the_page_of_promises_has_the_measured_counts() -> None:
    kill = json.loads(RESULTS.read_text())["kill"]
    section = PROMISES.read_text()
    assert f"`make kill`: {kill['killed']} kills at {kill['points']} moments" in section
    fuzz = json.loads(RESULTS.read_text())["fuzz"]
    assert f"`make fuzz`: {fuzz['inputs']:,} random inputs, {fuzz['calls']:,} calls" in section
    assert fuzz["failed"] == 0 and fuzz["calls"] == sum(sum(kind.values()) for kind in fuzz["kinds"].values())
    assert [kill[what] for what in ("different", "failed", "left_behind", "outlived")] == [0] * 4
    for name in ("points", "killed", "different", "failed", "left_behind", "outlived"):
        assert kill[name] == sum(command[name] for command in kill["commands"].values())
    mutate = json.loads(RESULTS.read_text())["mutate"]
    assert f"`{mutate['command']}`: {mutate['noticed']} of {mutate['tried']} small faults" in section
    low, high = (100 * end for end in mutate["interval"])
    assert f"{100 * mutate['score']:.1f} % (95 % interval {low:.1f} to {high:.1f} %)" in section
    ends = sum((Counter(counts) for counts in mutate["modules"].values()), Counter())
    assert mutate["noticed"] == ends["killed"] + ends["too slow"] and mutate["tried"] == ends.total()
    assert mutate["score"] >= 0.85
    listed = [line for line in (RESULTS.parent / "mutants.md").read_text().splitlines() if line.startswith("| `")]
    assert len(listed) == mutate["tried"] - mutate["noticed"]
