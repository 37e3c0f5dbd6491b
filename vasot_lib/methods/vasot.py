"""VASOT: one encoder for alignment and segmentation, both by fused Gromov-Wasserstein optimal transport.

    L = w_align L_xy + w_seg (L_xa + L_ya)

X and Y are two videos of one activity, a_k the action embeddings; the encoder and the actions are shared.
Source: Ali et al., ICCV 2025; SPEC sections 2 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vasot_lib.checks import NotNegative, check_fields
from vasot_lib.data import Batch, Video
from vasot_lib.methods.asot import ASOT, SegmentationTerm
from vasot_lib.methods.vaot import AlignmentTerm


@dataclass(frozen=True)
class JointTerms:
    """Hyper-parameters of the joint objective.

    Attributes:
        alignment: the frame-to-frame term.
        segmentation: the frame-to-action term.
        w_align: weight of L_xy.
        w_seg: weight of L_xa + L_ya.
    """

    alignment: AlignmentTerm = field(default_factory=AlignmentTerm)
    segmentation: SegmentationTerm = field(default_factory=SegmentationTerm)
    w_align: NotNegative = 1.0
    w_seg: NotNegative = 1.0

    def __post_init__(self) -> None:
        check_fields(self)


class VASOT(ASOT):
    """Joint alignment and segmentation: shared encoder and action embeddings, both losses added."""

    name = "vasot"
    tasks = ("alignment", "segmentation")
    paired = True
    Hyper = JointTerms

    @property
    def segmentation(self) -> SegmentationTerm:
        """The segmentation term among the hyper-parameters."""
        return self.hyper.segmentation

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Both losses over the pairs of the batch; L_xa and L_ya come from one solve."""
        self.actions.renormalise()
        terms = self.hyper.alignment.loss(embedded[0::2], embedded[1::2], batch.mask[0::2], batch.mask[1::2])
        terms = {name: self.hyper.w_align * value for name, value in terms.items()}
        # The mean over all rows is (L_xa + L_ya) / 2.
        segmentation = 2.0 * self.segmentation.loss(embedded, self.actions.weight, batch.mask)
        terms["segmentation"] = self.hyper.w_seg * segmentation
        return {"loss": sum(terms.values()), **terms}

    @torch.no_grad()
    def align(self, x: Video, y: Video) -> Tensor:
        """Best match of each frame of X under the transport plan."""
        return self.hyper.alignment.align(self.embed(x), self.embed(y))
