"""``vasot new``: a copy of the chapters, from the repository and from an installed kit."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackagePath
from pathlib import Path

import pytest

from vasot_kit import chapters
from vasot_kit.chapters import copy_chapters
from vasot_kit.cli import main
from vasot_lib.errors import DataError

ROOT = Path(__file__).parents[1]


def test_a_copy_has_all_chapters_solutions_and_the_tables_that_they_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my" / "course"
    assert main(["new", str(folder)]) == 0
    copied = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    shipped = [path for kind in chapters.KINDS for path in ROOT.glob(kind)]
    assert copied == sorted(path.relative_to(ROOT).as_posix() for path in shipped)
    assert (folder / "notebooks/00_quickstart.ipynb").read_bytes() == (
        ROOT / "notebooks/00_quickstart.ipynb"
    ).read_bytes()
    count = len(list((ROOT / "notebooks").glob("*.ipynb")))
    assert f"wrote {count} chapters; open them with: jupyter lab {folder}" in capsys.readouterr().out
    for path in (ROOT / "notebooks").rglob("*.ipynb"):  # what they read lies beside them
        read = re.findall(r"\.\./(results/[\w/]+\.\w+|docs/\w+\.md)", path.read_text())
        assert [name for name in read if not (folder / name).is_file()] == []


def test_work_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("work")
    assert main(["new", str(tmp_path)]) == 2
    assert "not empty; name a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert main(["new", str(tmp_path / "mine.txt")]) == 2


def test_an_installed_kit_finds_its_chapters_where_pip_has_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the kit lay in site-packages, without its repository."""
    share = tmp_path / "env/share/vasot/notebooks"
    share.mkdir(parents=True)
    (share / "00_quickstart.ipynb").write_text("{}")
    listed = [PackagePath("../../share/vasot/notebooks/00_quickstart.ipynb"), PackagePath("vasot_kit/cli.py")]
    monkeypatch.setattr(PackagePath, "locate", lambda self: tmp_path / "env/lib/site-packages" / self)
    (tmp_path / "env/lib/site-packages").mkdir(parents=True)
    monkeypatch.setattr(chapters, "ROOT", tmp_path / "env/lib/site-packages")
    monkeypatch.setattr(chapters, "files", lambda name: listed)
    assert [path.name for path in copy_chapters(tmp_path / "copy")] == ["00_quickstart.ipynb"]
    monkeypatch.setattr(chapters, "files", lambda name: None)
    with pytest.raises(DataError, match="has no chapters"):
        copy_chapters(tmp_path / "other")


def test_pip_installs_what_is_copied() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    assert sorted(kind for kinds in setup.values() for kind in kinds) == sorted(chapters.KINDS)
    assert all(f"share/vasot/{Path(kind).parent}" == place for place, kinds in setup.items() for kind in kinds)
