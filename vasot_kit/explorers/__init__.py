"""Explorers: panels with sliders that compute in the browser, in a notebook and in a page without a kernel."""

from vasot_kit.explorers.dummy import explore_dummy
from vasot_kit.explorers.explorer import Explorer
from vasot_kit.explorers.length import explore_length
from vasot_kit.explorers.pair import explore_pair
from vasot_kit.explorers.structure import explore_structure

__all__ = ["Explorer", "explore_dummy", "explore_length", "explore_pair", "explore_structure"]
