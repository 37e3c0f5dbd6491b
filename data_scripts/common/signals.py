"""From samples of sensors to the frames of a recording: windows of equal length, each with a row of features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vasot_kit.folders.files import PROBLEMS
from vasot_lib.errors import DataError


def read_samples(file: Path, delimiter: str, header: int) -> np.ndarray:
    """(T, C) the numbers of a text file behind ``header`` lines.

    Raises:
        DataError: it is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data"; what is expected, the caller says
            return np.loadtxt(file, delimiter=delimiter, skiprows=header, ndmin=2)
    except PROBLEMS as error:
        raise DataError(f"{file} is damaged ({str(error).splitlines()[0]}); unpack the archive again") from error


def pooled(
    file: Path, signals: np.ndarray, samples: np.ndarray, window: int, classes: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """The features of :func:`pool` and the class names of :func:`majority`: what a script writes of a recording.

    Raises:
        DataError: ``file``, which the signals come from, is shorter than a window.
    """
    if len(signals) < window:
        raise DataError(f"{file} has {len(signals)} samples; expected {window} or more, unpack the archive again")
    return pool(signals, window), majority(samples, window, classes)


def pool(signals: np.ndarray, window: int) -> np.ndarray:
    """What each window of a recording shows; samples after the last whole window are left out.

    Args:
        signals: (T, C) samples.
        window: W, number of samples of a window.

    Returns:
        (T // W, 3 C): mean, standard deviation, mean absolute difference of neighbouring samples.
    """
    n = len(signals) // window
    windows = signals[: n * window].reshape(n, window, -1)
    steps = np.abs(np.diff(windows, axis=1)).mean(axis=1)
    return np.concatenate([windows.mean(axis=1), windows.std(axis=1), steps], axis=1)


def majority(samples: np.ndarray, window: int, classes: Sequence[str]) -> list[str]:
    """The class that most samples of each window carry; the first of them where several are as frequent.

    Args:
        samples: (T,) number of the class of each sample.
        window: as in :func:`pool`.
        classes: their names.
    """
    n = len(samples) // window
    return [classes[int(np.bincount(part).argmax())] for part in samples[: n * window].reshape(n, window)]
