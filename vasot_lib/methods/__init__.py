"""The registry of methods by name: VASOT, VAOT and ASOT, and the methods that the paper compares with."""

from vasot_lib.errors import unknown_name
from vasot_lib.methods.asot import ASOT, SegmentationTerm
from vasot_lib.methods.base import ActionEmbeddings, Method
from vasot_lib.methods.compared.cte import CTE
from vasot_lib.methods.compared.gtcc import GTCC
from vasot_lib.methods.compared.lav import LAV
from vasot_lib.methods.compared.tcc import TCC
from vasot_lib.methods.compared.tot import TOT
from vasot_lib.methods.compared.tw_finch import TWFinch
from vasot_lib.methods.compared.ufsa import UFSA
from vasot_lib.methods.compared.vava import VAVA
from vasot_lib.methods.vaot import VAOT, AlignmentTerm
from vasot_lib.methods.vasot import VASOT, JointTerms

# In the order of result tables: first the joint method, then those for alignment, then those for segmentation.
METHODS: dict[str, type[Method]] = {
    method.name: method for method in (VASOT, VAOT, TCC, LAV, VAVA, GTCC, ASOT, TOT, UFSA, CTE, TWFinch)
}


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
    "CTE",
    "GTCC",
    "LAV",
    "METHODS",
    "TCC",
    "TOT",
    "UFSA",
    "VAOT",
    "VASOT",
    "VAVA",
    "ActionEmbeddings",
    "AlignmentTerm",
    "JointTerms",
    "Method",
    "SegmentationTerm",
    "TWFinch",
    "find_method",
]
