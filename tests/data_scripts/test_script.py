"""What the scripts share: counting, comparing with what is published, exit codes."""

from __future__ import annotations

import errno
import os
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_scripts.common.script import (
    FeatureRecording,
    Inventory,
    Options,
    PublishedFacts,
    Script,
    run,
    run_and_report,
    unpacked_source,
    verify,
    write_folder,
)
from vasot_kit.folders import load_folder
from vasot_lib.errors import DataError

FACTS = PublishedFacts(
    videos=3,
    frames=12,
    classes=3,
    dim=2,
    activities={"tea": 2, "milk": 1},
    classes_of={"tea": 2, "milk": 1},
    lengths={"tea/one": 5},
    background=("idle",),
    sources={"videos": "A 2001", "frames": "B 2002", "classes": "C 2003", "dim": "D 2004", "activities": "E 2005",
             "classes_of": "F 2006", "lengths": "G 2007"},
)  # fmt: skip


def recordings(lengths: dict[str, int], dim: int = 2, labels: str = "a") -> list[FeatureRecording]:
    return [(key, np.full((n, dim), float(n)), [labels] * n) for key, n in lengths.items()]


WHOLE = {"tea/one": 5, "tea/two": 4, "milk/three": 3}


def test_what_agrees_passes_and_is_summed_up(tmp_path):
    found = write_folder(tmp_path / "new", recordings(WHOLE), ["a", "b", "idle"], FACTS)
    assert (found.frames, found.activities, found.dim) == (12, {"milk": 1, "tea": 2}, 2)
    assert found.summary() == "3 recordings, 12 frames, 3 classes, 2 channels; activities: milk (1), tea (2)"
    assert [len(video) for video in load_folder(tmp_path / "new").videos] == [3, 5, 4]


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ({"tea/one": 5, "tea/two": 4}, {}, r"found 2 videos, expected 3 \(A 2001\)"),
        ({"tea/one": 5, "tea/two": 4}, {}, r"found no videos of milk \(E 2005\)"),
        ({**WHOLE, "tea/two": 6}, {}, r"found 14 frames, expected 12 \(B 2002\)"),
        (WHOLE, {"classes": ["a", "b"]}, r"found 2 classes, expected 3 \(C 2003\)"),
        (WHOLE, {"dim": 7}, r"found 7 channels, expected 2 \(D 2004\)"),
        ({"tea/one": 5, "tea/two": 4, "tee/three": 3}, {}, r"found the unknown activities tee \(E 2005\)"),
        ({"tea/one": 5, "milk/two": 4, "milk/three": 3}, {}, r"found 2 videos of milk, expected 1 \(E 2005\)"),
        ({"tea/one": 6, "tea/two": 3, "milk/three": 3}, {}, r"tea/one has 6 frames, expected 5 \(G 2007\)"),
        ({"tea/eins": 5, "tea/two": 4, "milk/three": 3}, {}, r"tea/one is missing \(G 2007\)"),
    ],
)
def test_each_difference_is_said_with_its_source_and_nothing_is_written(tmp_path, lengths, options, message):
    classes, dim = options.get("classes", ["a", "b", "idle"]), options.get("dim", 2)
    with pytest.raises(DataError, match=message + r".*pass --partial to take it as it is") as caught:
        write_folder(tmp_path / "root" / "new", recordings(lengths, dim), classes, FACTS)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    found = write_folder(tmp_path / "new", recordings(lengths, dim), classes, FACTS, Options(partial=True))
    assert any(re.search(message, note) for note in found.notes)
    assert len(load_folder(tmp_path / "new").videos) == len(lengths)


def test_an_activity_may_show_at_most_so_many_classes_background_aside():
    found = Inventory()
    for label in ("a", "idle"):
        found.add(f"milk/{label}", 3, [label])
    facts = PublishedFacts(classes_of={"milk": 1}, background=("idle",), sources={"classes_of": "F 2006"})
    verify(found, facts)
    found.add("milk/third", 3, ["b"])
    with pytest.raises(DataError, match=r"milk shows 2 classes, expected at most 1 \(F 2006\): a, b"):
        verify(found, facts)


def test_what_is_not_known_yet_or_not_published_is_passed_over():
    listed = Inventory(lengths=dict.fromkeys(WHOLE))
    verify(listed, FACTS)  # no frames, classes and channels before the files are read
    verify(Inventory(lengths={"x": 1}, classes=["a"], dim=5), PublishedFacts())
    assert listed.frames is None
    del listed.lengths["milk/three"]
    with pytest.raises(DataError, match="found 2 videos"):  # but the count is known before the first is read
        verify(listed, FACTS)


def test_many_wrong_lengths_are_counted_and_not_all_listed():
    facts = PublishedFacts(lengths={f"v{i}": 2 for i in range(9)})
    with pytest.raises(DataError, match="v0 has 1 frames, expected 2, .* and 4 more"):
        verify(Inventory(lengths={f"v{i}": 1 for i in range(9)}), facts)


def test_videos_of_different_width_are_refused_by_name(tmp_path):
    mixed = [*recordings({"one": 3}), *recordings({"two": 3}, dim=4)]
    with pytest.raises(DataError, match="two has 4 channels but the videos before it have 2"):
        write_folder(tmp_path / "new", mixed, ["a"], PublishedFacts())
    assert list(tmp_path.iterdir()) == []


def test_two_recordings_of_one_name_are_refused(tmp_path):
    twice = [*recordings({"tea/one": 3}), *recordings({"milk/one": 4})]  # the labels of both would be groundTruth/one
    with pytest.raises(DataError, match="two recordings are named 'one'; keep one of them"):
        write_folder(tmp_path / "new", twice, ["a"], PublishedFacts())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [np.nan, -np.inf, 1e39])  # the last one becomes infinite where it is stored
def test_features_that_are_not_finite_are_refused(tmp_path, number):
    bad = [(key, features.copy(), labels) for key, features, labels in recordings({"one": 3, "two": 4})]
    bad[1][1][2, 0] = number
    with pytest.raises(DataError, match="two has a number that is not finite in frame 3; unpack or copy it again"):
        write_folder(tmp_path / "new", bad, ["a"], PublishedFacts())
    assert list(tmp_path.iterdir()) == []


def test_one_recording_at_a_time_is_held(tmp_path):
    """A data set larger than memory: the next one is asked for only when the one before lies on the disk."""

    def one_by_one():
        for number in range(3):
            written = sorted(path.name for path in tmp_path.glob(".new.*/features/*"))
            assert written == [f"v{before}.npy" for before in range(number)]
            yield f"v{number}", np.ones((2, 2)), ["a", "a"]

    assert write_folder(tmp_path / "new", one_by_one(), ["a"], PublishedFacts()).frames == 6


# The main of a script


def script(**changes: object) -> Script:
    def convert(source: Path, target: Path, options: Options) -> Inventory:
        lengths = {name: int(n) for name, n in (line.split() for line in (source / "list.txt").open())}
        return write_folder(
            target, recordings(lengths), ["a"], PublishedFacts(videos=2, sources={"videos": "A"}), options
        )

    return Script(**{"name": "thing", "about": "About.", "convert": convert, "next_step": "go there", **changes})


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "list.txt").write_text("one 3\ntwo 4\n")
    return tmp_path / "in"


def test_exit_0_with_a_summary(source, tmp_path, capsys):
    assert run(script(), ["--source", str(source), "--root", str(tmp_path)]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'thing'}: 2 recordings, 7 frames, 1 classes, 2 channels\n", "")


def test_exit_1_with_one_line(source, tmp_path, capsys):
    (source / "list.txt").write_text("one 3\n")
    assert run(script(), ["--source", str(source), "--root", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (
        captured.err
        == "error: found 1 videos, expected 2 (A); copy what is missing, or pass --partial to take it as it is\n"
    )
    assert run(script(), ["--source", str(source), "--root", str(tmp_path), "--partial"]) == 0
    assert "note: found 1 videos, expected 2 (A)" in capsys.readouterr().out


def test_exit_2_with_the_next_step_where_there_is_no_link(capsys):
    assert run(script(), []) == 2
    assert capsys.readouterr().err == "go there, then: python -m data_scripts.thing --source FOLDER\n"


def test_without_a_source_the_link_is_followed(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))

    def fetch(folder: Path) -> None:
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / "data", "w") as pack:
            pack.write(source / "list.txt", "list.txt")

    def convert(folder: Path, target: Path, options: Options) -> Inventory:
        return script().convert(folder / "data", target, options)

    assert run(script(fetch=fetch, convert=convert), ["--root", str(tmp_path)]) == 0
    assert len(load_folder(tmp_path / "thing").videos) == 2
    assert [path.name for path in (tmp_path / "cache" / "downloads" / "thing").iterdir()] == ["data"]


def test_a_link_that_gives_nothing_is_exit_2_with_the_way_by_hand(tmp_path, capsys):
    def fetch(folder: Path) -> None:
        raise DataError("no connection")

    assert run(script(fetch=fetch), ["--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: no connection",
        "go there, then: python -m data_scripts.thing --source FOLDER",
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_existing_target_is_refused_before_anything_is_fetched(tmp_path, capsys):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "mine").write_text("kept")
    fetched: list[Path] = []
    assert run(script(fetch=fetched.append), ["--root", str(tmp_path)]) == 1
    assert "thing already exists; remove it first" in capsys.readouterr().err
    assert fetched == [] and (tmp_path / "thing" / "mine").read_text() == "kept"


@pytest.mark.parametrize(
    "error", [DataError("bad"), PermissionError(13, "Permission denied", "x"), KeyboardInterrupt()]
)
def test_what_stops_a_script_is_one_line(error, capsys):
    def fail() -> str:
        raise error

    assert run_and_report(fail) == 1
    assert re.fullmatch(r"error: .+\n", capsys.readouterr().err)


@pytest.fixture
def packed(source, tmp_path):
    (tmp_path / "packed").mkdir()
    with zipfile.ZipFile(tmp_path / "packed" / "x.zip", "w") as pack:
        pack.write(source / "list.txt", "list.txt")
    return tmp_path / "packed"


def packed_script() -> Script:
    return script(convert=lambda folder, target, options: script().convert(folder / "x", target, options))


def test_a_root_that_is_a_file_is_named(source, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert run(script(), ["--source", str(source), "--root", str(tmp_path / "file")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    target = tmp_path / "file" / "thing"
    assert re.fullmatch(rf"error: {target} cannot be written \(.+\); give another --root", line)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_target_that_cannot_be_written_is_named(source, tmp_path, capsys, monkeypatch, number):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(np, "save", fail)
    assert run(script(), ["--source", str(source), "--root", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {tmp_path / 'thing'} cannot be written ({os.strerror(number)}); give another --root"


def test_a_file_of_the_source_that_cannot_be_read_is_not_taken_for_the_target(source, tmp_path, capsys):
    def convert(source: Path, target: Path, options: Options) -> Inventory:
        raise PermissionError(13, "Permission denied", str(source / "list.txt"))

    assert run(script(convert=convert), ["--source", str(source), "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"error: Permission denied: {source / 'list.txt'}; check the path and its permissions\n"
    )


def test_archives_in_a_folder_that_cannot_be_written_are_unpacked_in_the_data_root(
    packed, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != packed)
    places = []

    def convert(folder: Path, target: Path, options: Options) -> Inventory:
        places.append(folder.parent)
        return packed_script().convert(folder, target, options)

    root = tmp_path / "new" / "root"
    assert run(script(convert=convert), ["--source", str(packed), "--root", str(root)]) == 0
    assert places == [tmp_path] and sorted(path.name for path in root.iterdir()) == ["thing"]
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_help_names_only_the_options_that_mean_something(capsys):
    for changes, shown in (({"trims": True}, True), ({"counts": False}, False)):
        with pytest.raises(SystemExit):
            run(script(**changes), ["--help"])
        out = capsys.readouterr().out
        assert ("--trim" in out, "--partial" in out) == (shown, shown)


# Sources


def test_archives_are_unpacked_beside_them_and_the_copy_goes_again(tmp_path, capsys):
    (tmp_path / ".unpacked.old").mkdir()  # what a killed run has left
    for name in ("features", "groundTruth.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as pack:
            pack.writestr("x/one.txt", "1")
    with unpacked_source(tmp_path) as folder:
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["features/x/one.txt", "groundTruth/x/one.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".unpacked.old", "features", "groundTruth.zip"]
    with unpacked_source(tmp_path / "groundTruth.zip") as folder:  # an archive itself
        assert (folder / "groundTruth" / "x" / "one.txt").is_file()


def test_only_the_suffix_of_an_archive_is_left_out_of_its_folder(tmp_path):
    for part in ("features", "groundTruth"):
        with tarfile.open(tmp_path / f"bf.v1.{part}.tar.gz", "w:gz") as pack:
            pack.addfile(tarfile.TarInfo("one.txt"))
    with unpacked_source(tmp_path) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["bf.v1.features", "bf.v1.groundTruth"]


def test_two_archives_that_unpack_into_one_folder_are_named(tmp_path):
    for suffix in ("tar.gz", "tgz"):
        with tarfile.open(tmp_path / f"features.{suffix}", "w:gz") as pack:
            pack.addfile(tarfile.TarInfo("one.txt"))
    message = r"features.tar.gz and features.tgz in .* unpack into one folder 'features'"
    with pytest.raises(DataError, match=message), unpacked_source(tmp_path):
        pass


def test_a_folder_that_is_unpacked_already_is_taken_as_it_is(tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with unpacked_source(tmp_path) as folder:
        assert folder == tmp_path


@pytest.mark.parametrize(("name", "message"), [("none", "does not exist"), ("text", "no folder and no zip or tar")])
def test_a_source_that_is_none_is_named(tmp_path, name, message):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match=f"--source .*{name}.*{message}"), unpacked_source(tmp_path / name):
        pass
