"""The base of all explorers, without a browser: an explorer of a parabola, whose numbers are known."""

from __future__ import annotations

import base64
import gc
import io

import ipywidgets as widgets
import matplotlib.image
import pytest
from matplotlib.figure import Figure

from vasot_kit.explorers import Explorer, View
from vasot_kit.explorers.explorer import DPI
from vasot_lib.errors import InputError

Click = tuple[str, float, float]


def parabola(x: int, sign: str = "up") -> View:
    """A point of the parabola; there is none beyond 5."""
    if x > 5:
        raise InputError(f"x is {x}; <b>choose</b> x <= 5 & go on")
    y = (1 if sign == "up" else -1) * x * x / 3
    figure = Figure(figsize=(4, 2))
    left = figure.add_axes((0.1, 0.2, 0.3, 0.6), label="left")
    left.plot([x], [y], "o")
    left.set(xlim=(0, 10), ylim=(20, -20))  # downwards, as the rows of a plan
    figure.add_axes((0.6, 0.2, 0.3, 0.6), label="right").set(xlim=(-1, 1), ylim=(0, 1))
    figure.add_axes((0.45, 0.2, 0.1, 0.6))  # without a label: not for clicking
    return View(figure, {"height": y, "place": x, "way <up>": sign})


@pytest.fixture
def clicks() -> list[Click]:
    return []


@pytest.fixture
def explorer(clicks: list[Click]) -> Explorer:
    controls = {"x": widgets.IntSlider(2, 0, 9), "sign": widgets.ToggleButtons(options=["up", "down"])}
    return Explorer(
        parabola, controls, click=lambda explorer, *where: clicks.append(where), title="A parabola <and a point>"
    )


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def click(explorer: Explorer, across: float, down: float, count: int = 1) -> None:
    """What the browser sends when the picture is clicked."""
    explorer.picture.clicked = [across, down, count]


def test_starts_with_the_values_of_its_controls(explorer: Explorer) -> None:
    assert explorer.values == {"x": 2, "sign": "up"}
    assert explorer.numbers == {"height": pytest.approx(4 / 3), "place": 2, "way <up>": "up"}
    assert explorer.picture.png == png(parabola(2).figure)
    assert explorer.message.value == ""


def test_a_moved_control_shows_its_numbers_and_its_picture(explorer: Explorer) -> None:
    explorer.controls["x"].value = 4
    assert explorer.numbers["height"] == pytest.approx(16 / 3)
    explorer.controls["sign"].value = "down"
    assert explorer.numbers == {"height": pytest.approx(-16 / 3), "place": 4, "way <up>": "down"}
    assert explorer.picture.png == png(parabola(4, "down").figure)


def test_equal_values_give_equal_pictures(explorer: Explorer) -> None:
    first = explorer.picture.png
    explorer.controls["x"].value = 3
    assert explorer.picture.png != first
    explorer.controls["x"].value = 2
    assert explorer.picture.png == first


def test_numbers_stand_beside_the_picture_with_four_digits_and_escaped(explorer: Explorer) -> None:
    explorer.controls["x"].value = 4
    assert '<b class="vasot-number" data-name="height">5.333</b>' in explorer.readout.value
    assert '<b class="vasot-number" data-name="place">4</b>' in explorer.readout.value
    assert 'data-name="way &lt;up&gt;">up</b>' in explorer.readout.value
    assert "<up>" not in explorer.readout.value


def test_static_twin_is_the_figure_of_the_present_values(explorer: Explorer) -> None:
    explorer.controls["x"].value = 5
    assert png(explorer.static()) == explorer.picture.png == png(parabola(5).figure)


def test_the_picture_has_the_size_of_the_figure(explorer: Explorer) -> None:
    height, width = matplotlib.image.imread(io.BytesIO(explorer.picture.png)).shape[:2]
    assert (width, height) == (4 * DPI, 2 * DPI)


def test_input_error_is_one_escaped_line_and_the_last_picture_stays(explorer: Explorer) -> None:
    picture, numbers, readout = explorer.picture.png, explorer.numbers, explorer.readout.value
    explorer.controls["x"].value = 7
    assert ">x is 7; &lt;b&gt;choose&lt;/b&gt; x &lt;= 5 &amp; go on</span>" in explorer.message.value
    assert explorer.message.value.count('class="vasot-error"') == 1
    assert "\n" not in explorer.message.value
    assert (explorer.picture.png, explorer.numbers, explorer.readout.value) == (picture, numbers, readout)
    explorer.controls["x"].value = 1
    assert explorer.message.value == ""
    assert explorer.numbers["place"] == 1


def test_another_error_is_not_hidden() -> None:
    def broken(x: int) -> View:
        return parabola(1 // x)

    explorer = Explorer(broken, {"x": widgets.IntSlider(1, 0, 3)})
    with pytest.raises(ZeroDivisionError):
        explorer.controls["x"].value = 0


def test_input_error_at_the_start_reaches_the_caller() -> None:
    with pytest.raises(InputError, match="x is 6"):
        Explorer(parabola, {"x": widgets.IntSlider(6, 0, 9)})


@pytest.mark.parametrize(
    ("across", "down", "where"),
    [
        (0.25, 0.5, ("left", 5.0, 0.0)),
        (0.1 + 0.3 * 0.2, 0.2 + 0.6 * 0.25, ("left", 2.0, -10.0)),
        (0.6 + 0.3 * 0.75, 0.8 - 0.6 * 0.1, ("right", 0.5, 0.1)),
    ],
)
def test_click_is_told_in_the_data_units_of_its_panel(
    explorer: Explorer, clicks: list[Click], across: float, down: float, where: Click
) -> None:
    click(explorer, across, down)
    assert clicks == [(where[0], pytest.approx(where[1], abs=1e-9), pytest.approx(where[2], abs=1e-9))]


@pytest.mark.parametrize(("across", "down"), [(0.05, 0.5), (0.25, 0.1), (0.5, 0.5), (0.99, 0.99)])
def test_click_beside_the_labelled_panels_does_nothing(
    explorer: Explorer, clicks: list[Click], across: float, down: float
) -> None:
    click(explorer, across, down)
    assert clicks == []


def test_a_second_click_on_the_same_place_counts(explorer: Explorer, clicks: list[Click]) -> None:
    click(explorer, 0.25, 0.5, 1)
    click(explorer, 0.25, 0.5, 2)
    assert len(clicks) == 2


def test_click_without_a_use_for_it_is_no_error() -> None:
    explorer = Explorer(parabola, {"x": widgets.IntSlider(1, 0, 3)})
    click(explorer, 0.25, 0.5)
    assert explorer.numbers["place"] == 1


def test_bundle_holds_the_widget_its_picture_and_its_settings(explorer: Explorer) -> None:
    explorer.controls["x"].value = 3
    bundle = explorer._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    assert base64.b64decode(bundle["image/png"]) == explorer.picture.png
    assert bundle["text/plain"] == "Explorer(x=3, sign='up')"


def test_controls_stand_in_their_rows_above_extra_message_picture_and_numbers() -> None:
    button = widgets.Button()
    controls = {"x": widgets.IntSlider(1, 0, 3), "sign": widgets.ToggleButtons(options=["up", "down"])}
    explorer = Explorer(parabola, controls, rows=[["sign"], ["x"]], extra=[button])
    first, second, *rest = explorer.children
    assert (first.children, second.children) == ((controls["sign"],), (controls["x"],))
    assert rest == [button, explorer.message, explorer.picture, explorer.readout]


def test_readers_who_do_not_see_the_picture_get_its_title(explorer: Explorer) -> None:
    assert explorer.picture.text == "A parabola <and a point>"


def test_the_garbage_collector_waits_for_the_picture_and_comes_back(explorer: Explorer) -> None:
    during = []
    draw = explorer.draw

    def watched(**values: object) -> View:
        during.append(gc.isenabled())
        return draw(**values)

    explorer.draw = watched
    for x in (3, 9):  # a picture, an error
        explorer.controls["x"].value = x
        assert gc.isenabled()
    assert during == [False, False]
