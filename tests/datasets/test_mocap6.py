from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import torch

from vasot_kit.cache import cache_folder
from vasot_kit.datasets import mocap6
from vasot_lib.errors import DataError

MEMBER = "bnpy-0.1.7/bnpy/datasets/mocap6/dataset.npz"


def archive(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Let pip 'download' an archive with the given members."""

    def serve(members: dict[str, bytes]) -> None:
        def download(package: str, version: str, folder: Path, **options: object) -> Path:
            return archive(folder / "bnpy-0.1.7.tar.gz", members)

        monkeypatch.setattr(mocap6, "pip_download", download)

    return serve


def test_the_recordings_are_the_documented_ones(recorded):
    dataset = recorded("mocap6")
    assert [(video.name, len(video)) for video in dataset.videos] == [
        ("13_29", 382),
        ("13_30", 205),
        ("13_31", 251),
        ("14_06", 446),
        ("14_14", 387),
        ("14_20", 387),
    ]
    assert dataset.classes[:3] == ("JumpJack", "Jog", "Squat") and len(dataset.classes) == 12
    counts = torch.cat([video.labels for video in dataset.videos]).bincount().tolist()
    assert counts == [187, 180, 203, 382, 304, 352, 48, 72, 76, 99, 66, 89]
    # "order varies": the first two recordings share five exercises in different order
    orders = [video.labels.unique_consecutive().tolist() for video in dataset.videos]
    assert orders[0] == [0, 5, 4, 9, 3, 2] and orders[1] == [0, 5, 3, 2, 1]
    for video in dataset.videos:
        assert torch.allclose(video.features.mean(dim=0), torch.zeros(12), atol=1e-5)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_corrupt_cache_file_is_named_with_the_command_that_mends_it(tmp_path, damage):
    content = bytes(range(256)) * 40
    file = tmp_path / mocap6.FILE
    file.write_bytes({"cut": content[:100], "flip": content, "empty": b"", "text": b"<html>"}[damage])
    with pytest.raises(
        DataError, match=rf"{mocap6.FILE} is damaged: SHA-256 .*; fetch it again: python -m data_scripts.mocap6 --to "
    ) as caught:
        mocap6.read(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(DataError, match="is missing; fetch it: python -m data_scripts.mocap6"):
        mocap6.read(tmp_path / mocap6.FILE)


def test_fetch_reads_one_member_and_writes_nothing_else(tmp_path, package, monkeypatch):
    content = b"the true file"
    monkeypatch.setattr(mocap6, "SHA256", hashlib.sha256(content).hexdigest())
    package({"../../escaped.txt": b"bad", "/tmp/escaped.txt": b"bad", MEMBER: content})
    home = tmp_path / "deep" / "cache"
    file = mocap6.fetch(home)
    assert file == home / mocap6.FILE and file.read_bytes() == content
    assert [path.name for path in home.iterdir()] == [mocap6.FILE]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        f"deep/cache/{mocap6.FILE}"
    ]
    # a damaged file is replaced
    file.write_bytes(b"damaged")
    assert mocap6.fetch(home).read_bytes() == content


def test_a_folder_that_is_a_file_is_named(script, tmp_path, monkeypatch, package, capsys):
    monkeypatch.setattr(mocap6, "SHA256", hashlib.sha256(b"the true file").hexdigest())
    package({MEMBER: b"the true file"})
    (tmp_path / "file").write_text("mine")
    assert script("mocap6").main(["--to", str(tmp_path / "file")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {tmp_path / 'file'} cannot be written (File exists); give another --to"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({MEMBER: b"something else"}, "dataset.npz of bnpy==0.1.7 is damaged: SHA-256"),
        ({"bnpy-0.1.7/README.md": b""}, "holds no file bnpy-0.1.7/bnpy/datasets/mocap6/dataset.npz"),
    ],
)
def test_a_wrong_package_leaves_the_cache_as_it_was(tmp_path, package, members, message):
    package(members)
    (tmp_path / mocap6.FILE).write_bytes(b"old")
    with pytest.raises(DataError, match=message):
        mocap6.fetch(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [mocap6.FILE] and (
        tmp_path / mocap6.FILE
    ).read_bytes() == b"old"


def test_a_half_downloaded_archive_is_refused(tmp_path, monkeypatch):
    def download(package: str, version: str, folder: Path, **options: object) -> Path:
        file = archive(folder / "bnpy-0.1.7.tar.gz", {MEMBER: os.urandom(200_000)})
        file.write_bytes(file.read_bytes()[:50_000])
        return file

    monkeypatch.setattr(mocap6, "pip_download", download)
    with pytest.raises(DataError, match=r"bnpy-0.1.7.tar.gz is damaged .*fetch it again"):
        mocap6.fetch(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_no_network_is_one_line_with_the_command(tmp_path, monkeypatch):
    def run(command, **options):
        assert command[1:6] == ["-m", "pip", "download", "--retries", "1"]  # five take ten seconds or minutes
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: no route to host\n\nmore\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataError) as caught:
        mocap6.fetch(tmp_path / "cache")
    assert "(ERROR: no route to host); once online run: python -m data_scripts.mocap6" in str(caught.value)
    assert "\n" not in str(caught.value) and "PIP_FIND_LINKS" in str(caught.value)


def test_the_cache_folder_follows_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("VASOT_CACHE")
    assert "vasot" in str(cache_folder())


@pytest.mark.data
@pytest.mark.slow
def test_the_script_downloads_and_verifies(tmp_path, script, capsys):
    status = script("mocap6").main(["--to", str(tmp_path / "mocap6")])
    printed = capsys.readouterr()
    if status and "could not download" in printed.err:
        pytest.skip(printed.err.strip())
    assert status == 0
    assert "6 recordings, 2058 frames, 12 classes" in printed.out
    assert [path.name for path in (tmp_path / "mocap6").iterdir()] == [mocap6.FILE]
