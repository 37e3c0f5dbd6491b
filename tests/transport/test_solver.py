"""What every solve must hold (SPEC section 3), for both schemes, balanced, semi-relaxed and relaxed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.helpers import check_plan, random_cost, random_walk
from vasot_lib.errors import InputError
from vasot_lib.transport import Distinct, Far, Near, cosine_cost, make_problem, reference, solve, temporal_prior
from vasot_lib.transport.reference import MOST_WEIGHT, SWEEPS_BETWEEN_CHECKS, mirror_step, next_weight

SCHEMES = ["mirror", "sinkhorn"]
RELAXATIONS = [(None, None), (None, 0.1), (0.1, None), (0.1, 0.1)]
everything = pytest.mark.parametrize("relax", RELAXATIONS, ids=["balanced", "relax_y", "relax_x", "relaxed"])
schemes = pytest.mark.parametrize("scheme", SCHEMES)


@schemes
@everything
@given(n=st.integers(6, 40), m=st.integers(6, 40), seed=st.integers(0, 999), alpha=st.floats(0, 0.8))
def test_marginals_are_as_asked(
    scheme: str, relax: tuple[float | None, float | None], n: int, m: int, seed: int, alpha: float
) -> None:
    cost = random_cost(2, n, m, seed)
    plan = solve(cost, (Near(0.2), Far(0.2)), alpha=alpha, relax_x=relax[0], relax_y=relax[1], scheme=scheme)
    p, q = torch.full((2, n), 1 / n, dtype=torch.float64), torch.full((2, m), 1 / m, dtype=torch.float64)
    check_plan(plan, p, q, fixed_x=relax[0] is None, fixed_y=relax[1] is None)


@schemes
@everything
def test_sample_does_not_depend_on_its_batch_mates(scheme: str, relax: tuple[float | None, float | None]) -> None:
    """Trap: the releases take the step size and the kernel's maximum over the whole batch."""
    cost = random_cost(3, 30, 24)
    cost[1] *= 20  # in the released code this sample would set everybody's step
    options = dict(alpha=0.3, relax_x=relax[0], relax_y=relax[1], scheme=scheme)
    together = solve(cost, (Near(0.1), Far(0.1)), **options)
    for b in range(3):
        alone = solve(cost[b : b + 1], (Near(0.1), Far(0.1)), **options)
        torch.testing.assert_close(together.matrix[b : b + 1], alone.matrix, rtol=1e-7, atol=1e-12)
        torch.testing.assert_close(together.objective[b], alone.objective[0])


@schemes
@everything
def test_padding_does_not_change_the_result(scheme: str, relax: tuple[float | None, float | None]) -> None:
    """Trap: the releases compute the window and the temporal prior from padded lengths."""
    cost = random_cost(1, 30, 24)
    options = dict(alpha=0.3, relax_x=relax[0], relax_y=relax[1], scheme=scheme)
    bare = solve(cost, (Near(0.1), Far(0.1)), **options)
    padded = torch.full((2, 47, 31), torch.nan, dtype=torch.float64)
    padded[0, :30, :24] = cost[0]
    padded[1] = random_cost(1, 47, 31, seed=5)[0]
    mask_x, mask_y = torch.arange(47) < torch.tensor([[30], [47]]), torch.arange(31) < torch.tensor([[24], [31]])
    plan = solve(padded, (Near(0.1), Far(0.1)), mask_x=mask_x, mask_y=mask_y, **options)
    torch.testing.assert_close(plan.matrix[0, :30, :24], bare.matrix[0], rtol=1e-8, atol=1e-12)
    assert plan.matrix[0, 30:].abs().sum() == 0 and plan.matrix[0, :, 24:].abs().sum() == 0
    torch.testing.assert_close(plan.objective[0], bare.objective[0])


@schemes
@everything
def test_float32_agrees_with_float64(scheme: str, relax: tuple[float | None, float | None]) -> None:
    x, y = random_walk(60, seed=1), random_walk(50, seed=2)
    cost = cosine_cost(x, y)[None] + 0.2 * temporal_prior(60, 50)
    options = dict(alpha=0.3, relax_x=relax[0], relax_y=relax[1], scheme=scheme)
    double = solve(cost, (Near(0.05), Far(0.05)), **options)
    single = solve(cost.float(), (Near(0.05), Far(0.05)), **options)
    assert single.matrix.dtype == torch.float32
    # Finishing stops on the measured error, so both are only as close as the tolerance lets them be.
    torch.testing.assert_close(single.matrix.double(), double.matrix, rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(single.objective.double(), double.objective, rtol=1e-4, atol=1e-5)


@schemes
def test_identical_sequences_give_a_diagonal_plan(scheme: str) -> None:
    x = random_walk(40)
    plan = solve(cosine_cost(x, x)[None], (Near(0.05), Far(0.05)), alpha=0.3, epsilon=0.02, scheme=scheme)
    assert torch.equal(plan.matrix[0].argmax(1), torch.arange(40))
    assert torch.equal(plan.matrix[0].argmax(0), torch.arange(40))


@schemes
def test_shifted_sequence_gives_a_shifted_band(scheme: str) -> None:
    whole, shift = random_walk(50), 6
    plan = solve(
        cosine_cost(whole[:44], whole[shift:])[None], (Near(0.05), Far(0.05)), alpha=0.3, epsilon=0.02, scheme=scheme
    )
    assert torch.equal(plan.matrix[0].argmax(1)[shift:], torch.arange(44 - shift))


@schemes
def test_repeated_action_is_matched_twice(scheme: str) -> None:
    actions = torch.eye(3, dtype=torch.float64)
    truth = torch.tensor([0] * 10 + [1] * 15 + [0] * 12 + [2] * 8)
    noise = torch.randn(45, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cost = cosine_cost(actions[truth] + 0.3 * noise, actions)[None]
    plan = solve(cost, (Near(0.1), Distinct()), alpha=0.3, relax_y=0.05, scheme=scheme)
    assert torch.equal(plan.matrix[0].argmax(1), truth)


@given(n=st.integers(6, 16), m=st.integers(6, 16), alpha=st.floats(0.05, 0.6), seed=st.integers(0, 999))
def test_objective_and_marginals_agree_with_pot(n: int, m: int, alpha: float, seed: int) -> None:
    """POT's entropic fused Gromov-Wasserstein, same number of linearisations, inner problems solved out."""
    structure, epsilon, iterations = (Near(0.3), Far(0.3)), 0.15, 4
    cost = random_cost(1, n, m, seed)
    ours = solve(
        cost,
        structure,
        alpha=alpha,
        epsilon=epsilon,
        iterations=iterations,
        sweeps=400,
        scheme="mirror",
        tolerance=1e-9,
    )
    weight = alpha / (2 * (1 - alpha))
    pot_alpha = weight / (1 + weight)
    cx, cy = (side.dense(size).numpy() / 2**0.5 for side, size in zip(structure, (n, m), strict=True))
    ot = pytest.importorskip("ot")
    theirs = ot.gromov.entropic_fused_gromov_wasserstein(
        cost[0].numpy(), -cx, cy, loss_fun="square_loss", solver="PGD", alpha=pot_alpha,
        epsilon=epsilon * (1 - pot_alpha) / (1 - alpha), max_iter=iterations, tol=0, numItermax=5000, stopThr=1e-12,
        warn=False,
    )  # fmt: skip
    problem = make_problem(cost, structure, alpha=alpha, epsilon=epsilon)
    assert ours.objective.item() == pytest.approx(problem.objective(torch.from_numpy(theirs)[None]).item(), abs=1e-5)
    np.testing.assert_allclose(ours.matrix[0].sum(1), theirs.sum(1), rtol=1e-4)
    np.testing.assert_allclose(ours.matrix[0].sum(0), theirs.sum(0), rtol=1e-4)


@given(seed=st.integers(0, 999), k=st.integers(2, 6))
def test_both_schemes_solve_the_relaxed_convex_problem(seed: int, k: int) -> None:
    """Without structure J is convex: both schemes must find the one minimum, and POT's unbalanced Sinkhorn too."""
    cost = random_cost(1, 20, k, seed)
    options = dict(epsilon=0.2, relax_x=0.5, relax_y=0.5, iterations=400)
    sinkhorn, mirror = (solve(cost, scheme=scheme, **options) for scheme in ("sinkhorn", "mirror"))
    assert sinkhorn.converged.all()
    torch.testing.assert_close(mirror.objective, sinkhorn.objective, rtol=0, atol=1e-4)
    ot = pytest.importorskip("ot")
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        np.full(20, 1 / 20), np.full(k, 1 / k), cost[0].numpy(), 0.2, 0.5, reg_type="entropy", stopThr=1e-12
    )
    np.testing.assert_allclose(sinkhorn.matrix[0].numpy(), theirs, rtol=1e-3, atol=1e-7)


@everything
@pytest.mark.parametrize("second_side", [Far(0.05), Distinct()], ids=["Far", "Distinct"])
def test_trap_the_outer_map_does_not_cycle(
    second_side: Far | Distinct, relax: tuple[float | None, float | None]
) -> None:
    """With structure heavy against entropy the plain fixed-point map jumps between two plans for ever."""
    x, y = random_walk(60, seed=1), random_walk(60 if isinstance(second_side, Far) else 10, seed=2)
    cost = cosine_cost(x, y)[None] + 0.2 * temporal_prior(60, len(y))
    options = dict(alpha=0.6, epsilon=0.04, iterations=100)
    plan = solve(cost, (Near(0.05), second_side), relax_x=relax[0], relax_y=relax[1], **options)
    assert plan.residual.item() < 0.02
    if relax == (None, None):
        cycling = solve(cost, (Near(0.05), second_side), scheme="mirror", finish=False, **options)
        assert cycling.residual.item() > 0.1 and not cycling.converged.any()
        assert plan.objective.item() < solve(cost, (Near(0.05), second_side), scheme="mirror", **options).objective


@everything
@pytest.mark.parametrize("sweeps", [1, 3])
def test_two_iterations_are_those_of_the_formulas(relax: tuple[float | None, float | None], sweeps: int) -> None:
    """As the module ``reference`` writes them, in logarithms, from potentials of 0."""
    cost, epsilon, alpha = random_cost(1, 9, 7)[0], 0.2, 0.3
    near, far = Near(0.3).dense(9), Far(0.3).dense(7)
    phi_x, phi_y = (1.0 if weight is None else weight / (weight + 2 * epsilon) for weight in relax)
    log_p, log_q = (torch.full((size,), 1 / size, dtype=torch.float64).log() for size in cost.shape)
    log_plan, v = log_p[:, None] + log_q, torch.zeros(7, dtype=torch.float64)
    for _ in range(2):
        gradient = (1 - alpha) * cost + alpha * near @ log_plan.exp() @ far
        kernel = (epsilon * log_plan - gradient) / (2 * epsilon)
        for _ in range(sweeps):
            u = phi_x * (log_p - (v + kernel).logsumexp(1))
            v = phi_y * (log_q - (u[:, None] + kernel).logsumexp(0))
        if relax[0] is None and relax[1] is not None:  # the rows are met exactly, at the end
            u = log_p - (v + kernel).logsumexp(1)
        log_plan = u[:, None] + v + kernel
    plan = solve(
        cost[None], (Near(0.3), Far(0.3)), alpha=alpha, epsilon=epsilon, relax_x=relax[0], relax_y=relax[1],
        iterations=2, sweeps=sweeps, finish=False,
    )  # fmt: skip
    torch.testing.assert_close(plan.matrix[0], log_plan.exp(), rtol=1e-9, atol=1e-12)


@everything
def test_sinkhorn_lowers_the_objective(relax: tuple[float | None, float | None]) -> None:
    x, y = random_walk(50, seed=3), random_walk(50, seed=4)
    plan = solve(
        cosine_cost(x, y)[None], (Near(0.05), Far(0.05)), alpha=0.3, relax_x=relax[0], relax_y=relax[1], trace=True
    )
    assert plan.trace is not None and plan.trace.shape == (26, 1)
    assert plan.trace[-1] < plan.trace[0] - 0.01


def test_trap_one_inner_sweep_misses_the_row_marginals() -> None:
    """As published, the balanced plan has rows that are off by a large share of their mass; finishing mends it."""
    cost = cosine_cost(random_walk(60, seed=1), random_walk(60, seed=2))[None] + 0.35 * temporal_prior(60, 60)
    published = solve(cost, (Near(0.05), Far(0.05)), alpha=0.3, scheme="mirror", sweeps=1, finish=False)
    assert published.marginal_error_x.item() > 0.2
    assert not published.converged.any()
    assert solve(cost, (Near(0.05), Far(0.05)), alpha=0.3, scheme="mirror", sweeps=1).marginal_error_x.item() <= 1e-3


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_the_weight_of_finishing_sweeps_is_the_best_one_once_their_rate_is_known(share: float) -> None:
    """Young: if a plain sweep leaves a share s of the error, w = 2 / (1 + sqrt(1 - s)) is best and leaves w - 1."""
    best, left = 2 / (1 + (1 - share) ** 0.5), SWEEPS_BETWEEN_CHECKS
    assert next_weight(1.0, share**left) == pytest.approx(best)
    assert next_weight(best, (best - 1) ** left) == pytest.approx(best)
    small = (1 + best) / 2  # leaves the larger root l of (l + w - 1)^2 = l w^2 s, from which s is told again
    half = 1 - small + small**2 * share / 2
    rate = half + (half**2 - (small - 1) ** 2) ** 0.5
    assert next_weight(small, rate**left) == pytest.approx(best)
    assert next_weight(best, 1.1) == 1.0  # the error has grown
    assert next_weight(1.0, 0.9999999**left) == MOST_WEIGHT
    assert next_weight(best, 0.0) == best  # before the first sweeps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("epsilon", "tolerance"), [(0.07, 1e-5), (0.02, 1e-5), (0.005, 1e-3)])
def test_finishing_meets_marginals_that_plain_sweeps_do_not(
    epsilon: float, tolerance: float, dtype: torch.dtype
) -> None:
    """A thousand plain sweeps left the columns off by 1.5e-2 at epsilon .005, in float64 too."""
    cost = cosine_cost(random_walk(60, seed=5), random_walk(50, seed=6))[None].to(dtype)
    cost = cost + 0.35 * temporal_prior(60, 50).to(dtype)
    plan = solve(cost, (Near(0.1), Far(0.1)), alpha=0.3, epsilon=epsilon, tolerance=tolerance)
    assert plan.marginal_error_x.item() < 1e-6 and plan.marginal_error_y.item() <= tolerance
    # And to the same plan: the scalings of rows and columns that meet the masses are unique.
    exact = solve(cost.double(), (Near(0.1), Far(0.1)), alpha=0.3, epsilon=epsilon, tolerance=tolerance / 100)
    assert (plan.matrix.double() - exact.matrix).abs().sum().item() < 2 * tolerance


def test_trap_convergence_is_measured_not_claimed() -> None:
    """One iteration from the uniform plan moves most of the mass: that is not convergence, whatever the marginals."""
    cost = random_cost(1, 30, 30)
    early, late = (solve(cost, epsilon=0.3, iterations=n) for n in (1, 200))
    assert early.residual.item() > 0.1 and not early.converged.any()
    assert late.residual.item() <= 1e-3 and late.converged.all()


@pytest.mark.parametrize("relax", [(0.5, None), (None, 0.5), (0.5, 0.5)], ids=["relax_x", "relax_y", "relaxed"])
def test_a_relaxed_side_may_miss_its_masses_and_a_fixed_one_may_not(relax: tuple[float | None, float | None]) -> None:
    cost, options = random_cost(1, 30, 20), dict(epsilon=0.3, relax_x=relax[0], relax_y=relax[1])
    late = solve(cost, iterations=400, **options)
    missed = late.marginal_error_x.item() > 1e-3, late.marginal_error_y.item() > 1e-3
    assert missed == (relax[0] is not None, relax[1] is not None)
    assert late.residual.item() <= 1e-3 and late.converged.all()


@pytest.mark.parametrize("relax", [(None, None), (0.5, None), (None, 0.5), (0.5, 0.5)])
def test_converged_looks_at_what_moved_and_at_the_fixed_sides(
    relax: tuple[float | None, float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four samples: all at the tolerance, the rows off, the columns off, mass still moving."""
    tolerance, off = 0.25, 0.5
    values = torch.tensor([[tolerance, off, tolerance, tolerance], [tolerance, tolerance, off, tolerance],
                           [tolerance, tolerance, tolerance, off]])  # fmt: skip
    found = reference.Solution(torch.zeros(4, 3, 3), torch.zeros(4), *values)
    monkeypatch.setattr(reference, "run", lambda *_: found)
    plan = solve(random_cost(4, 3, 3), relax_x=relax[0], relax_y=relax[1], tolerance=tolerance)
    assert plan.converged.tolist() == [True, relax[0] is not None, relax[1] is not None, False]


@pytest.mark.parametrize("relax", [(0.1, None), (None, 0.3), (0.1, 0.3)], ids=["relax_x", "relax_y", "relaxed"])
@pytest.mark.parametrize("second_side", [None, Far(0.3), Distinct()], ids=["no structure", "Far", "Distinct"])
def test_mirror_step_is_four_over_the_largest_gradient_of_each_sample(
    second_side: Far | Distinct | None, relax: tuple[float | None, float | None]
) -> None:
    cost = random_cost(2, 9, 7) * torch.tensor([[[5.0]], [[9.0]]])
    lengths_x, lengths_y = torch.tensor([[9], [6]]), torch.tensor([[5], [7]])
    structure = None if second_side is None else (Near(0.3), second_side)
    problem = make_problem(
        cost, structure, alpha=0.0 if structure is None else 0.6, epsilon=0.2, relax_x=relax[0], relax_y=relax[1],
        mask_x=torch.arange(9) < lengths_x, mask_y=torch.arange(7) < lengths_y,
    )  # fmt: skip
    lambdas = sum(weight or 0.0 for weight in relax)
    for k, (n, m) in enumerate(zip(lengths_x.flatten().tolist(), lengths_y.flatten().tolist(), strict=True)):
        uniform = torch.full((n, m), 1 / (n * m), dtype=torch.float64)
        gradient = (1 - problem.alpha) * cost[k, :n, :m] + 0.2 * uniform.log() + lambdas
        if structure is not None:
            gradient += 0.6 * structure[0].dense(n) @ uniform @ structure[1].dense(m)
        assert gradient.max() > 2 * (0.2 + lambdas)
        assert mirror_step(problem)[k].item() == pytest.approx(4 / gradient.max().item(), rel=1e-6)
    small = make_problem(cost / 100, epsilon=0.2, relax_x=relax[0], relax_y=relax[1])
    assert mirror_step(small).flatten().tolist() == pytest.approx([1 / (0.2 + lambdas)] * 2)


def test_trap_mirror_step_stays_finite_where_the_gradient_is_never_positive() -> None:
    """step = 4 / max(gradient) explodes or changes sign where the largest entropy-laden gradient is about 0."""
    cost = torch.zeros(1, 200, 30, dtype=torch.float64)
    cost[0, :100, 3] = -0.01
    plan = solve(cost, epsilon=0.1, relax_y=0.1, scheme="mirror")
    check_plan(plan, torch.full((1, 200), 1 / 200), torch.full((1, 30), 1 / 30), fixed_x=True, fixed_y=False)
    assert (plan.matrix[0, :100].argmax(1) == 3).all()


@schemes
def test_extreme_costs_stay_finite_in_float32(scheme: str) -> None:
    cost = random_cost(1, 40, 30, dtype=torch.float32) * 20
    plan = solve(cost, (Near(0.1), Far(0.1)), alpha=0.3, epsilon=0.05, scheme=scheme)
    assert plan.matrix.isfinite().all() and plan.matrix.sum().item() == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-4, 1e-6, 1e-12])
@schemes
def test_no_mass_is_lost_at_small_epsilon(scheme: str, epsilon: float, dtype: torch.dtype) -> None:
    """Rows and columns whose every entry floats round to 0 once vanished: .926 of the mass was left at 1e-4."""
    cost = torch.cat((random_cost(1, 50, 70, dtype=dtype) / 2, random_cost(1, 50, 70, 1, dtype=dtype) * 1e3))
    plan = solve(cost, epsilon=epsilon, scheme=scheme)
    assert plan.matrix.isfinite().all() and plan.marginal_error_x.max() < 1e-5
    torch.testing.assert_close(plan.matrix.sum((1, 2)), torch.ones(2, dtype=dtype), rtol=0, atol=1e-6)
    published = solve(cost, epsilon=epsilon, scheme=scheme, finish=False)  # ends on the columns
    torch.testing.assert_close(published.matrix.sum((1, 2)), torch.ones(2, dtype=dtype), rtol=0, atol=1e-6)


def test_samples_without_underflow_are_left_as_they_are() -> None:
    easy, hard = (random_cost(1, 40, 40, seed, torch.float32) for seed in (0, 1))
    together = solve(torch.cat((easy, 500 * hard)), epsilon=0.01)
    assert torch.equal(together.matrix[:1], solve(easy, epsilon=0.01).matrix)
    assert together.marginal_error_x.max() < 1e-5


@everything
@schemes
def test_sharp_relaxed_plans_are_finite(scheme: str, relax: tuple[float | None, float | None]) -> None:
    """exp of a potential overflowed: NaN with relax_x = .0111 at epsilon = .0124."""
    cost = torch.randn(1, 16, 33, generator=torch.Generator().manual_seed(0))
    options = dict(epsilon=0.0124, relax_x=relax[0] and 0.0111, relax_y=relax[1] and 0.0111, sweeps=3, scheme=scheme)
    if scheme == "sinkhorn" and None not in relax:
        with pytest.raises(InputError, match=r"mass exceeds torch.float32, .* least cost is -3.*; raise relax_x"):
            solve(cost, **options)
        return
    plan = solve(cost, **options)
    assert plan.matrix.isfinite().all() and plan.objective.isfinite().all()
    if None in relax:
        assert plan.matrix.sum().item() == pytest.approx(1.0, abs=1e-5)
        double = solve(cost.double(), **options)
        torch.testing.assert_close(plan.objective.double(), double.objective, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@schemes
@everything
def test_cuda_agrees_with_cpu(scheme: str, relax: tuple[float | None, float | None]) -> None:
    cost = random_cost(2, 60, 50)
    options = dict(alpha=0.3, relax_x=relax[0], relax_y=relax[1], scheme=scheme)
    cpu, cuda = (solve(c, (Near(0.1), Far(0.1)), **options) for c in (cost, cost.cuda()))
    torch.testing.assert_close(cuda.matrix.cpu(), cpu.matrix, rtol=1e-6, atol=1e-9)
