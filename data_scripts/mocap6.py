"""Fetch mocap6 (6 motion-capture recordings, BSD) and check it.

    python -m data_scripts.mocap6 [--to FOLDER]

Example: python -m data_scripts.mocap6 --to data/mocap6
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data_scripts.common.script import Inventory, PublishedFacts, names_target, run_and_report, verify
from vasot_kit.cache import cache_folder
from vasot_kit.datasets import mocap6

FACTS = PublishedFacts(
    videos=6,
    frames=2058,
    classes=12,
    dim=12,
    sources=dict.fromkeys(("videos", "frames", "classes", "dim"), "mocap6 in bnpy 0.1.7"),
)


def fetch_and_verify(folder: Path | None) -> str:
    """Fetch and verify the file, and return a summary.

    Raises:
        DataError: no network, or what came is not the expected file.
    """
    with names_target(folder or cache_folder(), "--to"):
        file = mocap6.fetch(folder)
    dataset = mocap6.read(file)
    found = Inventory(classes=dataset.classes)
    for video in dataset.videos:
        found.add(video.name, len(video), dim=dataset.feature_dim)
    verify(found, FACTS)
    return f"{file}: {found.summary()}"


def main(argv: list[str] | None = None) -> int:
    """0 if the file is there and whole, 1 with one line if not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, help="folder for the file (default: the user's cache, or VASOT_CACHE)")
    return run_and_report(lambda: fetch_and_verify(parser.parse_args(argv).to))


if __name__ == "__main__":
    sys.exit(main())
