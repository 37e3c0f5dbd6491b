"""Videos and batches: generated procedures, labelled feature folders, motion capture, the registry of data sets."""

from vasot_lib.data.batches import Batch, collate, epoch_batches, epoch_shares, n_batches
from vasot_lib.data.folder import load_folder, save_folder
from vasot_lib.data.registry import DATASETS, Entry, data_root, load_dataset
from vasot_lib.data.toy import correspondence, toy
from vasot_lib.data.video import Context, Dataset, Video

__all__ = [
    "DATASETS",
    "Batch",
    "Context",
    "Dataset",
    "Entry",
    "Video",
    "collate",
    "correspondence",
    "data_root",
    "epoch_batches",
    "epoch_shares",
    "load_dataset",
    "load_folder",
    "n_batches",
    "save_folder",
    "toy",
]
