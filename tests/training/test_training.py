"""Training: it learns, it is deterministic, and a run that was killed ends where an uninterrupted one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vasot_kit.experiments.config import Config, build, make_config, with_overrides
from vasot_lib.data import Dataset, toy
from vasot_lib.errors import DataError, InputError
from vasot_lib.methods import Method
from vasot_lib.training import History, TrainingSettings, fit, load_checkpoint
from vasot_lib.transport import Alignment, Segmentation


def config(method: str = "vasot", epochs: int = 3, seed: int = 0) -> Config:
    overrides: dict[str, object] = {"training.frames": 48, "training.batch_size": 4}
    if method == "peot":
        overrides["hyper.transport.radius"] = 0.04  # its own reaches no neighbour in 48 frames
    return make_config("toy", method, "paper", epochs=epochs, seed=seed, overrides=overrides)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, seed=1)


def train(cfg: Config, dataset: Dataset, checkpoint: Path | None = None) -> tuple[Method, History]:
    method = build(cfg, dataset)
    return method, fit(method, dataset, cfg.training, checkpoint, progress=False)


def same(a: Method, b: Method) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("method", ["asot", "vasot"])
def test_the_loss_goes_down(method: str, dataset: Dataset) -> None:
    _, history = train(config(method, epochs=12), dataset)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert {"epoch", "loss", "mean_cosine", "effective_rank"} <= history[0].keys()
    shares = {name: [epoch[name] for epoch in history] for name in history[0] if name.startswith("converged_")}
    wanted = {"converged_segmentation"} if method == "asot" else {"converged_alignment", "converged_segmentation"}
    assert shares.keys() == wanted and all(0 <= share <= 1 for each in shares.values() for share in each)
    if method == "vasot":  # a share is no term of the loss
        assert history[0]["loss"] == pytest.approx(history[0]["alignment"] + history[0]["segmentation"], rel=1e-5)


def test_the_share_of_converged_plans_is_that_of_the_plans(dataset: Dataset) -> None:
    """One epoch of one pair: the share of both terms is that of the plans which the first step solved."""
    cfg = config("vasot")
    cfg = with_overrides(cfg, {"training.epochs": 1, "hyper.segmentation.transport.iterations": 500})
    pair = replace(dataset, videos=dataset.videos[:2])
    solved: dict[str, list[torch.Tensor]] = {"Alignment": [], "Segmentation": []}
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Alignment, Segmentation):
            match = kind.match

            def watched(self, *given, match=match, name=kind.__name__, **named):
                found = match(self, *given, **named)
                plan = found[1] if name == "Segmentation" else found.plan
                solved[name].append(plan.converged.float())
                return found

            patch.setattr(kind, "match", watched)
        _, (epoch,) = train(cfg, pair)
    assert epoch["converged_alignment"] == pytest.approx(float(torch.cat(solved["Alignment"]).mean()))
    assert epoch["converged_segmentation"] == pytest.approx(float(torch.cat(solved["Segmentation"]).mean()))
    assert epoch["converged_alignment"] < epoch["converged_segmentation"] == 1


def test_the_seed_decides_everything(dataset: Dataset) -> None:
    (a, first), (b, second), (c, _) = (train(config(seed=seed), dataset) for seed in (0, 0, 1))
    assert same(a, b) and first == second
    assert not same(a, c)


def test_where_a_split_is_published_its_first_part_is_trained_on(dataset: Dataset) -> None:
    parts = ("train", "val", "train", "val")
    videos = tuple(replace(video, part=part) for video, part in zip(dataset.videos, parts, strict=True))
    (whole, history), (alone, expected) = (
        train(config(), data) for data in (replace(dataset, videos=videos), replace(dataset, videos=videos[::2]))
    )
    assert same(whole, alone) and history == expected
    assert not same(whole, train(config(), dataset)[0])


KILLED = """
import sys
from pathlib import Path
import torch
from vasot_lib.data import toy
from tests.training.test_training import config, train
torch.set_num_threads(int(sys.argv[2]))
train(config(epochs=400), toy(n_videos=4, seed=1), Path(sys.argv[1]))
"""


def test_kill_9_then_resume(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "killed.safetensors"
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(torch.get_num_threads())],
        cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not path.exists() and child.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)  # somewhere inside a later epoch
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = len(load_checkpoint(path, build(config(), dataset)))
    assert done >= 1
    resumed, history = train(config(epochs=done + 2), dataset, path)
    whole, whole_history = train(config(epochs=done + 2), dataset)
    assert same(whole, resumed) and history == whole_history


def test_damaged_checkpoint_is_one_clear_line(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    train(config(epochs=1), dataset, path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"checkpoint .* cannot be read .*remove it to start again"):
        train(config(epochs=2), dataset, path)


def test_a_checkpoint_in_which_one_bit_has_changed_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    method, _ = train(config("tot", epochs=1), dataset, path)
    content = path.read_bytes()
    for place in range(0, 8 * len(content), 8 * len(content) // 199):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"checkpoint .*remove it to start again|no checkpoint of a training"):
            load_checkpoint(path, method)


def test_a_file_that_is_no_checkpoint_is_named(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(DataError, match="no checkpoint of a training"):
        train(config(epochs=1), dataset, path)


def test_checkpoint_of_another_configuration_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    train(config(epochs=1), dataset, path)
    with pytest.raises(DataError, match="made by another configuration"):
        train(config(epochs=2, seed=1), dataset, path)
    with pytest.raises(DataError, match="made by another configuration"):
        train(config(epochs=2), toy(n_videos=4, seed=2), path)


def test_no_half_written_checkpoint_stays_beside(dataset: Dataset, tmp_path: Path) -> None:
    train(config(epochs=2), dataset, tmp_path / "c.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_whoever_may_read_other_files_may_read_a_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    train(config(epochs=1), dataset, tmp_path / "c.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "c.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(lr=0.0), "lr is 0.0"),
        (dict(batch_size=0), "batch_size is 0"),
        (dict(frames=2.5), "frames is 2.5"),
        pytest.param(
            dict(device="cuda"), "no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there"),
        ),
    ],
)  # fmt: skip
def test_bad_settings(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingSettings(**values)


def test_infinite_loss_is_reported_not_trained_on(dataset: Dataset) -> None:
    cfg = make_config("toy", "vaot", "paper", epochs=3, overrides={"training.frames": 48, "training.lr": 1e30})
    with pytest.raises(InputError, match=r"lower lr|NaN or -infinity"):
        train(cfg, dataset)
