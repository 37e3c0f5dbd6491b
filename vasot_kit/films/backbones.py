"""Features of frames by a frozen network: any classifier of torchvision or timm without its last layer.

    torchvision:resnet50      timm:vit_small_patch14_dinov2.lvd142m      timm:resnet18@FILE

The part after @ is a file of weights, for machines that cannot download them. Pictures go through the network in
batches of bounded size, so films of any length fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vasot_kit.films.media import content_hash
from vasot_lib.errors import InputError
from vasot_lib.vision import IMAGENET, TIMM, imagenet_weights, network, timm

LIBRARIES = ("timm", "torchvision")
BATCH = 32


class Backbone:
    """A frozen network as a :class:`vasot_kit.films.recordings.FeatureExtractor`.

    Args:
        name: ``library:model``; followed by ``@FILE`` for weights from a file, or by ``@random`` for none (in tests).
        device: where it runs.

    Raises:
        InputError: no such library or model.
        DataError: the weights cannot be loaded, or timm is not installed.
    """

    side = 256
    one_process = True

    def __init__(self, name: str, device: str = "cpu"):
        library, colon, rest = name.partition(":")
        if not colon or library not in LIBRARIES:
            raise InputError(f"backbone is {name!r}; write library:model, for example torchvision:resnet50")
        model, _, weights = rest.partition("@")
        load = _from_timm if library == "timm" else _from_torchvision
        self.name = name
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # features are cached by name, so @random has to be the same network always
            self.model, self.prepare = load(model, {"": IMAGENET, "random": ""}.get(weights, weights))
        self.model.eval().requires_grad_(False).to(self.device)
        if Path(weights).is_file():
            # The weights of one network have files of the same size and often the same name; the hash tells them apart.
            self.name = f"{library}:{model}@{Path(weights).name}-{content_hash(weights)}"

    @torch.inference_mode()
    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, D) float32 features of N pictures (H, W, 3) uint8."""
        rows = []
        for batch in _batches(pictures):
            shown = torch.stack([self.prepare(Image.fromarray(picture)) for picture in batch])
            rows.append(self.model(shown.to(self.device)).flatten(1).float().cpu().numpy())
        return np.concatenate(rows)


def _batches(pictures: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _from_torchvision(name: str, weights: str) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    model = network(name, weights)
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"backbone torchvision:{name} has no linear layer to take off; use another, such as resnet50")
    model.set_submodule(linear[-1], nn.Identity())
    return model, imagenet_weights(name).transforms()


def _from_timm(name: str, weights: str) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    model, data = network(f"{TIMM}{name}", weights), timm(name).data
    return model, data.create_transform(**data.resolve_model_data_config(model), is_training=False)
