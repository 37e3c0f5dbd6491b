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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.errors import InputError

Product = Callable[[Tensor], Tensor]


class Structure(Protocol):
    """A symmetric structure matrix that is applied without being built."""

    def bind(self, lengths: Sequence[int], size: int, dim: int, device: torch.device) -> Product:
        """The product with a (B, N, M) tensor along ``dim`` (1 or 2); padding must be zero in the tensor.

        Args:
            lengths: B real lengths along ``dim``; the window of each sample follows from its own length.
            size: padded length along ``dim``.
            dim: 1 for the first side (``Cx Z``), 2 for the second (``Z Cy``).
            device: where the tensors will be.

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

    def bind(self, lengths: Sequence[int], size: int, dim: int, device: torch.device) -> Product:
        """See :class:`Structure`."""
        box = _box([_window(self.radius, n - self.free) for n in lengths], size - self.free, dim, device)
        return _skip(self.free, dim, lambda z: box(z) / self.radius)

    def dense(self, n: int) -> Tensor:
        """See :class:`Structure`."""
        return _free(_band(n - self.free, _window(self.radius, n - self.free)) / self.radius, self.free)


@dataclass(frozen=True)
class Far:
    """Not neighbours in time: 0 inside the window, 1 elsewhere and on the diagonal."""

    radius: float
    free: int = 0

    def bind(self, lengths: Sequence[int], size: int, dim: int, device: torch.device) -> Product:
        """See :class:`Structure`."""
        box = _box([_window(self.radius, n - self.free) for n in lengths], size - self.free, dim, device)
        return _skip(self.free, dim, lambda z: z.sum(dim, keepdim=True) - box(z))

    def dense(self, n: int) -> Tensor:
        """See :class:`Structure`."""
        return _free(1.0 - _band(n - self.free, _window(self.radius, n - self.free)), self.free)


@dataclass(frozen=True)
class Distinct:
    """Different actions: 1 off the diagonal, 0 on it."""

    def bind(self, lengths: Sequence[int], size: int, dim: int, device: torch.device) -> Product:
        """See :class:`Structure`; actions have no window."""
        return lambda z: z.sum(dim, keepdim=True) - z

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


def _box(windows: Sequence[int], size: int, dim: int, device: torch.device) -> Product:
    """Sum over the window without the centre, per sample, as a difference of running sums."""
    w = max(windows)
    # Zeros before and after the data: then the running sum needs no case distinction at either end.
    pad = (0, 0, w + 1, w) if dim == 1 else (w + 1, w)
    if min(windows) == w:

        def same(z: Tensor) -> Tensor:
            total = F.pad(z, pad).cumsum(dim)
            return total.narrow(dim, 2 * w + 1, size) - total.narrow(dim, 0, size) - z

        return same

    half = torch.tensor(windows, device=device)[:, None]
    here = torch.arange(size, device=device) + w
    high, low = here + 1 + half, here - half  # (B, size)

    def each(z: Tensor) -> Tensor:
        total = F.pad(z, pad).cumsum(dim)
        up, down = (index.unsqueeze(3 - dim).expand_as(z) for index in (high, low))
        return total.gather(dim, up) - total.gather(dim, down) - z

    return each


def _skip(free: int, dim: int, product: Product) -> Product:
    """Leave the first ``free`` entries along ``dim`` out of the structure: their result is zero."""
    if not free:
        return product
    pad = (0, 0, free, 0) if dim == 1 else (free, 0)
    return lambda z: F.pad(product(z.narrow(dim, free, z.shape[dim] - free)), pad)


def _band(n: int, w: int) -> Tensor:
    distance = (torch.arange(n)[:, None] - torch.arange(n)).abs()
    return ((distance >= 1) & (distance <= w)).double()


def _free(matrix: Tensor, free: int) -> Tensor:
    return F.pad(matrix, (free, 0, free, 0))
