"""Labelled folders, the layout of the ASOT, CTE and MS-TCN family: reading and writing them."""

from vasot_kit.folders.reading import load_folder
from vasot_kit.folders.saving import save_folder

__all__ = ["load_folder", "save_folder"]
