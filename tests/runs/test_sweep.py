"""Sweeps of a small notebook, for real: what fails, what is killed, and what is never done twice."""

from __future__ import annotations

import csv
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from distributed import LocalCluster

from tests.runs.test_grids import PARAMETERS, ROOT, ROW, WORK, write_grid, write_notebook
from vasot_kit.runs import workers
from vasot_kit.runs.engine import once
from vasot_kit.runs.notebook import NotebookRun, run_quietly
from vasot_kit.runs.records import record
from vasot_kit.runs.sweep import Cell, _rows, read_grid, sweep
from vasot_lib.errors import InputError, VasotError


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """``vasot sweep grid.yaml`` as a process group of its own, as a shell starts it."""
    command = [sys.executable, "-m", "vasot_kit.cli", "sweep", "grid.yaml", *options]
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
    )


def log(folder: Path) -> list[list[str]]:
    """Cell, what it says, process; in the order in which it was said."""
    path = folder / "log.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.replace("kills once", "kills_once").split() for line in lines]


def said(folder: Path, what: str) -> list[str]:
    return [line[0] for line in log(folder) if line[1] == what]


def finished(folder: Path) -> set[str]:
    """Cells whose runs are recorded as finished."""
    states = [yaml.safe_load(path.read_text()) for path in folder.glob("outputs/tiny/*/params.yaml")]
    values = [state["parameters"] for state in states if state["status"] == "finished"]
    return {f"{value['does']}-{value['seed']}" for value in values}


def wait_for(folder: Path, what: str, times: int, process: subprocess.Popen[str]) -> None:
    while len(said(folder, what)) < times:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Sweeps, workers and kernels that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def assert_no_two_at_once(folder: Path) -> None:
    """Between the first and the last line of a kernel stands no line of another kernel of the same cell."""
    lines = log(folder)
    for cell in {line[0] for line in lines}:
        kernels = [line[2] for line in lines if line[0] == cell]
        changes = sum(one != other for one, other in zip(kernels, kernels[1:], strict=False))
        assert changes == len(set(kernels)) - 1, cell


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """Folder, exit code, output and errors of a sweep in which cells fail and kill their workers."""
    folder = tmp_path_factory.mktemp("sweep")
    write_grid(folder, "grid:\n- does: [kills, raises, kills once]\n- {does: [fine], seed: [0, 1], seconds: [0.5]}\n")
    process = start(folder, "--workers", "2")
    out, errors = process.communicate()
    return folder, process.returncode, out, errors


def test_every_other_cell_has_run_once(ended: tuple[Path, int, str, str]) -> None:
    folder, code, out, _ = ended
    assert sorted(said(folder, "end")) == ["fine-0", "fine-1", "kills_once-0"]
    starts = said(folder, "start")
    counts = {cell: starts.count(cell) for cell in starts}
    assert counts.pop("kills-0") in (3, 4)  # a death of the worker may count though another cell was running
    # On a busy machine a worker can die before it has told that the cell before had failed: that one runs again.
    assert counts.pop("raises-0") in (1, 2)
    assert counts == {"fine-0": 1, "fine-1": 1, "kills_once-0": 2}
    assert code == 1
    assert "3 run, 0 there already, 2 failed" in out


def test_cell_of_a_killed_worker_waits_for_the_orphaned_kernel(ended: tuple[Path, int, str, str]) -> None:
    assert_no_two_at_once(ended[0])


def test_failures_are_reported_with_parameters_reason_and_notebook(ended: tuple[Path, int, str, str]) -> None:
    folder, _, out, errors = ended
    reported = re.search(r"failed: does=raises\n  tiny.ipynb: cell 2 raised ValueError: one that fails; see (.*)", out)
    assert reported
    assert (folder / reported[1]).name == "failed.ipynb"
    assert (folder / reported[1]).exists()
    assert re.search(r"failed: does=kills\n  its worker died again and again", out)
    assert errors.splitlines()[-1] == "vasot: 2 of 5 runs failed; the same command again runs only these"


def test_terminal_shows_the_bar_and_the_results_only(ended: tuple[Path, int, str, str]) -> None:
    _, _, out, errors = ended
    *bar, _ = re.split(r"[\r\n]+", errors.strip())
    assert [line for line in bar if line and not re.search(r"% \|.*\| \d of 5 runs, \S+ gone, \S+ to go", line)] == []
    assert out.splitlines()[0] == "5 runs of tiny.ipynb; on 2 workers"
    assert len(out.splitlines()) == 1 + 4 + 2


def test_rows_are_those_of_the_finished_cells(ended: tuple[Path, int, str, str]) -> None:
    folder = ended[0]
    text = (folder / "outputs" / "grid_rows.csv").read_text()
    assert text.splitlines()[0] == "dataset,method,seed,does,mof,seconds,notebook,run"
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 6
    assert {row["does"] for row in rows} == {"fine", "kills once"}
    assert [row["seed"] for row in rows if row["method"] == "base"] == ["", "", ""]
    assert all((folder / "outputs" / row["run"] / "metrics.json").exists() for row in rows)


def test_no_process_is_left(ended: tuple[Path, int, str, str]) -> None:
    assert processes_in(ended[0]) == []


def test_finished_cells_start_no_worker(
    ended: tuple[Path, int, str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ended[0]
    grid = folder / "again.yaml"
    grid.write_text("notebook: tiny.ipynb\nfixed: {seconds: 0.5}\ngrid: {seed: [1, 0]}\n")
    monkeypatch.delattr(workers, "LocalCluster")
    out = folder / "outputs"
    before = (out / "grid_rows.csv").read_text()
    sweep(grid, out)
    assert "0 run, 2 there already, 0 failed" in capsys.readouterr().out
    assert len((out / "again_rows.csv").read_text().splitlines()) == 5  # only of the cells of this grid
    assert (out / "grid_rows.csv").read_text() == before


def test_every_row_has_the_values_of_the_grid_that_it_does_not_name_itself(tmp_path: Path) -> None:
    cells = []
    for preset in ("kit", "paper"):
        folder = tmp_path / "n" / preset
        folder.mkdir(parents=True)
        rows = [{**ROW, "preset": preset}, {**ROW, "method": "base", "mof": 0.25}]
        record(rows, {}, dataset_checksums={}, notebook="n", folder=folder)
        cells.append(Cell({"preset": preset}, NotebookRun(folder, {}, tmp_path / "n.ipynb")))
    found = [row for cell in cells for row in _rows(cell, tmp_path)]
    assert [(row["method"], row["preset"]) for row in found] == [
        ("m", "kit"), ("base", "kit"), ("m", "paper"), ("base", "paper")
    ]  # fmt: skip


# Stopped and started again


@pytest.mark.slow
def test_stopped_and_killed_sweep_repeats_no_finished_cell(tmp_path: Path) -> None:
    write_grid(tmp_path, "grid: [{seed: [0]}, {seed: [1], seconds: [300.0]}]")
    process = start(tmp_path, "--workers", "2")
    wait_for(tmp_path, "start", 2, process)
    while finished(tmp_path) != {"fine-0"}:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    out, errors = process.communicate()
    assert process.returncode == 130
    assert out.splitlines()[-1] == "stopped; the same command again goes on from here"
    assert errors.splitlines()[-1] == "vasot: interrupted"
    assert "Traceback" not in errors
    assert processes_in(tmp_path) == []
    assert finished(tmp_path) == {"fine-0"}

    process = start(tmp_path, "--workers", "1")
    wait_for(tmp_path, "start", 3, process)
    process.kill()
    process.communicate()
    assert finished(tmp_path) == {"fine-0"}

    (tmp_path / "go").touch()
    process = start(tmp_path, "--workers", "1")  # the orphans of the last one may still be there
    out, errors = process.communicate()
    assert (process.returncode, "Traceback" in errors) == (0, False)
    assert finished(tmp_path) == {"fine-0", "fine-1"}
    assert [said(tmp_path, "start").count(cell) for cell in ("fine-0", "fine-1")] == [1, 3]
    assert_no_two_at_once(tmp_path)
    while processes_in(tmp_path):
        time.sleep(0.1)


# Other schedulers


def test_notebook_that_changes_while_a_sweep_runs_fails_its_cell(tmp_path: Path) -> None:
    """Its result would go elsewhere, where the table of this sweep does not look."""
    grid = write_grid(tmp_path, "grid: {seed: [0]}")
    (cell,) = read_grid(grid, tmp_path / "out")
    for parameters, code in ((PARAMETERS + "\nmore = 1", WORK), (PARAMETERS, "pass")):
        write_notebook(tmp_path / "tiny.ipynb", parameters, code)
        with pytest.raises(VasotError, match="tiny.ipynb or its data changed after the start"):
            run_quietly(cell.run)
    assert not (tmp_path / "out").exists()


def made_run(run: NotebookRun, *rows: dict[str, object]) -> None:
    """As a finished run of the notebook leaves it."""

    def work(_: int | None) -> None:
        (run.folder / "notebook.ipynb").touch()
        if rows:
            record(rows, {}, dataset_checksums={}, notebook="tiny", folder=run.folder)

    once(run, work)


def test_run_that_lost_its_rows_is_run_again_and_one_without_rows_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, out = write_grid(tmp_path, "grid: {seed: [0, 1]}"), tmp_path / "out"
    first, second = read_grid(grid, out)
    made_run(first.run, ROW)
    made_run(second.run)
    sweep(grid, out)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "0 run, 2 there already, 0 failed"
    assert said[-1] == "1 of 2 runs recorded no rows, the first of them seed=1"
    (first.run.folder / "metrics.json").unlink()
    assert not first.run.is_finished()
    (first.run.folder / "params.yaml").write_text("status: finished\n")  # of an older version, which did not say
    sweep(grid, out)
    assert "2 of 2 runs recorded no rows" in capsys.readouterr().out
    assert not (out / "grid_rows.csv").exists()


@pytest.fixture
def scheduler() -> Iterator[str]:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def test_runs_on_the_workers_of_another_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scheduler: str
) -> None:
    grid = write_grid(tmp_path, "grid: {seed: [0], does: [fine, raises]}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VasotError, match="1 of 2 runs failed"):
        sweep(grid, Path("out"), scheduler=scheduler)
    assert sorted(said(tmp_path, "end")) == ["fine-0"]
    assert f"on the workers of {scheduler}" in capsys.readouterr().out
    assert logging.getLogger("tornado.application").level == logging.CRITICAL  # silent at the end of an interrupt
    assert (tmp_path / "out" / "grid_rows.csv").exists()


def test_scheduler_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ANSWERS_WITHIN", 0.5)
    grid = write_grid(tmp_path, "grid: {seed: [0]}")
    with pytest.raises(InputError, match="no dask scheduler answers at tcp://127.0.0.1:1"):
        sweep(grid, tmp_path / "out", scheduler="tcp://127.0.0.1:1")
    monkeypatch.delattr(workers, "Client")
    for address in ("node1", "", "tcp://node1", "tcp://:8786"):
        with pytest.raises(InputError, match=f"the scheduler is '{address}'; give its host and port"):
            sweep(grid, tmp_path / "out", scheduler=address)
