"""CTE: segmentation by clustering embeddings that are trained to predict relative time.

    L = mean_i (w . sigmoid(x_i) + b - i / N)^2

x_i is the embedding of frame i of a video with N frames; encoder, w and b learn to predict its relative time i / N.
After training, K-means on the embeddings of all videos gives K actions. They are ordered by the mean relative time of
their frames, and a Gaussian is fitted to the embeddings of each. Viterbi then segments every video into these actions,
in this order, with the highest likelihood. Source: Kukleva et al., CVPR 2019; SPEC section 10.
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
    """Hyper-parameters of CTE.

    Attributes:
        ridge: added to the diagonal of the covariance of every action, so that it can be inverted [release].
    """

    ridge: Positive = 1e-4

    def __post_init__(self) -> None:
        check_fields(self)


class CTE(Method):
    """Segmentation by regression of relative time, K-means and Viterbi, without repeating these steps, as released.

    Differences from the release: the encoder is the one that all methods here share (with ReLU, not a sigmoid, between
    its layers); a training step takes whole videos instead of 256 frames of any videos; K-means sees all frames at once
    instead of batches of 50; and there is no background model, which the release uses on YouTube Instructions only. The
    release clusters the videos of each activity separately; to do the same, train on one activity at a time.

    Attributes:
        head: the linear regression w, b.
        means: (K, D) mean embedding of each action; actions are numbered by the mean relative time of their frames.
        cholesky_factors: (K, D, D) Cholesky factors of the covariances; all zero until training has finished.
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
        """Squared error of the predicted relative time, the mean over the frames of a video and then over videos."""
        n = batch.mask.sum(1, keepdim=True)
        # Sampled frame i lies in bin i of N, so its relative time is i / N up to an error of 1 / N.
        time = torch.arange(batch.mask.shape[1], device=n.device, dtype=embedded.dtype) / n  # (B, N)
        error = (self.head(embedded.sigmoid()).squeeze(2) - time).square()
        return {"loss": ((error * batch.mask).sum(1, keepdim=True) / n).mean()}

    @torch.no_grad()
    def finalise(self, dataset: Dataset, generator: torch.Generator) -> None:
        """Cluster the embeddings of all frames by K-means, order the clusters by time and fit a Gaussian to each.

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
        """(N,) action of each frame: the most likely segmentation in which actions 0 to K - 1 follow in this order.

        The release also subtracts log 2 per frame, both for staying in an action and for moving to the next one. As it
        subtracts the same for every segmentation, it is left out here.

        Raises:
            InputError: the method has not been trained, or the video has fewer than K frames.
        """
        if not self.cholesky_factors.any():
            raise InputError("method 'cte' finds its actions at the end of the training; call fit() before segment()")
        self.refuse_shorter(video)
        x, means, cholesky_factors = (
            value.cpu().double() for value in (self.embed(video), self.means, self.cholesky_factors)
        )
        likelihood = MultivariateNormal(means, scale_tril=cholesky_factors).log_prob(x[:, None])  # (N, K)
        return torch.from_numpy(viterbi(likelihood.numpy(), order=range(self.n_actions)))
