r"""The one Triton kernel of the GPU path: a whole solve, from the cost to the plan and its objective, in one launch.

A group of ``parts`` programs works on a sample. They share its rows, in the sums along i its columns, and wait for each
other at a barrier in memory (:func:`meet`) wherever a step reads what another program wrote. The launch is cooperative,
so that all programs run at the same time. Where there are more samples than groups, a group solves one sample after
another. :mod:`vasot_lib.transport.fused.gpu` describes the steps.

``arrived`` counts the arrivals at the barrier after which all programs of the group may go on. ``parity`` says which of
two sets of column sums is written: a program may write those of the next sweep while another still reads these.
"""
# mypy: disallow-untyped-defs=False

import triton
import triton.language as tl

from vasot_lib.transport.fused import gpu_phases as phases
from vasot_lib.transport.fused.gpu_arguments import Job

# Rows of ``Arrays.partial``: what each program of a group has measured.
LARGEST, MOVED, OBJECTIVE, ERROR_X, ERROR_Y = (tl.constexpr(row) for row in range(5))
PARTS_AT_ONCE = tl.constexpr(64)  # parts whose measurements are read at a time


@triton.jit(do_not_specialize=["batch", "parts", "iterations", "sweeps", "checks", "sweeps_between"])
def solve(
    arrays, sizes, weights, batch, parts, iterations, sweeps, checks, sweeps_between, tolerance, how: tl.constexpr
):  # fmt: skip
    """Solve ``batch`` samples. Finishing sweeps are checked every ``sweeps_between`` sweeps, at most ``checks`` times.

    There is one step before the iterations, which finds the step size of ``how.mirror``, and one after them, which
    measures the plan. Both need the structure term as the iterations do, and code that stands here once is compiled
    once.
    """
    part = tl.program_id(0)
    arrived = 0
    for each in range(tl.program_id(1), batch, tl.num_programs(1)):
        sample = tl.cast(each, tl.int64)
        n, m = tl.load(arrays.lengths_x + sample), tl.load(arrays.lengths_y + sample)
        vector = sample if how.shared else sample * parts + part
        job = Job(arrays, sizes, weights, sample, n, m, part, parts, vector)
        scale = weights.epsilon * (2.0 if how.proximal else 1.0)
        rate, keep = 1.0 / scale, 1.0 - weights.epsilon / scale
        phi = weights.relax / (weights.relax + scale) if how.exact_rows else 1.0
        arrived = _start(job, how, arrived)
        parity, before, moved = 0, 0.0, 0.0
        step = -1 if how.mirror else 0
        while step <= iterations:
            if how.stop or step >= iterations - 1:
                arrived = _collect(job, how, arrived)
            if how.stop:  # see ``reference.has_settled``
                before, moved = moved, tl.where(step > 0, _over_parts(job, MOVED, False), 0.0)
                settled = (moved <= tolerance) & (2.0 * moved * moved <= tolerance * (before - moved))
                step = tl.where((step > 0) & settled, iterations, step)
            if how.finish:  # noqa: SIM102 (one of them is known when the kernel is compiled)
                if step == iterations:
                    arrived, parity = _finish(job, how, arrived, parity, checks, sweeps_between, tolerance)
            if how.structure != phases.NONE:
                full = tl.where((step < 0) | (step == iterations), 1.0, 0.0)
                arrived = _structure(job, how, arrived, full)
            if step < 0:
                rate, arrived = _mirror_rate(job, how, arrived)
                keep = 1.0 - weights.epsilon * rate
                arrived = _start(job, how, arrived)
            elif step < iterations:
                arrived, parity = _iterate(job, how, arrived, parity, sweeps, rate, keep, phi)
            step += 1
        arrived = _measure(job, how, batch, arrived, parity)


@triton.jit
def meet(job, arrived, TOGETHER: tl.constexpr):
    """Wait until all programs of the group are here; what they have written can be read afterwards.

    A release carries what all threads of its program wrote before the first ``debug_barrier``; the atomic additions
    that follow it, of whatever program, pass it on, and the acquire that reads the last one makes it seen.
    """
    tl.debug_barrier()
    if TOGETHER:
        arrived += job.parts
        barrier = job.arrays.barrier + tl.program_id(1)
        tl.atomic_add(barrier, 1, sem="release", scope="gpu")
        while tl.atomic_add(barrier, 0, sem="acquire", scope="gpu") < arrived:
            pass
        tl.debug_barrier()
    return arrived


@triton.jit
def _iterate(job, how: tl.constexpr, arrived, parity, sweeps, rate, keep, phi):
    """The next kernel, and the Sinkhorn sweeps on it."""
    sums = job.arrays.column_sums + ((job.sample * 2 + parity) * job.parts + job.part) * job.sizes.m
    for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
        phases.step_rows(job, how, sums, block, rate, keep, False)
    arrived = meet(job, arrived, how.together)
    for _ in range(1, sweeps):
        arrived = _scale(job, how, arrived, parity, rate, keep, phi, how.mirror, False, 1.0, False)
        parity = 1 - parity
        arrived = _sweep(job, how, arrived, parity, 1.0, False)
    arrived = _scale(job, how, arrived, parity, rate, keep, phi, how.mirror, how.proximal, 1.0, False)
    return arrived, 1 - parity


@triton.jit
def _start(job, how: tl.constexpr, arrived):
    """The uniform plan: K = 1, a = p and b = q, with log q kept in log K."""
    for start in range(0, job.sizes.m, how.tile):
        columns = start + tl.arange(0, how.tile)
        real = columns < job.sizes.m
        mass = tl.load(job.arrays.q + job.sample * job.sizes.m + columns, mask=real, other=0.0)
        at_column = job.vector * job.sizes.m + columns
        tl.store(job.arrays.b + at_column, mass, mask=real)
        tl.store(job.arrays.v + at_column, tl.zeros_like(mass), mask=real)
        tl.store(job.arrays.shift + at_column, tl.where(mass > 0, 0.0, -float("inf")), mask=real)
        for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
            rows = block * how.rows + tl.arange(0, how.rows)
            at, inside = phases.entries(job, rows, columns)
            one = tl.full((how.rows, how.tile), 1.0, tl.float32)
            tl.store(job.arrays.kernel + at, one, mask=inside)
            tl.store(job.arrays.log_kernel + at, one * tl.log(tl.maximum(mass, phases.TINY))[None, :], mask=inside)
            at_row = job.sample * job.sizes.n + rows
            tl.store(
                job.arrays.a + at_row, tl.load(job.arrays.p + at_row, mask=rows < job.n, other=0.0), mask=rows < job.n
            )
    return meet(job, arrived, how.together)


@triton.jit
def _structure(job, how: tl.constexpr, arrived, full):
    """Z = T Cy and its running sums Q along i, in which :func:`structure_term` looks up ``Cx Z``."""
    chunks = tl.cdiv(job.n, job.sizes.chunk)
    if how.structure == phases.BAND:
        for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
            phases.sum_along_row(job, how, block)
        arrived = meet(job, arrived, how.together)
        tiles = tl.cdiv(job.m, how.columns)
        for each in range(job.part, tiles * chunks, job.parts):
            columns = (each % tiles) * how.columns + tl.arange(0, how.columns)
            phases.sum_band_along_column(job, how, each // tiles, columns, full)
    else:
        for chunk in range(job.part, chunks, job.parts):
            phases.sum_along_column(job, how, chunk, full)
    return meet(job, arrived, how.together)


@triton.jit
def _mirror_rate(job, how: tl.constexpr, arrived):
    """The step size of ``reference.mirror_step``: 4 over the largest entry of the gradient at the uniform plan."""
    largest = -float("inf")
    for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
        rows = block * how.rows + tl.arange(0, how.rows)
        p = tl.load(job.arrays.p + job.sample * job.sizes.n + rows, mask=rows < job.n, other=0.0)
        for start in range(0, job.m, how.tile):
            columns = start + tl.arange(0, how.tile)
            q = tl.load(job.arrays.q + job.sample * job.sizes.m + columns, mask=columns < job.sizes.m, other=0.0)
            real = (p > 0)[:, None] & (q > 0)[None, :]
            at = job.sample * job.sizes.n * job.sizes.m + rows[:, None] * job.sizes.m + columns[None, :]
            slope = job.weights.linear * tl.load(job.arrays.cost + at, mask=real, other=0.0)
            if how.structure != phases.NONE:
                slope += phases.structure_term(job, rows, columns)
            log_plan = tl.log(tl.maximum(p, phases.TINY))[:, None] + tl.log(tl.maximum(q, phases.TINY))[None, :]
            slope += job.weights.epsilon * log_plan + job.weights.relax
            largest = tl.maximum(largest, tl.max(tl.where(real, slope, -float("inf"))))
    largest, arrived = _largest(job, how, arrived, largest)
    curvature = job.weights.epsilon + job.weights.relax
    return tl.where(largest > 2.0 * curvature, 4.0 / largest, 1.0 / curvature), arrived


@triton.jit
def _largest(job, how: tl.constexpr, arrived, value):
    """The largest of the values that the programs of the group bring."""
    if how.together:
        tl.store(job.arrays.partial + (job.sample * phases.MEASURES + LARGEST) * job.parts + job.part, value)
        arrived = meet(job, arrived, how.together)
        value = _over_parts(job, LARGEST, True)
    tl.debug_barrier()  # what the value was computed from may be overwritten next
    return value, arrived


@triton.jit
def _over_parts(job, what: tl.constexpr, MAXIMUM: tl.constexpr):
    """The largest, or the sum, of what the programs of the group have written to ``partial``."""
    values = job.arrays.partial + (job.sample * phases.MEASURES + what) * job.parts
    result = tl.full((PARTS_AT_ONCE,), -float("inf") if MAXIMUM else 0.0, tl.float32)
    for start in range(0, job.parts, PARTS_AT_ONCE):
        each = start + tl.arange(0, PARTS_AT_ONCE)
        if MAXIMUM:
            result = tl.maximum(result, tl.load(values + each, mask=each < job.parts, other=-float("inf")))
        else:
            result += tl.load(values + each, mask=each < job.parts, other=0.0)
    return tl.max(result) if MAXIMUM else tl.sum(result)


@triton.jit
def _sweep(job, how: tl.constexpr, arrived, parity, weight, LENGTHENED: tl.constexpr):
    """Half a Sinkhorn sweep: a from b, and the column sums of ``a K``; ``LENGTHENED`` by a weight."""
    sums = job.arrays.column_sums + ((job.sample * 2 + parity) * job.parts + job.part) * job.sizes.m
    for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
        phases.sweep_rows(job, how, sums, block, weight, LENGTHENED)
    return meet(job, arrived, how.together)


@triton.jit
def _scale(
    job, how: tl.constexpr, arrived, parity, rate, keep, phi, MIRROR: tl.constexpr, PROXIMAL: tl.constexpr, weight,
    LENGTHENED: tl.constexpr,
):  # fmt: skip
    """The other half of the sweep: b from the column sums, and what the next step adds to log K."""
    used = tl.minimum(job.parts, tl.cdiv(job.n, how.rows))
    sums = job.arrays.column_sums + (job.sample * 2 + parity) * job.parts * job.sizes.m
    for tile in range(job.part if how.shared else 0, tl.cdiv(job.sizes.m, how.columns), job.parts if how.shared else 1):
        columns = tile * how.columns + tl.arange(0, how.columns)
        total = phases.column_total(job, how, sums, used, columns)
        phases.scale_columns(job, columns, total, rate, keep, phi, MIRROR, PROXIMAL, weight, LENGTHENED)
    return meet(job, arrived, how.together and how.shared)


@triton.jit
def _finish(job, how: tl.constexpr, arrived, parity, checks, sweeps_between, tolerance):
    """Over-relaxed sweeps until the column masses are met to half the ``tolerance``; the row masses always are.

    The first sweep after each check puts b into log K and computes K anew, with each row divided by its largest entry.
    So no row can vanish, and a column that did gets its mass back.
    """
    error, before, check, weight = float("inf"), float("inf"), 0, phases.FIRST_WEIGHT
    while (error > tolerance / 2) & (check < checks):
        if check > 0:
            weight = phases.next_weight(weight, error / before, sweeps_between)
            before = error
            arrived = _scale(job, how, arrived, parity, 0.0, 1.0, 1.0, False, False, weight, True)
        for tile in range(
            job.part if how.shared else 0, tl.cdiv(job.sizes.m, how.columns), job.parts if how.shared else 1
        ):
            phases.absorb(job, tile * how.columns + tl.arange(0, how.columns))
        arrived = meet(job, arrived, how.together and how.shared)
        parity = 1 - parity
        sums = job.arrays.column_sums + ((job.sample * 2 + parity) * job.parts + job.part) * job.sizes.m
        for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
            phases.step_rows(job, how, sums, block, 0.0, 1.0, True)
        arrived = meet(job, arrived, how.together)
        for sweep in range(1, tl.where(check > 0, sweeps_between, 1)):
            arrived = _scale(job, how, arrived, parity, 0.0, 1.0, 1.0, False, False, weight, True)
            parity = 1 - parity
            # The last one is plain, so that the rows have their masses where the columns are checked.
            last = sweep == sweeps_between - 1
            arrived = _sweep(job, how, arrived, parity, tl.where(last, 1.0, weight), True)
        error = _column_error(job, how, parity)
        error, arrived = _largest(job, how, arrived, error)
        check += 1
    for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
        phases.write_plan(job, how, block, False)
    return meet(job, arrived, how.together), parity


@triton.jit
def _column_error(job, how: tl.constexpr, parity):
    """The largest relative error of the column masses ``b_j sum_i a_i K_ij`` over the columns of this program."""
    used = tl.minimum(job.parts, tl.cdiv(job.n, how.rows))
    sums = job.arrays.column_sums + (job.sample * 2 + parity) * job.parts * job.sizes.m
    error = 0.0
    for tile in range(job.part, tl.cdiv(job.sizes.m, how.columns), job.parts):
        columns = tile * how.columns + tl.arange(0, how.columns)
        mass = tl.load(job.arrays.q + job.sample * job.sizes.m + columns, mask=columns < job.sizes.m, other=0.0)
        reached = phases.column_total(job, how, sums, used, columns)
        reached *= tl.load(job.arrays.b + job.vector * job.sizes.m + columns, mask=columns < job.sizes.m, other=0.0)
        error = tl.maximum(error, phases.largest_error(reached, mass))
    return error


@triton.jit
def _collect(job, how: tl.constexpr, arrived):
    """Write the plan, and how much mass has moved since it was written before."""
    moved = 0.0
    for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
        moved += phases.write_plan(job, how, block, how.exact_rows)
    tl.store(job.arrays.partial + (job.sample * phases.MEASURES + MOVED) * job.parts + job.part, moved)
    return meet(job, arrived, how.together)


@triton.jit
def _measure(job, how: tl.constexpr, batch, arrived, parity):
    """Objective and marginal errors of the written plan; with a structure, Q must belong to it."""
    sums = job.arrays.column_sums + ((job.sample * 2 + parity) * job.parts + job.part) * job.sizes.m
    objective, error_x, error_y = 0.0, 0.0, 0.0
    for block in range(job.part, tl.cdiv(job.n, how.rows), job.parts):
        terms, error = phases.measure_rows(job, how, sums, block)
        objective += terms
        error_x = tl.maximum(error_x, error)
    arrived = meet(job, arrived, how.together)
    used = tl.minimum(job.parts, tl.cdiv(job.n, how.rows))
    sums = job.arrays.column_sums + (job.sample * 2 + parity) * job.parts * job.sizes.m
    for tile in range(job.part, tl.cdiv(job.m, how.columns), job.parts):
        columns = tile * how.columns + tl.arange(0, how.columns)
        mass = tl.load(job.arrays.q + job.sample * job.sizes.m + columns, mask=columns < job.sizes.m, other=0.0)
        reached = phases.column_total(job, how, sums, used, columns)
        error_y = tl.maximum(error_y, phases.largest_error(reached, mass))
        if how.exact_rows or how.mirror:
            log_ratio = tl.log(tl.maximum(reached, phases.TINY)) - tl.log(tl.maximum(mass, phases.TINY))
            objective += job.weights.relax * tl.sum(tl.where(mass > 0, reached * log_ratio - reached + mass, 0.0))
    partial = job.arrays.partial + job.sample * phases.MEASURES * job.parts + job.part
    tl.store(partial + OBJECTIVE * job.parts, objective)
    tl.store(partial + ERROR_X * job.parts, error_x)
    tl.store(partial + ERROR_Y * job.parts, error_y)
    arrived = meet(job, arrived, how.together)
    if job.part == 0:
        outcome = job.arrays.outcome + job.sample
        tl.store(outcome, _over_parts(job, OBJECTIVE, False))
        tl.store(outcome + batch, _over_parts(job, ERROR_X, True))
        tl.store(outcome + 2 * batch, _over_parts(job, ERROR_Y, True))
        tl.store(outcome + 3 * batch, _over_parts(job, MOVED, False))
    return arrived
