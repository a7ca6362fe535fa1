from __future__ import annotations

import pytest
import torch

from course_lib import models, pruning, training
from course_lib.data import FASHION_CLASSES, Split, TestSplitError

OPTIONS = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "progress": False}


def build() -> torch.nn.Module:
    return models.build({"builder": "mlp", "arguments": {"sizes": [12, 20, 10, 3]}})


def test_a_ticket_has_the_final_sparsity_and_two_controls(train, validation):
    result = pruning.lottery_ticket(build, train, validation, 3, final_sparsity=0.875, **OPTIONS)
    assert result.frame["kind"].tolist() == ["dense", "ticket", "ticket", "ticket", "reinitialised", "random"]
    assert result.frame["sparsity"].tolist() == pytest.approx([0, 0.5, 0.75, 0.875, 0.875, 0.875])
    assert [int((~mask).sum()) for mask in result.masks.values()] == [210, 175, 26]
    assert result.frame["accuracy"].between(0, 1).all()


def test_tickets_are_nested_and_start_from_the_initial_weights(train, validation, monkeypatch):
    starts = []
    train_under = pruning.lottery._train_under

    def watch(model, start, masks, *rest):
        starts.append((start, masks))
        return train_under(model, start, masks, *rest)

    monkeypatch.setattr(pruning.lottery, "_train_under", watch)
    result = pruning.lottery_ticket(build, train, validation, 3, controls="every", seed=5, **OPTIONS)
    assert len(starts) == 9 and len(result.frame) == 10
    torch.manual_seed(5)
    initial = build().state_dict()
    tickets, reinitialised, random = starts[0::3], starts[1::3], starts[2::3]
    for start, _ in [*tickets, *random]:
        assert all(torch.equal(value, start[key]) for key, value in initial.items())
    assert not torch.equal(reinitialised[0][0]["1.weight"], initial["1.weight"])
    for (_, earlier), (_, later) in zip(tickets, tickets[1:], strict=False):
        assert all((mask <= earlier[name]).all() for name, mask in later.items())
    assert not torch.equal(random[0][1]["1"], tickets[0][1]["1"])
    assert random[0][1]["1"].sum() == tickets[0][1]["1"].sum()


def test_an_early_rewind_starts_from_trained_weights(train, validation):
    late = pruning.lottery_ticket(build, train, validation, 1, rewind_step=4, **OPTIONS)
    torch.manual_seed(0)
    assert not torch.equal(late.start["1.weight"], build().state_dict()["1.weight"])


def test_an_interruption_ends_the_search_instead_of_one_training(train, validation, monkeypatch):
    def interrupt(*arguments, **options):
        return training.History(interrupted=True)

    monkeypatch.setattr(training, "fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pruning.lottery_ticket(build, train, validation, 1, **OPTIONS)


def test_the_search_is_repeatable(train, validation):
    first, second = (pruning.lottery_ticket(build, train, validation, 1, **OPTIONS).frame for _ in range(2))
    assert first.equals(second)


def test_images_become_vectors():
    images = torch.tensor([[[0, 255], [51, 204]]], dtype=torch.uint8)
    flat = pruning.flatten_images(Split("toy", "train", images, torch.tensor([0]), FASHION_CLASSES, upscale=2))
    torch.testing.assert_close(flat.example(), torch.tensor([[-1.0, 1.0, -0.6, 0.6]]))
    with pytest.raises(ValueError, match="grey uint8 images"):
        pruning.flatten_images(flat)


def test_impossible_arguments_are_refused(train, validation, test_split):
    with pytest.raises(TestSplitError, match="lottery ticket"):
        pruning.lottery_ticket(build, train, test_split, 1)
    for change, message in [
        ({"rounds": 0}, "rounds must be greater than 0"),
        ({"final_sparsity": 1}, "final_sparsity must lie in"),
        ({"controls": "none"}, "controls must be one of 'last', 'every'"),
        ({"rewind_step": -1}, "rewind_step must be at least 0"),
        ({"rewind_step": 1000}, "rewind_step must be at most [0-9]+"),
    ]:
        with pytest.raises(ValueError, match=message):
            pruning.lottery_ticket(build, train, validation, **{**OPTIONS, **change})
