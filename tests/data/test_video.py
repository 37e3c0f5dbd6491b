from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from vasot_lib.data import Context, Dataset, Video
from vasot_lib.data.video import standardise
from vasot_lib.errors import DataError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": torch.zeros(4)}, r"features have shape \(4,\); expected \(frames, channels\)"),
        ({"features": torch.zeros(0, 3)}, r"'v' has 0 frame\(s\); at least 2 are needed"),
        ({"features": torch.zeros(1, 3)}, r"'v' has 1 frame\(s\)"),
        ({"features": torch.tensor([[0.0], [1.0], [torch.inf]])}, "1 frame.* NaN or infinite features, .*frame 2"),
        ({"features": torch.tensor([[0.0, torch.nan], [2e20, 1.0]])}, "2 frame.* NaN or infinite features, .*frame 0"),
        (
            {"features": torch.tensor([[0.0], [1e15], [-2e20]])},
            r"'v': 1 frame\(s\) hold features of up to 2e\+20, above 1e\+15, the first is frame 2; .* divide all",
        ),
        (
            {"features": torch.zeros(4, 3), "labels": torch.zeros(3, dtype=torch.int64)},
            r"3 labels for 4 feature rows \(difference -1\)",
        ),
        ({"features": torch.zeros(4, 3), "frames": np.zeros((6, 8, 8, 3))}, r"6 frames for 4 .*difference \+2"),
        ({"features": torch.zeros(4, 3), "position": torch.zeros(5)}, r"5 position for 4 .*difference \+1"),
    ],
)
def test_a_bad_video_is_refused_in_one_line(arguments, message):
    with pytest.raises(DataError, match=message) as caught:
        Video("v", **arguments)
    assert "\n" not in str(caught.value)


def test_the_checksum_sees_all_that_results_depend_on():
    video = Video(
        "v", torch.zeros(4, 3), torch.tensor([0, 0, 1, 1]), "tea", np.zeros((4, 8, 8, 3), np.uint8), torch.zeros(4)
    )
    dataset = Dataset("d", (video,), ("a", "b"), n_actions=2, background=0)
    moved = video.frames.copy()
    moved[2, 3, 3, 1] = 1
    context = Context(2, 1)
    others = [
        replace(dataset, background=1), replace(dataset, classes=("a", "c")), replace(dataset, n_actions=1),
        replace(dataset, ordered=True), dataset.as_pictures(context), dataset.as_pictures(Context(2, 2)),
        replace(dataset, videos=(replace(video, frames=moved),)).as_pictures(context),
        *(
            replace(dataset, videos=(replace(video, **change),))
            for change in (
                {"name": "w"}, {"activity": "coffee"}, {"part": "train"}, {"labels": None}, {"position": None},
                {"features": torch.ones(4, 3)}, {"labels": torch.tensor([0, 0, 0, 1])}, {"position": torch.ones(4)},
            )
        ),
    ]  # fmt: skip
    assert len({data.checksum() for data in (dataset, *others)}) == 1 + len(others)
    assert dataset.checksum() == replace(dataset).checksum()
    assert replace(dataset, videos=(replace(video, frames=moved),)).checksum() == dataset.checksum()  # nothing reads it


def test_a_bad_data_set_is_refused():
    with pytest.raises(DataError, match="'d' has no videos"):
        Dataset("d", ())
    for label in (-1, 2):
        video = Video("v", torch.zeros(2, 3), torch.tensor([0, label]))
        with pytest.raises(DataError, match="video 'v': labels run from .* but there are 2 classes"):
            Dataset("d", (video,), classes=("a", "b"))


def test_names_are_unique():
    video = Video("v", torch.zeros(2, 3))
    with pytest.raises(DataError, match="data set 'd': two recordings are named 'v'; rename one of them"):
        Dataset("d", (video, replace(video, name="w"), replace(video, activity="tea")))


def test_a_recording_of_zeros_stays_zero_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not standardise(torch.zeros(5, 3)).any()


def test_small_features_are_standardised_too() -> None:
    rows = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    torch.testing.assert_close(standardise(rows * 1e-15), standardise(rows))
