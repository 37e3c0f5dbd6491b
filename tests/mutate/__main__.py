"""Small faults that are put into the solver one at a time, and whether the tests notice: `make mutate`.

The faults ("mutants") are those that mutmut makes: another operator, number or truth value, an argument left out or
None, a condition that always holds. They go into the modules of ``vasot_lib/transport``, without the compiled kernels
and without the words of error messages. A mutant is noticed where one of the fast tests that reach its line fails, or
takes far longer than before. mutmut's own runner leaves decorated functions out, which half of the solver is, and wraps
the others, which a test of their signatures notices; so only its table of faults is used here.

Each mutant runs in a fork of this process, which has imported the libraries that take seconds. Tests that have noticed
many mutants in little time come first.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import SourceFileLoader
from itertools import accumulate, islice
from pathlib import Path
from types import CodeType
from typing import Any

import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators
from tqdm import tqdm

ROOT = Path(__file__).parents[2]
MUTATED = [path for path in sorted((ROOT / "vasot_lib" / "transport").glob("*.py")) if path.name != "__init__.py"]
# The comparison of threads does not reach the modules in question, and takes the longest.
LEFT_OUT = "tests/transport/test_fused_cpu.py::test_same_bits_on_any_number_of_threads"
TESTS = ("tests/transport", "tests/test_wrong_arguments.py", "tests/fuzz/test_solve.py")
LEAST_SCORE = 0.85
MOST_SECONDS = 8.0  # of a processor that the tests of one mutant take without it
LONGEST_START = 60.0  # seconds of a processor until the first test begins
GIGABYTES = 8  # of memory that a mutant may ask for
ANNOTATIONS = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        module: the file that it is put into.
        lines: the lines of the statement that has it, or of the head of a compound statement.
        called: the statement runs when a function is called; otherwise when the module is imported.
        faulty: makes the source of the module with the fault.
    """

    module: Path
    lines: range
    called: bool
    faulty: Callable[[], str]

    @cached_property
    def source(self) -> str:
        """The whole module with the fault."""
        return self.faulty()

    def __str__(self) -> str:
        before = self.module.read_text().splitlines()
        changed = difflib.unified_diff(before, self.source.splitlines(), lineterm="", n=0)
        text = "\n".join(f"    {line[0]} {line[1:].strip()}" for line in list(changed)[2:] if line[0] in "+-")
        return f"{self.module.stem}.py, line {self.lines.start}\n{text}"


class Faults(cst.CSTVisitor):
    """All faults of a module, each with the statement that it is in."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, cst.CSTNode, bool]] = []
        self.statements: list[cst.CSTNode] = []
        self.functions, self.messages = 0, 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, ANNOTATIONS):
            return False
        if isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement):
            self.statements.append(node)
        self.functions += isinstance(node, cst.FunctionDef)
        self.messages += isinstance(node, cst.Raise)
        if not (self.messages and isinstance(node, cst.BaseString)):
            for kind, operator in mutation_operators:
                if isinstance(node, kind):
                    called = self.functions > 0 and not isinstance(self.statements[-1], cst.FunctionDef)
                    self.found += [(self.statements[-1], node, new, called) for new in operator(node)]
        return True

    def on_leave(self, node: cst.CSTNode) -> None:
        if isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement):
            self.statements.pop()
        self.functions -= isinstance(node, cst.FunctionDef)
        self.messages -= isinstance(node, cst.Raise)


def mutants(path: Path) -> Iterator[Mutant]:
    """All mutants of a module."""
    wrapper = MetadataWrapper(cst.parse_module(path.read_text()))
    faults = Faults()
    wrapper.visit(faults)
    positions = wrapper.resolve(PositionProvider)
    for statement, node, new, called in faults.found:
        first, last = positions[statement].start.line, positions[statement].end.line
        if isinstance(statement, cst.BaseCompoundStatement):
            last = positions[statement.body].start.line

        def faulty(node: cst.CSTNode = node, new: cst.CSTNode = new) -> str:
            return wrapper.module.deep_replace(node, new).code

        yield Mutant(path, range(first, last + 1), called, faulty)


def is_python(mutant: Mutant) -> bool:
    """Whether the faulty source can be compiled at all."""
    try:
        compile(mutant.source, mutant.module, "exec")
    except (SyntaxError, ValueError):
        return False
    return True


class Plugin:
    """What a fork does with pytest: only some tests, in an order; how long each takes and which lines it reaches."""

    def __init__(self, order: Sequence[str] | None, coverage: Any = None, usual: Mapping[str, float] | None = None):
        self.order, self.coverage, self.usual = order, coverage, usual
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_sessionstart(self) -> None:
        """Set hypothesis up as the tests do, with fewer examples, of which one that fails need not be made small."""
        from hypothesis import Phase, settings

        from tests.conftest import prepare

        prepare()
        phases = (Phase.explicit, Phase.generate)
        kit = settings.get_profile("kit")
        settings.register_profile("mutants", kit, phases=phases, max_examples=10, database=None)
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.order is not None:
            place = {name: k for k, name in enumerate(self.order)}
            items[:] = sorted((i for i in items if i.nodeid in place), key=lambda item: place[item.nodeid])

    def pytest_runtest_setup(self, item: Any) -> None:
        if self.coverage is not None:
            self.coverage.switch_context(item.nodeid)
        if self.usual is not None:
            limit_processor(time.process_time() + 10 + 10 * self.usual[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        before = time.process_time()
        done = yield
        self.seconds[item.nodeid] = time.process_time() - before
        return done

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def run_tests(plugin: Plugin, files: Sequence[str]) -> int:
    """Run the fast tests of some files in this process."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    quiet = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "-m", "not slow", "--deselect", LEFT_OUT]
    return int(
        pytest.main([*quiet, "-p", "_hypothesis_pytestplugin", "-p", "pytest_cov.plugin", *files], plugins=[plugin])
    )


def limit_processor(seconds: float) -> None:
    """Have this process ended once it has used a processor for so long."""
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), resource.RLIM_INFINITY))


def in_fork(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a function returns in a fork of this process, or ``ended`` and the signal by which that was ended."""
    with tempfile.TemporaryDirectory(prefix="mutate-") as scratch:
        answer, said = Path(scratch) / "answer.json", Path(scratch) / "said.txt"
        process = os.fork()
        if not process:
            try:
                resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES * 2**30,) * 2)
                for stream in (1, 2):
                    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
                answer.write_text(json.dumps(work()))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(0)
        status = os.waitpid(process, 0)[1]
        if os.WIFSIGNALED(status):
            return {"ended": os.WTERMSIG(status)}
        if not answer.exists():
            sys.exit(f"a fork failed by itself: {said.read_text()}")
        return json.loads(answer.read_text())


@dataclass
class Baseline:
    """The tests without a fault: seconds of each, and which of them reach which lines of which module."""

    seconds: dict[str, float]
    reach: dict[str, dict[int, list[str]]]
    kills: Counter[str] = field(default_factory=Counter)

    def order(self, mutant: Mutant) -> list[str]:
        """The tests for a mutant that fit into ``MOST_SECONDS``, the likeliest to fail in the least time first."""
        lines = self.reach[str(mutant.module)]
        if mutant.called:
            chosen = {test for line in mutant.lines for test in lines.get(line, [])}
        else:
            chosen = {test for tests in lines.values() for test in tests}
        ordered = sorted(chosen, key=lambda test: (self.seconds[test] + 0.05) / (self.kills[test] + 0.2))
        spent = accumulate(self.seconds[test] for test in ordered)
        return [test for test, seconds in zip(ordered, spent, strict=True) if seconds < MOST_SECONDS]


def measure() -> Baseline:
    """Run all tests without a fault, twice: the first time may compile the kernels."""

    def work(measured: bool) -> dict[str, Any]:
        from coverage import Coverage

        coverage = Coverage(data_file=None, source=[str(ROOT / "vasot_lib" / "transport")]) if measured else None
        if coverage:
            coverage.start()
        plugin = Plugin(None, coverage)
        code = run_tests(plugin, TESTS)
        reach = {}
        if coverage:
            coverage.stop()
            found = coverage.get_data()
            reach = {str(path): found.contexts_by_lineno(str(path)) for path in MUTATED}
        return {"code": code, "failed": plugin.failed, "seconds": plugin.seconds, "reach": reach}

    reached, timed = in_fork(lambda: work(True)), in_fork(lambda: work(False))
    if reached["code"] or timed["code"]:
        sys.exit(f"the tests fail without any fault: {[*reached['failed'], *timed['failed'], 'no test runs'][0]}")
    reach = {
        path: {int(line): [test for test in tests if test] for line, tests in lines.items()}
        for path, lines in reached["reach"].items()
    }
    return Baseline(timed["seconds"], reach)


def judge(mutant: Mutant, baseline: Baseline) -> str:
    """What the tests say of a mutant: ``killed``, ``too slow``, ``survived``, or ``not reached``."""
    order = baseline.order(mutant)
    if not order:
        return "not reached"

    def work() -> dict[str, Any]:
        get_code = SourceFileLoader.get_code

        def uncached(loader: SourceFileLoader, name: str) -> CodeType | None:
            if loader.path == str(mutant.module):  # neither read nor written as .pyc
                return compile(mutant.source, loader.path, "exec", dont_inherit=True)
            return get_code(loader, name)

        SourceFileLoader.get_code = uncached  # type: ignore[method-assign]
        limit_processor(time.process_time() + LONGEST_START)
        plugin = Plugin(order, usual=baseline.seconds)
        code = run_tests(plugin, sorted({test.split("::")[0] for test in order}))
        assert code != pytest.ExitCode.NO_TESTS_COLLECTED
        return {"failed": plugin.failed, "code": code}

    end = in_fork(work)
    if "ended" in end:
        return "too slow" if end["ended"] == signal.SIGXCPU else "killed"
    baseline.kills.update(end["failed"][:1])
    return "killed" if end["code"] else "survived"


def count(chosen: Sequence[Mutant], baseline: Baseline, report: Callable[[str], None]) -> dict[str, Counter[str]]:
    """How many mutants of each module end in which way."""
    counts: dict[str, Counter[str]] = {path.name: Counter() for path in MUTATED}
    for mutant in tqdm(chosen, unit="mutant"):
        end = judge(mutant, baseline)
        counts[mutant.module.name][end] += 1
        if end in ("survived", "not reached"):
            report(f"{end}: {mutant}")
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random, instead of all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--module", help="only mutants of this module, e.g. reference; nothing is recorded")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "survivors.txt")
    options = parser.parse_args()
    # Everything that the tests import and takes its time, before the first fork.
    import hypothesis  # noqa: F401
    import numba  # noqa: F401
    import ot  # noqa: F401
    import scipy.stats
    import torch  # noqa: F401

    from tests.reliability import write_part

    everything = [m for path in MUTATED if options.module in (None, path.stem) for m in mutants(path)]
    shuffled = list(everything)
    random.Random(options.seed).shuffle(shuffled)
    chosen = list(islice(filter(is_python, shuffled), options.sample))
    baseline = measure()
    seconds = sum(baseline.seconds.values())
    print(f"{len(chosen)} of {len(everything)} mutants, {len(baseline.seconds)} tests, {seconds:.0f} s", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w") as file:
        counts = count(chosen, baseline, lambda line: print(line, file=file, flush=True))
    total = sum(counts.values(), Counter())
    killed = total["killed"] + total["too slow"]
    score = killed / len(chosen)
    low, high = scipy.stats.binomtest(killed, len(chosen)).proportion_ci(method="wilson")
    for name, of_module in counts.items():
        print(f"{name:15} {dict(of_module)}")
    print(f"{killed} of {len(chosen)} noticed: {score:.1%} ({low:.1%} to {high:.1%}); the others are in {options.out}")
    if options.module is None:
        modules = {name: dict(of_module) for name, of_module in counts.items()}
        content = {"mutants": len(everything), "tried": len(chosen), "noticed": killed, "score": round(score, 3)}
        interval = [round(low, 3), round(high, 3)]
        command = "make mutate" + (f" SAMPLE={options.sample}" if options.sample else "")
        write_part("mutate", {"command": command, **content, "interval": interval, "modules": modules})
    return int(score < LEAST_SCORE)


if __name__ == "__main__":
    sys.exit(main())
