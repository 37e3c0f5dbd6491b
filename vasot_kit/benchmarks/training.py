"""``vasot bench training``: the steps of all methods and their parts, one joint model against two, a whole training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar
from unittest.mock import patch

import torch
import torch.nn.functional as F

from vasot_kit.benchmarks.launches import called_in
from vasot_kit.benchmarks.timing import Measurement, interleaved_times, peak_memory
from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import evaluate
from vasot_kit.experiments.together import align_all, segment_all
from vasot_kit.methods import METHODS, find_method
from vasot_lib import steps
from vasot_lib.data import Batch
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import DataError
from vasot_lib.methods import Method
from vasot_lib.training import fit

FRAMES, FEATURES, ACTIONS = 256, 64, 10
T = TypeVar("T")


def bench_training(device: str = "cpu", seconds: float = 4.0, epochs: int = 30) -> Iterator[Measurement]:
    """Yield the measurements one by one.

    Args:
        device: ``cpu`` or ``cuda``.
        seconds: spent on each comparison.
        epochs: epochs of the training on HAPT; 0 leaves it out.
    """
    batch = _pair().to(device)
    models = {name: _model(name, device) for name in ("vasot", "vaot", "asot")}
    yield from _steps(models, batch, device, seconds)
    yield from _parts(models["vasot"], batch, device, seconds)
    if device == "cuda":
        yield from _recorded_steps(device, seconds)
    if epochs:
        yield from _hapt(device, epochs)
    for name, cost in step_costs([name for name in METHODS if METHODS[name].learns], device, seconds).items():
        note = f"{cost['mib']:.1f} MiB at the peak of a step of 16 pairs, {cost['weights']:.0f} weights"
        yield Measurement(f"step of {name}", cost["ms"], "ms", "", note)


def step_costs(methods: Sequence[str], device: str = "cpu", seconds: float = 4.0) -> dict[str, dict[str, float]]:
    """The cost of a training step by method: ``ms``, ``mib`` of memory at its peak, ``weights`` of the model.

    All methods are timed on the same two recordings of 256 frames, with the widths of 50 Salads; some methods take them
    as a pair, others as two single recordings. The memory is that of 16 such pairs. The steps of the methods alternate,
    so that other load on the machine meets all alike.

    Args:
        methods: names of methods that learn.
        device: ``cpu`` or ``cuda``.
        seconds: spent on the timing of all methods together.
    """
    batch, many = _pair().to(device), _pair(16).to(device)
    models = {name: _model(name, device) for name in methods}
    time_of = interleaved_times({name: _stepper(model, batch) for name, model in models.items()}, seconds, device)
    costs = {}
    for name, model in models.items():
        weights = sum(parameter.numel() for parameter in model.parameters())
        peak = peak_of_step(_stepper(model, many), device)
        costs[name] = {"ms": 1e3 * time_of[name], "mib": peak / 2**20, "weights": float(weights)}
    return costs


def peak_of_step(step: Callable[[], object], device: str) -> float:
    """Bytes that a step allocates at its peak beyond what is allocated before it; NaN where that is unknown."""
    step()  # allocates what later steps use again
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    used = peak_memory(step)
    return float("nan") if used is None else used


def _pair(count: int = 1) -> Batch:
    """``count`` pairs of recordings whose features are random walks, which change slowly in time as videos do."""
    size = 2 * count
    walk = torch.randn(size, FRAMES, FEATURES, generator=torch.Generator().manual_seed(0)).mul(0.3).cumsum(1)
    index = torch.arange(FRAMES).expand(size, FRAMES)
    return Batch(F.normalize(walk, dim=-1), torch.ones(size, FRAMES, dtype=torch.bool), index, torch.arange(size))


def _model(name: str, device: str) -> Method:
    """A model of the paper's preset, with the widths of 50 Salads."""
    config = make_config("hapt", name, "paper")
    torch.manual_seed(0)
    cls = find_method(name)
    encoder = MLPEncoder(FEATURES, config.encoder.hidden, config.encoder.out, cls.unit_length)
    return cls(encoder, ACTIONS, config.hyper).to(device)


def _stepper(model: Method, batch: Batch) -> Callable[[], object]:
    optimiser = torch.optim.Adam(model.parameters(), lr=0.0)  # the weights stay, so that every step is the same work

    def step() -> None:
        model(batch)["loss"].backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def _steps(models: dict[str, Method], batch: Batch, device: str, seconds: float) -> Iterator[Measurement]:
    time_of = interleaved_times({name: _stepper(model, batch) for name, model in models.items()}, seconds, device)
    size = f"pair of {FRAMES} frames, {FEATURES}-d, K = {ACTIONS}"
    yield Measurement("VASOT step", 1e3 * time_of["vasot"], "ms", "<= 40", size)
    two = time_of["vaot"] + time_of["asot"]
    note = f"VAOT {1e3 * time_of['vaot']:.1f} ms + ASOT {1e3 * time_of['asot']:.1f} ms"
    yield Measurement("time of two models over one joint model", two / time_of["vasot"], "x", "", note)
    weights = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    two = weights["vaot"] + weights["asot"]
    note = f"{two} over {weights['vasot']}"
    yield Measurement("weights of two models over one joint model", two / weights["vasot"], "x", "", note)


def _training_step(pairs: int, device: str) -> Callable[[], object]:
    """A step of VASOT as a training takes it, batch on the host; on a GPU it is recorded and replayed."""
    from lightning_fabric import Fabric

    fabric, on_gpu = Fabric(accelerator=device, devices=1), device == "cuda"
    model = _model("vasot", "cpu").train()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.0, fused=on_gpu, capturable=on_gpu)
    wrapped, optimiser = fabric.setup(model, optimiser)
    return partial(steps.Steps(wrapped, optimiser, fabric).take, [(_pair(pairs), 1.0)])


def _recorded_steps(device: str, seconds: float) -> Iterator[Measurement]:
    one, many = _training_step(1, device), _training_step(16, device)
    with _recordings() as recorded:
        time_of = interleaved_times({"one": one, "many": many}, seconds, device)
    note = f"as a training takes it, batch on the host; {called_in(one)}"
    row = Measurement("VASOT step, recorded", 1e3 * time_of["one"], "ms", "<= 1.5", note)
    yield _if_recorded(row, len(recorded) == 2)
    on_cpu = interleaved_times({"many": _training_step(16, "cpu")}, seconds)["many"]
    note = f"{1e3 * time_of['many']:.1f} ms, on the CPU {1e3 * on_cpu:.0f} ms with {torch.get_num_threads()} threads"
    name = "faster than the CPU of this machine, step of 16 pairs"
    yield _if_recorded(Measurement(name, on_cpu / time_of["many"], "x", ">= 10", note), len(recorded) == 2)


@contextmanager
def _recordings() -> Iterator[list[None]]:
    """A list to which every step adds an entry that is recorded meanwhile; those that cannot be are launched."""
    recorded: list[None] = []
    record = steps.record

    def record_and_count(function: Callable[[], None]) -> Callable[[], None]:
        replay = record(function)
        recorded.append(None)
        return replay

    with patch.object(steps, "record", record_and_count):
        yield recorded


def _if_recorded(row: Measurement, recorded: bool) -> Measurement:
    """The row, or where steps were launched one by one its goal without a value."""
    if recorded:
        return row
    return replace(row, value=None, note=f"not recorded: {row.value:.4g} {row.unit} by launched steps; {row.note}")


def _parts(model: Method, batch: Batch, device: str, seconds: float) -> Iterator[Measurement]:
    """How the time of a VASOT step is spent."""
    embedded = model.encoder(batch.features).detach()
    x, y, mask = embedded[:1], embedded[1:], batch.mask[:1]
    hyper, actions = model.hyper, F.normalize(torch.randn(ACTIONS, embedded.shape[-1]), dim=1).to(device)

    def encoder() -> None:
        model.encoder(batch.features).sum().backward()

    parts = interleaved_times(
        {
            "step": _stepper(model, batch),
            "transport of the alignment": lambda: hyper.alignment.transport.match(x, y, mask, mask),
            "transport of both segmentations": lambda: hyper.segmentation.transport.match(
                embedded, actions, batch.mask
            ),
            "encoder, forward and backward": encoder,
        },
        seconds,
        device,
    )
    model.zero_grad()
    step = parts.pop("step")
    for name, taken in parts.items():
        yield Measurement(
            f"of the step: {name}", 100 * taken / step, "%", "", f"{1e3 * taken:.2f} of {1e3 * step:.2f} ms"
        )


def _hapt(device: str, epochs: int) -> Iterator[Measurement]:
    """A whole training, and its evaluation on the same device: all segmentations and the alignments of all pairs."""
    name, goal = f"VASOT on HAPT, {epochs} epochs", "<= 5" if device == "cuda" else "<= 90"
    try:
        data = load_dataset("hapt")
    except DataError as error:
        yield Measurement(name, None, "s", goal, f"skipped: {error}")
        return
    config = make_config("hapt", "vasot", "paper", epochs=epochs, device=device)
    model = build(config, data)
    with _recordings() as recorded:
        taken, history = _timed(lambda: fit(model, data, config.training, progress=False))
    note = f"{len(data.videos)} recordings, loss {history[0]['loss']:.3f} to {history[-1]['loss']:.3f}"
    yield _if_recorded(Measurement(name, taken, "s", goal, note), device == "cpu" or bool(recorded))
    model.to(device)
    pairs = list(zip(data.videos, (*data.videos[1:], data.videos[0]), strict=True))
    for what, work in (
        ("segmentation of all recordings", lambda: segment_all(model, data.videos)),
        ("alignment of each recording with the next", lambda: align_all(model, pairs)),
    ):
        first, _ = _timed(work)
        note = f"{first:.2f} s the first time, with what is compiled then"
        yield Measurement(f"after that training: {what}", _timed(work)[0], "s", "", note)
    taken, scores = _timed(lambda: evaluate(model, data))
    note = f"both, and all scores: MoF {scores['mof']:.3f}, AP@5 {scores['ap_5']:.3f}"
    yield Measurement("evaluation of that training", taken, "s", "", note)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of one call, and what it gives."""
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result
