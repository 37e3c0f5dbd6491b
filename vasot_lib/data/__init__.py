"""Videos, data sets and batches; generated videos (toy)."""

from vasot_lib.data.batches import Batch, collate, epoch_batch_parts, n_batches
from vasot_lib.data.toy import correspondence, toy
from vasot_lib.data.video import Context, Dataset, Video

__all__ = ["Batch", "Context", "Dataset", "Video", "collate", "correspondence", "epoch_batch_parts", "n_batches", "toy"]
