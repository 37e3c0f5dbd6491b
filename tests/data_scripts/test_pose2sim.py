from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from vasot_kit.datasets import pose2sim
from vasot_lib.errors import DataError

FOLDER = "Pose2Sim/Demo_SinglePerson/videos"
FILMS = {f"cam0{number}.mp4": f"film {number}".encode() * 50 for number in range(1, 5)}
WHEEL = "pose2sim-0.10.49-py3-none-any.whl"


def write_wheel(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as pack:
        for name, content in members.items():
            pack.writestr(name, content)
    return file


def members(**changed: bytes) -> dict[str, bytes]:
    films = {f"{FOLDER}/{name}": changed.get(name[:5], content) for name, content in FILMS.items()}
    return {**films, "Pose2Sim/Demo_MultiPerson/videos/cam01.mp4": b"another film"}


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in FILMS.items()}
    monkeypatch.setattr(pose2sim, "SHA256", checksums)


@pytest.fixture
def package(monkeypatch):
    """Let pip 'download' a wheel with the given members; the list counts the downloads."""
    calls: list[Path] = []

    def serve(content: dict[str, bytes], cut: int | None = None) -> list[Path]:
        def download(folder: Path) -> Path:
            calls.append(folder)
            wheel = write_wheel(folder / WHEEL, content)
            wheel.write_bytes(wheel.read_bytes()[:cut])
            return wheel

        monkeypatch.setattr(pose2sim, "_download", download)
        return calls

    return serve


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_fetch_writes_the_four_films_and_nothing_else(tmp_path, package):
    calls = package({"../../escaped.mp4": b"bad", "/tmp/escaped.mp4": b"bad", **members()})
    folder = pose2sim.fetch(tmp_path / "deep" / "pose2sim")
    assert folder == tmp_path / "deep" / "pose2sim" / "videos"
    assert files(tmp_path) == [f"deep/pose2sim/videos/{name}" for name in FILMS]
    assert {name: file.read_bytes() for name, file in pose2sim.films(folder).items()} == {
        name[:5]: content for name, content in FILMS.items()
    }
    assert len(calls) == 1
    # what is there and whole is not fetched again; what is damaged is replaced
    assert pose2sim.fetch(tmp_path / "deep" / "pose2sim") == folder and len(calls) == 1
    (folder / "cam03.mp4").write_bytes(b"damaged")
    pose2sim.fetch(tmp_path / "deep" / "pose2sim")
    assert len(calls) == 2 and (folder / "cam03.mp4").read_bytes() == FILMS["cam03.mp4"]


def test_fetch_goes_to_the_cache_by_default(tmp_path, package):
    package(members())
    assert pose2sim.fetch() == tmp_path / "cache" / "pose2sim" / "videos"


@pytest.mark.parametrize(
    ("content", "cut", "message"),
    [
        (members(cam04=b"another"), None, r"cam04.mp4 of pose2sim==0.10.49 is damaged: SHA-256 starts with"),
        ({f"{FOLDER}/cam01.mp4": FILMS["cam01.mp4"]}, None, f"holds no file {FOLDER}/cam02.mp4"),
        (members(), 400, f"{WHEEL} is damaged .*; fetch it again: python -m data_scripts.pose2sim"),
        ({"x": os.urandom(100)}, 0, f"{WHEEL} is damaged"),
    ],
    ids=["other film", "film missing", "half", "empty"],
)
def test_a_wrong_wheel_writes_nothing(tmp_path, package, content, cut, message):
    package(content, cut)
    with pytest.raises(DataError, match=message) as caught:
        pose2sim.fetch(tmp_path / "new")
    assert "\n" not in str(caught.value) and files(tmp_path) == []


def test_films_names_what_is_missing_or_damaged(tmp_path, package):
    package(members())
    folder = pose2sim.fetch(tmp_path)
    (folder / "cam02.mp4").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"cam02.mp4 is damaged: SHA-256 .*; remove it and fetch it again: python"):
        pose2sim.films(folder)
    (folder / "cam02.mp4").unlink()
    with pytest.raises(DataError, match=r"cam02.mp4 is missing; fetch it: python -m data_scripts.pose2sim"):
        pose2sim.films(folder)


@pytest.mark.parametrize("unpacked", [False, True])
def test_the_script_takes_the_wheel_or_what_was_in_it(tmp_path, script, capsys, unpacked):
    source = tmp_path / "source"
    source.mkdir()
    wheel = write_wheel(source / WHEEL, members())
    if unpacked:
        zipfile.ZipFile(wheel).extractall(source)
        wheel.unlink()
    assert script("pose2sim").main(["--source", str(source), "--root", str(tmp_path / "data")]) == 0
    assert "4 recordings, 400 frames" in capsys.readouterr().out
    target = tmp_path / "data" / "pose2sim"
    assert files(target) == [f"videos/{name}" for name in FILMS]
    assert (target / "videos" / "cam01.mp4").read_bytes() == FILMS["cam01.mp4"]
    # nothing is overwritten
    assert script("pose2sim").main(["--source", str(source), "--root", str(tmp_path / "data")]) == 1
    assert "already exists; remove it first" in capsys.readouterr().err


def test_the_script_fetches_and_does_not_double_the_films(tmp_path, script, package, capsys):
    package(members())
    assert script("pose2sim").main(["--root", str(tmp_path / "data")]) == 0
    assert "4 recordings, 400 frames" in capsys.readouterr().out
    film = tmp_path / "data" / "pose2sim" / "videos" / "cam01.mp4"
    assert film.stat().st_nlink == 2  # the other is in the cache


def test_a_damaged_film_is_one_line_and_writes_nothing(tmp_path, script, capsys):
    for name, content in FILMS.items():
        (tmp_path / name).write_bytes(content[:100] if name == "cam04.mp4" else content)
    assert script("pose2sim").main(["--source", str(tmp_path), "--root", str(tmp_path / "data")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cam04.mp4 is damaged" in error
    assert not (tmp_path / "data").exists()
    for file in tmp_path.glob("cam*"):
        file.unlink()
    assert script("pose2sim").main(["--source", str(tmp_path), "--root", str(tmp_path / "data")]) == 1
    assert "holds no cam01.mp4; give the folder with the wheel or the four films" in capsys.readouterr().err


def test_without_network_the_next_step_is_printed(tmp_path, script, monkeypatch, capsys):
    def run(command, **options):
        assert command[1:4] == ["-m", "pip", "download"] and "--only-binary" in command
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: no route to host\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert script("pose2sim").main(["--root", str(tmp_path / "data")]) == 2
    error = capsys.readouterr().err
    assert "could not download pose2sim==0.10.49 (ERROR: no route to host); once online run: python" in error
    assert "python -m data_scripts.pose2sim --source FOLDER" in error
    assert not (tmp_path / "data").exists()


@pytest.mark.data
@pytest.mark.slow
def test_the_true_films_have_a_hundred_frames_each(tmp_path, script, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    status = script("pose2sim").main(["--root", str(tmp_path)])
    printed = capsys.readouterr()
    if status and "could not download" in printed.err:
        pytest.skip(printed.err.strip())
    assert status == 0
    from data_scripts.common.film_folders import count_frames

    films = pose2sim.films(tmp_path / "pose2sim" / "videos")
    assert [count_frames(film) for film in films.values()] == [pose2sim.FRAMES] * 4
