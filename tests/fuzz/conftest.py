"""What all kinds of fuzzing share: how many inputs there are, what an input may do, and how often it did what.

A kind is one file. Each of its tests takes inputs from hypothesis, derandomised and without a database, so that every
run sees the same ones, and hands what it does with them to ``attempt``. ``make test`` runs one input of SHORT,
``make fuzz`` all of them: ``VASOT_FUZZ=1`` in the environment. An input is
what one test draws, the arguments of a few calls.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.reliability import write_part
from vasot_lib.errors import VasotError

ALL = os.environ.get("VASOT_FUZZ") == "1"
SHORT = 100
KINDS = 12  # without any of them the counts are not written
COUNTS: Counter[tuple[str, str]] = Counter()  # (kind, what became of an input) -> how often

Result = TypeVar("Result")

# What people and programs pass where a number is asked for.
odd = st.sampled_from(
    [0, -1, 1, 2, 3, 0.5, -0.5, 1e-3, 0.07, 1e-12, 1e-46, 1e12, 1e39, 1e300, -1e300, 2**31, 2**63, 2**64,
     float("nan"), float("inf"), float("-inf"), True, False, None, "a", "1", "", (), [1]]
)  # fmt: skip
# The same without the large numbers, for what is a size: nobody waits for an array of 2**31 rows.
odd_size = odd.filter(lambda value: not isinstance(value, int | float) or not value > 1000 or value == float("inf"))


def usually(good: st.SearchStrategy[Any], bad: st.SearchStrategy[Any] = odd) -> st.SearchStrategy[Any]:
    """A good value in 31 cases of 32: an input has many values, and one bad one is enough for a refusal."""
    return st.integers(0, 31).flatmap(lambda draw: bad if draw == 31 else good)


def inputs(number: int) -> Callable[[Any], Any]:
    """Decorator of a test that sees this many inputs in ``make fuzz``, and few of them in ``make test``."""
    limits = settings(
        max_examples=number if ALL else max(3, number // SHORT), derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), print_blob=False,
        phases=[Phase.generate],  # no search for a smaller input that fails, which may take minutes
    )  # fmt: skip

    def decorate(test: Any) -> Any:
        inner = test.hypothesis.inner_test

        @wraps(inner)
        def counted(*arguments: Any, **named: Any) -> None:
            inner(*arguments, **named)
            COUNTS["", "inputs"] += 1  # not reached where hypothesis gives an input up

        test.hypothesis.inner_test = counted
        return limits(test)

    return decorate


def attempt(kind: str, call: Callable[[], Result]) -> Result | None:
    """The result of a call, or None where the kit refused its input in one line. Anything else fails the test."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = call()
    except VasotError as error:
        message = str(error)
        assert message.strip() and "\n" not in message and len(message) < 2000, message
        COUNTS[kind, "refused in one line"] += 1
        return None
    COUNTS[kind, "given a result"] += 1
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist
        session.config.workeroutput["fuzz"] = [[*key, count] for key, count in COUNTS.items()]


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_testnodedown(node: Any) -> None:
    for kind, became, count in getattr(node, "workeroutput", {}).get("fuzz", []):
        COUNTS[kind, became] += count


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int) -> None:
    if not ALL or not COUNTS:
        return
    terminalreporter.section("inputs of each kind")
    kinds, total = {}, COUNTS.pop(("", "inputs"))
    for kind in sorted({kind for kind, _ in COUNTS}):
        kinds[kind] = {became: count for (each, became), count in sorted(COUNTS.items()) if each == kind}
        parts = ", ".join(f"{count} {became}" for became, count in kinds[kind].items())
        terminalreporter.line(f"{kind:12} {sum(kinds[kind].values()):6}  ({parts})")
    terminalreporter.line(f"{'in all':12} {sum(COUNTS.values()):6} calls of {total} inputs")
    if exitstatus == 0 and len(kinds) == KINDS:
        found = {"calls": sum(COUNTS.values()), "kinds": kinds, "inputs": total, "failed": 0}
        write_part("fuzz", {"command": "make fuzz", **found})
