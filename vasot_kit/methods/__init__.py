"""All methods by name: the three of the paper (``vasot_lib.methods``), and here one file for each compared method."""

from vasot_kit.methods.clot import CLOT
from vasot_kit.methods.cte import CTE
from vasot_kit.methods.gtcc import GTCC
from vasot_kit.methods.hvq import HVQ
from vasot_kit.methods.lav import LAV
from vasot_kit.methods.peot import PEOT
from vasot_kit.methods.rgwot import RGWOT
from vasot_kit.methods.smq import SMQ
from vasot_kit.methods.tcc import TCC
from vasot_kit.methods.tot import TOT
from vasot_kit.methods.tw_finch import TWFinch
from vasot_kit.methods.ufsa import UFSA
from vasot_kit.methods.vava import VAVA
from vasot_lib.errors import unknown_name
from vasot_lib.methods import ASOT, VAOT, VASOT, Method

# In the order of result tables: first the joint method, then those for alignment, then those for segmentation.
METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (VASOT, VAOT, RGWOT, TCC, LAV, VAVA, GTCC, ASOT, PEOT, CLOT, TOT, UFSA, HVQ, SMQ, CTE, TWFinch)
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
    "CLOT",
    "CTE",
    "GTCC",
    "HVQ",
    "LAV",
    "METHODS",
    "PEOT",
    "RGWOT",
    "SMQ",
    "TCC",
    "TOT",
    "UFSA",
    "VAVA",
    "TWFinch",
    "find_method",
]
