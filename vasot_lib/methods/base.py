"""The interface of all methods, and the action embeddings that the segmentation methods share.

A method owns an encoder. The training loop (``vasot_lib.training``) minimises the loss that :meth:`Method.forward`
computes for a batch; afterwards ``embed``, ``align`` and ``segment`` apply what was learnt to whole videos.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor, nn

from vasot_lib.data import Batch, Dataset, Video, collate
from vasot_lib.encoders import Encoder
from vasot_lib.errors import InputError

Reduce = Callable[[Tensor, str], Tensor]  # the "sum" or the "max" of a tensor over all processes


class Method(nn.Module):
    """A model that is trained on a loss and then embeds, aligns or segments videos.

    A new method is one file: a frozen dataclass of hyper-parameters, and a subclass that names it in ``Hyper`` and
    defines ``loss_terms``. It is registered in ``vasot_kit.methods.METHODS``, its presets in
    ``vasot_kit.experiments.presets``.

    Attributes:
        name: key of the method in ``METHODS``.
        tasks: ``"alignment"``, ``"segmentation"`` or both: what the method is trained for and scored on.
        paired: whether a batch holds pairs of videos, X in row 2k and Y in row 2k + 1, instead of single videos.
        Hyper: frozen dataclass of the hyper-parameters of this method, with the published values as defaults.
        unit_length: whether the encoder has to scale its embeddings to length 1.
        learns: whether there is anything to train; if not, ``fit`` takes no step.
        shared_actions: whether action k means the same in every video. False for a method that clusters each video
            separately; its segmentations are only scored at video level.
        replays: whether a training step may be recorded and replayed on a GPU (:mod:`vasot_lib.steps`): its loss draws
            no random numbers, has no schedule, and reads nothing back from the device.
        epoch, step: number of the current epoch and of the current optimiser step, from 0. The training loop sets both;
            loss terms with a schedule read them.
        share: of the videos of a step, those that ``forward`` gets at a time; 0 for a part that counts for nothing,
            which a process computes only because all wait for each other. The training loop sets it.
        encoder: maps features or pictures to embeddings of width D = ``encoder.n_out``.
        n_actions: K.
        hyper: the instance of ``Hyper`` that the method was built with.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    paired: ClassVar[bool]
    Hyper: ClassVar[type]
    unit_length: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    shared_actions: ClassVar[bool] = True
    replays: ClassVar[bool] = False

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__()
        self.epoch = 0
        self.step = 0
        self.share = 1.0
        self.encoder = encoder
        self.n_actions = n_actions
        self.hyper = hyper

    def initialise(self, dataset: Dataset, n_frames: int, generator: torch.Generator) -> None:
        """Set parameters from the training data before the first step, such as action embeddings by K-means.

        Called once by ``fit``. The default does nothing.

        Args:
            dataset: the training data.
            n_frames: number of frames to sample from each video.
            generator: source of all random numbers.
        """

    def begin_epoch(self, dataset: Dataset, n_frames: int, share: float) -> None:
        """Compute what stays the same for an epoch, such as a learnt temporal prior.

        Called by ``fit`` before every epoch, in all processes and on the device. The default does nothing.

        Args:
            dataset: the training data.
            n_frames: number of frames that are sampled from each video.
            share: of the epochs that lie behind, 0 to 1.
        """

    def end_step(self, reduce: Reduce) -> None:
        """Compute what follows an optimiser step, such as a moving mean of what its videos showed.

        Called by ``fit`` after every step, in all processes and on the device. The default does nothing.

        Args:
            reduce: gives the ``"sum"`` or the ``"max"`` of a tensor over all processes.
        """

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Groups of parameters for the optimiser, each with its learning rate; by default one group of all at ``lr``.

        Together the groups hold every parameter once.
        """
        return [{"params": list(self.parameters()), "lr": lr}]

    def finalise(self, dataset: Dataset, generator: torch.Generator) -> None:
        """Fit what needs the trained embeddings, such as CTE's Gaussian of each action, and keep it in buffers.

        Called once by ``fit`` after the last step, with the method on the CPU. The default does nothing.

        Args:
            dataset: the training data.
            generator: source of all random numbers.
        """

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) embeddings of the frames of B videos, each frame encoded independently of the others.

        UFSA overrides this: its transformer lets the frames of a video attend to each other.

        Args:
            features: (B, N, ...) input of the encoder, as in :class:`vasot_lib.data.Batch`.
            mask: (B, N) bool, True on real frames and False on padding.
        """
        return self.encoder(features)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Embed a batch and return the scalar terms of its loss by name; ``"loss"`` is the one to minimise."""
        embedded = self.embed_frames(batch.features, batch.mask)
        # Under mixed precision only the encoder runs in bfloat16; transport and losses need float32.
        with torch.autocast(embedded.device.type, enabled=False):
            return self.loss_terms(embedded, batch)

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Scalar terms of the loss by name, with their sum as ``"loss"``; and the share of converged plans.

        That share is called ``converged_alignment`` or ``converged_segmentation`` and is not part of the sum.

        Every term must be a mean over the videos (or pairs) of the batch, and every parameter must take part in the
        loss: only then can several processes compute one step, each on a part of the batch.

        Args:
            embedded: (B, N, D) embeddings of the frames of the batch.
            batch: the batch that they were computed from.
        """
        raise TypeError(f"{type(self).__name__} defines no terms")

    def embed_whole(self, features: Tensor, mask: Tensor) -> Tensor:
        """What :meth:`embed` gives for B whole videos, (B, N, D); by default what training embeds frames to."""
        return self.embed_frames(features, mask)

    @torch.no_grad()
    def embed(self, video: Video) -> Tensor:
        """(N, D) embeddings of all frames of a video."""
        features = video.encoder_input(torch.arange(len(video))).to(self.device)[None]
        return self.embed_whole(features, torch.ones(features.shape[:2], dtype=torch.bool, device=self.device))[0]

    def align(self, x: Video, y: Video) -> Tensor:
        """(N,) index of the matched frame of Y for each frame of X; by default the one with the nearest embedding.

        VAOT and VASOT, which have a dummy frame, give -1 to a frame that has no partner.

        Raises:
            InputError: the method does not align videos.
        """
        if "alignment" not in self.tasks:
            raise InputError(f"method {self.name!r} does not align; it is made for: {', '.join(self.tasks)}")
        return torch.cdist(self.embed(x), self.embed(y)).argmin(1)

    def dummy_share(self, x: Video, y: Video) -> Tensor:
        """(N,) share of each frame of X that has no counterpart in Y, 0 to 1; 0 for methods without a dummy frame."""
        return torch.zeros(len(x), device=self.device)

    def refuse_shorter(self, video: Video) -> None:
        """Raise an InputError for a video of fewer frames than K, in which all actions cannot come in an order."""
        if len(video) < self.n_actions:
            raise InputError(
                f"video {video.name!r} has {len(video)} frames, too few for {self.n_actions} actions in order; "
                "drop it or use fewer actions"
            )

    def segment(self, video: Video) -> Tensor:
        """(N,) action of each frame, 0 to K - 1.

        Raises:
            InputError: the method does not segment videos.
        """
        raise InputError(f"method {self.name!r} does not segment; it is made for: {', '.join(self.tasks)}")

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device


class ActionEmbeddings(nn.Module):
    """K trainable unit-length vectors a_k in the space of the frame embeddings (SPEC section 5).

    Attributes:
        weight: (K, D).
    """

    def __init__(self, k: int, dim: int):
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(k, dim), dim=1))

    @torch.no_grad()
    def renormalise(self) -> None:
        """Scale the embeddings back to unit length, at the start of every training step."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    @torch.no_grad()
    def set_means(self, sums: Tensor) -> None:
        """Set the embeddings to the directions of (K, D) sums over frames; an action without any keeps its own."""
        self.weight.copy_(F.normalize(torch.where(sums.any(1, keepdim=True), sums, self.weight), dim=1))

    @torch.no_grad()
    def initialise(
        self, encoder: nn.Module, dataset: Dataset, n_frames: int, generator: torch.Generator, in_order: bool = False
    ) -> None:
        """Set the embeddings to the K-means centres of what the untrained encoder gives for all frames. [paper, ASOT]

        The VASOT release keeps random unit vectors instead.

        Args:
            encoder: maps (B, N, ...) features to (B, N, D) embeddings.
            dataset: the training data.
            n_frames: number of frames to sample from each video.
            generator: source of all random numbers.
            in_order: number the centres by the mean relative time of their frames [ours]. K-means numbers them
                arbitrarily, but the temporal prior expects action k around the relative time k / K.

        Raises:
            InputError: fewer frames than K.
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
