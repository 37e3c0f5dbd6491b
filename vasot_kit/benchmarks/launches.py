"""How many operations a step hands to the device, one after another, and what it calls CUDA for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

NO_WORK = ("empty", "new_empty", "detach", "lift_fresh", "_unsafe_view")  # give memory, or a name to it


class _Counter(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        views = any(each.alias_info is not None and not each.alias_info.is_write for each in func._schema.returns)
        self.count += not views and not func.__name__.startswith(NO_WORK)
        return func(*args, **(kwargs or {}))


def count_launches(work: Callable[[], object]) -> int:
    """Operations of torch that ``work`` calls and that compute something; on a GPU each is at least one launch.

    Views, such as transposes, and the allocation of memory are left out. Operations of the backward pass count too.
    What the fused solver computes in a kernel of its own is no operation of torch.
    """
    with _Counter() as counter:
        work()
    return counter.count


def called_in(work: Callable[[], object]) -> str:
    """How often ``work`` launches kernels and graphs, copies and waits, in words; never without a GPU."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        work()
    called = [event.name for event in seen.events() or () if event.name.startswith("cu")]
    words = {"kernels": "LaunchKernel", "graphs": "GraphLaunch", "copies": "MemcpyAsync", "waits": "StreamSynchronize"}
    return ", ".join(f"{sum(word in name for name in called)} {what}" for what, word in words.items())
