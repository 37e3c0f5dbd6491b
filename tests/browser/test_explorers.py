"""Every explorer in JupyterLab: what a reader does with keyboard and mouse shows the numbers and pictures of draw()."""

from __future__ import annotations

import inspect
import io
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets as widgets
import pytest
from matplotlib.figure import Figure

from tests.browser import explorers
from vasot_kit.explorers import Explorer, View
from vasot_kit.explorers.explorer import DPI
from vasot_lib.errors import InputError

if TYPE_CHECKING:
    from tests.browser.lab import Lab, OpenNotebook

pytestmark = pytest.mark.browser

REDRAWN = 60.0  # seconds that a redraw may take on a busy machine


class Driven(NamedTuple):
    """An explorer in the browser, and the same one in this process, which says what is right."""

    notebook: OpenNotebook
    mirror: Explorer

    def agrees(self) -> None:
        """Wait until the page shows what belongs to the values of the mirror's controls."""
        from tests.browser.lab import until

        expected = self.mirror.draw(**self.mirror.values)
        picture = _png(expected.figure)
        with suppress(AssertionError):  # the assert below says what differs
            until(lambda: self._differences(expected, picture) == [], "the redraw", REDRAWN)
        assert self._differences(expected, picture) == []
        assert self.notebook.problems() == []

    def _differences(self, expected: View, picture: bytes) -> list[str]:
        shown, message = self.notebook.numbers(), self.notebook.message()
        found = [f"message {message}"] if message else []
        if [*shown] != [*expected.numbers]:
            found.append(f"names {[*shown]}")
        for name, value in expected.numbers.items():
            if not _same(shown.get(name, ""), value):
                found.append(f"{name} is {shown.get(name)}, not {value}")
        if found:  # the picture is not asked for before the numbers have come
            return found
        seen = self.notebook.picture()
        size = tuple(round(DPI * inches) for inches in expected.figure.get_size_inches())
        if (seen.width, seen.height) != size:
            found.append(f"the picture is {seen.width} x {seen.height}, not {size}")
        if seen.png != picture:
            found.append("the picture is another one")
        return found


@pytest.fixture(scope="module")
def notebook(lab: Lab) -> Iterator[OpenNotebook]:
    """All explorers in one: to open a notebook, start its kernel and import the kit takes longer than most tests."""
    with lab.open([inspect.getsource(explorers), *(f"{name}()" for name in explorers.EXPLORERS)]) as opened:
        opened.run_all()
        yield opened


@pytest.fixture(scope="module", params=list(explorers.EXPLORERS))
def driven(request: pytest.FixtureRequest, notebook: OpenNotebook) -> Driven:
    notebook.cell = 1 + list(explorers.EXPLORERS).index(request.param)
    return Driven(notebook, explorers.EXPLORERS[request.param]())


def test_starts_with_the_picture_of_its_values(driven: Driven) -> None:
    driven.agrees()


def test_each_slider_moves_by_keyboard_to_the_right_picture(driven: Driven) -> None:
    sliders = {name: control for name, control in driven.mirror.controls.items() if hasattr(control, "step")}
    assert sliders
    for name, control in sliders.items():
        slider, start = driven.notebook.slider(control.description), control.value
        before = driven.notebook.picture().png
        for keys, steps in ((("ArrowRight",) * 2, 2), (("ArrowLeft",) * 2, 0)):
            slider.press(*keys)
            control.value = _moved(control, start, steps)
            assert slider.value() == float(format(control.value, control.readout_format)), name
            driven.agrees()
            assert (driven.notebook.picture().png == before) == (steps == 0), name


@pytest.mark.parametrize("driven", ["pair", "dummy"], indirect=True)
def test_each_choice_shows_its_own_picture(driven: Driven) -> None:
    (control,) = (found for found in driven.mirror.controls.values() if isinstance(found, widgets.ToggleButtons))
    pictures = set()
    for option in (*control.options[1:], control.options[0]):
        driven.notebook.choose(option)
        control.value = option
        driven.agrees()
        pictures.add(driven.notebook.picture().png)
    assert len(pictures) == len(control.options) > 1


@pytest.mark.parametrize("driven", ["pair"], indirect=True)
def test_ends_of_the_recording_are_reached(driven: Driven) -> None:
    frame = driven.mirror.controls["frame"]
    for key, value in (("End", frame.max), ("ArrowRight", frame.max), ("Home", frame.min), ("ArrowLeft", frame.min)):
        driven.notebook.slider(frame.description).press(key)
        frame.value = value
        driven.agrees()


@pytest.mark.parametrize("driven", ["pair"], indirect=True)
def test_play_moves_on_frame_by_frame_and_pauses(driven: Driven) -> None:
    from tests.browser.lab import until

    frame = driven.mirror.controls["frame"]
    slider = driven.notebook.slider(frame.description)
    slider.press("Home")
    driven.notebook.play()
    until(lambda: slider.value() >= 4, "four frames to pass", REDRAWN)
    driven.notebook.play()
    frame.value = int(slider.value())
    assert 4 <= frame.value < frame.max
    driven.agrees()
    assert slider.value() == frame.value  # it stays where it was paused


@pytest.mark.parametrize("driven", ["pair"], indirect=True)
def test_click_on_the_plan_chooses_its_frame(driven: Driven) -> None:
    frame = driven.mirror.controls["frame"]
    for chosen in (frame.max // 5, frame.max - 3):
        figure = driven.mirror.draw(**driven.mirror.values).figure
        driven.notebook.click_picture(*_place(figure, "plan", 10, chosen))
        frame.value = chosen
        driven.agrees()
        assert driven.notebook.slider(frame.description).value() == chosen


@pytest.mark.parametrize("driven", ["structure"], indirect=True)
def test_radius_without_a_frame_is_refused_in_one_line(driven: Driven) -> None:
    from tests.browser.lab import until

    radius = driven.mirror.controls["radius"]
    slider, before = driven.notebook.slider(radius.description), (driven.notebook.picture(), driven.notebook.numbers())
    slider.press("Home")
    with pytest.raises(InputError) as refused:
        driven.mirror.draw(**{**driven.mirror.values, "radius": radius.min})
    until(lambda: driven.notebook.message() == str(refused.value), f"the message {refused.value}", REDRAWN)
    assert (driven.notebook.picture(), driven.notebook.numbers()) == before
    assert driven.notebook.problems() == []
    slider.press("ArrowRight", "ArrowRight")
    radius.value = _moved(radius, radius.min, 2)
    driven.agrees()


def _same(text: str, value: float | int | str) -> bool:
    if isinstance(value, float) and text:
        return math.isclose(float(text), value, rel_tol=1e-3) or (math.isnan(value) and text == "nan")
    return text == str(value)


def _moved(control: Any, start: float, steps: int) -> float:
    """Where a slider stands after so many steps, on the grid that the browser keeps to."""
    if isinstance(control, widgets.FloatLogSlider):
        exponent = math.log(start, control.base) + steps * control.step
        return control.base ** min(max(round(exponent, 7), control.min), control.max)
    return min(max(round(start + steps * control.step, 7), control.min), control.max)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _place(figure: Figure, panel: str, x: float, y: float) -> tuple[float, float]:
    """Shares of the width and height of a drawn figure at which a panel has the point x, y, from the top left."""
    _png(figure)  # limits and places are settled when it is drawn
    (axes,) = (axes for axes in figure.axes if axes.get_label() == panel)
    across, up = axes.transData.transform((x, y))
    return across / figure.bbox.width, 1 - up / figure.bbox.height
