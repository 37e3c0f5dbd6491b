"""From an answer to one line about it, and what the checks of all chapters share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from vasot_lib.errors import InputError, unknown_name

RIGHT, UNANSWERED = "right", "not answered yet"


class NotYet(Exception):
    """An answer is wrong; the message says in which respect."""


class Unanswered(Exception):
    """There is no answer yet."""


CHECKS: dict[str, Callable[..., None]] = {}


def exercise(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the check of an exercise: it takes the answer and raises :class:`NotYet` if that is wrong."""

    def enter(function: Callable[..., None]) -> Callable[..., None]:
        CHECKS[name] = function
        return function

    return enter


def check(name: str, answer: Any, *things: Any) -> str:
    """One line about an answer: ``right``, ``not answered yet``, or ``not yet`` with what is wrong.

    Args:
        name: chapter and number of the exercise, e.g. ``"05.2"``.
        answer: what the exercise asks for, a value or a function; None where there is no answer yet.
        things: what the chapter has and the check needs, such as its explorer.

    Raises:
        InputError: no exercise of that name.
    """
    if name not in CHECKS:
        raise unknown_name("exercise", name, sorted(CHECKS))
    try:
        if answer is None:
            raise Unanswered
        CHECKS[name](answer, *things)
    except Unanswered:
        return UNANSWERED
    except (NotYet, InputError) as error:
        return f"not yet: {error}"
    except Exception as error:  # whatever an answer of the wrong kind leads to, one line says so
        return f"not yet: {_shown(answer)} cannot be checked ({type(error).__name__}: {error})"
    return RIGHT


def number(answer: Any) -> float:
    """The answer as a number; raises :class:`NotYet` where it is none."""
    try:
        found = math.nan if isinstance(answer, (bool, str)) else float(answer)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise NotYet(f"{_shown(answer)} is no number")
    return found


def whole(answer: Any) -> int:
    """The answer as a whole number; raises :class:`NotYet` where it is none."""
    given = number(answer)
    if given != round(given):
        raise NotYet(f"{_shown(answer)} is no whole number")
    return round(given)


def several(answer: Any, words: str) -> list[Any]:
    """The entries of an answer of any kind that has some; raises :class:`NotYet` where it is not what ``words`` say."""
    try:
        if isinstance(answer, (str, Mapping)):
            raise TypeError
        return list(answer)
    except TypeError:
        raise NotYet(f"{_shown(answer)} is not {words}") from None


def settings(answer: Any, names: Sequence[str]) -> dict[str, Any]:
    """The answer as settings; raises :class:`NotYet` where it is no dictionary, InputError where a name is unknown."""
    if not isinstance(answer, Mapping):
        raise NotYet(f'{_shown(answer)} is no dictionary of settings, such as {{"name": 0.5}}')
    for name in answer:
        if name not in names:
            raise unknown_name("setting", name, names)
    return {
        name: value.item() if isinstance(value, (np.ndarray, torch.Tensor)) else value for name, value in answer.items()
    }


def result(function: Any, arguments: Sequence[Any], shape: tuple[int, ...], case: str) -> np.ndarray:
    """What a function makes of arguments, as an array of the shape that is asked for.

    Raises:
        Unanswered: it returns None.
        NotYet: it is no function, raises, changes its arguments, or returns something of another shape, or a value that
            is not finite.
    """
    if not callable(function):
        raise NotYet(f"{_shown(function)} is no function")
    given = [np.array(value) if isinstance(value, np.ndarray) else value for value in arguments]
    try:
        with np.errstate(all="ignore"):
            found = function(*given)
    except Exception as error:
        raise NotYet(f"{case}: the function raises {type(error).__name__}: {error}") from error
    if found is None:
        raise Unanswered
    for place, (before, after) in enumerate(zip(arguments, given, strict=True), 1):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after):
            raise NotYet(f"{case}: the function changes its argument number {place}; work on a copy")
    array = np.asarray(found.detach() if isinstance(found, torch.Tensor) else found)
    if array.dtype.kind not in "biuf":
        raise NotYet(f"{case}: the result has to consist of numbers, not of {array.dtype}")
    if array.shape != shape:
        raise NotYet(f"{case}: the result has the shape {array.shape} instead of {shape}")
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0]
        raise NotYet(f"{case}: {entry(place)} is {array[tuple(place)]}")
    return array


def known_mistakes(found: np.ndarray, right: ArrayLike, mistakes: Mapping[str, ArrayLike], case: str) -> None:
    """Raise :class:`NotYet` in the words of a mistake that leads to exactly this result, unless it is right."""
    for words, wrong in mistakes.items():
        if np.allclose(found, wrong, rtol=1e-6, atol=1e-9) and not np.allclose(right, wrong, rtol=1e-6, atol=1e-9):
            raise NotYet(f"{case}: {words}")


def same(found: np.ndarray, expected: ArrayLike, case: str, tolerance: float = 1e-6) -> None:
    """Raise :class:`NotYet` that names the entry that is farthest off, and on which side."""
    off = found - np.asarray(expected)
    if np.abs(off).max(initial=0) > tolerance:
        place = np.unravel_index(np.abs(off).argmax(), off.shape)
        raise NotYet(f"{case}: {entry(place)} is too {'large' if off[place] > 0 else 'small'}")


def frames(count: int) -> str:
    """A number of frames in words."""
    return f"{count} frame" if count == 1 else f"{count} frames"


def entry(place: Sequence[Any] | np.ndarray) -> str:
    """An entry in words; Python counts from 0."""
    if len(place) == 0:
        return "the result"
    return f"entry {int(place[0])}" if len(place) == 1 else f"entry ({', '.join(str(int(k)) for k in place)})"


def _shown(answer: Any) -> str:
    text = " ".join(repr(answer).split())
    return text if len(text) < 60 else f"{text[:57]}..."
