"""Several processes, several passes: a step means the same however it is cut."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from vasot_kit.experiments.config import Config, build, make_config, with_overrides
from vasot_kit.methods import METHODS
from vasot_kit.runs.training import Training, train_and_score
from vasot_lib.data import Dataset, collate, epoch_batch_parts, toy
from vasot_lib.errors import DataError, InputError
from vasot_lib.methods import Method
from vasot_lib.training import History, fit, is_first_process

ROOT = Path(__file__).parents[2]
FRAMES = 48

LEARNERS = [name for name, method in METHODS.items() if method.learns]


def config(method: str, epochs: int = 3, **training: object) -> Config:
    values = {"frames": FRAMES, "batch_size": 4, **training}
    overrides: dict[str, object] = {f"training.{name}": value for name, value in values.items()}
    if method == "asot":
        overrides["hyper.prior"] = "learnt"  # VASOT has that of the paper
    if method == "peot":
        overrides["hyper.transport.radius"] = 0.04  # its own reaches no neighbour in videos of 28 frames
    return make_config("toy", method, "paper", epochs=epochs, overrides=overrides)


def odd_dataset() -> Dataset:
    """Five videos, so that the last batch holds one video or pair, two of them shorter than a sample."""
    whole = toy(n_videos=5, seed=1)
    cut = {1: 40, 3: 28}
    videos = [
        replace(v, features=v.features[: cut.get(i)], labels=None, position=None) for i, v in enumerate(whole.videos)
    ]
    return replace(whole, videos=tuple(videos))


def train(cfg: Config, checkpoint: Path | None = None) -> tuple[Method, History]:
    dataset = odd_dataset()
    method = build(cfg, dataset)
    return method, fit(method, dataset, cfg.training, checkpoint, progress=False)


@cache
def plain(method: str) -> tuple[Method, History]:
    """A training at once, on one process, in float32, which several tests compare with."""
    return train(config(method))


def assert_same_training(one: tuple[Method, History], state: dict[str, torch.Tensor], history: History) -> None:
    method, expected = one
    assert len(history) == len(expected)
    for ours, theirs in zip(history, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    for name, value in method.state_dict().items():
        torch.testing.assert_close(state[name], value, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_the_parts_of_a_batch_are_its_rows_and_their_shares_sum_to_1(parts: int, paired: bool) -> None:
    dataset = odd_dataset()
    wholes = (
        whole for ((whole, _),) in epoch_batch_parts(dataset, FRAMES, 4, paired, torch.Generator().manual_seed(0))
    )
    each = [
        epoch_batch_parts(dataset, FRAMES, 4, paired, torch.Generator().manual_seed(0), parts, range(part, part + 1))
        for part in range(parts)
    ]
    for whole, *found in zip(wholes, *each, strict=True):
        cut = [(batch, share) for ((batch, share),) in found if share]
        assert sum(share for _, share in cut) == pytest.approx(1.0)
        for name in ("features", "mask", "index", "videos"):
            torch.testing.assert_close(torch.cat([getattr(batch, name) for batch, _ in cut]), getattr(whole, name))
        assert all(len(batch.videos) / len(whole.videos) == pytest.approx(share) for batch, share in cut)
        assert not paired or all(len(batch.videos) % 2 == 0 for batch, _ in cut)


def test_a_run_is_resumed_with_another_accumulation_but_not_with_another_precision(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    train(config("vaot", epochs=1), path)
    resumed, history = train(config("vaot", epochs=2, accumulate=2), path)
    assert_same_training(train(config("vaot", epochs=2)), resumed.state_dict(), history)
    with pytest.raises(DataError, match="made by another configuration"):
        train(config("vaot", epochs=3, precision="bf16"), path)


def recorded(method: str, precision: str) -> tuple[Method, list[torch.Tensor], History]:
    """A method after its training, what its encoder gave in each step, and the history."""
    dataset, cfg = odd_dataset(), config(method, precision=precision)
    trained, seen = build(cfg, dataset), []
    terms = trained.loss_terms
    trained.loss_terms = lambda embedded, batch: seen.append(embedded.detach()) or terms(embedded, batch)
    return trained, seen, fit(trained, dataset, cfg.training, progress=False)


@pytest.mark.parametrize("method", LEARNERS)
def test_bfloat16_layers_come_near_float32(method: str) -> None:
    """Losses within 2 %; transport, targets and weights stay in float32, embeddings of length 1 keep it.

    HVQ and SMQ replace frames by the nearest code, and where two are as near a rounding decides what is learnt: of
    them the embeddings of the first step are compared.
    """
    half, seen, history = recorded(method, "bf16")
    if method in ("hvq", "smq"):
        (first, *_), exact = recorded(method, "32")[1:]
        assert 0 < (seen[0] - first).norm() < 0.02 * first.norm()
    else:
        _, exact = plain(method)
        assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in exact], rel=0.02)
    assert [row["loss"] for row in history] != [row["loss"] for row in exact]
    assert {embedded.dtype for embedded in seen} == {value.dtype for value in half.state_dict().values()}
    assert seen[0].dtype == torch.float32
    if half.unit_length:
        torch.testing.assert_close(seen[0].norm(dim=2), torch.ones(seen[0].shape[:2]))


def test_targets_of_bfloat16_embeddings_are_float32() -> None:
    dataset = odd_dataset()
    method = build(config("vasot"), dataset)
    batch = collate(dataset.videos[:2], FRAMES, None)
    x = method.encoder(batch.features).detach().bfloat16()
    targets, _ = method.segmentation.transport.match(x, method.actions.weight.detach().bfloat16(), batch.mask)
    matches = method.hyper.alignment.transport.match(x[:1], x[1:], batch.mask[:1], batch.mask[1:])
    assert targets.dtype == matches.x_to_y.dtype == torch.float32
    assert targets.isfinite().all() and matches.x_to_y.isfinite().all()


RUNS = {name: config(name, epochs=2) for name in LEARNERS} | {
    "accumulated": config("vasot", accumulate=2),
    "resumed": config("vasot"),
    "restarts": with_overrides(config("vasot", epochs=2), {"restarts": 2}),
}


def child(folder: Path) -> None:
    """What each of two processes does: train all of RUNS and leave what it has; one run with scores."""
    for name, cfg in RUNS.items():
        method, history = train(cfg, folder / f"{name}.safetensors")
        torch.save((method.state_dict(), history), folder / f"{name}-{os.environ['RANK']}.pt")
    with pytest.raises(DataError, match="made by another configuration"):  # which only the first process sees
        train(config("asot", epochs=3, seed=9), folder / "asot.safetensors")
    training = Training("toy", "asot", "paper", epochs=1, overrides={"training.frames": 32})
    written = train_and_score(training, folder / "run")
    assert (written is None) == (os.environ["RANK"] != "0")


def endless(folder: Path) -> None:
    (folder / os.environ["RANK"]).write_text(str(os.getpid()))
    train(config("asot", epochs=100_000), folder / "c.safetensors")


def start(function: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.training.test_processes", function, str(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    train(config("vasot", epochs=1), tmp_path / "resumed.safetensors")  # on one process; two go on
    parent = start("child", tmp_path)
    output, _ = parent.communicate(timeout=120)
    assert parent.returncode == 0, output
    for name, cfg in RUNS.items():
        one = train(replace(cfg, training=replace(cfg.training, accumulate=1)))
        first, second = (torch.load(tmp_path / f"{name}-{rank}.pt") for rank in (0, 1))
        assert_same_training(one, *first)
        assert first[1] == second[1]
        assert all(torch.equal(value, second[0][key]) for key, value in first[0].items())
    written = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert written == ["metrics.json", "model.json", "weights.safetensors"]
    # And back: what two processes saved goes on on one.
    back, history = train(config("vasot", epochs=4), tmp_path / "vasot.safetensors")
    assert_same_training(train(config("vasot", epochs=4)), back.state_dict(), history)


def test_the_death_of_one_process_ends_all(tmp_path: Path) -> None:
    parent = start("endless", tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "c.safetensors").exists() and parent.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    first, second = (int((tmp_path / rank).read_text()) for rank in "01")
    os.kill(second, signal.SIGKILL)
    parent.communicate(timeout=30)
    assert parent.returncode != 0
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def launched(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """The environment that torchrun gives to the first of its processes, without the others."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "0")
    monkeypatch.setenv("RANK", "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, str(processes))


def test_more_processes_than_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"3 processes were started on a machine with 2 CUDA device\(s\)"):
        train(config("vaot", device="auto"))


@pytest.mark.filterwarnings("error")
def test_processes_without_work_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, 3)
    with pytest.raises(UserWarning, match="batch_size 4 gives work to 2 of 3 processes"):
        train(config("vaot"))


def test_a_process_alone_is_the_first() -> None:
    assert is_first_process()


if __name__ == "__main__":
    {"child": child, "endless": endless}[sys.argv[1]](Path(sys.argv[2]))
