"""Figures of dummy frames: what is drawn is what was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgba

from vasot_kit.figures import plot_detection, plot_kept, plot_room
from vasot_kit.figures.dummies import ACCENT, DROPPED
from vasot_lib.data import Video
from vasot_lib.errors import InputError

LABELS_X, LABELS_Y = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1])
X = Video("x", torch.zeros(5, 2), LABELS_X, frames=np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3))
Y = Video("y", torch.zeros(3, 2), LABELS_Y)
PLAN = np.full((6, 4), 0.02)
PLAN[0, 0], PLAN[1:, 0], PLAN[0, 1:] = 0.1, 0.04, 0.05
KEPT = np.array([0.9, 0.6, 0.1, 0.4, 0.0])
TARGETS = np.outer(KEPT, [1.0, 0.0, 0.0])
LOST = np.array([False, False, False, True, True])
TABLE = pd.DataFrame(
    {
        "zeta": [0.3, 0.3, 0.9, 0.9],
        "dummy mass": [0.1, 0.2, 0.1, 0.2],
        "precision": [np.nan, 0.8, 0.7, 0.9],
        "recall": [0.2, 0.4, 0.1, 0.3],
        "average precision": [0.5, 0.6, 0.7, 0.8],
    }
)


def panel(figure, label):
    return next(axes for axes in figure.axes if axes.get_label() == label)


def test_kept_shares_are_drawn_per_frame_over_the_truth() -> None:
    top, bottom, bar = plot_kept({"a": KEPT, "b": 1 - KEPT}, LOST, LABELS_X).axes
    for axes, kept in ((top, KEPT), (bottom, 1 - KEPT)):
        areas = {tuple(np.round(area.get_facecolor()[0], 3)): area.get_paths()[0] for area in axes.collections}
        for colour, chosen in ((ACCENT, kept >= 0.5), (DROPPED, kept < 0.5)):
            heights = areas[tuple(np.round(to_rgba(colour), 3))].vertices[:, 1]
            assert heights.max() == pytest.approx(np.where(chosen, kept, 0).max())
        (shade,) = axes.patches
        assert (shade.get_x(), shade.get_x() + shade.get_width()) == (2.5, 4.5)
    assert bar.get_xlabel() == "time in X (frames)"


def test_room_shows_the_cap_as_a_line_and_every_setting_as_points() -> None:
    figure = plot_room([0, 10], {"one": [0.01, 0.02], "more": [0.1, 0.2]}, [0.01, 0.02], {"need": [0.0, 0.3]})
    need, one, more, cap = figure.axes[0].lines
    assert [line.get_linestyle() for line in (need, one, more, cap)] == ["--", "-", "-", ":"]
    assert one.get_xydata().tolist() == [[0, 0.01], [10, 0.02]] and one.get_marker() == "o"
    assert cap.get_ydata().tolist() == [0.01, 0.02] and cap.get_marker() == "None"


def test_detection_draws_a_line_per_zeta_in_every_panel() -> None:
    figure = plot_detection(TABLE, background=0.15)
    assert [axes.get_title() for axes in figure.axes] == ["precision", "recall", "average precision"]
    for axes, score in zip(figure.axes, ("precision", "recall", "average precision"), strict=True):
        low, high, share = axes.lines
        np.testing.assert_array_equal(low.get_ydata(), TABLE[score][:2])
        np.testing.assert_array_equal(high.get_ydata(), TABLE[score][2:])
        assert share.get_xdata()[0] == 0.15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_kept({}, LOST, LABELS_X), "got no shares"),
        (lambda: plot_kept({"a": KEPT, "b": KEPT[1:]}, LOST, LABELS_X), r"shares 'b' have shape \(4,\)"),
        (lambda: plot_room([1, 2], {"one": [1]}, [1, 2], {}), r"given 'one' have shape \(1,\)"),
        (lambda: plot_detection(TABLE.drop(columns=["zeta", "recall"])), "the table lacks zeta, recall; its columns"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
