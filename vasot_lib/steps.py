"""The optimiser steps of a training; on a GPU they are recorded as CUDA graphs and replayed.

On a small model every kernel of a step takes less time than Python needs to launch it. A CUDA graph launches all of
them at once: encoder, costs, transport, losses, gradients and optimiser. It works on memory of its own, into which a
batch is copied while the last step may still be running. Kernels and their order are those of a step without a graph,
and so are the numbers.
"""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vasot_lib.data import Batch
from vasot_lib.methods.base import Method
from vasot_lib.transport.problem import NeedsHost, without_host_reads

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BEFORE_RECORDING = 3  # steps of a kind that are launched: kernels are compiled, and the optimiser makes its state


class Steps:
    """Takes optimiser steps and adds up the terms of their losses.

    A step is recorded if the method says that it can be (:attr:`vasot_lib.methods.base.Method.replays`) and computes
    nothing after it (:meth:`vasot_lib.methods.base.Method.end_step`), one process computes it in one part on a CUDA
    device, and no recording of the batch has padding: then the numbers of frames are known, and nothing has to be read
    from the device. A transport that needs the host, such as a balanced one without finishing sweeps, is launched;
    where recording fails otherwise, so are all further steps, with a warning.
    """

    def __init__(self, method: Any, optimiser: Any, fabric: Fabric):
        """``method`` and ``optimiser`` as :mod:`lightning_fabric` has wrapped them."""
        self.method, self.optimiser, self.fabric = method, optimiser, fabric
        plain = type(method.module).end_step is Method.end_step  # a recording holds nothing that follows the optimiser
        self.records = fabric.device.type == "cuda" and fabric.world_size == 1 and method.module.replays and plain
        self._taken: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, _RecordedStep] = {}
        self.begin()

    def begin(self) -> None:
        """Start a new sum."""
        self._sums: dict[str, Tensor] = {}
        self._number = 0

    def take(self, parts: Sequence[tuple[Batch, float]]) -> None:
        """One step for the parts of a batch, each with its share of the loss."""
        self._number += 1
        batch = parts[0][0]
        if not (self.records and len(parts) == 1 and batch.features.ndim == 3 and bool(batch.mask.all())):
            return self._launch(parts)
        kind = tuple(batch.features.shape)
        if kind not in self._recorded:
            self._taken[kind] += 1
            if self._taken[kind] <= BEFORE_RECORDING:
                return self._launch(parts)
            try:
                self._recorded[kind] = _RecordedStep(self._terms, self.optimiser, batch.to(self.fabric.device))
            except RuntimeError as error:
                self.records = False
                if not isinstance(error, NeedsHost):
                    cause = error.__context__ or error  # a capture that ends after an error raises another one
                    warnings.warn(f"training steps are not recorded as CUDA graphs: {cause}", stacklevel=2)
                return self._launch(parts)
        return self._add(self._recorded[kind](batch), 1.0)

    def means(self) -> dict[str, float]:
        """The mean over the steps since :meth:`begin` of each term, over all processes."""
        totals: Any = self.fabric.all_reduce(torch.stack([*self._sums.values()]), reduce_op="sum")
        return {name: float(total) / self._number for name, total in zip(self._sums, totals, strict=True)}

    def _launch(self, parts: Sequence[tuple[Batch, float]]) -> None:
        self.optimiser.zero_grad()
        for number, (part, share) in enumerate(parts, 1):
            # The processes exchange their gradients in the backward pass of their last part only.
            self.method.module.share = share
            with self.fabric.no_backward_sync(self.method, enabled=number < len(parts)):
                # The exchange averages over the processes, but the loss of a step is the sum over all parts.
                terms = self._terms(part.to(self.fabric.device), share * self.fabric.world_size)
            self._add(terms, share)
        self.optimiser.step()
        self.method.module.end_step(lambda tensor, how: self.fabric.all_reduce(tensor.clone(), reduce_op=how))

    def _terms(self, batch: Batch, weight: float = 1.0) -> dict[str, Tensor]:
        """Compute the gradients of the weighted loss of a batch on the device; returns the terms of the loss."""
        terms = self.method(batch)
        self.fabric.backward(terms["loss"] * weight)
        return {name: value.detach() for name, value in terms.items()}

    def _add(self, terms: dict[str, Tensor], share: float) -> None:
        # The values stay on the device: reading one here would make the CPU wait for the GPU in every step.
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + share * value


class _RecordedStep:
    """The step for batches of one shape; called with a batch, it takes the step and returns the terms of the loss."""

    def __init__(self, terms: Callable[[Batch], dict[str, Tensor]], optimiser: Any, batch: Batch):
        self.batch = batch
        self.terms: dict[str, Tensor] = {}

        def step() -> None:
            # Gradients that exist would be added to. Without any, every replay writes its own anew.
            optimiser.zero_grad(set_to_none=True)
            with without_host_reads():
                self.terms = terms(batch)
            optimiser.step()

        self.replay = record(step)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        for name in ("features", "index", "videos"):
            ours, given = getattr(self.batch, name), getattr(batch, name)
            ours.copy_(given.pin_memory() if ours.is_cuda else given, non_blocking=True)
        self.replay()
        return self.terms


def record(function: Callable[[], None]) -> Callable[[], None]:
    """Record what the function launches in a CUDA graph, without running it; the result launches it all at once."""
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.current_stream()
    gc.collect()  # a graph of gradients left from a launched step, on another stream, would break the capture
    try:
        # In thread-local mode other threads, such as those that read data, may go on using CUDA meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            function()
    finally:
        torch.cuda.set_stream(stream)  # where capturing fails, it would stay on the stream of the graph
    return graph.replay
