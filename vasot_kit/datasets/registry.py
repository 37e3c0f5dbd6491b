"""The table of the data sets that are found by name, and how each of them is read (DESIGN section 5)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from vasot_kit.cache import cache_folder
from vasot_kit.datasets import mocap6, pose2sim
from vasot_kit.folders.files import read_mapping
from vasot_kit.folders.reading import load_folder
from vasot_lib.checks import Count, check_value
from vasot_lib.data.toy import toy
from vasot_lib.data.video import Context, Dataset
from vasot_lib.errors import DataError, InputError, unknown_name

ALL = "all"  # instead of an activity: all of them as one data set
PAPER_SIDE = 224  # pixels; height and width of the pictures that the paper's encoder sees


@dataclass(frozen=True)
class Entry:
    """What is known about a data set before it is read: a row of the table at the end of this file.

    Attributes:
        name: its key.
        videos: its number of recordings; None where no one publishes it.
        frames: over all videos; None where no one publishes it.
        n_actions: K; None where it differs between activities.
        dim: width of a feature row; None for pixels.
        licence: what its owner allows.
        origin: ``generated`` by the kit, downloaded on its ``first use``, downloaded by its ``script`` in
            ``data_scripts``, or downloaded ``by hand`` and then imported by its script.
        load: reads it, given its entry, the data root and the activity (empty where there are none).
        title: one line about it.
        activities: activity -> K, where each is a data set of its own; then it is loaded as ``name/activity``, or as
            ``name/all`` for one training on all activities, with the classes that occur as K.
        shares: the script and the folder it comes from, where that is not its own name.
    """

    name: str
    videos: int | None
    frames: int | None
    n_actions: int | None
    dim: int | None
    licence: str
    origin: Literal["generated", "first use", "script", "by hand"]
    load: Callable[[Entry, Path, str], Dataset]
    title: str
    activities: Mapping[str, int] = field(default_factory=dict)
    shares: str = ""

    @property
    def folder(self) -> str:
        """Its folder below the data root, which is also the name of its script."""
        return self.shares or self.name

    @property
    def command(self) -> str:
        """The command that brings the data where it is absent; empty for generated data."""
        if self.origin == "generated":
            return ""
        return f"python -m data_scripts.{self.folder}" + (" --source FOLDER" if self.origin == "by hand" else "")

    def present(self, root: Path) -> bool:
        """Whether it can be read from the data root without a download."""
        if self.origin == "generated":
            return True
        if self.origin == "first use":
            return _PLACES[self.name](root) is not None
        parts = ("videos", "frames") if self.dim is None else ("features",)
        return any((root / self.folder / part).is_dir() for part in parts)


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds one subfolder per data set: the argument, else ``VASOT_DATA``, else ``data``."""
    return Path(root or os.environ.get("VASOT_DATA") or "data")


def find_entry(name: str) -> tuple[Entry, str]:
    """The entry of a data set and the activity, empty where it has none.

    Args:
        name: a key of ``DATASETS``; with ``/activity`` behind it where the entry has activities.

    Raises:
        InputError: unknown name, unknown activity, or an activity where there are none or the other way round; the
            message lists the known ones.
    """
    key, slash, activity = name.partition("/")
    if is_folder(name):
        raise InputError(
            f"{name} is a path, not the name of a data set; read a folder of features with "
            "vasot_kit.folders.load_folder, and see the names with vasot data"
        )
    if key not in DATASETS:
        if Path(name).is_file():
            inner = Path(name).parent
            folder = inner.parent if inner.name == "features" else inner
            raise InputError(f"{name} is a file; name the folder of all recordings, such as {folder}")
        unknown = unknown_name("data set", key, DATASETS)
        raise InputError(f"{name} is neither a folder nor the name of a data set: {unknown}") if slash else unknown
    entry = DATASETS[key]
    if not entry.activities and slash:
        raise InputError(f"data set {key!r} has no activities; ask for {key!r} instead of {name!r}")
    if entry.activities and not slash:
        listed = ", ".join(f"{key}/{known}" for known in entry.activities)
        raise InputError(
            f"every activity of {key!r} is a data set of its own; name one of {listed}, or {key}/{ALL} for one training"
        )
    if entry.activities and activity not in (*entry.activities, ALL):
        raise unknown_name(f"activity of {key!r}", activity, entry.activities)
    return entry, activity


def is_folder(name: str) -> bool:
    """Whether what stands for a data set is the path of a folder instead of the name of a registered one."""
    if not name or name.partition("/")[0] in DATASETS:
        return False
    return name.startswith((".", "/", "~")) or Path(name).is_dir()


def load_dataset(name: str | Path, root: str | Path | None = None, *, side: int = 0, **reading: Any) -> Dataset:
    """Read a registered data set, or a folder of features or of films; mocap6 and pose2sim are fetched on first use.

    Args:
        name: a key of ``DATASETS``, or ``key/activity`` where its entry has activities, or the path of a folder as
            :func:`vasot_kit.folders.load_folder` or :func:`own_films` reads it.
        root: the data root; see ``data_root``.
        side: of a folder of films, height and width of the pictures that encoders see; 0 for the paper's 224.
        reading: of a folder of features the arguments of :func:`vasot_kit.folders.load_folder`, of films ``n_actions``.

    Raises:
        InputError: unknown name or activity; the message lists the known ones. Also ``reading`` for anything else than
            a folder, or for films anything but ``n_actions``.
        DataError: the data is absent (the message names the command that brings it) or damaged.
    """
    name = str(name)
    if is_folder(name):
        folder = expanded(name)
        return (
            own_films(folder, side or PAPER_SIDE, **reading) if holds_films(folder) else load_folder(folder, **reading)
        )
    if reading:
        raise InputError(f"{', '.join(reading)} is for folders of features; {name!r} is a data set that needs none")
    entry, activity = find_entry(name)
    folder = data_root(root)
    refuse_absent(entry, folder)
    return entry.load(entry, folder, activity)


def refuse_absent(entry: Entry, folder: Path) -> None:
    """Refuse a data set that has to be brought first.

    Raises:
        DataError: it is not there.
    """
    if entry.origin != "first use" and not entry.present(folder):
        raise DataError(
            f"data set {entry.name!r} is not in the folder {folder}; bring it with: {entry.command}, or set VASOT_DATA"
        )


def expanded(folder: str | Path) -> Path:
    """The path of a folder that a user has named; the ``~`` of nobody stays, and there is no such folder."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        return Path(folder)


def holds_films(folder: Path) -> bool:
    """Whether a folder holds films and no features."""
    if not folder.is_dir() or (folder / "features").is_dir():
        return False
    from vasot_kit.films.media import video_files

    return any((folder / kind).is_dir() for kind in ("videos", "frames")) or bool(video_files(folder))


def own_films(folder: Path, side: int, n_actions: int | None = None, **other: Any) -> Dataset:
    """Films in a folder, shown to encoders as pictures; their features, for baselines and radii, are motion.

    Args:
        folder: holds films, or ``videos/``, ``groundTruth/`` and ``mapping/`` as in
            :func:`vasot_kit.films.recordings.load_recordings`.
        side: height and width of the pictures in pixels.
        n_actions: K; by default the number of classes, or 0 without labels.
        other: refused.

    Raises:
        InputError: an argument that is for features.
        DataError: no films, a film or labels that cannot be read, or two films of one name.
    """
    from vasot_kit.films.media import video_files
    from vasot_kit.films.motion import Motion
    from vasot_kit.films.recordings import load_recordings, make_dataset, read_recordings

    if other:
        raise InputError(
            f"{', '.join(other)} is for folders of features; {folder} holds films, of which all frames count"
        )
    check_value("side", side, Count)
    size = (side, side)
    if (folder / "groundTruth").is_dir():
        return load_recordings(folder, Motion(), n_actions=n_actions, size=size).as_pictures(Context())
    home = next((folder / kind for kind in ("videos", "frames") if (folder / kind).is_dir()), folder)
    files = video_files(home)
    if not files:
        raise DataError(f"{home} holds no films; put video files or folders of pictures there")
    films = read_recordings(files, Motion(), size=size)
    return make_dataset(folder.resolve().name, films, n_actions or 0).as_pictures(Context())


def _features(entry: Entry, root: Path, activity: str = "", **options: Any) -> Dataset:
    """A labelled feature folder, with the K of the table."""
    name = f"{entry.name}/{activity}" if entry.activities else entry.name
    k = entry.activities.get(activity, entry.n_actions)
    wanted = None if activity in ("", ALL) else activity
    return load_folder(root / entry.folder, name=name, activity=wanted, n_actions=k, **options)


def _films(entry: Entry, root: Path, activity: str, *, ordered: bool = True, background: str | None = None) -> Dataset:
    """Films with a phase per frame, shown to encoders at the paper's 224 x 224; features, for baselines, are motion."""
    from vasot_kit.films.motion import Motion
    from vasot_kit.films.recordings import load_recordings

    name = f"{entry.name}/{activity}" if activity else entry.name
    wanted = None if activity in ("", ALL) else activity
    dataset = load_recordings(
        root / entry.folder, Motion(), name=name, activity=wanted, background=background, ordered=ordered,
        n_actions=entry.activities.get(activity), size=(PAPER_SIDE, PAPER_SIDE),
    )  # fmt: skip
    return dataset.as_pictures(Context())


def _toy(*_: object) -> Dataset:
    return toy()


def _toy_swapped(*_: object) -> Dataset:
    return replace(toy(swaps=0.3, repeats=0.2), name="toy_swapped")


def _toy_shared(entry: Entry, root: Path, activity: str) -> Dataset:
    """Two procedures of six steps, three of which they share; K is 6 of each and 9 of both."""
    data = replace(toy(n_steps=9, procedures=((0, 1, 2, 3, 4, 5), (1, 6, 7, 3, 5, 8))), name="toy_shared")
    if activity == ALL:
        return replace(data, name=f"toy_shared/{ALL}")
    videos = tuple(video for video in data.videos if video.activity == activity)
    return replace(data, name=f"toy_shared/{activity}", videos=videos, n_actions=entry.activities[activity])


def _toy_rendered(*_: object) -> Dataset:
    """Films; the features, which baselines use, are the pictures at 8 x 8 pixels."""
    videos = []
    for video in toy(render=True).videos:
        assert video.frames is not None
        small = video.frames.reshape(len(video), 8, 4, 8, 4, 3).mean((2, 4)) / 255
        videos.append(replace(video, features=torch.from_numpy(small.reshape(len(video), -1)).float()))
    return replace(toy(), name="toy_rendered", videos=tuple(videos)).as_pictures(Context())


def _mocap6_file(root: Path) -> Path | None:
    places = (root / "mocap6" / mocap6.FILE, cache_folder() / mocap6.FILE)
    return next((place for place in places if place.is_file()), None)


def _mocap6(entry: Entry, root: Path, activity: str) -> Dataset:
    file = _mocap6_file(root)
    if file is None:
        print("fetching mocap6 (7 MB, about 15 s, once) ...", file=sys.stderr, flush=True)
        file = mocap6.fetch()
        print(f"mocap6 is in {file.parent}", file=sys.stderr, flush=True)
    return mocap6.read(file)


def _pose2sim_folder(root: Path) -> Path | None:
    places = (root / "pose2sim" / "videos", cache_folder() / "pose2sim" / "videos")
    return next((place for place in places if all((place / name).is_file() for name in pose2sim.SHA256)), None)


def _pose2sim(entry: Entry, root: Path, activity: str) -> Dataset:
    """The four films, without labels; frame i of one shows the moment of frame i of the others."""
    from vasot_kit.films.motion import Motion
    from vasot_kit.films.recordings import make_dataset, read_recordings

    films = pose2sim.films(_pose2sim_folder(root) or pose2sim.fetch())
    dataset = make_dataset("pose2sim", read_recordings(list(films.values()), Motion()), activity="balancing")
    place = torch.arange(pose2sim.FRAMES, dtype=torch.float32)
    return replace(dataset, videos=tuple(replace(video, position=place / len(place)) for video in dataset.videos))


def _hapt(entry: Entry, root: Path, activity: str) -> Dataset:
    return _features(entry, root, background="unlabelled")


def _standardised(entry: Entry, root: Path, activity: str) -> Dataset:
    # In HuGaDB the gyroscopes of some people were amplified tenfold; in LARa people differ in height.
    return _features(entry, root).standardised()


def _coffee(entry: Entry, root: Path, activity: str) -> Dataset:
    # K = 7 is the paper's; the five videos show 5 classes.
    return _features(entry, root, "coffee").standardised(shrink=True)


def _breakfast(entry: Entry, root: Path, activity: str) -> Dataset:
    return _features(entry, root, activity).standardised(shrink=True)


def _youtube(entry: Entry, root: Path, activity: str) -> Dataset:
    # CTE's mapping calls background -1, the file beside it bg; ASOT leaves it out of the scores (-x -1).
    classes = read_mapping(root / entry.folder / "mapping" / "mapping.txt")
    background = next((label for label in ("-1", "bg", "background") if label in classes), None)
    return _features(entry, root, activity, background=background)


def _salads_eval(entry: Entry, root: Path, activity: str) -> Dataset:
    return _features(entry, root, mapping="mapping/mappingeval.txt", merge=True)


# Where the data sets of origin "first use" lie: in the data root, or in the cache into which they are downloaded.
_PLACES: dict[str, Callable[[Path], Path | None]] = {"mocap6": _mocap6_file, "pose2sim": _pose2sim_folder}

# K per activity: the classes that its videos show, SPEC section 7; in YouTube Instructions without the background.
BREAKFAST = {
    "cereals": 5, "coffee": 7, "friedegg": 9, "juice": 8, "milk": 5,
    "pancake": 14, "salat": 8, "sandwich": 9, "scrambledegg": 12, "tea": 7,
}  # fmt: skip
PENN = {
    "baseball_pitch": 4, "baseball_swing": 3, "bench_press": 2, "bowling": 3, "clean_and_jerk": 6, "golf_swing": 3,
    "jumping_jacks": 4, "pushups": 2, "pullups": 2, "situp": 2, "squats": 4, "tennis_forehand": 3, "tennis_serve": 4,
}  # fmt: skip
YOUTUBE = {"changing_tire": 11, "coffee": 10, "cpr": 7, "jump_car": 12, "repot": 8}
EGOPROCEL = {  # key steps, of the released code
    "cmu_brownie": 9, "cmu_eggs": 8, "cmu_pizza": 5, "cmu_salad": 9, "cmu_sandwich": 4,
    "egtea_bacon_and_eggs": 11, "egtea_cheeseburger": 10, "egtea_continental_breakfast": 10, "egtea_greek_salad": 4,
    "egtea_pasta_salad": 8, "egtea_pizza": 8, "egtea_turkey_sandwich": 6,
    "epic_tents": 12, "meccano": 17, "pc_assembly": 9, "pc_disassembly": 9,
}  # fmt: skip

# One data set per entry: its facts and what loads it, and below them its title and its activities.
# fmt: off
_TABLE = (
    #     name                  videos frames   K    dim   licence              origin       load
    Entry("toy",                   12,  1913,   6,    24, "MIT",               "generated", _toy,
          "generated: every step once, in order; own style, speed and background per video"),
    Entry("toy_swapped",           12,  2277,   6,    24, "MIT",               "generated", _toy_swapped,
          "generated: steps change places and are repeated"),
    Entry("toy_shared",            12,  2040, None,  24, "MIT",               "generated", _toy_shared,
          "generated: two procedures of 6 steps that share 3", {"procedure_1": 6, "procedure_2": 6}),
    Entry("toy_rendered",          12,  1913,   6,  None, "MIT",               "generated", _toy_rendered,
          "generated: the procedures of toy as films of 32 x 32 pixels"),
    Entry("mocap6",                 6,  2058,  12,    12, "BSD-3 (bnpy)",      "first use", _mocap6,
          "motion capture: 6 recordings, 12 exercises in varying order, 10 Hz joint angles"),
    Entry("hapt",                  61, 44884,  12,    18, "no commercial use", "by hand",   _hapt,
          "waist-worn phone: 61 recordings of one protocol, 12 activities, 2 Hz (Reyes-Ortiz et al. 2015)"),
    Entry("hugadb",              None,  None,  12,   108, "not stated",        "by hand",   _standardised,
          "six motion sensors on the legs: walking, stairs, sitting and more, 2 Hz (Chereshnev, Kertesz-Farkas 2017)"),
    Entry("lara",                None,  None,   8,   189, "see Zenodo",        "by hand",   _standardised,
          "motion capture of picking and packing in a warehouse: positions of 21 joints, 2 Hz (Niemann et al. 2020)"),
    Entry("breakfast_coffee",       5,  3350,   7,    64, "MIT",               "by hand",   _coffee,
          "five Breakfast videos of making coffee, 64-d IDT features, the sample of TOT's repository"),
    Entry("breakfast",           1712,  None, None,   64, "CC BY 4.0",         "script",    _breakfast,
          "making breakfast in 18 kitchens, 10 activities, 64-d IDT features (Kuehne et al. 2014)", BREAKFAST),
    Entry("youtube_instructions", 150,  None, None, 3000, "not stated",        "script",    _youtube,
          "instruction videos, 5 tasks with much background, 3000-d features (Alayrac et al. 2016)", YOUTUBE),
    Entry("fifty_salads_eval",     50,  None,  12,    64, "CC BY-NC-SA 4.0",   "script",    _salads_eval,
          "25 people mix two salads each, 12 classes of level eval, 64-d (Stein, McKenna 2013)",
          shares="fifty_salads"),
    Entry("fifty_salads_mid",      50,  None,  19,    64, "CC BY-NC-SA 4.0",   "script",    _features,
          "25 people mix two salads each, 19 classes of level mid, 64-d (Stein, McKenna 2013)",
          shares="fifty_salads"),
    Entry("desktop_assembly",      76,  None,  22,   512, "not stated",        "script",    _features,
          # Its 23rd class is Background; ASOT looks for 22 actions and leaves no class out of the scores.
          "a desktop computer is put together, 22 steps in nearly fixed order, 512-d (Kumar et al. 2022)"),
    Entry("pose2sim",               4,   400,   0,  None, "BSD-3",             "first use", _pose2sim,
          "one take of a person from 4 cameras, frame i = frame i, no labels (Pagnon et al. 2022)"),
    Entry("pouring",               84,  None,   5,  None, "not stated",        "script",    _films,
          "pouring a drink, films of TCC (Dwibedi et al. 2019) with 5 phases"),
    Entry("penn_action",         1990,  None, None, None, "not stated",        "by hand",   _films,
          "13 sports (Zhang et al. 2013) with the phases of TCC", PENN),
    Entry("ikea_asm",              90,  None,  16,  None, "MIT",               "by hand",
          partial(_films, ordered=False, background="NA"),
          "assembling a Kallax shelf drawer (Ben-Shabat et al. 2021), 17 classes with NA"),
    Entry("egoprocel",           None,  None, None, None, "not stated",        "by hand",
          partial(_films, ordered=False, background="background"),
          "16 tasks seen by who does them, with key steps and much background (Bansal et al. 2022)", EGOPROCEL),
)
# fmt: on
DATASETS: dict[str, Entry] = {entry.name: entry for entry in _TABLE}
