"""Segments, and which of them recordings share.

Where one action ends and the next begins, embeddings mostly jump. What is found much worse is which of the segments are
the same action, because a step is a movement and not a point: the embeddings at its end may be as far from those at its
beginning as from another step. But those at its beginning are near the ones at its beginning in other recordings, and
so on to its end. Segments are therefore not compared by their means. Every frame has a nearest frame in each of the
other recordings, the link of two segments is the share of the frames of each that have their nearest frame in the other
(the geometric mean of both directions), and the graph of all segments is divided into K actions by its spectrum (Shi
and Malik 2000).

Whether actions found in this or another way are shared by recordings is seen in the same nearest frames: they then have
the same action (:func:`found_again`). No labels are needed for any of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import maximum_filter1d
from sklearn.cluster import SpectralClustering
from sklearn.metrics import cohen_kappa_score
from torch import Tensor

WINDOW = 0.3  # before and after a frame in which a jump is looked for, as a share of an action
# By how much shared actions have to be found again better than the others: the second number over the number of other
# recordings, but at least the first. VASOT with 25 epochs, three seeds of 16 sets (results/shared_segments.csv): where
# it is more, MoF changes by -.02 to +.30; where it is less, by -.12 to +.06. Of 24 trainings on eight sets of four
# films 11 would have taken shared actions with the first number alone, and lost .07 by them in the mean.
LEAST_GAIN, LEAST_GAIN_FROM_ONE = 0.02, 0.25
# Frames of a recording that are linked: at least so many, and so many of a segment in the mean. With 256 of a recording
# of 90 segments shared actions lost .05 MoF.
LINKED_FRAMES, FRAMES_OF_A_SEGMENT = 256, 4
COMPARED = 400  # frames of a recording that are compared by found_again_by_frame
MOST_RECORDINGS, MOST_SEGMENTS = 60, 3000  # that are linked; twice as many segments are refused


@dataclass(frozen=True)
class Links:
    """Frames and their nearest frames in other recordings; frames are numbered through all recordings.

    Attributes:
        frames: (n,) frames.
        nearest: (n,) for each the frame of one other recording with the largest cosine.
    """

    frames: np.ndarray
    nearest: np.ndarray


def better_shared(actions: np.ndarray, embedded: Sequence[Tensor], k: int, share: float) -> np.ndarray | None:
    """The actions of :func:`shared_actions` where they are found again clearly better than given ones, otherwise None.

    *Clearly*, because they are fitted to the nearest frames by which that is measured, and the better the fewer
    recordings there are.

    Args:
        actions: (n,) of the frames of all recordings.
        embedded, k, share: as there.
    """
    links = nearest_frames(embedded, share)
    shared = shared_actions(embedded, k, share, links)
    if shared is None:
        return None
    gain = found_again(shared, links) - found_again(actions, links)
    return shared if gain > max(LEAST_GAIN, LEAST_GAIN_FROM_ONE / (len(embedded) - 1)) else None


def shared_actions(embedded: Sequence[Tensor], k: int, share: float, links: Links) -> np.ndarray | None:
    """The action of each frame: segments between jumps, divided into K actions by how strongly they are linked.

    Args:
        embedded: of each recording (N, D) embeddings, which methods give unit length.
        k: K.
        share: mean length of an action as a share of a recording.
        links: between the frames of these recordings.

    Returns:
        (n,) actions of the frames of all recordings; None where there are no more than K segments, no links because
        there is one recording, or so many segments that their graph would not fit.
    """
    segment = np.concatenate(numbered([cut(each.cpu().double().numpy(), share, 1 / share) for each in embedded]))
    count = int(segment[-1]) + 1
    if count <= k or count > 2 * MOST_SEGMENTS or not len(links.frames):
        return None
    pairs = segment[links.frames] * count + segment[links.nearest]
    weight = np.bincount(pairs, minlength=count * count).reshape(count, count).astype(float)
    weight /= np.maximum(weight.sum(1, keepdims=True), 1)
    # Both have to find each other. The small number connects what no link does.
    graph = np.sqrt(weight * weight.T) + 1e-6
    divided = SpectralClustering(k, affinity="precomputed", assign_labels="cluster_qr", random_state=0)
    return np.asarray(divided.fit_predict(graph))[segment]


def found_again(actions: np.ndarray, links: Links) -> float:
    """How well frames and their nearest frames in other recordings agree on the action, beyond chance.

    Cohen's kappa: 1 where all agree, 0 where they do by chance or all have one action. Noise in a frame also moves its
    nearest frame, so that actions that follow the noise from frame to frame are found again better than they should be.

    Args:
        actions: (n,) actions of the frames of all recordings.
        links: between them.
    """
    k = int(actions.max(initial=0)) + 1
    pairs = np.bincount(actions[links.frames] * k + actions[links.nearest], minlength=k * k)
    one, other = np.divmod(np.flatnonzero(pairs), k)
    if len(np.union1d(one, other)) < 2:
        return 0.0
    # Each pair of actions once, with how often it comes: there may be a million pairs of frames.
    return float(cohen_kappa_score(one, other, sample_weight=pairs[pairs > 0]))


def found_again_by_frame(
    actions: Sequence[np.ndarray], embedded: Sequence[Tensor], activities: Sequence[str] | None = None
) -> list[np.ndarray]:
    """In which share of the other recordings the nearest frame has the same action, for every frame.

    Where it is high, a segmentation is more often right by the labels (docs/results.md). It cannot show whether what
    recordings have in common is what labels would call an action. Of long recordings 400 frames are compared, between
    which the share is interpolated; of more than 61 recordings each is compared with 60 others, at even distances.

    Args:
        actions: of each of at least two recordings (N,) actions.
        embedded: of each (N, D) embeddings.
        activities: of each its activity, within which it is compared; one for all by default.

    Returns:
        (N,) shares of each recording; NaN for one that has its activity for itself.
    """
    rows = [evenly(len(each), COMPARED) for each in actions]
    seen = [F.normalize(x[torch.from_numpy(some).to(x.device)], dim=1) for x, some in zip(embedded, rows, strict=True)]
    known = [each[some] for each, some in zip(actions, rows, strict=True)]
    found = []
    for i, one in enumerate(seen):
        others = np.roll(np.arange(len(seen)), -i)[1:]
        if activities is not None:
            others = others[[activities[j] == activities[i] for j in others]]
        if not len(others):
            found.append(np.full(len(actions[i]), np.nan))
            continue
        others = others[evenly(len(others), MOST_RECORDINGS)]
        same = [known[j][(one @ seen[j].T).argmax(1).cpu().numpy()] == known[i] for j in others]
        found.append(np.interp(np.arange(len(actions[i])), rows[i], np.mean(same, 0)))
    return found


def nearest_frames(embedded: Sequence[Tensor], share: float) -> Links:
    """The links between recordings, from 256 frames of each, or four per action where that is more.

    Args:
        embedded: of each recording (N, D) embeddings of unit length; one alone has no links.
        share: mean length of an action as a share of a recording.
    """
    most = max(LINKED_FRAMES, round(FRAMES_OF_A_SEGMENT / share))
    rows = [evenly(len(each), most) for each in embedded]
    seen = [each[torch.from_numpy(some).to(each.device)] for each, some in zip(embedded, rows, strict=True)]
    first = np.cumsum([0] + [len(each) for each in embedded])
    frames, nearest = [np.zeros(0, int)], [np.zeros(0, int)]
    for i, one in enumerate(seen):
        for j, other in enumerate(seen):
            if i != j:
                frames.append(first[i] + rows[i])
                cosines = one @ other.T
                # On a CPU numpy's argmax is twice as fast as torch's.
                found = cosines.numpy().argmax(1) if cosines.device.type == "cpu" else cosines.argmax(1).cpu().numpy()
                nearest.append(first[j] + rows[j][found])
    return Links(np.concatenate(frames), np.concatenate(nearest))


def linked_recordings(n: int, share: float) -> np.ndarray:
    """Which of n recordings are linked: all, or so many that the graph of their segments stays small.

    Args:
        n: number of recordings.
        share: mean length of an action as a share of a recording.
    """
    return evenly(n, max(2, min(MOST_RECORDINGS, round(MOST_SEGMENTS * share))))


def evenly(n: int, most: int) -> np.ndarray:
    """At most ``most`` of the numbers 0 to n - 1, at even distances."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)


def cut(recording: np.ndarray, share: float, segments: float) -> np.ndarray:
    """(n,) number of the segment of each frame, ascending: cut at the largest jumps that are largest around.

    Args:
        recording: (n, d) embeddings.
        share: mean length of an action as a share of the recording.
        segments: how many are wanted; 2 at the least, and fewer where fewer jumps stand out.
    """
    n = len(recording)
    window = max(1, round(WINDOW * share * n))
    jump = jumps(sums(recording), np.arange(n), np.maximum(np.arange(n) - window, 0), window)
    # Near the ends one side is the mean of few frames, which differs by chance.
    jump *= np.minimum(np.minimum(np.arange(n), n - np.arange(n)) / window, 1)
    peaks = np.flatnonzero((jump == maximum_filter1d(jump, 2 * max(1, window // 2) + 1)) & (jump > 0))
    largest = peaks[np.argsort(-jump[peaks], kind="stable")][: max(2, round(segments)) - 1]
    starts = np.zeros(n, int)
    starts[largest] = 1
    return starts.cumsum()


def numbered(segments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The segments of all recordings, counted on from one recording to the next."""
    first = np.cumsum([0] + [int(each[-1]) + 1 for each in segments])
    return [each + start for each, start in zip(segments, first[:-1], strict=True)]


def sums(recording: np.ndarray) -> np.ndarray:
    """(n + 1, d) sums of the frames before each."""
    return np.concatenate([np.zeros((1, recording.shape[1])), recording.cumsum(0)])


def jumps(
    total: np.ndarray, at: np.ndarray, first: np.ndarray, window: int, last: np.ndarray | None = None
) -> np.ndarray:
    """(m,) squared distance of the means before and after each of the frames ``at``; 0 where nothing is before.

    Args:
        total: (n + 1, d) of :func:`sums`.
        at: (m,) frames.
        first: (m,) where the mean before begins.
        window: frames of the mean after.
        last: (m,) where it ends at the latest; the end of the recording by default.
    """
    end = np.minimum(at + window, len(total) - 1 if last is None else last)
    before = (total[at] - total[first]) / np.maximum(at - first, 1)[:, None]
    after = (total[end] - total[at]) / np.maximum(end - at, 1)[:, None]
    return np.where(at > first, np.square(before - after).sum(1), 0.0)
