"""The sound of two films says how they lie in time, or that it does not say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.films.films import make_folder, record
from tests.films.sounds import event, heard, two_of_one
from vasot_kit.films.motion import MotionMaps
from vasot_kit.films.recordings import Recording, read_recordings
from vasot_kit.films.sound import REACH, SAMPLES, WEIGHT, bands_of, envelope, prior_of, shift_between, shift_of


@pytest.mark.parametrize("kind", ["speech", "knocks"])
@pytest.mark.parametrize("decibels", [15, 3])
def test_the_shift_of_one_event_is_found_to_a_few_hundredths(kind: str, decibels: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(3):
        x, y, later = two_of_one(kind, 20, decibels, rng)
        found = shift_of(bands_of(x), bands_of(y))
        assert found.seconds == pytest.approx(later, abs=0.03)
        back = shift_of(bands_of(y), bands_of(x))
        assert back.seconds == pytest.approx(-found.seconds, abs=1e-9) and back.clearness == pytest.approx(
            found.clearness
        )


@pytest.mark.parametrize("kind", ["speech", "knocks", "beat", "hum"])
def test_two_events_have_no_shift(kind: str) -> None:
    rng = np.random.default_rng(4)
    for _ in range(5):
        x, y = (bands_of(heard(event(kind, 12, rng), 15, rng)) for _ in range(2))
        assert shift_of(x, y).seconds is None


def test_a_steady_beat_fits_at_many_shifts_and_has_none() -> None:
    x, y, _ = two_of_one("beat", 12, 15, np.random.default_rng(5))
    assert shift_of(bands_of(x), bands_of(y)).seconds is None


def test_how_loud_a_microphone_is_does_not_matter() -> None:
    x, y, _ = two_of_one("knocks", 8, 15, np.random.default_rng(6))
    assert shift_of(bands_of(x), bands_of(100 * y))[:2] == pytest.approx(
        shift_of(bands_of(x), bands_of(y))[:2], abs=1e-3
    )


@pytest.mark.parametrize("n", [0, 100, 199])
def test_too_little_sound_says_nothing(n: int) -> None:
    bands = np.random.default_rng(7).normal(size=(8, 1000))
    assert shift_of(bands[:, :n], bands).seconds is None and shift_of(bands, bands[:, :n]).seconds is None


def test_silence_says_nothing() -> None:
    assert shift_of(bands_of(np.zeros(SAMPLES * 5)), bands_of(np.zeros(SAMPLES * 5))).seconds is None


def test_moments_pay_for_lying_elsewhere_than_the_sound_has_them() -> None:
    prior = prior_of(2.0, np.array([0.0, 1.0]), np.array([2.0, 2.0 + REACH / 2, 9.0]))
    assert prior[0].tolist() == pytest.approx([0, WEIGHT / 2, WEIGHT]) and prior[1, 0] == WEIGHT


def films(tmp_path: Path, *names: str) -> list[Recording]:
    return read_recordings([tmp_path / name for name in names], MotionMaps(), progress=False)


def test_films_are_shifted_by_their_sound(tmp_path: Path) -> None:
    """Counted from the first pictures: that of c comes half a second after its sound begins."""
    wave = event("knocks", 9, np.random.default_rng(8)).astype(np.float32)
    parts = {"a.mp4": wave[: 6 * SAMPLES], "b.mkv": wave[2 * SAMPLES : 8 * SAMPLES], "c.mkv": wave[: 6 * SAMPLES]}
    for name, heard_there in parts.items():
        late = range(500, 6500, 100) if name[0] == "c" else None
        record(tmp_path / name, n=60, fps=10, stamps=late, sound=heard_there)
    a, b, c = map(envelope, films(tmp_path, *parts))
    assert shift_between(a, b).seconds == pytest.approx(-2.0, abs=0.05)
    assert shift_between(a, c).seconds == pytest.approx(-0.5, abs=0.05)
    assert shift_between(c, a).seconds == pytest.approx(0.5, abs=0.05)


def test_films_without_sound_have_no_shift(tmp_path: Path) -> None:
    record(tmp_path / "a.mp4")
    make_folder(tmp_path / "b", range(20))
    heard = [envelope(film) for film in films(tmp_path, "a.mp4", "b")]
    assert all(each.values.shape == (8, 0) for each in heard) and shift_between(*heard).seconds is None
