"""The encoder of pictures is the paper's; a video is changed as a whole; training from pixels resumes to the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vasot_lib import encoders
from vasot_lib.data import Context, Dataset, Video
from vasot_lib.encoders import PixelEncoder
from vasot_lib.errors import DataError, InputError
from vasot_lib.vision import MEAN, STD, network, torchvision

LITE = "timm:tf_efficientnet_lite0"
pytestmark = pytest.mark.usefixtures("one_thread")


def random_pictures(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8)


def small(**options: object) -> PixelEncoder:
    torch.manual_seed(0)
    return PixelEncoder("small", n_hidden=16, n_out=8, **options)


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# ---- what it is


@pytest.fixture(scope="module")
def published() -> PixelEncoder:
    torch.manual_seed(0)
    return PixelEncoder()


def test_the_trunk_is_resnet_50_up_to_the_third_block_of_conv4(published: PixelEncoder) -> None:
    whole = torchvision().models.resnet50()
    cut_off = [whole.layer3[3:], whole.layer4, whole.fc]
    assert weights(published.trunk) == weights(whole) - sum(map(weights, cut_off))
    with torch.inference_mode():
        assert published.trunk(torch.zeros(1, 3, 224, 224)).shape == (1, 1024, 14, 14)


def test_the_head_has_the_sizes_of_the_paper(published: PixelEncoder) -> None:
    found = [type(module).__name__ for module in published.temporal_convolutions]
    assert found == ["Conv3d", "BatchNorm3d", "ReLU"] * 2
    convolutions = [module for module in published.temporal_convolutions if isinstance(module, nn.Conv3d)]
    sizes = [(module.in_channels, module.out_channels, module.kernel_size) for module in convolutions]
    assert sizes == [(1024, 512, (3, 3, 3)), (512, 512, (3, 3, 3))]
    found = [type(module).__name__ for module in published.head]
    assert found == ["Dropout", "Linear", "ReLU"] * 2 + ["Linear"]
    linear = [module for module in published.head if isinstance(module, nn.Linear)]
    assert [(module.in_features, module.out_features) for module in linear] == [(512, 512), (512, 512), (512, 128)]
    assert {module.p for module in published.head if isinstance(module, nn.Dropout)} == {0.1}


def test_the_bias_that_is_removed_is_that_of_the_last_layer() -> None:
    encoder = PixelEncoder("small", n_hidden=8, n_out=4)
    encoder.remove_output_bias()
    assert [layer.bias is None for layer in encoder.modules() if isinstance(layer, nn.Linear)] == [False, False, True]


def test_embeddings_have_length_1_where_asked_for(published: PixelEncoder) -> None:
    published.eval()
    embedded = published(random_pictures(2, 3, 2, 32, 32))
    assert embedded.shape == (2, 3, 128) and embedded.dtype == torch.float32
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(2, 3))
    free = small(unit_length=False).eval()(random_pictures(2, 3, 2, 32, 32))
    assert ((free.norm(dim=-1) - 1).abs() > 1e-3).all()


@pytest.mark.parametrize(
    ("trunk", "channels", "shrunk"),
    [("resnet18", 256, 16), ("small", 128, 8), (LITE, 112, 16), ("timm:resnet18", 256, 16)],
)
def test_other_trunks(trunk: str, channels: int, shrunk: int) -> None:
    encoder = PixelEncoder(trunk, n_hidden=16, n_out=8).eval()
    assert encoder.temporal_convolutions[0].in_channels == channels
    with torch.no_grad():
        assert encoder.trunk(torch.zeros(1, 3, 32, 64)).shape == (1, channels, 32 // shrunk, 64 // shrunk)
        assert encoder(random_pictures(3, 1, 40, 56)).shape == (3, 8)


def test_the_whole_context_is_seen() -> None:
    encoder = small().eval()
    pictures = random_pictures(1, 3, 32, 32)
    with torch.no_grad():
        before = encoder(pictures)
        for place in range(3):
            changed = pictures.clone()
            changed[0, place] = 255 - changed[0, place]
            assert (encoder(changed) - before).abs().max() > 1e-4, place


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (dict(trunk="resnt50"), "unknown network of torchvision 'resnt50' .did you mean 'resnet50'"),
        (dict(trunk="squeezenet1_0"), "trunk is 'squeezenet1_0', which is no ResNet; use resnet50, another"),
        (dict(trunk="timm:resnt18"), "unknown model of timm 'resnt18' .did you mean 'resnet18'"),
        (dict(trunk="timm:vit_small_patch32_224"), "which gives no maps at 1/16 of the picture; use another"),
        (dict(trunk="small", side=-1), "side is -1; it must be a whole number of at least 0"),
        (dict(trunk="small", dropout=1.0), "dropout is 1.0; it must be a finite number of at least 0 and below 1"),
        (dict(trunk="small", dropout=-0.1), "dropout is -0.1"),
    ],
)
def test_what_makes_no_encoder_is_refused(values: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        PixelEncoder(**values)


@pytest.mark.parametrize("pictures", [torch.zeros(3, 1, 8, 8, 3), torch.zeros(3, 1, 8, 8, 4, dtype=torch.uint8)])
def test_pictures_are_bytes_in_three_colours(pictures: Tensor) -> None:
    with pytest.raises(InputError, match=r"pictures are torch\..* expected uint8 \(n, height, width, 3\)"):
        small()(pictures)


# ---- a network of timm as the trunk


@pytest.fixture(scope="module")
def lite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the whole network without its last layer, as the kit keeps them."""
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "lite.safetensors"
    model = network(LITE, "").train()
    with torch.no_grad():
        model(torch.randn(4, 3, 32, 32))  # so that the running means are those of something
    save_file(model.state_dict(), file)
    return file


def lite(file: Path | str = "", **options: object) -> PixelEncoder:
    torch.manual_seed(0)
    return PixelEncoder(LITE, str(file), n_hidden=8, n_out=4, **options)


def test_its_maps_are_those_of_the_whole_network(lite_file: Path) -> None:
    """Of the input that the network wants: this one centres all colours at 1/2."""
    encoder, whole = lite(lite_file).eval(), network(LITE, str(lite_file)).eval()
    pictures = random_pictures(2, 1, 48, 64)
    seen: list[Tensor] = []
    encoder.trunk.register_forward_hook(lambda *given: seen.append(given[2]))
    with torch.no_grad():
        encoder(pictures)
        wanted = pictures[:, 0].permute(0, 3, 1, 2) / 127.5 - 1
        maps = whole.forward_intermediates(wanted, intermediates_only=True)
    torch.testing.assert_close(seen[0], maps[3])
    assert [tuple(each.shape[2:]) for each in maps[3:]] == [(3, 4), (2, 2)]  # the next ones are at 1/32


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(DataError, match="w.pt do not fit EfficientNet or are damaged"):
        lite(tmp_path / "w.pt")


def test_its_embeddings_do_not_depend_on_how_many_frames_are_seen_at_once(
    lite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, pictures = lite(lite_file, side=48).eval(), random_pictures(5, 2, 32, 32)
    with torch.no_grad():
        whole = encoder(pictures)
        monkeypatch.setattr(encoders, "INFERENCE_FRAMES", 2)
        torch.testing.assert_close(encoder(pictures), whole)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_trunk_is_trained_unless_it_is_frozen(lite_file: Path, frozen: bool) -> None:
    encoder = lite(lite_file, frozen=frozen, flip=False, jitter=False).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimiser = torch.optim.Adam(encoder.parameters(), lr=0.01, weight_decay=0.1)
    encoder(random_pictures(2, 3, 1, 32, 32)).sum().backward()
    optimiser.step()
    moved = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    trunk = {name for name in before if name.startswith("trunk.") and not name.endswith("num_batches_tracked")}
    # Trained, its statistics move as well; frozen, nothing of it does, and it sees the statistics of ImageNet.
    assert trunk & moved == (set() if frozen else trunk)
    assert {module.training for module in encoder.trunk.modules()} == {not frozen} and encoder.head.training
    assert any(name.startswith("head.") for name in moved)


def test_pictures_are_scaled_to_the_side_that_the_trunk_wants() -> None:
    seen = []
    encoder = small(side=24).eval()
    encoder.trunk.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    grey = torch.full((1, 1, 16, 40, 3), 128, dtype=torch.uint8)
    encoder(grey)
    level = seen[0] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert seen[0].shape == (1, 3, 24, 24)
    torch.testing.assert_close(level, torch.full_like(level, 128 / 255))


# ---- learning and looking


@pytest.mark.parametrize("trunk", ["resnet50", "small"])
def test_a_step_lowers_the_loss_and_moves_every_weight(trunk: str) -> None:
    torch.manual_seed(0)
    encoder = PixelEncoder(trunk, n_hidden=32, n_out=8, dropout=0.0, flip=False, jitter=False).train()
    pictures = random_pictures(2, 3, 2, 32, 32)
    wanted = nn.functional.normalize(torch.randn(2, 3, 8), dim=-1)
    before = {name: value.detach().clone() for name, value in encoder.named_parameters()}
    optimiser = torch.optim.SGD(encoder.parameters(), lr=0.01)
    losses = []
    for _ in range(2):
        loss = (encoder(pictures) - wanted).square().sum()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[1] < losses[0]
    still = [name for name, value in encoder.named_parameters() if torch.equal(value, before[name])]
    # What stands before batch normalisation may have a bias, which it takes out again.
    assert [name for name in still if not (name.startswith("temporal_convolutions") and name.endswith("bias"))] == []


def test_evaluation_does_not_depend_on_how_many_frames_are_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = small().eval()
    pictures = random_pictures(2, 7, 2, 32, 32)
    with torch.no_grad():
        whole = encoder(pictures)
        assert torch.equal(encoder(pictures), whole)
        torch.testing.assert_close(encoder(pictures[1, 2:4]), whole[1, 2:4])
        seen: list[int] = []
        encoder.trunk.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        monkeypatch.setattr(encoders, "INFERENCE_FRAMES", 4)
        torch.testing.assert_close(encoder(pictures), whole)
    assert seen == [8, 8, 8, 4]  # 14 frames of 2 pictures
    torch.testing.assert_close(encoder(pictures), whole)  # with a gradient, all at once


def test_nothing_is_changed_or_dropped_where_nothing_is_learnt() -> None:
    """The collapse meter looks at a method that trains."""
    encoder = small()
    pictures = random_pictures(2, 3, 2, 32, 32)
    with torch.no_grad():
        expected = encoder.eval()(pictures)
        state = {name: value.clone() for name, value in encoder.state_dict().items()}
        torch.testing.assert_close(encoder.train()(pictures), expected)
    assert all(module.training for module in encoder.modules())
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())  # running means too


# ---- augmentation


def trunk_input(encoder: PixelEncoder, pictures: Tensor) -> Tensor:
    """(videos, pictures, 3, H, W) in 0..1 as they come to the trunk."""
    seen: list[Tensor] = []
    handle = encoder.trunk.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoder(pictures)
    handle.remove()
    flat = seen[0] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    return flat.detach().unflatten(0, (pictures.shape[0], -1))


def one_picture(videos: int) -> Tensor:
    """The same picture everywhere, (videos, 2, 2, 16, 16, 3)."""
    return random_pictures(16, 16).expand(videos, 2, 2, 16, 16, 3)


def test_a_video_is_mirrored_as_a_whole() -> None:
    encoder = small(jitter=False).train()
    picture = random_pictures(16, 16).permute(2, 0, 1) / 255
    seen = trunk_input(encoder, one_picture(8))
    mirrored = [(video - picture.flip(-1)).abs().max() < 1e-5 for video in seen]
    straight = [(video - picture).abs().max() < 1e-5 for video in seen]
    assert all(a != b for a, b in zip(mirrored, straight, strict=True)) and 0 < sum(mirrored) < 8


def test_a_video_changes_its_colours_as_a_whole() -> None:
    encoder = small(flip=False).train()
    seen = trunk_input(encoder, one_picture(6))
    assert (seen - seen[:, :1]).abs().max() < 1e-6
    apart = [(seen[i] - seen[j]).abs().max() for i in range(6) for j in range(i)]
    assert min(apart) > 0.01
    # A plain picture has no contrast; its brightness changes by up to 32 / 255.
    grey = torch.full((40, 2, 1, 8, 8, 3), 128, dtype=torch.uint8)
    level = trunk_input(encoder, grey).mean((1, 2, 3, 4)) / (128 / 255)
    assert 1 - 32 / 255 - 1e-4 < level.min() < 0.93 and 1.07 < level.max() < 1 + 32 / 255 + 1e-4


def test_the_generator_of_torch_decides_what_changes() -> None:
    encoder = small().train()
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(trunk_input(encoder, one_picture(3)))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("mode", ["evaluation", "switched off"])
def test_pictures_stay_as_they_are(mode: str) -> None:
    encoder = small().eval() if mode == "evaluation" else small(flip=False, jitter=False).train()
    picture = random_pictures(16, 16).permute(2, 0, 1) / 255
    assert (trunk_input(encoder, one_picture(4)) - picture).abs().max() < 1e-5


# ---- what it is shown


def film(n: int = 40, size: int = 4) -> np.ndarray:
    """Every pixel of frame k is k."""
    return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, size, size, 3)).copy()


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (Context(), [[0, 0], [0, 7], [0, 15], [1, 16], [24, 39]]),
        (Context(3, 5), [[0, 0, 0], [0, 2, 7], [5, 10, 15], [6, 11, 16], [29, 34, 39]]),
        (Context(1, 1), [[0], [7], [15], [16], [39]]),
    ],
)
def test_a_frame_is_shown_with_the_ones_before_it(context: Context, expected: list[list[int]]) -> None:
    video = Video("a", torch.zeros(40, 1), frames=film(), context=context)
    seen = video.encoder_input(torch.tensor([0, 7, 15, 16, 39]))
    assert seen.shape == (5, context.frames, 4, 4, 3) and seen.dtype == torch.uint8
    assert seen[:, :, 0, 0, 0].tolist() == expected and (seen == seen[..., :1, :1, :1]).all()


def test_features_are_shown_where_there_is_no_context() -> None:
    video = Video("a", torch.arange(40.0)[:, None], frames=film())
    assert video.encoder_input(torch.tensor([3, 1])).tolist() == [[3.0], [1.0]]


def test_a_data_set_that_cannot_be_shown_as_pictures_is_refused() -> None:
    pictured, bare = Video("a", torch.zeros(40, 1), frames=film()), Video("b", torch.zeros(40, 1))
    with pytest.raises(DataError, match="video 'b' has no pictures to train from; load it with its frames"):
        Dataset("d", (pictured, bare)).as_pictures(Context())
    larger = replace(pictured, name="b", frames=film(size=8))
    with pytest.raises(DataError, match=r"'d' mixes pictures of \[\(4, 4\), \(8, 8\)\] pixels; scale them to one"):
        Dataset("d", (pictured, larger)).as_pictures(Context())
    for values in ((0, 15), (2, 0)):
        with pytest.raises(InputError, match=r"Context\.(frames|stride) is 0; it must be a whole number of at least 1"):
            Context(*values)
