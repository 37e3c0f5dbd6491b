"""Bring Breakfast (Kuehne, Arslan, Serre, CVPR 2014; CC BY 4.0) with 64-d IDT Fisher features, 10 activities.

    python -m data_scripts.breakfast                  fetch features and labels (about 1 GB) from CTE's links
    python -m data_scripts.breakfast --source FOLDER  import what you have

FOLDER is the data/Breakfast of ASOT or VASOT, or holds CTE's downloads (features, ground truth), unpacked or not:

    features/[<activity>/]<person>_<camera>_<person>_<activity>.txt | .npy
    groundTruth/[<activity>/]<the same name>[.txt]     one class name per line, or segments such as "1-30 SIL"
    mapping/mapping.txt                                "id name"

Example: python -m data_scripts.breakfast --source ~/data/Breakfast
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from data_scripts.common import feature_folders
from data_scripts.common.download import download
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run

FEATURES = "https://drive.google.com/file/d/1DbYnU2GBb68CxEt2I50QZm17KGYKNR1L"
LABELS = "https://drive.google.com/file/d/1RO8lrvLy4bVaxZ7C62R0jVQtclXibLXU"

FACTS = PublishedFacts(
    # The owner's page counts 1,989 recordings, both halves of the stereo camera among them, and clips per activity
    # (coffee 200, ...) of that count; how many of the 1,712 belong to each activity is not published.
    videos=1712,
    classes=48,
    dim=64,
    activities=dict.fromkeys(
        ("cereals", "coffee", "friedegg", "juice", "milk", "pancake", "salat", "sandwich", "scrambledegg", "tea")
    ),
    classes_of={
        "cereals": 5,
        "coffee": 7,
        "friedegg": 9,
        "juice": 8,
        "milk": 5,
        "pancake": 14,
        "salat": 8,
        "sandwich": 9,
        "scrambledegg": 12,
        "tea": 7,
    },  # fmt: skip
    sources={
        "videos": "MS-TCN, CVPR 2019",
        "classes": "mapping.txt in TOT's repository; the owner's page speaks of 48 action units",
        "dim": "bf_train.py of CTE: feature_dim 64",
        "activities": "README of CTE",
        "classes_of": "K in the README of CTE, background SIL included",
    },
)


def activity(video: str) -> str:
    """``P03_cam01_P03_coffee`` -> ``coffee``."""
    return video.rsplit("_", 1)[-1]


def fetch(folder: Path) -> None:
    """CTE's two archives."""
    download(FEATURES, folder / "features")
    download(LABELS, folder / "groundTruth")


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder; raises DataError as ``feature_folders.convert`` does."""
    return feature_folders.convert(source, target, options, feature_folders.Layout(facts=FACTS, activity=activity))


SCRIPT = Script(
    name="breakfast",
    about=__doc__,
    convert=convert,
    fetch=fetch,
    trims=True,
    next_step=f"open {FEATURES} (features) and {LABELS} (ground truth) in a browser, the links of Annusha/"
    "unsup_temp_embed, HOWTO_master.md; unpack them as FOLDER/features and FOLDER/groundTruth",
)
main = partial(run, SCRIPT)

if __name__ == "__main__":
    sys.exit(main())
