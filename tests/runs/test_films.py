"""`vasot train` on a folder of films: from their pixels, with labels or without, to a model for new films."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vasot_kit.cli import main
from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.config import make_config
from vasot_kit.films.media import write_video
from vasot_lib.data import Context, toy
from vasot_lib.errors import DataError, InputError

QUICK = ["--epochs", "1", "-p", "encoder.trunk", "small", "-p", "encoder.frozen", "false", "-p", "encoder.hidden", "8",
         "-p", "encoder.side", "24", "-p", "training.frames", "8"]  # fmt: skip


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generated films with labels; ``videos`` inside is a folder of films without."""
    folder = tmp_path_factory.mktemp("films")
    data = toy(2, 2, background=0.0, render=True)
    for part in ("videos", "groundTruth", "mapping"):
        (folder / part).mkdir()
    for video in data.videos:
        write_video(folder / "videos" / f"{video.name}.mp4", iter(np.asarray(video.frames)), fps=25)
        lines = [data.classes[k] for k in video.labels.tolist()]
        (folder / "groundTruth" / video.name).write_text("\n".join(lines))
    (folder / "mapping" / "mapping.txt").write_text("\n".join(f"{k} {name}" for k, name in enumerate(data.classes)))
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path_factory.getbasetemp() / "cache of films"))


def test_a_folder_of_films_is_read_as_pictures_of_the_size_asked_for(films: Path) -> None:
    labelled, bare = load_dataset(str(films), side=24), load_dataset(str(films / "videos"), side=24, n_actions=3)
    assert labelled.classes == ("step_1", "step_2") and labelled.n_actions == 2 and bare.n_actions == 3
    for data in (labelled, bare):
        assert [video.frames.shape[1:] for video in data.videos] == [(24, 24, 3)] * 2
        assert {video.context for video in data.videos} == {Context()}
    assert all(video.labels is None for video in bare.videos)
    truth = [video.labels.tolist() for video in toy(2, 2, background=0.0).videos]
    assert [video.labels.tolist() for video in labelled.videos] == truth


def test_what_is_for_features_is_refused(films: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stride is for folders of features; .* holds films, of which all fram"):
        load_dataset(str(films), stride=2)
    with pytest.raises(InputError, match="side is 2.5; it must be a whole number of at least 1"):
        load_dataset(str(films), side=2.5)
    (tmp_path / "videos").mkdir()
    with pytest.raises(DataError, match="videos holds no films; put video files or folders of pictures there"):
        load_dataset(str(tmp_path))


def test_a_model_is_trained_scored_and_applied(films: Path, tmp_path: Path) -> None:
    run, out, new = tmp_path / "run", tmp_path / "out", films / "videos" / "toy_00.mp4"
    assert main(["train", str(films), "vasot", "--out", str(run), *QUICK]) == 0
    row = json.loads((run / "metrics.json").read_text())["rows"][0]
    assert row["method"] == "vasot" and 0 < row["mof"] <= 1
    made = json.loads((run / "model.json").read_text())
    assert made["inputs"]["size"] == [24, 24] and made["config"]["preset"] == "auto"
    assert (
        main(["apply", str(run), str(new), "--reference", str(films / "videos" / "toy_01.mp4"), "--out", str(out)]) == 0
    )
    assert {"report.html", "toy_00.csv", "toy_00-correspondence.csv"} <= {file.name for file in out.iterdir()}


def test_without_labels_the_number_of_actions_is_estimated_from_what_moves(films: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", str(films / "videos"), "vasot", "--out", str(run), *QUICK]) == 0
    assert json.loads((run / "model.json").read_text())["n_actions"] >= 2 and (run / "n_actions.json").is_file()


def test_by_default_the_trunk_is_the_network_that_every_machine_can_have(films: Path) -> None:
    config = make_config("own", "vasot", "auto", pixels=True, recordings=load_dataset(str(films), side=24))
    encoder = config.encoder
    assert (encoder.trunk, encoder.weights, encoder.frozen, encoder.side) == ("network", "imagenet", True, 64)
    assert config.training.epochs == make_config("own", "vasot", "kit").training.epochs
