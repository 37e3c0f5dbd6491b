r"""The fused Gromov-Wasserstein problem: objective and gradient.

    J(T) = (1 - alpha) <C, T> + (alpha / 2) <Cx T Cy, T> - eps H(T) + lambda_x KL(T 1 || p) + lambda_y KL(T' 1 || q)

with ``H(T) = -sum T log T + sum T`` and ``KL(m || q) = sum m log(m / q) - m + q``; a KL term stands only where
its side is relaxed, elsewhere the marginal is a constraint. **alpha weights the structure term.** The gradient of
the first two terms is ``G(T) = (1 - alpha) C + alpha Cx T Cy`` because Cx and Cy are symmetric. Source: SPEC section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import psutil
import torch
from torch import Tensor

from vasot_lib.checks import Positive, Share, check_value
from vasot_lib.errors import InputError
from vasot_lib.transport.structure import Operator, Structure

TINY = 1e-30  # below every mass that float32 plans hold, above its smallest normal number


class Terms(NamedTuple):
    """The terms of J as they enter it, weights and signs included, (B,) each; their sum is J.

    Attributes:
        linear: ``(1 - alpha) <C, T>``.
        structure: ``(alpha / 2) <Cx T Cy, T>``; 0 without a structure term.
        entropy: ``-eps H(T)``.
        relaxation: the KL terms; 0 where both marginals are constraints.
    """

    linear: Tensor
    structure: Tensor
    entropy: Tensor
    relaxation: Tensor


@dataclass(frozen=True)
class Problem:
    """One batch of fused Gromov-Wasserstein problems, checked and ready to iterate on.

    Attributes:
        cost: (B, N, M) linear cost C, zero on padding; the caller's own tensor where there is no padding.
        p: (B, N) mass of the rows, zero on padding, sums to 1.
        q: (B, M) mass of the columns.
        lengths_x: B real lengths of the rows.
        lengths_y: B real lengths of the columns.
        structure: Cx and Cy; None without a structure term.
        alpha: weight of the structure term, 0 to 1.
        epsilon: weight of the entropy.
        relax_x: lambda_x, or None where the row marginal is a constraint.
        relax_y: lambda_y, or None where the column marginal is a constraint.
    """

    cost: Tensor
    p: Tensor
    q: Tensor
    lengths_x: tuple[int, ...]
    lengths_y: tuple[int, ...]
    structure: tuple[Operator, Operator] | None
    alpha: float
    epsilon: float
    relax_x: float | None
    relax_y: float | None

    @property
    def balanced(self) -> bool:
        """Both marginals are constraints."""
        return self.relax_x is None and self.relax_y is None

    def product(self, plan: Tensor) -> Tensor:
        """``Cx T Cy``, (B, N, M), in O(NM); zero without a structure term."""
        if self.structure is None:
            return torch.zeros_like(plan)
        first, second = self.structure
        return first(second(plan))

    def gradient(self, plan: Tensor) -> Tensor:
        """``G(T)``, (B, N, M): what one more unit of mass costs at each entry, entropy and marginals aside."""
        if self.structure is None:
            return self.cost
        return torch.add(self.alpha * self.product(plan), self.cost, alpha=1.0 - self.alpha)

    def terms(self, plan: Tensor) -> Terms:
        """The terms of ``J(T)`` one by one, from a (B, N, M) plan."""
        linear = (1.0 - self.alpha) * (self.cost * plan).sum((1, 2))
        structure = torch.zeros_like(linear)
        if self.structure is not None:
            structure = self.alpha / 2 * (self.product(plan) * plan).sum((1, 2))
        entropy = self.epsilon * (torch.xlogy(plan, plan) - plan).sum((1, 2))
        return Terms(linear, structure, entropy, self.relaxation(plan.sum(2), plan.sum(1)))

    def objective(self, plan: Tensor) -> Tensor:
        """``J(T)``, (B,)."""
        terms = self.terms(plan)
        return terms.linear + terms.structure + terms.entropy + terms.relaxation

    def relaxation(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The KL terms of J, (B,), from the plan's (B, N) and (B, M) marginals."""
        value = torch.zeros_like(rows[:, 0])
        for weight, marginal, mass in ((self.relax_x, rows, self.p), (self.relax_y, columns, self.q)):
            if weight is not None:
                divergence = torch.xlogy(marginal, marginal / mass.clamp_min(TINY)) - marginal + mass
                value = value + weight * divergence.sum(1)
        return value


def make_problem(
    cost: Tensor,
    structure: tuple[Structure, Structure] | None = None,
    *,
    alpha: float = 0.0,
    epsilon: float = 0.07,
    relax_x: float | None = None,
    relax_y: float | None = None,
    mask_x: Tensor | None = None,
    mask_y: Tensor | None = None,
    mass_x: Tensor | None = None,
    mass_y: Tensor | None = None,
) -> Problem:
    """Check the arguments of :func:`vasot_lib.transport.solve` and bind the structure to the lengths.

    Raises:
        InputError: wrong shape or dtype, NaN or infinite cost, a weight out of range, alpha > 0 without structure,
            a radius that rounds to no frame, a sample that is masked altogether.
    """
    if cost.ndim != 3 or 0 in cost.shape:
        raise InputError(f"cost has shape {tuple(cost.shape)}; expected (batch, rows, columns), none of them 0")
    if cost.dtype in (torch.bfloat16, torch.float16):
        cost = cost.float()  # mixed precision: costs may be rounded, masses may not
    if cost.dtype not in (torch.float32, torch.float64):
        raise InputError(f"cost is {cost.dtype}; convert it to torch.float32 or torch.float64")
    check_value("alpha", alpha, Share)
    check_value("epsilon", epsilon, Positive)
    check_value("relax_x", relax_x, Positive | None)
    check_value("relax_y", relax_y, Positive | None)
    if alpha > 0 and structure is None:
        raise InputError(f"alpha is {alpha} but no structure is given; pass structure=(Near(r), Far(r)) or alpha=0")
    cost = cost.detach()
    batch, n, m = cost.shape
    x, y = _side("x", mask_x, mass_x, (batch, n), cost), _side("y", mask_y, mass_y, (batch, m), cost)
    # All that the host has to know, in one transfer: on a GPU every look waits for the device.
    facts = torch.cat([cost.sum().isfinite().long()[None], x.facts, y.facts]).tolist()
    split = 1 + len(x.facts)
    lengths_x, lengths_y = _lengths("x", x, facts[1:split]), _lengths("y", y, facts[split:])
    if min(lengths_x) < n or min(lengths_y) < m:
        cost = cost.masked_fill(~(x.mask.unsqueeze(2) & y.mask.unsqueeze(1)), 0.0)
    if not facts[0] and not bool(torch.isfinite(cost).all()):
        first = (~torch.isfinite(cost)).nonzero()[0].tolist()
        raise InputError(f"cost holds NaN or infinity, first at sample {first[0]}, row {first[1]}, column {first[2]}")
    bound = None
    if structure is not None and alpha > 0:
        bound = structure[0].bind(lengths_x, 1), structure[1].bind(lengths_y, 2)
    return Problem(cost, x.mass, y.mass, lengths_x, lengths_y, bound, alpha, epsilon, relax_x, relax_y)


def check_memory(cost: Tensor, buffers: int) -> None:
    """Refuse a problem whose working memory will not fit, before that is allocated.

    Args:
        cost: (B, N, M), there already.
        buffers: how many arrays of its size are still to come.

    Raises:
        InputError: with what is needed, what is free, and what to do.
    """
    needed = buffers * cost.numel() * cost.element_size()
    if needed < 2**28:  # asking costs more than allocating
        return
    if cost.is_cuda:  # what torch keeps for later can be used as well
        cached = torch.cuda.memory_reserved(cost.device) - torch.cuda.memory_allocated(cost.device)
        free = torch.cuda.mem_get_info(cost.device)[0] + cached
    else:
        free = psutil.virtual_memory().available
    if needed > free:
        batch, n, m = cost.shape
        raise InputError(
            f"plans of {batch} x {n} x {m} need {buffers} buffers, {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free; use a smaller batch, fewer frames, or align_long for a pair"
        )


class _Side(NamedTuple):
    """One side's (B, N) mask and masses, and what is to be looked at on the host: ``facts``, see :func:`_lengths`."""

    mask: Tensor
    mass: Tensor
    facts: Tensor


def _side(name: str, mask: Tensor | None, mass: Tensor | None, shape: tuple[int, int], cost: Tensor) -> _Side:
    if mask is None:
        mask = torch.ones(shape, dtype=torch.bool, device=cost.device)
    if mask.shape != shape or mask.dtype != torch.bool:
        raise InputError(
            f"mask_{name} is {mask.dtype} of shape {tuple(mask.shape)}; expected torch.bool of shape {shape}"
        )
    if mass is not None and mass.shape != shape:
        raise InputError(f"mass_{name} has shape {tuple(mass.shape)}; expected {shape}")
    lengths = mask.sum(1)
    leading = torch.arange(shape[1], device=mask.device) < lengths.unsqueeze(1)
    faults = [(mask != leading).any()]
    if mass is None:
        uniform = mask.to(cost.dtype) / lengths.unsqueeze(1)
        return _Side(mask, uniform, torch.cat([lengths, faults[0][None]]))
    faults += [(mass < 0).any() | mass.masked_fill(mask, 0.0).any(), ~((mass.sum(1) - 1).abs() <= 1e-4).all()]
    return _Side(mask, mass.to(cost), torch.cat([lengths, torch.stack(faults)]))


def _lengths(name: str, side: _Side, facts: list[int]) -> tuple[int, ...]:
    """The B real lengths; after them ``facts`` say whether the mask has gaps, and what is wrong with given masses."""
    batch = len(side.mask)
    lengths, faults = tuple(facts[:batch]), [bool(fact) for fact in facts[batch:]]
    if min(lengths) == 0:
        empty = lengths.index(0)
        raise InputError(f"mask_{name} leaves no real entry in sample {empty}; drop that sample from the batch")
    if faults[0]:
        raise InputError(f"mask_{name} has padding before real entries; put the padding last")
    if any(faults[1:2]):
        raise InputError(f"mass_{name} is negative somewhere, or not zero on padding; masses are shares of 1")
    if any(faults[2:]):
        raise InputError(f"mass_{name} sums to {side.mass.sum(1).tolist()}; each sample's mass must sum to 1")
    return lengths
