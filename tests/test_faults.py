"""What the system refuses and what is damaged on the disk end a command with one line and a documented exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from vasot_kit.book import tutorial as runs
from vasot_kit.cli import main
from vasot_kit.datasets.registry import find_entry
from vasot_kit.experiments.config import make_config
from vasot_kit.explorers import explore_structure
from vasot_kit.own_films.segment import segment_films
from vasot_kit.runs.engine import Run
from vasot_kit.runs.notebook import effective_parameters
from vasot_kit.runs.records import collect
from vasot_kit.runs.values import read_yaml
from vasot_kit.runs.workers import _own_workers
from vasot_kit.tables.results import results_tables
from vasot_lib.data import toy
from vasot_lib.errors import DataError, InputError

NO_SPACE = OSError(28, "No space left on device")


def vasot(command: str, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of a shell command in which $VASOT is the command line."""
    call = f"VASOT='{sys.executable} -m vasot_kit.cli'; {command}"
    done = subprocess.run(
        ["bash", "-c", call], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    return done.returncode, done.stderr


def vasot_in_a_fork(command: str, closed: str, file: Path, unbuffered: bool = False) -> tuple[int, str]:
    """The same without another start of Python, which takes seconds for commands that load torch.

    Args:
        command: the words after ``vasot``.
        closed: streams that are closed, of which Python makes None; standard output goes to a full disk where empty.
        file: gets standard error.
        unbuffered: what is printed is written at once.
    """
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), 2)
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - pytest captures the other one
            if not closed:
                os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
                sys.stdout.reconfigure(write_through=unbuffered)
            for name in closed.split():
                os.close(("stdin", "stdout", "stderr").index(name))
                setattr(sys, name, None)
            code = main(command.split())
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file.read_text()


FULL = (1, "vasot: No space left on device; free space, or write elsewhere\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_one_line(unbuffered: str, tmp_path: Path) -> None:
    assert vasot("$VASOT --help >/dev/full", PYTHONUNBUFFERED=unbuffered) == FULL
    for command in ("methods", "data --json"):
        assert vasot_in_a_fork(command, "", tmp_path / command, bool(unbuffered)) == FULL


def test_closed_streams_are_no_error(tmp_path: Path) -> None:
    assert vasot("$VASOT methods <&- >&- 2>&-") == (0, "")
    for closed in ("stdout", "stderr", "stdin stdout stderr"):
        assert vasot_in_a_fork("methods", closed, tmp_path / closed) == (0, "")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NO_SPACE, "No space left on device; free space, or write elsewhere"),
        (
            PermissionError(13, "Permission denied", "/a/b"),
            "Permission denied: /a/b; check the path and its permissions",
        ),
        (MemoryError(), "the memory does not suffice; use fewer frames"),
        (RuntimeError("can't allocate memory: you tried to allocate 9 bytes."), "the memory does not suffice"),
        (ValueError("I/O error: No space left on device (os error 28)"), "No space left on device; free space"),
        (OSError(30, "Read-only file system", "CACHE/x"), "permissions; VASOT_CACHE names the folder of the cache"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path))
    if isinstance(error, OSError) and str(error.filename).startswith("CACHE"):
        error.filename = str(tmp_path / "x")

    def tutorial(out: Path) -> None:
        raise error

    monkeypatch.setattr(runs, "tutorial", tutorial)
    assert main(["tutorial", "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vasot: ") and says in line


def test_a_fault_of_the_kit_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def tutorial(out: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(runs, "tutorial", tutorial)
    with pytest.raises(ZeroDivisionError):
        main(["tutorial", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    "command",
    [
        ["run", "notebooks/40_train.ipynb"], ["sweep", "grids/methods.yaml"], ["train", "toy", "vasot"],
        ["align", "a.mp4", "b.mp4"], ["segment", "films", "--actions", "2"], ["features", "films"], ["tutorial"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("out", ["/proc/nothing/here", "/dev/null/x", "FILE", "FILE/x", 300 * "x"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    command: list[str], out: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "FILE").touch()
    out = out.replace("FILE", str(tmp_path / "FILE"))
    assert main([*command, "--out", out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written" in line or "is a file; name a folder" in line


def test_numba_without_a_folder_for_its_cache_compiles_for_itself() -> None:
    code = "import vasot_lib.transport.fused.cpu_kernels"
    environment = {**os.environ, "NUMBA_CACHE_DIR": "/proc/nothing"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


# ---- damaged files


@pytest.mark.parametrize(
    "text",
    [
        "!!int x",
        "!!float x",
        "!!timestamp x",
        "!!bool x",
        2000 * "[",
        2000 * "{a: ",
        "? [1]\n: 2",
        "!!python/object:os.x 1",
    ],
)
def test_yaml_of_any_kind_is_read_or_refused_as_yaml(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@pytest.mark.parametrize("text", ["[", "- 1", "null", "!!int x", "\x00", "text", 2000 * "["])
def test_damaged_params_are_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(DataError, match=r"params\.yaml is damaged.*; remove its folder and run again"):
        Run(tmp_path, {"a": 1}).is_finished()


@pytest.mark.parametrize(
    "content",
    [None, 1, [], "text", {}, {"config": {}, "rows": None}, {"config": {}, "rows": [None]},
     {"config": {}, "rows": [{}]}, {"config": {}, "rows": [{"dataset": "toy"}]}],
)  # fmt: skip
def test_damaged_metrics_are_one_line(tmp_path: Path, content: Any) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"metrics\.json is damaged, it has no rows with dataset, method, seed; delete"):
        collect(tmp_path)
    (tmp_path / "metrics.json").write_text(100_000 * "[")
    with pytest.raises(DataError, match=r"metrics\.json is not valid JSON"):
        collect(tmp_path)


def test_a_score_that_is_no_number_is_one_line() -> None:
    row = {"dataset": "toy", "method": "vasot", "seed": 0, "notebook": "n", "mof": "high"}
    with pytest.raises(DataError, match="mof of vasot is 'high'; remove the run"):
        results_tables([row])


CELL = {"cell_type": "code", "source": "x = 1", "metadata": {"tags": ["parameters"]}, "outputs": [], "id": "a",
        "execution_count": None}  # fmt: skip
NOTEBOOK = {"nbformat": 4, "nbformat_minor": 5, "cells": [CELL],
            "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "P"}}}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"cells": None}, {"metadata": None}, {"cells": [None]}, {"nbformat": None}, {"nbformat_minor": None},
     {"metadata": {"kernelspec": None}}, {"cells": [{**CELL, "source": None}]},
     {"cells": [{**CELL, "metadata": None}]}, {"cells": [{**CELL, "cell_type": None}]},
     {"cells": [{**CELL, "metadata": {"tags": None}}]}, {"cells": [{**CELL, "source": 3}]}],
)  # fmt: skip
def test_a_notebook_with_null_fields_is_one_line(
    tmp_path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "n.ipynb"
    file.write_text(json.dumps(NOTEBOOK))
    assert effective_parameters(file, {}) == {"x": 1}
    file.write_text(json.dumps({**NOTEBOOK, **changes}))
    with pytest.raises((DataError, InputError), match=r"is not a notebook|names no kernel") as refused:
        effective_parameters(file, {})
    assert "\n" not in str(refused.value) and capsys.readouterr().err == ""


# ---- the page


def test_keys_of_rows_and_names_of_runs_are_no_code_on_the_page() -> None:
    row = {"dataset": "toy", "method": "vasot", "seed": 0, "mof": 0.5, "<script>alert(1)</script>": "<b>x</b>"}
    tables = results_tables([{**row, "notebook": "<i>n</i>", "run": "r"}], {"r": '"><script>'})
    page = tables["Segmentation"]["toy"]
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>x</b>" not in page and "<i>" not in page
    assert 'href="&quot;&gt;&lt;script&gt;"' in page


def test_the_workers_answer_on_no_page() -> None:
    def answers(url: str) -> bool:
        try:
            return bool(urllib.request.urlopen(url, timeout=2))
        except (OSError, HTTPException):  # 404 among them
            return False

    with _own_workers(1, 1):
        here = psutil.Process()
        places = [place for one in (here, *here.children(recursive=True)) for place in one.net_connections("tcp")]
        ports = {place.laddr.port for place in places if place.status == "LISTEN"}
        assert ports and 8787 not in ports and {p.laddr.ip for p in places if p.status == "LISTEN"} == {"127.0.0.1"}
        urls = [f"http://127.0.0.1:{port}/{page}" for port in ports for page in ("", "status", "health", "metrics")]
        with ThreadPoolExecutor(len(urls)) as pool:  # most say nothing until the time is over
            assert not any(pool.map(answers, urls))


# ---- messages


def test_a_path_is_no_data_set(tmp_path: Path) -> None:
    for name in (str(tmp_path), "./here", "~/x"):
        with pytest.raises(InputError, match="is a path, not the name of a data set; read a folder of features with"):
            find_entry(name)


def test_the_explorer_computes_without_weight_at_any_radius() -> None:
    x, y = toy(2).videos[:2]
    explorer = explore_structure(x, y)
    assert explorer.numbers(alpha=0.0, radius=0.005)["structure"] == 0
    with pytest.raises(InputError, match="window of 0 frames"):
        explorer.numbers(radius=0.005)


def test_films_in_which_nothing_moves_are_refused(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        for k in range(40):
            Image.fromarray(np.full((40, 40, 3), 100, np.uint8)).save(tmp_path / name / f"{k}.png")
    with pytest.raises(DataError, match=r"nothing moves in .*a: its 40 frames have the same features; leave it out"):
        segment_films([tmp_path / name for name in "abc"], 4, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_trap_vasot_trains_slower_on_youtube_instructions() -> None:
    """Its release has lr 1e-4 and weight decay 1e-5 there, ASOT's 1e-3 and 1e-4 (SPEC section 7)."""
    for method, values in (("vasot", (1e-4, 1e-5)), ("vaot", (1e-4, 1e-5)), ("asot", (1e-3, 1e-4))):
        for preset in ("paper", "release"):
            training = make_config("youtube_instructions/cpr", method, preset).training
            assert (training.lr, training.weight_decay) == values
    assert make_config("fifty_salads_mid", "vasot", "paper").training.lr == 1e-3
