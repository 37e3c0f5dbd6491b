"""VAOT: video alignment by fused Gromov-Wasserstein optimal transport.

    L = L_xy,   L_xy = - mean_i sum_j T*_ij log softmax_j(x_i . y_j / tau)

x_i and y_j are unit-length embeddings of the frames of two videos X and Y, tau is a temperature. The targets T* come
from the balanced transport plan between the frames of X and the frames of Y, with structural priors (Near for X, Far
for Y), temporal prior and dummy frames; no gradient flows through the plan.
Source: Ali et al., ICCV 2025; SPEC sections 2 to 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

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
        transport: the transport problem whose plan gives the targets T*.
        tau: temperature of the softmax.
        symmetric: average L_xy and L_yx [ours]; the release computes L_xy only.
        contrast: weight of the contrastive inverse-difference-moment term, which works against a collapse of the
            embeddings (:func:`vasot_lib.losses.contrastive_idm`); 0 leaves it out.
    """

    transport: Alignment = field(default_factory=Alignment)
    tau: Positive = 0.1
    symmetric: bool = False
    contrast: NotNegative = 0.0

    def __post_init__(self) -> None:
        check_fields(self)

    def loss(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The scalar loss terms ``alignment`` and, if it has a weight, ``contrast``; and the share of converged plans.

        Args:
            x: (B, N, D) unit-length embeddings of the frames of X.
            y: (B, M, D) unit-length embeddings of the frames of Y.
            mask_x: (B, N) bool, True on real frames.
            mask_y: (B, M) bool.
        """
        with torch.no_grad():
            targets = self.transport.match(x, y, mask_x, mask_y)
        loss = matching_loss(x, y, targets.x_to_y, self.tau, mask_x, mask_y)
        if self.symmetric:
            loss = (loss + matching_loss(y, x, targets.y_to_x, self.tau, mask_y, mask_x)) / 2
        terms = {"alignment": loss}
        if self.contrast:
            terms["contrast"] = self.contrast * (contrastive_idm(x, mask_x) + contrastive_idm(y, mask_y))
        return terms, targets.plan.converged.float().mean()

    def align(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        """(B, N) frame of Y with the largest entry in each row of the plan; -1 if most of the mass went to the dummy.

        Arguments as in :meth:`loss`; what stands on padding means nothing.
        """
        rows, to_dummy = self._rows(x, y, mask_x, mask_y)
        return rows.argmax(2).masked_fill(to_dummy > 0.5, -1)

    def dummy_share(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        """(B, N) share of the mass of each frame of X that went to the dummy; likewise."""
        return self._rows(x, y, mask_x, mask_y)[1]

    def _rows(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, M) plan between real frames, and (B, N) the shares of the dummy."""
        plan = self.transport.match(x, y, mask_x, mask_y).plan.matrix[:, -x.shape[1] :]  # without the dummy's row
        dummy, real = plan[:, :, : -y.shape[1]], plan[:, :, -y.shape[1] :]
        return real, dummy.sum(2) / plan.sum(2)


class VAOT(Method):
    """Alignment by balanced fused Gromov-Wasserstein transport with structural priors and dummy frames."""

    name = "vaot"
    tasks: ClassVar[tuple[str, ...]] = ("alignment",)
    paired = True
    Hyper: ClassVar[type] = AlignmentTerm
    replays = True

    @property
    def alignment(self) -> AlignmentTerm:
        """Hyper-parameters of the alignment loss; VASOT keeps them in a field of its own."""
        return self.hyper

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Alignment loss of the pairs in the batch."""
        terms, converged = self.hyper.loss(embedded[0::2], embedded[1::2], batch.mask[0::2], batch.mask[1::2])
        return {"loss": sum(terms.values()), **terms, "converged_alignment": converged}

    def align(self, x: Video, y: Video) -> Tensor:
        """(N,) frame of Y with the largest entry in each row of the plan; -1 if most of the mass went to the dummy."""
        return self._read(self.alignment.align, x, y)

    def dummy_share(self, x: Video, y: Video) -> Tensor:
        """(N,) share of the mass of each frame of X that went to the dummy."""
        return self._read(self.alignment.dummy_share, x, y)

    @torch.no_grad()
    def _read(self, what: Callable[..., Tensor], x: Video, y: Video) -> Tensor:
        embedded = [self.embed(video)[None] for video in (x, y)]
        return what(*embedded, *(torch.ones(e.shape[:2], dtype=torch.bool, device=e.device) for e in embedded))[0]
