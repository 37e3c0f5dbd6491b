"""VAVA against loops written from the formulas, and what it does on toy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.methods.helpers import unit
from vasot_kit.methods.vava import VAVA, PriorTransport
from vasot_lib.data import Batch, Dataset, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError

WIDTH = 8
STEP = 400


def batch(*lengths: int, width: int = WIDTH) -> Batch:
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    index = torch.arange(width).expand(len(lengths), width)
    return Batch(torch.zeros(len(lengths), width, 1), mask, index, torch.arange(len(lengths)))


def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x[:, None] - y[None]) ** 2).sum(2)


def plan_by_loops(x: np.ndarray, y: np.ndarray, hyper: PriorTransport, phi: float) -> tuple[np.ndarray, np.ndarray]:
    """Plan and costs with the virtual frames first, from the densities themselves and no scaling."""
    distance = squared(x, y)
    n, m = len(x) + 1, len(y) + 1
    cost = np.full((n, m), hyper.virtual_cost)
    cost[1:, 1:] = distance
    unit_step = math.sqrt(1 / n**2 + 1 / m**2)
    lambda_1, lambda_2 = hyper.moment * (n + m - 2), hyper.divergence * (n - 1) * (m - 1) / 4
    kernel = np.empty((n, m))

    def normal(d: float) -> float:
        return math.exp(-((d / unit_step) ** 2) / (2 * hyper.delta**2)) / (hyper.delta * math.sqrt(2 * math.pi))

    for i in range(n):
        best = 0 if i == 0 else int(distance[i - 1].argmin()) + 1
        for j in range(m):
            away = abs((i + 1) / n - (j + 1) / m), abs((j + 1) / m - (best + 1) / m)
            if (i == 0) != (j == 0):
                away = (2 * hyper.virtual_distance / (n + m),) * 2
            prior = phi * normal(away[0]) + (1 - phi) * normal(away[1])
            score = lambda_1 * (phi / (away[0] ** 2 + 1) + (1 - phi) / (away[1] ** 2 + 1))
            kernel[i, j] = prior * math.exp((score - cost[i, j]) / lambda_2)
    u = np.ones(n)
    for _ in range(hyper.sweeps):
        v = (1 / m) / (kernel.T @ u)
        u = (1 / n) / (kernel @ v)
    return u[:, None] * kernel * v, cost


def loss_by_loops(x: np.ndarray, y: np.ndarray, hyper: PriorTransport, phi: float) -> float:
    plan, cost = plan_by_loops(x, y, hyper, phi)
    total = float((plan * cost).sum())
    for e in (x, y):
        own, n = squared(e, e), len(e)
        for i in range(n):
            for j in range(n):
                close = abs(i - j) <= hyper.window
                pair = own[i, j] / ((i - j) ** 2 + 1) if close else max(0.0, hyper.margin - own[i, j])
                total += hyper.intra * pair / n**2
    real, distance = plan[1:, 1:], cost[1:, 1:]
    ends = [
        np.mean([distance[i, pick(real[i])] for i in range(len(x))])
        + np.mean([distance[pick(real[:, j]), j] for j in range(len(y))])
        for pick in (np.argmax, np.argmin)
    ]
    odds = np.exp(-np.array(ends) / hyper.temperature)  # the nearer, the likelier to be the best
    return total - hyper.inter * math.log(odds[0] / odds.sum())


def method(hyper: PriorTransport, step: int = STEP) -> VAVA:
    made = VAVA(MLPEncoder(4), 1, hyper)
    made.step = step
    return made


SHORT = PriorTransport(window=2.0, inter=0.3, sweeps=300, decay=0.98)


def test_loss_equals_loops_with_padding() -> None:
    lengths, x = (8, 6, 5, 8), unit(4, WIDTH, 3)
    rows = [x[b, :n].numpy() for b, n in enumerate(lengths)]
    phi = 0.98 ** math.sqrt(STEP)
    expected = [loss_by_loops(rows[k], rows[k + 1], SHORT, phi) for k in (0, 2)]
    terms = method(SHORT).loss_terms(x, batch(*lengths))
    assert terms["loss"].item() == pytest.approx(np.mean(expected), rel=1e-6)
    torch.testing.assert_close(terms["loss"], terms["alignment"] + terms["intra"] + terms["inter"])


@pytest.mark.parametrize("phi", [0.999, 0.5, 0.001])
def test_twenty_sweeps_give_the_plan_of_the_loops(phi: float) -> None:
    x, y, hyper = unit(20, 4), unit(17, 4, seed=1), PriorTransport()
    plan, _ = plan_by_loops(x.numpy(), y.numpy(), PriorTransport(sweeps=2000), phi)
    masks = torch.ones(1, 20, dtype=torch.bool), torch.ones(1, 17, dtype=torch.bool)
    log_kernel = hyper.log_kernel(torch.cdist(x, y)[None].square(), *masks, phi)
    found = hyper.log_plan(log_kernel, *masks).exp()[0].numpy()
    np.testing.assert_allclose(found.sum(1), 1 / 21, rtol=1e-9)
    assert np.abs(found.sum(0) - 1 / 18).sum() < 0.02
    assert np.abs(found - plan).sum() < 0.02


def test_the_optimality_prior_stands_on_the_best_match() -> None:
    """The virtual frame shifts columns by one; in the released code the prior's peak is one column too early."""
    y = torch.eye(12, dtype=torch.float64)
    order = torch.tensor([7, 2, 9, 0, 5, 11, 1, 3])
    masks = torch.ones(1, 8, dtype=torch.bool), torch.ones(1, 12, dtype=torch.bool)
    log_kernel = PriorTransport(delta=0.5).log_kernel(torch.cdist(y[order], y)[None].square(), *masks, 0.001)
    assert log_kernel[0, 1:, 1:].argmax(1).tolist() == order.tolist()


def test_weight_of_the_diagonal_falls_with_the_root_of_the_steps() -> None:
    hyper = PriorTransport()
    assert hyper.consistency(0) == 0.999
    assert hyper.consistency(10_000) == pytest.approx(0.999**100)
    assert hyper.consistency(10**9) == 0.001


def test_padding_learns_nothing_and_changes_nothing() -> None:
    given, x = batch(8, 5), unit(2, WIDTH, 3).requires_grad_()
    loss = method(SHORT).loss_terms(x, given)["loss"]
    loss.backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert x.grad[1, :5].abs().sum() > 0 and x.grad[1, 5:].abs().sum() == 0
    other = x.detach().clone()
    other[1, 5:] = x.detach()[0, :3]  # nearer to X than any real frame
    torch.testing.assert_close(method(SHORT).loss_terms(other, given)["loss"], loss.detach())


def test_contrast_is_least_where_the_best_match_is_near_and_the_worst_is_far() -> None:
    given, hyper = batch(8, 8), PriorTransport(inter=1.0)
    angle = torch.linspace(0, math.pi, WIDTH, dtype=torch.float64)
    x = torch.stack((angle.cos(), angle.sin()), 1)
    good, bad = (method(hyper).loss_terms(torch.stack((x, y)), given)["inter"].item() for y in (x, x.flip(0)))
    assert good < 0.01 < math.log(2) < bad


@pytest.mark.parametrize("sizes", [(256, 256), (256, 20), (2, 2)])
@pytest.mark.parametrize("step", [0, 10**8])
def test_single_precision_stays_with_double(sizes: tuple[int, int], step: int) -> None:
    """At 256 frames the corners of the prior are exp(-4000); at 2 the moment moves log K by 40."""
    given, x = batch(*sizes, width=256), unit(2, 256, 40)
    losses, grads = [], []
    for dtype in (torch.float64, torch.float32):
        e = x.detach().clone().to(dtype).requires_grad_()
        # Through the normalisation: along its own length an embedding gets a gradient that is rounding alone.
        loss = method(PriorTransport(), step).loss_terms(F.normalize(e, dim=2), given)["loss"]
        loss.backward()
        losses.append(loss.item())
        grads.append(e.grad.double())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-2, atol=1e-3 * grads[0].abs().max().item())


@pytest.mark.parametrize("values", [dict(divergence=0.0), dict(inter=-1.0), dict(decay=1.5), dict(sweeps=0)])
def test_bad_values_are_refused(values: dict) -> None:
    with pytest.raises(InputError, match=f"{next(iter(values))} is"):
        PriorTransport(**values)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy()
