"""`vasot align`: what it writes belongs together, and its film shows its table."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.films.films import cut, record
from tests.films.sounds import event
from tests.own_films.toys import SIDE
from vasot_kit.datasets.pretrained import POSE_COMMAND
from vasot_kit.film_matching.matching import FilmAlignment, MatchingSettings, match_films
from vasot_kit.film_matching.pieces import FilmPiece
from vasot_kit.films.media import probe, stream
from vasot_kit.films.recordings import FeatureExtractor, Recording
from vasot_kit.films.sound import SAMPLES, Envelope, Shift
from vasot_kit.own_films import align as align_module
from vasot_kit.own_films.align import Described, align_films
from vasot_kit.own_films.inputs import check_rate, feature_extractor
from vasot_kit.own_films.outputs import GAP
from vasot_lib.errors import DataError, InputError

OF_A_PAIR = [
    "alignment.eaf",
    "alignment.png",
    "correspondence.csv",
    "pieces.csv",
    "pieces.vtt",
    "plan.npz",
    "side_by_side.mp4",
]
OF_A_CALL = ["config.json", "report.html", "result.json"]
OF_SEVERAL = ["films.csv", "verdicts.csv"]  # where there are more than two films
FILES = sorted([*OF_A_PAIR, *OF_A_CALL])
N, M = 50, 57  # frames of the two films


def align(films: list[Path], out: Path, **options) -> list:
    return align_films(films, out, progress=False, **options)


def table(file: Path) -> dict[str, np.ndarray]:
    """Column -> values."""
    header, *rows = csv.reader(file.open())
    columns = zip(header, np.array(rows).T, strict=True)
    return {name: column if name in ("config", "partner") else column.astype(float) for name, column in columns}


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
    assert json.loads((aligned / "result.json").read_text())["config"] == mark
    assert all(f"config {mark}" in (aligned / name).read_text() for name in ("pieces.vtt", "alignment.eaf"))
    assert f"<code>{mark}</code>" in (aligned / "report.html").read_text()


def test_the_table_has_a_row_for_every_frame(aligned: Path) -> None:
    rows = table(aligned / "correspondence.csv")
    with np.load(aligned / "plan.npz") as stored:
        plan, matches = stored["plan"], stored["matches"]
    assert rows["frame_x"].tolist() == list(range(N)) and rows["seconds_x"] == pytest.approx(np.arange(N) / 25)
    assert np.diff(rows["frame_y"]).min() >= 0 and rows["frame_y"][0] < 4 and rows["frame_y"][-1] > M - 5
    assert plan.shape == (N, M) and plan.sum() == pytest.approx(1, abs=1e-4)
    there = ~np.isnan(matches)
    assert there.mean() > 0.8 and [each == "yes" for each in rows["partner"]] == there.tolist()
    assert rows["frame_y"][there].tolist() == np.round(matches[there]).tolist()
    assert rows["seconds_y"][there] == pytest.approx(matches[there] / 25, abs=1e-4)
    assert 0 <= rows["confidence"].min() <= rows["confidence"].max() <= 1
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
    assert config["matching"] == asdict(MatchingSettings())
    assert [film["name"] for film in config["recordings"]] == [film.name for film in films]


def test_the_same_again_gives_the_same_and_anything_else_is_refused(
    aligned: Path, films: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    mark = json.loads((aligned / "config.json").read_text())["config"]
    before = {name: (aligned / name).read_bytes() for name in FILES if not name.endswith(("eaf", "npz"))}  # say when
    capsys.readouterr()
    align(films, aligned)
    assert capsys.readouterr().out == f"replacing what {aligned} holds of the same films and settings ({mark})\n"
    assert listed(aligned) == FILES and all((aligned / name).read_bytes() == old for name, old in before.items())
    for other, said in (
        (dict(fps=5), r"fps none \(now 5\)"),
        (dict(settings=MatchingSettings(alpha=0.5)), r"matching.alpha 0.2 \(now 0.5\)"),
        (dict(features="appearance"), r"features motion \(now appearance\)"),
    ):
        with pytest.raises(DataError, match=rf"holds results of {said}; choose another folder, or remove it"):
            align(films, aligned, **other)
    with pytest.raises(
        DataError, match="of the same films in another order;"
    ):  # the other way round is another question
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
    assert same.matches == pytest.approx(np.arange(30), abs=0.5)
    assert table(tmp_path / "itself" / "correspondence.csv")["seconds_x"] == pytest.approx(np.arange(30) / 10)


def test_pieces_of_sampled_films_end_with_the_films(films: list[Path], tmp_path: Path) -> None:
    """The last of 13 samples, at 6 a second, of 2 s and of 2.28 s would last until 2.17 s and 2.33 s."""
    align(films, tmp_path / "out", fps=6)
    for name in ("out", "once more"):  # from the cache
        align(films, tmp_path / name, fps=6)
        pieces = table(tmp_path / name / "pieces.csv")
        assert pieces["end_x"].max() <= 2.0 and pieces["end_y"].max() <= 2.28
    assert "At most 6 frames a second of each film were used." in (tmp_path / "out" / "report.html").read_text()


def test_more_frames_than_films_have_are_refused(
    films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        InputError, match=r"fps is 1000 but toy_00.mp4 has 25 frames a second; give at most so many, or"
    ):
        align(films, tmp_path / "out", fps=1000)
    fast = record(tmp_path / "fast.mp4", n=20, fps=50)
    check_rate([films[0], fast], 50)
    assert (
        capsys.readouterr().err == "toy_00.mp4 has 25 frames a second, fewer than --fps 50: its frames are repeated\n"
    )


def test_samples_are_matched_at_the_rate_that_is_asked_for(films: list[Path], tmp_path: Path) -> None:
    (match,) = align(films, tmp_path / "out", fps=12.5)
    rows = table(tmp_path / "out" / "correspondence.csv")
    assert match.plan.shape == (25, 29)
    assert rows["frame_x"].tolist() == list(range(0, N, 2)) and rows["seconds_x"] == pytest.approx(np.arange(25) / 12.5)
    assert set(rows["frame_y"] % 2) == {0} and rows["frame_y"][-1] > 50
    clip = probe(tmp_path / "out" / "side_by_side.mp4")
    assert (clip.fps, clip.frames) == (12.5, 25)


def test_more_films_are_aligned_with_the_first_and_go_by_name(films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    third, twin = (tmp_path / place for place in ("third.mp4", "b/third.mp4"))
    for copy in (third, twin):
        copy.write_bytes(films[0].read_bytes())
    found = align([*films, third], tmp_path / "out", fps=12.5)
    assert [match.plan.shape for match in found] == [(25, 29), (25, 25)]
    names = (f"{name}-{file}" for name in ("third", "toy_01") for file in OF_A_PAIR)
    assert listed(tmp_path / "out") == sorted([*OF_A_CALL, *OF_SEVERAL, *names])
    with pytest.raises(DataError, match="have one name, and results are named by it"):
        align([films[0], third, twin], tmp_path / "twins")
    align([third, twin], tmp_path / "pair", fps=12.5)  # two need no names
    assert not (tmp_path / "twins").exists() and listed(tmp_path / "pair") == FILES


@pytest.mark.parametrize("fps", [1.0, 5.0])
def test_short_films_are_aligned_as_well(films: list[Path], tmp_path: Path, fps: float) -> None:
    """The window of the structural prior would be 0 frames, which it refuses."""
    (match,) = align(films, tmp_path / "out", fps=fps)
    n, m = round(2 * fps), int(np.ceil(57 / 25 * fps))
    assert match.plan.shape == (n, m) and 0 <= match.matches.min() <= match.matches.max() <= m - 1
    with pytest.raises(DataError, match="gives 1 frame at 0.1 fps; raise the rate"):
        align(films, tmp_path / "shorter", fps=0.1)


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_a_rate_that_is_none_leaves_nothing(films: list[Path], tmp_path: Path, fps: float) -> None:
    with pytest.raises(InputError, match="fps is .*; give a positive number of frames per second"):
        align(films, tmp_path / "out", fps=fps)
    assert listed(tmp_path) == []


def test_what_films_do_not_need_is_not_loaded() -> None:
    """Each of these takes a quarter to half a second, in a command that takes ten."""
    heavy = ("sklearn", "pandas", "scipy.stats", "scipy.signal", "vasot_kit.experiments.auto", "timm", "torchvision")
    code = f"import sys, vasot_kit.own_films.align; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_it_says_whether_the_films_match(films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    align_films(films, tmp_path / "out", fps=12.5)
    verdict = json.loads((tmp_path / "out" / "result.json").read_text())["pairs"][0]["verdict"]
    kept = "Steps in another order are not looked for by motion or poses; --features auto or appearance finds them."
    assert capsys.readouterr().out == f"{verdict}\n{kept}\n"
    align_films(films, tmp_path / "looks", fps=12.5, features="appearance")
    assert "another order are" not in capsys.readouterr().out


def test_films_that_show_something_else_have_no_partners(
    films: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest places and the plan are written all the same."""
    monkeypatch.setattr(align_module, "match_films", lambda *given: match_films(*given)._replace(kind="none"))
    out = tmp_path / "out"
    align(films, out)
    rows = table(out / "correspondence.csv")
    assert set(rows["partner"]) == {"no"} and rows["frame_y"][-1] > M - 5
    (pair,) = json.loads((out / "result.json").read_text())["pairs"]
    assert set(pair["matches"]["seconds_y"]) == {None} and pair["offset_seconds"] is None
    assert [("seconds_x" in each, "seconds_y" in each, each["share"]) for each in pair["pieces"]] == [
        (True, False, None),
        (False, True, None),
    ]
    assert "toy_01 0" not in (out / "pieces.vtt").read_text() and "not in toy_01" in (out / "pieces.vtt").read_text()
    page = json.loads((out / "report.html").read_text().split('id="data">')[1].split("</script>")[0])
    assert page["pairs"][0]["matched"] == 0


@pytest.mark.parametrize(("pictures", "kind", "certainty"), [("unclear", "part", 1), ("none", "unclear", 0.2)])
def test_a_clear_shift_of_sound_is_the_evidence(
    films: list[Path], pictures: str, kind: str, certainty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = [Recording(film, np.arange(10) / 10, np.arange(10), torch.zeros(10, 1)) for film in films]
    pieces = (FilmPiece((0, 8), (2, 10), 0.9), FilmPiece((8, 10), None, None))
    plan, matches, sure = torch.eye(10), np.arange(10.0), np.full(10, 0.9)
    seen = FilmAlignment(plan, plan, matches, 0.2 * sure, pieces, 0.6, pictures, certainty=0.2)
    for name, value in (("match_films", seen), ("shift_between", Shift(0.2, 0.9, 3.0)), ("_prior", None)):
        monkeypatch.setattr(align_module, name, lambda *_, value=value: value)
    silence = Envelope(np.zeros((8, 0)), 0.0)
    described = Described(recordings, {"motion": [None, None]}, False, [silence, silence])  # type: ignore[list-item]
    (found,) = align_module.match_pairs(described, [(0, 1)], MatchingSettings(), False)
    assert found.kind == kind and found.confidence == pytest.approx(certainty * sure)
    assert found.pieces == pieces


def test_the_sound_guides_the_matches_where_it_is_clear(tmp_path: Path) -> None:
    """Both films show the same pictures from their first frame on, but the sound of b begins two seconds into a."""
    wave = event("knocks", 9, np.random.default_rng(8)).astype(np.float32)
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path, start in zip(paths, (0, 2), strict=True):
        record(path, n=60, fps=10, sound=wave[start * SAMPLES : (start + 6) * SAMPLES])
    align(paths, tmp_path / "seen")
    align(paths, tmp_path / "heard", sound=True)
    seen, heard = (json.loads((tmp_path / name / "result.json").read_text())["pairs"][0] for name in ("seen", "heard"))
    assert "sound" not in seen and seen["offset_seconds"] == pytest.approx(0, abs=0.2)
    assert heard["sound"]["seconds"] == pytest.approx(-2, abs=0.05)
    assert heard["offset_seconds"] == pytest.approx(-2, abs=0.2)
    assert "By their sound, moments of a come 2.0" in heard["reading"] and "s earlier in b" in heard["reading"]


def test_sound_that_says_nothing_changes_nothing(films: list[Path], tmp_path: Path) -> None:
    without, asked = (align(films[:2], tmp_path / str(sound), sound=sound)[0] for sound in (False, True))
    assert np.array_equal(without.matches, asked.matches) and without.kind == asked.kind
    (pair,) = json.loads((tmp_path / "True" / "result.json").read_text())["pairs"]
    assert pair["sound"]["seconds"] is None and "toy_00 and toy_01 have no sound to compare." in pair["reading"]


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


def test_several_features_are_compared_together_and_unknown_ones_refused(films: list[Path], tmp_path: Path) -> None:
    (both,) = align(films, tmp_path / "both", features="motion + appearance", fps=12.5)
    (one,) = align(films, tmp_path / "one", features="appearance", fps=12.5)
    assert both.plan.shape == one.plan.shape and not torch.equal(both.plan, one.plan)
    with pytest.raises(InputError, match="features are 'colour'; use motion, appearance, pose, network or library"):
        align(films, tmp_path / "none", features="motion+colour")
    with pytest.raises(InputError, match="device is 'foo', which this machine does not have"):
        align(films, tmp_path / "none", device="foo")
    assert not (tmp_path / "none").exists()


def test_pose_features_of_films_without_a_person_are_refused_in_one_line(films: list[Path], tmp_path: Path) -> None:
    """Generated shapes are nobody; motion tells their moments apart all the same."""
    try:
        feature_extractor("pose")
    except DataError as error:
        pytest.skip(f"the networks of poses are not here; bring them with: {POSE_COMMAND} ({error})")
    with pytest.raises(DataError, match=f"{films[0]}: a person is seen in 0 of 50 frames, .*other --features, such as"):
        align_films(films, tmp_path / "out", features="pose+motion", progress=False)


def test_the_features_that_pair_two_films_most_clearly_are_chosen(
    films: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be had is left out, and why is said; the page and the tables name the choice."""

    def only_simple(name: str, device: str) -> FeatureExtractor:
        if name in ("network", "pose"):
            raise DataError(f"no {name} here")
        return feature_extractor(name, device)

    monkeypatch.setattr(align_module, "feature_extractor", only_simple)
    (found,) = align_films(films, tmp_path / "auto", features="auto", progress=False)
    gains = {}
    for choice in ("motion", "appearance", "motion+appearance"):
        (gains[choice],) = align_films(films, tmp_path / choice, features=choice, progress=False)
        assert not gains[choice].features
    assert found.features == max(gains, key=lambda choice: gains[choice].gain)
    assert np.array_equal(found.matches, gains[found.features].matches)
    said = capsys.readouterr().err
    assert "network is left out of the choice of features: no network here" in said and "no pose here" in said
    (pair,) = json.loads((tmp_path / "auto" / "result.json").read_text())["pairs"]
    assert pair["features"] == found.features and pair["reading"].startswith(f"Compared by {found.features}, which")


def test_what_was_named_is_not_left_out(films: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> FeatureExtractor:
        raise DataError("not here")

    monkeypatch.setattr(align_module, "feature_extractor", none)
    with pytest.raises(DataError, match="not here"):
        align_films(films, tmp_path / "out", features="network", progress=False)
