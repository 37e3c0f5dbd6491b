"""Scores of alignments, segmentations and embeddings (SPEC section 9)."""

from vasot_lib.evaluation.alignment import frame_error, label_transfer, score_alignment
from vasot_lib.evaluation.collapse import measure_collapse
from vasot_lib.evaluation.segmentation import f1_sampled, frame_scores, hungarian, score_segmentation, segments

__all__ = [
    "measure_collapse",
    "f1_sampled",
    "frame_error",
    "frame_scores",
    "hungarian",
    "label_transfer",
    "score_alignment",
    "score_segmentation",
    "segments",
]
