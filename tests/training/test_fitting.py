"""The training loop learns, repeats, stops early, and never uses test."""

import pytest
import torch

from course_lib import data, training
from course_lib.training.fitting import steps_per_epoch
from tests.toys import blobs, blobs_mlp, fit_blobs, flat_weights


def test_training_learns_and_ends_in_eval_mode():
    model = blobs_mlp()
    history = fit_blobs(model, epochs=6)
    assert history.validation_accuracy[-1] > 0.95
    assert history.train_loss[-1] < history.train_loss[0]
    assert not model.training


def test_no_gradients_are_kept_after_training():
    model = blobs_mlp()
    fit_blobs(model, epochs=1)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_seed_gives_the_same_weights():
    first, second, other = blobs_mlp(), blobs_mlp(), blobs_mlp()
    fit_blobs(first, seed=5), fit_blobs(second, seed=5), fit_blobs(other, seed=6)
    assert torch.equal(flat_weights(first), flat_weights(second)) and not torch.equal(
        flat_weights(first), flat_weights(other)
    )


@pytest.mark.parametrize("argument", ["train", "validation"])
def test_fit_refuses_the_test_split(argument):
    splits = {"train": blobs(), "validation": blobs("validation"), argument: blobs("test")}
    with pytest.raises(data.TestSplitError, match="trained or tuned on"):
        training.fit(blobs_mlp(), **splits, epochs=1, learning_rate=0.1, progress=False)


def test_after_step_sees_every_step_and_can_hold_weights_at_zero():
    steps = []

    def hold(model, step, total):
        steps.append((step, total))
        model[1].weight.data[:, 0] = 0

    model = blobs_mlp()
    fit_blobs(model, epochs=2, after_step=hold)
    assert steps == [(step, 12) for step in range(1, 13)]
    assert (model[1].weight[:, 0] == 0).all()


def test_keep_best_ends_with_the_best_validation_epoch():
    def spoil_the_last_epoch(model, step, total):
        if step > total - 6:
            model[1].weight.data.zero_()
            model[3].weight.data.zero_()

    model = blobs_mlp()
    history = fit_blobs(model, epochs=4, keep_best=True, after_step=spoil_the_last_epoch)
    best = max(history.validation_accuracy)
    assert history.validation_accuracy[-1] < best
    assert training.evaluate(model, blobs("validation", 40, 1)).accuracy == best


def test_patience_stops_early():
    def freeze(model, step, total):
        model[1].weight.data.zero_()
        model[3].weight.data.zero_()

    assert len(fit_blobs(blobs_mlp(), epochs=9, patience=2, after_step=freeze).train_loss) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be greater than 0, got 0"),
        ({"learning_rate": -1}, "learning_rate must be greater than 0, got -1"),
        ({"precision": "fp8"}, "precision must be one of 'fp32', 'bf16'; got 'fp8'"),
        ({"optimizer": "lion"}, "optimizer must be one of 'adamw', 'sgd'"),
        ({"batch_size": 0}, "batch_size must be greater than 0, got 0"),
        ({"schedule": "steps"}, "schedule must be one of 'one_cycle'"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit_blobs(blobs_mlp(), **options)


def test_keep_best_without_validation_is_refused():
    with pytest.raises(ValueError, match="need a validation split"):
        training.fit(blobs_mlp(), blobs(), epochs=1, learning_rate=0.1, keep_best=True)


@pytest.mark.parametrize("schedule", ["one_cycle", "linear", "constant"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_optimizer_and_schedule_finishes(optimizer, schedule):
    history = fit_blobs(blobs_mlp(), epochs=1, optimizer=optimizer, schedule=schedule)
    assert len(history.train_loss) == 1


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match="momentum"):
        fit_blobs(blobs_mlp(), momentum=0.9)


@pytest.mark.parametrize("batch_size", [2, 3, 32, 33, 96, 97, 200])
@pytest.mark.parametrize("examples", [2, 3, 65, 96, 97])
def test_only_a_last_batch_of_one_example_is_dropped(examples, batch_size):
    sizes = [len(batch) for batch in torch.arange(examples).split(batch_size)]
    assert steps_per_epoch(examples, batch_size) == sum(size > 1 for size in sizes)
    assert steps_per_epoch(examples, 1) == examples
