"""Alignment scores: known answers, the two protocols, matches with a known truth, the collapse meter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vasot_lib.errors import InputError
from vasot_lib.evaluation import frame_error, label_transfer, measure_collapse, score_alignment, score_segmentation

N_CLASSES = 4


def blocks(n_videos: int = 6, length: int = 40) -> list[np.ndarray]:
    """Labels of videos that show every phase once, in order and for equally long."""
    return [np.repeat(np.arange(N_CLASSES), length // N_CLASSES) for _ in range(n_videos)]


def random_embeddings(labels: list[np.ndarray], dim: int = 64, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(len(names), dim)) for names in labels]


def clock(n: int) -> np.ndarray:
    """(n, 2) points on a quarter circle in order of time."""
    angle = np.linspace(0, np.pi / 2, n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@pytest.mark.parametrize("protocol", ["split", "release"])
def test_one_hot_labels_are_perfect_embeddings(protocol):
    labels = blocks()
    scores = score_alignment([np.eye(N_CLASSES)[names] for names in labels], labels, ordered=True, protocol=protocol)
    for name in ("acc_0.1", "acc_0.5", "acc_1.0", "ap_5", "ap_10"):
        assert scores[name] == 1, name


def test_embeddings_that_are_still_trained_are_scored():
    labels = blocks()
    rows = [torch.eye(N_CLASSES, requires_grad=True)[names] for names in labels]
    assert score_alignment(rows, labels, ordered=True) == score_alignment(
        [each.detach().numpy() for each in rows], labels, ordered=True
    )


def test_neighbours_are_sought_in_other_videos_only():
    # Each video sits in a corner of its own, in which neighbours would all be right; across corners none are.
    labels = [np.repeat([0, 1], 20), np.repeat([1, 0], 20)]
    same_place = [np.eye(2)[[0] * 20 + [1] * 20]] * 2
    scores = score_alignment(same_place, labels, ordered=False)
    assert [scores[f"ap_{k}"] for k in (5, 10, 15)] == [0, 0, 0]


def test_ap_by_hand():
    embeddings = [np.arange(6.0)[:, None] * 10, np.arange(6.0)[:, None] * 10 + 1]
    labels = [np.zeros(6, int), np.array([0, 0, 0, 1, 1, 1])]
    # Only 6 frames to find: the 5 nearest leave out the farthest one, K = 10 and 15 see all six.
    scores = score_alignment(embeddings, labels, ordered=False)
    # Video 0: frames 0..2 miss the last (label 1): 3/5; frames 3..5 miss the first (label 0): 2/5. Video 1: its zeros
    # find 5/5, its ones 0.
    assert scores["ap_5"] == pytest.approx((3 * 3 / 5 + 3 * 2 / 5 + 3 * 1 + 3 * 0) / 12)
    assert scores["ap_10"] == scores["ap_15"] == pytest.approx((6 * 1 / 2 + 3 * 1 + 3 * 0) / 12)


def test_random_embeddings_find_labels_at_chance():
    labels = blocks(n_videos=8, length=80)
    scores = score_alignment(random_embeddings(labels), labels, ordered=True)
    # Neighbour lists share frames, so about 640 x 15 answers are far from independent: .03 is a wide margin.
    assert scores["ap_15"] == pytest.approx(1 / N_CLASSES, abs=0.03)
    assert abs(scores["tau"]) < 0.05
    assert scores["progress"] < 0.2


def test_trap_svm_fitted_on_the_test_videos():
    # Noise carries nothing about the phases. Fitted and scored on the same videos it looks perfect.
    labels = blocks()
    noise = random_embeddings(labels)
    release = score_alignment(noise, labels, ordered=False, protocol="release")
    split = score_alignment(noise, labels, ordered=False)
    assert release["acc_1.0"] > 0.95
    assert split["acc_1.0"] == pytest.approx(1 / N_CLASSES, abs=0.12)
    # A fraction of the labelled videos shows the mixture: f remembered, the rest guessed.
    assert split["acc_0.5"] < release["acc_0.5"] < release["acc_1.0"]


def test_split_trains_on_even_videos_and_tests_on_odd_ones():
    # The odd videos carry the opposite code, so what was learned on the even ones is always wrong there.
    labels = [np.repeat([0, 1], 20) for _ in range(6)]
    codes = [np.eye(2)[names if number % 2 == 0 else 1 - names] for number, names in enumerate(labels)]
    assert score_alignment(codes, labels, ordered=False)["acc_1.0"] == 0
    assert score_alignment(codes, labels, ordered=False, protocol="release")["acc_1.0"] == pytest.approx(0.5)


def test_a_published_split_says_what_is_fitted_and_what_is_scored():
    """Videos 0 and 1 carry another code than 2 to 4; scores look at the last three alone."""
    labels = [np.repeat([0, 1], 20) for _ in range(5)]
    codes = [np.eye(2)[1 - names if number < 2 else names] for number, names in enumerate(labels)]
    parts = ["train", "train", "val", "val", "test"]
    scores = score_alignment(codes, labels, ordered=True, parts=parts)
    assert scores["acc_1.0"] == 0 and scores["ap_5"] == 1
    swapped = score_alignment(codes[::-1], labels, ordered=True, parts=parts)  # two of these three carry the first code
    assert 0 < swapped["acc_1.0"] < 1 and swapped["ap_5"] < 1
    # Another order of the same videos, and all of a release, where the parts say nothing.
    order = [4, 0, 2, 1, 3]
    again = score_alignment([codes[i] for i in order], labels, ordered=True, parts=[parts[i] for i in order])
    assert again["acc_1.0"] == 0 and again["ap_5"] == 1
    assert score_alignment(codes, labels, ordered=True, parts=parts, protocol="release") == score_alignment(
        codes, labels, ordered=True, protocol="release"
    )


def test_a_split_that_leaves_too_little_is_refused():
    labels = blocks(4)
    for parts, words in (
        (["train", "train", "val", "train"], "leaves 3 videos of activity 'tea' to fit on and 1 to score; at least "),
        (["test", "val", "val", "val"], "leaves 0 videos of activity 'tea' to fit on and 4 to score"),
    ):
        with pytest.raises(InputError, match=words):
            score_alignment(random_embeddings(labels), labels, ordered=True, activities=["tea"] * 4, parts=parts)
    with pytest.raises(InputError, match="3 parts for 4 videos"):
        score_alignment(random_embeddings(labels), labels, ordered=True, parts=["train"] * 3)


def test_labelled_frames_of_one_class_predict_that_class():
    labels = [np.zeros(20, int), np.repeat([0, 1], [15, 5])]
    scores = score_alignment(random_embeddings(labels), labels, ordered=False)
    assert scores["acc_1.0"] == 0.75


def test_the_choice_of_labelled_videos_follows_the_seed():
    labels = blocks(n_videos=12)
    noise = random_embeddings(labels)
    first, again, other = (score_alignment(noise, labels, ordered=False, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["acc_0.1"] != other["acc_0.1"]
    assert first["acc_1.0"] == other["acc_1.0"]


def test_tau_of_equal_and_of_reversed_order():
    labels = blocks(n_videos=2)
    assert score_alignment([clock(40), clock(40)], labels, ordered=True)["tau"] == pytest.approx(1)
    assert score_alignment([clock(40), clock(40)[::-1]], labels, ordered=True)["tau"] == pytest.approx(-1)
    assert score_alignment([clock(40), clock(40)], labels, ordered=True, stride=4)["tau"] == pytest.approx(1)


def test_tau_by_hand():
    # The neighbours of X = 0, 1, 2 in Y = 0, 2, 1 are frames 0, 2, 1: two of three pairs agree in order, so 1/3.
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [2.0], [1.0]])
    assert score_alignment([x, y], [np.arange(3)] * 2, ordered=True)["tau"] == pytest.approx(1 / 3)


def test_tau_of_collapsed_embeddings_is_zero():
    labels = blocks(n_videos=2)
    assert score_alignment([np.ones((40, 3))] * 2, labels, ordered=True)["tau"] == 0


def test_progress_of_embeddings_that_are_time():
    labels = blocks()
    time = [np.arange(40.0)[:, None] for _ in labels]
    assert score_alignment(time, labels, ordered=True)["progress"] == pytest.approx(1)
    # Time that runs backwards in the test videos: the prediction is off by twice the deviation, R2 = 1 - 4.
    backwards = [rows if number % 2 == 0 else rows[::-1] for number, rows in enumerate(time)]
    assert score_alignment(backwards, labels, ordered=True)["progress"] == pytest.approx(-3)


def test_progress_counts_from_the_end_of_a_phase():
    # The first phase ends after 10, 20, 30, 40 of 60 frames; the embedding is the time since then.
    ends = [10, 20, 30, 40]
    labels = [np.repeat([0, 1], [end, 60 - end]) for end in ends]
    since = [(np.arange(60.0) - end)[:, None] for end in ends]
    assert score_alignment(since, labels, ordered=True)["progress"] == pytest.approx(1)


def test_unordered_data_has_neither_progress_nor_tau():
    labels = blocks()
    scores = score_alignment(random_embeddings(labels), labels, ordered=False)
    assert scores["progress"] is None
    assert scores["tau"] is None
    assert list(scores) == ["acc_0.1", "acc_0.5", "acc_1.0", "progress", "tau", "ap_5", "ap_10", "ap_15"]


def test_background_frames_change_nothing():
    labels = blocks()
    embeddings = [clock(40) + noise / 10 for noise in random_embeddings(labels, dim=2)]
    rng = np.random.default_rng(1)
    # Three frames of background before the procedure, placed where they would be everybody's nearest neighbour.
    longer = [np.concatenate([rng.normal(size=(3, 2)), rows]) for rows in embeddings]
    marked = [np.concatenate([[9, 9, 9], names]) for names in labels]
    plain = score_alignment(embeddings, labels, ordered=True)
    with_background = score_alignment(longer, marked, ordered=True, background=9)
    # Only progress counts in shares of the whole video: 43 frames instead of 40 scale the target, not its R2.
    assert with_background == pytest.approx(plain)
    assert score_alignment(longer, marked, ordered=True)["ap_5"] != pytest.approx(plain["ap_5"])


def test_activities_are_scored_one_by_one():
    labels = blocks(n_videos=8)
    embeddings = random_embeddings(labels)
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    mixed = score_alignment(
        [embeddings[i] for i in order],
        [labels[i] for i in order],
        ordered=True,
        activities=["tea", "milk"] * 4,
    )
    parts = [score_alignment(embeddings[part], labels[part], ordered=True) for part in (slice(4), slice(4, 8))]
    assert mixed == pytest.approx({name: (parts[0][name] + parts[1][name]) / 2 for name in mixed})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": "train"}, "unknown protocol 'train'.*release, split"),
        ({"labels": [np.zeros(4, int)]}, "2 embedded videos for 1"),
        ({"labels": [np.zeros(4, int), np.zeros(3, int)]}, r"video 1.*\(4, 2\).*\(3,\)"),
        ({"embeddings": [np.ones((4, 2)), np.full((4, 2), np.nan)]}, "video 1.*NaN"),
        ({"activities": ["tea", "milk"]}, "2 or more videos.*tea"),
        ({"activities": ["tea"]}, "1 activities for 2"),
        ({"background": 0}, "2 or more videos"),
    ],
)
def test_bad_input_is_named(change, words):
    arguments = {"embeddings": [np.ones((4, 2))] * 2, "labels": [np.zeros(4, int)] * 2, "ordered": False} | change
    with pytest.raises(InputError, match=words):
        score_alignment(**arguments)


def test_frame_error_by_hand():
    errors = frame_error(np.array([0, 3, 5, 9, -1, 4]), np.array([0, 1, 6, -1, 2, 4]), n_y=10)
    # Known and matched: |0-0|, |3-1|, |5-6|, |4-4|; frame 3 has no partner, frame 4 was left unmatched.
    assert errors == pytest.approx({"mean": 0.75, "p90": 1.7, "mean_share": 0.075, "p90_share": 0.17, "matched": 4 / 5})


@pytest.mark.parametrize("kind", [np.uint8, np.uint64, np.int8])
def test_distances_of_frames_have_no_sign_whatever_the_type(kind: type) -> None:
    assert frame_error(np.array([0, 5], kind), np.array([5, 0], kind), n_y=10)["mean"] == 5
    assert label_transfer(np.array([0, 1], kind), np.array([3, 4], kind), np.array([3, 4], kind)) == 1


def test_frames_that_y_does_not_have_and_a_background_that_is_no_class_are_refused() -> None:
    for matches, truth in (([5], [0]), ([0], [5]), ([-2], [0])):
        with pytest.raises(InputError, match=r"run from -?\d to -?\d; Y has frames 0 to 4"):
            frame_error(np.array(matches), np.array(truth), n_y=5)
    with pytest.raises(InputError, match="background is 'SIL'; it must be a whole number, or None"):
        label_transfer([0], [1], [1], "SIL")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="background is 'SIL'"):
        score_segmentation([[1, 2]], [[1, 2]], "SIL")  # type: ignore[arg-type,list-item]
    with pytest.raises(InputError, match="background is 'SIL'"):
        score_alignment([np.ones((4, 2))] * 2, [np.arange(4)] * 2, ordered=False, background="SIL")  # type: ignore[arg-type]


def test_frame_error_without_a_known_frame_is_an_error():
    with pytest.raises(InputError, match="none of 3 frames"):
        frame_error(np.array([0, -1, 1]), np.array([-1, 2, -1]), n_y=3)
    with pytest.raises(InputError, match="3 matches for 2"):
        frame_error(np.zeros(3, int), np.zeros(2, int), n_y=3)


def test_label_transfer_by_hand():
    labels_x, labels_y = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 2])
    matches = np.array([0, 1, 1, 2, -1])  # right, wrong, right, right, unmatched: wrong although Y ends in class 2
    assert label_transfer(matches, labels_x, labels_y) == pytest.approx(3 / 5)
    assert label_transfer(matches, labels_x, labels_y, background=0) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="background 7"):
        label_transfer(np.zeros(2, int), np.array([7, 7]), labels_y, background=7)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_collapse_of_one_point_and_of_all_directions(kind):
    for length in (1.0, 1e-30, 1e20):
        point = measure_collapse(kind(np.tile(np.array([[3.0, 4.0, 0.0]], dtype=np.float32) * length, (50, 1))))
        assert point == pytest.approx({"mean_cosine": 1, "effective_rank": 1}, abs=1e-5)
    assert measure_collapse(kind(np.zeros((5, 3)))) == {"mean_cosine": 1, "effective_rank": 1}
    spread = measure_collapse(kind(5 * np.eye(8)))
    assert spread == pytest.approx({"mean_cosine": 0, "effective_rank": 8})


def test_collapse_by_hand():
    # Two rows east, one north: cosines 1, 0, 0; singular values sqrt 2 and 1.
    weights = np.array([np.sqrt(2), 1]) / (np.sqrt(2) + 1)
    expected = {"mean_cosine": 1 / 3, "effective_rank": np.exp(-(weights * np.log(weights)).sum())}
    assert measure_collapse(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])) == pytest.approx(expected)


@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 99))
def test_collapse_matches_its_definition(n, dim, seed):
    rows = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)
    unit = (rows / rows.norm(dim=1, keepdim=True)).detach().numpy()
    cosines = (unit @ unit.T)[~np.eye(n, dtype=bool)]
    spectrum = np.linalg.svd(unit, compute_uv=False)
    weights = spectrum[spectrum > 1e-12] / spectrum.sum()
    measured = measure_collapse(rows)
    assert measured["mean_cosine"] == pytest.approx(cosines.mean(), abs=1e-9)
    assert measured["effective_rank"] == pytest.approx(np.exp(-(weights * np.log(weights)).sum()), rel=1e-5)


def test_collapse_of_a_single_row_is_an_error():
    with pytest.raises(InputError, match=r"\(1, 3\)"):
        measure_collapse(np.ones((1, 3)))
