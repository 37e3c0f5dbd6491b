"""``vasot train``: from names to recorded scores without a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vasot_kit.cli import main
from vasot_kit.datasets import load_dataset
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import baseline_rows, evaluate
from vasot_kit.runs import train as train_module
from vasot_kit.runs.records import collect
from vasot_lib.training import fit, load_checkpoint

SMALL = ("-p", "training.frames", "32", "-p", "training.lr", "2e-3")
OVERRIDES = {"training.frames": 32, "training.lr": 2e-3}


def vasot_train(out: Path, epochs: int, method: str = "asot") -> int:
    return main(["train", "toy", method, "--seed", "1", "--epochs", str(epochs), *SMALL, "--out", str(out)])


def test_train_records_what_the_library_computes_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    baselines = baseline_rows(load_dataset("toy"), 1)
    monkeypatch.setattr(train_module, "baseline_rows", lambda dataset, seed: baselines)
    out = tmp_path / "run"
    assert vasot_train(out, 1) == 0
    assert vasot_train(out, 2) == 0
    assert capsys.readouterr().out == f"wrote {out / 'metrics.json'}\n" * 2

    config = make_config("toy", "asot", seed=1, epochs=2, overrides=OVERRIDES)
    data = load_dataset("toy")
    method = build(config, data)
    history = fit(method, data, config.training, progress=False)
    loaded = build(config, data)
    assert load_checkpoint(out / "weights.safetensors", loaded) == history
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in method.state_dict().items())

    row, *others = collect(tmp_path)
    expected = {"dataset": "toy", "method": "asot", "preset": "kit", "seed": 1, **evaluate(method, data)}
    expected |= {name: history[-1][name] for name in ("mean_cosine", "effective_rank")}
    expected |= {"changes": json.dumps({**OVERRIDES, "training.epochs": 2}), "notebook": "train", "run": "run"}
    assert row == expected
    assert [other["method"] for other in others] == [baseline["method"] for baseline in baselines]
    content = json.loads((out / "metrics.json").read_text())
    assert content["config"] == config.as_dict() and content["data"] == {"toy": data.checksum()}

    assert vasot_train(out, 1) == 2  # its weights have seen 2
    assert "holds 2 epochs but 1 were asked for" in capsys.readouterr().err
    assert vasot_train(out, 2, "vaot") == 1
    assert "made by another configuration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "vasto"], "did you mean 'vasot'"),
        (["toi", "vasot"], "did you mean 'toy'"),
        (["toy", "vasot", "--preset", "papr"], "did you mean 'paper'"),
        (["toy", "vasot", "-p", "training.lrr", "1"], "did you mean 'training.lr'"),
        (["toy", "vasot", "-p", "training.accumulate", "0"], "accumulate is 0"),
        (["toy", "vasot", "-p", "training.precision", "fp16"], "unknown training.precision 'fp16'"),
    ],
)
def test_bad_use_of_train_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vasot: ") and message in line
    assert not (tmp_path / "run").exists()
