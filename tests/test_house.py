"""The plan of the house: which room may import which, what the library may know of, and how large things may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("vasot_lib", "vasot_kit", "data_scripts")
# From the ground up: a room imports only rooms that stand before it in these lists.
FLOORS = [
    *("vasot_lib.errors", "vasot_lib.checks", "vasot_lib.files", "vasot_lib.data", "vasot_lib.transport"),
    *("vasot_lib.paths", "vasot_lib.losses", "vasot_lib.vision", "vasot_lib.encoders", "vasot_lib.evaluation"),
    *("vasot_lib.methods", "vasot_lib.steps", "vasot_lib.training"),
    *(
        "vasot_kit.methods",
        "vasot_kit.whole_folders",
        "vasot_kit.cache",
        "vasot_kit.folders",
        "vasot_kit.films",
        "vasot_kit.datasets",
    ),
    *("vasot_kit.experiments", "vasot_kit.exercises", "vasot_kit.runs", "vasot_kit.figures"),
    *(
        "vasot_kit.explorers",
        "vasot_kit.tables",
        "vasot_kit.book",
        "vasot_kit.benchmarks",
        "vasot_kit.film_matching",
        "vasot_kit.own_films",
    ),
    *("vasot_kit.listing", "vasot_kit.chapters", "vasot_kit.messages", "vasot_kit.options", "vasot_kit.cli"),
    *("data_scripts.common", "data_scripts"),
]
TRANSPORT = [
    "cost",
    "times",
    "structure",
    "problem",
    "reference",
    "potentials",
    "fused",
    "solver",
    "dummy",
    "recipes",
    "long",
]
# Notebooks, commands, films on disk and plots are the kit's business.
NOT_IN_THE_LIBRARY = {
    *("argparse", "av", "click", "distributed", "matplotlib", "seaborn", "ipywidgets", "IPython"),
    *("nbformat", "papermill", "sphinx", "jupyter_client", "nbclient", "jinja2", "vasot_kit", "data_scripts"),
}
MOST_LINES_OF_THE_LIBRARY = 7_300
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 65  # without its docstring


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path} has a relative import"
            # "from package import module" names the module; names that are no module fall back to the package.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str | None:
    """The longest entry of FLOORS that a module lies in; None for the head of a package, such as its version."""
    found = [floor for floor in FLOORS if name == floor or name.startswith(f"{floor}.")]
    return max(found, key=len) if found else None


def test_every_source_file_lies_in_a_room() -> None:
    files = [path for package in PACKAGES for path in sources(package)]
    assert [path for path in files if room(module(path)) is None] == [ROOT / f"{p}/__init__.py" for p in PACKAGES[:2]]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down(package: str) -> None:
    upward = []
    for path in sources(package):
        mine = room(module(path))
        for name in imported(path):
            other = room(name)
            if mine and other and FLOORS.index(other) > FLOORS.index(mine):
                upward.append(f"{module(path)} imports {name}")
    assert upward == []


def test_the_rooms_of_transport_are_read_in_order() -> None:
    upward = []
    for path in sources("vasot_lib/transport"):
        parts = module(path).split(".")[2:]
        for name in imported(path) if parts else ():
            other = name.removeprefix("vasot_lib.transport.").split(".")[0]
            if name.startswith("vasot_lib.transport.") and TRANSPORT.index(other) > TRANSPORT.index(parts[0]):
                upward.append(f"{module(path)} imports {name}")
    assert upward == []


def test_the_methods_of_the_library_are_those_of_the_paper() -> None:
    ours = [path for path in sources("vasot_lib/methods") if path.name != "__init__.py"]
    assert {path.stem for path in ours} == {"base", "asot", "vaot", "vasot"}


def test_the_library_knows_nothing_of_notebooks_commands_films_on_disk_or_plots() -> None:
    known = [(module(path), name) for path in sources("vasot_lib") for name in imported(path)]
    assert [found for found in known if found[1].split(".")[0] in NOT_IN_THE_LIBRARY] == []


def test_the_library_is_small() -> None:
    assert sum(len(path.read_text().splitlines()) for path in sources("vasot_lib")) <= MOST_LINES_OF_THE_LIBRARY


def test_files_and_functions_are_small() -> None:
    large = []
    for path in (path for package in PACKAGES for path in sources(package)):
        text = path.read_text()
        if len(text.splitlines()) > MOST_LINES_OF_A_FILE:
            large.append(str(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                docstring = len((ast.get_docstring(node, clean=False) or "").splitlines())
                lines = (node.end_lineno or 0) - node.lineno + 1 - docstring
                if lines > MOST_LINES_OF_A_FUNCTION:
                    large.append(f"{path}: {node.name}")
    assert large == []


DOCUMENTS = ["README.md", "CONTRIBUTING.md", "results/README.md"]
DOCUMENTS += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_of_documents_lead_to_files(document: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#\s]+)", (ROOT / document).read_text())
    folder = (ROOT / document).parent
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_files_and_modules_that_exist(document: str) -> None:
    text = re.sub(r"https?://\S+|\S*<name>\S*", "", (ROOT / document).read_text())
    named = re.findall(r"\b(?:vasot_lib|vasot_kit|data_scripts|tests|notebooks|docs|results|grids)/[\w./-]*\w", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    dotted = [name.split(".") for name in re.findall(r"\b(?:vasot_lib|vasot_kit)(?:\.[a-z]\w*)+", text)]
    # The last part, or the last two, may be something inside a module.
    rooms = [[ROOT.joinpath(*parts[:end]) for end in range(2, len(parts) + 1)] for parts in dotted]
    assert [r[0] for r in rooms if not (r[0].is_dir() or r[0].with_suffix(".py").is_file())] == []
