"""Checks of the exercises that ask for a function: it is run on small cases, and the first wrong entry is named."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax, softmax

from vasot_kit.exercises.checking import NotYet, exercise, frames, known_mistakes, result, same
from vasot_lib.losses import matching_loss
from vasot_lib.paths import viterbi
from vasot_lib.transport import Near, solve

MOST_OPERATIONS = 60  # per entry, of a product that takes O(NM); a running sum takes about eight


@exercise("05.2")
def soft_nearest_neighbour(answer: Any) -> None:
    """``softmax_j(-|x_i - y_j|^2 / tau)`` of the rows of Y, (N, D)."""
    rng = np.random.default_rng(0)
    for n, m, tau in ((1, 2, 1.0), (4, 3, 0.5), (3, 6, 1e-4)):
        x, y = rng.normal(size=(n, 5)), rng.normal(size=(m, 5))
        case = f"{frames(n)} of X, {m} of Y, tau = {tau}"
        found = result(answer, (x, y, tau), (n, 5), case)
        distance = ((x[:, None] - y) ** 2).sum(2)
        right = softmax(-distance / tau, axis=1) @ y
        nearest = distance.min(1, keepdims=True)
        mistakes = {
            "the weights of a row have to sum to 1; divide them by their sum": np.exp(-distance / tau) @ y,
            "the weights of a row have to sum to 1, also after the smallest distance is subtracted":
                np.exp((nearest - distance) / tau) @ y,
            "the weights of row 0 do not sum to 1; along which axis does the softmax run?":
                softmax(-distance / tau, axis=0) @ y,
            "row 0 lies near the frame of Y that is farthest; which sign has the distance?":
                softmax(distance / tau, axis=1) @ y,
            "the distances have to be squared": softmax(-np.sqrt(distance) / tau, axis=1) @ y,
        }  # fmt: skip
        known_mistakes(found, right, mistakes, case)
        same(found, right, case)


@exercise("05.3")
def sinkhorn(answer: Any) -> None:
    """The (N, M) plan of balanced transport with entropy, for any masses and a small epsilon."""
    rng = np.random.default_rng(1)
    for n, m, epsilon in ((2, 2, 0.5), (3, 5, 0.2), (4, 4, 0.001)):
        cost = rng.random((n, m))
        p, q = np.full(n, 1 / n), np.full(m, 1 / m)
        if n != m:
            p, q = (weights / weights.sum() for weights in (1 + rng.random(n), 1 + rng.random(m)))
        else:
            cost += 2 - np.eye(n)  # at the smallest epsilon exp(-cost / epsilon) is 0 everywhere
        case = f"a cost of {n} x {m} with epsilon = {epsilon}"
        plan = result(answer, (cost, p, q, epsilon), (n, m), case)
        expected = _library_plan(cost, p, q, epsilon)
        mistakes = {
            "that is the plan in proportion, which does not look at the cost": np.outer(p, q),
            "the plan likes what is expensive; which sign has the cost?": _library_plan(-cost, p, q, epsilon),
        }
        known_mistakes(plan, expected, mistakes, case)
        for name, sums, masses in (("row", plan.sum(1), p), ("column", plan.sum(0), q)):
            wrong = np.abs(sums - masses) > 1e-4 * masses
            if wrong.any():
                k = int(wrong.argmax())
                size = "large" if sums[k] > masses[k] else "small"
                raise NotYet(f"{case}: the sum of {name} {k} is too {size}; did you sweep often enough?")
        same(plan, expected, case, 1e-4)


def _library_plan(cost: np.ndarray, p: np.ndarray, q: np.ndarray, epsilon: float) -> np.ndarray:
    cost_, p_, q_ = (torch.from_numpy(value)[None] for value in (cost, p, q))
    options: dict[str, Any] = {"iterations": 200, "sweeps": 5, "tolerance": 1e-8}
    return solve(cost_, epsilon=epsilon, mass_x=p_, mass_y=q_, **options).matrix[0].numpy()


class Counted(np.ndarray):
    """An array that counts the numbers that NumPy reads and writes; results are counted arrays too."""

    count = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        Counted.count += not isinstance(found, np.ndarray)  # a number that Python goes on with; a view costs nothing
        return found

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [_plain(value) for value in inputs]
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(_plain(value) for value in out)
        found = getattr(ufunc, method)(*plain, **options)
        work = int(np.size(found)) * (plain[0].shape[-1] if ufunc is np.matmul else 1)
        Counted.count += max(work, *(int(np.size(value)) for value in plain))
        return found.view(Counted) if isinstance(found, np.ndarray) else found

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        found = super().__array_function__(function, types, arguments, options)
        Counted.count += _work(function, [_plain(value) for value in arguments], found)
        return found.view(Counted) if isinstance(found, np.ndarray) else found


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Counted) else value


def _work(function: Any, arguments: Sequence[Any], found: Any) -> int:
    """How many numbers a function that is no ufunc works on: for a sum of products, the products."""
    size = int(np.size(found)) if isinstance(found, np.ndarray) else 1
    if function in (np.convolve, np.correlate):
        return size * min(np.size(value) for value in arguments[:2])
    if function in (np.dot, np.inner, np.vdot, np.tensordot):
        return math.isqrt(size * np.size(arguments[0]) * np.size(arguments[1]))  # (N K) (K M) (N M) is (N K M) squared
    if function is np.einsum:
        return int(float(str(np.einsum_path(*arguments, optimize=False)[1]).split("Naive FLOP count:")[1].split()[0]))
    return size


@exercise("10.4")
def near_product(answer: Any) -> None:
    """``Cx Z`` of ``Near(radius)``, (N, M), in a number of operations that does not grow with the window."""
    rng = np.random.default_rng(2)
    for n, m, radius in ((5, 1, 0.2), (8, 3, 0.3), (12, 2, 0.9)):
        z = rng.random((n, m))
        w = int(n * radius)
        case = f"{n} rows with r = {radius}, so w = {w}"
        found = result(answer, (z, radius), (n, m), case)
        expected = Near(radius).dense(n).numpy() @ z
        mistakes = {
            "entry (0, 0) is too large; a frame is not its own neighbour": expected + z / radius,
            "entry (0, 0) is too small; the prior has the weight 1 / r": expected * radius,
        }
        known_mistakes(found, expected, mistakes, case)
        same(found, expected, case)
    z = rng.random((800, 1)).view(Counted)
    Counted.count = 0
    tracemalloc.start()
    try:
        _ = answer(z, 0.25)
        # Memory tells of a dense matrix, too, whose product is not counted.
        numbers = tracemalloc.get_traced_memory()[1] // z.itemsize
    finally:
        tracemalloc.stop()
    each = max(Counted.count, numbers) / z.size
    if each > MOST_OPERATIONS:
        raise NotYet(
            f"the numbers are right, but with w = 200 the function works on {each:,.0f} numbers per entry; "
            "a running sum needs about eight"
        )


@exercise("20.4")
def add_dummy(answer: Any) -> None:
    """The (N + 1, M + 1) cost with a row and a column of zeta before the others."""
    rng = np.random.default_rng(3)
    for n, m, zeta in ((1, 1, 0.5), (2, 3, 0.7), (4, 2, 0.0)):
        cost = 0.1 + rng.random((n, m))
        case = f"a cost of {n} x {m} with zeta = {zeta}"
        found = result(answer, (cost, zeta), (n + 1, m + 1), case)
        right = np.pad(cost, ((1, 0), (1, 0)), constant_values=zeta)
        words = "a real frame stands at index 0, where the dummy has to be in both recordings"
        for places in (((1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, 1), (0, 1))):
            known_mistakes(found, right, {words: np.pad(cost, places, constant_values=zeta)}, case)
        same(found, right, case)


@exercise("30.4")
def best_labels(answer: Any) -> None:
    """(N,) labels of highest score, with a price for every change."""
    rng = np.random.default_rng(4)
    for n, k, switch in ((1, 3, 1.0), (6, 2, 0.0), (8, 3, 0.7), (40, 4, 2.0), (30, 2, 50.0)):
        scores = rng.normal(size=(n, k))
        case = f"{frames(n)}, {k} actions, c = {switch}"
        found = result(answer, (scores, switch), (n,), case)
        wrong = (found < 0) | (found >= k) | (found != np.round(found))
        if wrong.any():
            raise NotYet(f"{case}: the label of frame {wrong.argmax()} has to be a whole number from 0 to {k - 1}")
        found = found.astype(int)
        best = viterbi(scores, switch)
        mistakes = {
            "those are the best actions of single frames; no change has been paid for": scores.argmax(1),
            "the labels are right from the last frame to the first; turn them round": best[::-1],
        }
        known_mistakes(found, best, mistakes, case)
        off = np.flatnonzero(found != best)
        if off.size:
            lost = _score(scores, best, switch) - _score(scores, found, switch)
            raise NotYet(f"{case}: the labelling scores {lost:.2f} less than the best one; look at frame {off[0]}")


def _score(scores: np.ndarray, labels: np.ndarray, switch: float) -> float:
    return float(scores[np.arange(len(labels)), labels].sum() - switch * (np.diff(labels) != 0).sum())


@exercise("30.5")
def alignment_loss(answer: Any) -> None:
    """``- mean_i sum_j T*_ij log softmax_j(x_i . y_j / tau)``, one number."""
    rng = np.random.default_rng(5)
    for n, m, tau in ((1, 2, 1.0), (4, 3, 0.1), (3, 5, 0.001)):
        x, y = (
            v / np.linalg.norm(v, axis=1, keepdims=True) for v in (rng.normal(size=(n, 3)), rng.normal(size=(m, 3)))
        )
        targets = softmax(rng.normal(size=(n, m)), axis=1) * np.linspace(1, 0.4, n)[:, None]  # the dummy took a part
        case = f"{frames(n)} of X, {m} of Y, tau = {tau}"
        found = result(answer, (targets, x, y, tau), (), case)
        scores = x @ y.T / tau
        right = _library_loss(targets, x, y, tau)
        mistakes = {
            "it is negative; a loss is what one makes smaller": -right,
            "the sum over the frames of X has to become a mean": right * n,
            "the mean is over the frames of X only; over those of Y one takes the sum": right / m,
            "the scores have to be divided by tau": -(targets * log_softmax(x @ y.T, axis=1)).sum() / n,
            "the softmax has to run over the frames of Y": -(targets * log_softmax(scores, axis=0)).sum() / n,
            "the softmax is missing": -(targets * scores).sum() / n,
            "the rows of T* need not sum to 1, and must not be scaled to it":
                -(targets / targets.sum(1, keepdims=True) * log_softmax(scores, axis=1)).sum() / n,
        }  # fmt: skip
        known_mistakes(found, right, mistakes, case)
        same(found, right, case, 1e-6 * max(1.0, abs(right)))


def _library_loss(targets: np.ndarray, x: np.ndarray, y: np.ndarray, tau: float) -> float:
    x_, y_, targets_ = (torch.from_numpy(value)[None] for value in (x, y, targets))
    return float(matching_loss(x_, y_, targets_, tau, torch.ones(1, x_.shape[1], dtype=torch.bool), None))


@exercise("70.1")
def motion_clock(answer: Any) -> None:
    """The share of the motion that lies before the middle of each frame, (N,)."""
    rng = np.random.default_rng(6)
    cut = np.concatenate([[20.0], rng.random(5)])
    for words, motion in (("0, 1, 1, 0", np.array([0.0, 1.0, 1.0, 0.0])), ("20, then below 1", cut)):
        case = f"a film of {len(motion)} frames that move by {words}"
        found = result(answer, (motion,), motion.shape, case)
        share = motion / motion.sum()
        right = share.cumsum() - share / 2
        mistakes = {
            "that is the clock at the end of each frame, not at its middle": share.cumsum(),
            "that is the clock at the beginning of each frame, not at its middle": share.cumsum() - share,
            "the clock runs from 0 to 1; what is the sum of the shares?": right * motion.sum(),
            "that is the share of the frames, not of the motion": (np.arange(len(motion)) + 0.5) / len(motion),
        }
        known_mistakes(found, right, mistakes, case)
        same(found, right, case)
