"""Quantisers and the convolution of HVQ and SMQ: loops over frames, what a step moves, and what padding may not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_kit.methods.hvq import Directions
from vasot_kit.methods.quantising import Quantiser, TwoStages, mean_over_frames, widths, without_padding
from vasot_kit.methods.smq import Patches
from vasot_lib.data import collate, toy
from vasot_lib.encoders import MLPEncoder, PixelEncoder
from vasot_lib.errors import InputError


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def alone(tensor: Tensor, how: str) -> Tensor:
    """What a single process has for the sum and the maximum over all processes."""
    return tensor


def batch(patch: int, *lengths: int) -> tuple[Tensor, Tensor]:
    """(B, M, P, 3) patches of videos with so many frames, and their masks."""
    m = -(-max(lengths) // patch)
    mask = (torch.arange(m * patch) < torch.tensor(lengths)[:, None]).unflatten(1, (m, patch))
    return random(len(lengths), m, patch, 3, seed=5) * mask.unsqueeze(3), mask


def step(quantiser: Quantiser, x: Tensor, mask: Tensor) -> Tensor:
    """One step of a training; the numbers of the codes before it."""
    found = quantiser(x, mask)[2]
    quantiser.observe(x, mask, found, torch.arange(len(x)))
    quantiser.follow(alone)
    return found


def test_frames_get_the_code_of_highest_cosine() -> None:
    quantiser = Directions(5, 1, 3, 0.8, 0.0)
    x, mask = batch(1, 9, 6)
    found = quantiser(x, mask)[2]
    for b, n in ((0, 9), (1, 6)):
        for i in range(n):
            frame = x[b, i, 0]
            cosines = [float(frame @ c / frame.norm() / c.norm()) for c in quantiser.codes[:, 0]]
            assert int(found[b, i]) == cosines.index(max(cosines))


def test_patches_get_the_code_at_the_least_sum_of_distances() -> None:
    """The last patch of the second video has one frame, and only this one is compared."""
    quantiser = Patches(5, 4, 3, 0.5, 0.0)
    x, mask = batch(4, 12, 9)
    found = quantiser(x, mask)[2]
    for b, m, n in ((0, 0, 4), (0, 2, 4), (1, 1, 4), (1, 2, 1)):
        sums = [sum(float((x[b, m, t] - code[t]).norm()) for t in range(n)) for code in quantiser.codes]
        assert int(found[b, m]) == sums.index(min(sums))


@pytest.mark.parametrize("quantiser", [Directions(4, 1, 3, 0.8, 0.0), Patches(4, 2, 3, 0.5, 0.0)])
def test_the_gradient_passes_and_the_commitment_is_a_mean_over_real_frames(quantiser: Quantiser) -> None:
    patch = quantiser.codes.shape[1]
    x, mask = batch(patch, 6, 3)
    x.requires_grad_()
    replaced, commitment, found = quantiser(x, mask)
    torch.testing.assert_close(replaced, quantiser.codes[found])
    weights = random(*x.shape, seed=1)
    (gradient,) = torch.autograd.grad((replaced * weights).sum(), x, retain_graph=True)
    torch.testing.assert_close(gradient, weights)
    for b, n in ((0, 6), (1, 3)):
        frames, codes = x[b].flatten(0, 1), quantiser.codes[found[b]].flatten(0, 1)
        squares = [d.item() ** 2 for i in range(n) for d in codes[i] - frames[i]]
        assert commitment[b].item() == pytest.approx(sum(squares) / (3 * n), rel=1e-5)
    (pull,) = torch.autograd.grad(commitment[0], x)
    torch.testing.assert_close(pull[0].flatten(0, 1)[0], 2 * (x[0, 0, 0] - quantiser.codes[found[0, 0], 0]) / 18)
    assert not pull[1].any()


def test_codes_turn_towards_the_mean_direction_of_their_frames() -> None:
    quantiser = Directions(4, 1, 3, 0.8, 0.0)
    before = quantiser.codes[:, 0].clone()
    x, mask = batch(1, 9, 6)
    found = step(quantiser, x, mask)
    for k in range(4):
        mine = [x[b, i, 0] for b, n in ((0, 9), (1, 6)) for i in range(n) if int(found[b, i]) == k]
        mean = sum((frame / frame.norm() for frame in mine), torch.zeros(3)) if mine else before[k]
        torch.testing.assert_close(quantiser.codes[k, 0], 0.8 * before[k] + 0.2 * mean / mean.norm())
        assert float(quantiser.counts[k]) == pytest.approx(0.2 * len(mine))


def test_codes_are_moving_means_of_whole_patches() -> None:
    """Sums and counts over three steps, patch by patch; the patch of one frame is in none of them."""
    quantiser = Patches(3, 4, 3, 0.5, 0.0)
    quantiser.start(random(3, 4, 3, seed=3))
    sums, counts = [code.clone() for code in quantiser.codes], [1.0] * 3
    x, mask = batch(4, 12, 9)
    for _ in range(3):
        found = step(quantiser, x, mask)
        for k in range(3):
            mine = [x[b, m] for b, n in ((0, 3), (1, 2)) for m in range(n) if int(found[b, m]) == k]
            sums[k] = 0.5 * sums[k] + 0.5 * sum(mine, torch.zeros(4, 3))
            counts[k] = 0.5 * counts[k] + 0.5 * len(mine)
            torch.testing.assert_close(quantiser.codes[k], sums[k] / counts[k], rtol=1e-4, atol=1e-5)


def test_a_code_that_nothing_uses_becomes_a_frame_of_the_step() -> None:
    quantiser = Directions(3, 1, 3, 0.5, 1.0)
    quantiser.codes.copy_(torch.tensor([[[1.0, 0, 0]], [[0, 1.0, 0]], [[-1.0, -1, -1]]]))
    x = random(1, 8, 1, 3).abs()  # nothing looks like the third code
    step(quantiser, x, torch.ones(1, 8, 1, dtype=torch.bool))
    assert float((x[0, :, 0] - quantiser.codes[2, 0]).norm(dim=1).min()) == 0.0


def test_a_dead_code_becomes_the_mean_of_patches_close_to_a_code() -> None:
    """Six of ten patches lie at the first code and four far from all: the median leaves the far ones out."""
    quantiser = Patches(2, 2, 3, 0.5, 4.0)
    quantiser.start(torch.stack([torch.zeros(2, 3), torch.full((2, 3), 1e3)]))
    x = torch.cat([random(6, 2, 3) * 0.1, torch.full((4, 2, 3), 30.0)]).unsqueeze(0)
    mask = torch.ones(1, 10, 2, dtype=torch.bool)
    step(quantiser, x, mask)  # its moving count goes from 4 to 2
    assert float(quantiser.codes[1].abs().max()) < 1.0
    assert float(quantiser.counts[1]) == 4.0
    torch.testing.assert_close(quantiser.sums[1], 4.0 * quantiser.codes[1])


@pytest.mark.parametrize("kind", [Directions, Patches])
def test_a_step_in_parts_is_a_step(kind: type[Quantiser]) -> None:
    """Notes of the videos one after the other, or together, or in the other order."""
    torch.manual_seed(0)
    whole = kind(3, 2 if kind is Patches else 1, 3, 0.5, 4.0)
    x, mask = batch(whole.codes.shape[1], 12, 10, 9)
    state = {name: value.clone() for name, value in whole.state_dict().items()}
    found = whole(x, mask)[2]
    ends = []
    for parts in ([[0, 1, 2]], [[0], [1, 2]], [[2], [1], [0]]):
        whole.load_state_dict(state)
        for rows in parts:
            whole.observe(x[rows], mask[rows], found[rows], torch.tensor(rows))
        whole.follow(alone)
        ends.append({name: value.clone() for name, value in whole.state_dict().items()})
    for end in ends[1:]:
        for name, value in end.items():
            torch.testing.assert_close(value, ends[0][name])


def test_nothing_moves_where_no_patch_is_whole_or_nothing_was_seen() -> None:
    quantiser = Patches(3, 20, 3, 0.5, 4.0)
    before = {name: value.clone() for name, value in quantiser.state_dict().items()}
    step(quantiser, *batch(20, 12, 9))
    quantiser.follow(alone)
    assert all(torch.equal(value, before[name]) for name, value in quantiser.state_dict().items())


def test_the_convolution_equals_loops_over_frames() -> None:
    torch.manual_seed(0)
    model = TwoStages(3, 4, 2, 5, layers=2)
    x, n = random(1, 7, 3), 7
    values = x[0]
    with torch.no_grad():
        for stage in model.stages:
            values = values @ stage.first.weight[:, :, 0].T + stage.first.bias
            for gap, dilated, mixing in zip((1, 2), stage.dilated, stage.mixing, strict=True):
                new = []
                for i in range(n):
                    total = dilated.bias.clone()
                    for tap, j in enumerate((i - gap, i, i + gap)):
                        total += dilated.weight[:, :, tap] @ values[j] if 0 <= j < n else 0.0
                    new.append(values[i] + mixing.weight[:, :, 0] @ F.relu(total) + mixing.bias)
                values = torch.stack(new)
            values = values @ stage.last.weight[:, :, 0].T + stage.last.bias
        torch.testing.assert_close(model(x, torch.ones(1, n, dtype=torch.bool))[0], values)


def test_the_convolution_of_a_padded_video_is_that_of_the_video_alone() -> None:
    model = TwoStages(3, 4, 4, 5, layers=3)
    x, mask = random(2, 12, 3), torch.arange(12) < torch.tensor([[12], [7]])
    together = model(torch.where(mask.unsqueeze(2), x, 1e3), mask)
    torch.testing.assert_close(together[1, :7], model(x[1:, :7], mask[1:, :7])[0])
    assert not together[1, 7:].any()


def test_columns_without_a_frame_are_left_out() -> None:
    videos = toy(n_videos=3, seed=0).videos
    whole = without_padding(collate(videos, 1000, None))
    longest = max(map(len, videos))
    assert whole.features.shape[1] == whole.mask.shape[1] == whole.index.shape[1] == longest
    assert whole.mask.sum(1).tolist() == [len(video) for video in videos]


def test_the_mean_is_over_frames_and_then_over_videos() -> None:
    values = torch.tensor([[1.0, 3.0, 5.0], [4.0, 9.0, 9.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert float(mean_over_frames(values, mask)) == 3.5


def test_an_encoder_of_pictures_is_refused() -> None:
    assert widths(MLPEncoder(7, 6, 5), "hvq") == (7, 6, 5)
    with pytest.raises(InputError, match="method 'hvq' reconstructs features and cannot be trained on pictures"):
        widths(PixelEncoder("small", n_hidden=8, n_out=4), "hvq")
