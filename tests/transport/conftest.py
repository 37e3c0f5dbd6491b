"""New memory holds NaN in these tests, so that a solver that reads what it has not written is noticed every time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def new_memory_is_nan() -> Iterator[None]:
    """Otherwise it mostly holds zeros or old numbers, and a wrong read is seen once in a hundred runs, or never."""
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills what torch.empty returns
    yield
    torch.use_deterministic_algorithms(False)
