"""Breakfast, YouTube Instructions, 50 Salads and Desktop Assembly as their users have them, in miniature."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_scripts.common.script import PublishedFacts
from vasot_kit.datasets import load_dataset
from vasot_kit.folders import load_folder
from vasot_kit.folders.files import read_labels, read_merged_mapping
from vasot_lib.errors import DataError

MID = [
    "cut_tomato", "place_tomato_into_bowl", "cut_cheese", "place_cheese_into_bowl", "cut_lettuce",
    "place_lettuce_into_bowl", "add_salt", "add_vinegar", "add_oil", "add_pepper", "mix_dressing", "peel_cucumber",
    "cut_cucumber", "place_cucumber_into_bowl", "add_dressing", "mix_ingredients", "serve_salad_onto_plate",
    "action_start", "action_end",
]  # fmt: skip


def lay_out(root: Path, videos: dict[str, list[str]], dim: int, suffix: str = ".txt") -> Path:
    """ASOT's layout; ``videos``: path below features -> labels. Row i of a video holds i, i + 1/4, ..."""
    for key, labels in videos.items():
        file = root / "features" / f"{key}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        (root / "groundTruth").mkdir(exist_ok=True)
        rows = np.arange(len(labels))[:, None] + np.arange(dim) / 4
        np.save(file, rows) if suffix == ".npy" else np.savetxt(file, rows)
        (root / "groundTruth" / file.stem).write_text("\n".join(labels) + "\n")
    (root / "mapping").mkdir()
    return root


def mapping(file: Path, pairs: list[tuple[int, str]]) -> None:
    file.write_text("".join(f"{number} {name}\n" for number, name in pairs))


def few(module, **changes):
    """The facts of the miniature in place of those of the data set."""
    module.FACTS = dataclasses.replace(module.FACTS, **changes)
    return module


@pytest.fixture
def breakfast(tmp_path, script):
    """Two activities; SIL at both ends."""
    root = lay_out(
        tmp_path / "Breakfast",
        {
            "coffee/P03_cam01_P03_coffee": ["SIL"] * 2 + ["take_cup"] * 3 + ["pour_coffee"] * 4 + ["SIL"],
            "coffee/P05_webcam01_P05_coffee": ["SIL"] * 3 + ["pour_coffee"] * 5,
            "scrambledegg/P03_stereo01_P03_scrambledegg": ["SIL"] * 6 + ["crack_egg"] * 9,
        },
        dim=4,
    )
    mapping(root / "mapping" / "mapping.txt", list(enumerate(["SIL", "pour_coffee", "take_cup", "crack_egg", "tea"])))
    module = few(
        script("breakfast"), videos=3, classes=5, dim=4, activities={"coffee": None, "scrambledegg": None},
        classes_of={"coffee": 3, "scrambledegg": 2},
    )  # fmt: skip
    return module, root, ["--source", str(root), "--root", str(tmp_path / "data")]


def first(root: Path) -> Path:
    return root / "groundTruth" / "P03_cam01_P03_coffee"


def test_breakfast_is_read_as_its_activities(breakfast, tmp_path, capsys):
    module, _, arguments = breakfast
    assert module.main(arguments) == 0
    out = capsys.readouterr().out
    assert "3 recordings, 33 frames, 5 classes, 4 channels; activities: coffee (2), scrambledegg (1)" in out
    assert "note" not in out
    raw = load_folder(tmp_path / "data" / "breakfast", activity="coffee")
    assert [video.name for video in raw.videos] == ["P03_cam01_P03_coffee", "P05_webcam01_P05_coffee"]
    assert np.array_equal(raw.videos[0].features.numpy(), np.arange(10)[:, None] + np.arange(4) / 4)
    assert [raw.classes[label] for label in raw.videos[1].labels] == ["SIL"] * 3 + ["pour_coffee"] * 5
    dataset = load_dataset("breakfast/coffee", tmp_path / "data")
    assert (dataset.name, dataset.n_actions, dataset.background) == ("breakfast/coffee", 7, None)
    first_video = dataset.videos[0].features
    assert float(first_video.std(dim=0, correction=0)[0]) == pytest.approx(4**-0.5)  # standardised, / sqrt(D)
    assert float(first_video.mean()) == pytest.approx(0, abs=1e-6)


def test_breakfast_segments_of_the_owner_are_the_same_as_labels_per_frame(breakfast, tmp_path):
    module, root, arguments = breakfast
    assert module.main(arguments) == 0
    expected = load_folder(tmp_path / "data" / "breakfast").checksum()
    (root / "groundTruth" / "coffee").mkdir()
    first(root).unlink()
    segments = "1-2 SIL  \n3-5 take_cup\n6-9 pour_coffee\n10-10 SIL  \n"
    (root / "groundTruth" / "coffee" / "P03_cam01_P03_coffee.txt").write_text(segments)
    assert module.main([*arguments[:-1], str(tmp_path / "again")]) == 0
    assert load_folder(tmp_path / "again" / "breakfast").checksum() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1-2 SIL\n4-5 tea\n", r"line 2 reads '4-5 tea'; expected a segment that begins with frame 3"),
        ("1-2 SIL\n2-5 tea\n", r"line 2 reads '2-5 tea'"),
        ("2-4 SIL\n", r"line 1 reads '2-4 SIL'; expected a segment that begins with frame 1"),
        ("1-4 SIL\ntea\n", r"line 2 reads 'tea'; expected 'first-last name'"),
        ("1-0 SIL\n", r"line 1 reads '1-0 SIL'"),
        ("", r"labels is empty"),
    ],
)
def test_segments_that_are_no_partition_are_named(tmp_path, text, message):
    (tmp_path / "labels").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "labels")


def shorten(root: Path) -> None:
    first(root).write_text("SIL\n" * 9)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (shorten, "has 9 labels but P03_cam01_P03_coffee.txt has 10 feature rows (difference -1); pass --trim"),
        (lambda root: first(root).write_text("SIL\n" * 71), "(difference +61), 7.10 times as many: another video or"),
        (lambda root: first(root).unlink(), "1 videos have a feature file but no labels: P03_cam01_P03_coffee; copy"),
        (lambda root: next(root.rglob("*egg.txt")).unlink(), "1 videos have labels but no feature file: P03_stereo"),
        (lambda root: first(root).write_text("sip\n" * 10), "label(s) 'sip' are not in"),
        (lambda root: first(root).write_bytes(b"\xff\xfe" * 9), "P03_cam01_P03_coffee is not a text file"),
        (lambda root: next(root.rglob("P05*coffee.txt")).write_text("1 2 3 4\n5 6"), "P05_coffee.txt is damaged"),
        (lambda root: first(root).rename(first(root).with_name("P03_cam01_P03_cofee")), "no labels: P03_cam01_P03"),
        (lambda root: np.save(root / "features" / "P03_cam01_P03_coffee.npy", np.ones((10, 4))), "P03_coffee' twice"),
        (lambda root: (root / "groundTruth").rename(root / "gt"), "holds no folder groundTruth/; expected features/"),
        (lambda root: first(root).write_text("\n".join(["SIL", "tea", "take_cup", "pour_coffee"] + ["SIL"] * 6)),
         "coffee shows 4 classes, expected at most 3 (K in the README of CTE"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_nothing_is_written(breakfast, tmp_path, capsys, harm, message):
    module, root, arguments = breakfast
    harm(root)
    assert module.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_trim_cuts_to_the_shorter_and_says_so(breakfast, tmp_path, capsys):
    module, root, arguments = breakfast
    shorten(root)
    (root / "groundTruth" / "P05_webcam01_P05_coffee").write_text("SIL\n" * 12)
    assert module.main([*arguments, "--trim"]) == 0
    out = capsys.readouterr().out
    assert "note: P03_cam01_P03_coffee was cut to 9 frames (difference -1)" in out
    assert "note: P05_webcam01_P05_coffee was cut to 8 frames (difference +4)" in out
    assert [len(video) for video in load_folder(tmp_path / "data" / "breakfast", activity="coffee").videos] == [9, 8]


def test_a_part_is_taken_only_when_asked_for(breakfast, tmp_path, capsys):
    module, root, arguments = breakfast
    first(root).unlink()
    module = few(module, videos=1712)
    assert module.main([*arguments, "--partial"]) == 0
    out = capsys.readouterr().out
    assert "left out" in out and "found 2 videos, expected 1712 (MS-TCN, CVPR 2019)" in out
    assert len(load_folder(tmp_path / "data" / "breakfast").videos) == 2


def test_missing_videos_are_said_before_any_features_are_read(breakfast, monkeypatch, capsys):
    module, _, arguments = breakfast
    monkeypatch.setattr("data_scripts.common.feature_folders.read_features", lambda file: pytest.fail("read"))
    assert few(module, videos=1712).main(arguments) == 1
    assert "found 3 videos, expected 1712" in capsys.readouterr().err


def test_what_other_repositories_do_to_features_is_undone(breakfast, tmp_path, capsys):
    module, root, arguments = breakfast
    counted = root / "features" / "coffee" / "P05_webcam01_P05_coffee.txt"
    rows = np.loadtxt(counted)
    np.savetxt(counted, np.column_stack([np.arange(1, 9), rows]))  # a first column with the number of the frame
    turned = root / "features" / "coffee" / "P03_cam01_P03_coffee.txt"
    np.save(turned.with_suffix(".npy"), np.loadtxt(turned).T)  # (D, N), as in MS-TCN
    turned.unlink()
    assert module.main(arguments) == 0
    out = capsys.readouterr().out
    assert "turned round" in out and "only counted the frames" in out
    videos = load_folder(tmp_path / "data" / "breakfast", activity="coffee").videos
    assert np.array_equal(videos[1].features.numpy(), rows.astype(np.float32))
    assert np.array_equal(videos[0].features.numpy(), np.arange(10)[:, None] + np.arange(4) / 4)


def test_downloads_that_are_not_unpacked_are_taken_too(breakfast, tmp_path, monkeypatch):
    """CTE's two archives, under whatever names they have inside; the mapping lies in the second."""
    module, root, _ = breakfast
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))

    def download(url: str, to: Path) -> Path:
        to.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(to, "w") as pack:
            for file in (root / to.name).rglob("*.txt" if to.name == "features" else "*"):
                pack.write(file, f"bf_{to.name}/{file.name}")
            if to.name == "groundTruth":
                pack.write(root / "mapping" / "mapping.txt", "bf_groundTruth/mapping/mapping.txt")
        return to

    monkeypatch.setattr(module, "download", download)
    assert module.main(["--root", str(tmp_path / "data")]) == 0
    assert load_folder(tmp_path / "data" / "breakfast").n_frames == 33


def test_youtube_instructions_leaves_the_background_out(tmp_path, script, capsys):
    root = lay_out(
        tmp_path / "YTI",
        {
            "coffee/coffee_0001": ["-1"] * 3 + ["0"] * 4 + ["2"] * 3 + ["-1"],
            "jump_car/jump_car_0001": ["-1"] * 4 + ["45"] * 8,
            "changing_tire/changing_tire_0012": ["15"] * 6 + ["-1"] * 5,
        },
        dim=6,
    )
    (root / "groundTruth" / "coffee_0001_idt").write_text("0\n" * 5)  # labels of other features
    (root / "groundTruth" / "mapping").mkdir()  # CTE keeps the mapping there, with pickles beside it
    mapping(root / "groundTruth" / "mapping" / "mapping.txt", [(k, str(k)) for k in (-1, 0, 2, 15, 45)])
    (root / "groundTruth" / "mapping" / "gt1.pkl").write_bytes(b"\x80\x04.")
    module = few(
        script("youtube_instructions"), videos=3, dim=6, activities={"coffee": 1, "jump_car": 1, "changing_tire": 1},
        classes_of={"coffee": 2, "jump_car": 1, "changing_tire": 1},
    )  # fmt: skip
    assert module.main(["--source", str(root), "--root", str(tmp_path / "data")]) == 0
    assert "activities: changing_tire (1), coffee (1), jump_car (1)" in capsys.readouterr().out
    dataset = load_dataset("youtube_instructions/coffee", tmp_path / "data")
    assert (dataset.classes, dataset.background, dataset.n_actions) == (("-1", "0", "2"), 0, 10)
    assert dataset.videos[0].labels.tolist() == [0] * 3 + [1] * 4 + [2] * 3 + [0]
    with pytest.raises(DataError, match="expected 30|expected 3000|150"):
        script("youtube_instructions").convert(root, tmp_path / "other", module.Options())


@pytest.fixture
def salads(tmp_path, script):
    labels = [name for name in MID for _ in range(2)]
    root = lay_out(tmp_path / "FS", {"rgb/rgb-01-1": labels, "rgb/rgb-01-2": labels[::-1]}, dim=4)
    mapping(root / "mapping" / "mapping.txt", list(enumerate(MID)))
    return few(script("fifty_salads"), videos=2, dim=4), root, ["--source", str(root), "--root", str(tmp_path / "data")]


@pytest.mark.parametrize("shipped", [True, False])
def test_fifty_salads_is_two_data_sets_in_one_folder(salads, tmp_path, shipped):
    module, root, arguments = salads
    if shipped:
        mapping(root / "mapping" / "mappingeval.txt", [(number, name) for name, number in module.EVAL.items()])
    assert module.main(arguments) == 0
    mid = load_dataset("fifty_salads_mid", tmp_path / "data")
    assert (mid.name, mid.n_actions, mid.classes) == ("fifty_salads_mid", 19, tuple(MID))
    level = load_dataset("fifty_salads_eval", tmp_path / "data")
    assert (level.name, level.n_actions, len(level.classes), level.background) == ("fifty_salads_eval", 12, 12, None)
    names = [level.classes[label] for label in level.videos[0].labels]
    by_mid = dict(zip([mid.classes[label] for label in mid.videos[0].labels], names, strict=True))
    assert {by_mid[name] for name in MID if name.startswith("cut_")} == {"cut"}
    assert {by_mid[name] for name in MID if name.startswith("place_")} == {"place"}
    assert by_mid["add_salt"] == by_mid["add_vinegar"] == "add_salt|add_vinegar"
    assert by_mid["add_oil"] == "add_oil" and by_mid["action_end"] == "action_end"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, name) for name in MID[:-1]], "mappingeval.txt gives no id to action_end"),
        ([(k, name) for k, name in enumerate(MID)], "mappingeval.txt has 19 ids; expected 12"),
    ],
)
def test_a_mapping_of_level_eval_that_does_not_fit_is_named(salads, tmp_path, capsys, pairs, message):
    module, root, arguments = salads
    mapping(root / "mapping" / "mappingeval.txt", pairs)
    assert module.main(arguments) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_salads_at_two_frame_rates_are_not_cut(salads, capsys):
    module, root, arguments = salads
    file = root / "features" / "rgb" / "rgb-01-1.txt"
    labels = [name for name in MID for _ in range(10)]  # 30 per second
    (root / "groundTruth" / "rgb-01-1").write_text("\n".join(labels))
    np.savetxt(file, np.ones((95, 4)))  # 15 per second
    assert module.main([*arguments, "--trim"]) == 1
    assert (
        "has 190 labels but rgb-01-1.txt has 95 feature rows (difference +95), 2.00 times as many"
        in capsys.readouterr().err
    )


def test_the_time_stamps_of_the_owner_are_no_labels(salads, capsys):
    module, root, arguments = salads
    (root / "01-1-activityAnnotation.txt").write_text("1 2 cut_tomato_core\n")
    assert module.main(arguments) == 1
    assert "intervals of time stamps; take labels per frame from https://" in capsys.readouterr().err


def test_desktop_assembly_counts_its_background_as_a_class(tmp_path, script, capsys):
    steps = [f"step_{k}" for k in range(22)]
    labels = [step for step in [*steps, "Background"] for _ in range(2)]
    root = lay_out(tmp_path / "desktop_assembly", {"2020-04-19_14-03-25": labels}, dim=5, suffix=".npy")
    module = few(script("desktop_assembly"), videos=1, dim=5)
    assert module.main(["--source", str(root), "--root", str(tmp_path / "data")]) == 0
    assert "note: the download has no mapping.txt; classes are numbered here" in capsys.readouterr().out
    dataset = load_dataset("desktop_assembly", tmp_path / "data")
    assert (len(dataset.classes), dataset.n_actions, dataset.background) == (23, 22, None)
    assert dataset.videos[0].name == "2020-04-19_14-03-25"


NAMES = ("breakfast", "youtube_instructions", "fifty_salads", "desktop_assembly")


@pytest.mark.parametrize("name", NAMES)
def test_a_link_that_gives_nothing_leads_to_the_browser(name, script, tmp_path, capsys, monkeypatch):
    module = script(name)

    def offline(*_: object) -> None:
        raise DataError("no connection")

    monkeypatch.setattr(module, "download_folder" if name == "desktop_assembly" else "download", offline)
    assert module.main(["--root", str(tmp_path)]) == 2
    first_line, step = capsys.readouterr().err.splitlines()
    assert first_line == "error: no connection"
    assert "https://drive.google.com/" in step and f"python -m data_scripts.{name} --source FOLDER" in step


@pytest.mark.parametrize("name", NAMES)
def test_every_number_that_is_checked_has_a_source(name, script):
    facts = script(name).FACTS
    for field in dataclasses.fields(PublishedFacts):
        if field.name not in ("sources", "background") and getattr(facts, field.name):
            assert facts.sources[field.name]


def test_facts_of_the_paper_agree_with_the_registry(script):
    from vasot_kit.datasets.registry import DATASETS

    for name in ("breakfast", "youtube_instructions"):
        facts, entry = script(name).FACTS, DATASETS[name]
        assert dict(facts.classes_of) == dict(entry.activities)
        assert (facts.videos, facts.dim) == (entry.videos, entry.dim)
    for name in ("fifty_salads_mid", "fifty_salads_eval", "desktop_assembly"):
        facts = script(name.removesuffix("_mid").removesuffix("_eval")).FACTS
        assert (facts.videos, facts.dim) == (DATASETS[name].videos, DATASETS[name].dim)


def test_names_that_share_an_id_are_one_class(tmp_path):
    file = tmp_path / "mapping.txt"
    mapping(file, [(0, "cut_a"), (0, "cut_b"), (1, "add_c"), (1, "add_d"), (2, "add_e"), (3, "stir"), (3, "mix_f")])
    assert read_merged_mapping(file) == {
        "cut_a": "cut", "cut_b": "cut", "add_c": "add_c|add_d", "add_d": "add_c|add_d", "add_e": "add_e",
        "stir": "stir|mix_f", "mix_f": "stir|mix_f",
    }  # fmt: skip
    mapping(file, [(0, "cut_a"), (1, "cut_a")])
    with pytest.raises(DataError, match="gives 'cut_a' more than one id; keep one of them"):
        read_merged_mapping(file)
