"""Execute notebooks in place, for a code host to show: ``python -m tests.notebooks.refresh [NOTEBOOK ...]``."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

from vasot_kit.runs.notebook import without_widgets

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def refresh(path: Path) -> None:
    """Replace the outputs of one notebook by those of a run, without times, widgets and what is particular to here."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    options = dict(timeout=600, resources=resources, store_widget_state=False, coalesce_streams=True)
    NotebookClient(notebook, **options).execute()
    for cell in without_widgets(notebook).cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.rglob("*.ipynb"))
    for path in tqdm(paths):
        refresh(path)
