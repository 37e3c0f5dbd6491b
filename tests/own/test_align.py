"""`vasot align`: what it writes belongs together, its film shows its table, and motion as mass finds the tempo."""

from __future__ import annotations

import csv
import json
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.pixels.films import cut
from tests.own.toys import SIDE
from vasot_lib.data.pixels.copies import power_warp
from vasot_lib.data.pixels.media import probe, stream
from vasot_lib.data.pixels.motion import Motion
from vasot_lib.errors import DataError, InputError
from vasot_lib.own.align import FilmMatching, align_films, match_films, split_mass
from vasot_lib.own.measure import describe
from vasot_lib.own.outputs import GAP

FILES = ["alignment.png", "config.json", "correspondence.csv", "plan.npz", "side_by_side.mp4"]
N, M = 50, 57  # frames of the two films


def align(films: list[Path], out: Path, **options) -> list:
    return align_films(films, out, progress=False, **options)


def table(file: Path) -> dict[str, np.ndarray]:
    """Column -> values; the last one as text."""
    header, *rows = csv.reader(file.open())
    columns = zip(header, np.array(rows).T, strict=True)
    return {name: column if name == "config" else column.astype(float) for name, column in columns}


def pictures(film: Path) -> np.ndarray:
    return np.array([frame.picture for frame in stream(film)], dtype=float)


def listed(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# ---- what is written


def test_every_result_names_the_same_configuration(aligned: Path) -> None:
    assert listed(aligned) == FILES
    mark = json.loads((aligned / "config.json").read_text())["config"]
    assert set(table(aligned / "correspondence.csv")["config"]) == {mark}
    with np.load(aligned / "plan.npz", allow_pickle=False) as stored:
        assert str(stored["config"]) == mark
    with Image.open(aligned / "alignment.png") as image:
        assert image.info["Description"] == f"config {mark}"
    with av.open(str(aligned / "side_by_side.mp4")) as container:
        assert container.metadata["comment"] == f"config {mark}"


def test_the_table_has_a_row_for_every_frame(aligned: Path) -> None:
    rows = table(aligned / "correspondence.csv")
    with np.load(aligned / "plan.npz") as stored:
        plan, matches = stored["plan"], stored["matches"]
    assert rows["frame_x"].tolist() == list(range(N)) and rows["seconds_x"] == pytest.approx(np.arange(N) / 25)
    assert np.diff(rows["frame_y"]).min() >= 0 and (rows["frame_y"][0], rows["frame_y"][-1]) == (0, M - 1)
    assert plan.shape == (N, M) and plan.sum() == pytest.approx(1, abs=1e-3)
    assert rows["frame_y"].tolist() == np.round(matches).tolist()
    assert rows["seconds_y"] == pytest.approx(matches / 25, abs=1e-4)
    assert rows["spread_seconds"].min() > 0 and rows["spread_seconds"].max() < M / 25


def test_the_film_shows_what_the_table_says(aligned: Path, films: list[Path]) -> None:
    rows, both = table(aligned / "correspondence.csv"), pictures(aligned / "side_by_side.mp4")
    assert both.shape == (N, SIDE, 2 * SIDE + GAP, 3)
    halves = {"frame_x": both[:, :, :SIDE], "frame_y": both[:, :, SIDE + GAP :]}
    for (name, half), film in zip(halves.items(), films, strict=True):
        original, told = pictures(film), rows[name].astype(int)
        apart = np.array([np.abs(original - picture).mean((1, 2, 3)) for picture in half])  # (N, frames of the film)
        assert apart[np.arange(N), told].max() < 6  # of 255: compression
        assert apart.argmin(1).tolist() == told.tolist()
    clip = probe(aligned / "side_by_side.mp4")
    assert (clip.fps, clip.duration) == (25, pytest.approx(N / 25))


def test_config_says_what_was_asked_for(aligned: Path, films: list[Path]) -> None:
    config = json.loads((aligned / "config.json").read_text())
    assert (config["command"], config["features"], config["fps"]) == ("align", "motion", None)
    assert config["matching"] == FilmMatching().__dict__
    assert [film["name"] for film in config["recordings"]] == [film.name for film in films]


def test_the_same_again_gives_the_same_and_anything_else_is_refused(aligned: Path, films: list[Path]) -> None:
    mark = json.loads((aligned / "config.json").read_text())["config"]
    before = {name: (aligned / name).read_bytes() for name in ("correspondence.csv", "side_by_side.mp4")}
    align(films, aligned)
    assert listed(aligned) == FILES and all((aligned / name).read_bytes() == old for name, old in before.items())
    for other in (dict(fps=5), dict(how=FilmMatching(motion_mass=False)), dict(features="appearance")):
        with pytest.raises(DataError, match=rf"holds {mark}; choose another folder for [0-9a-f]{{8}}, or remove it"):
            align(films, aligned, **other)
    with pytest.raises(DataError, match=f"holds {mark}; choose"):  # the other way round is another question
        align(films[::-1], aligned)
    with pytest.raises(DataError, match="holds other files"):
        align(films, films[0].parent)


# ---- what is given


def test_a_folder_of_pictures_is_a_film(films: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for frame in islice(stream(films[1]), 30):
        Image.fromarray(frame.picture).save(folder / f"{frame.index}.png")
    (match,) = align([films[0], folder], tmp_path / "out")
    assert match.plan.shape == (N, 30)
    rows = table(tmp_path / "out" / "correspondence.csv")
    assert rows["seconds_y"] == pytest.approx(match.matches / 30, abs=1e-4)  # the rate of folders
    (same,) = align([folder, folder], tmp_path / "itself", fps=10)
    assert same.matches == pytest.approx(np.arange(10), abs=0.5)


def test_samples_are_matched_at_the_rate_that_is_asked_for(films: list[Path], tmp_path: Path) -> None:
    (match,) = align(films, tmp_path / "out", fps=12.5)
    rows = table(tmp_path / "out" / "correspondence.csv")
    assert match.plan.shape == (25, 29)
    assert rows["frame_x"].tolist() == list(range(0, N, 2)) and rows["seconds_x"] == pytest.approx(np.arange(25) / 12.5)
    assert set(rows["frame_y"] % 2) == {0} and rows["frame_y"][-1] == 56
    clip = probe(tmp_path / "out" / "side_by_side.mp4")
    assert (clip.fps, clip.frames) == (12.5, 25)


def test_more_films_are_aligned_with_the_first_and_go_by_name(films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    third, twin = (tmp_path / place for place in ("third.mp4", "b/third.mp4"))
    for copy in (third, twin):
        copy.write_bytes(films[0].read_bytes())
    found = align([*films, third], tmp_path / "out", fps=12.5)
    assert [match.plan.shape for match in found] == [(25, 29), (25, 25)]
    results = [file for file in FILES if file != "config.json"]
    names = (f"{name}-{file}" for name in ("third", "toy_01") for file in results)
    assert listed(tmp_path / "out") == ["config.json", *sorted(names)]
    with pytest.raises(DataError, match="have one name, and results are named by it"):
        align([films[0], third, twin], tmp_path / "twins")
    align([third, twin], tmp_path / "pair", fps=12.5)  # two need no names
    assert not (tmp_path / "twins").exists() and listed(tmp_path / "pair") == FILES


@pytest.mark.parametrize("fps", [1.0, 5.0])
def test_short_films_are_aligned_as_well(films: list[Path], tmp_path: Path, fps: float) -> None:
    """The window of the structural prior would be 0 frames, which it refuses."""
    (match,) = align(films, tmp_path / "out", fps=fps)
    n, m = round(2 * fps), int(np.ceil(57 / 25 * fps))
    assert match.plan.shape == (n, m) and match.matches[[0, -1]] == pytest.approx([0, m - 1])
    with pytest.raises(DataError, match="gives 1 frame at 0.1 fps; raise the rate"):
        align(films, tmp_path / "shorter", fps=0.1)


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_a_rate_that_is_none_leaves_nothing(films: list[Path], tmp_path: Path, fps: float) -> None:
    with pytest.raises(InputError, match="fps is .*; give a positive number of frames per second"):
        align(films, tmp_path / "out", fps=fps)
    assert listed(tmp_path) == []


def test_one_film_is_refused(films: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 film was given; an alignment takes at least two"):
        align(films[:1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_film_leaves_nothing(films: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(films[1].read_bytes())
    cut(damaged, 2 * damaged.stat().st_size // 3)
    with pytest.raises(DataError, match=r"damaged\.mp4") as refused:
        align([films[0], damaged], tmp_path / "out")
    assert "\n" not in str(refused.value) and listed(tmp_path) == ["damaged.mp4"]
    with pytest.raises(DataError, match=r"none\.mp4 does not exist"):
        align([films[0], tmp_path / "none.mp4"], tmp_path / "out")
    assert listed(tmp_path) == ["damaged.mp4"]


# ---- matching


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
    x, y = describe(film, 60), describe(film[warp.shows], 60)
    weighed = match_films(x.features, y.features, x.mass, y.mass)
    equal = match_films(x.features, y.features)
    errors = [float(np.abs(match.matches - warp.truth).mean()) for match in (weighed, equal)]
    assert errors[0] < 2 and errors[1] > 5
    assert np.diff(weighed.matches).min() > 0


@pytest.mark.parametrize("exponent", [1.35, 1 / 1.35])
def test_motion_as_mass_is_nearer_to_the_truth_where_looks_say_enough(exponent: float) -> None:
    film = blob(rounds=2)
    warp = power_warp(len(film), exponent)
    x, y = describe(film, 60), describe(film[warp.shows], 60)
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
    weighed = match_films(*same, p, q, FilmMatching(alpha=alpha, **SHARP))
    assert np.abs(weighed.matches - clock).max() < 1 < 2 < np.abs(clock - line).mean()
    for equal in (
        match_films(*same, p, q, FilmMatching(alpha=alpha, motion_mass=False, **SHARP)),
        match_films(*same, how=FilmMatching(alpha=alpha, **SHARP)),
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


def test_only_motion_has_a_mass(films: list[Path]) -> None:
    from vasot_lib.data.pixels.appearance import Appearance
    from vasot_lib.data.pixels.recordings import read_recordings

    (moving,) = read_recordings(films[:1], Motion(), progress=False)
    rows, mass = split_mass(moving, "motion")
    assert torch.equal(mass, moving.features[:, 0]) and torch.equal(rows, moving.features[:, 1:])
    assert mass.min() > 0 and float(mass.mean()) == pytest.approx(1, abs=1e-4)
    (looking,) = read_recordings(films[:1], Appearance(), progress=False)
    rows, mass = split_mass(looking, "appearance")
    assert mass is None and rows.shape == looking.features.shape
    assert rows.mean(0).numpy() == pytest.approx(0, abs=1e-3)
    varies = looking.features.std(0) > 1e-3
    assert rows.std(0)[varies].numpy() == pytest.approx(1, abs=1e-3)
