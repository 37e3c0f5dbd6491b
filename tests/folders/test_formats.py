"""Folders that were written by other programs: marks, separators, orders of axes, segments and times."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vasot_kit.folders import load_folder
from vasot_kit.folders.files import read_features
from vasot_lib.data import Dataset
from vasot_lib.errors import DataError, InputError


def same(folder: Path, expected: Dataset, **options: object) -> None:
    found = load_folder(folder, **options)
    assert found.classes == expected.classes and [v.name for v in found.videos] == [v.name for v in expected.videos]
    for video, other in zip(found.videos, expected.videos, strict=True):
        assert torch.equal(video.features, other.features) and torch.equal(video.labels, other.labels)


def test_the_mark_that_notepad_writes_is_no_part_of_a_name(folder):
    expected = load_folder(folder)
    for file in (folder / "mapping/mapping.txt", folder / "groundTruth/b_long", folder / "features/tea/a_short.txt"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    (folder / "splits").mkdir()
    (folder / "splits" / "train.txt").write_bytes(b"\xef\xbb\xbftea/b_long\ntea/a_short\n")
    same(folder, expected)


def test_labels_may_end_in_txt_and_lie_in_folders_of_activities(folder):
    expected = load_folder(folder)
    (folder / "groundTruth" / "a_short").rename(folder / "groundTruth" / "a_short.txt")
    (folder / "groundTruth" / "tea").mkdir()
    (folder / "groundTruth" / "b_long").rename(folder / "groundTruth" / "tea" / "b_long.txt")
    same(folder, expected)


def test_channels_first_is_turned_round_and_never_cut_that_way(folder):
    expected = load_folder(folder)
    files = [folder / "features" / "tea" / name for name in ("a_short.txt", "b_long.npy")]
    np.savetxt(files[0], np.ones((3, 4)))
    np.save(files[1], np.arange(18.0).reshape(6, 3).T)
    same(folder, expected)
    same(folder, expected, trim=True)
    for part in ("groundTruth", "mapping"):
        shutil.rmtree(folder / part)
    assert [tuple(video.features.shape) for video in load_folder(folder).videos] == [(4, 3), (6, 3)]


def test_channels_first_is_seen_where_labels_are_of_another_length(folder):
    (folder / "features" / "tea" / "a_short.txt").unlink()
    np.save(folder / "features" / "tea" / "a_short.npy", np.arange(12.0).reshape(4, 3).T)
    np.save(folder / "features" / "tea" / "b_long.npy", np.arange(24.0).reshape(8, 3).T)
    with pytest.raises(DataError, match=r"b_long has 6 labels but b_long.npy has 8 feature rows"):
        load_folder(folder)
    videos = load_folder(folder, trim=True).videos
    assert [tuple(video.features.shape) for video in videos] == [(4, 3), (6, 3)]
    assert torch.equal(videos[1].features, torch.arange(18.0).reshape(6, 3))


def test_one_video_of_another_shape_turns_nothing_round(folder):
    np.save(folder / "features" / "tea" / "b_long.npy", np.zeros((3, 6)))
    with pytest.raises(DataError, match=r"b_long has 6 labels but b_long.npy has 3 feature rows"):
        load_folder(folder)


def test_features_of_every_tenth_frame(folder):
    (folder / "groundTruth" / "b_long").write_text("".join(f"{name}\n" * 10 for name in ("idle", *["pour"] * 5)))
    with pytest.raises(DataError, match=r"60 labels but .* 6 feature rows .*every 10th frame\? then pass stride=10"):
        load_folder(folder)
    (folder / "groundTruth" / "a_short").write_text("pour\n" * 31)  # the last sample began, but was not kept
    (folder / "features" / "tea" / "a_short.txt").write_text("1 1 1\n" * 3)
    dataset = load_folder(folder, stride=10)
    assert [len(video) for video in dataset.videos] == [3, 6]
    assert dataset.videos[1].labels.tolist() == [0, 1, 1, 1, 1, 1]
    (folder / "groundTruth" / "a_short").write_text("pour\n" * 3)
    (folder / "groundTruth" / "b_long").write_text("pour\n" * 15)
    with pytest.raises(DataError, match=r"difference \+9, 2.50 times as many: another video, or another frame rate"):
        load_folder(folder)


@pytest.mark.parametrize(
    "lines",
    [
        "1-1 idle,2-3 pour,4-5 stir,6-6 idle", "1 1 idle,2 3 pour,4 5 stir,6 6 idle",
        "0 1 idle,1 3 pour,3 5 stir,5 6 idle",
        "0;1;idle,1;3;pour,3;5;stir,5;6;idle", "0:1 idle,1:3 pour,3:5 stir,5:6 idle",
    ],
)  # fmt: skip
def test_labels_may_be_segments(folder, lines):
    expected = load_folder(folder)
    (folder / "groundTruth" / "b_long").write_text(lines.replace(",", "\n"))
    same(folder, expected)


def test_segments_with_commas_and_times_in_seconds(folder):
    truth = folder / "groundTruth" / "b_long"
    expected = load_folder(folder)
    truth.write_text("0,0,idle\n1,2,pour\n3,4,stir\n5,5,idle\n")
    same(folder, expected)
    truth.write_text("0.0 1.5 idle\n1.5 6.0 pour\n")
    with pytest.raises(DataError, match=r"line 1 reads '0.0 1.5 idle', a time interval; give its first and last frame"):
        load_folder(folder)
    truth.write_text("1-900000000000 idle\n")
    with pytest.raises(DataError, match="more than 100000000 frames"):
        load_folder(folder)


def test_labels_may_be_times_in_seconds(folder):
    expected = load_folder(folder)
    truth = folder / "groundTruth" / "b_long"
    for lines in (
        "0.0 0.2 idle,0.2 0.6 pour,0.6 1.0 stir,1.0 1.2 idle",
        "0.000\t0.200\tidle,0.200\t0.600\tpour,0.600\t1.000\tstir,1.000\t1.150\tidle",  # to within the last frame
        "0;0.19;idle,0.19;0.601;pour,0.601;1;stir,1;1.3;idle",  # half a frame too long
        "0-0.2 idle,0.2-0.6 pour,0.6-1.0 stir,1-1.1 idle",
    ):
        truth.write_text(lines.replace(",", "\n"))
        same(folder, expected, fps=5.0)
    truth.write_text("0 1 idle\n1 3 pour\n3 5 stir\n5 6 idle\n")  # whole seconds
    same(folder, expected, fps=1)
    truth.write_text("0 0.1 idle\n0.1 0.3 pour\n0.3 0.5 stir\n0.5 0.6 idle\n")
    (folder / "groundTruth" / "a_short").write_text("0 0.2 pour\n0.2 0.4 stir\n")
    same(folder, expected, fps=30, stride=3)


def test_times_that_do_not_fit_are_refused(folder):
    truth = folder / "groundTruth" / "b_long"
    for lines, message in (
        ("0.0 0.2 idle,0.4 1.2 pour", r"b_long has no interval at 0.200 s; add one, with the name of"),
        ("0.3 1.2 pour", "has no interval at 0.000 s"),
        ("0.0 0.4 idle,0.2 1.2 pour", "line 2 reads '0.2 1.2 pour'; expected an interval that begins at 0.4 s"),
        ("0.0 0.0 idle,0.0 1.2 pour", "line 1 reads '0.0 0.0 idle'; .* and ends after it begins"),
        ("0.0 12.0 pour", r"b_long has 60 labels but b_long.npy has 6 feature rows .*every 10th frame"),
        ("0.0 0.8 pour", r"b_long has 4 labels but b_long.npy has 6 feature rows .difference -2.*trim"),
        ("0.0 1.2 jump", "label 'jump' in .*b_long is not in .*mapping.txt"),
        ("0.0 1.2 pour,idle", "line 2 reads 'idle'; expected 'first-last name'"),
        ("0.0 99999999999.0 pour", "ends at 1e.11 s, more than 100000000 frames"),
    ):
        truth.write_text(lines.replace(",", "\n"))
        with pytest.raises(DataError, match=message) as caught:
            load_folder(folder, fps=5.0)
        assert "\n" not in str(caught.value)
    truth.write_text("0.0 0.8 pour\n")
    assert len(load_folder(folder, fps=5.0, trim=True).videos[1]) == 4
    truth.write_text("0 3 pour\n3 6.5 idle\n")
    with pytest.raises(DataError, match=r"line 2 reads '3 6.5 idle', a time interval; .*load_folder\(fps=...\), --fps"):
        load_folder(folder)
    with pytest.raises(InputError, match="fps is 0"):
        load_folder(folder, fps=0)


def test_a_class_may_be_called_like_a_segment(folder):
    (folder / "mapping" / "mapping.txt").write_text("-1 idle\n3 stir\n7 1 2 go\n12 pour\n")
    (folder / "groundTruth" / "b_long").write_text("1 2 go\n" * 6)
    assert load_folder(folder).classes == ("stir", "1 2 go", "pour")


@pytest.mark.parametrize(
    ("separator", "decimal"),
    [(",", "."), (";", "."), (";", ","), (", ", "."), ("\t", "."), (" ; ", ","), ("\t", ","), ("  ", ",")],
)
def test_text_features_with_any_separator(folder, separator, decimal):
    rows = np.arange(12.0).reshape(4, 3) / 4
    text = "".join(separator.join(f"{x:.2f}".replace(".", decimal) for x in row) + "\n" for row in rows)
    (folder / "features" / "tea" / "a_short.txt").write_text(text)
    assert np.array_equal(load_folder(folder).videos[0].features.numpy(), rows.astype(np.float32))
    (folder / "features" / "tea" / "a_short.txt").rename(folder / "features" / "tea" / "a_short.CSV")
    assert np.array_equal(load_folder(folder).videos[0].features.numpy(), rows.astype(np.float32))


@pytest.mark.parametrize(
    "text",
    ["1,2\n3,4\n", "1,2,\n3,4,\n", "\t1\t2\n\t3\t4\n", "1; 2;\n3; 4;\n;;\n", "1;2,0;\n3;4,0;\n", "# a,,b\n1,2\n3,4"],
)
def test_commas_alone_separate_and_what_follows_the_last_number_does_not_count(text, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    assert read_features(tmp_path / "a.csv").tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n4,,6\n", "a.csv line 2 has no number in column 2; fill it in, or remove the line or the column"),
        ("1,,3\n4, ,6\n", "a.csv line 1 has no number in column 2"),
        (",2,3\n4,5\n", "a.csv line 1 has no number in column 1"),
        ("1;2\n;2\n", "a.csv line 2 has no number in column 1"),
        ("1\t2\t3\n4\t\t6\n", "a.csv line 2 has no number in column 2"),
        ("1\t2\n\t2\n", "a.csv line 2 has no number in column 1"),
        ("1,2\n,,\n3,4\n", "a.csv line 2 has no number in column 1"),
        ("x,y\n1,2\n3,4\n", "a.csv begins with 'x,y', which is no row of numbers; remove this header"),
        ("frame\t0\n1\t2\n", r"a.csv begins with 'frame.t0', which is no row of numbers; remove this header"),
        ("x y\nz w\n", "a.csv is damaged or not a table of numbers"),
    ],
)
def test_a_number_that_is_missing_and_a_header_are_named(text, message, tmp_path):
    """Channels must not move into the place of a missing one."""
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_features(tmp_path / "a.csv")


def test_hidden_files_are_no_recordings(folder):
    expected = load_folder(folder)
    (folder / "features" / "tea" / "._b_long.npy").write_bytes(b"Mac OS X")
    (folder / "features" / ".DS_Store").write_bytes(b"\0")
    (folder / "features" / ".hidden").mkdir()
    np.save(folder / "features" / ".hidden" / "c.npy", np.zeros((3, 3)))
    (folder / "splits").mkdir()
    (folder / "splits" / "._train.txt").write_bytes(b"\xff\xfe")
    same(folder, expected)
    with pytest.raises(InputError, match=r"unknown activity 'coffee'; known: tea$"):
        load_folder(folder, activity="coffee")


def test_npz_and_capitals(folder):
    expected = load_folder(folder)
    rows = np.load(folder / "features" / "tea" / "b_long.npy")
    (folder / "features" / "tea" / "b_long.npy").unlink()
    np.savez(folder / "features" / "tea" / "b_long.npz", features=rows)
    same(folder, expected)
    np.savez(folder / "features" / "tea" / "b_long.npz", features=rows, fps=30)
    with pytest.raises(DataError, match=r"b_long.npz holds 2 arrays \(features, fps\); keep only the features in it"):
        load_folder(folder)
    (folder / "features" / "tea" / "b_long.npz").unlink()
    np.save(folder / "features" / "tea" / "b.npy", rows)
    (folder / "features" / "tea" / "b.npy").rename(folder / "features" / "tea" / "b_long.NPY")
    same(folder, expected)
