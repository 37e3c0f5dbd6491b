"""Settings of Sphinx for the book, and what its pages have that Sphinx does not give them."""

from __future__ import annotations

import html
import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

project = html_title = "The VASOT kit"
extensions = ["myst_nb"]
exclude_patterns = ["files", "extra"]
suppress_warnings = ["misc.highlighting_failure"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "attrs_inline"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # which would come from the network
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"

html_theme = "furo"
html_static_path = [
    str(Path(__file__).with_name("static")),
    # One file that draws formulas without fetching fonts.
    str(distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax/tex-svg.js")),
]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
mathjax_path = "tex-svg.js"
html_favicon = str(Path(__file__).with_name("static") / "plan.svg")
html_copy_source = False
html_show_sphinx = html_show_copyright = False
html_use_index = False
html_permalinks_icon = "#"
html_theme_options = {
    "light_logo": "plan.svg",
    "dark_logo": "plan.svg",
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7db7f0", "color-brand-content": "#7db7f0"},
}

texts: dict[str, str] = {}  # what the search shows of each page


def mark(app: Sphinx, doctree: nodes.document) -> None:
    """Give the list of what a chapter needs a class of its own, and fold what its title calls deeper."""
    for found in doctree.findall(nodes.bullet_list):
        if found.astext().startswith("You need"):
            found["classes"].append("glance")
    for section in doctree.findall(nodes.section):
        title = section.next_node(nodes.title)
        if title is not None and title.parent is section and title.astext().startswith("Deeper"):
            opening = '<details class="deeper"><summary>This can wait; open it to go deeper</summary>'
            section.insert(section.index(title) + 1, nodes.raw("", opening, format="html"))
            section.append(nodes.raw("", "</details>", format="html"))


def complete(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Let a solution lead to its chapter and to the next one, and keep the text of every page for the search."""
    if page.startswith("notebooks/solutions/"):
        context["prev"] = _link(app, context, page.replace("solutions/", ""))
        context["next"] = None
    if doctree is not None:
        texts[f"{page}.html"] = f'<div role="main">{plain(doctree)}</div>'
    if page == "search":
        app.add_js_file("texts.js", loading_method="defer")


def plain(node: nodes.Node) -> str:
    """The words below a node, in sections with the anchors that the search leads to."""
    if isinstance(node, nodes.Text):
        return html.escape(str(node))
    if isinstance(node, nodes.raw | nodes.image | nodes.comment):
        return ""
    words = ("" if isinstance(node, nodes.TextElement) else " ").join(map(plain, node.children))
    ids = node.next_node(nodes.term)["ids"] if isinstance(node, nodes.definition_list_item) else []
    ids = node["ids"] if isinstance(node, nodes.section) else ids
    return f'<section id="{ids[0]}">{words}</section>' if ids else words


def _link(app: Sphinx, context: dict[str, Any], page: str) -> dict[str, str] | None:
    return {"link": context["pathto"](page), "title": app.env.titles[page].astext()} if page in app.env.titles else None


def write_texts(app: Sphinx, error: Exception | None) -> None:
    """Store the texts where the search finds them without a server."""
    if error is None:
        content = json.dumps(texts, ensure_ascii=False, sort_keys=True).replace("</", "<\\/")
        (Path(app.outdir) / "_static" / "texts.js").write_text(f"window.bookTexts = {content};\n")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("doctree-read", mark)
    app.connect("html-page-context", complete)
    app.connect("build-finished", write_texts)
