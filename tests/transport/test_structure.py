"""The O(NM) structure products against their dense matrices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vasot_lib.errors import InputError
from vasot_lib.transport import Distinct, Far, Near


def test_near_by_hand() -> None:
    half = Near(0.25).dense(4)  # w = 1, weight 1 / r = 4
    assert half.tolist() == [[0, 4, 0, 0], [4, 0, 4, 0], [0, 4, 0, 4], [0, 0, 4, 0]]


def test_far_by_hand_has_a_diagonal_of_ones() -> None:
    assert Far(0.25).dense(4).tolist() == [[1, 0, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0], [1, 1, 0, 1]]


def test_distinct_by_hand() -> None:
    assert Distinct().dense(3).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


@given(
    n=st.integers(5, 60), m=st.integers(2, 60), radius=st.floats(0.02, 1.0), free=st.integers(0, 1),
    kind=st.sampled_from([Near, Far, Distinct]), dim=st.sampled_from([1, 2]), seed=st.integers(0, 99),
)  # fmt: skip
def test_product_equals_dense_matrix(n: int, m: int, radius: float, free: int, kind: type, dim: int, seed: int) -> None:
    radius = max(radius, 1.01 / (n - free))
    structure = kind() if kind is Distinct else kind(radius, free)
    shape = (2, n, m) if dim == 1 else (2, m, n)
    z = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    dense = structure.dense(n)
    expected = dense @ z if dim == 1 else z @ dense
    torch.testing.assert_close(structure.bind([n, n], dim)(z), expected, rtol=0, atol=1e-10)
    # Plans have mass 1, so entries of the product are of order 1: float32 stays within 1e-6 there.
    plan = z / z.sum((1, 2), keepdim=True)
    single = structure.bind([n, n], dim)(plan.float())
    exact = dense @ plan if dim == 1 else plan @ dense
    assert (single - exact).abs().max() <= 1e-6 * max(1.0, dense.max().item())


@given(lengths=st.lists(st.integers(12, 40), min_size=2, max_size=4), dim=st.sampled_from([1, 2]))
@pytest.mark.parametrize("structure", [Near(0.1), Far(0.1), Near(0.1, free=1), Far(0.1, free=1)])
def test_trap_windows_follow_each_samples_own_length(structure: Near | Far, lengths: list[int], dim: int) -> None:
    size = max(lengths) + 3
    z = torch.zeros(len(lengths), size, size, dtype=torch.float64)
    for b, n in enumerate(lengths):
        z[b, :n, :n] = torch.rand(n, n, generator=torch.Generator().manual_seed(b), dtype=torch.float64)
    product = structure.bind(lengths, dim)(z)
    for b, n in enumerate(lengths):
        dense, real = structure.dense(n), z[b, :n, :n]
        expected = dense @ real if dim == 1 else real @ dense
        torch.testing.assert_close(product[b, :n, :n], expected, rtol=0, atol=1e-10)


def test_scale_does_not_depend_on_length_or_radius() -> None:
    for n in (64, 512, 2048):
        for radius in (0.02, 0.04, 0.1):
            uniform = torch.full((1, n, n), 1 / n**2, dtype=torch.float64)
            near, far = Near(radius).bind([n], 1), Far(radius).bind([n], 2)
            assert 1.5 < near(far(uniform)).max() < 2.0


def test_trap_radius_that_rounds_to_no_frame_is_an_error() -> None:
    """The VAOT release's own defaults, 20 frames and r = .02, switch its structural prior off without a word."""
    with pytest.raises(InputError, match=r"radius 0\.02 of 20 frames is a window of 0 frames.*radius >= 0\.05"):
        Near(0.02).bind([20], 1)
    with pytest.raises(InputError, match="window of 0 frames"):
        Far(0.02).dense(20)


@pytest.mark.parametrize("shortest", [1, 3, 7, 30, 49, 999, 2_000, 123_457])
def test_the_radius_that_the_message_asks_for_is_taken(shortest: int) -> None:
    lengths = [shortest + 40, shortest, 2 * shortest + 5]
    with pytest.raises(InputError, match=f"of {shortest} frames is a window of 0 frames") as caught:
        Far(1e-9, free=2).bind([n + 2 for n in lengths], 2)
    radius = float(str(caught.value).split("radius >= ")[1].split(",")[0])
    assert min(Near(radius).bind(lengths, 1).windows) == 1


def test_window_is_exact_where_floats_round_down() -> None:
    assert 0.29 * 100 < 29
    assert Near(0.29).dense(100)[0].count_nonzero() == 29


def test_a_single_entry_takes_part_and_none_does_not() -> None:
    assert Near(1.0).bind([1], 1).windows == Far(1.0, free=2).bind([3], 2).windows == (1,)
    with pytest.raises(InputError, match="free leaves 0 frames for the structural prior; let at least 1 take part"):
        Near(1.0, free=3).bind([3], 1)


def test_free_entries_have_no_neighbours() -> None:
    dense = Near(0.25, free=1).dense(5)
    assert dense[0].sum() == 0
    assert torch.equal(dense[1:, 1:], Near(0.25).dense(4))
