"""Sampling of frames and videos for training: batches with padding masks, and pairs (SPEC sections 7 and 8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from vasot_lib.checks import Range, check_value
from vasot_lib.data.video import Dataset, Video
from vasot_lib.errors import InputError


@dataclass  # not frozen, because lightning-fabric assigns to the fields of a copy in mixed precision
class Batch:
    """Frames of B videos.

    Attributes:
        features: input of the encoder, (B, N, D) float32 or (B, N, T, H, W, 3) uint8 pictures with their context.
        mask: (B, N) bool, True on real frames and False on padding.
        index: (B, N) int64 frame number in the video; padding repeats the last frame.
        videos: (B,) int64 numbers of the videos in the data set (or in the list that was collated).
    """

    features: Tensor
    mask: Tensor
    index: Tensor
    videos: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        parts = {name: getattr(self, name).to(device) for name in ("features", "mask", "index", "videos")}
        return replace(self, **parts)

    def pairs(self) -> tuple[Batch, Batch]:
        """Rows 0, 2, 4, ... (X) and rows 1, 3, 5, ... (Y), as batches of B/2.

        Raises:
            InputError: an odd number of rows.
        """
        if len(self.videos) % 2:
            raise InputError(f"a batch of {len(self.videos)} videos cannot be paired; make the number even")
        rows = (slice(0, None, 2), slice(1, None, 2))
        x, y = (Batch(self.features[each], self.mask[each], self.index[each], self.videos[each]) for each in rows)
        return x, y


def collate(videos: Sequence[Video], n_frames: int | None, generator: torch.Generator | None) -> Batch:
    """Sample N frames of each of B videos into one batch.

    Args:
        videos: the B videos.
        n_frames: N. Each video is cut into N equal bins and one frame is taken from each. A video with fewer frames
            gives all of them once and is padded. None takes all frames and pads to the longest video.
        generator: draws the frame within each bin; None takes the middle one.

    Raises:
        InputError: no videos, or n_frames below 2.
    """
    return _build_batch(videos, _frame_numbers(videos, n_frames, generator))


def epoch_batch_parts(
    dataset: Dataset,
    n_frames: int | None,
    batch_size: int,
    paired: bool,
    generator: torch.Generator,
    parts: int = 1,
    wanted: range = range(1),
) -> Iterator[list[tuple[Batch, float]]]:
    """The batches of one epoch in a random order, each divided into parts for several processes or to save memory.

    Every process draws the same random numbers but copies the frames of its own parts only.

    Args:
        dataset: each of its videos comes once; if ``paired``, once as X.
        n_frames: as in ``collate``.
        batch_size: number of videos per batch, which must be even if ``paired``; the last batch may be smaller.
        paired: rows of a batch are x0, y0, x1, y1, ..., where Y is a random other video of the activity of X.
        generator: draws the order, the partners and the frames.
        parts: number of parts of about equal size into which each batch is divided, without separating pairs.
        wanted: numbers of the parts to return.

    Returns:
        for every batch the list of the wanted parts that are not empty, each with its share of the videos of the batch:
        the mean over a batch is the sum of share times mean over all parts. If all wanted parts are empty, the list
        holds one video or pair with share 0.

    Raises:
        InputError: batch_size below 1; or, if ``paired``, an odd batch_size or an activity with a single video.
    """
    n_batches(dataset, batch_size, paired)  # raises if batch_size is wrong, or a video has no partner
    rows = torch.randperm(len(dataset.videos), generator=generator).tolist()
    if paired:
        rows = [row for x in rows for row in (x, _draw_partner(dataset, x, generator))]
    chunks = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    unit = 2 if paired else 1
    return (_split_batch(dataset, chunk, n_frames, generator, unit, parts, wanted) for chunk in chunks)


def _split_batch(
    dataset: Dataset,
    rows: list[int],
    n_frames: int | None,
    generator: torch.Generator,
    unit: int,
    parts: int,
    wanted: range,
) -> list[tuple[Batch, float]]:
    videos = [dataset.videos[row] for row in rows]
    index = _frame_numbers(videos, n_frames, generator)
    edges = [len(rows) // unit * part // parts * unit for part in range(parts + 1)]
    cuts = [slice(edges[part], edges[part + 1]) for part in wanted if edges[part] < edges[part + 1]]
    shares = [(cut.stop - cut.start) / len(rows) for cut in cuts]
    if not cuts:  # every process needs gradients, even zero ones, as all of them wait for each other to add them up
        cuts, shares = [slice(0, unit)], [0.0]
    return [
        (replace(_build_batch(videos[cut], index[cut]), videos=torch.tensor(rows[cut])), share)
        for cut, share in zip(cuts, shares, strict=True)
    ]


def n_batches(dataset: Dataset, batch_size: int, paired: bool) -> int:
    """Number of batches in an epoch.

    Raises:
        InputError: batch_size below 1, or odd if ``paired``; or, if ``paired``, an activity with one video.
    """
    check_value("batch_size", batch_size, int)
    if batch_size < 1 or (paired and batch_size % 2):
        raise InputError(
            f"batch_size is {batch_size}; it must be a positive{' even' if paired else ''} number of videos"
        )
    if paired:
        _check_partners(dataset)
    rows = len(dataset.videos) * (2 if paired else 1)
    return -(-rows // batch_size)


def _frame_numbers(videos: Sequence[Video], n_frames: int | None, generator: torch.Generator | None) -> Tensor:
    """(B, N) sampled frame numbers; see :func:`collate`."""
    if not videos:
        raise InputError("a batch needs at least one video; 0 were given")
    widths = sorted({video.features.shape[1] for video in videos})
    if len(widths) > 1:
        raise InputError(f"a batch mixes features of widths {widths}; all videos need the same")
    check_value("n_frames", n_frames, Annotated[int, Range(least=2)] | None)
    width = max(len(video) for video in videos) if n_frames is None else n_frames
    return torch.stack([_sample_frames(len(video), width, generator) for video in videos])


def _build_batch(videos: Sequence[Video], index: Tensor) -> Batch:
    lengths = torch.tensor([len(video) for video in videos])
    return Batch(
        features=torch.stack([video.encoder_input(rows) for video, rows in zip(videos, index, strict=True)]),
        mask=torch.arange(index.shape[1]) < lengths[:, None],
        index=index,
        videos=torch.arange(len(videos)),
    )


def _sample_frames(length: int, n_frames: int, generator: torch.Generator | None) -> Tensor:
    """(n_frames,) increasing frame numbers of a video with ``length`` frames; padding repeats the last one."""
    if length <= n_frames:
        return torch.arange(n_frames).clamp_max(length - 1)
    edges = torch.arange(n_frames + 1) * length // n_frames
    start, size = edges[:-1], edges.diff()
    if generator is None:
        return start + (size - 1) // 2
    draw = torch.rand(n_frames, generator=generator, dtype=torch.float64)
    return start + (draw * size).long()


def _draw_partner(dataset: Dataset, x: int, generator: torch.Generator) -> int:
    """The index of a random other video of the same activity as video x."""
    activity = dataset.videos[x].activity
    others = [y for y, video in enumerate(dataset.videos) if y != x and video.activity == activity]
    return others[int(torch.randint(len(others), (), generator=generator))]


def _check_partners(dataset: Dataset) -> None:
    videos = Counter(video.activity for video in dataset.videos)
    alone = next((video for video in dataset.videos if videos[video.activity] == 1), None)
    if alone is not None:
        which = f"activity {alone.activity!r} of data set" if alone.activity else "data set"
        raise InputError(
            f"{which} {dataset.name!r} has one video, {alone.name!r}; a pair needs two: "
            + ("add one or drop it" if alone.activity else "add one, or train a method of single videos, such as asot")
        )
