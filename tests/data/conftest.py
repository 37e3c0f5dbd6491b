"""Real recordings where this machine has them, and a small labelled folder that can be damaged."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vasot_lib.data import Dataset, data_root, load_dataset
from vasot_lib.data.registry import find_entry


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Dataset]:
    """Load a registered data set, or skip with the command that brings it."""

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
        file = Path(__file__).parents[2] / "data_scripts" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"data_script_{name}", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos of 6 and 4 frames, 3 channels; ids begin at -1 and have gaps, class ``never`` does not occur."""
    root = tmp_path / "kitchen"
    for part in ("features/tea", "groundTruth", "mapping"):
        (root / part).mkdir(parents=True)
    (root / "mapping" / "mapping.txt").write_text("-1 idle\n3 stir\n7 never\n12 pour\n")
    np.save(root / "features" / "tea" / "b_long.npy", np.arange(18.0).reshape(6, 3))
    np.savetxt(root / "features" / "tea" / "a_short.txt", np.ones((4, 3)))
    (root / "groundTruth" / "b_long").write_text("idle\npour\npour\nstir\nstir\nidle\n")
    (root / "groundTruth" / "a_short").write_text("pour\npour\nstir\nstir\n")
    return root
