"""The pages that no document holds: the start, the glossary, what the runs of this machine measured."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from vasot_kit.book.sources import DOCUMENTS, Sources, find_chapter, read_notebook, write_notebook
from vasot_kit.runs.notebook import NotebookRun, effective_parameters
from vasot_kit.runs.records import collect, to_json
from vasot_kit.tables.leaderboard import measured_boards, published_board, steps_board
from vasot_kit.tables.results import LEGEND, results_tables
from vasot_lib.errors import DataError

TEMPLATES = Path(__file__).with_name("site")
ANY_ORDER = "50"  # from this chapter on they can be read in any order
SYMBOLS = "## Symbols\n"  # the section of a chapter that the glossary shows too
# The documents under two headings of the list of pages; others follow with their own titles.
LOOK_UP = {
    "measured.md": "Measured on this machine",
    "leaderboard.md": "Leaderboard",
    "docs/results.md": "Results",
    "docs/glossary.md": "Glossary and symbols",
    "docs/references.md": "References",
    "solutions.md": "Solutions",
}
TO_USE = {
    "docs/run_it.md": "Where to run the chapters",
    "docs/experiments.md": "Experiments",
    "docs/own_recordings.md": "Own recordings and data sets",
    "docs/cluster.md": "Clusters and several cards",
    "docs/speed.md": "Speed",
    "docs/promises.md": "Promises",
    "docs/house.md": "The house",
    "results/README.md": "How results were made",
    "results/mutants.md": "Faults that tests did not notice",
    "CONTRIBUTING.md": "Contributing",
    "CHANGELOG.md": "Changes",
}
NUMBERED = ("docs/glossary.md", "docs/references.md")  # documents in which (05, 10) means chapters
NUMBERS = re.compile(r"(?<=[(|] )\d\d(?:, \d\d)*(?= [)|])|(?<=\()\d\d(?:, \d\d)*(?=\))")
TERM = re.compile(r"^- \*\*(.+?)\*\*: (.+\n(?:  .+\n)*)", re.MULTILINE)
TERMS = re.compile(r"(?:^- \*\*.+\n(?:  .+\n)*)+", re.MULTILINE)


def write_sources(folder: Path, notebooks: Path, runs: Sequence[NotebookRun] = ()) -> None:
    """Write all that Sphinx reads into a new folder.

    Args:
        folder: is made.
        notebooks, runs: as :func:`vasot_kit.book.build.build_book` takes them.

    Raises:
        DataError: there are no notebooks, or one of them is damaged.
    """
    files = sorted(notebooks.glob("*.ipynb"))
    if not files:
        raise DataError(f"there are no notebooks in {notebooks}; run from the root of the repository")
    sources = Sources(folder, notebooks.resolve().parent)
    sources.chapters |= {path.stem: find_chapter(path) for path in files}
    found = [path for kind in DOCUMENTS for path in sorted(sources.root.glob(kind))]
    documents = [path.relative_to(sources.root).as_posix() for path in found]
    stored = [*files, *sorted(notebooks.glob("solutions/*.ipynb"))]
    pages = {f"notebooks/{path.relative_to(notebooks).as_posix()}": path for path in stored}
    of_runs = {page_of(run): run for run in runs}
    pages |= {name: run.folder / run.result for name, run in of_runs.items()}
    sources.names |= {*pages, *documents, "index.md", "solutions.md", "measured.md", "leaderboard.md"}
    titles = {name: _title(sources, run) for name, run in of_runs.items()}
    for name, path in pages.items():
        note = "Outputs of a run on this machine.\n" if name in of_runs else ""
        write_notebook(sources, path, name, note, titles[name] if name.startswith("runs/") else "")
    for name, path in zip(documents, found, strict=True):
        text = path.read_text().replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
        text = _glossary(sources, text) if name == "docs/glossary.md" else text
        text = _numbers_linked(sources, text) if name in NUMBERED else text
        sources.place(name).write_text(sources.linked(text, name))
    if runs:
        _write_measured(sources, of_runs)
    made = ["solutions.md", *(["measured.md"] if runs else []), *_write_leaderboard(sources)]
    _write_start(sources, [*pages, *documents, *made])


def page_of(run: NotebookRun) -> str:
    """The page that shows a run: that of its chapter, or one of its own where parameters were changed."""
    changed = run.parameters != effective_parameters(run.notebook, {})
    return f"runs/{run.notebook.stem}-{run.folder.name}.ipynb" if changed else f"notebooks/{run.notebook.name}"


def _title(sources: Sources, run: NotebookRun) -> str:
    """The short title of the chapter, and the parameters that were changed."""
    defaults = effective_parameters(run.notebook, {})
    changes = [f"{name} = {value}" for name, value in run.parameters.items() if value != defaults[name]]
    return f"{sources.chapters[run.notebook.stem].short}{', ' if changes else ''}{', '.join(changes)}"


def _write_start(sources: Sources, pages: Sequence[str]) -> None:
    """The start page and the list of the solutions."""
    readme = sources.root / "README.md"
    # The README introduces the kit up to its first heading.
    words = readme.read_text().split("\n## ")[0].partition("\n")[2].strip() if readme.is_file() else ""
    chapters = list(sources.chapters.values())
    content = {
        "introduction": sources.linked(words, "index.md"),
        "course": [chapter for chapter in chapters if chapter.name < ANY_ORDER],
        "others": [chapter for chapter in chapters if chapter.name >= ANY_ORDER],
        "explorer": _explorer(sources),
        "linked": lambda text: sources.linked(text, "notebooks/none.ipynb").replace("](", "](notebooks/"),
        "pages": pages,
        "look_up": LOOK_UP,
        "to_use": TO_USE,
    }
    for name in ("index.md", "solutions.md"):
        sources.place(name).write_text(_render(name, content))


def _numbers_linked(sources: Sources, text: str) -> str:
    """The same with links to the chapters whose numbers stand in brackets, or alone in the last column of a table."""
    places = {name[:2]: f"../notebooks/{name}.ipynb" for name in sources.chapters}

    def linked(found: re.Match[str]) -> str:
        return ", ".join(f"[{k}]({places[k]})" if k in places else k for k in found[0].split(", "))

    return NUMBERS.sub(linked, text)


def _explorer(sources: Sources) -> str:
    """The explorer of a pair of recordings as a chapter has it; it needs no kernel."""
    for name in sources.chapters:
        for cell in read_notebook(sources.folder / "notebooks" / f"{name}.ipynb").cells:
            for output in cell.get("outputs", ()):
                if '"kind":"pair"' in (shown := output.get("data", {}).get("text/html", "")):
                    return shown
    return ""


def _glossary(sources: Sources, text: str) -> str:
    """The glossary with terms that the search finds, and with the table of symbols, which a chapter holds."""
    text = TERMS.sub(lambda found: "```{glossary}\n" + TERM.sub(r"\1\n  \2\n", found[0]) + "```\n", text)
    for path in (sources.root / "notebooks" / f"{chapter.name}.ipynb" for chapter in sources.chapters.values()):
        cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown"]
        if table := next((cell.partition("\n\n|")[2] for cell in cells if cell.startswith(SYMBOLS)), ""):
            return text.replace("<!-- symbols -->", f"|{table}")
    return text


def _write_measured(sources: Sources, of_runs: Mapping[str, NotebookRun]) -> None:
    """The scores of all runs: mean and spread over seeds, three digits, with links to the pages of the runs."""
    rows: list[dict[str, Any]] = []
    addresses = {}
    for name, run in of_runs.items():
        addresses[name] = f"{posixpath.splitext(name)[0]}.html"
        rows += [{**row, "run": name} for row in collect(run.folder)]
    sources.place("files/metrics.json").write_text(to_json({"rows": rows}))
    runs = [(name, _title(sources, run)) for name, run in of_runs.items()]
    content = {"tables": results_tables(rows, addresses), "legend": LEGEND, "runs": runs}
    sources.place("measured.md").write_text(_render("measured.md", content))


def _write_leaderboard(sources: Sources) -> list[str]:
    """The stored results of all methods beside what was published; no page where there are no such results."""
    stored, steps = (sources.root / "results" / name for name in ("methods.csv", "key_steps.csv"))
    if not stored.is_file():
        return []
    boards = measured_boards(pd.read_csv(stored).to_dict("records"))
    content = {
        "boards": boards,
        "published": {task: published_board(task) for task in boards},
        "steps": steps_board(pd.read_csv(steps).to_dict("records")) if steps.is_file() else "",
    }
    sources.place("leaderboard.md").write_text(sources.linked(_render("leaderboard.md", content), "leaderboard.md"))
    return ["leaderboard.md"]


def _render(name: str, content: Mapping[str, Any]) -> str:
    return jinja2.Environment(trim_blocks=True).from_string((TEMPLATES / f"{name}.j2").read_text()).render(content)
