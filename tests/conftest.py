"""Settings of all tests; recordings where this machine has them, and a small labelled folder that can be damaged."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vasot_lib.data import Dataset

os.environ.setdefault("TQDM_DISABLE", "1")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
# The core: what `make test` measures the coverage of, by these tests alone.
CORE = ("tests/transport/", "tests/paths/", "tests/methods/test_losses.py")
MEASURES_CHILDREN = "COVERAGE_PROCESS_CONFIG"  # the variable by which coverage measures processes that tests start
children = pytest.StashKey[dict[str, str]]()


@cache
def prepare() -> None:
    """Settings that need imports of seconds, which the process that only hands out the tests does without."""
    import hypothesis
    import torch

    hypothesis.settings.register_profile("kit", deadline=None, derandomize=True, max_examples=25)
    hypothesis.settings.load_profile("kit")
    # Read when triton is loaded, which lightning-fabric does; only GPU tensors reach it.
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


def pytest_collectstart() -> None:
    prepare()
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()  # thousands of tests and all modules stay: to go through them again and again takes half a minute
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else Triton's compiler calls what is left at the end a leak


# What `make check` leaves out, with the reason why it takes its time; the rest takes about half a minute.
SLOW = {
    "tests/notebooks": "kernels start and chapters run",
    "tests/browser": "JupyterLab and Chromium start",
    "tests/benchmarks": "comparisons are repeated",
    "tests/runs": "kernels, workers and clusters start, and are killed",
    "tests/training": "processes start, and are killed",
    "tests/films": "films are encoded and decoded",
    "tests/own_films": "films are encoded, decoded and aligned",
    "tests/explorers": "scripts run in node, still pictures are drawn",
    "tests/book": "books are built and notebooks run",
    "tests/transport/test_fused_gpu.py": "kernels run in Triton's interpreter",
    "tests/transport/test_fused_cpu.py::test_compiling": "kernels are compiled in a process of its own",
    "tests/transport/test_fused_cpu.py::test_kernels_as_plain_python": "kernels run without their compiler",
    "tests/transport/test_fused_cpu.py::test_trap_numba": "a process of its own",
    "tests/transport/test_fused_cpu.py::test_a_forked": "a process of its own",
    "tests/transport/test_solver.py::test_both_schemes": "a general optimiser solves the same problem",
    "tests/transport/test_solver.py::test_objective_and_marginals_agree_with_pot": "POT solves the same problems",
    "tests/methods/test_methods.py::test_alignment_is_learnt": "methods are trained",
    "tests/methods/test_cte.py::test_it_learns": "a method is trained",
    "tests/data/test_mocap6.py::test_the_script_downloads": "a package is downloaded",
    "tests/data_scripts/test_pose2sim.py::test_the_true_films": "a package is downloaded",
    "tests/test_cli.py::test_reader": "a process of its own",
    "tests/test_vision.py": "networks of torchvision are built",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.option.cov_source = None  # coverage has begun; nbval would measure its kernels too
    for item in items:
        if item.nodeid.startswith(tuple(SLOW)):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("gpu") and os.environ.get("TRITON_INTERPRET"):
            item.add_marker(pytest.mark.skip(reason="this machine has no CUDA device"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Measure the coverage by the tests of the core, and let all others run at full speed, and their children too."""
    plugin = item.config.pluginmanager.getplugin("_cov")
    measured = getattr(plugin, "cov_controller", None)
    core = item.nodeid.startswith(CORE) and not item.get_closest_marker("no_cover")
    if measured is None or measured.started == core:
        return
    if core:
        measured.resume()
        os.environ.update(item.config.stash[children])
    else:
        measured.pause()
        item.config.stash[children] = {name: os.environ.pop(name) for name in [MEASURES_CHILDREN] if name in os.environ}


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Dataset]:
    """Load a registered data set, or skip with the command that brings it."""
    from vasot_kit.datasets import data_root, find_entry, load_dataset

    def load(name: str) -> Dataset:
        entry, _ = find_entry(name)
        if not entry.present(data_root()):
            pytest.skip(f"{name} is not here; bring it with: {entry.command}")
        return load_dataset(name)

    return load


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Import a file of data_scripts/."""

    def load(name: str) -> ModuleType:
        file = Path(__file__).parents[1] / "data_scripts" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"data_script_{name}", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks this small several threads wait for each other, on a busy machine for most of the time."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos of 6 and 4 frames, 3 channels; ids begin at -1 and have gaps, class ``never`` does not occur."""
    import numpy as np

    root = tmp_path / "kitchen"
    for part in ("features/tea", "groundTruth", "mapping"):
        (root / part).mkdir(parents=True)
    (root / "mapping" / "mapping.txt").write_text("-1 idle\n3 stir\n7 never\n12 pour\n")
    np.save(root / "features" / "tea" / "b_long.npy", np.arange(18.0).reshape(6, 3))
    np.savetxt(root / "features" / "tea" / "a_short.txt", np.ones((4, 3)))
    (root / "groundTruth" / "b_long").write_text("idle\npour\npour\nstir\nstir\nidle\n")
    (root / "groundTruth" / "a_short").write_text("pour\npour\nstir\nstir\n")
    return root
