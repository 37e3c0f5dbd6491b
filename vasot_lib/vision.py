"""Networks and weights of torchvision and timm, and the conversion of pictures to their input.

This is the only module that imports torchvision or timm, and only code that works on pixels imports it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vasot_lib.errors import DataError, InputError, unknown_name

IMAGENET = "imagenet"
ANSWERED = 5.0  # seconds within which a server has to answer
TIMM = "timm:"  # before the name of a network of timm
# Per colour channel of ImageNet's pictures in 0..1; torchvision's networks expect input that is standardised by them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Operators for object detection that torchvision's compiled part defines if it loads.
_MISSING_OPERATORS = ("nms", "qnms")


@cache
def torchvision() -> ModuleType:
    """Import torchvision, even if its compiled part was built for CUDA and torch was not.

    In that case a plain import fails because torchvision refers to operators that its compiled part would have defined.
    They are declared here before a second try; networks and transforms never call them.
    """
    try:
        module = importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        torchvision.library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[attr-defined] # kept alive
        for name in _MISSING_OPERATORS:
            torchvision.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[attr-defined]
        module = importlib.import_module("torchvision")
    importlib.import_module("torchvision.transforms.v2")
    return module


def timm(wanted: str) -> ModuleType:
    """Import timm; where it is not installed, a DataError says that what is ``wanted`` needs it."""
    torchvision()  # timm imports it as well
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise DataError(f"{wanted} needs timm; pip install timm") from error


def network(name: str, weights: str) -> nn.Module:
    """Build a network by name.

    Args:
        name: a classifier, one of ``torchvision.models.list_models(module=torchvision.models)``; or ``timm:`` and a
            model of timm, which comes without its last layer.
        weights: ``imagenet`` (downloaded once; of timm the weights behind its tag), a path to a state dict saved by
            ``torch.save`` or safetensors, or empty for random weights.

    Raises:
        InputError: unknown network.
        DataError: timm is missing, or the weights cannot be downloaded or read, or fit another network.
    """
    model = _of_timm(name.removeprefix(TIMM), weights) if name.startswith(TIMM) else _of_torchvision(name, weights)
    if weights not in (IMAGENET, ""):
        load_weights(model, Path(weights))
    return model


def _of_torchvision(name: str, weights: str) -> nn.Module:
    models = torchvision().models
    # Only classifiers: detectors and others download the weights of their backbone even if none are asked for.
    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("network of torchvision", name, known)
    # The weights are loaded below, so that a failed download or an unreadable file becomes a DataError.
    model: nn.Module = models.get_model(name, weights=None)
    if weights == IMAGENET:
        model.load_state_dict(_download(name))
    return model


def _of_timm(name: str, weights: str) -> nn.Module:
    library = timm(f"network timm:{name}")
    known = library.list_pretrained() if "." in name else library.list_models()
    if name not in known:
        raise unknown_name("model of timm", name, known)
    try:
        with no_retries() if weights == IMAGENET else nullcontext():
            model: nn.Module = library.create_model(name, pretrained=weights == IMAGENET, num_classes=0)
    except Exception as error:  # no network, no such pretrained weights
        raise DataError(
            f"weights of timm:{name} cannot be downloaded ({type(error).__name__}); on a machine with a network fetch "
            f"{_address(library, name)}, and name that file as the weights: timm:{name}@FILE"
        ) from error
    return model


@contextmanager
def no_retries() -> Iterator[None]:
    """Where the Hugging Face Hub does not answer, take what was downloaded before, without asking for minutes."""
    hub = importlib.import_module("huggingface_hub")
    before = hub.constants.HF_HUB_OFFLINE
    try:
        hub.get_session().head(hub.constants.ENDPOINT, timeout=ANSWERED)
    except Exception:  # of one of two libraries, by its version
        hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.constants.HF_HUB_OFFLINE = before


def _address(library: ModuleType, name: str) -> str:
    """Where the weights of a model of timm lie."""
    known = library.get_pretrained_cfg(name)
    file = known.hf_hub_filename or "model.safetensors"
    return f"https://huggingface.co/{known.hf_hub_id}/resolve/main/{file}" if known.hf_hub_id else str(known.url)


def load_weights(model: nn.Module, file: Path) -> None:
    """Load a state dict from a file into a model, refusing files that would execute code (pickles).

    Raises:
        DataError: the file is missing, is not a state dict, or is that of another network.
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
        # The published files of timm have the last layer too, which was taken off.
        last = getattr(model, "default_cfg", {}).get("classifier") or ()
        last = tuple(f"{name}." for name in ([last] if isinstance(last, str) else last))
        own = model.state_dict()
        model.load_state_dict({name: part for name, part in state.items() if name in own or not name.startswith(last)})
    except Exception as error:  # damaged archives raise errors of many types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"weights {file} do not fit {type(model).__name__} or are damaged ({reason}); "
            "give a state dict of this network"
        ) from error


def pictures_to_float(pictures: Tensor) -> Tensor:
    """(n, H, W, 3) uint8 to (n, 3, H, W) float32 in 0..1; stays channels-last in memory, fastest for convolutions."""
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise InputError(
            f"pictures are {pictures.dtype} of shape {tuple(pictures.shape)}; expected uint8 (n, height, width, 3)"
        )
    return pictures.permute(0, 3, 1, 2).float().div(255)


def normalised(pictures: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """(n, 3, H, W) pictures in 0..1, standardised per channel by a mean and a deviation."""
    centre, spread = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (mean, std))
    return (pictures - centre) / spread


def imagenet_weights(name: str) -> Any:
    """Torchvision's record of the ImageNet weights of a network: their address and the transforms of their input."""
    models = torchvision().models
    # [paper] "pre-trained on ImageNet": the original weights, not those of torchvision's later training recipe (V2).
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
