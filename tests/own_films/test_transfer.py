"""`vasot transfer`: steps are read from any file of labels, found in other films, and missed where they are missing."""

from __future__ import annotations

import csv
import json
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pympi.Elan import Eaf

from tests.own_films.toys import record_toys
from vasot_kit.films.recordings import Recording
from vasot_kit.folders.files import Interval
from vasot_kit.own_films import transfer
from vasot_kit.own_films.exports import Tier, write_elan
from vasot_kit.own_films.labels import read_steps
from vasot_kit.own_films.transfer import (
    Occurrence,
    _steps,
    doubts,
    occurrences,
    states,
    step_of_samples,
    told,
    transfer_steps,
)
from vasot_lib.errors import DataError, InputError

STEPS = [Interval(0.0, 0.5, "pour"), Interval(0.5, 0.8, "stir"), Interval(0.9, 1.0, "drink")]


def recording(n: int, fps: float = 10, name: str = "film.mp4", start: float = 0.0) -> Recording:
    return Recording(Path(name), np.arange(n) / fps, np.arange(n), torch.zeros(n, 1), start=start)


# ---- labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "start,end,name\n0,0.5,pour\n.5,0.8,stir\n0.9,1,drink\n"),
        ("a.csv", "start;end;name\n0;0.5;pour\n.5;0.8;stir\n0.9;1;drink\n"),
        ("a.txt", "start\tend\tname\n0\t0.5\tpour\n.5\t0.8\tstir\n0.9\t1\tdrink\n"),
        ("a.csv", "0,0.5,pour\n0.5,0.8,stir\n0.9,1,drink\n"),
        ("a.txt", "0.0 0.5 pour\n0.5 0.8 stir\n0.9 1.0 drink\n"),
        (
            "segments.csv",
            "recording,action,start_seconds,end_seconds,config\nother,x,0,9,1\n"
            "film,stir,0.5,0.8,1\nfilm,pour,0,0.5,1\nfilm,drink,0.9,1,1\n",
        ),
        ("a.csv", "start;end;name\n0;0,5;pour\n0,5;0,8;stir\n0,9;1;drink\n"),
        ("a.csv", "0;0,5;pour\n0,5;0,8;stir\n0,9;1;drink\n"),
        ("a.txt", "0\t0,5\tpour\n0,5\t0,8\tstir\n0,9\t1\tdrink\n"),
    ],
)
def test_steps_are_read_from_intervals(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_steps(tmp_path / name, recording(10)) == STEPS


def test_steps_are_read_from_names_of_all_frames(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("\n".join(["pour"] * 5 + ["stir"] * 3 + ["idle"] + ["drink"]))
    found = read_steps(file, recording(10))
    assert [(round(start, 6), round(end, 6), name) for start, end, name in found] == [
        *STEPS[:2],
        (0.8, 0.9, "idle"),
        STEPS[2],
    ]
    every_second = Recording(Path("film.mp4"), np.arange(5) / 5, np.arange(0, 10, 2), torch.zeros(5, 1))
    assert [each.name for each in read_steps(file, every_second)] == ["pour", "stir", "idle"]
    with pytest.raises(DataError, match=r"has 10 names but film.mp4 has 20 frames; give one name per frame, or"):
        read_steps(file, recording(20))


FRAMES = ["pour"] * 5 + ["stir"] * 3 + [""] + ["drink"]


@pytest.mark.parametrize(
    "lines",
    [
        ["frame,seconds,action,config", *(f"{k},{k / 10:.4f},{name},d93e8a60" for k, name in enumerate(FRAMES))],
        ["frame,action", *(f"{k},{name}" for k, name in enumerate(FRAMES))],
        ["seconds;label", *(f"{k / 10:.4f};{name}".replace(".", ",") for k, name in enumerate(FRAMES))],
    ],
)
def test_steps_are_read_from_a_table_with_one_row_per_frame(tmp_path: Path, lines: list[str]) -> None:
    """As `vasot segment` writes for each film; the frames may be read at another rate."""
    (tmp_path / "film.csv").write_text("\n".join([*lines, ""]))
    every_second = Recording(Path("film.mp4"), np.arange(5) / 5, np.arange(0, 10, 2), torch.zeros(5, 1))
    for film in (recording(10), every_second):
        found = read_steps(tmp_path / "film.csv", film)
        assert [(round(start, 6), round(end, 6), name) for start, end, name in found] == STEPS
    with pytest.raises(DataError, match=r"lies outside film.mp4 \(0.40 s\); correct it, in seconds"):
        read_steps(tmp_path / "film.csv", recording(4))


@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_whole_numbers_before_a_name_are_seconds_whatever_the_suffix(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_text("0 1 pour\n1 2 stir\n")
    assert read_steps(tmp_path / f"a.{suffix}", recording(20)) == [Interval(0, 1, "pour"), Interval(1, 2, "stir")]


def test_steps_are_read_from_elan_in_the_time_of_the_picture(tmp_path: Path) -> None:
    """The sound starts 0.4 s before the picture, and the document 0.3 s after the sound."""
    film = recording(10, start=0.4)
    write_elan(tmp_path / "a.eaf", "mark", [Tier("X", film, 0.3, STEPS), Tier("empty", film, 0.3, [])])
    found = read_steps(tmp_path / "a.eaf", film)
    assert [each.name for each in found] == ["pour", "stir", "drink"]
    assert np.array([each[:2] for each in found]) == pytest.approx(np.array([each[:2] for each in STEPS]), abs=1e-3)
    document = Eaf(str(tmp_path / "a.eaf"))
    document.add_tier("Y")
    document.add_annotation("Y", 100, 200, "one")
    document.to_file(str(tmp_path / "two.eaf"))
    with pytest.raises(InputError, match="no tier is named but .*two.eaf has X, Y; name one with --tier"):
        read_steps(tmp_path / "two.eaf", film)
    with pytest.raises(InputError, match="tier is 'Z' but"):
        read_steps(tmp_path / "two.eaf", film, "Z")
    assert [each.name for each in read_steps(tmp_path / "two.eaf", film, "Y")] == ["one"]
    whole = (tmp_path / "a.eaf").read_text()
    for text in ("<no", whole.replace('TIME_ORIGIN="300"', 'TIME_ORIGIN="1,5"')):
        (tmp_path / "bad.eaf").write_text(text)
        with pytest.raises(DataError, match=r"bad.eaf is no annotation file of ELAN"):
            read_steps(tmp_path / "bad.eaf", film)
    (tmp_path / "bad.eaf").write_text(re.sub(r' TIME_VALUE="\d+"', "", whole, count=1))
    with pytest.raises(DataError, match=r"bad.eaf has annotations without a time in the tier 'X'; name a tier with"):
        read_steps(tmp_path / "bad.eaf", film)
    (tmp_path / "bad.eaf").write_text(re.sub(r' MEDIA_URL="[^"]*"', "", whole))
    assert [each.name for each in read_steps(tmp_path / "bad.eaf", film)] == ["pour", "stir", "drink"]


def test_names_that_xml_cannot_hold_go_to_elan_without_their_control_characters(tmp_path: Path) -> None:
    film = recording(10)
    write_elan(tmp_path / "a.eaf", "mark", [Tier("X\x02", film, 0.0, [Interval(0.0, 0.5, "po\x01ur"), *STEPS[1:]])])
    assert [each.name for each in read_steps(tmp_path / "a.eaf", film, "X")] == ["po ur", "stir", "drink"]


def test_a_name_in_a_table_may_go_over_two_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('start,end,name\n0,0.5,"pour\nmilk"\n0.5,1,stir\n')
    assert [each.name for each in read_steps(tmp_path / "a.csv", recording(10))] == ["pour milk", "stir"]


def test_what_the_kit_calls_no_step_is_none_and_the_background_is_one_of_the_names(tmp_path: Path) -> None:
    """The tables that `vasot transfer` writes are labels too."""
    (tmp_path / "a.csv").write_text("start,end,name\n0,0.5,pour\n0.5,0.8,no step\n0.8,1,stir\n")
    film = recording(10)
    assert [each.name for each in _steps(tmp_path / "a.csv", film, None, None)] == ["pour", "stir"]
    assert [each.name for each in _steps(tmp_path / "a.csv", film, None, "pour")] == ["stir"]
    with pytest.raises(InputError, match="background is 'pur' but .*a.csv has pour, no step, stir; give one of them"):
        _steps(tmp_path / "a.csv", film, None, "pur")


def test_names_may_have_commas(tmp_path: Path) -> None:
    """A table has numbers below its first line."""
    (tmp_path / "a.txt").write_text("pour, milk\n" * 6 + "stir, spoon\n" * 4)
    assert [step.name for step in read_steps(tmp_path / "a.txt", recording(10))] == ["pour, milk", "stir, spoon"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,end,name\n0,0.5,a\n0.4,0.8,b\n", "has 'b' from 0.4 to 0.8 s, which overlaps another step or lies out"),
        ("start,end,name\n0,5,a\n", "has 'a' from 0 to 5 s, which overlaps another step or lies outside film.mp4"),
        ("start,end,name\n0,0.5,a\n1.2,1.6,b\n", r"has 'b' from 1.2 to 1.6 s, .* outside film.mp4 \(1.00 s\); correct"),
        ("start,end,name\n0,0.5,a\n0.5,0.8,\n", "has a step without a name from 0.5 to 0.8 s; name it, or remove it"),
        ("start,end,name\n0,x,a\n", "line 2: could not convert string to float: 'x'; give a number, as 12.5"),
        (
            "begin,stop,what\n0,0.5,a\n",
            "has the columns begin, stop, what; expected start, end and name with times in sec",
        ),
        (
            "time;step\n0,5;a\n",
            "has the columns time, step; expected start, end and name with times in seconds, or one",
        ),
        ("start_frame\tend_frame\tlabel\n0\t5\ta\n", "the columns start_frame, end_frame, label; expected start, end"),
        ("action\n" + "a\n" * 10, "line 1 reads 'action', the heading of a column; leave it out, one name per frame"),
        ("start,end,name\n0,1\n", "line 2 has 2 values, the first line 3; correct it"),
        ("recording,start,end,name\nother,0,1,a\n", r"has no steps of film.mp4; label some"),
    ],
)
def test_labels_that_are_none_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message) as refused:
        read_steps(tmp_path / "a.csv", recording(10))
    assert "\n" not in str(refused.value)


# ---- which steps are done


class Matched(NamedTuple):
    x: Recording
    y: Recording
    partner: np.ndarray
    confidence: np.ndarray
    tempo: float = 1.0


OF_Y = np.repeat([0, 1, 2, -1], 10)  # three steps of ten samples, and then none


def shown(*parts: tuple[int, int] | int) -> list[tuple[int, int, int]]:
    """The steps found in a film that shows these parts of the labelled one; a number stands for frames of none."""
    partner = np.concatenate([np.full(p, -1) if isinstance(p, int) else np.arange(*p) for p in parts])
    pair = Matched(recording(len(partner)), recording(len(OF_Y)), partner, np.ones(len(partner)))
    return [tuple(each[:3]) for each in occurrences(pair, OF_Y)]  # type: ignore[arg-type]


def test_steps_are_found_where_their_samples_are() -> None:
    assert step_of_samples(recording(10), STEPS).tolist() == [0] * 5 + [1] * 3 + [-1, 2]
    assert shown((0, 40)) == [(0, 0, 10), (1, 10, 20), (2, 20, 30)]
    assert shown((0, 10), (20, 40)) == [(0, 0, 10), (2, 10, 20)]
    assert shown((20, 30), 5, (0, 10)) == [(2, 0, 10), (0, 15, 25)]
    assert shown((10, 20), (10, 20)) == [(1, 0, 10), (1, 10, 20)]  # done again
    assert shown((10, 15), 4, (14, 20)) == [(1, 0, 15)]  # with a pause, but once
    assert shown((0, 10), (10, 12), (20, 30)) == [(0, 0, 10), (1, 10, 12), (2, 12, 22)]
    assert shown((0, 5), (20, 21), (5, 10), (20, 30)) == [(0, 0, 11), (2, 11, 21)]
    assert shown((0, 10), (10, 11), (20, 30)) == [(0, 0, 10), (2, 11, 21)]  # a single frame is no step


@pytest.mark.parametrize("times", [2, 4, 8])
def test_steps_of_a_labelled_film_in_slow_motion_are_found(times: int) -> None:
    """Each of three steps takes as many frames of the labelled film as ten of the other, times so many."""
    labels, partner = np.repeat([0, 1, 2], 10 * times), np.arange(30) * times
    pair = Matched(recording(30), recording(30 * times), partner, np.ones(30), float(times))
    found = occurrences(pair, labels)  # type: ignore[arg-type]
    assert [tuple(each[:3]) for each in found] == [(0, 0, 10), (1, 10, 20), (2, 20, 30)]


def test_a_step_without_a_frame_is_refused_as_no_film_could_show_it() -> None:
    short = [*STEPS[:2], Interval(0.96, 1.0, "drink")]
    with pytest.raises(DataError, match=r"'drink' from 0.96 to 1 s has no frame of film.mp4 .* more frames with --fps"):
        step_of_samples(recording(10), short)
    assert step_of_samples(recording(50, 50), short)[-2:].tolist() == [2, 2]


def test_a_step_that_a_path_only_hurries_through_is_none() -> None:
    partner = np.array([*range(10), 14, *range(20, 30)])
    pair = Matched(recording(len(partner)), recording(40), partner, np.linspace(0, 1, len(partner)))
    found = occurrences(pair, OF_Y)  # type: ignore[arg-type]
    assert [each.step for each in found] == [0, 2]
    assert found[0].confidence == pytest.approx(np.linspace(0, 1, 21)[:10].mean())


def test_each_step_has_a_state() -> None:
    def state(*found: int, n: int = 4) -> list[str]:
        return states([Occurrence(step, 0, 1, None) for step in found], n)

    assert state(0, 1, 2, 3) == ["done"] * 4
    assert state(0, 2, 3) == ["done", "skipped", "done", "done"]
    assert state(0, 1, 0, 2, 3) == ["repeated", "done", "done", "done"]
    assert state(2, 0, 1, 3) == ["done", "done", "out of order", "done"]
    assert state(3, 0, 1, 2) == ["done", "done", "done", "out of order"]
    assert state() == ["skipped"] * 4


# ---- the command


def test_steps_of_one_film_are_found_in_others(tmp_path: Path) -> None:
    dataset, films = record_toys(tmp_path, 3, n_steps=3, background=0)
    truth = [video.labels.numpy() for video in dataset.videos]  # type: ignore[union-attr]
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(dataset.classes[k] for k in truth[0]))
    with pytest.warns(UserWarning, match="not clear whether toy_01 and toy_02 show"):
        found = transfer_steps(films[0], labels, films[1:], tmp_path / "out", progress=False)
    assert list(found) == ["toy_01", "toy_02"]
    out = tmp_path / "out"
    for name, true in zip(found, truth[1:], strict=True):
        rows = list(csv.DictReader((out / f"{name}.csv").open()))
        right = [row["action"] == dataset.classes[k] for row, k in zip(rows, true, strict=True)]
        assert np.mean(right) > 0.8
        assert [each.step for each in found[name]] == [0, 1, 2]
        assert len(Eaf(str(out / f"{name}.eaf")).get_annotation_data_for_tier("actions")) == 3
    table = list(csv.DictReader((out / "steps.csv").open()))
    assert [(row["recording"], row["step"], row["state"]) for row in table] == [
        (name, str(k), "done") for name in found for k in (1, 2, 3)
    ]
    page = (out / "report.html").read_text()
    shown = json.loads(page.split('id="data">')[1].split("</script>")[0])["procedure"]
    assert [film["states"] for film in shown["films"]] == [[], ["done"] * 3, ["done"] * 3]
    assert [each[:3] for each in shown["films"][1]["found"]] == [list(each[:3]) for each in found["toy_01"]]
    with pytest.raises(DataError, match="out holds .*; choose another folder"):
        transfer_steps(films[0], labels, films[1:2], out, progress=False)
    with pytest.raises(InputError, match="no film was given beside the labelled one"):
        transfer_steps(films[0], labels, [], out, progress=False)


def test_steps_in_another_order_are_found(tmp_path: Path) -> None:
    """Rendered films of one table: the second shows the steps 2 and 1 swapped, and one that the first does not have."""
    knobs = dict(n_steps=4, background=0, style=0.2, seed=4)
    dataset, films = record_toys(tmp_path, 2, procedures=[[0, 1, 2], [1, 0, 3, 2]], **knobs)
    labels = tmp_path / "labels.txt"
    truth = [video.labels.numpy() for video in dataset.videos]  # type: ignore[union-attr]
    labels.write_text("\n".join(dataset.classes[k] for k in truth[0]))
    out = tmp_path / "out"
    found = transfer_steps(films[0], labels, films[1:], out, features="appearance", progress=False)["toy_01"]
    assert [each.step for each in found] == [1, 0, 2]
    rows = list(csv.DictReader((out / "steps.csv").open()))
    assert [row["state"] for row in rows] in (
        ["out of order", "done", "done", "extra"], ["done", "out of order", "done", "extra"]
    )  # fmt: skip
    assert rows[-1]["step"] == "" and rows == [
        {name: str(value) for name, value in row.items()} | {"config": rows[0]["config"]}
        for row in json.loads((out / "result.json").read_text())["steps"]
    ]
    seen = [row["action"] for row in csv.DictReader((out / "toy_01.csv").open())]
    expected = [dataset.classes[k] if k < 3 else "no step" for k in truth[1]]
    assert np.mean([a == b for a, b in zip(seen, expected, strict=True)]) > 0.8


def test_a_film_of_something_else_has_no_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, films = record_toys(tmp_path, 2, n_steps=2, background=0)
    (tmp_path / "a.csv").write_text("start,end,name\n0,0.5,pour\n0.5,1,stir\n")
    matched = transfer.pair_of
    monkeypatch.setattr(
        transfer, "pair_of", lambda *given: matched(*given)._replace(kind="none", verdict="They do not match.")
    )
    with pytest.warns(UserWarning, match="toy_01 does not seem to show what the labelled film does; it gets no steps"):
        found = transfer_steps(films[0], tmp_path / "a.csv", films[1:], tmp_path / "out", progress=False)
    assert found == {"toy_01": []}
    table = list(csv.DictReader((tmp_path / "out" / "steps.csv").open()))
    assert [(row["state"], row["start_seconds"]) for row in table] == [("no match", "")] * 2
    assert {row["action"] for row in csv.DictReader((tmp_path / "out" / "toy_01.csv").open())} == {"no step"}
    assert "They do not match." in (tmp_path / "out" / "report.html").read_text()
    assert {row["verdict"] for row in table} == {"none"}


def test_what_interrupts_a_step_is_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, films = record_toys(tmp_path, 2, n_steps=2, background=0)
    (tmp_path / "a.csv").write_text("start,end,name\n0,0.5,pour\n0.5,1,stir\n")
    monkeypatch.setattr(transfer, "occurrences", lambda *_: [Occurrence(0, 0, 20, 1.0)])
    checked = transfer._checked
    monkeypatch.setattr(transfer, "_checked", lambda *given: {**checked(*given), "extra": [(5, 15)]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the match may be unclear
        transfer_steps(films[0], tmp_path / "a.csv", films[1:], tmp_path / "out", progress=False)
    seen = [row["action"] for row in csv.DictReader((tmp_path / "out" / "toy_01.csv").open())]
    assert seen[:20] == ["pour"] * 5 + ["no step"] * 10 + ["pour"] * 5


def test_films_of_one_verdict_share_a_sentence() -> None:
    said = doubts({"a": "unclear", "b": "match", "c": "none", "d": "unclear", "e": "unclear"})
    assert said == (
        "It is not clear whether a, d and e show what the labelled film does; check their steps before you use them. "
        "c does not seem to show what the labelled film does; it gets no steps."
    )
    assert doubts({"a": "none", "b": "none"}).startswith(
        "a and b do not seem to show what the labelled film does; they "
    )
    assert doubts({"a": "match", "b": "part"}) == ""


def test_the_command_tells_which_steps_films_show() -> None:
    names = ["pour", "stir", "drink"]
    assert told("a", ["done", "done", "done"], names, "match") == "a: 3 of 3 steps"
    assert told("a", ["done", "done", "done"], names, "unclear") == (
        "a: not clear whether it shows the same; 3 of 3 steps"
    )
    assert told("a", ["out of order", "skipped", "repeated"], names, "part") == (
        "a: 2 of 3 steps; skipped: 2 stir; repeated: 3 drink; out of order: 1 pour"
    )
    assert told("a", ["no match"] * 3, names, "none") == "a: no match"


def test_steps_of_an_unclear_match_are_listed_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, films = record_toys(tmp_path, 2, n_steps=2, background=0)
    (tmp_path / "a.csv").write_text("start,end,name\n0,1,pour\n1,2,stir\n")
    matched = transfer.pair_of
    monkeypatch.setattr(transfer, "pair_of", lambda *given: matched(*given)._replace(kind="unclear"))
    warned = "It is not clear whether toy_01 shows what the labelled film does; check its steps before you use them."
    with pytest.warns(UserWarning, match=warned):
        found = transfer_steps(films[0], tmp_path / "a.csv", films[1:], tmp_path / "out", progress=False)
    assert [each.step for each in found["toy_01"]] == [0, 1]
    table = list(csv.DictReader((tmp_path / "out" / "steps.csv").open()))
    assert {row["verdict"] for row in table} == {"unclear"}
    assert f">{warned}</p>" in (tmp_path / "out" / "report.html").read_text()
