"""Wrong answers to the exercises, as a plugin of pytest: ``-p tests.notebooks.wrong_answers`` beside ``--nbval``.

nbval executes every solution and compares its stored outputs. Behind the last cell of a solution this plugin puts one
more item per exercise: it gives a wrong answer in the same kernel, so that nothing is executed twice, and expects the
exercise to say what is wrong with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

PATIENCE = 120  # seconds that a check may take
# A wrong answer that deserves more than "not yet", and a word of what should be said; by chapter and exercise.
MISTAKES = {
    "00_quickstart": [("0.5", "what is its sum"), ('{"speed": 0.0}', "MoF 0")],
    "05_transport_from_zero": [
        ("10", "follows from the others"),
        (
            "def soft_nearest_neighbour(x, y, tau):\n"
            "    weights = np.exp(-((x[:, None] - y) ** 2).sum(2) / tau)\n"
            "    return weights / weights.sum(0) @ y",
            "along which axis",
        ),
        (
            "def my_sinkhorn(cost, p, q, epsilon):\n"
            "    K, b = np.exp(-cost / epsilon), np.ones(len(q))\n"
            "    for _ in range(1000):\n"
            "        a = p / (K @ b)\n"
            "        b = q / (K.T @ a)\n"
            "    return a[:, None] * K * b",
            "epsilon = 0.001: entry (0, 0) is nan",
        ),
    ],
    "10_structural_priors": [
        ("1.5", "shuffled plan"),
        ("0.125", "4 neighbours"),
        ('{"alpha": 0.3, "radius": 0.04, "rho": 0.0, "epsilon": 0.07}', "which term keeps neighbours together"),
        (
            "def near_product(z, radius):\n"
            "    w = int(len(z) * radius + 1e-9)\n"
            "    total = np.pad(z, ((w + 1, w), (0, 0))).cumsum(0)\n"
            "    return (total[2 * w + 1 :] - total[: -2 * w - 1]) / radius",
            "not its own neighbour",
        ),
    ],
    "20_dummy_frames": [
        ("0.0012", "cost 0.0012 more"),
        ("0.25", "carry only"),
        ("(0.7, 0.3)", "the precision is 0.5"),
        (
            "def my_add_dummy(cost, zeta):\n    return np.pad(cost, ((1, 0), (0, 1)), constant_values=zeta)",
            "stands at index 0",
        ),
    ],
    "30_transport_plans": [
        ("0.2", "mass of a column of T"),
        ("5.0", "a smaller cost is enough"),
        ("0.001", "a larger one is enough"),
        ("def my_viterbi(scores, switch):\n    return scores.argmax(1)", "best actions of single frames"),
        (
            "def my_alignment_loss(targets, x, y, tau):\n"
            "    scores = x @ y.T / tau\n"
            "    return -(targets * (scores - logsumexp(scores, axis=1, keepdims=True))).sum()",
            "has to become a mean",
        ),
    ],
    "40_train": [("0.0", "256 scores"), ("1.0", "most frames")],
    "45_gpu_training": [
        ("5.0", "three plans"),
        ("1.2158", "half of the way"),
        ("[2, 3, 4, 5]", "line 3 gives as many"),
    ],
    "50_ablations": [("0.125", "all positive or all negative"), ("1 / 128", "one more frame")],
    "55_one_model_or_two": [("3.0", "size of the gradient"), ("0.5", "once in either")],
    "60_methods": [("1 / 32", "all negative"), ("0.5", "three scores")],
    "70_own_videos": [
        ("def motion_clock(motion):\n    return motion.cumsum() / motion.sum()", "at the end of each frame"),
        ("6.02112", "one of the two films"),
    ],
    "80_speed_and_scale": [("1.0", "entries times bytes"), ("401.0", "frames is w")],
    "90_beyond_the_paper": [
        ("[0, 0, 1, 2, 2, 2]", "frame 4"),
        ("0.0503", "length of an action"),
        ("1.0", "what are the weights"),
    ],
}


def exercises(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells tagged ``exercise``: ``answer = ...`` or a function, then the check."""
    return [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]


def check_of(cell: NotebookNode) -> str:
    """The lines of an exercise behind the answer: a last line that prints ``check(...)``, or all but the first line."""
    last = cell.source.splitlines()[-1]
    return last if last.startswith("print(check(") else cell.source.split("\n", 1)[1]


class WrongAnswer(pytest.Item):
    """Gives one wrong answer in the kernel of a solution that nbval has executed."""

    def __init__(self, *, answer: str, words: str, check: str, **others: Any) -> None:
        super().__init__(**others)
        given = answer if answer.startswith("def ") else f"answer = {answer}"
        self.code, self.words = f"{given}\n{check}", words

    def runtest(self) -> None:
        said = execute(self.parent.kernel, self.code)  # type: ignore[union-attr]  # the kernel of nbval's file
        assert said.strip().startswith("not yet: "), said
        assert self.words in said

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.name}: {self.name}"


def execute(kernel: Any, code: str) -> str:
    """What code prints in a kernel; an exception in it is printed too."""
    message_id = kernel.execute_cell_input(code, allow_stdin=False)
    kernel.await_reply(message_id, timeout=PATIENCE)
    said = ""
    while True:
        message = kernel.get_message("iopub", timeout=PATIENCE)
        if message["parent_header"].get("msg_id") != message_id:
            continue
        content = message["content"]
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            return said
        said += content.get("text", "") or content.get("evalue", "")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the wrong answers of a solution behind its last cell."""
    last = {item.parent: index for index, item in enumerate(items) if item.path.parent.name == "solutions"}
    for file, index in sorted(last.items(), key=lambda found: -found[1]):
        asked = exercises(nbformat.read(file.path, as_version=4))  # type: ignore[union-attr]
        items[index + 1 : index + 1] = [
            WrongAnswer.from_parent(
                file, name=f"wrong answer {number}", answer=answer, words=words, check=check_of(cell)
            )
            for number, (cell, (answer, words)) in enumerate(zip(asked, MISTAKES[file.path.stem], strict=True), 1)  # type: ignore[union-attr]
        ]
