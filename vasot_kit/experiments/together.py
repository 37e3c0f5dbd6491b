"""What a trained method gives for many videos: on a GPU, several are computed at a time, which takes few launches.

Videos of similar lengths, or pairs of them, are padded to one batch. Padding changes nothing: masks leave it out. On a
CPU, where a launch costs nothing and padding costs time, videos take their turns. So they do where a method has its own
way to segment or align one video, without transport.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vasot_lib.data import Video
from vasot_lib.methods import ASOT, VAOT, Method

# Entries, with padding, of the plans that are solved at a time, by kind of device: 64 MiB for each array of that size.
AT_ONCE = {"cuda": 2**24}
WIDTH = 1024  # of an encoder's widest layer, for which embedding needs memory as well
Pair = tuple[Video, Video]


def embed_all(method: Method, videos: Sequence[Video]) -> list[Tensor]:
    """(N_v, D) embeddings of each video, as :meth:`Method.embed` gives them; pictures one video at a time."""
    if type(method).embed is not Method.embed or any(video.context is not None for video in videos):
        return [method.embed(video) for video in videos]

    def load(video: Video) -> Tensor:
        return video.encoder_input(torch.arange(len(video))).to(method.device)

    widest = max((video.features.shape[1] for video in videos), default=0)
    return in_batches(method.embed_whole, [(v,) for v in videos], _at_once(method) // max(widest, WIDTH), load)


def segment_all(method: Method, videos: Sequence[Video], embedded: Sequence[Tensor] | None = None) -> list[Tensor]:
    """(N_v,) actions of each video, as :meth:`Method.segment` gives them; ``embedded`` is what ``embed_all`` gave."""
    if not isinstance(method, ASOT) or type(method).segment is not ASOT.segment:
        return [method.segment(video) for video in videos]
    samples = [(x,) for x in (embed_all(method, videos) if embedded is None else embedded)]
    return in_batches(method.decode, samples, _at_once(method) // method.n_actions)


def align_all(method: Method, pairs: Sequence[Pair]) -> list[Tensor]:
    """(N_x,) matches of the frames of X for each pair (X, Y), as :meth:`Method.align` gives them."""
    if not isinstance(method, VAOT) or type(method).align is not VAOT.align:
        return [method.align(x, y) for x, y in pairs]
    videos = {id(video): video for pair in pairs for video in pair}  # one of several pairs is embedded once
    embedded = dict(zip(videos, embed_all(method, [*videos.values()]), strict=True))
    samples = [(embedded[id(x)], embedded[id(y)]) for x, y in pairs]
    return in_batches(method.alignment.align, samples, _at_once(method))


def _at_once(method: Method) -> int:
    return AT_ONCE.get(method.device.type, 0)


@torch.no_grad()
def in_batches(
    compute: Callable[..., Tensor],
    samples: Sequence[tuple[Any, ...]],
    most: int,
    load: Callable[[Any], Tensor] = torch.as_tensor,
) -> list[Tensor]:
    """What ``compute`` gives for each sample, of which several with similar lengths are computed at a time.

    Args:
        compute: takes a padded (B, N, ...) batch of each part of the samples, then their (B, N) masks; returns
            (B, N, ...), where N is that of the first part.
        samples: each has one part or more, such as the embeddings of two videos.
        most: the number of samples of a batch times the padded lengths of their parts is at most this, unless a single
            sample has more, and at most twice what it is without padding. With 0 samples are computed one by one.
        load: gives the (N, ...) tensor of a part when it is needed.
    """
    lengths = [tuple(map(len, sample)) for sample in samples]
    found: dict[int, Tensor] = {}
    for rows in _similar(lengths, most):
        parts = zip(*(samples[row] for row in rows), strict=True)
        padded, masks = zip(*(_pad([load(each) for each in part]) for part in parts), strict=True)
        values = compute(*padded, *masks)
        found |= {row: value[: lengths[row][0]] for row, value in zip(rows, values, strict=True)}
    return [found[row] for row in range(len(samples))]


def _similar(lengths: Sequence[tuple[int, ...]], most: int) -> Iterator[list[int]]:
    """The numbers of the samples of each batch."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        sizes = [lengths[each] for each in (*batch, number)]
        padded = len(sizes) * math.prod(map(max, zip(*sizes, strict=True)))
        if batch and (padded > most or padded > 2 * sum(map(math.prod, sizes))):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _pad(sequences: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, N, ...) batch of (N_b, ...) tensors, zero on padding, and its (B, N) mask."""
    lengths = torch.tensor([len(each) for each in sequences], device=sequences[0].device)
    padded = sequences[0][None] if len(sequences) == 1 else pad_sequence(sequences, batch_first=True)
    return padded, torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
