"""Labelled folders whose files are damaged, of another kind, or missing."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import attempt, inputs, odd, usually
from vasot_kit.folders import load_folder, save_folder

CLASSES = ["idle", "pour", "stir"]
LINES = ["idle", "nobody", "", "0 idle", "1-2 pour", "0 3 pour", "0.5,1.5,stir", "\x00", "-1 idle", "9 pour", "é", "3"]
TABLES = [
    "1 2\n3 4\n",
    "1,2\n3,4\n",
    "1;2,5\n3;4\n",
    "1 2\n3\n",
    "nan 1\n2 3\n",
    "1e999 1\n1 1\n",
    "a b\n",
    "# 1\n",
    "\n",
]


def number_files(draw: st.DrawFn) -> bytes:
    """A .npy file of some type and shape."""
    shape = draw(st.sampled_from([(6, 2), (2, 6), (6,), (1, 6, 2), (0, 2), (), (6, 0)]))
    array = (
        np.arange(np.prod(shape, dtype=int))
        .reshape(shape)
        .astype(draw(st.sampled_from(["f2", "f4", "f8", "i8", "c8", "U3", "?"])))
    )
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut, changed in a few bytes, doubled, or with a mark before it."""
    match draw(st.integers(0, 5)):
        case 0:
            return content[: draw(st.integers(0, len(content)))]
        case 1:
            return content * 2
        case 2:
            return b"\xef\xbb\xbf" + content
        case 3:
            return draw(st.binary(max_size=30))
        case _:
            changed = bytearray(content or b"0")
            for _ in range(draw(st.integers(1, 4))):
                changed[draw(st.integers(0, min(len(changed), 160) - 1))] = draw(st.integers(0, 255))
            return bytes(changed)


def harm(draw: st.DrawFn, root: Path) -> None:
    """Change one file of a folder, or its name."""
    file = draw(st.sampled_from(sorted(path for path in root.rglob("*") if path.is_file())))
    match draw(st.integers(0, 5)):
        case 0:
            file.unlink()
        case 1:
            name = draw(
                st.sampled_from([f"._{file.name}", f"{file.stem}.NPY", f"{file.stem}.npz", f"{file.stem}.csv", "é"])
            )
            file.rename(file.with_name(name))
        case 2 if file.suffix == ".npy":
            file.write_bytes(number_files(draw))
        case 2 | 3 if file.suffix != ".npy":
            file.write_text("\n".join(draw(st.lists(st.sampled_from(LINES), max_size=6))))
        case 3:
            file.unlink()
            text = draw(st.sampled_from(TABLES))
            file.with_suffix(draw(st.sampled_from([".txt", ".csv", ".TXT"]))).write_text(text)
        case _:
            file.write_bytes(damaged(draw, file.read_bytes()))


@inputs(800)
@given(data=st.data())
def test_load_folder(data: st.DataObject) -> None:
    draw = data.draw
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "folder"
        rows = {f"tea/{n}": (np.full((n, 2), 0.5), [CLASSES[k % 3] for k in range(n)]) for n in (4, 6)}
        extra = {"splits/train.txt": "tea/4\n", "splits/val.txt": "tea/6\n"} if draw(st.booleans()) else {}
        save_folder(root, rows, CLASSES, extra)
        for _ in range(draw(st.integers(0, 2))):
            harm(draw, root)
        if draw(st.integers(0, 9)) == 0:
            shutil.rmtree(root / draw(st.sampled_from(["features", "groundTruth", "mapping"])))
        background = draw(st.none() | st.sampled_from([*CLASSES, "no"]))
        options = {
            "background": background, "trim": draw(st.booleans()), "merge": draw(st.booleans()),
            "stride": draw(usually(st.sampled_from([1, 1, 2]))), "activity": draw(st.none() | st.just("tea")),
            "n_actions": draw(st.none() | usually(st.integers(1, 3), odd)),
        }  # fmt: skip
        dataset = attempt("folder", lambda: load_folder(root, **options))
        if dataset is not None:
            for video in dataset.videos:
                assert video.features.isfinite().all() and (video.labels is None or len(video.labels) == len(video))
