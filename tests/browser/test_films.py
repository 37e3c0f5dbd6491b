"""The film side by side of `vasot align` plays in a browser, and both of its halves move."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.own_films.toys import SIDE, record_toys
from vasot_kit.films.media import stream
from vasot_kit.own_films.align import align_films
from vasot_kit.own_films.outputs import GAP

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

WIDTH = 2 * SIDE + GAP
FACTS = """() => {
  const film = document.querySelector("video");
  return {error: film.error && film.error.message, ready: film.readyState, duration: film.duration,
          width: film.videoWidth, height: film.videoHeight};
}"""
# Jumps to a moment of the film. A plain server sends whole files only, in which a browser cannot jump; so the film is
# held by the page.
JUMP = """async (seconds) => {
  const film = document.querySelector("video");
  if (!film.src.startsWith("blob:")) {
    const loaded = new Promise((done) => film.onloadeddata = done);
    film.src = URL.createObjectURL(await (await fetch(film.src)).blob());
    await loaded;
  }
  film.currentTime = seconds;
}"""
# The frame that is shown now, as red, green, blue, opacity of every pixel.
SHOWN = """() => {
  const film = document.querySelector("video");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [film.videoWidth, film.videoHeight];
  canvas.getContext("2d").drawImage(film, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""
PLAYED = """async () => {
  const film = document.querySelector("video");
  film.currentTime = 0;
  const over = new Promise((done) => film.onended = done);
  await film.play();
  await over;
  return film.currentTime;
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What aligning two generated films left."""
    folder = tmp_path_factory.mktemp("films")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VASOT_CACHE", str(folder / "cache"))
        _, films = record_toys(folder, 2, n_steps=2, background=0)
        align_films(films, folder / "out", progress=False)
    return folder / "out" / "side_by_side.mp4"


@pytest.fixture(scope="module")
def page(browser: Browser, film: Path) -> Iterator[Page]:
    """A page with the film, served as any server would."""
    from tests.browser.lab import PATIENCE, until

    (film.parent / "page.html").write_text(f'<video muted preload="auto" src="{film.name}"></video>')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(film.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    try:
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
        if not page.evaluate("""document.createElement("video").canPlayType('video/mp4; codecs="avc1.42E01E"')"""):
            pytest.skip("this Chromium has no H.264 decoder; Debian's has one: apt-get install chromium")
        until(lambda: facts(page)["ready"] == 4 or facts(page)["error"], "the film to load")
        yield page
    finally:
        page.close()
        server.shutdown()
        server.server_close()


def facts(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(FACTS)
    return found


def halves(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return picture[:, :SIDE].astype(float), picture[:, SIDE + GAP :].astype(float)


def test_it_loads_with_its_size_and_duration(page: Page, film: Path) -> None:
    found = facts(page)
    assert found["error"] is None
    assert (found["width"], found["height"]) == (WIDTH, SIDE)
    frames = sum(1 for _ in stream(film))
    assert abs(found["duration"] - frames / 25) <= 1 / 25


def apart(picture: np.ndarray, other: np.ndarray) -> float:
    """The mean distance of two pictures' colours, of 255, at every fourth pixel of every fourth line."""
    return float(np.abs(picture[::4, ::4].astype(float) - other[::4, ::4]).mean())


def jumped(page: Page, written: list[np.ndarray], number: int) -> np.ndarray:
    """The picture that the browser shows of a frame. A browser says that it has jumped before it shows the frame, so
    this waits until the frame is nearer than all others.
    """
    from tests.browser.lab import until

    page.evaluate(JUMP, (number + 0.5) / 25)

    def found() -> list[np.ndarray]:
        picture = np.asarray(Image.open(BytesIO(b64decode(page.evaluate(SHOWN)))).convert("RGB"))
        nearest = int(np.argmin([apart(picture, other) for other in written]))
        return [picture] if nearest == number else []

    (picture,) = until(found, f"frame {number} of the film")
    return picture


def test_both_halves_move_as_they_were_written(page: Page, film: Path) -> None:
    written = [frame.picture for frame in stream(film)]
    numbers = (3, len(written) - 4)
    shown = [jumped(page, written, number) for number in numbers]
    for picture, number in zip(shown, numbers, strict=True):
        assert apart(picture, written[number]) < 4  # the browser has its own way to RGB, but the same colours
    for before, after in zip(halves(shown[0]), halves(shown[1]), strict=True):
        assert np.abs(before - after).mean() > 5
        assert (np.abs(before - after).max(-1) > 40).mean() > 0.02  # things moved, not the light alone


def test_it_plays_to_its_end(page: Page) -> None:
    assert page.evaluate(PLAYED) == pytest.approx(facts(page)["duration"], abs=1 / 25)
