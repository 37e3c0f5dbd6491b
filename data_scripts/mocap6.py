"""Fetch mocap6 (6 motion-capture recordings, BSD) and check it.

    python data_scripts/mocap6.py [--to FOLDER]

Example: python data_scripts/mocap6.py --to data/mocap6
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vasot_lib.data import mocap6
from vasot_lib.errors import VasotError


def main(argv: list[str] | None = None) -> int:
    """Fetch, verify, say what came; 0 if all is well, 1 with one line if not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, help="folder for the file (default: the user's cache, or VASOT_CACHE)")
    options = parser.parse_args(argv)
    try:
        file = mocap6.fetch(options.to)
        dataset = mocap6.read(file)
    except VasotError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{file}: {len(dataset.videos)} recordings, {dataset.n_frames} frames, {len(dataset.classes)} classes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
