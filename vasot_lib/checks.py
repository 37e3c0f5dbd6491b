"""Which values an argument may have, written as its type annotation and checked in one place.

``tau: Positive = 0.1`` in a dataclass says both what type ``tau`` has and in which range it lies;
``__post_init__`` calls :func:`check_fields`. Functions check a single argument by :func:`check_value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Number, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vasot_lib.errors import InputError, unknown_name


@dataclass(frozen=True)
class Range:
    """The finite numbers between two ends; ``above`` and ``below`` do not belong to the range, the others do."""

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            float("-inf") < value < float("inf")  # false for NaN
            and (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        ends = {"above": self.above, "of at least": self.least, "below": self.below, "at most": self.most}
        return " and ".join(f"{words} {end}" for words, end in ends.items() if end is not None)


Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(least=0)]
Share = Annotated[float, Range(least=0, most=1)]
Count = Annotated[int, Range(least=1)]
Seed = Annotated[int, Range(least=0, below=2**32)]  # what NumPy and scikit-learn take
Radius = Annotated[float, Range(above=0, most=1)]
# Weights and costs with which no intermediate result leaves the range of float32.
Weight = Annotated[float, Range(least=1e-12, most=1e12)]
NotNegativeWeight = Annotated[float, Range(least=0, most=1e12)]

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# The types that are checked, with what a value has to be an instance of and how a message calls it.
KINDS: dict[Any, tuple[type, str]] = {
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a finite number"),
    str: (str, "text"),
}


def check_value(name: str, value: object, annotation: Any) -> None:
    """Refuse a value that does not fit a type annotation.

    Args:
        name: of the argument, for the message.
        value: the value that was given.
        annotation: ``bool``, ``int``, ``float`` or ``str``, one of the first three with a :class:`Range` as in
            ``Positive``, or a ``Literal`` of names; each may be followed by ``| None``. Values of any other type, such
            as a nested dataclass, are let through.

    Raises:
        InputError: wrong type, a number out of its range, NaN, infinity, or an unknown name.
    """
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    if value is None and NoneType in options:
        return
    wanted = options[0]
    if get_origin(wanted) is Literal:
        names = get_args(wanted)
        if isinstance(value, str) and value not in names:
            raise unknown_name(name, value, names)
        kind, ranges, expected = str, [], f"one of {', '.join(map(repr, names))}"
    else:
        kind, *ranges = get_args(wanted) if get_origin(wanted) is Annotated else (wanted,)
        if kind not in KINDS:
            return
        expected = " ".join([KINDS[kind][1], *map(str, ranges)])
    # True and False are whole numbers to Python, but not to a reader.
    fits = isinstance(value, KINDS[kind][0]) and (kind is bool or not isinstance(value, bool))
    if not fits or any(value not in span for span in ranges):
        shown = str(value) if isinstance(value, Number) else repr(value)
        or_none = ", or None" if NoneType in options else ""
        raise InputError(f"{name} is {shown}; it must be {expected}{or_none}")


def check_tensors(dtypes: tuple[torch.dtype, ...], **tensors: Any) -> None:
    """Refuse what is no tensor, has another type than ``dtypes``, or differs from the first one in type or device.

    Raises:
        InputError: the message names the argument.
    """
    first_name, first = next(iter(tensors.items()))
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
            raise InputError(f"{name} is of type {kind}; pass a torch.Tensor, as torch.as_tensor({name}) makes one")
        if value.dtype not in dtypes:
            raise InputError(f"{name} is {value.dtype}; convert it to {' or '.join(map(str, dtypes))}")
        if value.dtype != first.dtype or value.device != first.device:
            raise InputError(
                f"{name} is {value.dtype} on {value.device} but {first_name} is {first.dtype} on {first.device}; "
                "convert one of them"
            )


def check_embeddings(dtypes: tuple[torch.dtype, ...], masks: Mapping[str, Tensor] | None = None, **xs: Tensor) -> None:
    """Refuse embeddings, (N, D) or (B, N, D) each, of different widths, and masks of another shape than (B, N).

    Args:
        dtypes: the types that are allowed; all embeddings have the same one.
        masks: the masks of some of the embeddings, by the name of the embeddings.
        xs: the embeddings by name.

    Raises:
        InputError: the message names the argument.
    """
    check_tensors(dtypes, **xs)
    first_name, first = next(iter(xs.items()))
    for name, x in xs.items():
        if x.ndim not in (2, 3) or 0 in x.shape:
            raise InputError(f"{name} has shape {tuple(x.shape)}; expected ([batch,] frames, width), none of them 0")
        if x.shape[-1] != first.shape[-1] or (x.ndim == first.ndim == 3 and len(x) != len(first)):
            raise InputError(f"{name} has shape {tuple(x.shape)} and {first_name} {tuple(first.shape)}; make them fit")
    for name, mask in (masks or {}).items():
        check_tensors((torch.bool,), **{f"mask_{name}": mask})
        if xs[name].ndim != 3:
            raise InputError(f"{name} has shape {tuple(xs[name].shape)}; with a mask, it needs a batch dimension first")
        if mask.shape != xs[name].shape[:2]:
            raise InputError(f"mask_{name} has shape {tuple(mask.shape)}; expected {tuple(xs[name].shape[:2])}")
        if mask.device.type == "cpu" and not bool(mask.any(1).all()):  # a GPU would have to be waited for
            raise InputError(f"mask_{name} leaves a sample no real frame; drop that sample from the batch")


def whole_numbers(name: str, values: Any) -> NDArray[Any]:
    """Labels, clusters or matches of the frames of a video, as an array of int64, whose differences have a sign.

    Raises:
        InputError: anything but one list of whole numbers, such as names, NaN or a table.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # lists of different lengths, tensors on a GPU
        raise InputError(f"{name} are no array ({str(error).splitlines()[0]}); give whole numbers") from error
    if array.dtype.kind not in "iu":
        shown = next(iter(array.ravel().tolist()), "nothing")
        raise InputError(f"{name} hold {array.dtype}, first {shown!r}; they must be whole numbers")
    if array.dtype == np.uint64 and array.max(initial=0) > np.iinfo(np.int64).max:
        raise InputError(f"{name} hold {array.max()}; give whole numbers below 2**63")
    if array.ndim != 1:
        raise InputError(f"{name} have shape {array.shape}; they must be (frames,)")
    return array.astype(np.int64, copy=False)


def check_fields(settings: Any) -> None:
    """Check every field of a dataclass against its annotation by :func:`check_value`; for ``__post_init__``.

    Raises:
        InputError: as :func:`check_value`; the message calls the field ``Class.field``.
    """
    for name, annotation in field_types(settings.__class__).items():
        check_value(f"{type(settings).__name__}.{name}", getattr(settings, name), annotation)


@cache
def field_types(kind: type) -> Mapping[str, Any]:
    """The annotation of each field of a dataclass, in order, with its range."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}
