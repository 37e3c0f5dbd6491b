"""What a pretrained trunk is worth on rendered toy.

    python -m tests.experiments.trunks FILE.csv ENCODER METHOD[,METHOD] SEED...
    python -m tests.experiments.trunks FILE.csv ENCODER baselines

appends one row per training, or per baseline on the features of that encoder, to the file (``results/trunks.csv``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch

from vasot_kit.datasets import load_dataset, pretrained
from vasot_kit.experiments.collapse import warn_of_collapse
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import baseline_rows, evaluate
from vasot_kit.own_films.inputs import feature_extractor
from vasot_lib.data import Dataset
from vasot_lib.encoders import PixelEncoder
from vasot_lib.training import fit
from vasot_lib.vision import TIMM, normalised, pictures_to_float

SCORES = (
    "mof", "f1", "miou", "acc_0.1", "acc_1.0", "ap_5", "ap_10", "progress", "tau", "transfer", "frame_error",
    "mean_cosine", "effective_rank",
)  # fmt: skip
FROZEN = {"encoder.trunk": "network", "encoder.frozen": True}
# Encoders of pictures: what departs from the preset.
PIXELS: dict[str, dict[str, Any]] = {
    "small": {},
    "network frozen, 32": FROZEN,
    "network frozen, 64": FROZEN | {"encoder.side": 64},
    "network trained, 32": {"encoder.trunk": "network", "training.lr": 1e-4},
    "network trained, 64": {"encoder.trunk": "network", "encoder.side": 64, "training.lr": 1e-4},
}


def pooled(frames: np.ndarray) -> np.ndarray:
    """(N, 1280) features of ``--features network`` from (N, 32, 32, 3) pictures, as films of 128 x 128 pixels."""
    return feature_extractor("network")((np.kron(each, np.ones((4, 4, 1), np.uint8)) for each in frames), 25.0)


@torch.inference_mode()
def maps(frames: np.ndarray) -> np.ndarray:
    """(N, 1792) maps of the trunk, 112 channels at 4 x 4 places, from pictures scaled to 64 x 64 pixels."""
    encoder = PixelEncoder(f"{TIMM}{pretrained.NETWORK}", str(pretrained.weights_file())).eval()
    pictures = torch.nn.functional.interpolate(pictures_to_float(torch.from_numpy(frames)), 64, mode="bilinear")
    shown = normalised(pictures, *encoder.colours)
    return torch.cat([encoder.trunk(part).flatten(1) for part in shown.split(64)]).numpy()


# Features for the encoder of features, which sees one frame at a time.
FEATURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"MLP on features": pooled, "MLP on maps": maps}


def described(kind: str) -> Dataset:
    """Rendered toy with other features in the place of its pictures, standardised in every video."""
    data = load_dataset("toy_rendered")
    if kind not in FEATURES:
        return data
    rows = [torch.from_numpy(FEATURES[kind](video.frames)) for video in data.videos if video.frames is not None]
    videos = zip(data.videos, rows, strict=True)
    return replace(data, videos=tuple(replace(v, features=r, context=None) for v, r in videos)).standardised()


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("encoder")
@click.argument("method")
@click.argument("seeds", type=click.IntRange(min=0), metavar="SEED...", nargs=-1)
def main(file: Path, encoder: str, method: str, seeds: tuple[int, ...]) -> None:
    """Train and append the rows."""
    methods = method.split(",")
    data = described(encoder)
    if methods == ["baselines"]:
        write(file, [{"encoder": encoder, **row} for row in baseline_rows(data)])
    for each, seed in product(methods, seeds):  # no seeds are given with baselines
        more = PIXELS.get(encoder, {"training.frames": 64})
        config = make_config(data.name, each, seed=seed, overrides=more, pixels=encoder in PIXELS)
        model = build(config, data)
        start = time.perf_counter()
        history = fit(model, data, config.training, progress=False)
        minutes = (time.perf_counter() - start) / 60
        collapsed = warn_of_collapse(history)
        scores = evaluate(model, data) | {name: history[-1][name] for name in ("mean_cosine", "effective_rank")}
        write(file, [{"encoder": encoder, "method": each, "seed": seed, **scores}])
        print(f"{encoder}, {each}, seed {seed}: {minutes:.1f} min, collapsed: {collapsed}", flush=True)


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows."""
    table = (
        pd.DataFrame(rows)
        .assign(dataset="toy_rendered")
        .reindex(columns=["dataset", "encoder", "method", "seed", *SCORES])
    )
    table.to_csv(file, mode="a", header=not file.exists(), index=False, float_format="%.4f")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
