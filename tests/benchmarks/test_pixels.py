"""The benchmark from pixels runs at any size and says what it measured."""

from __future__ import annotations

from typing import Any

import pytest

from vasot_kit.benchmarks import pixels as bench
from vasot_kit.benchmarks import timing
from vasot_kit.experiments.config import Config, with_overrides


@pytest.mark.slow
def test_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(config: Config, values: dict[str, Any]) -> Config:
        return with_overrides(config, {**values, "encoder.trunk": "small", "encoder.hidden": 8, "encoder.out": 8})

    monkeypatch.setattr(bench, "with_overrides", small)
    monkeypatch.setattr(timing, "TURN", 0.0)
    step, embedded = bench.bench_pixels(seconds=0.0, side=16)
    assert step.name == "VAOT step from pixels, float32" and step.unit == "ms" and step.value > 0
    assert "20 frames with a context frame each, 16 x 16" in step.note and "GiB at its peak" in step.note
    assert embedded.unit == "1/s" and embedded.value > 0 and embedded.note == "film of 64 frames"


def test_a_step_moves_no_weight() -> None:
    """So every step is the same work; statistics of batches move."""
    data = bench._films(16)
    config = with_overrides(bench.make_config("pictures", "vaot", "paper", pixels=True), {"encoder.weights": ""})
    config = with_overrides(config, {"encoder.trunk": "small", "encoder.hidden": 8})
    model = bench.build(config, data).train()
    before = [parameter.clone() for parameter in model.parameters()]
    bench._step(model, bench.collate(data.videos, bench.FRAMES, None), "cpu", half=True)
    assert all((old == new).all() for old, new in zip(before, model.parameters(), strict=True))


def test_pictures_have_the_size_that_is_asked_for() -> None:
    data = bench._films(24)
    assert [video.frames.shape for video in data.videos] == [(64, 24, 24, 3)] * 2
    assert data.videos[0].context is not None and (data.videos[0].frames != data.videos[1].frames).any()
