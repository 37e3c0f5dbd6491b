"""What a recording and a data set are: features, labels and pictures per frame, checked when they are made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vasot_lib.checks import Count, check_fields
from vasot_lib.errors import DataError, InputError

TRAIN = "train"  # what the part that is trained on is called, in splits/train.txt too


@dataclass(frozen=True)
class Context:
    """How an encoder of pictures is shown a frame: together with frames before it (SPEC section 6).

    Attributes:
        frames: pictures per frame, the frame itself last.
        stride: frames between them; where the video begins later, its first frame stands in.
    """

    frames: Count = 2
    stride: Count = 15

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Video:
    """One recording.

    Attributes:
        name: unique within its data set.
        features: (N, D) float32, one row per frame.
        labels: (N,) int64, index into ``Dataset.classes``; None where there is no ground truth.
        activity: the procedure that is carried out; pairs are drawn within one activity.
        frames: (N, H, W, 3) uint8 pictures, where the data set has them; may lie in a memory-mapped file.
        position: (N,) float32, true place of each frame in the procedure (generated data only), NaN on
            background. Two frames correspond when their positions agree.
        context: encoders are shown the pictures, with this context; None shows them the features.
        part: of a published split: ``train`` is trained on, any other part is scored; empty where there is no split.

    Raises:
        DataError: empty or one-frame video, NaN or infinite feature, wrong shapes, label/feature length mismatch.
    """

    name: str
    features: Tensor
    labels: Tensor | None = None
    activity: str = ""
    frames: np.ndarray | None = None
    position: Tensor | None = None
    context: Context | None = None
    part: str = ""

    def __post_init__(self) -> None:
        if self.features.ndim != 2:
            shape = tuple(self.features.shape)
            raise DataError(f"video {self.name!r}: features have shape {shape}; expected (frames, channels)")
        n = len(self.features)
        if n < 2:
            raise DataError(f"video {self.name!r} has {n} frame(s); at least 2 are needed, drop it from the data set")
        bad = ~torch.isfinite(self.features).all(dim=1)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise DataError(
                f"video {self.name!r}: {int(bad.sum())} frame(s) hold NaN or infinite features, "
                f"the first is frame {first}; clean or drop them"
            )
        for what, value in (("labels", self.labels), ("frames", self.frames), ("position", self.position)):
            if value is not None and len(value) != n:
                raise DataError(
                    f"video {self.name!r}: {len(value)} {what} for {n} feature rows (difference {len(value) - n:+d}); "
                    "make both the same length"
                )

        if self.context is not None and self.frames is None:
            raise DataError(f"video {self.name!r} has no pictures to train from; load it with its frames")

    def __len__(self) -> int:
        return len(self.features)

    def encoder_input(self, index: Tensor) -> Tensor:
        """What an encoder is shown of some frames.

        Args:
            index: (n,) frame numbers.

        Returns:
            (n, D) features, or (n, T, H, W, 3) uint8 pictures where the video has a context of T frames.
        """
        if self.context is None or self.frames is None:
            return self.features[index]
        before = torch.arange(self.context.frames - 1, -1, -1) * self.context.stride
        rows = (index[:, None] - before).clamp_min(0)
        return torch.from_numpy(np.ascontiguousarray(self.frames[rows.numpy()]))


@dataclass(frozen=True)
class Dataset:
    """A named set of videos with one list of classes.

    Attributes:
        name: as in the registry.
        videos: in a fixed order.
        classes: class names; labels index into it.
        n_actions: K, the number of actions that a segmentation method looks for.
        background: index of the class that scores leave out, or None.
        ordered: every video shows the same steps once and in the same order (Kendall's tau and phase
            progression make sense only then).
    """

    name: str
    videos: tuple[Video, ...]
    classes: tuple[str, ...] = ()
    n_actions: int = 0
    background: int | None = None
    ordered: bool = False

    def __post_init__(self) -> None:
        if not self.videos:
            raise DataError(f"data set {self.name!r} has no videos; check the folder that it was read from")
        dims = {video.features.shape[1] for video in self.videos}
        if len(dims) > 1:
            raise DataError(f"data set {self.name!r} mixes feature widths {sorted(dims)}; every video needs the same")
        for video in self.videos:
            if video.labels is not None:
                low, high = int(video.labels.min()), int(video.labels.max())
                if not 0 <= low <= high < len(self.classes):
                    raise DataError(
                        f"video {video.name!r}: labels run from {low} to {high} but there are {len(self.classes)} "
                        "classes; number them from 0"
                    )
            if self.n_actions > len(video):
                raise InputError(
                    f"n_actions is {self.n_actions} but video {video.name!r} has only {len(video)} frames; "
                    "ask for fewer actions"
                )

    @property
    def feature_dim(self) -> int:
        """D, the width of a feature row."""
        return int(self.videos[0].features.shape[1])

    @property
    def train_part(self) -> Dataset:
        """The part that is trained on, where a published split says so; else all of it.

        Raises:
            DataError: nothing of that part is here.
        """
        return self._part([video.part == TRAIN for video in self.videos], "to train on")

    @property
    def test_part(self) -> Dataset:
        """The part that is scored, where a published split says so; else all of it.

        Raises:
            DataError: nothing of that part is here.
        """
        return self._part([video.part != TRAIN for video in self.videos], "to score")

    def _part(self, taken: list[bool], purpose: str) -> Dataset:
        if not any(video.part for video in self.videos):
            return self
        if not any(taken):
            parts = sorted({video.part for video in self.videos})
            raise DataError(
                f"data set {self.name!r} has videos of the split's part {', '.join(parts)} alone, none {purpose}; "
                "bring the others, or remove splits/"
            )
        return replace(self, videos=tuple(video for video, take in zip(self.videos, taken, strict=True) if take))

    @property
    def n_frames(self) -> int:
        """Frames over all videos."""
        return sum(len(video) for video in self.videos)

    def standardised(self, shrink: bool = False) -> Dataset:
        """Each video's features to zero mean and unit variance per channel; all-zero rows stay zero.

        Args:
            shrink: also divide by sqrt(D), as ASOT's preprocessing of Breakfast does (SPEC section 7).
        """
        width = self.feature_dim**0.5 if shrink else 1.0
        return replace(self, videos=tuple(replace(v, features=standardise(v.features) / width) for v in self.videos))

    def as_pictures(self, context: Context) -> Dataset:
        """The same data set, whose encoders are shown pictures instead of features.

        Raises:
            DataError: a video without pictures, or pictures of different sizes.
        """
        dataset = replace(self, videos=tuple(replace(video, context=context) for video in self.videos))
        sizes = {video.frames.shape[1:3] for video in dataset.videos if video.frames is not None}
        if len(sizes) > 1:
            raise DataError(f"data set {self.name!r} mixes pictures of {sorted(sizes)} pixels; scale them to one size")
        return dataset

    def checksum(self) -> str:
        """SHA-256 over names, parts, features, labels and what is shown of pictures, 16 digits; equal data agree."""
        digest = hashlib.sha256()
        for video in self.videos:
            digest.update(video.name.encode())
            digest.update(video.features.contiguous().numpy().tobytes())
            if video.labels is not None:
                digest.update(video.labels.contiguous().numpy().tobytes())
            digest.update(video.part.encode())
            if video.context is not None and video.frames is not None:
                digest.update(f"{video.context}{video.frames.shape}".encode())
        return digest.hexdigest()[:16]


def standardise(features: Tensor) -> Tensor:
    """(N, D) features with zero mean and unit variance in every column; rows of zeros stay zero."""
    seen = features.abs().sum(dim=1) > 0
    rows = features[seen]
    # A channel that never varies carries nothing: it becomes 0 instead of 0/0.
    spread = rows.std(dim=0, correction=0)
    scaled = torch.where(spread > 0, (rows - rows.mean(dim=0)) / spread.clamp_min(1e-12), 0.0)
    out = torch.zeros_like(features)
    out[seen] = scaled
    return out
