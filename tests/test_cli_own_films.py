"""The commands on own films: what they hand on, what they refuse and what they write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.films.films import make_folder, record
from tests.test_cli import complaint
from vasot_kit.cli import main
from vasot_kit.own_films import align, features, segment, transfer


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the commands on own films hand on."""
    seen: dict[str, Any] = {}

    def note(*given: Any, **named: Any) -> None:
        seen.update(given=given, **named)

    commands = ((align, "align_films"), (segment, "segment_films"), (features, "extract_features"))
    for room, function in (*commands, (transfer, "transfer_steps")):
        monkeypatch.setattr(room, function, note)
    return seen


def test_align_hands_on_its_films_and_options(called: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    films = [Path("a.mp4"), Path("b"), Path("c.avi")]
    assert main(["align", *map(str, films), "--out", "o"]) == 0
    defaults = {"reference": "first", "features": "motion", "fps": None, "device": "cpu", "sound": False}
    assert called == {"given": (films, Path("o")), **defaults}
    assert capsys.readouterr().out == "wrote o\n"
    assert main(["align", "a", "b", "--out", "o", "--features", "timm:x", "--fps", "7.5", "--device", "cuda"]) == 0
    assert (called["features"], called["fps"], called["device"]) == ("timm:x", 7.5, "cuda")
    assert main(["align", "a", "b", "--out", "o", "--reference", "best"]) == 0 and called["reference"] == "best"
    assert main(["align", "a", "b", "--out", "o", "--sound"]) == 0 and called["sound"] is True


def test_transfer_hands_on_its_films_labels_and_options(called: dict[str, Any]) -> None:
    assert main(["transfer", "shown.mp4", "shown.eaf", "a.mp4", "b", "--out", "o"]) == 0
    assert called.pop("given") == (Path("shown.mp4"), Path("shown.eaf"), [Path("a.mp4"), Path("b")], Path("o"))
    defaults = {"features": "motion", "fps": None, "device": "cpu", "tier": None, "background": None}
    assert called == defaults
    assert main(["transfer", "s", "l", "a", "--out", "o", "--tier", "steps", "--background", "idle"]) == 0
    assert (called["tier"], called["background"]) == ("steps", "idle")


@pytest.mark.parametrize("found", [True, False])
def test_the_report_is_opened_where_that_is_wanted(
    called: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    found: bool,
) -> None:
    opened: list[str] = []
    (tmp_path / "report.html").touch()
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or found)
    assert main(["align", "a", "b", "--out", str(tmp_path)]) == 0 and opened == []
    assert main(["align", "a", "b", "--out", str(tmp_path), "--open"]) == 0
    assert opened == [(tmp_path / "report.html").as_uri()]
    told = capsys.readouterr()
    assert ("open the report by hand" in told.err) == (not found)
    assert told.out == 2 * f"wrote {tmp_path}; open {tmp_path / 'report.html'} in a browser\n"


def test_segment_takes_the_films_of_a_folder_but_not_its_own_results(called: dict[str, Any], tmp_path: Path) -> None:
    record(tmp_path / "b10.mp4", n=2), record(tmp_path / "b9.mp4", n=2)
    make_folder(tmp_path / "pictures", range(2)), make_folder(tmp_path / "out", range(2))
    out = tmp_path / "out"
    (out / "config.json").touch()
    assert main(["segment", str(tmp_path), "--actions", "6", "--out", str(out)]) == 0
    assert called.pop("given") == ([tmp_path / name for name in ("b9.mp4", "b10.mp4", "pictures")], 6, out)
    given = {"features": "motion", "fps": None, "epochs": None, "seed": 0, "synchronised": False, "device": "cpu"}
    assert called == given
    options = ["--epochs", "0", "--seed", "3", "--features", "appearance"]
    assert main(["segment", str(tmp_path), "--out", str(out), *options]) == 0
    assert (called["epochs"], called["seed"], called["features"]) == (0, 3, "appearance")
    assert called["given"][1] is None  # the number of actions is estimated


def test_features_hands_on_its_folder_and_options(called: dict[str, Any]) -> None:
    assert main(["features", "films", "--fps", "10", "--out", "o"]) == 0
    network = "torchvision:resnet50"
    films = {"given": (Path("films"), Path("o")), "features": network, "fps": 10.0, "device": "cpu"}
    assert called == {**films, "trim": False}
    assert main(["features", "films", "--trim", "--out", "o"]) == 0 and called["trim"] is True


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["align", "one.mp4"], 2, "1 film was given; an alignment takes at least two"),
        (["align", "one.mp4", "none.mp4"], 1, "none.mp4 does not exist; check the path"),
        (
            ["align", "one.mp4", "one.mp4", "--features", "clip"],
            2,
            "features are 'clip'; use motion, appearance, pose, net",
        ),
        (["align", "one.mp4", "one.mp4", "--fps", "0"], 2, "fps is 0.0; give a positive number"),
        (["align", "one.mp4", "one.mp4", "--device", "foo"], 2, "device is 'foo', which this machine does not have"),
        (["segment", ".", "--actions", "3", "--device", "foo"], 2, "device is 'foo', which this machine does not"),
        (["features", ".", "--features", "motion", "--device", "foo"], 2, "device is 'foo', which this machine"),
        (["features", ".", "--features", "appearance", "--device", "cuda:7"], 2, "device is 'cuda:7', which this"),
        (["segment", ".", "--actions", "1"], 2, "Invalid value for '--actions': 1 is not in the range x>=2"),
        (["segment", "empty", "--actions", "3"], 1, "empty holds no films; put video files or folders of pictures"),
        (["segment", "none", "--actions", "3"], 1, "none does not exist; check the path"),
        (["features", "empty", "--features", "motion"], 1, "empty holds no films"),
        (["features", ".", "--features", "resnet50"], 2, "features are 'resnet50'; use"),
    ],
)
def test_what_is_wrong_with_own_films_is_one_line_and_leaves_nothing(
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    films = tmp_path / "films"
    (films / "empty").mkdir(parents=True)
    record(films / "one.mp4", n=30)
    monkeypatch.chdir(films)
    assert main([*arguments, "--out", "o"]) == code
    assert message in complaint(capsys)
    assert sorted(entry.name for entry in films.iterdir()) == ["empty", "one.mp4"]


def test_the_three_commands_write_what_they_say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    films = tmp_path / "films"
    films.mkdir()
    one, two = record(films / "one.mp4", n=30), record(films / "two.mp4", n=40)
    commands = {
        "aligned": ["align", str(one), str(two)],
        "segmented": ["segment", str(films), "--actions", "2"],
        "described": ["features", str(films), "--features", "motion"],
    }
    for name, arguments in commands.items():
        assert main([*arguments, "--out", str(tmp_path / name)]) == 0
        page = f"; open {tmp_path / name / 'report.html'} in a browser" if name != "described" else ""
        *said, wrote = capsys.readouterr().out.splitlines()
        assert wrote == f"wrote {tmp_path / name}{page}"
        about = ["It is not clear whether one and two", "Steps in another order are not looked for"]
        assert [line[: len(known)] for line, known in zip(said, about, strict=False)] == about * (name == "aligned")
    assert (tmp_path / "aligned" / "side_by_side.mp4").is_file()
    features = tmp_path / "described"
    assert main(["segment", str(features), "--out", str(tmp_path / "none")]) == 1
    assert f"{features} holds no films; it holds features: vasot train {features} vasot --out RUN" in complaint(capsys)
    assert {"segments.csv", "one.eaf", "two.csv"} <= {file.name for file in (tmp_path / "segmented").iterdir()}
    assert sorted(file.name for file in (tmp_path / "described" / "features").iterdir()) == ["one.npy", "two.npy"]
