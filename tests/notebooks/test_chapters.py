"""What every chapter keeps to, and that nbval notices a changed number and a wrong answer that is called right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from tests.notebooks.refresh import NOTEBOOKS
from tests.notebooks.wrong_answers import MISTAKES, check_of, exercises
from vasot_kit.explorers.explorer import BROWSER, SHARED, _script_json
from vasot_kit.runs.notebook import WIDGET_VIEW, effective_parameters
from vasot_kit.runs.records import OUTPUT_VARIABLE, collect

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
MOST_LINES = 32  # of a cell: a screen
OTHERWISE: list[tuple[str, dict[str, Any]]] = [
    ("05_transport_from_zero", {"alpha": 0.2, "epsilon": 0.1, "x_video": 2, "y_video": 9}),
    ("10_structural_priors", {"alpha": 0.5, "radius": 0.08, "seed": 3}),
    ("20_dummy_frames", {"epsilon": 0.05, "seed": 1, "epochs": 2, "real_trainings": 1}),
    ("30_transport_plans", {"alpha": 0.5, "radius": 0.08, "epsilon": 0.05, "seed": 2}),
    ("40_train", {"dataset": "toy", "method": "gtcc", "epochs": 1}),  # no transport plan
    ("40_train", {"dataset": "toy", "method": "tw_finch"}),  # nothing learnt, one video at a time
    ("40_train", {"dataset": "toy_rendered", "method": "vaot", "epochs": 1, "overrides": {"training.frames": 20}}),
    ("45_gpu_training", {"frames": 40, "seconds": 0.1}),
    ("60_methods", {"datasets": ["toy"], "methods": ["cte", "tw_finch"], "seeds": [0]}),  # no alignment, no intervals
]
# Lines before the code of a cell, by its id.
LESS = {"20-40": "from functools import partial\nmake_config = partial(make_config, epochs=2)"}


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", [*CHAPTERS, *SOLUTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_cells_fit_on_a_screen_and_store_no_widget(path: Path) -> None:
    for cell in read(path).cells:
        assert cell.source.strip() and len(cell.source.splitlines()) <= MOST_LINES, cell.id
        assert re.fullmatch(r"[a-z0-9-]+", cell.id)
        for output in cell.get("outputs", []):
            assert WIDGET_VIEW not in output.get("data", {})
            assert output.output_type != "error" and output.get("name") != "stderr"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_stored_explorers_have_todays_scripts(path: Path) -> None:
    outputs = [output for cell in read(path).cells for output in cell.get("outputs", [])]
    for page in (output.get("data", {}).get("text/html", "") for output in outputs):
        if "data-explorer" in page:
            kind = next(script for script in BROWSER.glob("*.js") if f"new {script.stem.title()}Explorer(" in page)
            for script in (*SHARED, kind.name):
                assert (BROWSER / script).read_text() in page, f"{script}; make notebooks"
            assert _script_json((BROWSER / "style.css").read_text()) in page, "style.css; make notebooks"
            assert "const hosts = [...document" in page, "the explorer starts in another way; make notebooks"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_pictures_say_what_they_show(path: Path) -> None:
    """The book takes it from the cell, for those who cannot see the picture."""
    for cell in read(path).cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert len(cell.metadata.get("alt", "")) > 40, cell.id


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_solutions_answer_the_exercises_and_say_right(path: Path) -> None:
    asked, answered = exercises(read(path)), exercises(read(NOTEBOOKS / "solutions" / path.name))
    assert len(asked) == len(answered) >= 2
    for question, answer in zip(asked, answered, strict=True):
        first = question.source.split("\n", 1)[0]
        assert first.startswith(("answer = None  # ", "def "))
        assert first.startswith("answer") or first == answer.source.split("\n", 1)[0]
        assert check_of(answer) == check_of(question)
        assert [output.text for output in question.outputs] == ["not answered yet\n"]
        assert [output.text for output in answer.outputs] == ["right\n"]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_exercises_have_a_title_a_difficulty_minutes_a_hint_and_a_solution(path: Path) -> None:
    cells = read(path).cells
    asked = [k for k, cell in enumerate(cells) if cell in exercises(read(path)) and "print(check(" in cell.source]
    for number, k in enumerate(asked, 1):
        text = cells[k - 1].source
        assert re.search(rf"^\*\*{number}\. [^*]+\*\* \((easy|medium|harder), \d+ minutes\)\. ", text, re.M), text
        for part in ("Hint", "Solution"):
            assert f"<details><summary>{part}</summary>\n\n" in text
    if asked:
        assert any(f"(solutions/{path.name})" in cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.fixture(scope="module")
def kernel() -> Iterator[NotebookClient]:
    """One for all that follow: to start a kernel and to import the kit takes as long as many a chapter."""
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=600, kernel_name="python3", resources=resources)
    with client.setup_kernel():
        yield client


@pytest.mark.parametrize(("name", "parameters"), OTHERWISE)
def test_chapters_run_with_other_parameters(
    name: str, parameters: dict[str, Any], kernel: NotebookClient, tmp_path: Path
) -> None:
    effective_parameters(NOTEBOOKS / f"{name}.ipynb", parameters)  # refuses what the chapter does not have
    chapter = parameterize_notebook(load_notebook_node(str(NOTEBOOKS / f"{name}.ipynb")), parameters)
    start = f"%reset -f\nimport os\nos.environ[{OUTPUT_VARIABLE!r}] = {str(tmp_path)!r}\ndel os"
    chapter.cells.insert(0, nbformat.v4.new_code_cell(start))
    kernel.nb = chapter
    kernel.reset_execution_trackers()
    for place, cell in enumerate(chapter.cells):
        if cell.id in LESS:
            cell.source = f"{LESS[cell.id]}\n{cell.source}"
        kernel.execute_cell(cell, place)
    assert collect(tmp_path) or name == "45_gpu_training"  # which records nothing


def test_every_exercise_has_a_wrong_answer() -> None:
    assert {path.stem: len(exercises(read(path))) for path in SOLUTIONS} == {k: len(v) for k, v in MISTAKES.items()}


@pytest.fixture(scope="module")
def noticed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What nbval says of a chapter with a changed number, and of a solution with a check that always says right."""
    folder = tmp_path_factory.mktemp("wrong")
    notebook = read(NOTEBOOKS / "30_transport_plans.ipynb")
    upto = next(k for k, cell in enumerate(notebook.cells) if "1.89" in str(cell.get("outputs")))
    notebook.cells = [cell for cell in notebook.cells[: upto + 1] if cell.cell_type == "code"]
    output = notebook.cells[-1].outputs[0]
    output.text = output.text.replace("1.89", "1.88")
    nbformat.write(notebook, folder / "changed.ipynb")
    notebook = read(NOTEBOOKS / "solutions" / "55_one_model_or_two.ipynb")
    first, _ = exercises(notebook)
    first.source = first.source.split("\n", 1)[0] + '\n\nprint("right")'
    (folder / "solutions").mkdir()
    nbformat.write(notebook, folder / "solutions" / "55_one_model_or_two.ipynb")
    command = [
        *(sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider"),
        *("-p", "tests.notebooks.wrong_answers", "-p", "tests.notebooks.one_kernel"),
        *("--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(Path(__file__).with_name("sanitize.cfg"))),
        *(str(folder / "changed.ipynb"), str(folder / "solutions")),
    ]
    python_path = os.pathsep.join([str(NOTEBOOKS.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": python_path}
    done = subprocess.run(command, cwd=NOTEBOOKS, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    return done.stdout


def verdicts(said: str) -> list[str]:
    """PASSED or FAILED for each item, in order: four of the chapter, five of the solution."""
    return re.findall(r"::.* (PASSED|FAILED) +\[", said)


def test_nbval_notices_a_changed_number(noticed: str) -> None:
    assert verdicts(noticed)[:4] == ["PASSED", "PASSED", "PASSED", "FAILED"], noticed
    assert "Cell 3" in noticed and "1.88" in noticed, noticed


def test_a_wrong_answer_that_is_called_right_is_noticed(noticed: str) -> None:
    """All cells give what is stored, the first wrong answer is noticed, the second is told what is wrong."""
    assert verdicts(noticed)[4:] == ["PASSED", "PASSED", "PASSED", "FAILED", "PASSED"], noticed
    assert "wrong answer 1" in noticed, noticed
