"""Programs that wait for each other, in Triton's interpreter, which runs one program after the other.

Every program of a group becomes a greenlet. It runs until it reaches the barrier, where the next one goes on; which one
that is changes from barrier to barrier. A step that reads what another program has not yet written, or no longer has,
therefore gives other numbers, and programs that do not all come to a barrier are noticed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from greenlet import greenlet

from vasot_lib.transport.fused import gpu


def patch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patch triton.language once for each module of device functions; doing it at every call takes most of the time."""
    from triton.runtime import interpreter

    patched: set[int] = set()

    def call(self: Any, *given: Any, **named: Any) -> Any:
        if id(self.fn.__globals__) not in patched:
            interpreter._patch_lang(self.fn)
            patched.add(id(self.fn.__globals__))
        return self.rewrite()(*given, **named)

    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", call)


def run_together(monkeypatch: pytest.MonkeyPatch, programs: int, seed: int = 0, barriers: bool = True) -> list[int]:
    """Let ``programs`` programs of a launch run at the same time; with ``barriers=False`` they do not wait.

    Returns:
        a list to which every barrier adds the number of programs that have met there, and every group a 0 at its end.
    """
    from triton.runtime.interpreter import GridExecutor, interpreter_builder

    from vasot_lib.transport.fused import gpu_kernel

    met: list[int] = []
    order, kernel = random.Random(seed), gpu_kernel.solve

    def meet(arrays: Any, parts: Any, arrived: Any, together: Any) -> Any:
        if barriers and bool(getattr(together, "value", together)):
            greenlet.getcurrent().parent.switch(True)
        return arrived

    def run_group(function: Callable, arguments: dict, grid: tuple[int, int], group: int) -> None:
        interpreter_builder.set_grid_dim(*grid, 1)
        running = [greenlet(lambda: function(**arguments) and False) for _ in range(grid[0])]
        while not all(each.dead for each in running):
            waiting = 0
            for part in order.sample(range(grid[0]), grid[0]):
                interpreter_builder.set_grid_idx(part, group, 0)
                waiting += bool(running[part].switch())
            assert waiting in (0, grid[0]), f"{waiting} of {grid[0]} programs wait at a barrier for ever"
            met.append(waiting)

    def run(*arguments: Any, grid: tuple[int, int], warmup: bool, **constants: Any) -> None:
        function = kernel.rewrite()

        def all_groups(converted: dict) -> tuple[int]:  # called when the arguments have been converted
            for group in range(grid[1]):
                run_group(function, converted, grid, group)
            return (0,)  # nothing is left to run

        GridExecutor(function, kernel.arg_names, all_groups)(*arguments, **constants)

    monkeypatch.setattr(gpu_kernel, "meet", meet)
    monkeypatch.setattr(kernel, "run", run)
    monkeypatch.setattr(gpu, "_programs_at_once", lambda device: programs)
    return met
