r"""The fused Gromov-Wasserstein problem: objective and gradient.

    J(T) = (1 - alpha) <C, T> + (alpha / 2) <Cx T Cy, T> - eps H(T) + lambda_x KL(T 1 || p) + lambda_y KL(T' 1 || q)

with ``H(T) = -sum T log T + sum T`` and ``KL(m || q) = sum m log(m / q) - m + q``. A KL term is there only where its
side is relaxed; where it is fixed, the marginal is a constraint, ``T 1 = p`` or ``T' 1 = q``. With a total mass
(partial transport) both masses are bounds: ``T 1 <= p``, ``T' 1 <= q`` and ``sum T`` is the total. **alpha is the
weight of the structure term**, not of the linear cost. Cx and Cy are symmetric, so the gradient of the first two terms
is ``G(T) = (1 - alpha) C + alpha Cx T Cy``. Source: SPEC section 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple, TypedDict

import psutil
import torch
from torch import Tensor

from vasot_lib.checks import FLOATS, Range, Share, Weight, check_tensors, check_value
from vasot_lib.errors import InputError
from vasot_lib.transport.structure import Operator, Structure

TINY = 1e-30  # put in place of 0 before a logarithm or a division: a normal float32, far below the masses of a plan
# With the smallest epsilon, 1e-12, their quotient is still far from the largest float32. It also stands for infinity.
LARGEST_COST = 1e15
LEAST_FORBIDDING = 1e4  # least quotient by which the exponential of a forbidden pair is 0 in float64 too


class Terms(NamedTuple):
    """The four terms of J with their weights and signs, (B,) each; their sum is J."""

    linear: Tensor  # (1 - alpha) <C, T>
    structure: Tensor  # (alpha / 2) <Cx T Cy, T>; 0 without a structure term
    entropy: Tensor  # -eps H(T)
    relaxation: Tensor  # the KL terms; 0 where both marginals are constraints


@dataclass(frozen=True)
class Problem:
    """A batch of fused Gromov-Wasserstein problems whose arguments have been checked; :func:`make_problem` makes it."""

    cost: Tensor  # (B, N, M) linear cost C, zero on padding; where there is no padding it is the caller's own tensor
    p: Tensor  # (B, N) mass of the rows, zero on padding, sums to 1
    q: Tensor  # (B, M) mass of the columns, likewise
    lengths_x: tuple[int, ...]  # number of real rows of each of the B samples
    lengths_y: tuple[int, ...]  # number of real columns
    structure: tuple[Operator, Operator] | None  # Cx and Cy; None without a structure term
    alpha: float  # weight of the structure term, 0 to 1
    epsilon: float  # weight of the entropy
    relax_x: float | None  # lambda_x, or None where the row marginal is a constraint
    relax_y: float | None  # lambda_y, or None where the column marginal is a constraint
    total_mass: float | None = None  # of the plan, where p and q are bounds
    forbids: bool = False  # whether pairs are forbidden; their cost is LARGEST_COST

    @property
    def balanced(self) -> bool:
        """Both marginals are constraints or bounds."""
        return self.relax_x is None and self.relax_y is None

    def samples(self) -> Iterator[Problem]:
        """The samples as problems of their own."""
        for number in range(len(self.p)):
            one = slice(number, number + 1)
            tensors = {name: getattr(self, name)[one] for name in ("cost", "p", "q", "lengths_x", "lengths_y")}
            bound: Any = self.structure and tuple(replace(side, windows=side.windows[one]) for side in self.structure)
            yield replace(self, **tensors, structure=bound)

    def product(self, plan: Tensor) -> Tensor:
        """``Cx T Cy``, (B, N, M), in O(NM); zero without a structure term."""
        if self.structure is None:
            return torch.zeros_like(plan)
        first, second = self.structure
        return first(second(plan))

    def gradient(self, plan: Tensor) -> Tensor:
        """``G(T) = (1 - alpha) C + alpha Cx T Cy``, (B, N, M): the gradient without entropy and KL terms."""
        if self.structure is None:
            return self.cost
        return torch.add(self.alpha * self.product(plan), self.cost, alpha=1.0 - self.alpha)

    def terms(self, plan: Tensor) -> Terms:
        """The terms of ``J(T)`` one by one, for a (B, N, M) plan."""
        linear = (1.0 - self.alpha) * (self.cost * plan).sum((1, 2))
        structure = torch.zeros_like(linear)
        if self.structure is not None:
            structure = self.alpha / 2 * (self.product(plan) * plan).sum((1, 2))
        entropy = self.epsilon * (torch.xlogy(plan, plan) - plan).sum((1, 2))
        return Terms(linear, structure, entropy, self.relaxation(plan.sum(2), plan.sum(1)))

    def objective(self, plan: Tensor) -> Tensor:
        """``J(T)``, (B,)."""
        linear, *others = self.terms(plan)
        return sum(others, start=linear)

    def relaxation(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The KL terms of J, (B,), for a plan with row masses (B, N) and column masses (B, M)."""
        value = torch.zeros_like(rows[:, 0])
        for weight, marginal, mass in ((self.relax_x, rows, self.p), (self.relax_y, columns, self.q)):
            if weight is not None:
                divergence = torch.xlogy(marginal, marginal / mass.clamp_min(TINY)) - marginal + mass
                value = value + weight * divergence.sum(1)
        return value


class ProblemOptions(TypedDict, total=False):
    """The keyword arguments of :func:`make_problem`, so that ``solve`` can take them too and pass them on."""

    alpha: float
    epsilon: float
    relax_x: float | None
    relax_y: float | None
    mask_x: Tensor | None
    mask_y: Tensor | None
    mass_x: Tensor | None
    mass_y: Tensor | None
    total_mass: float | None


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
    total_mass: float | None = None,
) -> Problem:
    """Check the arguments, for which see :func:`vasot_lib.transport.solve`, and bind the priors to the lengths.

    Raises:
        InputError: wrong shape or dtype, a cost that is NaN or -inf, a row or column whose pairs are all forbidden, a
            weight out of range, alpha > 0 without structure, a radius that rounds to no frame, a sample that is masked
            altogether.
    """
    check_tensors(FLOATS, cost=cost)
    if cost.ndim != 3 or 0 in cost.shape:
        raise InputError(f"cost has shape {tuple(cost.shape)}; expected (batch, rows, columns), none of them 0")
    if cost.dtype in (torch.bfloat16, torch.float16):
        cost = cost.float()  # mixed precision: costs may be rounded, masses may not
    check_value("alpha", alpha, Share)
    check_value("epsilon", epsilon, Weight)
    check_value("relax_x", relax_x, Weight | None)
    check_value("relax_y", relax_y, Weight | None)
    check_value("total_mass", total_mass, Annotated[float, Range(above=0, most=1)] | None)
    if total_mass is not None and (relax_x is not None or relax_y is not None):
        raise InputError(f"total_mass is {total_mass} and a side is relaxed; give total_mass, or relax_x and relax_y")
    pair = isinstance(structure, tuple) and [hasattr(s, "bind") and not isinstance(s, type) for s in structure]
    if alpha > 0 and pair != [True, True]:
        given = "no structure is given" if structure is None else f"structure is {structure!r}"
        raise InputError(f"alpha is {alpha} but {given}; pass structure=(Near(r), Far(r)) or alpha=0")
    cost = cost.detach()
    batch, n, m = cost.shape
    x, y = _marginal("x", mask_x, mass_x, (batch, n), cost), _marginal("y", mask_y, mass_y, (batch, m), cost)
    in_range, lengths_x, lengths_y = True, (n,) * batch, (m,) * batch
    if not host_reads_nothing():
        in_range, lengths_x, lengths_y = _read(cost, x, y)
    if min(lengths_x) < n or min(lengths_y) < m:
        cost = cost.masked_fill(~(x.mask.unsqueeze(2) & y.mask.unsqueeze(1)), 0.0)
    forbids = False
    if not in_range:
        cost, forbids = _forbid(cost, x.mask, y.mask, (1.0 - alpha) / epsilon)
    bound = None
    if structure is not None and alpha > 0:
        bound = structure[0].bind(lengths_x, 1), structure[1].bind(lengths_y, 2)
    sides = x.mass, y.mass, lengths_x, lengths_y
    return Problem(cost, *sides, bound, alpha, epsilon, relax_x, relax_y, total_mass, forbids)


def _read(cost: Tensor, x: _Marginal, y: _Marginal) -> tuple[bool, tuple[int, ...], tuple[int, ...]]:
    """Whether all costs, those of padding included, are in range; and the real lengths of rows and columns."""
    # Tensors are checked on their device, and the answers are read together: on a GPU every read waits for the device.
    least, largest, *answers = torch.cat([torch.stack(cost.aminmax()), *x.answers(), *y.answers()]).tolist()
    in_range = least >= -LARGEST_COST and largest <= LARGEST_COST  # NaN is neither
    return in_range, _lengths("x", x, answers), _lengths("y", y, answers)


def _forbid(cost: Tensor, mask_x: Tensor, mask_y: Tensor, weight: float) -> tuple[Tensor, bool]:
    """The cost with ``LARGEST_COST`` in the place of infinity, and whether there is any; no other cost may be larger.

    ``weight`` is (1 - alpha) / epsilon, by which costs are multiplied in exponents.
    """
    forbidden = cost == torch.inf
    if bool((wrong := ~((cost.abs() <= LARGEST_COST) | forbidden)).any()):
        first = tuple(wrong.nonzero()[0].tolist())
        what = f"{cost[first].item():g}" if bool(cost[first].isfinite()) else "NaN or -infinity"
        at = "sample {}, row {}, column {}".format(*first)
        raise InputError(
            f"cost holds {what}, first at {at}; it must be a number of at most {LARGEST_COST:g} in size, or inf, which "
            "forbids a pair"
        )
    if not bool(forbidden.any()):
        return cost, False
    if weight * LARGEST_COST < LEAST_FORBIDDING:
        raise InputError(
            f"cost forbids pairs, but (1 - alpha) / epsilon is {weight:g}; it must be larger to have an effect"
        )
    unusable = forbidden | ~(mask_x.unsqueeze(2) & mask_y.unsqueeze(1))
    for side, mask, empty in (("row", mask_x, unusable.all(2)), ("column", mask_y, unusable.all(1))):
        if bool((mask & empty).any()):
            sample, place = (mask & empty).nonzero()[0].tolist()
            raise InputError(f"cost forbids all pairs of {side} {place} of sample {sample}; allow one, or leave it out")
    return cost.masked_fill(forbidden, LARGEST_COST), True


_HOST_READS_NOTHING: ContextVar[bool] = ContextVar("host_reads_nothing", default=False)


@contextmanager
def without_host_reads() -> Iterator[None]:
    """Problems made within it are not checked, and all of their entries are real: nothing is read from the device.

    For recorded training steps, whose batches are full and whose data were checked before.
    """
    before = _HOST_READS_NOTHING.set(True)
    try:
        yield
    finally:
        _HOST_READS_NOTHING.reset(before)


class NeedsHost(RuntimeError):
    """A problem cannot be solved within :func:`without_host_reads`; raised before anything is launched."""


def host_reads_nothing() -> bool:
    """Whether this is called within :func:`without_host_reads`."""
    return _HOST_READS_NOTHING.get()


def check_memory(cost: Tensor, buffers: int) -> None:
    """Refuse a problem before ``buffers`` more arrays of the size of its (B, N, M) cost are allocated and do not fit.

    Raises:
        InputError: the message names the memory needed, the memory free, and what to do.
    """
    needed = buffers * cost.numel() * cost.element_size()
    if needed < 2**28:  # for small problems the question takes longer than the allocation
        return
    if cost.is_cuda:  # memory that torch has freed but holds in reserve can be used too
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


class _Marginal(NamedTuple):
    """Mask and masses of one side, rows or columns of the plan."""

    mask: Tensor  # (B, N) bool, real entries
    lengths: Tensor | None  # (B,) number of real entries; None where all are, without a look
    mass: Tensor  # (B, N) in the cost's dtype
    given: Tensor | None  # the masses as they were given, if they were

    def answers(self) -> list[Tensor]:
        """On the device, the B lengths, then for each fault that :func:`_lengths` names 1, or 0 for none."""
        found: list[Tensor] = []
        if self.lengths is not None:
            leading = torch.arange(self.mask.shape[1], device=self.mask.device) < self.lengths.unsqueeze(1)
            found += [self.lengths, (self.mask != leading).any()[None]]
        if (mass := self.given) is not None:
            wrong = (mass < 0).any() | mass.masked_fill(self.mask, 0.0).any()
            found += [wrong[None], ~((mass.sum(1) - 1).abs() <= 1e-4).all()[None]]
        return found


def _marginal(name: str, mask: Tensor | None, mass: Tensor | None, shape: tuple[int, int], cost: Tensor) -> _Marginal:
    """Check shapes and devices, and fill in what was not given."""
    all_real = mask is None or host_reads_nothing()
    if mask is None:
        mask = torch.ones(shape, dtype=torch.bool, device=cost.device)
    check_tensors((torch.bool,), **{f"mask_{name}": mask})
    if mass is not None:
        check_tensors(FLOATS, **{f"mass_{name}": mass})
    for what, given in (("mask", mask), ("mass", mass)):
        if given is not None and given.shape != shape:
            raise InputError(
                f"{what}_{name} is {given.dtype} of shape {tuple(given.shape)}; "
                f"expected {torch.bool if what == 'mask' else cost.dtype} of shape {shape}"
            )
        if given is not None and given.device != cost.device:
            raise InputError(f"{what}_{name} is on {given.device} but cost on {cost.device}; move one of them")
    lengths = None if all_real else mask.sum(1)
    if mass is not None:
        return _Marginal(mask, lengths, mass.to(cost), mass)
    even = cost.new_full(shape, 1.0 / shape[1]) if lengths is None else mask.to(cost.dtype) / lengths.unsqueeze(1)
    return _Marginal(mask, lengths, even, None)


def _lengths(name: str, side: _Marginal, answers: list[float]) -> tuple[int, ...]:
    """The B real lengths, once the ``answers`` of the side, taken from the front of the list, show no fault."""
    batch, size = side.mask.shape
    lengths = (size,) * batch
    if side.lengths is not None:
        lengths = tuple(int(answers.pop(0)) for _ in range(batch))
        if min(lengths) == 0:
            empty = lengths.index(0)
            raise InputError(f"mask_{name} leaves no real entry in sample {empty}; drop that sample from the batch")
        if answers.pop(0):
            raise InputError(f"mask_{name} has padding before real entries; put the padding last")
    if side.given is not None and answers.pop(0):
        raise InputError(f"mass_{name} is negative somewhere, or not zero on padding; masses are shares of 1")
    if side.given is not None and answers.pop(0):
        raise InputError(f"mass_{name} sums to {side.mass.sum(1).tolist()}; each sample's mass must sum to 1")
    return lengths
