"""Fused Gromov-Wasserstein optimal transport with structural priors in time, which the whole method rests on.

Read it in this order: ``cost`` and ``structure`` (the terms), ``problem`` (the objective and its gradient),
``reference`` (two schemes that minimise it, in plain torch) and ``potentials``, ``solver`` (the function to call),
``dummy`` and ``recipes`` (the two problems of the paper), ``long`` (recordings of any length). ``fused/`` computes what
``reference`` does in compiled code, Numba on a CPU and Triton on a GPU; :func:`solve` uses it where it can.
"""

from vasot_lib.transport.cost import cosine_cost, temporal_prior
from vasot_lib.transport.dummy import add_dummy, drop_dummy, dummy_marginal, keep_above
from vasot_lib.transport.long import LongPlan, align_long
from vasot_lib.transport.potentials import Potentials
from vasot_lib.transport.problem import Problem, make_problem
from vasot_lib.transport.recipes import Alignment, AlignmentTargets, Segmentation
from vasot_lib.transport.solver import Plan, solve
from vasot_lib.transport.structure import Distinct, Far, Near, Structure

__all__ = [
    "Alignment",
    "AlignmentTargets",
    "Distinct",
    "Far",
    "LongPlan",
    "Near",
    "Plan",
    "Potentials",
    "Problem",
    "Segmentation",
    "Structure",
    "add_dummy",
    "align_long",
    "cosine_cost",
    "drop_dummy",
    "dummy_marginal",
    "keep_above",
    "make_problem",
    "solve",
    "temporal_prior",
]
