"""A folder of results names its configuration in every file, and a film side by side shows the frames it is told to."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from pympi.Elan import Eaf

from tests.films.films import HEIGHT, WIDTH, make_folder, number, record
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.backbones import Backbone
from vasot_kit.films.media import Clip, probe, stream
from vasot_kit.films.motion import Motion
from vasot_kit.films.recordings import Recording, read_recordings
from vasot_kit.folders.files import Interval
from vasot_kit.own_films import inputs
from vasot_kit.own_films.exports import Tier, write_elan
from vasot_kit.own_films.inputs import feature_extractor, films_by_name, films_in, folder_rate, sampling_rate
from vasot_kit.own_films.outputs import CONFIG, GAP, Outputs, frame_edges, segment_times
from vasot_lib.errors import DataError, InputError


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return record(tmp_path / "a.mp4", n=30)


def outputs(folder: Path, films: list[Path], **config: object) -> Outputs:
    return Outputs(folder, {"command": "test", **config}, films)


def read(film: Path, **options) -> Recording:
    return read_recordings([film], Appearance(), progress=False, **options)[0]


def moments(times: list[float]) -> Recording:
    rows = len(times)
    return Recording(Path("film.mp4"), np.array(times), np.arange(rows), torch.zeros(rows, 1))


# ---- the folder


def test_every_kind_of_file_names_the_configuration(film: Path, tmp_path: Path) -> None:
    out = outputs(tmp_path / "out", [film], fps=5)
    assert len(out.mark) == 8 and int(out.mark, 16) >= 0
    table = out.table("t.csv", ("a", "b"), [(1, "x, y"), (2, "z")])
    picture = out.figure("f.png", Figure(figsize=(1, 1)))
    arrays = out.arrays("p.npz", plan=np.eye(2))
    document = out.elan("e.eaf", [Tier("actions", moments([0.0, 0.5]), 0, [Interval(0, 1, "one")])])
    chapters = out.chapters("c.vtt", moments([0.0, 0.5]), [Interval(0, 1, "one")])
    listing = out.json("r.json", {"values": np.arange(3), "rows": [{"a": [1, 2]}]})
    rows = list(csv.reader(table.open()))
    assert rows == [["a", "b", "config"], ["1", "x, y", out.mark], ["2", "z", out.mark]]
    with Image.open(picture) as image:
        assert image.info["Description"] == f"config {out.mark}"
    with np.load(arrays, allow_pickle=False) as stored:
        assert str(stored["config"]) == out.mark and np.array_equal(stored["plan"], np.eye(2))
    assert ("config", out.mark) in Eaf(str(document)).get_properties()
    assert f"NOTE config {out.mark}\n" in chapters.read_text() and '"a": [ 1, 2 ]' in listing.read_text()
    assert json.loads(listing.read_text()) == {"config": out.mark, "values": [0, 1, 2], "rows": [{"a": [1, 2]}]}
    config = json.loads((out.folder / CONFIG).read_text())
    assert (config["config"], config["command"], config["fps"]) == (out.mark, "test", 5)
    assert config["recordings"] == [{"name": "a.mp4", "hash": config["recordings"][0]["hash"]}]
    assert {"python", "torch", "vasot"} <= config["versions"].keys()
    assert sorted(file.name for file in out.folder.iterdir()) == [
        "c.vtt",
        CONFIG,
        "e.eaf",
        "f.png",
        "p.npz",
        "r.json",
        "t.csv",
    ]


def test_nothing_is_there_before_the_first_result(film: Path, tmp_path: Path) -> None:
    out = outputs(tmp_path / "out", [film])
    assert not out.folder.exists()
    out.table("t.csv", ("a",), [])
    assert sorted(file.name for file in out.folder.iterdir()) == [CONFIG, "t.csv"]


def test_the_same_again_may_write_and_another_may_not(film: Path, tmp_path: Path) -> None:
    first = outputs(tmp_path / "out", [film], fps=5)
    first.table("t.csv", ("a",), [(1,)])
    again = outputs(tmp_path / "out", [film], fps=5)
    assert again.mark == first.mark
    with pytest.raises(DataError) as refused:
        outputs(tmp_path / "out", [film], fps=6)
    assert str(refused.value) == (
        f"{tmp_path / 'out'} holds results of fps 5 (now 6); choose another folder, or remove it"
    )


def test_what_differs_from_a_folder_of_results_is_said_in_words(film: Path, tmp_path: Path) -> None:
    other, changed = record(tmp_path / "b.mp4", n=3), tmp_path / "changed"
    changed.mkdir()
    record(changed / film.name, n=3)
    settings = {"command": "align", "labels": "d93e8a6012345678", "matching": {"radius": 0.04, "alpha": 0.2}}
    Outputs(tmp_path / "out", settings, [film]).table("t.csv", ("a",), [])
    for given, films, says in (
        (settings, [film, other], f"other films ({film.name})"),
        (settings, [changed / film.name], f"another version of {film.name}"),
        (settings | {"command": "segment"}, [film], "vasot align"),
        (settings | {"labels": "72b871ea12345678"}, [film], "other labels"),
        (settings | {"matching": {"radius": 0.05, "alpha": 0.2}}, [film], "matching.radius 0.04 (now 0.05)"),
        (settings | {"folder_fps": 5.0}, [film], "folder_fps none (now 5.0)"),
    ):
        with pytest.raises(DataError) as refused:
            Outputs(tmp_path / "out", given, films)
        assert str(refused.value) == f"{tmp_path / 'out'} holds results of {says}; choose another folder, or remove it"


@pytest.mark.parametrize("content", ["notes", "{}", "[1]", '"text"'])
def test_a_folder_with_something_else_is_left_alone(film: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "out").mkdir()
    assert outputs(tmp_path / "out", [film]).mark  # empty: fine
    for name in ("notes.txt", CONFIG):
        (tmp_path / "out" / name).write_text(content)
        with pytest.raises(DataError, match="out holds other files; choose another folder, or"):
            outputs(tmp_path / "out", [film])
        (tmp_path / "out" / name).unlink()
    with pytest.raises(DataError, match=r"a\.mp4 holds other files"):
        outputs(film, [film])


def test_names_contents_and_order_of_the_recordings_are_in_the_mark(film: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other, twin = record(tmp_path / "b.mp4", n=20), record(tmp_path / "b" / "a.mp4", n=20)
    listed = ([film], [other], [twin], [film, other], [other, film], [film, twin], [twin, film], [twin, twin])
    assert len({outputs(tmp_path / "out", films).mark for films in listed}) == len(listed)


# ---- moments


def test_a_frame_lasts_until_the_next_and_the_last_as_long_as_most() -> None:
    recording = moments([0.0, 0.1, 0.2, 0.5, 0.6])
    assert frame_edges(recording) == pytest.approx([0.0, 0.1, 0.2, 0.5, 0.6, 0.7])
    found = list(segment_times(recording, np.array([2, 2, 0, 2, 2])))
    assert [action for action, _, _ in found] == [2, 0, 2]
    assert [edge for _, *edges in found for edge in edges] == pytest.approx([0.0, 0.2, 0.2, 0.5, 0.5, 0.7])


def test_elan_gets_milliseconds_and_names(film: Path, tmp_path: Path) -> None:
    out = outputs(tmp_path / "out", [film])
    recording, names = moments([0.0, 0.1004, 0.2]), ["stir", "pour"]
    found = [Interval(start, end, names[k]) for k, start, end in segment_times(recording, np.array([1, 0, 0]))]
    document = Eaf(str(out.elan("e.eaf", [Tier("actions", recording, 0, found)])))
    assert sorted(document.get_annotation_data_for_tier("actions")) == [(0, 100, "pour"), (100, 300, "stir")]
    assert list(document.get_tier_names()) == ["actions"]


def test_elan_finds_the_film_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the place in the file system, and by the way from the folder of the results if both are moved."""
    monkeypatch.chdir(tmp_path)
    for name, relative in (
        ("films/a b.mp4", "../films/a b.mp4"),
        ("out/c.mp4", "./c.mp4"),
        ("out/d/e.mp4", "./d/e.mp4"),
    ):
        film = replace(moments([0.0, 0.5]), path=Path(name))
        document = Path("out") / "e.eaf"
        document.parent.mkdir(exist_ok=True)
        write_elan(document, "mark", [Tier("actions", film, 0, [Interval(0, 1, "one")])])
        (linked,) = Eaf(str(document)).get_linked_files()
        assert linked["RELATIVE_MEDIA_URL"] == relative
        assert linked["MEDIA_URL"] == f"file://{tmp_path.as_posix()}/{name}"


# ---- the film side by side


def test_elan_plays_two_films_from_their_origins(film: Path, tmp_path: Path) -> None:
    """Y begins 2 s later, and its sound 0.25 s before its picture; what lies before the origins is left out."""
    x = moments([0.0, 1.0, 2.0, 3.0])
    y = Recording(Path("other.mkv"), x.times, x.index, x.features, start=0.25)
    tiers = [
        Tier("X", x, 0, [Interval(1, 3, "late"), Interval(0, 2, "early")]),
        Tier("Y", y, 2.25, [Interval(0, 1, "before"), Interval(1, 3, "across"), Interval(3, 4, "after")]),
    ]
    document = Eaf(str(outputs(tmp_path / "out", [film]).elan("e.eaf", tiers)))
    assert sorted(document.get_annotation_data_for_tier("X")) == [(0, 2000, "early"), (2000, 3000, "late")]
    assert sorted(document.get_annotation_data_for_tier("Y")) == [(0, 1000, "across"), (1000, 2000, "after")]
    first, second = document.get_linked_files()
    assert first.get("TIME_ORIGIN") is None and first["MIME_TYPE"] == "video/mp4"
    assert int(second["TIME_ORIGIN"]) == 2250 and second["MIME_TYPE"] == "video/x-matroska"


def test_chapters_are_in_the_time_of_the_file(film: Path, tmp_path: Path) -> None:
    late = Recording(Path("film.mp4"), np.array([0.0, 1.0]), np.arange(2), torch.zeros(2, 1), start=1.5)
    found = [Interval(3598.4996, 3661, "two\nlines"), Interval(0, 0.25, "<b>1</b> & --> \x01one")]
    text = outputs(tmp_path / "out", [film]).chapters("c.vtt", late, found).read_text()
    assert text.splitlines()[4:] == [
        *("00:00:01.500 --> 00:00:01.750", "&lt;b&gt;1&lt;/b&gt; &amp; --&gt; one", ""),
        *("01:00:00.000 --> 01:01:02.500", "two lines"),
    ]


def numbers_side_by_side(file: Path, left: int = WIDTH, right: int = WIDTH) -> list[tuple[int, int]]:
    """The numbers that both halves show; between them lie white pixels."""
    pairs = []
    for frame in stream(file):
        assert frame.picture.shape[1] == left + GAP + right
        assert frame.picture[:, left + 1 : left + GAP - 1].min() > 200
        pairs.append((number(frame.picture[:, :left]), number(frame.picture[:, left + GAP :])))
    return pairs


def test_each_frame_stands_beside_its_match(film: Path, tmp_path: Path) -> None:
    other = record(tmp_path / "b.mp4", n=50)
    matches = np.array([0, 0, 0, 4, 9, *range(10, 34), 49])
    out = outputs(tmp_path / "out", [film, other])
    file = out.side_by_side("s.mp4", read(film), read(other), matches)
    assert numbers_side_by_side(file) == list(zip(range(30), matches.tolist(), strict=True))
    clip = probe(file)
    assert (clip.fps, clip.frames, clip.height) == (30, 30, HEIGHT) and clip.duration == pytest.approx(1.0)


def test_a_frame_without_a_partner_stands_beside_grey_and_pieces_may_change_places(film: Path, tmp_path: Path) -> None:
    matches = np.array([*range(20, 30), *[-1] * 10, *range(5, 15)])
    out = outputs(tmp_path / "out", [film])
    pictures = [f.picture[:, WIDTH + GAP :] for f in stream(out.side_by_side("s.mp4", read(film), read(film), matches))]
    assert [number(pictures[i]) for i in (*range(10), *range(20, 30))] == [j for j in matches.tolist() if j >= 0]
    assert all(abs(pictures[i].astype(int) - 0xDD).max() < 8 for i in range(11, 20))


def test_samples_and_folders_of_pictures_stand_beside_theirs(film: Path, tmp_path: Path) -> None:
    pictures = make_folder(tmp_path / "b", range(40, 80))
    x, y = read(film, fps=10), read(pictures, fps=6)
    assert x.index.tolist() == list(range(0, 30, 3)) and y.index.tolist() == list(range(0, 40, 5))
    matches = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 7])
    out = outputs(tmp_path / "out", [film, pictures])
    file = out.side_by_side("s.mp4", x, y, matches)
    assert numbers_side_by_side(file) == list(zip(range(0, 30, 3), (40 + 5 * matches).tolist(), strict=True))
    assert probe(file).fps == 10


def test_a_film_that_is_sampled_above_its_rate_shows_frames_twice(film: Path, tmp_path: Path) -> None:
    x = read(film, fps=60)
    assert x.index.tolist() == [k // 2 for k in range(60)]
    out = outputs(tmp_path / "out", [film])
    file = out.side_by_side("s.mp4", x, x, np.arange(60))
    assert numbers_side_by_side(file) == [(k // 2, k // 2) for k in range(60)]
    assert probe(file).fps == 60


def test_both_halves_are_as_high_as_the_lower_film(film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    for k, frame in enumerate(stream(film, size=(24, WIDTH // 2))):
        Image.fromarray(frame.picture).save(folder / f"{k}.png")
    out = outputs(tmp_path / "out", [film, folder])
    file = out.side_by_side("s.mp4", read(film), read(folder), np.arange(30))
    assert numbers_side_by_side(file, WIDTH // 2, WIDTH // 2) == [(k, k) for k in range(30)]
    assert probe(file).height == 24


# ---- inputs


def test_features_go_by_name() -> None:
    assert isinstance(feature_extractor("motion"), Motion) and isinstance(feature_extractor("appearance"), Appearance)
    with pytest.raises(InputError, match=r"features are 'resnet50'; use motion, appearance, pose, network or library"):
        feature_extractor("resnet50")


def test_a_network_is_made_with_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backbone, "__init__", lambda self, *given: self.__dict__.update(given=given))
    assert feature_extractor("timm:vit", "cpu:0").given == ("timm:vit", "cpu:0")


def test_rate_gives_no_film_more_samples_than_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = {"a": Clip(Path("a"), 30.0, 8, 8, 300, 10.0), "b": Clip(Path("b"), 25.0, 8, 8, 1000, 40.0)}
    monkeypatch.setattr(inputs, "probe", lambda film: clips[film.name])
    monkeypatch.setattr(inputs, "even_rate", lambda film: None)
    both = [Path("a"), Path("b")]
    assert sampling_rate(both, 1000) is None and not capsys.readouterr().err
    assert sampling_rate(both, 999) == pytest.approx(999 / 40)
    assert capsys.readouterr().err == "b is long: 24.98 frames a second are used, 999 in all; --fps takes others\n"
    assert sampling_rate(both[:1], 100) == pytest.approx(10.0)


def test_a_rate_of_pictures_never_samples_a_film_as_well(tmp_path: Path) -> None:
    """One option would say two things: 10 pictures a second, and 10 of the 30 frames of the film."""
    folder, film = make_folder(tmp_path / "take", range(3)), record(tmp_path / "film.mp4", n=10)
    with pytest.raises(
        InputError, match=r"^fps is 10: would the pictures of take be .* of the 30 of film.mp4\? Make a"
    ):
        folder_rate([folder, film], 10)
    assert folder_rate([folder, film], 30) == 30 and folder_rate([folder], 10) == 10
    assert folder_rate([film], 10) == 30 and folder_rate([film, folder], None) == 30


def test_films_of_a_folder_go_by_name(tmp_path: Path) -> None:
    record(tmp_path / "b10.mp4", n=3), record(tmp_path / "b2.mp4", n=3)
    for folder in ("take.1", "take.2", "out"):
        make_folder(tmp_path / folder, range(2))
    (tmp_path / "notes.txt").write_text("no film")
    assert films_in(tmp_path)["out"] == tmp_path / "out"
    (tmp_path / "out" / "config.json").touch()  # results of any command, which hold pictures too
    assert list(films_in(tmp_path)) == ["b2", "b10", "take.1", "take.2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no films; put video files or folders of pictures there"):
        films_in(tmp_path / "empty")


def test_two_films_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.mp4 and .*a\.mov have one name, .*; rename one of them"):
        films_by_name([tmp_path / "a.mp4", tmp_path / "a.mov"])


def test_a_name_that_is_no_text_is_refused_before_anything_is_read() -> None:
    with pytest.raises(DataError, match=r"films/caf.\.mp4 has a name that is not UTF-8, .*; rename it"):
        films_by_name([Path(os.fsdecode(b"films/caf\xe9.mp4"))])


def test_what_is_left_out_of_a_folder_is_said(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(films_in(tmp_path)) == ["a"] and capsys.readouterr().err == ""
    for name in (".hidden", *(f"{k}.rv" for k in range(7))):
        (tmp_path / name).touch()
    assert list(films_in(tmp_path)) == ["a"]
    assert capsys.readouterr().err == "no film by its suffix, left out: 0.rv, 1.rv, 2.rv, 3.rv, 4.rv and 2 more\n"
