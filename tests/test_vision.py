"""Torchvision comes in through one door, also where its compiled part does not load; weights are checked."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vasot_lib import vision
from vasot_lib.errors import DataError, InputError
from vasot_lib.vision import (
    MEAN,
    STD,
    imagenet_weights,
    load_weights,
    network,
    normalised,
    pictures_to_float,
)

ROOT = Path(__file__).parents[1]

# ---- the door


def test_networks_and_transforms_come_with_it() -> None:
    package = vision.torchvision()
    assert package is vision.torchvision() and package.__name__ == "torchvision"
    assert package.models.resnet18 and package.transforms.v2.ColorJitter


class Broken:
    """Stands for importlib, of a machine whose compiled part of torchvision does not load until operators are known."""

    def __init__(self, message: str) -> None:
        self.message, self.asked, self.declared = message, [], False

    def import_module(self, name: str) -> ModuleType:
        self.asked.append(name)
        if not self.declared:
            sys.modules["torchvision.half_loaded"] = ModuleType("half_loaded")
            raise RuntimeError(self.message)
        assert "torchvision.half_loaded" not in sys.modules
        return ModuleType(name)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded of torchvision comes back after the test."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])


def test_operators_that_are_missing_are_declared_and_the_import_is_made_again(
    loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken("operator torchvision::nms does not exist")
    defined = []

    class Library:
        def __init__(self, *arguments: str) -> None:
            assert arguments == ("torchvision", "FRAGMENT")

        def define(self, signature: str) -> None:
            defined.append(signature.partition("(")[0])
            broken.declared = True

    monkeypatch.setattr(vision, "importlib", broken)
    monkeypatch.setattr(vision.torch.library, "Library", Library)
    monkeypatch.setattr(vision.torchvision, "library", None, raising=False)
    assert vision.torchvision.__wrapped__().__name__ == "torchvision"
    assert defined == ["nms", "qnms"] and isinstance(vision.torchvision.library, Library)  # it is kept
    assert broken.asked == ["torchvision", "torchvision", "torchvision.transforms.v2"]


def test_an_import_that_fails_for_another_reason_is_not_hidden(loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "importlib", Broken("CUDA driver is too old"))
    with pytest.raises(RuntimeError, match="too old"):
        vision.torchvision.__wrapped__()
    sys.modules.pop("torchvision.half_loaded", None)


def test_only_one_file_imports_torchvision() -> None:
    """Elsewhere it would fail where its compiled part was built for another torch."""

    def names(node: ast.AST) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            return [node.module or ""]
        called = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__"))
        return [value.value for value in node.args if isinstance(value, ast.Constant)] if called else []

    found = set()
    for folder in ("vasot_lib", "vasot_kit", "tests", "data_scripts"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            nodes = ast.walk(ast.parse(text)) if "torchvision" in text else []
            if any(str(name).partition(".")[0] == "torchvision" for node in nodes for name in names(node)):
                found.add(file.relative_to(ROOT).as_posix())
    assert found == {"vasot_lib/vision.py"}


HEAVY = ("torch", "torchvision", "timm", "matplotlib", "ipywidgets", "av", "numba", "sklearn")
LOADED = f"""
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(*[heavy for heavy in {HEAVY} if heavy in sys.modules])
"""


@pytest.mark.slow
def test_who_uses_no_pixels_does_not_wait_for_their_libraries() -> None:
    """In a fresh process; each line has what the rooms so far have loaded."""
    rooms = ["vasot_lib", "vasot_lib.transport", "vasot_lib.data", "vasot_lib.encoders", "vasot_lib.methods"]
    rooms += ["vasot_lib.training", "vasot_kit.experiments.evaluate"]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *rooms], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [line.split() for line in done[:4]] == [[], ["torch"], ["torch"], ["torch"]]
    assert not set(done[4].split()) & {"torchvision", "timm", "matplotlib", "ipywidgets", "av"}
    assert "matplotlib" not in done[-1].split()


# ---- networks and weights


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return network("resnet18", "").state_dict()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_weights_from_a_file(tmp_path: Path, state: dict[str, torch.Tensor], name: str) -> None:
    file = tmp_path / name
    save_file(state, file) if name.endswith("safetensors") else torch.save(state, file)
    loaded = network("resnet18", str(file)).state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in state.items())


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def spoilt(folder: Path, what: str, state: dict[str, torch.Tensor]) -> Path:
    file = folder / ("w.safetensors" if what == "no safetensors" else "w.pt")
    match what:
        case "another network":
            torch.save(nn.Linear(3, 2).state_dict(), file)
        case "other sizes":
            torch.save({**state, "fc.weight": torch.zeros(10, 512)}, file)
        case "code":
            file.write_bytes(pickle.dumps({"fc.weight": Harmful(folder / "ran")}, protocol=2))
        case "code in an archive":
            torch.save({"fc.weight": Harmful(folder / "ran")}, file)
        case "no dictionary":
            torch.save([1, 2], file)
        case "half":
            torch.save(state, file)
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case "empty":
            file.touch()
        case "no safetensors":
            file.write_bytes(b"nothing of the kind" * 9)
    return file


@pytest.mark.parametrize(
    "what",
    [
        "another network", "other sizes", "code", "code in an archive", "no dictionary", "half", "empty",
        "no safetensors",
    ],
)  # fmt: skip
def test_files_that_are_no_weights_of_this_network_are_refused_in_one_line(
    tmp_path: Path, state: dict[str, torch.Tensor], what: str
) -> None:
    file = spoilt(tmp_path, what, state)
    with pytest.raises(
        DataError, match="do not fit ResNet or are damaged .*; give a state dict of this net"
    ) as failure:
        network("resnet18", str(file))
    assert "\n" not in str(failure.value) and str(file) in str(failure.value)
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_no_file_are_named(tmp_path: Path) -> None:
    for place in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(DataError, match="are no file; name a file, 'imagenet', or leave it empty for random ones"):
            load_weights(nn.Linear(1, 1), place)


@pytest.mark.parametrize("name", ["resnet50", "resnet18"])
def test_without_a_network_it_says_what_to_fetch_and_where_to_put_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("Name or service not known\nfor host download")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    weights = imagenet_weights(name)
    monkeypatch.setattr(type(weights), "get_state_dict", offline)
    with pytest.raises(DataError, match=f"ImageNet weights of {name} cannot be downloaded") as failure:
        network(name, "imagenet")
    message = str(failure.value)
    assert "\n" not in message and weights.url in message and str(tmp_path / "checkpoints") in message
    # where torchvision looks before it downloads
    assert weights.url.endswith(".pth") and ("IMAGENET1K_V1" in str(weights))


def test_imagenet_weights_are_loaded(state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(imagenet_weights("resnet18")), "get_state_dict", lambda *_, **__: state)
    assert torch.equal(network("resnet18", "imagenet").fc.weight, state["fc.weight"])


def test_an_unknown_network_lists_near_ones() -> None:
    with pytest.raises(InputError, match=r"unknown network of torchvision 'resnet5' \(did you mean 'resnet50'\?\)"):
        network("resnet5", "")


@pytest.mark.parametrize("name", ["fcn_resnet50", "raft_small", "r3d_18"])
def test_what_is_no_classifier_of_pictures_is_unknown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors and segmenters fetch weights of their backbones, whatever is asked for."""
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("a download"))
    with pytest.raises(InputError, match=f"unknown network of torchvision '{name}'"):
        network(name, "")


# ---- pictures


def test_pictures_become_numbers_around_0() -> None:
    pictures = torch.zeros(2, 4, 5, 3, dtype=torch.uint8)
    pictures[0, 1, 2] = torch.tensor([255, 51, 0])
    floats = pictures_to_float(pictures)
    assert floats.shape == (2, 3, 4, 5) and floats.dtype == torch.float32
    assert floats[0, :, 1, 2].tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert floats.is_contiguous(memory_format=torch.channels_last)
    shifted = normalised(floats)
    assert shifted[0, :, 1, 2].tolist() == pytest.approx(
        [(value - mean) / std for value, mean, std in zip((1.0, 0.2, 0.0), MEAN, STD, strict=True)], abs=1e-6
    )


@pytest.mark.parametrize("name", ["resnet50", "resnet18", "vit_b_16"])
def test_mean_and_deviation_are_those_that_torchvision_prepares_with(name: str) -> None:
    prepare = imagenet_weights(name).transforms()
    assert (tuple(prepare.mean), tuple(prepare.std)) == (MEAN, STD)
