"""Configurations, videos, data sets and generated data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import attempt, inputs, odd, odd_size, usually
from tests.fuzz.test_solve import random
from vasot_kit.experiments.config import Encoder, build, known_parameters, make_config
from vasot_kit.methods import METHODS
from vasot_lib.data import Dataset, Video, toy

TOY = toy(n_videos=2)
names = usually(st.sampled_from(["toy", "mocap6", "hapt", "breakfast/coffee", "penn_action/squats"]))
NAMES = {method: known_parameters(make_config("toy", method)) for method in METHODS}
anything = odd | st.sampled_from(["cuda", "cpu", "auto", {}, [0.1, 0.2], 1e-5, 5, 0.05, "near", "soft", b"x", 3 + 4j])


@inputs(700)
@given(data=st.data())
def test_make_config(data: st.DataObject) -> None:
    draw = data.draw
    method = draw(usually(st.sampled_from(sorted(METHODS))))
    known = NAMES.get(method, NAMES["vasot"]) if isinstance(method, str) else NAMES["vasot"]
    dataset, preset = draw(names), draw(usually(st.sampled_from(["kit", "paper", "release", "auto"])))
    overrides = draw(st.dictionaries(usually(st.sampled_from(known), st.text(max_size=9)), anything, max_size=2))
    seed, epochs = draw(usually(st.just(3))), draw(usually(st.none() | st.integers(0, 5)))
    recordings = TOY if draw(st.integers(0, 9)) == 0 else None
    if preset == "auto" and recordings is not None and draw(st.integers(0, 3)):
        preset = "kit"  # reading the radius takes its time
    config = attempt("config", lambda: make_config(
        dataset, method, preset, seed=seed, epochs=epochs, overrides=overrides, recordings=recordings,
    ))  # fmt: skip
    if config is not None:
        assert config.training.seed == overrides.get("training.seed", seed) and str(config)
        small = isinstance(config.encoder, Encoder) and config.encoder.hidden < 1000 > config.encoder.out
        if small and draw(st.integers(0, 29)) == 0:  # which takes its time
            attempt("config", lambda: build(config, TOY))


@inputs(400)
@given(data=st.data())
def test_videos(data: st.DataObject) -> None:
    draw = data.draw
    n, d = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    videos: list[Any] = []
    for number in range(draw(st.integers(1, 3))):
        rows: Any = random((n + number, d), number)
        bad = st.sampled_from([rows.numpy(), rows.double(), rows[0], rows / 0, rows[:0], None, "a"])
        labels: Any = torch.arange(n + number) % 3
        others = st.sampled_from(
            [labels.float(), labels - 1, labels + 9, labels[:-1], labels[None], labels.numpy(), "a"]
        )
        frames = np.zeros((n + number, 4, 4, 3), np.uint8)
        values = {
            "name": draw(usually(st.sampled_from("abc"), st.just(f"v{number}"))),
            "features": draw(usually(st.just(rows), bad)), "labels": draw(st.none() | usually(st.just(labels), others)),
            "activity": draw(usually(st.sampled_from(["", "tea"]))), "part": draw(usually(st.just(""))),
            "frames": draw(st.none() | usually(st.just(frames), st.sampled_from([frames[:1], frames.tolist(), 3]))),
        }  # fmt: skip
        video = attempt("config", lambda values=values: Video(**values))
        if video is not None:
            videos.append(video)
    classes = draw(usually(st.sampled_from([("x", "y", "z"), ()]), st.sampled_from([("x", "x"), None, "xyz", (1, 2)])))
    k, background = draw(usually(st.integers(0, 3))), draw(st.none() | usually(st.integers(0, 3)))
    dataset = attempt("config", lambda: Dataset("name", tuple(videos), classes, k, background))
    if dataset is not None:
        assert dataset.feature_dim == d and len(dataset.checksum()) >= 8
        shrunk = attempt("config", lambda: dataset.standardised(shrink=draw(st.booleans())))
        assert shrunk is None or all(video.features.isfinite().all() for video in shrunk.videos)


@inputs(100)
@given(data=st.data())
def test_toy(data: st.DataObject) -> None:
    draw, share = data.draw, usually(st.sampled_from([0.0, 0.3, 0.8]))
    options = {
        "n_videos": draw(usually(st.integers(1, 3), odd_size)), "n_steps": draw(usually(st.integers(2, 4), odd_size)),
        "dim": draw(usually(st.integers(6, 9), odd_size)), "seed": draw(usually(st.just(0))), "swaps": draw(share),
        "repeats": draw(share), "background": draw(share), "noise": draw(share),
    }  # fmt: skip
    made = attempt("config", lambda: toy(**options))
    assert made is None or all(video.features.isfinite().all() for video in made.videos)
