"""Restarts: what several trainings agree on, and that each of them is the training it would be alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vasot_kit.experiments.config import build, make_config
from vasot_kit.experiments.evaluate import evaluate, scores_without_labels
from vasot_kit.experiments.restarts import agree
from vasot_lib.data import Dataset, toy
from vasot_lib.errors import InputError
from vasot_lib.methods import Method
from vasot_lib.training import fit, load_checkpoint


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy(n_videos=4, n_steps=3, seed=1)


def trained(dataset: Dataset, method: str, restarts: int, checkpoint: Path | None = None, epochs: int = 2) -> Method:
    settings = {"restarts": restarts, "training.frames": 32, "encoder.hidden": 8, "encoder.out": 4}
    config = make_config("toy", method, epochs=epochs, overrides=settings)
    model = build(config, dataset)
    fit(model, dataset, config.training, checkpoint=checkpoint, progress=False)
    return model


def test_numbering_does_not_matter() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    renumbered = [truth, np.array([2, 0, 1])[truth], np.array([1, 2, 0])[truth]]
    consensus, matched, agreement = agree(renumbered, 3)
    assert agreement == pytest.approx(1)
    for labels, order in zip(renumbered, matched, strict=True):
        assert (order[consensus] == labels).all()


def test_the_majority_corrects_what_each_restart_has_wrong() -> None:
    truth = np.repeat([0, 1, 2, 3], 25)
    wrong = []
    for number in range(5):
        labels = truth.copy()
        labels[number * 20 : number * 20 + 15] = (labels[number * 20 : number * 20 + 15] + 1) % 4
        wrong.append(np.roll(np.arange(4), number)[labels])
    consensus, matched, agreement = agree(wrong, 4)
    assert len({*zip(consensus.tolist(), truth.tolist(), strict=True)}) == 4, "every action has one counterpart"
    assert 0.3 < agreement < 0.9


def test_where_all_differ_the_restart_that_agrees_best_decides() -> None:
    #                  clear      in doubt
    one = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 0])
    two = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 1])
    three = np.array([0, 0, 1, 1, 1, 2, 2, 2, 0, 2])
    consensus, _, _ = agree([three, one, two], 3)
    assert (consensus[:9] == one[:9]).all()
    assert consensus[9] in (0, 1)


def test_a_member_is_what_it_would_be_alone(dataset: Dataset) -> None:
    alone, together = trained(dataset, "vasot", 1), trained(dataset, "vasot", 2)
    first, second = together.members
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first.state_dict()[name], value)
    assert not torch.allclose(second.actions.weight, first.actions.weight)


def test_cosines_are_means_of_the_members(dataset: Dataset) -> None:
    model = trained(dataset, "vasot", 3)
    x = dataset.videos[0]
    members = torch.stack([member.embed(x) @ member.embed(x).T for member in model.members])
    torch.testing.assert_close(model.embed(x) @ model.embed(x).T, members.mean(0))
    assert -1 <= float(model.agreement) <= 1
    torch.testing.assert_close(model.actions.weight.norm(dim=1), torch.ones(dataset.n_actions))
    assert model.segment(x).shape == model.align(x, dataset.videos[1]).shape == (len(x),)


def test_the_agreement_is_one_of_the_scores(dataset: Dataset) -> None:
    assert evaluate(trained(dataset, "asot", 2, epochs=1), dataset)["agreement"] <= 1
    assert "agreement" not in evaluate(trained(dataset, "asot", 1, epochs=1), dataset)


def test_without_labels_it_is_said_how_far_trainings_and_recordings_agree(dataset: Dataset) -> None:
    alone = replace(dataset, videos=dataset.videos[:1])
    asot, single, vaot = (trained(dataset, *how, epochs=1) for how in (("asot", 2), ("asot", 1), ("vaot", 2)))
    both = scores_without_labels(asot, dataset)
    assert both.keys() == {"agreement", "found_again"} and both["agreement"] == float(asot.agreement)
    assert 0 < both["found_again"] <= 1
    assert scores_without_labels(single, dataset).keys() == {"found_again"}
    assert scores_without_labels(single, alone) == scores_without_labels(vaot, dataset) == {}


def test_alignment_alone_has_no_actions_to_agree_on(dataset: Dataset) -> None:
    model = trained(dataset, "vaot", 2)
    assert model.agreement.isnan()
    assert model.align(*dataset.videos[:2]).shape == (len(dataset.videos[0]),)


def test_a_training_that_goes_on_is_the_one_without_a_break(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    trained(dataset, "asot", 2, path, epochs=1)
    resumed, whole = trained(dataset, "asot", 2, path, epochs=2), trained(dataset, "asot", 2, epochs=2)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    loaded = build(
        make_config("toy", "asot", overrides={"restarts": 2, "encoder.hidden": 8, "encoder.out": 4}), dataset
    )
    load_checkpoint(path, loaded)
    assert (loaded.segment(dataset.videos[0]) == whole.segment(dataset.videos[0])).all()


@pytest.mark.parametrize("method", ["peot", "clot"])
def test_members_may_have_layers_of_their_own(dataset: Dataset, method: str) -> None:
    model = trained(dataset, method, 2)
    x = dataset.videos[0]
    members = torch.stack([member.embed(x) @ member.embed(x).T for member in model.members])
    torch.testing.assert_close(model.embed(x) @ model.embed(x).T, members.mean(0))
    alone = trained(dataset, method, 1)
    torch.testing.assert_close(model.members[0].embed(x), alone.embed(x))
    groups = model.parameter_groups(0.1)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    assert model.segment(x).shape == (len(x),) and -1 <= float(model.agreement) <= 1


@pytest.mark.parametrize("method", ["ufsa", "hvq", "smq", "cte", "tw_finch"])
def test_what_is_more_than_an_encoder_and_actions_is_refused(dataset: Dataset, method: str) -> None:
    with pytest.raises(InputError, match=f"restarts is 2 but '{method}' cannot have any: .* leave it at 1"):
        build(make_config("toy", method, overrides={"restarts": 2}), dataset)


def test_no_restart_is_refused() -> None:
    with pytest.raises(InputError, match="restarts"):
        make_config("toy", "vasot", overrides={"restarts": 0})
