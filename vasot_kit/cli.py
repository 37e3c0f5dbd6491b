"""The command ``vasot``.

Every function below is one subcommand: its decorators are the arguments, its docstring is the help, and its body calls
the module that does the work, imported there because it imports torch and ``vasot --help`` shall answer at once.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import shell_complete

from vasot_kit.messages import refused, say_where, show_warning
from vasot_kit.options import PATH, Pairs, film_options, open_option, out_option, parameter_option
from vasot_lib import __version__
from vasot_lib.errors import InputError, VasotError

COMPLETION = "_VASOT_COMPLETE"  # the variable by which click's completion of shells asks


class Commands(click.Group):
    """Subcommands that ``--help`` lists in the order of this file instead of the alphabet's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of their definition."""
        return list(self.commands)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after ``vasot``; those of this process where None.

    Returns:
        The exit code: 0, 1 for a failure, 2 for bad use, 130 when interrupted. A failure or bad use is one line on
        standard error, and so is what the system refuses, such as to write to a full disk. Any other exception is a
        fault of the kit and keeps its traceback.
    """
    if instruction := os.environ.get(COMPLETION):  # a shell asks what could follow, or for its script
        return shell_complete(vasot, {}, "vasot", COMPLETION, instruction)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed; the next file that is opened would take its place
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - stays open as long as the process
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.showwarning = show_warning  # type: ignore[assignment]
        code = _run(arguments)
    try:
        sys.stdout.flush()
    except OSError:  # python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with vasot.make_context("vasot", list(sys.argv[1:] if arguments is None else arguments)) as context:
            vasot.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:  # `vasot` alone
        error.show()
        return 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "vasot"
        return _complain(f"{error.format_message()} See {command} --help", 2)
    except InputError as error:
        return _complain(error, 2)
    except VasotError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:  # whoever reads the output has closed it, as in `vasot data | head -1`
        return 0
    except (OSError, MemoryError) as error:
        return _complain(refused(error), 1)
    except Exception as error:
        if isinstance(error, RuntimeError) and "tried to allocate" in str(error).lower():  # how torch says it
            return _complain(refused(MemoryError()), 1)
        number = re.search(r"\(os error (\d+)\)", str(error))  # how libraries in Rust, as safetensors, say it
        if number is None:
            raise
        return _complain(refused(OSError(int(number[1]), os.strerror(int(number[1])))), 1)
    return 0


def _complain(error: object, code: int) -> int:
    print(f"vasot: {' '.join(str(error).split())}", file=sys.stderr)
    return code


@click.group(
    cls=Commands,
    epilog=f'\b\nCompletion in bash: eval "$({COMPLETION}=bash_source vasot)"; zsh_source and fish_source likewise',
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="vasot", message="%(prog)s %(version)s")
def vasot() -> None:
    """Video alignment and action segmentation."""


def command(example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A subcommand with the name of the decorated function; its help ends with an example of its use."""
    return vasot.command(epilog=f"\b\nExample: {example}")  # \b keeps click from breaking the example


@command("vasot run notebooks/40_train.ipynb -p method vasot -p seed 3 --out outputs")
@click.argument("notebook", type=PATH)
@parameter_option("A parameter of the notebook; VALUE is read as YAML. May be repeated.")
@out_option("Folder of all runs.", default="outputs")
def run(notebook: Path, parameters: Pairs, out: Path) -> None:
    """Execute a notebook with parameters.

    Each combination of parameters gets a folder of its own below --out. A finished run is not repeated.
    """
    from vasot_kit.runs.notebook import run_notebook
    from vasot_kit.runs.values import read_values

    run_notebook(notebook, read_values(parameters), out)


@command("vasot sweep grids/methods.yaml --workers 4")
@click.argument("grid", type=PATH, metavar="GRID.yaml")
@out_option("Folder of all runs.", default="outputs")
@click.option("--workers", type=int, metavar="N", help="Runs at a time on this machine. Default: its number of cores.")
@click.option("--scheduler", metavar="ADDRESS", help="Of a dask cluster to run on, e.g. tcp://node1:8786.")
def sweep(grid: Path, out: Path, workers: int | None, scheduler: str | None) -> None:
    """Run a notebook over a grid of parameters.

    GRID.yaml names the notebook and lists the values of its parameters. The same command again runs what is missing.
    The scores of all runs are listed in OUT/<name of the grid>_rows.csv.
    """
    from vasot_kit.runs import sweep as runs

    runs.sweep(grid, out, workers, scheduler)


@command("vasot train hapt vasot --preset paper --seed 3 -p training.batch_size 4 --out outputs/hapt-vasot-3")
@click.argument("dataset")
@click.argument("method")
@click.option("--preset", metavar="NAME", help="auto, kit, paper or release. Default: kit, but auto for a folder.")
@click.option("--seed", type=int, metavar="N", help="All randomness follows from it. Default: 0.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the videos. Default: as many as the preset says.")
@click.option("--device", default="cpu", metavar="NAME", help="cpu, cuda, mps or auto.")
@parameter_option("A value by dotted name, e.g. training.lr 3e-4; VALUE is read as YAML. May be repeated.")
@click.option(
    "--actions", "n_actions", type=click.IntRange(2), metavar="K", help="Of a folder. Default: by labels, or estimated."
)
@click.option("--stride", type=int, metavar="N", help="Of a folder of features: of every N-th frame.")
@click.option("--fps", type=float, metavar="R", help="Of a folder: its labels are times in seconds, at R frames each.")
@click.option("--trim", is_flag=True, help="Of a folder: cut features and labels to the shorter of the two.")
@out_option("Folder of this run; the same command again goes on with it.", required=True)
def train(
    dataset: str, method: str, preset: str | None, device: str, out: Path, parameters: Pairs, **options: Any
) -> None:
    """Train a method on a data set and record its scores.

    DATASET is a name from `vasot data` or a folder of features or of films, with labels or without, METHOD one from
    `vasot methods`. Films are learnt from their pixels. Runs on one process, or on all that torchrun starts.
    """
    from vasot_kit.datasets.registry import is_folder
    from vasot_kit.figures.estimates import plot_action_count
    from vasot_kit.methods import find_method
    from vasot_kit.runs.training import Training, estimate_in, train_and_score
    from vasot_kit.runs.values import read_values

    overrides = read_values(parameters)
    for name in ("epochs", "seed"):
        if options[name] is not None and f"training.{name}" in overrides:
            raise InputError(f"--{name} and -p training.{name} are both given; leave one out")
    reading = {name: options.pop(name) for name in ("n_actions", "stride", "fps", "trim")}
    reading = {name: value for name, value in reading.items() if value is not None and value is not False}
    preset = preset or ("auto" if is_folder(dataset) else "kit")
    training = Training(dataset, method, preset, options.pop("seed") or 0, overrides=overrides, **options)
    if (path := train_and_score(training, out, device, **reading)) is not None:  # of several processes, the first
        if (count := estimate_in(out)) is not None:
            plot_action_count(count, "how many actions?").savefig(out / "n_actions.png")
        print(f"wrote {path}")
        if is_folder(dataset) and (trained := find_method(method)).learns and "segmentation" in trained.tasks:
            print(f"To see its actions: vasot apply {out} {dataset} --out DIR")


@command("vasot align A.mp4 B.mp4 --out aligned")
@click.argument("films", nargs=-1, required=True, type=PATH, metavar="FILM...")
@click.option(
    "--reference",
    type=click.Choice(["first", "best"]),
    default="first",
    help="What all are aligned with: the first film, or the one that the others match best with.",
)
@click.option("--sound", is_flag=True, help="Cameras of one event: match by the sound where it is clear.")
@film_options("motion")
@open_option
def align(films: Sequence[Path], out: Path, shown: bool, **options: Any) -> None:
    """Align films of the same thing with one of them.

    A FILM is a video file or a folder of pictures. Of more than two films there is also one table and one page.
    """
    from vasot_kit.own_films.align import align_films

    align_films(list(films), out, **options)
    say_where(out, shown)


@command("vasot transfer SHOWN.mp4 SHOWN.eaf A.mp4 B.mp4 --out checked")
@click.argument("labelled", type=PATH)
@click.argument("labels", type=PATH)
@click.argument("films", nargs=-1, required=True, type=PATH, metavar="FILM...")
@click.option("--tier", metavar="NAME", help="Of a file of ELAN with several.")
@click.option("--background", metavar="NAME", help="A label that is no step.")
@film_options("motion")
@open_option
def transfer(labelled: Path, labels: Path, films: Sequence[Path], out: Path, shown: bool, **options: Any) -> None:
    """Find the steps of one labelled film in others, and which are skipped.

    LABELS are those of the film LABELLED: a file of ELAN, a table with the columns start, end (seconds) and name, or
    one name per line and frame.
    """
    from vasot_kit.own_films.transfer import transfer_steps

    transfer_steps(labelled, labels, list(films), out, **options)
    say_where(out, shown)


@command("vasot segment FOLDER --actions 6 --out segmented")
@click.argument("folder", type=PATH)
@click.option("--actions", type=click.IntRange(2), metavar="K", help="How many. Default: estimated from the films.")
@click.option("--epochs", type=int, metavar="N", help="Of the training. Default: none with fewer than three films.")
@click.option("--seed", type=int, default=0, metavar="N", help="All randomness follows from it.")
@click.option("--synchronised", is_flag=True, help="Cameras of one event that begin together: the same actions in all.")
@film_options("motion")
@open_option
def segment(folder: Path, actions: int | None, out: Path, shown: bool, **options: Any) -> None:
    """Cut films of one activity into actions, without labels.

    FOLDER holds video files or folders of pictures.
    """
    from vasot_kit.own_films.inputs import films_in
    from vasot_kit.own_films.segment import segment_films

    segment_films(list(films_in(folder).values()), actions, out, **options)
    say_where(out, shown)


@command("vasot apply segmented new_take.mp4 --out applied --reference films/take_1.mp4")
@click.argument("run", type=PATH)
@click.argument("new")
@out_option("Folder of the results.", required=True)
@click.option("--reference", metavar="FILE", help="A film or feature file to align with. Default: no alignment.")
@click.option("--features", metavar="NAME", help="Only for a network with weights of your own: library:model@FILE.")
@click.option("--device", default="cpu", metavar="NAME", help="Where a network describes films: cpu or cuda.")
@open_option
def apply(run: Path, out: Path, shown: bool, **options: Any) -> None:
    """Segment and align new recordings by a trained model, without training.

    RUN is the folder of a `vasot train` or `vasot segment`. NEW is a film, a feature file, a folder of either, a
    labelled feature folder or the name of a data set, of the kind that the model was trained on.
    """
    from vasot_kit.own_films.apply import apply_model

    apply_model(run, options.pop("new"), out, **options)
    say_where(out, shown)


@command("vasot key-steps mocap6 outputs/vaot outputs/asot --out outputs/key_steps")
@click.argument("recordings")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN...")
@click.option("--steps", type=int, metavar="K", help="How many to look for. Default: as many as the runs looked for.")
@click.option("--seed", type=int, default=0, metavar="N", help="Of the clustering.")
@out_option("Folder of the results.", required=True)
def key_steps(recordings: str, runs: Sequence[Path], out: Path, **options: Any) -> None:
    """Find the key steps that recordings of one task share.

    RECORDINGS are what `vasot apply` takes, such as the name of a data set. RUN is the folder of a `vasot train`: its
    embeddings are clustered, cut, and divided into segments that recordings share. Where there are labels, all ways are
    scored, beside raw features and an equal split.
    """
    from vasot_kit.own_films.key_steps import write_key_steps

    if table := write_key_steps(recordings, list(runs), out, **options):
        print(table)
    print(f"wrote {out}")


@command("vasot features FOLDER --features torchvision:resnet50 --fps 10 --out described")
@click.argument("folder", type=PATH)
@film_options("torchvision:resnet50")
@click.option("--trim", is_flag=True, help="Cut a film and its labels to the shorter of the two.")
def features(folder: Path, out: Path, **options: Any) -> None:
    """Describe films by features of a frozen network.

    FOLDER holds films, or videos/ and groundTruth/. The result is a labelled feature folder.
    """
    from vasot_kit.own_films.features import extract_features

    extract_features(folder, out, **options)
    print(f"wrote {out}")


@command("vasot data mocap6")
@click.argument("name", required=False)
@click.option("--list", "list_all", is_flag=True, help="List all data sets; the default without NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def data(name: str | None, list_all: bool, as_json: bool) -> None:
    """List the data sets, or load one and describe it.

    NAME is brought if needed, checked and described; where a data set has activities, it is NAME/ACTIVITY.
    """
    from vasot_kit.listing import describe_dataset, list_datasets

    if name and list_all:
        raise InputError("vasot data takes --list or a NAME, not both")
    print(describe_dataset(name, as_json) if name else list_datasets(as_json))


@command("vasot methods --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def methods(as_json: bool) -> None:
    """List the methods."""
    from vasot_kit.listing import list_methods

    print(list_methods(as_json))


@command("vasot bench solver --json outputs/solver.json")
@click.argument("what", type=click.Choice(("solver", "training", "pixels")))
@click.option("--json", "file", type=PATH, metavar="FILE", help="Also write figures, goals and the machine here.")
@click.option("--device", type=click.Choice(("cpu", "cuda")), default="cpu")
@click.option("--seconds", type=float, default=4.0, metavar="S", help="Per comparison.")
def bench(what: str, file: Path | None, device: str, seconds: float) -> None:
    """Measure the solver, training or training from pixels.

    Prints ratios of times within this run.
    """
    import torch

    from vasot_kit.benchmarks import bench_pixels, bench_solver, bench_training
    from vasot_kit.benchmarks.timing import machine
    from vasot_kit.runs.records import to_json, write_text
    from vasot_lib.checks import NotNegative, check_value

    check_value("--seconds", seconds, NotNegative)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device is 'cuda' but this machine has no CUDA device; use --device cpu")
    if file and file.is_dir():
        raise InputError(f"--json {file} is a folder; name a file")
    if file and not file.absolute().parent.is_dir():
        raise InputError(f"{file.parent} is no folder to write {file.name} into; make it first")
    rows = []
    benches = {"solver": bench_solver, "training": bench_training, "pixels": bench_pixels}
    report = {"benchmark": what, "device": device, "machine": machine()}
    for row in benches[what](device, seconds):
        rows.append(row)
        print(row, flush=True)
        if file:  # after every row: who is ended keeps what was measured
            write_text(file, to_json({**report, "rows": [row.as_dict() for row in rows]}))
    if file:
        print(f"wrote {file}")


@command("vasot new my_course")
@click.argument("folder", type=PATH)
def new(folder: Path) -> None:
    """Copy the chapters, their solutions, stored results and documents into a new FOLDER, to work on."""
    from vasot_kit.chapters import copy_chapters

    chapters = copy_chapters(folder)
    print(f"wrote {len(chapters)} chapters; open them with: jupyter lab {folder / 'notebooks'}")


@command("vasot tutorial")
@out_option("Folder of the results.", default="outputs/tutorial")
def tutorial(out: Path) -> None:
    """Run the tutorial notebooks and build the book with what they show."""
    from vasot_kit.book import tutorial

    tutorial.tutorial(out)


@command("vasot book")
@out_option("Folder of the site.", default="outputs/book")
def book(out: Path) -> None:
    """Build the book from the chapters as they are stored, without running them."""
    from vasot_kit.book import tutorial

    tutorial.book(out)


if __name__ == "__main__":
    sys.exit(main())
