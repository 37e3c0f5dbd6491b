"""Losses, problems and paths, given tensors of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.fuzz.conftest import attempt, inputs, odd_size, usually
from tests.fuzz.test_solve import costs, embeddings, masks, masses, priors, random, weights
from vasot_kit.film_matching import pairing
from vasot_kit.methods.soft_dtw import soft_dtw
from vasot_kit.methods.vava import intra_video_contrast
from vasot_lib import paths
from vasot_lib.losses import contrastive_idm, matching_loss
from vasot_lib.transport import add_dummy, cosine_cost, dummy_marginal, make_problem, temporal_prior


def plain(*tensors: Any) -> bool:
    """Whether all are finite and of the size of embeddings; NaN may give NaN, at which a training stops."""
    return all(isinstance(each, Tensor) and bool((each.abs() < 1e6).all()) for each in tensors)


some = usually(st.sampled_from([0.1, 0.5, 2.0, 10.0]))


@inputs(600)
@given(data=st.data())
def test_losses(data: st.DataObject) -> None:
    draw = data.draw
    batch, n, m = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    x, y = embeddings(draw, batch, n, 4), embeddings(draw, batch, m, 4)
    if isinstance(x, Tensor) and x.is_floating_point() and draw(st.integers(0, 7)):
        x = torch.nn.functional.normalize(x, dim=-1)
    mask_x, mask_y = draw(masks(batch, n)), draw(masks(batch, m))
    mask_x = torch.ones(batch, n, dtype=torch.bool) if mask_x is None else mask_x
    plan = random((batch, n, m), draw(st.integers(0, 99)))
    if isinstance(mask_y, Tensor) and mask_y.shape == (batch, m):
        plan = plan * mask_y.unsqueeze(1) + 1e-9 * mask_y.unsqueeze(1)
    targets = draw(usually(st.just(plan / plan.sum(2, keepdim=True)), st.sampled_from([plan[0], plan.numpy(), None])))
    tau, window, margin = draw(some), draw(some), draw(some)
    loss = attempt("losses", lambda: matching_loss(x, y, targets, tau, mask_x, mask_y))
    if loss is not None:
        assert loss.shape == () and loss.dtype == x.dtype and (loss.isfinite() or not plain(x, y))
    for contrast in (contrastive_idm, intra_video_contrast):
        loss = attempt("losses", lambda contrast=contrast: contrast(x, mask_x, window, margin))
        if loss is not None:
            assert loss.shape == () and loss.dtype == x.dtype and (loss >= 0 or not plain(x))


@inputs(300)
@given(data=st.data())
def test_make_problem(data: st.DataObject) -> None:
    draw = data.draw
    cost = draw(costs())
    shape = tuple(cost.shape) if isinstance(cost, Tensor) and cost.ndim == 3 else (1, 4, 4)
    masks_ = [draw(masks(shape[0], max(size, 1))) for size in shape[1:]]
    masses_ = [draw(masses(mask, shape[0], max(size, 1))) for mask, size in zip(masks_, shape[1:], strict=True)]
    names = ("mask_x", "mask_y", "mass_x", "mass_y")
    options = dict(zip(names, [*masks_, *masses_], strict=True)) | {
        "alpha": draw(usually(st.sampled_from([0.0, 0.4]))), "epsilon": draw(weights),
        "relax_x": draw(st.none() | weights), "relax_y": draw(st.none() | weights),
    }  # fmt: skip
    first, second = draw(priors), draw(priors)

    def call() -> Any:
        return make_problem(cost, (first(), second()), **options)

    problem = attempt("problems", call)
    if problem is not None:
        assert problem.cost.shape == shape and problem.cost.isfinite().all()
        for mass, size in ((problem.p, shape[1]), (problem.q, shape[2])):
            assert mass.shape == (shape[0], size) and (mass >= 0).all()
            torch.testing.assert_close(mass.sum(1), torch.ones(len(mass), dtype=mass.dtype), rtol=0, atol=1e-4)


@inputs(400)
@given(data=st.data())
def test_terms_of_the_cost(data: st.DataObject) -> None:
    draw = data.draw
    batch, n, m = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    x, y = embeddings(draw, batch, n, 4), embeddings(draw, batch, m, 4)
    cost = attempt("problems", lambda: cosine_cost(x, y))
    if cost is not None:
        assert cost.shape[-2:] == (n, m) and (bool(((cost >= -1e-5) & (cost <= 2.001)).all()) or not plain(x, y))
        with_dummy = attempt("problems", lambda: add_dummy(cost, draw(usually(st.sampled_from([0.0, 0.5])))))
        assert with_dummy is None or with_dummy.shape[-2:] == (n + 1, m + 1)
    sizes = [draw(usually(st.just(size), odd_size)) for size in (n, m)]
    lengths = [draw(st.none() | st.lists(st.integers(0, size + 1), min_size=batch, max_size=batch)) for size in (n, m)]
    lengths = [None if each is None else torch.tensor(each) for each in lengths]
    prior = attempt("problems", lambda: temporal_prior(*sizes, *lengths))
    assert prior is None or (prior.shape[-2:] == (n, m) and prior.isfinite().all())
    mask = draw(masks(batch, n))
    share = draw(st.none() | usually(st.sampled_from([0.0, 0.2, 0.99])))
    mass = attempt("problems", lambda: dummy_marginal(mask, share))
    if mass is not None:
        assert mass.shape == (batch, n + 1) and (mass >= 0).all() and ((mass.sum(1) - 1).abs() < 1e-4).all()


def tables(draw: st.DrawFn, *shape: int) -> Any:
    table = random(shape, draw(st.integers(0, 99))).double().numpy() - draw(st.sampled_from([0.0, 0.0, 0.5]))
    match draw(st.integers(0, 19)):
        case 0:
            table[0, -1] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        case 1:
            table[0] = 0
        case 2:
            others = [table[0], table[:0], table.tolist(), [["a"]], [[1], [1, 2]], None, table > 0.5, table.round()]
            return draw(st.sampled_from(others))
        case 3:
            table *= draw(st.sampled_from([1e300, 1e-300]))
    return table


@inputs(500)
@given(data=st.data())
def test_paths(data: st.DataObject) -> None:
    draw = data.draw
    n, m = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    x, y, scores = tables(draw, n, 3), tables(draw, m, 3), tables(draw, n, m)
    metric = draw(usually(st.sampled_from(paths.METRICS)))
    found = attempt("paths", lambda: paths.dtw(x, y, metric))
    if found is not None:
        assert found.shape == (len(x),) and (np.diff(found) >= 0).all() and 0 <= found.min() <= found.max() < len(y)
    order = draw(st.none() | usually(st.lists(st.integers(0, m - 1), min_size=1, max_size=4)))
    switch = draw(usually(st.sampled_from([0.0, 0.5])))
    states = attempt("paths", lambda: paths.viterbi(scores, switch, order))
    if states is not None:
        assert states.shape == (n,) and states.min() >= 0 and states.max() < m
    path = attempt("paths", lambda: pairing.paired_path(scores))
    if path is not None:
        assert path.position.shape == (n,) and -1e-9 <= path.position.min() <= path.position.max() <= m - 1 + 1e-9
        assert all(0 <= sure.min() <= sure.max() <= 1 for sure in (path.paired_x, path.paired_y))
    cost = draw(costs())
    value = attempt("paths", lambda: soft_dtw(cost, draw(some)))
    assert value is None or (value.shape == cost.shape[:1] and (bool(value.isfinite().all()) or not plain(cost)))
