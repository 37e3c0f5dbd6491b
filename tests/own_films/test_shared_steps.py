"""`vasot key-steps`: the key steps of trained models as a table, a picture and scores, with and without labels."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.own_films.test_apply import save, trained
from vasot_kit.cli import main
from vasot_kit.experiments.baselines import equal_split
from vasot_kit.experiments.key_steps import key_steps, score_key_steps
from vasot_kit.figures import plot_key_steps
from vasot_kit.folders import load_folder
from vasot_kit.own_films.key_steps import write_key_steps
from vasot_kit.runs.models import read_model
from vasot_kit.runs.training import Training, train_and_score
from vasot_lib.data import toy
from vasot_lib.errors import InputError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In ``data`` four labelled recordings of three steps and a background, so of four classes; and trained models."""
    home = tmp_path_factory.mktemp("key_steps")
    save(home / "data", toy(4, 3))
    for method in ("vaot", "asot"):
        trained(home / method, str(home / "data"), method)
    return home


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open()))


def test_all_ways_are_scored_and_written(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["key-steps", str(home / "data"), str(home / "vaot"), str(home / "asot"), "--out", str(out)]) == 0
    data, scores = load_folder(home / "data"), rows(out / "scores.csv")
    both = [(name, way) for name in ("raw", "vaot", "asot") for way in ("clustering", "cut", "shared")]
    ways = [("equal_split", ""), *both, ("asot", "segmentation")]
    assert [(row["embeddings"], row["way"]) for row in scores] == ways
    truths = [video.labels.numpy() for video in data.videos]
    embedded = [read_model(home / "vaot").method.embed(video).numpy() for video in data.videos]
    for way, found in (
        (("equal_split", ""), [equal_split(len(video), 4) for video in data.videos]),
        (("vaot", "cut"), key_steps(embedded, 4)),
    ):
        row = scores[ways.index(way)]
        expected = {name: f"{value:.4f}" for name, value in score_key_steps(found, truths).items()}
        assert {name: row[name] for name in expected} == expected
    table = [row for row in rows(out / "key_steps.csv") if (row["embeddings"], row["way"]) == ("equal_split", "")]
    assert [row["step"] for row in table] == ["1", "2", "3", "4"] * 4
    assert [row["recording"] for row in table[::4]] == [video.name for video in data.videos]
    assert [row["end_frame"] for row in table[3::4]] == [str(len(video)) for video in data.videos]
    assert (out / "key_steps.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "equal_split" in printed and printed.splitlines()[0].split() == ["precision", "recall", "f1", "iou"]


def test_recordings_without_labels_get_a_table_and_a_picture(home: Path, tmp_path: Path) -> None:
    unlabelled, run, out = tmp_path / "plain", tmp_path / "run", tmp_path / "out"
    unlabelled.mkdir()
    for video in load_folder(home / "data").videos:
        np.save(unlabelled / f"{video.name}.npy", video.features.numpy())
    train_and_score(
        Training(str(home / "data"), "vaot", "kit", epochs=1, overrides={"training.frames": 32}, n_actions=5), run
    )
    assert main(["key-steps", str(unlabelled), str(run), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "key_steps.csv", "key_steps.png"]
    assert {row["step"] for row in rows(out / "key_steps.csv")} == {"1", "2", "3", "4", "5"}


def test_too_many_recordings_to_be_linked_are_said(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vasot_kit.experiments.segments.MOST_RECORDINGS", 3)
    write_key_steps(str(home / "data"), [home / "vaot"], tmp_path / "out")
    said = capsys.readouterr().out
    assert "no shared steps: they need 2 to 60 recordings (fewer where steps are short; these are 4), and" in said


def test_several_activities_are_said_to_be_taken_together(home: Path, tmp_path: Path) -> None:
    for k, video in enumerate(load_folder(home / "data").videos):
        place = tmp_path / "two" / "features" / ("tea", "coffee")[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{video.name}.npy", video.features.numpy())
    with pytest.warns(UserWarning, match="two holds the activities coffee, tea, and their key steps are looked for"):
        write_key_steps(str(tmp_path / "two"), [home / "vaot"], tmp_path / "out", steps=3)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["vaot", "../{home}/vaot"], "vaot is named twice; name it once"),
        (["vaot", "raw/vaot"], "are called vaot, vaot; give each a name of its own"),
        (["data"], "no model.json"),
    ],
)
def test_bad_runs_are_refused(
    runs: list[str], message: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "vaot", home / "raw" / "vaot", dirs_exist_ok=True)
    folders = [str(home / run.format(home=home.name)) for run in runs]
    assert main(["key-steps", str(home / "data"), *folders, "--out", str(tmp_path / "out")]) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_number_of_steps_is_asked_for_where_runs_differ(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    train_and_score(
        Training(str(home / "data"), "asot", "kit", epochs=1, overrides={"training.frames": 32}, n_actions=2), other
    )
    call = ["key-steps", str(home / "data"), str(home / "vaot"), str(other), "--out", str(tmp_path / "out")]
    assert main(call) == 2
    assert "{'vaot': 4, 'asot': 2} actions; say how many key steps to look for: --steps K" in capsys.readouterr().err
    assert main([*call, "--steps", "0"]) == 2
    assert "steps is 0" in capsys.readouterr().err
    assert main([*call, "--steps", "3"]) == 0


def test_bad_numbers_are_one_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["key-steps", str(home / "data"), str(home / "vaot"), "--out", str(tmp_path / "out")]
    shortest = min(load_folder(home / "data").videos, key=len)
    for options, message in (
        (["--seed", "-1"], "seed is -1; it must be a whole number of at least 0"),
        (["--steps", "5000"], f"5000 key steps are looked for but recording '{shortest.name}' has {len(shortest)} fra"),
    ):
        assert main([*call, *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (tmp_path / "out").exists()


def test_the_figure_has_a_panel_per_recording_and_a_bar_per_way() -> None:
    bars = {"truth": np.array([0, 0, 1, 2]), "cut": np.array([0, -1, 1, 1])}
    figure = plot_key_steps({"one": bars, "two": bars, "three": bars}, ["a", "b", "c"])
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["one", "two", "three"]
    assert all(len(axes.patches) == 6 for axes in panels)  # three segments a bar
    with pytest.raises(InputError, match="all the same bars"):
        plot_key_steps({"one": bars, "two": {"truth": bars["truth"]}}, ["a", "b", "c"])
    with pytest.raises(InputError, match="at least one recording"):
        plot_key_steps({}, [])
