"""Video files by PyAV: what a container states, its decoded frames, and whether all of them could be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vasot_lib.errors import DataError

_MISSING_FRAMES, _MISSING_SHARE = 2, 0.01  # containers are often off by a frame or two
_DECLARING = {"mov", "matroska", "avi", "flv", "asf"}  # their headers state a duration; FFmpeg estimates the others'
_LONGEST_PAUSE = 5.0  # seconds between two frames; a longer gap that is four fifths of the film is damage
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # an MP4 or MOV file begins with one


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first video stream that is not a cover picture."""
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); copy it again")
    try:
        # "file:" lets names hold colons; only files are opened, whatever a playlist names.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, IndexError) as error:  # IndexError: a container without streams
        raise _unreadable(path, error) from error
    with container:
        kind = container.format.name
        if kind in ("tty", "image2") or kind.endswith("_pipe"):  # FFmpeg takes a text or one picture for a film
            raise DataError(f"{path} is not a video ({kind}); give a video file or a folder of pictures")
        films = [film for film in container.streams.video if not film.disposition & Disposition.attached_pic]
        if not films:
            raise DataError(f"{path} has no video stream, perhaps only sound; give a recording with pictures")
        film = films[0]
        if film.codec_context is None:
            raise DataError(f"{path} uses a codec that this FFmpeg cannot decode; convert it to H.264 with ffmpeg")
        film.thread_type = "AUTO"
        if film.codec_context.name == "hevc":
            # FFmpeg drops damaged HEVC frames without a word unless told to stop; other decoders mark or report them.
            film.codec_context.options = {"err_detect": "explode"}
        yield container, film


def _unreadable(path: Path, error: BaseException) -> DataError:
    if isinstance(error, PermissionError):
        return DataError(f"{path} may not be read; change its permissions")
    with path.open("rb") as stored:
        head = stored.read(8)
    if head[4:] in _MP4_BOXES:
        return DataError(
            f"{path} has no usable index (moov), its recording or copying was interrupted; copy it again, "
            "or rebuild the index with untrunc and an intact file of the same camera"
        )
    return DataError(f"{path} is not a video of a known format ({reason(error)}); check it or convert it with ffmpeg")


def stated_rate(film: VideoStream) -> float:
    """Average frames per second as stated, or as FFmpeg found it in the first frames; 0 where unknown (WMV)."""
    return float(film.average_rate or 0)


def stated_seconds(container: InputContainer, film: VideoStream) -> float:
    """Duration of the video stream, else of the container, else 0."""
    return float((film.duration or 0) * (film.time_base or 0)) or (container.duration or 0) / av.time_base


def count_packets(path: Path) -> tuple[int, float]:
    """The number of video packets, and the seconds at which the last one ends."""
    with open_video(path) as (container, film):
        ends = [_end(packet) for packet in container.demux(film) if packet.size]
    return len(ends), max(ends, default=0.0)


def frame_times(path: Path) -> np.ndarray:
    """(N,) seconds on the container's clock at which the frames are shown, in order; read without decoding.

    AVI does not say when a frame is shown, only in which order frames are stored. There the k-th frame that is shown
    gets the time of the k-th that is stored.

    Raises:
        DataError: all time stamps are equal, or one of them jumps.
    """
    with open_video(path) as (container, film):
        stored = container.format.name == "avi"
        stamps: list[int] = []
        try:
            for packet in container.demux(film):
                stamp = packet.dts if stored or packet.pts is None else packet.pts
                if packet.size and stamp is not None and not (packet.is_discard or packet.is_corrupt):
                    stamps.append(stamp)
        except (av.FFmpegError, OSError):
            pass  # who decodes the film says what is damaged
        times = np.sort(np.array(stamps, dtype=float)) * float(film.time_base or 0)
    gaps = np.diff(times)
    if len(gaps) and not gaps.any():
        raise DataError(f"{path}: the time stamps of all {len(times)} frames are equal; {_restamp(path)}")
    if len(gaps) and gaps.max() > max(_LONGEST_PAUSE, 0.8 * gaps.sum()):
        raise DataError(f"{path}: the time stamps jump by {gaps.max():.1f} s; {_restamp(path)}")
    return times


def even_rate(path: Path) -> float | None:
    """The rate at which a film should be sampled because its frames come at uneven times; None where they come evenly.

    The times of an even film lie on a straight line, up to one frame and a half. Any other is sampled as often as its
    frames follow each other most of the time.

    Raises:
        DataError: time stamps that are all equal, or one that jumps.
    """
    times = np.zeros(0) if path.is_dir() else frame_times(path)
    if len(times) < 3:
        return None
    step = float(np.median(np.diff(times))) or (times[-1] - times[0]) / (len(times) - 1)
    apart = np.abs(times - np.linspace(times[0], times[-1], len(times))).max()
    return 1 / step if apart > 1.5 * step else None


def runs_backwards(path: Path, index: int) -> DataError:
    """The error for a frame that is stamped earlier than the one before it."""
    return DataError(f"{path}: the time stamps run backwards at frame {index}; {_restamp(path)}")


def _restamp(path: Path) -> str:
    return f"give it new ones, for example with ffmpeg -i {path.name} -vf setpts=N/30/TB -r 30 mended.mp4"


def _end(packet: Packet) -> float:
    """Seconds on the container's clock at which a packet ends."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return 0.0 if stamp is None else float((stamp + (packet.duration or 0)) * packet.time_base)


class _Progress:
    """How much of a recording was read, to be compared with what its container states."""

    def __init__(self, path: Path, container: InputContainer, film: VideoStream) -> None:
        kinds = set(container.format.name.split(","))
        self.path, self.index, self.fps = path, film.index, stated_rate(film)
        self.seconds = (container.duration or 0) / av.time_base if kinds & _DECLARING else 0.0
        # An edit list (a recording that a phone has cut) leaves part of the stated frames out of the index.
        self.frames = min(film.frames, len(film.index_entries)) if "mov" in kinds else film.frames
        self.n_read, self.end, self.time = 0, 0.0, 0.0

    def note(self, packet: Packet) -> bool:
        """Count a packet of any stream, and say whether it is to be decoded."""
        if not packet.is_corrupt:
            self.end = max(self.end, _end(packet))
        ours = packet.stream.index == self.index
        if ours and packet.dts is not None and (packet.is_discard or not packet.size):
            self.frames -= 1  # cut away by an edit list, or AVI's empty packet for "as before"
        return ours and packet.size > 0

    def incomplete(self, reason: str) -> DataError:
        """The error that says how much was read."""
        frames = f"{self.n_read} of {self.frames} frames" if self.frames > 0 else f"{self.n_read} frames"
        seconds = f"{self.time:.2f} of {self.seconds:.2f} s" if self.seconds else f"{self.time:.2f} s"
        return DataError(
            f"{self.path} is damaged or truncated: {frames} ({seconds}) could be read, then {reason}; copy it again, "
            f"or keep what is good with ffmpeg -i {self.path.name} repaired.mp4"
        )

    def check_complete(self) -> None:
        """Raise when too much is missing at the end."""
        few = self.frames - self.n_read > max(_MISSING_FRAMES, _MISSING_SHARE * self.frames)
        # Half a frame more for rounded time stamps.
        tolerance = max((_MISSING_FRAMES + 0.5) / (self.fps or 30.0), _MISSING_SHARE * self.seconds)
        if few or self.seconds - self.end > tolerance or not self.n_read:
            raise self.incomplete("it ends")


def decode(path: Path, container: InputContainer, film: VideoStream) -> Iterator[VideoFrame]:
    """Decoded frames in the order in which they are shown; damage is raised as one DataError after the good frames."""
    progress = _Progress(path, container, film)
    packets = container.demux()  # of all streams, because the container's duration is that of the longest
    packet: Packet | None
    more, cut = True, False
    while more:
        try:
            packet = next(packets, None)
            cut = packet is not None and packet.is_corrupt and packet.stream.index == film.index
            more = packet is not None and not cut
            if packet is not None and not progress.note(packet) and more:
                continue
            frames = film.decode(packet if more else None)  # None: return the frames that were held back
        except (av.FFmpegError, OSError) as error:
            raise progress.incomplete(reason(error)) from error
        for frame in frames:
            if frame.is_corrupt:
                raise progress.incomplete("a frame is damaged")
            progress.n_read += 1
            if frame.pts is not None and film.time_base is not None:  # frames held back do not know their time base
                progress.time = float((frame.pts + frame.duration) * film.time_base)
            yield frame
    if cut:
        raise progress.incomplete("a packet is incomplete")
    progress.check_complete()


def quarter_turns(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """How to turn a frame upright: whether to swap rows with columns, then to reverse the rows, then the columns.

    It follows from the display matrix (a b u; c d v; x y w), which moves pixel (x, y) to (a x + c y, b x + d y) (ISO
    14496-12, section 6.2.2), rounded to the nearest quarter turn, mirrored or not.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()  # type: ignore[call-overload]
    swap = abs(a) + abs(d) < abs(b) + abs(c)
    return swap, (b if swap else d) < 0, (c if swap else a) < 0


def upright_picture(
    frame: VideoFrame, turn: tuple[bool, bool, bool], size: tuple[int, int], reformatter: VideoReformatter
) -> np.ndarray:
    """(H, W, 3) uint8 of ``size``; scaled and converted in one go, then turned."""
    swap, rows, columns = turn
    height, width = size[::-1] if swap else size
    picture = reformatter.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
    picture = picture.transpose(1, 0, 2) if swap else picture
    return np.ascontiguousarray(picture[:: -1 if rows else 1, :: -1 if columns else 1])
