"""The report pages as they are read: on paper, on dark and small screens, by keys and with long names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tqdm.auto import tqdm

from tests.films.films import record
from tests.own_films.test_pairs import FOUND
from vasot_kit.film_matching.matching import FilmAlignment
from vasot_kit.film_matching.pieces import FilmPiece
from vasot_kit.films.appearance import Appearance
from vasot_kit.films.recordings import Recording, read_recordings
from vasot_kit.own_films.outputs import Outputs
from vasot_kit.own_films.pairs import pair_of
from vasot_kit.own_films.pictures import small_pictures
from vasot_kit.own_films.report import align_page
from vasot_kit.own_films.segments import write_segments

pytestmark = pytest.mark.browser

LONG = [f"2024-05-17 Experiment 3 titration group A camera {side}" for side in ("left", "right", "top")]


def aligned(folder: Path, names: Sequence[str] = ("a", "b"), alignment: FilmAlignment = FOUND) -> Path:
    """The page of small films, each aligned with the first."""
    films = [record(folder / f"{name}.mp4", n=10 if k == 0 else 9) for k, name in enumerate(names)]
    recordings = read_recordings(films, Appearance(), cache=folder / "cache", progress=False)
    pairs = [pair_of(recordings[0], other, alignment) for other in recordings[1:]]
    pictures = small_pictures(recordings, tqdm(disable=True))
    return align_page(Outputs(folder / "out", {"command": "align"}, films), recordings, pictures, pairs)


def segmented(folder: Path, names: Sequence[str] = ("a", "b"), n: int = 200, kinds: int = 14) -> Path:
    """The page of recordings of features, in which so many actions are found again more and more often."""
    frames = np.arange(n)
    recordings = [Recording(Path(f"{name}.npy"), frames.astype(float), frames, torch.zeros(n, 1)) for name in names]
    labels = [frames * kinds // n for _ in names]
    again = [np.linspace(0, 1, kinds)[(each + k) % kinds] for k, each in enumerate(labels)]
    outputs = Outputs(folder / "out", {"command": "apply"}, [])
    write_segments(outputs, recordings, labels, range(1, kinds + 1), in_seconds=False, found_again=again)
    return folder / "out" / "report.html"


def luminance(colour: Sequence[float]) -> float:
    """Of sRGB, 0 to 255, as WCAG defines it."""
    parts = np.asarray(colour[:3]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def styles(page: Any, selector: str, *names: str) -> list[str]:
    found: list[str] = page.locator(selector).first.evaluate(
        "(part, names) => names.map((name) => getComputedStyle(part)[name])", list(names)
    )
    return found


def test_a_printed_page_is_light_and_keeps_its_columns_and_colours(opened: Any, tmp_path: Path) -> None:
    page = opened(aligned(tmp_path, LONG)).page
    page.set_viewport_size({"width": 700, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    assert styles(page, "body", "color", "backgroundColor") == ["rgb(28, 36, 48)", "rgb(255, 255, 255)"]
    assert styles(page, ".swatch", "printColorAdjust") == ["exact"]
    assert not page.get_by_text("Click to go").locator("visible=true").count()
    assert page.locator(".controls").is_hidden() and not page.locator(".hint").locator("visible=true").count()
    assert styles(page, "#overview .scroll", "overflowX") == ["visible"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 700


def test_figures_are_drawn_anew_for_paper(opened: Any, tmp_path: Path) -> None:
    page = opened(aligned(tmp_path, "abc")).page
    page.emulate_media(color_scheme="dark")
    page.evaluate("""() => matchMedia("print").addEventListener("change", ({matches}) => {
      if (!matches) return;
      window.printed = [plan, strips, together].map(({canvas}) => {
        const [x, y] = [canvas.width / canvas.clientWidth, canvas.height / canvas.clientHeight];
        return [x / y, ...canvas.getContext("2d").getImageData(canvas.width / 3, canvas.height / 2, 1, 1).data];
      });
    })""")
    page.pdf()
    printed = page.evaluate("() => window.printed")
    assert [ratio for ratio, *_ in printed] == pytest.approx([1, 1, 1], abs=0.01)
    assert luminance(printed[0][1:4]) > 0.5  # the ground of the plan


def test_keys_work_after_a_click_and_buttons_reached_by_keys_keep_them(opened: Any, tmp_path: Path) -> None:
    page = opened(segmented(tmp_path)).page

    def frame() -> int:
        return int(page.locator("#slider").input_value())

    for part in ("#next", "#actions tbody tr:nth-child(3) button"):
        page.locator(part).click()
        before = frame()
        page.keyboard.press(" ")
        page.get_by_role("button", name="Pause").wait_for()
        page.keyboard.press(" ")
        page.get_by_role("button", name="Play").wait_for()
        assert frame() - before < 100 and page.locator(part).evaluate("(part) => part !== document.activeElement")
    before = frame()
    page.locator("#speed").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#speed").input_value() == "2"
    page.keyboard.press("ArrowRight")
    assert page.locator("#speed").input_value() == "2" and frame() == before + 1
    page.keyboard.press("Alt+ArrowDown")  # the browser's, not the page's
    assert page.locator("figcaption b").inner_text() == "a"
    page.locator("#back").focus()
    page.keyboard.press("Tab")
    page.keyboard.press(" ")
    page.keyboard.press(" ")
    assert frame() == before + 3 and page.locator("#next").evaluate("(part) => part === document.activeElement")


def test_a_film_without_a_partner_leads_from_where_it_was(opened: Any, tmp_path: Path) -> None:
    report = opened(aligned(tmp_path))
    second = report.page.locator("figure").nth(1)
    assert report.told() == [(0, 0.0), None]
    second.locator("canvas").click()
    assert "leads" in second.get_attribute("class") and report.told()[1] == (0, 0.0)
    report.page.locator("#pieces tbody tr").nth(1).click()  # frame 2 with frame 6
    shown = report.told()[1]
    report.seek(0)
    assert report.told()[1] is None
    second.locator("canvas").click()
    assert "leads" in second.get_attribute("class") and report.told()[1] == shown != (0, 0.0)


def test_no_partner_is_dark_on_dark_pages_and_its_words_do_not_shrink(opened: Any, tmp_path: Path) -> None:
    page = opened(aligned(tmp_path)).page
    page.emulate_media(color_scheme="dark")
    figure = page.locator("figure").nth(1)
    assert figure.evaluate("(part) => getComputedStyle(part, '::after').content") == '"no partner"'
    assert styles(page, "figure.alone canvas", "backgroundColor") == ["rgb(42, 49, 59)"]
    drawn = figure.locator("canvas").evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].some((x) => x)"
    )
    assert not drawn  # the page's own ground is seen


def test_a_plan_without_a_path_says_so(opened: Any, tmp_path: Path) -> None:
    alone = FOUND._replace(kind="none", pieces=(FilmPiece((0, 10), None, None), FilmPiece(None, (0, 9), None)))
    page = opened(aligned(tmp_path, alignment=alone)).page
    assert page.locator("#path").inner_text() == "No path: nothing matches."
    assert "with no path" in page.locator("#plan").get_attribute("aria-label")


@pytest.mark.parametrize("width", [390, 1440])
def test_long_names_keep_both_ends_and_stay_inside(opened: Any, tmp_path: Path, width: int) -> None:
    report = opened(aligned(tmp_path, LONG))
    report.page.set_viewport_size({"width": width, "height": 900})
    written = [each for each in report.written("plan, strips, together") if each["words"].startswith("2024")]
    ends = [f"{name.split()[-1]}{tail}" for name, tail in zip(LONG, (", seconds", "", ""), strict=True)]
    for end in (*ends, "right, seconds", "left, the reference", "left"):
        assert any(each["words"].endswith(end) for each in written), end
    sizes = report.page.evaluate("() => ({plan: planBox(plan.width, plan.height), wide: strips.width})")
    for each in written:
        if each["words"].endswith(", seconds"):
            assert each["right"] - each["left"] <= max(sizes["plan"]["w"], sizes["plan"]["h"])
        else:
            assert each["right"] <= sizes["wide"]


@pytest.mark.parametrize("width", [390, 1440])
def test_recordings_of_long_names_are_told_apart(opened: Any, tmp_path: Path, width: int) -> None:
    report = opened(segmented(tmp_path, LONG))
    report.page.set_viewport_size({"width": width, "height": 900})
    wide = report.page.locator("#timelines").bounding_box()["width"]
    written = report.written("timelines")
    names = [each for each in written if each["words"].startswith("2024")]
    assert [each["words"].split("…")[1][-4:] for each in names] == [name[-4:] for name in LONG]
    assert all(each["right"] <= wide / 3 for each in names)
    assert "recordings" in report.page.locator("#actions thead").inner_text().replace("\u00ad", "")
    last = next(each for each in written if each["words"] == "200")
    assert last["right"] <= wide


def test_pictures_of_actions_keep_both_ends_of_long_names(opened: Any, tmp_path: Path) -> None:
    films = [record(tmp_path / f"{name}.mp4", n=4) for name in LONG]
    recordings = read_recordings(films, Appearance(), cache=tmp_path / "cache", progress=False)
    write_segments(
        Outputs(tmp_path / "out", {"command": "segment"}, films), recordings, [np.zeros(4, int)] * 3, ["all"]
    )
    page = opened(tmp_path / "out" / "report.html").page
    looks = page.locator("#gallery button")
    assert [words[-4:] for words in looks.all_inner_texts()] == [name[-4:] for name in LONG]
    for button in looks.all():
        assert button.evaluate("(part) => part.scrollWidth <= part.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_on_segments_are_read_easily(opened: Any, tmp_path: Path, scheme: str) -> None:
    report = opened(segmented(tmp_path, "abcde"))
    report.page.emulate_media(color_scheme=scheme)
    paper = {"light": (255, 255, 255), "dark": (20, 24, 30)}[scheme]
    bottom = report.page.locator("#timelines").bounding_box()["height"] - 10  # where the numbers of the frames stand
    numbers = [each for each in report.written("timelines") if each["words"].isdecimal() and each["y"] < bottom]
    assert len(numbers) == 5 * 14
    for each in numbers:
        share = each["below"][3] / 255
        below = luminance(share * np.array(each["below"][:3]) + (1 - share) * np.array(paper))
        ink = luminance(list(bytes.fromhex(each["ink"][1:])))
        assert (max(below, ink) + 0.05) / (min(below, ink) + 0.05) >= 4.5, each


@pytest.mark.parametrize("count", [2, 4])
def test_films_and_what_plays_them_fit_on_a_phone(opened: Any, tmp_path: Path, count: int) -> None:
    page = opened(aligned(tmp_path, "abcd"[:count])).page
    page.set_viewport_size({"width": 390, "height": 844})
    box = page.locator(".controls").bounding_box()
    assert box["y"] + box["height"] <= 844
    films = page.locator(".films").bounding_box()
    assert films["height"] + box["height"] <= 844 and page.evaluate("() => document.body.scrollWidth") <= 390
