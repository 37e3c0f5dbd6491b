"""Figures of own films: paths, bars and clocks lie where the numbers are."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike

from vasot_kit.figures import (
    action_style,
    plot_alignment,
    plot_clock,
    plot_key_steps,
    plot_plan,
    plot_segmentations,
    plot_timelines,
    style,
)
from vasot_kit.figures.style import legible
from vasot_lib.errors import InputError

N, M = 9, 13
RNG = np.random.default_rng(0)
PLAN = RNG.random((N, M))
MATCHES = np.linspace(0, M - 1, N) ** 1.2 / (M - 1) ** 0.2
X_FRAMES, Y_FRAMES = (RNG.integers(0, 256, (n, 4, 6, 3), dtype=np.uint8) for n in (N, M))
TIMES = {
    "first": (np.array([0.0, 0.5, 1.0, 2.0, 2.5]), np.array([1, 1, 0, 2])),
    "second": (np.array([0.0, 1.0, 2.0]), np.array([2, 2])),
}
ACTIONS = ("action 1", "action 2", "action 3", "action 4")


def panel(figure: Figure, label: str) -> Axes:
    (axes,) = (axes for axes in figure.axes if axes.get_label() == label)
    return axes


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def drawn(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Line by name."""
    return {str(line.get_label()): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines}


def over(colour: ColorType, below: np.ndarray) -> np.ndarray:
    """What is seen of a colour with an opacity above another colour."""
    *rgb, alpha = to_rgba(colour)
    return alpha * np.array(rgb) + (1 - alpha) * below


def on_white(colour: ColorType) -> np.ndarray:
    return over(colour, np.ones(3))


def contrast(one: ArrayLike, other: ArrayLike) -> float:
    """The ratio of the luminances of two colours, 1 to 21, as WCAG defines it."""
    both = np.array([one, other], dtype=float)
    linear = np.where(both <= 0.04045, both / 12.92, ((both + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ (0.2126, 0.7152, 0.0722) + 0.05)
    return float(light / dark)


def numbers_lie_in_their_segments(axes: Axes) -> None:
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    for text in axes.texts:
        extent, middle = text.get_window_extent(), axes.transData.transform(text.get_position())
        (bar,) = (bar.get_window_extent() for bar in bars(axes) if bar.get_window_extent().contains(*middle))
        assert bar.x0 <= extent.x0 and extent.x1 <= bar.x1, text


def apart(figure: Figure) -> None:
    """Nothing that is written in a figure leaves it or lies on something else that is written."""
    figure.draw_without_rendering()
    sides = [(side, axis) for axes in figure.axes for side, axis in enumerate((axes.xaxis, axes.yaxis))]
    beyond = {
        tick
        for side, axis in sides
        for tick in axis.get_ticklabels()
        if not min(axis.get_view_interval()) <= tick.get_position()[side] <= max(axis.get_view_interval())
    }  # which are not drawn
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in beyond]
    extents = {text: text.get_window_extent() for text in shown}
    for text, extent in extents.items():
        assert extent.x0 >= 0 and extent.y0 >= 0, text
        assert extent.x1 <= figure.bbox.width and extent.y1 <= figure.bbox.height, text
        for other, place in extents.items():
            assert other is text or not extent.padded(-1).overlaps(place), (text, other)


LONG = [f"2024-05-17 Experiment 3 titration group A camera {side}.mp4" for side in ("left", "right")]
NAMES = [LONG, ["W" * 255, "i" * 255], ["a film of twenty let", "another of them, too"], ["$" * 80, "\u4e2d" * 80]]


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("tall", [4, 12])
def test_long_names_lie_in_the_alignment_and_touch_nothing(names: list[str], tall: int) -> None:
    pictures = [np.zeros((length, tall, 8, 3), np.uint8) for length in (N, M)]
    figure = plot_alignment(PLAN, MATCHES, *pictures, names=(names[0], names[1]), confidence=np.full(N, 0.5))
    apart(figure)


@pytest.mark.parametrize("names", NAMES)
def test_long_names_lie_in_timelines_clocks_plans_and_segmentations(names: list[str]) -> None:
    actions = [f"{name} {k}" for name in names for k in range(4)]
    labels = np.arange(8)
    apart(plot_timelines({name: (np.arange(9.0), labels) for name in names}, actions))
    apart(plot_segmentations(dict.fromkeys(names, labels), actions, title=names[0]))
    apart(plot_key_steps({name: {"truth": labels, names[1]: labels} for name in names}, actions))
    apart(plot_clock({name: np.ones(5) for name in names}, fps=2.0))
    apart(plot_plan(PLAN, title=f"X: {names[0]}   Y: {names[1]}"))


# ---- plot_alignment


def test_the_path_lies_on_the_plan_where_the_matches_are() -> None:
    figure = plot_alignment(PLAN, MATCHES, X_FRAMES, Y_FRAMES, truth=MATCHES + 1, names=("left", "right"))
    axes = panel(figure, "plan")
    lines = drawn(axes)
    assert lines["matches"][0] == pytest.approx(MATCHES) and lines["matches"][1] == pytest.approx(np.arange(N))
    assert lines["truth"][0] == pytest.approx(MATCHES + 1) and lines["truth"][1] == pytest.approx(np.arange(N))
    assert [list(part) for part in lines["straight line"]] == [[0, M - 1], [0, N - 1]]
    assert np.asarray(axes.images[0].get_array()).shape[:2] == (N, M)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("frames of right", "frames of left")
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"straight line", "truth", "matches"}
    assert "truth" not in drawn(panel(plot_alignment(PLAN, MATCHES, X_FRAMES, Y_FRAMES), "plan"))


def test_the_confidence_of_each_frame_lies_beside_its_row_of_the_plan() -> None:
    sure = np.linspace(0.2, 0.9, N)
    figure = plot_alignment(PLAN, MATCHES, X_FRAMES, Y_FRAMES, confidence=sure)
    axes, plan = panel(figure, "confidence"), panel(figure, "plan")
    (steps,) = axes.patches
    values, edges, _ = steps.get_data()  # type: ignore[attr-defined]
    assert values == pytest.approx(sure) and edges == pytest.approx(np.arange(N + 1) - 0.5)
    assert axes.get_xlim() == (0, 1) and axes.get_ylim() == plan.get_ylim()
    assert [axes.get_position().y0, axes.get_position().y1] == [plan.get_position().y0, plan.get_position().y1]
    assert plan.get_position().x1 < axes.get_position().x0
    with pytest.raises(InputError, match="confidence have shape"):
        plot_alignment(PLAN, MATCHES, X_FRAMES, Y_FRAMES, confidence=sure[1:])


def test_pictures_below_each_other_are_matches() -> None:
    figure = plot_alignment(PLAN, MATCHES, X_FRAMES, Y_FRAMES, names=("left", "right"))
    moments = np.linspace(0, N - 1, 7).round().astype(int)
    for column, i in enumerate(moments):
        upper, lower = (panel(figure, f"moment_{row}_{column}") for row in range(2))
        j = round(MATCHES[i])
        assert np.array_equal(upper.images[0].get_array(), X_FRAMES[i]) and upper.get_xlabel() == str(i)
        assert np.array_equal(lower.images[0].get_array(), Y_FRAMES[j]) and lower.get_xlabel() == str(j)
    assert [panel(figure, f"moment_{row}_0").get_title(loc="left") for row in range(2)] == ["left", "right"]


def test_where_nothing_matches_no_path_is_explained() -> None:
    axes = panel(plot_alignment(PLAN, np.full(N, np.nan), X_FRAMES, Y_FRAMES), "plan")
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == ["straight line", "no path: nothing matches"]


def test_matches_and_truth_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match=r"matches have shape \(8,\); expected \(9,\), one per frame"):
        plot_alignment(PLAN, MATCHES[1:], X_FRAMES, Y_FRAMES)
    with pytest.raises(InputError, match=r"truth have shape \(13,\); expected \(9,\), one per frame"):
        plot_alignment(PLAN, MATCHES, X_FRAMES, Y_FRAMES, truth=np.zeros(M))


# ---- plot_timelines


def test_bars_begin_and_end_at_their_seconds() -> None:
    (axes,) = plot_timelines(TIMES, ACTIONS).axes
    found = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in bars(axes)]
    assert np.array(found) == pytest.approx(
        np.array([(0.0, 1.0, 0), (1.0, 2.0, 0), (2.0, 2.5, 0), (0.0, 2.0, 1)]), abs=1e-9
    )
    for bar, action in zip(bars(axes), (1, 0, 2, 2), strict=True):
        assert same_color(bar.get_facecolor(), action_style(action).colour)
    assert axes.get_xlim() == (0, 2.5) and axes.get_xlabel() == "seconds"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first film on top


def test_only_segments_that_are_wide_on_the_axis_carry_a_number() -> None:
    films = {
        f"{seconds} s": (np.linspace(0, seconds, 85), np.repeat(np.arange(14), 6)) for seconds in (8, 20, 3.3)
    }  # the short film has no room, although each segment is a fourteenth of it
    films["one long"] = np.linspace(0, 20, 401), np.repeat(np.arange(14), [23] + [29] * 13)
    (axes,) = plot_timelines(films, [f"action {k}" for k in range(1, 15)]).axes
    assert [text.get_text() for text in axes.texts] == [*map(str, range(1, 15))] * 2
    numbers_lie_in_their_segments(axes)


@pytest.mark.parametrize("share", np.linspace(0, 1, 9))
def test_numbers_are_legible_on_pale_segments(share: float) -> None:
    films = {"film": (np.arange(10.0), np.arange(9))}
    (axes,) = plot_timelines(films, [f"action {k}" for k in range(9)], found_again={"film": np.full(9, share)}).axes
    for text, bar in zip(axes.texts, bars(axes), strict=True):
        box = text.get_bbox_patch()
        assert box is not None
        behind = on_white(bar.get_facecolor())
        # The box is no patch of another colour on its segment.
        assert over(box.get_facecolor(), behind) == pytest.approx(behind, abs=0.01)
        assert contrast(to_rgb(text.get_color()), over(box.get_facecolor(), behind)) > 3  # as WCAG asks of signs


def test_bars_carry_the_numbers_and_the_legend_the_names_of_what_occurs() -> None:
    figure = plot_timelines(TIMES, ACTIONS)
    (axes,) = figure.axes
    assert [(text.get_text(), text.get_position()) for text in axes.texts] == [
        ("2", (0.5, 0)), ("1", (1.5, 0)), ("3", (2.25, 0)), ("3", (1.0, 1)),
    ]  # fmt: skip
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["action 1", "action 2", "action 3"]


def test_what_is_seldom_found_again_is_pale() -> None:
    shares = {name: np.linspace(0, 1, len(found)) for name, (_, found) in TIMES.items()}
    (axes,) = plot_timelines(TIMES, ACTIONS, found_again=shares).axes
    means = []
    for name, (_, found) in TIMES.items():
        starts = np.flatnonzero(np.diff(found, prepend=-1))
        means += [part.mean() for part in np.split(shares[name], starts[1:])]
    assert [bar.get_alpha() for bar in bars(axes)] == pytest.approx([0.25 + 0.75 * mean for mean in means])
    assert axes.get_xlabel() == "seconds. Pale: seldom found again in the others"
    with pytest.raises(InputError, match="shares of 'first'"):
        plot_timelines(TIMES, ACTIONS, found_again=shares | {"first": [0.5]})


def test_no_films_and_edges_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"plot_timelines\(\) got no films"):
        plot_timelines({}, ACTIONS)
    with pytest.raises(InputError, match=r"actions of 'a' have shape \(2,\); expected \(1,\)"):
        plot_timelines({"a": ([0.0, 1.0], [0, 1])}, ACTIONS)


# ---- plot_clock


def test_the_clock_is_the_share_of_the_motion_so_far() -> None:
    mass, clock = plot_clock({"even": np.full(5, 3.0), "late": [0.0, 0.0, 1.0, 3.0]}, fps=2.0).axes
    even, late = mass.lines
    assert even.get_xdata() == pytest.approx(np.arange(5) / 2) and even.get_ydata() == pytest.approx(np.full(5, 0.2))
    assert late.get_ydata() == pytest.approx([0, 0, 0.25, 0.75])
    lines = drawn(clock)
    assert lines["even"][0] == pytest.approx(np.linspace(0, 1, 5)) and lines["even"][1] == pytest.approx(
        np.arange(1, 6) / 5
    )
    assert lines["late"][1] == pytest.approx([0, 0, 0.25, 1])
    assert [text.get_text() for text in clock.get_legend().get_texts()] == ["even", "late"]
    assert same_color(late.get_color(), clock.lines[1].get_color()) and not same_color(
        late.get_color(), even.get_color()
    )


def test_a_clock_needs_a_film() -> None:
    with pytest.raises(InputError, match=r"plot_clock\(\) got no films"):
        plot_clock({}, 25.0)


def test_names_in_any_script_are_drawn_without_a_warning(recwarn, monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "font.family", list(matplotlib.rcParams["font.family"]))
    names = ["\u4e2d\u6587", "\u65e5\u672c \U0001f600", "caf\u00e9 \u0416"]
    assert legible(names[2]) == names[2]
    figure = plot_timelines({name: (np.arange(5.0), [0, 0, 1, 1]) for name in names}, ["\u5207", "b"])
    figure.savefig(io.BytesIO())
    other = plot_alignment(
        np.eye(8) / 8, np.arange(8.0), *(np.zeros((8, 4, 4, 3), np.uint8),) * 2, names=(names[0], names[1])
    )
    other.savefig(io.BytesIO())
    assert [str(warning.message) for warning in recwarn] == []


def test_dollars_in_names_are_drawn_and_begin_no_formula() -> None:
    actions = np.arange(5.0), [0, 0, 1, 1]
    figure = plot_timelines({"x $a_{$": actions, "$5 to $9": actions}, ["heat to 2 $^{$", "drill to 12"])
    figure.savefig(io.BytesIO())
    plans = plot_plan(np.eye(5), title="X: $a_{$"), plot_segmentations({"$_$": np.zeros(5, int)}, ["$^$"], title="$_$")
    for drawn in plans:
        drawn.savefig(io.BytesIO())
    assert legible("$5 to $9") == r"\$5 to \$9"
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [r"1 heat to 2 \$^{\$", "2 drill to 12"]  # a name that ends in 12 does not say that it is 2


def test_what_no_font_can_draw_is_shown_by_its_number(monkeypatch):
    monkeypatch.setattr(style.fontManager, "ttflist", [])
    assert style.legible("a\u4e2d\u6587") == "aU+4E2D U+6587"
