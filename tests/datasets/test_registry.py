from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.films.films import make_folder, number, record
from vasot_kit.cache import cache_folder
from vasot_kit.datasets import DATASETS, data_root, load_dataset, mocap6, pose2sim
from vasot_kit.datasets.registry import find_entry
from vasot_kit.films import recordings
from vasot_lib.data import Context, correspondence, toy
from vasot_lib.errors import DataError, InputError


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """An empty data root and an empty cache."""
    monkeypatch.setenv("VASOT_DATA", str(tmp_path / "root"))
    monkeypatch.setenv("VASOT_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("name", DATASETS)
def test_an_entry_says_what_loading_gives(name, recorded):
    entry = DATASETS[name]
    names = [f"{name}/{activity}" for activity in entry.activities] or [name]
    videos = frames = 0
    for full in names:
        dataset = recorded(full)
        assert (entry.name, dataset.name) == (name, full)
        assert dataset.n_actions == entry.activities.get(full.partition("/")[2], entry.n_actions)
        assert entry.dim in (None, dataset.feature_dim)
        videos, frames = videos + len(dataset.videos), frames + dataset.n_frames
    assert entry.videos in (None, videos)
    assert entry.frames in (None, frames)


def test_all_activities_are_one_data_set_and_shared_steps_one_class():
    both = load_dataset("toy_shared/all")
    assert both.n_actions == 9
    for activity in ("procedure_1", "procedure_2"):
        alone = load_dataset(f"toy_shared/{activity}")
        assert [v.name for v in alone.videos] == [v.name for v in both.videos if v.activity == activity]
        assert alone.n_actions == 6 == len({k for v in alone.videos for k in v.labels.tolist()} - {both.background})


def test_unknown_name_lists_the_known():
    with pytest.raises(InputError, match=r"unknown data set 'mocap' \(did you mean 'mocap6'\?\); known: .*hapt.*toy"):
        load_dataset("mocap")
    with pytest.raises(InputError, match="unknown data set ''"):  # and not the folder in which one happens to be
        load_dataset("")


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("hapt", "hapt"),
        ("hugadb", "hugadb"),
        ("lara", "lara"),
        ("breakfast_coffee", "breakfast_coffee"),
        ("breakfast/tea", "breakfast"),
        ("youtube_instructions/cpr", "youtube_instructions"),
        ("fifty_salads_mid", "fifty_salads"),
        ("fifty_salads_eval", "fifty_salads"),
        ("desktop_assembly", "desktop_assembly"),
        ("pouring", "pouring"),
        ("penn_action/bowling", "penn_action"),
        ("ikea_asm", "ikea_asm"),
        ("egoprocel/pc_assembly", "egoprocel"),
    ],
)
def test_absent_data_names_the_command(no_data, name, script):
    entry, _ = find_entry(name)
    assert not entry.present(data_root())
    with pytest.raises(
        DataError, match=f"data set '{entry.name}' is not in .*root; bring it with: python -m data_scripts.{script}"
    ):
        load_dataset(name)
    assert (Path(__file__).parents[2] / "data_scripts" / f"{script}.py").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("breakfast", "every activity of 'breakfast' is a data set of its own; name one of breakfast/cereals, "),
        ("breakfast/cofee", r"unknown activity of 'breakfast' 'cofee' \(did you mean 'coffee'\?\); known: cereals"),
        ("breakfast/", "unknown activity of 'breakfast' ''"),
        ("toy/coffee", "data set 'toy' has no activities; ask for 'toy' instead of 'toy/coffee'"),
        (
            "brekfast/coffee",
            r"brekfast/coffee is neither a folder nor .*: unknown data set 'brekfast' \(did you mean 'breakfast'\?\)",
        ),
    ],
)
def test_an_activity_is_asked_for_where_there_are_any(name, message):
    with pytest.raises(InputError, match=message):
        load_dataset(name)


def test_k_per_activity_is_the_papers():
    """SPEC section 7."""
    breakfast = (
        "pancake 14, salat 8, friedegg 9, scrambledegg 12, sandwich 9, juice 8, milk 5, tea 7, cereals 5, coffee 7"
    )
    assert {f"{name} {k}" for name, k in DATASETS["breakfast"].activities.items()} == set(breakfast.split(", "))
    youtube = "changing_tire 11, coffee 10, cpr 7, jump_car 12, repot 8"
    assert {f"{name} {k}" for name, k in DATASETS["youtube_instructions"].activities.items()} == set(
        youtube.split(", ")
    )
    others = {name: DATASETS[name].n_actions for name in ("fifty_salads_eval", "fifty_salads_mid", "desktop_assembly")}
    penn = (
        "baseball_pitch 4, baseball_swing 3, bench_press 2, bowling 3, clean_and_jerk 6, golf_swing 3, "
        "jumping_jacks 4, pushups 2, pullups 2, situp 2, squats 4, tennis_forehand 3, tennis_serve 4"
    )  # section 8
    assert {f"{name} {k}" for name, k in DATASETS["penn_action"].activities.items()} == set(penn.split(", "))
    assert others == {"fifty_salads_eval": 12, "fifty_salads_mid": 19, "desktop_assembly": 22}


def test_data_root_is_the_argument_else_the_variable_else_data(monkeypatch):
    monkeypatch.setenv("VASOT_DATA", "elsewhere")
    assert [str(data_root("here")), str(data_root())] == ["here", "elsewhere"]
    monkeypatch.delenv("VASOT_DATA")
    assert str(data_root()) == "data"


def test_generated_data_sets_need_no_files(no_data):
    assert load_dataset("toy").checksum() == toy().checksum()
    swapped = load_dataset("toy_swapped")
    assert load_dataset("toy").ordered and not swapped.ordered
    assert [path.name for path in no_data.iterdir()] == []


def test_mocap6_is_looked_for_in_the_root_then_in_the_cache_then_fetched(no_data, recorded, monkeypatch, capsys):
    entry = DATASETS["mocap6"]
    assert not entry.present(data_root())
    monkeypatch.delenv("VASOT_CACHE")
    monkeypatch.delenv("VASOT_DATA")
    expected = recorded("mocap6").checksum()
    places = (data_root() / "mocap6" / mocap6.FILE, cache_folder() / mocap6.FILE)
    content = next(place for place in places if place.is_file()).read_bytes()
    monkeypatch.setenv("VASOT_CACHE", str(no_data / "cache"))
    root = no_data / "root"

    def fetch():
        (no_data / "cache").mkdir()
        file = no_data / "cache" / mocap6.FILE
        file.write_bytes(content)
        return file

    monkeypatch.setattr(mocap6, "fetch", fetch)
    assert load_dataset("mocap6", root).checksum() == expected
    assert "fetching mocap6" in capsys.readouterr().err
    assert load_dataset("mocap6", root).checksum() == expected  # from the cache, without a word
    assert capsys.readouterr().err == ""
    (root / "mocap6").mkdir(parents=True)
    shutil.move(no_data / "cache" / mocap6.FILE, root / "mocap6" / mocap6.FILE)
    assert load_dataset("mocap6", root).checksum() == expected
    assert capsys.readouterr().err == ""


@pytest.mark.data
def test_hapt_is_the_documented_recording_set(recorded):
    dataset = recorded("hapt")
    labels = torch.cat([video.labels for video in dataset.videos])
    assert dataset.classes[dataset.background] == "unlabelled" and len(dataset.classes) == 13
    assert float((labels == dataset.background).float().mean()) == pytest.approx(0.27, abs=0.01)
    assert len({video.name for video in dataset.videos}) == 61


@pytest.mark.data
def test_breakfast_coffee_is_the_documented_sample(recorded):
    dataset = recorded("breakfast_coffee")
    assert [len(video) for video in dataset.videos] == [917, 1119, 472, 271, 571]
    zero = [int((video.features.abs().sum(dim=1) == 0).sum()) for video in dataset.videos]
    assert zero == [52, 4, 4, 4, 4]
    assert dataset.background is None and len(dataset.classes) == 5
    assert {video.activity for video in dataset.videos} == {"coffee"}


# ---- pixels

N = 20  # frames of each film


def films(home: Path, names: list[str], labels: list[str]) -> None:
    """A film and a folder of pictures per name, the layout that the scripts write; frame k of N has label k L / N."""
    for part in ("groundTruth", "mapping"):
        (home / part).mkdir(parents=True)
    for name in names:
        (home / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        record(home / "videos" / f"{name}.mp4", n=N)
        make_folder(home / "videos" / f"{name}_pictures", range(N))
        for stem in (Path(name).name, f"{Path(name).name}_pictures"):
            lines = "".join(f"{labels[k * len(labels) // N]}\n" for k in range(N))
            (home / "groundTruth" / stem).write_text(lines)
    (home / "mapping" / "mapping.txt").write_text("".join(f"{k} {label}\n" for k, label in enumerate(labels)))


@pytest.mark.parametrize(
    ("name", "labels", "k", "background"),
    [
        ("pouring", ["to touch", "to exit", "to complete", "to back", "to end"], 5, None),
        ("penn_action/bowling", ["swing", "release"], 3, None),  # K is the paper's, whatever is here
        ("ikea_asm", ["NA", "lay down", "pick up", "spin leg"], 3, "NA"),
    ],
)
def test_films_are_shown_at_the_papers_size_with_their_context(no_data, name, labels, k, background):
    entry, activity = find_entry(name)
    home = no_data / "root" / entry.name
    films(home, [f"{activity}/one" if activity else "one"], labels)
    if activity:
        films(home / "elsewhere", ["squats/other"], labels)
        shutil.move(home / "elsewhere" / "videos" / "squats", home / "videos" / "squats")
    assert entry.present(data_root())
    dataset = load_dataset(name)
    assert (dataset.name, dataset.n_actions, dataset.classes) == (name, k, tuple(labels))
    assert dataset.background == (None if background is None else labels.index(background))
    assert dataset.ordered == (entry.name != "ikea_asm")
    assert [(video.name, video.activity) for video in dataset.videos] == [("one", activity), ("one_pictures", activity)]
    for video in dataset.videos:
        assert [labels[label] for label in video.labels] == [labels[j * len(labels) // N] for j in range(N)]
        assert video.context == Context(frames=2, stride=15)
        shown = video.encoder_input(torch.tensor([4, 18]))
        assert shown.shape == (2, 2, 224, 224, 3) and shown.dtype == torch.uint8
        numbers = [[number(picture.numpy()) for picture in pair] for pair in shown]
        assert numbers == [[0, 4], [3, 18]]  # 15 frames before, the first one where the film begins later
        assert len(video.features) == N and torch.isfinite(video.features).all()


def test_films_without_their_labels_are_refused(no_data):
    films(no_data / "root" / "pouring", ["one"], ["a", "b"])
    (no_data / "root" / "pouring" / "groundTruth" / "one").write_text("a\n" * (N - 2))
    with pytest.raises(DataError, match=r"one has 18 labels but one\.mp4 has 20 frames \(difference -2\)"):
        load_dataset("pouring")
    (no_data / "root" / "pouring" / "groundTruth" / "one").unlink()
    with pytest.raises(DataError, match=r"groundTruth.one is missing; add the labels of one\.mp4"):
        load_dataset("pouring")


def test_frame_i_of_a_camera_is_frame_i_of_the_others(no_data, monkeypatch, tmp_path):
    monkeypatch.setattr(pose2sim, "FRAMES", 30)
    monkeypatch.setattr(recordings, "FEW_FILMS", 4)  # decode in this process
    home = no_data / "root" / "pose2sim" / "videos"
    home.mkdir(parents=True)
    for name in pose2sim.SHA256:
        assert not DATASETS["pose2sim"].present(data_root())
        record(home / name, n=30, crf=str(20 + int(name[4])))  # another content each
    digests = {name: hashlib.sha256((home / name).read_bytes()).hexdigest() for name in pose2sim.SHA256}
    monkeypatch.setattr(pose2sim, "SHA256", digests)
    assert DATASETS["pose2sim"].present(data_root())
    dataset = load_dataset("pose2sim")
    assert [video.name for video in dataset.videos] == ["cam01", "cam02", "cam03", "cam04"]
    assert (dataset.n_actions, dataset.classes) == (0, ())
    for video in dataset.videos:
        assert video.labels is None
        assert video.position.numpy() == pytest.approx(np.arange(30) / 30)
        assert correspondence(dataset.videos[0], video).tolist() == list(range(30))


@pytest.mark.data
def test_pose2sim_is_the_documented_take(recorded):
    dataset = recorded("pose2sim")
    assert [(video.name, len(video)) for video in dataset.videos] == [(f"cam0{k}", 100) for k in (1, 2, 3, 4)]
    first, *others = dataset.videos
    for video in others:
        assert correspondence(first, video).tolist() == list(range(100))
        assert not torch.equal(first.features, video.features)


def test_entries_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DATASETS["toy"].frames = 0


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine/features").mkdir(parents=True)
    for name in ("mine/a.npy", "mine/features/a.npy", "toy"):
        Path(name).touch()
    for name in ("mine/a.npy", "mine/features/a.npy"):
        with pytest.raises(InputError, match=f"{name} is a file; name the folder of all recordings, such as mine$"):
            load_dataset(name)
    assert load_dataset("toy").name == "toy"
