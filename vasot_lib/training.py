"""The training loop of all methods, with checkpoints from which a run resumes to identical numbers.

The loop uses lightning-fabric. Started by ``torchrun`` or ``fabric run``, it splits every step over all processes, on
any number of GPUs and machines. The result of a step does not depend on the number of processes: ``batch_size`` counts
the videos of all processes together.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from vasot_lib.checks import Count, Range, Seed, check_fields
from vasot_lib.data import Dataset, collate, epoch_batch_parts, n_batches
from vasot_lib.errors import DataError, InputError, VasotError
from vasot_lib.evaluation.collapse import measure_collapse
from vasot_lib.files import whole_file
from vasot_lib.methods import Method
from vasot_lib.steps import Steps

if TYPE_CHECKING:
    from lightning_fabric import Fabric

History = list[dict[str, float]]

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32", "bf16"]
FABRIC_PRECISION: dict[Precision, Any] = {"32": "32-true", "bf16": "bf16-mixed"}
# Settings that may differ when a checkpoint is resumed: for how long, where and in how many parts a step is computed.
MAY_CHANGE_ON_RESUME = ("epochs", "device", "accumulate")
COLLAPSE_FRAMES = 32  # frames per video whose embeddings are measured for collapse after every epoch
COLLAPSE_VIDEOS = 8  # number of videos that are measured when the encoder works on pictures; otherwise all


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the optimisation, the same for every method.

    Attributes:
        epochs: number of passes over the training videos.
        batch_size: number of videos per optimiser step over all processes; a pair counts as two.
        frames: number of frames sampled from each video, one at random from each of as many equal bins.
        lr, weight_decay: learning rate and weight decay of Adam.
        seed: seed of all random numbers.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        accumulate: number of parts that a batch is cut into to save memory, whose gradients are added up before the
            optimiser step. The result is the same for encoders of features; encoders of pictures compute their batch
            normalisation and draw their augmentation for each part separately.
        precision: ``32``, or ``bf16`` to compute the encoder's layers in bfloat16, while weights, transport and losses
            stay in float32.
    """

    epochs: Annotated[int, Range(least=0)] = 30
    batch_size: Count = 2
    frames: Annotated[int, Range(least=2)] = 256
    lr: Annotated[float, Range(above=0, most=1e30)] = 1e-3  # more leaves float32 in the optimiser
    weight_decay: Annotated[float, Range(least=0, most=1e30)] = 1e-4
    seed: Seed = 0
    device: Device = "cpu"
    accumulate: Count = 1
    precision: Precision = "32"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device is 'cuda' but this machine has no CUDA device; use device='cpu' or 'auto'")


def fit(
    method: Method, dataset: Dataset, settings: TrainingSettings, checkpoint: Path | None = None, progress: bool = True
) -> History:
    """Train a method in place.

    Every epoch draws its random numbers from a generator seeded by (seed, epoch). A run that was killed at any moment
    and is started again with the same checkpoint path therefore ends with the same numbers as an uninterrupted one. If
    a launcher started several processes, all of them call this function with the same arguments; the first one reads
    and writes the checkpoint.

    Args:
        method: newly built; on return it is trained, in evaluation mode and on the CPU.
        dataset: training videos, whose labels are not used. If the data set has a published split, only the videos of
            its part ``train`` are used.
        settings: see :class:`TrainingSettings`.
        checkpoint: file to resume from if it exists; replaced atomically after every epoch. If it already holds as many
            epochs as asked for, or more, it is loaded and nothing is trained.
        progress: show a progress bar (in the first process).

    Returns:
        one dict per epoch, equal in all processes: ``epoch``; the mean over the steps of ``loss`` and its terms, and of
        the share of plans that met the solver's tolerance (``converged_alignment``, ``converged_segmentation``); and
        ``mean_cosine`` and ``effective_rank`` of the frame embeddings, which reveal a collapse
        (:func:`vasot_lib.evaluation.measure_collapse`). Empty for a method without training.

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
    # Only this form of Adam can be part of a recorded step; on a CPU it is the slower one.
    on_gpu = fabric.device.type == "cuda"
    optimiser = torch.optim.Adam(
        method.parameter_groups(settings.lr), weight_decay=settings.weight_decay,
        fused=on_gpu, capturable=on_gpu and method.replays,
    )  # fmt: skip
    # The first steps are launched on purpose; torch would warn that this is slower than it could be.
    optimiser._warned_capturable_if_run_uncaptured = True
    history: History = []
    fingerprint = _fingerprint(method, dataset, settings)
    failure: VasotError | None = None
    try:
        if fabric.is_global_zero and checkpoint is not None and checkpoint.exists():
            history = load_checkpoint(checkpoint, method, optimiser, fingerprint)
        elif fabric.is_global_zero:
            method.initialise(dataset, settings.frames, _generator(settings.seed, -1))
    except VasotError as error:
        failure = error
    failure = fabric.broadcast(failure)
    if failure is not None:  # in all processes: one that waited for the first would end with a traceback
        raise failure
    # setup() moves the method to the device and copies the first process's weights to all others. History and optimiser
    # state follow by broadcast.
    wrapped, optimiser = fabric.setup(method, optimiser)
    history, state = fabric.broadcast((history, optimiser.state_dict()))
    optimiser.load_state_dict(state)
    bar = tqdm(
        range(len(history), settings.epochs), initial=len(history), total=settings.epochs,
        desc=f"{method.name} on {dataset.name}, seed {settings.seed}", unit="epoch",
        disable=not (progress and settings.epochs and fabric.is_global_zero),
    )  # fmt: skip
    steps = Steps(wrapped, optimiser, fabric)
    for epoch in bar:
        history.append(_epoch(method, steps, dataset, settings, epoch, fabric))
        bar.set_postfix(loss=f"{history[-1]['loss']:.3f}")
        if checkpoint is not None and fabric.is_global_zero:
            save_checkpoint(checkpoint, method, optimiser, history, fingerprint)
    method.cpu().eval()
    method.epoch = max(0, len(history) - 1)  # not yet set if the checkpoint already held all epochs
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.no_grad():  # every process does this; weights, data and generator are equal, and so are the results
        method.finalise(dataset, _generator(settings.seed, len(history)))
    if checkpoint is not None and fabric.is_global_zero:
        save_checkpoint(checkpoint, method, optimiser, history, fingerprint, before)
    fabric.barrier()  # no process returns before the checkpoint is complete
    return history


def is_first_process() -> bool:
    """Whether this process writes the results: the only process, or rank 0 of those that a launcher started."""
    return not _launched() or os.environ["RANK"] == "0"


def _launched() -> bool:
    """Whether torchrun (which ``fabric run`` calls) started this process."""
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def _fabric(method: Method, settings: TrainingSettings) -> Fabric:
    """Fabric for the processes that a launcher started, or for this process alone."""
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
    from lightning_fabric import Fabric  # which takes seconds: whoever trains nothing does without it

    fabric = Fabric(
        accelerator=settings.device, devices=here, num_nodes=processes // here,
        strategy="ddp" if processes > 1 else "auto", precision=FABRIC_PRECISION[settings.precision],
    )  # fmt: skip
    if processes > 1 and "LT_CLI_USED" not in os.environ:  # `fabric run` has launched it already
        fabric.launch()
    return fabric


def _epoch(
    method: Method, steps: Steps, dataset: Dataset, settings: TrainingSettings, epoch: int, fabric: Fabric
) -> dict[str, float]:
    """Train for one epoch; returns its record in the history."""
    generator = _generator(settings.seed, epoch)
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))  # for dropout, augmentation and GTCC
    n_parts = fabric.world_size * settings.accumulate
    own_parts = range(fabric.global_rank * settings.accumulate, (fabric.global_rank + 1) * settings.accumulate)
    batches = epoch_batch_parts(
        dataset, settings.frames, settings.batch_size, method.paired, generator, n_parts, own_parts
    )
    method.epoch, method.step = epoch, epoch * n_batches(dataset, settings.batch_size, method.paired)
    method.begin_epoch(dataset, settings.frames, epoch / settings.epochs)
    steps.begin()
    for parts in batches:
        steps.take(parts)
        method.step += 1
    record = {"epoch": float(epoch), **steps.means()}
    if not record["loss"] < float("inf"):
        raise InputError(
            f"the loss is {record['loss']} in epoch {epoch}; lower lr ({settings.lr}) or check the features"
        )
    return {**record, **_measure_collapse(method, dataset, fabric)}


@torch.no_grad()
def _measure_collapse(method: Method, dataset: Dataset, fabric: Fabric) -> dict[str, float]:
    """Mean cosine and effective rank of frame embeddings of the training videos, at the same frames in every epoch."""
    videos = dataset.videos[: None if dataset.videos[0].context is None else COLLAPSE_VIDEOS]
    batch = collate(videos, COLLAPSE_FRAMES, None).to(fabric.device)
    return measure_collapse(method.embed_frames(batch.features, batch.mask)[batch.mask])


def _generator(seed: int, epoch: int) -> torch.Generator:
    # Hashed, so that no two pairs share a generator, as they would with seed + epoch: (0, 1) and (1, 0).
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _fingerprint(method: Method, dataset: Dataset, settings: TrainingSettings) -> str:
    """Hash of method, hyper-parameters, settings, weight shapes and data; a checkpoint resumes only where it agrees."""
    fixed = {k: v for k, v in asdict(settings).items() if k not in MAY_CHANGE_ON_RESUME}
    shapes = {name: list(value.shape) for name, value in method.state_dict().items()}
    parts = [method.name, asdict(method.hyper), fixed, shapes, dataset.checksum()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def save_checkpoint(
    path: Path,
    method: Method,
    optimiser: torch.optim.Optimizer | None,
    history: History,
    fingerprint: str,
    before: dict[str, Tensor] | None = None,
) -> None:
    """Write weights, history and, where given, optimiser state to one safetensors file, atomically.

    What ``method.finalise`` changed is also written as it was ``before``, for a training that goes on from the file.
    """
    tensors = {f"method.{name}": value.contiguous() for name, value in method.state_dict().items()}
    for name, value in (before or {}).items():
        if not torch.equal(value, tensors[f"method.{name}"].to(value.device)):
            tensors[f"before.{name}"] = value.contiguous()
    for index, state in (optimiser.state_dict()["state"] if optimiser is not None else {}).items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as beside:
        beside.touch()
        mode = beside.stat().st_mode  # that of any new file; safetensors lets nobody else read its own
        metadata = {"history": json.dumps(history), "fingerprint": fingerprint}
        save_file(tensors, beside, metadata=metadata | {"checksum": _checksum(tensors, metadata)})
        beside.chmod(mode)


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """SHA-256 of all that a checkpoint holds."""
    digest = hashlib.sha256(json.dumps([metadata.get("history"), metadata.get("fingerprint")]).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_checkpoint(
    path: Path, method: Method, optimiser: torch.optim.Optimizer | None = None, fingerprint: str | None = None
) -> History:
    """Load a checkpoint into a method, and its optimiser if given; returns the history of the epochs so far.

    Args:
        path: file that :func:`fit` wrote.
        method: built with the same configuration; its parameters and buffers are overwritten.
        optimiser: also restored, to continue the training; the method is then as it was before it was finalised.
        fingerprint: compared with that of the checkpoint, unless None.

    Raises:
        DataError: the file is no checkpoint, is damaged in any bit, or its fingerprint is another one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise DataError(f"checkpoint {path} cannot be read ({error}); remove it to start again") from error
    if "history" not in metadata:
        raise DataError(f"{path} is a safetensors file but no checkpoint of a training; choose another path")
    if metadata.get("checksum") != _checksum(tensors, metadata):
        raise DataError(f"checkpoint {path} is damaged: it is not what was written; remove it to start again")
    if fingerprint is not None and metadata["fingerprint"] != fingerprint:
        raise DataError(
            f"checkpoint {path} was made by another configuration or data; remove it or choose another path"
        )
    kinds = ("method.", "before.") if optimiser is not None else ("method.",)  # the later ones replace the earlier
    weights = {name.removeprefix(kind): t for kind in kinds for name, t in tensors.items() if name.startswith(kind)}
    method.load_state_dict(weights)
    if optimiser is not None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return json.loads(metadata["history"])
