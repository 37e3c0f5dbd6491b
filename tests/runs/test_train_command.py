"""One training by `vasot train`: what it records, goes on with, replaces and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.runs.test_training_runs import PLAIN, SMALL, one_thread  # noqa: F401
from vasot_kit.cli import main
from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.auto import well_scaled
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import baseline_rows, evaluate
from vasot_kit.experiments.n_actions import ActionCount
from vasot_kit.folders import load_folder, save_folder
from vasot_kit.runs import training
from vasot_kit.runs.records import collect, record
from vasot_kit.runs.training import Training, train_and_score
from vasot_lib.data import toy
from vasot_lib.errors import DataError, InputError
from vasot_lib.training import fit, load_checkpoint

ARGUMENTS = ("-p", "training.frames", "32", "-p", "training.lr", "2e-3")
CHANGED = {"training.frames": 32, "training.lr": 2e-3}


def vasot_train(out: Path, epochs: int, method: str = "asot") -> int:
    return main(["train", "toy", method, "--seed", "1", "--epochs", str(epochs), *ARGUMENTS, "--out", str(out)])


def test_train_records_what_the_library_computes_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    baselines = baseline_rows(load_dataset("toy"), 1)
    monkeypatch.setattr(training, "baseline_rows", lambda dataset, seed, preset: baselines)
    out = tmp_path / "run"
    assert vasot_train(out, 1) == 0
    assert vasot_train(out, 2) == 0
    assert capsys.readouterr().out == f"wrote {out / 'metrics.json'}\n" * 2

    config = make_config("toy", "asot", seed=1, epochs=2, overrides=CHANGED)
    data = load_dataset("toy")
    method = build(config, data)
    history = fit(method, data, config.training, progress=False)
    loaded = build(config, data)
    assert load_checkpoint(out / "weights.safetensors", loaded) == history
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in method.state_dict().items())

    row, *others = collect(tmp_path)
    # 12 videos in batches of 2, twice.
    expected = {"dataset": "toy", "method": "asot", "preset": "kit", "seed": 1, "steps": 12, **evaluate(method, data)}
    expected |= {name: history[-1][name] for name in ("mean_cosine", "effective_rank", "converged_segmentation")}
    expected |= {"changes": json.dumps({**CHANGED, "training.epochs": 2}), "notebook": "train", "run": "run"}
    assert row == expected
    assert [other["method"] for other in others] == [baseline["method"] for baseline in baselines]
    content = json.loads((out / "metrics.json").read_text())
    assert content["config"] == config.as_dict() and content["data"] == {"toy": data.checksum()}

    assert vasot_train(out, 1) == 2  # its weights have seen 2
    assert "holds 2 epochs but 1 were asked for" in capsys.readouterr().err
    assert vasot_train(out, 2, "vaot") == 1
    assert "made by another configuration" in capsys.readouterr().err


def test_baselines_have_the_seed_of_the_training_wherever_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(training, "baseline_rows", lambda data, seed, preset: asked.append(seed) or [])
    train_and_score(Training("toy", "asot", epochs=0, overrides={**SMALL, "training.seed": 5}), tmp_path / "run")
    assert asked == [5]


def test_train_says_that_a_training_collapsed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapses(*given: Any, **named: Any) -> list[dict[str, float]]:
        *before, last = fit(*given, **named)
        return [*before, {**last, "mean_cosine": 0.999, "effective_rank": 1.29}]

    monkeypatch.setattr(training, "fit", collapses)
    assert vasot_train(tmp_path / "run", 1, "vaot") == 0
    said = "vasot: warning: the training collapsed: the embeddings of all frames are nearly equal (mean cosine 1.00, "
    assert said in capsys.readouterr().err


def test_train_reads_a_folder_by_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features of every third frame, labels in seconds, and a few labels too many."""
    monkeypatch.setattr(training, "baseline_rows", lambda *_: [])
    data, folder = toy(3), tmp_path / "mine"
    names = {video.name: [data.classes[k] for k in video.labels.tolist()] for video in data.videos}
    save_folder(folder, {v.name: (v.features.numpy(), names[v.name]) for v in data.videos}, data.classes)
    plain = load_folder(folder)

    def train(*options: str) -> int:
        words = ["train", str(folder), "asot", "--epochs", "1", "-p", "training.frames", "16"]
        return main([*words, *options, "--out", str(tmp_path / f"run{len(options)}")])

    for name, labels in names.items():
        lines = [f"{k / 10:.1f} {(k + 1) / 10:.1f} {label}\n" for k, label in enumerate(labels)]
        (folder / "groundTruth" / name).write_text("".join(lines))
    assert train() == 1
    assert "a time interval; give its first and last frame" in capsys.readouterr().err
    assert train("--fps", "30", "--stride", "3") == 0
    content = json.loads((tmp_path / "run4" / "metrics.json").read_text())
    assert content["data"] == {"mine": well_scaled(plain).checksum()}
    first = min(names)
    with (folder / "groundTruth" / first).open("a") as file:
        file.write(f"{len(names[first]) / 10:.1f} 999.0 {names[first][-1]}\n")
    assert train("--fps", "30", "--stride", "3") == 1
    assert "correct one of them or pass trim=True (--trim)" in capsys.readouterr().err
    assert train("--fps", "30", "--stride", "3", "--trim") == 0
    content = json.loads((tmp_path / "run5" / "metrics.json").read_text())
    assert content["data"] == {"mine": well_scaled(plain).checksum()}


def test_train_takes_a_folder_without_labels_and_estimates_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = tmp_path / "mine" / "features"
    features.mkdir(parents=True)
    for video in toy(3).videos:
        np.save(features / f"{video.name}.npy", video.features.numpy())

    def train(out: Path, *options: str) -> dict[str, Any]:
        words = ["train", str(tmp_path / "mine"), "asot", "--epochs", "1", "-p", "training.frames", "16"]
        assert main([*words, *options, "--out", str(out)]) == 0
        (row,) = json.loads((out / "metrics.json").read_text())["rows"]
        return {**row, "actions": json.loads((out / "model.json").read_text())["actions"]}

    row = train(tmp_path / "run")
    k = json.loads(row["changes"])["K"]
    assert f"{k} actions, estimated without labels; " in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "n_actions.json").read_text())["n_actions"] == k
    assert row["actions"] == list(range(1, k + 1)) and row["steps"] > 0 and "mof" not in row
    assert 0 < row["found_again"] <= 1 and 0 < row["agreement"] <= 1
    assert train(tmp_path / "given", "--actions", "4")["actions"] == [1, 2, 3, 4]
    assert not (tmp_path / "given" / "n_actions.json").exists()


def test_more_epochs_go_on_with_the_number_that_was_estimated_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another number of epochs gives another estimate, with which the first weights would be refused."""
    mine = tmp_path / "mine"
    mine.mkdir()
    for video in toy(3).videos:
        np.save(mine / f"{video.name}.npy", video.features.numpy())
    curve = np.array([2, 3]), np.array([0.1, 0.3]), np.zeros(2)
    monkeypatch.setattr(training, "count_actions", lambda _, __, epochs, **___: ActionCount(2 + epochs, (3, 5), *curve))
    words = ["train", str(mine), "asot", "-p", "training.frames", "16", "-p", "restarts", "1"]
    with monkeypatch.context() as stopped:  # after the first epoch

        def interrupted(*arguments: Any) -> None:
            _compute(*arguments)
            raise KeyboardInterrupt

        _compute = training._compute
        stopped.setattr(training, "_compute", interrupted)
        assert main([*words, "--epochs", "1", "--out", str(tmp_path / "run")]) == 130
    for epochs in "23":
        assert main([*words, "--epochs", epochs, "--out", str(tmp_path / "run")]) == 0
        assert json.loads((tmp_path / "run" / "n_actions.json").read_text())["n_actions"] == 3
    assert (tmp_path / "run" / "n_actions.png").is_file()
    assert f"vasot apply {tmp_path / 'run'} {mine} --out DIR" in capsys.readouterr().out
    aligning = ["train", str(mine), "vaot", "--epochs", "0", "--out", str(tmp_path / "aligning")]
    assert main(aligning) == 0 and "To see its actions" not in capsys.readouterr().out  # it finds none
    (tmp_path / "run" / "n_actions.json").write_text('{"n_actions": 3}')
    assert main([*words, "--epochs", "4", "--out", str(tmp_path / "run")]) == 1
    assert (
        "n_actions.json is damaged: it does not hold the estimate of a training; remove it" in capsys.readouterr().err
    )


def test_an_estimate_is_used_again_for_what_it_was_made_from_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupted training, or one whose weights were removed, leaves an estimate and no weights."""
    folders, out = [tmp_path / name for name in ("one", "other")], tmp_path / "run"
    for k, folder in enumerate(folders):
        save_folder(folder, {v.name: (v.features.numpy(), None) for v in toy(3, seed=k).videos}, [])
    curve = np.array([2, 3]), np.array([0.1, 0.3]), np.zeros(2)
    counted: list[str] = []

    def count(data: Any, *_: Any, **__: Any) -> ActionCount:
        counted.append(data.name)
        return ActionCount(3 + len(counted), (3, 9), *curve)

    monkeypatch.setattr(training, "count_actions", count)

    def k_of(folder: Path, *options: str) -> int:
        (out / "weights.safetensors").unlink(missing_ok=True)
        words = ["train", str(folder), "asot", "--epochs", "0", "-p", "restarts", "1", *options, "--out", str(out)]
        assert main(words) == 0
        return json.loads((out / "model.json").read_text())["n_actions"]

    assert (k_of(folders[0]), "as kept in" in capsys.readouterr().out) == (4, False)
    assert (k_of(folders[0]), "as kept in" in capsys.readouterr().out) == (4, True)
    assert (k_of(folders[1]), k_of(folders[1], "--seed", "1"), k_of(folders[1], "--epochs", "1")) == (5, 6, 7)
    assert counted == ["one", "other", "other", "other"]
    for damaged in (False, True):  # a number that is given needs no estimate, and what one left would tell a lie
        (out / "n_actions.json").write_text("{" if damaged else json.dumps({"n_actions": 9}))
        (out / "n_actions.png").touch()
        assert k_of(folders[1], "--actions", "5") == 5 and not list(out.glob("n_actions.*"))


def test_a_run_of_a_method_that_learns_nothing_and_another_run_do_not_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "baseline_rows", lambda *_: [])
    trained = Training("toy", "asot", epochs=0, overrides=SMALL)
    plain = Training("toy", "tw_finch")
    others = replace(plain, dataset="toy_swapped"), replace(plain, preset="paper"), replace(plain, seed=5)
    for case, (first, second) in enumerate([(trained, plain), (plain, trained), *((plain, other) for other in others)]):
        out = tmp_path / str(case)
        train_and_score(first, out)
        before = {file.name: file.read_bytes() for file in out.iterdir()}
        with pytest.raises(DataError, match="another configuration.*; remove it or choose another folder"):
            train_and_score(second, out)
        assert before == {file.name: file.read_bytes() for file in out.iterdir()}
        train_and_score(first, out)
    train_and_score(replace(plain, epochs=7), tmp_path / "4")  # which changes nothing


def test_the_folder_of_a_run_of_a_notebook_is_refused(tmp_path: Path) -> None:
    record([{"dataset": "toy", "method": "asot", "seed": 0}], {}, dataset_checksums={}, notebook="n", folder=tmp_path)
    (tmp_path / "params.yaml").write_text("status: finished\n")
    before = (tmp_path / "metrics.json").read_bytes()
    with pytest.raises(DataError, match="holds a run of a notebook.*; remove it or choose another folder"):
        train_and_score(Training("toy", "asot", epochs=0, overrides=SMALL), tmp_path)
    assert (tmp_path / "metrics.json").read_bytes() == before


def test_scores_do_not_stand_beside_weights_of_more_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UFSA does not go on for more epochs, and another seed is refused: then all stays as it is."""
    monkeypatch.setattr(training, "baseline_rows", lambda *_: [])

    def interrupted(*arguments: Any, **named: Any) -> None:
        fit(*arguments, **named)
        raise KeyboardInterrupt

    for method, seed, stays in (("asot", 0, False), ("asot", 1, True), ("ufsa", 0, True)):
        out, one = tmp_path / f"{method}{seed}", Training("toy", method, epochs=1, overrides=SMALL)
        train_and_score(one, out)
        before = {file.name: file.read_bytes() for file in out.iterdir()}
        with monkeypatch.context() as patch:
            patch.setattr(training, "fit", interrupted)
            with pytest.raises(DataError if stays else KeyboardInterrupt):
                train_and_score(replace(one, epochs=2, seed=seed), out)
        if stays:
            assert before == {file.name: file.read_bytes() for file in out.iterdir()}
        else:
            assert [file.name for file in out.iterdir()] == ["weights.safetensors"] and not collect(tmp_path)


def test_a_split_that_leaves_none_to_score_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = toy(3), tmp_path / "mine"
    names = {v.name: (v.features.numpy(), [data.classes[k] for k in v.labels]) for v in data.videos}
    save_folder(folder, names, data.classes, {"splits/train.txt": "".join(f"{name}\n" for name in names)})
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DataError, match="part train alone, none to score"):
        train_and_score(Training(str(folder), "asot", "kit", epochs=0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "vasot", "--stride", "3", "--trim"], "stride, trim is for folders of features; 'toy' is a data set"),
        (["toy", "vasto"], "did you mean 'vasot'"),
        (["toi", "vasot"], "did you mean 'toy'"),
        (["toy", "vasot", "--preset", "papr"], "did you mean 'paper'"),
        (["toy", "vasot", "-p", "training.lrr", "1"], "did you mean 'training.lr'"),
        (["toy", "vasot", "-p", "training.accumulate", "0"], "accumulate is 0"),
        (["toy", "vasot", "-p", "training.precision", "fp16"], "unknown training.precision 'fp16'"),
        (["toy", "vasot", "--seed", "0", "-p", "training.seed", "3"], "--seed and -p training.seed are both given"),
        (["toy", "vasot", "--epochs", "4", "-p", "training.epochs", "3"], "--epochs and -p training.epochs are both"),
    ],
)
def test_bad_use_of_train_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vasot: ") and message in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "overrides", "message"),
    [
        ("vasot", {}, "has one video, 'a'; a pair needs two"),  # before K is estimated, which takes long
        ("asot", {"restarts": 0}, "restarts is 0"),
    ],
)
def test_a_training_that_cannot_begin_leaves_no_folder(
    method: str, overrides: dict[str, int], message: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "a.npy", np.random.default_rng(0).normal(size=(80, 4)).cumsum(0))
    with pytest.raises(InputError, match=message):
        train_and_score(Training(str(tmp_path / "mine"), method, overrides=overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_error_on_the_way_removes_a_new_folder_that_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise InputError("the loss became NaN")

    monkeypatch.setattr(training, "fit", fails)
    (tmp_path / "old").mkdir()
    for out, stays in (("new", False), ("old", True)):
        with pytest.raises(InputError, match="the loss became NaN"):
            train_and_score(Training("toy", "asot", epochs=1), tmp_path / out)
        assert (tmp_path / out).exists() == stays


def test_a_refused_training_leaves_the_count_of_the_one_that_is_there(tmp_path: Path) -> None:
    folder, out = tmp_path / "mine", tmp_path / "run"
    folder.mkdir()
    for video in toy(3, 3, seed=4).videos:
        np.save(folder / f"{video.name}.npy", video.features.numpy())
    one = Training(str(folder), "asot", "kit", epochs=1, overrides=SMALL)
    train_and_score(one, out)
    before = (out / "n_actions.json").read_bytes()
    (out / "n_actions.json").write_bytes(before + b" ")  # so that another estimate of the same number shows as well
    with pytest.raises(DataError, match="made by another configuration"):
        train_and_score(replace(one, seed=1), out)
    assert (out / "n_actions.json").read_bytes() == before + b" "
