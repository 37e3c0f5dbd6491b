"""The base of all explorers, without a browser: an explorer of a parabola, whose numbers are known."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from vasot_kit.explorers import Explorer
from vasot_kit.explorers.explorer import (
    DPI,
    LARGEST_PICTURE,
    MOST_PICTURES,
    Choice,
    Slider,
    about_actions,
    colour_map,
    picture_sheet,
    step_names,
)
from vasot_kit.figures import action_style
from vasot_lib.data import Video, toy
from vasot_lib.errors import InputError

CONTROLS = (Slider("x", "place x", 2, 0, 9, 1), Choice("sign", "sign", "up", ("up", "down")))
HEIGHTS = np.arange(10, dtype=np.float32) ** 2 / 3


def parabola(x: int, sign: str) -> dict[str, Any]:
    """A point of the parabola; there is none beyond 5."""
    if x > 5:
        raise InputError(f"x is {x}; choose x <= 5")
    return {"height": (1 if sign == "up" else -1) * x * x / 3, "place": x}


@pytest.fixture
def explorer() -> Explorer:
    # The script of an explorer that is there: what a page holds is looked at here, and not run.
    about = {"name": "</script><b>"}
    return Explorer(
        "length", "A parabola <and a point>", CONTROLS, about, {"heights": HEIGHTS}, parabola, Figure(figsize=(4, 2))
    )


def test_numbers_are_those_of_the_start_or_of_the_values_that_are_given(explorer: Explorer) -> None:
    assert explorer.values == {"x": 2, "sign": "up"}
    assert explorer.numbers() == {"height": pytest.approx(4 / 3), "place": 2}
    assert explorer.numbers(x=4) == {"height": pytest.approx(16 / 3), "place": 4}
    assert explorer.numbers(sign="down", x=5)["height"] == pytest.approx(-25 / 3)
    assert explorer.values == {"x": 2, "sign": "up"}
    with pytest.raises(InputError, match="x is 6"):
        explorer.numbers(x=6)
    with pytest.raises(TypeError, match="unexpected"):
        explorer.numbers(y=1)


def test_it_shows_itself_as_html_and_as_text(explorer: Explorer) -> None:
    bundle = explorer._repr_mimebundle_()
    assert bundle == {"text/html": explorer.html(), "text/plain": "explore_length(x=2, sign='up')"}
    assert explorer.html() == explorer.html()


def test_the_page_needs_nothing_from_elsewhere(explorer: Explorer) -> None:
    page = explorer.html()
    assert not re.search(r"https?://(?!www\.w3\.org/)|(src|href)=\"(?!data:)|@import|import\(", page)
    assert page.count("<script>") == page.count("</script>") == 1
    assert page.startswith("<div data-explorer=") and page.endswith("</script>")


def test_texts_are_escaped_in_markup_and_in_scripts(explorer: Explorer) -> None:
    page = explorer.html()
    assert page.count('"A parabola &lt;and a point&gt;"') == 2  # of the group and of its picture
    assert "<and a point>" not in page and "</script><b>" not in page and r"\u003c/script>\u003cb>" in page


def test_arrays_travel_compressed_and_whole(explorer: Explorer) -> None:
    found = re.search(r"unpack\((\{.*\})\);", explorer.html())
    assert found is not None
    kind, text = json.loads(found[1])["heights"]
    assert kind == "Float32Array"
    np.testing.assert_array_equal(np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f4"), HEIGHTS)


def test_without_scripts_the_still_picture_is_left(explorer: Explorer) -> None:
    found = re.search(r"<img alt=\"[^\"]*\" src=\"data:image/png;base64,([^\"]+)\"></div>", explorer.html())
    assert found is not None
    height, width = matplotlib.image.imread(io.BytesIO(base64.b64decode(found[1]))).shape[:2]
    assert (width, height) == (4 * DPI, 2 * DPI)


def test_two_explorers_of_one_page_are_told_apart(explorer: Explorer) -> None:
    other = Explorer("length", "Another", CONTROLS, {}, {"heights": HEIGHTS}, parabola, explorer.still)
    marks = [re.findall(r"data-explorer=\\?\"(\w+)", each.html()) for each in (explorer, other)]
    assert len(set(marks[0])) == len(set(marks[1])) == 1 and set(marks[0]) != set(marks[1])


def test_actions_and_colours_are_those_of_the_figures() -> None:
    actions = about_actions([*(f"step_{k + 1}" for k in range(11)), "idle"], 11)
    for action, about in enumerate(actions):
        style = action_style(action, 11)
        assert (about["colour"], about["hatch"]) == (style.colour, style.hatch)
    assert [about["number"] for about in actions] == [*map(str, range(1, 12)), ""]
    assert step_names([np.array([0, 2]), np.array([1])], 2) == ["step 1", "step 2", "background"]
    plans = colour_map("bone_r").reshape(256, 3)
    assert plans.dtype == np.uint8 and plans[0].tolist() == [255, 255, 255] and plans[-1].tolist() == [0, 0, 0]


def sheet(video: Video) -> tuple[dict[str, Any], np.ndarray]:
    from PIL import Image

    about = picture_sheet(video)
    assert about is not None
    data = base64.b64decode(about["sheet"].removeprefix("data:image/webp;base64,"))
    return about, np.array(Image.open(io.BytesIO(data)).convert("RGB"), float)


def test_a_sheet_has_the_picture_of_every_frame() -> None:
    video = toy(2, 3, seed=4, render=True).videos[0]
    about, pixels = sheet(video)
    assert about["every"] == 1 and (about["width"], about["height"]) == (32, 32)
    assert video.frames is not None
    for frame in (0, 7, len(video) - 1):
        row, column = divmod(frame, about["columns"])
        found = pixels[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
        assert np.abs(found - video.frames[frame]).mean() < 8  # of 255: the sheet is compressed


def test_long_films_of_large_pictures_are_thinned_and_made_smaller() -> None:
    import torch

    frames = np.zeros((2 * MOST_PICTURES + 1, 96, 192, 3), np.uint8)
    about, pixels = sheet(Video("long", torch.zeros(len(frames), 2), frames=frames))
    assert about["every"] == 3 and (about["width"], about["height"]) == (LARGEST_PICTURE, LARGEST_PICTURE // 2)
    assert pixels.shape[1] == about["columns"] * LARGEST_PICTURE
    assert picture_sheet(Video("none", torch.zeros(3, 2))) is None
