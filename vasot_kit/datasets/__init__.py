"""The data sets that are found by name."""

from vasot_kit.datasets.registry import DATASETS, Entry, data_root, find_entry, load_dataset

__all__ = ["DATASETS", "Entry", "data_root", "find_entry", "load_dataset"]
