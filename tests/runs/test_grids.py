"""What a grid of a sweep says, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from vasot_kit.cli import main
from vasot_kit.runs import workers
from vasot_kit.runs.sweep import read_grid, sweep
from vasot_lib.errors import DataError, InputError

ROOT = Path(__file__).parents[2]
ROW = {"dataset": "toy", "method": "m", "seed": 0, "mof": 0.5}
PARAMETERS = 'seed = 0\nlr = 1e-3\ndoes = "fine"\nseconds = 0.0'
# A line at the start, one every now and then, one at the end; each with the seed and the kernel's number.
WORK = """
import os, signal, time
from pathlib import Path
def say(what):
    with Path("log.txt").open("a") as log:
        log.write(f"{does}-{seed} {what} {os.getpid()}\\n")
def first_time():
    return sum(f"{does}-{seed} start" in line for line in Path("log.txt").read_text().splitlines()) == 1
say("start")
if does == "kills" or (does == "kills once" and first_time()):
    os.kill(os.getppid(), signal.SIGKILL)
    seconds = 30
end = time.monotonic() + seconds
while time.monotonic() < end and not Path("go").exists():
    say("works")
    time.sleep(0.02)
if does == "raises":
    raise ValueError("one that\\nfails")
from vasot_kit.runs.records import record
record([{"dataset": "toy", "method": "m", "seed": seed, "mof": lr}, {"dataset": "toy", "method": "base", "seed": None}],
       {}, dataset_checksums={}, notebook="tiny")
say("end")
"""
KIT = 'dataset = "toy"\nmethod = "asot"\npreset = "kit"\nseed = 0\nepochs = None\ndevice = "cpu"\noverrides = {}'


def write_notebook(path: Path, parameters: str = PARAMETERS, code: str = WORK) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "any", "display_name": "Python 3", "language": "python"}
    notebook.metadata.language_info = {"name": "python"}
    tags = {"tags": ["parameters"]}
    notebook.cells = [nbformat.v4.new_code_cell(parameters, metadata=tags), nbformat.v4.new_code_cell(code)]
    nbformat.write(notebook, path)
    return path


def write_grid(folder: Path, text: str, parameters: str = PARAMETERS) -> Path:
    write_notebook(folder / "tiny.ipynb", parameters)
    path = folder / "grid.yaml"
    path.write_text("notebook: tiny.ipynb\n" + text)
    return path


def test_cells_are_all_combinations_and_lists_are_joined(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, "fixed: {does: fine}\ngrid:\n- {lr: [1e-3, .5], seed: [0, 1]}\n- seed: [2]\n")
    cells = read_grid(grid, tmp_path / "out")
    assert [str(cell) for cell in cells] == [
        "lr=0.001 seed=0", "lr=0.001 seed=1", "lr=0.5 seed=0", "lr=0.5 seed=1", "seed=2"
    ]  # fmt: skip
    assert cells[2].run.parameters == {"seed": 0, "lr": 0.5, "does": "fine", "seconds": 0.0}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: [", "not YAML: line 2"),
        ("fixed: {seed: 1, seed: 2}\ngrid: {lr: [1]}", "not YAML: line 2: 'seed' stands twice"),
        ("grids: {seed: [1]}", r"unknown key of .*grid.yaml 'grids' \(did you mean 'grid'\?\)"),
        ("fixed: {seed: 1}", "has no 'grid'"),
        ("fixed: [seed]\ngrid: {seed: [1]}", r"fixed is \['seed'\]; expected parameters with one value"),
        ("grid: 3", "grid holds 3"),
        ("grid:", "grid holds None"),
        ("grid: []", "has no cells"),
        ("grid: {}", "empty mapping"),
        ("grid: [{seed: [1]}, 3]", "grid holds 3"),
        ("grid: {seed: []}", "seed is an empty list"),
        ("grid: {seed: 1}", r"seed is 1; expected a list, for example \[1\]"),
        ("grid: {seed: [0, 1.5]}", r"seed=1.5: parameter 'seed' of tiny.ipynb is 1.5 \(float\); expected int"),
        ("grid: {sed: [0]}", r"unknown parameter of tiny.ipynb 'sed' \(did you mean 'seed'\?\)"),
        ("fixed: {sed: 0}\ngrid: {lr: [1]}", "unknown parameter of tiny.ipynb 'sed'"),
        ("fixed: {seed: 0}\ngrid: {seed: [1]}", "seed stands under fixed and under grid"),
        ("grid: {seed: [1, 2, 1]}", "seed=1 stands twice"),
        ("grid: [{seed: [0, 1]}, {lr: [1e-3]}]", "lr=0.001 stands twice, defaults of the notebook included"),
    ],
)
def test_bad_grid_is_refused_with_one_line(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(tmp_path, text)
    with pytest.raises(InputError, match=message):
        sweep(grid, tmp_path / "out")
    assert main(["sweep", str(grid), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: [asot, vast]", r"method=vast: unknown method 'vast' \(did you mean"),
        ("dataset: [toys]", r"unknown data set 'toys' \(did you mean 'toy'\?\)"),
        ("preset: [kit, best]", "preset=best: unknown preset 'best'"),
        ("overrides: [{training.lrr: 1e-3}]", "unknown parameter 'training.lrr'"),
        ("overrides: [{training.lr: fast}]", "training.lr is 'fast'; it must be a finite number above 0"),
        ("epochs: [many]", "training.epochs is 'many'"),
        ("device: [tpu]", "unknown training.device 'tpu'"),
        ("dataset: [/none/such]", "there is no folder /none/such"),
        ("overrides: [{1: 2}]", "parameter 'overrides' of tiny.ipynb is {1: 2}; give finite numbers"),
    ],
)
def test_what_the_kit_would_refuse_is_refused_before_anything_runs(tmp_path: Path, text: str, message: str) -> None:
    grid = write_grid(tmp_path, f"grid: {{{text}}}", KIT)
    with pytest.raises(InputError, match=message):
        read_grid(grid, tmp_path / "out")


def test_folder_of_ones_own_is_taken_relative_to_the_grid(tmp_path: Path) -> None:
    (tmp_path / "mine" / "features").mkdir(parents=True)
    (own, shipped) = read_grid(write_grid(tmp_path, "grid: {dataset: [mine, toy]}", KIT), tmp_path / "out")
    assert [cell.run.parameters["dataset"] for cell in (own, shipped)] == [str(tmp_path / "mine"), "toy"]
    assert ("data" in own.run.identity, "data" in shipped.run.identity) == (True, False)


@pytest.mark.parametrize("name", ["here", "~nobody-of-that-name/mine", "/nowhere"])
def test_a_folder_that_is_not_there_as_seen_from_the_grid_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "work" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    grid = write_grid(tmp_path, f"grid: {{dataset: ['{name}']}}", KIT)
    with pytest.raises(InputError, match=f"there is no folder {name}, as seen from the grid; name one, or a data set"):
        read_grid(grid, tmp_path / "out")


def test_data_that_are_not_there_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VASOT_DATA", str(tmp_path / "data"))
    monkeypatch.delattr(workers, "LocalCluster")
    grid = write_grid(tmp_path, "grid: {dataset: [toy, hapt]}", KIT)
    with pytest.raises(DataError, match="data set 'hapt' is not in the folder .*; bring it with: python -m"):
        sweep(grid, tmp_path / "out")


@pytest.mark.parametrize("content", ["3", "text", "", "notebook: 3\ngrid: {seed: [0]}"])
def test_what_is_no_grid_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"grid is a mapping|expected a path"):
        read_grid(path, tmp_path / "out")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the grid .*none.yaml"):
        read_grid(tmp_path / "none.yaml", tmp_path)
    path = tmp_path / "grid.yaml"
    path.write_text("notebook: none.ipynb\ngrid: {seed: [0]}")
    with pytest.raises(DataError, match=r"there is no notebook .*none.ipynb"):
        read_grid(path, tmp_path)


@pytest.mark.parametrize("grid", sorted((ROOT / "grids").glob("*.yaml")), ids=lambda path: path.stem)
def test_grids_of_the_repository_are_valid(grid: Path, tmp_path: Path) -> None:
    assert read_grid(grid, tmp_path)


def test_number_of_workers_is_checked(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, "grid: {seed: [0]}")
    with pytest.raises(InputError, match="workers is 0"):
        sweep(grid, tmp_path, workers=0)
    with pytest.raises(InputError, match="give one"):
        sweep(grid, tmp_path, workers=1, scheduler="tcp://127.0.0.1:8786")
