"""The errors that the kit raises on purpose. Each message is one line: what was wrong, its value, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MOST_LISTED = 60  # names that a message lists; of more, only the nearest ones


class VasotError(Exception):
    """Base class of every error that the kit raises on purpose."""


class InputError(VasotError, ValueError):
    """An argument has a wrong type, shape or value."""


class DataError(VasotError, ValueError):
    """A recording, label file or archive is missing, damaged or inconsistent."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist; its message suggests the nearest known name and lists all of them.

    Args:
        kind: what the name stands for, e.g. ``"method"``.
        name: the name that was asked for.
        known: the names that exist.

    Returns:
        The error, for the caller to raise.
    """
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    if len(names) > MOST_LISTED:
        listed = ", ".join(get_close_matches(str(name), names, n=8, cutoff=0.0))
        return InputError(f"unknown {kind} {name!r}{hint}; of {len(names)} known ones the nearest: {listed}")
    return InputError(f"unknown {kind} {name!r}{hint}; known: {', '.join(names)}")
