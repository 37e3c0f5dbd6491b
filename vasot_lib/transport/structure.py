r"""Structural priors: which frames count as neighbours, and how a plan is blurred by them in O(NM).

Gromov-Wasserstein charges ``<Cx T Cy, T> = sum_ikjl Cx_ik Cy_jl T_ij T_kl``. With

- ``Near``:      ``Cx_ik = 1/r`` where ``1 <= |i - k| <= w``, else 0,
- ``Far``:       ``Cy_jl = 0``   where ``1 <= |j - l| <= w``, else 1 (the diagonal is 1),
- ``Distinct``:  ``Cy_jl = 1``   where ``j != l``, else 0,

neighbouring frames of X are charged whenever their matches in Y are not neighbours (``Far``) or not the same
action (``Distinct``). The window ``w = floor(length * r)`` is in frames, the radius r a share of the length.

None of the three matrices is ever built: with ``box_w(Z)`` the sum of Z over the window ``|d| <= w`` without Z itself,

    Near:  Cx Z = box_w(Z) / r        Far:  T Cy = rowsum(T) - box_w(T)        Distinct:  T Cy = rowsum(T) - T

and a box sum is the difference of two running sums, so the cost does not depend on w. Source: SPEC section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.errors import InputError


@dataclass(frozen=True)
class Operator:
    """A structure matrix ``ones * 11' + own * I + band * Band_w`` bound to the lengths of one batch.

    ``Band_w`` is 1 where ``1 <= |i - k| <= w``. Every structural prior is of this form, so the readable product below
    and the fused ones need these numbers and nothing else.

    Attributes:
        ones: weight of the matrix of ones.
        own: weight of the identity.
        band: weight of the band.
        windows: B half-widths w in frames, one per sample; 0 where there is no band.
        free: leading (dummy) entries that take no part: their rows and columns of the matrix are zero.
        dim: 1 for the first side (``Cx Z``), 2 for the second (``Z Cy``).
    """

    ones: float
    own: float
    band: float
    windows: tuple[int, ...]
    free: int
    dim: int

    def __call__(self, z: Tensor) -> Tensor:
        """The product with a (B, N, M) tensor along ``dim``; padding must be zero in the tensor."""
        inner = z.narrow(self.dim, self.free, z.shape[self.dim] - self.free) if self.free else z
        result = (self.own - self.band) * inner
        if self.band:
            result = torch.add(result, self._box(inner), alpha=self.band)
        if self.ones:
            result = torch.add(result, inner.sum(self.dim, keepdim=True), alpha=self.ones)
        pad = (0, 0, self.free, 0) if self.dim == 1 else (self.free, 0)
        return F.pad(result, pad) if self.free else result

    def _box(self, z: Tensor) -> Tensor:
        """Sum over ``|d| <= w``, the centre included, per sample, as a difference of running sums."""
        w, size = max(self.windows), z.shape[self.dim]
        # Zeros before and after the data: then the running sum needs no case distinction at either end.
        total = F.pad(z, (0, 0, w + 1, w) if self.dim == 1 else (w + 1, w)).cumsum(self.dim)
        if min(self.windows) == w:
            return total.narrow(self.dim, 2 * w + 1, size) - total.narrow(self.dim, 0, size)
        half = torch.tensor(self.windows, device=z.device)[:, None]
        here = torch.arange(size, device=z.device) + w
        up, down = (index.unsqueeze(3 - self.dim).expand_as(z) for index in (here + 1 + half, here - half))
        return total.gather(self.dim, up) - total.gather(self.dim, down)


class Structure(Protocol):
    """A symmetric structure matrix that is applied without being built."""

    def bind(self, lengths: Sequence[int], dim: int) -> Operator:
        """The operator along ``dim`` for B real lengths; the window of each sample follows from its own length.

        Raises:
            InputError: the radius rounds to a window of no frame.
        """
        ...

    def dense(self, n: int) -> Tensor:
        """The (n, n) matrix itself, float64, for teaching and tests."""
        ...


@dataclass(frozen=True)
class Near:
    """Neighbours in time: ``1/r`` inside the window, 0 elsewhere; ``free`` leading (dummy) entries take no part."""

    radius: float
    free: int = 0

    def bind(self, lengths: Sequence[int], dim: int) -> Operator:
        """See :class:`Structure`."""
        windows = tuple(_window(self.radius, n - self.free) for n in lengths)
        return Operator(0.0, 0.0, 1.0 / self.radius, windows, self.free, dim)

    def dense(self, n: int) -> Tensor:
        """See :class:`Structure`."""
        return _free(_band(n - self.free, _window(self.radius, n - self.free)) / self.radius, self.free)


@dataclass(frozen=True)
class Far:
    """Not neighbours in time: 0 inside the window, 1 elsewhere and on the diagonal."""

    radius: float
    free: int = 0

    def bind(self, lengths: Sequence[int], dim: int) -> Operator:
        """See :class:`Structure`."""
        windows = tuple(_window(self.radius, n - self.free) for n in lengths)
        return Operator(1.0, 0.0, -1.0, windows, self.free, dim)

    def dense(self, n: int) -> Tensor:
        """See :class:`Structure`."""
        return _free(1.0 - _band(n - self.free, _window(self.radius, n - self.free)), self.free)


@dataclass(frozen=True)
class Distinct:
    """Different actions: 1 off the diagonal, 0 on it."""

    def bind(self, lengths: Sequence[int], dim: int) -> Operator:
        """See :class:`Structure`; actions have no window."""
        return Operator(1.0, -1.0, 0.0, (0,) * len(lengths), 0, dim)

    def dense(self, n: int) -> Tensor:
        """See :class:`Structure`."""
        return 1.0 - torch.eye(n, dtype=torch.float64)


def _window(radius: float, length: int) -> int:
    """``w = floor(length * radius)`` in frames; the nudge keeps 0.29 * 100 from becoming 28."""
    w = int(length * radius + 1e-9)
    if w < 1:
        raise InputError(
            f"radius {radius} of {length} frames is a window of 0 frames, which switches the structural prior off; "
            f"use radius >= {1 / length:.4g}, more frames, or alpha = 0"
        )
    return w


def _band(n: int, w: int) -> Tensor:
    distance = (torch.arange(n)[:, None] - torch.arange(n)).abs()
    return ((distance >= 1) & (distance <= w)).double()


def _free(matrix: Tensor, free: int) -> Tensor:
    return F.pad(matrix, (free, 0, free, 0))
