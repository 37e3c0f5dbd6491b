"""What the pictures of many runs draw: places, colours and numbers with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.markers import CARETLEFT, CARETRIGHT

from vasot_kit.experiments.auto import segment_length
from vasot_kit.experiments.n_actions import ActionCount
from vasot_kit.figures import (
    plot_action_count,
    plot_action_length,
    plot_grid,
    plot_intervals,
    plot_number_of_recordings,
    plot_radii,
    plot_sensitivity,
    plot_shared_segments,
    plot_standings,
    plot_time_priors,
)
from vasot_kit.figures.style import ACCENT, SOFT
from vasot_kit.tables.comparison import intervals
from vasot_kit.tables.scores import paired_differences
from vasot_lib.errors import InputError

TITLES = {"mof": "MoF", "f1": "F1"}
ROWS = [
    {"line": line, "seed": seed, "mof": base + (wobble if seed % 2 else -wobble), "f1": None}
    for line, base, wobble in (("reference", 0.5, 0.0), ("clear", 0.7, 0.01), ("odd", 0.5, 0.1))
    for seed in range(6)
]


def test_a_difference_is_drawn_where_it_is_and_filled_where_its_interval_excludes_0() -> None:
    table = intervals(paired_differences(ROWS, TITLES, "reference"))
    figure = plot_intervals(table, TITLES, reference="reference")
    (axes,) = figure.axes  # F1 has no values and gets no panel
    assert axes.get_title() == "MoF" and [t.get_text() for t in axes.get_yticklabels()] == ["clear", "odd"]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert points[0].get_xdata()[0] == pytest.approx(20.0) and points[1].get_xdata()[0] == pytest.approx(0.0)
    assert same_color(points[0].get_markerfacecolor(), ACCENT) and same_color(points[1].get_color(), SOFT)
    spans = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2]
    assert spans[0].get_xdata()[0] > 18 and spans[1].get_xdata()[0] < 0 < spans[1].get_xdata()[1]
    with pytest.raises(InputError, match="none of the scores edit"):
        plot_intervals(table, {"edit": "Edit"}, reference="reference")


def test_an_interval_that_is_cut_off_ends_in_an_arrow_head() -> None:
    rows = [{"line": line, "seed": seed, "mof": 0.5} for line in ("reference", "wide", "steady") for seed in range(2)]
    rows[2]["mof"], rows[3]["mof"] = 0.52, 0.6  # two seeds: an interval of more than three times its mean
    rows[4]["mof"], rows[5]["mof"] = 0.51, 0.51
    table = intervals(paired_differences(rows, TITLES, "reference"))
    (axes,) = plot_intervals(table, TITLES, reference="reference").axes
    heads = [line for line in axes.lines if line.get_marker() in (CARETLEFT, CARETRIGHT)]
    assert [head.get_xdata()[0] for head in heads] == list(axes.get_xlim())
    assert {head.get_ydata()[0] for head in heads} == {0}


def test_sensitivity_shows_means_per_value_and_the_chosen_value() -> None:
    rows = [
        {"setting": setting, "value": value, "seed": seed, "mof": value + 0.01 * seed}
        for setting in ("r", "alpha")
        for value in (0.1, 0.3)
        for seed in (0, 2)
    ]
    figure = plot_sensitivity(rows, TITLES, {"r": 0.3}, {"r": 0.1})
    assert [axes.get_title() for axes in figure.axes] == ["r", "alpha"]
    curve, *marks = figure.axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), [0.1, 0.3])
    np.testing.assert_allclose(curve.get_ydata(), [11.0, 31.0])
    assert [mark.get_xdata()[0] for mark in marks] == [0.3, 0.1]
    assert [mark.get_xdata()[0] for mark in figure.axes[1].lines[1:]] == []


def test_the_grid_prints_the_mean_of_each_cell_and_leaves_what_was_not_run_empty() -> None:
    cells = {(0.0, 1.0): 0.2, (1.0, 0.0): 0.4, (1.0, 1.0): 0.5}
    rows = [
        {"w_align": a, "w_seg": s, "seed": seed, "mof": value + shift}
        for (a, s), value in cells.items()
        for seed, shift in ((0, 0.1), (1, -0.1))
    ]
    (axes,) = plot_grid(rows, {"mof": "MoF"}).axes
    shown = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert shown == {(0, 1): "20.0", (1, 0): "40.0", (1, 1): "50.0"}
    assert [t.get_text() for t in axes.texts if t.get_weight() == "bold"] == ["50.0"]
    assert axes.get_xlabel() == "w_seg" and axes.get_ylabel() == "w_align"
    with pytest.raises(InputError, match="no row has f1; the rows have w_align, w_seg, seed, mof"):
        plot_grid(rows, {"mof": "MoF", "f1": "F1"})
    with pytest.raises(InputError, match="no row has w_align, w_seg, mof; the rows have nothing"):
        plot_grid([], {"mof": "MoF"})


def test_the_wide_interval_of_two_seeds_does_not_hide_the_means() -> None:
    table = intervals(paired_differences([row for row in ROWS if row["seed"] < 2], TITLES, "reference"))
    low, high = plot_intervals(table, TITLES, reference="reference").axes[0].get_xlim()
    assert table.loc["odd", ("mof", "high")] > 1.0  # more than a score can differ
    assert low == pytest.approx(-60.0) and high == pytest.approx(60.0)  # three times the largest mean, .2


def test_the_number_of_actions_stands_beside_the_curve_that_it_comes_from() -> None:
    count = ActionCount(3, (3, 4), np.arange(2, 7), np.array([0.3, 0.58, 0.6, 0.57, 0.4]), np.full(5, 0.025))
    assert count.classes == 4
    figure = plot_action_count(count, "own films")
    (axes,) = figure.axes
    (point,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert list(point.get_xdata()) == [4] and list(point.get_ydata()) == [0.6]
    told = {text.get_text() for text in figure.legends[0].get_texts()}
    assert told == {"plausible K: 3 to 4", "best: 4 classes,\n1 of them parts of others", "K = 3"}


def test_the_length_of_an_action_stands_beside_that_of_the_labels() -> None:
    found = segment_length([np.repeat(np.arange(10) % 3, 20)])
    (axes,) = plot_action_length(found, true=0.1, title="toy").axes
    vertical = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert vertical == [found.share, 0.1]
    measured = next(line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(measured.get_ydata(), found.agreement)


def test_scores_over_radii_have_a_panel_per_data_set_with_the_radius_found() -> None:
    rows = pd.DataFrame(
        {"dataset": name, "radius": radius, "seed": seed, "mof": 0.5 + 0.1 * seed}
        for name in ("toy", "mocap6") for radius in (0.01, 0.04) for seed in (0, 1)
    )  # fmt: skip
    panels = plot_radii(rows, {"mof": "MoF"}, {"toy": 0.02, "mocap6": 0.03}).axes
    assert [axes.get_title() for axes in panels] == ["toy", "mocap6"]
    for axes, radius in zip(panels, (0.02, 0.03), strict=True):
        mean, found = axes.lines
        assert list(mean.get_xdata()) == [0.01, 0.04] and mean.get_ydata() == pytest.approx([55, 55])
        assert found.get_xdata()[0] == radius


def test_time_priors_have_a_row_per_data_set_and_a_column_per_prior() -> None:
    flat, ramp = np.ones((50, 3)), np.linspace(0.5, 2, 150).reshape(50, 3)
    figure = plot_time_priors({"toy": {"paper": flat, "learnt": ramp}, "mocap6": {"paper": ramp, "learnt": flat}})
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == ["toy: paper", "toy: learnt", "mocap6: paper", "mocap6: learnt"]
    assert (panels[1].images[0].get_array() == ramp.T).all() and bar.get_ylabel().startswith("density")


def test_shared_segments_are_drawn_at_what_they_gain() -> None:
    rows = pd.DataFrame(
        [("toy", 0.5, 0.6, 0.7, 0.9), ("toy", 0.5, 0.4, 0.7, 0.6), ("own_order", 0.2, 0.2, 0.5, 0.5)],
        columns=["dataset", "found_again_vote", "found_again_shared", "mof_vote", "mof_shared"],
    )
    _, limit, toy, other = plot_shared_segments(rows, 0.02).axes[0].lines
    assert limit.get_xdata()[0] == 0.02
    assert toy.get_xdata() == pytest.approx([0.1, -0.1]) and toy.get_ydata() == pytest.approx([20, -10])
    assert other.get_label() == "own order" and other.get_ydata() == pytest.approx([0])


def test_more_recordings_are_drawn_as_a_line_through_the_means() -> None:
    rows = pd.DataFrame(
        [("toy", 6, 0.5), ("toy", 6, 0.7), ("toy", 12, 0.9), ("own_order", 6, 0.4)],
        columns=["dataset", "recordings", "mof"],
    )
    axes = plot_number_of_recordings(rows).axes[0]
    dots, toy, _, other = axes.lines
    assert dots.get_ydata() == pytest.approx([50, 70, 90]) and other.get_label() == "own order"
    assert list(toy.get_xdata()) == [6, 12] and toy.get_ydata() == pytest.approx([60, 90])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["6", "12"]


def test_standings_are_drawn_at_their_line_and_column() -> None:
    tables = {
        "toy": pd.DataFrame({"mof": [1.0, 0.0], "f1": [np.nan, -1.0]}, index=["asot", "tot"]),
        "mocap6": pd.DataFrame({"mof": [-1.0]}, index=["cte"]),
    }
    axes = plot_standings(tables, TITLES, reference="vasot").axes[0]
    drawn = {
        (line.get_xdata()[0], line.get_ydata()[0]): line.get_marker()
        for line in axes.lines
        if line.get_marker() in "^ov"
    }
    assert drawn == {(0, 0): "^", (0, 1): "o", (1, 1): "v", (2, 2): "v"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["asot", "tot", "cte"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["MoF", "F1", "MoF"]
    with pytest.raises(InputError, match="none of the scores"):
        plot_standings({}, TITLES, reference="vasot")
