"""Rows of scores from methods and baselines."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vasot_kit.datasets import load_dataset
from vasot_kit.experiments import evaluate as module
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import (
    baseline_rows,
    by_activity,
    evaluate,
    scores_without_labels,
    segmentation_scores,
)
from vasot_kit.tables.scores import ALL_SCORES, sign_of
from vasot_lib.data import Dataset, Video, correspondence, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import DataError, InputError
from vasot_lib.methods import VAOT, AlignmentTerm, JointTerms, Method

SEGMENTATION = {"mof", "f1", "miou"}
ALIGNMENT = {"acc_0.1", "acc_0.5", "acc_1.0", "progress", "tau", "ap_5", "ap_10", "ap_15"}


class Oracle(Method):
    """Knows the answer: labels as actions, true positions as embeddings."""

    name, tasks, paired, Hyper = "oracle", ("alignment", "segmentation"), False, JointTerms

    def embed(self, video: Video) -> torch.Tensor:
        assert video.position is not None
        angle = torch.nan_to_num(video.position, nan=-1.0) / 8
        return torch.stack((angle.cos(), angle.sin()), 1)

    def segment(self, video: Video) -> torch.Tensor:
        assert video.labels is not None
        return video.labels

    def align(self, x: Video, y: Video) -> torch.Tensor:
        return correspondence(x, y)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, seed=2)


def test_an_oracle_scores_full_marks(dataset: Dataset) -> None:
    scores = evaluate(Oracle(MLPEncoder(2), dataset.n_actions, JointTerms()), dataset)
    assert scores.keys() >= SEGMENTATION | ALIGNMENT | {"transfer", "frame_error"}
    assert scores["mof"] == scores["miou"] == 1.0
    assert scores["transfer"] == 1.0 and scores["frame_error"] == 0.0
    assert scores["ap_5"] > 0.95 and scores["tau"] > 0.95


def test_of_several_activities_one_matching_for_all_and_one_for_each() -> None:
    """An answer that names the steps of each activity rightly but calls shared steps otherwise in the second one."""
    data = load_dataset("toy_shared/all")
    told = {v.name: v.labels.numpy() + (100 if v.activity == "procedure_2" else 0) for v in data.videos}
    oracle = Oracle(MLPEncoder(2), data.n_actions, JointTerms())
    parts = by_activity(data)
    assert [part.name for part in parts] == ["toy_shared/all/procedure_1", "toy_shared/all/procedure_2"]
    assert [segmentation_scores(oracle, part, told)["mof"] for part in parts] == [1.0, 1.0]
    first, second = (np.bincount(np.concatenate([v.labels for v in p.videos]), minlength=10)[:9] for p in parts)
    # Of a shared step only the name in the activity that shows it longer is matched.
    assert segmentation_scores(oracle, data, told)["mof"] == pytest.approx(
        np.maximum(first, second).sum() / (first + second).sum()
    )
    assert segmentation_scores(oracle, data)["mof"] == 1.0


def test_every_score_has_a_direction(dataset: Dataset) -> None:
    """And the truth, which a table may never rank behind anything, has the best value in that direction."""
    right = evaluate(Oracle(MLPEncoder(2), dataset.n_actions, JointTerms()), dataset)
    assert right.keys() == ALL_SCORES.keys()

    class Wrong(Oracle):
        name = "wrong"

        def embed(self, video: Video) -> torch.Tensor:
            return super().embed(video).flip(0) * torch.linspace(-1, 1, len(video))[:, None]

        def segment(self, video: Video) -> torch.Tensor:
            return torch.arange(len(video)) % 2

        def align(self, x: Video, y: Video) -> torch.Tensor:
            return -(torch.arange(len(x)) % 2)  # the first frame, or none

    wrong = evaluate(Wrong(MLPEncoder(2), dataset.n_actions, JointTerms()), dataset)
    assert [score for score in ALL_SCORES if sign_of(score) * (right[score] - wrong[score]) <= 0] == []
    with pytest.raises(InputError, match="unknown score 'jsdd'"):
        sign_of("jsdd")


def test_frames_without_a_partner_are_no_matches(dataset: Dataset) -> None:
    class Shy(Oracle):
        """Gives no partner to the first half of each video."""

        def align(self, x: Video, y: Video) -> torch.Tensor:
            return correspondence(x, y).where(torch.arange(len(x)) >= len(x) // 2, torch.tensor(-1))

    class Blind(Oracle):
        def align(self, x: Video, y: Video) -> torch.Tensor:
            return torch.full((len(x),), -1)

    shy, blind = (evaluate(kind(MLPEncoder(2), dataset.n_actions, JointTerms()), dataset) for kind in (Shy, Blind))
    assert 0.3 < shy["matched"] < 0.7 and shy["transfer"] == shy["matched"] and shy["frame_error"] == 0.0
    assert blind["matched"] == blind["transfer"] == 0.0 and "frame_error" not in blind


def test_only_the_tasks_of_the_method_are_scored(dataset: Dataset) -> None:
    class AlignsOnly(Oracle):
        name, tasks, Hyper = "aligns", ("alignment",), AlignmentTerm

    scores = evaluate(AlignsOnly(MLPEncoder(2), 0, AlignmentTerm()), dataset)
    assert scores.keys() >= ALIGNMENT and not scores.keys() & SEGMENTATION


def test_baselines_come_as_rows_of_the_same_kind(dataset: Dataset) -> None:
    rows = {row["method"]: row for row in baseline_rows(dataset, seed=3)}
    assert {"equal_split", "kmeans", "raw", "time", "dtw", "straight_line", "uniform_plan"} <= rows.keys()
    assert rows["uniform_plan"]["transfer"] < rows["straight_line"]["transfer"]
    assert all(row["dataset"] == "toy" and row["seed"] == 3 for row in rows.values())
    assert rows["equal_split"].keys() >= SEGMENTATION and rows["raw"].keys() >= ALIGNMENT
    assert 0 < rows["straight_line"]["frame_error"] < 0.2


def test_methods_without_training_stand_among_the_baselines(dataset: Dataset) -> None:
    """The same numbers as from the methods themselves with an encoder that gives the features back."""
    rows = {row["method"]: row for row in baseline_rows(dataset, preset="paper")}

    class Same(MLPEncoder):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return F.normalize(features, dim=-1)

    standard = dataset.standardised()
    config = make_config("toy", "vaot", "paper")
    vaot = evaluate(VAOT(Same(dataset.feature_dim), 0, config.hyper), standard)
    for score in ("transfer", "frame_error", "frame_error_p90"):
        assert rows["vaot_raw"][score] == pytest.approx(vaot[score], abs=0.01)
    for score in ("transfer_nearest", "transfer_dtw", "frame_error_nearest", "frame_error_dtw", "ap_5"):
        assert rows["raw"][score] == pytest.approx(vaot[score], abs=0.01)
    assert rows["dtw_unit"]["transfer"] == rows["raw"]["transfer_dtw"] != rows["dtw"]["transfer"]
    assert rows["asot_raw"].keys() >= SEGMENTATION
    assert rows["vaot_raw"]["transfer"] != {r["method"]: r for r in baseline_rows(dataset)}["vaot_raw"]["transfer"]
    depend = {name: row["preset"] for name, row in rows.items() if "preset" in row}
    assert depend == {"asot_raw": "paper", "vaot_raw": "paper"}


def test_segmentations_without_training_are_those_of_asot_with_kmeans_centres() -> None:
    """Three actions in noise are found, and the plan of ASOT evens out the frames that K-means gets wrong."""
    labels = torch.arange(90) // 30
    generator = torch.Generator().manual_seed(0)
    videos = tuple(
        Video(str(k), torch.eye(3)[labels] + 0.5 * torch.randn(90, 3, generator=generator), labels=labels)
        for k in range(3)
    )
    steps = Dataset("steps", videos, tuple("abc"), 3)
    rows = {row["method"]: row for row in baseline_rows(steps)}
    assert rows["asot_raw"]["edit"] > rows["kmeans_unit"]["edit"] and rows["asot_raw"]["mof"] > 0.9


def test_videos_of_a_few_frames_have_baselines_too(dataset: Dataset) -> None:
    """A radius of .04 is less than one of ten frames."""
    short = tuple(
        Video(v.name, v.features[::16][:10], labels=v.labels[::16][:10]) for v in dataset.videos if v.labels is not None
    )
    rows = {row["method"]: row for row in baseline_rows(dataclasses.replace(dataset, videos=short))}
    assert 0 <= rows["vaot_raw"]["transfer"] <= 1 and 0 <= rows["asot_raw"]["mof"] <= 1


def test_baselines_draw_nothing_from_the_global_generator(dataset: Dataset) -> None:
    before = torch.random.get_rng_state()
    baseline_rows(dataset)
    assert torch.equal(before, torch.random.get_rng_state())


def test_matches_of_all_methods_are_also_read_in_one_way(dataset: Dataset) -> None:
    """A method whose own matches are wrong, but whose embeddings are right."""

    class Careless(Oracle):
        name = "careless"

        def align(self, x: Video, y: Video) -> torch.Tensor:
            return torch.zeros(len(x), dtype=torch.int64)

    scores = evaluate(Careless(MLPEncoder(2), dataset.n_actions, JointTerms()), dataset)
    assert scores["transfer"] < 0.1 and scores["transfer_nearest"] > 0.95 and scores["transfer_dtw"] > 0.7
    assert scores["frame_error_nearest"] < scores["frame_error_dtw"] < scores["frame_error"] / 2


def test_where_a_split_is_published_its_tested_videos_are_scored(dataset: Dataset) -> None:
    """The trained ones have labels that no prediction meets."""
    parts = ("train", "val", "train", "val")
    wrong = [video.labels.flip(0) if video.labels is not None else None for video in dataset.videos]
    videos = tuple(
        dataclasses.replace(video, part=part, labels=label if part == "train" else video.labels)
        for video, part, label in zip(dataset.videos, parts, wrong, strict=True)
    )
    split = dataclasses.replace(dataset, videos=videos)

    class Remembers(Oracle):
        name = "remembers"

        def segment(self, video: Video) -> torch.Tensor:
            (own,) = (other for other in dataset.videos if other.name == video.name)
            assert own.labels is not None
            return own.labels

    method = Remembers(MLPEncoder(2), dataset.n_actions, JointTerms())
    scores = evaluate(method, split)
    assert scores["mof"] == 1.0 and scores["transfer"] == 1.0 and scores["ap_5"] > 0.95
    release = evaluate(method, split, protocol="release")
    assert release["mof"] == 1.0 and release["ap_5"] < scores["ap_5"]  # the embeddings alone go by the protocol
    alone = dataclasses.replace(dataset, videos=dataset.videos[1::2])
    rows, expected = ({row["method"]: row for row in baseline_rows(data)} for data in (split, alone))
    for name in ("equal_split", "dtw", "uniform_plan"):
        assert rows[name] == expected[name]


def test_pairs_stay_within_an_activity(dataset: Dataset) -> None:
    """Two activities whose recordings share nothing: matching across them would score below 1."""
    split = tuple(dataclasses.replace(v, activity="ab"[i % 2]) for i, v in enumerate(dataset.videos))
    shifted = tuple(
        dataclasses.replace(v, labels=torch.where(v.labels == dataset.background, v.labels, (v.labels + i % 2) % 6))
        if v.labels is not None
        else v
        for i, v in enumerate(split)
    )
    two = dataclasses.replace(dataset, videos=shifted)
    assert evaluate(Oracle(MLPEncoder(2), 6, JointTerms()), two)["transfer"] > 0.99


def test_a_video_without_labels_is_named(dataset: Dataset) -> None:
    bare = dataclasses.replace(
        dataset, videos=(*dataset.videos[:3], dataclasses.replace(dataset.videos[3], labels=None))
    )
    with pytest.raises(DataError, match=f"video {dataset.videos[3].name!r} has no labels"):
        baseline_rows(bare)


def test_scores_are_plain_numbers_or_none(dataset: Dataset) -> None:
    for row in baseline_rows(dataset):
        for key, value in row.items():
            assert isinstance(value, (str, int, float, type(None))) and not isinstance(value, np.generic), key
            assert not isinstance(value, float) or math.isfinite(value), key


def test_matches_of_long_recordings_are_scored_on_some_of_their_frames(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings of 50,000 frames have a plan that does not fit; the truth still has full marks, and is asked less."""
    asked: list[int] = []

    class Watched(Oracle):
        def align(self, x: Video, y: Video) -> torch.Tensor:
            asked.extend((len(x), len(y)))
            return super().align(x, y)

    monkeypatch.setattr(module, "MOST_MATCHED", 60)
    scores = evaluate(Watched(MLPEncoder(2), dataset.n_actions, JointTerms()), dataset)
    assert {*asked} == {60}
    assert scores["transfer"] == 1.0 and scores["frame_error"] == 0.0


def test_without_labels_actions_are_looked_for_within_an_activity() -> None:
    """Three recordings of one activity, and the same three beside one that has its activity for itself."""
    *three, last = (dataclasses.replace(video, labels=None) for video in toy(4, 3).videos)
    model = build(make_config("toy", "asot"), toy(4, 3))
    own = dataclasses.replace(last, activity="another")
    alone, beside = (scores_without_labels(model, Dataset("d", tuple(some))) for some in (three, [*three, own]))
    assert 0 < alone["found_again"] == pytest.approx(beside["found_again"])
    assert "found_again" not in scores_without_labels(model, Dataset("d", (three[0], own)))
