from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vasot_kit.folders import load_folder
from vasot_lib.errors import DataError, InputError


def test_files_come_sorted_and_labels_are_renumbered(folder):
    dataset = load_folder(folder, background="idle")
    assert [video.name for video in dataset.videos] == ["a_short", "b_long"]
    assert dataset.name == "kitchen"
    # only classes that occur, in the order of the mapping file
    assert dataset.classes == ("idle", "stir", "pour") and dataset.background == 0 and dataset.n_actions == 2
    assert dataset.videos[0].labels.tolist() == [2, 2, 1, 1]
    assert dataset.videos[1].labels.tolist() == [0, 2, 2, 1, 1, 0]
    assert torch.equal(dataset.videos[1].features, torch.arange(18.0).reshape(6, 3))
    assert dataset.videos[0].features.dtype == torch.float32 and dataset.videos[0].labels.dtype == torch.int64
    assert {video.activity for video in dataset.videos} == {"tea"}


def test_options_choose_activity_name_actions_and_mapping(folder):
    (folder / "features" / "salad").mkdir()
    np.save(folder / "features" / "salad" / "c.npy", np.zeros((5, 3)))
    (folder / "groundTruth" / "c").write_text("chop\n" * 5)
    (folder / "mapping" / "other.txt").write_text("0 chop\n")
    salad = load_folder(folder, name="mine", activity="salad", n_actions=4, mapping="mapping/other.txt")
    assert (salad.name, salad.classes, salad.n_actions, salad.background) == ("mine", ("chop",), 4, None)
    assert [video.name for video in salad.videos] == ["c"]
    with pytest.raises(InputError, match=r"unknown activity 'salat' \(did you mean 'salad'\?\); known: salad, tea"):
        load_folder(folder, activity="salat")


def test_features_may_lie_without_activity_and_truth_may_end_in_txt(folder):
    for file in (folder / "features" / "tea").iterdir():
        file.rename(folder / "features" / file.name)
    (folder / "groundTruth" / "b_long").rename(folder / "groundTruth" / "b_long.txt")
    dataset = load_folder(folder)
    assert [(video.name, video.activity) for video in dataset.videos] == [("a_short", ""), ("b_long", "")]
    assert dataset.n_actions == 3


def test_truth_may_lie_under_its_activity(folder):
    (folder / "groundTruth" / "tea").mkdir()
    for name in ("a_short", "b_long"):
        (folder / "groundTruth" / name).rename(folder / "groundTruth" / "tea" / name)
    assert [len(video) for video in load_folder(folder).videos] == [4, 6]


@pytest.mark.parametrize(("n_labels", "difference"), [(5, "-1"), (8, r"\+2")])
def test_a_length_mismatch_names_the_file_and_by_how_much_and_trim_cuts(folder, n_labels, difference):
    truth = folder / "groundTruth" / "b_long"
    truth.write_text("pour\n" * n_labels)
    with pytest.raises(
        DataError,
        match=f"b_long has {n_labels} labels but b_long.npy has 6 feature rows .difference {difference}.*trim",
    ):
        load_folder(folder)
    video = load_folder(folder, trim=True).videos[1]
    assert len(video) == len(video.labels) == min(6, n_labels)
    assert torch.equal(video.features, torch.arange(18.0).reshape(6, 3)[: min(6, n_labels)])


class Payload:
    def __reduce__(self):
        return os.system, ("touch owned",)


def damage(folder: Path, how: str) -> None:
    feature, truth = folder / "features" / "tea" / "b_long.npy", folder / "groundTruth" / "b_long"
    mapping = folder / "mapping" / "mapping.txt"
    match how:
        case "unknown label":
            truth.write_text("idle\npour\njump\nstir\nstir\nidle\n")
        case "blank label":
            truth.write_text("idle\n\npour\nstir\nstir\nidle\n\n\n")
        case "no truth":
            truth.unlink()
        case "empty truth":
            truth.write_text("\n")
        case "binary truth":
            truth.write_bytes(b"\xff\xfe\x80")
        case "no features":
            for file in (folder / "features" / "tea").iterdir():
                file.unlink()
        case "no features folder":
            (folder / "features").rename(folder / "elsewhere")
        case "empty npy":
            feature.write_bytes(b"")
        case "truncated npy":
            feature.write_bytes(feature.read_bytes()[:-10])
        case "pickled npy":
            np.save(feature, np.array([Payload()], dtype=object), allow_pickle=True)
        case "bare pickle":
            feature.write_bytes(pickle.dumps(Payload()))
        case "no rows":
            np.save(feature, np.zeros((0, 3)))
        case "empty txt":
            (folder / "features" / "tea" / "a_short.txt").write_text("")
        case "text":
            (folder / "features" / "tea" / "a_short.txt").write_text("1 2 3\nfour 5 6\n")
        case "ragged":
            (folder / "features" / "tea" / "a_short.txt").write_text("1 2 3\n4 5\n")
        case "three axes":
            np.save(feature, np.zeros((6, 3, 2)))
        case "nan":
            np.save(feature, np.full((6, 3), np.nan))
        case "two widths":
            np.save(feature, np.zeros((6, 4)))
        case "one video twice":
            np.savetxt(feature.with_suffix(".txt"), np.zeros((6, 3)))
        case "no mapping":
            mapping.unlink()
        case "empty mapping":
            mapping.write_text("")
        case "mapping without id":
            mapping.write_text("idle\n")
        case "name twice":
            mapping.write_text("0 idle\n1 idle\n")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("unknown label", r"label 'jump' in .*b_long is not in .*mapping\.txt; add it"),
        ("blank label", r"label '' in .*b_long is not in .*mapping\.txt"),
        ("no truth", r"groundTruth.b_long is missing; add the ground truth of b_long\.npy"),
        ("empty truth", r"b_long is empty; copy it again"),
        ("binary truth", r"b_long is not a text file"),
        ("no features", r"features holds no \.npy or \.txt feature files"),
        ("no features folder", r"features is missing; put the features of every recording there, as \.npy"),
        ("empty npy", r"b_long\.npy is damaged .*copy it again"),
        ("truncated npy", r"b_long\.npy is damaged .*copy it again"),
        ("pickled npy", r"b_long\.npy holds pickled objects.*; save it as a plain float array"),
        ("bare pickle", r"b_long\.npy holds pickled objects"),
        ("no rows", r"b_long\.npy holds no frames"),
        ("empty txt", r"a_short\.txt holds no frames"),
        ("text", r"a_short\.txt is damaged or not a table of numbers"),
        ("ragged", r"a_short\.txt is damaged or not a table of numbers"),
        ("three axes", r"b_long\.npy has shape \(6, 3, 2\); expected \(frames, channels\)"),
        ("nan", r"'b_long': 6 frame\(s\) hold NaN or infinite features, the first is frame 0"),
        ("two widths", r"mixes feature widths \[3, 4\]"),
        ("one video twice", r"more than one feature file named 'b_long'"),
        ("no mapping", r"mapping\.txt is missing; write one line 'id name' per class"),
        ("empty mapping", r"mapping\.txt is empty"),
        ("mapping without id", r"mapping\.txt line 1 reads 'idle'; expected 'id name'"),
        ("name twice", r"mapping\.txt line 2 repeats an id or a name \('1 idle'\)"),
    ],
)
def test_each_damage_gives_one_line_that_names_the_file(folder, monkeypatch, how, message):
    monkeypatch.chdir(folder)
    damage(folder, how)
    with pytest.raises(DataError, match=message) as caught:
        load_folder(folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "owned").exists()


def test_unknown_background_lists_the_classes(folder):
    with pytest.raises(InputError, match=r"unknown background class 'idel' \(did you mean 'idle'\?\)"):
        load_folder(folder, background="idel")


def test_more_actions_than_frames_is_refused(folder):
    with pytest.raises(
        InputError, match="5 actions were asked for but video 'a_short' has only 4 frames; ask for fewer"
    ):
        load_folder(folder, n_actions=5)


def test_standardised_leaves_zero_rows_zero_and_scales_each_video(folder):
    np.save(folder / "features" / "tea" / "b_long.npy", np.r_[np.zeros((1, 3)), np.arange(15.0).reshape(5, 3) ** 2])
    features = load_folder(folder).standardised().videos[1].features
    assert torch.equal(features[0], torch.zeros(3))
    assert torch.allclose(features[1:].mean(dim=0), torch.zeros(3), atol=1e-6)
    assert torch.allclose(features[1:].std(dim=0, correction=0), torch.ones(3), atol=1e-6)
    shrunk = load_folder(folder).standardised(shrink=True).videos[1].features
    assert torch.allclose(shrunk, features / 3**0.5)
    # a_short is constant: nothing to scale, and no NaN
    assert torch.equal(load_folder(folder).standardised().videos[0].features, torch.zeros(4, 3))


def test_checksum_sees_names_features_and_labels(folder):
    dataset = load_folder(folder)
    first = dataset.videos[0]
    for change in ({"name": "other"}, {"features": first.features + 1}, {"labels": first.labels.flip(0)}):
        other = dataclasses.replace(dataset, videos=(dataclasses.replace(first, **change), dataset.videos[1]))
        assert other.checksum() != dataset.checksum()
    assert load_folder(folder).checksum() == dataset.checksum()


# ---- without labels


def test_a_folder_of_features_alone_gives_videos_without_labels(folder):
    for part in ("groundTruth", "mapping"):
        shutil.rmtree(folder / part)
    np.save(folder / "features" / "c.npy", np.zeros((5, 3)))
    dataset = load_folder(folder)
    assert [(video.name, video.activity, len(video)) for video in dataset.videos] == [
        ("c", "", 5), ("a_short", "tea", 4), ("b_long", "tea", 6),
    ]  # fmt: skip
    assert all(video.labels is None for video in dataset.videos)
    assert (dataset.name, dataset.classes, dataset.n_actions, dataset.background) == ("kitchen", (), 0, None)
    assert torch.equal(dataset.videos[2].features, torch.arange(18.0).reshape(6, 3))
    tea = load_folder(folder, name="mine", activity="tea", n_actions=3)
    assert (tea.name, tea.n_actions, [video.name for video in tea.videos]) == ("mine", 3, ["a_short", "b_long"])
    with pytest.raises(InputError, match="unknown activity 'coffee'"):
        load_folder(folder, activity="coffee")
    with pytest.raises(
        InputError, match="5 actions were asked for but video 'a_short' has only 4 frames; ask for fewer"
    ):
        load_folder(folder, activity="tea", n_actions=5)


def test_feature_files_alone_in_a_folder_are_recordings_without_labels(tmp_path):
    np.save(tmp_path / "b.npy", np.arange(10.0).reshape(5, 2))
    np.savetxt(tmp_path / "a.csv", np.ones((4, 2)), delimiter=",")
    (tmp_path / ".b.npy").write_text("a note")
    (tmp_path / "outputs").mkdir()
    np.save(tmp_path / "outputs" / "labels.npy", np.zeros((7, 1)))
    dataset = load_folder(tmp_path, n_actions=2)
    assert [(video.name, video.activity, len(video)) for video in dataset.videos] == [("a", "", 4), ("b", "", 5)]
    assert dataset.videos[1].labels is None and dataset.n_actions == 2
    np.save(tmp_path / "a.npy", np.ones((4, 2)))
    with pytest.raises(DataError, match="holds more than one feature file named 'a'"):
        load_folder(tmp_path)


def test_labels_may_lie_beside_feature_files_that_are_not_in_a_folder_of_their_own(folder):
    expected = load_folder(folder, activity="tea")
    for file in (folder / "features" / "tea").iterdir():
        file.rename(folder / file.name)
    shutil.rmtree(folder / "features")
    moved = load_folder(folder)
    assert moved.classes == expected.classes and [v.activity for v in moved.videos] == ["", ""]
    for one, other in zip(moved.videos, expected.videos, strict=True):
        assert one.name == other.name and torch.equal(one.features, other.features)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("widths", [(5, 5, 5, 5, 4), (5, 5, 4)])
def test_a_recording_of_another_width_is_named_and_turns_no_others_round(tmp_path, widths):
    for number, width in enumerate(widths):
        np.save(tmp_path / f"{number}.npy", np.ones((30, width)))
    with pytest.raises(DataError, match=r"mixes feature widths \[4, 5\]"):
        load_folder(tmp_path)


def test_what_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for name, said in (("file", "is a file"), ("absent", "is missing")):
        with pytest.raises(DataError, match=f"{name} {said}; name the folder of the recordings"):
            load_folder(tmp_path / name)


def test_of_the_folder_of_features_the_one_above_is_named(folder):
    shutil.rmtree(folder / "groundTruth")
    with pytest.raises(DataError, match=r"features holds no feature files itself; name the folder above it, .*kitchen"):
        load_folder(folder / "features")


def test_features_whose_labels_lie_beside_their_folder_are_not_read_without_them(folder):
    for file in (folder / "features").rglob("*.npy"):
        file.rename(folder / "features" / file.name)
    with pytest.raises(DataError, match=r"the labels of .*features lie beside it"):
        load_folder(folder / "features")


def test_two_ground_truths_of_one_recording_are_refused(folder):
    shutil.copy(folder / "groundTruth" / "b_long", folder / "groundTruth" / "b_long.txt")
    with pytest.raises(DataError, match=r"b_long and .*b_long\.txt are both the ground truth of b_long\.npy; keep one"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("gone", "message"),
    [("groundTruth", r"a_short is missing; add the ground truth"), ("mapping", r"mapping\.txt is missing")],
)
def test_half_of_the_labels_is_an_error_and_not_a_folder_without(folder, gone, message):
    shutil.rmtree(folder / gone)
    with pytest.raises(DataError, match=message):
        load_folder(folder)


def test_a_background_is_a_class_and_needs_labels(folder):
    for part in ("groundTruth", "mapping"):
        shutil.rmtree(folder / part)
    with pytest.raises(DataError, match=r"mapping\.txt is missing"):
        load_folder(folder, background="idle")


def test_a_published_split_is_read(folder):
    assert {video.part for video in load_folder(folder).videos} == {""}
    (folder / "splits").mkdir()
    (folder / "splits" / "train.txt").write_text("tea/b_long\n\ntea/of_another_time\n")
    (folder / "splits" / "val.txt").write_text("tea/a_short\n")
    dataset = load_folder(folder)
    assert [(video.name, video.part) for video in dataset.videos] == [("a_short", "val"), ("b_long", "train")]
    assert [video.name for video in dataset.train_part.videos] == ["b_long"]
    assert [video.name for video in dataset.test_part.videos] == ["a_short"]
    assert dataset.train_part.classes == dataset.classes and dataset.train_part.n_actions == dataset.n_actions
    whole = dataclasses.replace(dataset, videos=tuple(dataclasses.replace(v, part="") for v in dataset.videos))
    assert whole.train_part is whole and whole.test_part is whole and whole.checksum() != dataset.checksum()
    for alone, words in (
        (dataset.train_part, "part train alone, none to score"),
        (dataset.test_part, "none to train on"),
    ):
        with pytest.raises(DataError, match=words):
            _ = alone.test_part, alone.train_part
    for name in ("groundTruth", "mapping"):
        shutil.rmtree(folder / name)
    assert [(video.name, video.part) for video in load_folder(folder).videos] == [
        ("a_short", "val"),
        ("b_long", "train"),
    ]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("tea/b_long\ntea/a_short\n", r"val\.txt names tea/a_short, which train\.txt names as well"),
        ("", r"no file in .*splits names tea/b_long; add it to one of them, or remove all of splits/"),
    ],
)
def test_a_split_with_gaps_is_refused(folder, train, message):
    (folder / "splits").mkdir()
    (folder / "splits" / "train.txt").write_text(train)
    (folder / "splits" / "val.txt").write_text("tea/a_short\n")
    with pytest.raises(DataError, match=message):
        load_folder(folder)


# ---- as people have them


def test_no_actions_are_refused(folder):
    with pytest.raises(InputError, match="n_actions is 0; it must be a whole number of at least 1, or None"):
        load_folder(folder, n_actions=0)
