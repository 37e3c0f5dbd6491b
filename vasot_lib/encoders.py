"""Encoders: from what a data set stores per frame to unit-length embeddings."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasot_lib.checks import Range, check_value
from vasot_lib.errors import InputError

INFERENCE_FRAMES = 64  # frames that pass through a network of pictures together where no gradient is wanted


class Encoder(nn.Module):
    """What all encoders are.

    Attributes:
        n_out: width of the embeddings.
        unit_length: whether embeddings are scaled to length 1, which the methods made of cosines need.
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
        """Float32 and, where asked for, unit length."""
        # In mixed precision layers give bfloat16: too coarse for a length of 1 and for the costs made of it.
        embedded = embedded.to(next(self.parameters()).dtype)
        return F.normalize(embedded, dim=-1) if self.unit_length else embedded


class MLPEncoder(Encoder):
    """Per-frame two-layer perceptron, ``in -> hidden -> out``, ReLU between (SPEC section 6)."""

    def __init__(self, n_in: int, n_hidden: int = 128, n_out: int = 40, unit_length: bool = True):
        super().__init__(n_out, unit_length)
        self.layers = nn.Sequential(nn.Linear(n_in, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_out))

    def forward(self, features: Tensor) -> Tensor:
        """(..., n_in) features to (..., n_out) embeddings."""
        return self.normalise(self.layers(features))


class PixelEncoder(Encoder):
    """The paper's encoder of pictures (SPEC section 6).

    Every picture goes through the trunk; the feature maps of a frame and of its context frames, one behind the other,
    through two 3 x 3 x 3 convolutions over time and space; their maximum through two layers with dropout, and a linear
    one. While it trains, the pictures of a video are flipped or not and change their colours, all of them alike.

    Args:
        trunk: ``resnet50``, up to the third block of conv4 (1024 channels at 1/16 of the size), another ResNet of
            torchvision up to the same block, or ``small``: four plain convolutions to 1/8 of the size, for pictures
            of a few dozen pixels and for CPUs.
        weights: of the trunk; see :func:`vasot_lib.vision.network`. ``small`` has none.
        n_hidden: channels of the temporal convolutions and the layers behind them.
        n_out: width of the embeddings.
        dropout: share of zeros before the two layers.
        flip: mirror videos at random; not where left and right mean something.
        jitter: change brightness by up to 32/255 and contrast by up to a half. [release]

    Raises:
        InputError: unknown trunk, dropout outside [0, 1).
        DataError: weights that cannot be had.
    """

    def __init__(
        self,
        trunk: str = "resnet50",
        weights: str = "",
        n_hidden: int = 512,
        n_out: int = 128,
        dropout: float = 0.1,
        flip: bool = True,
        jitter: bool = True,
        unit_length: bool = True,
    ):
        super().__init__(n_out, unit_length)
        check_value("dropout", dropout, Annotated[float, Range(least=0, below=1)])
        self.trunk, channels = _small_trunk() if trunk == "small" else _resnet_trunk(trunk, weights)
        self.temporal_convolutions = nn.Sequential(
            *_temporal_block(channels, n_hidden), *_temporal_block(n_hidden, n_hidden)
        )  # (b, C, T, h, w)
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(n_hidden, n_hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(n_hidden, n_hidden), nn.ReLU(),
            nn.Linear(n_hidden, n_out),
        )  # fmt: skip
        self.augment = _augmentation(flip, jitter)

    def forward(self, pictures: Tensor) -> Tensor:
        """(..., T, H, W, 3) uint8 pictures, of a frame and its context, to (..., n_out) embeddings.

        In training the first dimension counts videos: each is changed as a whole.

        Raises:
            InputError: pictures of another type or with other than three colours.
        """
        from vasot_lib.vision import imagenet_normalised, pictures_to_float

        *outer, t, _, _, _ = pictures.shape
        frames = pictures.reshape(-1, *pictures.shape[-4:])

        def embed(part: Tensor, videos: int) -> Tensor:
            flat = pictures_to_float(part.flatten(0, 1))
            if self.training:
                flat = torch.cat([self.augment(video) for video in flat.chunk(videos)])
            maps = self.trunk(imagenet_normalised(flat))  # (b T, C, h, w)
            maps = maps.unflatten(0, (-1, t)).transpose(1, 2)
            return self.normalise(self.head(self.temporal_convolutions(maps).amax((2, 3, 4))))

        if torch.is_grad_enabled():
            embedded = embed(frames, pictures.shape[0] if len(outer) > 1 else 1)
        else:
            # Also in training mode: no picture is changed where nothing is learnt from it.
            was, _ = self.training, self.eval()
            embedded = torch.cat([embed(part, 1) for part in frames.split(INFERENCE_FRAMES)])
            self.train(was)
        return embedded.reshape(*outer, self.n_out)


def _temporal_block(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv3d(n_in, n_out, 3, padding=1), nn.BatchNorm3d(n_out), nn.ReLU()


def _small_trunk() -> tuple[nn.Module, int]:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise((3, 32, 64, 64, 128)):
        stride = 1 if n_out == n_in else 2
        layers += [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers), 128


def _resnet_trunk(name: str, weights: str) -> tuple[nn.Module, int]:
    from vasot_lib.vision import network

    parts = dict(network(name, weights).named_children())
    if "layer3" not in parts:
        raise InputError(
            f"trunk is {name!r}, which is no ResNet; use resnet50, another ResNet of torchvision, or small"
        )
    stem = [parts[part] for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2")]
    blocks = list(parts["layer3"].children())[:3]  # conv4; smaller ResNets have two blocks there
    channels = [module.out_channels for module in blocks[0].modules() if isinstance(module, nn.Conv2d)]
    return nn.Sequential(*stem, *blocks), max(channels)


def _augmentation(flip: bool, jitter: bool) -> nn.Module:
    if not flip and not jitter:
        return nn.Identity()
    from vasot_lib.vision import torchvision

    transforms = torchvision().transforms.v2
    changes = [transforms.RandomHorizontalFlip()] if flip else []
    changes += [transforms.ColorJitter(brightness=32 / 255, contrast=0.5)] if jitter else []
    return transforms.Compose(changes)
