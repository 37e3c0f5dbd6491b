"""The pages of `vasot align` and `vasot segment`, opened from a file: played, clicked and sought as readers do."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm.auto import tqdm

from tests.films.films import number, record
from tests.own_films.test_pairs import FOUND, SAID
from tests.own_films.toys import record_toys
from vasot_kit.film_matching.pieces import FilmPiece
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.media import stream
from vasot_kit.films.recordings import Recording, read_recordings
from vasot_kit.own_films.align import align_films
from vasot_kit.own_films.outputs import Outputs
from vasot_kit.own_films.pairs import pair_of
from vasot_kit.own_films.pictures import small_pictures
from vasot_kit.own_films.report import align_page, segments_page
from vasot_kit.own_films.segments import write_segments
from vasot_kit.own_films.several import judged, write_verdicts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

DRAWN = """() => [...document.querySelectorAll("figure canvas")].every(
    (canvas) => canvas.dataset.sample < 0 || canvas.dataset.drawn === canvas.dataset.sample)"""


class Report:
    """A page that was opened from a file, and what its scripts complained of."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page, self.problems = page, list[str]()
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda asked: self.problems.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(file.as_uri())

    def told(self) -> list[tuple[int, float] | None]:
        """For each film the number of the frame and the seconds that stand below it."""
        self.page.wait_for_function(DRAWN)
        found = [re.fullmatch(r"frame (\d+) · ([\d.]+) s", words) for words in self.captions.all_inner_texts()]
        return [None if each is None else (int(each[1]), float(each[2])) for each in found]

    @property
    def captions(self) -> Locator:
        return self.page.locator("figcaption output")

    def picture(self, film: int) -> np.ndarray:
        """(H, W, 3) what is shown of a film."""
        self.page.wait_for_function(DRAWN)
        png = self.page.locator("figure canvas").nth(film).evaluate("(canvas) => canvas.toDataURL().split(',')[1]")
        with Image.open(io.BytesIO(base64.b64decode(png))) as image:
            return np.array(image.convert("RGB"), float)

    def seek(self, sample: int) -> None:
        self.page.locator("#slider").evaluate(
            "(slider, sample) => { slider.value = sample; slider.dispatchEvent(new Event('input')); }", sample
        )

    def click(self, canvas: str, across: float, down: float) -> None:
        """Click at these shares of a canvas."""
        found = self.page.locator(canvas)
        found.scroll_into_view_if_needed()
        box = found.bounding_box()
        assert box is not None
        found.click(position={"x": across * box["width"], "y": down * box["height"]})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Path], Path]]:
    """Three films, and the folder of their alignment."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VASOT_CACHE", str(folder / "cache"))
        _, films = record_toys(folder, 3, n_steps=2, background=0)
        align_films(films, folder / "out", progress=False)
        yield films, folder / "out"


@pytest.fixture
def opened(browser: Browser) -> Iterator[Any]:
    """Opens a report; at the end nothing may have gone wrong, and nothing may have been asked of a network."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    reports: list[Report] = []

    def open_report(file: Path) -> Report:
        reports.append(Report(page, file))
        return reports[-1]

    yield open_report
    problems = [problem for report in reports for problem in report.problems]
    page.close()
    assert problems == []


def rows(folder: Path, film: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / f"{film}-correspondence.csv").open()))


def test_frames_that_are_shown_are_those_of_the_tables(opened: Any, made: tuple[list[Path], Path]) -> None:
    films, folder = made
    report = opened(folder / "report.html")
    tables = [rows(folder, film.stem) for film in films[1:]]
    originals = [np.array([frame.picture for frame in stream(film)], float) for film in films]
    for k in (0, 7, len(tables[0]) // 2, len(tables[0]) - 1):
        report.seek(k)
        first = (int(tables[0][k]["frame_x"]), float(tables[0][k]["seconds_x"]))
        others = [int(table[k]["frame_y"]) for table in tables]
        told = report.told()
        assert told[0] == pytest.approx(first, abs=0.006) and [each[0] for each in told[1:] if each] == others
        for film, frame in enumerate((first[0], *others)):
            apart = np.abs(originals[film] - report.picture(film)).mean((1, 2, 3))
            assert apart.argmin() == frame or apart[frame] - apart.min() < 0.2  # of 255: two frames may look alike
    assert report.page.locator("figure canvas").first.get_attribute("aria-label") == (
        f"toy_00, frame {first[0]} · {first[1]:.2f} s"
    )


def test_it_plays_pauses_and_steps_by_keys(opened: Any, made: tuple[list[Path], Path]) -> None:
    report = opened(made[1] / "report.html")
    report.page.get_by_role("button", name="Play").click()
    report.page.wait_for_function("() => document.querySelector('#slider').value >= 5")
    report.page.keyboard.press("Escape")
    report.page.get_by_role("button", name="Pause").click()
    there = report.told()
    assert there[0] is not None and there[0][0] >= 5 and report.told() == there
    report.page.locator("body").press("ArrowRight")
    assert report.told()[0] == (there[0][0] + 1, pytest.approx((there[0][0] + 1) / 25, abs=0.006))
    report.page.locator("body").press("Shift+ArrowLeft")
    assert report.told()[0] == (max(0, there[0][0] - 9), pytest.approx(max(0, there[0][0] - 9) / 25, abs=0.006))
    report.seek(10_000)
    report.page.locator("body").press(" ")  # from the end it begins again, and at the end it stops
    report.page.wait_for_function(
        "() => document.querySelector('#slider').value == document.querySelector('#slider').max"
    )
    report.page.get_by_role("button", name="Play").wait_for()


def test_clicks_on_plan_timelines_and_pictures_go_there(opened: Any, made: tuple[list[Path], Path]) -> None:
    films, folder = made
    report = opened(folder / "report.html")
    report.page.locator("#overview tbody tr").nth(1).click()
    assert report.page.locator("#plan").get_attribute("aria-label").count("toy_02") == 1
    report.click("#plan", 0.5, 0.5)
    n = len(rows(folder, "toy_02"))
    frame = report.told()[0]
    assert frame is not None and abs(frame[0] - n / 2) < 0.1 * n
    report.click("#strips", 0.3, 0.75)  # the lower film leads now, and the others follow it
    here, _, there = report.told()
    assert here is not None and there is not None
    partners = [int(row["frame_y"]) for row in rows(folder, "toy_02")]
    assert min(abs(partner - there[0]) for partner in partners) <= 1 and abs(partners[here[0]] - there[0]) <= 1
    assert report.page.locator("figure.leads figcaption b").inner_text() == "toy_02"
    assert int(report.page.locator("#slider").get_attribute("max")) == sum(1 for _ in stream(films[2])) - 1


def test_all_films_are_shown_on_the_clock_of_the_reference(opened: Any, made: tuple[list[Path], Path]) -> None:
    folder = made[1]
    report = opened(folder / "report.html")
    table = list(csv.DictReader((folder / "films.csv").open()))
    assert report.page.locator("#together").is_visible() and report.page.locator("#all-pairs").is_hidden()
    report.click("#together", 0.4, 0.75)  # the row of the third film
    here, *others = report.told()
    assert here is not None and abs(here[0] - 0.4 * len(table)) < 3
    expected = [int(table[here[0]][f"frame_{film.stem}"]) for film in made[0][1:]]
    assert [each[0] for each in others if each is not None] == expected
    assert "now" in report.page.locator("#overview tbody tr").nth(1).get_attribute("class")


def test_verdicts_on_all_pairs_stand_in_one_table(opened: Any, tmp_path: Path) -> None:
    films = [record(tmp_path / f"{name}.mp4", n=n) for name, n in (("a", 10), ("b", 9), ("c", 9))]
    recordings = read_recordings(films, Appearance(), cache=tmp_path / "cache", progress=False)
    apart = FOUND._replace(kind="none", pieces=(FilmPiece((0, 10), None, None), FilmPiece(None, (0, 9), None)))
    pairs = [pair_of(recordings[0], recordings[1], FOUND), pair_of(recordings[0], recordings[2], apart)]
    outputs = Outputs(tmp_path / "out", {"command": "align"}, films)
    each = [judged(places, FOUND) for places in ((0, 1), (0, 2), (1, 2))]
    verdicts = write_verdicts(outputs, recordings, [*each[:2], each[2]._replace(kind="none")])
    shown = small_pictures(recordings, tqdm(disable=True))
    report = opened(align_page(outputs, recordings, shown, pairs, verdicts))
    lines = report.page.locator("#all-pairs tr").all_inner_texts()
    assert [[words.strip() for words in line.split("\t")] for line in lines] == [
        ["", "a", "b", "c"],
        ["a, the reference", "", "in parts (0.52)", "in parts (0.52)"],
        ["b", "in parts (0.52)", "", "no match (0.52)"],
        ["c", "in parts (0.52)", "no match (0.52)", ""],
    ]
    width = report.page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 1440
    for line, words in enumerate(("Line: the path that was read from it.", "No path: nothing matches.")):
        report.page.locator("#overview tbody tr").nth(line).click()
        assert report.page.locator("#route").inner_text() == words


WRITTEN = """() => {
  const draw = CanvasRenderingContext2D.prototype.fillText;
  window.written = {};
  CanvasRenderingContext2D.prototype.fillText = function (words, x, y) {
    const wide = this.measureText(words).width;
    window.written[words] = this.textAlign === "right" ? [x - wide, x] : [x, x + wide];
    draw.call(this, words, x, y);
  };
  choosePair(0);
}"""


def test_the_name_of_a_short_film_is_not_written_over(opened: Any, tmp_path: Path) -> None:
    films = [record(tmp_path / f"{name}.mp4", n=n) for name, n in (("a", 10), ("b", 9))]
    x, y = read_recordings(films, Appearance(), cache=tmp_path / "cache", progress=False)
    x, y = replace(x, called="a short film of a long name"), replace(y, times=20 * y.times)
    outputs = Outputs(tmp_path / "out", {"command": "align"}, films)
    shown = small_pictures([x, y], tqdm(disable=True))
    report = opened(align_page(outputs, [x, y], shown, [pair_of(x, y, FOUND)]))
    report.page.evaluate(WRITTEN)
    report.page.wait_for_function("() => window.written['confidence, 0 to 1']")
    written = report.page.evaluate("() => window.written")
    assert written[x.name][1] < written["confidence, 0 to 1"][0]


def test_frames_without_a_partner_are_grey_and_pieces_are_gone_to(opened: Any, tmp_path: Path) -> None:
    films = [record(tmp_path / f"{name}.mp4", n=n) for name, n in (("a", 10), ("b", 9))]
    recordings = read_recordings(films, Appearance(), cache=tmp_path / "cache", progress=False)
    pair = pair_of(recordings[0], recordings[1], FOUND)
    outputs = Outputs(tmp_path / "out", {"command": "align"}, films)
    report = opened(align_page(outputs, recordings, small_pictures(recordings, tqdm(disable=True)), [pair]))
    assert report.page.locator("#verdict").inner_text() == SAID
    assert report.page.locator("#overview").is_hidden()
    assert report.told() == [(0, 0.0), None] and report.captions.nth(1).inner_text() == "no partner"
    assert np.ptp(report.picture(1)[:5], axis=(0, 1)).max() == 0
    pieces = report.page.locator("#pieces tbody tr")
    told = [line.split("\t")[0].strip() for line in pieces.all_inner_texts()]
    assert told == ["only in a", "in both", "only in a", "in both", "only in a", "only in b"]
    pieces.nth(3).click()
    assert report.told() == [(6, 0.2), (1, 0.03)] and "now" in pieces.nth(3).get_attribute("class")
    pieces.nth(5).get_by_role("button").press("Enter")
    assert report.told() == [None, (0, 0.0)]


def test_a_segmentation_is_played_and_sought(opened: Any, tmp_path: Path) -> None:
    films = [record(tmp_path / f"{name}.mp4", n=n) for name, n in (("a", 30), ("b", 24))]
    recordings = read_recordings(films, Appearance(), cache=tmp_path / "cache", progress=False)
    labels = [np.repeat([0, 1, 0], 10), np.repeat([1, 9], 12)]
    outputs = Outputs(tmp_path / "out", {"command": "segment"}, films)
    write_segments(outputs, recordings, labels, range(1, 11))
    report = opened(tmp_path / "out" / "report.html")
    assert report.told() == [(0, 0.0)] and report.page.locator("#step").inner_text() == "action 1"
    report.seek(12)
    assert report.told() == [(12, 0.4)] and report.page.locator("#step").inner_text() == "action 2"
    assert number(report.picture(0).astype(np.uint8)) == 12
    actions = report.page.locator("#actions tbody tr")
    assert actions.count() == 10 and "now" in actions.nth(1).get_attribute("class")
    for times, frame in ((1, 20), (2, 0)):  # the next time of the first action, and then the first again
        actions.nth(0).click()
        assert report.told() == [(frame, pytest.approx(frame / 30, abs=0.006))], times
    actions.nth(9).click()  # only in the other film
    assert report.told() == [(12, 0.4)] and report.page.locator("figcaption b").inner_text() == "b"
    report.page.locator("body").press("ArrowUp")
    assert report.told() == [(0, 0.0)] and report.page.locator("figcaption b").inner_text() == "a"
    box = report.page.locator("#timelines").bounding_box()
    report.click("#timelines", 0.5, 100 / box["height"])  # the row of the second film
    assert report.page.locator("figcaption b").inner_text() == "b"
    assert abs(report.told()[0][0] - 14) <= 2
    looks = report.page.locator("#gallery button")
    assert looks.count() == 4 and looks.first.locator("img").get_attribute("alt").startswith("action 1 in a, frame 5 ")
    looks.first.click()
    assert report.told() == [(0, 0.0)]


def test_a_segmentation_of_features_shows_timelines_alone(opened: Any, tmp_path: Path) -> None:
    frames = np.arange(20)
    recordings = [Recording(Path(f"{name}.npy"), frames.astype(float), frames, torch.zeros(20, 1)) for name in "ab"]
    outputs = Outputs(tmp_path / "out", {"command": "apply"}, [])
    write_segments(outputs, recordings, [frames // 10, frames // 5], ["stir", "pour", "</b>", "cut"], in_seconds=False)
    report = opened(tmp_path / "out" / "report.html")
    assert report.page.locator("figure canvas").is_hidden() and report.page.locator("#gallery").is_hidden()
    assert report.page.locator("#step").inner_text() == "stir"
    report.seek(15)
    assert report.captions.all_inner_texts() == ["frame 15"] and report.page.locator("#step").inner_text() == "pour"


def test_steps_that_were_carried_over_are_gone_to(opened: Any, tmp_path: Path) -> None:
    films = [record(tmp_path / f"{name}.mp4", n=20) for name in "ab"]
    recordings = read_recordings(films, Appearance(), cache=tmp_path / "cache", progress=False)
    labels = [np.repeat([0, 1, 2], (8, 8, 4)), np.repeat([1, 2, 1], (6, 6, 8))]
    steps = [{"name": name, "action": k} for k, name in enumerate(("pour", "stir"))]
    found = [[[0, 0, 8, None], [1, 8, 16, None]], [[1, 0, 6, 0.5], [1, 12, 20, 0.75]]]
    states = [[], ["skipped", "repeated"]]
    match = [
        {"kind": "", "verdict": "", "extra": []},
        {"kind": "unclear", "verdict": "They match in parts.", "reading": "Read in one order.", "extra": [(6, 12)]},
    ]
    films_shown = [{"states": s, "found": f, **m} for s, f, m in zip(states, found, match, strict=True)]
    procedure = {"steps": steps, "films": films_shown, "table": []}
    outputs = Outputs(tmp_path / "out", {"command": "transfer"}, films)
    write_segments(outputs, recordings, labels, ["pour", "stir", "no step"], background=2, procedure=procedure)
    report = opened(tmp_path / "out" / "report.html")
    assert report.page.locator("h1").inner_text() == "The 2 steps of a in 1 other film"
    rows_shown = [line.inner_text().split("\t") for line in report.page.locator("#procedure tbody tr").all()]
    heads = report.page.locator("#procedure th").all_inner_texts()
    assert [words.split("\n") for words in heads] == [["step"], ["a"], ["b", "match not clear"]]
    assert [[words.strip() for words in line] for line in rows_shown] == [
        ["1 pour", "0.00 – 0.27 s", "skipped"],
        ["2 stir", "0.27 – 0.53 s", "repeated 0.00 – 0.20 s (0.50)0.40 – 0.67 s (0.75)"],
        ["not in a", "", "extra 0.20 – 0.40 s"],
        ["verdict", "", "They match in parts.\n\nRead in one order."],
    ]
    report.page.locator("#procedure button").last.click()
    assert report.told() == [(6, 0.2)]
    report.page.locator("#procedure button").nth(-2).click()
    assert report.told() == [(12, 0.4)] and report.page.locator("figcaption b").inner_text() == "b"
    assert report.page.locator("#step").inner_text() == "stir"
    report.seek(8)
    assert report.page.locator("#step").inner_text() == "no step"


@pytest.mark.parametrize("count", [4, 6])
def test_steps_of_several_films_fit_into_the_page(opened: Any, tmp_path: Path, count: int) -> None:
    films = [record(tmp_path / f"recording_of_monday_{k}.mp4", n=20) for k in range(count)]
    recordings = read_recordings(films, Appearance(), cache=tmp_path / "cache", progress=False)
    names = ["pour the milk", "stir"]
    match = {
        "kind": "unclear",
        "extra": [(6, 12)],
        "reading": "Read in one order; where steps may change places, try more.",
    }
    match |= {"verdict": "It is not clear whether recording_of_monday_0 and recording_of_monday_1 show the same thing."}
    other = {"states": ["done", "repeated"], "found": [[0, 0, 4, 0.5], [1, 4, 6, 0.5], [1, 12, 20, 0.75]], **match}
    first = {"states": [], "found": [[0, 0, 8, None], [1, 8, 20, None]], "kind": "", "verdict": "", "extra": []}
    procedure = {"steps": [{"name": name, "action": k} for k, name in enumerate(names)], "table": []}
    labels = [np.repeat([0, 1], (8, 12))] * count
    outputs = Outputs(tmp_path / "out", {"command": "transfer"}, films)
    procedure["films"] = [first, *[other] * (count - 1)]
    write_segments(outputs, recordings, labels, [*names, "no step"], background=2, procedure=procedure)
    report = opened(tmp_path / "out" / "report.html")
    table = report.page.locator("#procedure .scroll")
    assert table.evaluate("(box) => box.scrollWidth - box.clientWidth") <= 0
    assert table.locator("button").first.evaluate("(part) => part.getClientRects().length") == 1  # times do not break


def test_what_is_seldom_found_again_is_pale_and_the_table_says_how_often(opened: Any, tmp_path: Path) -> None:
    frames = np.arange(20.0)
    recordings = [Recording(Path(f"{name}.npy"), frames, frames.astype(int), torch.zeros(20, 1)) for name in "ab"]
    again = [np.repeat([1.0, 0.2], 10), np.repeat([1.0, 0.4], 10)]
    outputs = Outputs(tmp_path / "out", {"command": "apply"}, [])
    labels = 2 * [np.repeat([0, 1], 10)]
    write_segments(outputs, recordings, labels, ["stir", "pour"], in_seconds=False, found_again=again)
    page = opened(tmp_path / "out" / "report.html").page
    heads = page.locator("#actions th").all_inner_texts()
    shares = [
        line.locator("td").nth(heads.index("again")).inner_text() for line in page.locator("#actions tbody tr").all()
    ]
    assert shares == ["100 %", "30 %"]
    assert "found again in 65% of the other recordings" in page.locator("p.soft").first.inner_text()
    png = page.locator("#timelines").evaluate("(canvas) => canvas.toDataURL().split(',')[1]")
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
    scale = drawn.shape[1] / page.locator("#timelines").bounding_box()["width"]
    opacity = drawn[[round(scale * y) for y in (10, 40)]][:, [drawn.shape[1] // 5, drawn.shape[1] * 7 // 10], 3] / 255
    assert opacity == pytest.approx(np.array([[1, 0.25 + 0.75 * 0.2], [1, 0.25 + 0.75 * 0.4]]), abs=0.01)
    report = opened(segments_page(outputs, recordings, None, labels, ["stir", "pour"]))
    assert report.page.locator("#actions th.again").is_hidden()


def test_a_picture_that_stands_for_several_frames_says_so(opened: Any, tmp_path: Path) -> None:
    film = record(tmp_path / "a.mp4", n=40)
    recordings = read_recordings([film], Appearance(), cache=tmp_path / "cache", progress=False)
    pictures = small_pictures(recordings, tqdm(disable=True), most=8_000)
    step = pictures[0].step
    outputs = Outputs(tmp_path / "out", {"command": "segment"}, [film])
    report = opened(segments_page(outputs, recordings, pictures, [np.zeros(40, int)], ["all"]))
    assert step > 1 and report.captions.inner_text() == "frame 0 · 0.00 s"
    report.seek(2 * step - 1)
    assert report.captions.inner_text().endswith(f"s (picture of frame {step})")
    report.page.wait_for_function(DRAWN)
    assert number(report.picture(0).astype(np.uint8)) == step
