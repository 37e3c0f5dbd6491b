"""Frames of two films go together: motion as mass finds the tempo, and films at one tempo are matched more closely."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasot_kit.films.copies import power_warp, tempo_warp
from vasot_kit.films.motion import motion_maps
from vasot_kit.own_films.accuracy import describe_motion
from vasot_kit.own_films.matching import (
    FilmMotion,
    MatchingSettings,
    _on_frames,
    film_motion,
    match_films,
    match_motion,
)


def blob(rounds: float, n: int = 120, side: int = 64) -> np.ndarray:
    """(n, side, side, 3) uint8: a bright blob that goes round at an even speed."""
    grid, turn = np.arange(side), 2 * np.pi * rounds * np.linspace(0, 1, n)
    y, x = (side / 2 + 20 * wave(turn) for wave in (np.sin, np.cos))
    squared = (grid[:, None] - y[:, None, None]) ** 2 + (grid - x[:, None, None]) ** 2
    return np.repeat((40 + 200 * np.exp(-squared / 18))[..., None], 3, axis=-1).astype(np.uint8)


def test_motion_as_mass_tells_rounds_apart_that_look_alike() -> None:
    """Six equal rounds, faster and faster: by looks and by the clock of the wall a round too early fits as well."""
    film = blob(rounds=6)
    warp = power_warp(len(film), 1.35)
    x, y = describe_motion(film, 60), describe_motion(film[warp.shows], 60)
    weighed = match_films(x.features, y.features, x.mass, y.mass)
    equal = match_films(x.features, y.features)
    errors = [float(np.abs(match.matches - warp.truth).mean()) for match in (weighed, equal)]
    assert errors[0] < 2 and errors[1] > 5
    assert np.diff(weighed.matches).min() > 0


@pytest.mark.parametrize("exponent", [1.35, 1 / 1.35])
def test_motion_as_mass_is_nearer_to_the_truth_where_looks_say_enough(exponent: float) -> None:
    film = blob(rounds=2)
    warp = power_warp(len(film), exponent)
    x, y = describe_motion(film, 60), describe_motion(film[warp.shows], 60)
    weighed = match_films(x.features, y.features, x.mass, y.mass).matches
    equal = match_films(x.features, y.features).matches
    error, without, line = (np.abs(found - warp.truth).mean() for found in (weighed, equal, np.arange(len(film))))
    assert error < 0.95 * without < 0.5 * line


def masses() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(1 + 0.25 * np.sin(np.arange(60) / 10)), torch.tensor(1 + 0.25 * np.cos(np.arange(50) / 8))


SHARP = dict(rho=1.0, epsilon=0.01, weight=1.0)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_where_all_frames_look_the_same_the_clocks_agree(alpha: float) -> None:
    p, q = masses()
    u, v = ((mass.cumsum(0) - mass / 2) / mass.sum() for mass in (p, q))
    clock, line = np.interp(u, v, np.arange(50)), np.linspace(0, 49, 60)
    same = torch.zeros(60, 4), torch.zeros(50, 4)
    weighed = match_films(*same, p, q, MatchingSettings(alpha=alpha, **SHARP))
    assert np.abs(weighed.matches - clock).max() < 1 < 2 < np.abs(clock - line).mean()
    for equal in (
        match_films(*same, p, q, MatchingSettings(alpha=alpha, motion_mass=False, **SHARP)),
        match_films(*same, settings=MatchingSettings(alpha=alpha, **SHARP)),
    ):
        assert np.abs(equal.matches - line).max() < 1


def test_the_plan_keeps_the_masses_in_any_unit() -> None:
    p, q = masses()
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(len(mass), 8, generator=generator) for mass in (p, q))
    match = match_films(x, y, p, q)
    assert match.plan.sum(1) == pytest.approx(p / p.sum(), rel=2e-3)
    assert match.plan.sum(0) == pytest.approx(q / q.sum(), rel=2e-3)
    expected = match.plan / (p[:, None] * q / (p.sum() * q.sum()))
    assert match.share.numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    again = match_films(x, y, 1000 * p, q / 7)
    assert again.matches == pytest.approx(match.matches, abs=1e-4)


# ---- at one tempo


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


def film_and_copy(seed: int) -> tuple[FilmMotion, FilmMotion, np.ndarray]:
    """A film, itself at a tempo between .7 and 1.4, and where its frames are found there."""
    pictures = wandering(seed=seed)
    warp = tempo_warp(len(pictures), 0.7, 1.4, np.random.default_rng(seed))
    return describe_motion(pictures, 60), describe_motion(pictures[warp.shows], 60), warp.truth


def test_at_one_tempo_films_are_matched_more_closely() -> None:
    once, again, line = [], [], []
    for seed in range(4):
        x, y, truth = film_and_copy(seed)
        once.append(np.abs(match_motion(x, y, MatchingSettings(rounds=0)).matches - truth).mean())
        again.append(np.abs(match_motion(x, y).matches - truth).mean())
        line.append(np.abs(np.linspace(0, truth[-1], len(truth)) - truth).mean())
    assert np.mean(again) < 0.75 * np.mean(once) < 0.5 * np.mean(line)


def test_without_rounds_it_is_one_match() -> None:
    x, y, _ = film_and_copy(0)
    one, same = (
        match_motion(x, y, MatchingSettings(rounds=0)),
        match_films(x.features, y.features, x.mass, y.mass),
    )
    assert torch.equal(one.plan, same.plan) and np.array_equal(one.matches, same.matches)


def test_its_plan_is_between_the_frames_of_both_films() -> None:
    x, y, _ = film_and_copy(1)
    match = match_motion(x, y)
    n, m = len(x.mass), len(y.mass)
    assert match.plan.shape == match.share.shape == (n, m) and n != m
    assert match.plan.min() >= 0 and float(match.plan.sum()) == pytest.approx(1, abs=1e-3)
    assert match.plan.sum(1) == pytest.approx(x.mass / x.mass.sum(), rel=2e-3)
    assert match.share.numpy() == pytest.approx(
        (match.plan / (match.plan.sum(1, keepdim=True) * match.plan.sum(0))).numpy(), rel=1e-4
    )
    assert match.matches[[0, -1]] == pytest.approx([0, m - 1]) and np.diff(match.matches).min() > 0
    # The path runs through the plan's mass.
    centre = (match.plan @ torch.arange(m, dtype=torch.float32)) / match.plan.sum(1)
    assert np.abs(centre.numpy() - match.matches).mean() < 5


@pytest.mark.parametrize("motion_mass", [True, False])
def test_a_film_is_matched_with_itself(motion_mass: bool) -> None:
    motion = film_motion(motion_maps(iter(wandering(80))), 60)
    match = match_motion(motion, motion, MatchingSettings(motion_mass=motion_mass))
    assert match.matches == pytest.approx(np.arange(80), abs=0.4)


def test_a_film_is_found_at_half_its_rate() -> None:
    pictures = wandering(160)
    whole, half = (film_motion(motion_maps(iter(pictures[::step])), 60 / step) for step in (1, 2))
    assert np.abs(match_motion(whole, half).matches - np.arange(160) / 2).mean() < 0.5
    assert np.abs(match_motion(half, whole).matches - 2 * np.arange(80)).mean() < 1


@pytest.mark.parametrize("frames", [2, 3])
def test_films_of_a_few_frames_are_matched(frames: int) -> None:
    x, y = (film_motion(motion_maps(iter(wandering(count))), 1) for count in (frames, 3))
    match = match_motion(x, y)
    assert match.plan.shape == (frames, 3) and match.matches[[0, -1]] == pytest.approx([0, 2])


def test_mass_goes_to_the_frames_that_are_shown() -> None:
    generator = torch.Generator().manual_seed(0)
    plan = torch.rand(4, 5, generator=generator)
    assert torch.allclose(_on_frames(plan, np.arange(5.0), 5), plan)
    # Two columns show frames 0 and 3 of four: each stands for two of them.
    assert _on_frames(torch.tensor([[1.0, 3.0]]), np.array([0.0, 3.0]), 4).tolist() == [[0.5, 0.5, 1.5, 1.5]]
    slow = _on_frames(plan, np.linspace(0, 1, 5), 2)
    assert slow.sum(1) == pytest.approx(plan.sum(1)) and slow[:, 0] == pytest.approx(
        plan[:, :2].sum(1) + plan[:, 2] / 2
    )


def test_how_much_moves_is_no_feature() -> None:
    _, _, rows, mass = film_motion(motion_maps(iter(wandering(50))), 60)
    assert rows.shape == (50, 360) and float(mass.mean()) == pytest.approx(1, abs=1e-5) and mass.min() > 0
