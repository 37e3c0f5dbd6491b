"""What is said of functions that students write: right ones, and wrong ones in the way that students get them wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter1d
from scipy.special import log_softmax, logsumexp, softmax

from vasot_kit.exercises import check
from vasot_lib.errors import InputError
from vasot_lib.paths import viterbi
from vasot_lib.transport import Near


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x[:, None] - y) ** 2).sum(2)


def soft_nearest(x: np.ndarray, y: np.ndarray, tau: float) -> np.ndarray:
    return softmax(-distances(x, y) / tau, axis=1) @ y


def log_sinkhorn(cost: np.ndarray, p: np.ndarray, q: np.ndarray, epsilon: float, sweeps: int = 1000) -> np.ndarray:
    g = np.zeros(len(q))
    for _ in range(sweeps):
        f = epsilon * (np.log(p) - logsumexp((g - cost) / epsilon, axis=1))
        g = epsilon * (np.log(q) - logsumexp((f[:, None] - cost) / epsilon, axis=0))
    return np.exp((f[:, None] + g - cost) / epsilon)


def near(z: np.ndarray, radius: float) -> np.ndarray:
    w = int(len(z) * radius + 1e-9)
    total = np.pad(z, ((w + 1, w), (0, 0))).cumsum(0)
    return (total[2 * w + 1 :] - total[: -2 * w - 1] - z) / radius


def near_frame_by_frame(z: np.ndarray, radius: float) -> np.ndarray:
    w = int(len(z) * radius + 1e-9)
    return np.stack([z[max(0, i - w) : i + w + 1].sum(0) - z[i] for i in range(len(z))]) / radius


def near_by_convolution(z: np.ndarray, radius: float) -> np.ndarray:
    w = int(len(z) * radius + 1e-9)
    window = np.ones(2 * w + 1)
    return (np.stack([np.convolve(column, window)[w : w + len(z)] for column in z.T], axis=1) - z) / radius


def near_number_by_number(z: np.ndarray, radius: float) -> np.ndarray:
    (n, m), w = z.shape, int(len(z) * radius + 1e-9)
    sums = [[sum(z[k, j] for k in range(max(0, i - w), min(n, i + w + 1))) for j in range(m)] for i in range(n)]
    return (np.array(sums) - z) / radius


def near_with_a_running_number(z: np.ndarray, radius: float) -> np.ndarray:
    n, w = len(z), int(len(z) * radius + 1e-9)
    found = np.zeros((n, z.shape[1]))
    for j in range(z.shape[1]):
        inside = sum(z[k, j] for k in range(min(n, w)))
        for i in range(n):
            inside += (z[i + w, j] if i + w < n else 0) - (z[i - w - 1, j] if i > w else 0)
            found[i, j] = (inside - z[i, j]) / radius
    return found


def near_by_windows(z: np.ndarray, radius: float) -> np.ndarray:
    w = int(len(z) * radius + 1e-9)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(z, ((w, w), (0, 0))), 2 * w + 1, axis=0)
    return (np.einsum("ijk->ij", windows) - z) / radius


def near_filtered(z: np.ndarray, radius: float) -> np.ndarray:
    w = int(len(z) * radius + 1e-9)
    return (uniform_filter1d(z, 2 * w + 1, axis=0, mode="constant") * (2 * w + 1) - z) / radius


def band(z: np.ndarray, radius: float) -> np.ndarray:
    return Near(radius).dense(len(z)).numpy().astype(float)


def dummy_first(cost: np.ndarray, zeta: float) -> np.ndarray:
    return np.pad(cost, ((1, 0), (1, 0)), constant_values=zeta)


def loss(targets: np.ndarray, x: np.ndarray, y: np.ndarray, tau: float) -> float:
    return float(-(targets * log_softmax(x @ y.T / tau, axis=1)).sum() / len(x))


def in_place(cost: np.ndarray, zeta: float) -> np.ndarray:
    cost += zeta
    return dummy_first(cost, zeta)


def clock(motion: np.ndarray) -> np.ndarray:
    share = motion / motion.sum()
    return share.cumsum() - share / 2


RIGHT: dict[str, Any] = {
    "05.2": soft_nearest,
    "05.3": log_sinkhorn,
    "10.4": near,
    "20.4": dummy_first,
    "30.4": viterbi,
    "30.5": loss,
    "70.1": clock,
}
# The exercise, a wrong function, and words of what is said.
WRONG: list[tuple[str, Any, str]] = [
    ("05.2", lambda x, y, tau: softmax(-distances(x, y) / tau, axis=0) @ y, "along which axis"),
    ("05.2", lambda x, y, tau: softmax(distances(x, y) / tau, axis=1) @ y, "which sign"),
    ("05.2", lambda x, y, tau: softmax(-np.sqrt(distances(x, y)) / tau, axis=1) @ y, "squared"),
    ("05.2", lambda x, y, tau: softmax(-distances(x, y) / tau, axis=1), "has the shape (1, 2) instead of (1, 5)"),
    ("05.2", lambda x, y, tau: np.exp(-distances(x, y) / tau) @ y, "divide them by their sum"),
    ("05.3", lambda cost, p, q, epsilon: np.outer(p, q), "does not look at the cost"),
    ("05.3", lambda cost, p, q, epsilon: log_sinkhorn(-cost, p, q, epsilon), "which sign has the cost"),
    ("05.3", lambda cost, p, q, epsilon: log_sinkhorn(cost, p, q, epsilon, 1), "the sum of row"),
    ("05.3", lambda cost, p, q, epsilon: log_sinkhorn(cost.T, q, p, epsilon), "shape (5, 3) instead of (3, 5)"),
    ("10.4", lambda z, radius: near(z, radius) + z / radius, "not its own neighbour"),
    ("10.4", lambda z, radius: near(z, radius) * radius, "1 / r"),
    ("10.4", lambda z, radius: Near(radius).dense(len(z)).numpy() @ z, "a running sum needs"),
    ("10.4", near_frame_by_frame, "a running sum needs"),
    ("10.4", near_by_convolution, "a running sum needs"),
    ("10.4", near_number_by_number, "a running sum needs"),
    ("10.4", near_by_windows, "a running sum needs"),
    ("10.4", lambda z, radius: np.dot(band(z, radius), z), "a running sum needs"),
    ("10.4", lambda z, radius: band(z, radius).dot(z), "a running sum needs"),
    ("10.4", lambda z, radius: np.tensordot(band(z, radius), z, 1), "a running sum needs"),
    ("10.4", lambda z, radius: np.einsum("ik,kj->ij", band(z, radius), z), "a running sum needs"),
    ("10.4", lambda z, radius: np.roll(z, 1, 0) + np.roll(z, -1, 0), "entry ("),
    ("20.4", lambda cost, zeta: np.pad(cost, ((1, 0), (0, 1)), constant_values=zeta), "stands at index 0"),
    ("20.4", lambda cost, zeta: np.pad(cost, ((1, 0), (1, 0))), "too small"),
    ("20.4", lambda cost, zeta: cost, "shape (1, 1) instead of (2, 2)"),
    ("20.4", in_place, "changes its argument number 1"),
    (
        "30.4",
        lambda scores, switch: scores.argmax(1),
        "8 frames, 3 actions, c = 0.7: those are the best actions of single",
    ),
    ("30.4", lambda scores, switch: viterbi(scores, switch)[::-1], "turn them round"),
    ("30.4", lambda scores, switch: scores.argmax(1) + 1, "1 frame, 3 actions"),
    ("30.4", lambda scores, switch: viterbi(scores, switch) + 1, "a whole number from 0 to 2"),
    ("30.4", lambda scores, switch: viterbi(scores, 2 * switch), "less than the best one"),
    ("30.5", lambda t, x, y, tau: -loss(t, x, y, tau), "negative"),
    ("30.5", lambda t, x, y, tau: loss(t, x, y, tau) * len(x), "has to become a mean"),
    ("30.5", lambda t, x, y, tau: loss(t, x, y, 1.0), "divided by tau"),
    ("30.5", lambda t, x, y, tau: loss(t / t.sum(1, keepdims=True), x, y, tau), "must not be scaled"),
    ("30.5", lambda t, x, y, tau: -(t * log_softmax(x @ y.T / tau, axis=0)).sum() / len(x), "over the frames of Y"),
    ("30.5", lambda t, x, y, tau: -(t * np.log(softmax(x @ y.T / tau, axis=1))).sum() / len(x), "is inf"),
    ("30.5", lambda t, x, y, tau: "a word", "numbers"),
    ("70.1", lambda motion: (motion / motion.sum()).cumsum(), "at the end of each frame"),
    ("70.1", lambda motion: clock(motion) - motion / motion.sum() / 2, "at the beginning of each frame"),
    ("70.1", lambda motion: clock(motion) * motion.sum(), "runs from 0 to 1"),
    ("70.1", lambda motion: (np.arange(len(motion)) + 0.5) / len(motion), "of the frames, not of the motion"),
    ("70.1", lambda motion: clock(motion)[::-1], "entry 0 is too large"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_are_right(name: str) -> None:
    assert check(name, RIGHT[name]) == "right"


@pytest.mark.parametrize("function", [near_with_a_running_number, near_filtered])
def test_other_products_in_a_number_of_operations_that_does_not_grow_are_right(function: Any) -> None:
    assert check("10.4", function) == "right"


def test_labels_that_are_whole_numbers_of_another_kind_are_labels() -> None:
    assert check("30.4", lambda scores, switch: viterbi(scores, switch).astype(float)) == "right"


@pytest.mark.parametrize("name", RIGHT)
def test_functions_of_torch_and_empty_ones(name: str) -> None:
    assert check(name, lambda *given: torch.as_tensor(RIGHT[name](*given))) == "right"
    assert check(name, lambda *given: None) == check(name, None) == "not answered yet"


@pytest.mark.parametrize(("name", "function", "words"), WRONG)
def test_wrong_functions_are_told_which_entry_is_wrong(name: str, function: Any, words: str) -> None:
    said = check(name, function)
    assert said.startswith("not yet: ") and words in said and "\n" not in said


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_no_function_or_fails_is_one_line(name: str) -> None:
    assert "is no function" in check(name, 3)
    assert "raises ZeroDivisionError: division by zero" in check(name, lambda *given: 1 / 0)
    assert "TypeError" in check(name, lambda: 1)


def test_an_exercise_that_there_is_not() -> None:
    with pytest.raises(InputError, match=r"05\.9"):
        check("05.9", 1)
