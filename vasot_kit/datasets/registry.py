"""The data sets that are found by name (DESIGN section 5)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from vasot_kit.datasets import pose2sim
from vasot_lib.data import mocap6
from vasot_lib.data.folder import load_folder, read_mapping
from vasot_lib.data.toy import toy
from vasot_lib.data.video import Context, Dataset
from vasot_lib.errors import DataError, InputError, unknown_name


@dataclass(frozen=True)
class Entry:
    """What is known about a data set before it is read.

    Attributes:
        name, title: its key and one line about it.
        videos: its number of recordings.
        frames: over all videos; None where no one publishes it.
        n_actions: K; None where it differs between activities.
        dim: width of a feature row; None for pixels.
        licence: what its owner allows.
        command: brings the data where it is absent; empty for generated data.
        load: reads it from the data root; the second argument is the activity, empty where there are none.
        present: whether it can be read from the data root without a download.
        fetches: whether ``load`` downloads it when it is not present.
        activities: activity -> K, where each is trained and scored on its own; then it is loaded as
            ``name/activity``.
    """

    name: str
    title: str
    videos: int
    frames: int | None
    n_actions: int | None
    dim: int | None
    licence: str
    command: str
    load: Callable[[Path, str], Dataset]
    present: Callable[[Path], bool]
    fetches: bool = False
    activities: Mapping[str, int] = field(default_factory=dict)


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
    if key not in DATASETS:
        raise unknown_name("data set", key, DATASETS)
    entry = DATASETS[key]
    if not entry.activities and slash:
        raise InputError(f"data set {key!r} has no activities; ask for {key!r} instead of {name!r}")
    if entry.activities and not slash:
        listed = ", ".join(f"{key}/{known}" for known in entry.activities)
        raise InputError(f"every activity of {key!r} is a data set of its own; name one of {listed}")
    if entry.activities and activity not in entry.activities:
        raise unknown_name(f"activity of {key!r}", activity, entry.activities)
    return entry, activity


def load_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """Read a registered data set; mocap6 is fetched on first use.

    Args:
        name: a key of ``DATASETS``, or ``key/activity`` where its entry has activities.
        root: the data root; see ``data_root``.

    Raises:
        InputError: unknown name or activity; the message lists the known ones.
        DataError: the data is absent (the message names the command that brings it) or damaged.
    """
    entry, activity = find_entry(name)
    folder = data_root(root)
    if not entry.present(folder) and not entry.fetches:
        raise DataError(
            f"data set {entry.name!r} is not in {folder}; bring it with: {entry.command}, or set VASOT_DATA"
        )
    return entry.load(folder, activity)


def _has_features(folder: str, root: Path) -> bool:
    return (root / folder / "features").is_dir()


def _toy_swapped() -> Dataset:
    return replace(toy(swaps=0.3, repeats=0.2), name="toy_swapped")


def _toy_rendered() -> Dataset:
    """Features, for baselines, are the pictures at 8 x 8 pixels."""
    videos = []
    for video in toy(render=True).videos:
        assert video.frames is not None
        small = video.frames.reshape(len(video), 8, 4, 8, 4, 3).mean((2, 4)) / 255
        videos.append(replace(video, features=torch.from_numpy(small.reshape(len(video), -1)).float()))
    return replace(toy(), name="toy_rendered", videos=tuple(videos)).as_pictures(Context())


def _mocap6_file(root: Path) -> Path | None:
    places = (root / "mocap6" / mocap6.FILE, mocap6.cache_folder() / mocap6.FILE)
    return next((place for place in places if place.is_file()), None)


def _mocap6(root: Path) -> Dataset:
    file = _mocap6_file(root)
    if file is None:
        print("fetching mocap6 (7 MB, about 15 s, once) ...", file=sys.stderr, flush=True)
        file = mocap6.fetch()
        print(f"mocap6 is in {file.parent}", file=sys.stderr, flush=True)
    return mocap6.read(file)


def _hapt(root: Path) -> Dataset:
    return load_folder(root / "hapt", background="unlabelled", n_actions=12)


def _coffee(root: Path) -> Dataset:
    # K = 7 is the paper's; the five videos show 5 classes.
    return load_folder(root / "breakfast_coffee", activity="coffee", n_actions=7).standardised(shrink=True)


def _breakfast(root: Path, activity: str) -> Dataset:
    name = f"breakfast/{activity}"
    dataset = load_folder(root / "breakfast", name=name, activity=activity, n_actions=BREAKFAST[activity])
    return dataset.standardised(shrink=True)


def _youtube_instructions(root: Path, activity: str) -> Dataset:
    folder = root / "youtube_instructions"
    # CTE's mapping calls background -1, the file beside it bg; ASOT leaves it out of the scores (-x -1).
    classes = read_mapping(folder / "mapping" / "mapping.txt")
    background = next((label for label in ("-1", "bg", "background") if label in classes), None)
    name = f"youtube_instructions/{activity}"
    return load_folder(
        folder, name=name, activity=activity, background=background, n_actions=YOUTUBE_INSTRUCTIONS[activity]
    )


def _fifty_salads(level: str, root: Path, _: str) -> Dataset:
    folder, name = root / "fifty_salads", f"fifty_salads_{level}"
    if level == "mid":
        return load_folder(folder, name=name, n_actions=19)
    return load_folder(folder, name=name, n_actions=12, mapping="mapping/mappingeval.txt", merge=True)


def _desktop_assembly(root: Path) -> Dataset:
    # Its 23rd class is Background; ASOT looks for 22 actions and leaves no class out of the scores.
    return load_folder(root / "desktop_assembly", n_actions=22)


def _pose2sim(root: Path) -> Dataset:
    """The four films without labels; frame i of one is frame i of the others."""
    from vasot_kit.films.motion import Motion
    from vasot_kit.films.recordings import gather, read_recordings

    films = pose2sim.films(_pose2sim_folder(root) or pose2sim.fetch())
    dataset = gather("pose2sim", read_recordings(list(films.values()), Motion()), activity="balancing")
    place = torch.arange(pose2sim.FRAMES, dtype=torch.float32)
    return replace(dataset, videos=tuple(replace(video, position=place / len(place)) for video in dataset.videos))


def _pose2sim_folder(root: Path) -> Path | None:
    places = (root / "pose2sim" / "videos", mocap6.cache_folder() / "pose2sim" / "videos")
    return next((place for place in places if all((place / name).is_file() for name in pose2sim.SHA256)), None)


def _phases(folder: str, ordered: bool, background: str | None, root: Path, activity: str) -> Dataset:
    """Films with a phase per frame, shown to encoders at the paper's 224 x 224; features, for baselines, are motion."""
    from vasot_kit.films.motion import Motion
    from vasot_kit.films.recordings import load_recordings

    name = f"{folder}/{activity}" if activity else folder
    dataset = load_recordings(
        root / folder, Motion(), name=name, activity=activity or None, background=background, ordered=ordered,
        n_actions=PENN_ACTION.get(activity), size=(224, 224),
    )  # fmt: skip
    return dataset.as_pictures(Context())


def _has_pictures(folder: str, root: Path) -> bool:
    return any((root / folder / kind).is_dir() for kind in ("videos", "frames"))


# K per activity: the classes that its videos show, SPEC section 7; in YouTube Instructions without the background.
BREAKFAST = {
    "cereals": 5, "coffee": 7, "friedegg": 9, "juice": 8, "milk": 5,
    "pancake": 14, "salat": 8, "sandwich": 9, "scrambledegg": 12, "tea": 7,
}  # fmt: skip
PENN_ACTION = {
    "baseball_pitch": 4, "baseball_swing": 3, "bench_press": 2, "bowling": 3, "clean_and_jerk": 6, "golf_swing": 3,
    "jumping_jacks": 4, "pushups": 2, "pullups": 2, "situp": 2, "squats": 4, "tennis_forehand": 3, "tennis_serve": 4,
}  # fmt: skip
YOUTUBE_INSTRUCTIONS = {"changing_tire": 11, "coffee": 10, "cpr": 7, "jump_car": 12, "repot": 8}


DATASETS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="toy",
            title="generated: every step once, in order; own style, speed and background per video",
            videos=12,
            frames=1913,
            n_actions=6,
            dim=24,
            licence="MIT",
            command="",
            load=lambda *_: toy(),
            present=lambda _: True,
        ),
        Entry(
            name="toy_swapped",
            title="generated: steps change places and are repeated",
            videos=12,
            frames=2277,
            n_actions=6,
            dim=24,
            licence="MIT",
            command="",
            load=lambda *_: _toy_swapped(),
            present=lambda _: True,
        ),
        Entry(
            name="toy_rendered",
            title="generated: the procedures of toy as films of 32 x 32 pixels",
            videos=12,
            frames=1913,
            n_actions=6,
            dim=None,
            licence="MIT",
            command="",
            load=lambda *_: _toy_rendered(),
            present=lambda _: True,
        ),
        Entry(
            name="mocap6",
            title="motion capture: 6 recordings, 12 exercises in varying order, 10 Hz joint angles",
            videos=6,
            frames=2058,
            n_actions=12,
            dim=12,
            licence="BSD-3 (bnpy)",
            command=mocap6.COMMAND,
            load=lambda root, _: _mocap6(root),
            present=lambda root: _mocap6_file(root) is not None,
            fetches=True,
        ),
        Entry(
            name="hapt",
            title="waist-worn phone: 61 recordings of one protocol, 12 activities, 2 Hz (Reyes-Ortiz et al. 2015)",
            videos=61,
            frames=44884,
            n_actions=12,
            dim=18,
            licence="no commercial use",
            command="python data_scripts/hapt.py --source FOLDER",
            load=lambda root, _: _hapt(root),
            present=partial(_has_features, "hapt"),
        ),
        Entry(
            name="breakfast_coffee",
            title="five Breakfast videos of making coffee, 64-d IDT features, the sample of TOT's repository",
            videos=5,
            frames=3350,
            n_actions=7,
            dim=64,
            licence="MIT",
            command="python data_scripts/breakfast_coffee.py --source FOLDER",
            load=lambda root, _: _coffee(root),
            present=partial(_has_features, "breakfast_coffee"),
        ),
        Entry(
            name="breakfast",
            title="making breakfast in 18 kitchens, 10 activities, 64-d IDT features (Kuehne et al. 2014)",
            videos=1712,
            frames=None,
            n_actions=None,
            dim=64,
            licence="CC BY 4.0",
            command="python data_scripts/breakfast.py",
            load=_breakfast,
            present=partial(_has_features, "breakfast"),
            activities=BREAKFAST,
        ),
        Entry(
            name="youtube_instructions",
            title="instruction videos, 5 tasks with much background, 3000-d features (Alayrac et al. 2016)",
            videos=150,
            frames=None,
            n_actions=None,
            dim=3000,
            licence="not stated",
            command="python data_scripts/youtube_instructions.py",
            load=_youtube_instructions,
            present=partial(_has_features, "youtube_instructions"),
            activities=YOUTUBE_INSTRUCTIONS,
        ),
        *(
            Entry(
                name=f"fifty_salads_{level}",
                title=f"25 people mix two salads each, {k} classes of level {level}, 64-d (Stein, McKenna 2013)",
                videos=50,
                frames=None,
                n_actions=k,
                dim=64,
                licence="CC BY-NC-SA 4.0",
                command="python data_scripts/fifty_salads.py",
                load=partial(_fifty_salads, level),
                present=partial(_has_features, "fifty_salads"),
            )
            for level, k in (("eval", 12), ("mid", 19))
        ),
        Entry(
            name="desktop_assembly",
            title="a desktop computer is put together, 22 steps in nearly fixed order, 512-d (Kumar et al. 2022)",
            videos=76,
            frames=None,
            n_actions=22,
            dim=512,
            licence="not stated",
            command="python data_scripts/desktop_assembly.py",
            load=lambda root, _: _desktop_assembly(root),
            present=partial(_has_features, "desktop_assembly"),
        ),
        Entry(
            name="pose2sim",
            title="one take of a person from 4 cameras, frame i = frame i, no labels (Pagnon et al. 2022)",
            videos=4,
            frames=400,
            n_actions=0,
            dim=None,
            licence="BSD-3",
            command=pose2sim.COMMAND,
            load=lambda root, _: _pose2sim(root),
            present=lambda root: _pose2sim_folder(root) is not None,
            fetches=True,
        ),
        Entry(
            name="pouring",
            title="pouring a drink, films of TCC (Dwibedi et al. 2019) with 5 phases",
            videos=84,
            frames=None,
            n_actions=5,
            dim=None,
            licence="not stated",
            command="python data_scripts/pouring.py",
            load=partial(_phases, "pouring", True, None),
            present=partial(_has_pictures, "pouring"),
        ),
        Entry(
            name="penn_action",
            title="13 sports (Zhang et al. 2013) with the phases of TCC",
            videos=1990,
            frames=None,
            n_actions=None,
            dim=None,
            licence="not stated",
            command="python data_scripts/penn_action.py --source FOLDER",
            load=partial(_phases, "penn_action", True, None),
            present=partial(_has_pictures, "penn_action"),
            activities=PENN_ACTION,
        ),
        Entry(
            name="ikea_asm",
            title="assembling a Kallax shelf drawer (Ben-Shabat et al. 2021), 17 classes with NA",
            videos=90,
            frames=None,
            n_actions=16,
            dim=None,
            licence="MIT",
            command="python data_scripts/ikea_asm.py --source FOLDER",
            load=partial(_phases, "ikea_asm", False, "NA"),
            present=partial(_has_pictures, "ikea_asm"),
        ),
    )
}
