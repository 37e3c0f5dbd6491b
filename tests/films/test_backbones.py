"""Frozen networks give one row a picture, whatever their last layer is called, and are cached under what they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vasot_kit.films import backbones
from vasot_kit.films.backbones import Backbone
from vasot_lib.errors import DataError, InputError
from vasot_lib.vision import imagenet_weights, network, torchvision


def pictures(n: int, seed: int = 0, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Smooth ones, that survive scaling."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, height // 16, width // 16, 3), np.uint8)
    return [np.kron(each, np.ones((16, 16, 1), np.uint8)) for each in coarse]


def describe(backbone: Backbone, shown: list[np.ndarray]) -> np.ndarray:
    return backbone(iter(shown), 30.0)


@pytest.fixture(scope="module", params=["torchvision", "timm"])
def resnet(request: pytest.FixtureRequest) -> Backbone:
    return Backbone(f"{request.param}:resnet18@random")


def test_one_row_a_picture_the_same_for_the_same(resnet: Backbone) -> None:
    a, b, c = pictures(3)
    table = describe(resnet, [a, b, a, c])
    assert table.shape == (4, 512) and table.dtype == np.float32 and np.isfinite(table).all()
    assert table[2] == pytest.approx(table[0], rel=1e-5)
    spread = np.abs(table[0]).mean()
    assert all(np.abs(table[0] - table[k]).mean() > 0.01 * spread for k in (1, 3))


def test_the_row_of_a_picture_does_not_depend_on_its_batch(resnet: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = pictures(5)
    whole = describe(resnet, shown)
    sizes: list[int] = []
    handle = resnet.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    monkeypatch.setattr(backbones, "BATCH", 2)
    assert describe(resnet, shown) == pytest.approx(whole, rel=1e-3, abs=1e-4)
    handle.remove()
    assert sizes == [2, 2, 1]


def test_pictures_are_read_batch_by_batch(resnet: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "BATCH", 2)
    asked, behind = 0, []

    def source() -> Iterator[np.ndarray]:
        nonlocal asked
        for picture in pictures(5):
            asked += 1
            yield picture

    handle = resnet.model.register_forward_pre_hook(lambda *_: behind.append(asked))
    resnet(source(), 30.0)
    handle.remove()
    assert behind == [2, 4, 5]


def test_it_is_frozen_and_a_feature_extractor(resnet: Backbone) -> None:
    assert not any(parameter.requires_grad for parameter in resnet.model.parameters())
    assert not any(module.training for module in resnet.model.modules())
    assert resnet.one_process and resnet.side == 256 and resnet.name.endswith(":resnet18@random")


def test_features_are_what_the_last_layer_is_given() -> None:
    backbone = Backbone("torchvision:resnet18@random")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = network("resnet18", "").eval()
    given: list[torch.Tensor] = []
    whole.fc.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    prepared = [imagenet_weights("resnet18").transforms()(Image.fromarray(picture)) for picture in pictures(2)]
    with torch.inference_mode():
        whole(torch.stack(prepared))
    assert describe(backbone, pictures(2)) == pytest.approx(given[0].numpy(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "width"), [("mobilenet_v3_small", 1024), ("shufflenet_v2_x0_5", 1024), ("vit_b_32", 768)]
)
def test_whatever_the_last_layer_is_called(name: str, width: int) -> None:
    assert describe(Backbone(f"torchvision:{name}@random"), pictures(1)).shape == (1, width)


def test_random_weights_are_the_same_every_time() -> None:
    """Features are cached under the name."""
    rows = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        after = torch.Generator().manual_seed(seed)
        rows.append(describe(Backbone("torchvision:resnet18@random"), pictures(1)))
        assert torch.equal(torch.rand(3), torch.rand(3, generator=after))  # what others draw is not touched
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)


def saved(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    folder.mkdir()
    torch.save(network("resnet18", "").state_dict(), folder / "best.pt")
    return folder / "best.pt"


def test_weights_from_a_file_are_part_of_the_name(tmp_path: Path) -> None:
    """Two trainings of one network leave files of one name and size; their features are not each other's."""
    one, other = (saved(tmp_path / folder, seed) for seed, folder in enumerate(("one", "other")))
    assert one.stat().st_size == other.stat().st_size
    first, second = (Backbone(f"torchvision:resnet18@{file}") for file in (one, other))
    assert first.name.startswith("torchvision:resnet18@best.pt-") and first.name != second.name
    assert np.abs(describe(first, pictures(1)) - describe(second, pictures(1))).max() > 1e-3
    moved = tmp_path / "best.pt"
    one.rename(moved)
    assert Backbone(f"torchvision:resnet18@{moved}").name == first.name


def test_weights_of_timm_from_a_file(tmp_path: Path) -> None:
    torchvision()
    import timm

    torch.manual_seed(5)
    model = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    file = tmp_path / "w.pt"
    torch.save(model.state_dict(), file)
    backbone = Backbone(f"timm:resnet18@{file}")
    loaded = backbone.model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet18", "backbone is 'resnet18'; write library:model, for example torchvision:resnet50"),
        ("keras:resnet18", "backbone is 'keras:resnet18'; write library:model"),
        (":resnet18", "backbone is ':resnet18'; write library:model"),
        ("torchvision:resnt18@random", "unknown network of torchvision 'resnt18' .did you mean 'resnet18'"),
        ("timm:resnt18@random", "unknown model of timm 'resnt18' .did you mean 'resnet18'"),
        ("timm:resnet18.a1_in2k@random", "unknown model of timm 'resnet18.a1_in2k' .did you mean 'resnet18.a1_in1k'"),
        ("torchvision:squeezenet1_1@random", "torchvision:squeezenet1_1 has no linear layer to take off; use another"),
    ],
)
def test_what_is_no_backbone_is_refused_in_one_line(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as failure:
        Backbone(name)
    assert "\n" not in str(failure.value) and len(str(failure.value)) < 500


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_weights_that_do_not_fit_are_refused(library: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.pt' are no file"):
        Backbone(f"{library}:resnet18@{tmp_path / 'none.pt'}")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(DataError, match="w.pt do not fit ResNet or are damaged"):
        Backbone(f"{library}:resnet18@{tmp_path / 'w.pt'}")


def test_the_published_weights_of_timm_may_be_named(tmp_path: Path) -> None:
    """Their last layer is taken off."""
    torchvision()
    import timm

    whole = timm.create_model("test_resnet.r160_in1k", pretrained=False)
    torch.save(whole.state_dict(), tmp_path / "w.pt")
    model = network("timm:test_resnet.r160_in1k", str(tmp_path / "w.pt"))
    assert all(torch.equal(part, whole.state_dict()[name]) for name, part in model.state_dict().items())


def test_without_a_network_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision()
    import huggingface_hub
    import timm

    def offline(*_: object, **options: object) -> None:
        assert options == {"pretrained": True, "num_classes": 0} and huggingface_hub.constants.HF_HUB_OFFLINE
        raise OSError("Name or service not known")

    def head(url: str, timeout: float) -> None:
        assert url.startswith("https://") and timeout <= 5
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(head=head))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DataError) as refused:
        Backbone("timm:resnet18")
    assert str(refused.value) == (
        "weights of timm:resnet18 cannot be downloaded (OSError); on a machine with a network fetch "
        "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors, "
        "and name that file as the weights: timm:resnet18@FILE"
    )
    assert not huggingface_hub.constants.HF_HUB_OFFLINE  # another network may be there by the next time
    monkeypatch.setattr(type(imagenet_weights("resnet18")), "get_state_dict", lambda *_, **__: head("https://", 0))
    with pytest.raises(DataError, match="ImageNet weights of resnet18 cannot be downloaded"):
        Backbone("torchvision:resnet18")


def test_pictures_are_prepared_as_the_weights_want_them() -> None:
    """ResNet-50 has the weights of the paper's time, and not the size of the later ones."""
    assert Backbone("torchvision:resnet50@random").prepare.resize_size == [256]


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision()
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(DataError, match="network timm:resnet18 needs timm; pip install timm"):
        Backbone("timm:resnet18@random")
