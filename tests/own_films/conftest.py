"""Two generated films, what `vasot align` makes of them, and a cache that belongs to these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.own_films.toys import record_toys
from vasot_kit.own_films.align import align_films


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cached(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(own_cache))


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two films of one procedure of three steps, 50 and 57 frames at 25 a second."""
    return record_toys(tmp_path_factory.mktemp("films"), 2, n_steps=3, background=0)[1]


@pytest.fixture(scope="session")
def aligned(films: list[Path], own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that aligning them left."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VASOT_CACHE", str(own_cache))
        out = tmp_path_factory.mktemp("aligned")
        align_films(films, out, progress=False)
    yield out
