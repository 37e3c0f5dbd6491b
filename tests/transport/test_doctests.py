"""Every example in a docstring of the transport chapter and of the paths is run, and the public functions have one."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Callable

import pytest

from vasot_kit.methods.soft_dtw import soft_dtw
from vasot_lib import paths, transport

MODULES = [
    *(f"vasot_lib.transport.{name}" for name in ("cost", "structure", "solver", "dummy", "recipes", "long")),
    *("vasot_lib.paths", "vasot_kit.methods.soft_dtw"),
]
SHOWN = [
    *(transport.solve, transport.Plan.potentials, transport.Alignment.match, transport.Segmentation.match),
    *(transport.cosine_cost, transport.temporal_prior),
    *(transport.Near.dense, transport.Far.dense, transport.Distinct.dense),
    *(transport.add_dummy, transport.dummy_marginal, transport.drop_dummy, transport.keep_above, transport.align_long),
    *(paths.dtw, soft_dtw, paths.viterbi),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_right(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0 and found.failed == 0


@pytest.mark.parametrize("function", SHOWN, ids=lambda function: function.__qualname__)
def test_what_one_calls_has_an_example(function: Callable[..., object]) -> None:
    assert doctest.DocTestParser().get_examples(inspect.getdoc(function) or "")


def test_every_function_of_the_chapter_is_shown() -> None:
    functions = {name for name in transport.__all__ if inspect.isfunction(getattr(transport, name))}
    assert functions - {function.__name__ for function in SHOWN} == {"make_problem"}  # its arguments are those of solve
