"""A test kit for methods: what training, scores and checkpoints rely on, checked for any subclass of ``Method``.

    from vasot_kit.methods.checking import check_method

    def test_my_method() -> None:
        check_method(MyMethod)

It says nothing about whether a loss is the one of the paper: compare that with a slow loop that follows the formula.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vasot_lib.data import Batch, Dataset, collate, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.methods import Method
from vasot_lib.training import History, TrainingSettings, fit, load_checkpoint

FRAMES = 48  # sampled from a recording; one of the recordings has fewer, so that there is padding
TASKS = {"alignment", "segmentation"}


@dataclass(frozen=True)
class Case:
    """What all checks work on.

    Attributes:
        make: builds the method, with the same first weights at every call.
        dataset: five generated recordings without labels, two of them short.
    """

    make: Callable[[], Method]
    dataset: Dataset

    def ready(self) -> Method:
        """The method as ``fit`` has it before the first step."""
        method = self.make()
        torch.manual_seed(0)
        method.initialise(self.dataset, FRAMES, torch.Generator().manual_seed(0))
        return method.train()

    def batch(self) -> Batch:
        """Four recordings, the second and the fourth with padding."""
        return collate(self.dataset.videos[:4], FRAMES, None)

    def train(self, epochs: int, checkpoint: Path | None = None, **settings: Any) -> tuple[Method, History]:
        """A trained method, and its history."""
        method = self.make()
        chosen = TrainingSettings(epochs=epochs, batch_size=4, frames=FRAMES, **settings)
        return method, fit(method, self.dataset, chosen, checkpoint, progress=False)


def check_method(cls: type[Method], hyper: Any = None) -> list[str]:
    """Check a method on generated recordings, in a few seconds.

    Args:
        cls: the class.
        hyper: its hyper-parameters; None for the default ones.

    Returns:
        The names of the checks that it passed; ``device`` is among them only where there is a GPU.

    Raises:
        InputError: with what is wrong, for each check that it fails.
    """
    videos = [replace(video, labels=None, position=None) for video in toy(n_videos=5, seed=1).videos]
    cut = {1: 40, 3: 30}
    videos = [replace(v, features=v.features[: cut.get(i, len(v))]) for i, v in enumerate(videos)]
    dataset = replace(toy(n_videos=5, seed=1), videos=tuple(videos))

    def make() -> Method:
        torch.manual_seed(0)
        encoder = MLPEncoder(dataset.feature_dim, unit_length=cls.unit_length)
        return cls(encoder, dataset.n_actions, cls.Hyper() if hyper is None else hyper)

    case = Case(make, dataset)
    names, failures = [], []
    with torch.random.fork_rng(devices=[]):
        for name, check in CHECKS.items():
            if (check in OF_TRAINING and not cls.learns) or (name == "device" and not torch.cuda.is_available()):
                continue
            found = list(check(case))
            failures += [f"{name}: {failure}" for failure in found]
            names += [] if found else [name]
            if found and check is _interface:
                break  # what follows would fail for the same reason
    if failures:
        raise InputError(f"method {cls.name!r} fails {len(failures)} check(s): {'; '.join(failures)}")
    return names


def _interface(case: Case) -> Iterator[str]:
    """Names, tasks and hyper-parameters by which commands and records know a method."""
    method = case.make()
    if not method.tasks or not set(method.tasks) <= TASKS:
        yield f"tasks are {method.tasks}; give some of {sorted(TASKS)}"
    if not is_dataclass(method.Hyper) or not method.Hyper.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield f"Hyper is {method.Hyper.__name__}; make it a frozen dataclass"
        return
    try:
        json.dumps(asdict(method.hyper))
    except TypeError as error:
        yield f"hyper-parameters cannot be written as JSON ({error}); use numbers, text and nested dataclasses"
    grouped = [id(p) for group in method.parameter_groups(1.0) for p in group["params"]]
    if sorted(grouped) != sorted(id(p) for p in method.parameters()):
        yield "parameter_groups does not hold every parameter once"


def _shapes(case: Case) -> Iterator[str]:
    """Embeddings, matches and segmentations of whole recordings."""
    method = case.ready().eval()
    method.finalise(case.dataset, torch.Generator().manual_seed(0))
    x, y = case.dataset.videos[:2]
    embedded = method.embed(x)
    if embedded.shape != (len(x), method.encoder.n_out) or not embedded.isfinite().all():
        yield f"embed gives {tuple(embedded.shape)}; expected {(len(x), method.encoder.n_out)} finite numbers"
    elif method.unit_length and not torch.allclose(embedded.norm(dim=1), torch.ones(len(x)), atol=1e-4):
        yield "embeddings are not of length 1, as unit_length says"
    if embedded.requires_grad:
        yield "embed keeps a gradient; decorate it with torch.no_grad()"
    numbers = []
    if "alignment" in method.tasks:
        numbers.append(("align", method.align(x, y), -1, len(y)))
        share = method.dummy_share(x, y)
        if share.shape != (len(x),) or not ((share >= 0) & (share <= 1)).all():
            yield f"dummy_share gives {tuple(share.shape)}; expected {(len(x),)} shares between 0 and 1"
    if "segmentation" in method.tasks:
        numbers.append(("segment", method.segment(x), 0, method.n_actions))
    for name, found, least, below in numbers:
        if found.shape != (len(x),) or found.dtype != torch.int64:
            yield f"{name} gives {tuple(found.shape)} {found.dtype}; expected {(len(x),)} torch.int64"
        elif not least <= int(found.min()) <= int(found.max()) < below:
            yield f"{name} gives numbers from {found.min()} to {found.max()}; expected {least} to {below - 1}"


def _loss(case: Case) -> Iterator[str]:
    """A finite scalar, in which every parameter takes part: several processes could not train it otherwise."""
    method = case.ready()
    terms = method(case.batch())
    loss = terms.get("loss")
    if loss is None or loss.ndim or not loss.isfinite():
        yield f"loss_terms gives {sorted(terms)}; expected a finite scalar called 'loss'"
        return
    if large := [name for name, value in terms.items() if value.ndim]:
        yield f"{', '.join(large)} is no scalar"
    loss.backward()
    idle = [name for name, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    if idle:
        yield f"no gradient reaches {', '.join(idle)}"


def _masks(case: Case) -> Iterator[str]:
    """Padding changes neither embeddings of real frames nor the loss."""
    method, batch = case.ready(), case.batch()
    other = replace(batch, features=torch.where(batch.mask.unsqueeze(2), batch.features, torch.tensor(1e3)))
    with torch.no_grad():
        one, two = (method.embed_frames(b.features, b.mask)[b.mask] for b in (batch, other))
    if not _close(one, two):
        yield "embed_frames depends on what stands in padding"
    yield from _differences(_terms(method, batch), _terms(method, other), "depends on what stands in padding")


def _parts(case: Case) -> Iterator[str]:
    """The terms of a batch are the means over its recordings (or pairs) alone; so a batch can be divided."""
    method, batch = case.ready(), case.batch()
    size = 2 if method.paired else 1
    rows = [slice(start, start + size) for start in range(0, 4, size)]
    alone = [_terms(method, Batch(batch.features[r], batch.mask[r], batch.index[r], batch.videos[r])) for r in rows]
    means = {name: torch.stack([terms[name] for terms in alone]).mean(0) for name in alone[0]}
    yield from _differences(_terms(method, batch), means, "of a batch is not the mean over its parts")
    whole, cut = (case.train(1, accumulate=parts)[0].state_dict() for parts in (1, 3))
    yield from _differences(whole, cut, "after training differs where a batch is divided into three parts", 1e-4)


def _seeds(case: Case) -> Iterator[str]:
    """The seed decides everything, and another seed is another training."""
    first, again, other = (case.train(1, seed=seed)[0].state_dict() for seed in (0, 0, 1))
    if changed := [name for name, value in first.items() if not torch.equal(value, again[name])]:
        yield f"{', '.join(changed)} is not the same after two trainings with one seed"
    if all(torch.equal(value, other[name]) for name, value in first.items()):
        yield "another seed gives the same weights"


def _replays(case: Case) -> Iterator[str]:
    """A step that a GPU replays is the same whatever the seed, the step and the epoch."""
    method, batch = case.ready(), case.batch()
    if not method.replays:
        return
    first = _terms(method, batch)
    method.epoch, method.step = 5, 50
    yield from _differences(first, _terms(method, batch, 1), "depends on seed, step or epoch; set replays = False")


def _resume(case: Case) -> Iterator[str]:
    """A training that is interrupted and goes on from its checkpoint ends where one without interruption does."""
    whole, history = case.train(3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        case.train(1, path)
        resumed, resumed_history = case.train(3, path)
        loaded = case.make()
        load_checkpoint(path, loaded)
    state = whole.state_dict()
    for other, words in ((resumed, "differs after a resume"), (loaded, "differs when loaded from its checkpoint")):
        if changed := [name for name, value in other.state_dict().items() if not torch.equal(value, state[name])]:
            yield f"{', '.join(changed)} {words}"
    if history != resumed_history:
        yield "the history differs after a resume"


def _device(case: Case) -> Iterator[str]:
    """On a GPU it computes there what it computes on the CPU."""
    method, batch, video = case.ready(), case.batch(), case.dataset.videos[0]
    expected, embedded = _terms(method, batch), method.embed(video)
    method.cuda()
    found = _terms(method, batch.to("cuda"))
    yield from _differences(expected, {name: value.cpu() for name, value in found.items()}, "differs on a GPU", 1e-3)
    if not _close(embedded, method.embed(video).cpu(), 1e-3):
        yield "embeddings differ on a GPU"


def _terms(method: Method, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
    """The terms of a batch, each time with the same random numbers."""
    torch.manual_seed(seed)
    with torch.no_grad():
        return method(batch)


def _close(one: Tensor, two: Tensor, tolerance: float = 1e-4) -> bool:
    return one.shape == two.shape and torch.allclose(one.float(), two.float(), rtol=10 * tolerance, atol=tolerance)


def _differences(one: dict[str, Tensor], two: dict[str, Tensor], words: str, tolerance: float = 1e-4) -> Iterator[str]:
    if different := [name for name, value in one.items() if not _close(value, two[name], tolerance)]:
        yield f"{', '.join(different)} {words}"


CHECKS: dict[str, Callable[[Case], Iterator[str]]] = {
    "interface": _interface, "shapes": _shapes, "loss": _loss, "masks": _masks, "parts": _parts, "seeds": _seeds,
    "replays": _replays, "resume": _resume, "device": _device,
}  # fmt: skip
OF_TRAINING = (_loss, _masks, _parts, _seeds, _replays, _resume, _device)
