"""Recorded solves give the bits of launched ones; recordings are few, and only made of what comes again and again.

Without a GPU there are no graphs: a stand-in that calls the function again shows that what is recorded may run again.
"""

from __future__ import annotations

import importlib.util
import threading
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from tests.transport.helpers import random_cost
from vasot_lib.transport import Distinct, Far, Near, make_problem, solve
from vasot_lib.transport.fused import gpu, gpu_graphs
from vasot_lib.transport.problem import Problem
from vasot_lib.transport.reference import Schedule

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed: pip install triton", allow_module_level=True)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SCHEMES = [("sinkhorn", None), ("mirror", 0.1)]  # with sweeps that finish the plan, and without

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in add:RuntimeWarning")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing recorded yet, and on a CPU the stand-in."""
    monkeypatch.setattr(gpu_graphs, "_KINDS", type(gpu_graphs._KINDS)())
    monkeypatch.setattr(gpu_graphs, "AFTER", 2)
    if DEVICE == "cpu":
        monkeypatch.setattr(gpu_graphs, "record", lambda function, device, pool: function)


def problem_of(seed: int, n: int = 12, m: int = 9, relax: float | None = None, **options: object) -> Problem:
    """Costs and masses differ from seed to seed."""
    generator = torch.Generator().manual_seed(seed)
    masses = {}
    for name, size in (("mass_x", n), ("mass_y", m)):
        mass = 0.5 + torch.rand(2, size, generator=generator)
        masses[name] = (mass / mass.sum(1, keepdim=True)).to(DEVICE)
    cost = random_cost(2, n, m, seed, torch.float32).to(DEVICE)
    structure = options.pop("structure", (Near(0.2), Far(0.2)))
    return make_problem(cost, structure, alpha=0.3, epsilon=0.2, relax_y=relax, **masses, **options)  # type: ignore[arg-type]


def recorded() -> int:
    return sum(not isinstance(found, int) for found in gpu_graphs._KINDS.values())


@pytest.mark.no_cover
@pytest.mark.parametrize(("scheme", "relax"), SCHEMES)
def test_a_recording_gives_the_bits_of_the_launches(scheme: str, relax: float | None) -> None:
    schedule = Schedule(scheme, 2, 2, True, 1e-3)  # type: ignore[arg-type]
    outcomes = [gpu_graphs.run(problem_of(seed, relax=relax), schedule) for seed in range(4)]
    assert recorded() == 1
    for seed, outcome in enumerate(outcomes):  # the results of earlier calls are still what they were
        expected = gpu.run(problem_of(seed, relax=relax), schedule)
        for field in fields(outcome):
            ours, theirs = getattr(outcome, field.name), getattr(expected, field.name)
            assert theirs is None and ours is None or torch.equal(ours, theirs), (seed, field.name)


@pytest.mark.no_cover
def test_a_recording_made_without_gradients_serves_with_them() -> None:
    schedule = Schedule("sinkhorn", 2, 1, True, 1e-3)
    with torch.inference_mode():
        for seed in range(2):
            gpu_graphs.run(problem_of(seed), schedule)
    assert recorded() == 1
    plan = gpu_graphs.run(problem_of(3), schedule).matrix
    assert torch.equal(plan, gpu.run(problem_of(3), schedule).matrix)


@pytest.mark.no_cover
def test_without_room_for_a_recording_the_problem_is_solved_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr(gpu_graphs, "record", full)
    schedule = Schedule("sinkhorn", 2, 1, False, 1e-3)
    for seed in range(3):
        outcome = gpu_graphs.run(problem_of(seed), schedule)
        assert torch.equal(outcome.matrix, gpu.run(problem_of(seed), schedule).matrix)
    assert recorded() == 0


def test_threads_share_no_recording() -> None:
    schedule, kinds = Schedule("sinkhorn", 1, 1, False, 1e-3), list[object]()
    thread = threading.Thread(target=lambda: kinds.append(gpu_graphs._kind(problem_of(0), schedule)))
    thread.start()
    thread.join()
    assert kinds[0] != gpu_graphs._kind(problem_of(0), schedule)


@pytest.mark.no_cover
def test_only_what_comes_again_is_recorded() -> None:
    schedule = Schedule("sinkhorn", 1, 1, False, 1e-3)
    for n in (10, 11, 12):
        gpu_graphs.run(problem_of(0, n), schedule)
    assert recorded() == 0
    for other in (
        dict(relax=0.1), dict(structure=(Near(0.2), Distinct())), dict(structure=(Near(0.3), Far(0.2))),
        dict(structure=(Near(0.2, 1), Far(0.2, 1))),
    ):  # fmt: skip
        gpu_graphs.run(problem_of(0, 12, **other), schedule)  # type: ignore[arg-type]
    assert recorded() == 0
    gpu_graphs.run(problem_of(1, 12), schedule)
    assert recorded() == 1


def test_recordings_are_few_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_graphs, "MOST", 2)
    monkeypatch.setattr(gpu_graphs, "MOST_KINDS", 4)
    schedule = Schedule("sinkhorn", 1, 1, False, 1e-3)
    kinds = [gpu_graphs._kind(problem_of(0, n), schedule) for n in range(9, 15)]
    for n in (9, 9, 10, 10, 9, 11, 11):
        gpu_graphs.run(problem_of(0, n), schedule)
    assert list(gpu_graphs._KINDS) == [kinds[0], kinds[2]] and recorded() == 2
    for n in (12, 13, 14):
        gpu_graphs.run(problem_of(0, n), schedule)
    assert list(gpu_graphs._KINDS) == kinds[2:]


def test_large_plans_and_windows_that_differ_are_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule("sinkhorn", 1, 1, False, 1e-3)
    mask = torch.arange(12, device=DEVICE) < torch.tensor([[12], [7]], device=DEVICE)
    cost = random_cost(2, 12, 9, 0, torch.float32).to(DEVICE)
    padded = make_problem(cost, (Near(0.2), Far(0.2)), alpha=0.3, mask_x=mask)
    assert gpu_graphs._kind(padded, schedule) is None
    assert gpu_graphs._kind(make_problem(cost, mask_x=mask), schedule) is not None
    monkeypatch.setattr(gpu_graphs, "LARGEST", cost.numel() - 1)
    assert gpu_graphs._kind(problem_of(0), schedule) is None


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="this machine has no CUDA device")
def test_training_records_the_problems_of_its_steps() -> None:
    def costs(seed: int) -> Tensor:
        return random_cost(2, 60, 50, seed, torch.float32).to(DEVICE)

    for seed in range(3):
        solve(costs(seed), (Near(0.1), Far(0.1)), alpha=0.3)
        solve(costs(seed), (Near(0.1), Distinct()), alpha=0.3, relax_y=0.1, scheme="mirror")
    assert recorded() == 2
