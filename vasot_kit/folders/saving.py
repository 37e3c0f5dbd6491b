"""Writing a labelled feature folder, which :func:`vasot_kit.folders.load_folder` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vasot_kit.whole_folders import whole_folder
from vasot_lib.errors import DataError

LabelledFeatures = tuple[np.ndarray, list[str] | None]  # features (N, D), N class names


def save_folder(
    path: str | Path,
    recordings: Mapping[str, LabelledFeatures] | Iterable[tuple[str, LabelledFeatures]],
    classes: Sequence[str],
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a labelled feature folder. If anything fails, no folder is left behind.

    Args:
        path: the folder to write, which must not exist or be empty.
        recordings: ``[activity/]video`` -> (N, D) features and their N class names, or None instead of the names. For
            data larger than memory, an iterator over such key-value pairs.
        classes: all class names, in the order of their ids 0, 1, ...
        extra: further files, path within the folder -> text.

    Raises:
        DataError: the folder exists and is not empty.
    """
    target = Path(path)
    refuse_existing(target)
    with whole_folder(target) as partial:
        for key, (features, labels) in recordings.items() if isinstance(recordings, Mapping) else recordings:
            file = partial / "features" / f"{key}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, features.astype(np.float32))
            if labels is not None:
                truth = partial / "groundTruth" / Path(key).name
                truth.parent.mkdir(exist_ok=True)
                truth.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        lines = "".join(f"{number} {label}\n" for number, label in enumerate(classes))
        for name, text in {**({"mapping/mapping.txt": lines} if classes else {}), **(extra or {})}.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(text, encoding="utf-8")


def refuse_existing(target: Path) -> None:
    """Refuse to write to a path that is already in use.

    Raises:
        DataError: ``target`` is a file, or a folder that is not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} already exists; remove it first, it is not overwritten")
