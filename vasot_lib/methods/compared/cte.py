"""CTE: a continuous temporal embedding, clustered, and decoded in the mean order of the clusters.

    L = mean_i (w . sigmoid(x_i) + b - i / N)^2

The encoder learns to tell the relative time of a frame, i / N. After training, K-means over the embeddings of all
videos gives the actions, a Gaussian per action their likelihoods, and the mean relative time their one order; Viterbi
then cuts every video in that order. Source: Kukleva et al., CVPR 2019; SPEC section 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from vasot_lib.checks import Positive, check_fields
from vasot_lib.data import Batch, Dataset, Video
from vasot_lib.encoders import Encoder
from vasot_lib.errors import InputError
from vasot_lib.methods.base import Method
from vasot_lib.paths import viterbi


@dataclass(frozen=True)
class TemporalEmbedding:
    """Hyper-parameters of the decoding; the regression has none.

    Attributes:
        ridge: added to the diagonal of every action's covariance. [release]
    """

    ridge: Positive = 1e-4

    def __post_init__(self) -> None:
        check_fields(self)


class CTE(Method):
    """Segmentation by regression of relative time, K-means and Viterbi: one pass, without iterations, as released.

    Against the release: the encoder is the one that all methods share (ReLU between its layers, where the release has a
    sigmoid); a step takes whole videos, not 256 frames of any; K-means sees all frames at once, not in batches of 50;
    and there is no background model, which the release uses on YouTube Instructions alone. The release clusters each
    activity by itself: give one activity per data set to do the same.

    Attributes:
        means: (K, D) mean embedding of each action; actions are numbered by the mean relative time of their frames.
        cholesky_factors: (K, D, D) Cholesky factors of the covariances; all zero before the training is over.
    """

    name = "cte"
    tasks = ("segmentation",)
    paired = False
    Hyper = TemporalEmbedding
    unit_length = False
    means: Tensor
    cholesky_factors: Tensor

    def __init__(self, encoder: Encoder, n_actions: int, hyper: TemporalEmbedding):
        super().__init__(encoder, n_actions, hyper)
        self.head = nn.Linear(encoder.n_out, 1)
        self.register_buffer("means", torch.zeros(n_actions, encoder.n_out))
        self.register_buffer("cholesky_factors", torch.zeros(n_actions, encoder.n_out, encoder.n_out))

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Squared error of the relative time, mean over the frames of a video and then over videos."""
        n = batch.mask.sum(1, keepdim=True)
        # The number of its bin places a sampled frame to within 1 / N; the length of its video is not in the batch.
        time = torch.arange(batch.mask.shape[1], device=n.device, dtype=embedded.dtype) / n  # (B, N)
        error = (self.head(embedded.sigmoid()).squeeze(2) - time).square()
        return {"loss": ((error * batch.mask).sum(1, keepdim=True) / n).mean()}

    @torch.no_grad()
    def finalise(self, dataset: Dataset, generator: torch.Generator) -> None:
        """K-means on the embeddings of all frames; its clusters in order of time, each as a Gaussian.

        Raises:
            InputError: fewer than K different embeddings.
        """
        frames = torch.cat([self.embed(video) for video in dataset.videos]).numpy()
        time = np.concatenate([np.arange(len(video)) / len(video) for video in dataset.videos])
        if (found := len(np.unique(frames, axis=0))) < self.n_actions:
            raise InputError(
                f"K is {self.n_actions} but the embeddings of all frames have {found} different value(s); "
                "lower lr or weight_decay, or ask for fewer actions"
            )
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        cluster = KMeans(n_clusters=self.n_actions, n_init=10, random_state=seed).fit_predict(frames)
        order = np.argsort([time[cluster == k].mean() for k in range(self.n_actions)])
        for action, k in enumerate(order):
            members = frames[cluster == k].astype(np.float64)
            covariance = np.atleast_2d(np.cov(members, rowvar=False, bias=True))
            scale = np.linalg.cholesky(covariance + self.hyper.ridge * np.eye(members.shape[1]))
            self.means[action] = torch.from_numpy(members.mean(0))
            self.cholesky_factors[action] = torch.from_numpy(scale)

    @torch.no_grad()
    def segment(self, video: Video) -> Tensor:
        """Action of each frame: the cut into actions 0 to K - 1, in that order, of highest likelihood.

        The release charges log 2 for every frame, whether it stays in its action or goes on to the next; that is no
        charge at all.

        Raises:
            InputError: the method has not been trained, or the video has fewer than K frames.
        """
        if not self.cholesky_factors.any():
            raise InputError("method 'cte' finds its actions at the end of the training; call fit() before segment()")
        x, means, cholesky_factors = (
            value.cpu().double() for value in (self.embed(video), self.means, self.cholesky_factors)
        )
        likelihood = MultivariateNormal(means, scale_tril=cholesky_factors).log_prob(x[:, None])  # (N, K)
        return torch.from_numpy(viterbi(likelihood.numpy(), order=range(self.n_actions)))
