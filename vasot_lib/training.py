"""One training loop for every method, on lightning-fabric, with checkpoints that resume to identical numbers.

Started by ``torchrun`` or ``fabric run`` the same loop shares every step among all processes, on any number of GPUs and
nodes. A step means the same on one process and on many: ``batch_size`` counts the videos of all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from vasot_lib.checks import Count, NotNegative, Positive, Range, check_fields
from vasot_lib.data import Dataset, collate, epoch_batch_parts, n_batches
from vasot_lib.errors import DataError, InputError
from vasot_lib.evaluation.collapse import measure_collapse
from vasot_lib.files import whole_file
from vasot_lib.methods import Method

History = list[dict[str, float]]

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32", "bf16"]
FABRIC_PRECISION: dict[Precision, Any] = {"32": "32-true", "bf16": "bf16-mixed"}
# They decide how fast the numbers come, not which: a checkpoint is resumed with other ones.
MAY_CHANGE_ON_RESUME = ("epochs", "device", "accumulate")
COLLAPSE_FRAMES = 32  # frames per video that the collapse meter looks at
COLLAPSE_VIDEOS = 8  # and videos, where they are pictures


@dataclass(frozen=True)
class TrainingSettings:
    """How a method is trained; what it minimises is its own business.

    Attributes:
        epochs: passes over the videos.
        batch_size: videos per step (a pair counts as two), over all processes.
        frames: frames sampled per video, one at random from each of as many equal bins.
        lr, weight_decay: of Adam.
        seed: all randomness follows from it.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        accumulate: passes that a step is made in, where memory is short; the numbers are those of one pass, but for
            encoders of pictures, whose batch normalisation and changes of colour see each pass by itself.
        precision: ``32``, or ``bf16`` for layers in bfloat16 beside weights, transport and losses in float32.
    """

    epochs: Annotated[int, Range(least=0)] = 30
    batch_size: Count = 2
    frames: Annotated[int, Range(least=2)] = 256
    lr: Positive = 1e-3
    weight_decay: NotNegative = 1e-4
    seed: int = 0
    device: Device = "cpu"
    accumulate: Count = 1
    precision: Precision = "32"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device is 'cuda' but this machine has no CUDA device; use device='cpu' or 'auto'")


def fit(
    method: Method,
    dataset: Dataset,
    settings: TrainingSettings,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> History:
    """Train a method in place.

    Every epoch draws from a generator seeded by (seed, epoch), so a run that was killed at any moment and is started
    again with the same checkpoint path ends with the same numbers as one that was not. Processes that a launcher
    started call this together, each with the same arguments; the first one reads and writes the checkpoint.

    Args:
        method: freshly built; on return it is trained and in evaluation mode, on the CPU.
        dataset: all of its videos are used, without their labels; those of the part ``train`` where it has a split.
        settings: see :class:`TrainingSettings`.
        checkpoint: file that is written after every epoch (atomically) and resumed from where it exists; one that
            already holds more epochs than asked for is returned as it is.
        progress: show a progress bar, in the first process.

    Returns:
        one dict per epoch, equal in all processes: ``epoch``, mean ``loss`` and its terms, and the collapse meter
        (``mean_cosine`` and ``effective_rank`` of frame embeddings over all videos, over the first 8 where encoders are
        shown pictures). Empty where nothing is learnt.

    Raises:
        InputError: the loss became NaN or infinite.
        DataError: the checkpoint is damaged or was written by another configuration.
    """
    if not method.learns:
        method.cpu().eval()
        return []
    dataset = dataset.train_part
    fabric = _fabric(method, settings)
    method.train()
    optimiser = torch.optim.Adam(method.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    history: History = []
    fingerprint = _fingerprint(method, dataset, settings)
    if fabric.is_global_zero:
        if checkpoint is not None and checkpoint.exists():
            history = load_checkpoint(checkpoint, method, optimiser, fingerprint)
        else:
            method.initialise(dataset, settings.frames, _generator(settings.seed, -1))
    # Setup hands the weights of the first process to all; the rest of its state follows, on the device by then.
    wrapped, optimiser = fabric.setup(method, optimiser)
    history, state = fabric.broadcast((history, optimiser.state_dict()))
    optimiser.load_state_dict(state)
    bar = tqdm(
        range(len(history), settings.epochs), initial=len(history), total=settings.epochs,
        desc=f"{method.name} on {dataset.name}, seed {settings.seed}", unit="epoch",
        disable=not progress or not fabric.is_global_zero,
    )  # fmt: skip
    for epoch in bar:
        history.append(_epoch(wrapped, optimiser, dataset, settings, epoch, fabric))
        bar.set_postfix(loss=f"{history[-1]['loss']:.3f}")
        if checkpoint is not None and fabric.is_global_zero:
            save_checkpoint(checkpoint, method, optimiser, history, fingerprint)
    method.cpu().eval()
    method.epoch = max(0, len(history) - 1)  # also where the checkpoint had them all
    with torch.no_grad():  # equal in all processes: they have the same weights, data and generator
        method.finalise(dataset, _generator(settings.seed, len(history)))
    if checkpoint is not None and fabric.is_global_zero:
        save_checkpoint(checkpoint, method, optimiser, history, fingerprint)
    fabric.barrier()  # whoever returns finds the last checkpoint written
    return history


def is_first_process() -> bool:
    """Whether this is the process that writes results: the only one, or rank 0 of those that a launcher started."""
    return not _launched() or os.environ["RANK"] == "0"


def _launched() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def _fabric(method: Method, settings: TrainingSettings) -> Fabric:
    """Fabric over the processes that torchrun (which ``fabric run`` calls) started, or over this one."""
    processes, here = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")) if _launched() else (1, 1)
    if settings.device in ("auto", "cuda") and here > torch.cuda.device_count() > 0:
        raise InputError(
            f"{here} processes were started on a machine with {torch.cuda.device_count()} CUDA device(s); "
            "start one process for each"
        )
    busy = settings.batch_size // (2 if method.paired else 1)
    if processes > busy and is_first_process():
        warnings.warn(
            f"batch_size {settings.batch_size} gives work to {busy} of {processes} processes; "
            "the others wait: raise batch_size or start fewer",
            stacklevel=3,
        )
    fabric = Fabric(
        accelerator=settings.device, devices=here, num_nodes=processes // here,
        strategy="ddp" if processes > 1 else "auto", precision=FABRIC_PRECISION[settings.precision],
    )  # fmt: skip
    if processes > 1 and "LT_CLI_USED" not in os.environ:  # `fabric run` has launched it already
        fabric.launch()
    return fabric


def _epoch(
    method: Any, optimiser: Any, dataset: Dataset, settings: TrainingSettings, epoch: int, fabric: Fabric
) -> dict[str, float]:
    learner: Method = method.module
    generator = _generator(settings.seed, epoch)
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))  # for dropout and the like
    sums: dict[str, Tensor] = {}
    steps = 0
    parts = fabric.world_size * settings.accumulate
    mine = range(fabric.global_rank * settings.accumulate, (fabric.global_rank + 1) * settings.accumulate)
    batches = epoch_batch_parts(dataset, settings.frames, settings.batch_size, method.paired, generator, parts, mine)
    per_epoch = n_batches(dataset, settings.batch_size, method.paired)
    learner.epoch = epoch
    for shares in batches:
        learner.step = epoch * per_epoch + steps
        for number, (batch, share) in enumerate(shares, 1):
            # Processes add up their gradients in the last backward pass of a step.
            with fabric.no_backward_sync(method, enabled=number < len(shares)):
                terms = method(batch.to(fabric.device))
                # They come out as the mean over processes, and shall be the sum.
                fabric.backward(terms["loss"] * (share * fabric.world_size))
            # Summed on the device: reading a value here would make the host wait at every step.
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + share * value.detach()
        optimiser.step()
        optimiser.zero_grad()
        steps += 1
    totals: Any = fabric.all_reduce(torch.stack([*sums.values()]), reduce_op="sum")
    record = {"epoch": float(epoch), **{name: float(total) / steps for name, total in zip(sums, totals, strict=True)}}
    if not record["loss"] < float("inf"):
        raise InputError(
            f"the loss is {record['loss']} in epoch {epoch}; lower lr ({settings.lr}) or check the features"
        )
    return {**record, **_measure_collapse(learner, dataset, fabric)}


@torch.no_grad()
def _measure_collapse(method: Method, dataset: Dataset, fabric: Fabric) -> dict[str, float]:
    videos = dataset.videos[: None if dataset.videos[0].context is None else COLLAPSE_VIDEOS]
    batch = collate(videos, COLLAPSE_FRAMES, None).to(fabric.device)
    return measure_collapse(method.embed_frames(batch.features, batch.mask)[batch.mask])


def _generator(seed: int, epoch: int) -> torch.Generator:
    # A hash keeps neighbouring seeds and epochs apart: seed 1 epoch 0 is not seed 0 epoch 1.
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _fingerprint(method: Method, dataset: Dataset, settings: TrainingSettings) -> str:
    """What a checkpoint must agree on to be resumed."""
    fixed = {k: v for k, v in asdict(settings).items() if k not in MAY_CHANGE_ON_RESUME}
    shapes = {name: list(value.shape) for name, value in method.state_dict().items()}
    parts = [method.name, asdict(method.hyper), fixed, shapes, dataset.checksum()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def save_checkpoint(
    path: Path, method: Method, optimiser: torch.optim.Optimizer, history: History, fingerprint: str
) -> None:
    """Weights, optimiser state and history in one safetensors file, written beside and then moved into place."""
    tensors = {f"method.{name}": value.contiguous() for name, value in method.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as beside:
        save_file(tensors, beside, metadata={"history": json.dumps(history), "fingerprint": fingerprint})


def load_checkpoint(
    path: Path, method: Method, optimiser: torch.optim.Optimizer | None = None, fingerprint: str | None = None
) -> History:
    """Load a checkpoint into a method (and optimiser) of the same shapes; returns the history up to there.

    Raises:
        DataError: not a readable checkpoint, or made by another configuration than ``fingerprint``.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise DataError(f"checkpoint {path} cannot be read ({error}); remove it to start again") from error
    if "history" not in metadata:
        raise DataError(f"{path} is a safetensors file but no checkpoint of a training; choose another path")
    if fingerprint is not None and metadata["fingerprint"] != fingerprint:
        raise DataError(
            f"checkpoint {path} was made by another configuration or data; remove it or choose another path"
        )
    method.load_state_dict({n.removeprefix("method."): t for n, t in tensors.items() if n.startswith("method.")})
    if optimiser is not None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return json.loads(metadata["history"])
