from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.data_scripts.film_files import write_film
from vasot_kit.datasets.registry import EGOPROCEL
from vasot_lib.errors import DataError

RATE = 4
BROWNIE, TENT, HEAD = "S07_Brownie_7150991-1431", "01.tent.090617.gopro", "Head_5"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four recordings of four tasks; another camera beside the worn one, and a film of the same name elsewhere."""
    root = tmp_path / "downloads"
    brownie = f"CMU-MMAC/Brownie/{BROWNIE[:11]}_Video"
    tables = {
        f"{brownie}/{BROWNIE}": "0.5,1.2,1 break egg\n1.0,1.5,2 mix  eggs\n",
        f"{brownie}/S07_Brownie_7151020-1103": "0,9,1 break egg\n",
        f"EPIC-Tents/{TENT}.egoprocel.ann": "0.0,0.9,3. lay out\n2,9.5,1. pick up\n",
        f"pc_assembly/{HEAD}": "0,1,1\n",
        f"pc_disassembly/{HEAD}": "1,2,1 open\n",
    }
    for name, text in tables.items():
        file = root / "EgoProceL" / "annotations" / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    write_film(root / "CMU" / f"{BROWNIE}.avi", 10, RATE)
    write_film(root / "tents" / f"{TENT}.MP4", 10, RATE)
    write_film(root / "PC" / "pc_assembly" / f"{HEAD}.mp4", 6, RATE)
    write_film(root / "PC" / "pc_disassembly" / f"{HEAD}.mp4", 7, RATE)
    return root


@pytest.fixture
def convert(script, source, tmp_path):
    def run(*options: str) -> int:
        return script("egoprocel").main(["--source", str(source), "--root", str(tmp_path / "data"), *options])

    return run


def labels(tmp_path: Path, name: str) -> list[str]:
    return (tmp_path / "data" / "egoprocel" / "groundTruth" / name).read_text().splitlines()


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def table(source: Path, folder: str) -> Path:
    return next((source / "EgoProceL" / "annotations" / folder).rglob("*7150991*.csv"))


def test_the_tasks_are_those_of_the_registry(script) -> None:
    assert set(script("egoprocel").FOLDERS) == set(EGOPROCEL) and len(EGOPROCEL) == 16


def test_films_and_key_steps_are_joined(convert, source, tmp_path, capsys) -> None:
    assert convert("--partial") == 0
    said = capsys.readouterr().out
    assert "4 recordings, 33 frames, 7 classes; activities: cmu_brownie (1), epic_tents (1), pc_assembly (1)" in said
    assert "found no videos of cmu_eggs, " in said
    b, egg, mix = "background", "cmu_brownie 1 break egg", "cmu_brownie 2 mix eggs"
    # Frames of start and end belong to the step, and the later line counts where two overlap.
    assert labels(tmp_path, BROWNIE) == [b, b, egg, egg, mix, mix, mix, b, b, b]
    lay, pick = "epic_tents 3 lay out", "epic_tents 1 pick up"
    assert labels(tmp_path, TENT) == [lay] * 4 + [b] * 4 + [pick] * 2
    assert labels(tmp_path, f"pc_assembly_{HEAD}") == ["pc_assembly 1"] * 5 + [b]
    assert labels(tmp_path, f"pc_disassembly_{HEAD}") == [b] * 4 + ["pc_disassembly 1 open"] * 3
    target = tmp_path / "data" / "egoprocel"
    names = [line.split(" ", 1)[1] for line in (target / "mapping" / "mapping.txt").read_text().splitlines()]
    assert names == [b, egg, mix, pick, lay, "pc_assembly 1", "pc_disassembly 1 open"]
    film = target / "videos" / "pc_disassembly" / f"pc_disassembly_{HEAD}.mp4"
    assert film.samefile(source / "PC" / "pc_disassembly" / f"{HEAD}.mp4")


def test_it_is_read_as_a_data_set(convert, tmp_path) -> None:
    from vasot_kit.datasets import load_dataset

    assert convert("--partial") == 0
    dataset = load_dataset("egoprocel/cmu_brownie", tmp_path / "data")
    (video,) = dataset.videos
    assert dataset.n_actions == 9 and not dataset.ordered
    assert [dataset.classes[k] for k in video.labels.tolist()] == labels(tmp_path, BROWNIE)
    assert dataset.classes[dataset.background] == "background"


def test_without_partial_all_tasks_are_needed(convert, source, tmp_path, capsys) -> None:
    assert convert() == 1
    assert re.search("found no videos of cmu_eggs, .*; copy what is missing, or pass --partial", complaint(capsys))
    (source / "tents" / f"{TENT}.MP4").unlink()
    assert convert() == 1
    assert f"1 annotated recordings have no film, e.g. epic_tents/{TENT}" in complaint(capsys)
    assert not (tmp_path / "data" / "egoprocel").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,end,step\n", "line 1 of .*csv reads 'start,end,step'; expected a start second, an end second"),
        ("0,1,1 a\n2,1,2 b\n", "line 2 of .* reads '2,1,2 b'"),
        ("0,1,break egg\n", "line 1 of .* reads '0,1,break egg'"),
        ("0,nan,1 a\n", "line 1 of"),
        ("0,1\n", "line 1 of"),
        ("", "is empty; download the annotations again"),
        ("0,1," + "9" * 5000 + " a\n", "line 1 of .* reads '0,1,999"),
        ("0,1,1 " + "a" * 140000, r"csv is damaged or no table in UTF-8 \(field larger than field limit"),
        ("3,4,1 a\n", "cmu_brownie/.* has a key step at 3 s, but its film ends after 2.5 s"),
    ],
)
def test_damaged_tables_are_named(convert, source, tmp_path, capsys, text: str, message: str) -> None:
    table(source, "CMU-MMAC").write_text(text)
    assert convert("--partial") == 1
    assert re.search(message, complaint(capsys))
    assert not (tmp_path / "data" / "egoprocel").exists()


@pytest.mark.parametrize("coding", ["latin-1", "utf-16"])
def test_tables_in_another_coding_are_named(convert, source, tmp_path, capsys, coding: str) -> None:
    table(source, "CMU-MMAC").write_text("0,1,1 crème\n", encoding=coding)
    assert convert("--partial") == 1
    assert f"{BROWNIE}.csv is damaged or no table in UTF-8" in complaint(capsys)


def test_blank_lines_and_hidden_files_are_passed_over(convert, source, tmp_path) -> None:
    file = table(source, "CMU-MMAC")
    file.write_text("\n" + file.read_text() + "\n ,,\n")
    for hidden in (file, source / "CMU" / f"{BROWNIE}.avi"):
        hidden.with_name(f"._{hidden.name}").write_bytes(b"\0\5\x16\7\xff")
    assert convert("--partial") == 0
    assert len(labels(tmp_path, BROWNIE)) == 10


def test_two_tables_of_one_recording_are_refused(convert, source, capsys) -> None:
    file = table(source, "CMU-MMAC")
    (file.parent / "copy").mkdir()
    (file.parent / "copy" / file.name).write_text("0,1,3 another\n")
    assert convert("--partial") == 1
    assert re.search(f"{BROWNIE}.csv and .*{BROWNIE}.csv are both the table of cmu_brownie/", complaint(capsys))


def test_a_number_with_two_names_is_noted(convert, source, capsys) -> None:
    table(source, "CMU-MMAC").write_text("0,1,1 take\n1,2,1 put\n")
    assert convert("--partial") == 0
    said = capsys.readouterr().out
    assert "note: 'cmu_brownie 1 take' is also named 'cmu_brownie 1 put'; the first name is taken" in said


def test_a_second_falls_on_its_frame(script) -> None:
    module = script("egoprocel")
    steps = [module.KeyStep(4.1, 4.1, 1, "a")]  # 4.1 * 30 is 122.99999999999999
    assert module.frame_labels("x", steps, {1: "a"}, 130, 30.0).index("a") == 123


def test_more_key_steps_than_published_are_noted(convert, source, capsys) -> None:
    write_film(source / "CMU" / f"{BROWNIE}.avi", 12, RATE)
    steps = "".join(f"{k / RATE},{k / RATE},{k} step\n" for k in range(1, 11))
    table(source, "CMU-MMAC").write_text(steps)
    assert convert("--partial") == 0
    assert "cmu_brownie shows 10 classes, expected at most 9 (get_category_metadata" in capsys.readouterr().out


def test_what_is_missing_altogether_is_named(script, tmp_path, source, capsys) -> None:
    module = script("egoprocel")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no annotations/ with the folders CMU-MMAC/Brownie, "):
        module.convert(tmp_path / "none", tmp_path / "data", module.Options())
    write_film(source / "copy" / "pc_assembly" / f"{HEAD}.mp4", 2, RATE)
    with pytest.raises(DataError, match="may both be the film of .*Head_5.csv; put it into a folder 'pc_assembly'"):
        module.convert(source, tmp_path / "data", module.Options(partial=True))
