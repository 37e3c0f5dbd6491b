"""Dummy frames: the round trip, the cap of balanced marginals, and partial transport."""

from __future__ import annotations

import pytest
import torch

from tests.transport.helpers import random_walk
from vasot_lib.errors import InputError
from vasot_lib.transport import Alignment, add_dummy, drop_dummy, dummy_marginal, keep_above, solve


def masks(n: int, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(1, n, dtype=torch.bool), torch.ones(1, m, dtype=torch.bool)


def test_add_dummy_by_hand() -> None:
    assert add_dummy(torch.ones(1, 1, 2), 0.5).tolist() == [[[0.5, 0.5, 0.5], [0.5, 1.0, 1.0]]]


def test_trap_dummy_round_trip_does_not_shift_a_frame() -> None:
    """The VASOT release puts the dummy column last but removes the first: its pseudo-labels are one frame off in Y."""
    x = random_walk(30)
    for dummy in ("none", "soft"):
        matches = Alignment(alpha=0.0, rho=0.0, epsilon=0.01, dummy=dummy).match(x[None], x[None], *masks(30, 30))
        assert matches.x_to_y.shape == (1, 30, 30)
        assert torch.equal(matches.x_to_y[0].argmax(1), torch.arange(30))
        assert torch.equal(matches.y_to_x[0].argmax(1), torch.arange(30))


def test_marginal_without_dummy_mass_gives_each_frame_an_equal_share() -> None:
    mask = torch.tensor([[True, True, True, False]])
    torch.testing.assert_close(dummy_marginal(mask, None), torch.tensor([[0.25, 0.25, 0.25, 0.25, 0.0]]))
    torch.testing.assert_close(dummy_marginal(mask, 0.25), dummy_marginal(mask, None))
    torch.testing.assert_close(dummy_marginal(mask, 0.4), torch.tensor([[0.4, 0.2, 0.2, 0.2, 0.0]]))


def background_pair() -> tuple[torch.Tensor, torch.Tensor]:
    """X has 16 background frames of 64 that look like nothing in Y."""
    x = random_walk(64, seed=1)
    y = x.clone()
    x[24:40] = random_walk(16, seed=2, step=5.0)
    return x, y


def test_trap_balanced_marginals_cap_the_dummy_at_one_frame() -> None:
    """However many background frames there are, the dummy column holds the mass of one frame: 1.5 % of 64."""
    x, y = background_pair()
    plan = Alignment(rho=0.1).match(x[None], y[None], *masks(64, 64)).plan
    assert plan.matrix[0, :, 0].sum().item() == pytest.approx(1 / 65, rel=1e-3)


def test_dummy_mass_lifts_the_cap_and_takes_the_background() -> None:
    x, y = background_pair()
    wide = Alignment(rho=0.1, alpha=0.0, epsilon=0.02, dummy_mass=0.3).match(x[None], y[None], *masks(64, 64))
    stayed = wide.x_to_y[0].sum(1)
    assert stayed[24:40].max() < 0.2
    assert torch.cat((stayed[:24], stayed[40:])).min() > 0.8


def test_dummy_mass_of_one_frame_reproduces_the_release() -> None:
    x, y = background_pair()
    one, default = (
        Alignment(rho=0.1, dummy_mass=mass).match(x[None], y[None], *masks(64, 64)).plan.matrix
        for mass in (1 / 65, None)
    )
    torch.testing.assert_close(one, default, rtol=1e-4, atol=1e-9)


def test_soft_targets_sum_to_the_share_that_stayed() -> None:
    x, y = background_pair()
    matches = Alignment(rho=0.1, dummy_mass=0.3).match(x[None], y[None], *masks(64, 64))
    mass_x = dummy_marginal(masks(64, 64)[0], 0.3).double()
    to_dummy = matches.plan.matrix[0, 1:, 0] / mass_x[0, 1:]
    torch.testing.assert_close(matches.x_to_y[0].sum(1) + to_dummy, torch.ones(64).double(), rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(matches.x_to_y, drop_dummy(matches.plan.matrix, mass_x), rtol=1e-6, atol=1e-9)


def test_threshold_drops_frames_without_a_clear_match() -> None:
    targets = torch.tensor([[[0.6, 0.4], [0.4, 0.3]]])
    assert keep_above(targets, 0.5).tolist() == [[pytest.approx([0.6, 0.4]), [0.0, 0.0]]]
    assert keep_above(torch.tensor([[[0.5, 0.25]]]), 0.5).tolist() == [[[0.5, 0.25]]]  # not below it
    x, y = background_pair()
    match = Alignment(rho=0.1, alpha=0.0, epsilon=0.005, dummy="threshold", dummy_mass=0.3)
    kept = match.match(x[None], y[None], *masks(64, 64)).x_to_y[0].sum(1) > 0
    assert not kept[26:38].any() and kept[:20].all() and kept[44:].all()


def test_unstructured_dummy_charges_no_structure() -> None:
    x, y = background_pair()
    options = dict(rho=0.1, alpha=0.6, dummy_mass=0.3)
    free = Alignment(**options).match(x[None], y[None], *masks(64, 64)).x_to_y[0].sum(1)
    bound = Alignment(structured_dummy=True, **options).match(x[None], y[None], *masks(64, 64)).x_to_y[0].sum(1)
    assert (
        free[24:40].mean() < bound[24:40].mean()
    )  # as a frame among frames the dummy may not hold neighbours together


def test_relaxing_y_keeps_every_frame_of_x() -> None:
    """Without balance a frame of Y may be used twice or never; the weight of the frames of X must not change."""
    x, y = background_pair()
    balanced, relaxed = (
        Alignment(rho=0.1, dummy="none", relax=relax).match(x[None], y[None], *masks(64, 64)) for relax in (None, 0.1)
    )
    torch.testing.assert_close(relaxed.x_to_y[0].sum(1), torch.ones(64).double(), rtol=1e-6, atol=1e-6)
    assert relaxed.plan.marginal_error_y.item() > 10 * balanced.plan.marginal_error_y.item()


def test_padding_does_not_change_targets() -> None:
    x, y = random_walk(20, seed=1), random_walk(24, seed=2)
    bare = Alignment(radius=0.1).match(x[None], y[None], *masks(20, 24))
    px, py = torch.zeros(1, 30, 24).double(), torch.zeros(1, 33, 24).double()
    px[0, :20], py[0, :24] = x, y
    padded = Alignment(radius=0.1).match(px, py, torch.arange(30)[None] < 20, torch.arange(33)[None] < 24)
    torch.testing.assert_close(padded.x_to_y[:, :20, :24], bare.x_to_y, rtol=1e-5, atol=1e-8)
    assert padded.x_to_y[:, 20:].sum() == 0 and padded.x_to_y[:, :, 24:].sum() == 0


def test_bad_values() -> None:
    with pytest.raises(InputError, match="dummy_mass is 1.0"):
        dummy_marginal(torch.ones(1, 3, dtype=torch.bool), 1.0)
    with pytest.raises(InputError, match="unknown Alignment.dummy 'hard'; known: none, soft, threshold"):
        Alignment(dummy="hard")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rho is -1"):
        Alignment(rho=-1)
    assert solve(add_dummy(torch.zeros(1, 3, 3), 0.5)).matrix.shape == (1, 4, 4)
