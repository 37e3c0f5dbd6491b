"""Figures of the structural priors: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vasot_kit.figures import action_style, plot_match_paths, plot_matrices, plot_weights
from vasot_lib.errors import InputError
from vasot_lib.transport import Far, Near

RNG = np.random.default_rng(0)
LABELS_X, LABELS_Y = np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 2, 3, 3])
PLAN, COST, PULL = RNG.random((3, 5, 7))
TRUTH = np.array([0, 0, 2, 4, -1])
SIDES = dict(labels_x=LABELS_X, labels_y=LABELS_Y)


def strips(figure: Figure) -> list[str]:
    """Colours of the strips beside the first axes, in order."""
    found = [part for part in figure.axes[0].get_children() if isinstance(part, Rectangle) and not part.get_clip_on()]
    return [to_hex(part.get_facecolor()).upper() for part in found]


def test_matrices_carry_their_values_and_plans_are_dark_where_mass_is() -> None:
    figure = plot_matrices({"Near": Near(0.25).dense(4), "plan": PLAN}, plans=["plan"], x_label="frame of Y")
    near, plan = figure.axes[:2]
    assert near.images[0].get_array().tolist() == Near(0.25).dense(4).tolist()
    assert [axes.get_title() for axes in (near, plan)] == ["Near", "plan"]
    luminance = [np.dot(axes.images[0].cmap([0.0, 1.0])[:, :3], (0.3, 0.59, 0.11)) for axes in (near, plan)]
    assert luminance[0][0] < luminance[0][1] and luminance[1][0] > luminance[1][1]
    assert near.images[0].norm.vmax == 4.0


def test_matrices_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(InputError, match="got no matrices"):
        plot_matrices({})
    with pytest.raises(InputError, match=r"'row' has shape \(3,\)"):
        plot_matrices({"Far": Far(0.5).dense(4), "row": np.zeros(3)})


def test_paths_tell_right_steps_from_wrong_ones() -> None:
    match = np.array([0, 6, 2, 0, 5])  # right, wrong, right, wrong, right
    figure = plot_match_paths({"a": match, "b": match}, truth=TRUTH, background=3, **SIDES)
    true, line, right, wrong = figure.axes[0].lines
    assert right.get_xydata().tolist() == [[0, 0], [2, 2], [4, 5]]
    assert wrong.get_xydata().tolist() == [[1, 6], [3, 0]]
    assert line.get_ydata().tolist() == match.tolist()
    assert np.isnan(true.get_ydata()[4]) and true.get_ydata()[:4].tolist() == [0, 0, 2, 4]
    actions = [0, 1, 2, 3]
    assert strips(figure) == [action_style(k, 3).colour for k in actions + actions]


def test_paths_refuse_other_lengths() -> None:
    with pytest.raises(InputError, match="got no paths"):
        plot_match_paths({}, **SIDES)
    with pytest.raises(InputError, match=r"path 'a' have shape \(4,\)"):
        plot_match_paths({"a": np.zeros(4, int)}, **SIDES)


def test_weights_draw_every_curve_in_every_panel_and_its_guide() -> None:
    panels = {
        "right": {"toy": [0.1, 0.4, 0.2], "other": [0.3, 0.2, 0.1]},
        "error": {"toy": [3, 2, 1], "other": [1, 2, 3]},
    }
    guides = {"right": {"toy": 0.25}}
    figure = plot_weights([0, 0.5, 2], panels, x_label="rho", guides=guides)
    right, error = figure.axes
    toy, guide, other = right.lines
    assert toy.get_xydata().tolist() == [[0, 0.1], [0.5, 0.4], [2, 0.2]]
    assert guide.get_ydata() == [0.25, 0.25] and guide.get_color() == toy.get_color() != other.get_color()
    assert [line.get_color() for line in error.lines] == [toy.get_color(), other.get_color()]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["toy", "other", "straight line"]
    with pytest.raises(InputError, match="curve 'toy' has 2 values for 3 weights"):
        plot_weights([0, 1, 2], {"right": {"toy": [1, 2]}}, x_label="rho")
