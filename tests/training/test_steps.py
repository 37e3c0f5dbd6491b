"""Recorded steps: the same numbers as steps that are launched, and nothing is read back from the device.

Without a GPU there are no graphs. A stand-in runs the function again at every replay, and the device counts as one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from vasot_kit.benchmarks.training import _model, _pair
from vasot_kit.experiments.config import build, make_config
from vasot_kit.methods import METHODS
from vasot_lib import steps
from vasot_lib.data import Dataset, toy
from vasot_lib.training import TrainingSettings, fit
from vasot_lib.transport import solver
from vasot_lib.transport.fused import gpu
from vasot_lib.transport.problem import NeedsHost, without_host_reads


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=5, seed=1)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps of methods that may be recorded are; the list tells what was recorded and replayed."""
    log: list[str] = []

    def record(function: Callable[[], None]) -> Callable[[], None]:
        log.append("recorded")

        def replay() -> None:
            log.append("replayed")
            function()

        return replay

    begin = steps.Steps.begin

    def begin_recording(self: steps.Steps) -> None:
        self.records = self.method.module.replays
        begin(self)

    monkeypatch.setattr(steps, "record", record)
    monkeypatch.setattr(steps, "BEFORE_RECORDING", 1)
    monkeypatch.setattr(steps.Steps, "begin", begin_recording)
    return log


def trained(data: Dataset, method: str, **settings: object) -> tuple[dict, list]:
    overrides = {"hyper.prior": "learnt"} if method == "asot" else {}  # VASOT has that of the paper
    config = make_config("toy", method, "kit", epochs=2, seed=1, overrides=overrides)
    model = build(config, data)
    options = dict(epochs=3, batch_size=4, frames=40, seed=1) | settings
    history = fit(model, data, TrainingSettings(**options), progress=False)  # type: ignore[arg-type]
    return model.state_dict(), history


def test_what_follows_a_step_keeps_it_from_being_recorded(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(make_config("toy", "asot", "kit"), dataset)
    cuda = SimpleNamespace(device=torch.device("cuda"), world_size=1)
    assert steps.Steps(SimpleNamespace(module=model), None, cuda).records  # type: ignore[arg-type]
    monkeypatch.setattr(type(model), "end_step", lambda self, reduce: None)
    assert not steps.Steps(SimpleNamespace(module=model), None, cuda).records  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["vasot", "vaot", "asot"])
def test_replayed_steps_give_the_numbers_of_launched_ones(
    dataset: Dataset, method: str, recorded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, in an epoch whose last batch is smaller than the others."""
    weights, history = trained(dataset, method)
    assert recorded.count("recorded") >= 1 and recorded.count("replayed") >= 2
    monkeypatch.setattr(steps, "BEFORE_RECORDING", 10**6)
    expected, launched = trained(dataset, method)
    assert history == launched and all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("method", ["vasot", "vaot", "asot"])
def test_graphs_give_the_numbers_of_launches_on_a_gpu(
    dataset: Dataset, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real CUDA graphs, not the stand-in; a capture that fails would warn, which is an error here."""
    captured: list[Callable[[], None]] = []
    record = steps.record
    monkeypatch.setattr(steps, "record", lambda function: captured.append(record(function)) or captured[-1])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="training steps are not recorded")
        weights, _ = trained(dataset, method, device="cuda", epochs=6)
    assert captured  # else launched steps would be compared with themselves
    monkeypatch.setattr(steps, "BEFORE_RECORDING", 10**6)
    expected, _ = trained(dataset, method, device="cuda", epochs=6)
    for name in expected:
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_recorded_is_launched(dataset: Dataset, recorded: list[str]) -> None:
    """Batches with padding, batches in several parts, and methods that draw random numbers or read back."""
    assert max(len(video) for video in dataset.videos) < 1000
    for method, settings in (("asot", dict(frames=1000)), ("asot", dict(batch_size=5, accumulate=2)), ("gtcc", {})):
        trained(dataset, method, **settings)
    assert recorded == []


def test_where_recording_fails_the_training_goes_on(
    dataset: Dataset, recorded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(function: Callable[[], None]) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(steps, "record", fail)
    with pytest.warns(UserWarning, match="not recorded as CUDA graphs: operation not permitted"):
        weights, _ = trained(dataset, "asot")
    monkeypatch.undo()
    expected, _ = trained(dataset, "asot")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.replays])
def test_a_recorded_step_reads_nothing_from_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without data stand for those of a device: whoever reads one gets an error."""
    pytest.importorskip("triton")
    from vasot_lib.transport.fused import gpu_kernel

    class Kernel:
        def __getitem__(self, grid: tuple[int, int]) -> Callable[..., None]:
            return lambda *arguments, **constants: launches.append(grid)

    launches: list[tuple[int, int]] = []
    monkeypatch.setattr(gpu_kernel, "solve", Kernel())
    monkeypatch.setattr(gpu, "_programs_at_once", lambda device: 264)
    monkeypatch.setattr(solver, "_implementation", lambda problem, schedule: (gpu.run, 4))
    model, batch = _model(name, "cpu").to("meta"), _pair(2).to("meta")
    with without_host_reads():
        model.loss_terms(model.embed_frames(batch.features, batch.mask), batch)["loss"].backward()
    assert launches  # one launch for each solve
    with pytest.raises(NotImplementedError):  # outside of a recording, costs and masks are checked
        model.loss_terms(model.embed_frames(batch.features, batch.mask), batch)


def test_a_method_that_needs_the_host_is_launched_without_a_warning(
    dataset: Dataset, recorded: list[str], monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def fail(function: Callable[[], None]) -> None:
        raise NeedsHost("to look at the plan")

    monkeypatch.setattr(steps, "record", fail)
    trained(dataset, "asot")
    assert not [each for each in recwarn if "recorded" in str(each.message)]
