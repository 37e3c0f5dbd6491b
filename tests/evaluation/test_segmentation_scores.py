"""Segmentation scores: worked examples, what must not change them, and the traps of the released code."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vasot_lib.errors import InputError
from vasot_lib.evaluation import f1_sampled, hungarian, score_segmentation, segments

# Two videos, classes 0 and 1, clusters 5 and 7. Frames in common: 5-0: 3, 7-0: 1 + 2, 7-1: 4 + 2.
PREDICTED = [np.array([5, 5, 5, 7, 7, 7, 7, 7]), np.array([7, 7, 7, 7])]
TRUTH = [np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 1])]


def more_than_half(share: float) -> float:
    """P(Binomial(15, share) >= 8), term by term."""
    return sum(math.comb(15, k) * share**k * (1 - share) ** (15 - k) for k in range(8, 16))


def noisy(seed: int, n_videos: int = 6, n_classes: int = 5, k: int = 7) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Predictions that are right in about two frames of three, and their truths."""
    rng = np.random.default_rng(seed)
    truths = [np.repeat(rng.permutation(n_classes), rng.integers(5, 40, n_classes)) for _ in range(n_videos)]
    wrong = [np.repeat(rng.integers(0, k, len(truth) // 4 + 1), 4)[: len(truth)] for truth in truths]
    return [np.where(rng.random(len(t)) < 0.66, t, w) for t, w in zip(truths, wrong, strict=True)], truths


def test_segments_of_a_tiny_sequence():
    labels, starts, ends = segments(np.array([4, 4, 2, 2, 2, 4]))
    assert (labels.tolist(), starts.tolist(), ends.tolist()) == ([4, 2, 4], [0, 2, 5], [2, 5, 6])
    assert [each.tolist() for each in segments([1, 1, 2])] == [[1, 2], [0, 2], [2, 3]]  # type: ignore[arg-type]
    assert [each.tolist() for each in segments(np.zeros(0, int))] == [[], [], []]


def test_hungarian_by_hand():
    # Cluster 1 would rather have class 0, but 1-0 and 2-1 agree on 3 + 0 frames, 1-1 and 2-0 on 2 + 4.
    assert hungarian(np.array([1] * 5 + [2] * 4), np.array([0, 0, 0, 1, 1, 0, 0, 0, 0])) == {1: 1, 2: 0}
    with pytest.raises(InputError, match="1 clusters for 2 classes; give one of each per frame"):
        hungarian(np.array([1]), np.array([1, 2]))


def test_hungarian_leaves_out_pairs_without_a_common_frame():
    assert hungarian(np.array([0, 0, 1]), np.array([3, 3, 3])) == {0: 3}
    assert hungarian(np.array([0, 0, 1, 1]), np.array([3, 4, 3, 3])) == {0: 4, 1: 3}
    # The optimum takes 0-3 and 1-4, but 1 and 4 never meet.
    assert hungarian(np.array([0, 0, 0, 0, 1]), np.array([3, 3, 3, 4, 3])) == {0: 3}


def test_scores_of_two_tiny_videos_by_hand():
    scores = score_segmentation(PREDICTED, TRUTH)
    assert scores["mof"] == pytest.approx(9 / 12)
    assert scores["miou"] == pytest.approx((3 / 6 + 6 / 9) / 2)
    # Shares of the four true segments: 3/4, 1, 0, 1; F1 = 2 hits / (2 videos x 2 classes + 4 segments).
    assert scores["f1"] == pytest.approx(2 * (more_than_half(0.75) + 2) / 8)
    # Orders 0 1 / 0 1, then 1 / 0 1: one of two missing.
    assert scores["edit"] == pytest.approx((1 + 1 / 2) / 2)
    # IoU 3/4, 4/5 and exactly 1/2; 3 found, 4 wanted.
    assert [scores[f"f1_{p}"] for p in (10, 25, 50)] == pytest.approx([6 / 7] * 3)
    assert scores["jsd"] == 0  # every segment is below 20 frames


def test_the_rand_index_rewards_neither_too_few_nor_too_many_actions():
    """Nine tenths of the frames are one action: calling all of them that action has a high MoF and finds nothing."""
    truth = np.repeat([0, 1, 0, 2], [45, 5, 45, 5])
    one, many, right = np.zeros(100, int), np.arange(100) // 5, np.array([7, 3, 1])[truth]
    assert [score_segmentation([each], [truth])["mof"] for each in (one, right)] == [0.9, 1.0]
    assert [score_segmentation([each], [truth])["ari"] for each in (one, right)] == [0.0, 1.0]
    assert 0 < score_segmentation([many], [truth])["ari"] < 0.1
    # Of 6 pairs of frames 2 share a cluster and 1 a class, 1 does both: (1 - 2 / 6) / (3 / 2 - 2 / 6).
    assert score_segmentation([np.array([0, 0, 1, 1])], [np.array([0, 0, 1, 2])])["ari"] == pytest.approx(4 / 7)


def test_video_level_scores_by_hand():
    scores = score_segmentation(PREDICTED, TRUTH)
    # Video 0 keeps 5-0, 7-1; in video 1 cluster 7 gets one of two classes.
    assert scores["mof_video"] == pytest.approx((7 / 8 + 2 / 4) / 2)
    assert scores["miou_video"] == pytest.approx(((3 / 4 + 4 / 5) / 2 + (2 / 4 + 0) / 2) / 2)
    assert scores["f1_video"] == pytest.approx((2 * (more_than_half(0.75) + 1) / (2 + 2) + 2 * 1 / (2 + 2)) / 2)


def test_edit_and_segment_f1_see_over_segmentation_that_mof_hides():
    truth = np.repeat([0, 1], 50)
    flicker = truth.copy()
    flicker[5:95:10] = 1 - flicker[5:95:10]  # nine single frames
    scores = score_segmentation([flicker], [truth])
    assert scores["mof"] == pytest.approx(0.91)
    # Runs: 5 flips in the first half, 4 in the second: 0 1 0 1 0 1 0 1 0 1 0 | 1 0 1 0 1 0 1 0 1 = 20 against 2.
    assert scores["edit"] == pytest.approx(1 - 18 / 20)
    # The longest run of class 0 has 9 of 50 frames (IoU .18), that of class 1 the last 14 (IoU .28).
    assert scores["f1_10"] == pytest.approx(2 * 2 / (20 + 2))
    assert scores["f1_25"] == pytest.approx(2 * 1 / (20 + 2))
    assert scores["f1_50"] == 0


def test_one_true_segment_can_be_found_only_once():
    predicted, truth = np.array([0, 0, 0, 1, 0, 0]), np.array([0, 0, 0, 0, 0, 0])
    # Segments 0, 1, 0 with IoU 1/2, -, 1/3 of the only true one: one hit of 3 found and 1 wanted.
    assert score_segmentation([predicted], [truth])["f1_25"] == pytest.approx(2 * 1 / (3 + 1))


def test_length_distance_by_hand():
    truth = np.repeat([0, 1], [10, 50])
    predicted = np.repeat([0, 2, 1], [10, 10, 40])
    # Bins [0, 20), [20, 40), [40, 60): true lengths 1/2, 0, 1/2; predicted 2/3, 0, 1/3.
    p, q = np.array([1 / 2, 1 / 2]), np.array([2 / 3, 1 / 3])
    middle = (p + q) / 2
    divergence = (p * np.log2(p / middle) + q * np.log2(q / middle)).sum() / 2
    assert score_segmentation([predicted], [truth])["jsd"] == pytest.approx(math.sqrt(divergence))


def test_length_distance_is_one_where_no_length_agrees():
    # One segment of 60 frames, which sits on a bin edge, against two of 30.
    assert score_segmentation([np.zeros(60, int)], [np.repeat([0, 1], 30)])["jsd"] == pytest.approx(1)


label_lists = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=30), min_size=1, max_size=4)


@given(label_lists, st.permutations(range(6)))
def test_a_perfect_prediction_under_other_names_is_perfect(lists, names):
    truths = [np.array(labels) for labels in lists]
    scores = score_segmentation([np.array(names)[truth] for truth in truths], truths)
    for name in ("mof", "miou", "edit", "f1_10", "f1_25", "f1_50", "mof_video", "miou_video"):
        assert scores[name] == pytest.approx(1), name
    assert scores["jsd"] == 0
    n_segments, n_classes = sum(len(segments(t)[0]) for t in truths), len(np.unique(np.concatenate(truths)))
    assert scores["f1"] == pytest.approx(2 * n_segments / (len(truths) * n_classes + n_segments))


def test_a_perfect_prediction_has_f1_one_where_every_video_shows_every_class_once():
    # Single frames too: a draw that reached into the next segment, as in the ASOT release, would miss them.
    truths = [np.array([0, 1, 2, 2, 2]), np.array([2, 0, 0, 1])]
    scores = score_segmentation([truth + 3 for truth in truths], truths)
    assert scores["f1"] == pytest.approx(1)
    assert scores["f1_video"] == pytest.approx(1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_names_of_clusters_and_classes_do_not_matter(seed):
    predictions, truths = noisy(seed)
    rng = np.random.default_rng(seed + 100)
    clusters, classes = rng.permutation(50)[:10], rng.permutation(50)[:10]
    renamed = score_segmentation([clusters[p] for p in predictions], [classes[t] for t in truths])
    assert renamed == pytest.approx(score_segmentation(predictions, truths))


@given(label_lists, st.randoms(use_true_random=False))
def test_mof_is_the_best_over_all_matchings(lists, random):
    truths = [np.array(labels) % 3 for labels in lists]
    predictions = [np.array([random.randrange(3) for _ in truth]) for truth in truths]
    p, t = np.concatenate(predictions), np.concatenate(truths)
    best = max((np.array(names)[p] == t).mean() for names in permutations(range(3)))
    assert score_segmentation(predictions, truths)["mof"] == pytest.approx(best)


def test_exact_f1_is_the_mean_of_the_sampled_one():
    predictions, truths = noisy(seed=5)
    exact = score_segmentation(predictions, truths)["f1"]
    generator = np.random.default_rng(0)
    draws = [f1_sampled(predictions, truths, None, generator, repetitions=2) for _ in range(2000)]
    error = np.std(draws) / math.sqrt(len(draws))
    assert 0 < error < 0.002
    assert abs(np.mean(draws) - exact) < 3 * error


def test_sampled_f1_repeats_with_its_generator():
    predictions, truths = noisy(seed=6)
    first, second = (f1_sampled(predictions, truths, None, np.random.default_rng(1)) for _ in range(2))
    assert first == second


def test_fewer_clusters_than_classes():
    truth = np.repeat([0, 1, 2], [6, 3, 1])
    scores = score_segmentation([np.zeros(10, int)], [truth])
    assert scores["mof"] == pytest.approx(0.6)
    assert scores["miou"] == pytest.approx(0.6 / 3)  # the classes that were never matched count 0
    assert scores["f1"] == pytest.approx(2 * 1 / (3 + 3))


def test_more_clusters_than_classes():
    truth = np.repeat([0, 1], 5)
    predicted = np.array([0, 0, 0, 2, 2, 1, 1, 1, 1, 3])
    scores = score_segmentation([predicted], [truth])
    assert scores["mof"] == pytest.approx(7 / 10)  # clusters 2 and 3 are wrong everywhere
    assert scores["miou"] == pytest.approx((3 / 5 + 4 / 5) / 2)
    assert scores["edit"] == pytest.approx(1 - 2 / 4)


def test_background_frames_are_dropped_before_matching():
    truth = np.array([9, 9, 9, 9, 0, 0, 1, 1, 9])
    predicted = np.array([1, 1, 1, 1, 1, 1, 2, 2, 3])
    # With background, cluster 1 would go to class 9.
    assert score_segmentation([predicted], [truth], background=9)["mof"] == 1
    assert score_segmentation([predicted], [truth])["mof"] == pytest.approx(6 / 9)


def test_background_scores_are_those_of_the_shortened_videos():
    predictions, truths = noisy(seed=7)
    kept = [truth != 2 for truth in truths]
    short = score_segmentation(
        [p[k] for p, k in zip(predictions, kept, strict=True)], [t[k] for t, k in zip(truths, kept, strict=True)]
    )
    assert score_segmentation(predictions, truths, background=2) == pytest.approx(short)


def test_a_video_of_background_only_does_not_count():
    predictions, truths = noisy(seed=8)
    nothing = np.full(12, 99)
    longer = score_segmentation([*predictions, nothing], [*truths, nothing], background=99)
    assert longer == pytest.approx(score_segmentation(predictions, truths))


def test_trap_segments_merge_across_videos():
    # The first video ends with the class that the second begins with. Joined, there are three segments instead of
    # four, and the one across the boundary is mostly right, which hides that the second video missed its first segment.
    truths = [np.repeat([0, 1], [4, 6]), np.repeat([1, 0], [4, 4])]
    predictions = [np.repeat([0, 1], [4, 6]), np.repeat([9, 0], [4, 4])]
    assert score_segmentation(predictions, truths)["f1"] == pytest.approx(2 * 3 / (2 * 2 + 4))
    joined = 2 * (2 + more_than_half(0.6)) / (2 * 2 + 3)
    assert score_segmentation(predictions, truths)["f1"] < joined


@pytest.mark.parametrize(
    ("predictions", "truths", "background", "words"),
    [
        ([], [], None, "0 video"),
        ([np.zeros(3, int)], [], None, "1 predictions for 0"),
        ([np.zeros(3, int)], [np.zeros(4, int)], None, r"video 0.*\(3,\).*\(4,\)"),
        ([np.zeros(3, int)], [np.ones(3, int)], 1, "background 1"),
    ],
)
def test_bad_input_is_one_clear_line(predictions, truths, background, words):
    with pytest.raises(InputError, match=words) as caught:
        score_segmentation(predictions, truths, background)
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(label_lists, st.integers(0, 1000))
def test_every_score_is_a_plain_float_in_range(lists, seed):
    truths = [np.array(labels) for labels in lists]
    rng = np.random.default_rng(seed)
    scores = score_segmentation([rng.integers(0, 4, len(truth)) for truth in truths], truths)
    assert " ".join(scores) == "mof f1 miou ari edit f1_10 f1_25 f1_50 jsd mof_video f1_video miou_video"
    assert -1 <= scores["ari"] <= 1 and all(type(value) is float for value in scores.values())
    assert all(0 <= value < 2 for name, value in scores.items() if name != "ari")
