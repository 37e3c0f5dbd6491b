"""The GPU path for solves of the same kind again and again, as in training: recorded as CUDA graphs and replayed.

Launching a kernel from Python takes longer than the kernel itself on a small plan, and 25 iterations are about a
hundred launches. A CUDA graph launches all of them at once. A graph works on memory of its own, into which cost and
masses are copied before and from which the solution is copied after. Kernels and their order are those of
:mod:`vasot_lib.transport.fused.gpu`, and so the results are the same to the bit.
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
from vasot_lib.transport.reference import Schedule, Solution

LARGEST = 2**22  # entries of a batch that is recorded; larger ones gain little, and their memory would stay in use
AFTER = 8  # solves of a kind before it is recorded, which takes as long as a few of them
MOST = 4  # recordings that are kept; with ten arrays of the plans' size each, 640 MiB at the most
MOST_KINDS = 256  # kinds whose solves are counted

_KINDS: OrderedDict[Hashable, int | Recording] = OrderedDict()  # number of solves, or the recording; last used last


def run(problem: Problem, schedule: Schedule) -> Solution:
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
    """A recording; 0, which starts the count again, where there is too little memory for one."""
    try:
        return Recording(problem, schedule)
    except torch.cuda.OutOfMemoryError:
        return 0


def _kind(problem: Problem, schedule: Schedule) -> Hashable | None:
    """What two solves must have in common to share a recording; None where none can be made.

    Thread and stream belong to it because a recording's memory must not be used by two solves at the same time.
    """
    cost, sides = problem.cost, problem.structure or ()
    if cost.numel() > LARGEST:
        return None
    if any(
        len(set(side.windows)) > 1 for side in sides
    ):  # for these, the objective cannot be measured without the host
        return None
    others = (getattr(problem, field.name) for field in fields(problem) if field.name not in ("cost", "p", "q"))
    stream = torch.cuda.current_stream(cost.device).cuda_stream if cost.is_cuda else 0
    return (get_ident(), stream, tuple(cost.shape), cost.device, schedule, *others)


def _forget() -> None:
    """Drop the recordings and the counts that have not been used for the longest time."""
    recorded = [kind for kind, found in _KINDS.items() if not isinstance(found, int)]
    for kind in recorded[: max(0, len(recorded) - MOST)]:
        del _KINDS[kind]
    while len(_KINDS) > MOST_KINDS:
        _KINDS.popitem(last=False)


class Recording:
    """The recorded launches for one kind of problem; called with a problem of that kind, it solves the problem."""

    def __init__(self, problem: Problem, schedule: Schedule):
        with torch.cuda.device_of(problem.cost), _usual_tensors():
            buffers = {name: getattr(problem, name).clone().contiguous() for name in ("cost", "p", "q")}
            self.problem = replace(problem, **buffers)
            gpu.run(self.problem, schedule)  # compiles and loads the kernels, which is not possible while recording
            self.solver = gpu.Solver(self.problem, schedule)
            # The three graphs never run at the same time and so share one pool of memory.
            pool = torch.cuda.graph_pool_handle() if problem.cost.is_cuda else None
            device = problem.cost.device
            self.solver.iterate = record(self.solver.iterate, device, pool)  # type: ignore[method-assign]
            if self.solver.finishes:
                self.solver.sweep_on = record(self.solver.sweep_on, device, pool)  # type: ignore[method-assign]
            self.measure = record(self._measure, device, pool)

    def __call__(self, problem: Problem) -> Solution:
        """Copy the problem in, replay the launches, copy the solution out."""
        with torch.cuda.device_of(problem.cost), _usual_tensors():
            for name in ("cost", "p", "q"):
                getattr(self.problem, name).copy_(getattr(problem, name))
            self.solver.run()
            self.measure()
            kept = {field.name: getattr(self.solution, field.name) for field in fields(self.solution)}
            return Solution(**{name: value.clone() for name, value in kept.items() if isinstance(value, Tensor)})

    def _measure(self) -> None:
        self.solution = gpu.measure(self.problem, self.solver.kernel, self.solver.residual)


@contextmanager
def _usual_tensors() -> Iterator[None]:
    """Make ordinary tensors: those made in ``torch.inference_mode`` could not be written to outside of it."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def record(function: Callable[[], None], device: torch.device, pool: Any) -> Callable[[], None]:
    """Run the function once and record its launches in a CUDA graph; the result launches them again without Python."""
    graph = torch.cuda.CUDAGraph()
    # The stream is made for this device, since torch would reuse one of the first device that recorded. In thread-local
    # mode other threads, such as those that pin batches in memory, may go on using CUDA meanwhile.
    stream = torch.cuda.Stream(device)
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        function()
    return graph.replay
