"""GPU solves of one kind again and again, as in training: recorded once as CUDA graphs and from then on replayed.

Launching a kernel from Python takes longer than the kernel itself on a small plan, and 25 iterations are a hundred
launches. A graph is one. It works on buffers of its own, to which the cost and the masses are copied; the result is
copied from them. The kernels and their order are those of :mod:`vasot_lib.transport.fused.gpu`, and so are the bits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, replace

import torch
from torch import Tensor

from vasot_lib.transport.fused import gpu
from vasot_lib.transport.problem import Problem
from vasot_lib.transport.reference import Outcome, Schedule

LARGEST = 2**22  # entries of all plans of a batch; larger ones are not waited for, and their buffers would stay
AFTER = 8  # solves of a kind: recording takes as long as a few of them
MOST = 8  # recordings that are kept
MOST_KINDS = 256  # that are counted

_KINDS: OrderedDict[Hashable, int | Recording] = OrderedDict()  # the last used one comes last


def run(problem: Problem, schedule: Schedule) -> Outcome:
    """See :func:`vasot_lib.transport.fused.gpu.run`."""
    kind = _kind(problem, schedule)
    if kind is None:
        return gpu.run(problem, schedule)
    found = _KINDS.pop(kind, 0)
    if isinstance(found, int):
        found = Recording(problem, schedule) if found + 1 >= AFTER else found + 1
    _KINDS[kind] = found
    _forget()
    return gpu.run(problem, schedule) if isinstance(found, int) else found(problem)


def _kind(problem: Problem, schedule: Schedule) -> Hashable | None:
    """All that a recording fixes; None where nothing can be recorded."""
    cost, sides = problem.cost, problem.structure or ()
    if cost.numel() > LARGEST:
        return None
    if any(len(set(side.windows)) > 1 for side in sides):  # measuring J of those needs the host
        return None
    others = (getattr(problem, field.name) for field in fields(problem) if field.name not in ("cost", "p", "q"))
    return (tuple(cost.shape), cost.device, schedule, *others)


def _forget() -> None:
    """Drop what was not used for the longest time."""
    recorded = [kind for kind, found in _KINDS.items() if not isinstance(found, int)]
    for kind in recorded[: max(0, len(recorded) - MOST)]:
        del _KINDS[kind]
    while len(_KINDS) > MOST_KINDS:
        _KINDS.popitem(last=False)


class Recording:
    """The launches of one kind of problem; called with a problem of that kind, it solves it."""

    def __init__(self, problem: Problem, schedule: Schedule):
        with torch.cuda.device_of(problem.cost):
            buffers = {name: getattr(problem, name).clone().contiguous() for name in ("cost", "p", "q")}
            self.problem = replace(problem, **buffers)
            gpu.run(self.problem, schedule)  # whatever is still to be compiled or loaded cannot be while recording
            self.solver = gpu.Solver(self.problem, schedule)
            self.solver.iterate = record(self.solver.iterate)  # type: ignore[method-assign]
            if self.solver.finishes:
                self.solver.sweep_on = record(self.solver.sweep_on)  # type: ignore[method-assign]
            self.measure = record(self._measure)

    def __call__(self, problem: Problem) -> Outcome:
        """Copy in, replay, copy out."""
        with torch.cuda.device_of(problem.cost):
            for name in ("cost", "p", "q"):
                getattr(self.problem, name).copy_(getattr(problem, name))
            self.solver.run()
            self.measure()
            kept = {field.name: getattr(self.outcome, field.name) for field in fields(self.outcome)}
            return Outcome(**{name: value.clone() for name, value in kept.items() if isinstance(value, Tensor)})

    def _measure(self) -> None:
        self.outcome = gpu.measure(self.problem, self.solver.kernel, self.solver.residual)


def record(function: Callable[[], None]) -> Callable[[], None]:
    """The same without Python: what it launches now is launched at every call."""
    graph = torch.cuda.CUDAGraph()
    # Other threads, such as those that pin batches, may go on while this one records.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        function()
    return graph.replay
