"""Frames of two films go together: at any tempo, after any wait, from any part of a film; others have no partner."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from vasot_kit.film_matching.accuracy import film_motion
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import FilmAlignment, MatchingSettings, _on_frames, match_films
from vasot_kit.film_matching.pairing import paired_path
from vasot_kit.film_matching.pieces import pieces_of
from vasot_kit.films.copies import power_warp, tempo_warp
from vasot_kit.films.motion import Motion, motion_maps
from vasot_lib.errors import InputError


def blob(rounds: float, n: int = 120, side: int = 64) -> np.ndarray:
    """(n, side, side, 3) uint8: a bright blob that goes round at an even speed."""
    grid, turn = np.arange(side), 2 * np.pi * rounds * np.linspace(0, 1, n)
    y, x = (side / 2 + 20 * wave(turn) for wave in (np.sin, np.cos))
    squared = (grid[:, None] - y[:, None, None]) ** 2 + (grid - x[:, None, None]) ** 2
    return np.repeat((40 + 200 * np.exp(-squared / 18))[..., None], 3, axis=-1).astype(np.uint8)


def wandering(n: int = 120, side: int = 64, seed: int = 0) -> np.ndarray:
    """(n, side, side, 3) uint8: two blobs that go to and fro in their own time, and never the same way twice."""
    rng, time, grid = np.random.default_rng(seed), np.linspace(0, 2, n), np.arange(side)
    picture = np.full((n, side, side), 40.0)
    for _ in range(2):
        y, x = (
            side / 2 + sum(9 / f * np.sin(2 * np.pi * f * time + rng.uniform(0, 6)) for f in (0.7, 1.3, 2.3))
            for _ in range(2)
        )
        squared = (grid[:, None] - y[:, None, None]) ** 2 + (grid - x[:, None, None]) ** 2
        picture += 90 * np.exp(-squared / 18)
    return np.repeat(picture[..., None], 3, axis=-1).astype(np.uint8)


def described(pictures: np.ndarray, fps: float = 60) -> FilmDescription:
    return film_motion(pictures, fps).described()


def match(x: np.ndarray, y: np.ndarray) -> FilmAlignment:
    return match_films(described(x), described(y))


def shown_by(found: FilmAlignment) -> list[str]:
    """Which films show each piece."""
    return ["y" if piece.x is None else "x" if piece.y is None else "both" for piece in found.pieces]


def off(found: FilmAlignment, truth: np.ndarray) -> float:
    return float(np.abs(found.matches - truth).mean())


# ---- moments


def test_moments_are_where_something_moves() -> None:
    """A film whose first 100 frames are still and whose last 50 move evenly."""
    maps = np.zeros((150, 4, 4))
    maps[100:] = 0.05
    film = FilmDescription(maps, 60).at()
    assert len(film.frames) == pytest.approx(50, abs=10) and (film.frames < 90).sum() <= 3
    steps = np.diff(film.frames[film.frames > 105])
    assert steps == pytest.approx(steps.mean(), rel=0.1) and film.mass.sum() == pytest.approx(1)
    assert [len(table) for table in film.tables] == [len(film.frames)] * 2


def test_a_film_that_moves_evenly_has_a_moment_for_every_frame() -> None:
    film = FilmDescription(np.full((80, 4, 4), 0.05), 60).at()
    assert film.frames == pytest.approx(np.arange(80), abs=1)


def test_other_features_are_those_of_the_moments() -> None:
    rng = np.random.default_rng(0)
    maps, ramp = rng.uniform(0, 0.1, (40, 4, 4)), torch.arange(40.0)[:, None] * torch.tensor([1.0, -2.0])
    film = FilmDescription(maps, 60, [ramp], by_motion=False).at()
    (table,) = film.tables
    assert table.numpy() == pytest.approx((film.frames - 19.5)[:, None] * [1, -2], abs=1e-3)
    assert len(FilmDescription(maps, 60, [ramp]).at().tables) == 3


def test_poses_are_compared_and_judge_with_motion_whether_films_match() -> None:
    """Two films that move alike at all times: whether the poses agree decides."""
    rng = np.random.default_rng(1)
    film, poses = wandering(), [torch.from_numpy(rng.normal(size=(120, 9)).cumsum(0)) for _ in range(2)]
    maps = motion_maps(iter(film))
    mine, other = (FilmDescription(maps, 60, poses=[pose]) for pose in poses)
    at_own = mine.at()
    assert len(at_own.tables) == 3 and at_own.tables[2] is at_own.pose[0] and not FilmDescription(maps, 60).at().pose
    assert len(FilmDescription(maps, 60, poses=poses, by_motion=False).at().tables) == 2
    same, apart, by_motion = match_films(mine, mine), match_films(mine, other), match(film, film)
    assert same.kind == by_motion.kind == "match" and apart.closeness < by_motion.closeness - 0.2
    assert apart.confidence.mean() < same.confidence.mean()


@pytest.mark.parametrize("seed", range(4))
def test_a_part_that_the_other_film_shows_twice_lies_at_one_of_both_places(seed: int) -> None:
    """The mean over both places lies between them, where the other film shows something else; it was sure of that."""
    rng = np.random.default_rng(seed)
    first, shown, between, last = (
        np.abs(gaussian_filter1d(rng.normal(size=(n, 6, 6)), 3, axis=0)) for n in (60, 80, 120, 60)
    )
    again = (shown * (1 + 0.05 * rng.normal(size=shown.shape))).clip(0)
    y = np.concatenate([first, shown, between, again, last])
    found = match_films(FilmDescription(shown, 30), FilmDescription(y, 30))
    off_first, off_second = (np.abs(found.matches - np.arange(80) - start) for start in (60, 260))
    assert max(off_first.mean(), off_second.mean()) > 100 and min(off_first.max(), off_second.max()) < 4
    assert found.confidence.mean() < 0.95


# ---- matches


@pytest.mark.parametrize("exponent", [1.35, 1 / 1.35])
def test_rounds_that_look_alike_are_told_apart_at_any_tempo(exponent: float) -> None:
    """Six equal rounds, faster and faster: by looks alone a round too early fits as well."""
    film = blob(rounds=6)
    warp = power_warp(len(film), exponent)
    assert off(match(film, film[warp.shows]), warp.truth) < 2 < np.abs(np.arange(len(film)) - warp.truth).mean()


def test_a_copy_at_another_tempo_is_found() -> None:
    errors, line = [], []
    for seed in range(4):
        film = wandering(seed=seed)
        warp = tempo_warp(len(film), 0.7, 1.4, np.random.default_rng(seed))
        errors.append(off(match(film, film[warp.shows]), warp.truth))
        line.append(np.abs(np.linspace(0, warp.truth[-1], len(film)) - warp.truth).mean())
    assert np.mean(errors) < 0.7 and np.mean(errors) < 0.3 * np.mean(line)


@pytest.mark.parametrize("times", [3, 5])
def test_slow_motion_is_found_in_either_film(times: int) -> None:
    """Five seconds of a movement, and the same filmed at so many times the rate and played at the same one."""
    film, slow = wandering(150), wandering(150 * times)
    truth = np.linspace(0, 150 * times - 1, 150)
    found, back = match(film, slow), match(slow, film)
    assert found.tempo > 1 > back.tempo and found.kind == back.kind == "match"
    assert off(found, truth) < 2 * times and off(back, np.linspace(0, 149, 150 * times)) < 2


@pytest.mark.parametrize("times", [2, 4])
def test_more_frames_a_second_are_no_slow_motion(times: int) -> None:
    film = wandering(200 * times)
    fast, plain = described(film, 60 * times), described(film[::times])
    found, back = match_films(plain, fast), match_films(fast, plain)
    assert found.tempo == back.tempo == 1 and found.kind == back.kind == "match"
    assert off(found, times * np.arange(200)) < 2 * times and off(back, np.arange(200 * times) / times) < 2


def test_films_of_one_tempo_are_compared_at_it() -> None:
    film = wandering(240)
    for part in (film[:120], film[60:180]):
        assert match(film, part).tempo == match(part, film).tempo == 1


@pytest.mark.parametrize(("before", "after"), [(0, 200), (150, 0), (200, 100)])
def test_a_wait_of_any_length_moves_nothing(before: int, after: int) -> None:
    """A person waits in one film and not in the other: the movement of two seconds is matched all the same."""
    film = wandering()
    waiting = np.concatenate([film[:1].repeat(before, 0), film, film[-1:].repeat(after, 0)])
    assert off(match(film, waiting), before + np.arange(120)) < 1.5
    there = match(waiting, film).matches[before : before + 120]
    assert np.abs(there - np.arange(120)).mean() < 1.5


def test_a_part_is_found_in_a_longer_film_and_the_rest_has_no_partner() -> None:
    film = wandering(240)
    found = match(film, film[70:170])
    assert np.abs(found.matches[70:170] - np.arange(100)).mean() < 1.5
    assert found.kind == "part" and found.paired[75:165].all() and not found.paired[:60].any()
    assert shown_by(found) == ["x", "both", "x"]
    (shown,) = (piece for piece in found.pieces if None not in piece[:2])
    assert np.abs(np.subtract(shown.x, (70, 170))).max() < 12 and shown.y == (0, 100)


def test_films_that_overlap_share_a_part() -> None:
    film = wandering(240)
    found = match(film[:160], film[80:])
    assert np.abs(found.matches[85:155] - np.arange(5, 75)).mean() < 1.5
    assert shown_by(found) == ["x", "both", "y"]


def test_films_of_one_movement_match_and_others_do_not() -> None:
    film = wandering(seed=1)
    same, other = match(film, film[::-1][::-1]), match(film, wandering(seed=5))
    assert same.kind == "match" and same.paired.all() and len(same.pieces) == 1
    assert other.closeness < 1 < same.closeness and other.kind in ("none", "unclear")
    assert same.confidence.min() > 0.9 and other.confidence.mean() < 0.7


def test_a_film_is_found_at_half_its_rate() -> None:
    film = wandering(160)
    whole, half = described(film), described(film[::2], 30)
    assert off(match_films(whole, half), np.arange(160) / 2) < 0.5
    assert off(match_films(half, whole), 2 * np.arange(80)) < 1


@pytest.mark.parametrize("frames", [2, 3])
def test_films_of_a_few_frames_are_matched(frames: int) -> None:
    found = match(wandering(frames), wandering(3))
    assert found.plan.shape == (frames, 3) and 0 <= found.matches.min() <= found.matches.max() <= 2


def test_shapes_and_marginals() -> None:
    film = wandering(150, seed=2)
    warp = tempo_warp(150, 0.7, 1.4, np.random.default_rng(1))
    x, y = described(film), described(film[warp.shows])
    found = match_films(x, y)
    n, m = len(x.maps), len(y.maps)
    assert found.plan.shape == found.share.shape == (n, m) and n != m and found.plan.min() >= 0
    assert float(found.plan.sum()) == pytest.approx(1, abs=1e-4)
    assert found.share.numpy() == pytest.approx(found.plan.numpy() / np.outer(x.at().mass, y.at().mass), rel=1e-4)
    assert np.diff(found.matches).min() >= 0 and found.confidence.shape == (n,)
    # The path runs through the plan's mass.
    centre = (found.plan @ torch.arange(m, dtype=torch.float32)) / found.plan.sum(1)
    assert np.abs(centre.numpy() - found.matches).mean() < 5


def test_all_pieces_together_are_both_films() -> None:
    film = wandering(240)
    for x, y in ((film[:160], film[80:]), (film, film[70:170]), (film[40:], film[:150])):
        found = match(x, y)
        for side, count in (("x", len(x)), ("y", len(y))):
            spans = [getattr(piece, side) for piece in found.pieces if getattr(piece, side) is not None]
            assert (spans[0][0], spans[-1][1]) == (0, count)
            assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))


def test_no_piece_is_empty_and_each_film_is_in_pieces_once() -> None:
    """Plans of parts at several tempos, with parts that one film alone shows, and films of two frames."""
    rng = np.random.default_rng(0)
    for _ in range(150):
        n, m = (int(count) for count in rng.integers(2, 80, 2))
        plan, i, j = np.full((n, m), 1e-4), 0, 0
        while i < n and j < m:
            for _ in range(int(rng.integers(1, 30))):
                high, wide = rng.choice([1, 1, 1, 2, 3], 2)
                plan[i : i + high, j : j + wide] += 1
                i, j = i + high, j + wide
            i, j = i + rng.integers(0, 30) * rng.integers(0, 2), j + rng.integers(0, 30) * rng.integers(0, 2)
        path = paired_path(plan / plan.sum())
        pieces = pieces_of(path.position, path.paired_x, path.paired_y)
        for side, count in (("x", n), ("y", m)):
            spans = [span for piece in pieces if (span := getattr(piece, side)) is not None]
            assert (spans[0][0], spans[-1][1]) == (0, count) and all(start < end for start, end in spans), pieces
            assert all(before[1] == after[0] for before, after in pairwise(spans)), pieces


def test_a_short_film_is_matched_with_its_place_in_a_long_one() -> None:
    """No place of the long film is sure where several fit, but it is matched with one of them and not with the end."""
    matches, sure_x, sure_y = np.linspace(40, 59, 20), np.full(20, 0.98), np.full(100, 0.1)
    spans = [piece[:2] for piece in pieces_of(matches, sure_x, sure_y)]
    assert spans == [(None, (0, 40)), ((0, 20), (40, 60)), (None, (60, 100))]
    # Nothing of a long film is sure of a short one: both are listed, each as its own.
    assert [piece[:2] for piece in pieces_of(np.linspace(0, 1, 50), np.full(50, 0.1), np.ones(2))] == [
        ((0, 50), None), (None, (0, 2)),
    ]  # fmt: skip


def test_mass_goes_to_the_frames_that_are_shown() -> None:
    plan = np.random.default_rng(0).random((4, 5))
    assert _on_frames(plan, np.arange(5.0), 5) == pytest.approx(plan)
    # Two columns show frames 0 and 3 of four: each stands for two of them.
    assert _on_frames(np.array([[1.0, 3.0]]), np.array([0.0, 3.0]), 4).tolist() == [[0.5, 0.5, 1.5, 1.5]]
    slow = _on_frames(plan, np.linspace(0, 1, 5), 2)
    assert slow.sum(1) == pytest.approx(plan.sum(1))
    assert slow[:, 0] == pytest.approx(plan[:, :2].sum(1) + plan[:, 2] / 2)


def test_how_much_moves_is_no_feature() -> None:
    rows = Motion()(iter(wandering(50)), 60)
    assert film_motion(wandering(50), 60).features.shape == (50, rows.shape[1] - 1)


@pytest.mark.parametrize("field", ["alpha", "radius", "epsilon", "relax", "still"])
def test_wrong_settings_are_refused(field: str) -> None:
    with pytest.raises(InputError, match=f"MatchingSettings.{field} is -1.0"):
        MatchingSettings(**{field: -1.0})  # type: ignore[arg-type]
