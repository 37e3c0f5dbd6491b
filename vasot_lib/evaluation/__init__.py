"""Scores of alignments, segmentations and transport plans, and baselines that need no learning (SPEC section 9)."""

from vasot_lib.evaluation.alignment import frame_error, label_transfer, score_alignment
from vasot_lib.evaluation.baselines import (
    baseline_embeddings,
    baseline_segmentations,
    equal_split,
    kmeans_segmentation,
    straight_line,
)
from vasot_lib.evaluation.collapse import measure_collapse
from vasot_lib.evaluation.segmentation import f1_sampled, frame_scores, hungarian, score_segmentation, segments

__all__ = [
    "baseline_embeddings",
    "baseline_segmentations",
    "measure_collapse",
    "equal_split",
    "f1_sampled",
    "frame_error",
    "frame_scores",
    "hungarian",
    "kmeans_segmentation",
    "label_transfer",
    "score_alignment",
    "score_segmentation",
    "segments",
    "straight_line",
]
