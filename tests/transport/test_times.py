"""When actions happen: known densities, and a recording is left out of its own prior."""

import numpy as np
import pytest
import torch

from vasot_lib.transport import temporal_prior
from vasot_lib.transport.times import BINS, UNIFORM, WIDTH, TimesOfActions


def one_hot(*actions: int, length: int = 100, k: int = 3) -> torch.Tensor:
    """A plan that gives equally long segments to these actions."""
    labels = torch.tensor(actions).repeat_interleave(length // len(actions))
    return torch.nn.functional.one_hot(labels, k).float()


def counted(*targets: torch.Tensor) -> TimesOfActions:
    times = TimesOfActions(targets[0].shape[1])
    times.start(len(targets), 2.0)
    times.count(list(targets))
    return times


def real(*lengths: int) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def test_before_plans_are_counted_it_is_the_prior_of_the_paper() -> None:
    times = TimesOfActions(4)
    times.start(2, 3.0)
    mask = real(BINS, BINS // 2)
    expected = 3.0 * temporal_prior(BINS, 4, mask.sum(1), torch.tensor([4, 4]))
    found = times.cost(mask, torch.tensor([0, 1]))
    torch.testing.assert_close(found[mask], expected[mask])
    assert not times.known


def test_the_density_is_that_of_a_slow_loop() -> None:
    plans = [one_hot(0, 1), one_hot(1, 0, 1, 1), torch.rand(90, 2).softmax(1)]
    plans = [each[:, :2] for each in plans]
    found = counted(*plans).cost(real(70), torch.tensor([2]))[0]
    weights = np.zeros((2, BINS))
    for plan in plans[:2]:  # the third is left out
        for i, row in enumerate(plan.numpy()):
            weights[:, i * BINS // len(plan)] += row / len(plan)
    for i in range(70):
        for k in range(2):
            density = 0.0
            for bin_ in range(BINS):
                reach = [np.exp(-abs(bin_ - other) / BINS / WIDTH) for other in range(BINS)]
                density += weights[k, bin_] / weights[k].sum() * reach[i * BINS // 70] / sum(reach) * BINS
            assert float(found[i, k]) == pytest.approx(-np.log((1 - UNIFORM) * density + UNIFORM), abs=1e-4)


def test_a_fixed_order_is_found_wherever_and_however_long_the_steps_are() -> None:
    uneven = torch.cat([one_hot(0, length=60), one_hot(1, length=10), one_hot(2, length=30)])
    cost = counted(uneven, uneven, uneven).cost(real(100), torch.tensor([0]))[0]
    cheapest = cost.argmin(1)
    away = (torch.arange(100)[:, None] - torch.tensor([60, 70])).abs().amin(1) > 8  # the kernel smooths what is sharp
    assert (cheapest[away] == uneven.argmax(1)[away]).all()
    clock = temporal_prior(100, 3).argmin(1)
    assert (clock == uneven.argmax(1)).float().mean() < 0.6  # what the prior of the paper would say


def test_a_free_order_says_nothing() -> None:
    orders = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    plans = [one_hot(*order, length=99) for order in orders for _ in range(20)]
    cost = counted(*plans).cost(real(99))[0]
    assert (cost.amax(1) - cost.amin(1)).max() < 0.06
    fixed = counted(*[one_hot(0, 1, 2, length=99)] * 60).cost(real(99))[0]
    assert fixed.max() - fixed.min() > 1.0


def test_a_recording_has_no_part_in_its_own_prior() -> None:
    others = [one_hot(0, 1, 2, length=99)] * 3
    mine = [counted(odd, *others).cost(real(99), torch.tensor([0])) for odd in (others[0], one_hot(2, 1, 0, length=99))]
    torch.testing.assert_close(mine[0], mine[1])
    theirs = [
        counted(odd, *others).cost(real(99), torch.tensor([1])) for odd in (others[0], one_hot(2, 1, 0, length=99))
    ]
    assert not torch.allclose(theirs[0], theirs[1])


def test_an_action_that_no_other_recording_shows_costs_nothing() -> None:
    cost = counted(one_hot(0, 1), one_hot(0, 2), one_hot(0, 2)).cost(real(50), torch.tensor([0]))[0]
    assert (cost[:, 1] == 0).all() and (cost[:, 0] != 0).any()


def test_one_recording_alone_has_no_prior() -> None:
    assert (counted(one_hot(0, 1, 2, length=99)).cost(real(99), torch.tensor([0])) == 0).all()
