"""The files that set the kit up agree with each other, and the notebooks are fit to be stored."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vasot_lib
from vasot_kit.runs.notebook import effective_parameters

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE_PATH = re.compile(r"/(?:home|root|tmp|work|Users|mnt|opt)/\w")


def pins() -> dict[str, str]:
    """Exact versions of requirements.txt that apply on this system, by normalised name."""
    found = {}
    for line in REQUIREMENTS[:-1]:
        requirement = Requirement(line)
        (pinned,) = requirement.specifier
        assert pinned.operator == "==", line
        if requirement.marker is None or requirement.marker.evaluate():
            found[canonicalize_name(requirement.name)] = pinned.version
    return found


def test_requirements_end_with_the_kit_itself() -> None:
    assert REQUIREMENTS[-1] == "-e ."


def test_every_pin_lies_in_its_range_and_every_range_has_a_pin() -> None:
    ranges = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"])]
    ranges = [found for found in ranges if found.marker is None or found.marker.evaluate()]
    assert {canonicalize_name(found.name) for found in ranges} == set(pins())
    outside = [str(found) for found in ranges if pins()[canonicalize_name(found.name)] not in found.specifier]
    assert outside == []


def test_pins_are_exact_and_name_no_build() -> None:
    assert all(re.fullmatch(r"\d+(\.\w+)+", pinned) for pinned in pins().values())


def test_pins_are_the_versions_that_are_tested_here() -> None:
    installed = {name: version(name).split("+")[0] for name in pins()}
    assert installed == pins()


def test_environment_is_python_pip_and_the_requirements() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "vasot"
    assert environment["channels"] == ["conda-forge"]
    assert environment["dependencies"] == ["python=3.11", "pip", {"pip": ["-r requirements.txt"]}]


def test_binder_installs_the_kit_with_the_torch_that_is_tested() -> None:
    lines = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    torch, vision = (Requirement(line) for line in lines if line.startswith("torch"))
    assert [str(torch.specifier), str(vision.specifier)] == [
        f"=={pins()[name]}+cpu" for name in ("torch", "torchvision")
    ]
    assert lines[-1] == "-e ."
    assert (ROOT / "binder" / "runtime.txt").read_text() == f"python-{PROJECT['requires-python'].removeprefix('>=')}\n"


def test_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == vasot_lib.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert "2503.16832" in str(citation["references"])


@pytest.mark.parametrize("script", [".ci/run"])
def test_script_is_executable_and_parses(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_make_knows_its_targets() -> None:
    for target in ("help", "tutorial", "book", "check", "test", "lab", "notebooks", "screenshots", "clean"):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_parameters_that_are_plain_literals(notebook: Path) -> None:
    assert effective_parameters(notebook, {})


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_stores_outputs_without_errors_warnings_or_paths(notebook: Path) -> None:
    assert notebook.stat().st_size < 1_000_000
    code = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    texts = [json.dumps(_without_pictures(output)) for output in outputs]
    assert [text for text in texts if '"output_type": "error"' in text] == []
    assert [text for text in texts if "Warning" in text] == []
    assert [text for text in texts if MACHINE_PATH.search(text)] == []


def _without_pictures(output: dict[str, object]) -> dict[str, object]:
    """Base64 may spell anything."""
    data = output.get("data")
    if not isinstance(data, dict):
        return output
    kept = {kind: value for kind, value in data.items() if kind != "image/png" and "data-explorer" not in str(value)}
    return {**output, "data": kept}
