"""What is read back from a disk or a person: metrics, YAML on the command line, in grids and in runs, notebooks."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import attempt, inputs
from tests.fuzz.test_folders import damaged
from tests.runs.test_grids import write_grid, write_notebook
from vasot_kit.runs.engine import Run
from vasot_kit.runs.notebook import effective_parameters
from vasot_kit.runs.records import collect
from vasot_kit.runs.sweep import read_grid
from vasot_kit.runs.values import read_values
from vasot_kit.tables.results import results_tables

ROW = {"dataset": "toy", "method": "vasot", "seed": 0, "preset": "kit", "mof": 0.5, "tau": None, "acc_0.1": 0.25}
PLAIN = st.sampled_from(
    [None, True, 0, -1, 0.5, 1e300, float("nan"), "", "a", "<script>alert(1)</script>", "javascript:x", [], [1], {}]
)  # fmt: skip


def changed(draw: st.DrawFn, value: Any) -> Any:
    """A copy of nested plain values in which one value is another, or one key is."""
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value)))
        match draw(st.integers(0, 7)):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return {**value, draw(st.sampled_from(["<script>x", "x", key.upper()])): draw(PLAIN)}
            case 2:
                return {**value, key: draw(PLAIN)}
        return {**value, key: changed(draw, value[key])}
    if isinstance(value, list) and value:
        place = draw(st.integers(0, len(value) - 1))
        return [changed(draw, each) if at == place else each for at, each in enumerate(value)]
    return draw(PLAIN)


@inputs(600)
@given(data=st.data())
def test_metrics(data: st.DataObject) -> None:
    draw = data.draw
    content: Any = {"notebook": "40_train", "rows": [ROW, {**ROW, "seed": 1}], "config": {}, "versions": {"torch": "2"}}
    for _ in range(draw(st.integers(0, 3))):
        content = changed(draw, content)
    written = json.dumps(content).encode()
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "run").mkdir()
        (Path(scratch) / "run" / "metrics.json").write_bytes(draw(st.sampled_from([written, damaged(draw, written)])))
        rows = attempt("metrics", lambda: collect(Path(scratch)))
    if rows is not None:
        tables = attempt("metrics", lambda: results_tables(rows))
        for page in (table for of_task in (tables or {}).values() for table in of_task.values()):
            assert "<script" not in page


WORDS = st.sampled_from(
    [*"[]{}|>%@`~#", "a", "1", "-1", "1e-3", "1e999", ".nan", "true", "null", ": ", "- ", "\n", " ",
     "'", '"', "&a",
     "<<: ", "!!int ", "!!float ", "!!binary ", "!!set ", "!!timestamp ", "!!python/name:os.x ", "? ", "*a",
     "\t", "\x00", "é", "\ud800", "0x1f", "1_000", "12:30:45", ", ", "2020-01-01"]
)  # fmt: skip
TEXTS = st.lists(WORDS, max_size=8).map("".join)


@inputs(1500)
@given(text=TEXTS | st.text(max_size=20))
def test_values_on_the_command_line(text: str) -> None:
    values = attempt("yaml", lambda: read_values([("lr", text)]))
    assert values is None or set(values) == {"lr"}


@inputs(500)
@given(data=st.data())
def test_state_of_a_run(data: st.DataObject) -> None:
    run: Any = {"notebook": "a.ipynb", "code": "0", "parameters": {"seed": 0, "lr": 1e-3}, "status": "finished"}
    text = yaml.safe_dump(run) if data.draw(st.booleans()) else data.draw(TEXTS)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "params.yaml"
        file.write_bytes(damaged(data.draw, text.encode(errors="replace")))
        there = attempt("yaml", lambda: Run(Path(scratch), run).is_finished())
        assert there in (None, False)


@inputs(300)
@given(data=st.data())
def test_grids(data: st.DataObject) -> None:
    draw = data.draw
    grid: Any = {"fixed": {"does": "fine"}, "grid": {"seed": [0, 1], "lr": [1e-3]}}
    for _ in range(draw(st.integers(0, 2))):
        grid = changed(draw, grid)
    text = yaml.safe_dump(grid) if isinstance(grid, dict) else str(grid)
    if draw(st.integers(0, 3)) == 0:
        text = damaged(draw, text.encode()).decode(errors="replace")
    with tempfile.TemporaryDirectory() as scratch:
        path = write_grid(Path(scratch), text)
        cells = attempt("yaml", lambda: read_grid(path, Path(scratch) / "out"))
        assert cells is None or all(cell.run.parameters.keys() >= {"seed", "lr"} for cell in cells)


@inputs(500)
@given(data=st.data())
def test_notebooks(data: st.DataObject) -> None:
    draw = data.draw
    cells = ["seed = 0", "seed: int = 0", "seed = [", "seed = f(0)", "seed = 0; lr = None"]
    asked = draw(st.sampled_from([{}, {"seed": 1}, {"a": 1}]))
    with tempfile.TemporaryDirectory() as scratch:
        path = write_notebook(Path(scratch) / "tiny.ipynb", draw(st.sampled_from(cells)))
        plain = json.loads(path.read_text())
        for _ in range(draw(st.integers(0, 2))):
            plain = changed(draw, plain)
        written = json.dumps(plain).encode()
        path.write_bytes(draw(st.sampled_from([written, written, damaged(draw, written)])))
        values = attempt("notebooks", lambda: effective_parameters(path, asked))
        assert values is None or values.keys() >= asked.keys()
