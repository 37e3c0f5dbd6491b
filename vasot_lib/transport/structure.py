r"""Structural priors: which frames count as neighbours, and the product of their matrices with a plan in O(NM).

The Gromov-Wasserstein term is ``<Cx T Cy, T> = sum_ikjl Cx_ik Cy_jl T_ij T_kl``: matching i to j and k to l costs
``Cx_ik Cy_jl``. The structure matrices are

- ``Near``:      ``Cx_ik = 1/r`` where ``1 <= |i - k| <= w``, else 0,
- ``Far``:       ``Cy_jl = 0``   where ``1 <= |j - l| <= w``, else 1 (also on the diagonal),
- ``Distinct``:  ``Cy_jl = 1``   where ``j != l``, else 0.

With ``Near`` for X, two neighbouring frames of X cost something whenever their matches in Y are not neighbours
(``Far``, for frames) or not the same action (``Distinct``, for actions). The radius r is a share of the video's length,
and the window ``w = floor(length * r)`` is the same radius in frames.

None of the three matrices is ever built. Let ``box_w(Z)`` be the sum of Z over the window ``|d| <= w`` around each
entry, without the entry itself. Then

    Near:  Cx Z = box_w(Z) / r        Far:  T Cy = rowsum(T) - box_w(T)        Distinct:  T Cy = rowsum(T) - T

A box sum is the difference of two running sums, so its cost does not depend on w. Source: SPEC section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import Radius, Range, check_fields
from vasot_lib.errors import InputError


@dataclass(frozen=True)
class Operator:
    """The structure matrices ``ones * 11' + identity * I + band * Band_w`` of one side of a batch.

    ``Band_w`` is 1 where ``1 <= |i - k| <= w``, else 0, and w may differ between samples. All three structural priors
    have this form, so that this product and those of ``fused/`` need only these six values.
    """

    ones: float
    identity: float
    band: float
    windows: tuple[int, ...]  # B half-widths w in frames; 0 where there is no band
    free: int  # number of leading (dummy) entries that take no part: their rows and columns of the matrix are zero
    dim: int  # dimension of the plan that it acts on: 1 for rows (Cx Z), 2 for columns (Z Cy)

    def __call__(self, z: Tensor) -> Tensor:
        """The product with a (B, N, M) tensor along ``dim``; padding must be zero in the tensor."""
        inner = z.narrow(self.dim, self.free, z.shape[self.dim] - self.free) if self.free else z
        result = (self.identity - self.band) * inner  # the box sum below includes the entry itself, Band_w does not
        if self.band:
            result = torch.add(result, self._box(inner), alpha=self.band)
        if self.ones:
            result = torch.add(result, inner.sum(self.dim, keepdim=True), alpha=self.ones)
        pad = (0, 0, self.free, 0) if self.dim == 1 else (self.free, 0)
        return F.pad(result, pad) if self.free else result

    def _box(self, z: Tensor) -> Tensor:
        """Sum over ``|d| <= w``, the entry itself included, as the difference of two running sums."""
        w, size = max(self.windows), z.shape[self.dim]
        # Zeros before and after the data: then windows that reach beyond an end need no case of their own.
        total = F.pad(z, (0, 0, w + 1, w) if self.dim == 1 else (w + 1, w)).cumsum(self.dim)
        if min(self.windows) == w:
            return total.narrow(self.dim, 2 * w + 1, size) - total.narrow(self.dim, 0, size)
        half = torch.tensor(self.windows, device=z.device)[:, None]
        here = torch.arange(size, device=z.device) + w
        up, down = (index.unsqueeze(3 - self.dim).expand_as(z) for index in (here + 1 + half, here - half))
        return total.gather(self.dim, up) - total.gather(self.dim, down)


class Structure(Protocol):
    """A structural prior: a symmetric matrix that is applied to a plan without being built."""

    def bind(self, lengths: Sequence[int], dim: int) -> Operator:
        """The operator along ``dim`` (1: rows, 2: columns) for B real lengths, from which the samples' windows follow.

        Raises:
            InputError: the radius rounds to a window of no frame.
        """
        ...

    def dense(self, n: int) -> Tensor:
        """The (n, n) matrix itself, float64, for teaching and tests."""
        ...


@dataclass(frozen=True)
class Near:
    """Neighbours in time: ``1/r`` inside the window, 0 elsewhere.

    Attributes:
        radius: r, half-width of the window as a share of the length.
        free: number of leading (dummy) entries that take no part.

    Raises:
        InputError: a radius outside of (0, 1], or a negative ``free``.
    """

    radius: Radius
    free: Annotated[int, Range(least=0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def bind(self, lengths: Sequence[int], dim: int) -> Operator:
        """See :class:`Structure`."""
        return Operator(0.0, 0.0, 1.0 / self.radius, _windows(self.radius, lengths, self.free), self.free, dim)

    def dense(self, n: int) -> Tensor:
        """See :class:`Structure`.

        >>> Near(radius=0.5).dense(3)  # w = floor(3 * 0.5) = 1 frame, weight 1 / r = 2
        tensor([[0., 2., 0.],
                [2., 0., 2.],
                [0., 2., 0.]], dtype=torch.float64)
        """
        return _with_free(_band(n - self.free, *_windows(self.radius, [n], self.free)) / self.radius, self.free)


@dataclass(frozen=True)
class Far:
    """Not neighbours in time: 0 inside the window, 1 elsewhere and on the diagonal; attributes as in :class:`Near`."""

    radius: Radius
    free: Annotated[int, Range(least=0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def bind(self, lengths: Sequence[int], dim: int) -> Operator:
        """See :class:`Structure`."""
        return Operator(1.0, 0.0, -1.0, _windows(self.radius, lengths, self.free), self.free, dim)

    def dense(self, n: int) -> Tensor:
        """See :class:`Structure`.

        >>> Far(radius=0.5).dense(3)
        tensor([[1., 0., 1.],
                [0., 1., 0.],
                [1., 0., 1.]], dtype=torch.float64)
        """
        return _with_free(1.0 - _band(n - self.free, *_windows(self.radius, [n], self.free)), self.free)


@dataclass(frozen=True)
class Distinct:
    """Different actions: 1 off the diagonal, 0 on it."""

    def bind(self, lengths: Sequence[int], dim: int) -> Operator:
        """See :class:`Structure`; actions have no window."""
        return Operator(1.0, -1.0, 0.0, (0,) * len(lengths), 0, dim)

    def dense(self, n: int) -> Tensor:
        """See :class:`Structure`.

        >>> Distinct().dense(3)
        tensor([[0., 1., 1.],
                [1., 0., 1.],
                [1., 1., 0.]], dtype=torch.float64)
        """
        return 1.0 - torch.eye(n, dtype=torch.float64)


def _windows(radius: float, lengths: Sequence[int], free: int) -> tuple[int, ...]:
    """``w = floor(length * radius)`` in frames; the small summand keeps 0.29 * 100 from becoming 28."""
    shortest = min(lengths) - free
    if shortest < 1:
        raise InputError(f"free leaves {shortest} frames for the structural prior; let at least 1 take part")
    if shortest * radius + 1e-9 < 1:
        raise InputError(
            f"radius {radius} of {shortest} frames is a window of 0 frames, which switches the structural prior off; "
            f"use radius >= {-(-(10**6) // shortest) / 10**6:g}, more frames, or alpha = 0"
        )
    return tuple(int((n - free) * radius + 1e-9) for n in lengths)


def _band(n: int, w: int) -> Tensor:
    """``Band_w``, (n, n): 1 where ``1 <= |i - k| <= w``."""
    distance = (torch.arange(n)[:, None] - torch.arange(n)).abs()
    return ((distance >= 1) & (distance <= w)).double()


def _with_free(matrix: Tensor, free: int) -> Tensor:
    """The matrix with ``free`` zero rows and columns before the others."""
    return F.pad(matrix, (free, 0, free, 0))
