"""The book of two small chapters: what Sphinx reads, and what it makes of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from vasot_kit.book.build import build_book
from vasot_kit.book.sources import Chapter, find_chapter
from vasot_kit.runs.notebook import NotebookRun, find_run
from vasot_lib.errors import DataError, InputError

OPENING = """# First steps: two by two

Text.

- **You need** chapter 10, perhaps,
  and `10_second`.
- **You can afterwards** say what $x_1$ is.
- **It takes** about 12 minutes to read.
"""
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LINKS = """## Further links

[symbols](10_second.ipynb#The-Table), [a document](../docs/notes.md#a-part), [numbers](../results/numbers.csv),
[gone](../no/file.txt), [readme](../README.md), [paper](https://arxiv.org/abs/2503.16832), `10_second`,
[`10_second`](10_second.ipynb) and $\\frac{1}{r}$.

$$\\sum_i p_i = 1$$
"""
TABLE = '<a href="../results/numbers.csv">1</a> <a title="two" href="../outputs/none.json">2</a>'
SCRIPT = "<script>window.ran = 1</script>"


def notebook(*cells: NotebookNode) -> NotebookNode:
    made = nbformat.v4.new_notebook(cells=list(cells))
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def code(source: str, *tags: str, **data: str) -> NotebookNode:
    outputs = [
        nbformat.v4.new_output("display_data", data) if data else nbformat.v4.new_output("stream", text="printed")
    ]
    return nbformat.v4.new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})


def write_chapters(root: Path) -> Path:
    """The folder of the notebooks of a small repository."""
    for folder in ("notebooks/solutions", "docs", "results"):
        (root / folder).mkdir(parents=True)
    markdown = nbformat.v4.new_markdown_cell
    first = notebook(
        markdown(OPENING),
        code("seed = 0", "parameters"),
        code("import_lines", "hide-input"),
        markdown("## A picture"),
        code("core_lines", **{"image/png": PIXEL}),
        code("table", **{"text/html": TABLE + SCRIPT, "text/plain": "table"}),
        markdown(LINKS),
    )
    second = notebook(
        markdown("# Second\n\n## Deeper: a section\n\nDeep text."),
        markdown("## The Table\n\nThe table follows."),
        markdown("## Symbols\n\nAll of them.\n\n| symbol | meaning |\n|---|---|\n| $T$ | plan |"),
        code("seed = 0", "parameters"),
    )
    nbformat.write(first, root / "notebooks" / "00_first.ipynb")
    nbformat.write(second, root / "notebooks" / "10_second.ipynb")
    nbformat.write(notebook(markdown("# Solutions: first")), root / "notebooks" / "solutions" / "00_first.ipynb")
    glossary = "# Glossary\n\n<!-- symbols -->\n\n- **cost**: what is paid\n  for it.\n- **mass**: shares (10).\n"
    (root / "docs" / "glossary.md").write_text(glossary)
    (root / "docs" / "notes.md").write_text("# Notes\n\nSee chapter 00.\n\n## A part\n\n[none](../no/file.py)\n")
    (root / "results" / "numbers.csv").write_text("1,2\n")
    (root / "README.md").write_text("# Kit\n\n**In short.**\n\n[first](notebooks/00_first.ipynb)\n\n## More\n\nlater\n")
    return root / "notebooks"


def page(site: Path, name: str) -> str:
    return (site / f"{name}.html").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kit")
    relative = Path(os.path.relpath(root / "book"))  # as the command is given it
    assert build_book(relative, write_chapters(root)) == []
    return root / "book"


def test_a_chapter_says_what_it_needs_gives_and_takes(tmp_path: Path) -> None:
    found = find_chapter(write_chapters(tmp_path) / "00_first.ipynb")
    need, can = "chapter 10, perhaps, and `10_second`.", "say what $x_1$ is."
    assert found == Chapter("00_first", "First steps: two by two", need, can, "about 12 minutes to read.")
    assert (found.short, found.minutes) == ("00 · First steps", 12)


def test_start_page_introduces_the_kit_and_shows_the_path(site: Path) -> None:
    start = page(site, "index")
    assert "<strong>In short.</strong>" in start and "later" not in start
    assert re.search(r'href="notebooks/00_first\.html"><span class="std std-doc">00 · First steps</span>', start)
    assert "After it you can say what" in start and "12 minutes</span>" in start
    assert start.index("00 · First steps") < start.index("10 · Second")


def test_links_lead_to_pages_files_and_headings(site: Path) -> None:
    chapter = page(site, "notebooks/00_first")
    links = re.findall(r'href="([^"]+)"', chapter)
    assert {"10_second.html#the-table", "../docs/notes.html#a-part", "../index.html", "solutions/00_first.html"} <= {
        *links
    }
    assert links.count("10_second.html") >= 4  # the list of pages, the next page, and twice in the text
    assert "gone" in chapter and "no/file" not in chapter
    assert any(re.fullmatch(r"\.\./_downloads/\w+/00_first\.ipynb", link) for link in links)
    assert any(re.fullmatch(r"\.\./_downloads/\w+/numbers\.csv", link) for link in links)
    assert '<a class="reference internal" href="../notebooks/00_first.html">' in page(site, "docs/notes")


def test_links_in_outputs_lead_to_copies_or_nowhere(site: Path) -> None:
    chapter = page(site, "notebooks/00_first")
    assert f'<a href="../data/results/numbers.csv">1</a> <span title="two" >2</span>{SCRIPT}' in chapter
    assert (site / "data" / "results" / "numbers.csv").read_text() == "1,2\n"


def test_pages_fold_machinery_and_what_is_deeper_and_name_pictures(site: Path) -> None:
    chapter = page(site, "notebooks/00_first")
    hidden = chapter[chapter.index('<details class="admonition hide') : chapter.index("</details>")]
    assert "import_lines" in hidden and "core_lines" not in hidden and "printed" in chapter
    assert 'alt="Figure 1 of this page, in the section: A picture"' in chapter
    second = page(site, "notebooks/10_second")
    assert second.index('<details class="deeper">') < second.index("Deep text.") < second.index("</details>")
    assert second.index("</details>") < second.index("The table follows.")


def test_chapters_follow_each_other_and_a_solution_leads_back(site: Path) -> None:
    def beside(name: str) -> list[str]:
        return re.findall(r'<a class="(next|prev)-page" href="([^"]+)"', page(site, name))

    assert beside("notebooks/00_first") == [("next", "10_second.html"), ("prev", "../index.html")]
    assert beside("notebooks/10_second")[1] == ("prev", "00_first.html")
    assert beside("notebooks/solutions/00_first") == [("prev", "../00_first.html")]


def test_glossary_has_the_symbols_and_its_terms_are_found(site: Path) -> None:
    glossary = page(site, "docs/glossary")
    assert '<a class="reference internal" href="../notebooks/10_second.html">' in glossary
    assert 'id="term-cost"' in glossary and "what is paid" in glossary and "<td><p>plan</p></td>" in glossary
    index = (site / "searchindex.js").read_text()
    assert "term-mass" in index


def test_formulas_and_search_need_no_network(site: Path) -> None:
    for name in ("index", "search", "notebooks/00_first"):
        asked = re.findall(r"<(?:script|link|img)\b[^>]*?(?:src|href)=[\"']?([^\"' >]+)", page(site, name))
        assert [address for address in asked if re.match(r"\w+:|//", address)] == []
    assert (site / "_static" / "tex-svg.js").stat().st_size > 2_000_000
    texts = (site / "_static" / "texts.js").read_text()
    found = json.loads(texts.removeprefix("window.bookTexts = ").rstrip(";\n").replace("<\\/", "</"))
    assert "core_lines" in found["notebooks/00_first.html"] and 'id="a-picture"' in found["notebooks/00_first.html"]
    assert "10_second" not in page(site, "search") or 'src="_static/texts.js' in page(site, "search")


def run_of(
    notebooks: Path, name: str, out: Path, rows: Sequence[dict[str, object]], **parameters: object
) -> NotebookRun:
    """A finished run of a chapter."""
    run = find_run(notebooks / f"{name}.ipynb", parameters, out)
    run.folder.mkdir(parents=True)
    (run.folder / "metrics.json").write_text(json.dumps({"rows": list(rows), "config": {}, "notebook": name}))
    executed = notebook(
        nbformat.v4.new_markdown_cell(f"# Run of {name}\n\n[link](10_second.ipynb#The-Table)"), code("seed = 5")
    )
    nbformat.write(executed, run.folder / "notebook.ipynb")
    return run


def test_runs_of_this_machine_stand_in_the_place_of_what_is_stored(tmp_path: Path) -> None:
    notebooks, out = write_chapters(tmp_path), tmp_path / "out"
    row = {"dataset": "toy", "method": "asot", "seed": 0, "mof": 0.5, "f1": 0.12345}
    runs = [
        run_of(notebooks, "00_first", out, [row]),
        run_of(notebooks, "00_first", out, [{**row, "method": "vasot", "mof": 0.75}], seed=5),
    ]
    assert build_book(out / "book", notebooks, runs) == []
    first = page(out / "book", "notebooks/00_first")
    assert "Outputs of a run on this machine." in first and "core_lines" not in first
    (other,) = (out / "book" / "runs").glob("*.html")
    assert "<h1>00 · First steps, seed = 5" in other.read_text()
    assert 'href="../notebooks/10_second.html#the-table"' in other.read_text()
    measured = page(out / "book", "measured")
    assert f'<a href="runs/{other.name}">00_first</a>' in measured
    assert '<a href="notebooks/00_first.html">00_first</a>' in measured and "0.123" in measured
    assert "12345" not in measured


def test_stored_results_of_all_methods_make_a_leaderboard(tmp_path: Path, site: Path) -> None:
    notebooks = write_chapters(tmp_path)
    columns = "dataset,method,line,seed,mof,f1,miou,acc_0.1,ap_5,transfer,transfer_dtw"
    (tmp_path / "results" / "methods.csv").write_text(f"{columns}\ntoy,asot,asot,0,.5,.25,.125,,,,\n")
    build_book(tmp_path / "book", notebooks)
    board = page(tmp_path / "book", "leaderboard")
    assert "<td><b>50.0</b></td>" in board and "<td>57.5</td>" in board and "second-hand" in board
    assert 'href="leaderboard.html"' in page(tmp_path / "book", "index")
    assert not (site / "leaderboard.html").exists()


def test_a_book_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    notebooks = write_chapters(tmp_path)
    (tmp_path / "book").mkdir()
    build_book(tmp_path / "book", notebooks)
    (tmp_path / "book" / "old.html").touch()
    build_book(tmp_path / "book", notebooks)
    assert not (tmp_path / "book" / "old.html").exists() and (tmp_path / "book" / "index.html").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").touch()
    with pytest.raises(InputError, match="holds something else than a site"):
        build_book(tmp_path / "mine", notebooks)
    assert (tmp_path / "mine" / "work.txt").exists()


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run from the root of the repository"):
        build_book(tmp_path / "book", tmp_path / "notebooks")
    notebooks = write_chapters(tmp_path)
    (tmp_path / "docs" / "notes.md").write_text("# Notes\n\n[part](#none)\n\n## A part\n")
    said = build_book(tmp_path / "book", notebooks)
    assert len(said) == 1 and said[0].startswith("docs/notes.md:3: WARNING:")
    (notebooks / "10_second.ipynb").write_text("{")
    with pytest.raises(DataError, match=r"10_second\.ipynb is damaged"):
        build_book(tmp_path / "book", notebooks)
    assert (tmp_path / "book" / "index.html").exists() and not list(tmp_path.glob(".book*"))
