"""The tutorial: runs side by side, a book of what they show, and an end at the first failure."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from vasot_kit.book.tutorial import TUTORIAL, tutorial
from vasot_kit.runs.notebook import NotebookRun, effective_parameters
from vasot_lib.errors import DataError, VasotError


def test_tutorial_outside_the_repository_says_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="run from the root of the repository"):
        tutorial()
    assert not (tmp_path / "outputs").exists()


SMALL = """
import json, os
from pathlib import Path
row = {"dataset": "toy", "method": name, "seed": 0, "mof": 1.0, "threads": os.environ.get("OMP_NUM_THREADS")}
Path(os.environ["VASOT_OUTPUT"], "metrics.json").write_text(json.dumps({"rows": [row], "config": {}, "notebook": name}))
assert name != "bad"
"""


def small_tutorial(folder: Path, runs: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Notebooks that record one row each, as the tutorial."""
    notebooks = folder / "books"
    notebooks.mkdir()
    for stem, _ in runs:
        cells = [nbformat.v4.new_code_cell("name = ''", metadata={"tags": ["parameters"]})]
        notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(SMALL)])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, notebooks / f"{stem}.ipynb")
    monkeypatch.setattr("vasot_kit.book.tutorial.TUTORIAL", tuple((stem, {"name": name}) for stem, name in runs))
    return notebooks


def test_tutorial_runs_side_by_side_and_what_is_timed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runs = [("80_speed_and_scale", "timed"), ("one", "a"), ("two", "b"), ("two", "c")]
    notebooks = small_tutorial(tmp_path, runs, monkeypatch)
    tutorial(tmp_path / "out", notebooks)
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["timed", "a", "b", "c"]
    assert [row["threads"] is None for row in rows] == [True, False, False, False]
    pages = sorted(page.name for page in (tmp_path / "out" / "book" / "runs").glob("*.html"))
    assert [page.split("-")[0] for page in pages] == ["80_speed_and_scale", "one", "two", "two"]
    assert (tmp_path / "out" / "book" / "index.html").exists()


def test_finished_runs_are_repeated_after_a_change_of_the_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebooks = small_tutorial(tmp_path, [("one", "a"), ("two", "b")], monkeypatch)
    executed: list[str] = []

    def run_what_is_missing(runs: list[NotebookRun], changes: object) -> None:
        for run in runs:
            if not run.folder.exists():
                run.folder.mkdir(parents=True)
                (run.folder / "metrics.json").write_text('{"rows": [], "config": {}}')
                executed.append(run.notebook.stem)

    monkeypatch.setattr("vasot_kit.book.tutorial._run_side_by_side", run_what_is_missing)
    monkeypatch.setattr("vasot_kit.book.tutorial.book", lambda *_: None)
    tutorial(tmp_path / "out", notebooks)
    tutorial(tmp_path / "out", notebooks)
    assert executed == ["one", "two"] and capsys.readouterr().out == ""
    (tmp_path / "out" / "code.txt").write_text("of an earlier version")
    tutorial(tmp_path / "out", notebooks)
    assert executed == ["one", "two"] * 2
    assert "The code has changed since 2 of 2 notebooks were run here" in capsys.readouterr().out


def test_tutorial_stops_at_a_notebook_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebooks = small_tutorial(tmp_path, [("one", "bad"), ("two", "b")], monkeypatch)
    with pytest.raises(VasotError, match=r"one\.ipynb: cell \d raised AssertionError"):
        tutorial(tmp_path / "out", notebooks)
    assert not (tmp_path / "out" / "book" / "index.html").exists()


def test_tutorial_runs_notebooks_with_parameters_that_they_have() -> None:
    notebooks = Path(__file__).parents[2] / "notebooks"
    for name, parameters in TUTORIAL:
        effective = effective_parameters(notebooks / f"{name}.ipynb", parameters)
        assert parameters.items() <= effective.items()
