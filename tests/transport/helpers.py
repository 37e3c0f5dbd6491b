"""Problems with known answers, and one checker for plans."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.transport import Plan


def random_walk(n: int, dim: int = 24, seed: int = 0, step: float = 0.6, dtype: torch.dtype = torch.float64) -> Tensor:
    """(n, dim) unit-length embeddings of a procedure that never returns to where it was."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, dim, generator=generator, dtype=dtype).mul(step).cumsum(0), dim=1)


def random_cost(batch: int, n: int, m: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """(batch, n, m) costs between 0 and 2."""
    return 2 * torch.rand(batch, n, m, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def check_plan(plan: Plan, p: Tensor, q: Tensor, fixed_x: bool, fixed_y: bool, tolerance: float = 1e-3) -> None:
    """Non-negative, fixed marginals met to a relative tolerance, and the reported errors are the true ones."""
    assert (plan.matrix >= 0).all() and torch.isfinite(plan.matrix).all()
    for marginal, mass, fixed, reported in (
        (plan.matrix.sum(2), p, fixed_x, plan.marginal_error_x),
        (plan.matrix.sum(1), q, fixed_y, plan.marginal_error_y),
    ):
        assert (marginal[mass == 0] == 0).all()
        error = torch.where(mass > 0, (marginal - mass).abs() / mass.clamp_min(1e-30), 0.0).amax(1)
        torch.testing.assert_close(reported, error, rtol=1e-4, atol=1e-6)
        if fixed:
            assert (error <= tolerance).all(), error
