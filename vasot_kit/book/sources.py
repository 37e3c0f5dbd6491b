"""Chapters, solutions and documents as Sphinx reads them: links hold within the site, pictures have words."""

from __future__ import annotations

import html
import posixpath
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode

from vasot_lib.errors import DataError

DOCUMENTS = ("docs/*.md", "results/*.md", "CONTRIBUTING.md", "CHANGELOG.md")
# What links, code and headings say stays as it is.
MENTION = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\([^)]*\)|```.*?```|^#.*?$"
    r"|`(?P<name>\d\d_[a-z0-9_]+)`|`[^`]*`|\b[Cc]hapter (?P<number>\d\d)\b",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
ANCHOR = re.compile(r'<a\b([^>]*)\bhref="(?!\w+:|#)([^"]+)"([^>]*)>(.*?)</a>', re.DOTALL)
GLANCE = r"- \*\*{}\*\* (.*?)(?=\n- \*\*|\n\n|\Z)"


@dataclass(frozen=True)
class Chapter:
    """A chapter as the start page shows it.

    Attributes:
        name: of the notebook, without its ending.
        title: its first heading.
        need, can, takes: what its first cell says under these words, markdown; empty where it does not.
    """

    name: str
    title: str
    need: str = ""
    can: str = ""
    takes: str = ""

    @property
    def short(self) -> str:
        """The number, and the title up to its first colon."""
        return f"{self.name[:2]} · {self.title.split(':')[0]}"

    @property
    def minutes(self) -> int:
        """How long it takes to read; 0 where it does not say."""
        found = re.search(r"(\d+) minutes", self.takes)
        return int(found[1]) if found else 0


@dataclass
class Sources:
    """The folder that is written, and where its content comes from.

    Attributes:
        folder: gets the sources.
        root: holds the folders of notebooks and documents.
        names: of all pages, relative to ``folder``, where they lie as they do below ``root``.
        chapters: by the name of their notebook.
    """

    folder: Path
    root: Path
    names: set[str] = field(default_factory=set)
    chapters: dict[str, Chapter] = field(default_factory=dict)

    def place(self, name: str) -> Path:
        """Where a page or another file lies, in a folder that is made."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def linked(self, text: str, page: str) -> str:
        """The markdown of a page with links that lead to pages, or to files that are copied.

        Where another chapter is named, by its file or its number, a link to it is added.
        """
        text = MENTION.sub(lambda found: self._mention(found, page), text)
        return LINK.sub(lambda found: self._link(found, page), text)

    def _mention(self, found: re.Match[str], page: str) -> str:
        named = found["name"] or found["number"]
        chapter = next((f"notebooks/{name}.ipynb" for name in self.chapters if named in (name, name[:2])), page)
        if chapter == page:
            return found[0]
        return f"[{found[0]}]({posixpath.relpath(chapter, posixpath.dirname(page) or '.')})"

    def _link(self, found: re.Match[str], page: str) -> str:
        picture, words, target, anchor = found.groups()
        folder = posixpath.dirname(page)
        # The text of a run is that of its chapter, in another folder; links that were just added fit already.
        place = "notebooks" if folder == "runs" and not target.startswith("../notebooks/") else folder
        name = posixpath.normpath(posixpath.join(place, target))
        if name == "README.md":  # whose place the start page takes
            return f"[{words}]({posixpath.relpath('index.md', folder or '.')})"
        if name not in self.names:
            if name.startswith("..") or not (self.root / name).is_file():
                return words
            shutil.copyfile(self.root / name, self.place(name))
        # Jupyter keeps capitals in the names of headings, Sphinx does not.
        return f"{picture}[{words}]({posixpath.relpath(name, folder or '.')}{(anchor or '').lower()})"


def read_notebook(path: Path) -> NotebookNode:
    """A notebook of the book.

    Raises:
        DataError: it is damaged.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (ValueError, AttributeError, TypeError, LookupError, nbformat.ValidationError) as error:
        raise DataError(f"{path} is damaged; restore it, or remove its folder and run it again") from error
    return notebook


def find_chapter(path: Path) -> Chapter:
    """What a chapter says of itself; its title is its name where it has no heading."""
    cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown"]
    title = next(
        (line.lstrip("# ") for cell in cells for line in cell.splitlines() if line.startswith("# ")), path.stem
    )
    said = [
        re.search(GLANCE.format(words), cells[0], re.DOTALL) if cells else None
        for words in ("You need", "You can afterwards", "It takes")
    ]
    return Chapter(path.stem, title, *(" ".join(found[1].split()) if found else "" for found in said))


def write_notebook(sources: Sources, path: Path, name: str, note: str = "", title: str = "") -> None:
    """Write an executed notebook as a page.

    Args:
        sources: knows where links may lead.
        path: the notebook; a copy of it as it is lies beside the page, to be downloaded.
        name: of the page.
        note: a line below its title.
        title: in the place of its own; it has the number of the chapter.
    """
    notebook = read_notebook(path)
    shutil.copyfile(path, sources.place(f"files/{name}"))
    section, pictures = path.stem, 0
    first = True
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            section = ([line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")] or [section])[
                -1
            ]
            cell.source = sources.linked(cell.source, name)
            if first:
                cell.source, first = _opening(sources, cell.source, name, note, title), False
            continue
        for data in (output.data for output in cell.get("outputs", ()) if "text/html" in output.get("data", {})):
            data["text/html"] = ANCHOR.sub(lambda found: _file(sources, path, name, found), data["text/html"])
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", ())):
            pictures += 1
            words = {"alt": cell.metadata.get("alt") or f"Figure {pictures} of this page, in the section: {section}"}
            cell.metadata["mystnb"] = {"image": words}
    nbformat.write(notebook, sources.place(name))


def _file(sources: Sources, path: Path, page: str, found: re.Match[str]) -> str:
    """A link in an output of a notebook: to a copy of the file, or none where the file is not there."""
    before, address, behind, words = found.groups()
    file = (path.parent / html.unescape(address)).resolve()
    folders = (("data", sources.root), (posixpath.splitext(page)[0], path.parent.resolve()))
    above = [(place, folder) for place, folder in folders if file.is_relative_to(folder)]
    if not above or not file.is_file():
        return f"<span{before}{behind}>{words}</span>"
    name = f"{above[0][0]}/{file.relative_to(above[0][1]).as_posix()}"
    if not (copy := sources.place(f"extra/{name}")).exists():
        shutil.copyfile(file, copy)
    link = html.escape(quote(posixpath.relpath(name, posixpath.dirname(page))))
    return f'<a{before}href="{link}"{behind}>{words}</a>'


def _opening(sources: Sources, source: str, name: str, note: str, other_title: str) -> str:
    """The first cell of a page: the number of the chapter before its title, and a row of links below it."""
    title, _, rest = source.partition("\n")
    if not title.startswith("# "):
        return source
    folder, file = posixpath.split(name)
    solution = folder.endswith("/solutions")
    if other_title or not solution:
        title = f"# {other_title or f'{file[:2]} · {title[2:]}'}"
    partner = f"../{file}" if solution else f"solutions/{file}"
    links = [f"{{download}}`Download the notebook <{posixpath.relpath('files', folder)}/{name}>`"]
    if posixpath.normpath(f"{folder}/{partner}") in sources.names:
        links.insert(0, f"[{'Back to the chapter' if solution else 'Solutions of the exercises'}]({partner})")
    return f"{title}\n\n:::{{container}} tools\n{' '.join(links)}\n:::\n\n{note}\n{rest}"
