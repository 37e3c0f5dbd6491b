"""RGWOT: VAOT's alignment with a contrastive term on each video, made for procedure learning.

    L = L_xy + w (IDM(X) + IDM(Y))

L_xy is VAOT's loss, the cross-entropy with the fused Gromov-Wasserstein plan between the frames of X and Y. Alone it
can map all frames to a small part of the space. IDM, the contrastive inverse-difference-moment term of LAV, pulls
frames of one video together that are close in time and pushes the others apart; it is a sum over all pairs of frames,
L_xy a mean over frames. The embeddings are clustered to key steps (:mod:`vasot_kit.experiments.key_steps`).

Source: Mahmood et al., arXiv 2507.15540. The formula is that of its released code, which samples 32 frames and divides
the whole by their number, which Adam hardly notices. Its configuration could not be read; the release builds on that of
EgoProceL, where w is 1, the margin 2 and the window 10 seconds. The release can penalise both marginals instead of
fixing them; here that of Y can be (``alignment.transport.relax``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from vasot_lib.checks import NotNegative, Positive, check_fields
from vasot_lib.data import Batch
from vasot_lib.losses import idm_per_video
from vasot_lib.methods import VAOT, AlignmentTerm


@dataclass(frozen=True)
class RegularisedAlignment:
    """Hyper-parameters of RGWOT.

    Attributes:
        alignment: hyper-parameters of L_xy.
        weight: w, of IDM. With N times as many frames IDM has N^2 times as many pairs, so its influence grows with N.
        window: largest distance in time at which frames are pulled together, in frames of the video before sampling.
            The default is LAV's; EgoProceL has 300, which are 10 seconds.
        margin: squared distance of embeddings beyond which a pair of frames that are distant in time costs nothing.
    """

    alignment: AlignmentTerm = field(default_factory=AlignmentTerm)
    weight: NotNegative = 1.0
    window: NotNegative = 10.0
    margin: Positive = 2.0

    def __post_init__(self) -> None:
        check_fields(self)


class RGWOT(VAOT):
    """Alignment by VAOT's transport with a contrastive term on each video, for procedure learning."""

    name = "rgwot"
    Hyper = RegularisedAlignment
    replays = False

    @property
    def alignment(self) -> AlignmentTerm:
        """Hyper-parameters of L_xy."""
        return self.hyper.alignment

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms ``alignment`` (L_xy) and ``contrast`` (w IDM), each the mean over the pairs of the batch."""
        hyper: RegularisedAlignment = self.hyper
        x, y, mask_x, mask_y = (rows[side::2] for rows in (embedded, batch.mask) for side in (0, 1))
        terms, converged = hyper.alignment.loss(x, y, mask_x, mask_y)
        idm = idm_per_video(embedded, batch.mask, batch.index, hyper.window, hyper.margin)  # (2B,)
        contrast = hyper.weight * 2.0 * idm.mean()  # the mean over all videos is half of that over pairs of their sums
        loss = sum(terms.values(), contrast)
        return {"loss": loss, **terms, "contrast": contrast, "converged_alignment": converged}
