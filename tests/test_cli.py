"""The command line: exit codes, one-line errors, JSON that says what the registries say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vasot_kit import cli
from vasot_kit.book import tutorial as runs
from vasot_kit.cli import main
from vasot_kit.datasets.registry import DATASETS
from vasot_kit.methods import METHODS
from vasot_kit.runs import notebook as runner
from vasot_lib import __version__
from vasot_lib.errors import DataError

COMMANDS = (
    *("run", "sweep", "train", "align", "segment", "key-steps", "features"),
    *("data", "methods", "bench", "new", "tutorial", "book"),
)


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing was printed to stdout."""
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    assert line.startswith("vasot: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["trai"], "Did you mean 'train'"),
        (["allign", "a.mp4"], "Did you mean 'align'"),
        (["new"], "Missing argument 'FOLDER'"),
        (["run"], "Missing argument 'NOTEBOOK'. See vasot run --help"),
        (["data", "--nothing"], "No such option '--nothing'"),
        (["train", "toy", "vasot", "--epoch", "3"], "Did you mean '--epochs'"),
        (["run", "n.ipynb", "-p", "seed"], "Option '-p' requires 2 arguments"),
        (["align", "--out", "o"], "Missing argument 'FILM...'"),
        (["align", "a.mp4", "b.mp4"], "Missing option '--out'"),
        (["segment", "films", "--actions", "3"], "Missing option '--out'"),
        (["segment", "films", "--out", "o", "--actions", "many"], "'many' is not a valid integer"),
        (["features", "films"], "Missing option '--out'. See vasot features --help"),
        (["bench", "solver", "--seconds", "nan"], "--seconds is nan; it must be a finite number of at least 0"),
        (["bench", "solver", "--json", "."], "--json . is a folder; name a file"),
        (["new", ""], "'FOLDER' is empty; name a file or folder"),
        (["train", "toy", "vasot", "--out", ""], "'--out' is empty; name a file or folder"),
        (["train", "toy", "vasot", "--epochs", "2", "-p", "training.epochs", "3", "--out", "o"], "leave one out"),
        (["bench", "solve"], "'solve' is not one of 'solver', 'training', 'pixels'"),
    ],
)
def test_bad_use_is_one_line_and_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in complaint(capsys)


def test_the_bare_command_shows_its_help_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("Usage: vasot ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: vasot {command} ")
    assert f"Example: vasot {command}" in out
    assert max(map(len, out.splitlines())) <= 120


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vasot {__version__}\n"


def test_a_shell_completes_commands_and_options() -> None:
    command = [sys.executable, "-m", "vasot_kit.cli"]
    for words, place, expected in (
        ("vasot al", "1", "plain,align\n"),
        ("vasot train toy vasot --ep", "4", "plain,--epochs\n"),
    ):
        asked = {"COMP_WORDS": words, "COMP_CWORD": place, "_VASOT_COMPLETE": "bash_complete"}
        done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
        assert done.stdout == expected
    asked = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert 'eval "$(_VASOT_COMPLETE=bash_source vasot)"' in asked.stdout
    script = {"_VASOT_COMPLETE": "zsh_source"}
    done = subprocess.run(command, env=os.environ | script, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("#compdef vasot")


@pytest.mark.parametrize("value", ["-0.5", "--x", "-p"])
def test_a_value_may_begin_with_a_dash(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(runner, "run_notebook", lambda notebook, parameters, out: seen.update(parameters))
    assert main(["run", "n.ipynb", "-p", "x", value]) == 0
    assert str(seen["x"]) == value


def test_help_names_every_command_and_loads_no_torch() -> None:
    code = (
        "import sys; from vasot_kit.cli import main\ntry: main(['--help'])\nfinally: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


def test_unknown_data_set_exits_with_2_and_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "mocap"]) == 2
    line = complaint(capsys)
    assert "did you mean 'mocap6'" in line
    assert all(name in line for name in DATASETS)


def test_data_takes_a_name_or_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--list", "toy"]) == 2
    assert "not both" in complaint(capsys)


def test_absent_data_set_exits_with_1_and_names_its_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VASOT_DATA", str(tmp_path))
    assert main(["data", "hapt"]) == 1
    assert DATASETS["hapt"].command in complaint(capsys)


@pytest.mark.parametrize("arguments", [["data", "--json"], ["data", "--list", "--json"]])
def test_list_of_data_sets_as_json(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VASOT_DATA", str(tmp_path))
    assert main(arguments) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(DATASETS)
    assert rows["toy"]["here"] is True
    assert rows["hapt"]["here"] is False
    assert rows["hapt"]["frames"] == DATASETS["hapt"].frames
    assert rows["hapt"]["licence"] == DATASETS["hapt"].licence
    assert rows["breakfast"]["activities"] == DATASETS["breakfast"].activities
    assert all(rows[name]["command"] == entry.command for name, entry in DATASETS.items())


def test_list_of_data_sets_as_text_has_one_line_each_and_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    table, activities = out.split("\n\n")
    header, *lines = table.splitlines()
    assert header.split()[0] == "name"
    assert [line.split()[0].removesuffix("/...") for line in lines] == list(DATASETS)
    assert max(map(len, out.splitlines())) <= 120
    for line, entry in zip(lines, DATASETS.values(), strict=True):
        # The header holds the words that all commands begin with.
        assert line.endswith(entry.command.removeprefix("python -m data_scripts.") or "built in")
        assert entry.licence in line
    lines = activities.replace("\n  ", " ").splitlines()  # long lines go on, indented
    for name, entry in DATASETS.items():
        listed = ", ".join(f"{activity} {k}" for activity, k in entry.activities.items())
        assert (f"{name}/: {listed}" in lines) == bool(entry.activities)


def test_data_set_is_loaded_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "toy", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    entry = DATASETS["toy"]
    assert (summary["videos"], summary["frames"], summary["features"]) == (entry.videos, entry.frames, entry.dim)
    assert summary["title"] == entry.title
    assert main(["data", "toy"]) == 0
    assert f"frames    {entry.frames}" in capsys.readouterr().out


def test_an_activity_is_missing_or_absent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VASOT_DATA", str(tmp_path))
    assert main(["data", "breakfast"]) == 2
    assert "name one of breakfast/cereals, " in complaint(capsys)
    assert main(["data", "breakfast/tea"]) == 1
    assert DATASETS["breakfast"].command in complaint(capsys)


def test_list_of_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(METHODS)
    paper = {"vaot", "asot", "vasot", "tcc", "lav", "vava", "gtcc", "tot", "ufsa", "cte", "tw_finch"}
    assert paper <= rows.keys()  # every system of the tables
    for name, method in METHODS.items():
        assert (tuple(rows[name]["tasks"]), rows[name]["paired"]) == (tuple(method.tasks), method.paired)
        assert rows[name]["about"]
    assert main(["methods"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(METHODS) + 1


def test_run_reads_values_as_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run_notebook(notebook: Path, parameters: dict[str, Any], out: Path) -> Path:
        seen.update(parameters, notebook=notebook, out=out)
        return out / "here"

    monkeypatch.setattr(runner, "run_notebook", run_notebook)
    given = {
        "seed": "3",
        "lr": "1e-3",
        "name": "vasot",
        "text": '"1e-3"',
        "none": "null",
        "flag": "true",
        "l": "[1, a]",
    }
    arguments = [word for name, value in given.items() for word in ("-p", name, value)]
    assert main(["run", "some/n.ipynb", *arguments, "--out", "there"]) == 0
    assert seen == {
        "seed": 3, "lr": 0.001, "name": "vasot", "text": "1e-3", "none": None, "flag": True, "l": [1, "a"],
        "notebook": Path("some/n.ipynb"), "out": Path("there"),
    }  # fmt: skip


def test_run_with_a_value_that_is_no_yaml_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "n.ipynb", "-p", "seed", "[1"]) == 2
    assert "parameter 'seed' is not YAML" in complaint(capsys)
    assert main(["run", "n.ipynb", "-p", "seed", "1", "-p", "seed", "2"]) == 2
    assert "parameter 'seed' is given twice, the second time as '2'; give it once" in complaint(capsys)


def test_run_of_a_missing_notebook_exits_with_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", str(tmp_path / "none.ipynb"), "--out", str(tmp_path / "out")]) == 1
    assert "there is no notebook" in complaint(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("error", "code"), [(DataError("a\nb"), 1), (KeyboardInterrupt(), 130)])
def test_what_stops_a_command_is_one_line(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tutorial(out: Path) -> None:
        raise error

    monkeypatch.setattr(runs, "tutorial", tutorial)
    assert main(["tutorial"]) == code
    assert complaint(capsys) in ("vasot: a b", "vasot: interrupted")


@pytest.mark.parametrize(("command", "unbuffered"), [("methods", ""), ("--help", ""), ("--help", "1")])
def test_reader_that_stops_early_is_no_error(command: str, unbuffered: str) -> None:
    call = f"{sys.executable} -m {cli.__name__} {command} | true; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr) == ("0\n", "")
