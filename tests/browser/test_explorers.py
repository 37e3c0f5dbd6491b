"""Every explorer in JupyterLab and in a page without a kernel: what a reader does shows the numbers of the library."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import nbformat
import pytest

from tests.browser import explorers
from tests.notebooks.refresh import KERNEL
from vasot_kit.book.build import build_book
from vasot_kit.explorers import Explorer
from vasot_kit.explorers.explorer import Choice, Slider

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.lab import Lab
    from tests.browser.shown import ShownExplorer

pytestmark = pytest.mark.browser

KINDS = list(explorers.EXPLORERS)
AREAS = {
    "pair": ("plan", "row", "x", "y"), "structure": ("plan", "cost", "pull", "terms"),
    "dummy": ("plan", "kept", "masses", "dropped"), "length": ("curve",),
}  # fmt: skip


# Where the rounding of numbers decides between plans of nearly the same objective: without a linear cost a plan and its
# mirror image are equally good, and with hardly an entropy small differences grow.
ROUNDING = {("alpha", 1), ("epsilon", 0.01)}


# The reds of the pixels of a plan, without what is written around it.
REDS = """(canvas) => {
  const {width, height} = canvas, data = canvas.getContext("2d").getImageData(70, 40, width - 90, height - 100).data;
  return Array.from({length: data.length / 4}, (_, k) => data[4 * k]);
}"""
# From now on, what is written on the canvas with the key of the lengths: text -> start, end and height; and its width.
WRITTEN = """() => {
  const draw = CanvasRenderingContext2D.prototype.fillText, canvases = new Map();
  CanvasRenderingContext2D.prototype.fillText = function (words, x, y) {
    const wide = this.measureText(words).width, from = x - {left: 0, right: wide, center: wide / 2}[this.textAlign];
    if (!canvases.has(this.canvas)) canvases.set(this.canvas, {});
    canvases.get(this.canvas)[words] = [from, from + wide, y];
    if (words.startsWith("by the labels")) window.written = [canvases.get(this.canvas), this.canvas.width];
    draw.call(this, words, x, y);
  };
}"""
SIGN = 30  # pixels that the sign before a text of the key takes


class Driven(NamedTuple):
    """An explorer in the browser, and the same one in this process, which says what is right."""

    kind: str
    page: Page
    shown: ShownExplorer
    mirror: Explorer

    def agrees(self, **changes: float | str) -> None:
        """Wait until the page shows these values, with the numbers that the library has for them."""
        values = {**self.mirror.values, **changes}
        self.shown.shows(values)
        expected, found = self.mirror.numbers(**values), self.shown.numbers()
        assert [*found] == [*expected]
        assert [name for name in found if not _same(found[name], expected[name])] == [], (found, expected)

    def pictures(self) -> dict[str, tuple[int, int]]:
        self.page.wait_for_timeout(50)  # what is shown is drawn with the next picture of the page
        return {area: self.shown.picture(area) for area in AREAS[self.kind]}


def _same(text: str, value: float | str) -> bool:
    """Up to the four digits that are shown; the scripts compute in float64, the library in float32."""
    return (
        math.isclose(float(text), value, rel_tol=2e-3, abs_tol=2e-6) if isinstance(value, float) else text == str(value)
    )


@pytest.fixture(scope="module")
def mirrors() -> dict[str, Explorer]:
    return {kind: build() for kind, build in explorers.EXPLORERS.items()}


def watched(page: Page, problems: list[str]) -> Page:
    """The page, which adds to the problems; that pictures are read often is the tests' own doing."""
    tell = problems.append
    page.on("pageerror", lambda error: tell(str(error)))
    page.on("console", lambda line: None if line.type == "log" or "getImageData" in line.text else tell(line.text))
    page.on("request", lambda asked: tell(asked.url) if asked.url.startswith("http") else None)
    return page


def written(mirrors: dict[str, Explorer], folder: Path) -> Path:
    """The page of a book whose only chapter has all explorers."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    notebook.cells.append(nbformat.v4.new_markdown_cell("# Explorers"))
    for mirror in mirrors.values():
        output = nbformat.v4.new_output("display_data", mirror._repr_mimebundle_())
        notebook.cells.append(nbformat.v4.new_code_cell("explorer", outputs=[output]))
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "00_explorers.ipynb")
    assert build_book(folder / "book", folder / "notebooks") == []
    return folder / "book" / "notebooks" / "00_explorers.html"


@pytest.fixture(scope="module")
def file(mirrors: dict[str, Explorer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(mirrors, tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def static(browser: Browser, file: Path) -> Iterator[Page]:
    """A page without a kernel; nothing may go wrong in it, and nothing may be asked of a network."""
    problems: list[str] = []
    page = watched(browser.new_page(viewport={"width": 1200, "height": 900}), problems)
    page.goto(file.as_uri())
    yield page
    page.close()
    assert problems == []


@pytest.fixture(scope="module", params=KINDS)
def driven(request: pytest.FixtureRequest, static: Page, mirrors: dict[str, Explorer]) -> Driven:
    from tests.browser.shown import HOST, ShownExplorer

    shown = ShownExplorer(static.locator(HOST).nth(KINDS.index(request.param)))
    shown.host.scroll_into_view_if_needed()
    return Driven(request.param, static, shown, mirrors[request.param])


def test_it_starts_with_its_values_in_all_panels(driven: Driven) -> None:
    driven.agrees()
    for area, (_, colours) in driven.pictures().items():
        assert colours > (100 if area in ("plan", "cost", "pull") else 3), area
        label = driven.shown.panel(area).get_attribute("aria-label")
        assert label is not None and len(label) > 20
    assert driven.shown.host.get_attribute("aria-label") == driven.mirror.title
    assert driven.shown.host.locator("img").is_hidden()  # the still picture is for places without scripts


def test_each_slider_moves_by_keyboard_to_the_right_numbers(driven: Driven) -> None:
    sliders = [control for control in driven.mirror.controls if isinstance(control, Slider)]
    before = driven.pictures()
    for control in sliders:
        slider = driven.shown.slider(control.label)
        for key, steps in (("ArrowRight", 2), ("ArrowLeft", 0)):
            slider.press(key)
            slider.press(key)
            driven.agrees(**{control.name: round(control.value + steps * control.step, 9)})
            assert (driven.pictures() == before) == (steps == 0), control.name
    assert driven.shown.values() == driven.mirror.values


def test_the_ends_of_the_sliders_are_reached(driven: Driven) -> None:
    for control in driven.mirror.controls:
        if isinstance(control, Slider):
            for key, value in (("End", control.high), ("ArrowRight", control.high), ("Home", control.low)):
                driven.shown.slider(control.label).press(key)
                if (control.name, value) in ROUNDING:
                    driven.shown.shows({**driven.mirror.values, control.name: value})
                else:
                    driven.agrees(**{control.name: round(value, 9)})
            driven.shown.host.get_by_role("button", name="reset").click()
            driven.agrees()


@pytest.mark.parametrize("driven", ["pair", "dummy"], indirect=True)
def test_each_choice_shows_its_own_picture(driven: Driven) -> None:
    (control,) = (control for control in driven.mirror.controls if isinstance(control, Choice))
    pictures = set()
    for option in (*control.options[1:], control.options[0]):
        driven.shown.choose(option)
        driven.agrees(**{control.name: option})
        pictures.add(driven.pictures()["plan"])
    assert len(pictures) == len(control.options) > 1


@pytest.mark.parametrize("driven", ["pair"], indirect=True)
def test_plans_have_one_scale_and_a_flat_row_marks_no_match(driven: Driven) -> None:
    for option in ("features", "uniform"):
        driven.shown.choose(option)
        driven.agrees(plan=option)
        told = driven.shown.panel("row").get_attribute("aria-label")
        assert told is not None and ("to all frames of Y alike" in told) == (option == "uniform")
    assert driven.shown.host.locator('figure[data-area="y"] figcaption').inner_text() == "Y: no best match"
    driven.page.wait_for_timeout(50)
    assert min(driven.shown.panel("plan").evaluate(REDS)) > 180  # pale
    driven.shown.host.get_by_role("button", name="reset").click()


@pytest.mark.parametrize("driven", ["structure"], indirect=True)
def test_the_key_of_the_true_matches_stands_above_the_plan(driven: Driven) -> None:
    heading = driven.shown.host.locator('figure[data-area="plan"] figcaption')
    assert heading.inner_text() == "plan: share of a frame of X; \u25cb true match"


def test_it_is_printed_whole_and_in_its_colours(driven: Driven) -> None:
    """A page break inside of it would lay its panels over the text; a chosen button would be white on white."""
    style = "(element, name) => getComputedStyle(element).getPropertyValue(name)"
    assert driven.shown.host.evaluate(style, "break-inside") == "avoid"
    button = driven.shown.host.locator("input:checked + span, .reset").first
    assert button.evaluate(style, "print-color-adjust") == "exact"


@pytest.mark.parametrize("driven", ["length"], indirect=True)
@pytest.mark.parametrize("width", [390, 700, 1200])
def test_the_key_lies_on_nothing(driven: Driven, width: int) -> None:
    driven.page.evaluate(WRITTEN)
    driven.page.set_viewport_size({"width": width, "height": 900})
    driven.page.wait_for_timeout(150)
    written, canvas = driven.page.evaluate("() => window.written")
    driven.page.set_viewport_size({"width": 1200, "height": 900})
    key = [box for words, box in written.items() if re.match("the radius|measured|fitted|length found|by the l", words)]
    assert len(key) == 5
    for start, end, y in key:
        assert start - SIGN >= 0 and end <= canvas
        assert y < written["1"][2] - 8 or start - SIGN > written["0.3"][1]  # above the axes or beside them
        others = [box for box in key if box != [start, end, y]]
        assert all(end < box[0] - SIGN or box[1] < start - SIGN or abs(y - box[2]) > 12 for box in others)


def test_it_plays_pauses_and_ends(driven: Driven) -> None:
    from tests.browser.shown import until

    control = next(control for control in driven.mirror.controls if isinstance(control, Slider))
    slider = driven.shown.slider(control.label)
    slider.press("Home")
    driven.shown.play(control.label)
    passed = set()
    until(lambda: passed.add(driven.shown.values()[control.name]) or len(passed) > 3, "four values to be shown")
    driven.shown.pause()
    there = float(slider.input_value())
    assert control.low < there < control.high
    driven.agrees(**{control.name: there if there % 1 or control.step < 1 else int(there)})
    slider.evaluate("(slider) => { slider.value = slider.max - 2 * slider.step; slider.oninput(); }")
    driven.shown.play(control.label)
    until(lambda: driven.shown.values()[control.name] == control.high, "the end")
    until(driven.shown.host.get_by_role("button", name=f"Play {control.label}").is_visible, "the button to play again")
    driven.shown.host.get_by_role("button", name="reset").click()
    driven.agrees()


@pytest.mark.parametrize("driven", ["pair", "structure", "dummy"], indirect=True)
def test_mouse_and_keys_mark_an_entry_and_say_what_it_is(driven: Driven) -> None:
    before = driven.pictures()
    driven.shown.over("plan", 0.5, 0.5)
    lines = driven.shown.tip()
    n, m = driven.mirror.about["n"], driven.mirror.about["m"]
    frames = [int(line.split("frame ")[1].split(",")[0]) for line in lines[:2]]
    assert (
        abs(frames[0] - n / 2) < n / 4 and abs(frames[1] - m / 2) < m / 4 and lines[2].endswith("of the frame's mass")
    )
    marked = driven.pictures()
    assert marked["plan"] != before["plan"]
    plan = driven.shown.panel("plan")
    plan.focus()
    for key, down, across in (("ArrowDown", 1, 0), ("Shift+ArrowLeft", 0, -10), ("ArrowUp", -1, 0)):
        plan.press(key)
        frames = [frames[0] + down, frames[1] + across]
        told = [int(line.split("frame ")[1].split(",")[0]) for line in driven.shown.tip()[:2]]
        assert told == frames, key
    assert driven.shown.host.locator(".spoken").inner_text() == ", ".join(driven.shown.tip())
    plan.press("Escape")
    assert driven.shown.tip() == []
    driven.page.mouse.move(1, 1)
    assert driven.pictures() == before


@pytest.mark.parametrize("driven", ["structure"], indirect=True)
def test_what_is_said_of_an_entry_follows_the_sliders(driven: Driven) -> None:
    from tests.browser.shown import until

    driven.shown.over("plan", 0.5, 0.5)
    before = driven.shown.tip()
    driven.shown.slider("rho").evaluate("(slider) => { slider.value = 1.5; slider.oninput(); }")
    driven.agrees(rho=1.5)
    until(lambda: driven.shown.tip()[3] != before[3], "another cost of the entry")
    assert driven.shown.tip()[:2] == before[:2]
    driven.shown.host.get_by_role("button", name="reset").click()
    driven.page.mouse.move(1, 1)
    driven.agrees()


@pytest.mark.parametrize("driven", ["structure", "dummy"], indirect=True)
def test_the_cursor_marks_its_row_in_the_panels_beside_the_plan(driven: Driven) -> None:
    before = driven.pictures()
    driven.shown.over("plan", 0.4, 0.6)
    marked = driven.pictures()
    for area in ("cost", "pull") if driven.kind == "structure" else ("kept",):
        assert marked[area] != before[area], area
    driven.page.mouse.move(1, 1)


@pytest.mark.parametrize("driven", ["pair"], indirect=True)
def test_click_and_enter_on_the_plan_choose_its_frame(driven: Driven) -> None:
    plan = driven.shown.panel("plan")
    box = plan.bounding_box()
    assert box is not None
    for down in (0.3, 0.7):
        plan.click(position={"x": 0.5 * box["width"], "y": down * box["height"]})
        frame = int(driven.shown.tip()[0].split("frame ")[1].split(",")[0])
        driven.agrees(frame=frame)
        assert driven.shown.slider("frame of X").input_value() == str(frame)
    plan.press("ArrowDown")
    plan.press("Enter")
    driven.agrees(frame=frame + 1)
    driven.shown.host.get_by_role("button", name="reset").click()


def test_a_finger_chooses_a_frame_and_leaves_it_marked(
    browser: Browser, mirrors: dict[str, Explorer], file: Path
) -> None:
    from tests.browser.shown import HOST, ShownExplorer

    context = browser.new_context(has_touch=True, viewport={"width": 420, "height": 900})
    page = context.new_page()
    page.goto(file.as_uri())
    driven = Driven("pair", page, ShownExplorer(page.locator(HOST).nth(KINDS.index("pair"))), mirrors["pair"])
    driven.agrees()
    driven.shown.host.scroll_into_view_if_needed()
    box = driven.shown.panel("plan").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 0.5 * box["width"], box["y"] + 0.7 * box["height"])
    frame = int(driven.shown.tip()[0].split("frame ")[1].split(",")[0])
    assert frame != mirrors["pair"].values["frame"]
    driven.agrees(frame=frame)
    context.close()


def test_it_fits_into_narrow_and_wide_pages(driven: Driven) -> None:
    assert driven.page.viewport_size is not None
    for width in (420, 760, 1200):
        driven.page.set_viewport_size({"width": width, "height": 900})
        driven.page.wait_for_timeout(100)
        inside = driven.shown.host.evaluate(
            "(host) => host.shadowRoot.querySelector('.explorer').scrollWidth - host.clientWidth"
        )
        assert inside <= 1, width
        for area, (_, colours) in driven.pictures().items():
            box = driven.shown.panel(area).bounding_box()
            assert box is not None and min(box["width"], box["height"]) > 60 and colours > 2, (area, width)


def test_two_explorers_of_one_page_do_not_disturb_each_other(driven: Driven) -> None:
    from tests.browser.shown import HOST, ShownExplorer

    driven.page.set_viewport_size({"width": 1200, "height": 900})
    others = [driven.page.locator(HOST).nth(k) for k in range(len(KINDS)) if KINDS[k] != driven.kind]
    before = [ShownExplorer(other).values() for other in others]
    control = next(control for control in driven.mirror.controls if isinstance(control, Slider))
    driven.shown.slider(control.label).press("ArrowRight")
    driven.agrees(**{control.name: round(control.value + control.step, 9)})
    assert [ShownExplorer(other).values() for other in others] == before
    driven.shown.slider(control.label).press("ArrowLeft")
    driven.agrees()


def test_without_scripts_the_still_picture_stays(browser: Browser, mirrors: dict[str, Explorer], file: Path) -> None:
    from tests.browser.shown import HOST

    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    for k, mirror in enumerate(mirrors.values()):
        image = page.locator(HOST).nth(k).locator("img")
        assert image.is_visible() and image.get_attribute("alt") == mirror.title
    context.close()


def test_in_jupyterlab_it_is_the_same(lab: Lab, mirrors: dict[str, Explorer]) -> None:
    """One test for all: to open a notebook, start its kernel and import the kit takes longer than most tests."""
    with lab.open([inspect.getsource(explorers), *(f"{kind}()" for kind in KINDS)]) as notebook:
        notebook.run_all()
        for cell, (kind, mirror) in enumerate(mirrors.items(), 1):
            driven = Driven(kind, notebook.page, notebook.explorer(cell), mirror)
            driven.shown.host.scroll_into_view_if_needed()
            driven.agrees()
            control = next(control for control in mirror.controls if isinstance(control, Slider))
            driven.shown.slider(control.label).press("ArrowRight")
            driven.agrees(**{control.name: round(control.value + control.step, 9)})
            driven.shown.play(control.label)
            driven.page.wait_for_timeout(300)
            driven.shown.host.get_by_role("button", name="reset").click()
            driven.agrees()
            if kind != "length":
                driven.shown.panel("plan").focus()
                driven.shown.panel("plan").press("ArrowDown")  # and not a shortcut of JupyterLab
                assert len(driven.shown.tip()) >= 3
                driven.shown.panel("plan").press("Escape")
        assert notebook.problems() == []
