"""The page about the runs: numbers only from the rows, nothing from the network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from vasot_kit.runs.notebook import effective_parameters
from vasot_kit.tables import report
from vasot_kit.tables.report import TUTORIAL, notebook_html, results_tables, tutorial, write_report
from vasot_lib.errors import DataError, VasotError

ROWS = [
    {"dataset": "toy", "method": "equal_split", "seed": 0, "mof": 0.25, "f1": None, "miou": 0.1, "run": "r1"},
    {"dataset": "toy", "method": "equal_split", "seed": 0, "mof": 0.25, "f1": None, "miou": 0.1, "run": "r2"},
    {"dataset": "toy", "method": "asot", "seed": 0, "mof": 0.5, "f1": 0.25, "miou": 0.25, "run": "r1"},
    {"dataset": "toy", "method": "asot", "seed": 1, "mof": 0.75, "f1": 0.25, "miou": 0.25, "run": "r2"},
    {"dataset": "mocap6", "method": "vaot", "seed": 0, "acc_0.1": 0.5, "tau": 0.125, "run": "r1"},
]  # fmt: skip
for row in ROWS:
    row["notebook"] = "40_train"


def table(html: str) -> pd.DataFrame:
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.S) for line in re.findall(r"<tr.*?</tr>", html, re.S)]
    return pd.DataFrame(cells[1:], columns=cells[0])


def test_table_is_mean_and_spread_over_seeds_best_first() -> None:
    shown = table(results_tables(ROWS)["Segmentation"]["toy"])
    assert list(shown["method"]) == ["asot", "equal_split"]
    assert list(shown["seeds"]) == ["2", "1"]  # the baseline that two runs scored alike counts once
    # Mean .625; standard deviation of (.5, .75) with n - 1 is .1768.
    assert list(shown["MoF"]) == ["<b>0.625 <small>± 0.177</small></b>", "0.250"]
    assert list(shown["F1"]) == ["<b>0.250 <small>± 0.000</small></b>", "–"]


def test_tasks_and_data_sets_are_kept_apart() -> None:
    tables = results_tables(ROWS)
    assert {task: list(found) for task, found in tables.items()} == {"Segmentation": ["toy"], "Alignment": ["mocap6"]}
    assert list(table(tables["Alignment"]["mocap6"])) == ["method", "notebook", "seeds", "Acc@0.1", "Kendall's tau"]


def test_variants_are_not_averaged_together() -> None:
    rows = [{**ROWS[2], "variant": variant, "mof": mof} for variant, mof in (("all", 0.5), ("w/o <prior>", 0.25))]
    shown = table(results_tables(rows)["Segmentation"]["toy"])
    assert list(shown["variant"]) == ["all", "w/o &lt;prior&gt;"]
    assert list(shown["seeds"]) == ["1", "1"]


def test_variants_of_a_method_are_left_to_their_own_page() -> None:
    lines = [{**ROWS[2], "line": line, "metrics": f"{line}/metrics.json"} for line in ("asot", "r = 0.02")]
    shown = table(results_tables(lines)["Segmentation"]["toy"])
    assert list(shown["method"]) == ["asot"] and "metrics" not in shown and "line" not in shown


def test_notebook_page_needs_no_network() -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# Title\n\n$x_1$ and\n\n$$\\frac{1}{r}$$\n\n<b>bold</b> $\\frac{$"),
        nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("stream", text="two")]),
    ]
    page = notebook_html(notebook, "A < B")
    assert not re.search(r"""<script|(?:src|href)\s*=\s*["']?(?:https?:)?//|@import""", page)
    assert page.count("<math ") == 2
    assert "<mfrac>" in page
    assert "<b>bold</b>" in page
    assert "two" in page
    assert "<title>A &lt; B</title>" in page


def test_a_page_has_no_link_to_a_notebook_that_lies_elsewhere() -> None:
    text = "[`solutions`](solutions/a.ipynb), [symbols](b.ipynb#Symbols), [paper](https://arxiv.org/a.ipynb)"
    page = notebook_html(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), "A")
    assert "solutions/a.ipynb" not in page and "b.ipynb" not in page and 'href="https://arxiv.org/a.ipynb"' in page
    assert "symbols" in page


def test_a_page_shows_what_hidden_cells_print_and_not_their_code() -> None:
    output = nbformat.v4.new_output("stream", text="printed")
    hidden = nbformat.v4.new_code_cell("import_lines", outputs=[output], metadata={"tags": ["hide-input"]})
    page = notebook_html(nbformat.v4.new_notebook(cells=[hidden, nbformat.v4.new_code_cell("core_lines")]), "A")
    assert "import_lines" not in page and "printed" in page and "core_lines" in page


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run."""
    folder = tmp_path / "40_train" / "0123456789ab"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "plan.png").write_bytes(b"")
    rows = [{key: value for key, value in row.items() if key not in ("run", "notebook")} for row in ROWS]
    (folder / "metrics.json").write_text(json.dumps({"rows": rows, "config": {}, "notebook": "40_train"}))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("Intro\n\n# Train <one> method")])
    nbformat.write(notebook, folder / "notebook.ipynb")
    return folder


def test_report_links_what_exists_and_gathers_all_rows(tmp_path: Path, run: Path) -> None:
    write_report(tmp_path, [run], [{"method": "asot"}])
    page = (tmp_path / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert {"40_train/0123456789ab/notebook.html", "40_train/0123456789ab/figures/plan.png", "metrics.json"} <= {*links}
    assert [link for link in links if not (tmp_path / link).exists()] == []
    assert "Train &lt;one&gt; method" in page
    assert "method=asot" in page
    assert "http" not in page
    gathered = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert [row["method"] for row in gathered] == [row["method"] for row in ROWS]
    assert {row["run"] for row in gathered} == {"40_train/0123456789ab"}


def test_report_survives_a_run_without_metrics(tmp_path: Path, run: Path) -> None:
    (run / "metrics.json").unlink()
    write_report(tmp_path, [run], [{}])
    assert json.loads((tmp_path / "metrics.json").read_text())["rows"] == []


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
    monkeypatch.setattr(report, "TUTORIAL", tuple((stem, {"name": name}) for stem, name in runs))
    return notebooks


def test_tutorial_runs_side_by_side_and_what_is_timed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runs = [("80_speed_and_scale", "timed"), ("one", "a"), ("two", "b"), ("two", "c")]
    notebooks = small_tutorial(tmp_path, runs, monkeypatch)
    tutorial(tmp_path / "out", notebooks)
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["timed", "a", "b", "c"]
    assert [row["threads"] is None for row in rows] == [True, False, False, False]
    assert (tmp_path / "out" / "index.html").exists()


def test_tutorial_stops_at_a_notebook_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebooks = small_tutorial(tmp_path, [("one", "bad"), ("two", "b")], monkeypatch)
    with pytest.raises(VasotError, match=r"one\.ipynb: cell \d raised AssertionError"):
        tutorial(tmp_path / "out", notebooks)
    assert not (tmp_path / "out" / "index.html").exists()


def test_tutorial_runs_notebooks_with_parameters_that_they_have() -> None:
    notebooks = Path(__file__).parents[2] / "notebooks"
    for name, parameters in TUTORIAL:
        effective = effective_parameters(notebooks / f"{name}.ipynb", parameters)
        assert parameters.items() <= effective.items()
