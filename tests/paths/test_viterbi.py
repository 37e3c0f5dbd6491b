"""Viterbi against trying every labelling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasot_lib.errors import InputError
from vasot_lib.paths import viterbi


def value(scores: np.ndarray, labels: tuple[int, ...], switch: float) -> float:
    changes = sum(a != b for a, b in itertools.pairwise(labels))
    return sum(scores[i, z] for i, z in enumerate(labels)) - switch * changes


@given(n=st.integers(1, 6), k=st.integers(1, 3), switch=st.sampled_from([0.0, 0.4, 3.0]), seed=st.integers(0, 99))
def test_viterbi_finds_the_best_of_all_labellings(n: int, k: int, switch: float, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(n, k))
    best = max(value(scores, labels, switch) for labels in itertools.product(range(k), repeat=n))
    found = viterbi(scores, switch)
    assert value(scores, tuple(found.tolist()), switch) == pytest.approx(best)
    if switch == 0:
        assert (found == scores.argmax(1)).all()


@given(n=st.integers(3, 7), seed=st.integers(0, 99), order=st.permutations([0, 1, 2]), repeat=st.booleans())
def test_viterbi_along_a_transcript(n: int, seed: int, order: list[int], repeat: bool) -> None:
    transcript = [*order, order[0]] if repeat and n > 3 else order
    scores = np.random.default_rng(seed).normal(size=(n, 3))
    every = [
        tuple(action for action, length in zip(transcript, lengths, strict=True) for _ in range(length))
        for lengths in itertools.product(range(1, n + 1), repeat=len(transcript))
        if sum(lengths) == n
    ]
    best = max(value(scores, labels, 0.0) for labels in every)
    found = tuple(viterbi(scores, order=transcript).tolist())
    assert found in every and value(scores, found, 0.0) == pytest.approx(best)


@given(n=st.integers(3, 6), seed=st.integers(0, 99), repeat=st.booleans(), impossible=st.floats(0.2, 1.0))
def test_a_transcript_is_followed_through_impossible_frames(n: int, seed: int, repeat: bool, impossible: float) -> None:
    """The path has as few frames of score -inf as the order allows, and of such paths the highest other scores."""
    transcript = [0, 1, 2, 0] if repeat and n > 3 else [0, 1, 2]
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((n, 3)) < impossible, -np.inf, rng.normal(size=(n, 3)))
    found = tuple(viterbi(scores, order=transcript).tolist())

    def rank(labels: tuple[int, ...]) -> tuple[int, float]:
        each = np.array([scores[i, z] for i, z in enumerate(labels)])
        return int(np.isinf(each).sum()), -round(float(each[np.isfinite(each)].sum()), 9)

    every = [
        tuple(np.repeat(transcript, lengths).tolist())
        for lengths in itertools.product(range(1, n + 1), repeat=len(transcript))
        if sum(lengths) == n
    ]
    assert found in every and rank(found) == min(map(rank, every))


def test_one_impossible_frame_does_not_hide_the_others() -> None:
    scores = np.array([[0.0, -1.0], [-np.inf, -np.inf], [-1.0, 0.0], [-1.0, 0.0]])
    assert viterbi(scores).tolist()[2:] == [1, 1] and viterbi(scores, switch=5.0).tolist() == [1] * 4


def test_impossible_actions_are_not_taken() -> None:
    scores = np.log(np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]), out=np.full((3, 2), -np.inf), where=np.array(
        [[True, False], [True, True], [False, True]]))  # fmt: skip
    assert viterbi(scores, switch=5.0).tolist() in ([0, 0, 1], [0, 1, 1])


@pytest.mark.parametrize(
    ("scores", "options", "words"),
    [
        (np.zeros(3), {}, "shape \\(3,\\)"),
        (np.full((2, 2), np.nan), {}, "without NaN"),
        (np.zeros((2, 2)), {"switch": -1.0}, "switch is -1.0"),
        (np.zeros((2, 2)), {"order": [0, 1, 0]}, "order has 3 actions"),
        (np.zeros((2, 2)), {"order": [2]}, "numbers below 2"),
    ],
)
def test_viterbi_refuses(scores: np.ndarray, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        viterbi(scores, **options)
