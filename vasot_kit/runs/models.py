"""What a run keeps of its trained method, so that it reads recordings that it has not seen: ``vasot apply``.

``weights.safetensors`` holds what was learnt. ``model.json`` beside it holds everything else that the training fixed:
the configuration with its radii, K, how the features of a recording are made and scaled, and the names of the actions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from vasot_kit.experiments.config import Config, Encoder, Pixels, new_method, with_overrides
from vasot_kit.experiments.presets import ALIGNMENT_PREFIX, SEGMENTATION_PREFIX
from vasot_kit.films.media import FOLDER_FPS
from vasot_kit.methods import METHODS, find_method
from vasot_kit.runs.records import read_metrics, to_json, write_text
from vasot_lib.checks import check_fields
from vasot_lib.data import Dataset
from vasot_lib.data.video import Scaling
from vasot_lib.errors import DataError, InputError
from vasot_lib.evaluation import hungarian
from vasot_lib.methods import Method
from vasot_lib.training import MAY_CHANGE_ON_RESUME, TrainingSettings, is_first_process, load_checkpoint

WEIGHTS = "weights.safetensors"
MODEL = "model.json"
DESCRIBED = "features.json"  # in a feature folder that vasot features wrote
Action = int | str  # what tables call an action: its number from 1, or the name of a class


@dataclass(frozen=True)
class Inputs:
    """How recordings become the input of the encoder.

    Attributes:
        feature_dim: D, the width of a feature row.
        scaling: of the features within each recording, as in :class:`vasot_lib.data.Dataset`.
        features: name of the extractor that describes films; empty where features came from files of unknown origin.
        fps: samples per second of films; None for every frame.
        size: (height, width) of pictures, for an encoder of pictures.
        context: number and distance of the pictures of a frame, as in :class:`vasot_lib.data.video.Context`.
        folder_fps: pictures per second of folders of pictures.
    """

    feature_dim: int
    scaling: Scaling = "none"
    features: str = ""
    fps: float | None = None
    size: tuple[int, int] | None = None
    context: tuple[int, int] | None = None
    folder_fps: float = FOLDER_FPS

    @classmethod
    def of(
        cls, dataset: Dataset, features: str = "", fps: float | None = None, folder_fps: float = FOLDER_FPS
    ) -> Inputs:
        """Those of a data set; ``features`` and ``fps`` say how its films were described."""
        video, size, context = dataset.videos[0], None, None
        if video.context is not None and video.frames is not None:
            size, context = video.frames.shape[1:3], (video.context.frames, video.context.stride)
        return cls(dataset.feature_dim, dataset.scaling, features, fps, size, context, folder_fps)


@dataclass(frozen=True)
class Model:
    """A trained method as its run left it.

    Attributes:
        method: trained, in evaluation mode and on the CPU.
        config: what it was trained with.
        inputs: how recordings become its input.
        actions: what tables call its K actions, in the order of figures; empty for a method that finds no actions.
        order: (K,) the place of each of the method's actions in ``actions``.
        background: class that scores leave out; empty where there is none.
        weights: checksum of the weights.
    """

    method: Method
    config: Config
    inputs: Inputs
    actions: tuple[Action, ...]
    order: tuple[int, ...]
    background: str
    weights: str

    def suited(self, frames: int) -> Method:
        """The method with radii of at least one frame in a recording of that many frames.

        A radius is a share of the recording, whatever its length. Where a recording is so short that this share is
        less than one frame, the window of the structural prior is one frame.
        """
        name, least = self.config.method, 1 / frames
        radii = {f"{SEGMENTATION_PREFIX[name]}decode.radius"} if name in SEGMENTATION_PREFIX else set()
        radii |= {f"{ALIGNMENT_PREFIX[name]}transport.radius"} if name in ALIGNMENT_PREFIX else set()
        plain = _flat(self.config.as_dict())
        self.method.hyper = with_overrides(self.config, {r: max(plain[r], least) for r in sorted(radii)}).hyper
        return self.method


def how_described(folder: Path) -> tuple[str, float | None]:
    """Name of the extractor and samples per second by which ``vasot features`` made a feature folder.

    Both are empty where the folder does not say it, because its features were made elsewhere.

    Raises:
        DataError: the file that says it is damaged.
    """
    path = folder / DESCRIBED
    try:
        content = json.loads(path.read_text()) if path.is_file() else {"features": "", "fps": None}
        return str(content["features"]), None if content["fps"] is None else float(content["fps"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged; run vasot features again, or remove it") from error


def refuse_other(out: Path, config: Config, data: Dataset) -> None:
    """Refuse the folder of another run, where weights cannot tell because one of both methods learns nothing.

    Scores and model of a run that goes on for more epochs are removed: if it is interrupted, they would stand beside
    weights that they do not come from.

    Raises:
        DataError: the folder holds another run, or one of a notebook.
    """
    weights, path, remedy = out / WEIGHTS, out / "metrics.json", "remove it or choose another folder"
    if (out / "params.yaml").exists():
        raise DataError(f"{out} holds a run of a notebook or of a study; {remedy}")
    if weights.exists():
        if not find_method(config.method).learns:
            raise DataError(
                f"{weights} was made by another configuration, since {config.method} learns nothing; {remedy}"
            )
        if is_first_process() and path.is_file():
            before = read_metrics(path)
            if _goes_with(before, config, data) and before["config"]["training"]["epochs"] < config.training.epochs:
                for stale in (path, out / MODEL):
                    stale.unlink(missing_ok=True)
    elif path.is_file():
        before = read_metrics(path)
        without = next((row["method"] for row in before["rows"] if row["method"] in METHODS), config.method)
        if not find_method(without).learns and not _goes_with(before, config, data):
            raise DataError(f"{path} is of {without} with another configuration or data; {remedy}")


def _goes_with(metrics: Mapping[str, Any], config: Config, data: Dataset) -> bool:
    """Whether a run with this configuration and data may go on with another that has recorded these metrics."""
    fixed = []
    for asked in (metrics.get("config"), json.loads(to_json(config.as_dict()))):
        if not (isinstance(asked, dict) and isinstance(asked.get("training"), dict)):
            return False
        training = {name: value for name, value in asked["training"].items() if name not in MAY_CHANGE_ON_RESUME}
        fixed.append({**asked, "training": training})
    return fixed[0] == fixed[1] and metrics.get("data") == {data.name: data.checksum()}


def write_model(
    folder: Path,
    method: Method,
    config: Config,
    inputs: Inputs,
    actions: Sequence[Action],
    order: Sequence[int],
    background: str = "",
    mark: str = "",
) -> None:
    """Write ``model.json`` beside the weights of a run, which are there already.

    Args:
        folder: of the run.
        method, config, inputs, actions, order, background: as in :class:`Model`.
        mark: of the configuration that the other files in the folder carry.
    """
    facts = {"mark": mark, "config": config.as_dict(), "n_actions": method.n_actions, "inputs": asdict(inputs)}
    named = {"actions": list(actions), "order": list(order), "background": background}
    write_text(folder / MODEL, to_json({**facts, **named, "weights": _weights(folder) if method.learns else ""}))


def name_actions(method: Method, dataset: Dataset) -> tuple[list[Action], list[int]]:
    """What the method's actions are called and their order, from the labels of the videos that it was trained on.

    An action is called by the class that the Hungarian method matches it to, or by its number where there is none.

    Args:
        method: trained, on the CPU.
        dataset: that it was trained on; without labels all actions are called by their numbers.

    Returns:
        K names, classes first, in their order; and (K,) the place of each action among them. Both empty for a method
        whose actions do not mean the same in every video.
    """
    if "segmentation" not in method.tasks or not method.shared_actions:
        return [], []
    videos = [(method.segment(video).numpy(), video.labels.numpy()) for video in dataset.train_part.videos
              if video.labels is not None]  # fmt: skip
    if not videos:
        return [k + 1 for k in range(method.n_actions)], list(range(method.n_actions))
    found, true = (np.concatenate(labels) for labels in zip(*videos, strict=True))
    scored = true != dataset.background
    classes = hungarian(found[scored], true[scored])
    places = sorted(range(method.n_actions), key=lambda k: (classes.get(k, len(dataset.classes)), k))
    names: list[Action] = [dataset.classes[classes[k]] if k in classes else k + 1 for k in places]
    return names, [places.index(k) for k in range(method.n_actions)]


def read_model(folder: Path) -> Model:
    """The trained method of a run.

    Args:
        folder: of ``vasot train`` or ``vasot segment``.

    Raises:
        DataError: no folder, no finished training in it, one of an older version, or damaged files.
        InputError: the method of the run learns nothing.
    """
    content = _content(folder)
    try:
        config = _config(content["config"])
        made: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content["inputs"].items()}
        inputs = Inputs(**made)
        check_fields(inputs)
        learns = find_method(config.method).learns
        method = new_method(config, content["n_actions"], inputs.feature_dim)
        model = Model(method, config, inputs, tuple(content["actions"]), tuple(content["order"]),
                      content["background"], content["weights"])  # fmt: skip
        _check(model)
        if learns:
            if _weights(folder) != model.weights:
                raise DataError(
                    f"{folder / WEIGHTS} is not what {MODEL} describes; run the same command again to finish it"
                )
            method.epoch = max(0, len(load_checkpoint(folder / WEIGHTS, method)) - 1)
    except DataError:
        raise
    except (KeyError, TypeError, AttributeError, RuntimeError, InputError) as error:
        what = f" ({error})" if isinstance(error, InputError) else ""
        raise DataError(f"{folder / MODEL} is damaged or of another version{what}; {AGAIN}") from error
    if not learns:
        raise InputError(
            f"{folder} is a run of {config.method}, which learns nothing that could be applied; "
            f"run it on the new recordings: vasot train NEW {config.method}"
        )
    method.eval()
    return model


def _check(model: Model) -> None:
    """Refuse what was read but cannot be the model of a run; each InputError names the value."""
    check_fields(model)
    k = model.method.n_actions if "segmentation" in model.method.tasks and model.method.shared_actions else 0
    if len(model.actions) != k or not all(isinstance(name, (int, str)) for name in model.actions):
        raise InputError(f"actions are {list(model.actions)}, not the names or numbers of {k}")
    if sorted(model.order) != list(range(k)):
        raise InputError(f"order is {list(model.order)}, not the numbers 0 to {k - 1} in some order")


AGAIN = "the same vasot train or vasot segment into this folder writes it again"


def _content(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name the folder of a vasot train or vasot segment")
    path = folder / MODEL
    if not path.is_file():
        known = [name for name in (WEIGHTS, "metrics.json", "config.json") if (folder / name).is_file()]
        if not known:
            raise DataError(f"{folder} holds no {MODEL}; name the folder of a vasot train or vasot segment")
        if (folder / "params.yaml").is_file():
            raise DataError(
                f"{folder} is a run of a notebook, which keeps no model; train one: vasot train ... --out RUN"
            )
        raise DataError(f"{folder} holds {' and '.join(known)} but no {MODEL}, as runs of older versions; {AGAIN}")
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON; {AGAIN}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged or of another version; {AGAIN}")
    return content


def _config(plain: Mapping[str, Any]) -> Config:
    """The configuration from its plain values, for use on this machine's CPU and without a download of weights."""
    encoder = Pixels() if "trunk" in plain["encoder"] else Encoder()
    hyper = find_method(plain["method"]).Hyper()
    config = Config(plain["dataset"], plain["method"], plain["preset"], TrainingSettings(), encoder, hyper)
    settings = {name: plain[name] for name in ("training", "encoder", "hyper", "restarts")}
    elsewhere = {"training.device": "cpu"} | ({"encoder.weights": ""} if isinstance(encoder, Pixels) else {})
    return with_overrides(config, _flat(settings) | elsewhere)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Plain values by dotted name."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _weights(folder: Path) -> str:
    """The checksum that the checkpoint of a run carries."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise DataError(f"{path} is missing; {AGAIN}")
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("checksum"))
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}); {AGAIN}") from error
