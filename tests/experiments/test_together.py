"""Many videos at a time get what each gets by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vasot_kit.benchmarks.launches import count_launches
from vasot_kit.experiments import together
from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import evaluate
from vasot_kit.experiments.together import align_all, embed_all, in_batches, segment_all
from vasot_kit.methods import METHODS
from vasot_lib.data import Dataset, Video, toy
from vasot_lib.methods import ASOT, Method
from vasot_lib.transport import solver
from vasot_lib.transport.fused import gpu

OF_TRANSPORT = ["vaot", "rgwot", "asot", "clot", "vasot"]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=6, seed=3)


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, but with room for a few of the videos only."""
    monkeypatch.setattr(together, "AT_ONCE", {"cpu": 3 * 250**2})
    monkeypatch.setattr(together, "WIDTH", 300)


def built(name: str, dataset: Dataset, **overrides: object) -> Method:
    torch.manual_seed(0)
    values = {"training.frames": 64} | {key.replace("__", "."): value for key, value in overrides.items()}
    method = build(make_config("toy", name, "paper", overrides=values), dataset).eval()
    generator = torch.Generator().manual_seed(0)
    method.initialise(dataset, 64, generator)
    method.finalise(dataset, generator)
    return method


def pairs_of(dataset: Dataset) -> list[tuple[Video, Video]]:
    return list(zip(dataset.videos, dataset.videos[1:] + dataset.videos[:1], strict=True))


def counted(method: Method, monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """The sizes of the batches that a function of the method gets from now on."""
    function: Callable[..., Tensor] = getattr(method, name)
    sizes: list[int] = []

    def counting(x: Tensor, *others: Tensor) -> Tensor:
        sizes.append(len(x))
        return function(x, *others)

    monkeypatch.setattr(method, name, counting)
    return sizes


@pytest.mark.usefixtures("batched")
@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_all_videos_what_it_gives_each(name: str, dataset: Dataset, monkeypatch) -> None:
    method = built(name, dataset)
    embedded = [method.embed(video) for video in dataset.videos]
    sizes = counted(method, monkeypatch, "embed_whole")
    for found, alone in zip(embed_all(method, dataset.videos), embedded, strict=True):
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
    assert sum(sizes) == 6 and 1 < len(sizes) < 6
    if "segmentation" in method.tasks:
        found = segment_all(method, dataset.videos)
        assert all(torch.equal(f, method.segment(v)) for f, v in zip(found, dataset.videos, strict=True))
    if "alignment" in method.tasks:
        pairs = pairs_of(dataset)
        found = align_all(method, pairs)
        assert all(torch.equal(f, method.align(x, y)) for f, (x, y) in zip(found, pairs, strict=True))


@pytest.mark.usefixtures("batched")
@pytest.mark.parametrize("name", OF_TRANSPORT)
def test_plans_of_several_videos_are_solved_in_one_call(name: str, dataset: Dataset, monkeypatch) -> None:
    method, solved = built(name, dataset), []
    solve = solver.make_problem
    monkeypatch.setattr(solver, "make_problem", lambda cost, *a, **k: solved.append(len(cost)) or solve(cost, *a, **k))
    if "segmentation" in method.tasks:
        segment_all(method, dataset.videos)
        assert sum(solved) == 6 and len(solved) < 6
        solved.clear()
    if "alignment" in method.tasks:
        align_all(method, pairs_of(dataset))
        assert sum(solved) == 6 and len(solved) < 6


def test_on_a_cpu_videos_take_their_turns(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    method = built("vasot", dataset)
    sizes = counted(method, monkeypatch, "embed_whole"), counted(method, monkeypatch, "decode")
    segment_all(method, dataset.videos)
    assert sizes == ([1] * 6, [1] * 6)


@pytest.mark.usefixtures("batched")
def test_a_method_with_its_own_way_for_one_video_is_asked_for_each(dataset: Dataset) -> None:
    class First(ASOT):
        def segment(self, video: Video) -> Tensor:
            return super().segment(video) * 0

    method = built("asot", dataset)
    method.__class__ = First
    assert not torch.cat(segment_all(method, dataset.videos)).any()


@pytest.mark.usefixtures("batched")
def test_evaluation_has_the_same_scores_in_fewer_launches(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    method, scores = built("vasot", dataset), []
    batched = count_launches(lambda: scores.append(evaluate(method, dataset)))
    monkeypatch.setattr(together, "AT_ONCE", {})
    assert batched < 0.6 * count_launches(lambda: scores.append(evaluate(method, dataset)))
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_videos_that_the_gpu_kernel_solves_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Triton's interpreter: as each by itself, and as the CPU's kernels."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("Triton's interpreter is for machines without a GPU")
    from tests.transport.programs import quicken

    short = toy(n_videos=2, seed=1)
    rows = torch.linspace(0, 40, 12).long()
    videos = [Video(str(n), short.videos[n % 2].features[rows[: 12 - n]]) for n in range(3)]
    method = built(
        "vasot", short, hyper__alignment__transport__radius=0.2, hyper__alignment__transport__iterations=3,
        hyper__segmentation__decode__radius=0.2, hyper__segmentation__decode__iterations=3,
    )  # fmt: skip
    pairs = [(videos[0], videos[1]), (videos[1], videos[2])]
    expected = segment_all(method, videos) + align_all(method, pairs)
    quicken(monkeypatch)
    monkeypatch.setattr(solver, "_implementation", lambda problem, schedule: (gpu.run, 4))
    alone = segment_all(method, videos) + align_all(method, pairs)
    monkeypatch.setattr(together, "AT_ONCE", {"cpu": 2**20})
    many = segment_all(method, videos) + align_all(method, pairs)
    for found in (alone, many):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("most", [0, 1, 40, 100, 10**6])
def test_batches_are_bounded_and_hold_no_more_padding_than_frames(most: int) -> None:
    generator = torch.Generator().manual_seed(most)
    samples = [
        tuple(torch.rand(int(torch.randint(1, 12, (), generator=generator)), 2, generator=generator) for _ in range(2))
        for _ in range(20)
    ]
    sizes = []

    def add(x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        padded = len(x) * x.shape[1] * y.shape[1]
        real = int((mask_x.sum(1) * mask_y.sum(1)).sum())
        assert len(x) == 1 or (padded <= most and padded <= 2 * real)
        assert not x[~mask_x].any() and not y[~mask_y].any()
        sizes.append(len(x))
        return x.sum(2) + y.sum((1, 2))[:, None]

    found = in_batches(add, samples, most)
    assert sum(sizes) == 20 and (len(sizes) < 20) == (most > 1)
    for (x, y), value in zip(samples, found, strict=True):
        torch.testing.assert_close(value, x.sum(1) + y.sum())


def test_no_videos_get_nothing(dataset: Dataset) -> None:
    method = built("vasot", dataset)
    assert embed_all(method, []) == segment_all(method, []) == align_all(method, []) == []
