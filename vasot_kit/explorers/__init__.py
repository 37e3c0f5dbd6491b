"""Explorers: a figure with sliders. Each wraps a function of ``vasot_kit.figures``.

In a live notebook an explorer is a widget. Where widgets cannot run (an executed notebook, a code host, the report) the
same object shows the picture of its present values.
"""

from vasot_kit.explorers.dummy import explore_dummy
from vasot_kit.explorers.explorer import Explorer, View
from vasot_kit.explorers.length import explore_length
from vasot_kit.explorers.pair import explore_pair
from vasot_kit.explorers.structure import explore_structure

__all__ = ["Explorer", "View", "explore_dummy", "explore_length", "explore_pair", "explore_structure"]
