"""Bring 50 Salads (Stein, McKenna, UbiComp 2013; CC BY-NC-SA 4.0) with 64-d features, for Mid and Eval.

    python -m data_scripts.fifty_salads                  fetch features and labels from CTE's links
    python -m data_scripts.fifty_salads --source FOLDER  import what you have

FOLDER is the data/FS of ASOT or VASOT, or holds CTE's downloads (features, ground truth), unpacked or not:

    features/[<any folder>/]rgb-<person>-<take>.txt | .npy
    groundTruth/rgb-<person>-<take>                    one class of level Mid per line
    mapping/mapping.txt                                "id name", 19 classes: level Mid
    mapping/mappingeval.txt                            the same names with 12 ids: level Eval

One folder comes of it, ``fifty_salads``; the registry reads it as ``fifty_salads_mid`` and ``fifty_salads_eval``.
MS-TCN's folder has labels at 30 per second beside I3D features of 2048 channels: it is taken with --partial. The
owner's own annotations are intervals of time stamps, not frames: they are not read.

Example: python -m data_scripts.fifty_salads --source ~/data/FS
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from data_scripts.common import feature_folders
from data_scripts.common.download import download
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run
from vasot_lib.errors import DataError

FEATURES = "https://drive.google.com/open?id=17o0WfF970cVnazrRuOWE92-OiYHEXTT3"
LABELS = "https://drive.google.com/open?id=1mzcN9pz1tKygklQOiWI7iEvcJ1vJfU3R"

FACTS = PublishedFacts(
    videos=50,
    classes=19,
    dim=64,
    sources={
        "videos": "the owner's page: 25 people, 2 salads each",
        "classes": "K of level Mid in the README of TOT",
        "dim": "fs_train.py of CTE: feature_dim 64",
    },
)
# Class of level Mid -> id at level Eval, as in mapping_fse.txt of ASOT's repository.
EVAL = {
    "action_start": 0, "add_dressing": 1, "add_oil": 2, "add_pepper": 3,
    "cut_cucumber": 4, "cut_tomato": 4, "cut_cheese": 4, "cut_lettuce": 4,
    "mix_dressing": 5, "mix_ingredients": 6, "peel_cucumber": 7,
    "place_cucumber_into_bowl": 8, "place_tomato_into_bowl": 8,
    "place_cheese_into_bowl": 8, "place_lettuce_into_bowl": 8,
    "serve_salad_onto_plate": 9, "add_salt": 10, "add_vinegar": 10, "action_end": 11,
}  # fmt: skip


def fetch(folder: Path) -> None:
    """CTE's two archives."""
    download(FEATURES, folder / "features")
    download(LABELS, folder / "groundTruth")


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder; raises DataError as ``feature_folders.convert`` does."""
    if any(source.rglob("*-activityAnnotation.txt")):
        raise DataError(
            f"{source} holds the owner's annotations, which are intervals of time stamps; "
            f"take labels per frame from {LABELS}"
        )
    classes = sorted(EVAL, key=lambda name: EVAL[name])
    layout = feature_folders.Layout(facts=FACTS, classes=classes, variants={"mappingeval.txt": (EVAL, 12)})
    return feature_folders.convert(source, target, options, layout)


SCRIPT = Script(
    name="fifty_salads",
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
