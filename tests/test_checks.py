"""Checks of arguments: what an annotation lets through, what it refuses and in which words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
import pytest

from vasot_kit.experiments.config import Encoder, Pixels
from vasot_kit.methods import METHODS
from vasot_lib.checks import Count, NotNegative, Positive, Range, Share, check_fields, check_value, field_types
from vasot_lib.data import Context
from vasot_lib.errors import InputError
from vasot_lib.training import TrainingSettings

Colour = Literal["red", "green"]


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1e-300, Positive), (3, Positive), (np.float32(0.5), Positive), (0, NotNegative), (0.0, Share), (1, Share),
        (1, Count), (np.int64(5), Count), (None, Positive | None), (0.5, Positive | None), (True, bool), ("", str),
        ("red", Colour), (None, Colour | None), (-1, int), (0.9, Annotated[float, Range(above=0, below=1)]),
        (10**400, Count), ([1], list[int]), (object(), Any), (math.nan, float),
    ],
)  # fmt: skip
def test_values_that_fit(value: object, annotation: Any) -> None:
    check_value("x", value, annotation)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (0, Positive, "x is 0; it must be a finite number above 0"),
        (math.nan, Positive, "x is nan; it must be a finite number above 0"),
        (math.inf, NotNegative, "x is inf; it must be a finite number of at least 0"),
        (-math.inf, Annotated[float, Range(most=1)], "x is -inf; it must be a finite number at most 1"),
        (np.float64(1.5), Share, "x is 1.5; it must be a finite number of at least 0 and at most 1"),
        (1, Annotated[float, Range(least=0, below=1)], "x is 1; it must be a finite number of at least 0 and below 1"),
        (-1, Positive | None, "x is -1; it must be a finite number above 0, or None"),
        (None, Positive, "x is None; it must be a finite number above 0"),
        ("1", Positive, "x is '1'; it must be a finite number above 0"),
        (True, Positive, "x is True; it must be a finite number above 0"),
        (0, Count, "x is 0; it must be a whole number of at least 1"),
        (2.0, Count, "x is 2.0; it must be a whole number of at least 1"),
        (False, int, "x is False; it must be a whole number"),
        (1, bool, "x is 1; it must be True or False"),
        (1, str, "x is 1; it must be text"),
        ("rad", Colour, "unknown x 'rad' (did you mean 'red'?); known: green, red"),
        (1, Colour, "x is 1; it must be one of 'red', 'green'"),
        (1, Colour | None, "x is 1; it must be one of 'red', 'green', or None"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(value: object, annotation: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_value("x", value, annotation)
    assert str(caught.value) == message


@dataclass(frozen=True)
class Inner:
    colour: Colour = "red"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Outer(Inner):
    inner: Inner = Inner()
    size: Count | None = None


def test_fields_are_checked_those_of_the_parent_class_too() -> None:
    assert Outer("green", size=3).size == 3
    with pytest.raises(InputError, match=r"^Outer\.size is 0; it must be a whole number of at least 1, or None$"):
        Outer(size=0)
    with pytest.raises(InputError, match=r"^unknown Outer\.colour 'blue'; known: green, red$"):
        Outer("blue")  # type: ignore[arg-type]


def settings() -> Iterator[Any]:
    """Every dataclass of settings that a configuration is made of, those inside others too."""
    todo = [TrainingSettings(), Encoder(), Pixels(), Context(), *(method.Hyper() for method in METHODS.values())]
    while todo:
        record = todo.pop()
        yield record
        todo += [value for field in fields(record) if is_dataclass(value := getattr(record, field.name))]


def test_every_number_among_the_settings_has_a_range_and_is_checked() -> None:
    numbers = 0
    for record in settings():
        for name, annotation in field_types(type(record)).items():
            options = get_args(annotation) if type(None) in get_args(annotation) else (annotation,)
            if options[0] in (int, float):
                assert name == "seed", f"{type(record).__name__}.{name} has no range"
            ranges = [span for span in get_args(options[0]) if isinstance(span, Range)]
            for span in ranges:
                numbers += 1
                outside = next(v for v in (-1, 0, 1, 2, 10**9) if v not in span)
                for wrong in (outside, math.nan, math.inf, "x"):
                    with pytest.raises(InputError, match=rf"^{type(record).__name__}\.{name} is "):
                        replace(record, **{name: wrong})
    assert numbers > 60
