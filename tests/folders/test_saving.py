from __future__ import annotations

import numpy as np
import pytest

from vasot_kit.folders import load_folder
from vasot_kit.folders.saving import save_folder
from vasot_lib.errors import DataError


def test_what_is_saved_is_read_back(tmp_path):
    rng = np.random.default_rng(0)
    recordings = {
        "tea/one": (rng.normal(size=(5, 2)).astype(np.float32), ["b", "b", "a", "a", "c"]),
        "tea/two": (rng.normal(size=(3, 2)).astype(np.float32), ["c", "a", "a"]),
    }
    save_folder(tmp_path / "new", recordings, ["a", "b", "c"])
    dataset = load_folder(tmp_path / "new")
    assert dataset.classes == ("a", "b", "c")
    for video, (features, labels) in zip(dataset.videos, recordings.values(), strict=True):
        assert np.array_equal(video.features.numpy(), features)
        assert [dataset.classes[label] for label in video.labels] == labels
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_saving_is_whole_or_not_at_all_and_overwrites_nothing(tmp_path):
    good = (np.zeros((2, 2)), ["a", "a"])
    with pytest.raises(AttributeError):
        save_folder(tmp_path / "new", {"x": good, "y": ("not an array", [])}, ["a"])
    assert [path.name for path in tmp_path.iterdir()] == []
    save_folder(tmp_path / "new", {"x": good}, ["a"])
    with pytest.raises(DataError, match="new already exists; remove it first"):
        save_folder(tmp_path / "new", {"z": good}, ["a"])
    assert [video.name for video in load_folder(tmp_path / "new").videos] == ["x"]


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ({"tea/x": "ab", "coffee/x": "ba"}, "two recordings are named 'x'; keep one of them, or rename 'coffee/x'"),
        ({"x": "aba"}, "x has 3 labels for 2 feature rows; give one label per row"),
        ({"x": "ac"}, "label 'c' of x is not among the classes a, b; add it"),
        ({"x": "ab", "../y": "ab"}, "the recording is called '../y'; call it video or activity/video"),
        ({"tea/green/x": "ab"}, "called 'tea/green/x'"),
        ({"/x": "ab"}, "called '/x'"),
        ({"tea/.x": "ab"}, "called 'tea/.x'"),
    ],
)
def test_what_would_not_be_read_back_is_refused(tmp_path, recordings, message):
    rows = {key: (np.zeros((2, 2)), list(labels)) for key, labels in recordings.items()}
    for given in (rows, iter(rows.items())):
        with pytest.raises(DataError, match=message) as caught:
            save_folder(tmp_path / "in" / "new", given, ["a", "b"])
        assert "\n" not in str(caught.value) and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_what_is_not_finite_as_it_is_stored_is_refused_without_a_warning(tmp_path, value, recwarn):
    with pytest.raises(DataError, match=r"^x has a number that is not finite in frame 2; unpack or copy it again"):
        save_folder(tmp_path / "new", {"x": (np.array([[0.0], [value]]), None)}, [])
    assert not [*tmp_path.iterdir()] and not recwarn.list


def test_what_is_saved_without_labels_is_read_back_without(tmp_path):
    rng = np.random.default_rng(0)
    features = {"tea/one": rng.normal(size=(5, 2)), "two": rng.normal(size=(3, 2))}
    save_folder(tmp_path / "new", {key: (rows, None) for key, rows in features.items()}, [])
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["features"]
    dataset = load_folder(tmp_path / "new")
    assert {(video.name, video.activity, video.labels) for video in dataset.videos} == {
        ("one", "tea", None), ("two", "", None),
    }  # fmt: skip
    for video in dataset.videos:
        key = f"tea/{video.name}" if video.activity else video.name
        assert np.array_equal(video.features.numpy(), features[key].astype(np.float32))
