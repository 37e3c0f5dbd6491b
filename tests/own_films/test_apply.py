"""`vasot apply`: a trained model gives recordings what its own run gave them, and refuses what it was not made for."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pympi.Elan import Eaf

from vasot_kit.cli import main
from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.config import build, make_config
from vasot_kit.films.media import stream
from vasot_kit.folders import load_folder, save_folder
from vasot_kit.own_films import apply as apply_module
from vasot_kit.own_films.apply import apply_model
from vasot_kit.own_films.features import extract_features
from vasot_kit.own_films.segment import segment_films
from vasot_kit.runs import training
from vasot_kit.runs.models import Inputs, name_actions, read_model, write_model
from vasot_kit.runs.training import Training, train_and_score
from vasot_lib.data import Dataset, toy
from vasot_lib.errors import DataError, InputError
from vasot_lib.training import fit

SMALL = {"training.frames": 32}


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a table without the mark of the configuration that wrote it."""
    return [{k: v for k, v in row.items() if k != "config"} for row in csv.DictReader(file.open())]


def apply(run: Path, new: Path | str, out: Path, **options) -> dict[str, np.ndarray]:
    return apply_model(run, str(new), out, progress=False, **options)


def save(folder: Path, dataset: Dataset) -> Path:
    names = {v.name: (v.features.numpy(), [dataset.classes[k] for k in v.labels]) for v in dataset.videos}
    save_folder(folder, names, dataset.classes)
    return folder


def trained(out: Path, dataset: str, method: str, **overrides: int) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "baseline_rows", lambda *_: [])
        train_and_score(Training(dataset, method, "kit", epochs=1, overrides=SMALL | overrides), out)
    return out


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("apply")


@pytest.fixture(scope="module")
def data(home: Path) -> Path:
    """Four recordings of three steps, in a labelled folder."""
    return save(home / "data", toy(4, 3))


@pytest.fixture(scope="module")
def run(home: Path, data: Path) -> Path:
    return trained(home / "run", str(data), "vasot")


@pytest.fixture(scope="module")
def segmented(home: Path, films: list[Path], own_cache: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VASOT_CACHE", str(own_cache))
        segment_films(films, 3, home / "segmented", epochs=1, progress=False)
    yield home / "segmented"


def test_on_its_own_recordings_it_has_the_scores_of_the_training(run: Path, data: Path, tmp_path: Path) -> None:
    apply(run, data, tmp_path / "out")
    (of_run,) = json.loads((run / "metrics.json").read_text())["rows"]
    (applied,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"]
    others = {"dataset", "steps", "mean_cosine", "effective_rank", "changes"}
    scores = {k: v for k, v in of_run.items() if k not in others and not k.startswith("converged_")}
    assert {name: applied[name] for name in scores} == scores
    assert applied["mof_named"] == applied["mof"]  # the names are those that match these recordings best


def test_restarts_are_applied_together(data: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", str(data), "asot", restarts=2)
    apply(run, data, tmp_path / "out")
    (of_run,), (applied,) = (json.loads((f / "metrics.json").read_text())["rows"] for f in (run, tmp_path / "out"))
    assert len(read_model(run).method.members) == 2
    assert (applied["mof"], applied["agreement"]) == (of_run["mof"], of_run["agreement"])


def test_a_recording_gets_the_same_alone_and_named_actions(run: Path, data: Path, tmp_path: Path) -> None:
    apply(run, data, tmp_path / "all")
    found = apply(run, data / "features" / "toy_02.npy", tmp_path / "one")
    table = rows(tmp_path / "one" / "toy_02.csv")
    np.savez(tmp_path / "toy_02.npz", np.load(data / "features" / "toy_02.npy").T)  # as (channels, frames)
    assert apply(run, tmp_path / "toy_02.npz", tmp_path / "turned")["toy_02"].tolist() == found["toy_02"].tolist()
    assert table == rows(tmp_path / "all" / "toy_02.csv") and not (tmp_path / "one" / "metrics.json").exists()
    model = read_model(run)
    video = load_folder(data).videos[2]
    clusters = model.method.segment(video).tolist()
    assert [row["action"] for row in table] == [str(model.actions[model.order[k]]) for k in clusters]
    assert found["toy_02"].tolist() == [model.order[k] for k in clusters]
    assert {row["action"] for row in table} <= {"step_1", "step_2", "step_3", "background"}
    again = [row["action"] for row in rows(tmp_path / "one" / "segments.csv")
             for _ in range(int(row["start_frame"]), int(row["end_frame"]))]  # fmt: skip
    assert again == [row["action"] for row in table]
    assert not list(tmp_path.glob("*/*.eaf")) and (tmp_path / "one" / "timelines.png").is_file()


@pytest.mark.parametrize("names", [("1", "2", "3"), ("action 1", "action 2", "4")])
def test_classes_that_are_called_as_actions_are_stay_apart_from_unmatched_ones(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    """Five actions of three classes: two actions have numbers, which are no names of classes."""
    dataset = replace(toy(3, 3, background=0), classes=names, n_actions=5)
    config = make_config("mine", "asot", seed=0, epochs=0)
    method = build(config, dataset)
    run, out = tmp_path / "run", tmp_path / "out"
    fit(method, dataset, config.training, run / "weights.safetensors", progress=False)
    write_model(run, method, config, Inputs.of(dataset), *name_actions(method, dataset))
    found = apply(run, save(tmp_path / "data", replace(dataset, n_actions=3)), out)
    listed = json.loads((out / "result.json").read_text())
    assert len(set(listed["actions"])) == 5 and set(listed["actions"][:3]) == set(names)
    for recording in listed["recordings"]:
        places = [listed["actions"][k] for k in found[recording["name"]].tolist()]
        assert [row["action"] for row in rows(out / f"{recording['name']}.csv")] == places
        of_table = [row["action"] for row in rows(out / "segments.csv") if row["recording"] == recording["name"]]
        assert of_table == [each["name"] for each in recording["segments"]]
    (scores,) = json.loads((out / "metrics.json").read_text())["rows"]
    assert scores["mof_named"] == pytest.approx(scores["mof"]) and max(map(max, found.values())) > 2


def test_actions_are_looked_for_in_recordings_of_the_same_activity(run: Path, data: Path, tmp_path: Path) -> None:
    """A recording that has its activity for itself can be compared with none."""
    for place, activity in enumerate(("tea", "tea", "coffee")):
        (tmp_path / "new" / "features" / activity).mkdir(parents=True, exist_ok=True)
        shutil.copy(data / "features" / f"toy_0{place}.npy", tmp_path / "new" / "features" / activity)
    apply(run, tmp_path / "new", tmp_path / "all")
    shutil.rmtree(tmp_path / "new" / "features" / "coffee")
    apply(run, tmp_path / "new", tmp_path / "tea")
    table = rows(tmp_path / "all" / "segments.csv")
    assert [row for row in table if row["recording"] != "toy_02"] == rows(tmp_path / "tea" / "segments.csv")
    assert {row["found_again"] for row in table if row["recording"] == "toy_02"} == {""}
    assert "in the other recordings of the same activity" in (tmp_path / "all" / "report.html").read_text()


def test_films_get_what_vasot_segment_gave_them(segmented: Path, films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "notes.txt").write_text("not a feature file")
    for film in films:
        shutil.copy(film, tmp_path / "films")
    apply(segmented, tmp_path / "films", tmp_path / "all")
    apply(segmented, films[1], tmp_path / "one")
    for name in ("segments", *(film.stem for film in films)):
        assert rows(tmp_path / "all" / f"{name}.csv") == rows(segmented / f"{name}.csv")
    name = films[1].stem
    assert rows(tmp_path / "one" / f"{name}.csv") == rows(segmented / f"{name}.csv")
    elan = [Eaf(str(folder / f"{name}.eaf")).get_annotation_data_for_tier("actions")
            for folder in (segmented, tmp_path / "one")]  # fmt: skip
    assert elan[0] == elan[1]


def test_of_a_folder_of_pictures_it_is_said_how_many_a_second_are_assumed(
    segmented: Path, films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "take").mkdir()
    for k, frame in enumerate(stream(films[0])):
        Image.fromarray(frame.picture).save(tmp_path / "take" / f"{k}.png")
    apply(segmented, tmp_path / "take", tmp_path / "out")
    assert (
        "folders of pictures are taken for 30 pictures a second, the rate that the model has" in capsys.readouterr().err
    )
    apply(segmented, films[0], tmp_path / "film")
    assert "pictures a second" not in capsys.readouterr().err


def test_of_long_recordings_some_frames_are_matched(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two recordings of 50,000 frames have a plan of 10 GB."""
    monkeypatch.setattr("vasot_kit.experiments.evaluate.MOST_MATCHED", 50)
    reference = data / "features" / "toy_00.npy"
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    plain = apply_module.plot_plan
    monkeypatch.setattr(apply_module, "plot_plan", lambda *a, **k: (drawn.append(k["frames"]), plain(*a, **k))[1])
    apply(run, reference, tmp_path / "out", reference=str(reference))
    found = rows(tmp_path / "out" / "toy_00-correspondence.csv")
    last = len(np.load(reference)) - 1
    assert [each.tolist() for each in drawn[0]] == 2 * [[int(row["frame_x"]) for row in found]]
    assert len(found) == 50 and (found[0]["frame_x"], found[-1]["frame_x"]) == ("0", str(last))
    assert [row["frame_y"] for row in found if row["frame_y"]] == [row["frame_x"] for row in found if row["frame_y"]]


def test_a_reference_gets_the_matches_of_the_method(run: Path, data: Path, tmp_path: Path) -> None:
    reference = data / "features" / "toy_00.npy"
    apply(run, data / "features" / "toy_01.npy", tmp_path / "out", reference=str(reference))
    y, x = load_folder(data).videos[:2]
    model = read_model(run)
    table = rows(tmp_path / "out" / "toy_01-correspondence.csv")
    matches = [int(row["frame_y"]) if row["frame_y"] else -1 for row in table]
    assert matches == model.method.align(x, y).tolist() and len(table) == len(x)
    shares = [float(row["share_without_partner"]) for row in table]
    assert shares == pytest.approx(model.method.dummy_share(x, y).tolist(), abs=1e-4)
    assert (tmp_path / "out" / "toy_01-alignment.png").is_file()


def test_films_are_aligned_with_seconds(segmented: Path, films: list[Path], tmp_path: Path) -> None:
    apply(segmented, films[1], tmp_path / "out", reference=str(films[0]))
    table = rows(tmp_path / "out" / f"{films[1].stem}-correspondence.csv")
    assert len(table) == 57
    for row in table:
        assert float(row["seconds_x"]) == pytest.approx(int(row["frame_x"]) / 25, abs=1e-4)
        assert not row["frame_y"] or float(row["seconds_y"]) == pytest.approx(int(row["frame_y"]) / 25, abs=1e-4)
    page = (tmp_path / "out" / f"{films[1].stem}-report.html").read_text()
    (shown,) = json.loads(page.split('id="data">')[1].split("</script>")[0])["pairs"]
    assert shown["partner"] == [int(row["frame_y"] or -1) for row in table]
    share = sum(bool(row["frame_y"]) for row in table) / len(table)
    wanted = f"The model matches {share:.0%} of the frames of {films[1].stem} with frames of {films[0].stem}."
    assert shown["verdict"] == wanted
    assert shown["confidence"] == pytest.approx([1 - float(row["share_without_partner"]) for row in table], abs=1e-3)
    assert {*shown["back"]} <= {-1, *range(57)} and max(shown["back"]) >= 0
    assert shown["sure"] == pytest.approx(np.mean(shown["confidence"]), abs=1e-3)


def test_described_films_are_recognised(films: list[Path], home: Path, tmp_path: Path) -> None:
    """vasot features, vasot train and vasot apply in a row: a film or its features give the same."""
    extract_features(films[0].parent, tmp_path / "described", features="appearance", progress=False)
    described = load_folder(tmp_path / "described", n_actions=3)
    config = make_config("mine", "asot", seed=0, epochs=0)
    method = build(config, described)
    run = tmp_path / "run"
    fit(method, described, config.training, run / "weights.safetensors", progress=False)
    write_model(run, method, config, Inputs.of(described, "appearance"), [1, 2, 3], [0, 1, 2])
    by_film = apply(run, films[0], tmp_path / "film")[films[0].stem]
    by_file = apply(run, tmp_path / "described" / "features" / "toy_00.npy", tmp_path / "file")["toy_00"]
    assert by_film.tolist() == by_file.tolist()
    with pytest.raises(InputError, match=r"features in .*data do not say how they were made, but .* on appearance"):
        apply(run, home / "data", tmp_path / "out")


def test_features_are_scaled_as_in_the_training(data: Path, tmp_path: Path) -> None:
    plain = load_folder(data)
    scaled = plain.standardised(shrink=True)
    config = make_config("mine", "asot", seed=0, epochs=0)
    method = build(config, scaled)
    fit(method, scaled, config.training, tmp_path / "run" / "weights.safetensors", progress=False)
    actions, order = name_actions(method, scaled)
    write_model(tmp_path / "run", method, config, Inputs.of(scaled), actions, order)
    found = apply(tmp_path / "run", data, tmp_path / "out")
    for video in scaled.videos:
        assert found[video.name].tolist() == [order[k] for k in method.segment(video)]


def test_the_radius_is_the_same_share_of_a_recording_of_any_length(run: Path, data: Path) -> None:
    """Each frame twice: the same recording at twice the rate. Its window has twice the frames, its actions stay."""
    model = read_model(run)
    video = load_folder(data).videos[0]
    once = model.suited(len(video)).segment(video)
    double = Dataset("twice", (type(video)("twice", video.features.repeat_interleave(2, 0)),)).videos[0]
    twice = model.suited(len(double)).segment(double)
    assert float((twice == once.repeat_interleave(2)).float().mean()) > 0.98
    decode = model.config.hyper.segmentation.decode
    assert model.method.hyper.segmentation.decode.radius == decode.radius
    assert model.suited(10).hyper.segmentation.decode.radius == model.method.hyper.alignment.transport.radius == 0.1


def test_a_recording_of_a_few_frames_does_not_change_the_others(run: Path, data: Path, tmp_path: Path) -> None:
    files = data / "features"
    (tmp_path / "new").mkdir()
    shutil.copy(files / "toy_00.npy", tmp_path / "new")
    np.save(tmp_path / "new" / "short.npy", np.load(files / "toy_01.npy")[:2])  # fewer frames than actions
    found = apply(run, tmp_path / "new", tmp_path / "out", reference=str(files / "toy_01.npy"))
    assert len(found["short"]) == 2
    assert found["toy_00"].tolist() == apply(run, files / "toy_00.npy", tmp_path / "alone")["toy_00"].tolist()


def test_what_it_was_not_trained_on_is_refused(
    run: Path, segmented: Path, data: Path, films: list[Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "narrow.npy", np.zeros((30, 5), np.float32))
    (tmp_path / "empty").mkdir()
    for model, new, message in (
        (run, tmp_path / "narrow.npy", r"narrow.npy has 5 features a frame but the model was trained on 24"),
        (
            run,
            films[0],
            r"toy_00.mp4 is no .npy, .npz, .txt or .csv file .* trained on features from files, 24 a frame",
        ),
        (run, "toy_rendered", r"toy_rendered shows pictures but the model was trained on features"),
        (run, "toi", "toi is neither a file or a folder nor the name of a data set"),
        (segmented, data, r"do not say how they were made, but the model was trained on motion of every frame; name"),
        (segmented, tmp_path / "empty", "empty holds no films"),
    ):
        with pytest.raises((InputError, DataError), match=message):
            apply(model, new, tmp_path / "out")
    shutil.copytree(data, tmp_path / "split")
    (tmp_path / "split" / "splits").mkdir()
    (tmp_path / "split" / "splits" / "train.txt").write_text("".join(f"toy_0{k}\n" for k in range(4)))
    with pytest.raises(DataError, match="part train alone, none to score"):
        apply(run, tmp_path / "split", tmp_path / "out")
    with pytest.raises(InputError, match="the reference holds 4 recordings; name one of them"):
        apply(run, data, tmp_path / "out", reference=str(data))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("asot", {"reference": "toy"}, "method 'asot' does not align; leave the reference out"),
        ("vaot", {}, "method 'vaot' finds no actions of its own; name a recording to align with"),
        ("tw_finch", {}, "is a run of tw_finch, which learns nothing that could be applied"),
    ],
)
def test_what_the_method_does_not_do_is_refused(
    method: str, options: dict, message: str, data: Path, tmp_path: Path
) -> None:
    dataset = load_folder(data)
    config = make_config("mine", method, seed=0, epochs=0)
    model = build(config, dataset)
    fit(model, dataset, config.training, tmp_path / "run" / "weights.safetensors", progress=False)
    (tmp_path / "run").mkdir(exist_ok=True)
    write_model(tmp_path / "run", model, config, Inputs.of(dataset), *name_actions(model, dataset))
    with pytest.raises(InputError, match=message):
        apply(tmp_path / "run", data, tmp_path / "out", **options)
    if method == "vaot":
        assert apply(tmp_path / "run", data, tmp_path / "out", reference=str(data / "features" / "toy_00.npy")) == {}
        assert len(list((tmp_path / "out").glob("*-correspondence.csv"))) == 4


def test_a_run_that_is_unfinished_old_or_damaged_is_one_line(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def says(folder: Path) -> str:
        assert main(["apply", str(folder), str(data), "--out", str(tmp_path / "out")]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    good = (run / "model.json").read_text()
    content = json.loads(good)
    content["config"]["hyper"]["w_new"] = 1.0

    def changed(name: str, value: object, within: str = "") -> str:
        other = json.loads(good)
        (other[within] if within else other)[name] = value
        return json.dumps(other)

    for text, message in (
        (json.dumps(content), "model.json is damaged or of another version (unknown parameter 'hyper.w_new'"),
        (changed("n_actions", "x"), "model.json is damaged or of another version"),
        (changed("actions", ["step_1"]), "model.json is damaged or of another version (actions are ['step_1'], not"),
        (changed("actions", [[1]] * 4), "model.json is damaged or of another version (actions are [[1], "),
        (changed("order", [0, 0, 1, 2]), "model.json is damaged or of another version (order is [0, 0, 1, 2], not"),
        (changed("order", [0, "x", 1, 2]), "model.json is damaged or of another version"),
        (changed("background", 3), "model.json is damaged or of another version (Model.background is 3"),
        (changed("scaling", "foo", "inputs"), "model.json is damaged or of another version (unknown Inputs.scaling"),
        (changed("feature_dim", "x", "inputs"), "model.json is damaged or of another version (Inputs.feature_dim"),
        (changed("method", "nope", "config"), "model.json is damaged or of another version (unknown method 'nope'"),
        ("{", "model.json is not valid JSON"),
        ("[]", "is damaged or of another version"),
        ("{}", "is damaged or of another version"),
        (changed("n_actions", 7), "is damaged"),
        (changed("weights", "0"), "is not what model.json"),
    ):
        (copy / "model.json").write_text(text)
        assert message in says(copy) and "into this folder" in says(copy) or "run the same command again" in says(copy)
    (copy / "model.json").unlink()
    assert "holds weights.safetensors and metrics.json but no model.json, as runs of older versions" in says(copy)
    (copy / "params.yaml").write_text("status: finished\n")
    assert "is a run of a notebook, which keeps no model" in says(copy)
    shutil.copy(run / "model.json", copy)
    (copy / "weights.safetensors").write_bytes(b"damaged")
    assert "weights.safetensors cannot be read" in says(copy)
    (copy / "weights.safetensors").unlink()
    assert "weights.safetensors is missing" in says(copy)
    assert "holds no model.json; name the folder of" in says(data)
    assert "is no folder" in says(tmp_path / "nothing")
    assert not (tmp_path / "out").exists()


def test_pictures_are_shown_to_an_encoder_of_pictures(films: list[Path], tmp_path: Path) -> None:
    dataset = load_dataset("toy_rendered")
    small = Dataset("few", dataset.videos[:2], dataset.classes, dataset.n_actions, dataset.background)
    config = make_config("toy_rendered", "vaot", seed=0, epochs=0)
    method = build(config, small)
    fit(method, small, config.training, tmp_path / "run" / "weights.safetensors", progress=False)
    write_model(tmp_path / "run", method, config, Inputs.of(small), [], [])
    apply(tmp_path / "run", films[0], tmp_path / "out", reference=str(films[1]))
    assert len(rows(tmp_path / "out" / "toy_00-correspondence.csv")) == 50
    assert torch.equal(read_model(tmp_path / "run").method.embed(small.videos[0]), method.embed(small.videos[0]))
