"""The drawing of the method, deliveries on a map, and animations of plans."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from vasot_kit.figures import animate_plans, plot_deliveries, plot_method
from vasot_lib.errors import InputError


def test_one_part_of_the_method_is_lit() -> None:
    texts = {text.get_text(): text for text in plot_method("plan").axes[0].texts}
    assert texts["plan $T$"].get_alpha() == 1 and texts["plan $T$"].get_weight() == "bold"
    assert texts["cost $C$"].get_alpha() < 1 and texts["cost $C$"].get_weight() == "normal"
    assert all(text.get_alpha() in (1, None) for text in plot_method().axes[0].texts)
    with pytest.raises(InputError, match="no part decoder; parts: frames, encoder"):
        plot_method(["plan", "decoder"])  # type: ignore[list-item]


def test_a_line_of_a_delivery_is_as_wide_as_its_share() -> None:
    axes = plot_deliveries([[0, 0], [1, 0]], [[0, 1], [1, 1]], [[3, 1], [0, 4]]).axes[0]
    assert [line.get_linewidth() for line in axes.lines] == [6, 2, 8]
    with pytest.raises(InputError, match=r"shape \(1, 2\); expected \(2, 2\)"):
        plot_deliveries([[0, 0], [1, 0]], [[0, 1], [1, 1]], [[3, 1]])


def test_an_animation_has_a_picture_per_plan_and_is_the_same_each_time() -> None:
    plans = [np.full((4, 3), 1 / 12), np.eye(4, 3) / 3, np.eye(4, 3)[::-1] / 3]
    data = animate_plans(plans, ["a", "b", "c"])
    picture = Image.open(BytesIO(data))
    assert picture.format == "PNG" and picture.n_frames == 3 and data == animate_plans(plans, ["a", "b", "c"])
    for wrong in ([], plans):
        with pytest.raises(InputError, match="one title for each"):
            animate_plans(wrong, ["a"])
