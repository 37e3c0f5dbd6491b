"""Generated procedures as films that a camera might have taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vasot_kit.films.media import write_video
from vasot_lib.data import Dataset, toy

SIDE = 128


def record_toys(folder: Path, n_videos: int, fps: float = 25, **knobs: Any) -> tuple[Dataset, list[Path]]:
    """The procedures, and a film of each with pictures of 128 x 128."""
    dataset = toy(n_videos, render=True, **knobs)
    films = []
    for video in dataset.videos:
        assert video.frames is not None
        larger = (picture.repeat(4, 0).repeat(4, 1) for picture in video.frames)
        films.append(write_video(folder / f"{video.name}.mp4", larger, fps))
    return dataset, films
