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
        classes: all class names, in the order of their ids 0, 1, ...; empty where there are no labels.
        extra: further files, path within the folder -> text.

    Raises:
        DataError: the folder exists and is not empty, two recordings have one name, be it in different activities, a
            key has another form, a feature is not finite as float32, labels are not as many as feature rows, or a label
            is not among the classes.
    """
    target = Path(path)
    refuse_existing(target)
    names: set[str] = set()
    # Without NumPy's warnings of numbers that are not finite: they are refused by name.
    with whole_folder(target) as partial, np.errstate(over="ignore", invalid="ignore"):
        for key, (features, labels) in recordings.items() if isinstance(recordings, Mapping) else recordings:
            rows = features.astype(np.float32)
            _refuse(key, rows, labels, classes, names)
            names.add(Path(key).name)
            file = partial / "features" / f"{key}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, rows)
            if labels is not None:
                truth = partial / "groundTruth" / Path(key).name
                truth.parent.mkdir(exist_ok=True)
                truth.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        lines = "".join(f"{number} {label}\n" for number, label in enumerate(classes))
        for name, text in {**({"mapping/mapping.txt": lines} if classes else {}), **(extra or {})}.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(text, encoding="utf-8")


def _refuse(key: str, rows: np.ndarray, labels: Sequence[str] | None, classes: Sequence[str], names: set[str]) -> None:
    """Refuse a recording of feature rows that would not be read back; ``names`` are those before it."""
    parts = key.split("/")
    if len(parts) > 2 or any(not part or part.startswith(".") for part in parts):
        raise DataError(f"the recording is called {key!r}; call it video or activity/video, neither hidden nor empty")
    if parts[-1] in names:  # all labels lie in one folder
        raise DataError(f"two recordings are named {parts[-1]!r}; keep one of them, or rename {key!r}")
    if len(bad := np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))):
        raise DataError(
            f"{key} has a number that is not finite in frame {bad[0] + 1}; unpack or copy it again, or correct it"
        )
    if labels is None:
        return
    if len(labels) != len(rows):
        raise DataError(f"{key} has {len(labels)} labels for {len(rows)} feature rows; give one label per row")
    if unknown := [label for label in labels if label not in classes]:
        raise DataError(
            f"label {unknown[0]!r} of {key} is not among the classes {', '.join(classes) or '(none)'}; add it"
        )


def refuse_existing(target: Path) -> None:
    """Refuse to write to a path that is already in use.

    Raises:
        DataError: ``target`` is a file, or a folder that is not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} already exists; remove it first, it is not overwritten")
