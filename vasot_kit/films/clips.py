"""Features of frames by a frozen network of whole clips, which sees movement: V-JEPA 2 or VideoMAE.

    transformers:facebook/vjepa2-vitl-fpc64-256      transformers:MCG-NJU/videomae-base      transformers:FOLDER

They are those of Hugging Face's transformers. FOLDER holds ``config.json`` and ``model.safetensors`` of such a model,
for machines that cannot download them. A film is cut into clips that overlap by half, so that every frame but those at
the ends is described by a clip that reaches at least a quarter of its length beyond it on either side.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vasot_kit.films.media import content_hash
from vasot_lib.errors import DataError, InputError
from vasot_lib.vision import no_retries, normalised, pictures_to_float, torchvision

LIBRARY = "transformers:"
MOST_FRAMES = 16  # of a clip: V-JEPA 2 also takes 64, with sixteen times as many pairs of patches to compare


class ClipNetwork:
    """A frozen network of clips as a :class:`vasot_kit.films.recordings.FeatureExtractor`.

    Args:
        name: ``transformers:`` and a model of the Hugging Face Hub, or a folder.
        device: where it runs.

    Raises:
        InputError: the model is neither V-JEPA 2 nor VideoMAE.
        DataError: transformers is not installed, or the model cannot be downloaded or read.
    """

    one_process = True

    def __init__(self, name: str, device: str = "cpu"):
        source = name.removeprefix(LIBRARY)
        self.device = torch.device(device)
        self.model = _loaded(source).eval().requires_grad_(False).to(self.device)
        config = self.model.config
        if config.model_type == "vjepa2":
            self.side, self.frames = config.crop_size, min(config.frames_per_clip, MOST_FRAMES)
            self.options: dict[str, Any] = {"skip_predictor": True}
        elif config.model_type == "videomae":
            self.side, self.frames, self.options = config.image_size, config.num_frames, {}
        else:
            raise InputError(f"{name} is a {config.model_type}; give a V-JEPA 2 (vjepa2) or a VideoMAE (videomae)")
        self.name = name
        if Path(source).is_dir():  # two folders may have one name
            hashes = [content_hash(file) for file in sorted(Path(source).glob("*.safetensors"))]
            self.name = f"{LIBRARY}{Path(source).name}@{'-'.join(hashes)}"

    def __call__(self, pictures: Iterator[np.ndarray], fps: float) -> np.ndarray:
        """(N, D) float32 features of N pictures (H, W, 3) uint8, of which one clip is in memory at a time."""
        rows: list[np.ndarray] = []
        for clip, new in self._clips(pictures):
            again = len(clip) - new  # frames of the clip before, the first half of which it describes better
            if rows:
                rows[-1] = rows[-1][: len(rows[-1]) - again // 2]
            rows.append(self._rows(clip)[again - again // 2 :])
        return np.concatenate(rows)

    def _clips(self, pictures: Iterator[np.ndarray]) -> Iterator[tuple[list[Tensor], int]]:
        """Each clip, and how many of its frames are new: all, then half of them. The last one ends with the film."""
        clip: list[Tensor] = []
        while new := [self._prepared(each) for each in islice(pictures, self.frames // 2 if clip else self.frames)]:
            clip = [*clip[len(new) :], *new]
            yield clip, len(new)

    def _prepared(self, picture: np.ndarray) -> Tensor:
        """(3, S, S): the whole picture, squeezed, since what happens at its sides may matter."""
        small = np.asarray(Image.fromarray(picture).resize((self.side, self.side), Image.Resampling.BICUBIC))
        return normalised(pictures_to_float(torch.from_numpy(small.copy())[None]))[0]

    @torch.inference_mode()
    def _rows(self, clip: list[Tensor]) -> np.ndarray:
        """(n, D) features of the n frames of a clip: means over the picture, interpolated in time."""
        whole = torch.stack([*clip, *clip[-1:] * (self.frames - len(clip))])[None].to(self.device)
        patches = self.model(**{self.model.main_input_name: whole}, **self.options).last_hidden_state[0]
        # The patches of one moment, of two frames or so, lie together.
        moments = patches.unflatten(0, (self.frames // self.model.config.tubelet_size, -1)).mean(1)
        each = F.interpolate(moments.float().T[None], size=self.frames, mode="linear")[0].T
        return each[: len(clip)].cpu().numpy()


def _loaded(source: str) -> Any:
    """The model, from the Hub or from a folder; files that would execute code are not read."""
    if source.startswith((".", "/", "~")) and not Path(source).is_dir() or not source:
        raise DataError(f"{LIBRARY}{source} is no folder; write {LIBRARY}FOLDER, or a model of the Hugging Face Hub")
    torchvision()  # transformers imports it as well
    try:
        library = importlib.import_module("transformers")
    except ImportError as error:
        raise DataError(f"{LIBRARY}{source} needs transformers; pip install transformers") from error
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
    try:
        with nullcontext() if Path(source).is_dir() else no_retries():
            model, found = library.AutoModel.from_pretrained(
                source, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # no network, no such model, a folder of something else: errors of many types
        remedy = f"on a machine with a network run hf download {source} --local-dir FOLDER, and give {LIBRARY}FOLDER"
        if Path(source).is_dir():
            remedy = "the folder has to hold config.json and model.safetensors of a V-JEPA 2 or a VideoMAE"
        reason = f"{LIBRARY}{source} cannot be downloaded or read ({type(error).__name__})"
        raise DataError(f"{reason}; {remedy}") from error
    # What is missing would be random numbers. The predictor of V-JEPA 2 is not used.
    if missing := sorted(name for name in found["missing_keys"] if not name.startswith("predictor.")):
        raise DataError(f"{LIBRARY}{source} lacks {len(missing)} weights, the first {missing[0]}; fetch it again")
    return model
