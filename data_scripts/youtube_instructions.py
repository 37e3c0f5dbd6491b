"""Bring YouTube Instructions (Alayrac et al., CVPR 2016) with 3000-d features, 5 activities.

    python -m data_scripts.youtube_instructions                  fetch features and labels from CTE's links
    python -m data_scripts.youtube_instructions --source FOLDER  import what you have

FOLDER is the data/YTI of ASOT or VASOT, or holds CTE's downloads (features, ground truth), unpacked or not:

    features/[<activity>/]<activity>_<number>.txt | .npy
    groundTruth/<activity>_<number>                    one class per line, a number; -1 is background
    mapping/mapping.txt                                "id name", here the number twice

Label files whose name ends in _idt belong to other features and are passed over, as in ASOT.

Example: python -m data_scripts.youtube_instructions --source ~/data/YTI
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from data_scripts.common import feature_folders
from data_scripts.common.download import download
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run

FEATURES = "https://drive.google.com/open?id=1HyF3_bwWgz1QNgzLvN4J66TJVsQTYFTa"
LABELS = "https://drive.google.com/open?id=1ENgdHvwHj2vFwflVXosCkCVP9mfLL5lP"

FACTS = PublishedFacts(
    videos=150,
    dim=3000,
    activities=dict.fromkeys(("changing_tire", "coffee", "cpr", "jump_car", "repot"), 30),
    classes_of={"changing_tire": 11, "coffee": 10, "cpr": 7, "jump_car": 12, "repot": 8},
    background=("-1", "bg"),
    sources={
        "videos": "Alayrac et al., CVPR 2016: five tasks of 30 videos",
        "dim": "yti_train.py of CTE: feature_dim 3000",
        "activities": "Alayrac et al., CVPR 2016; names as in CTE",
        "classes_of": "K in the README of CTE, background aside",
    },
)


def activity(video: str) -> str:
    """``changing_tire_0001`` -> ``changing_tire``."""
    return video.rsplit("_", 1)[0]


def fetch(folder: Path) -> None:
    """CTE's two archives."""
    download(FEATURES, folder / "features")
    download(LABELS, folder / "groundTruth")


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder; raises DataError as ``feature_folders.convert`` does."""
    layout = feature_folders.Layout(facts=FACTS, activity=activity, ignore=lambda name: name.endswith("_idt"))
    return feature_folders.convert(source, target, options, layout)


SCRIPT = Script(
    name="youtube_instructions",
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
