"""Figures: what is drawn is what was given, an action looks the same everywhere, nothing is left behind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.decomposition import PCA

from vasot_kit.figures import (
    action_style,
    plot_clock,
    plot_convergence,
    plot_curves,
    plot_embedding_path,
    plot_history,
    plot_key_steps,
    plot_marginals,
    plot_matched_frames,
    plot_plan,
    plot_ratios,
    plot_scores,
    plot_segmentations,
    plot_time_priors,
    plot_timelines,
    plot_weights,
)
from vasot_kit.figures.style import BACKGROUND, COLOURS
from vasot_lib.data import Video
from vasot_lib.errors import InputError

CLASSES = ("fetch", "turn", "step_3", "background")
RNG = np.random.default_rng(0)
PLAN = RNG.random((5, 7))
LABELS_X, LABELS_Y = np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 2, 3, 3])
HISTORY = [
    {"epoch": float(e), "loss": 3.0 / (e + 1), "alignment": 2.0 / (e + 1), "segmentation": 1.0 / (e + 1),
     "mean_cosine": 0.1 * e, "effective_rank": 9.0 - e}
    for e in range(4)
]  # fmt: skip
TABLE = pd.DataFrame(
    [
        {"method": "equal_split", "seed": 0, "mof": 0.6, "f1": 0.5},
        {"method": "vasot", "seed": 0, "mof": 0.4, "f1": None},
        {"method": "vasot", "seed": 1, "mof": 0.8, "f1": None},
        {"method": "raw", "seed": 0, "mof": None, "f1": None},
    ]
)
X_FRAMES, Y_FRAMES = (RNG.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for n in (5, 7))
MATCHES = np.array([0, 2, -1, 4, 6])
VIDEOS = tuple(
    Video(name, torch.from_numpy(RNG.normal(size=(len(labels), 8))).float(), torch.from_numpy(labels), frames=frames)
    for name, labels, frames in (("x", LABELS_X, X_FRAMES), ("y", LABELS_Y, None))
)
EMBEDDINGS = [RNG.normal(size=(len(labels), 3)) for labels in (LABELS_X, LABELS_Y)]


def all_figures() -> dict[str, Figure]:
    sides = dict(labels_x=LABELS_X, labels_y=LABELS_Y, background=3)
    return {
        "plan": plot_plan(PLAN, matches={"true": MATCHES}, title="plan", **sides),
        "segmentations": plot_segmentations({"truth": LABELS_Y, "method": LABELS_Y[::-1]}, CLASSES, background=3),
        "history": plot_history(HISTORY),
        "scores": plot_scores(TABLE, {"mof": "MoF", "f1": "F1"}, baselines=["equal_split"]),
        "path": plot_embedding_path(EMBEDDINGS, [LABELS_X, LABELS_Y], CLASSES, background=3),
        "curves": plot_curves({"ours": ([1, 10], [2.0, 20.0]), "~linear": ([1, 10], [1.0, 10.0])}, "frames", "s"),
        "ratios": plot_ratios({"POT": 30.0, "slower": 0.5}, {"POT": 12.0}, "times faster"),
        "frames": plot_matched_frames(X_FRAMES, Y_FRAMES, [0, 1, 2], {"true": MATCHES}, **sides),
        "marginals": plot_marginals({"a": PLAN / PLAN.sum(), "b": PLAN / PLAN.sum()}),
        "convergence": plot_convergence({"sinkhorn": {"J": [3.0, 2.0], "log residual": [0.1, 0.01]}}),
    }


def bars(axes: object) -> list[tuple[float, float, float, str]]:
    """(row, first frame, end frame, colour) of every segment."""
    return [
        (p.get_y() + 0.4, p.get_x() + 0.5, p.get_x() + 0.5 + p.get_width(), to_hex(p.get_facecolor()).upper())
        for p in axes.patches  # type: ignore[attr-defined]
        if isinstance(p, Rectangle)
    ]


# The family


def test_every_plot_returns_a_figure_that_can_be_drawn_and_leaves_none_open() -> None:
    plt.close("all")
    before = dict(plt.rcParams)
    for name, figure in all_figures().items():
        assert type(figure) is Figure, name
        figure.draw_without_rendering()
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


@given(st.integers(0, 35), st.integers(0, 35))
def test_two_actions_never_look_the_same(a: int, b: int) -> None:
    looks = action_style(a), action_style(b)
    assert (looks[0] == looks[1]) == (a == b)
    assert ((looks[0].colour, looks[0].marker) == (looks[1].colour, looks[1].marker)) == (a == b)
    assert BACKGROUND not in COLOURS


def test_neighbouring_actions_differ_in_grey() -> None:
    def lightness(colour: str) -> float:
        return float(np.dot([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)], (0.3, 0.59, 0.11)))

    greys = [lightness(action_style(k).colour) for k in range(len(COLOURS))]
    assert min(abs(a - b) for a, b in zip(greys, greys[1:], strict=False)) > 0.1


def test_an_action_has_one_colour_in_every_figure() -> None:
    figures = all_figures()
    for action in range(4):
        colour = action_style(action, 3).colour
        plan, *_ = figures["plan"].axes
        left, below = plan.child_axes
        assert (colour in [to_hex(p.get_facecolor()).upper() for p in left.patches]) == (action in LABELS_X)
        assert (colour in [bar[3] for bar in bars(below)]) == (action in LABELS_Y)
        assert colour in [bar[3] for bar in bars(figures["segmentations"].axes[0])]
        points = [line for line in figures["path"].axes[0].lines if line.get_marker() != "None"]
        drawn = [len(line.get_xdata()) for line in points if line.get_markerfacecolor() == colour]
        assert drawn == [np.concatenate([LABELS_X, LABELS_Y]).tolist().count(action)]
    for panel, action in zip(figures["frames"].axes[:3], LABELS_X, strict=False):
        assert to_hex(panel.spines["top"].get_edgecolor()).upper() == action_style(action, 3).colour


# One by one


def test_plan_is_drawn_as_shares_of_its_fullest_row() -> None:
    axes = plot_plan(PLAN).axes[0]
    drawn = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(drawn, PLAN / PLAN.sum(1).max())
    # Frame 0 of X is at the top, frame 0 of Y at the left.
    assert axes.get_ylim() == (4.5, -0.5)
    assert axes.get_xlim() == (-0.5, 6.5)


def test_a_row_whose_mass_went_to_the_dummy_stays_pale() -> None:
    plan = np.full((5, 7), 1 / 7)
    plan[2] *= 0.1
    drawn = np.asarray(plot_plan(plan).axes[0].images[0].get_array())
    np.testing.assert_allclose(drawn.sum(1), [1, 1, 0.1, 1, 1])
    assert (np.asarray(plot_plan(0 * plan).axes[0].images[0].get_array()) == 0).all()


def test_matches_are_marked_at_their_frames_and_missing_ones_are_not() -> None:
    (line,) = plot_plan(PLAN, matches={"true": MATCHES}).axes[0].lines
    assert line.get_label() == "true"
    assert list(zip(line.get_ydata(), line.get_xdata(), strict=True)) == [(0, 0), (1, 2), (3, 4), (4, 6)]


def test_a_plan_of_some_frames_is_labelled_by_their_numbers() -> None:
    axes = plot_plan(PLAN, frames=(np.array([0, 50, 100, 150, 200]), 1000 * np.arange(7))).axes[0]
    for axis, apart, last in ((axes.yaxis, 50, 200), (axes.xaxis, 1000, 6000)):
        labels = [int(label.get_text()) for label in axis.get_ticklabels()]
        shown = dict(zip(labels, axis.get_ticklocs(), strict=True))
        assert max(shown) == last and all(place * apart == number for number, place in shown.items())
    assert (axes.get_ylim(), axes.get_xlim()) == ((4.5, -0.5), (-0.5, 6.5))


def test_side_bars_cover_the_frames_of_their_own_video() -> None:
    left, below = plot_plan(PLAN, labels_x=LABELS_X, labels_y=LABELS_Y).axes[0].child_axes
    assert [(p.get_y() + 0.5, p.get_height()) for p in left.patches] == [(0, 2), (2, 1), (3, 1), (4, 1)]
    assert [bar[1:3] for bar in bars(below)] == [(0, 1), (1, 3), (3, 5), (5, 7)]
    assert left.get_ylim() == (4.5, -0.5)
    assert below.get_xlim() == (-0.5, 6.5)


def test_segments_of_every_row_are_drawn_where_they_are() -> None:
    figure = plot_segmentations({"truth": [0, 0, 1, 3], "found": [0, -1, -1, 2]}, CLASSES, background=3)
    colour = [action_style(k, 3).colour for k in range(4)]
    assert bars(figure.axes[0]) == [
        (0, 0, 2, colour[0]), (0, 2, 3, colour[1]), (0, 3, 4, colour[3]),
        (1, 0, 1, colour[0]), (1, 1, 3, "#FFFFFF"), (1, 3, 4, colour[2]),
    ]  # fmt: skip
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["truth", "found"]
    # Numbers as in the bars, unless the name has it; what is no action comes last.
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["1 fetch", "2 turn", "step 3", "no class", "background"]


def test_numbers_stand_in_the_middle_of_long_segments_only() -> None:
    figure = plot_segmentations({"truth": [0] * 50 + [1] * 2 + [2] * 48}, CLASSES)
    assert [(text.get_text(), text.get_position()[0]) for text in figure.axes[0].texts] == [("1", 24.5), ("3", 75.5)]


def test_history_shows_every_term_and_both_meters() -> None:
    loss, cosine, rank = plot_history(HISTORY).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in loss.lines}
    for label, key in (("all terms", "loss"), ("alignment", "alignment"), ("segmentation", "segmentation")):
        assert drawn.pop(label) == [epoch[key] for epoch in HISTORY]
    assert not drawn
    assert list(cosine.lines[0].get_ydata()) == [epoch["mean_cosine"] for epoch in HISTORY]
    assert list(rank.lines[0].get_ydata()) == [epoch["effective_rank"] for epoch in HISTORY]
    assert cosine.get_ylim()[1] == 1  # the value of collapse is always in sight


def test_history_shows_negative_losses_and_as_many_terms_as_there_are() -> None:
    """Learned weights of two losses can make their sum negative; a diverged training ends in NaN."""
    meters = {"mean_cosine": 0.1, "effective_rank": 5.0}
    rows = [{"epoch": e, "loss": -e - 1.0, **{f"t{k}": 0.1 * k for k in range(6)}, **meters} for e in range(3)]
    loss = plot_history([*rows, {**rows[0], "epoch": 3, "loss": float("nan")}]).axes[0]
    low, high = loss.get_ylim()
    assert low < -3 and high > 0 and len(loss.lines) == 7


def test_history_shows_the_shares_of_converged_plans_where_a_method_has_plans() -> None:
    shares = [{"converged_alignment": 0.1 * e, "converged_segmentation": 0.3 * e} for e in range(4)]
    loss, *_, converged = plot_history([a | b for a, b in zip(HISTORY, shares, strict=True)]).axes
    assert len(loss.lines) == 3
    drawn = {line.get_label(): list(line.get_ydata()) for line in converged.lines}
    assert drawn == {name: [e[f"converged_{name}"] for e in shares] for name in ("alignment", "segmentation")}


def test_scores_show_mean_and_spread_and_put_baselines_below() -> None:
    figure = plot_scores(
        TABLE, {"mof": "MoF", "f1": "F1", "miou": "mIoU"}, baselines=["equal_split"], published={"vasot": {"mof": 0.9}}
    )
    mof, f1 = figure.axes  # no row has mIoU
    # A method without any of the scores has no line of its own.
    assert [label.get_text() for label in mof.get_yticklabels()] == ["vasot", "equal split"]
    dots = {line.get_marker(): line for line in mof.lines if len(line.get_xdata()) == 1}
    assert dots["o"].get_xdata()[0] == pytest.approx(0.6)
    assert dots["D"].get_xdata()[0] == 0.9
    assert (dots["s"].get_xdata()[0], dots["s"].get_markerfacecolor()) == (0.6, "white")
    (spread,) = mof.collections
    low, high = spread.get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((0.6 - 0.2 * 2**0.5, 0.6 + 0.2 * 2**0.5))
    assert [line.get_marker() for line in f1.lines] == ["s"]
    assert mof.get_xlim()[0] == 0


def test_no_panel_of_scores_cuts_a_mark() -> None:
    table = pd.DataFrame([{"method": f"m{i}", "seed": 0, "f1": value} for i, value in enumerate([0.542, 0.238, 0.45])])
    figure = plot_scores(table, {name: name for name in ("f1",)})
    figure.canvas.draw()
    (axes,) = figure.axes
    for line in axes.lines:
        assert line.get_window_extent().x1 + 7 / 2 * figure.dpi / 72 <= axes.get_window_extent().x1


def test_many_scores_wrap_into_rows_of_panels() -> None:
    names = [f"s{i}" for i in range(6)]
    table = pd.DataFrame([{"method": "m", "seed": 0, **dict.fromkeys(names, 0.5)}])
    figure = plot_scores(table, {name: name for name in names})
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == names
    assert figure.get_figwidth() < 10


def test_embedding_path_is_the_projection_on_two_principal_components() -> None:
    figure = plot_embedding_path(EMBEDDINGS, [LABELS_X, LABELS_Y], CLASSES)
    expected = PCA(2, svd_solver="full").fit(np.concatenate(EMBEDDINGS))
    paths = [line.get_xydata() for line in figure.axes[0].lines if line.get_marker() == "None"]
    for path, rows in zip(paths, EMBEDDINGS, strict=True):
        np.testing.assert_allclose(path, expected.transform(rows))


def test_matched_frames_stand_below_each_other() -> None:
    panels = np.array(plot_matched_frames(X_FRAMES, Y_FRAMES, [1, 2, 4], {"true": MATCHES}).axes).reshape(2, 3)
    for column, (i, j) in enumerate([(1, 2), (2, -1), (4, 6)]):
        np.testing.assert_array_equal(panels[0, column].images[0].get_array(), X_FRAMES[i])
        shown = [np.asarray(image.get_array()) for image in panels[1, column].images]
        assert len(shown) == (j >= 0)
        if j >= 0:
            np.testing.assert_array_equal(shown[0], Y_FRAMES[j])


# What is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_plan(PLAN[0]), r"the plan has shape \(7,\)"),
        (lambda: plot_plan(PLAN, labels_x=LABELS_Y), r"labels_x have shape \(7,\); expected \(5,\)"),
        (lambda: plot_plan(PLAN, labels_y=LABELS_X), r"labels_y have shape \(5,\); expected \(7,\)"),
        (lambda: plot_plan(PLAN, matches={"m": LABELS_Y}), r"matches 'm' have shape \(7,\); expected \(5,\)"),
        (lambda: plot_segmentations({}, CLASSES), "got no rows"),
        (lambda: plot_segmentations({"a": LABELS_X, "b": LABELS_Y}, CLASSES), r"row 'b' have shape \(7,\)"),
        (lambda: plot_segmentations({"a": []}, CLASSES), "row 'a'"),
        (lambda: plot_segmentations({"a": [0.0, np.nan]}, CLASSES), "row 'a' hold float64"),
        (lambda: plot_segmentations({"a": [0, len(CLASSES)]}, CLASSES), "row 'a' hold the action"),
        (lambda: plot_key_steps({"film": {"truth": [0, len(CLASSES)]}}, CLASSES), "'truth' of 'film' hold the action"),
        (lambda: plot_ratios({}, {}, "x"), r"plot_ratios\(\) got no ratios"),
        (lambda: plot_weights([1.0], {}, x_label="x"), r"plot_weights\(\) got no panels"),
        (lambda: plot_time_priors({}), r"plot_time_priors\(\) got no priors"),
        (lambda: plot_clock({"film": np.zeros(3)}, 25.0), "the motion of 'film' has the sum 0"),
        (lambda: plot_clock({"film": np.ones(3)}, 0.0), "fps is 0.0"),
        (lambda: plot_timelines({"film": ([0.0], [])}, CLASSES), "actions of 'film'"),
        (lambda: plot_timelines({"film": ([0.0, 1.0], [len(CLASSES)])}, CLASSES), "actions of 'film' hold the action"),
        (lambda: plot_matched_frames(X_FRAMES, Y_FRAMES, [len(X_FRAMES)], {}), "indices hold the frame"),
        (lambda: plot_matched_frames(X_FRAMES, Y_FRAMES, [], {}), "indices"),
        (lambda: plot_matched_frames(X_FRAMES, Y_FRAMES, [0], {"m": LABELS_X + 9}), "'m' hold the frame"),
        (lambda: plot_history([]), "history is empty"),
        (lambda: plot_scores(TABLE, {"tau": "tau"}), "none of the scores tau; its columns: method, seed, mof, f1"),
        (lambda: plot_embedding_path(EMBEDDINGS, [LABELS_X, LABELS_X], CLASSES), "labels of video 1 have shape"),
        (lambda: plot_embedding_path(EMBEDDINGS, [LABELS_X], CLASSES), "2 embedded videos for 1 lists of labels"),
        (lambda: plot_embedding_path([np.ones((4, 1))], [[0] * 4], CLASSES), r"of video 0 have shape \(4, 1\)"),
        (lambda: plot_embedding_path([np.full((4, 2), np.nan)], [[0] * 4], CLASSES), "of video 0 hold NaN or infinite"),
        (lambda: plot_embedding_path([np.ones((1, 2))], [[0]], CLASSES), "one frame in all videos"),
        (lambda: plot_matched_frames(X_FRAMES, Y_FRAMES, [0], {"m": LABELS_Y}), "matches 'm' have shape"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


# Benchmarks


def test_curves_are_the_values_and_guides_are_grey() -> None:
    axes = plot_curves({"ours": ([1, 10], [2.0, 20.0]), "~linear": ([1, 10], [1.0, 10.0])}, "frames", "s").axes[0]
    ours, guide = axes.lines
    assert ours.get_xydata().tolist() == [[1, 2], [10, 20]] and ours.get_label() == "ours"
    assert guide.get_linestyle() == "--" and guide.get_label() == "linear"
    assert len(plot_curves({str(k): ([1, 10], [2.0, 20.0]) for k in range(6)}, "frames", "s").axes[0].lines) == 6
    with pytest.raises(InputError, match="curve 'ours' has 2 sizes and 1 values"):
        plot_curves({"ours": ([1, 10], [2.0])}, "frames", "s")


def test_ratio_bars_start_at_one_and_show_goals() -> None:
    axes = plot_ratios({"POT": 30.0, "slower": 0.5}, {"POT": 12.0}, "times faster").axes[0]
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert spans == [(1, 30), (1, 0.5)]
    assert [line.get_xdata().tolist() for line in axes.lines] == [[12.0, 12.0]]
    assert axes.get_xscale() == "log"


# One frame and its match


def test_marginals_are_multiples_of_an_equal_share() -> None:
    plan = np.array([[0.5, 0.0], [0.25, 0.25]])
    heat, top, side = plot_marginals({"plan": plan}).axes
    np.testing.assert_allclose(top.lines[-1].get_ydata(), [1.5, 0.5])
    np.testing.assert_allclose(side.lines[-1].get_xdata(), [1.0, 1.0])
    np.testing.assert_allclose(heat.images[0].get_array(), plan)
    with pytest.raises(InputError, match="no plans"):
        plot_marginals({})


def test_convergence_counts_iterations_from_one() -> None:
    objective, residual = all_figures()["convergence"].axes
    assert objective.lines[0].get_xdata().tolist() == [1, 2] and objective.get_yscale() == "linear"
    assert residual.lines[0].get_ydata().tolist() == [0.1, 0.01] and residual.get_yscale() == "log"
    assert residual.get_title() == "residual"
    with pytest.raises(InputError, match="no runs"):
        plot_convergence({})


def test_a_goal_does_not_strike_through_the_number_of_a_ratio() -> None:
    """The number stands at the end of its bar, or behind a goal that lies just there."""
    figure = plot_ratios({"near": 30.0, "far": 3.0, "reached": 50.0}, {"near": 35.0, "far": 35.0, "reached": 35.0}, "x")
    assert [text.xy[0] for text in figure.axes[0].texts] == [35.0, 3.0, 50.0]
