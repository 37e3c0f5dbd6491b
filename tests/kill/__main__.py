"""Commands that are killed at any moment, and then given again: `make kill`.

Every command is first run through, and then again and again into fresh folders: SIGKILL after a part of its time, the
same command again, and a comparison with the result of the unkilled one, bit for bit (without times of day, durations
and the numbers of cells' executions in notebooks). Counted are commands whose second result differs or fails, files of
a killed process that the second one does not remove, and processes that live on for more than OUTLIVES seconds.

The commands run in forks of this process, which has imported everything, so that most of the time is their own work.
Kernels and workers are processes of their own, as always.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

OUTLIVES = 6.0  # seconds
MARK = "VASOT_KILL"  # in the environment of every process that a command starts
DAYS = (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+\d\d:\d\d| UTC|Z)?", r'"seconds": [\d.e-]+', r"cell-id=[\w-]+")
TINY = """
import time
from pathlib import Path
from vasot_kit.runs.records import output_dir, record
for part in range(4):
    time.sleep(0.1)
    (output_dir("tiny") / f"part{part}.txt").write_text(f"{seed} {part}")
print("seed", seed)
_ = record([{"dataset": "toy", "method": "m", "seed": seed, "mof": 0.5}], {}, dataset_checksums={}, notebook="tiny")
"""


@dataclass(frozen=True)
class Job:
    """A command and how often it is killed.

    Attributes:
        name: in the counts.
        words: the command after ``vasot``, run in the folder of the inputs; OUT stands for its results.
        points: how often it is killed.
        victim: the command itself, or a process that it starts, by a word of its command line.
        twins: how many processes run the same command at a time; the first one is killed.
    """

    name: str
    words: str
    points: int
    victim: str = ""
    twins: int = 1


TRAIN = "train features asot --preset kit --epochs 6 -p training.frames 32 --out OUT"
JOBS = (
    Job("train", TRAIN, 24),
    Job("align", "align films/a.mp4 films/b.mp4 --out OUT", 14),
    Job("segment", "segment films --actions 2 --epochs 2 --out OUT", 12),
    Job("features", "features films --features appearance --out OUT", 12),
    Job("run", "run tiny.ipynb -p seed 3 --out OUT", 10),
    Job("sweep, parent", "sweep grid.yaml --workers 1 --out OUT", 4),
    Job("sweep, worker", "sweep grid.yaml --workers 1 --out OUT", 3, "--multiprocessing-fork"),
    Job("sweep, kernel", "sweep grid.yaml --workers 1 --out OUT", 3, "ipykernel_launcher"),
    Job("tutorial", "tutorial --out OUT", 4),
    Job("two of train", TRAIN, 8, twins=2),
    Job("two of run", "run tiny.ipynb -p seed 3 --out OUT", 3, twins=2),
    Job("two of align", "align films/a.mp4 films/b.mp4 --out OUT", 3, twins=2),
)


def prepare(folder: Path) -> None:
    """Small inputs: films, features with labels, notebooks, a grid."""
    import numpy as np

    from tests.runs.test_grids import write_notebook
    from vasot_kit.films.media import write_video
    from vasot_kit.folders import save_folder
    from vasot_lib.data import toy

    for name, video in zip("ab", toy(2, render=True).videos, strict=True):
        (folder / "films").mkdir(exist_ok=True)
        write_video(
            folder / "films" / f"{name}.mp4", (frame.repeat(2, 0).repeat(2, 1) for frame in video.frames[:40]), 25
        )
    data = toy(4)
    rows = {v.name: (v.features.numpy(), [data.classes[k] for k in np.asarray(v.labels)]) for v in data.videos}
    save_folder(folder / "features", rows, data.classes)
    write_notebook(folder / "tiny.ipynb", "seed = 0", TINY)
    (folder / "grid.yaml").write_text("notebook: tiny.ipynb\ngrid: {seed: [0, 1]}\n")
    (folder / "notebooks").mkdir()
    for name in ("00_quickstart", "20_dummy_frames"):
        write_notebook(folder / "notebooks" / f"{name}.ipynb", "seed = 0", TINY)


def start(job: Job, inputs: Path, place: Path) -> int:
    """The number of a process that runs the command of a job, with its results and all else in a place."""
    words = [str(place / "out") if word == "OUT" else word for word in job.words.split()]
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.setsid()
        os.chdir(inputs)
        os.environ |= {MARK: str(place), "VASOT_CACHE": str(place / "cache"), "TMPDIR": str(place / "tmp")}
        tempfile.tempdir = None
        for stream in (1, 2):
            os.dup2(os.open(place / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        from vasot_kit.book import tutorial
        from vasot_kit.cli import main

        tutorial.TUTORIAL = (("00_quickstart", {}), ("20_dummy_frames", {"seed": 1}))
        code = main(words)
        sys.stdout.flush()
    finally:
        os._exit(code)


def here(job: Job, inputs: Path, out: Path) -> None:
    """Run the command of a job in this process."""
    from vasot_kit.cli import main

    before = Path.cwd()
    os.chdir(inputs)
    os.environ["VASOT_CACHE"] = str(out / "cache")
    code = main([str(out / "out") if word == "OUT" else word for word in job.words.split()])
    os.chdir(before)
    shutil.rmtree(out)
    assert code == 0


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def running(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def victim(job: Job, process: int, moment: float) -> psutil.Process | None:
    """The process to kill, at the moment after which it is to be killed; None where it has ended by then."""
    began = time.monotonic()
    while job.victim and running(process):  # its moment counts from when it is there
        found = [child for child in psutil.Process(process).children(recursive=True) if job.victim in said_by(child)]
        if found:
            time.sleep(moment)
            return found[0] if found[0].is_running() else None
        if time.monotonic() > began + 60:
            return None
        time.sleep(0.01)
    time.sleep(max(0.0, moment - (time.monotonic() - began)))
    return psutil.Process(process) if running(process) else None


def said_by(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def strays(place: Path) -> list[psutil.Process]:
    """Processes that a command has started and that live."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(place) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def contents(place: Path) -> dict[str, bytes]:
    """What the results and the cache hold, by path, without what differs between any two runs."""
    return {path.relative_to(place).as_posix(): plain(path) for path in files(place) if path.name != "said.txt"}


def files(place: Path) -> Iterator[Path]:
    return (path for path in sorted(place.rglob("*")) if not path.is_dir())


def plain(path: Path) -> bytes:
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text())["cells"]
        return json.dumps(
            [[cell["source"], [o.get("text") for o in cell.get("outputs", [])]] for cell in cells]
        ).encode()
    if path.suffix == ".safetensors":  # whose header has its entries in any order
        written = path.read_bytes()
        end = 8 + int.from_bytes(written[:8], "little")
        return json.dumps(json.loads(written[8:end]), sort_keys=True).encode() + written[end:]
    if path.suffix in (".json", ".html", ".yaml", ".csv", ".txt", ".eaf"):
        text = path.read_text().replace(str(path.parents[0]), "")
        for pattern in DAYS:
            text = re.sub(pattern, "", text)
        return text.encode()
    return path.read_bytes() if path.is_file() else b""


def attempt(job: Job, inputs: Path, place: Path, moment: float) -> dict[str, Any]:
    """Kill a command at a moment, give it again; what is in its folders then, and which processes lived on."""
    (place / "tmp").mkdir(parents=True)
    processes = [start(job, inputs, place) for _ in range(job.twins)]
    target = victim(job, processes[0], moment)
    if target is not None:
        target.kill()
    codes = [wait(process) for process in processes]
    began = time.monotonic()
    while strays(place) and time.monotonic() < began + OUTLIVES:
        time.sleep(0.1)
    left = strays(place)
    half = len(list(files(place / "tmp"))) + len(
        [p for p in files(place) if p.name.startswith(".") and p.name != ".lock"]
    )
    again = 0 if (job.name == "features" and (place / "out").exists()) else wait(start(job, inputs, place))
    for process in left:
        process.kill()
    # A twin that was not killed has to succeed by itself; a command whose worker or kernel was killed may fail once.
    failed = again != 0 or any(code != 0 for code in codes[1:])
    return {"killed": target is not None, "half": half, "strays": len(left), "failed": failed, "found": contents(place)}


def judge(job: Job, inputs: Path, scratch: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """The counts of a job."""
    (scratch / "whole" / "tmp").mkdir(parents=True)
    began = time.monotonic()
    code = wait(start(job, inputs, scratch / "whole"))
    seconds = time.monotonic() - began
    assert code == 0, (scratch / "whole" / "said.txt").read_text()
    expected = contents(scratch / "whole")
    counts = dict.fromkeys(("killed", "different", "failed", "left_behind", "outlived"), 0)
    span = 1.5 if job.victim else seconds
    for k in range(job.points):
        place = scratch / f"{k}"
        end = attempt(job, inputs, place, span * (k + 0.5) / job.points)
        different = sorted(n for n in expected.keys() | end["found"].keys() if expected.get(n) != end["found"].get(n))
        left = [name for name in different if name not in expected]
        counts["killed"] += end["killed"]
        counts["failed"] += end["failed"]
        counts["different"] += len(different) > len(left)
        counts["left_behind"] += len(left)
        counts["outlived"] += end["strays"]
        if different or end["failed"] or end["strays"]:
            said = (place / "said.txt").read_text().strip().splitlines()[-3:]
            report(f"  {job.name}, {k}: {different[:5]} failed {end['failed']} outlived {end['strays']} {said}")
        shutil.rmtree(place)
    report(f"{job.name:15} {counts}  ({seconds:.1f} s unkilled)")
    return {"points": job.points, **counts}


def main() -> int:
    tqdm.set_lock(threading.RLock())  # its own is shared by all forks, and a killed one may hold it
    # All that the commands import, before the first fork.
    import papermill  # noqa: F401
    from distributed import LocalCluster  # noqa: F401

    import vasot_kit.book.tutorial
    import vasot_kit.own_films.align
    import vasot_kit.own_films.features
    import vasot_kit.own_films.segment
    import vasot_kit.runs.sweep
    import vasot_kit.runs.training  # noqa: F401
    from tests.reliability import write_part

    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = sys.argv[1:]
    if unknown := [name for name in wanted if name not in {job.name for job in JOBS}]:
        sys.exit(f"no command {', '.join(unknown)}; there are {', '.join(job.name for job in JOBS)}")
    jobs = [job for job in JOBS if not wanted or job.name in wanted]
    counts = {}
    with tempfile.TemporaryDirectory(prefix="kill-") as scratch:
        inputs = Path(scratch) / "inputs"
        inputs.mkdir()
        prepare(inputs)
        for job in {job.words: job for job in jobs if job.words.startswith(("train", "align"))}.values():
            here(job, inputs, Path(scratch) / "here")  # so that forks find compiled code in memory
        for number, job in enumerate(jobs):
            counts[job.name] = judge(job, inputs, Path(scratch) / f"job{number}", lambda line: print(line, flush=True))
    total = {name: sum(count[name] for count in counts.values()) for name in next(iter(counts.values()))}
    print(f"in all          {total}")
    bad = sum(total[name] for name in ("different", "failed", "left_behind", "outlived"))
    if not wanted and not bad:
        write_part("kill", {"command": "make kill", **total, "commands": counts})
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
