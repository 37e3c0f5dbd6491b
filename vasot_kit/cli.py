"""The command ``vasot``: run a notebook or a grid of runs, train without one, list data sets and methods, benchmark,
run the tutorial."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vasot_lib import __version__
from vasot_lib.errors import InputError, VasotError

# Imports of the rooms stand inside the functions: they bring torch, and `vasot --help` shall answer at once.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 for a failure, 2 for bad use, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except InputError as error:
        return _complain(error, 2)
    except VasotError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:  # the reader has seen enough, as in `vasot data | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _complain(error: object, code: int) -> int:
    print(f"vasot: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vasot", description="Video alignment and action segmentation.")
    parser.add_argument("--version", action="version", version=f"vasot {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(
        commands,
        "run",
        "execute a notebook with parameters, into a folder of its own",
        "vasot run notebooks/40_train.ipynb -p method vasot -p seed 3 --out outputs",
    )
    run.add_argument("notebook", metavar="NOTEBOOK", type=Path)
    _add_parameters(run, "a parameter of the notebook; the value is read as YAML")
    run.add_argument("--out", type=Path, default=Path("outputs"), metavar="DIR", help="default: %(default)s")
    run.set_defaults(run=_run)

    sweep = _command(
        commands,
        "sweep",
        "run a notebook over a grid of parameters, several at a time; the same again does what is missing",
        "vasot sweep grids/methods.yaml --workers 4",
    )
    sweep.add_argument("grid", metavar="GRID.yaml", type=Path, help="names the notebook and lists the values")
    sweep.add_argument("--out", type=Path, default=Path("outputs"), metavar="DIR", help="default: %(default)s")
    sweep.add_argument("--workers", type=int, metavar="N", help="runs at a time on this machine; default: its cores")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster to run on, e.g. tcp://node1:8786")
    sweep.set_defaults(run=_sweep)

    train = _command(
        commands,
        "train",
        "train a method on a data set and record its scores, on one process or on all that torchrun starts",
        "vasot train hapt vasot --preset paper --seed 3 -p training.batch_size 4 --out outputs/hapt-vasot-3",
    )
    train.add_argument("dataset", metavar="DATASET", help="a name from `vasot data`")
    train.add_argument("method", metavar="METHOD", help="a name from `vasot methods`")
    train.add_argument("--preset", default="kit", help="kit, paper or release; default: %(default)s")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    train.add_argument("--epochs", type=int, metavar="N", help="default: as many as the preset says")
    train.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto; default: %(default)s")
    _add_parameters(train, "a value by dotted name, e.g. training.lr 3e-4; the value is read as YAML")
    train.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder of this run; the same again goes on with it"
    )
    train.set_defaults(run=_train)

    align = _command(
        commands,
        "align",
        "align films of the same thing with the first of them, frame by frame",
        "vasot align A.mp4 B.mp4 --out aligned",
    )
    align.add_argument("films", nargs="+", type=Path, metavar="FILM", help="a video file or a folder of pictures")
    _add_films(align, "motion")
    align.set_defaults(run=_align)

    segment = _command(
        commands,
        "segment",
        "cut films of one activity into actions, without labels",
        "vasot segment FOLDER --actions 6 --out segmented",
    )
    segment.add_argument("folder", type=Path, metavar="FOLDER", help="with video files or folders of pictures")
    segment.add_argument("--actions", type=int, required=True, metavar="K", help="how many actions to look for")
    segment.add_argument("--epochs", type=int, metavar="N", help="of the training; none with fewer than three films")
    segment.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    _add_films(segment, "motion")
    segment.set_defaults(run=_segment)

    features = _command(
        commands,
        "features",
        "describe films by a frozen network, into a labelled feature folder",
        "vasot features FOLDER --features torchvision:resnet50 --fps 10 --out described",
    )
    features.add_argument("folder", type=Path, metavar="FOLDER", help="with films, or with videos/ and groundTruth/")
    _add_films(features, "torchvision:resnet50")
    features.set_defaults(run=_features)

    data = _command(commands, "data", "list the data sets, or load one and describe it", "vasot data mocap6")
    data.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="bring this data set if needed, check and describe it; NAME/ACTIVITY where it has activities",
    )
    data.add_argument("--list", action="store_true", help="all data sets; the default without NAME")
    data.add_argument("--json", action="store_true", help="print JSON")
    data.set_defaults(run=_data)

    methods = _command(commands, "methods", "list the methods", "vasot methods --json")
    methods.add_argument("--json", action="store_true", help="print JSON")
    methods.set_defaults(run=_methods)

    bench = _command(
        commands,
        "bench",
        "measure the solver, training or training from pixels, and print ratios within this run",
        "vasot bench solver --json outputs/solver.json",
    )
    bench.add_argument("what", choices=("solver", "training", "pixels"), help="what to measure")
    bench.add_argument("--json", type=Path, metavar="FILE", help="also write the figures, goals and the machine here")
    bench.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    bench.add_argument("--seconds", type=float, default=4.0, metavar="S", help="per comparison; default: %(default)s")
    bench.set_defaults(run=_bench)

    tutorial = _command(
        commands, "tutorial", "run the tutorial notebooks and write one page about them", "vasot tutorial"
    )
    tutorial.add_argument(
        "--out", type=Path, default=Path("outputs/tutorial"), metavar="DIR", help="default: %(default)s"
    )
    tutorial.set_defaults(run=_tutorial)
    return parser


def _command(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=summary, description=f"{summary}.".capitalize(), epilog=f"example: {example}")


def _add_parameters(parser: argparse.ArgumentParser, summary: str) -> None:
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help=summary
    )


def _add_films(parser: argparse.ArgumentParser, features: str) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the results")
    parser.add_argument(
        "--features",
        default=features,
        metavar="NAME",
        help="motion, appearance, or a network, e.g. timm:vit_small_patch14_dinov2.lvd142m; default: %(default)s",
    )
    parser.add_argument("--fps", type=float, metavar="R", help="samples per second; default: every frame, at most 2000")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; default: %(default)s")


def _align(options: argparse.Namespace) -> None:
    from vasot_kit.own_films.align import align_films

    align_films(options.films, options.out, features=options.features, fps=options.fps, device=options.device)
    print(f"wrote {options.out}")


def _segment(options: argparse.Namespace) -> None:
    from vasot_kit.own_films.inputs import films_in
    from vasot_kit.own_films.segment import segment_films

    films = list(films_in(options.folder, options.out).values())
    segment_films(
        films, options.actions, options.out, features=options.features, fps=options.fps,
        epochs=options.epochs, seed=options.seed, device=options.device,
    )  # fmt: skip
    print(f"wrote {options.out}")


def _features(options: argparse.Namespace) -> None:
    from vasot_kit.own_films.features import extract_features

    extract_features(options.folder, options.out, features=options.features, fps=options.fps, device=options.device)
    print(f"wrote {options.out}")


def _train(options: argparse.Namespace) -> None:
    from vasot_kit.runs.train import train_and_score

    path = train_and_score(
        options.dataset,
        options.method,
        options.preset,
        options.out,
        seed=options.seed,
        epochs=options.epochs,
        device=options.device,
        overrides={name: _value(name, text) for name, text in options.parameters},
    )
    if path is not None:  # only the first of several processes has written it
        print(f"wrote {path}")


def _bench(options: argparse.Namespace) -> None:
    import torch

    from vasot_kit.benchmarks import bench_pixels, bench_solver, bench_training
    from vasot_kit.benchmarks.timing import machine
    from vasot_kit.runs.records import to_json, write_text

    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device is 'cuda' but this machine has no CUDA device; use --device cpu")
    if options.json and not options.json.absolute().parent.is_dir():
        raise InputError(f"{options.json.parent} is no folder to write {options.json.name} into; make it first")
    rows = []
    benches = {"solver": bench_solver, "training": bench_training, "pixels": bench_pixels}
    for row in benches[options.what](options.device, options.seconds):
        rows.append(row)
        print(row, flush=True)
    if options.json:
        report = {"benchmark": options.what, "device": options.device, "machine": machine()}
        write_text(options.json, to_json({**report, "rows": [row.as_dict() for row in rows]}))
        print(f"wrote {options.json}")


def _run(options: argparse.Namespace) -> None:
    from vasot_kit.runs.notebook import run_notebook

    parameters = {name: _value(name, text) for name, text in options.parameters}
    print(f"wrote {run_notebook(options.notebook, parameters, options.out)}")


def _sweep(options: argparse.Namespace) -> None:
    from vasot_kit.runs.sweep import sweep

    sweep(options.grid, options.out, options.workers, options.scheduler)


def _value(name: str, text: str) -> Any:
    import yaml

    from vasot_kit.runs.values import read_yaml

    try:
        return read_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"the value {text!r} of parameter {name!r} is not YAML; put quotes around a string") from error


def _data(options: argparse.Namespace) -> None:
    from vasot_kit.datasets.registry import DATASETS, data_root, find_entry, load_dataset

    if options.name and options.list:
        raise InputError("vasot data takes --list or a NAME, not both")
    if options.name:
        dataset = load_dataset(options.name)
        summary = {"title": find_entry(options.name)[0].title, **_summary(dataset)}
        print(json.dumps(summary, indent=1) if options.json else "\n".join(f"{k:9} {v}" for k, v in summary.items()))
        return
    here = {name: entry.present(data_root()) for name, entry in DATASETS.items()}
    if options.json:
        facts = ("name", "title", "videos", "frames", "n_actions", "activities", "dim", "licence")
        rows = [{fact: getattr(entry, fact) for fact in facts} for entry in DATASETS.values()]
        _show([{**row, "here": here[row["name"]], "command": DATASETS[row["name"]].command} for row in rows], True)
        return
    _show([_data_row(entry, here[name]) for name, entry in DATASETS.items()], False)
    print("\nWhere every activity is a data set of its own, and its K:")
    for name, entry in DATASETS.items():
        if entry.activities:
            listed = ", ".join(f"{activity} {k}" for activity, k in entry.activities.items())
            print(textwrap.fill(f"{name}/: {listed}", 120, subsequent_indent="  ", break_on_hyphens=False))


def _data_row(entry: Any, here: bool) -> dict[str, Any]:
    """A line of the list; short enough for a terminal of 120 columns."""
    scripts = "python data_scripts/"
    k = sorted(entry.activities.values())
    return {
        "name": entry.name + ("/..." if k else ""),
        "here": here,
        "videos": entry.videos,
        "frames": entry.frames,
        "K": f"{k[0]} to {k[-1]}" if k else entry.n_actions,
        "of": "pixels" if entry.dim is None else f"{entry.dim}-d",
        "licence": entry.licence,
        scripts: entry.command.removeprefix(scripts) or "built in",
    }


def _summary(dataset: Any) -> dict[str, Any]:
    lengths = [len(video) for video in dataset.videos]
    return {
        "name": dataset.name,
        "videos": len(lengths),
        "frames": dataset.n_frames,
        "lengths": f"{min(lengths)} to {max(lengths)}",
        "features": dataset.feature_dim,
        "n_actions": dataset.n_actions,
        "classes": ", ".join(dataset.classes),
        "checksum": dataset.checksum(),
    }


def _methods(options: argparse.Namespace) -> None:
    from vasot_lib.methods import METHODS

    rows = [
        {
            "name": name,
            "tasks": list(method.tasks),
            "paired": method.paired,
            "about": (method.__doc__ or "").strip().splitlines()[0],
        }
        for name, method in METHODS.items()
    ]
    _show(rows, options.json)


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    cells = [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(rows[0], *cells, strict=True)]
    for line in [list(rows[0]), *cells]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str("" if value is None else value)


def _tutorial(options: argparse.Namespace) -> None:
    from vasot_kit.tables.report import tutorial

    tutorial(options.out)


if __name__ == "__main__":
    sys.exit(main())
