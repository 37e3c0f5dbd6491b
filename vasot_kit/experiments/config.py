"""The frozen, validated configuration of one experiment, and what is built from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Annotated, Any

import torch

from vasot_kit.experiments.presets import of_pixels, preset_values
from vasot_lib.checks import Count, Range, check_fields, check_value, field_types
from vasot_lib.data import Dataset
from vasot_lib.encoders import MLPEncoder, PixelEncoder
from vasot_lib.errors import InputError, unknown_name
from vasot_lib.methods import Method, find_method
from vasot_lib.training import TrainingSettings


@dataclass(frozen=True)
class Encoder:
    """Widths of the per-frame MLP encoder, ``in -> hidden -> out``."""

    hidden: Count = 128
    out: Count = 40

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Pixels:
    """The encoder of pictures; see :class:`vasot_lib.encoders.PixelEncoder` for what the values mean."""

    trunk: str = "resnet50"
    weights: str = "imagenet"
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
        dataset, method, preset: by name.
        training: see :class:`vasot_lib.training.TrainingSettings`.
        encoder: of features or of pictures.
        hyper: the method's own hyper-parameters.
    """

    dataset: str
    method: str
    preset: str
    training: TrainingSettings
    encoder: Encoder | Pixels
    hyper: Any

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, for JSON and for printing."""
        return asdict(self)

    def __str__(self) -> str:
        return json.dumps(self.as_dict(), indent=1)


def make_config(
    dataset: str,
    method: str,
    preset: str = "kit",
    *,
    seed: int = 0,
    device: str = "cpu",
    epochs: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    pixels: bool | None = None,
) -> Config:
    """A configuration from a preset, changed where asked.

    Args:
        dataset: name of the data set; presets differ between data sets.
        method: name of the method.
        preset: ``paper`` (what the text says), ``release`` (what the released code runs) or ``kit`` (what we measured
            to work best on toy and mocap6).
        seed: all randomness follows from it.
        device: ``cpu``, ``cuda`` or ``auto``.
        epochs: instead of the preset's; stages that a method counts in epochs shrink or grow with them.
        overrides: single values by dotted name, e.g. ``{"training.lr": 3e-4, "hyper.transport.alpha": 0.5}``.
        pixels: whether the encoder is shown pictures; None: as the registered data set of that name has it.

    Raises:
        InputError: unknown method, preset or name in the overrides, wrong type, value out of range.
    """
    pixels = of_pixels(dataset) if pixels is None else pixels
    encoder = Pixels() if pixels else Encoder()
    config = Config(dataset, method, preset, TrainingSettings(), encoder, find_method(method).Hyper())
    values = preset_values(preset, dataset, method, epochs, pixels)
    values |= {"training.seed": seed, "training.device": device}
    return changed(config, {**values, **(overrides or {})})


def changed(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with other values, by dotted name.

    Raises:
        InputError: an unknown name, wrong type, value out of range.
    """
    for name, value in values.items():
        config = _set(config, name, name.split("."), value)
    return config


def build(config: Config, dataset: Dataset) -> Method:
    """The untrained method of a configuration for a data set; its first weights follow from the seed.

    Raises:
        InputError: a segmentation method for a data set without a number of actions, or an encoder of pictures for
            features, or the other way round.
        DataError: weights that cannot be had.
    """
    cls = find_method(config.method)
    if "segmentation" in cls.tasks and dataset.n_actions < 2:
        raise InputError(
            f"data set {dataset.name!r} has n_actions = {dataset.n_actions}; segmentation needs at least 2"
        )
    shows, takes = dataset.videos[0].context is not None, isinstance(config.encoder, Pixels)
    if shows != takes:
        kinds = ("features", "pictures")
        raise InputError(
            f"data set {dataset.name!r} shows {kinds[shows]} but the configuration has an encoder of {kinds[takes]}; "
            f"use make_config(..., pixels={shows}) or Dataset.as_pictures"
        )
    torch.manual_seed(config.training.seed)
    own = config.encoder
    if isinstance(own, Pixels):
        encoder: MLPEncoder | PixelEncoder = PixelEncoder(
            own.trunk, own.weights, own.hidden, own.out, own.dropout, own.flip, own.jitter, cls.unit_length
        )
    else:
        encoder = MLPEncoder(dataset.feature_dim, own.hidden, own.out, cls.unit_length)
    return cls(encoder, dataset.n_actions, config.hyper)


def _set(node: Any, full_name: str, path: list[str], value: Any) -> Any:
    """A copy of the dataclass ``node`` in which the field at ``path`` has another value."""
    names = [field.name for field in fields(node)]
    if path[0] not in names:
        raise unknown_name("parameter", full_name, known_parameters(node, full_name[: -len(".".join(path))]))
    old = getattr(node, path[0])
    if len(path) > 1 and is_dataclass(old):
        return replace(node, **{path[0]: _set(old, full_name, path[1:], value)})
    if is_dataclass(old) or len(path) > 1:
        raise unknown_name("parameter", full_name, known_parameters(node, full_name[: -len(".".join(path))]))
    check_value(full_name, value, field_types(type(node))[path[0]])
    return replace(node, **{path[0]: value})


def known_parameters(node: Any, prefix: str = "") -> list[str]:
    """Dotted names of all plain values below a dataclass."""
    names: list[str] = []
    for field in fields(node):
        value = getattr(node, field.name)
        name = f"{prefix}{field.name}"
        names += known_parameters(value, f"{name}.") if is_dataclass(value) else [name]
    return names
