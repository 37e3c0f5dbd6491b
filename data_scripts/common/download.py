"""Downloads that go on after an interruption, and archives that are unpacked whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import pooch
import requests
from tqdm import tqdm

from vasot_kit.folders.saving import refuse_existing
from vasot_kit.whole_folders import whole_folder
from vasot_lib.errors import DataError

TIMEOUT = 60.0  # seconds without a byte from the server
# More than this is not unpacked where it is also more than so many times the archive: labels, which are packed best,
# are smaller altogether, and features do not become 50 times smaller.
MOST_BYTES, MOST_RATIO = 200 * 10**6, 50
SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip", ".rar", ".7z")
# First bytes of archives that Python cannot read -> their format, and the command that unpacks them.
FOREIGN = {
    b"Rar!": ("rar", "unrar x {archive} {folder}/"),
    b"7z\xbc\xaf\x27\x1c": ("7z", "7z x {archive} -o{folder}"),
}


def download(url: str, to: str | Path, *, sha256: str | None = None, md5: str | None = None, retries: int = 3) -> Path:
    """Download a file, also from Google Drive; go on where an interrupted call stopped.

    The bytes are stored in ``<to>????????.part``, which is renamed to ``to`` when it is complete. A complete file is
    not downloaded again unless its checksum is wrong. If no checksum is published, the file is only checked when it is
    read.

    Args:
        url: http(s) address, or the link of a file on Google Drive.
        to: the file to write; its folder is made.
        sha256, md5: hexadecimal checksums that the owner publishes.
        retries: how often a broken connection is resumed within this call.

    Returns:
        ``to``.

    Raises:
        DataError: no connection, no file at this address, or a file with another checksum.
    """
    file = Path(to)
    if file.is_file() and not _difference(file, sha256, md5):
        return file
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching {url}" + ("" if sha256 or md5 else " (no checksum is published)"), file=sys.stderr, flush=True)
    resumed = bool(_partial_files(file))
    _transfer(url, file, retries)
    if resumed and _difference(file, sha256, md5):
        # The owner put another file there between two calls: begin again.
        file.unlink()
        _transfer(url, file, retries)
    if difference := _difference(file, sha256, md5):
        file.unlink()
        raise DataError(f"{url} gave another file than expected ({difference}); it was removed, try again later")
    return file


def download_folder(url: str, to: str | Path) -> Path:
    """Download a folder that is shared on Google Drive; files that are there already are not downloaded again.

    Args:
        url: its link.
        to: the folder to write.

    Returns:
        ``to``.

    Raises:
        DataError: no connection, or Google Drive does not give all files.
    """
    import gdown

    folder = Path(to)
    print(f"fetching {url} (no checksum is published)", file=sys.stderr, flush=True)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            files = gdown.download_folder(url=url, output=str(folder), resume=True, timeout=TIMEOUT, retries=3)
    except (gdown.exceptions.DownloadError, requests.RequestException, OSError) as error:
        raise DataError(
            f"{url} was not fetched whole ({_one_line(error)}); the same command goes on with it"
        ) from error
    if not files:
        raise DataError(f"{url} lists no files; open it in a browser")
    return folder


def _transfer(url: str, file: Path, retries: int) -> None:
    # gdown resumes a download on any server that supports byte ranges; pooch would begin again.
    import gdown

    for attempt in ("go on", "begin again"):
        partial = _partial_files(file)
        for extra in partial if attempt == "begin again" else partial[1:]:
            extra.unlink(missing_ok=True)
        try:
            with tqdm(desc=file.name, unit="B", unit_scale=True, leave=False, disable=None) as bar:

                def show(done: int, total: int | None, bar: tqdm = bar) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                gdown.download(
                    url=url, output=str(file), quiet=True, resume=True, progress=show, timeout=TIMEOUT, retries=retries
                )
            return
        except gdown.exceptions.DownloadError as error:
            # The server does not support ranges, or its file has changed: what was downloaded is of no use.
            if partial and attempt == "go on" and "byte range" in str(error):
                continue
            raise DataError(_remedy(url, file, error)) from error
        except (requests.RequestException, OSError) as error:
            raise DataError(_remedy(url, file, error)) from error


def _remedy(url: str, file: Path, error: Exception) -> str:
    kept = f"; {_partial_files(file)[0].name} is kept, the same command goes on with it" if _partial_files(file) else ""
    return f"{url} could not be fetched ({_one_line(error)}){kept}; or open the link in a browser and save it as {file}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).partition(" The received bytes are kept")[0][:300]


def _partial_files(file: Path) -> list[Path]:
    """The files that interrupted calls have left, largest first; empty ones are removed."""
    found = list(file.parent.glob(f"{file.name}{'?' * 8}.part"))
    for empty in [part for part in found if part.stat().st_size == 0]:
        empty.unlink()
        found.remove(empty)
    return sorted(found, key=lambda part: part.stat().st_size, reverse=True)


def _difference(file: Path, sha256: str | None, md5: str | None) -> str:
    """How the checksum of the file differs, in words; empty if it is right or not known."""
    for name, expected in (("sha256", sha256), ("md5", md5)):
        if expected and (found := pooch.file_hash(str(file), alg=name)) != expected.lower():
            return f"{name} starts with {found[:12]}, expected {expected[:12]}"
    return ""


def is_archive(file: Path) -> bool:
    """Whether the file looks like an archive, by its first bytes or its name."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        head = stream.read(8)
    known = (b"PK\x03\x04", *FOREIGN)
    return head.startswith(known) or archive_stem(file.name) != file.name or tarfile.is_tarfile(file)


def archive_stem(name: str) -> str:
    """The name of an archive without its suffix: ``bf.v1.features.tar.gz`` -> ``bf.v1.features``."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def unpack(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a zip or tar archive into a new folder, whole or not at all.

    All names in it are checked before anything is written.

    Args:
        archive: the file; its format follows from its contents.
        folder: must not exist, or be empty.

    Returns:
        ``folder``.

    Raises:
        DataError: the archive is damaged or incomplete, has a format that Python cannot read (the message names a
            command that can), holds a path or link that leads out of the folder, or does not fit on the disk; or the
            folder is not empty.
    """
    source, target = Path(archive), Path(folder)
    if not source.is_file():
        raise DataError(f"{source} is missing; download it first")
    refuse_existing(target)
    _refuse_foreign(source, target)
    with whole_folder(target) as scratch, _damage_as_data_error(source):
        if tarfile.is_tarfile(source):
            _unpack_tar(source, scratch)
        else:
            _unpack_zip(source, scratch)
    return target


def _refuse_foreign(archive: Path, folder: Path) -> None:
    with archive.open("rb") as stream:
        head = stream.read(8)
    for magic, (kind, command) in FOREIGN.items():
        if head.startswith(magic):
            remedy = command.format(archive=archive, folder=archive.parent / folder.name)
            raise DataError(
                f"{archive} is a {kind} archive, which Python does not read; unpack it with: {remedy}, "
                f"remove it and give --source {archive.parent}"
            )


@contextlib.contextmanager
def _damage_as_data_error(archive: Path) -> Iterator[None]:
    broken = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)
    try:
        yield
    except (*broken, NotImplementedError, RuntimeError) as error:  # the last two: encrypted, or an unknown compression
        raise DataError(
            f"{archive} is no archive, damaged or downloaded by half ({_one_line(error)}); "
            "remove it and download it again"
        ) from error


def _unpack_tar(archive: Path, scratch: Path) -> None:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            target = None
            if member.issym():
                target = str(PurePosixPath(member.name).parent / member.linkname)
            elif member.islnk():
                target = member.linkname
            elif not (member.isreg() or member.isdir()):
                raise DataError(f"{archive} holds the device or pipe {member.name!r}; nothing was unpacked")
            _refuse_leaving(archive, member.name, target, member.linkname)
        _refuse_too_large(archive, scratch, sum(member.size for member in members))
        tar.extractall(scratch, members, filter="data")
        # The checksum of a compressed archive is at its end, which tarfile does not read by itself.
        while tar.fileobj is not None and tar.fileobj.read(2**20):
            pass


def _unpack_zip(archive: Path, scratch: Path) -> None:
    with zipfile.ZipFile(archive) as pack:
        for member in pack.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                raise DataError(f"{archive} holds the link {member.filename!r}; nothing was unpacked, do it by hand")
            _refuse_leaving(archive, member.filename)
        _refuse_too_large(archive, scratch, sum(member.file_size for member in pack.infolist()))
        pack.extractall(scratch)


def _refuse_leaving(archive: Path, name: str, target: str | None = None, link: str = "") -> None:
    """Refuse a member whose own path, or whose link, leads out of the folder."""
    for path, what in ((name, f"path {name!r}"), (target, f"link {name!r} -> {link!r}")):
        if path is None:
            continue
        if not path or "\0" in path:
            raise DataError(f"{archive} holds a file without a name; nothing was unpacked, get it from its owner")
        absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive or path.startswith("\\")
        if absolute or os.path.normpath(path.replace("\\", "/")).split("/")[0] == "..":
            raise DataError(
                f"{archive} holds the {what}, which leads out of its folder; nothing was unpacked, "
                "get the archive from its owner"
            )


def _refuse_too_large(archive: Path, scratch: Path, size: int) -> None:
    if size > max(MOST_BYTES, MOST_RATIO * archive.stat().st_size):
        raise DataError(
            f"{archive} would become {size / archive.stat().st_size:.0f} times as large, {size / 1e9:.1f} GB, as no "
            "features or films do; nothing was unpacked, get it from its owner"
        )
    free = shutil.disk_usage(scratch).free
    if size > free:
        raise DataError(f"{archive} needs {size / 1e9:.1f} GB but the disk has {free / 1e9:.1f} GB; make room first")
