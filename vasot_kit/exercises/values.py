"""Checks of the exercises that ask for a value."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vasot_kit.exercises.checking import NotYet, exercise, number, settings, several, whole
from vasot_kit.experiments.baselines import equal_split
from vasot_lib.data import toy
from vasot_lib.evaluation import score_segmentation
from vasot_lib.paths import viterbi
from vasot_lib.transport import Near, dummy_marginal, solve


def is_near(answer: Any, right: float, tolerance: float, mistakes: Mapping[float, str], otherwise: str) -> None:
    """Raise :class:`NotYet` unless the answer is the number; known mistakes get words of their own."""
    given = number(answer)
    if abs(given - right) < tolerance:
        return
    for wrong, words in mistakes.items():
        if abs(given - wrong) < tolerance:
            raise NotYet(words)
    raise NotYet(otherwise)


@exercise("00.1")
def sharper_row(answer: Any) -> None:
    """Share of its mass that a frame keeps on its like, where ``exp(-1 / epsilon) = 1 / 10`` and N = 3."""
    mistakes = {
        10 / 36: "that is a share of all mass; frame 1 has a third of it",
        10 / 11: "a row has two other frames",
        4 / 6: "that is the share where exp(-1 / epsilon) = 1/4",
    }
    is_near(answer, 10 / 12, 0.005, mistakes, "write down one row of exp(-C / epsilon); what is its sum?")


@exercise("00.2")
def perfect_split(answer: Any) -> None:
    """Settings of ``toy`` with which equal split is right for every frame."""
    made = toy(**settings(answer, list(inspect.signature(toy).parameters)))
    split = [equal_split(len(video), made.n_actions) for video in made.videos]
    true = [video.labels.numpy() for video in made.videos if video.labels is not None]
    mof = score_segmentation(split, true, made.background)["mof"]
    if mof <= 0.999:
        alone = [score_segmentation([a], [b], made.background)["mof"] for a, b in zip(split, true, strict=True)]
        of_equal_length = min(alone) > 0.999
        words = (
            "the steps are equally long; do they come in one order?"
            if of_equal_length
            else "what still makes the parts unequal?"
        )
        raise NotYet(f"MoF {mof:.2f}; {words}")


@exercise("05.1")
def largest_of_a_vertex(answer: Any) -> None:
    """How many entries of an optimal plan between 4 and 6 places are above 0, at most, without entropy."""
    words = "a plan between 3 and 4 places has 12 entries and 7 sums, of which 6 are independent"
    is_near(whole(answer), 9, 0.5, {10.0: "one of the sums follows from the others", 24.0: words}, words)


@exercise("10.1")
def backwards(answer: Any) -> None:
    """Structure cost of the plan that runs backwards, four frames, r = 1/4."""
    if number(answer) < 0:
        raise NotYet("no factor of a charge is negative")
    mistakes = {1.5: "1.5 is the charge of the shuffled plan; who are the partners of frames 1 and 2 in this one?"}
    is_near(answer, 0.0, 1e-6, mistakes, f"{answer} needs charged pairs; which neighbours of X have distant partners?")


@exercise("10.2")
def three_neighbours(answer: Any) -> None:
    """A radius that gives three neighbours on either side of 32 frames."""
    if number(answer) > 1:
        raise NotYet(f"{answer} is no share of the length; how many frames would {answer} times 32 be?")
    window = int(Near(number(answer)).dense(32)[0].count_nonzero())
    if window != 3:
        raise NotYet(f"at r = {answer} a frame has {window} neighbours on either side")


@exercise("10.3")
def weights_of_the_explorer(answer: Any, explorer: Any) -> None:
    """Weights at which 78 % of the matches are right and the mean jump is below 6."""
    weights = settings(answer, ["alpha", "radius", "rho", "epsilon"])
    found = explorer.numbers(**weights)
    right, jump = found["argmax right"], found["mean jump"]
    if right < 0.78 and weights.get("rho", 0.35) > 0.1:
        raise NotYet(f"{right:.0%} are right; does this pair keep its steps in order?")
    if right < 0.78:
        raise NotYet(f"{right:.0%} are right, the mean jump is {jump:.1f}; do neighbours count too little, or looks?")
    if jump >= 6:
        raise NotYet(f"{right:.0%} are right, but the mean jump is {jump:.1f}; which term keeps neighbours together?")


@exercise("20.1")
def swap(answer: Any) -> None:
    """Change of the cost where a mass of .01 leaves a pair of cost .62 for the dummy, with zeta = .5."""
    given, change = number(answer), 0.01 * (0.5 + 0.5 - 0.62 - 0.5)
    is_near(
        given, change, 1e-6,
        {-change: f"the size is right, but does the plan cost {given} more afterwards?",
         100 * change: f"{given} is the change for a mass of 1",
         change + 0.5 * 0.01: f"{given} leaves out the corner, which loses mass and its cost, too"},
        "write down cost times change of mass for each of the four entries",
    )  # fmt: skip


@exercise("20.2")
def room_for_a_quarter(answer: Any) -> None:
    """The dummy mass that holds exactly 25 of 100 frames."""
    given = number(answer)
    if not 0 <= given < 1:
        raise NotYet(f"{given} is no share; it is at least 0 and below 1")
    masses = dummy_marginal(torch.ones(1, 100, dtype=torch.bool), given)[0]
    has, needs = float(masses[0]), float(masses[1:26].sum())
    if has > needs + 1e-3:
        raise NotYet(f"the dummy has {has:.3f}, but then 25 frames carry only {needs:.3f}")
    if has < needs - 1e-3:
        raise NotYet(f"the dummy has {has:.3f}, and the 25 frames carry {needs:.3f}")


@exercise("20.3")
def dummy_of_the_explorer(answer: Any, explorer: Any) -> None:
    """Zeta and a dummy mass with a precision and a recall of at least .65."""
    words = "a pair of zeta and the dummy mass, such as (0.7, 0.3)"
    pair = [number(value) for value in several(answer, words)]
    if len(pair) != 2:
        raise NotYet(f"{answer} is not {words}")
    zeta, mass = pair
    got = explorer.numbers(zeta=zeta, dummy_mass=mass)
    if not got["frames dropped"] and got["corner"] < 0.01:
        raise NotYet(f"no frame is dropped; a dummy mass of {mass} is too little room")
    if not got["frames dropped"]:
        raise NotYet("no frame is dropped although there is room; make the dummy cheaper")
    if got["recall"] < 0.65 and got["corner"] < 0.01:
        raise NotYet(f"the recall is {got['recall']:.2f} and the corner is empty; the dummy needs more room")
    if got["recall"] < 0.65:
        raise NotYet(f"the recall is {got['recall']:.2f} although there is room; make the dummy cheaper")
    if got["precision"] < 0.65:
        raise NotYet(f"the precision is {got['precision']:.2f}; give less room, or raise the cost of the dummy")


@exercise("30.1")
def columns_of_shares(answer: Any) -> None:
    """Column sums of N T, balanced, N = 10 and M = 5."""
    mistakes = {
        0.2: "1/5 is the mass of a column of T; shares are N times T",
        1.0: "the rows of shares sum to 1; there are fewer columns than rows",
        10.0: "that is the sum over all columns",
    }
    is_near(answer, 2, 0.01, mistakes, "what do all entries of the shares sum to?")


@exercise("30.2")
def smallest_switch(answer: Any) -> None:
    """The smallest price of a change at which all ten frames get one action."""
    margin = np.array([1, 1, 1, -2, -2, 1, 1, 1, 1, 1.0])
    scores = np.stack([margin, np.zeros(10)], axis=1)
    below, above = (viterbi(scores, max(0.0, number(answer) + step)) for step in (-0.01, 0.01))
    if above.any():
        raise NotYet("at this cost the two frames still get action 2")
    if not below.any():
        raise NotYet("a smaller cost is enough; how many changes does the detour need?")


@exercise("30.3")
def largest_relaxation(answer: Any, cost: torch.Tensor, structure: Any, terms: Mapping[str, Any]) -> None:
    """The largest lambda of a ladder at which a frame of Y receives three times its share."""
    given = number(answer)
    ladder = [
        value for value in (10.0, 1.0, 0.1, 0.01, 0.001) if value > given or math.isclose(value, given, rel_tol=1e-6)
    ]
    if not ladder or not math.isclose(ladder[-1], given, rel_tol=1e-6):
        raise NotYet(f"{answer} is none of the five numbers")
    fullest = [
        solve(cost, structure, **terms, relax_y=value).matrix[0].sum(0).max().item() * cost.shape[2] for value in ladder
    ]
    if fullest[-1] < 3:
        raise NotYet(f"at {answer} the frame with the most mass receives {fullest[-1]:.1f} shares")
    if len(fullest) > 1 and fullest[-2] >= 3:
        raise NotYet("a larger one is enough, and the largest is asked for")


@exercise("40.1")
def loss_of_equal_scores(answer: Any) -> None:
    """The cross-entropy where all of 256 scores are equal."""
    is_near(answer, math.log(256), 0.01, {}, "what is P, when 256 scores are equal?")


@exercise("40.2")
def one_action(answer: Any, true: Any, background: int | None) -> None:
    """MoF of a segmentation into one action."""
    split = [np.zeros_like(labels) for labels in true]
    mof = score_segmentation(split, true, background)["mof"]
    is_near(answer, mof, 0.005, {}, "which class has the most frames?")


@exercise("45.1")
def floor_of_a_step(answer: Any) -> None:
    """Milliseconds that three plans of 25 iterations of 40 operations take at 5 microseconds a launch."""
    mistakes = {5.0: "there are three plans", 15_000.0: "milliseconds, not microseconds"}
    is_near(answer, 3 * 25 * 40 * 5e-3, 0.1, mistakes, "plans times iterations times operations times 5 microseconds")


@exercise("45.2")
def rounded_cost(answer: Any) -> None:
    """Largest factor by which the exponential of a cost in bfloat16 is wrong, epsilon .02."""
    mistakes = {math.exp(1 / 256 / 0.02): "rounding goes to the nearer of two neighbours, at most half of the way"}
    is_near(answer, math.exp(1 / 512 / 0.02), 0.005, mistakes, "what is exp(delta / epsilon), and how large is delta?")


@exercise("45.3")
def lines_that_wait(answer: Any) -> None:
    """Which lines need a number, or how many numbers there are, on the host."""
    right, given = {2, 4, 5}, {whole(line) for line in several(answer, "a list of lines, such as [1, 6]")}
    if unknown := given - set(range(1, 7)):
        raise NotYet(f"there is no line {min(unknown)}; they are numbered from 1 to 6")
    if given - right:
        raise NotYet(f"line {min(given - right)} gives as many entries whatever is in x, and Python needs none of them")
    if missed := len(right - given):
        raise NotYet(f"{missed} more: which line decides, prints, or has a size that depends on what is in x?")


@exercise("50.1")
def three_of_a_sign(answer: Any) -> None:
    """Chance that three differences have one sign."""
    mistakes = {1 / 8: "all alike may mean all positive or all negative"}
    is_near(answer, 2 / 2**3, 0.001, mistakes, "three tosses of a coin, all alike")


@exercise("50.2")
def mass_of_one_dummy(answer: Any) -> None:
    """Mass of the dummy column as published, with 128 frames."""
    mistakes = {1 / 128: "the dummy is one more frame, among how many with itself?"}
    is_near(answer, 1 / 129, 5e-5, mistakes, "the dummy is one frame among how many?")


@exercise("55.1")
def scaled_loss(answer: Any) -> None:
    """By how much Adam's steps grow where a loss is multiplied by a constant."""
    mistakes = {3.0: "Adam divides by the size of the gradient"}
    is_near(answer, 1.0, 0.01, mistakes, "see the cell on Adam above")


@exercise("55.2")
def shared_parameters(answer: Any) -> None:
    """Parameters of a joint model over those of two."""
    mistakes = {0.5: "the actions are there once in either"}
    words = "one encoder and the actions, over two encoders and the actions"
    is_near(answer, 13_880 / 27_360, 0.004, mistakes, words)


@exercise("60.1")
def five_of_a_sign(answer: Any) -> None:
    """Chance that five differences have one sign."""
    mistakes = {1 / 2**5: "all positive, or all negative"}
    is_near(answer, 2 / 2**5, 0.003, mistakes, "five tosses of a coin, all alike")


@exercise("60.2")
def expected_by_chance(answer: Any) -> None:
    """Bold cells that chance alone would give."""
    is_near(answer, 8 * 3 / 16, 0.01, {8 / 16: "every line has three scores"}, "cells times the chance of each")


@exercise("70.2")
def bytes_of_a_batch(answer: Any) -> None:
    """MB of two films of 20 frames, with a context frame each, of 224 x 224 pixels in three colours."""
    one = 20 * 2 * 224 * 224 * 3 / 1e6
    is_near(answer, 2 * one, 0.1, {one: "that is one of the two films"}, "films x frames x pictures x pixels x colours")


@exercise("80.1")
def four_dense_arrays(answer: Any) -> None:
    """GiB of four float32 arrays of 10,000 x 10,000."""
    is_near(answer, 4 * 10_000**2 * 4 / 2**30, 0.02, {}, "entries times bytes times arrays")


@exercise("80.2")
def work_of_a_window(answer: Any) -> None:
    """How many times the work of a running sum a plain window takes."""
    is_near(answer, (2 * 200 + 1) / 2, 1, {}, "how many frames is w?")


@exercise("90.1")
def majority(answer: Any) -> None:
    """The majority of four votes on six frames."""
    votes = np.array([[0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2, 2], [0, 1, 1, 1, 2, 2], [0, 0, 1, 1, 1, 2]])
    given = [number(value) for value in several(answer, "a list of six numbers")]
    if len(given) != votes.shape[1]:
        raise NotYet(f"{len(given)} numbers for six frames")
    wrong = np.flatnonzero([np.bincount(frame).argmax() for frame in votes.T] != np.asarray(given))
    if wrong.size:
        raise NotYet(f"look at frame {wrong[0] + 1} again, column by column")


@exercise("90.2")
def radius_of_a_length(answer: Any, per_length: float) -> None:
    """The radius where the similarity has fallen to .37 at a distance of .05."""
    right = per_length * -0.05 / math.log(0.37)
    if abs(number(answer) - right) >= 0.001:
        if abs(number(answer) - right / per_length) < 0.003:
            raise NotYet("that is the length of an action; the radius is a share of it")
        raise NotYet("solve exp(-d / L) = .37 for L first")


@exercise("90.3")
def weights_that_balance(answer: Any) -> None:
    """The ratio of two learned weights where one loss is twenty times the other."""
    mistakes = {1.0: "the weighted losses are equal, but what are the weights?"}
    is_near(answer, 20, 0.1, mistakes, "the best weight of a loss is 1 over that loss")
