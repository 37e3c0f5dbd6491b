"""A learnt temporal prior in training: when it starts, what restarts make of it, and who refuses it."""

import pytest

from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.presets import AUTO_RESTARTS, preset_values
from vasot_lib.data import Dataset, toy
from vasot_lib.errors import InputError
from vasot_lib.methods import Method
from vasot_lib.training import fit
from vasot_lib.transport.times import BINS


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, n_steps=3, seed=1)


def trained(dataset: Dataset, method: str, epochs: int, **overrides: object) -> Method:
    names = {"training.frames": 32, "encoder.hidden": 8, "encoder.out": 4, **overrides}
    config = make_config("toy", method, "auto", epochs=epochs, overrides=names, recordings=dataset)
    model = build(config, dataset)
    fit(model, dataset, config.training, progress=False)
    return model


@pytest.mark.parametrize("method", ["asot", "vasot"])
def test_it_is_learnt_after_a_third_of_the_epochs(dataset: Dataset, method: str) -> None:
    first = trained(dataset, method, 1, restarts=1)
    assert not first.times.known
    model = trained(dataset, method, 3, restarts=1)
    assert model.times.known and model.times.counts.sum() == pytest.approx(1.0)
    assert model.times.costs.shape == (4, 3, BINS)


def test_restarts_count_what_they_agree_on(dataset: Dataset) -> None:
    model = trained(dataset, "vasot", 3)
    assert len(model.members) == AUTO_RESTARTS and all(member.times.known for member in model.members)
    assert model.times.known and model.times.counts.sum() == pytest.approx(1.0)
    assert model.segment(dataset.videos[0]).shape == (len(dataset.videos[0]),)


def test_auto_takes_three_trainings_of_two_thirds_of_the_epochs() -> None:
    for method in ("asot", "vasot", "clot"):
        auto, kit = (preset_values(preset, "", method) for preset in ("auto", "kit"))
        assert auto["restarts"] == 3 and auto["training.epochs"] == 2 * kit["training.epochs"] // 3
        assert preset_values("auto", "", method, epochs=7)["training.epochs"] == 7
        assert preset_values("auto", "", method, epochs=0)["training.epochs"] == 0
    for method in ("vaot", "peot"):
        assert "restarts" not in preset_values("auto", "", method)


def test_clot_refuses_it(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"hyper\.prior is 'learnt'; CLOT also matches segments"):
        trained(dataset, "clot", 1, **{"hyper.prior": "learnt"})
