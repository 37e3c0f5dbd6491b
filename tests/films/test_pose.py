"""Poses: features of joints do not depend on where a body stands and from where it is seen; a person is found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vasot_kit.datasets import data_root, pose2sim
from vasot_kit.datasets.pretrained import POSE_COMMAND, pose_files
from vasot_kit.films.media import stream
from vasot_kit.films.pose import JOINTS, Bodies, Body, Pose, _Square, pose_features
from vasot_kit.films.recordings import NotDescribed, read_recordings
from vasot_lib.errors import DataError

RATE = 30.0


def moving(n: int = 40, seed: int = 0) -> np.ndarray:
    """(n, 15, 3) joints of a body that moves smoothly and faces the camera more or less."""
    rng, time = np.random.default_rng(seed), np.linspace(0, 2, n)[:, None, None]
    rest = rng.normal(scale=0.2, size=(15, 3))
    rest[[1, 2, 7, 8]] = [[0.2, -0.5, 0], [-0.2, -0.5, 0], [0.1, 0, 0], [-0.1, 0, 0]]
    wave = np.sin(2 * np.pi * rng.uniform(0.5, 1.5, (15, 3)) * time + rng.uniform(0, 6, (15, 3)))
    return rest + 0.1 * wave


def turned(joints: np.ndarray, angle: float) -> np.ndarray:
    """Seen by a camera that looks from another side."""
    cos, sin = np.cos(angle), np.sin(angle)
    return joints @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def features(joints: np.ndarray, visible: np.ndarray | None = None) -> np.ndarray:
    return pose_features(joints, np.ones(joints.shape[:2]) if visible is None else visible, RATE)


@pytest.mark.parametrize("angle", [0.5, 2.0, -3.0])
def test_neither_place_nor_size_nor_side_matters(angle: float) -> None:
    joints = moving()
    table = features(joints)
    assert table.shape == (40, 324) and table.dtype == np.float32
    assert features(3 * turned(joints, angle) + [5, -2, 9]) == pytest.approx(table, abs=1e-3)
    assert np.abs(features(moving(seed=1)) - table).max() > 0.1


def test_who_bends_is_not_who_stands() -> None:
    """The vertical stays: a body that lies is another pose than one that stands."""
    joints = moving()
    joints[20:] = joints[20:] @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    places = features(joints)[:, :45]
    assert np.abs(places[5] - places[30]).max() > 0.2


def test_gaps_are_filled_in_time() -> None:
    joints = moving(80)
    whole, holes, visible = features(joints), joints.copy(), np.ones((80, 15))
    holes[[0, 10, 11, 79]], visible[[0, 10, 11, 79]] = np.nan, 0
    table = features(holes, visible)
    assert np.isfinite(table).all()
    assert np.abs(table - whole).mean() < 0.2 * np.abs(whole).mean()


def test_what_cannot_be_seen_counts_little() -> None:
    joints, visible = moving(), np.ones((40, 15))
    guessed = joints.copy()
    guessed[20, 5] += 1.0
    visible[20, 5] = 0
    whole = features(joints)
    assert np.abs(features(guessed, visible) - whole).max() < 0.3 * np.abs(features(guessed) - whole).max()


def test_a_square_cuts_out_what_it_names() -> None:
    """A spot at 30 % and 60 % of a turned square is seen there, and its place in the picture is found again."""
    square = _Square(120.0, 90.0, 80.0, 0.6)
    (spot,) = square.out(np.array([[0.3, 0.6]]))
    y, x = np.mgrid[:180, :240] + 0.5
    picture = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 20)[..., None].repeat(3, -1)
    shown = square.cut(Image.fromarray((255 * picture).astype(np.uint8)), 160)[..., 0]
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert (column + 0.5) / 160 == pytest.approx(0.3, abs=0.01) and (row + 0.5) / 160 == pytest.approx(0.6, abs=0.01)


def test_a_square_around_a_body_stands_as_the_body_does() -> None:
    upright = _Square.around(np.array([50.0, 80.0]), np.array([50.0, 40.0]))
    assert upright == pytest.approx((50, 80, 100, 0))
    lying = _Square.around(np.array([50.0, 80.0]), np.array([90.0, 80.0]))  # its head is on the right
    assert lying.turn == pytest.approx(np.pi / 2)
    assert lying.out(np.array([[0.5, 0.1]])) == pytest.approx(np.array([[90.0, 80.0]]))  # up is to the right


def test_a_film_without_a_person_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    film = tmp_path / "room"
    film.mkdir()
    for number in range(20):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(film / f"{number:02}.png")
    pose = Pose.__new__(Pose)
    seen = Body(np.zeros((33, 2)), np.zeros((33, 3)), np.ones(33))
    pose.bodies = lambda pictures: (seen if k == 7 else None for k, _ in enumerate(pictures))  # type: ignore[assignment, method-assign]
    with pytest.raises(NotDescribed, match=f"{film}: a person is seen in 1 of 20 frames, .* such as motion"):
        read_recordings([film], pose, progress=False)


def test_without_its_runtime_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(DataError, match="--features pose needs LiteRT; pip install ai-edge-litert"):
        Bodies(Path("a"), Path("b"))


def test_notes_of_its_runtime_are_left_out_and_errors_are_not(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Interpreter:
        def __init__(self, file: str) -> None:
            os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")

        def allocate_tensors(self) -> None:
            os.write(2, b"ERROR: node 3 failed to prepare\n")

        def get_input_details(self) -> list[dict[str, tuple[int, ...]]]:
            return [{"shape": (1, 224, 224, 3)}]

    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace(Interpreter=Interpreter))
    Bodies(Path("a"), Path("b"))
    assert capfd.readouterr().err == 2 * "ERROR: node 3 failed to prepare\n"


# ---- a real person


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    try:
        return Bodies(*pose_files())
    except DataError as error:
        pytest.skip(f"the networks are not here; bring them with: {POSE_COMMAND} ({error})")


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    here = data_root() / "pose2sim" / "videos"
    try:
        film = pose2sim.films(here if here.is_dir() else pose2sim.fetch())["cam01"]
    except DataError as error:
        pytest.skip(f"pose2sim is not here; bring it with: {pose2sim.COMMAND} ({error})")
    shown: Iterator[np.ndarray] = (frame.picture for frame in stream(film, size=(512, 288)))
    return [next(shown) for _ in range(4)]


@pytest.mark.data
def test_a_person_is_found_upright_and_followed(bodies: Bodies, pictures: list[np.ndarray]) -> None:
    """He stands left of the middle, faces the camera, and hardly moves in four frames."""
    found = list(bodies(iter(pictures)))
    assert all(body is not None and body.visible[[*JOINTS]].min() > 0.5 for body in found)
    places = np.array([body.places for body in found if body is not None])
    nose, left_shoulder, right_shoulder, hip, ankle = (places[0, k] for k in (0, 11, 12, 23, 27))
    assert nose[1] < left_shoulder[1] < hip[1] < ankle[1] and right_shoulder[0] < left_shoulder[0]
    assert places[..., 0].min() > 50 and places[..., 0].max() < 170 and 70 < nose[1] < 130 and 270 < ankle[1] < 320
    assert np.abs(np.diff(places, axis=0)).max() < 12


@pytest.mark.data
def test_a_person_is_found_wherever_the_picture_has_him(bodies: Bodies, pictures: list[np.ndarray]) -> None:
    """Turned on its side the same picture gives the same pose, turned; an empty one gives nobody, and he comes back."""
    first = pictures[0]
    empty = np.full_like(first, 90)
    upright, nobody, again = bodies(iter([first, empty, first]))
    assert nobody is None and upright is not None and again is not None
    assert again.places == pytest.approx(upright.places, abs=1e-3)
    (lying,) = bodies(iter([np.rot90(first).copy()]))  # counterclockwise: right becomes up
    assert lying is not None
    back = np.stack([first.shape[1] - lying.places[:, 1], lying.places[:, 0]], 1)[[*JOINTS]]
    assert np.abs(back - upright.places[[*JOINTS]]).mean() < 6
