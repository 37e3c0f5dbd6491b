"""Fused Gromov-Wasserstein transport with temporal structure: the core of the kit, in torch alone."""

from vasot_lib.transport.cost import cosine_cost, temporal_prior
from vasot_lib.transport.dummy import add_dummy, drop_dummy, dummy_marginal, keep_above
from vasot_lib.transport.long import LongPlan, align_long
from vasot_lib.transport.problem import Problem, make_problem
from vasot_lib.transport.recipes import Alignment, Matches, Segmentation
from vasot_lib.transport.solver import Plan, solve
from vasot_lib.transport.structure import Distinct, Far, Near, Structure

__all__ = [
    "Alignment",
    "Distinct",
    "Far",
    "LongPlan",
    "Matches",
    "Near",
    "Plan",
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
