"""Bring the pouring films of TCC (Dwibedi et al. 2019; films of Sermanet et al. 2018): 84 recordings, 5 phases.

    python data_scripts/pouring.py [--root DATA_ROOT]
    python data_scripts/pouring.py --source FOLDER [--root DATA_ROOT] [--trim] [--partial]

Without --source the three files that TCC published are fetched (storage.googleapis.com/tcc-pouring, no checksums
are published); FOLDER holds these files: pouring_train-0-of-2.tfrecord, pouring_train-1-of-2.tfrecord and
pouring_val-0-of-1.tfrecord. They hold pictures as JPEG and a phase per frame, and are read without TensorFlow. The
films themselves are no longer online. CARL shares them with pickled labels: these are not read, because a pickle can
run code.

Example: python data_scripts/pouring.py --root data
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from data_scripts.common.phases import Cuts, Recording, find, write_recordings
from data_scripts.common.script import Facts, Found, Options, Script, download, run
from vasot_lib.errors import DataError

URL = "https://storage.googleapis.com/tcc-pouring"
FILES = ("pouring_train-0-of-2.tfrecord", "pouring_train-1-of-2.tfrecord", "pouring_val-0-of-1.tfrecord")
# Key events between phases: table 2 of TCC (arXiv 1904.07846). Phase k ends with event k, the last one with the film.
EVENTS = ("hand touches bottle", "liquid starts exiting", "pouring complete", "bottle back on table")
PHASES = tuple(f"to {event}" for event in (*EVENTS, "end"))
FACTS = Facts(videos=70 + 14, classes=5, sources={"videos": "TCC's table 2: 70 + 14", "classes": "TCC's table 2"})


def fetch(folder: Path) -> None:
    """Download the three files."""
    for name in FILES:
        download(f"{URL}/{name}", folder / name)


def records(file: Path) -> Iterator[memoryview]:
    """The records of a TFRecord file: 8 bytes length, 4 of checksum, the record, 4 of checksum.

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


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of a protocol buffer: varints as int, the rest as bytes.

    Raises:
        ValueError: not a protocol buffer.
    """
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        if key & 7 == 0:
            value, place = varint(message, place)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            length, place = varint(message, place)
        elif key & 7 in (1, 5):
            length = 8 if key & 7 == 1 else 4
        else:
            raise ValueError("unknown wire type")
        if place + length > len(message):
            raise ValueError("field longer than its message")
        yield key >> 3, message[place : place + length]
        place += length


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number in base 128, and the place behind it."""
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("number without an end")


def inner(message: memoryview, number: int) -> list[memoryview]:
    """The messages that a repeated field holds."""
    found = [value for key, value in fields(message) if key == number]
    if any(isinstance(value, int) for value in found):
        raise ValueError("number in place of a message")
    return [value for value in found if not isinstance(value, int)]


def table(message: memoryview) -> dict[str, memoryview]:
    """A map of names to messages."""
    entries = [(inner(entry, 1), inner(entry, 2)) for entry in inner(message, 1)]
    return {bytes(key[-1]).decode(): value[-1] for key, value in entries if key and value}


def byte_string(feature: memoryview) -> bytes:
    """The value of a Feature with one byte string: field 1, a list of bytes."""
    return bytes(inner(inner(feature, 1)[-1], 1)[-1])


def integer(feature: memoryview) -> int:
    """The value of a Feature with one integer: field 3, a list of varints, packed or not."""
    value = next(value for key, value in fields(inner(feature, 3)[-1]) if key == 1)
    number = value if isinstance(value, int) else varint(value, 0)[0]
    return number - (1 << 64) if number >> 63 else number


def decode(record: memoryview) -> tuple[str, list[bytes], list[int]]:
    """Name, JPEG pictures and phase numbers of a SequenceExample, as ``get_example`` of TCC writes it.

    Raises:
        ValueError, LookupError, StopIteration: another kind of record.
    """
    context, sequence = table(inner(record, 1)[-1]), table(inner(record, 2)[-1])
    frames = [byte_string(feature) for feature in inner(sequence["video"], 1)]
    labels = [integer(feature) for feature in inner(sequence["frame_labels"], 1)]
    return byte_string(context["name"]).decode(), frames, labels


def read(files: list[Path], cuts: Cuts) -> Iterator[Recording]:
    """One recording after the other.

    Raises:
        DataError: a file or record is damaged, or of another kind.
    """
    for file in files:
        for number, record in enumerate(records(file)):
            try:
                name, frames, labels = decode(record)
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
            n = cuts.length(name, {"pictures": len(frames), "labels": len(labels)})
            part = "val" if "_val" in file.name else "train"
            yield Recording(name, [PHASES[label] for label in labels[:n]], frames[:n], part=part)


def shards(source: Path) -> list[Path]:
    """All files of the set, in order.

    Raises:
        DataError: one is missing.
    """
    first = find(source, "pouring_*-of-*.tfrecord*")
    if first is None:
        raise DataError(f"{source} holds no {FILES[0]}; give the folder with the three files (see --help)")
    files = sorted(first.parent.glob("pouring_*-of-*.tfrecord*"))
    have = {re.sub(r"\.tfrecords?$", "", file.name) for file in files}
    missing = [name for name in FILES if name.removesuffix(".tfrecord") not in have]
    if missing:
        raise DataError(f"{first.parent / missing[0]} is missing; download it: {URL}/{missing[0]}")
    return files


def convert(source: Path, target: Path, options: Options) -> Found:
    """Write the folder.

    Raises:
        DataError: a file is missing or damaged, or the target exists.
    """
    cuts = Cuts(options)
    found = write_recordings(target, read(shards(source), cuts), PHASES, FACTS, options, total=FACTS.videos)
    found.notes += cuts.notes()
    return found


def main(argv: list[str] | None = None) -> int:
    """See ``run``."""
    step = f"download {', '.join(f'{URL}/{name}' for name in FILES)} into one folder"
    return run(Script("pouring", __doc__ or "", convert, step, fetch=fetch, trims=True), argv)


if __name__ == "__main__":
    sys.exit(main())
