"""Scores of labels, matches and embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import attempt, inputs, odd, odd_size, usually
from vasot_kit.experiments.baselines import equal_split, straight_line
from vasot_kit.experiments.evaluate import uniform_label_transfer
from vasot_lib.evaluation import f1_sampled, frame_error, hungarian, label_transfer, score_alignment, score_segmentation

PROBLEMS = [np.array([0.5, np.nan]), np.array(["a", "b"]), np.array([]), np.zeros((2, 2), int), None, [1, "a"], 3, "ab"]


@st.composite
def label_lists(draw: st.DrawFn, n: int, least: int = 0) -> Any:
    """(n,) labels, as an array of some integer type or a list; some of another kind."""
    labels = np.array(draw(st.lists(st.integers(least, 4), min_size=n, max_size=n)))
    kinds = [
        labels,
        labels,
        labels.astype(np.int32),
        labels.astype(np.uint8) if least == 0 else labels,
        labels.tolist(),
    ]
    return draw(usually(st.sampled_from(kinds), st.sampled_from([*PROBLEMS, labels[:-1], labels.astype(float)])))


def fractions(scores: dict[str, float | None], least: float = 0.0, most: float = math.inf) -> None:
    for name, value in scores.items():
        assert value is None or (math.isfinite(value) and least <= value <= most), (name, value)


@inputs(500)
@given(data=st.data())
def test_segmentation(data: st.DataObject) -> None:
    draw = data.draw
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    predicted, truth = ([draw(label_lists(n)) for n in lengths] for _ in range(2))
    background = draw(st.none() | usually(st.integers(0, 4), odd))
    scores = attempt("evaluation", lambda: score_segmentation(predicted, truth, background))
    if scores is not None:
        fractions({name: value for name, value in scores.items() if name != "ari"})
        assert -1 <= scores["ari"] <= 1
        assert all(scores[name] <= 1 for name in ("mof", "miou", "edit", "jsd", "f1_10", "mof_video", "miou_video"))
    if draw(st.integers(0, 3)) == 0:
        generator = np.random.default_rng(0)
        sampled = attempt("evaluation", lambda: f1_sampled(predicted, truth, background, generator, 3))
        assert sampled is None or (math.isfinite(sampled) and sampled >= 0)
        named = attempt("evaluation", lambda: hungarian(predicted[0], truth[0]))
        assert named is None or len(set(named.values())) == len(named)


@inputs(500)
@given(data=st.data())
def test_matches(data: st.DataObject) -> None:
    draw = data.draw
    n, m = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    matches = draw(label_lists(n, -1))
    truth = draw(label_lists(n, -1))
    error = attempt("evaluation", lambda: frame_error(matches, truth, draw(usually(st.just(m)))))
    if error is not None:
        fractions(error)
        assert error["matched"] <= 1
    labels_x, labels_y = draw(label_lists(n)), draw(label_lists(m))
    background = draw(st.none() | st.integers(0, 4))
    transfer = attempt("evaluation", lambda: label_transfer(matches, labels_x, labels_y, background))
    assert transfer is None or 0 <= transfer <= 1
    sizes = [draw(usually(st.just(size), odd_size)) for size in (n, m)]
    line = attempt("evaluation", lambda: straight_line(*sizes))
    assert line is None or (len(line) == n and 0 <= line.min() <= line.max() < m)
    split = attempt("evaluation", lambda: equal_split(*sizes))
    assert split is None or (len(split) == n and split.min() >= 0 and split.max() < m)
    chance = attempt("evaluation", lambda: uniform_label_transfer(labels_x, labels_y, background))
    assert chance is None or 0 <= chance <= 1


@inputs(200)
@given(data=st.data())
def test_alignment(data: st.DataObject) -> None:
    draw = data.draw
    lengths = draw(st.lists(st.integers(2, 25), min_size=2, max_size=4))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    rows: list[Any] = [generator.normal(size=(n, 3)).astype(draw(st.sampled_from(["f4", "f8"]))) for n in lengths]
    match draw(st.integers(0, 15)):
        case 0:
            rows[0][0, 0] = draw(st.sampled_from([np.nan, np.inf]))
        case 1:
            others = [rows[0][:-1], rows[0][:, :2], rows[0].astype(int), rows[0][0], None, "a", rows[0].tolist()]
            rows[-1] = draw(st.sampled_from(others))
        case 2:
            rows[0] *= 0
    labels = [draw(label_lists(n)) for n in lengths]
    options = {
        "ordered": draw(st.booleans()), "background": draw(st.none() | st.integers(0, 4)),
        "protocol": draw(usually(st.sampled_from(["split", "release"]))), "seed": draw(usually(st.just(0))),
        "stride": draw(usually(st.integers(1, 3))),
        "activities": draw(st.none() | st.lists(st.sampled_from("ab"), min_size=2, max_size=4)),
        "parts": draw(st.none() | st.lists(st.sampled_from(["train", "val", ""]), min_size=2, max_size=4)),
    }  # fmt: skip
    scores = attempt("evaluation", lambda: score_alignment(rows, labels, **options))
    if scores is not None:
        fractions({name: value for name, value in scores.items() if name != "progress"}, -1, 1)
        fractions({"progress": scores["progress"]}, -math.inf, 1)
