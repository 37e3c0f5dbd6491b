"""The exercises of the chapters: what is asked of an answer, and what is said of a wrong one.

A chapter hands over an answer with ``print(check("05.2", sinkhorn))``. The reply is one line: ``right``, ``not answered
yet``, or ``not yet`` with what is wrong, which never says what the answer is.
"""

from vasot_kit.exercises import functions, values  # they enter their checks
from vasot_kit.exercises.checking import check

__all__ = ["check", "functions", "values"]
