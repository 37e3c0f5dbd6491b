"""VAOT: video alignment by fused Gromov-Wasserstein optimal transport.

    L = L_xy,   L_xy = - mean_i sum_j T*_ij log softmax_j(x_i . y_j / tau)

T* is the balanced transport plan between the frames of X and of Y with structural priors (Near, Far), temporal prior
and dummy frames. Source: Ali et al., ICCV 2025; SPEC sections 2 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vasot_lib.checks import NotNegative, Positive, check_fields
from vasot_lib.data import Batch, Video
from vasot_lib.losses import contrastive_idm, matching_loss
from vasot_lib.methods.base import Method
from vasot_lib.transport import Alignment


@dataclass(frozen=True)
class AlignmentTerm:
    """Hyper-parameters of the alignment loss.

    Attributes:
        transport: how the targets are made.
        tau: temperature of the softmax.
        symmetric: average the loss over X to Y and Y to X. [ours]; the release uses X to Y only.
        contrast: weight of the contrastive inverse-difference-moment term; 0 leaves it out.
    """

    transport: Alignment = field(default_factory=Alignment)
    tau: Positive = 0.1
    symmetric: bool = False
    contrast: NotNegative = 0.0

    def __post_init__(self) -> None:
        check_fields(self)

    def loss(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> dict[str, Tensor]:
        """``alignment`` and, where it is weighted, ``contrast``, from (B, N, D) and (B, M, D) embeddings."""
        with torch.no_grad():
            targets = self.transport.match(x, y, mask_x, mask_y)
        loss = matching_loss(x, y, targets.x_to_y, self.tau, mask_x, mask_y)
        if self.symmetric:
            loss = (loss + matching_loss(y, x, targets.y_to_x, self.tau, mask_y, mask_x)) / 2
        terms = {"alignment": loss}
        if self.contrast:
            terms["contrast"] = self.contrast * (contrastive_idm(x, mask_x) + contrastive_idm(y, mask_y))
        return terms

    def align(self, x: Tensor, y: Tensor) -> Tensor:
        """(N,) column of the largest entry in each row of the plan between (N, D) and (M, D) embeddings."""
        masks = (torch.ones(1, len(e), dtype=torch.bool, device=e.device) for e in (x, y))
        # Soft handling: also a frame that mostly went to the dummy has a best real match.
        return self.transport.match(x[None], y[None], *masks).plan.matrix[0, -len(x) :, -len(y) :].argmax(1)


class VAOT(Method):
    """Alignment by balanced fused Gromov-Wasserstein transport with structural priors and dummy frames."""

    name = "vaot"
    tasks = ("alignment",)
    paired = True
    Hyper = AlignmentTerm

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Alignment loss over the pairs of the batch."""
        terms = self.hyper.loss(embedded[0::2], embedded[1::2], batch.mask[0::2], batch.mask[1::2])
        return {"loss": sum(terms.values()), **terms}

    @torch.no_grad()
    def align(self, x: Video, y: Video) -> Tensor:
        """Best match of each frame of X under the transport plan."""
        return self.hyper.align(self.embed(x), self.embed(y))
