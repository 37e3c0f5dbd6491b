"""The one place that imports torchvision, and its networks with their weights. Only who uses pixels comes here."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vasot_lib.errors import DataError, InputError, unknown_name

IMAGENET = "imagenet"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures; torchvision's networks expect it
# Operators of object detection, which torchvision's own compiled part defines where it loads.
_MISSING = ("nms", "qnms")


@cache
def torchvision() -> ModuleType:
    """The package, also where its compiled part was built for CUDA and torch was not.

    There its import fails, because it annotates operators that nobody has defined; they are declared first, and
    networks and transforms work without them.
    """
    try:
        module = importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        torchvision.library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[attr-defined] # kept alive
        for name in _MISSING:
            torchvision.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[attr-defined]
        module = importlib.import_module("torchvision")
    importlib.import_module("torchvision.transforms.v2")
    return module


def network(name: str, weights: str) -> nn.Module:
    """A network of torchvision by name.

    Args:
        name: of a classifier, as in ``torchvision.models.list_models(module=torchvision.models)``.
        weights: ``imagenet`` (fetched once, into torch's hub folder), a file of weights (a state dict, by
            ``torch.save`` or safetensors), or empty for random ones.

    Raises:
        InputError: unknown network.
        DataError: the weights cannot be downloaded or read, or fit another network.
    """
    models = torchvision().models
    # Classifiers: detectors and the like fetch the weights of their backbone also where none are wanted.
    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("network of torchvision", name, known)
    # GoogLeNet and Inception give extra heads in training otherwise.
    model: nn.Module = models.get_model(name, weights=None)
    if weights == IMAGENET:
        model.load_state_dict(_download(name))
    elif weights:
        load_weights(model, Path(weights))
    return model


def load_weights(model: nn.Module, file: Path) -> None:
    """Read a state dict without running what is stored in it.

    Raises:
        DataError: missing, no state dict, or one of another network.
    """
    if not file.is_file():
        raise DataError(
            f"weights {str(file)!r} are no file; name a file, {IMAGENET!r}, or leave it empty for random ones"
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # whatever a damaged archive raises: there are many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"weights {file} do not fit {type(model).__name__} or are damaged ({reason}); "
            "give a state dict of this network"
        ) from error


def pictures_to_float(pictures: Tensor) -> Tensor:
    """(n, H, W, 3) uint8 to (n, 3, H, W) float32 in 0..1, in the memory layout that convolutions like best."""
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise InputError(
            f"pictures are {pictures.dtype} of shape {tuple(pictures.shape)}; expected uint8 (n, height, width, 3)"
        )
    return pictures.permute(0, 3, 1, 2).float().div(255)


def imagenet_normalised(pictures: Tensor) -> Tensor:
    """(n, 3, H, W) pictures in 0..1, shifted and scaled as ImageNet's were."""
    mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (MEAN, STD))
    return (pictures - mean) / std


def imagenet_weights(name: str) -> Any:
    """What torchvision knows of a network's weights: their address, and how their pictures are prepared."""
    models = torchvision().models
    # [paper] "pre-trained on ImageNet": the first ones that torchvision had, not the improved recipe of later.
    return models.ResNet50_Weights.IMAGENET1K_V1 if name == "resnet50" else models.get_model_weights(name).DEFAULT


def _download(name: str) -> Any:
    weights = imagenet_weights(name)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        return weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    except Exception as error:  # no network, a proxy's page, a damaged file
        raise DataError(
            f"ImageNet weights of {name} cannot be downloaded ({type(error).__name__}); on a machine with a network "
            f"fetch {weights.url} and put the file into {folder}, or name it as the weights"
        ) from error
