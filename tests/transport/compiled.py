"""Compile the CPU kernels anew: ``python -m tests.transport.compiled``, which ``make`` runs when their sources change.

What it prints is kept by ``make``. A test compares it with what a process computes that loads the compiled kernels.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from vasot_lib.transport import Distinct, Far, Near, Plan, solve
from vasot_lib.transport.fused.cache import SOURCES


def source_hash() -> str:
    """Of the sources of the kernels; it names the folder of their compiled code."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:12]


def cache_folder() -> Path:
    """Where Numba keeps the compiled kernels."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or SOURCES[0].parent / "__pycache__") / source_hash()


def square() -> str:
    """A plan between frames, as a hash of its bits."""
    return _bits(solve(_cost(), (Near(0.1), Far(0.1)), alpha=0.3))


def narrow() -> str:
    """A plan between frames and actions, as a hash of its bits; with the other one it needs all kernels."""
    return _bits(solve(_cost()[..., :20], (Near(0.1), Distinct()), alpha=0.3, relax_y=0.1, scheme="mirror"))


def solutions() -> str:
    """The hash of the sources, and the bits of both plans."""
    return f"{source_hash()} {square()} {narrow()}"


def _cost() -> torch.Tensor:
    return torch.rand(1, 70, 70, generator=torch.Generator().manual_seed(0))


def _bits(plan: Plan) -> str:
    return hashlib.sha256(plan.matrix.numpy().tobytes()).hexdigest()


if __name__ == "__main__":
    shutil.rmtree(cache_folder(), ignore_errors=True)
    # Two processes, since a compiler works on one core.
    other = [sys.executable, "-c", "from tests.transport.compiled import narrow; print(narrow())"]
    with subprocess.Popen(other, stdout=subprocess.PIPE, text=True) as process:
        first, (second, _) = square(), process.communicate()
    print(source_hash(), first, second.strip())
    sys.exit(process.returncode)
