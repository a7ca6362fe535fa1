"""Quantization-aware training: it learns, and the result is a plain model with quantized weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib import assets, data, models, storage, training
from course_lib.architectures import input_quantizers
from course_lib.quantization import quantized_weights
from course_lib.quantization.qat import BatchNormFreezer, WeightQuantizer, convert, prepare, train_quantized

TINY = {"builder": "mlp", "arguments": {"sizes": [6, 12, 8, 3]}}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.build(TINY)


def split(name: str, examples: int = 96) -> data.Split:
    generator = torch.Generator().manual_seed(len(name))
    inputs = torch.randn(examples, 6, generator=generator)
    return data.Split("toy", name, inputs, inputs[:, :3].argmax(dim=1), ("a", "b", "c"))


def state(model: nn.Module):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_prepare_does_not_change_the_original_and_convert_computes_the_same(model, tmp_path):
    before = state(model)
    prepared = prepare(model, split("train"), weight_bits=4, input_bits=4)
    plain = convert(prepared, model)
    values = torch.randn(40, 6)
    torch.testing.assert_close(plain(values), prepared.eval()(values))
    assert not torch.equal(plain(values), model(values))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(isinstance(module, WeightQuantizer) for module in plain.modules())
    assert set(plain.state_dict()) - set(before) == {f"{name}.input_grid.scale" for name in ("1", "3", "5")}
    assert all(parameter.requires_grad for parameter in plain.parameters())


def test_a_stored_model_comes_back_bit_for_bit_and_small(tmp_path):
    torch.manual_seed(0)
    model = models.build({"builder": "mlp", "arguments": {"sizes": [60, 80, 80, 3]}})
    inputs = torch.randn(64, 60)
    train = data.Split("toy", "train", inputs, inputs[:, :3].argmax(dim=1), ("a", "b", "c"))
    result = train_quantized(
        model, train, weight_bits=2, input_bits=4, epochs=1, learning_rate=1e-3, progress=False, batch_size=16
    )
    path = storage.save(result.model, tmp_path / "w2a4.safetensors")
    again = storage.load(path)
    assert torch.equal(again(inputs), result.model(inputs))
    assert [quantized.params.bits for quantized in quantized_weights(again).values()] == [8, 2, 8]
    assert result.report["bits"].tolist() == [8, 2, 8]
    assert {grid.bits for grid in input_quantizers.input_grids(again).values()} == {4, 8}
    bare = storage.save(model, tmp_path / "fp32.safetensors").stat().st_size
    assert path.stat().st_size < bare / 2


@pytest.mark.parametrize("estimator", ["lsq", "ste"])
def test_training_learns_and_only_lsq_moves_the_steps(model, estimator):
    before = state(model)
    training.fit(model, split("train"), epochs=30, learning_rate=1e-2, progress=False, batch_size=16)
    options = {"weight_bits": 2, "input_bits": 4, "edge_bits": None, "estimator": estimator}
    first = prepare(model, split("train"), **options)
    at_once = training.evaluate(first, split("train")).accuracy
    result = train_quantized(
        model, split("train"), split("validation"), **options, epochs=10, learning_rate=1e-2, progress=False,
        batch_size=16,
    )  # fmt: skip
    assert training.evaluate(result.model, split("train")).accuracy > at_once
    assert len(result.history.validation_accuracy) == 10
    scales = [quantized.params.scale for quantized in quantized_weights(result.model).values()]
    started = [layer.parametrizations.weight[0].scale for layer in models.prunable_layers(first).values()]
    same = all(torch.equal(a, b) for a, b in zip(scales, started, strict=True))
    assert same == (estimator == "ste")
    assert before.keys() == model.state_dict().keys()


def test_running_statistics_change_until_they_are_frozen():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    freezer = BatchNormFreezer(0.5, training.cross_entropy())
    inputs, labels = torch.randn(16, 4), torch.randint(4, (16,))
    means = []
    for step in range(1, 5):
        model.train()
        freezer.loss(model, inputs, labels)
        freezer.after_step(model, step, 4)
        means.append(model[1].running_mean.clone())
    assert not torch.equal(means[0], means[1])
    assert torch.equal(means[1], means[2]) and torch.equal(means[2], means[3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_bits": 1}, "from 2 to 8"),
        ({"weight_bits": 9}, "from 2 to 8"),
        ({"input_bits": 2.5}, "from 2 to 8"),
        ({"weight_bits": {"1": 4}}, "must name exactly the layers"),
        ({"estimator": "magic"}, "estimator must be one of"),
        ({"freeze_norms_after": 1.5}, "freeze_norms_after"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_arguments_out_of_range_are_refused(model, change, message):
    before = state(model)
    options = {"epochs": 1, "learning_rate": 1e-3, "progress": False} | change
    with pytest.raises(ValueError, match=message):
        train_quantized(model, split("train"), **options)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_test_split_is_refused(model):
    with pytest.raises(data.TestSplitError):
        prepare(model, split("test"))
    with pytest.raises(data.TestSplitError):
        train_quantized(model, split("train"), split("test"), epochs=1, learning_rate=1e-3)


def test_models_that_cannot_be_quantized_are_refused(model):
    with pytest.raises(ValueError, match="no convolution or linear layer"):
        prepare(nn.Sequential(nn.ReLU()), split("train"))
    broken = copy.deepcopy(model)
    broken[3].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        prepare(broken, split("train"))
    with pytest.raises(ValueError, match="empty"):
        prepare(model, split("train", 0))


@pytest.mark.parametrize(("name", "bits", "most", "least"), [("W4A4", 4, 6e6, 0.985), ("W2A4", 2, 3e6, 0.96)])
def test_the_shipped_networks_are_what_their_results_say(name, bits, most, least):
    file = assets.path(f"resnet18_{name.lower()}")
    row = {row["name"]: row for row in assets.results("quantization_qat")["models"]["rows"]}[f"QAT {name}"]
    assert row["stored_bytes"] == file.stat().st_size <= most
    assert row["retained"] >= least
    model = storage.load(file)
    assert {quantized.params.bits for quantized in quantized_weights(model).values()} == {bits, 8}
    assert {grid.bits for grid in input_quantizers.input_grids(model).values()} == {4, 8}


def test_rounding_for_the_output_beats_rounding_to_nearest():
    results = assets.results("quantization_qat")
    rows = {row["name"]: row for row in results["models"]["rows"]}
    best, minmax = rows["AdaRound W4A8"], rows["nearest, min-max, W4A8"]
    assert best["retained"] >= 0.99 and best["accuracy"] > minmax["accuracy"]
    assert best["seconds"] <= 120 and best["peak_mb"] <= 2000
    same, chosen = results["mixed"]["rows"]
    assert chosen["stored_bytes"] <= same["stored_bytes"] and chosen["retained_low"] > same["retained_high"]
