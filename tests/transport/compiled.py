"""Compile the CPU kernels anew: ``python -m tests.transport.compiled``, which ``make`` runs when their sources change.

What it prints is kept by ``make``. A test compares it with what a process computes that loads the compiled kernels.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import torch

from vasot_lib.transport import Distinct, Far, Near, solve
from vasot_lib.transport.fused import cpu

SOURCES = sorted(Path(cpu.__file__).parent.glob("cpu*.py"))


def source_hash() -> str:
    """Of the sources of the kernels; it names the folder of their compiled code."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:12]


def cache_folder() -> Path:
    """Where Numba keeps the compiled kernels."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or SOURCES[0].parent / "__pycache__") / source_hash()


def solutions() -> str:
    """The hash of the sources, and one of the bits of two plans, which need all kernels between them."""
    cost = torch.rand(1, 70, 70, generator=torch.Generator().manual_seed(0))
    square = solve(cost, (Near(0.1), Far(0.1)), alpha=0.3)
    narrow = solve(cost[..., :20], (Near(0.1), Distinct()), alpha=0.3, relax_y=0.1, scheme="mirror")
    bits = b"".join(plan.matrix.numpy().tobytes() for plan in (square, narrow))
    return f"{source_hash()} {hashlib.sha256(bits).hexdigest()}"


if __name__ == "__main__":
    shutil.rmtree(cache_folder(), ignore_errors=True)
    print(solutions())
