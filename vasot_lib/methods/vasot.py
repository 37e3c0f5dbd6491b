"""VASOT: one encoder for alignment and segmentation, both by fused Gromov-Wasserstein optimal transport.

    L = w_align L_xy + w_seg (L_xa + L_ya)

X and Y are two videos of one activity. L_xy is the alignment loss of VAOT between their frames; L_xa and L_ya are the
segmentation loss of ASOT between the frames of each video and the K action embeddings a_k. One encoder and one set of
action embeddings serve both tasks. Source: Ali et al., ICCV 2025; SPEC sections 2 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vasot_lib.checks import NotNegative, check_fields
from vasot_lib.data import Batch
from vasot_lib.encoders import Encoder
from vasot_lib.methods.asot import ASOT, SegmentationTerm
from vasot_lib.methods.vaot import VAOT, AlignmentTerm

# Adam moves a parameter by its learning rate in a step; s has to cover a few units within some hundred steps.
UNCERTAINTY_SCALE = 10.0


@dataclass(frozen=True)
class JointTerms:
    """Hyper-parameters of the joint objective.

    Attributes:
        alignment: hyper-parameters of L_xy, from frames to frames.
        segmentation: hyper-parameters of L_xa and L_ya, from frames to actions.
        w_align: weight of L_xy.
        w_seg: weight of L_xa + L_ya.
        weights: ``fixed``, or ``learned``: each loss L becomes exp(-s) L + s with a trainable s (Kendall, Gal and
            Cipolla, CVPR 2018), where w_align and w_seg only say with which weights the training starts. At the best s
            both losses have the same share in the sum.
    """

    alignment: AlignmentTerm = field(default_factory=AlignmentTerm)
    segmentation: SegmentationTerm = field(default_factory=SegmentationTerm)
    w_align: NotNegative = 1.0
    w_seg: NotNegative = 1.0
    weights: Literal["fixed", "learned"] = "fixed"

    def __post_init__(self) -> None:
        check_fields(self)


class VASOT(ASOT, VAOT):
    """Joint alignment and segmentation with a shared encoder and shared action embeddings."""

    name = "vasot"
    tasks = ("alignment", "segmentation")
    paired = True
    Hyper = JointTerms

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        if hyper.weights == "learned":
            self.uncertainty = nn.Parameter(torch.zeros(2))

    @property
    def alignment(self) -> AlignmentTerm:
        """Hyper-parameters of the alignment loss."""
        return self.hyper.alignment

    @property
    def segmentation(self) -> SegmentationTerm:
        """Hyper-parameters of the segmentation loss."""
        return self.hyper.segmentation

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Both losses of the pairs in the batch. One call of the solver gives the plans of L_xa and of L_ya."""
        x, y, mask_x, mask_y = (rows[side::2] for rows in (embedded, batch.mask) for side in (0, 1))
        terms, aligned = self.hyper.alignment.loss(x, y, mask_x, mask_y)
        terms = {name: self.hyper.w_align * value for name, value in terms.items()}
        # segmentation_loss averages over all 2B videos, X and Y alike, which is (L_xa + L_ya) / 2.
        segmentation, segmented = self.segmentation_loss(embedded, batch)
        terms["segmentation"] = self.hyper.w_seg * 2.0 * segmentation
        total = sum(terms.values())
        if self.hyper.weights == "learned":
            s = UNCERTAINTY_SCALE * self.uncertainty
            total = (torch.exp(-s) * torch.stack([total - terms["segmentation"], terms["segmentation"]]) + s).sum()
        return {"loss": total, **terms, "converged_alignment": aligned, "converged_segmentation": segmented}
