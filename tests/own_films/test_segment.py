"""`vasot segment`: actions are found without labels, and table, timeline and ELAN file say the same about them."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from pympi.Elan import Eaf

from tests.films.films import make_folder
from tests.own_films.toys import record_toys
from vasot_kit.experiments.baselines import equal_split
from vasot_kit.figures import action_style
from vasot_kit.films.media import stream, write_video
from vasot_kit.films.motion import Motion
from vasot_kit.films.recordings import read_recordings
from vasot_kit.own_films import segment as module
from vasot_kit.own_films.apply import apply_model
from vasot_kit.own_films.segment import segment_films
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError, InputError
from vasot_lib.evaluation import score_segmentation

K = 4


class Segmented(NamedTuple):
    dataset: Dataset
    films: list[Path]
    labels: list[np.ndarray]
    out: Path


@pytest.fixture(scope="module")
def segmented(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmented]:
    """Four films whose steps change places and come twice, by defaults."""
    folder = tmp_path_factory.mktemp("segmented")
    dataset, films = record_toys(folder, 4, n_steps=K, background=0, swaps=0.5, repeats=0.3)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VASOT_CACHE", str(own_cache))
        for pair in (films[:2], films[2:]):  # two are decoded in this process, four in processes that take longer
            read_recordings(pair, Motion(), progress=False)
        labels = segment_films(films, K, folder / "out", progress=False)
    yield Segmented(dataset, films, labels, folder / "out")


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open()))


def segment(films: list[Path], k: int, out: Path, **options) -> list[np.ndarray]:
    return segment_films(films, k, out, progress=False, **options)


@pytest.mark.slow
def test_actions_are_found_where_their_order_varies(segmented: Segmented) -> None:
    """Without one label. Seen: MoF .53, F1 .66, the mean of three seeds; an equal split .38 and .42."""
    truth = [video.labels.numpy() for video in segmented.dataset.videos]
    found = score_segmentation(segmented.labels, truth)
    split = score_segmentation([equal_split(len(labels), K) for labels in truth], truth)
    assert found["mof"] > split["mof"] + 0.04 and found["f1"] > split["f1"] + 0.1


@pytest.mark.slow
def test_every_result_is_there_and_names_the_configuration(segmented: Segmented) -> None:
    names = [film.stem for film in segmented.films]
    files = [
        "config.json",
        "model.json",
        "weights.safetensors",
        "segments.csv",
        "timelines.png",
        *("report.html", "result.json"),
        *(f"{name}.{kind}" for name in names for kind in ("csv", "eaf", "vtt", "mp4")),
    ]
    assert sorted(file.name for file in segmented.out.iterdir()) == sorted(files)
    config = json.loads((segmented.out / "config.json").read_text())
    assert (config["command"], config["actions"], config["method"], config["training"]["seed"]) == (
        "segment",
        K,
        "vasot",
        0,
    )
    marks = {json.loads((segmented.out / "model.json").read_text())["mark"]}
    marks |= {row["config"] for file in segmented.out.glob("*.csv") for row in rows(file)}
    with Image.open(segmented.out / "timelines.png") as image:
        marks.add(image.info["Description"].removeprefix("config "))
        assert image.size[0] > image.size[1] > 100
    marks.add(json.loads((segmented.out / "result.json").read_text())["config"])
    for name in names:
        with av.open(str(segmented.out / f"{name}.mp4")) as container:
            marks.add(container.metadata["comment"].removeprefix("config "))
        marks.add((segmented.out / f"{name}.vtt").read_text().splitlines()[2].removeprefix("NOTE config "))
        marks.add(dict(Eaf(str(segmented.out / f"{name}.eaf")).get_properties())["config"])
    assert marks == {config["config"]}


@pytest.mark.slow
def test_tables_have_every_frame_and_every_segment(segmented: Segmented) -> None:
    segments = defaultdict(list)
    for row in rows(segmented.out / "segments.csv"):
        segments[row["recording"]].append((int(row["action"]), float(row["start_seconds"]), float(row["end_seconds"])))
    assert list(segments) == [film.stem for film in segmented.films]
    for film, labels in zip(segmented.films, segmented.labels, strict=True):
        frames = rows(segmented.out / f"{film.stem}.csv")
        assert [int(row["frame"]) for row in frames] == list(range(len(labels)))
        assert [float(row["seconds"]) for row in frames] == pytest.approx(np.arange(len(labels)) / 25, abs=1e-4)
        assert [int(row["action"]) for row in frames] == (labels + 1).tolist()
        again = np.concatenate(
            [np.full(round(25 * (end - start)), action) for action, start, end in segments[film.stem]]
        )
        assert again.tolist() == (labels + 1).tolist()
        assert all(before[0] != after[0] for before, after in pairwise(segments[film.stem]))


@pytest.mark.slow
def test_elan_gets_the_same_segments_without_gaps(segmented: Segmented) -> None:
    table = rows(segmented.out / "segments.csv")
    for film, labels in zip(segmented.films, segmented.labels, strict=True):
        document = Eaf(str(segmented.out / f"{film.stem}.eaf"))
        found = sorted(document.get_annotation_data_for_tier("actions"))
        expected = [
            (
                round(1000 * float(row["start_seconds"])),
                round(1000 * float(row["end_seconds"])),
                f"action {row['action']}",
            )
            for row in table
            if row["recording"] == film.stem
        ]
        assert found == expected
        assert found[0][0] == 0 and found[-1][1] == 40 * len(labels)
        assert all(before[1] == after[0] for before, after in pairwise(found))
        (linked,) = document.get_linked_files()
        assert (segmented.out / linked["RELATIVE_MEDIA_URL"]).resolve() == film.resolve()


@pytest.mark.slow
def test_films_page_and_chapters_tell_the_same_segments(segmented: Segmented) -> None:
    page = (segmented.out / "report.html").read_text()
    shown = json.loads(page.split('id="data">')[1].split("</script>")[0])
    listed = json.loads((segmented.out / "result.json").read_text())
    assert shown["actions"] == listed["actions"] == [f"action {k + 1}" for k in range(K)]
    for film, labels, recording, of_page in zip(
        segmented.films, segmented.labels, listed["recordings"], shown["films"], strict=True
    ):
        expected = [(int(row["action"]) - 1, row) for row in rows(segmented.out / "segments.csv")
                    if row["recording"] == film.stem]  # fmt: skip
        assert [action for action, *_ in of_page["segments"]] == [action for action, _ in expected]
        assert [labels[start] for _, start, *_ in of_page["segments"]] == [action for action, _ in expected]
        shares = [float(row["found_again"]) for _, row in expected]
        assert [share for *_, share in of_page["segments"]] == pytest.approx(shares, abs=1e-3)
        assert 0 <= min(shares) <= max(shares) <= 1
        assert [each["start"] for each in recording["segments"]] == pytest.approx(
            [float(row["start_seconds"]) for _, row in expected], abs=1e-4
        )
        assert len(of_page["pictures"]) == of_page["index"][-1] + 1 == len(labels)
        cues = (segmented.out / f"{film.stem}.vtt").read_text().count(" --> ")
        assert cues == len(expected)


@pytest.mark.slow
def test_the_step_is_burnt_into_each_film(segmented: Segmented) -> None:
    """The picture stays as it was above the name, and the name and the bar have the colour of the action."""
    film, labels = segmented.films[0], segmented.labels[0]
    original = np.array([frame.picture for frame in stream(film)], float)
    burnt = np.array([frame.picture for frame in stream(segmented.out / f"{film.stem}.mp4")], float)
    side = original.shape[1]
    assert burnt.shape == (len(labels), side + 6, side, 3)  # 5 rows of the bar, and one to an even number
    assert np.abs(burnt[:, : side - 20] - original[:, : side - 20]).mean() < 6  # of 255: compression
    colours = np.array([to_rgb(action_style(action).colour) for action in range(K)]) * 255
    for place in (burnt[:, side - 15 : side - 2, 1:3].mean((1, 2)), burnt[3, side + 2][:: side // 8]):
        apart = np.abs(place[:, None] - colours).sum(-1).argmin(1)
        told = labels if len(place) == len(labels) else labels[np.arange(0, side, side // 8) * len(labels) // side]
        assert (apart == told).mean() > 0.95 if len(place) == len(labels) else (apart == told)[1:].all()


@pytest.mark.slow
def test_actions_are_numbered_in_the_order_of_their_mean_time(segmented: Segmented) -> None:
    time = np.concatenate([np.arange(len(labels)) / len(labels) for labels in segmented.labels])
    together = np.concatenate(segmented.labels)
    found = np.unique(together)
    assert found.tolist() == list(range(len(found)))
    assert np.diff([time[together == action].mean() for action in found]).min() > 0


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_films_are_cut_without_training(
    films: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    trained = []
    fit = module.fit
    monkeypatch.setattr(module, "fit", lambda *given, **named: trained.append(given[2].epochs) or fit(*given, **named))
    labels = segment(films[:count], 3, tmp_path / "out")
    assert trained == [0]
    assert [len(each) for each in labels] == [50, 57][:count]
    assert set(np.concatenate(labels).tolist()) == {0, 1, 2}
    assert {row["recording"] for row in rows(tmp_path / "out" / "segments.csv")} == {f.stem for f in films[:count]}


def test_without_a_number_of_actions_it_is_estimated_and_said(
    films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = segment_films(films, None, tmp_path / "out", epochs=1)
    model = json.loads((tmp_path / "out" / "model.json").read_text())
    k = len(model["actions"])
    assert 2 <= k <= 32 and max(each.max() for each in labels) < k
    note = f"{k} actions, estimated without labels; "
    page = (tmp_path / "out" / "report.html").read_text()
    assert note in page and note in capsys.readouterr().out
    assert "to choose another number, give --actions K" in page
    assert (tmp_path / "out" / "n_actions.png").exists()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["actions"] is None
    with pytest.raises(DataError, match="out holds .*; choose another folder"):
        segment(films, k, tmp_path / "out", epochs=1)


def test_the_same_seed_gives_the_same_and_another_needs_another_folder(films: list[Path], tmp_path: Path) -> None:
    first = segment(films, 3, tmp_path / "out")
    again = segment(films, 3, tmp_path / "out")
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for change in (dict(seed=1), dict(epochs=2), dict(features="appearance"), dict(fps=5)):
        with pytest.raises(DataError, match="out holds .*; choose another folder"):
            segment(films, 3, tmp_path / "out", **change)
    with pytest.raises(DataError, match="out holds .*; choose another folder"):
        segment(films, 2, tmp_path / "out")


def test_samples_of_a_folder_of_pictures(tmp_path: Path) -> None:
    """All pictures are used, and fps is how many of them there are a second, for whom the model is applied to too."""
    folder = make_folder(tmp_path / "pictures", range(30))
    (labels,) = segment([folder], 2, tmp_path / "out", features="appearance", fps=10)
    assert len(labels) == 30
    table = rows(tmp_path / "out" / "pictures.csv")
    assert [int(row["frame"]) for row in table] == list(range(30))
    assert float(rows(tmp_path / "out" / "segments.csv")[-1]["end_seconds"]) == pytest.approx(3.0)
    (again,) = apply_model(tmp_path / "out", str(folder), tmp_path / "applied", progress=False).values()
    assert len(again) == 30
    assert "At most 10 frames a second of each film were used." in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (1, "the number of actions is 1; give at least 2, or none to estimate it"),
        (51, "51 actions were asked for but .*toy_00.* only 50 frames; ask for fewer"),
    ],
)
def test_too_few_and_too_many_actions_are_refused(films: list[Path], tmp_path: Path, k: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        segment(films, k, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_films_of_a_few_frames_are_cut_too(films: list[Path], tmp_path: Path) -> None:
    """The radius follows the films, so that its window reaches one frame however short they are."""
    found = segment(films, 3, tmp_path / "out", fps=10)
    assert len(found[0]) == 20 and (tmp_path / "out" / "segments.csv").exists()


def test_no_films_and_two_of_one_name_are_refused(films: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no film was given; give at least one"):
        segment([], 3, tmp_path / "out")
    twin = tmp_path / "toy_00.mp4"
    twin.write_bytes(films[1].read_bytes())
    with pytest.raises(DataError, match="have one name"):
        segment([films[0], twin], 3, tmp_path / "out")
    table = tmp_path / "segments.mp4"
    table.write_bytes(films[1].read_bytes())
    with pytest.raises(DataError, match="a film is called 'segments', as is the table of all films; rename it"):
        segment([films[0], table], 3, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cameras_of_one_event_get_the_same_actions_at_the_same_time(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by itself they differ; one that ends earlier has what the others have until then."""
    monkeypatch.setenv("VASOT_CACHE", str(own_cache))
    pictures = np.stack([frame.picture for frame in stream(record_toys(tmp_path, 1, n_steps=K, background=0)[1][0])])
    noise = np.random.default_rng(0).normal(scale=40, size=pictures.shape)
    shown = {"front": pictures, "side": (pictures[:-7, :, ::-1] + noise[:-7]).clip(0, 255).astype(np.uint8)}
    cameras = [write_video(tmp_path / f"{name}.mp4", film, 25) for name, film in shown.items()]
    alone = segment(cameras, K, tmp_path / "alone")
    together = segment(cameras, K, tmp_path / "together", synchronised=True)
    assert [len(each) for each in together] == [len(pictures), len(pictures) - 7]
    assert together[0][:-7].tolist() == together[1].tolist() and alone[0][:-7].tolist() != alone[1].tolist()
    assert json.loads((tmp_path / "together" / "config.json").read_text())["synchronised"] is True
    slower = write_video(tmp_path / "slower.mp4", pictures, 20)
    with pytest.raises(InputError, match=r"slower.mp4 has 20 .* and front.mp4 25; .* one rate, give --fps 20 or less"):
        segment([cameras[0], slower], K, tmp_path / "none", synchronised=True)
    assert not (tmp_path / "none").exists()
