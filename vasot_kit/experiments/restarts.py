"""Several trainings of one method from different first weights, and the segmentation that they agree on.

K-means on an untrained encoder may put two actions into one cluster and cut another in two, and training seldom mends
that. Other first weights go wrong elsewhere, so what most restarts agree on is right more often than what one says. The
actions of all restarts are matched to those of the restart that agrees best with the others, and every frame gets the
action that most of them give it, which is the bagged clustering of Dudoit and Fridlyand (2003).

The restarts then decide together. The embedding of a frame is that of all restarts side by side, so that the cosine of
two frames is the mean of the cosines that the restarts find. With these embeddings there is a second way to actions:
cut recordings where embeddings jump, and divide the segments by how recordings share them
(:mod:`vasot_kit.experiments.segments`). Of the two, those actions are taken that are found again better in other
recordings, and the embedding of each is the mean of its frames.

The batches of all restarts of VAOT, ASOT or VASOT are matched in one call of the solver, which takes less time than one
after another. A method derived from them may have a loss of its own, and is called restart by restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn

from vasot_kit.experiments.auto import RADIUS_PER_LENGTH
from vasot_kit.experiments.segments import better_shared, linked_recordings
from vasot_kit.experiments.together import embed_all, segment_all
from vasot_lib.data import Batch, Dataset
from vasot_lib.errors import InputError
from vasot_lib.methods.asot import ASOT
from vasot_lib.methods.base import ActionEmbeddings, Method
from vasot_lib.methods.vaot import VAOT
from vasot_lib.methods.vasot import VASOT
from vasot_lib.transport.times import TimesOfActions


class Restarts(Method):
    """What :func:`restarts` adds to a method's class.

    Attributes:
        members: the method R times, each with weights of its own.
        actions: where the method has action embeddings, those of the consensus, (K, R D).
        times: where the method learns when each action happens, those of the consensus.
        as_one: whether all members are matched in one call of the solver.
        agreement: () mean adjusted Rand index of the segmentations of the training videos by any two members; 1 where
            all agree, 0 where they agree by chance. NaN before the end of the training, and without actions.
    """

    members: Any  # an nn.ModuleList, whose elements are modules without further knowledge to a type checker
    actions: ActionEmbeddings
    times: TimesOfActions
    as_one: bool
    agreement: Tensor

    def __init__(self, members: Sequence[Method]):
        nn.Module.__init__(self)
        first = members[0]
        self.epoch = self.step = 0
        self.share = 1.0
        self.n_actions, self.hyper = first.n_actions, first.hyper
        self.members = nn.ModuleList(members)
        self.register_buffer("agreement", torch.tensor(torch.nan))
        if hasattr(first, "actions"):
            self.actions = ActionEmbeddings(self.n_actions, sum(member.encoder.n_out for member in members))
            self.actions.requires_grad_(False)  # they are set at the end, no loss moves them
        if hasattr(first, "times"):
            self.times = TimesOfActions(self.n_actions)
        # Other weights of the losses depend on each member's own parameters or gradients.
        self.as_one = type(first) in (VAOT, ASOT, VASOT) and getattr(first.hyper, "weights", "fixed") == "fixed"

    def initialise(self, dataset: Dataset, n_frames: int, generator: torch.Generator) -> None:
        """Initialise the members one after another, each with random numbers of its own."""
        for member in self.members:
            member.initialise(dataset, n_frames, generator)

    def begin_epoch(self, dataset: Dataset, n_frames: int, share: float) -> None:
        """Let each member compute what stays the same for an epoch."""
        for member in self.members:
            member.begin_epoch(dataset, n_frames, share)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The groups of all members, and the action embeddings of the consensus."""
        groups = [group for member in self.members for group in member.parameter_groups(lr)]
        return groups + ([{"params": list(self.actions.parameters()), "lr": lr}] if hasattr(self, "actions") else [])

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, R D) embeddings of all members side by side, over the root of R, which keeps unit lengths."""
        return _side_by_side([member.embed_frames(features, mask) for member in self.members])

    def embed_whole(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, R D), the same of what the members give for whole videos."""
        return _side_by_side([member.embed_whole(features, mask) for member in self.members])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sum of the members' losses, so that none has a part in another's, and the means of all other terms."""
        found = [self._together(batch)] if self.as_one else [self._alone(member, batch) for member in self.members]
        terms = {name: torch.stack([each[name] for each in found]).mean(0) for name in found[0]}
        return terms | {"loss": len(self.members) * terms["loss"]}

    def _alone(self, member: Method, batch: Batch) -> dict[str, Tensor]:
        member.epoch, member.step, member.share = self.epoch, self.step, self.share
        return member(batch)

    def _together(self, batch: Batch) -> dict[str, Tensor]:
        """The means of the members' terms, from one batch that holds theirs one after another."""
        r = len(self.members)
        embedded = torch.cat([member.embed_frames(batch.features, batch.mask) for member in self.members])
        rows = Batch(batch.features, batch.mask.repeat(r, 1), batch.index.repeat(r, 1), batch.videos.repeat(r))
        with torch.autocast(embedded.device.type, enabled=False):
            return self.loss_terms(embedded, rows)

    def segmentation_loss(self, embedded: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean of the members' segmentation losses, from a batch that holds theirs one after another."""
        n = len(embedded) // len(self.members)
        first: Any = self.members[0]
        for member in self.members:
            member.actions.renormalise()
        actions = torch.cat([member.actions.weight.expand(n, -1, -1) for member in self.members])
        own = Batch(batch.features, batch.mask[:n], batch.index[:n], batch.videos[:n])
        costs = [member.time_cost(own) for member in self.members]
        prior = None if costs[0] is None else torch.cat(costs)
        return first.segmentation.loss(embedded, actions, batch.mask, prior)

    @torch.no_grad()
    def finalise(self, dataset: Dataset, generator: torch.Generator) -> None:
        """Set the embedding of each action to the mean of its frames.

        The actions are those of the vote, or those of :func:`vasot_kit.experiments.segments.shared_actions`, where they
        are found again clearly better in other recordings. Where the members have learnt when each action happens, that
        is counted again.
        """
        if not hasattr(self, "actions"):
            return
        videos = dataset.videos
        own = [embed_all(member, videos) for member in self.members]
        found = [segment_all(member, videos, rows) for member, rows in zip(self.members, own, strict=True)]
        consensus, matched, agreement = agree([torch.cat(each).cpu().numpy() for each in found], self.n_actions)
        self.agreement.fill_(agreement)
        # What an action keeps that no frame is left with.
        learnt = [m.actions.weight[order] for m, order in zip(self.members, matched, strict=True)]
        self.actions.weight.copy_(F.normalize(torch.cat(learnt, 1), dim=1))
        # The radius stands for the length of an action. Where there is none, each is taken to happen once.
        first: Any = self.members[0]
        share = first.segmentation.decode.radius / RADIUS_PER_LENGTH if isinstance(first, ASOT) else 1 / self.n_actions
        embedded = [_side_by_side(each) for each in zip(*own, strict=True)]
        actions = np.split(consensus, np.cumsum([len(x) for x in embedded])[:-1])
        some = linked_recordings(len(embedded), share)
        linked = [embedded[i] for i in some]
        shared = better_shared(np.concatenate([actions[i] for i in some]), linked, self.n_actions, share)
        if shared is not None:
            embedded, actions = linked, np.split(shared, np.cumsum([len(x) for x in linked])[:-1])
        of_frames = [F.one_hot(torch.from_numpy(each), self.n_actions).to(embedded[0]) for each in actions]
        self.actions.set_means(torch.cat(of_frames).T @ torch.cat(embedded))
        if hasattr(self, "times") and self.members[0].times.known:
            self.times.count(of_frames)


def restarts(members: Sequence[Method]) -> Method:
    """One method from several of one class, which are trained together and then decide together.

    Args:
        members: at least two, built with the same configuration but other random numbers.

    Raises:
        InputError: fewer than two members, or a method that needs more than the embeddings of frames and actions to
            segment a video.
    """
    if len(members) < 2:
        of = "".join(f" for {member.name!r}" for member in members)
        raise InputError(f"restarts is {len(members)}{of}; give at least 2 members")
    first = members[0]
    others = sorted({name for name, _ in first.named_children()} - {"encoder", "actions", "times"})
    others += sorted({name for name, _ in first.named_buffers(recurse=False)})
    steps = type(first).end_step is not Method.end_step
    if not first.learns or steps or (others and not isinstance(first, ASOT)):
        raise InputError(
            f"restarts is {len(members)} but {first.name!r} cannot have any: they are for methods that learn "
            "embeddings of frames and actions alone, such as vaot, asot or vasot; leave it at 1"
        )
    # A class of its own: it aligns and segments as the members do, with the embeddings of all of them.
    together: Any = type(f"{type(first).__name__}Restarts", (Restarts, type(first)), {})
    return together(members)


def _side_by_side(embedded: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(embedded), -1) / len(embedded) ** 0.5


def agree(labels: Sequence[np.ndarray], k: int) -> tuple[np.ndarray, list[np.ndarray], float]:
    """The majority of several segmentations whose actions are numbered differently.

    Args:
        labels: R times (n,) actions 0 to K - 1 of the same frames.
        k: K.

    Returns:
        (n,) actions of the consensus, numbered as in the segmentation that agrees best with the others; for each
        segmentation (K,) its action that is matched to each of these; the mean adjusted Rand index of two of them.
    """
    n = len(labels)
    pairwise = np.array([[adjusted_rand_score(one, other) for other in labels] for one in labels])
    centre = int(pairwise.sum(1).argmax())
    votes = np.zeros((len(labels[0]), k))
    matched = []
    for number, found in enumerate(labels):
        together = np.zeros((k, k))  # frames by action of the centre and action of this one
        np.add.at(together, (labels[centre], found), 1)
        order = linear_sum_assignment(-together)[1]
        matched.append(order)
        # Half a vote more for the centre, which decides where the others are divided.
        votes[np.arange(len(found)), np.argsort(order)[found]] += 1.5 if number == centre else 1
    return votes.argmax(1), matched, float((pairwise.sum() - n) / (n * (n - 1)))
