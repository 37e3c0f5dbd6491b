"""The preset ``auto``: the length of actions is found where it is known, and the radius follows from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vasot_kit.experiments import auto
from vasot_kit.experiments.auto import RADIUS_PER_LENGTH, action_length, segment_length, well_scaled
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import baseline_rows
from vasot_kit.folders import save_folder
from vasot_kit.runs import training
from vasot_kit.runs.models import read_model
from vasot_kit.runs.training import Training, run_study, train_and_score
from vasot_lib.data import Dataset, Video, toy
from vasot_lib.errors import DataError, InputError
from vasot_lib.training import fit
from vasot_lib.transport import Alignment


def segments(n: int, mean: float, k: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) labels of segments of exponentially distributed length, each of a random one of k actions."""
    ends = np.cumsum(rng.exponential(mean, size=int(5 * n / mean) + 10)).round().astype(int)
    return rng.integers(k, size=len(ends))[np.searchsorted(ends, np.arange(n), side="right")]


def recordings(share: float, *, n: int = 600, k: int = 6, noise: float = 0.3, seed: int = 0, count: int = 8) -> Dataset:
    """Recordings whose segments last a share of them on average; every action has a point of its own."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, 10))
    videos = []
    for number in range(count):
        labels = segments(n, share * n, k, rng)
        features = centres[labels] + noise * rng.normal(size=(n, 10))
        videos.append(Video(f"v{number}", torch.from_numpy(features).float(), torch.from_numpy(labels), "work"))
    return Dataset("work", tuple(videos), tuple("abcdef"[:k]), n_actions=k)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_the_length_of_a_segment_is_found(share: float, wrong: float) -> None:
    """Also where a share of the frames is in a wrong cluster. Two neighbouring segments share a label by chance, which
    the measure discounts."""
    rng = np.random.default_rng(1)
    clusters = [segments(2000, share * 2000, 8, rng) for _ in range(30)]
    clusters = [np.where(rng.random(2000) < wrong, rng.integers(8, size=2000), labels) for labels in clusters]
    assert segment_length(clusters).share == pytest.approx(share, rel=0.2)


@pytest.mark.parametrize("rounds", [2, 4, 6])
@pytest.mark.parametrize("wrong", [0.0, 0.2])
def test_actions_that_come_back_in_a_rhythm_do_not_halve_it(rounds: int, wrong: float) -> None:
    """All segments last about equally long, which the fitted decays take for two thirds of it."""
    rng = np.random.default_rng(0)
    clusters = []
    for _ in range(12):
        ends = np.exp(0.1 * rng.normal(size=5 * rounds)).cumsum()
        labels = np.searchsorted(ends, (np.arange(600) + 0.5) / 600 * ends[-1]) % 5
        clusters.append(np.where(rng.random(600) < wrong, rng.integers(5, size=600), labels))
    assert 0.62 < segment_length(clusters).share * 5 * rounds < 1.1


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_it_is_found_in_features(share: float) -> None:
    assert action_length(recordings(share)).share == pytest.approx(share, rel=0.25)


def test_it_does_not_depend_on_the_frame_rate() -> None:
    data = recordings(0.05)
    twice = replace(
        data, videos=tuple(replace(v, features=v.features.repeat_interleave(2, 0), labels=None) for v in data.videos)
    )
    assert action_length(twice).share == pytest.approx(action_length(data).share, rel=0.1)


def test_neither_labels_nor_units_nor_levels_nor_constant_channels_matter() -> None:
    data = recordings(0.05)
    scale = 10.0 ** torch.arange(-5, 5)
    changed = [
        replace(v, labels=None, features=torch.cat([v.features * scale + 3 * i, torch.ones(len(v), 2)], 1))
        for i, v in enumerate(data.videos)
    ]
    found = action_length(replace(data, videos=tuple(changed))).share
    assert found == pytest.approx(action_length(data).share, rel=0.1)


@pytest.mark.parametrize("method", ["vaot", "asot", "vasot"])
def test_the_radius_is_a_share_of_it(method: str) -> None:
    data = recordings(0.1)
    config = make_config("work", method, "auto", recordings=data)
    stages = {
        "vaot": lambda hyper: [hyper.transport],
        "asot": lambda hyper: [hyper.transport, hyper.decode],
        "vasot": lambda hyper: [hyper.alignment.transport, hyper.segmentation.transport, hyper.segmentation.decode],
    }
    for stage in stages[method](config.hyper):
        assert stage.radius == pytest.approx(RADIUS_PER_LENGTH * action_length(data).share, abs=1e-4)


@pytest.mark.parametrize(("method", "lr"), [("vasot", 1.5e-3), ("asot", 1e-3), ("vaot", 1e-3)])
def test_a_training_of_more_epochs_is_the_same_but_longer(method: str, lr: float) -> None:
    """So that a finished one can go on."""
    data = recordings(0.1)
    ours, longer = (make_config("work", method, "auto", epochs=n, recordings=data) for n in (None, 40))
    assert longer == replace(ours, training=replace(ours.training, epochs=40)) and ours.training.lr == lr


def test_methods_without_structural_priors_keep_their_settings() -> None:
    config = make_config("work", "tcc", "auto", recordings=recordings(0.1, n=50))
    assert config.hyper == make_config("unregistered", "tcc", "kit").hyper


@pytest.mark.parametrize("n", [8, 50])
def test_short_recordings_get_a_window_of_a_frame(n: int) -> None:
    data = recordings(0.01, n=n, k=3)
    config = make_config("work", "vasot", "auto", epochs=1, recordings=data)
    model = build(config, data)
    fit(model, data, config.training, progress=False)
    assert len(model.segment(data.videos[0])) == n


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        ([], "0 recordings, the shortest of 0 frames; give some, of 2 frames or more"),
        ([[0, 1], [0]], "2 recordings, the shortest of 1 frames"),
        ([[0] * 9, [1] * 9], "the cluster changes in no recording, so that no action ends"),
    ],
)
def test_labels_without_a_change_have_no_length(clusters: list[list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        segment_length([np.array(labels) for labels in clusters])


def test_features_that_do_not_change_are_refused() -> None:
    still = Dataset("still", tuple(Video(name, torch.ones(40, 3)) for name in "ab"), n_actions=2)
    with pytest.raises(DataError, match="'still' has no more than 2 different frames, .* and the preset kit"):
        make_config("still", "asot", "auto", recordings=still)
    given = {"hyper.transport.radius": 0.1, "hyper.decode.radius": 0.2}
    assert make_config("still", "asot", "auto", recordings=still, overrides=given).hyper.decode.radius == 0.2


def test_one_channel_is_as_good_as_two_that_are_the_same() -> None:
    """Scaled to unit length, a single channel would keep its sign alone."""
    rng = np.random.default_rng(0)
    steps = [np.repeat(rng.permutation(5), 40)[:, None] + 0.1 * rng.normal(size=(200, 1)) for _ in range(4)]
    one = Dataset("one", tuple(Video(f"{i}", torch.from_numpy(x).float()) for i, x in enumerate(steps)), n_actions=5)
    assert action_length(one).share == pytest.approx(0.2, rel=0.2)


def test_a_recording_that_never_changes_is_named() -> None:
    moving = tuple(Video(name, torch.randn(40, 3, generator=torch.Generator().manual_seed(1))) for name in "ab")
    with pytest.warns(UserWarning, match="^c of data set 'mine' never changes, and would get an action of its own"):
        well_scaled(Dataset("mine", (*moving, Video("c", torch.zeros(40, 3)))))


def test_recordings_of_ones_own_get_it_by_default() -> None:
    mine = recordings(0.1, n=50)
    assert make_config("mine", "vasot", recordings=mine) == make_config("mine", "vasot", "auto", recordings=mine)
    assert make_config("toy", "vasot", recordings=mine).preset == "kit" == make_config("mine", "vasot").preset


def test_without_recordings_there_is_no_radius() -> None:
    with pytest.raises(InputError, match=r"reads the radius from recordings; give make_config\(recordings=...\) 'toy'"):
        make_config("toy", "vasot", "auto")


def test_untrained_plans_get_the_same_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a method with preset auto stands its plan on raw features with a radius that was found alike."""
    asked: list[float] = []
    solve = Alignment.match
    monkeypatch.setattr(Alignment, "match", lambda self, *a, **k: asked.append(self.radius) or solve(self, *a, **k))
    data = recordings(0.1, n=100, count=3)
    baseline_rows(data, preset="auto")
    assert set(asked) == {make_config("work", "vaot", "auto", recordings=data).hyper.transport.radius}


def test_one_row_serves_all_data_sets() -> None:
    data = recordings(0.1)
    ours, theirs = (make_config(name, "vasot", "auto", recordings=data) for name in ("toy", "breakfast_coffee"))
    assert replace(ours, dataset="") == replace(theirs, dataset="")


def test_a_study_records_the_radius_and_an_override_wins(tmp_path: Path) -> None:
    few = {"training.frames": 32}
    given = {**few, "hyper.transport.radius": 0.2}
    runs = [Training("toy", "asot", "auto", epochs=1, overrides=some) for some in (few, given)]
    rows = run_study(runs, tmp_path)
    hypers = [json.loads((tmp_path / row["metrics"]).read_text())["config"]["hyper"] for row in rows]
    assert hypers[0]["decode"]["radius"] == hypers[1]["decode"]["radius"]
    assert hypers[0]["decode"]["radius"] == pytest.approx(RADIUS_PER_LENGTH * action_length(toy()).share, abs=1e-4)
    assert hypers[1]["transport"]["radius"] == 0.2


def shifted(dataset: Dataset, scale: float | torch.Tensor, offset: float) -> Dataset:
    return replace(dataset, videos=tuple(replace(v, features=v.features * scale + offset) for v in dataset.videos))


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-18, 0.0), (1.0, 1e4), (10 ** torch.linspace(-6, 6, 24), 0.0), (1e-3, 1.0)]
)
def test_features_that_an_encoder_would_not_see_are_standardised(scale: float | torch.Tensor, offset: float) -> None:
    plain = toy(3, 3)
    with pytest.warns(UserWarning, match="are standardised within each recording: what changes has"):
        scaled = well_scaled(shifted(plain, scale, offset))
    assert scaled.scaling == "standardised"
    for a, b in zip(scaled.videos, plain.standardised().videos, strict=True):
        torch.testing.assert_close(a.features, b.features, atol=2e-2, rtol=0)


@pytest.mark.parametrize("change", ["none", "large", "constant channels", "zero rows"])
def test_other_features_are_taken_as_they_are(change: str) -> None:
    data = toy(3, 3)
    if change == "large":
        data = shifted(data, 1e13, 0.0)
    for video in data.videos:
        if change == "constant channels":
            video.features[:, 2:] = 0.5
        if change == "zero rows":
            video.features[::3] = 0
    assert well_scaled(data) is data
    assert 0 < action_length(data).share <= 0.5


def test_a_folder_of_such_features_is_trained_on_and_the_run_says_how(tmp_path: Path) -> None:
    data = shifted(toy(3, 3), 1.0, 1e5)
    names = {v.name: (v.features.numpy(), [data.classes[k] for k in v.labels]) for v in data.videos}
    save_folder(tmp_path / "data", names, data.classes)
    with pytest.warns(UserWarning, match="'data' are standardised"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "baseline_rows", lambda *_: [])
        train_and_score(Training(str(tmp_path / "data"), "asot", "auto", epochs=0), tmp_path / "run")
    assert read_model(tmp_path / "run").inputs.scaling == "standardised"


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("scale", [0.02, 0.026, 0.04])
def test_a_faint_tail_is_no_action(seed: int, scale: float) -> None:
    """On Breakfast coffee, seed 6, a decay with 2 % of the weight was taken for actions of half a recording."""
    lags = np.unique(np.geomspace(1, 1000, 60).round()) / 2000
    wander = 0.02 / 3 * np.random.default_rng(seed).normal(size=len(lags)).cumsum()
    agreement = auto._decays_beyond_chance(lags, 0.02, scale, 0.4) + wander
    length, (weight, short, long) = auto._fit(lags, agreement, auto._decays_beyond_chance)
    assert length < 2 * scale and short <= long and 0 <= weight <= 1
