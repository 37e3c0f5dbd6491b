"""The data sets that are found by name (DESIGN section 5)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vasot_lib.data import mocap6
from vasot_lib.data.folder import load_folder
from vasot_lib.data.toy import toy
from vasot_lib.data.video import Dataset
from vasot_lib.errors import DataError, unknown_name


@dataclass(frozen=True)
class Entry:
    """What is known about a data set before it is read.

    Attributes:
        name, title: its key and one line about it.
        videos, frames, n_actions, dim: its size; ``dim`` is the width of a feature row.
        licence: what its owner allows.
        command: brings the data where it is absent; empty for generated data.
        load: reads it from the data root.
        present: whether it can be read from the data root without a download.
        fetches: whether ``load`` downloads it when it is not present.
    """

    name: str
    title: str
    videos: int
    frames: int
    n_actions: int
    dim: int
    licence: str
    command: str
    load: Callable[[Path], Dataset]
    present: Callable[[Path], bool]
    fetches: bool = False


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds one subfolder per data set: the argument, else ``VASOT_DATA``, else ``data``."""
    return Path(root or os.environ.get("VASOT_DATA") or "data")


def load_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """Read a registered data set; mocap6 is fetched on first use.

    Args:
        name: a key of ``DATASETS``.
        root: the data root; see ``data_root``.

    Raises:
        InputError: unknown name; the message lists the known ones.
        DataError: the data is absent (the message names the command that brings it) or damaged.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    entry, folder = DATASETS[name], data_root(root)
    if not entry.present(folder) and not entry.fetches:
        raise DataError(f"data set {name!r} is not in {folder}; bring it with: {entry.command}, or set VASOT_DATA")
    return entry.load(folder)


def _toy_swapped(_: Path) -> Dataset:
    return replace(toy(swaps=0.3, repeats=0.2), name="toy_swapped")


def _mocap6_file(root: Path) -> Path | None:
    places = (root / "mocap6" / mocap6.FILE, mocap6.cache_folder() / mocap6.FILE)
    return next((place for place in places if place.is_file()), None)


def _mocap6(root: Path) -> Dataset:
    file = _mocap6_file(root)
    if file is None:
        print("fetching mocap6 (7 MB, about 15 s, once) ...", file=sys.stderr, flush=True)
        file = mocap6.fetch()
        print(f"mocap6 is in {file.parent}", file=sys.stderr, flush=True)
    return mocap6.read(file)


def _hapt(root: Path) -> Dataset:
    return load_folder(root / "hapt", background="unlabelled", n_actions=12)


def _coffee(root: Path) -> Dataset:
    # K = 7 is the paper's; the five videos show 5 classes.
    return load_folder(root / "breakfast_coffee", activity="coffee", n_actions=7).standardised(shrink=True)


DATASETS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="toy",
            title="generated: every step once, in order; own style, speed and background per video",
            videos=12,
            frames=1913,
            n_actions=6,
            dim=24,
            licence="MIT",
            command="",
            load=lambda _: toy(),
            present=lambda _: True,
        ),
        Entry(
            name="toy_swapped",
            title="generated: steps change places and are repeated",
            videos=12,
            frames=2277,
            n_actions=6,
            dim=24,
            licence="MIT",
            command="",
            load=_toy_swapped,
            present=lambda _: True,
        ),
        Entry(
            name="mocap6",
            title="motion capture: 6 recordings, 12 exercises in varying order, 10 Hz joint angles",
            videos=6,
            frames=2058,
            n_actions=12,
            dim=12,
            licence="BSD-3 (bnpy)",
            command=mocap6.COMMAND,
            load=_mocap6,
            present=lambda root: _mocap6_file(root) is not None,
            fetches=True,
        ),
        Entry(
            name="hapt",
            title="waist-worn phone: 61 recordings of one protocol, 12 activities, 2 Hz (Reyes-Ortiz et al. 2015)",
            videos=61,
            frames=44884,
            n_actions=12,
            dim=18,
            licence="UCI, no commercial use",
            command="python data_scripts/hapt.py --source FOLDER",
            load=_hapt,
            present=lambda root: (root / "hapt" / "features").is_dir(),
        ),
        Entry(
            name="breakfast_coffee",
            title="five Breakfast videos of making coffee, 64-d IDT features",
            videos=5,
            frames=3350,
            n_actions=7,
            dim=64,
            licence="MIT (sample of TOT's repository)",
            command="python data_scripts/breakfast_coffee.py --source FOLDER",
            load=_coffee,
            present=lambda root: (root / "breakfast_coffee" / "features").is_dir(),
        ),
    )
}
