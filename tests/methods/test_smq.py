"""SMQ: its loss against a loop, joints that do not see one another, patches of a video, and that it learns."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vasot_kit.experiments.config import make_config
from vasot_kit.methods.checking import check_method
from vasot_kit.methods.smq import SMQ, MotionPatches
from vasot_lib.data import Dataset, Video, collate, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.evaluation import score_segmentation
from vasot_lib.training import TrainingSettings, fit


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, seed=0)


def built(dataset: Dataset, **hyper: Any) -> SMQ:
    torch.manual_seed(0)
    encoder = MLPEncoder(dataset.feature_dim, 16, 6, unit_length=False)
    method = SMQ(encoder, dataset.n_actions, MotionPatches(**{"width": 12, **hyper}))
    method.initialise(dataset, 1000, torch.Generator().manual_seed(0))
    return method


@pytest.mark.parametrize("joints", [1, 3])
def test_loss_equals_a_loop_over_videos_patches_and_pairs_of_joints(joints: int, dataset: Dataset) -> None:
    method = built(dataset, patch=7, weight=0.5, joints=joints)
    losses = []
    with torch.no_grad():
        for video in dataset.videos[:3]:
            codes, error = [], 0.0
            for patch in method.embed(video).split(7):  # the last one is shorter
                distance = [
                    sum((x - c).norm() for x, c in zip(patch, code, strict=False)) for code in method.patches.codes
                ]
                code = method.patches.codes[int(torch.stack(distance).argmin())][: len(patch)]
                error += float((code - patch).square().sum())
                codes.append(code)
            replaced = torch.cat(codes)
            loss, real = error / replaced.numel(), torch.ones(1, len(video), dtype=torch.bool)
            decoded = [method.decoder(part[None], real)[0] for part in replaced.chunk(joints, 1)]
            given = video.features.chunk(joints, 1)
            if joints == 1:
                off = (decoded[0] - given[0]).square().mean()
            else:
                pairs = list(itertools.product(zip(decoded, given, strict=True), repeat=2))
                apart = [(p - q).norm(dim=1) - (a - b).norm(dim=1) for (p, a), (q, b) in pairs]
                off = torch.stack(apart).square().mean()
            losses.append(loss + 0.5 * float(off))
    found = method(collate(dataset.videos[:3], 1000, None))["loss"].item()
    assert found == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_joint_is_encoded_by_itself_and_all_joints_alike(dataset: Dataset) -> None:
    method, video = built(dataset, joints=3), dataset.videos[0]
    x = method.embed(video)
    assert x.shape == (len(video), 18) and method.encoder.n_out == 18
    parts = video.features.chunk(3, 1)
    changed = replace(video, features=torch.cat([parts[0], torch.zeros_like(parts[1]), parts[0]], 1), position=None)
    y = method.embed(changed)
    torch.testing.assert_close(y[:, :6], x[:, :6])
    torch.testing.assert_close(y[:, 12:], x[:, :6])
    assert not torch.allclose(y[:, 6:12], x[:, 6:12])


def test_the_test_kit_passes_with_several_joints_and_long_patches() -> None:
    assert "parts" in check_method(SMQ, MotionPatches(joints=4, patch=17, width=8, layers=2, dead=2.0))


def test_all_frames_of_a_patch_have_its_action(dataset: Dataset) -> None:
    method, video = built(dataset, patch=7), dataset.videos[1]
    labels = method.segment(video)
    assert labels.shape == (len(video),) and len(video) % 7
    assert all(len(set(patch.tolist())) == 1 for patch in labels.split(7))


def test_patches_that_differ_are_told_apart() -> None:
    """Three poses and no noise: with as many codes every frame gets the code of its pose."""
    pose = torch.eye(3).repeat_interleave(4, 1) * 3.0
    labels = torch.arange(3).repeat(4).repeat_interleave(20)
    videos = tuple(Video(f"v{n}", pose[(labels + n) % 3], (labels + n) % 3) for n in range(3))
    data = Dataset("poses", videos, ("a", "b", "c"), n_actions=3)
    method = built(data, patch=5, weight=1.0, dead=2.0)
    fit(method, data, TrainingSettings(epochs=20, batch_size=1, frames=1000, lr=2e-3), progress=False)
    found = [method.segment(video).numpy() for video in videos]
    truth = [(labels + n).numpy() % 3 for n in range(3)]
    assert score_segmentation(found, truth, None)["mof"] == 1.0


def test_presets_have_the_published_values() -> None:
    config = make_config("toy", "smq", "paper")
    training = config.training
    assert (training.epochs, training.batch_size, training.lr, training.weight_decay) == (30, 8, 5e-4, 0.0)
    assert (config.encoder.out, config.hyper) == (16, MotionPatches(weight=0.001, decay=0.5, width=128, layers=3))
    assert make_config("toy", "smq").hyper.weight == 1.0


def test_joints_that_do_not_divide_the_features_are_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"hyper\.joints is 5; it must divide the number of features, 24"):
        built(dataset, joints=5)


def test_patches_that_no_video_fills_are_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"hyper\.patch is 999 but no video has so many frames"):
        built(dataset, patch=999)


@pytest.mark.parametrize("wrong", [{"patch": 0}, {"joints": 0}, {"weight": -1.0}, {"decay": 1.5}, {"dead": -1.0}])
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        MotionPatches(**wrong)
