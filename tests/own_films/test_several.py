"""More than two films: the reference that is chosen, the table of all, and the verdicts on all pairs."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.own_films.test_pairs import FOUND
from tests.own_films.toys import record_toys
from vasot_kit.film_matching.description import FilmDescription
from vasot_kit.film_matching.matching import FilmAlignment, match_films
from vasot_kit.films.media import probe, stream, write_video
from vasot_kit.films.recordings import Recording
from vasot_kit.own_films.align import align_films
from vasot_kit.own_films.outputs import Outputs
from vasot_kit.own_films.several import Judged, best_reference, judged, told_apart, write_verdicts
from vasot_lib.errors import InputError


def test_what_is_kept_of_a_pair_says_how_much_of_each_film_the_other_shows() -> None:
    found = judged((3, 1), FOUND)
    assert (found.x, found.y, found.kind, found.closeness) == (3, 1, "part", 1.2)
    assert found.covered == pytest.approx(((3 * 0.9 + 3 * 0.7) / 10, (3 * 0.9 + 5 * 0.7) / 9))
    assert found.sure == pytest.approx(0.52)


def test_the_best_reference_is_paired_most_clearly_with_the_others() -> None:
    def verdict(x: int, y: int, gain: float) -> Judged:
        return Judged(x, y, "unclear", 1.0, gain, 0.5, (1.0, 1.0))

    assert best_reference([verdict(0, 1, 0.5), verdict(0, 2, 1.0), verdict(1, 2, 2.0)]) == 2
    assert best_reference([verdict(0, 1, -1.0), verdict(0, 2, -1.0), verdict(1, 2, 2.0)]) == 1  # of two, the first
    assert best_reference([verdict(0, 1, 0.5), verdict(0, 2, 1.0), verdict(1, 2, 2.0)], range(2)) == 1


@pytest.mark.parametrize(
    ("first", "third", "names"),
    [
        ("monday/take.mp4", "tuesday/take.mp4", ["take (monday)", "other", "take (tuesday)"]),
        ("monday/left/take.mp4", "tuesday/left/take.mp4", ["take (monday)", "other", "take (tuesday)"]),
        ("take.mp4", "take.avi", ["take (take.mp4)", "other", "take (take.avi)"]),
        ("take.mp4", "take.mp4", ["take (first)", "other", "take (second)"]),
        ("take.mp4", "next.mp4", ["take", "other", "next"]),
    ],
)
def test_films_of_one_name_are_told_apart(first: str, third: str, names: list[str], tmp_path: Path) -> None:
    films = [
        Recording(tmp_path / path, np.arange(9) / 25, np.arange(9), torch.zeros(9, 1))
        for path in (first, "other.mp4", third)
    ]
    shown = told_apart(films)
    verdicts = [judged((0, k), FOUND) for k in (1, 2)]
    write_verdicts(Outputs(tmp_path / "out", {"command": "align"}, []), shown, verdicts)
    assert [each.name for each in shown] == names and [each.stem for each in shown] == [each.stem for each in films]
    assert [row["y"] for row in rows(tmp_path / "out" / "verdicts.csv")] == names[1:]
    assert {row["x"] for row in rows(tmp_path / "out" / "verdicts.csv")} == {names[0]}


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open()))


def test_all_films_stand_in_one_table_and_all_verdicts_in_another(
    films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first film is the first half of the second."""
    part = tmp_path / "part.mp4"
    half = (frame.picture for k, frame in enumerate(stream(films[0])) if k < 26)
    write_video(part, half, probe(films[0]).fps)
    given = [part, films[0], films[1]]
    out = tmp_path / "out"
    found = align_films(given, out, reference="best")
    result = json.loads((out / "result.json").read_text())
    reference = next(film for film in given if film.name == result["reference"])
    assert f"{reference.stem} is the reference: it is paired most clearly" in capsys.readouterr().out
    assert [pair["y"] for pair in result["pairs"]] == [film.name for film in given if film != reference]
    table = rows(out / "films.csv")
    assert len(table) == probe(reference).frames == found[0].plan.shape[0]
    for film in given:
        if film == reference:
            continue
        of_pair = rows(out / f"{film.stem}-correspondence.csv")
        for one, other in (("frame", "frame_y"), ("seconds", "seconds_y"), ("partner", "partner")):
            assert [row[f"{one}_{film.stem}"] for row in table] == [row[other] for row in of_pair]
        assert [row[f"confidence_{film.stem}"] for row in table] == [row["confidence"] for row in of_pair]
    assert [row["frame"] for row in table] == [str(k) for k in range(len(table))]
    verdicts = rows(out / "verdicts.csv")
    assert {frozenset((row["x"], row["y"])) for row in verdicts} == {
        frozenset(pair) for pair in (("part", "toy_00"), ("part", "toy_01"), ("toy_00", "toy_01"))
    }
    assert [row["verdict"] for row in verdicts] == [row["verdict"] for row in result["verdicts"]]
    names = [film.stem for film in given]
    gains = [sum(float(row["gain"]) for row in verdicts if name in (row["x"], row["y"])) for name in names]
    assert names[gains.index(max(gains))] == reference.stem
    own = next(row for row in verdicts if {row["x"], row["y"]} == {"part", "toy_00"})
    assert float(own["share_of_x" if own["x"] == "part" else "share_of_y"]) > 0.9
    assert float(own["share_of_y" if own["x"] == "part" else "share_of_x"]) < 0.8
    with pytest.raises(InputError, match="reference is 'part'; use first or best, and name the film that you want fi"):
        align_films(given, tmp_path / "none", reference="part", progress=False)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Films of which the second is the best reference."""
    return record_toys(tmp_path_factory.mktemp("three"), 3, n_steps=3, background=0)[1]


@pytest.mark.parametrize(("order", "place", "matchings"), [((0, 1, 2), 1, 4), ((1, 2, 0), 0, 3), ((2, 0, 1), 2, 5)])
def test_no_film_is_matched_twice_with_another(
    order: tuple[int, ...],
    place: int,
    matchings: int,
    three: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reference is matched once more only with films before it, the other way round; and what is written is what a
    run that is given the reference first writes."""
    met: list[tuple[FilmDescription, FilmDescription]] = []

    def match(x: FilmDescription, y: FilmDescription, *settings: Any) -> FilmAlignment:
        met.append((x, y))
        return match_films(x, y, *settings)

    given = [three[k] for k in order]
    monkeypatch.setattr("vasot_kit.own_films.align.match_films", match)
    found = align_films(given, tmp_path / "best", reference="best", progress=False)
    assert len(met) == matchings == len({(id(x), id(y)) for x, y in met})
    again = align_films([three[1], *(film for film in given if film != three[1])], tmp_path / "first", progress=False)
    result, other = (json.loads((tmp_path / run / "result.json").read_text()) for run in ("best", "first"))
    assert result["reference"] == other["reference"] == given[place].name and result["pairs"] == other["pairs"]
    assert result["verdicts"][:2] == other["verdicts"] and len(result["verdicts"]) == 3
    for one, two in zip(found, again, strict=True):
        assert torch.equal(one.plan, two.plan) and np.array_equal(one.matches, two.matches)
    one, two = (texts(tmp_path / run) for run in ("best", "first"))
    assert one == two and len(one) == 9


def texts(folder: Path) -> dict[str, str]:
    """The text files on pairs, but for the time at which they were written and the mark of their configuration."""
    mark = json.loads((folder / "config.json").read_text())["config"]
    files = [file for file in sorted(folder.iterdir()) if file.suffix in {".csv", ".eaf", ".vtt"}]
    held = {file.name: re.sub(r' DATE="[^"]*"', "", file.read_text()).replace(mark, "") for file in files}
    return {name: text for name, text in held.items() if name != "verdicts.csv"}


def test_plans_of_pairs_without_the_reference_are_not_kept() -> None:
    assert not any(isinstance(value, torch.Tensor) for value in judged((0, 1), FOUND))
