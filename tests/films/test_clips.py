"""Networks of whole clips, here tiny ones with random weights. Loading transformers takes some seconds, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vasot_kit.films.clips import MOST_FRAMES, ClipNetwork
from vasot_kit.own_films.inputs import feature_extractor
from vasot_lib.errors import DataError, InputError
from vasot_lib.vision import torchvision

SIDE, FRAMES, PAIR, WIDTH = 32, 8, 2, 24


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind."""
    torchvision()
    from transformers import VideoMAEConfig, VideoMAEModel, VJEPA2Config, VJEPA2Model

    torch.manual_seed(0)
    same = {"patch_size": 16, "tubelet_size": PAIR, "hidden_size": WIDTH, "num_hidden_layers": 2}
    jepa = VJEPA2Config(
        crop_size=SIDE, frames_per_clip=FRAMES, num_attention_heads=2, mlp_ratio=2, pred_hidden_size=WIDTH,
        pred_num_attention_heads=2, pred_num_hidden_layers=1, **same,
    )  # fmt: skip
    mae = VideoMAEConfig(image_size=SIDE, num_frames=FRAMES, num_attention_heads=2, intermediate_size=48, **same)
    folder = tmp_path_factory.mktemp("clips")
    VJEPA2Model(jepa).save_pretrained(folder / "vjepa2")
    VideoMAEModel(mae).save_pretrained(folder / "videomae")
    return folder


def film(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["vjepa2", "videomae"])
def test_a_clip_is_described_by_what_the_network_gives_for_it(models: Path, kind: str) -> None:
    network = feature_extractor(f"transformers:{models / kind}")
    assert isinstance(network, ClipNetwork) and (network.side, network.frames) == (SIDE, FRAMES)
    pictures = film(FRAMES)
    small = [
        np.asarray(Image.fromarray(each).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255 for each in pictures
    ]
    shown = (np.array(small) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    clip = torch.from_numpy(shown).float().permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        given = network.model(clip, **network.options).last_hidden_state[0].numpy()
    moments = given.reshape(FRAMES // PAIR, -1, WIDTH).mean(1)
    expected = [np.interp(np.arange(FRAMES), np.arange(0.5, FRAMES, PAIR), channel) for channel in moments.T]
    np.testing.assert_allclose(network(iter(pictures), 25.0), np.array(expected).T, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3, FRAMES, FRAMES + 1, 2 * FRAMES, 50, 53])
def test_every_frame_is_described_by_the_clip_whose_middle_is_nearest(
    models: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    """The first channel of a made-up description is the frame's number, the second that of the clip's first frame."""
    network = ClipNetwork(f"transformers:{models / 'videomae'}")
    monkeypatch.setattr(network, "_prepared", lambda picture: int(picture))
    monkeypatch.setattr(network, "_rows", lambda clip: np.array([[frame, clip[0]] for frame in clip]))
    frames, starts = network(iter(np.arange(n)), 25.0).T
    np.testing.assert_array_equal(frames, np.arange(n))
    known = sorted({*range(0, max(n - FRAMES, 0) + 1, FRAMES // 2), max(n - FRAMES, 0)})
    middles = np.array(known) + (FRAMES - 1) / 2
    nearest = np.abs(frames[:, None] - middles).min(1)
    assert (np.abs(frames - starts - (FRAMES - 1) / 2) <= nearest + 0.5).all()
    assert set(starts) <= set(known)


def test_a_short_film_is_as_if_its_last_frame_stood_still(models: Path) -> None:
    network = ClipNetwork(f"transformers:{models / 'vjepa2'}")
    pictures = film(3)
    longer = np.concatenate([pictures, np.repeat(pictures[-1:], FRAMES - 3, axis=0)])
    np.testing.assert_allclose(network(iter(pictures), 25.0), network(iter(longer), 25.0)[:3], atol=1e-6)


def test_a_network_of_long_clips_gets_shorter_ones(models: Path, tmp_path: Path) -> None:
    copy = copied(models / "vjepa2", tmp_path / "long", frames_per_clip=64)
    assert ClipNetwork(f"transformers:{copy}").frames == MOST_FRAMES


def test_features_of_two_folders_of_one_name_are_not_mixed_up(models: Path, tmp_path: Path) -> None:
    one = copied(models / "videomae", tmp_path / "a" / "model")
    other = copied(models / "vjepa2", tmp_path / "b" / "model")
    names = [ClipNetwork(f"transformers:{folder}").name for folder in (one, other)]
    assert names[0] != names[1] and all(name.startswith("transformers:model@") for name in names)


def test_weights_of_half_precision_are_taken(models: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    half = copied(models / "videomae", tmp_path / "half", dtype="float16")
    weights = {name: weight.half() for name, weight in load_file(half / "model.safetensors").items()}
    save_file(weights, half / "model.safetensors", metadata={"format": "pt"})
    one, other = (ClipNetwork(f"transformers:{folder}") for folder in (models / "videomae", half))
    np.testing.assert_allclose(other(iter(film(9)), 25.0), one(iter(film(9)), 25.0), atol=0.01)


def test_code_that_comes_with_a_model_is_not_run(models: Path, tmp_path: Path) -> None:
    own = copied(
        models / "videomae", tmp_path / "own", model_type="own", auto_map={"AutoConfig": "own.C", "AutoModel": "own.M"}
    )
    (own / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DataError, match=r"own cannot be downloaded or read \(ValueError\)"):
        ClipNetwork(f"transformers:{own}")
    assert not (tmp_path / "ran").exists()


def test_other_models_are_refused_in_one_line(models: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(
        tmp_path / "bert"
    )
    with pytest.raises(InputError, match="bert is a bert; give a V-JEPA 2 .vjepa2. or a VideoMAE .videomae.$"):
        ClipNetwork(f"transformers:{tmp_path / 'bert'}")
    with pytest.raises(DataError, match="/nowhere/at all is no folder; write transformers:FOLDER, or a model"):
        ClipNetwork("transformers:/nowhere/at all")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty cannot be .*; the folder has to hold config.json and model.safetens"):
        ClipNetwork(f"transformers:{tmp_path / 'empty'}")
    lacking = copied(models / "videomae", tmp_path / "lacking")
    weights = load_file(lacking / "model.safetensors")
    weights.pop("encoder.layer.1.layernorm_after.weight")
    save_file(weights, lacking / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="lacks 1 weights, the first encoder.layer.1.layernorm_after.weight; fetch it"):
        ClipNetwork(f"transformers:{lacking}")


def test_without_a_network_it_says_how_to_fetch_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", unreachable)
    with pytest.raises(DataError, match=r"\(OSError\); on a machine with a network run hf download a/b --local-dir FO"):
        ClipNetwork("transformers:a/b")


def copied(model: Path, to: Path, **changes: Any) -> Path:
    """A copy of a model, with other values in its configuration."""
    to.mkdir(parents=True)
    for file in model.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    config = json.loads((model / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps(config))
    return to
