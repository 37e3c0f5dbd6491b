"""What was matched, in both directions, with frames that have no partner; and what a page and other tools get of it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pympi.Elan import Eaf
from tqdm.auto import tqdm

from tests.films.films import make_folder, number, record
from vasot_kit.film_matching.matching import FilmAlignment
from vasot_kit.film_matching.pieces import FilmPiece
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.recordings import Recording, read_recordings
from vasot_kit.own_films.outputs import Outputs
from vasot_kit.own_films.pairs import Pair, pair_of, result, write_exports, write_pair
from vasot_kit.own_films.pictures import Pictures, small_pictures
from vasot_kit.own_films.report import align_page, plan_picture

# Parts that only one film has, and an order of their own: frames 2 to 4 of X are 6 to 8 of Y, 6 to 8 are 1 to 5.
FOUND = FilmAlignment(
    plan=torch.eye(10)[:, :9] / 9,
    share=torch.eye(10)[:, :9],
    matches=np.array([0, 3, 6, 7, 8, 4, 1, 3, 5, 8.0]),
    confidence=np.array([0.1, 0.1, 0.9, 0.8, 0.9, 0.2, 0.7, 0.7, 0.7, 0.1]),
    pieces=(
        *(FilmPiece((0, 2), None, None), FilmPiece((2, 5), (6, 9), 0.9), FilmPiece((5, 6), None, None)),
        *(FilmPiece((6, 9), (1, 6), 0.7), FilmPiece((9, 10), None, None), FilmPiece(None, (0, 1), None)),
    ),
    closeness=1.2,
    kind="part",
)
SAID = "a and b match in parts: 0.1 to 0.2 s with 0.2 to 0.3 s, 0.2 to 0.3 s with 0.0 to 0.2 s."


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    folder = tmp_path_factory.mktemp("pairs")
    paths = [record(folder / "a.mp4", n=10), make_folder(folder / "b", range(9))]
    return read_recordings(paths, Appearance(), cache=folder / "cache", progress=False)


@pytest.fixture(scope="module")
def pair(films: list[Recording]) -> Pair:
    return pair_of(films[0], films[1], FOUND)


def small(recordings: list[Recording], **options: int) -> list[Pictures]:
    return small_pictures(recordings, tqdm(disable=True), **options)


@pytest.mark.parametrize(("tempo", "said"), [(4.0, "as if b were in slow"), (0.5, "as if a were in slow"), (1.0, "")])
def test_slow_motion_is_named(pair: Pair, tempo: float, said: str) -> None:
    told = result(pair._replace(tempo=tempo))
    assert said in told["reading"] and ("slow" in told["reading"]) == bool(said) and told["tempo"] == tempo
    assert not said or f"{max(tempo, 1 / tempo):g} times as fast" in told["reading"]


def test_partners_in_both_directions(pair: Pair) -> None:
    assert pair.partner.tolist() == [-1, -1, 6, 7, 8, -1, 1, 3, 5, -1]
    assert pair.piece.tolist() == [-1, -1, 1, 1, 1, -1, 3, 3, 3, -1]
    assert pair.back.tolist() == [
        -1,
        6,
        6,
        7,
        7,
        8,
        2,
        3,
        4,
    ]  # 0 has none; 2 lies in the middle, and the first is taken
    assert pair.seconds[[2, 7]] == pytest.approx([6 / 30, 3 / 30]) and np.isnan(pair.seconds[5])
    assert pair.offset == pytest.approx(np.median([4, 4, 4, -5, -4, -3]) / 30)
    assert pair.sure == pytest.approx(0.52) and (pair.verdict, pair.kind) == (SAID, "part")


def test_table_and_result_tell_frames_without_a_partner(pair: Pair, tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "out", {}, [])
    write_pair(outputs, pair, tuple(small([pair.x, pair.y])), "")  # type: ignore[arg-type]
    rows = list(csv.DictReader((tmp_path / "out" / "correspondence.csv").open()))
    assert [row["frame_y"] for row in rows] == ["0", "3", "6", "7", "8", "4", "1", "3", "5", "8"]
    assert "".join(row["partner"][0] for row in rows) == "nnyyynyyyn"
    assert [row["confidence"] for row in rows][:3] == ["0.1000", "0.1000", "0.9000"]
    found = json.loads(outputs.json("result.json", {"pairs": [result(pair)]}).read_text())["pairs"][0]
    assert found["matches"]["seconds_y"][:3] == [None, None, 0.2] and found["verdict"] == pair.verdict
    assert found["pieces"][1]["seconds_y"] == pytest.approx([6 / 30, 9 / 30])
    assert [("seconds_x" in piece, "seconds_y" in piece) for piece in found["pieces"]] == [
        *((True, False), (True, True), (True, False), (True, True), (True, False), (False, True))
    ]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("unclear", f"It is not clear whether a and b show the same thing{SAID[SAID.index(':') :]}"),
        ("none", "a and b do not seem to show the same thing."),
    ],
)
def test_the_verdict_is_a_sentence(films: list[Recording], kind: str, says: str) -> None:
    assert pair_of(films[0], films[1], FOUND._replace(kind=kind)).verdict == says
    whole = FOUND._replace(kind="match", pieces=(FilmPiece((0, 10), (0, 9), 0.9),))
    assert pair_of(films[0], films[1], whole).verdict == "a and b match."


def test_pieces_go_to_elan_and_chapters(pair: Pair, tmp_path: Path) -> None:
    write_exports(Outputs(tmp_path / "out", {}, []), pair, "b-")
    document = Eaf(str(tmp_path / "out" / "b-alignment.eaf"))
    assert pair.offset == pytest.approx(0.5 / 30) and len(document.get_linked_files()) == 1  # pictures cannot be played
    first = sorted(document.get_annotation_data_for_tier("X: a"))
    assert [words for *_, words in first] == ["not in b", "b 0.20-0.30 s", "not in b", "b 0.03-0.20 s", "not in b"]
    assert first[1][:2] == (67, 167)
    other = sorted(document.get_annotation_data_for_tier("Y: b"))
    assert [words for *_, words in other] == ["not in a", "a 0.20-0.30 s", "a 0.07-0.17 s"]
    assert other[-1][:2] == (183, 283)  # 17 ms earlier than in the film: it begins so much later than the other
    chapters = (tmp_path / "out" / "b-pieces.vtt").read_text().splitlines()
    assert chapters[0] == "WEBVTT" and chapters[7:9] == ["00:00:00.067 --> 00:00:00.167", "b 0.20-0.30 s"]


def test_a_page_holds_the_films_and_nothing_that_could_end_its_script(pair: Pair, tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "out", {"command": "align", "odd": "</script><b>"}, [])
    named = pair._replace(verdict="</script><script>alert(1)</script>")
    page = align_page(outputs, [pair.x, pair.y], small([pair.x, pair.y]), [named]).read_text()
    assert page.count("</script>") == 2 and "<b>" not in page.replace("<b></b>", "")
    stored = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [len(film["pictures"]) for film in stored["films"]] == [10, 9]
    assert stored["pairs"][0]["partner"] == pair.partner.tolist() and stored["pairs"][0]["verdict"] == named.verdict
    assert "http" not in page.replace("http://www.w3.org", "")


def test_pictures_are_those_of_the_samples_and_fit_the_bytes(tmp_path: Path) -> None:
    film = record(tmp_path / "a.mp4", n=60)
    every, third = (read_recordings([film], Appearance(), fps=fps, progress=False)[0] for fps in (None, 10))
    (pictures,) = small([every])
    assert pictures.step == 1 and [number(pictures[k]) for k in (0, 7, 59)] == [0, 7, 59]
    (pictures,) = small([third])
    assert [number(pictures[k]) for k in range(20)] == list(range(0, 60, 3))
    (pictures,) = small([every], most=8_000)
    assert pictures.step > 1 and sum(map(len, pictures.encoded)) <= 8_000
    assert len(pictures.encoded) == -(-60 // pictures.step)
    assert [number(pictures[k]) for k in (0, pictures.step - 1, pictures.step)] == [0, 0, pictures.step]


def test_a_large_plan_becomes_a_small_picture_of_the_same_shares() -> None:
    plan = np.zeros((1000, 300))
    plan[np.arange(1000), np.arange(1000) * 300 // 1000] = 1.0
    with Image.open(io.BytesIO(plan_picture(plan))) as image:
        grey = np.array(image)
    assert grey.shape == (400, 300) and grey.max() == 255
    assert np.abs(grey.argmax(1) - np.arange(400) * 0.75).max() <= 1


def test_partners_lie_within_their_piece(films: list[Recording]) -> None:
    """The place of a gap is not certain, so that the mean of all paths lies in it."""
    gap = FOUND._replace(
        matches=np.array([0, 1, 2, 3, 4.5, 5.5, 6, 6.5, 7, 8]),
        pieces=(FilmPiece((0, 5), (0, 4), 0.9), FilmPiece(None, (4, 7), None), FilmPiece((5, 10), (7, 9), 0.9)),
    )
    pair = pair_of(films[0], films[1], gap)
    assert pair.partner.tolist() == [0, 1, 2, 3, 3, 7, 7, 7, 7, 8]
    assert pair.piece.tolist() == [0] * 5 + [2] * 5
