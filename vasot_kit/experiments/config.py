"""The configuration of one experiment, frozen and checked, and the method that is built from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Annotated, Any

import torch

from vasot_kit.datasets import pretrained
from vasot_kit.datasets.registry import DATASETS
from vasot_kit.experiments.auto import auto_radii, radius_names
from vasot_kit.experiments.presets import preset_values, trains_on_pixels
from vasot_kit.experiments.restarts import restarts
from vasot_kit.methods import find_method
from vasot_lib.checks import Count, Range, check_fields, check_value, field_types
from vasot_lib.data import Dataset
from vasot_lib.encoders import MLPEncoder, PixelEncoder
from vasot_lib.errors import InputError, unknown_name
from vasot_lib.methods import Method
from vasot_lib.training import TrainingSettings
from vasot_lib.vision import IMAGENET, TIMM


@dataclass(frozen=True)
class Encoder:
    """Widths of the encoder of features, an MLP ``in -> hidden -> out`` that sees each frame by itself."""

    hidden: Count = 128
    out: Count = 40

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Pixels:
    """Settings of the encoder of pictures, which :class:`vasot_lib.encoders.PixelEncoder` explains.

    The trunk may also be ``network``, EfficientNet-Lite0, whose weights of ImageNet pip brings once.
    """

    trunk: str = "resnet50"
    weights: str = "imagenet"
    frozen: bool = False
    side: Annotated[int, Range(least=0)] = 0
    hidden: Count = 512
    out: Count = 128
    dropout: Annotated[float, Range(least=0, below=1)] = 0.1
    flip: bool = True
    jitter: bool = True

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Config:
    """One experiment: everything that its numbers depend on besides the data.

    Attributes:
        dataset, method, preset: their names.
        training: epochs, batch size, learning rate and so on.
        encoder: settings of the encoder of features or of pictures.
        hyper: the method's own hyper-parameters, an instance of its class ``Hyper``.
        restarts: from how many first weights the method is trained; see :mod:`vasot_kit.experiments.restarts`.
    """

    dataset: str
    method: str
    preset: str
    training: TrainingSettings
    encoder: Encoder | Pixels
    hyper: Any
    restarts: Count = 1

    def __post_init__(self) -> None:
        check_fields(self)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, for JSON and for printing."""
        return asdict(self)

    def __str__(self) -> str:
        return json.dumps(self.as_dict(), indent=1)


def make_config(
    dataset: str,
    method: str,
    preset: str | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    epochs: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    pixels: bool | None = None,
    recordings: Dataset | None = None,
) -> Config:
    """A configuration from a preset, changed where asked.

    Args:
        dataset: name of the data set; presets differ between data sets.
        method: name of the method.
        preset: ``paper`` (what the text says), ``release`` (what the released code runs), ``kit`` (what we measured to
            work best on toy and mocap6) or ``auto`` (the same with the radius that suits the recordings). By default
            ``auto`` where ``recordings`` of one's own are given, and ``kit`` for data sets that the kit knows by name.
        seed: all randomness follows from it.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        epochs: instead of the preset's; stages of a method that are counted in epochs are scaled with them.
        overrides: single values by dotted name, e.g. ``{"training.lr": 3e-4, "hyper.transport.alpha": 0.5}``.
        pixels: whether the encoder takes pictures instead of features; where None, as the data set of that name does.
        recordings: the data set itself, from which ``auto`` reads the radius; other presets do not look at it.

    Raises:
        InputError: an unknown method or preset, ``auto`` without recordings, or an override that
            :func:`with_overrides` refuses.
        DataError: see :func:`vasot_kit.experiments.auto.auto_radii`.
    """
    check_value("dataset", dataset, str)
    if preset is None:
        preset = "kit" if recordings is None or dataset.partition("/")[0] in DATASETS else "auto"
    pixels = trains_on_pixels(dataset) if pixels is None else pixels
    encoder = Pixels() if pixels else Encoder()
    config = Config(dataset, method, preset, TrainingSettings(), encoder, find_method(method).Hyper())
    values = preset_values(preset, dataset, method, epochs, pixels)
    values |= {"training.seed": seed, "training.device": device}
    config = with_overrides(with_overrides(config, values), overrides or {})
    if preset != "auto" or all(name in (overrides or {}) for name in radius_names(method)):
        return config
    if recordings is None:
        raise InputError(
            f"the preset auto reads the radius from recordings; give make_config(recordings=...) {dataset!r} itself"
        )
    radii = auto_radii(recordings, method, config.training.frames, seed)
    return with_overrides(config, {**radii, **(overrides or {})})


def with_overrides(config: Config, overrides: Mapping[str, Any]) -> Config:
    """The configuration with other values.

    Args:
        config: stays as it is.
        overrides: single values by dotted name, e.g. ``{"training.lr": 3e-4}``.

    Raises:
        InputError: an unknown name, a wrong type, or a value out of range; also the name of the data set, the method or
            the preset, because all else follows from them.
    """
    if not isinstance(overrides, Mapping):
        raise InputError(
            f"overrides are {overrides!r}; give single values by dotted name, e.g. {{'training.lr': 3e-4}}"
        )
    for name, value in overrides.items():
        if name in ("dataset", "method", "preset"):
            raise InputError(f"{name} is no parameter to override; make the configuration of {value!r} instead")
        config = _replaced(config, name, value)
    return config


def build(config: Config, dataset: Dataset) -> Method:
    """The untrained method of a configuration for a data set; its initial weights follow from the seed.

    Raises:
        InputError: a segmentation method for a data set without a number of actions, an encoder of pictures for a data
            set of features, or an encoder of features for one of pictures.
        DataError: pretrained weights that cannot be downloaded.
    """
    cls = find_method(config.method)
    if "segmentation" in cls.tasks and dataset.n_actions < 2:
        raise InputError(
            f"data set {dataset.name!r} has n_actions = {dataset.n_actions}; segmentation needs at least 2: "
            "give load_folder(..., n_actions=K), or estimate K by vasot_kit.experiments.n_actions.count_actions"
        )
    settings = config.encoder
    has_pictures, takes_pictures = dataset.videos[0].context is not None, isinstance(settings, Pixels)
    if has_pictures != takes_pictures:
        kinds = ("features", "pictures")
        raise InputError(
            f"data set {dataset.name!r} shows {kinds[has_pictures]} but the configuration has an encoder of "
            f"{kinds[takes_pictures]}; use make_config(..., pixels={has_pictures}) or Dataset.as_pictures"
        )
    torch.manual_seed(config.training.seed)
    return new_method(config, dataset.n_actions, dataset.feature_dim)


def new_method(config: Config, n_actions: int, feature_dim: int) -> Method:
    """A method with random weights: K actions, and an encoder of pictures, or of features of that width.

    Raises:
        InputError: restarts of a method that :func:`vasot_kit.experiments.restarts.restarts` refuses.
        DataError: pretrained weights that cannot be downloaded.
    """
    cls = find_method(config.method)
    members = [
        cls(_encoder(config.encoder, feature_dim, cls.unit_length), n_actions, config.hyper)
        for _ in range(config.restarts)
    ]
    return members[0] if len(members) == 1 else restarts(members)


def _encoder(settings: Encoder | Pixels, feature_dim: int, unit_length: bool) -> MLPEncoder | PixelEncoder:
    if isinstance(settings, Pixels):
        trunk, weights = settings.trunk, settings.weights
        if settings.frozen and trunk == "small":
            raise InputError(
                "encoder.frozen is True but the trunk small has no pretrained weights; use encoder.frozen false, or "
                "encoder.trunk network"
            )
        if trunk == pretrained.TRUNK:
            weights = str(pretrained.weights_file()) if weights == IMAGENET else weights
            trunk = f"{TIMM}{pretrained.NETWORK}"
        return PixelEncoder(
            trunk, weights, settings.frozen, settings.side, settings.hidden, settings.out, settings.dropout,
            settings.flip, settings.jitter, unit_length,
        )  # fmt: skip
    return MLPEncoder(feature_dim, settings.hidden, settings.out, unit_length)


def known_parameters(settings: Any, prefix: str = "") -> list[str]:
    """Dotted names of all plain values in a dataclass and in the dataclasses that it holds."""
    names: list[str] = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        name = f"{prefix}{field.name}"
        names += known_parameters(value, f"{name}.") if is_dataclass(value) else [name]
    return names


def _replaced(settings: Any, name: str, value: Any, prefix: str = "") -> Any:
    """A copy of a dataclass in which the value at a dotted name is another; ``prefix`` leads to it, for messages."""
    first, _, rest = name.partition(".")
    inner = getattr(settings, first, None)
    if rest and is_dataclass(inner):
        return replace(settings, **{first: _replaced(inner, rest, value, f"{prefix}{first}.")})
    if name not in known_parameters(settings):
        raise unknown_name("parameter", f"{prefix}{name}", known_parameters(settings, prefix))
    check_value(f"{prefix}{name}", value, field_types(settings.__class__)[name])
    return replace(settings, **{name: value})
