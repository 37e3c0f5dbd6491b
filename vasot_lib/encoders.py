"""The encoders of the paper: from the features or pictures of a frame to its embedding x_i (SPEC section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasot_lib.checks import Range, check_value
from vasot_lib.errors import InputError
from vasot_lib.vision import MEAN, STD, TIMM, network, normalised, pictures_to_float, torchvision

INFERENCE_FRAMES = 64  # frames that PixelEncoder embeds at a time when no gradient is needed


class Encoder(nn.Module):
    """Base class of the encoders.

    Attributes:
        n_out: D, the width of the embeddings.
        unit_length: whether embeddings are scaled to length 1, as methods that compare them by cosines need.
    """

    def __init__(self, n_out: int, unit_length: bool):
        super().__init__()
        self.n_out = n_out
        self.unit_length = unit_length

    def remove_output_bias(self) -> None:
        """Remove the bias of the last linear layer, for losses that depend on distances between embeddings alone.

        Such a loss does not change when all embeddings move by the same vector, so the gradient of this bias is nothing
        but rounding noise, which Adam would scale up to steps of full size.
        """
        output_layer = [module for module in self.modules() if isinstance(module, nn.Linear)][-1]
        output_layer.register_parameter("bias", None)

    def normalise(self, embedded: Tensor) -> Tensor:
        """(..., n_out) embeddings in the float type of the parameters, scaled to unit length if ``unit_length``."""
        # In mixed precision the layers give bfloat16, which is too coarse for unit lengths and for transport costs.
        embedded = embedded.to(next(self.parameters()).dtype)
        return F.normalize(embedded, dim=-1) if self.unit_length else embedded


class MLPEncoder(Encoder):
    """The paper's encoder of features, applied frame by frame: linear to n_hidden, ReLU, linear to n_out."""

    def __init__(self, n_in: int, n_hidden: int = 128, n_out: int = 40, unit_length: bool = True):
        super().__init__(n_out, unit_length)
        self.layers = nn.Sequential(nn.Linear(n_in, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_out))

    def forward(self, features: Tensor) -> Tensor:
        """(..., n_in) features to (..., n_out) embeddings."""
        return self.normalise(self.layers(features))


class PixelEncoder(Encoder):
    """The paper's encoder of pictures.

    A frame is embedded together with T - 1 context frames before it. (1) The trunk turns each picture into a feature
    map. (2) The T maps, stacked along time, go through two 3 x 3 x 3 convolutions over time and space. (3) The maximum
    over time and space goes through two layers with ReLU and dropout, and a last linear layer. In training, all
    pictures of a video are mirrored or not, and their colours changed by the same random amounts.

    Args:
        trunk: ``resnet50`` up to the third block of conv4 (1024 channels at 1/16 of the picture's height and width),
            another ResNet of torchvision up to the same block, a network of timm, ``timm:`` and its name, up to its
            last map of at least 1/16, or ``small``: four convolutions to 1/8 of height and width, for pictures of a
            few dozen pixels and for CPUs.
        weights: pretrained weights of the trunk; see :func:`vasot_lib.vision.network`. Ignored for ``small``.
        frozen: do not train the trunk, whose batch normalisation then stays in evaluation mode. [paper] It is trained.
        side: height and width to which pictures are scaled for the trunk; 0 for as they are.
        n_hidden: channels of the temporal convolutions and of the two layers after them.
        n_out: D, the width of the embeddings.
        dropout: probability of setting an input of each of the two layers to 0.
        flip: mirror each video with probability 1/2; turn it off where left and right differ in meaning.
        jitter: change brightness by up to 32/255 and contrast by up to a half [release].
        unit_length: scale the embeddings to length 1.

    Raises:
        InputError: unknown trunk, or dropout outside [0, 1).
        DataError: the weights cannot be downloaded or read, or fit another network.
    """

    def __init__(
        self,
        trunk: str = "resnet50",
        weights: str = "",
        frozen: bool = False,
        side: int = 0,
        n_hidden: int = 512,
        n_out: int = 128,
        dropout: float = 0.1,
        flip: bool = True,
        jitter: bool = True,
        unit_length: bool = True,
    ):
        super().__init__(n_out, unit_length)
        check_value("dropout", dropout, Annotated[float, Range(least=0, below=1)])
        check_value("side", side, Annotated[int, Range(least=0)])
        build = _timm_trunk if trunk.startswith(TIMM) else _resnet_trunk
        self.trunk, channels, self.colours = _small_trunk() if trunk == "small" else build(trunk, weights)
        self.trunk.requires_grad_(not frozen)
        self.frozen, self.side = frozen, side
        self.temporal_convolutions = nn.Sequential(
            *_temporal_block(channels, n_hidden), *_temporal_block(n_hidden, n_hidden)
        )  # (b, C, T, h, w)
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(n_hidden, n_hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(n_hidden, n_hidden), nn.ReLU(),
            nn.Linear(n_hidden, n_out),
        )  # fmt: skip
        self.augment = _augmentation(flip, jitter)

    def train(self, mode: bool = True) -> Self:
        """As of any module, but a frozen trunk stays in evaluation mode."""
        super().train(mode)
        self.trunk.train(mode and not self.frozen)
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        """(..., T, H, W, 3) uint8 pictures of frames and their context, to (..., n_out) embeddings.

        With gradients, (B, N, T, H, W, 3) are B videos, each augmented as a whole. Without gradients nothing is
        augmented, and batch normalisation and dropout are in evaluation mode.

        Raises:
            InputError: pictures that are not uint8 with three colours.
        """
        *outer, t, _, _, _ = pictures.shape
        frames = pictures.reshape(-1, *pictures.shape[-4:])

        def embed(part: Tensor, videos: int) -> Tensor:
            flat = pictures_to_float(part.flatten(0, 1))
            if self.training:
                flat = torch.cat([self.augment(video) for video in flat.chunk(videos)])
            if self.side:
                flat = F.interpolate(flat, (self.side, self.side), mode="bilinear", antialias=True)
            maps = self.trunk(normalised(flat, *self.colours))  # (b T, C, h, w)
            maps = maps.unflatten(0, (-1, t)).transpose(1, 2)
            # On CPUs that compute in bfloat16 the gradient of a Conv3d's weights reads memory that nothing has written
            # (torch 2.13): in half of all calls it is NaN where that memory is. So these layers stay in float32 there.
            with torch.autocast("cpu", enabled=False):
                maps = self.temporal_convolutions(maps.float() if maps.device.type == "cpu" else maps)
            return self.normalise(self.head(maps.amax((2, 3, 4))))

        if torch.is_grad_enabled():
            embedded = embed(frames, pictures.shape[0] if len(outer) > 1 else 1)
        else:
            was_training = self.training
            self.eval()
            embedded = torch.cat([embed(part, 1) for part in frames.split(INFERENCE_FRAMES)])
            self.train(was_training)
        return embedded.reshape(*outer, self.n_out)


def _temporal_block(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv3d(n_in, n_out, 3, padding=1), nn.BatchNorm3d(n_out), nn.ReLU()


# A trunk, its number of output channels, and the mean and deviation of each colour by which its input is standardised.
Trunk = tuple[nn.Module, int, tuple[Sequence[float], Sequence[float]]]


def _small_trunk() -> Trunk:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise((3, 32, 64, 64, 128)):
        stride = 1 if n_out == n_in else 2
        layers += [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers), 128, (MEAN, STD)


def _resnet_trunk(name: str, weights: str) -> Trunk:
    """A ResNet up to the third block of conv4, which torchvision calls ``layer3``."""
    parts = dict(network(name, weights).named_children())
    if "layer3" not in parts:
        raise InputError(
            f"trunk is {name!r}, which is no ResNet; use resnet50, another ResNet of torchvision, one of timm, or small"
        )
    stem = [parts[part] for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2")]
    blocks = list(parts["layer3"].children())[:3]  # ResNet-18 has only two blocks in conv4
    channels = [module.out_channels for module in blocks[0].modules() if isinstance(module, nn.Conv2d)]
    return nn.Sequential(*stem, *blocks), max(channels), (MEAN, STD)


class _UpTo(nn.Module):
    """A network of timm up to one of its maps."""

    def __init__(self, model: Any, place: int):
        super().__init__()
        model.prune_intermediate_layers([place], prune_head=True)
        self.model, self.place = model, place

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model.forward_intermediates(pictures, indices=[self.place], intermediates_only=True)[0]


def _timm_trunk(name: str, weights: str) -> Trunk:
    """A network of timm up to its last map of at least 1/16 of the picture's height and width."""
    model: Any = network(name, weights)
    maps = getattr(model.feature_info, "info", model.feature_info) if hasattr(model, "forward_intermediates") else []
    places = [place for place, each in enumerate(maps) if each["reduction"] <= 16]
    if not places:
        raise InputError(f"trunk is {name!r}, which gives no maps at 1/16 of the picture; use another, or resnet50")
    colours = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
    return _UpTo(model, places[-1]), maps[places[-1]]["num_chs"], colours


def _augmentation(flip: bool, jitter: bool) -> nn.Module:
    if not flip and not jitter:
        return nn.Identity()
    transforms = torchvision().transforms.v2
    changes = [transforms.RandomHorizontalFlip()] if flip else []
    changes += [transforms.ColorJitter(brightness=32 / 255, contrast=0.5)] if jitter else []
    return transforms.Compose(changes)
