"""Programs that wait for each other, in Triton's interpreter, which runs one program after the other.

Every program of a group becomes a greenlet. It runs until it reaches the barrier, where the next one goes on; which one
that is changes from barrier to barrier. A step that reads what another program has not yet written, or no longer has,
therefore gives other numbers, and programs that do not all come to a barrier are noticed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vasot_lib.transport.fused import gpu


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the interpreter do once what it does at every operation, which takes most of its time; it checks no less."""
    from triton.language import core, semantic
    from triton.runtime import interpreter

    patched: set[int] = set()
    numpy_types: dict[str, Any] = {}
    shapes: dict[tuple[int, ...], tuple[Any, Any]] = {}
    block_types: dict[tuple[str, tuple[int, ...]], dict[str, Any]] = {}
    numpy_type, new_block_type = interpreter._get_np_dtype, core.block_type.__init__
    broadcast = semantic.TritonSemantic.broadcast_impl_value

    def call(self: Any, *given: Any, **named: Any) -> Any:  # triton.language is patched once for each module
        if id(self.fn.__globals__) not in patched:
            interpreter._patch_lang(self.fn)
            patched.add(id(self.fn.__globals__))
        return self.rewrite()(*given, **named)

    def known_numpy_type(of: Any) -> Any:
        if of.name not in numpy_types:
            numpy_types[of.name] = numpy_type(of)
        return numpy_types[of.name]

    def known_block_type(self: Any, element: Any, shape: Any) -> None:
        key = (element.name, tuple(core._unwrap_if_constexpr(size) for size in shape))
        if key not in block_types:
            new_block_type(self, element, shape)
            block_types[key] = dict(self.__dict__)
        self.__dict__.update(block_types[key])

    def new_tensor(self: Any, handle: Any, of: Any) -> None:
        self.handle, self.type, self.dtype = handle, of, of.scalar
        sizes = tuple(of.shape) if of.is_block() else ()
        if sizes not in shapes:
            shapes[sizes] = core.tuple([core.constexpr(size) for size in sizes]), core.constexpr(math.prod(sizes))
        self.shape, self.numel = shapes[sizes]

    def broadcast_where_shapes_differ(self: Any, one: Any, other: Any) -> tuple[Any, Any]:
        return (one, other) if one.shape is other.shape else broadcast(self, one, other)

    def check_overflow(self: Any, one: Any, other: Any, operation: Callable) -> None:
        scalar = one.type.scalar
        assert scalar == other.type.scalar and scalar.is_int()
        if scalar.int_bitwidth < 64:
            compute = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[operation.__name__]
            exact = compute(one.handle.data.astype(np.int64), other.handle.data.astype(np.int64))
            within = (exact >= scalar.get_int_min_value()) & (exact <= scalar.get_int_max_value())
            assert within.all(), f"int{scalar.int_bitwidth} overflow detected for operation {operation.__name__}"

    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", call)
    monkeypatch.setattr(interpreter, "_get_np_dtype", known_numpy_type)
    monkeypatch.setattr(core.block_type, "__init__", known_block_type)
    monkeypatch.setattr(core.tensor, "__init__", new_tensor)
    monkeypatch.setattr(semantic.TritonSemantic, "broadcast_impl_value", broadcast_where_shapes_differ)
    monkeypatch.setattr(semantic.TritonSemantic, "binary_op_sanitize_overflow_impl", check_overflow)


def run_together(monkeypatch: pytest.MonkeyPatch, programs: int, seed: int = 0, barriers: bool = True) -> list[int]:
    """Let ``programs`` programs of a launch run at the same time; with ``barriers=False`` they do not wait.

    Returns:
        a list to which every barrier adds the number of programs that have met there, and every group a 0 at its end.
    """
    from triton.runtime.interpreter import GridExecutor, interpreter_builder

    greenlet = pytest.importorskip("greenlet", reason="programs take turns as greenlets: pip install greenlet").greenlet
    from vasot_lib.transport.fused import gpu_kernel

    met: list[int] = []
    order, kernel = random.Random(seed), gpu_kernel.solve

    def meet(job: Any, arrived: Any, together: Any) -> Any:
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
