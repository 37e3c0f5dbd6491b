"""The site, built by Sphinx from the sources that :mod:`vasot_kit.book.pages` writes; nothing is executed."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.docutils import docutils_namespace, patch_docutils

from vasot_kit.book.pages import write_sources
from vasot_kit.runs.notebook import NotebookRun
from vasot_kit.whole_folders import scratch_folder
from vasot_lib.errors import DataError, InputError

SITE = Path(__file__).with_name("site")
MARK = "objects.inv"  # Sphinx leaves it in every site
COLOURS = re.compile(r"\x1b\[[\d;]*m")


def build_book(out: Path, notebooks: Path, runs: Sequence[NotebookRun] = ()) -> list[str]:
    """Build the site in a folder; what an earlier call has built there is replaced.

    Args:
        out: gets ``index.html`` and all that it needs.
        notebooks: the chapters, with ``solutions/`` beside them; documents lie in ``docs/`` beside this folder.
        runs: finished runs of chapters; the pages show their outputs in the place of those that are stored.

    Returns:
        What Sphinx warned of, such as a link that leads nowhere.

    Raises:
        DataError: there are no notebooks, or one of them is damaged.
        InputError: the folder holds something else than an earlier site.
    """
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise InputError(f"{out} holds something else than a site; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    warnings = io.StringIO()
    with scratch_folder(out.parent, out.name) as scratch:
        write_sources(scratch / "source", notebooks, runs)
        try:
            with patch_docutils(), docutils_namespace():
                folders = (scratch / "source", SITE, scratch / "site", scratch / "read")
                (scratch / "source" / "extra").mkdir(exist_ok=True)
                # Sphinx reads a relative path from the folder of its configuration.
                extra = {"html_extra_path": [str((scratch / "source" / "extra").resolve())]}
                site = Sphinx(*folders, "html", extra, status=None, warning=warnings)
                site.build()
        except SphinxError as error:
            raise DataError(f"the book cannot be built: {error}") from error
        (scratch / "site" / ".buildinfo").unlink(missing_ok=True)
        if out.exists():
            out.replace(scratch / "earlier")
        (scratch / "site").replace(out)
        found = COLOURS.sub("", warnings.getvalue()).replace(f"{(scratch / 'source').resolve()}/", "")
    return found.splitlines()
