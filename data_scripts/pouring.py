"""Bring the pouring films of TCC (Dwibedi et al. 2019; films of Sermanet et al. 2018): 84 recordings, 5 phases.

    python -m data_scripts.pouring [--root DATA_ROOT]
    python -m data_scripts.pouring --source FOLDER [--root DATA_ROOT] [--trim] [--partial]

Without --source the three files that TCC published are fetched (storage.googleapis.com/tcc-pouring, no checksums
are published). FOLDER holds these files: pouring_train-0-of-2.tfrecord, pouring_train-1-of-2.tfrecord and
pouring_val-0-of-1.tfrecord. They hold pictures as JPEG and a phase per frame, and are read without TensorFlow. The
films themselves are no longer online. CARL shares them with pickled labels: these are not read, because a pickle can
run code.

Example: python -m data_scripts.pouring --root data
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from data_scripts.common.download import download
from data_scripts.common.film_folders import FilmRecording, LengthCheck, find_below, write_recordings
from data_scripts.common.script import Inventory, Options, PublishedFacts, Script, run
from vasot_lib.errors import DataError

URL = "https://storage.googleapis.com/tcc-pouring"
FILES = ("pouring_train-0-of-2.tfrecord", "pouring_train-1-of-2.tfrecord", "pouring_val-0-of-1.tfrecord")
# Key events between phases: table 2 of TCC (arXiv 1904.07846). Phase k ends with event k, the last one with the film.
EVENTS = ("hand touches bottle", "liquid starts exiting", "pouring complete", "bottle back on table")
PHASES = tuple(f"to {event}" for event in (*EVENTS, "end"))
FACTS = PublishedFacts(
    videos=70 + 14, classes=5, sources={"videos": "TCC's table 2: 70 + 14", "classes": "TCC's table 2"}
)


def fetch(folder: Path) -> None:
    """Download the three files."""
    for name in FILES:
        download(f"{URL}/{name}", folder / name)


def read_records(file: Path) -> Iterator[memoryview]:
    """The records of a TFRecord file; each is 8 bytes of length, 4 of checksum, the data, 4 of checksum.

    Raises:
        DataError: another kind of file, or one that ends within a record.
    """
    size, place = file.stat().st_size, 0
    with file.open("rb") as stream:
        while place < size:
            head = stream.read(12)
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else size
            place += 12 + length + 4
            if place > size:
                raise DataError(
                    f"{file} is damaged or downloaded by half: record {length:,} bytes long, "
                    f"{place - size:,} more than there are; remove it and download it again"
                )
            yield memoryview(stream.read(length))
            stream.seek(4, 1)


def read_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of a protocol buffer: varints as int, the rest as bytes.

    Raises:
        ValueError: not a protocol buffer.
    """
    place = 0
    while place < len(message):
        key, place = read_varint(message, place)
        if key & 7 == 0:
            value, place = read_varint(message, place)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            length, place = read_varint(message, place)
        elif key & 7 in (1, 5):
            length = 8 if key & 7 == 1 else 4
        else:
            raise ValueError("unknown wire type")
        if place + length > len(message):
            raise ValueError("field longer than its message")
        yield key >> 3, message[place : place + length]
        place += length


def read_varint(message: memoryview, place: int) -> tuple[int, int]:
    """The varint (a number in base 128) that begins at a place, and the place after it."""
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("number without an end")


def submessages(message: memoryview, number: int) -> list[memoryview]:
    """The messages in a repeated field, by the number of the field."""
    found = [value for key, value in read_fields(message) if key == number]
    if any(isinstance(value, int) for value in found):
        raise ValueError("number in place of a message")
    return [value for value in found if not isinstance(value, int)]


def read_map(message: memoryview) -> dict[str, memoryview]:
    """A protocol buffer map of names to messages."""
    entries = [(submessages(entry, 1), submessages(entry, 2)) for entry in submessages(message, 1)]
    return {bytes(key[-1]).decode(): value[-1] for key, value in entries if key and value}


def read_bytes_feature(feature: memoryview) -> bytes:
    """The value of a Feature with one byte string: field 1, a list of bytes."""
    return bytes(submessages(submessages(feature, 1)[-1], 1)[-1])


def read_integer_feature(feature: memoryview) -> int:
    """The value of a Feature with one integer: field 3, a list of varints, packed or not."""
    value = next(value for key, value in read_fields(submessages(feature, 3)[-1]) if key == 1)
    number = value if isinstance(value, int) else read_varint(value, 0)[0]
    return number - (1 << 64) if number >> 63 else number


def read_example(record: memoryview) -> tuple[str, list[bytes], list[int]]:
    """Name, JPEG pictures and phase numbers of a SequenceExample, as ``get_example`` of TCC writes it.

    Raises:
        ValueError, LookupError, StopIteration: another kind of record.
    """
    context, sequence = read_map(submessages(record, 1)[-1]), read_map(submessages(record, 2)[-1])
    frames = [read_bytes_feature(feature) for feature in submessages(sequence["video"], 1)]
    labels = [read_integer_feature(feature) for feature in submessages(sequence["frame_labels"], 1)]
    return read_bytes_feature(context["name"]).decode(), frames, labels


def read(files: list[Path], lengths: LengthCheck) -> Iterator[FilmRecording]:
    """The recordings of the files, one after the other.

    Raises:
        DataError: a file or record is damaged or of another kind.
    """
    for file in files:
        for number, record in enumerate(read_records(file)):
            try:
                name, frames, labels = read_example(record)
            except (ValueError, LookupError, StopIteration) as error:
                raise DataError(
                    f"{file} record {number} is not a film with a label per frame ({type(error).__name__}: {error}); "
                    "download it again"
                ) from error
            broken = next((k for k, frame in enumerate(frames) if not frame.startswith(b"\xff\xd8")), None)
            if broken is not None:
                raise DataError(f"{file}: picture {broken} of {name!r} is no JPEG; download it again")
            outside = next((label for label in labels if not 0 <= label < len(PHASES)), None)
            if outside is not None:
                raise DataError(f"{file}: {name!r} has the label {outside}; the phases are 0 to {len(PHASES) - 1}")
            n = lengths.length(name, {"pictures": len(frames), "labels": len(labels)})
            part = "val" if "_val" in file.name else "train"
            yield FilmRecording(name, [PHASES[label] for label in labels[:n]], frames[:n], part=part)


def find_files(source: Path) -> list[Path]:
    """All files of the data set, in order.

    Raises:
        DataError: one is missing.
    """
    first = find_below(source, "pouring_*-of-*.tfrecord*")
    if first is None:
        raise DataError(f"{source} holds no {FILES[0]}; give the folder with the three files (see --help)")
    files = sorted(first.parent.glob("pouring_*-of-*.tfrecord*"))
    have = {re.sub(r"\.tfrecords?$", "", file.name) for file in files}
    missing = [name for name in FILES if name.removesuffix(".tfrecord") not in have]
    if missing:
        raise DataError(f"{first.parent / missing[0]} is missing; download it: {URL}/{missing[0]}")
    return files


def convert(source: Path, target: Path, options: Options) -> Inventory:
    """Write the folder.

    Raises:
        DataError: a file is missing or damaged, or the target exists.
    """
    lengths = LengthCheck(options)
    found = write_recordings(target, read(find_files(source), lengths), PHASES, FACTS, options, total=FACTS.videos)
    found.notes += lengths.notes()
    return found


def main(argv: list[str] | None = None) -> int:
    """See ``run``."""
    step = f"download {', '.join(f'{URL}/{name}' for name in FILES)} into one folder"
    return run(Script("pouring", __doc__ or "", convert, step, fetch=fetch, trims=True), argv)


if __name__ == "__main__":
    sys.exit(main())
