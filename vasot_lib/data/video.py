"""Video and Dataset: the features, labels and pictures of recordings, checked when an instance is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from vasot_lib.checks import Count, Range, check_fields, check_tensors, check_value
from vasot_lib.errors import DataError, InputError

Scaling = Literal["none", "standardised", "shrunk"]
LARGEST = 1e15  # of the features: sums of squares of larger ones may leave the range of float32
TRAIN = "train"  # name of the part of a published split that is trained on, as in splits/train.txt


@dataclass(frozen=True)
class Context:
    """The pictures from which an encoder embeds a frame: the frame and earlier ones (SPEC section 6).

    Attributes:
        frames: T, the number of pictures, the frame itself last.
        stride: distance between two of them, in frames. The first frame of the video replaces frames before it.
    """

    frames: Count = 2
    stride: Count = 15

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Video:
    """One recording of N frames.

    Attributes:
        name: unique within its data set.
        features: (N, D) float32, one row per frame.
        labels: (N,) int64, index into ``Dataset.classes``; None if there is no ground truth.
        activity: the procedure that the video shows; training pairs consist of two videos of one activity.
        frames: (N, H, W, 3) uint8 pictures, or None; may be memory-mapped.
        position: (N,) float32, true position of each frame in the procedure, NaN on background; for generated data
            only. Frames of two videos correspond if their positions agree.
        context: if set, the input of encoders is pictures with this context; if None, it is the features.
        part: part of a published split: ``train`` is trained on, any other is scored. Empty if there is no split.

    Raises:
        DataError: empty or one-frame video, NaN, infinite or huge feature, wrong shapes, label/feature length mismatch.
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
        check_fields(self)
        check_tensors((torch.float32,), features=self.features)
        for what, dtype in (("labels", torch.int64), ("position", torch.float32)):
            if (given := getattr(self, what)) is not None:
                check_tensors((dtype,), **{what: given})
                if given.ndim != 1:
                    raise DataError(f"video {self.name!r}: {what} have shape {tuple(given.shape)}; expected (frames,)")
        if self.features.ndim != 2:
            shape = tuple(self.features.shape)
            raise DataError(f"video {self.name!r}: features have shape {shape}; expected (frames, channels)")
        n = len(self.features)
        if n < 2:
            raise DataError(f"video {self.name!r} has {n} frame(s); at least 2 are needed, drop it from the data set")
        bad = ~(self.features.abs() <= LARGEST).all(dim=1)  # NaN is not either
        if bad.any():
            first = int(bad.nonzero()[0])
            most = float(self.features[first].abs().max())
            finite = most < float("inf")
            what = f"features of up to {most:g}, above {LARGEST:g}" if finite else "NaN or infinite features"
            remedy = "clean them, or divide all features by one number" if finite else "clean or drop them"
            raise DataError(
                f"video {self.name!r}: {int(bad.sum())} frame(s) hold {what}, the first is frame {first}; {remedy}"
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
        """The input of the encoder for some frames.

        Args:
            index: (n,) frame numbers.

        Returns:
            (n, D) features, or (n, T, H, W, 3) uint8 pictures if the video has a context of T frames.
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
        name: name of the data set, for messages and tables.
        videos: the recordings, in a fixed order.
        classes: names of the classes that labels are indices of.
        n_actions: K, the number of actions into which methods segment a video.
        background: index of the class that scores leave out, or None.
        ordered: whether every video of an activity shows the same steps once and in the same order. Kendall's tau and
            phase progression are defined only then.
        scaling: what was done to the features of each video by :meth:`standardised`; another recording needs the same.
    """

    name: str
    videos: tuple[Video, ...]
    classes: tuple[str, ...] = ()
    n_actions: int = 0
    background: int | None = None
    ordered: bool = False
    scaling: Scaling = "none"

    def __post_init__(self) -> None:
        check_fields(self)
        check_value("n_actions", self.n_actions, Annotated[int, Range(least=0)])
        if self.background is not None:
            check_value("background", self.background, Annotated[int, Range(least=0, below=max(1, len(self.classes)))])
        if not self.videos:
            raise DataError(f"data set {self.name!r} has no videos; check the folder that it was read from")
        names = [video.name for video in self.videos]
        if len({*names}) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"data set {self.name!r}: two recordings are named {twice!r}; rename one of them")
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
                    f"{self.n_actions} actions were asked for but video {video.name!r} has only {len(video)} frames; "
                    "ask for fewer"
                )

    @property
    def feature_dim(self) -> int:
        """D, the width of a feature row."""
        return int(self.videos[0].features.shape[1])

    @property
    def train_part(self) -> Dataset:
        """The videos of the part ``train`` of a published split; all videos if there is no split.

        Raises:
            DataError: there is a split, but no video of this part.
        """
        return self._part([video.part == TRAIN for video in self.videos], "to train on")

    @property
    def test_part(self) -> Dataset:
        """The videos that are not in the part ``train`` of a published split; all videos if there is no split.

        Raises:
            DataError: there is a split, but all videos are in ``train``.
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
        """Number of frames of all videos together."""
        return sum(len(video) for video in self.videos)

    def standardised(self, shrink: bool = False) -> Dataset:
        """Scale the features of each video to zero mean and unit variance per channel; rows of zeros stay zero.

        Args:
            shrink: also divide by sqrt(D), as ASOT's preprocessing of Breakfast (SPEC section 7).
        """
        width = self.feature_dim**0.5 if shrink else 1.0
        videos = tuple(replace(v, features=standardise(v.features) / width) for v in self.videos)
        return replace(self, videos=videos, scaling="shrunk" if shrink else "standardised")

    def as_pictures(self, context: Context) -> Dataset:
        """The same data set with pictures instead of features as the input of encoders.

        Raises:
            DataError: a video has no pictures, or pictures differ in size.
        """
        dataset = replace(self, videos=tuple(replace(video, context=context) for video in self.videos))
        sizes = {video.frames.shape[1:3] for video in dataset.videos if video.frames is not None}
        if len(sizes) > 1:
            raise DataError(f"data set {self.name!r} mixes pictures of {sorted(sizes)} pixels; scale them to one size")
        return dataset

    def checksum(self) -> str:
        """First 16 digits of a SHA-256 of all that results depend on; pictures only if encoders read them."""
        facts = (self.classes, self.n_actions, self.background, self.ordered)
        digest = hashlib.sha256(repr(facts).encode())
        for video in self.videos:
            pictures = None if video.context is None else video.frames
            arrays = [None if t is None else t.numpy() for t in (video.features, video.labels, video.position)]
            digest.update(repr((video.name, video.activity, video.part, video.context)).encode())
            for array in (*arrays, pictures):
                digest.update(b"none" if array is None else f"{array.dtype} {array.shape}".encode())
                for rows in () if array is None else np.array_split(array, -(-array.nbytes // 2**26)):
                    digest.update(np.ascontiguousarray(rows).data)  # in parts, since pictures may be larger than memory
        return digest.hexdigest()[:16]


def standardise(features: Tensor) -> Tensor:
    """(N, D) features with zero mean and unit variance in every column; rows of zeros stay zero."""
    not_zero = features.abs().sum(dim=1) > 0
    if not not_zero.any():
        return torch.zeros_like(features)
    rows = features[not_zero]
    # A constant channel becomes 0 instead of 0 / 0.
    spread = rows.std(dim=0, correction=0)
    scaled = torch.where(spread > 0, (rows - rows.mean(dim=0)) / spread.clamp_min(torch.finfo(spread.dtype).tiny), 0.0)
    out = torch.zeros_like(features)
    out[not_zero] = scaled
    return out
