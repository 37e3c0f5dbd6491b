"""What only a machine with a GPU can tell: tests, figures and goals, in six minutes: ``make gpu``.

``python3 -m tests.gpu`` does the same without .venv, with any Python that has torch, triton, numba and pytest, since a
machine that is lent for minutes may have no network. Tests that need another package are skipped by name. No part waits
for the success of one before it. Figures go to outputs/gpu/. The exit status is 1 where a part failed or a goal has no
figure, as that of HAPT where data/hapt (or $VASOT_DATA/hapt) was left behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from vasot_kit.benchmarks.timing import Measurement

OUT = Path("outputs/gpu")
TESTS = (
    *("tests/transport/test_fused_gpu.py", "tests/training/test_steps.py"),
    "tests/transport/test_solver.py::test_cuda_agrees_with_cpu",
    "tests/paths/test_soft_dtw.py::test_same_on_the_gpu",
)
# Triton compiles some 60 kernels for the tests, which takes one process minutes.
AT_ONCE = ("-n", str(min(8, os.cpu_count() or 1))) if find_spec("xdist") else ()
BENCH = ("-m", "vasot_kit.cli", "bench")
SHORT = ("--device", "cuda", "--seconds", "0.5")
# Words after `python`, and seconds at most.
PARTS: dict[str, tuple[tuple[str, ...], float]] = {
    "tests": (("-m", "pytest", "-rs", *AT_ONCE, *TESTS), 140),
    "solver": ((*BENCH, "solver", *SHORT, "--json", str(OUT / "solver.json")), 90),
    "training": ((*BENCH, "training", *SHORT, "--json", str(OUT / "training.json")), 130),
}
# The step on the CPU, which that on the GPU is compared with, needs kernels that Numba compiles in half a minute each.
COMPILED = [("-c", f"from tests.transport.compiled import {plan}; {plan}()") for plan in ("square", "narrow")]


def main() -> int:
    """Run all parts, then print the goals beside what was measured."""
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("*.json"):
        old.unlink()
    compilers = [subprocess.Popen([sys.executable, *words]) for words in COMPILED]
    failed = []
    for name, (words, most) in PARTS.items():
        print(f"\n{name}: python {' '.join(words)}", flush=True)
        start = time.perf_counter()
        try:
            status = subprocess.run([sys.executable, *words], timeout=most, check=False).returncode
        except subprocess.TimeoutExpired:
            status = 124
        for compiler in compilers:
            compiler.wait()
        print(f"{name}: status {status} after {time.perf_counter() - start:.0f} s", flush=True)
        failed += [name] * (status != 0)
    rows = [row for file in sorted(OUT.glob("*.json")) for row in figures(file)]
    print("\n" + "\n".join(str(row) for row in rows if row.goal))
    missing = [row.name for row in rows if row.goal and row.value is None]
    print(f"\nfailed: {', '.join(failed) or 'nothing'}; without a figure: {', '.join(missing) or 'no goal'}")
    return 1 if failed or missing else 0


def figures(file: Path) -> list[Measurement]:
    """The rows that a benchmark has written."""
    rows = json.loads(file.read_text())["rows"]
    return [Measurement(**{key: value for key, value in row.items() if key != "met"}) for row in rows]


if __name__ == "__main__":
    sys.exit(main())
