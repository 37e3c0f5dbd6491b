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
        weights: ``fixed``; or ``learned``: each loss L becomes exp(-s) L + s with a trainable s (Kendall, Gal and
            Cipolla, CVPR 2018), where w_align and w_seg only say with which weights the training starts. At the best s
            both losses have the same share in the sum. ``pcgrad`` and ``nash`` multiply both losses in every step by
            the weights of :func:`gradient_weights`.
    """

    alignment: AlignmentTerm = field(default_factory=AlignmentTerm)
    segmentation: SegmentationTerm = field(default_factory=SegmentationTerm)
    w_align: NotNegative = 1.0
    w_seg: NotNegative = 1.0
    weights: Literal["fixed", "learned", "pcgrad", "nash"] = "fixed"

    def __post_init__(self) -> None:
        check_fields(self)


def gradient_weights(gradients: Tensor, how: Literal["pcgrad", "nash"]) -> Tensor:
    """(2,) weights of two losses from how their gradients agree.

    ``pcgrad`` takes from each gradient its part against the other, if there is one (Yu et al., NeurIPS 2020):
    ``1 - min(0, g_1 . g_2) / |g_i|^2``. ``nash`` solves the bargaining problem of Navon et al. (ICML 2022), for two
    losses ``1 / (|g_i| sqrt(1 + cos(g_1, g_2)))``: both weighted gradients have the same length.

    Args:
        gradients: (2, n), of the losses in the embeddings of the frames.
        how: ``pcgrad`` or ``nash``.

    >>> gradient_weights(torch.tensor([[2.0, 0.0], [-1.0, 1.0]]), "pcgrad")
    tensor([1.5000, 2.0000])
    """
    squares, product = gradients.square().sum(1).clamp_min(1e-24), gradients[0] @ gradients[1]
    if how == "pcgrad":
        return 1 - product.clamp_max(0.0) / squares
    lengths = squares.sqrt()
    return 1 / (lengths * (1 + product / lengths.prod()).clamp_min(1e-6).sqrt())


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
        if self.hyper.weights != "fixed":
            total = self._weighted(torch.stack([total - terms["segmentation"], terms["segmentation"]]), embedded)
        return {"loss": total, **terms, "converged_alignment": aligned, "converged_segmentation": segmented}

    def _weighted(self, losses: Tensor, embedded: Tensor) -> Tensor:
        """The sum of both losses as ``weights`` says; several processes weigh each by what their own videos give."""
        if self.hyper.weights == "learned":
            s = UNCERTAINTY_SCALE * self.uncertainty
            return (torch.exp(-s) * losses + s).sum()
        if not embedded.requires_grad:
            return losses.sum()
        gradients = [torch.autograd.grad(loss, embedded, retain_graph=True)[0].flatten() for loss in losses]
        return gradient_weights(torch.stack(gradients), self.hyper.weights) @ losses
