"""Fair timing on a shared machine: the functions that are compared run alternately."""

from __future__ import annotations

import ctypes
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from vasot_lib import __version__

TURN = 0.05  # seconds for which one function is called before the next one's turn
LONG_CALL = 0.5  # seconds of a call that needs no call before it to warm up


@dataclass(frozen=True)
class Measurement:
    """One measured value, or the reason why there is none.

    Attributes:
        name: what was measured.
        value: the measured value; None where it could not be measured.
        unit: unit of the value; ``x`` is a ratio of two values of this run.
        goal: bound that the value should meet, e.g. ``<= 8``; empty without one.
        note: sizes, the times behind a ratio, or why it was skipped.
    """

    name: str
    value: float | None
    unit: str
    goal: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the value meets the goal; None without a goal or a value."""
        if not self.goal or self.value is None:
            return None
        sign, bound = self.goal.split()
        return self.value <= float(bound) if sign == "<=" else self.value >= float(bound)

    def __str__(self) -> str:
        value = "–" if self.value is None else f"{self.value:.4g} {self.unit}"
        outcome = {True: "met", False: "MISSED", None: "MISSING"}[self.met]
        goal = f"   goal {self.goal}: {outcome}" if self.goal else ""
        return f"{self.name:62} {value:>16}{goal}   {self.note}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON, and whether the goal is met."""
        return {**asdict(self), "met": self.met}


def interleaved_times(
    functions: Mapping[str, Callable[[], object]], seconds: float = 2.0, device: str = "cpu"
) -> dict[str, float]:
    """Median seconds per call of each function; their turns alternate, so that other load meets all alike.

    A turn is several calls of one function. The first of them is not timed, because threads of the function before may
    still be running and the caches hold its data. Against a call of half a second that is nothing: from the second turn
    on such a call counts, and is the only one of its turn.

    Args:
        functions: name -> what to call.
        seconds: time for all turns together; each function has at least 3 turns.
        device: ``cuda`` waits for the device around every call.
    """
    wait: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None

    def timed(function: Callable[[], object]) -> float:
        wait()
        begin = time.perf_counter()
        function()
        wait()
        return time.perf_counter() - begin

    times: dict[str, list[float]] = {name: [] for name in functions}
    start = time.perf_counter()
    turns = 0
    while turns < 3 or time.perf_counter() - start < seconds:
        for name, function in functions.items():
            first = timed(function)
            if turns > 0 and first > LONG_CALL:
                times[name].append(first)
                continue
            turn = time.perf_counter()
            while True:
                times[name].append(timed(function))
                if time.perf_counter() - turn > TURN:
                    break
        turns += 1
    return {name: float(np.median(values)) for name, values in times.items()}


def peak_memory(function: Callable[[], object]) -> int | None:
    """Bytes by which a call raises the peak of resident memory above the level before it; None where it is unknown."""
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    try:
        # Freed memory that the process keeps would be used again without a rise; it is returned to the system first.
        ctypes.CDLL(None).malloc_trim(0)
        reset.write_text("5")
    except (OSError, AttributeError):  # not Linux, or not allowed
        return None
    before = psutil.Process().memory_info().rss
    function()
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return max(0, int(line.split()[1]) * 1024 - before)


def machine() -> dict[str, Any]:
    """What the measurements depend on besides the code: versions, processor, threads, memory, GPU."""
    return {
        "vasot": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
