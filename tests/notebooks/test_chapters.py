"""What every chapter keeps to, what its exercises say, and that nbval notices a changed number."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from tests.notebooks.refresh import NOTEBOOKS
from vasot_kit.runs.notebook import WIDGET_VIEW, run_notebook
from vasot_kit.runs.records import collect

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
MOST_LINES = 32  # of a cell: a screen
OTHERWISE: list[tuple[str, dict[str, Any]]] = [
    ("10_structural_priors", {"alpha": 0.5, "radius": 0.08, "seed": 3}),
    ("20_dummy_frames", {"epsilon": 0.05, "seed": 1}),
    ("30_transport_plans", {"alpha": 0.5, "radius": 0.08, "epsilon": 0.05, "seed": 2}),
    ("40_train", {"dataset": "toy", "method": "gtcc", "epochs": 1}),  # no transport plan
    ("40_train", {"dataset": "toy", "method": "tw_finch"}),  # nothing learnt, one video at a time
    ("40_train", {"dataset": "toy_rendered", "method": "vaot", "epochs": 1, "overrides": {"training.frames": 20}}),
    ("60_methods", {"datasets": ["toy"], "methods": ["cte", "tw_finch"], "seeds": [0]}),  # no alignment, no intervals
]
# A wrong answer that deserves more than "not yet", and a word of what should be said; by chapter and exercise.
MISTAKES = {
    "00_quickstart": [("0.5", "what is its sum"), ('{"speed": 0.0}', "MoF 0")],
    "10_structural_priors": [
        ("1.5", "shuffled plan"),
        ("0.125", "4 neighbours"),
        ('{"alpha": 0.3, "radius": 0.04, "rho": 0.0, "epsilon": 0.07}', "who stops it"),
    ],
    "20_dummy_frames": [("0.0012", "dearer"), ("0.25", "carry only"), ("(0.7, 0.3)", "precision 0.5")],
    "30_transport_plans": [
        ("0.2", "mass of a column of T"),
        ("5.0", "a smaller cost is enough"),
        ("0.001", "already 0.01"),
    ],
    "40_train": [("0.0", "256 scores"), ("1.0", "most frames")],
    "50_ablations": [("0.125", "all positive or all negative"), ("1 / 128", "one more frame")],
    "55_one_model_or_two": [("3.0", "size of the gradient"), ("0.5", "once in either")],
    "60_methods": [("1 / 32", "all negative"), ("0.5", "three scores")],
    "70_own_videos": [("0.25", "not of the motion"), ("6.02112", "one of the two films")],
    "80_speed_and_scale": [("1.0", "entries times bytes"), ("401.0", "frames is w")],
}


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def exercises(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]


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


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_wrong_answers_are_told_what_is_wrong(path: Path) -> None:
    """Runs the solution's code with wrong answers in the place of the right ones."""
    notebook = read(path)
    setup = "\n".join(c.source for c in notebook.cells if c.cell_type == "code" and c not in exercises(notebook))
    mistakes = MISTAKES[path.stem]
    program = [setup.replace("%matplotlib inline", ""), "print('====')"]
    for (wrong, _), cell in zip(mistakes, exercises(notebook), strict=True):
        program += [f"answer = {wrong}\n" + cell.source.split("\n", 1)[1], "print('====')"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], cwd=NOTEBOOKS, capture_output=True, text=True, check=True
    )
    for (_, words), said in zip(mistakes, done.stdout.split("====")[1:], strict=False):
        assert said.strip().startswith("not yet: ") and words in said


@pytest.mark.parametrize(("name", "parameters"), OTHERWISE)
def test_chapters_run_with_other_parameters(name: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    folder = run_notebook(NOTEBOOKS / f"{name}.ipynb", parameters, tmp_path, progress=False)
    assert collect(folder)


def test_nbval_notices_a_changed_number(tmp_path: Path) -> None:
    notebook = read(NOTEBOOKS / "30_transport_plans.ipynb")
    upto = next(k for k, cell in enumerate(notebook.cells) if "1.89" in str(cell.get("outputs")))
    notebook.cells = [cell for cell in notebook.cells[: upto + 1] if cell.cell_type == "code"]
    code = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    code += ["--nbval-sanitize-with", str(Path(__file__).with_name("sanitize.cfg"))]
    outcome = {}
    for number in ("1.89", "1.88"):
        output = notebook.cells[-1].outputs[0]
        output.text = output.text.replace("1.89", number)
        path = tmp_path / f"changed_{number[-2:]}.ipynb"
        nbformat.write(notebook, path)
        outcome[number] = subprocess.run([*code, str(path)], cwd=NOTEBOOKS, capture_output=True, text=True)
    assert outcome["1.89"].returncode == 0, outcome["1.89"].stdout
    assert outcome["1.88"].returncode == 1
    assert "Cell 2" in outcome["1.88"].stdout and "1.88" in outcome["1.88"].stdout
