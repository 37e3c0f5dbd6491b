"""The files are written here by an encoder of the published formats (TFRecord; SequenceExample as protocol buffer)."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vasot_lib.errors import DataError

PHASES = [
    "to hand touches bottle",
    "to liquid starts exiting",
    "to pouring complete",
    "to bottle back on table",
    "to end",
]
FILES = {
    "pouring_train-0-of-2.tfrecord": {"pour_a": [0, 0, 1, 2, 3, 4], "pour_b": [0, 1, 2, 3, 4]},
    "pouring_train-1-of-2.tfrecord": {"pour_c": [0, 1, 2, 2, 3, 4]},
    "pouring_val-0-of-1.tfrecord": {"pour_d": [0, 1, 2, 3, 3, 4, 4]},
}


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # negative numbers take ten bytes
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def sub(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def strings(value: bytes) -> bytes:
    return sub(1, sub(1, value))


def integers(value: int, packed: bool = True) -> bytes:
    return sub(3, sub(1, varint(value)) if packed else varint(1 << 3) + varint(value))


def named(name: str, message: bytes) -> bytes:
    return sub(1, sub(1, name.encode()) + sub(2, message))


def jpeg(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(stream, "jpeg")
    return stream.getvalue()


def example(name: str, labels: list[int], pictures: list[bytes] | None = None, packed: bool = True) -> bytes:
    pictures = [jpeg(20 * (k + 1)) for k in range(len(labels))] if pictures is None else pictures
    context = named("len", integers(len(labels))) + named("name", strings(name.encode()))
    context += named("label", integers(-1))
    video = b"".join(sub(1, strings(picture)) for picture in pictures)
    truth = b"".join(sub(1, integers(label, packed)) for label in labels)
    lists = named("video", video) + named("frame_labels", truth)
    return sub(1, context) + sub(2, lists)


def write(file: Path, examples: list[bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(struct.pack("<Q", len(e)) + b"crc1" + e + b"crc2" for e in examples))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "downloads"
    for name, films in FILES.items():
        write(folder / name, [example(film, labels) for film, labels in films.items()])
    return folder


@pytest.fixture
def pouring(script):
    module = script("pouring")
    module.FACTS = module.PublishedFacts(videos=4, sources={"videos": "the test"})
    return module


@pytest.fixture
def convert(pouring, tmp_path, source):
    def run(*options: str) -> int:
        return pouring.main(["--source", str(source), "--root", str(tmp_path / "data"), *options])

    return run


def test_pictures_and_phases_come_out_of_the_records(convert, tmp_path, capsys):
    assert convert() == 0
    assert "4 recordings, 24 frames, 5 classes" in capsys.readouterr().out
    target = tmp_path / "data" / "pouring"
    for films in FILES.values():
        for name, labels in films.items():
            assert (target / "groundTruth" / name).read_text().splitlines() == [PHASES[k] for k in labels]
            pictures = sorted((target / "frames" / name).iterdir())
            assert [file.name for file in pictures] == [f"{k:06d}.jpg" for k in range(1, len(labels) + 1)]
            levels = [np.asarray(Image.open(file)).mean() for file in pictures]
            assert levels == pytest.approx([20 * (k + 1) for k in range(len(labels))], abs=2)
    assert (target / "splits" / "train.txt").read_text().split() == ["pour_a", "pour_b", "pour_c"]
    assert (target / "splits" / "val.txt").read_text().split() == ["pour_d"]
    mapping = "".join(f"{k} {name}\n" for k, name in enumerate(PHASES))
    assert (target / "mapping" / "mapping.txt").read_text() == mapping


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("labels", [[0], [300, 0, 127, 128, 2**40], [-1, 4]])
def test_reading_an_example_inverts_the_encoder(pouring, labels, packed):
    pictures = [bytes([k]) * (100 * k) for k in range(len(labels))]
    record = memoryview(example("a film", labels, pictures, packed))
    assert pouring.read_example(record) == ("a film", pictures, labels)


def test_unknown_fields_of_every_kind_are_passed_over(pouring):
    record = example("a", [1])
    extra = varint(9 << 3) + varint(300) + varint(10 << 3 | 1) + b"8 bytes." + varint(11 << 3 | 5) + b"four"
    assert pouring.read_example(memoryview(extra + record + extra)) == ("a", [jpeg(20)], [1])


@pytest.mark.parametrize("seed", range(30))
def test_damaged_records_end_in_one_error(pouring, tmp_path, seed):
    """Any byte may be wrong and any end may lack: no other exception comes out, and no endless loop."""
    rng = np.random.default_rng(seed)
    content = bytearray(example("film", [0, 1, 2, 3, 4]))
    for place in rng.integers(0, len(content), 5):
        content[place] = rng.integers(0, 256)
    file = tmp_path / "pouring_val-0-of-1.tfrecord"
    write(file, [bytes(content[: rng.integers(1, len(content) + 1)])])
    lengths = pouring.LengthCheck(pouring.Options())
    try:
        recordings = list(pouring.read([file], lengths))
    except DataError as error:
        assert "\n" not in str(error) and str(file) in str(error) or "has" in str(error)
    else:
        assert len(recordings) == 1


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


TRAIN, VAL = "pouring_train-0-of-2.tfrecord", "pouring_val-0-of-1.tfrecord"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda s: half(s / TRAIN), f"{TRAIN} is damaged or downloaded by half: record .* bytes long"),
        (lambda s: (s / TRAIN).write_bytes((s / TRAIN).read_bytes() + b"12345"), "is damaged or downloaded by half"),
        (lambda s: (s / TRAIN).write_text("<html>not found</html>"), "is damaged or downloaded by half"),
        (lambda s: write(s / VAL, [b"no protocol buffer"]), "record 0 is not a film with a label per frame"),
        (lambda s: write(s / VAL, [sub(1, b"") + sub(2, b"")]), "record 0 is not a film with a label per frame"),
        (lambda s: (s / TRAIN).unlink(), f"{TRAIN} is missing; download it: https://storage.*/{TRAIN}"),
        (lambda s: [file.unlink() for file in s.iterdir()], "holds no pouring_train-0-of-2.tfrecord; give the folder"),
        (lambda s: write(s / VAL, [example("d", [0, 1, 5])]), "'d' has the label 5; the phases are 0 to 4"),
        (lambda s: write(s / VAL, [example("d", [0, -1])]), "'d' has the label -1; the phases"),
        (lambda s: write(s / VAL, [example("d", [0, 1], [jpeg(1)])]), "d has 1 pictures, 2 labels .difference 1"),
        (lambda s: write(s / VAL, [example("d", [], [])]), "d has no pictures; copy it again"),
        (lambda s: write(s / VAL, [example("d", [0, 1], [jpeg(1), b"x"])]), "picture 1 of 'd' is no JPEG"),
        (lambda s: write(s / VAL, [example("pour_a", [0, 1])]), "two recordings are named 'pour_a'; keep one"),
        (
            lambda s: write(s / VAL, [example("../../escaped", [0, 1])]),
            "named '../../escaped', which cannot be the name",
        ),
        (lambda s: write(s / VAL, [example("/etc/escaped", [0, 1])]), "named '/etc/escaped', which cannot be the name"),
        (lambda s: write(s / VAL, [example("a\\b", [0, 1])]), "which cannot be the name of a file"),
        (lambda s: write(s / VAL, []), "found 3 videos, expected 4 .the test"),
    ],
)
def test_a_fault_is_one_line_and_nothing_is_written(convert, source, tmp_path, capsys, harm, message):
    harm(source)
    assert convert() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error), error
    assert list((tmp_path / "data").glob("*")) == [] and not list(tmp_path.rglob("escaped*"))


def test_trim_and_partial(convert, source, tmp_path, capsys):
    write(source / VAL, [example("pour_d", [0, 1, 4], [jpeg(1), jpeg(2)])])
    write(source / TRAIN, [])
    assert convert("--trim", "--partial") == 0
    printed = capsys.readouterr().out
    assert "2 recordings, 8 frames" in printed and "note: found 2 videos, expected 4" in printed
    assert "note: 1 recordings had unequal lengths, most of all pour_d (difference 1)" in printed
    target = tmp_path / "data" / "pouring"
    assert (target / "groundTruth" / "pour_d").read_text().splitlines() == PHASES[:2]


def test_the_files_are_fetched_where_none_are_given(pouring, source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    asked = []

    def download(url: str, to: Path) -> Path:
        asked.append(url)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes((source / url.rpartition("/")[2]).read_bytes())
        return to

    monkeypatch.setattr(pouring, "download", download)
    assert pouring.main(["--root", str(tmp_path / "data")]) == 0
    assert "4 recordings" in capsys.readouterr().out
    assert asked == [f"https://storage.googleapis.com/tcc-pouring/{name}" for name in FILES]


def test_without_network_the_next_step_is_printed(pouring, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))

    def download(url: str, to: Path) -> Path:
        raise DataError(f"{url} could not be fetched (no route)")

    monkeypatch.setattr(pouring, "download", download)
    assert pouring.main(["--root", str(tmp_path / "data")]) == 2
    error = capsys.readouterr().err
    assert "(no route)" in error and "python -m data_scripts.pouring --source FOLDER" in error
    assert not (tmp_path / "data").exists()
