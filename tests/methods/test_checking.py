"""The test kit for methods: it passes a sound method and names what is wrong with an unsound one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasot_kit.methods.checking import check_method
from vasot_lib.data import Batch, Video
from vasot_lib.encoders import Encoder
from vasot_lib.errors import InputError
from vasot_lib.methods import Method


@dataclass(frozen=True)
class Weight:
    weight: float = 1.0


class Sound(Method):
    """Frames are told K directions apart: a loss without any sense, but sound in all that the kit checks."""

    name = "sound"
    tasks = ("segmentation",)
    paired = False
    Hyper: ClassVar[type] = Weight

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        self.head = nn.Linear(encoder.n_out, n_actions, bias=False)

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        sharpest = -self.head(embedded).log_softmax(2).amax(2)
        return {"loss": self.hyper.weight * ((sharpest * batch.mask).sum(1) / batch.mask.sum(1)).mean()}

    @torch.no_grad()
    def segment(self, video: Video) -> Tensor:
        return self.head(self.embed(video)).argmax(1)


class UnknownTask(Sound):
    tasks = ("clustering",)


@dataclass
class Thawed:
    weight: float = 1.0


class NotFrozen(Sound):
    Hyper = Thawed


@dataclass(frozen=True)
class Holding:
    weight: float = 1.0
    table: Tensor = field(default_factory=lambda: torch.zeros(2))


class NotWritable(Sound):
    Hyper = Holding


class Ungrouped(Sound):
    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": list(self.head.parameters()), "lr": lr}]


class Scores(Sound):
    def segment(self, video: Video) -> Tensor:
        return self.head(self.embed(video)).softmax(1)[:, 0]


class Stretched(Sound):
    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        return 2.0 * self.encoder(features)


class Idle(Sound):
    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        self.spare = nn.Linear(2, 2)


class SeesPadding(Sound):
    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        x = self.encoder(features)
        return F.normalize(x + x.mean(1, keepdim=True), dim=2)


class SumsVideos(Sound):
    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": len(batch.mask) * super().loss_terms(embedded, batch)["loss"]}


class Unseeded(Sound):
    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        noise = 0.1 * torch.randn(embedded.shape, generator=torch.Generator().manual_seed(torch.seed() % 2**63))
        return super().loss_terms(embedded + noise, batch)


class Forgetful(Sound):
    """What it counts is no buffer and is not in its checkpoint."""

    count = 0

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        self.count += 1
        return {"loss": super().loss_terms(embedded, batch)["loss"] * (1.0 + 0.1 * self.count)}


class ReplayedNoise(Sound):
    replays = True

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        noise = torch.randn(embedded.shape[2], generator=torch.Generator().manual_seed(torch.initial_seed()))
        return super().loss_terms(embedded + noise, batch)


def test_a_sound_method_passes() -> None:
    passed = check_method(Sound)
    assert passed[:8] == ["interface", "shapes", "loss", "masks", "parts", "seeds", "replays", "resume"]
    assert check_method(Sound, Weight(2.0)) == passed


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (UnknownTask, "interface: tasks are .*'clustering'"),
        (NotFrozen, "interface: Hyper is Thawed; make it a frozen dataclass"),
        (NotWritable, "interface: hyper-parameters cannot be written as JSON"),
        (Ungrouped, "interface: parameter_groups does not hold every parameter once"),
        (Scores, r"shapes: segment gives \(\d+,\) torch.float32; expected"),
        (Stretched, "shapes: embeddings are not of length 1"),
        (Idle, "loss: no gradient reaches spare.weight, spare.bias"),
        (SeesPadding, "masks: embed_frames depends on what stands in padding"),
        (SumsVideos, "parts: loss of a batch is not the mean over its parts"),
        (Unseeded, "seeds: .*encoder.layers.0.weight.* is not the same after two trainings with one seed"),
        (ReplayedNoise, "replays: loss depends on seed, step or epoch; set replays = False"),
        (Forgetful, "resume: .*head.weight differs after a resume"),
    ],
)
def test_what_is_wrong_is_named(cls: type[Method], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        check_method(cls)
    assert str(refusal.value).startswith("method 'sound' fails ")


def test_it_leaves_the_random_numbers_of_the_caller_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check_method(Sound)
    assert torch.equal(torch.rand(2), expected)
