"""Videos, data sets and batches; generated videos (toy) and labelled feature folders."""

from vasot_lib.data.batches import Batch, collate, epoch_batch_parts, epoch_batches, n_batches
from vasot_lib.data.folder import load_folder
from vasot_lib.data.toy import correspondence, toy
from vasot_lib.data.video import Context, Dataset, Video

__all__ = [
    "Batch",
    "Context",
    "Dataset",
    "Video",
    "collate",
    "correspondence",
    "epoch_batches",
    "epoch_batch_parts",
    "load_folder",
    "n_batches",
    "toy",
]
