"""Copy five Breakfast videos of making coffee into a labelled feature folder.

    python -m data_scripts.breakfast_coffee --source FOLDER [--root DATA_ROOT]

FOLDER is a checkout of TOT's repository (trquhuytin/TOT-CVPR22, MIT), or any folder that holds, at any depth, the five
feature files, their ground truth in a folder ``groundTruth``, and ``mapping.txt``.

Example: python -m data_scripts.breakfast_coffee --source ~/TOT-CVPR22
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_scripts.common.script import FeatureRecording, Inventory, Options, PublishedFacts, Script, run, write_folder
from vasot_kit.folders.files import read_features, read_lines, read_mapping
from vasot_lib.errors import DataError

FRAMES = {
    "P03_cam01_P03_coffee": 917,
    "P05_cam01_P05_coffee": 1119,
    "P06_cam01_P06_coffee": 472,
    "P08_webcam01_P08_coffee": 271,
    "P09_cam01_P09_coffee": 571,
}
FACTS = PublishedFacts(
    videos=len(FRAMES),
    lengths={f"coffee/{name}": frames for name, frames in FRAMES.items()},
    sources={"videos": "TOT's repository, dummy_data", "lengths": "TOT's repository, dummy_data"},
)


def find(source: Path, *names: str, truth: bool = False) -> Path:
    """The first file with one of these names; ``truth`` says whether its path goes through ``groundTruth``."""
    found = (file for name in names for file in sorted(source.rglob(name)) if file.is_file())
    file = next((file for file in found if ("groundTruth" in file.relative_to(source).parts[:-1]) == truth), None)
    if file is None:
        what = f"groundTruth/{names[0]}" if truth else names[0]
        raise DataError(f"{source} holds no {what}; give --source a checkout of TOT's repository")
    return file


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: a file is missing, has another number of frames than it should, or the target exists.
    """
    classes = read_mapping(find(source, "mapping.txt"))

    def recordings() -> Iterator[FeatureRecording]:
        for name, frames in FRAMES.items():
            file = find(source, f"{name}.txt", f"{name}.npy")
            features = read_features(file).numpy()
            labels = read_lines(find(source, name, f"{name}.txt", truth=True))
            if (len(features), len(labels)) != (frames, frames):
                raise DataError(
                    f"{file} has {len(features)} frames and {len(labels)} labels; expected {frames} of each"
                )
            unknown = sorted(set(labels) - set(classes))
            if unknown:
                raise DataError(f"{name}: labels {unknown} are not in mapping.txt; take both from one checkout")
            yield f"coffee/{name}", features, labels

    return write_folder(target, recordings(), classes, FACTS, options, total=len(FRAMES))


SCRIPT = Script(
    name="breakfast_coffee",
    about=__doc__,
    convert=convert,
    next_step="clone TOT's repository (trquhuytin/TOT-CVPR22 on GitHub)",
    counts=False,
)
main = partial(run, SCRIPT)

if __name__ == "__main__":
    sys.exit(main())
