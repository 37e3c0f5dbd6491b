"""Video files and folders of pictures, read and written frame by frame in constant memory (PyAV; Pillow for pictures).

Pixels are taken as they are stored: pixels that are not square are not stretched, and high dynamic range is not
tone-mapped.
"""

from __future__ import annotations

import hashlib
import math
import operator
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from PIL import Image, ImageOps

from vasot_kit.films.containers import (
    count_packets,
    decode,
    frame_times,
    open_video,
    quarter_turns,
    reason,
    runs_backwards,
    stated_rate,
    stated_seconds,
    upright_picture,
)
from vasot_kit.films.sampling import Frame, Shown, numbered, sampled
from vasot_lib.errors import DataError, InputError
from vasot_lib.files import whole_file

# Suffix of video files -> their MIME type.
VIDEO_SUFFIXES = {
    **dict.fromkeys((".mp4", ".m4v", ".f4v"), "video/mp4"),
    **dict.fromkeys((".mov", ".qt"), "video/quicktime"),
    **dict.fromkeys((".mpg", ".mpeg", ".mpe", ".m2v", ".vob"), "video/mpeg"),
    **dict.fromkeys((".ts", ".mts", ".m2ts"), "video/mp2t"),
    **dict.fromkeys((".ogv", ".ogg"), "video/ogg"),
    **dict.fromkeys((".wmv", ".asf"), "video/x-ms-asf"),
    **dict.fromkeys((".avi", ".divx"), "video/x-msvideo"),
    **dict.fromkeys((".mjpeg", ".mjpg"), "video/x-motion-jpeg"),
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".flv": "video/x-flv",
    ".gif": "image/gif",
    ".3gp": "video/3gpp",
    ".3g2": "video/3gpp2",
    ".mxf": "application/mxf",
    ".dv": "video/x-dv",
}
FOLDER_FPS = 30.0  # of a folder of pictures of which nobody says how many there are a second
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
OF_RESULTS = ("config.json", "model.json", "n_actions.json")  # a folder with one of them is the kit's own


@dataclass(frozen=True)
class Clip:
    """What a video file or a folder of pictures states about itself.

    Attributes:
        path: where it lies.
        fps: frames per second, the average where the rate varies.
        width, height: pixels, upright (after rotation metadata).
        frames: their number as the container states it, before any edit list; None where it states none.
        duration: seconds.
        start: seconds from the beginning of the file, where its sound may start, to its first picture.
    """

    path: Path
    fps: float
    width: int
    height: int
    frames: int | None
    duration: float
    start: float = 0.0


def probe(path: str | Path, folder_fps: float = FOLDER_FPS) -> Clip:
    """The rate, upright size, number of frames and duration of a video file or a folder of pictures.

    One frame is decoded, because FFmpeg gives the rotation with it. A file that states no rate or duration is
    read through once, without decoding.

    Raises:
        DataError: missing, empty, no video, no pictures, damaged before its first frame.
        InputError: ``folder_fps``, the rate of a folder, is not a positive number.
    """
    path = _existing(path)
    _check_rate("folder_fps", folder_fps)
    if path.is_dir():
        pictures = _pictures(path)
        height, width = _read_picture(pictures[0]).shape[:2]
        return Clip(path, float(folder_fps), width, height, len(pictures), len(pictures) / folder_fps)
    with open_video(path) as (container, film):
        fps, duration, frames = stated_rate(film), stated_seconds(container, film), film.frames or None
        first = next(decode(path, container, film))
        # A container without sound begins with its first picture; FFmpeg may count that of AVI from the frame before.
        late = (first.pts or 0) * float(film.time_base or 0) - (container.start_time or 0) / av.time_base
        late = late if len(container.streams) > 1 and late > 0.5 / (fps or 30.0) else 0.0
    if not fps or not duration:
        count, end = count_packets(path)
        duration = duration or end
        if not duration:
            raise DataError(f"{path} has no time stamps; convert it with ffmpeg -i {path.name} converted.mp4")
        fps = fps or count / duration
    height, width = (first.width, first.height) if quarter_turns(first)[0] else (first.height, first.width)
    return Clip(path, fps, width, height, frames, duration, late)


def stream(
    path: str | Path,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    folder_fps: float = FOLDER_FPS,
    numbers: Iterable[int] | None = None,
) -> Iterator[Frame]:
    """The frames of a video file or a folder of pictures, in the order they are shown, in constant memory.

    With ``fps``, sample k is the frame that is shown k / fps seconds after the first one, for variable frame rates too,
    until the last frame ends. A frame may be shown up to 1 ms early, because containers round. Where ``fps`` is above
    the rate of the recording, the same :class:`Frame` comes several times.

    Damage always raises an error, after the frames before it were yielded. Damage is an incomplete packet, an error of
    the decoder, a frame that the decoder repaired by guessing, or an end that lacks more than 2 frames or 1 %
    (whichever is more) of the stated frames or seconds. Frames that the decoder still held at its error are not
    yielded, because they may build on the damaged one. WebM and Matroska state only seconds; MPEG streams state
    neither, so that a missing end cannot be noticed there.

    Args:
        path: video file, or folder with ``.jpg``, ``.jpeg`` or ``.png`` pictures in natural order, all of one size.
        fps: samples per second; every frame by default. Frames that are not sampled are not converted, pictures of a
            folder that are not sampled are not read.
        size: (height, width) in pixels to scale to, upright; that of the first frame by default.
        folder_fps: frames per second of a folder.
        numbers: instead of ``fps``, the indices of the frames to give, which do not decrease; the same one may come
            several times. What lies behind the last of them is not read.

    Raises:
        DataError: missing, empty, no video, no pictures, damaged or truncated; the message says how much was read.
        InputError: a rate that is not a positive number, a size that is not two positive integers.
    """
    path = _existing(path)
    _check_rate("folder_fps", folder_fps)
    size = None if size is None else _checked_size(size)
    if fps is not None:
        _check_rate("fps", fps)
    shown = _folder_frames(path, folder_fps, size) if path.is_dir() else _video_frames(path, size)
    if numbers is not None:
        return numbered(shown, numbers)
    return (item.frame() for item in shown) if fps is None else sampled(shown, fps)


def content_hash(path: str | Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's bytes, or of the names and bytes of a folder's pictures.

    Raises:
        DataError: missing, or a folder without pictures.
    """
    path = _existing(path)
    if not path.is_dir():
        return _digest(path).hex()[:16]
    parts = [hashlib.sha256(picture.name.encode()).digest() + _digest(picture) for picture in _pictures(path)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def write_video(
    path: str | Path, pictures: Iterable[np.ndarray], fps: float, comment: str = "", quick: bool = False
) -> Path:
    """Write an MP4 that browsers play (H.264, yuv420p, index in front), whole or not at all, in constant memory.

    Args:
        path: ends in ``.mp4``; replaced where it exists.
        pictures: (H, W, 3) uint8 RGB each, all of one size, at least one. An odd height or width is padded to even by
            repeating the last row or column.
        fps: frames per second, constant.
        comment: stored in the file's metadata.
        quick: for a film to look at: smaller, and in half the time. Otherwise it looks like the original.

    Raises:
        InputError: no pictures, a picture of another shape or type, a rate that is not a positive number, not ``.mp4``.
        DataError: the file cannot be written.
    """
    target = Path(path)
    _check_rate("fps", fps)
    if target.suffix.lower() != ".mp4":
        raise InputError(f"{target} does not end in .mp4; only MP4 is written")
    source = iter(pictures)
    first = next(source, None)
    if first is None:
        raise InputError(f"no pictures for {target}; a video needs at least one")
    target.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(fps).limit_denominator(100_000)
    try:
        with whole_file(target) as beside:
            _encode(beside, target, chain([first], source), rate, comment, quick)
    except av.FFmpegError as error:
        raise DataError(f"{target} cannot be written ({reason(error)}); free space or write elsewhere") from error
    return target


def video_files(folder: str | Path) -> list[Path]:
    """The videos (by suffix) and the subfolders with pictures in a folder, in natural order, without hidden ones and
    without the kit's own results, which hold pictures too.

    Raises:
        DataError: missing, or not a folder.
    """
    folder = _existing(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds the recordings")
    folders = [entry for entry in folder.iterdir() if entry.is_dir() and _files(entry, PICTURE_SUFFIXES)]
    own = {each for each in folders if any((each / name).is_file() for name in OF_RESULTS)}
    visible = [each for each in folders if not each.name.startswith(".") and each not in own]
    return sorted(_files(folder, VIDEO_SUFFIXES) + visible, key=_natural)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    return path


def _check_rate(name: str, value: float) -> None:
    if not 0 < value < math.inf:  # false for NaN
        raise InputError(f"{name} is {value}; give a positive number of frames per second")


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise InputError(f"size is {size!r}; give (height, width) in pixels, at least 1 each")
    return height, width


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files with one of the suffixes, in no order, without hidden ones."""
    named = (file for file in folder.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith("."))
    return [file for file in named if file.is_file()]


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sort key in which 2 comes before 10; text and numbers alternate, so that text is only compared with text."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [int(part) if odd % 2 else part for odd, part in enumerate(parts)], path.name


def _digest(file: Path) -> bytes:
    with file.open("rb") as stored:
        return hashlib.file_digest(stored, "sha256").digest()


def _pictures(folder: Path) -> list[Path]:
    pictures = sorted(_files(folder, PICTURE_SUFFIXES), key=_natural)
    if not pictures:
        raise DataError(f"{folder} holds no .jpg, .jpeg or .png pictures; copy them there or name a video file")
    return pictures


def _read_picture(file: Path) -> np.ndarray:
    """(H, W, 3) uint8, upright."""
    try:
        with Image.open(file) as image:
            mode, picture = image.mode, np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is damaged or not a picture ({reason(error)}); copy it again or remove it") from error
    if mode[0] in "IF":  # Pillow would clip these to white
        raise DataError(f"{file} has more than 8 bits per channel ({mode}); convert it to 8 bits")
    return picture


def _folder_frames(folder: Path, fps: float, size: tuple[int, int] | None) -> Iterator[Shown]:
    files = _pictures(folder)
    height, width = _read_picture(files[0]).shape[:2]
    reformatter = VideoReformatter()

    def read(file: Path) -> np.ndarray:
        picture = _read_picture(file)
        if picture.shape[:2] != (height, width):
            raise DataError(
                f"{file} is {picture.shape[1]} x {picture.shape[0]} pixels but {files[0].name} is {width} x {height}; "
                "make all pictures of a folder the same size"
            )
        if size in (None, (height, width)):
            return picture
        return upright_picture(VideoFrame.from_ndarray(picture), (False, False, False), size, reformatter)

    for index, file in enumerate(files):
        yield Shown(index, index / fps, (index + 1) / fps, partial(read, file))


def _video_frames(path: Path, size: tuple[int, int] | None) -> Iterator[Shown]:
    reformatter = VideoReformatter()
    with open_video(path) as (container, film):
        tick = float(film.time_base or 0)
        lasts = 1 / (stated_rate(film) or 30.0)  # where a frame does not say how long it is shown
        times = frame_times(path)  # refused here if damaged, before anything is decoded
        stored = times - times[0] if container.format.name == "avi" and len(times) else ()
        before = 0.0
        for index, frame in enumerate(decode(path, container, film)):
            if index == 0:
                turn, first = quarter_turns(frame), frame.pts or 0
                target = size or ((frame.width, frame.height) if turn[0] else (frame.height, frame.width))
            time = index * lasts if frame.pts is None else (frame.pts - first) * tick
            if index < len(stored):
                time = float(stored[index])
            if time < before:
                raise runs_backwards(path, index)
            before = time
            end = time + (frame.duration * tick or lasts)
            yield Shown(index, time, end, partial(upright_picture, frame, turn, target, reformatter))


def _encode(
    file: Path, target: Path, pictures: Iterable[np.ndarray], rate: Fraction, comment: str, quick: bool
) -> None:
    crf, preset = (24, "veryfast") if quick else (18, "medium")
    reformatter = VideoReformatter()
    shape: tuple[int, ...] = ()
    with av.open(f"file:{file}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = comment
        # Without x264's macroblock tree, with which the same pictures gave different files from call to call.
        options = {"crf": str(crf), "preset": preset, "x264-params": "mbtree=0"}
        film = container.add_stream("libx264", rate=rate, options=options)
        # The file states its colour space, BT.709: otherwise players guess it by the size and show other colours.
        context = film.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
        for n, picture in enumerate(pictures):
            shape = shape or picture.shape
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
                raise InputError(f"picture {n} of {target} is {picture.dtype} {picture.shape}; give uint8 (H, W, 3)")
            if picture.shape != shape:
                raise InputError(f"picture {n} of {target} has shape {picture.shape}, the first {shape}; use one size")
            even = np.pad(picture, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
            if n == 0:
                film.height, film.width, film.pix_fmt = *even.shape[:2], "yuv420p"
            frame = reformatter.reformat(
                VideoFrame.from_ndarray(even), format="yuv420p", dst_colorspace=Colorspace.ITU709
            )
            frame.pts, frame.time_base = n, 1 / rate
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
