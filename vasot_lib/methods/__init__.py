"""Methods by name. Each is one file; a new one is added to METHODS here."""

from vasot_lib.errors import unknown_name
from vasot_lib.methods.asot import ASOT, SegmentationTerm
from vasot_lib.methods.base import ActionEmbeddings, Method
from vasot_lib.methods.vaot import VAOT, AlignmentTerm
from vasot_lib.methods.vasot import VASOT, JointTerms

METHODS: dict[str, type[Method]] = {method.name: method for method in (ASOT, VAOT, VASOT)}


def find_method(name: str) -> type[Method]:
    """The class behind a method's name.

    Raises:
        InputError: no such method; the message lists the known ones.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


__all__ = [
    "ASOT",
    "METHODS",
    "VAOT",
    "VASOT",
    "ActionEmbeddings",
    "AlignmentTerm",
    "JointTerms",
    "Method",
    "SegmentationTerm",
    "find_method",
]
