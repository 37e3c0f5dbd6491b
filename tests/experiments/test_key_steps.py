"""Key steps: the graph cut against trying every labelling, the scores against sets of frames, and known answers."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.key_steps import (
    in_order,
    key_step_rows,
    key_steps,
    memberships,
    score_key_steps,
    shared_steps,
)
from vasot_lib.data import toy
from vasot_lib.errors import InputError
from vasot_lib.paths import viterbi


def test_memberships_equal_loops() -> None:
    rng = np.random.default_rng(0)
    x, means = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    near = [[1 / sum((a - b) ** 2 for a, b in zip(row, mean, strict=True)) for mean in means] for row in x]
    np.testing.assert_allclose(memberships(x, means), [[v / sum(row) for v in row] for row in near])
    on_a_mean = memberships(means[:1], means)
    assert on_a_mean[0, 0] == pytest.approx(1) and np.isfinite(on_a_mean).all()


@pytest.mark.parametrize("change", [0.0, 0.1, 0.5, 3.0])
def test_the_cut_is_the_cheapest_of_all_labellings(change: float) -> None:
    rng = np.random.default_rng(1)
    u = memberships(rng.normal(size=(7, 2)), rng.normal(size=(3, 2)))

    def price(z: tuple[int, ...]) -> float:
        return sum(1 - u[i, k] for i, k in enumerate(z)) + change * sum(a != b for a, b in zip(z, z[1:], strict=False))

    best = min(price(z) for z in product(range(3), repeat=7))
    assert price(tuple(viterbi(u, switch=change))) == pytest.approx(best)


def steps_in_noise() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three recordings of four steps, the second in another order, as noisy points around four corners."""
    rng = np.random.default_rng(2)
    truths = [np.repeat(order, 20) for order in ([0, 1, 2, 3], [1, 0, 2, 3], [0, 1, 3, 2])]
    return [np.eye(4)[truth] + 0.35 * rng.normal(size=(80, 4)) for truth in truths], truths


def test_steps_are_found_in_any_order_and_the_cut_joins_what_noise_tears_apart() -> None:
    embeddings, truths = steps_in_noise()
    cut, torn = (score_key_steps(key_steps(embeddings, 4, change), truths)["step_f1"] for change in (1.0, 0.0))
    assert cut > 0.97 > torn


def test_a_high_price_leaves_one_step_per_recording() -> None:
    embeddings, _ = steps_in_noise()
    assert all(len(np.unique(found)) == 1 for found in key_steps(embeddings, 4, change=1e6))


def test_a_step_that_moves_is_one_shared_step_and_halves_of_two_clusters() -> None:
    """Each of three steps goes from one place of a circle to another, which is near the place where the next begins."""
    rng = np.random.default_rng(3)
    truths = [np.repeat(order, 40) for order in ([0, 2, 1], [2, 1, 0], [1, 0, 2])]
    way = np.repeat([0.0, 0.5, 1.0], [18, 4, 18])
    turned = [np.radians(np.concatenate([120 * step + 100 * way for step in truth[::40]])) for truth in truths]
    embeddings = [np.stack([np.cos(angle), np.sin(angle)], 1) for angle in turned]
    embeddings = [rows + 0.02 * rng.normal(size=rows.shape) for rows in embeddings]
    embeddings = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in embeddings]
    shared = shared_steps(embeddings, 3, share=1 / 3)
    assert shared is not None and score_key_steps(shared, truths)["step_f1"] > 0.98
    assert score_key_steps(key_steps(embeddings, 3), truths)["step_f1"] < 0.6


def test_nothing_is_shared_by_one_recording_or_by_more_than_can_be_linked() -> None:
    embeddings, _ = steps_in_noise()
    assert shared_steps(embeddings[:1], 4, 0.25) is None
    assert shared_steps(21 * embeddings, 4, 0.25) is None


def slow(found: list[int], truth: list[int], k: int) -> tuple[float, float, float]:
    """Precision, recall and IoU by trying every matching of clusters to steps, with sets of frames."""
    frames = range(len(truth))
    of_step = [{i for i in frames if truth[i] == s} for s in range(k)]
    of_cluster = [{i for i in frames if found[i] == c} for c in range(k)]
    best = max(permutations(range(k)), key=lambda m: sum(len(of_step[s] & of_cluster[m[s]]) for s in range(k)))
    scores = []
    for s in range(k):
        if of_step[s]:
            both, cluster = len(of_step[s] & of_cluster[best[s]]), of_cluster[best[s]]
            scores.append((both / max(1, len(cluster)), both / len(of_step[s]), both / len(of_step[s] | cluster)))
    return tuple(sum(column) / len(scores) for column in zip(*scores, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_sets_of_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found, truth = rng.integers(0, 4, (2, 60))
    scores = score_key_steps([found[:25], found[25:]], [truth[:25], truth[25:]])
    precision, recall, iou = slow(found.tolist(), truth.tolist(), 4)
    assert scores["step_precision"] == pytest.approx(precision) and scores["step_recall"] == pytest.approx(recall)
    assert scores["step_iou"] == pytest.approx(iou)
    assert scores["step_f1"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_every_step_counts_the_same_however_long_it_is() -> None:
    """A single cluster gets the long step right, which is one step of two: half the recall, not nine tenths."""
    truth = np.repeat([0, 1], [90, 10])
    scores = score_key_steps([np.zeros(100, dtype=int)], [truth])
    assert scores["step_recall"] == 0.5 and scores["step_precision"] == 0.45 and scores["step_iou"] == 0.45


def test_frames_of_the_background_are_left_out_and_can_be_kept_as_the_release_does() -> None:
    truth = np.repeat([0, 2, 1], 10)
    found = np.repeat([5, 5, 7], 10)
    assert score_key_steps([found], [truth], background=2)["step_f1"] == 1.0
    assert score_key_steps([found], [truth])["step_recall"] == pytest.approx(2 / 3)


def test_steps_are_numbered_by_the_mean_relative_time_of_their_frames() -> None:
    found = in_order([np.array([7, 7, 2, 9]), np.array([2, 7, 9, 9, 9, 9, 9, 9])])
    assert [rows.tolist() for rows in found] == [[0, 0, 1, 2], [1, 0, 2, 2, 2, 2, 2, 2]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: key_steps([np.zeros((3, 2))], 4), "k is 4 but there are 3 frames"),
        (lambda: key_steps([np.zeros((3, 2))], 0), "k is 0"),
        (lambda: key_steps([np.zeros((3, 2))], 2, change=-1.0), "change is -1.0"),
        (lambda: score_key_steps([np.zeros(3, int)], [np.zeros(4, int)]), "recording 0 has 3 key steps but 4 labels"),
        (lambda: score_key_steps([np.zeros(3, int)], [np.ones(3, int)], background=1), "no frames of steps to score"),
    ],
)
def test_bad_values_are_refused(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]


def test_rows_hold_clustering_cut_shared_and_own_segments_beside_an_equal_split() -> None:
    data = toy(n_videos=4, seed=3)
    vaot, asot = (build(make_config("toy", name), data) for name in ("vaot", "asot"))
    rows = key_step_rows(data, {"vaot": vaot, "asot": asot})
    ways = [(row["embeddings"], row["steps"]) for row in rows]
    both = [(name, how) for name in ("raw", "vaot", "asot") for how in ("clustering", "cut", "shared")]
    assert ways == [("equal_split", ""), *both, ("asot", "segmentation")]
    truths = [video.labels.numpy() for video in data.videos]
    expected = score_key_steps([asot.segment(video).numpy() for video in data.videos], truths, data.background)
    assert {name: rows[-1][name] for name in expected} == expected
