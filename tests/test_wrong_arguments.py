"""Wrong arguments of the library, as people pass them: one line that names the argument, no words of torch or NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vasot_kit.experiments.baselines import baseline_segmentations, equal_split, straight_line
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import uniform_label_transfer
from vasot_kit.experiments.key_steps import score_key_steps
from vasot_kit.experiments.plan_report import match_matrix
from vasot_kit.folders import load_folder
from vasot_kit.methods.soft_dtw import soft_dtw
from vasot_lib import losses
from vasot_lib.data import Dataset, Video, collate, toy
from vasot_lib.errors import DataError, InputError
from vasot_lib.evaluation import f1_sampled, frame_error, hungarian, label_transfer, score_alignment, score_segmentation
from vasot_lib.paths import dtw, viterbi
from vasot_lib.training import TrainingSettings
from vasot_lib.transport import (
    Alignment,
    Far,
    Near,
    Segmentation,
    add_dummy,
    align_long,
    cosine_cost,
    dummy_marginal,
    solve,
    temporal_prior,
)

X, Y, A = torch.randn(1, 8, 4), torch.randn(1, 9, 4), torch.randn(3, 4)
MASK_X, MASK_Y = torch.ones(1, 8, dtype=torch.bool), torch.ones(1, 9, dtype=torch.bool)
TRUE = np.array([0, 0, 1, 1])
NAN, TEXT, HALVES = np.array([0.0, np.nan, 1.0, 1.0]), np.array(list("aabb")), TRUE + 0.5
Match = Callable[..., object]
MATCHES: dict[str, Match] = {
    "align": Alignment(radius=0.3).match,
    "segment": lambda x, y, mask_x, mask_y: Segmentation(radius=0.3).match(x, y[0, :3], mask_x),
    "cost": lambda x, y, *masks: cosine_cost(x, y),
    "long": lambda x, y, *masks: align_long(x[0], y[0], Alignment(radius=0.3)),
    "loss": lambda x, y, *masks: losses.matching_loss(x, y, torch.rand(1, 8, 9), 0.1, *masks),
}
PAIRS = {
    "two types": (
        (X, Y.double(), MASK_X, MASK_Y),
        "is torch.float64 on cpu but x is torch.float32 on cpu; convert one",
    ),
    "integers": ((X.long(), Y.long(), MASK_X, MASK_Y), "x is torch.int64; convert it to torch.float32"),
    "arrays": ((X.numpy(), Y.numpy(), MASK_X, MASK_Y), "x is of type numpy.ndarray; pass a torch.Tensor"),
    "widths": ((X, Y[..., :3], MASK_X, MASK_Y), "make them fit"),
    "no frame": ((X[:, :0], Y, MASK_X[:, :0], MASK_Y), r"x has shape \((1, )?0, 4\); expected"),
    "flat mask": ((X, Y, MASK_X[0], MASK_Y[0]), r"mask_x has shape \(8,\); expected \(1, 8\)"),
    "mask of numbers": ((X, Y, MASK_X.long(), MASK_Y.long()), "mask_x is torch.int64; convert it to torch.bool"),
    "empty mask": ((X, Y, ~MASK_X, MASK_Y), "mask_x leaves a sample no real frame"),
}
WITHOUT_MASKS = ("cost", "long")


@pytest.mark.parametrize("case", PAIRS)
@pytest.mark.parametrize("name", MATCHES)
def test_embeddings_and_masks(name: str, case: str) -> None:
    if name in WITHOUT_MASKS and "mask" in case:
        pytest.skip("takes no mask")
    if (name, case) == ("segment", "arrays"):
        pytest.skip("the same check as in align")
    arguments, message = PAIRS[case]
    with pytest.raises(InputError, match=message) as caught:
        MATCHES[name](*arguments)
    assert "\n" not in str(caught.value)


def segment(**options: object) -> object:
    return Segmentation(radius=0.3).match(X, A, MASK_X, **options)  # type: ignore[arg-type]


def score(embeddings: object = None, labels: object = (TRUE, TRUE), **options: object) -> object:
    rows = [np.random.default_rng(0).normal(size=(4, 3))] * 2
    return score_alignment(embeddings or rows, labels, ordered=True, **options)  # type: ignore[arg-type]


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "half loss": (lambda: losses.contrastive_idm(X.half(), MASK_X), "x is torch.float16; convert it to"),
    "tau": (lambda: losses.matching_loss(X, Y, torch.rand(1, 8, 9), 0.0, MASK_X, MASK_Y), "tau is 0.0; it must be"),
    "targets": (lambda: losses.matching_loss(X, Y, torch.rand(1, 9, 8), 1.0, MASK_X, MASK_Y), r"targets have shape"),
    "window": (lambda: losses.contrastive_idm(X, MASK_X, window="a"), "window is 'a'"),  # type: ignore[arg-type]
    **{
        f"{what} {place}": (call, "must be whole numbers")
        for what, bad in (("nan", NAN), ("text", TEXT), ("halves", HALVES), ("none", [None] * 4))
        for place, call in {
            "predictions": lambda bad=bad: score_segmentation([bad], [TRUE]),
            "truth": lambda bad=bad: score_segmentation([TRUE], [bad]),
            "clusters": lambda bad=bad: hungarian(bad, TRUE),
            "labels": lambda bad=bad: score(labels=(bad, bad)),
            "transfer": lambda bad=bad: label_transfer(TRUE, bad, TRUE),
            "matches": lambda bad=bad: frame_error(bad, TRUE, 4),
        }.items()
    },
    "match beyond": (lambda: label_transfer(np.array([0, 4]), TRUE[:2], TRUE), "matches run from 0 to 4; Y has"),
    "no frame of Y": (lambda: frame_error(TRUE, TRUE, 0), "n_y is 0"),
    "stride": (lambda: score(stride=0), "stride is 0; it must be a whole number of at least 1"),
    "score seed": (lambda: score(seed=-1), "seed is -1; it must be a whole number of at least 0"),
    "toy seed": (lambda: toy(seed=-1), "seed is -1"),
    "k-means seed": (lambda: baseline_segmentations(toy(n_videos=2), -1), "seed is -1"),
    "training seed": (lambda: TrainingSettings(seed=-1), "TrainingSettings.seed is -1"),
    "epochs": (lambda: TrainingSettings(epochs="a"), "TrainingSettings.epochs is 'a'"),  # type: ignore[arg-type]
    "widths": (lambda: score([np.zeros((4, 3)), np.zeros((4, 2))]), "video 1: embeddings have width 2 and those of"),
    "text embeddings": (lambda: score([np.array([["a"]] * 4)] * 2), "video 0: embeddings are <U1; expected"),
    "tolerance": (lambda: solve(torch.rand(1, 4, 4), tolerance=float("nan")), "tolerance is nan"),
    "finish": (lambda: solve(torch.rand(1, 4, 4), finish="a"), "finish is 'a'"),  # type: ignore[arg-type]
    "bins": (lambda: align_long(X[0], Y[0], Alignment(), bins="a"), "bins is 'a'"),  # type: ignore[arg-type]
    "sweeps": (lambda: align_long(X[0], Y[0], Alignment(), sweeps=-1), "sweeps is -1"),
    "prior": (lambda: temporal_prior(0, 3), "n is 0"),
    "rho": (lambda: Alignment(rho=1e300), "Alignment.rho is 1e.300; it must be a finite number of at least 0"),
    "collated": (lambda: collate([Video("v", torch.zeros(4, 3)), Video("w", torch.zeros(4, 2))], 4, None), "widths"),
    "metric": (lambda: dtw(np.zeros((3, 2)), np.zeros((3, 2)), metric="cosin"), "unknown metric 'cosin' .did you mean"),
    "lengths": (lambda: soft_dtw(torch.zeros(1, 3, 3), 1.0, torch.tensor([9])), r"lengths_x are \[9\]; expected"),
    "no scores": (lambda: viterbi(np.zeros((0, 3))), r"the scores have shape \(0, 3\)"),
    "text scores": (lambda: viterbi([["a"]]), "scores: could not convert string to float: 'a'; expected an array of"),
    "switch": (lambda: viterbi(np.zeros((3, 2)), switch="a"), "switch is 'a'"),  # type: ignore[arg-type]
    "array": (lambda: Video("v", np.zeros((4, 3))), "features is of type numpy.ndarray"),  # type: ignore[arg-type]
    "name": (lambda: Video(3, torch.zeros(4, 3)), "Video.name is 3; it must be text"),  # type: ignore[arg-type]
    "table of labels": (
        lambda: Video("v", torch.zeros(4, 3), torch.zeros(4, 2, dtype=torch.int64)), r"labels have shape \(4, 2\)"
    ),
    "n_actions": (lambda: Dataset("d", (Video("v", torch.zeros(4, 3)),), n_actions=-1), "n_actions is -1"),
    "parts": (lambda: equal_split((), 3), r"n_frames is \(\); it must be"),  # type: ignore[arg-type]
    "line": (lambda: straight_line(17, 0), "m is 0; it must be a whole number of at least 1"),
    "one label": (lambda: label_transfer(TRUE, 3, TRUE), r"labels of X have shape \(\); they must be \(frames,\)"),
    "labels of two kinds": (lambda: uniform_label_transfer([1, "a"], TRUE), "labels of X hold <U21, first '1'"),
    "uneven labels": (lambda: hungarian([[1], [1, 2]], TRUE), "clusters are no array .*; give whole numbers"),
    "order": (lambda: viterbi(np.zeros((3, 2)), order=0.5), r"order hold float64"),  # type: ignore[arg-type]
    "huge": (lambda: dtw(np.full((3, 2), 1e300), np.zeros((3, 2))), "beyond 1e.100"),
    "gamma": (lambda: soft_dtw(torch.zeros(1, 3, 3), 1e39), "gamma is 1e.39; .* at most 1000000000000"),
    "tiny tau": (lambda: losses.matching_loss(X, Y, torch.rand(1, 8, 9), 1e-46, MASK_X, MASK_Y), "tau is 1e-46"),
    "no targets": (lambda: losses.matching_loss(X, Y, None, 0.1, MASK_X, None), "targets is of type"),  # type: ignore[arg-type]
    "dummy mask": (lambda: dummy_marginal(~MASK_X, None), "a real frame in every sample"),
    "no dummy mask": (lambda: dummy_marginal(None, None), "mask is of type NoneType"),  # type: ignore[arg-type]
    "zeta": (lambda: add_dummy(X, float("nan")), "zeta is nan"),
    "no real frame": (lambda: temporal_prior(3, 2, torch.tensor([0])), r"lengths are \[0\]; every sample needs a real"),
    "data set": (lambda: make_config(0.5, "vasot"), "dataset is 0.5; it must be text"),  # type: ignore[arg-type]
    "overrides": (lambda: make_config("toy", "vasot", overrides=["training.lr"]), "overrides are ..training.lr"),  # type: ignore[arg-type]
    "trim": (lambda: load_folder(".", trim="no"), "trim is 'no'"),  # type: ignore[arg-type]
    "a method that only segments": (
        lambda: match_matrix(build(make_config("toy", "asot"), toy(2)), *toy(2).videos), "'asot' does not align; it"
    ),
    "radii for structure": (lambda: solve(X, (0.3, 0.3), alpha=0.3), r"structure is \(0.3, 0.3\); pass structure="),  # type: ignore[arg-type]
    "classes for structure": (lambda: solve(X, (Near, Far), alpha=0.3), "structure is .*; pass structure"),  # type: ignore[arg-type]
    "batch of long": (lambda: align_long(X, Y, Alignment()), r"x has shape \(1, 8, 4\) and y .*; pass one pair"),
    "no recipe": (lambda: align_long(X[0], Y[0], None), "recipe is None; pass the settings of an alignment"),  # type: ignore[arg-type]
    "other recipe": (lambda: align_long(X[0], Y[0], Segmentation()), "recipe is Segmentation.*; pass"),  # type: ignore[arg-type]
    "no labels of Y": (lambda: label_transfer(-np.ones(4, int), TRUE, TRUE[:0]), "the number of labels of Y is 0"),
    "no width": (lambda: score([np.zeros((4, 0))] * 2), r"video 0: embeddings have shape \(4, 0\)"),
    "shape of a prior": (lambda: segment(prior=torch.zeros(1, 8, 2)), r"prior has shape \(1, 8, 2\); expected"),
    "array for a prior": (lambda: segment(prior=np.zeros((1, 8, 3))), "prior is of type numpy.ndarray; pass"),
    "list of lengths": (lambda: temporal_prior(3, 3, [3]), "lengths is of type list; pass a torch.Tensor"),  # type: ignore[arg-type]
    "lengths beyond": (lambda: temporal_prior(3, 3, torch.tensor([4])), r"lengths are \[4\]; every .* has at most 3"),
    "recordings without steps": (lambda: score_key_steps([TRUE], [TRUE] * 2), "1 recordings with key steps for 2 with"),
    "name of a step": (lambda: score_key_steps([TRUE], [TRUE], "a"), "background is 'a'; it must be"),  # type: ignore[arg-type]
    "repetitions": (lambda: f1_sampled([TRUE], [TRUE], None, np.random.default_rng(0), 0), "repetitions is 0"),
    "beyond int64": (lambda: hungarian(np.full(4, 2**64 - 1, np.uint64), TRUE), "hold 18446744073709551615; give"),
    "no batch": (lambda: Alignment().match(X[0], Y[0], MASK_X[0], MASK_Y[0]), r"x has shape \(8, 4\); with a mask, it"),
    "integer cost": (lambda: add_dummy(X.long(), 0.5), "cost is torch.int64; convert it to torch.float32"),
    "background": (lambda: Dataset("d", (Video("v", torch.zeros(4, 3)),), ("a",), background=4), "background is 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_line_names_the_argument(case: str) -> None:
    call, message = CASES[case]
    with pytest.raises((InputError, DataError), match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
