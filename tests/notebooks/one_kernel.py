"""Stored notebooks in less time, as a plugin of pytest beside ``--nbval``: ``-p tests.notebooks.one_kernel``.

nbval starts a kernel for every notebook, and to import torch and the kit takes longer than many a chapter. Here the
next notebook gets the kernel of the last one: without its variables, in its own folder, and with the settings of torch
that a new process has. Modules stay imported.

Cells that train or time for long, whose outputs are not compared in any case, do less here: trainings have one epoch
and the first seed only, and the solver is timed by a single call.
"""

from __future__ import annotations

from typing import Any

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel

from tests.notebooks.wrong_answers import execute

AFRESH = """
%reset -f
import os, sys
os.chdir({folder!r})
if "torch" in sys.modules:
    sys.modules["torch"].set_printoptions(profile="default")
    sys.modules["torch"].manual_seed(67280421310721)  # with which torch begins
del os, sys
"""
# Lines before the code of a cell, by its id.
SHORTER = dict.fromkeys(("50-07", "55-06", "60-07"), "seeds, epochs = seeds[:1], 1")
SHORTER["50-07"] += """
all_settings = setting_runs
setting_runs = lambda base, k: {
    key: run for key, run in all_settings(base, k).items()
    if key[1] in (SETTINGS[key[0]].values[0], SETTINGS[key[0]].values[::2][-1])
}
"""
SHORTER["50-30"] = "setting_runs = all_settings"
SHORTER["20-40"] = "real_trainings = 1"
SHORTER["80-07"] = """
from timeit import timeit
from vasot_kit.benchmarks import solver
solver.interleaved_times = lambda functions, *_: {name: timeit(call, number=1) for name, call in functions.items()}
"""
SHORTER["80-16"] = """
from vasot_kit.benchmarks import training
training.interleaved_times = solver.interleaved_times
"""
SHORTER["errors"] = """
all_pairs = warped_pairs
warped_pairs = lambda pictures, *others, **more: all_pairs(dict(list(pictures.items())[:2]), *others, **more)
"""
SHORTER["60-24"] = """
measured = step_costs
step_costs = lambda names, device, seconds: measured(names, device, seconds=0.1)
"""
kept: list[RunningKernel] = []


def take_over(kernel_name: str, cwd: str, **options: Any) -> RunningKernel:
    """The kernel that is there, or a new one where there is none or it died."""
    if not kept or not kept[0].is_alive():
        kept[:] = [RunningKernel(kernel_name, cwd=cwd, **options)]
    said = execute(kept[0], AFRESH.format(folder=cwd))
    assert not said, said
    return kept[0]


def pytest_configure(config: pytest.Config) -> None:
    nbval.plugin.RunningKernel = take_over
    nbval.plugin.IPyNbFile.teardown = lambda file: None  # which would end the kernel


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, nbval.plugin.IPyNbCell) and (line := SHORTER.get(item.cell.id)):
            item.cell.source = f"{line}\n{item.cell.source}"


def pytest_unconfigure(config: pytest.Config) -> None:
    for kernel in kept:
        if kernel.is_alive():
            kernel.stop()
