"""The three methods of the paper, VAOT, ASOT and VASOT, and the interface that every method stands behind."""

from vasot_lib.methods.asot import ASOT, SegmentationTerm
from vasot_lib.methods.base import ActionEmbeddings, Method
from vasot_lib.methods.vaot import VAOT, AlignmentTerm
from vasot_lib.methods.vasot import VASOT, JointTerms

__all__ = ["ASOT", "VAOT", "VASOT", "ActionEmbeddings", "AlignmentTerm", "JointTerms", "Method", "SegmentationTerm"]
