"""LAV: learning by aligning videos in time.

    L = [ softDTW_gamma(D) + alpha (IDM(X) + IDM(Y)) ] / N,   D_ij = |x_i - y_j|^2

Soft-DTW pulls two videos together along an order-preserving path, which a single point for all frames would satisfy
best; the contrastive inverse-difference-moment IDM keeps frames of one video that are far apart in time apart in the
embedding. Source: Haresh et al., CVPR 2021; SPEC section 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasot_lib.checks import NotNegative, Positive, check_fields
from vasot_lib.data import Batch, Video
from vasot_lib.losses import idm_per_video, squared_distances
from vasot_lib.methods.base import Method
from vasot_lib.paths import dtw, soft_dtw


@dataclass(frozen=True)
class TimeWarping:
    """Hyper-parameters of soft-DTW and of what keeps it from collapse.

    Attributes:
        gamma: smoothing of soft-DTW.
        alpha: weight of the IDM of both videos. IDM sums over N^2 pairs and soft-DTW over about N, so the same alpha
            weighs N / 20 times as much on N frames as on the 20 of the publication.
        window: frames of the video, counted before sampling, within which frames are pulled together.
        margin: squared distance from which frames further apart in time are left alone.
    """

    gamma: Positive = 0.1
    alpha: NotNegative = 0.5
    window: NotNegative = 10.0
    margin: Positive = 2.0

    def __post_init__(self) -> None:
        check_fields(self)


class LAV(Method):
    """Alignment by soft dynamic time warping and a contrastive term over time.

    Time in the IDM is the frame number in the video over its length, as in the released code; the length is taken to
    end at the last sampled frame. Both videos have N frames there; here N is the mean of the two lengths.
    """

    name = "lav"
    tasks = ("alignment",)
    paired = True
    Hyper = TimeWarping

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``alignment`` (soft-DTW) and ``contrast`` (IDM), means over the pairs of the batch."""
        hyper: TimeWarping = self.hyper
        lengths = batch.mask.sum(1)
        n, m = lengths[0::2], lengths[1::2]
        cost = squared_distances(embedded[0::2], embedded[1::2])  # (B, N, M)
        idm = idm_per_video(embedded, batch.mask, batch.index, hyper.window, hyper.margin)  # (2B,)
        frames = (n + m) / 2
        alignment = (soft_dtw(cost, hyper.gamma, n, m) / frames).mean()
        contrast = hyper.alpha * ((idm[0::2] + idm[1::2]) / frames).mean()
        return {"loss": alignment + contrast, "alignment": alignment, "contrast": contrast}

    @torch.no_grad()
    def align(self, x: Video, y: Video) -> Tensor:
        """(N,) the frame of Y for each frame of X on the cheapest monotone path: dynamic time warping without gamma."""
        path = dtw(self.embed(x).cpu().numpy(), self.embed(y).cpu().numpy(), "sqeuclidean")
        return torch.from_numpy(path).to(self.device)
