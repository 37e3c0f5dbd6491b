"""The strict runner on small notebooks: what it refuses, what it leaves behind, what it does not do twice."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

from vasot_kit.runs import notebook as runs
from vasot_kit.runs.engine import once
from vasot_kit.runs.notebook import effective_parameters, find_run, run_notebook
from vasot_kit.runs.values import read_yaml
from vasot_lib.errors import DataError, InputError, VasotError

PARAMETERS = 'dataset = "toy"  # by name\nseed = 0\nlr = 1e-3\nepochs = None\nscales = [1, 2]\nverbose = False'
# Appends a line per execution, so that a test sees how often the notebook ran.
COUNT = 'from pathlib import Path\nlog = Path("executed.txt")\nlog.open("a").write(f"{seed}\\n")'
RECORD = (
    "from vasot_kit.runs.records import record\n"
    'record([{"dataset": dataset, "method": "m", "seed": seed, "mof": lr}], {"lr": lr}, '
    'dataset_checksums={dataset: "ab"}, notebook="small")'
)
# A widget with a picture beside it.
SHOW = (
    "import ipywidgets\n"
    "class Slider(ipywidgets.IntSlider):\n"
    "    def _repr_mimebundle_(self, **options):\n"
    "        return {**super()._repr_mimebundle_(**options), 'image/png': 'cGljdHVyZQ=='}\n"
    "Slider()"
)


def write_notebook(path: Path, *code: str, parameters: str | None = PARAMETERS) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "no-such-kernel", "display_name": "Python 3", "language": "python"}
    notebook.metadata.language_info = {"name": "python"}
    notebook.cells = [nbformat.v4.new_markdown_cell("# Small")]
    if parameters is not None:
        notebook.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in code]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A notebook, the folder of a finished run of it with seed 3, and the notebook's checksum before."""
    base = tmp_path_factory.mktemp("runner")
    kernel = 'import os, sys\nprint(sys.executable)\nprint(os.getcwd())\nprint(os.environ["VASOT_DATA"])'
    notebook = write_notebook(base / "books" / "small.ipynb", COUNT, RECORD, SHOW, kernel)
    before = hashlib.sha256(notebook.read_bytes()).hexdigest()
    return notebook, run_notebook(notebook, {"seed": 3, "lr": 1}, base / "out", progress=False), before


def executions(notebook: Path) -> int:
    log = notebook.parent / "executed.txt"
    return len(log.read_text().splitlines()) if log.exists() else 0


# What is refused, before anything is written


def test_unknown_parameter_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "small.ipynb")
    with pytest.raises(InputError, match=r"'sed' \(did you mean 'seed'\?\); known: dataset, epochs, lr") as caught:
        run_notebook(notebook, {"sed": 1}, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 1.5), ("seed", "1"), ("seed", True), ("seed", None), ("lr", "1e-3"), ("dataset", 3), ("verbose", 1)],
)
def test_value_of_another_type_is_refused(tmp_path: Path, name: str, value: object) -> None:
    notebook = write_notebook(tmp_path / "small.ipynb")
    with pytest.raises(InputError, match=f"'{name}' of small.ipynb is {value!r}"):
        run_notebook(notebook, {name: value}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_int_is_taken_for_float_and_anything_for_none(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "small.ipynb")
    values = effective_parameters(notebook, {"lr": 1, "epochs": "many"})
    assert values == {"dataset": "toy", "seed": 0, "lr": 1.0, "epochs": "many", "scales": [1, 2], "verbose": False}
    assert isinstance(values["lr"], float)


@pytest.mark.parametrize("value", ["!!set {a}", "!!binary aGk=", "{1: 2, a: 3}", "{a: .nan}", "[.inf]", "&a [*a]"])
def test_value_that_cannot_be_recorded_is_refused(tmp_path: Path, value: str) -> None:
    notebook = write_notebook(tmp_path / "small.ipynb")
    with pytest.raises(InputError, match="parameter 'epochs' of small.ipynb is .*; give finite numbers, text, true"):
        run_notebook(notebook, {"epochs": read_yaml(value)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("default", ["{1, 2}", "b'a'", "{1: 2, 'a': 3}", "1e999"])
def test_default_that_cannot_be_recorded_is_refused(tmp_path: Path, default: str) -> None:
    notebook = write_notebook(tmp_path / "small.ipynb", parameters=f"value = {default}")
    with pytest.raises(InputError, match="plain literal"):
        effective_parameters(notebook, {})


def test_another_notebook_of_the_same_name_does_not_replace_a_run(tmp_path: Path) -> None:
    one, other = (write_notebook(tmp_path / name / "small.ipynb", f"'{name}'") for name in ("one", "other"))
    run = find_run(one, {}, tmp_path / "out")
    once(run, lambda _: (run.folder / "notebook.ipynb").touch())
    with pytest.raises(
        DataError, match=r"is of .*one/small.ipynb, another notebook of that name; choose another --out"
    ):
        find_run(other, {}, tmp_path / "out")
    # The same code is the same run; and where the first is gone, it was moved and edited.
    assert find_run(write_notebook(other, "'one'"), {}, tmp_path / "out").is_finished()
    one.unlink()
    assert not find_run(write_notebook(other, "'two'"), {}, tmp_path / "out").is_finished()


def test_run_on_a_folder_whose_files_change_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path starts where the command is given; a file that is only touched is the same."""
    notebook, (mine, other) = write_notebook(tmp_path / "books" / "small.ipynb"), (tmp_path / "mine", tmp_path / "toy")
    monkeypatch.chdir(tmp_path)
    for folder in (mine, other):
        (folder / "features").mkdir(parents=True)
        (folder / "features" / "a.npy").write_bytes(b"12")
    monkeypatch.setattr(runs, "_execute", lambda run, *_: (run.folder / "notebook.ipynb").touch())
    done = run_notebook(notebook, {"dataset": "mine"}, tmp_path / "out", progress=False)
    run = find_run(notebook, {"dataset": str(mine)}, tmp_path / "out")
    assert run.folder == done and run.is_finished()
    os.utime(mine / "features" / "a.npy", (0, 0))
    assert find_run(notebook, {"dataset": str(mine)}, tmp_path / "out").is_finished()
    (mine / "features" / "a.npy").write_bytes(b"13")
    assert not find_run(notebook, {"dataset": str(mine)}, tmp_path / "out").is_finished()
    assert "data" not in find_run(notebook, {"dataset": "toy"}, tmp_path / "out").identity  # the registered one
    assert find_run(notebook, {"dataset": "~nobody-of-that-name/mine"}, tmp_path / "out").parameters  # refused later


def test_what_is_not_read_as_data_repeats_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Films may be folders of pictures, and results may be written beside them."""
    notebook, mine = write_notebook(tmp_path / "small.ipynb"), tmp_path / "mine"
    (mine / "a").mkdir(parents=True)
    (mine / "a" / "000.png").write_bytes(b"12")
    before = find_run(notebook, {"dataset": str(mine)}, mine).identity
    for name in (".DS_Store", "a/.DS_Store", "methods_rows.csv"):
        (mine / name).write_bytes(b"1")
    assert find_run(notebook, {"dataset": str(mine)}, mine).identity == before
    (mine / "a" / "000.png").write_bytes(b"13")
    assert find_run(notebook, {"dataset": str(mine)}, mine).identity != before


def test_interrupt_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_notebook(write_notebook(tmp_path / "small.ipynb"), {}, tmp_path / "out")
    assert capsys.readouterr().out == "stopped; the same command again takes it up\n"
    assert logging.getLogger("asyncio").level == logging.CRITICAL


def test_notebook_without_parameters_cell_is_refused(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "bare.ipynb", "print(1)", parameters=None)
    with pytest.raises(InputError, match="no cell tagged 'parameters'"):
        run_notebook(notebook, {}, tmp_path / "out")


def test_default_that_is_no_literal_is_refused(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "derived.ipynb", parameters="epochs = 2 * 5")
    with pytest.raises(InputError, match="plain literal"):
        run_notebook(notebook, {}, tmp_path / "out")


@pytest.mark.parametrize("content", [None, "", "no json", "{}", "[1]"])
def test_what_is_not_a_notebook_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "small.ipynb"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"give the path of an \.ipynb file"):
        run_notebook(path, {}, tmp_path / "out")


# What a run leaves behind


def test_run_leaves_the_whole_folder(finished: tuple[Path, Path, str]) -> None:
    _, folder, _ = finished
    assert folder.parent.name == "small"
    assert len(folder.name) == 12
    assert {path.name for path in folder.iterdir()} == {
        "notebook.ipynb",
        "metrics.json",
        "params.yaml",
        "environment.txt",
    }
    params = yaml.safe_load((folder / "params.yaml").read_text())
    assert params["parameters"] == {
        "dataset": "toy", "seed": 3, "lr": 1.0, "epochs": None, "scales": [1, 2], "verbose": False
    }  # fmt: skip
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    assert rows == [{"dataset": "toy", "method": "m", "seed": 3, "mof": 1.0}]
    assert f"papermill=={papermill.__version__}" in (folder / "environment.txt").read_text().splitlines()


def test_kernel_is_this_interpreter_in_the_folder_of_the_notebook(finished: tuple[Path, Path, str]) -> None:
    notebook, folder, _ = finished
    executed = nbformat.read(folder / "notebook.ipynb", as_version=4)
    executable, cwd, data = executed.cells[-1].outputs[0].text.split()
    assert executable == sys.executable
    assert Path(cwd) == notebook.parent
    assert Path(data) == Path(os.environ.get("VASOT_DATA") or "data").resolve()


def test_widgets_leave_their_picture_and_no_view(finished: tuple[Path, Path, str]) -> None:
    executed = nbformat.read(finished[1] / "notebook.ipynb", as_version=4)
    assert set(executed.cells[-2].outputs[0].data) == {"text/plain", "image/png"}
    assert "widgets" not in executed.metadata


def test_input_notebook_is_untouched(finished: tuple[Path, Path, str]) -> None:
    notebook, _, before = finished
    assert hashlib.sha256(notebook.read_bytes()).hexdigest() == before


# What is not done twice, and what is


def test_finished_run_is_not_run_again(finished: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    notebook, folder, _ = finished
    count = executions(notebook)
    # The same effective parameters, written differently.
    again = run_notebook(notebook, {"lr": 1.0, "seed": 3, "dataset": "toy"}, folder.parents[1])
    assert again == folder
    assert capsys.readouterr().out == f"there already: {folder}\n"
    assert executions(notebook) == count


def test_killed_run_is_run_again_when_its_orphaned_kernel_has_ended(tmp_path: Path) -> None:
    # Through PyDLL the sleep keeps all of Python waiting, also the thread that would end a kernel without a parent.
    work = (
        "import ctypes, os, time\n"
        'with open("begun.txt", "a") as log:\n'
        '    log.write(f"{time.monotonic()}\\n")\n'
        'if not os.path.exists("fast"):\n'
        "    ctypes.PyDLL(None).sleep(3)"
    )
    notebook = write_notebook(tmp_path / "small.ipynb", work)
    begun = tmp_path / "begun.txt"
    call = f"from vasot_kit.runs.notebook import run_notebook; run_notebook({str(notebook)!r}, {{}}, 'out')"
    process = subprocess.Popen([sys.executable, "-c", call], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not (begun.exists() and begun.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    (killed,) = (tmp_path / "out" / "small").iterdir()
    assert not (killed / "notebook.ipynb").exists()

    (tmp_path / "fast").touch()
    folder = run_notebook(notebook, {}, tmp_path / "out", progress=False)
    assert folder == killed
    first, second = map(float, begun.read_text().split())  # it began twice
    assert second - first >= 3
    assert (folder / "notebook.ipynb").exists()
    assert not (folder / "running.ipynb").exists()
    assert not (folder / ".lock").exists()


def test_failed_run_is_repeated_with_its_checkpoint_and_changed_code_without(tmp_path: Path) -> None:
    fail = "import os\nif not os.path.exists('fine'):\n    raise ValueError('first\\nsecond')"
    notebook = write_notebook(tmp_path / "small.ipynb", COUNT, fail)
    with pytest.raises(
        VasotError, match=r"small\.ipynb: cell \d raised ValueError: first second; see .*failed\.ipynb"
    ) as caught:
        run_notebook(notebook, {}, tmp_path / "out", progress=False)
    assert "\n" not in str(caught.value)
    (folder,) = (tmp_path / "out" / "small").iterdir()
    assert (folder / "failed.ipynb").exists()
    assert not (folder / "notebook.ipynb").exists()

    (folder / "checkpoint").write_text("half way")
    (folder / "metrics.json").write_text("of the run that failed")
    (tmp_path / "fine").touch()
    assert run_notebook(notebook, {}, tmp_path / "out", progress=False) == folder
    assert executions(notebook) == 2
    assert {path.name for path in folder.iterdir()} == {
        "notebook.ipynb", "params.yaml", "environment.txt", "checkpoint"
    }  # fmt: skip
    assert "status: finished" in (folder / "params.yaml").read_text()

    write_notebook(notebook, COUNT, "print(1)")
    assert run_notebook(notebook, {}, tmp_path / "out", progress=False) == folder
    assert executions(notebook) == 3
    assert not (folder / "checkpoint").exists()


def test_dying_kernel_is_one_line(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "small.ipynb", "import os\nos._exit(1)")
    with pytest.raises(VasotError, match=r"small\.ipynb: its kernel died"):
        run_notebook(notebook, {}, tmp_path / "out", progress=False)
