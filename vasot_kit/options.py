"""Options that several commands of ``vasot`` share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from vasot_lib.errors import InputError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
Pairs = Iterable[tuple[str, str]]  # NAME and VALUE of every -p


class _NamedPath(click.Path):
    """A path that is not empty: pathlib would read an empty one, as of a variable that is not set, as the folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            raise InputError(
                f"{param.get_error_hint(ctx) if param and ctx else 'a path'} is empty; name a file or folder"
            )
        return super().convert(value, param, ctx)


PATH = _NamedPath(path_type=Path)


def parameter_option(summary: str) -> Decorator:
    """``-p NAME VALUE``, as often as wanted."""
    return click.option("-p", "parameters", type=(str, str), multiple=True, metavar="NAME VALUE", help=summary)


def out_option(summary: str, **settings: Any) -> Decorator:
    """``--out DIR``, either with a ``default`` or ``required``; whether it can be written is tested before any work."""
    return click.option("--out", type=PATH, metavar="DIR", help=summary, callback=_writable, **settings)


def _writable(context: click.Context, parameter: click.Parameter, folder: Path) -> Path:
    place = folder.absolute()
    try:
        while not place.exists():
            place = place.parent
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; name a folder")
        with tempfile.TemporaryFile(dir=place):
            return folder
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}); name another folder") from error


def film_options(features: str) -> Decorator:
    """What all commands on own films take; ``features`` is the default of ``--features``."""
    options = (
        out_option("Folder of the results.", required=True),
        click.option(
            "--features", default=features, metavar="NAME",
            help="motion, appearance, pose or network (fetched once), or e.g. timm:vit_small_patch14_dinov2.lvd142m, "
            "or transformers:MCG-NJU/videomae-base; align and transfer also take several, joined by +, and auto.",
        ),
        click.option(
            "--fps", type=float, metavar="R",
            help="Frames per second that are used, at most as many as the films have. Default: every frame, at most "
            "2000. Of a folder of pictures: how many there are per second, of which all are used; default 30. Only "
            "`vasot features` takes R of 30 there.",
        ),
        click.option("--device", default="cpu", metavar="NAME", help="cpu or cuda."),
    )  # fmt: skip

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


open_option = click.option("--open", "shown", is_flag=True, help="Open the report in the browser.")
