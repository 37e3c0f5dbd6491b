"""Small films for the tests of scripts that read films."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def write_film(file: Path, n: int, rate: int = 25) -> None:
    """A film of n frames of 32 x 32 pixels, each of them of one grey."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for k in range(n):
            picture = np.full((32, 32, 3), 20 * k, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
