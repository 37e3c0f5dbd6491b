"""Features of how a person holds the body and moves it: joints in space, found by BlazePose.

Two networks of MediaPipe look at each picture. The first finds a person where none is followed yet, the second places
33 landmarks of the body in a square around it, from which the square of the next picture follows. Both run in LiteRT.
Source: Bazarevsky et al., BlazePose, 2020. What is done between the networks follows MediaPipe's graphs
``pose_detection_cpu.pbtxt`` and ``pose_landmark_cpu.pbtxt``, one person at a time and without its filters in time.

What the landmarks become is ours: see :func:`pose_features`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from vasot_kit.films.motion import self_similarities, unit
from vasot_kit.films.recordings import NotDescribed
from vasot_lib.errors import DataError

SEEN = 0.5  # probability from which on a person, or its place, counts as found
LANDMARKS = 33
_ROUND = 1.25  # side of a square in multiples of twice the distance from the hips to the point that gives the size
_OVERLAP = 0.3  # intersection over union from which on two detections are of one person
# The landmarks that are used: nose, shoulders, elbows, wrists, hips, knees, ankles and toes; each left before right.
JOINTS = (0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 31, 32)
_SHOULDERS, _HIPS = slice(1, 3), slice(7, 9)  # among them
LEAST_SEEN = 0.1  # share of the frames in which a person has to be found
_GUESSED = 0.05  # weight of a joint that cannot be seen, beside 1 for one that can
_SMOOTHING, _STEP = 0.03, 0.05  # seconds: standard deviation, and half the time over which a speed is taken


class Pose:
    """Extracts the features of :func:`pose_features`.

    Args:
        detector, landmarks: as in :class:`Bodies`.
    """

    name = "pose"
    side = 512
    one_process = True

    def __init__(self, detector: Path, landmarks: Path):
        self.bodies = Bodies(detector, landmarks)

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, 324) float32 features of N pictures (H, W, 3) uint8.

        Raises:
            NotDescribed: there is a person in fewer than a tenth of the pictures.
        """
        bodies = list(self.bodies(pictures))
        seen = sum(body is not None for body in bodies)
        if seen < max(LEAST_SEEN * len(bodies), 1):
            raise NotDescribed(
                f"a person is seen in {seen} of {len(bodies)} frames, and pose features need one in a tenth of them; "
                "film from nearer, or choose other --features, such as motion"
            )
        nobody = np.full((len(JOINTS), 3), np.nan), np.zeros(len(JOINTS))
        rows = [nobody if body is None else (body.metres[[*JOINTS]], body.visible[[*JOINTS]]) for body in bodies]
        return pose_features(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), fps)


def pose_features(joints: np.ndarray, visible: np.ndarray, fps: float) -> np.ndarray:
    """(N, 324) float32 features of a body that moves: three groups of equal weight.

        places            of the joints, relative to the middle of the hips, in lengths of the trunk, and turned about
                          the vertical so that hips and shoulders lie across: from whichever side the camera looks
        velocities        of the same
        self-similarity   distances between the poses of all pairs of frames in a window, as for motion

    Args:
        joints: (N, 15, 3) of :data:`JOINTS`, right, down and away from the camera, in any unit; NaN where nobody is
            seen. They are interpolated in time there.
        visible: (N, 15) probability that a joint can be seen; where it is small, the frames around count for more.
        fps: frames per second.
    """
    body = _smoothed(_without_gaps(joints), visible, fps)
    hips, shoulders = (body[:, part].mean(1, keepdims=True) for part in (_HIPS, _SHOULDERS))
    body = (body - hips) / (np.median(np.linalg.norm(shoulders - hips, axis=-1)) + 1e-9)
    turned = _facing(body)
    frames, reach = np.arange(len(body)), max(1, round(_STEP * fps))
    around = (np.clip(frames + offset, 0, len(body) - 1) for offset in (reach, -reach))
    velocities = np.subtract(*(turned[place] for place in around))
    groups = [each.reshape(len(body), -1) for each in (turned, velocities)]
    similar = np.concatenate(self_similarities(body, fps), axis=1)
    return np.concatenate([unit(each - each.mean(0)) for each in (*groups, similar)], axis=1).astype(np.float32)


def _without_gaps(joints: np.ndarray) -> np.ndarray:
    """The joints, interpolated where they are NaN."""
    there, frames = ~np.isnan(joints[:, 0, 0]), np.arange(len(joints))
    known = joints[there].reshape(there.sum(), -1)
    filled = [np.interp(frames, frames[there], column) for column in known.T]
    return np.stack(filled, axis=1).reshape(joints.shape)


def _smoothed(joints: np.ndarray, visible: np.ndarray, fps: float) -> np.ndarray:
    """Means in time, weighted by what can be seen."""
    weight, sigma = (visible + _GUESSED)[..., None], max(_SMOOTHING * fps, 0.3)
    total, weights = (gaussian_filter1d(each, sigma, axis=0, mode="nearest") for each in (joints * weight, weight))
    return total / weights


def _facing(body: np.ndarray) -> np.ndarray:
    """The joints, turned about the vertical so that the line from right to left hip and shoulder has no depth."""
    across = sum(body[:, part.start] - body[:, part.start + 1] for part in (_HIPS, _SHOULDERS))
    angle = np.arctan2(across[:, 2], across[:, 0])[:, None]
    cos, sin, (x, y, z) = np.cos(angle), np.sin(angle), np.moveaxis(body, -1, 0)
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1)


class _Square(NamedTuple):
    """A square in a picture: centre and side in pixels, and by how much it is turned, in radians."""

    x: float
    y: float
    side: float
    turn: float

    @classmethod
    def around(cls, hips: np.ndarray, other: np.ndarray) -> _Square:
        """Around a body, from the middle of its hips and a point above the head at the edge of what it reaches."""
        dx, dy = other - hips
        return cls(hips[0], hips[1], 2 * _ROUND * float(np.hypot(dx, dy)), float(np.arctan2(dx, -dy)))

    def axes(self) -> np.ndarray:
        """(2, 2) directions in the picture, as columns, of the square's right and down."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return np.array([[cos, -sin], [sin, cos]])

    def cut(self, picture: Image.Image, size: int) -> np.ndarray:
        """(size, size, 3) what the square shows, in 0..1; black outside of the picture."""
        axes = self.axes() * self.side / size
        corner = np.array([self.x, self.y]) - axes @ [size / 2, size / 2]
        given = (*axes[0], corner[0], *axes[1], corner[1])
        cut = picture.transform((size, size), Image.Transform.AFFINE, given, Image.Resampling.BILINEAR)
        return np.asarray(cut, np.float32) / 255

    def out(self, inside: np.ndarray) -> np.ndarray:
        """(n, 2) places in the picture of points in the square, whose sides go from 0 to 1."""
        return np.array([self.x, self.y]) + self.side * (inside - 0.5) @ self.axes().T


class Body(NamedTuple):
    """A person in one picture.

    Attributes:
        places: (33, 2) landmarks in pixels.
        metres: (33, 3) landmarks relative to the middle of the hips: right, down, and away from the camera.
        visible: (33,) probability that a landmark can be seen.
    """

    places: np.ndarray
    metres: np.ndarray
    visible: np.ndarray


class Bodies:
    """Finds one person in the pictures of a film.

    Args:
        detector, landmarks: files of ``pose_detection.tflite`` and ``pose_landmark_full.tflite``.

    Raises:
        DataError: LiteRT is not installed.
    """

    def __init__(self, detector: Path, landmarks: Path):
        self._detect, self._locate = _Network(detector), _Network(landmarks)
        self._anchors = _anchors(self._detect.size)

    def __call__(self, pictures: Iterator[np.ndarray]) -> Iterator[Body | None]:
        """The person in each of the pictures (H, W, 3) uint8; None where nobody is found."""
        square: _Square | None = None
        for array in pictures:
            picture = Image.fromarray(array)
            found = self._place(picture, square) if square else None
            if found is None and (detected := self._find(picture)):
                found = self._place(picture, detected)
            body, square = found or (None, None)
            yield body

    def _find(self, picture: Image.Image) -> _Square | None:
        """The square around the person that is detected most clearly."""
        whole = _Square(picture.width / 2, picture.height / 2, max(picture.size), 0.0)
        answer = self._detect(2 * whole.cut(picture, self._detect.size) - 1)
        boxes, scores = answer[len(self._anchors), 12], _sigmoid(answer[len(self._anchors), 1][:, 0])
        if scores.max() < SEEN:
            return None
        # Every anchor gives the middle and the sides of a box around the face, and four points; all in pixels.
        points = boxes.reshape(-1, 6, 2) / self._detect.size
        points[:, [0, 2, 3, 4, 5]] += self._anchors[:, None]
        same = _overlap(points[:, 0], points[:, 1], int(scores.argmax())) > _OVERLAP
        weights = scores * (same & (scores >= SEEN))
        hips, other = whole.out((weights[:, None, None] * points[:, 2:4]).sum(0) / weights.sum())
        return _Square.around(hips, other)

    def _place(self, picture: Image.Image, square: _Square) -> tuple[Body, _Square] | None:
        """The landmarks inside a square, and the square of the next picture."""
        answer = self._locate(square.cut(picture, self._locate.size))
        if answer[1,].item() < SEEN:
            return None
        table = answer[195,].reshape(
            -1, 5
        )  # x, y, z in pixels, and logits of being visible and of being in the picture
        places = square.out(table[:, :2] / self._locate.size)
        metres = answer[117,].reshape(-1, 3)[:LANDMARKS].copy()
        metres[:, :2] = metres[:, :2] @ square.axes().T
        body = Body(places[:LANDMARKS], metres, _sigmoid(table[:LANDMARKS, 3]))
        return body, _Square.around(*places[LANDMARKS : LANDMARKS + 2])


class _Network:
    """A network in LiteRT that takes one square picture."""

    def __init__(self, file: Path):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise DataError("--features pose needs LiteRT; pip install ai-edge-litert") from error
        with _without_notes():
            self._runtime = Interpreter(str(file))
            self._runtime.allocate_tensors()
        (self._input,) = self._runtime.get_input_details()
        self.size = int(self._input["shape"][1])

    def __call__(self, picture: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
        """The answers to a picture (size, size, 3), by their shape without the axis of the batch."""
        self._runtime.set_tensor(self._input["index"], picture[None])
        self._runtime.invoke()
        answers = [self._runtime.get_tensor(each["index"])[0] for each in self._runtime.get_output_details()]
        return {answer.shape: answer for answer in answers}


@contextmanager
def _without_notes() -> Iterator[None]:
    """Leave out what LiteRT tells programmers on standard error, lines that begin with INFO; all else is passed on."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            os.write(2, b"".join(line for line in written if not line.startswith(b"INFO")))


def _anchors(size: int) -> np.ndarray:
    """(2254, 2) where the detector looks: two anchors in each cell of 8 and of 16 pixels, and six in each of 32."""
    parts = []
    for cell, times in ((8, 2), (16, 2), (32, 6)):
        middles = (np.arange(size // cell) + 0.5) * cell / size
        grid = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
        parts.append(grid.repeat(times, 0))
    return np.concatenate(parts)


def _overlap(middles: np.ndarray, sides: np.ndarray, of: int) -> np.ndarray:
    """(n,) intersection over union of all boxes with one of them."""
    low, high = middles - sides / 2, middles + sides / 2
    common = (np.minimum(high, high[of]) - np.maximum(low, low[of])).clip(0).prod(1)
    return common / (sides.prod(1) + sides[of].prod() - common + 1e-9)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values.astype(float).clip(-100, 100)))
