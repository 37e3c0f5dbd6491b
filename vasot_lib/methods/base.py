"""The one interface that every method stands behind, and the parts that several share."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor, nn

from vasot_lib.data import Batch, Dataset, Video, collate
from vasot_lib.encoders import Encoder
from vasot_lib.errors import InputError


class Method(nn.Module):
    """A learner: ``forward(batch)`` gives its loss, ``embed``, ``align`` and ``segment`` use what it learnt.

    A new method is one file: a frozen dataclass of hyper-parameters, a subclass that names it in ``Hyper`` and defines
    ``terms``, an entry in ``vasot_lib.methods.METHODS`` and its presets in ``vasot_kit.experiments.presets``.

    Attributes:
        name: as in the registry.
        tasks: ``"alignment"``, ``"segmentation"`` or both: what it is trained and scored for.
        paired: batches hold pairs of videos (rows 2k and 2k + 1) instead of single ones.
        Hyper: frozen dataclass of the method's own hyper-parameters, with the published values as defaults.
        unit_length: its encoder gives embeddings of length 1.
        learns: False for a method without training; ``fit`` then takes no step.
        shared_actions: action k of one video is action k of every other; False for a method that looks at one video
            at a time, whose segmentations are scored at video level only.
        epoch, step: how far the training is, counted from 0 and set by the training loop; schedules read them.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    paired: ClassVar[bool]
    Hyper: ClassVar[type]
    unit_length: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    shared_actions: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__()
        self.epoch = 0
        self.step = 0
        self.encoder = encoder
        self.n_actions = n_actions
        self.hyper = hyper

    def initialise(self, dataset: Dataset, n_frames: int, generator: torch.Generator) -> None:
        """What has to look at the data before the first step; nothing by default.

        Args:
            dataset: the training data.
            n_frames: frames sampled per video.
            generator: every random choice comes from here.
        """

    def finalise(self, dataset: Dataset, generator: torch.Generator) -> None:
        """What is fitted to the trained embeddings at the end, on the CPU, and kept in buffers; nothing by default.

        Args:
            dataset: the training data.
            generator: every random choice comes from here.
        """

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) embeddings of the frames of B videos; a method whose frames see each other overrides this.

        Args:
            features: (B, N, ...) what the encoder takes.
            mask: (B, N) bool, real frames.
        """
        return self.encoder(features)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Scalar terms of the objective by name; ``"loss"`` is the one to minimise."""
        embedded = self.embed_frames(batch.features, batch.mask)
        # Mixed precision ends here: transport and losses stay in the embeddings' float32.
        with torch.autocast(embedded.device.type, enabled=False):
            return self.loss_terms(embedded, batch)

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What ``forward`` returns, from the (B, N, D) embeddings of the batch.

        Every term is a mean over the videos (or pairs) of the batch and every parameter takes part in the loss, so
        that a batch can be cut into parts for several processes.
        """
        raise TypeError(f"{type(self).__name__} defines no terms")

    @torch.no_grad()
    def embed(self, video: Video) -> Tensor:
        """(N, D) embeddings of all frames of a video."""
        features = video.encoder_input(torch.arange(len(video))).to(self.device)[None]
        return self.embed_frames(features, torch.ones(features.shape[:2], dtype=torch.bool, device=self.device))[0]

    def align(self, x: Video, y: Video) -> Tensor:
        """(N,) for each frame of X the best match in Y: the nearest embedding, unless a method knows better."""
        if "alignment" not in self.tasks:
            raise InputError(f"method {self.name!r} does not align; it is made for: {', '.join(self.tasks)}")
        return torch.cdist(self.embed(x), self.embed(y)).argmin(1)

    def segment(self, video: Video) -> Tensor:
        """(N,) action of each frame, 0 to K - 1."""
        raise InputError(f"method {self.name!r} does not segment; it is made for: {', '.join(self.tasks)}")

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device


class ActionEmbeddings(nn.Module):
    """K unit-length prototypes that live in the space of the frame embeddings (SPEC section 5)."""

    def __init__(self, k: int, dim: int):
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(k, dim), dim=1))

    @torch.no_grad()
    def renormalise(self) -> None:
        """Back to unit length: to be called at the start of every step."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    @torch.no_grad()
    def initialise(
        self, encoder: nn.Module, dataset: Dataset, n_frames: int, generator: torch.Generator, in_order: bool = False
    ) -> None:
        """K-means centres of the untrained encoder's frame embeddings. [paper, ASOT]

        The VASOT release leaves random unit vectors here.

        Args:
            encoder: maps (..., D) features to embeddings.
            dataset: the training data.
            n_frames: frames sampled per video.
            generator: every random choice comes from here.
            in_order: number the centres by the mean relative time of their frames. [ours]; K-means numbers them at
                random, but the temporal prior reads action k as the one that happens around k / K.
        """
        batch = collate(dataset.videos, n_frames, generator).to(self.weight.device)
        frames = encoder(batch.features)[batch.mask].cpu().numpy()
        k = len(self.weight)
        if len(frames) < k:
            raise InputError(f"K is {k} but the data set has {len(frames)} frames; ask for fewer actions")
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        kmeans = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(frames)
        centres = kmeans.cluster_centers_
        if in_order:
            time = (torch.arange(batch.mask.shape[1]) / batch.mask.sum(1, keepdim=True).cpu())[batch.mask.cpu()].numpy()
            centres = centres[np.argsort([time[kmeans.labels_ == cluster].mean() for cluster in range(k)])]
        self.weight.copy_(F.normalize(torch.from_numpy(centres).to(self.weight), dim=1))
