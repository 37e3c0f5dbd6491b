"""Operations that a step hands to the device, one after another."""

from __future__ import annotations

from functools import partial

import torch

from vasot_kit.benchmarks.launches import count_launches
from vasot_lib.transport import Far, Near, make_problem, reference
from vasot_lib.transport.reference import Schedule


def test_what_computes_counts_and_views_and_memory_do_not() -> None:
    x = torch.ones(3, 4)
    assert count_launches(lambda: x + x) == 1
    assert count_launches(lambda: x.T.reshape(2, 6)[None].expand(5, -1, -1)) == 1  # a reshape that has to copy
    assert count_launches(lambda: x.view(4, 3).T[1:].unsqueeze(0)) == 0
    assert count_launches(lambda: torch.empty(7)) == 0
    assert count_launches(lambda: x.mul_(1.0).add_(0.0)) == 2


def test_the_backward_pass_counts() -> None:
    weight = torch.ones(3, requires_grad=True)
    forward = count_launches(lambda: (weight * weight).sum())
    assert count_launches(lambda: (weight * weight).sum().backward()) > forward == 2


def test_every_iteration_of_the_readable_solver_adds_as_many() -> None:
    problem = make_problem(torch.rand(1, 9, 8), (Near(0.2), Far(0.2)), alpha=0.3)
    few, more, most = (
        count_launches(partial(reference.run, problem, Schedule("sinkhorn", iterations, 1, False, 1e-3)))
        for iterations in (2, 3, 4)
    )
    assert most - more == more - few > 10
