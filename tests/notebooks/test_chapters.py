"""What every chapter keeps to, and that nbval notices a changed number and a wrong answer that is called right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from tests.notebooks.refresh import NOTEBOOKS
from tests.notebooks.wrong_answers import MISTAKES, exercises
from vasot_kit.runs.notebook import WIDGET_VIEW, run_notebook
from vasot_kit.runs.records import collect

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
MOST_LINES = 32  # of a cell: a screen
OTHERWISE: list[tuple[str, dict[str, Any]]] = [
    ("10_structural_priors", {"alpha": 0.5, "radius": 0.08, "seed": 3}),
    ("20_dummy_frames", {"epsilon": 0.05, "seed": 1, "epochs": 2}),
    ("30_transport_plans", {"alpha": 0.5, "radius": 0.08, "epsilon": 0.05, "seed": 2}),
    ("40_train", {"dataset": "toy", "method": "gtcc", "epochs": 1}),  # no transport plan
    ("40_train", {"dataset": "toy", "method": "tw_finch"}),  # nothing learnt, one video at a time
    ("40_train", {"dataset": "toy_rendered", "method": "vaot", "epochs": 1, "overrides": {"training.frames": 20}}),
    ("60_methods", {"datasets": ["toy"], "methods": ["cte", "tw_finch"], "seeds": [0]}),  # no alignment, no intervals
]


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
def test_solutions_answer_the_exercises_and_say_right(path: Path) -> None:
    asked, answered = exercises(read(path)), exercises(read(NOTEBOOKS / "solutions" / path.name))
    assert len(asked) == len(answered) >= 2
    for question, answer in zip(asked, answered, strict=True):
        first, check = question.source.split("\n", 1)
        assert first.startswith("answer = None  # ")
        assert answer.source.split("\n", 1)[1] == check
        assert [output.text for output in question.outputs] == ["not answered yet\n"]
        assert [output.text for output in answer.outputs] == ["right\n"]


@pytest.mark.parametrize(("name", "parameters"), OTHERWISE)
def test_chapters_run_with_other_parameters(name: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    folder = run_notebook(NOTEBOOKS / f"{name}.ipynb", parameters, tmp_path, progress=False)
    assert collect(folder)


def test_every_exercise_has_a_wrong_answer() -> None:
    assert {path.stem: len(exercises(read(path))) for path in SOLUTIONS} == {k: len(v) for k, v in MISTAKES.items()}


def nbval(*paths: Path, plugin: str = "") -> subprocess.CompletedProcess[str]:
    code = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    code += [
        "--nbval-sanitize-with",
        str(Path(__file__).with_name("sanitize.cfg")),
        *(["-p", plugin] if plugin else []),
    ]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(NOTEBOOKS.parent), os.environ.get("PYTHONPATH", "")])
    }
    return subprocess.run([*code, *map(str, paths)], cwd=NOTEBOOKS, env=environment, capture_output=True, text=True)


def test_nbval_notices_a_changed_number(tmp_path: Path) -> None:
    notebook = read(NOTEBOOKS / "30_transport_plans.ipynb")
    upto = next(k for k, cell in enumerate(notebook.cells) if "1.89" in str(cell.get("outputs")))
    notebook.cells = [cell for cell in notebook.cells[: upto + 1] if cell.cell_type == "code"]
    output = notebook.cells[-1].outputs[0]
    output.text = output.text.replace("1.89", "1.88")
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    done = nbval(tmp_path / "changed.ipynb")
    assert done.returncode == 1
    # The cells before it pass.
    assert done.stdout.startswith("..F ") and "Cell 2" in done.stdout and "1.88" in done.stdout, done.stdout


def test_a_wrong_answer_that_is_called_right_is_noticed(tmp_path: Path) -> None:
    notebook = read(NOTEBOOKS / "solutions" / "55_one_model_or_two.ipynb")
    first, *others = exercises(notebook)
    first.source = first.source.split("\n", 1)[0] + '\nprint("right")'
    (tmp_path / "solutions").mkdir()
    nbformat.write(notebook, tmp_path / "solutions" / "55_one_model_or_two.ipynb")
    done = nbval(tmp_path / "solutions" / "55_one_model_or_two.ipynb", plugin="tests.notebooks.wrong_answers")
    assert done.returncode == 1
    # Both cells give what is stored, the first wrong answer is noticed, the second is told what is wrong.
    assert len(others) == 1 and done.stdout.startswith("..F. ") and "wrong answer 1" in done.stdout, done.stdout
