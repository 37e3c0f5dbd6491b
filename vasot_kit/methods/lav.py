"""LAV: alignment by soft dynamic time warping.

    L = [ softDTW_gamma(D) + alpha (IDM(X) + IDM(Y)) ] / N,   D_ij = |x_i - y_j|^2

x_i and y_j are the unit-length embeddings of two videos with N frames. Soft-DTW is small if they agree along a path
that preserves their order. Alone it would be minimised by giving all frames the same embedding; therefore the
contrastive inverse-difference-moment IDM pushes frames of one video apart that are distant in time.
Source: Haresh et al., CVPR 2021; SPEC section 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasot_kit.methods.soft_dtw import soft_dtw
from vasot_lib.checks import NotNegative, Positive, check_fields
from vasot_lib.data import Batch, Video
from vasot_lib.losses import idm_per_video, squared_distances
from vasot_lib.methods.base import Method
from vasot_lib.paths import dtw


@dataclass(frozen=True)
class TimeWarping:
    """Hyper-parameters of LAV.

    Attributes:
        gamma: smoothing of soft-DTW.
        alpha: weight of the IDM. IDM is a sum over N^2 pairs of frames and soft-DTW one over about N cells, so a given
            alpha has N / 20 times as much influence with N frames as with the 20 frames of the publication.
        window: largest distance in time at which frames are pulled together, in frames of the video before sampling.
        margin: squared distance of embeddings beyond which a pair of frames that are distant in time costs nothing.
    """

    gamma: Positive = 0.1
    alpha: NotNegative = 0.5
    window: NotNegative = 10.0
    margin: Positive = 2.0

    def __post_init__(self) -> None:
        check_fields(self)


class LAV(Method):
    """Alignment by soft-DTW and a contrastive term on each video.

    As in the released code, the IDM measures time by the frame number in the original video over its length; the last
    sampled frame is taken for the end of the video. N is the mean of the two numbers of sampled frames.
    """

    name = "lav"
    tasks = ("alignment",)
    paired = True
    Hyper = TimeWarping

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms ``alignment`` (soft-DTW) and ``contrast`` (IDM), each the mean over the pairs of the batch."""
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
        """(N,) frame of Y for each frame of X on the path of dynamic time warping (without smoothing)."""
        path = dtw(self.embed(x).cpu().numpy(), self.embed(y).cpu().numpy(), "sqeuclidean")
        return torch.from_numpy(path).to(self.device)
