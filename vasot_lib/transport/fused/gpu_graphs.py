"""GPU solves of one kind again and again, as in training: recorded once as CUDA graphs and from then on replayed.

Launching a kernel from Python takes longer than the kernel itself on a small plan, and 25 iterations are a hundred
launches. A graph is one. It works on buffers of its own, to which the cost and the masses are copied; the result is
copied from them. The kernels and their order are those of :mod:`vasot_lib.transport.fused.gpu`, and so are the bits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from threading import get_ident
from typing import Any

import torch
from torch import Tensor

from vasot_lib.transport.fused import gpu
from vasot_lib.transport.problem import Problem
from vasot_lib.transport.reference import Outcome, Schedule

LARGEST = 2**22  # entries of all plans of a batch; larger ones are not waited for, and their buffers would stay
AFTER = 8  # solves of a kind: recording takes as long as a few of them
MOST = 4  # recordings that are kept, each with about ten arrays of the size of its plans: some 640 MiB by count
MOST_KINDS = 256  # that are counted

_KINDS: OrderedDict[Hashable, int | Recording] = OrderedDict()  # the last used one comes last


def run(problem: Problem, schedule: Schedule) -> Outcome:
    """See :func:`vasot_lib.transport.fused.gpu.run`."""
    kind = _kind(problem, schedule)
    if kind is None:
        return gpu.run(problem, schedule)
    found = _KINDS.pop(kind, 0)
    if isinstance(found, int):
        found = _recorded(problem, schedule) if found + 1 >= AFTER else found + 1
    _KINDS[kind] = found
    _forget()
    return gpu.run(problem, schedule) if isinstance(found, int) else found(problem)


def _recorded(problem: Problem, schedule: Schedule) -> int | Recording:
    """The recording, or 0, to count again, where there is no room for its buffers now."""
    try:
        return Recording(problem, schedule)
    except torch.cuda.OutOfMemoryError:
        return 0


def _kind(problem: Problem, schedule: Schedule) -> Hashable | None:
    """All that a recording fixes, and who may use its buffers; None where nothing can be recorded."""
    cost, sides = problem.cost, problem.structure or ()
    if cost.numel() > LARGEST:
        return None
    if any(len(set(side.windows)) > 1 for side in sides):  # measuring J of those needs the host
        return None
    others = (getattr(problem, field.name) for field in fields(problem) if field.name not in ("cost", "p", "q"))
    stream = torch.cuda.current_stream(cost.device).cuda_stream if cost.is_cuda else 0
    return (get_ident(), stream, tuple(cost.shape), cost.device, schedule, *others)


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
        with torch.cuda.device_of(problem.cost), _usual_tensors():
            buffers = {name: getattr(problem, name).clone().contiguous() for name in ("cost", "p", "q")}
            self.problem = replace(problem, **buffers)
            gpu.run(self.problem, schedule)  # whatever is still to be compiled or loaded cannot be while recording
            self.solver = gpu.Solver(self.problem, schedule)
            # One pool of memory for all three graphs, which take turns.
            pool = torch.cuda.graph_pool_handle() if problem.cost.is_cuda else None
            device = problem.cost.device
            self.solver.iterate = record(self.solver.iterate, device, pool)  # type: ignore[method-assign]
            if self.solver.finishes:
                self.solver.sweep_on = record(self.solver.sweep_on, device, pool)  # type: ignore[method-assign]
            self.measure = record(self._measure, device, pool)

    def __call__(self, problem: Problem) -> Outcome:
        """Copy in, replay, copy out."""
        with torch.cuda.device_of(problem.cost), _usual_tensors():
            for name in ("cost", "p", "q"):
                getattr(self.problem, name).copy_(getattr(problem, name))
            self.solver.run()
            self.measure()
            kept = {field.name: getattr(self.outcome, field.name) for field in fields(self.outcome)}
            return Outcome(**{name: value.clone() for name, value in kept.items() if isinstance(value, Tensor)})

    def _measure(self) -> None:
        self.outcome = gpu.measure(self.problem, self.solver.kernel, self.solver.residual)


@contextmanager
def _usual_tensors() -> Iterator[None]:
    """Buffers are written to again: those that ``torch.inference_mode`` makes cannot be, outside of it."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def record(function: Callable[[], None], device: torch.device, pool: Any) -> Callable[[], None]:
    """The same without Python: what it launches now is launched at every call."""
    graph = torch.cuda.CUDAGraph()
    # A stream of this device, since torch keeps one of the first device that recorded. Other threads, such as those
    # that pin batches, may go on meanwhile.
    stream = torch.cuda.Stream(device)
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        function()
    return graph.replay
