"""Training from pixels: it resumes to the same numbers, embeds and aligns videos, and runs in half precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vasot_kit.experiments.config import Config, build, make_config
from vasot_lib.data import Context, Dataset, toy
from vasot_lib.errors import InputError
from vasot_lib.methods import VAOT, Method
from vasot_lib.training import History, fit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rendered() -> Dataset:
    dataset = toy(n_videos=3, render=True, seed=1)
    return replace(dataset, name="toy_rendered").as_pictures(Context())


def config(epochs: int = 2, **training: object) -> Config:
    values = {"training.frames": 20, "encoder.hidden": 16, "encoder.out": 8, "encoder.flip": True}
    values |= {f"training.{name}": value for name, value in training.items()}
    return make_config("toy_rendered", "vaot", "paper", epochs=epochs, overrides=values)


def train(cfg: Config, dataset: Dataset, checkpoint: Path | None = None) -> tuple[Method, History]:
    method = build(cfg, dataset)
    return method, fit(method, dataset, cfg.training, checkpoint, progress=False)


def test_an_encoder_that_does_not_fit_the_data_is_refused(rendered: Dataset) -> None:
    with pytest.raises(InputError, match=r"shows features but .* encoder of pictures; use make_config\(.*pixels=False"):
        build(config(), toy(n_videos=3))
    with pytest.raises(InputError, match=r"shows pictures but .* encoder of features; use make_config\(.*pixels=True"):
        build(make_config("toy", "vaot"), rendered)


def test_a_run_that_was_interrupted_ends_with_the_numbers_of_one_that_was_not(
    rendered: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, history = train(config(), rendered)
    assert len(history) == 2 and all(np.isfinite(list(record.values())).all() for record in history)
    fresh = build(config(), rendered)
    for name, value in whole.named_parameters():
        still = torch.equal(value, fresh.get_parameter(name))
        assert not still or (name.startswith("encoder.temporal_convolutions") and name.endswith("bias")), name

    steps: Iterator[int] = iter(range(100))
    terms = VAOT.loss_terms

    def interrupted(self: VAOT, *rest: object) -> dict[str, Tensor]:
        if next(steps) == 4:  # three steps an epoch: inside the second one
            raise KeyboardInterrupt
        return terms(self, *rest)

    checkpoint = tmp_path / "c.safetensors"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(VAOT, "loss_terms", interrupted)
        train(config(), rendered, checkpoint)
    torch.manual_seed(999)
    resumed, resumed_history = train(config(), rendered, checkpoint)
    assert resumed_history == history
    state = resumed.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())


def test_a_video_is_embedded_and_aligned(rendered: Dataset) -> None:
    method, _ = train(config(epochs=0), rendered)
    x, y = rendered.videos[:2]
    embedded = method.embed(x)
    assert embedded.shape == (len(x), 8)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(len(x)))
    matches = method.align(x, y)
    assert matches.shape == (len(x),) and matches.min() >= 0 and matches.max() < len(y)


def test_half_precision_layers(rendered: Dataset) -> None:
    """On CPUs that compute in bfloat16 this ended in NaN, see the comment in the encoder."""
    method, history = train(config(epochs=1, precision="bf16"), rendered)
    _, exact = train(config(epochs=1), rendered)
    assert history[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.1) and history != exact
    assert {value.dtype for value in method.parameters()} == {torch.float32}
