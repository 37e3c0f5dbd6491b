from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vasot_lib.data import Batch, Dataset, Video, collate, epoch_batch_parts, n_batches
from vasot_lib.errors import InputError


def whole_batches(*given) -> Iterator[Batch]:
    return (whole for ((whole, _),) in epoch_batch_parts(*given))


def counting(name: str, length: int, activity: str = "") -> Video:
    """A video whose frame i has the feature i."""
    return Video(name, torch.arange(length, dtype=torch.float32)[:, None].expand(-1, 2).contiguous(), activity=activity)


def dataset_of(*activities: str, length: int = 12) -> Dataset:
    return Dataset("counted", tuple(counting(f"v{i}", length + i, a) for i, a in enumerate(activities)))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.features, b.features) and torch.equal(a.index, b.index) and torch.equal(a.videos, b.videos)


@given(length=st.integers(2, 300), n_frames=st.integers(2, 80), seed=st.integers(0, 10**6), middle=st.booleans())
def test_every_bin_gives_one_frame(length, n_frames, seed, middle):
    batch = collate([counting("v", length)], n_frames, None if middle else seeded(seed))
    index = batch.index[0].tolist()
    assert torch.equal(batch.features[0, :, 0], batch.index[0].float())
    if length <= n_frames:
        assert index == [*range(length), *[length - 1] * (n_frames - length)]
        assert batch.mask[0].tolist() == [True] * length + [False] * (n_frames - length)
    else:
        assert batch.mask.all()
        for i, frame in enumerate(index):
            assert i * length // n_frames <= frame < (i + 1) * length // n_frames


def test_all_frames_of_a_bin_are_drawn_and_the_middle_one_is_fixed():
    generator = seeded()
    drawn = torch.cat([collate([counting("v", 12)], 3, generator).index for _ in range(300)])
    for column, bin_ in zip(drawn.T, ({0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}), strict=True):
        assert set(column.tolist()) == bin_
        assert min(Counter(column.tolist()).values()) > 40  # 75 expected
    assert collate([counting("v", 9)], 3, None).index.tolist() == [[1, 4, 7]]


def test_no_n_frames_means_full_length_padded_to_the_longest():
    batch = collate([counting("a", 3), counting("b", 5)], None, None)
    assert batch.index.tolist() == [[0, 1, 2, 2, 2], [0, 1, 2, 3, 4]]
    assert batch.mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert batch.features.shape == (2, 5, 2) and batch.features.dtype == torch.float32
    assert batch.index.dtype == torch.int64 and batch.videos.tolist() == [0, 1]


def test_pairs_are_even_and_odd_rows():
    batch = collate([counting(name, 4) for name in "abcd"], 4, None)
    x, y = Batch(batch.features, batch.mask, batch.index, torch.tensor([7, 5, 3, 1])).pairs()
    assert x.videos.tolist() == [7, 3] and y.videos.tolist() == [5, 1]
    assert x.features.shape == y.features.shape == (2, 4, 2)
    with pytest.raises(InputError, match="batch of 3 videos cannot be paired"):
        collate([counting(name, 4) for name in "abc"], 4, None).pairs()


def test_to_moves_every_tensor():
    batch = collate([counting("a", 4)], 4, None).to("meta")
    assert {batch.features.device.type, batch.mask.device.type, batch.index.device.type} == {"meta"}


@given(n=st.integers(1, 9), batch_size=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_an_unpaired_epoch_shows_every_video_once(n, batch_size, seed):
    dataset = dataset_of(*["a"] * n)
    batches = list(whole_batches(dataset, 6, batch_size, False, seeded(seed)))
    assert sorted(row for batch in batches for row in batch.videos.tolist()) == list(range(n))
    assert len(batches) == n_batches(dataset, batch_size, False)
    assert all(len(batch.videos) == batch_size for batch in batches[:-1])


@given(first=st.integers(2, 6), second=st.integers(2, 6), half=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_a_paired_epoch_runs_once_over_x_and_y_is_another_video_of_its_activity(first, second, half, seed):
    dataset = dataset_of(*["tea"] * first, *["coffee"] * second)
    batches = list(whole_batches(dataset, 6, 2 * half, True, seeded(seed)))
    assert len(batches) == n_batches(dataset, 2 * half, True)
    x = [row for batch in batches for row in batch.pairs()[0].videos.tolist()]
    y = [row for batch in batches for row in batch.pairs()[1].videos.tolist()]
    assert sorted(x) == list(range(first + second))
    for here, there in zip(x, y, strict=True):
        assert here != there and dataset.videos[here].activity == dataset.videos[there].activity


def test_every_other_video_comes_up_as_partner():
    dataset = dataset_of(*["tea"] * 4)
    generator = seeded()
    seen = {tuple(batch.videos.tolist()) for _ in range(60) for batch in whole_batches(dataset, 6, 2, True, generator)}
    assert seen == {(x, y) for x in range(4) for y in range(4) if x != y}


@pytest.mark.parametrize("paired", [False, True])
def test_the_generator_alone_decides(paired):
    dataset = dataset_of(*["tea"] * 6, length=40)

    def epoch(seed: int) -> list[Batch]:
        torch.manual_seed(seed + 100)  # the global generator must not matter
        return list(whole_batches(dataset, 8, 4, paired, seeded(seed)))

    assert all(same(a, b) for a, b in zip(epoch(1), epoch(1), strict=True))
    assert not all(same(a, b) for a, b in zip(epoch(1), epoch(2), strict=True))
    generator = seeded(1)
    first, second = (list(whole_batches(dataset, 8, 4, paired, generator)) for _ in range(2))
    assert not all(same(a, b) for a, b in zip(first, second, strict=True))


def test_bad_requests_are_named_at_once():
    dataset = dataset_of("tea", "tea", "coffee")
    with pytest.raises(InputError, match="activity 'coffee' of data set 'counted' has one video, 'v2'"):
        whole_batches(dataset, 6, 2, True, seeded())
    alone = "^data set 'counted' has one video, 'v0'; a pair needs two: add one, or train a method of single videos"
    with pytest.raises(InputError, match=alone):
        whole_batches(dataset_of(""), 6, 2, True, seeded())
    with pytest.raises(InputError, match="batch_size is 3; it must be a positive even number"):
        whole_batches(dataset, 6, 3, True, seeded())
    with pytest.raises(InputError, match="batch_size is 0"):
        whole_batches(dataset, 6, 0, False, seeded())
    with pytest.raises(InputError, match="n_frames is 1"):
        collate(dataset.videos, 1, None)
    with pytest.raises(InputError, match="at least one video"):
        collate([], 4, None)
