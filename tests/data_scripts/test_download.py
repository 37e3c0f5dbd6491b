"""Files from a server of this machine that can break off, and archives that mean harm."""

from __future__ import annotations

import contextlib
import hashlib
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from data_scripts.common.download import download, is_archive, unpack
from vasot_lib.errors import DataError

CHUNK = 512 * 1024  # what arrives is written in pieces of this size
CONTENT = np.random.default_rng(0).integers(0, 256, 3 * CHUNK + 7, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Served:
    """What the server gives out, and what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    cut: int | None = None  # bytes after which the connection breaks
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            etag = hashlib.md5(state.content).hexdigest()
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if self.headers.get("If-Range") not in (None, f'"{etag}"'):
                first = 0
            body = state.content[first:]
            self.send_response(state.status if not first else 206)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Content-Length", str(len(body)))
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(state.content) - 1}/{len(state.content)}")
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client asks again with a range
                self.wfile.write(body if state.cut is None else body[: state.cut])

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/data.bin"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("checksum", [{"sha256": SHA256}, {"md5": MD5.upper()}, {}])
def test_a_file_comes_whole_and_only_once(served, tmp_path, checksum):
    file = download(served.url, tmp_path / "deep" / "data.bin", **checksum)
    assert file.read_bytes() == CONTENT
    assert download(served.url, file, **checksum) == file
    assert served.asked == [None]
    assert [path.name for path in file.parent.iterdir()] == ["data.bin"]


def test_what_a_cut_connection_left_is_gone_on_with(served, tmp_path):
    served.cut = 2 * CHUNK + 100
    with pytest.raises(
        DataError, match=r"incomplete.*data.bin.{8}.part is kept, the same command goes on with it"
    ) as e:
        download(served.url, tmp_path / "data.bin", sha256=SHA256, retries=0)
    assert "\n" not in str(e.value) and "save it as" in str(e.value)
    (partial,) = tmp_path.iterdir()
    assert partial.read_bytes() == CONTENT[: 2 * CHUNK]  # never under the name of the finished file
    served.cut = None
    download(served.url, tmp_path / "data.bin", sha256=SHA256)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert served.asked[-1] == f"bytes={2 * CHUNK}-"
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


@pytest.mark.parametrize("change", ["no ranges", "another file"])
def test_a_part_that_is_of_no_use_is_replaced(served, tmp_path, change):
    served.cut = CHUNK + 1
    with pytest.raises(DataError):
        download(served.url, tmp_path / "data.bin", retries=0)
    served.cut = None
    if change == "no ranges":
        served.ranges = False
    else:
        served.content = CONTENT[::-1]
    sha256 = hashlib.sha256(served.content).hexdigest()
    assert download(served.url, tmp_path / "data.bin", sha256=sha256, retries=0).read_bytes() == served.content
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_of_two_parts_the_larger_is_gone_on_with(served, tmp_path):
    for name, size in (("aaaaaaaa", 10), ("bbbbbbbb", 500), ("cccccccc", 0)):
        (tmp_path / f"data.bin{name}.part").write_bytes(CONTENT[:size])
    assert download(served.url, tmp_path / "data.bin", sha256=SHA256).read_bytes() == CONTENT
    assert served.asked[-1] == "bytes=500-"
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_another_file_than_published_is_removed_and_named(served, tmp_path):
    served.content = b"<html>quota exceeded</html>"
    with pytest.raises(DataError, match=rf"gave another file than expected \(sha256 .*, expected {SHA256[:12]}\)"):
        download(served.url, tmp_path / "data.bin", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_finished_file_is_fetched_again(served, tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1])
    assert download(served.url, tmp_path / "data.bin", sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("how", ["refused", "missing"])
def test_no_server_and_no_file_are_one_line_with_the_way_by_hand(served, tmp_path, how):
    served.status = 404
    url = "http://127.0.0.1:9/data.bin" if how == "refused" else served.url
    with pytest.raises(DataError, match=r"could not be fetched .*open the link in a browser and save it as .*data.bin"):
        download(url, tmp_path / "data.bin", retries=0)
    assert not (tmp_path / "data.bin").exists()


def test_no_checksum_is_said(served, tmp_path, capsys):
    download(served.url, tmp_path / "data.bin")
    assert "no checksum is published" in capsys.readouterr().err


# Archives


def tar(file: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(file, "w:gz") as pack:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            pack.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file


def zipped(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in members.items():
            pack.writestr(name, content)
    return file


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("name", ["pack", "pack.zip", "pack.tar.gz"])
def test_archives_are_told_by_their_contents(tmp_path, make, name):
    archive = make(tmp_path / name, {"a/b.txt": b"text", "c.npy": CONTENT})
    assert is_archive(archive)
    folder = unpack(archive, tmp_path / "deep" / "out")
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == ["a/b.txt", "c.npy"]
    assert (folder / "c.npy").read_bytes() == CONTENT
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("name", ["/tmp/owned", "../owned", "a/../../owned", "C:\\owned", "..\\owned"])
def test_a_path_that_leads_out_is_refused_before_anything_is_written(tmp_path, make, name):
    archive = make(tmp_path / "pack", {"first.txt": b"text", name: b"bad"})
    with pytest.raises(DataError, match="which leads out of its folder; nothing was unpacked"):
        unpack(archive, tmp_path / "deep" / "out")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == ["pack"]


@pytest.mark.parametrize(
    "bad",
    [
        link("a/out", "/etc"), link("out", ".."), link("a/b/out", "../../../etc"),
        link("hard", "../secret", tarfile.LNKTYPE), link("pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.linkname}",
)  # fmt: skip
def test_a_link_that_leads_out_is_refused_by_name(tmp_path, bad):
    archive = tar(tmp_path / "pack", {"first.txt": b"text", bad.name: bad})
    with pytest.raises(DataError, match=f"{bad.name}'.*nothing was unpacked"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_a_link_that_stays_inside_is_kept(tmp_path):
    archive = tar(tmp_path / "pack", {"a/first.txt": b"text", "b/second.txt": link("b/second.txt", "../a/first.txt")})
    assert (unpack(archive, tmp_path / "out") / "b" / "second.txt").read_text() == "text"


def test_a_link_in_a_zip_is_refused_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "pack", "w") as pack:
        info = zipfile.ZipInfo("out")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        pack.writestr(info, "/etc")
    with pytest.raises(DataError, match="holds the link 'out'; nothing was unpacked"):
        unpack(tmp_path / "pack", tmp_path / "out")


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "page"])
def test_a_damaged_or_half_downloaded_archive_is_named(tmp_path, make, harm):
    archive = make(tmp_path / "pack.zip", {f"{i}.txt": CONTENT[: 1000 * i] for i in range(5)})
    whole = archive.read_bytes()
    middle = len(whole) // 2
    archive.write_bytes(
        {
            "cut": whole[:middle],
            "flip": whole[:middle] + bytes(255 - b for b in whole[middle : middle + 40]) + whole[middle + 40 :],
            "empty": b"",
            "page": b"<html>sign in</html>",
        }[harm]
    )
    with pytest.raises(
        DataError, match=r"pack.zip is no archive, damaged or downloaded by half .*download it again"
    ) as e:
        unpack(archive, tmp_path / "out")
    assert "\n" not in str(e.value)
    assert [path.name for path in tmp_path.iterdir()] == ["pack.zip"]


@pytest.mark.parametrize(
    ("magic", "command"), [(b"Rar!\x1a\x07\x01\x00", "unrar x"), (b"7z\xbc\xaf\x27\x1c\0\4", "7z x")]
)
def test_formats_that_python_does_not_read_name_the_command(tmp_path, magic, command):
    (tmp_path / "features").write_bytes(magic + CONTENT)
    assert is_archive(tmp_path / "features")
    with pytest.raises(DataError, match=f"unpack it with: {command} .*features"):
        unpack(tmp_path / "features", tmp_path / "out")


def test_more_than_the_disk_holds_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "pack", {"zeros": bytes(10**6)})
    monkeypatch.setattr("data_scripts.common.download.shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**5}))
    with pytest.raises(DataError, match="needs 0.0 GB but the disk has 0.0 GB; make room first"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_an_existing_folder_is_not_overwritten(tmp_path):
    archive = zipped(tmp_path / "pack", {"a": b"new"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with pytest.raises(DataError, match="out already exists; remove it first"):
        unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_a_bomb_and_a_file_without_a_name_are_not_unpacked(tmp_path):
    bomb, nameless = tmp_path / "bomb.zip", tmp_path / "nameless.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as pack, pack.open("a", "w") as inner:
        for _ in range(300):
            inner.write(bytes(10**6))
    with zipfile.ZipFile(nameless, "w") as pack:
        pack.writestr(zipfile.ZipInfo(""), b"x")
    with pytest.raises(DataError, match=r"bomb\.zip would become \d+ times as large, 0\.3 GB"):
        unpack(bomb, tmp_path / "out")
    with pytest.raises(DataError, match=r"nameless\.zip holds a file without a name"):
        unpack(nameless, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb.zip", "nameless.zip"]
