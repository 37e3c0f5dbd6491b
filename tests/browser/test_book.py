"""The whole book, built from the stored chapters and opened from its files: links, formulas, scripts, search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from tests.book.test_book import write_chapters
from vasot_kit.book.build import build_book

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
MOST_MEGABYTES = 30
# Whether MathJax has drawn all formulas, how many there are and how many it did not understand, and the page's width.
LOOKED_AT = """async () => {
  if (window.MathJax) await MathJax.startup.promise;
  const count = (selector) => document.querySelectorAll(selector).length;
  return {
    formulas: count(".math"), drawn: count("mjx-container"), wrong: count("[data-mml-node=merror]"),
    beyond: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
}"""


class Site:
    """A book, and what a browser complained of."""

    def __init__(self, folder: Path, page: Page) -> None:
        self.folder, self.page, self.problems = folder, page, list[str]()
        page.on("pageerror", lambda error: self.problems.append(f"{page.url}: {error}"))
        page.on(
            "console", lambda line: self.problems.append(f"{page.url}: {line.text}") if line.type != "log" else None
        )
        page.on("request", lambda asked: self.problems.append(asked.url) if asked.url.startswith("http") else None)

    def open(self, name: str) -> None:
        self.page.goto((self.folder / f"{name}.html").as_uri())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "book"
    assert build_book(folder, ROOT / "notebooks") == []
    return folder


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[Path, BeautifulSoup]:
    """All pages, parsed."""
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in sorted(folder.rglob("*.html"))}


@pytest.fixture(scope="module")
def site(browser: Browser, folder: Path) -> Iterator[Site]:
    """The book on a phone."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    yield Site(folder, page)
    page.close()


def test_no_link_is_dead_and_nothing_comes_from_the_network(pages: dict[Path, BeautifulSoup]) -> None:
    anchors = {path: {element["id"] for element in soup.select("[id]")} for path, soup in pages.items()}
    dead = []
    for path, soup in pages.items():
        for element in soup.select("[href], [src]"):
            address = urlsplit(str(element.get("href") or element.get("src")))
            if address.scheme in ("http", "https", "mailto") and element.name == "a" or address.scheme == "data":
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            whole = not address.scheme and not address.netloc and target.exists()
            found = whole and (not address.fragment or target not in pages or address.fragment in anchors[target])
            dead += [] if found or element.get("href") == "#" else [f"{path.name}: {element}"]
    assert dead == []


def test_the_chapters_follow_each_other(folder: Path, pages: dict[Path, BeautifulSoup]) -> None:
    order = ["index", *(f"notebooks/{name}" for name in CHAPTERS)]
    for before, after in zip(order, order[1:], strict=False):
        first, second = folder / f"{before}.html", folder / f"{after}.html"
        (onward,), (back,) = pages[first].select("a.next-page"), pages[second].select("a.prev-page")
        assert (first.parent / str(onward["href"])).resolve() == second
        assert (second.parent / str(back["href"])).resolve() == first
    for name in CHAPTERS:
        (back,) = pages[folder / "notebooks" / "solutions" / f"{name}.html"].select("a.prev-page")
        assert back["href"] == f"../{name}.html"
        links = {str(link["href"]) for link in pages[folder / "notebooks" / f"{name}.html"].select(".tools a")}
        assert f"solutions/{name}.html" in links and any(link.endswith(f"{name}.ipynb") for link in links)


def test_the_start_page_shows_the_path_with_minutes(folder: Path, pages: dict[Path, BeautifulSoup]) -> None:
    shown = pages[folder / "index.html"].select(".chapter")
    assert [re.match(r"\d\d", item.get_text().strip())[0] for item in shown] == [name[:2] for name in CHAPTERS]  # type: ignore[index]
    for item in shown:
        assert re.search(r" \d+ minutes After it you can .+ You need ", " ".join(item.get_text().split())), item


def test_pictures_have_words(pages: dict[Path, BeautifulSoup]) -> None:
    silent = [str(image)[:200] for soup in pages.values() for image in soup.select("img") if not image.get("alt")]
    assert [image for image in silent if "sidebar-logo" not in image] == []


def test_the_site_is_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < MOST_MEGABYTES * 1e6


def test_every_page_opens_without_complaint_and_draws_its_formulas(
    site: Site, pages: dict[Path, BeautifulSoup]
) -> None:
    formulas = 0
    for path in pages:
        site.open(path.relative_to(site.folder).with_suffix("").as_posix())
        seen = site.page.evaluate(LOOKED_AT)
        assert seen["drawn"] == seen["formulas"] and seen["wrong"] == 0, (path, seen)
        assert seen["beyond"] <= 0, (path, seen)
        formulas += seen["formulas"]
    assert site.problems == [] and formulas > 300


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("sinkhorn", "05 · Optimal transport from zero"),
        ("relaxed marginal", "Glossary and symbols"),  # a term
        ("bakeries cafes", "Bakeries and cafes"),  # a section
    ],
)
def test_search_quotes_what_it_finds(site: Site, query: str, title: str) -> None:
    site.problems.clear()
    site.open("search")
    site.page.goto(f"{site.page.url}?q={query}")
    results = site.page.locator("#search-results li")
    found = results.filter(has_text=title).first
    found.locator(".context").wait_for()
    assert query.split()[0] in found.locator(".context").inner_text().lower()
    assert site.problems == []


def test_scripts_of_outputs_run(browser: Browser, tmp_path: Path) -> None:
    assert build_book(tmp_path / "book", write_chapters(tmp_path)) == []
    page = browser.new_page()
    site = Site(tmp_path / "book", page)
    site.open("notebooks/00_first")
    assert page.evaluate("window.ran") == 1 and site.problems == []
    page.close()
