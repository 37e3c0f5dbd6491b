"""The tutorial: runs its notebooks and writes one page about their results.

The page and those of the notebooks need no network: formulas become MathML, styles and pictures are stored with them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import nbformat
import pandas as pd
from dask.system import CPU_COUNT
from latex2mathml.converter import convert as latex_to_mathml
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode, ValidationError
from tqdm import tqdm

from vasot_kit.runs.notebook import NotebookRun, find_run, run_quietly
from vasot_kit.runs.records import REQUIRED, collect, to_json, versions, write_text
from vasot_kit.runs.workers import run_many
from vasot_kit.tables.scores import SCORES, sign_of
from vasot_lib.errors import DataError

# The runs of the tutorial: a notebook, and the parameters that differ from its defaults.
TUTORIAL: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("00_quickstart", {}),
    ("05_transport_from_zero", {}),
    ("10_structural_priors", {}),
    ("20_dummy_frames", {}),
    ("30_transport_plans", {}),
    ("40_train", {"dataset": "toy", "method": "vaot"}),
    ("40_train", {"dataset": "toy", "method": "asot"}),
    ("40_train", {"dataset": "toy", "method": "vasot"}),
    ("40_train", {"dataset": "mocap6", "method": "vaot"}),
    ("40_train", {"dataset": "mocap6", "method": "asot"}),
    ("40_train", {"dataset": "mocap6", "method": "vasot"}),
    ("50_ablations", {}),
    ("55_one_model_or_two", {}),
    ("60_methods", {}),
    ("70_own_videos", {}),
    ("80_speed_and_scale", {}),
    ("90_beyond_the_paper", {}),
)

ALONE = ("80_speed_and_scale",)  # notebooks that measure times, and so are run alone
MOST_AT_A_TIME = 4  # notebooks that run side by side; each takes some 600 MB

LEGEND = {
    "Segmentation": "One matching of found actions to true classes over all videos (activity level). MoF: share of "
    "frames that are right. F1: segments that are hit. mIoU: overlap per class.",
    "Alignment": "Acc@f: phase classification with labels for the share f of the videos. Progress: R² of how far a "
    "phase has come. Kendall's tau: order of the nearest neighbours. AP@k: share of the k nearest frames of other "
    "videos in the same phase.",
}
# The template of nbconvert without the scripts that it loads from the network.
OFFLINE = """{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
"""
NOTEBOOK_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)\s]+\.ipynb[^)\s]*\)")
TEMPLATE = Path(__file__).with_name("report.html.j2")


def tutorial(out: Path | str = Path("outputs/tutorial"), notebooks: Path | str = Path("notebooks")) -> None:
    """Run the tutorial's notebooks and write ``index.html`` and ``metrics.json`` into ``out``.

    Runs that are finished already are not repeated.

    Args:
        out: folder for the page and for the folders of the runs.
        notebooks: folder of the notebooks, relative to the working directory.

    Raises:
        DataError: the notebooks are not there.
        VasotError: a notebook failed.
    """
    out, notebooks = Path(out), Path(notebooks)
    for name, _ in TUTORIAL:
        if not (notebooks / f"{name}.ipynb").exists():
            raise DataError(f"there is no {notebooks / name}.ipynb; run from the root of the repository")
    runs = [find_run(notebooks / f"{name}.ipynb", parameters, out) for name, parameters in TUTORIAL]
    changes = [parameters for _, parameters in TUTORIAL]
    _run_side_by_side(runs, changes)
    write_report(out, [run.folder for run in runs], changes)
    print(f"wrote {out / 'index.html'} (open it in a browser) and {out / 'metrics.json'}")


def _run_side_by_side(runs: Sequence[NotebookRun], parameters: Sequence[Mapping[str, Any]]) -> None:
    """Run several notebooks at a time, and after them, one by one, those that measure times."""
    alone = [k for k, run in enumerate(runs) if run.notebook.stem in ALONE]
    others = [k for k in range(len(runs)) if k not in alone]
    with tqdm(total=len(runs), desc="notebooks", unit="run") as bar:
        for some, workers in ((others, min(CPU_COUNT, MOST_AT_A_TIME)), (alone, 0)):
            for index, error in run_many(run_quietly, [runs[k] for k in some], bar, workers):
                if error is not None:
                    raise error
                k = some[index]
                bar.write(f"[{bar.n}/{len(runs)}] {runs[k].notebook.stem} {_shown(parameters[k])}".rstrip())


def write_report(out: Path, runs: Sequence[Path], parameters: Sequence[Mapping[str, Any]]) -> None:
    """Write ``metrics.json`` and ``index.html`` about finished runs.

    Args:
        out: folder of the page, above those of the runs.
        runs: folders as :func:`vasot_kit.runs.notebook.run_notebook` returns them.
        parameters: for each run the parameters to show.
    """
    base = out.resolve()
    rows = [{**row, "run": run.relative_to(base).as_posix()} for run in runs for row in collect(run)]
    write_text(out / "metrics.json", to_json({"rows": rows, "versions": versions()}))
    cards = [_card(base, run, changed) for run, changed in zip(runs, parameters, strict=True)]
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text())
    page = template.render(
        tables=results_tables(rows),
        legend=LEGEND,
        cards=cards,
        versions=versions(),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(out / "index.html", page)


def results_tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """HTML tables by task and data set: mean and standard deviation over seeds, best first, the best in bold.

    Seeds are averaged over rows that agree in all columns of text, such as method and preset. Equal rows of several
    runs, such as a baseline that each of them scored, count once. Variants of a method, whose ``line`` is not its name,
    are shown only on the page of the notebook that compares them.

    Args:
        rows: as :func:`vasot_kit.runs.records.collect` gives them.
    """
    tables: dict[str, dict[str, str]] = {}
    scores = {score for titles in SCORES.values() for score in titles}
    for row in rows:
        for score in scores & row.keys():
            if not isinstance(row[score], int | float | None):
                raise DataError(f"{score} of {row['method']} is {row[score]!r}; remove the run and do it again")
        for name in REQUIRED:
            if isinstance(row[name], list | dict):
                raise DataError(f"{name} of a run is {row[name]!r}; remove the run and do it again")
    rows = [row for row in rows if row.get("line", row["method"]) == row["method"]]
    for task, titles in SCORES.items():
        scored = [row for row in rows if any(row.get(score) is not None for score in titles)]
        for dataset in dict.fromkeys(str(row["dataset"]) for row in scored):
            some = [row for row in scored if str(row["dataset"]) == dataset]
            tables.setdefault(task, {})[dataset] = _table(some, titles)
    return tables


def _table(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    frame = pd.DataFrame(rows).drop(columns=["run", "dataset", "line", "metrics"], errors="ignore")
    scores = [score for score in titles if score in frame and frame[score].notna().any()]
    texts = [c for c in frame if c not in titles and frame[c].map(lambda v: isinstance(v, str)).any()]
    keys = ["method", *(c for c in texts if c not in ("method", "notebook")), "notebook"]
    frame[keys] = frame[keys].fillna("").map(str)
    frame[scores] = frame[scores].astype(float)
    groups = frame[[*keys, "seed", *scores]].drop_duplicates().groupby(keys, sort=False)
    mean, spread, seeds = groups[scores].mean(), groups[scores].std(), groups["seed"].nunique()
    cells = pd.DataFrame(index=mean.index)
    for score in scores:
        signed = sign_of(score) * mean[score]
        best = mean[score][signed == signed.max()]
        cells[titles[score]] = [_cell(m, s, m in best.values) for m, s in zip(mean[score], spread[score], strict=True)]
    cells.insert(0, "seeds", seeds)
    cells["order"] = -sign_of(scores[0]) * mean[scores[0]]
    table = cells.reset_index().sort_values(["notebook", "order"]).drop(columns="order")
    table[keys] = table[keys].map(lambda value: html.escape(str(value)))
    table.columns = [html.escape(str(name), quote=False) for name in table.columns]
    return table.to_html(index=False, escape=False, border=0, classes="results")


def _cell(mean: float, spread: float, best: bool) -> str:
    if pd.isna(mean):
        return "–"
    text = f"{mean:.3f}" + ("" if pd.isna(spread) else f" <small>± {spread:.3f}</small>")
    return f"<b>{text}</b>" if best else text


def _card(base: Path, run: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the template shows for one run. Also writes the ``notebook.html`` of the run."""
    notebook = nbformat.read(run / "notebook.ipynb", as_version=4)
    title = _title(notebook, run.parent.name)
    write_text(run / "notebook.html", notebook_html(notebook, title))
    # Quoted: a folder may be called "javascript:...", or have a # in its name.
    folder = Path(quote(run.relative_to(base).as_posix()))
    return {
        "title": title,
        "name": run.parent.name,
        "parameters": _shown(parameters),
        "page": (folder / "notebook.html").as_posix(),
        "folder": folder.as_posix(),
        "figures": [(folder / "figures" / quote(path.name)).as_posix() for path in sorted(run.glob("figures/*.png"))],
    }


def _title(notebook: NotebookNode, default: str) -> str:
    """The first heading of a notebook."""
    lines = (line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line.lstrip("#").strip() for line in lines if line.startswith("# ")), default)


def _shown(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def notebook_html(notebook: NotebookNode, title: str) -> str:
    """An executed notebook as one HTML page that loads nothing from the network."""
    notebook.metadata["title"] = title
    exporter = HTMLExporter(raw_template=OFFLINE, filters={"markdown2html": _markdown})
    # Imports, assertions and records: whoever reads the page does not need them.
    exporter.register_preprocessor(TagRemovePreprocessor(remove_input_tags={"hide-input"}), enabled=True)
    try:
        return exporter.from_notebook_node(notebook)[0]
    except (ValidationError, AttributeError, TypeError) as error:
        raise DataError(f"the notebook {title!r} of a run is damaged; remove its folder and run it again") from error


def _markdown(source: str) -> str:
    source = NOTEBOOK_LINK.sub(r"\1", source)  # the page of a run lies elsewhere than its notebook
    return MarkdownWithMath(renderer=_MathRenderer(escape=False)).render(source)


class _MathRenderer(IPythonRenderer):
    """Renders markdown with formulas as MathML, which browsers show without scripts."""

    def block_math(self, body: str) -> str:
        return _mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")


def _mathml(latex: str, display: str) -> str:
    try:
        return latex_to_mathml(latex, display=display)
    except Exception:  # the converter's errors have no common base; the source is better than no page
        return f"<code>{html.escape(latex)}</code>"
