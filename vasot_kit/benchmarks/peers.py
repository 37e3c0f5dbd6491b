r"""The solvers that the kit's is compared with: the published scheme, POT and ott-jax.

``solve_by_convolution`` follows the description of the published scheme. The structure product is computed by
one-dimensional convolutions of a window of ones with the columns of T, one signal per action or frame of Y. Relaxed
problems take explicit mirror steps, balanced ones one Sinkhorn sweep per iteration. The objective is evaluated in every
iteration, with a structure product of its own. Source: SPEC section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.transport import Far, Near


def solve_by_convolution(
    cost: Tensor, radius: float, alpha: float = 0.3, epsilon: float = 0.07, relax_y: float | None = None,
    far: bool = False, iterations: int = 25,
) -> Tensor:  # fmt: skip
    """The plan of the published scheme, (B, N, M).

    Args:
        cost: (B, N, M) linear cost.
        radius: of the windows of the structural prior, as a share of a recording.
        alpha, epsilon: weights of the structural prior and of the entropy.
        relax_y: weight of the relaxed column marginals; None keeps them exactly.
        far: whether the structure of Y is Far, for frames, instead of Distinct, for actions.
        iterations: their number.
    """
    batch, n, m = cost.shape
    p, q = 1.0 / n, 1.0 / m
    near = _window(int(n * radius), 1.0 / radius, 0.0, cost)
    same = _window(int(m * radius), -1.0, 0.0, cost) if far else None
    plan = torch.full_like(cost, p * q)
    step = None
    trace = []
    for _ in range(iterations):
        value = (0.5 * (alpha * _product(plan, near, same) + (1.0 - alpha) * cost) * plan).sum((1, 2))
        trace.append(value + epsilon * (plan * (plan + 1e-10).log() - plan).sum((1, 2)))
        gradient = alpha * _product(plan, near, same) + (1.0 - alpha) * cost
        if relax_y is None:
            kernel = torch.exp(-gradient / epsilon)
            kernel = kernel / kernel.max()
            a = p / kernel.sum(2, keepdim=True)
            b = q / (kernel * a).sum(1, keepdim=True)
            plan = a * kernel * b
            continue
        slope = gradient + epsilon * (plan + 1e-12).log()
        slope = slope + relax_y * ((plan.sum(1, keepdim=True) / q + 1e-12).log() + 1.0)
        if step is None:
            step = 4.0 / slope.max()
        plan = plan * torch.exp(-step * slope)
        plan = p * plan / plan.sum(2, keepdim=True)
    return plan


def _window(half: int, weight: float, centre: float, like: Tensor) -> Tensor:
    kernel = torch.full((1, 1, 2 * half + 1), weight, dtype=like.dtype, device=like.device)
    kernel[..., half] = centre
    return kernel


def _product(plan: Tensor, near: Tensor, same: Tensor | None) -> Tensor:
    """The structure product ``Cx T Cy``, where Cy is Far with the window ``same``, or Distinct where that is None."""
    batch, n, m = plan.shape
    total = plan.sum(2, keepdim=True)
    if same is None:
        right = total - plan
    else:
        right = total + F.conv1d(plan.reshape(-1, 1, m), same, padding="same").reshape(batch, n, m)
    signals = right.transpose(1, 2).reshape(-1, 1, n)
    return F.conv1d(signals, near, padding="same").reshape(batch, m, n).transpose(1, 2)


def solve_with_pot(
    cost: Tensor, radius: float, alpha: float = 0.3, epsilon: float = 0.07, iterations: int = 25, sweeps: int = 1
) -> Tensor:
    """The (N, M) plan of POT's entropic fused Gromov-Wasserstein, on the dense matrices of the same problem.

    Needs the package POT. Its square loss of ``(-Cx / sqrt 2, Cy / sqrt 2)`` is our product loss up to constants.
    Arguments as for :func:`solve_by_convolution`; ``sweeps`` are Sinkhorn sweeps per iteration.
    """
    import ot

    n, m = cost.shape
    weight = alpha / (2 * (1 - alpha))
    theirs = weight / (1 + weight)
    cx, cy = (side.dense(size).to(cost) / math.sqrt(2) for side, size in ((Near(radius), n), (Far(radius), m)))
    uniform = (torch.full((size,), 1.0 / size, dtype=cost.dtype) for size in (n, m))
    plan = ot.gromov.entropic_fused_gromov_wasserstein(
        cost.numpy(),
        -cx.numpy(),
        cy.numpy(),
        *(mass.numpy() for mass in uniform),
        loss_fun="square_loss",
        solver="PGD",
        alpha=theirs,
        epsilon=epsilon * (1 - theirs) / (1 - alpha),
        max_iter=iterations,
        tol=0,
        numItermax=sweeps,
        warn=False,
    )
    return torch.from_numpy(plan)


def solve_batch_with_pot(cost: Tensor, radius: float, alpha: float = 0.3, epsilon: float = 0.07) -> Tensor:
    """The balanced plans of POT's batched solver with 25 linearisations of one sweep each, (B, N, M).

    It minimises ``sum (Ca_ik - Cb_jl)^2 T_ij T_kl``. With both marginals fixed the squares are constant, so that
    ``Ca = Cx`` and ``Cb = -Cy / 4`` leave the gradient ``Cx T Cy``. Its term of weight epsilon is proximal alone: there
    is no entropy, and the plan grows sharper from one linearisation to the next.
    """
    import ot

    batch, n, m = cost.shape
    near, far = (dense.to(cost).expand(batch, -1, -1) for dense in (Near(radius).dense(n), Far(radius).dense(m)))
    result = ot.solve_gromov_batch(
        near, -far / 4.0, reg=epsilon, M=cost, alpha=alpha, symmetric=True, max_iter=25, tol=0.0, max_iter_inner=1
    )
    return result.plan


def ott_solver(
    cost: Tensor, radius: float, alpha: float = 0.3, epsilon: float = 0.07, iterations: int = 25, sweeps: int = 1
) -> Callable[[], Tensor]:
    """A function that gives the (N, M) plan of ott-jax's entropic fused Gromov-Wasserstein; its first call compiles it.

    Needs the package ott-jax. Arguments as for :func:`solve_with_pot`. The square loss of ``(-s Cx, s Cy)`` with
    ``s^2 = alpha / 2`` is our product loss up to constants. ott-jax takes one linearisation before its first iteration.
    """
    import jax
    from ott.geometry.geometry import Geometry
    from ott.problems.quadratic.quadratic_problem import QuadraticProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn
    from ott.solvers.quadratic.gromov_wasserstein import GromovWasserstein

    n, m = cost.shape
    scale = math.sqrt(alpha / 2)
    near, far = (side.dense(size).to(cost) * scale for side, size in ((Near(radius), n), (Far(radius), m)))
    x, y, linear = (jax.numpy.asarray(each.numpy()) for each in (-near, far, cost))
    inner = Sinkhorn(threshold=-1.0, inner_iterations=1, min_iterations=sweeps, max_iterations=sweeps)
    outer = iterations - 1
    solver = GromovWasserstein(inner, epsilon=epsilon, min_iterations=outer, max_iterations=outer, threshold=-1.0)

    @jax.jit
    def plan(x: jax.Array, y: jax.Array, linear: jax.Array) -> jax.Array:
        sides = (Geometry(cost_matrix=each) for each in (x, y, linear))
        return solver(QuadraticProblem(*sides, fused_penalty=1.0 - alpha)).matrix

    return lambda: torch.from_numpy(np.array(plan(x, y, linear)))
