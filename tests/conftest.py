"""Shared generators with known answers."""

from __future__ import annotations

import os

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("kit", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("kit")
os.environ.setdefault("TQDM_DISABLE", "1")
if not torch.cuda.is_available():  # read when triton is loaded, which lightning-fabric does; only GPU tensors reach it
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="this machine has no CUDA device"))
