"""``vasot bench solver``: the solver compared with one exponential pass, POT and the published convolution scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_kit.benchmarks.peers import ott_solver, solve_batch_with_pot, solve_by_convolution, solve_with_pot
from vasot_kit.benchmarks.timing import Measurement, interleaved_times, peak_memory
from vasot_lib.steps import record
from vasot_lib.transport import Distinct, Far, Near, cosine_cost, make_problem, reference, solve, temporal_prior
from vasot_lib.transport.problem import without_host_reads
from vasot_lib.transport.reference import Schedule, Scheme

ITERATIONS, RADIUS, ALPHA, RELAX = 25, 0.04, 0.3, 0.1
FRAMES = (Near(RADIUS), Far(RADIUS))
ACTIONS = (Near(RADIUS), Distinct())
SCALING = (256, 512, 1024, 2048, 4096, 8192)
LONG = 10_000
# Whole solves on a GPU: shape, whether they are finished (of alignments), goal, and milliseconds of the prototype.
WHOLE = (
    ((1, 257, 257), True, "<= 0.4", ""), ((1, 257, 257), False, "", "0.43"), ((16, 256, 256), False, "", "0.69"),
    ((64, 256, 256), True, "", ""), ((64, 256, 256), False, "", "1.83"), ((1, 1024, 1024), True, "", ""),
    ((2, 256, 12), False, "", "0.11"), ((64, 256, 12), False, "", "0.11"), ((16, 256, 20), False, "<= 0.15", "0.26"),
    ((300, 64, 20), False, "", ""), ((1, 5000, 20), False, "", ""),
)  # fmt: skip


def bench_solver(device: str = "cpu", seconds: float = 2.0, largest: int = LONG) -> Iterator[Measurement]:
    """Yield the measurements one by one.

    Args:
        device: ``cpu`` or ``cuda``.
        seconds: spent on each comparison.
        largest: frames of both recordings of the largest plan.
    """
    yield from _against_exp(device, seconds)
    if device == "cuda":
        yield from _whole_solves(device, seconds)
    yield from _against_reference(device, seconds)
    yield from _against_pot(device, seconds)
    yield from _against_pot_batches(device, seconds)
    yield from _against_ott(device, seconds)
    yield from _against_convolution(device, seconds)
    yield from _scaling(device, seconds, largest)
    if device == "cpu":
        yield from _memory(largest)


def pair_cost(batch: int, n: int, m: int, device: str = "cpu") -> Tensor:
    """(batch, n, m) cost with temporal prior of pairs of random walks, which change slowly in time as videos do."""
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(batch, n, 40, generator=generator).mul(0.3).cumsum(1)
    other = walk[:, torch.linspace(0, n - 1, m).long()] + 0.2 * torch.randn(batch, m, 40, generator=generator)
    cost = cosine_cost(F.normalize(walk, dim=-1), F.normalize(other, dim=-1))
    return cost.add_(temporal_prior(n, m), alpha=0.35).to(device)


def _solver(
    cost: Tensor, finish: bool = False, iterations: int = ITERATIONS, tolerance: float = 1e-3
) -> Callable[[], object]:
    return partial(solve, cost, FRAMES, alpha=ALPHA, finish=finish, iterations=iterations, tolerance=tolerance)


def _segmenter(cost: Tensor) -> Callable[[], object]:
    return partial(solve, cost, ACTIONS, alpha=ALPHA, relax_y=RELAX, scheme="mirror")


def _against_exp(device: str, seconds: float) -> Iterator[Measurement]:
    for n in (257, 1024):
        cost = pair_cost(1, n, n, device)
        functions = {"solve": _solver(cost), "twice": _solver(cost, iterations=2 * ITERATIONS)}
        time = interleaved_times({**functions, "exp": partial(torch.exp, cost)}, seconds, device)
        note = f"solve {1e3 * time['solve']:.2f} ms, exp {1e6 * time['exp']:.0f} us"
        size = f"{n} x {n}"
        passes = time["solve"] / ITERATIONS / time["exp"]
        yield Measurement(f"exp passes per iteration, whole call, {size}", passes, "exp passes", "<= 8", note)
        passes = (time["twice"] - time["solve"]) / ITERATIONS / time["exp"]
        yield Measurement(f"exp passes per further iteration, {size}", passes, "exp passes", "", note)
        outside = 2 * time["solve"] - time["twice"]
        note = f"{1e3 * outside:.2f} ms: checking, setting up and measuring"
        yield Measurement(
            f"of the call: outside of the iterations, {size}", 100 * outside / time["solve"], "%", "", note
        )


def _whole_solves(device: str, seconds: float) -> Iterator[Measurement]:
    """Milliseconds of a call of ``solve``, and of the same recorded and replayed, in which the host has no part."""
    for (batch, n, m), finish, goal, prototype in WHOLE:
        cost = pair_cost(batch, n, m, device)
        solver = to_record = _segmenter(cost)
        if m > 100:
            # A plan that is not finished at all has to be looked at by the host.
            solver, to_record = _solver(cost, finish), _solver(cost, True, tolerance=1e-3 if finish else 1e9)
        time = interleaved_times({"call": solver, "replay": _recorded(to_record)}, seconds, device)
        size = f"{batch} x {n} x {m}" + (", finished" if finish else "")
        note = f"the prototype took {prototype} ms on an H200" if prototype else ""
        yield Measurement(f"one solve, {size}", 1e3 * time["call"], "ms", goal, note)
        note = "with one finishing sweep" if m > 100 and not finish else ""
        yield Measurement(f"one solve, recorded, {size}", 1e3 * time["replay"], "ms", "", note)


def _recorded(solver: Callable[[], object]) -> Callable[[], object]:
    """The solve as a recorded training step replays it: neither checked nor launched by the host."""

    def call() -> None:
        with without_host_reads():
            solver()

    call()  # compiles
    return record(call)


def _against_reference(device: str, seconds: float) -> Iterator[Measurement]:
    shapes = [(1, 257, 257), (2, 256, 12)] if device == "cpu" else [(64, 256, 256), (64, 256, 12)]
    for batch, n, m in shapes:
        cost = pair_cost(batch, n, m, device)
        scheme: Scheme = "sinkhorn" if m > 100 else "mirror"
        structure, relax = (FRAMES, None) if m > 100 else (ACTIONS, RELAX)
        problem = make_problem(cost, structure, alpha=ALPHA, relax_y=relax)
        finish = device == "cuda"
        eager = partial(reference.run, problem, Schedule(scheme, ITERATIONS, 1, finish=finish, tolerance=1e-3))
        fused = partial(solve, cost, structure, alpha=ALPHA, relax_y=relax, scheme=scheme, finish=finish)
        time = interleaved_times({"fused": fused, "eager": eager}, seconds, device)
        note = f"fused {1e3 * time['fused']:.2f} ms, plain torch {1e3 * time['eager']:.2f} ms"
        goal = ">= 20" if device == "cuda" and m > 100 else ""
        yield Measurement(
            f"faster than plain torch, {batch} x {n} x {m}", time["eager"] / time["fused"], "x", goal, note
        )


def _against_pot(device: str, seconds: float) -> Iterator[Measurement]:
    if device != "cpu" or find_spec("ot") is None:
        yield Measurement(
            "faster than POT", None, "x", "", "skipped: needs the CPU and the package POT (pip install POT)"
        )
        return
    for n, goal in ((257, ">= 12"), (1024, ">= 30")):
        cost = pair_cost(1, n, n)
        ours = {"solve": _solver(cost), "finished": _solver(cost, finish=True)}
        time = interleaved_times({**ours, "pot": partial(solve_with_pot, cost[0].double(), RADIUS)}, seconds)
        note = f"solve {1e3 * time['solve']:.2f} ms, POT {1e3 * time['pot']:.1f} ms in float64, which it needs here"
        yield Measurement(f"faster than POT, {n} x {n}", time["pot"] / time["solve"], "x", goal, note)
        note = f"marginals met to 1e-3: {1e3 * time['finished']:.2f} ms; POT's are left open by one sweep"
        yield Measurement(f"faster than POT, finished, {n} x {n}", time["pot"] / time["finished"], "x", "", note)


def _against_pot_batches(device: str, seconds: float) -> Iterator[Measurement]:
    batch, n = (4, 257) if device == "cpu" else (64, 256)
    name = f"faster than POT's batched solver, {batch} x {n} x {n}"
    if find_spec("ot") is None or find_spec("ot.batch") is None:
        yield Measurement(name, None, "x", "", "skipped: needs POT 0.9.6 or newer (pip install -U POT)")
        return
    cost = pair_cost(batch, n, n, device)
    pot = partial(solve_batch_with_pot, cost, RADIUS)
    time = interleaved_times({"solve": _solver(cost), "pot": pot}, seconds, device)
    note = f"solve {1e3 * time['solve']:.2f} ms, POT {1e3 * time['pot']:.1f} ms for as many linearisations and sweeps"
    yield Measurement(name, time["pot"] / time["solve"], "x", "", note)


def _against_ott(device: str, seconds: float) -> Iterator[Measurement]:
    name = "faster than ott-jax, 257 x 257"
    if device != "cpu" or not all(map(find_spec, ("jax", "ott"))):
        yield Measurement(name, None, "x", "", "skipped: needs the CPU and the package ott-jax (pip install ott-jax)")
        return
    cost = pair_cost(1, 257, 257)
    time = interleaved_times({"solve": _solver(cost), "ott": ott_solver(cost[0], RADIUS)}, seconds)
    note = f"solve {1e3 * time['solve']:.2f} ms, ott-jax {1e3 * time['ott']:.1f} ms, as many sweeps"
    yield Measurement(name, time["ott"] / time["solve"], "x", "", note)


def _against_convolution(device: str, seconds: float) -> Iterator[Measurement]:
    for batch, n, m, goal in ((2, 256, 12, ""), (16, 256, 20, ">= 12"), (1, 5000, 20, ">= 100")):
        if device == "cuda":
            goal = ">= 30" if n == 5000 else ""
        cost = pair_cost(batch, n, m, device)
        published = partial(solve_by_convolution, cost, RADIUS, ALPHA, relax_y=RELAX)
        time = interleaved_times({"solve": _segmenter(cost), "published": published}, seconds, device)
        note = f"solve {1e3 * time['solve']:.2f} ms, convolutions {1e3 * time['published']:.1f} ms"
        name = f"faster than the published scheme, segmentation {batch} x {n} x {m}"
        yield Measurement(name, time["published"] / time["solve"], "x", goal, note)
    cost = pair_cost(1, 257, 257, device)
    time = interleaved_times(
        {"solve": _solver(cost), "published": partial(solve_by_convolution, cost, RADIUS, ALPHA, far=True)},
        seconds,
        device,
    )
    note = f"solve {1e3 * time['solve']:.2f} ms, convolutions {1e3 * time['published']:.1f} ms"
    yield Measurement(
        "faster than the published scheme, alignment 257 x 257", time["published"] / time["solve"], "x", "", note
    )


def _scaling(device: str, seconds: float, largest: int) -> Iterator[Measurement]:
    sizes = [n for n in SCALING if n <= largest]
    taken = []
    for n in sizes:
        cost = pair_cost(1, n, n, device)
        taken.append(interleaved_times({"solve": _solver(cost)}, seconds, device)["solve"])
        yield Measurement(
            f"alignment, {n} x {n}",
            taken[-1],
            "s",
            "",
            f"{1e9 * taken[-1] / ITERATIONS / n**2:.2f} ns per entry and iteration",
        )
        del cost
    exponent = float(np.polyfit(2 * np.log(sizes), np.log(taken), 1)[0])
    yield Measurement("exponent of time in NM", exponent, "", "<= 1.1", f"fitted over {sizes[0]} to {sizes[-1]} frames")


def _memory(largest: int) -> Iterator[Measurement]:
    n = largest
    cost = pair_cost(1, n, n)
    used = peak_memory(_solver(cost))
    if used is None:
        yield Measurement(
            f"plan-sized buffers, {n} x {n}", None, "buffers", "", "skipped: peak memory can be read on Linux only"
        )
        return
    size = cost.numel() * cost.element_size()
    note = f"cost included; one is {size / 2**20:.0f} MiB"
    yield Measurement(f"plan-sized buffers, {n} x {n}", round(1 + used / size, 1), "buffers", "<= 4.0", note)
    yield Measurement(f"memory of the solve, {n} x {n}", (size + used) / 2**30, "GiB", "<= 8", note)
