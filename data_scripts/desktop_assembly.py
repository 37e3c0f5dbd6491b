"""Bring Desktop Assembly (Kumar et al., CVPR 2022) with 512-d features: one procedure of 22 steps.

    python -m data_scripts.desktop_assembly                  fetch it from ASOT's link
    python -m data_scripts.desktop_assembly --source FOLDER  import what you have

FOLDER is the data/desktop_assembly of ASOT or VASOT, or holds TOT's two folders (features, ground truth):

    features/[<any folder>/]<date>_<time>.npy | .txt
    groundTruth/<date>_<time>                          one class name per line
    mapping/mapping.txt                                "id name"

Example: python -m data_scripts.desktop_assembly --source ~/data/desktop_assembly
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from data_scripts.common import feature_folders
from data_scripts.common.download import download_folder
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run

FOLDER = "https://drive.google.com/drive/folders/1m7ljnnnd5kJ_Hi4Ir-sdNZRDFSqT1sHd"

FACTS = PublishedFacts(
    videos=76,
    # 22 steps and Background. ASOT looks for 22 actions and leaves no class out of the scores; TOT's README says 23.
    classes=23,
    dim=512,
    sources={
        "videos": "Kumar et al., CVPR 2022",
        "classes": "mapping_da.txt in ASOT's repository",
        "dim": "da_train.py of TOT: feature_dim 512",
    },
)


def fetch(folder: Path) -> None:
    """ASOT's folder; its files come one by one."""
    download_folder(FOLDER, folder)


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder; raises DataError as ``feature_folders.convert`` does."""
    return feature_folders.convert(source, target, options, feature_folders.Layout(facts=FACTS))


SCRIPT = Script(
    name="desktop_assembly",
    about=__doc__,
    convert=convert,
    fetch=fetch,
    trims=True,
    next_step=f"open {FOLDER} in a browser, the link of mingu6/action_seg_ot, README; save features, groundTruth and "
    "mapping in FOLDER",
)
main = partial(run, SCRIPT)

if __name__ == "__main__":
    sys.exit(main())
