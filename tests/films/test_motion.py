"""Features of what moves: they see the movement, not its colours, its place or the rate of the film."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from vasot_kit.films.motion import CELLS, Motion, MotionMaps, motion_features, motion_maps, time_warped

HEIGHT, WIDTH = 96, 128
Y, X = np.mgrid[:HEIGHT, :WIDTH]
Colour = tuple[int, int, int]


def ball(
    fps: float = 60.0,
    seconds: float = 3.0,
    colour: Colour = (230, 200, 60),
    ground: Colour = (40, 60, 50),
    shift: tuple[int, int] = (0, 0),
) -> Iterator[np.ndarray]:
    """It goes round, now faster, now slower, in front of a wall."""
    for time in np.arange(round(seconds * fps)) / fps:
        turn = 2 * np.pi * (time / 2 + 0.35 * np.sin(0.75 * np.pi * time))
        y, x = 48 + 22 * np.sin(turn) + shift[0], 64 + 30 * np.cos(1.3 * turn) + shift[1]
        inside = np.hypot(Y - y, X - x) < 9
        yield np.where(inside[..., None], np.array(colour), np.array(ground)).astype(np.uint8)


def describe(pictures: Iterator[np.ndarray], fps: float = 60.0) -> np.ndarray:
    return Motion()(pictures, fps)


@pytest.fixture(scope="module")
def filmed() -> np.ndarray:
    return describe(ball())


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    x, y = one[:, 1:], other[:, 1:]
    return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def nearest(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.linalg.norm(one[:, None, 1:] - other[None, :, 1:], axis=2).argmin(1)


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("side", range(1, 129))
def test_pictures_of_any_shape_have_maps_of_at_most_sixteen_cells(side: int, upright: bool) -> None:
    shape = (128, side) if upright else (side, 128)
    pictures = np.random.default_rng(side).integers(0, 255, (4, *shape, 3)).astype(np.uint8)
    maps = motion_maps(iter(pictures))
    assert maps.shape[2 - upright] == CELLS and abs(maps.shape[1 + upright] - side / 8) <= 1
    assert MotionMaps()(iter(pictures), 30.0).shape == (4, CELLS**2)


def test_one_row_a_picture_and_parts_of_equal_weight(filmed: np.ndarray) -> None:
    assert filmed.shape == (180, 361) and filmed.dtype == np.float32 and np.isfinite(filmed).all()
    # three self-similarities of the pairs of 13 frames, then 14 bands of 9 frames
    parts = np.split(filmed[:, 1:], [78, 156, 234], axis=1)
    assert [part.shape[1] for part in parts] == [78, 78, 78, 126]
    assert [part.var(0).sum() for part in parts] == pytest.approx([1, 1, 1, 1], rel=1e-3)


@pytest.mark.parametrize(
    ("other", "least"),
    [
        (dict(colour=(60, 80, 220), ground=(200, 190, 180)), 0.99),  # another thing before another wall
        (dict(colour=(120, 110, 60)), 0.9),  # in bad light
        (dict(shift=(8, 16)), 0.99),  # the camera points elsewhere
    ],
)
def test_another_look_changes_little(filmed: np.ndarray, other: dict, least: float) -> None:
    seen = describe(ball(**other))
    assert cosines(filmed, seen).min() > least
    assert (nearest(filmed, seen) == np.arange(180)).all()
    assert np.corrcoef(filmed[:, 0], seen[:, 0])[0, 1] > 0.99


def test_a_shift_within_a_cell_moves_no_match_by_more_than_a_few_frames(filmed: np.ndarray) -> None:
    seen = describe(ball(shift=(5, -7)))
    assert np.abs(nearest(filmed, seen) - np.arange(180)).mean() < 1


def test_colours_say_nothing_and_movement_does(filmed: np.ndarray) -> None:
    """Moments of one film differ: else the tests above would hold for features that are constant."""
    assert np.median(cosines(filmed, np.roll(filmed, 20, axis=0))) < 0.5


@pytest.mark.parametrize("fps", [30.0, 120.0])
def test_windows_keep_their_seconds(filmed: np.ndarray, fps: float) -> None:
    seen = describe(ball(fps), fps)
    step = max(1, round(fps / 60)), max(1, round(60 / fps))
    seen, shown = seen[:: step[0]], filmed[:: step[1]]
    assert len(seen) == len(shown)
    assert np.corrcoef(shown[:, 0], seen[:, 0])[0, 1] > 0.99
    assert np.median(cosines(shown, seen)) > 0.9
    # taken for a film of 60 frames a second, the windows would be of other lengths
    mistaken = describe(ball(fps), 60.0)[:: step[0]]
    assert np.median(cosines(shown, mistaken)) < np.median(cosines(shown, seen)) - 0.01


def test_mass_is_larger_where_more_moves() -> None:
    """Fast, then at rest, then slow."""
    place = np.concatenate([np.arange(60) * 1.5, np.full(60, 90.0), 90 - np.arange(60) * 0.4])
    pictures = (np.repeat((np.hypot(Y - 48, X - 15 - x) < 9)[..., None] * np.uint8(200), 3, axis=2) for x in place)
    mass = describe(pictures)[:, 0]
    assert mass.mean() == pytest.approx(1, abs=1e-5) and (mass > 0).all()
    fast, rest, slow = mass[10:50].mean(), mass[75:105].mean(), mass[130:170].mean()
    assert fast > 1.3 * slow > 2.6 * rest


@pytest.mark.parametrize("n", [2, 3, 20])
def test_a_still_film_gives_finite_numbers(n: int) -> None:
    table = describe(np.full((HEIGHT, WIDTH, 3), 77, np.uint8) for _ in range(n))
    assert table.shape == (n, 361) and np.isfinite(table).all()
    assert table[:, 0] == pytest.approx(1) and np.abs(table[:, 1:]).max() == 0


def test_the_noise_of_a_camera_is_no_motion(filmed: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    seen = describe((picture + rng.integers(-8, 9, picture.shape)).clip(0, 255).astype(np.uint8) for picture in ball())
    assert np.corrcoef(filmed[:, 0], seen[:, 0])[0, 1] > 0.99 and cosines(filmed, seen).min() > 0.9


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_short_films(n: int) -> None:
    table = describe(iter(list(ball())[:n]))
    assert table.shape == (n, 361) and np.isfinite(table).all()


@pytest.mark.parametrize("shape", [(1, 1), (9, 13), (4, 128), (128, 72)])
def test_any_size_of_picture(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    table = describe(rng.integers(0, 256, (*shape, 3), np.uint8) for _ in range(9))
    assert table.shape == (9, 361) and np.isfinite(table).all()


def test_three_pictures_are_held_at_most() -> None:
    alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
    held = []

    def watched() -> Iterator[np.ndarray]:
        for number, picture in enumerate(ball(seconds=0.5)):
            alive[number] = picture
            yield picture
            del picture
            held.append(len(alive))

    describe(watched())
    assert len(held) == 30 and max(held) <= 3


def test_features_follow_from_the_maps_whatever_stands_around_them(filmed: np.ndarray) -> None:
    stored = MotionMaps()(ball(), 60.0)
    assert stored.shape == (180, CELLS**2) and stored.dtype == np.float32
    again = motion_features(stored.reshape(-1, CELLS, CELLS), 60.0)
    assert again == pytest.approx(filmed, abs=2e-3)


def test_a_retimed_film_shows_the_moments_that_are_asked_for() -> None:
    maps = motion_maps(ball())
    assert time_warped(maps, np.arange(180.0)) == pytest.approx(maps)
    assert time_warped(maps, np.arange(0, 179, 2.0)) == pytest.approx(2 * maps[:-1:2])  # twice as far a frame
    between = time_warped(maps, np.arange(0, 179.5, 0.5))
    assert between[::2] == pytest.approx(maps / 2) and between[1::2] == pytest.approx((maps[1:] + maps[:-1]) / 4)
    assert not time_warped(maps, np.full(5, 3.0)).any()  # a frame that is held does not move


def test_a_film_brought_to_its_old_tempo_has_its_old_features(filmed: np.ndarray) -> None:
    warp = np.linspace(0, 1, 180) ** 1.35 * 179
    pictures = list(ball())
    faster = motion_maps(iter(pictures[round(at)] for at in warp))
    back = motion_features(time_warped(faster, np.interp(np.arange(180.0), warp, np.arange(180.0))), 60.0)
    unmended = cosines(filmed, motion_features(faster, 60.0))
    assert np.median(cosines(filmed, back)) > 0.9 > np.median(unmended)
