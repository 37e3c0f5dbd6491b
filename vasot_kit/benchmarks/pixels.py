"""``vasot bench pixels``: time and memory of a training step of VAOT whose encoder sees pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from vasot_kit.benchmarks.timing import Measurement, interleaved_times
from vasot_kit.benchmarks.training import peak_of_step
from vasot_kit.experiments.config import build, make_config, with_overrides
from vasot_lib.data import Batch, Context, Dataset, Video, collate
from vasot_lib.methods import Method

FRAMES = 20  # frames of a video in a step, as published


def bench_pixels(device: str = "cpu", seconds: float = 4.0, side: int | None = None) -> Iterator[Measurement]:
    """Yield the measurements one by one, on random pictures with random weights, which take as long as real ones.

    Args:
        device: ``cpu`` or ``cuda``.
        seconds: spent on each comparison.
        side: height and width of the pictures in pixels; 224 on a GPU and 32 on a CPU by default.
    """
    side = side or (224 if device == "cuda" else 32)
    data = _films(side)
    size = f"pair of {FRAMES} frames with a context frame each, {side} x {side}, ResNet-50"
    kinds = ("float32", "bfloat16") if device == "cuda" else ("float32",)  # CPUs mostly emulate bfloat16
    models = {kind: _model(data, device) for kind in kinds}
    batch = collate(data.videos, FRAMES, None).to(device)
    steps: dict[str, Callable[[], object]] = {
        kind: partial(_step, model, batch, device, kind == "bfloat16") for kind, model in models.items()
    }
    times = interleaved_times(steps, seconds, device)
    for kind, step in steps.items():
        peak = peak_of_step(step, device) / 2**30
        yield Measurement(
            f"VAOT step from pixels, {kind}", 1e3 * times[kind], "ms", "", f"{size}; {peak:.2f} GiB at its peak"
        )
    model = models["float32"].eval()
    film = data.videos[0]
    taken = interleaved_times({"embed": lambda: model.embed(film)}, seconds, device)["embed"]
    yield Measurement(
        "frames embedded in a second, float32", len(film) / taken, "1/s", "", f"film of {len(film)} frames"
    )


def _films(side: int) -> Dataset:
    rng = np.random.default_rng(0)
    videos = [
        Video(name, torch.zeros(64, 1), activity="noise", frames=rng.integers(0, 256, (64, side, side, 3), np.uint8))
        for name in ("x", "y")
    ]
    return Dataset("pictures", tuple(videos)).as_pictures(Context())


def _model(data: Dataset, device: str) -> Method:
    config = with_overrides(make_config("pictures", "vaot", "paper", pixels=True), {"encoder.weights": ""})
    return build(config, data).to(device).train()


def _step(model: Method, batch: Batch, device: str, half: bool) -> None:
    """One optimiser step with learning rate 0, so that the weights stay and every step is the same work."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    with torch.autocast(device, torch.bfloat16, enabled=half):
        loss = model(batch)["loss"]
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
