"""The training loop learns, repeats, stops, resumes, and never touches test."""

import pytest
import torch
from torch import nn

from course_lib import data, models, training


def blobs(name: str = "train", size: int = 96, seed: int = 0) -> data.Split:
    """Two clouds of points that a linear model separates."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % 2
    points = torch.randn(size, 4, generator=generator) + 3.0 * labels[:, None]
    return data.Split("blobs", name, points, labels, ("near", "far"))


def fresh_model() -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "mlp", "arguments": {"sizes": [4, 8, 2]}})


def fit(model, **options):
    settings = {"epochs": 3, "learning_rate": 0.02, "batch_size": 16, "progress": False, **options}
    return training.fit(model, blobs(), blobs("validation", 40, 1), **settings)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_training_learns_and_ends_in_eval_mode():
    model = fresh_model()
    history = fit(model, epochs=6)
    assert history.validation_accuracy[-1] > 0.95
    assert history.train_loss[-1] < history.train_loss[0]
    assert not model.training


def test_no_gradients_are_kept_after_training():
    model = fresh_model()
    fit(model, epochs=1)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_seed_gives_the_same_weights():
    first, second, other = fresh_model(), fresh_model(), fresh_model()
    fit(first, seed=5), fit(second, seed=5), fit(other, seed=6)
    assert torch.equal(weights(first), weights(second)) and not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("place", ["train", "validation"])
def test_fit_refuses_the_test_split(place):
    splits = {"train": blobs(), "validation": blobs("validation"), place: blobs("test")}
    with pytest.raises(data.TestSplitError, match="trained or tuned on"):
        training.fit(fresh_model(), **splits, epochs=1, learning_rate=0.1, progress=False)


def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path):
    whole = fresh_model()
    fit(whole, epochs=4)

    def interrupt(model, step, total):
        if step == 14:
            raise KeyboardInterrupt

    model, file = fresh_model(), tmp_path / "run.checkpoint"
    assert fit(model, epochs=4, checkpoint=file, after_step=interrupt).interrupted
    resumed = fresh_model()
    history = fit(resumed, epochs=4, checkpoint=file)
    assert len(history.train_loss) == 4 and not history.interrupted
    assert torch.allclose(weights(resumed), weights(whole))


def test_after_step_sees_every_step_and_can_hold_weights_at_zero():
    steps = []

    def hold(model, step, total):
        steps.append((step, total))
        model[1].weight.data[:, 0] = 0

    model = fresh_model()
    fit(model, epochs=2, after_step=hold)
    assert steps == [(step, 12) for step in range(1, 13)]
    assert (model[1].weight[:, 0] == 0).all()


def test_keep_best_ends_with_the_best_validation_epoch():
    def spoil_the_last_epoch(model, step, total):
        if step > total - 6:
            model[1].weight.data.zero_()
            model[3].weight.data.zero_()

    model = fresh_model()
    history = fit(model, epochs=4, keep_best=True, after_step=spoil_the_last_epoch)
    best = max(history.validation_accuracy)
    assert history.validation_accuracy[-1] < best
    assert training.evaluate(model, blobs("validation", 40, 1)).accuracy == best


def test_patience_stops_early():
    def freeze(model, step, total):
        model[1].weight.data.zero_()
        model[3].weight.data.zero_()

    assert len(fit(fresh_model(), epochs=9, patience=2, after_step=freeze).train_loss) == 3


def test_evaluation_counts_right_answers_per_class():
    labels = torch.tensor([0, 0, 0, 1])
    result = training.Evaluation(torch.tensor([0, 0, 1, 1]), labels, 0.5, ("a", "b"))
    assert result.accuracy == 0.75
    assert result.per_class() == {"a": pytest.approx(2 / 3), "b": 1.0}
    low, high = result.interval
    assert 0 < low < 0.75 < high < 1


def test_sentences_are_computed_with_little_padding_and_answered_in_the_order_of_the_split():
    lengths = torch.tensor([9, 2, 7, 2, 5])
    ids = torch.arange(1, 6)[:, None].expand(5, 9)
    tokens = {"input_ids": ids, "attention_mask": (torch.arange(9) < lengths[:, None]).long()}
    shapes = []

    class Echo(nn.Linear):
        def forward(self, input_ids, attention_mask):
            shapes.append(tuple(input_ids.shape))
            return input_ids[:, :1].float().expand(-1, 2)

    logits = training.predict_logits(
        Echo(1, 1), data.Split("lines", "test", tokens, ids[:, 0] % 2, ("a", "b")), batch_size=2
    )
    assert logits[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert shapes == [(2, 2), (2, 7), (1, 9)]


def test_evaluation_keeps_the_mode_of_the_model():
    model = fresh_model().train()
    training.evaluate(model, blobs("test"))
    assert model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be greater than 0, got 0"),
        ({"learning_rate": -1}, "learning_rate must be greater than 0, got -1"),
        ({"precision": "fp8"}, "precision must be one of 'fp32', 'bf16'; got 'fp8'"),
        ({"optimizer": "lion"}, "optimizer must be one of 'adamw', 'sgd'"),
        ({"schedule": "steps"}, "schedule must be one of 'one_cycle'"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit(fresh_model(), **options)


def test_keep_best_without_validation_is_refused():
    with pytest.raises(ValueError, match="need a validation split"):
        training.fit(fresh_model(), blobs(), epochs=1, learning_rate=0.1, keep_best=True)


@pytest.mark.parametrize("schedule", ["one_cycle", "linear", "constant"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_optimizer_and_schedule_finishes(optimizer, schedule):
    history = fit(fresh_model(), epochs=1, optimizer=optimizer, schedule=schedule)
    assert len(history.train_loss) == 1
