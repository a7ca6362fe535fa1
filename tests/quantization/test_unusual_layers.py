"""Quantization of layers other than ``Linear`` and ``Conv2d``, of shared and tied weights, and of pruned ones."""

import importlib

import numpy
import onnx
import pytest
import torch
from torch import nn

from course_lib import models, pruning, storage, training
from course_lib.architectures.batchnorm_folding import fold_batchnorm
from course_lib.architectures.input_quantizers import input_grids
from course_lib.quantization import (
    Scheme,
    adaround,
    bit_sensitivity,
    bits_scan,
    correct_bias,
    deploy_dynamic,
    deploy_static,
    equalize,
    gptq,
    output_report,
    post_training_quantization,
    quantize_weights,
    rtn,
    train_quantized,
)
from course_lib.quantization.affine import weight_params
from course_lib.quantization.packing import quantized_weights
from tests.unusual_models import (
    ByKeyword,
    OneDimensional,
    SharedConvolution,
    WithAttention,
    WithRecurrence,
    image_split,
    random_images,
    tiny_causal_lm,
    token_split,
)

CLASSES = (OneDimensional, WithAttention, WithRecurrence, ByKeyword, SharedConvolution)


@pytest.fixture(params=CLASSES, ids=lambda make: make.__name__)
def model(request, monkeypatch):
    monkeypatch.setitem(models.BUILDERS, "unusual", request.param)
    torch.manual_seed(0)
    return models.build({"builder": "unusual", "arguments": {}})


def largest_change(first, second):
    images = random_images(1)
    with torch.no_grad():
        expected = models.forward(first, images)
        return ((models.forward(second, images) - expected).abs().max() / expected.abs().max()).item()


def test_eight_bits_change_little_and_the_file_gives_the_same_logits(model, tmp_path):
    result = post_training_quantization(model, image_split())
    assert 0 < largest_change(model, result.model) < 0.15
    loaded = storage.load(storage.save(result.model, tmp_path / "model.safetensors"))
    assert largest_change(loaded, result.model) == 0


def test_every_matrix_is_quantized(model):
    quantized = quantize_weights(model, Scheme(4))
    matrices = {name for name, value in model.named_parameters() if value.dim() > 1}
    assert set(quantized_weights(quantized)) == matrices
    for name, weight in quantized_weights(quantized).items():
        assert torch.equal(weight.values(), quantized.state_dict()[name])
        assert not torch.equal(weight.values(), model.state_dict()[name])


def test_inputs_are_quantized_wherever_a_layer_is_called(model):
    grids = input_grids(post_training_quantization(model, image_split()).model)
    expected = {name for name in models.prunable_layers(model) if name != "attention.out_proj"}
    assert set(grids) == expected


def test_transposed_layers_have_a_scale_for_each_output():
    gpt2, split = tiny_causal_lm("gpt2"), token_split()
    quantized = post_training_quantization(gpt2, split).model
    weights = quantized_weights(quantized)
    name = "transformer.h.0.attn.c_attn.weight"
    assert len(weights) == 9 and weights[name].params.scale.shape == (96,) and weights[name].params.axis == 1
    scales = gpt2.state_dict()[name].abs().amax(dim=0) / 127
    assert torch.allclose(weights[name].params.scale, scales)
    up = quantized_weights(quantize_weights(OneDimensional()))["up.weight"]
    assert up.params.scale.shape == (4,) and up.integers.shape == (8, 4, 4)


def test_bits_of_transposed_layers_are_scanned():
    torch.manual_seed(0)
    table = bit_sensitivity(OneDimensional().eval(), image_split("validation"), bits=(2, 8), progress=False)
    assert list(table.layer.unique()) == ["down", "up", "head"]
    assert (table[table.bits == 2].damage.to_numpy() > table[table.bits == 8].damage.to_numpy()).all()
    rows = list(bits_scan(OneDimensional().eval(), image_split("validation"), bits=(4,), granularities=("group",)))
    assert set(rows[1]["sqnr_db"]) == {"down.weight", "up.weight", "head.weight"}


def test_biases_are_corrected_in_layers_of_any_dimension():
    torch.manual_seed(0)
    exact, split = OneDimensional().eval(), image_split()
    coarse = quantize_weights(exact, Scheme(3))
    corrected = correct_bias(coarse, exact, split)
    sequences = random_images(len(split.name)).mean(dim=3)

    def channel_means(model):
        return model.up(model.down(sequences).relu()).mean(dim=(0, 2))

    assert not torch.allclose(channel_means(coarse), channel_means(exact), atol=1e-3)
    assert torch.allclose(channel_means(corrected), channel_means(exact), atol=1e-5)


@pytest.mark.parametrize("method", ["qat", "adaround"])
@pytest.mark.parametrize("make", [OneDimensional, ByKeyword])
def test_training_and_learned_rounding_reach_every_layer(make, method):
    torch.manual_seed(0)
    model, split = make().eval(), image_split()
    if method == "qat":
        result = train_quantized(model, split, weight_bits=8, epochs=1, learning_rate=1e-4, progress=False)
    else:
        result = adaround(model, split, bits=8, iterations=5, progress=False)
    assert len(quantized_weights(result.model)) == len(models.prunable_layers(model))
    assert largest_change(model, result.model) < 0.2


@pytest.mark.parametrize("make", [WithAttention, WithRecurrence])
def test_methods_that_train_layers_refuse_weights_without_a_layer(make):
    model, split = make().eval(), image_split()
    for call in (
        lambda: train_quantized(model, split, epochs=1, learning_rate=1e-4, progress=False),
        lambda: adaround(model, split, progress=False),
        lambda: bit_sensitivity(model, image_split("validation"), progress=False),
    ):
        with pytest.raises(ValueError, match=r"cannot reach '(attention\.in_proj_weight|recurrent\.weight_ih_l0)'"):
            call()
    assert len(quantized_weights(rtn(model, 4, group_size=None).model)) >= 3


def test_a_layer_that_is_called_twice_keeps_the_function():
    torch.manual_seed(0)
    model = SharedConvolution().eval()
    folded = fold_batchnorm(model)
    assert 0 < largest_change(model, quantize_weights(model)) and largest_change(model, folded) < 1e-5
    assert isinstance(folded.first, nn.BatchNorm2d) and isinstance(folded.second, nn.BatchNorm2d)
    assert largest_change(model, equalize(model)) < 1e-5


def test_an_int8_file_of_a_layer_that_is_called_twice_runs(tmp_path):
    torch.manual_seed(0)
    model = SharedConvolution().eval()
    deployed = deploy_static(model, image_split(), tmp_path / "model.onnx")
    expected = training.predict_logits(model, image_split("validation"))
    assert (deployed.logits(image_split("validation")) - expected).abs().max() < 0.1 * expected.abs().max()


def test_two_networks_that_differ_in_an_attribute_get_their_own_file(tmp_path):
    def network(power):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.conv, self.head, self.power = nn.Conv2d(3, 4, 3), nn.Linear(4, 2), power

            def forward(self, x):
                return self.head(self.conv(x).relu().mean(dim=(2, 3)) ** self.power)

        return Net().eval()

    split = image_split()
    for power in (1, 3):
        model = network(power)
        logits = deploy_static(model, split, tmp_path / f"{power}.onnx").logits(split)
        expected = training.predict_logits(model, split)
        assert (logits - expected).abs().max() < 0.05 * expected.abs().max()


def test_gpt2_is_deployed_in_integers(tmp_path):
    gpt2, split = tiny_causal_lm("gpt2", layers=1), token_split()
    wrapped = _FirstToken(gpt2)
    for deployed in (
        deploy_dynamic(wrapped, split.example(1), tmp_path / "dynamic.onnx"),
        deploy_static(wrapped, split, tmp_path / "static.onnx"),
    ):
        values = [onnx.numpy_helper.to_array(it) for it in onnx.load(deployed.file).graph.initializer]
        matrices = [value for value in values if value.ndim == 2 and value.size >= 32 * 32]
        assert len(matrices) >= 6 and not any(value.dtype == numpy.float32 and len(value) == 32 for value in matrices)
        expected = training.predict_logits(wrapped, split)
        assert (deployed.logits(split) - expected).abs().max() < 0.1 * expected.abs().max()


class _FirstToken(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits[:, 0]


def test_a_bias_beyond_32_bits_makes_a_file(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 2)).eval()
    with torch.no_grad():
        model[1].weight[0] = 1e-8
        model[1].bias.add_(1.0)
    split = image_split()
    deployed = deploy_static(fold_batchnorm(model), split, tmp_path / "model.onnx")
    expected = training.predict_logits(model, split)
    assert (deployed.logits(split) - expected).abs().max() < 0.05 * expected.abs().max()


def test_a_norm_without_statistics_is_refused_with_both_layers():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    with pytest.raises(ValueError, match=r"layers '0' and '1': BatchNorm has no running statistics"):
        fold_batchnorm(model)


@pytest.mark.parametrize("bits", [None, 4])
def test_a_tied_head_is_rounded_once(tmp_path, bits):
    gpt2 = tiny_causal_lm("gpt2", layers=1)
    embeddings = None if bits is None else Scheme(bits)
    quantized = quantize_weights(gpt2, Scheme(8), embeddings=embeddings)
    weights = quantized_weights(quantized)
    tied = {name for name in weights if name in ("lm_head.weight", "transformer.wte.weight")}
    assert len(tied) == 1 and weights[tied.pop()].params.bits == (bits or 8)
    assert quantized.lm_head.weight is quantized.transformer.wte.weight
    loaded = storage.load(storage.save(quantized, tmp_path / "model.safetensors"))
    tokens = {"input_ids": torch.arange(8)[None]}
    assert torch.equal(models.forward(loaded, tokens), models.forward(quantized, tokens))


def test_two_schemes_for_one_weight_are_refused_and_one_wins():
    gpt2 = tiny_causal_lm("gpt2", layers=1)
    both = {"lm_head": Scheme(8), "transformer.wte": Scheme(4)}
    with pytest.raises(ValueError, match=r"'lm_head' and 'transformer\.wte' share their weight"):
        quantize_weights(gpt2, embeddings=Scheme(8), overrides=both)
    quantized = quantize_weights(gpt2, embeddings=Scheme(8), overrides={"lm_head": Scheme(3)})
    assert quantized_weights(quantized)["lm_head.weight"].params.bits == 3


def zeros(model):
    return {name: weight == 0 for name, weight in model.state_dict().items() if weight.dim() > 1}


@pytest.mark.parametrize("method", ["qat", "adaround", "gptq", "rtn", "ptq"])
def test_pruned_weights_stay_zero(method):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(432, 32), nn.ReLU(), nn.Linear(32, 16)).eval()
    pruned, split = pruning.prune_layerwise(dense, 0.7), image_split()
    model = {
        "qat": lambda: train_quantized(pruned, split, epochs=2, learning_rate=0.01, progress=False),
        "adaround": lambda: adaround(pruned, split, bits=4, iterations=20, progress=False),
        "gptq": lambda: gptq(pruned, split, 4, group_size=16),
        "rtn": lambda: rtn(pruned, 4, group_size=16),
        "ptq": lambda: post_training_quantization(pruned, split, corrected=True),
    }[method]().model
    for name, before in zeros(pruned).items():
        assert before.float().mean() == pytest.approx(0.7, abs=0.01)
        assert (model.state_dict()[name][before] == 0).all(), name
        assert (model.state_dict()[name][~before] != 0).float().mean() > 0.5, name


@pytest.mark.parametrize("keep_zeros", [False, True])
def test_keeping_zeros_is_a_choice(keep_zeros):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(432, 32)).eval()
    pruned, split = pruning.prune_layerwise(dense, 0.05), image_split()
    before = pruned[1].weight == 0
    trained = train_quantized(pruned, split, epochs=2, learning_rate=0.05, progress=False, keep_zeros=keep_zeros)
    assert bool((trained.model[1].weight[before] == 0).all()) == keep_zeros
    rounded = gptq(pruned, split, 4, group_size=16, keep_zeros=keep_zeros)
    assert bool((rounded.model[1].weight[before] == 0).all()) == keep_zeros


def test_gptq_with_zeros_kept_is_better_than_rounding_and_pruning_again():
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(256, 64, generator=generator) @ torch.randn(64, 64, generator=generator)
    weight = torch.randn(32, 64, generator=generator)
    kept = pruning.magnitude_mask(weight, 0.5)
    weight = weight * kept
    from course_lib.quantization.gptq import gptq_matrix

    hessian, params = mixed.T @ mixed, weight_params(weight, 4, "group", group_size=16, symmetric=False)

    def error(values):
        return ((values - weight) @ mixed.T).square().mean().item()

    free = gptq_matrix(weight, hessian, params).values() * kept
    masked = gptq_matrix(weight, hessian, params, kept=kept).values()
    assert (masked[~kept] == 0).all() and error(masked) < error(free)


def test_reports_leave_every_module_in_its_mode():
    torch.manual_seed(0)
    exact = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 2)).train()
    exact[1].eval()
    quantized, mean = quantize_weights(exact), exact[1].running_mean.clone()
    quantized.train()
    output_report(exact, quantized, image_split())
    correct_bias(quantized, exact, image_split())
    assert [module.training for module in (exact, exact[0], exact[1], quantized)] == [True, True, False, True]
    assert torch.equal(exact[1].running_mean, mean)


class TiedLayers(nn.Module):
    """Two linear layers with one weight."""

    def __init__(self):
        super().__init__()
        self.embed, self.first, self.second = nn.Linear(432, 64), nn.Linear(64, 64), nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.second(self.first(self.embed(x.flatten(1))).relu()))


@pytest.mark.parametrize("method", [rtn, gptq, "ptq"])
def test_layers_that_share_a_weight_are_quantized_together(method, monkeypatch, tmp_path):
    monkeypatch.setitem(models.BUILDERS, "tied", TiedLayers)
    torch.manual_seed(0)
    model, split = models.build({"builder": "tied", "arguments": {}}), image_split()
    result = {
        rtn: lambda: rtn(model, 4, group_size=16),
        gptq: lambda: gptq(model, split, 4, group_size=16),
        "ptq": lambda: post_training_quantization(model, split),
    }[method]()
    assert result.model.second.weight is result.model.first.weight
    assert 0 < largest_change(model, result.model) < 0.5
    loaded = storage.load(storage.save(result.model, tmp_path / "model.safetensors"))
    assert largest_change(loaded, result.model) == 0 and loaded.second.weight is loaded.first.weight


def test_training_refuses_layers_that_share_a_weight_and_leaves_tied_heads():
    with pytest.raises(ValueError, match="layers 'first' and 'second' share their weight"):
        train_quantized(TiedLayers().eval(), image_split(), epochs=1, learning_rate=1e-4, progress=False)
    gpt2 = _FirstToken(tiny_causal_lm("gpt2", layers=1)).eval()
    trained = train_quantized(gpt2, token_split(), epochs=1, learning_rate=1e-4, progress=False)
    assert "model.lm_head.weight" not in quantized_weights(trained.model)
    assert len(quantized_weights(trained.model)) == 4


def test_biases_of_a_layer_that_is_called_twice_are_left_alone():
    torch.manual_seed(0)
    exact, split = SharedConvolution().eval(), image_split()
    coarse = quantize_weights(exact, Scheme(3))
    corrected = correct_bias(coarse, exact, split)
    assert torch.equal(corrected.shared.bias, coarse.shared.bias)
    assert not torch.equal(corrected.stem.bias, coarse.stem.bias)


def test_learned_rounding_sees_every_call_of_a_layer(monkeypatch):
    module_of_adaround = importlib.import_module("course_lib.quantization.adaround")
    seen, original = {}, module_of_adaround.round_adaptively

    def spy(weight, params, inputs, targets, **options):
        seen[tuple(weight.shape)] = (inputs, targets)
        return original(weight, params, inputs, targets, **options)

    monkeypatch.setattr(module_of_adaround, "round_adaptively", spy)
    torch.manual_seed(0)
    model = SharedConvolution().eval()
    adaround(model, image_split(), bits=4, iterations=3, progress=False)
    (once, _), (twice, targets) = seen[(6, 3, 3, 3)], seen[(6, 6, 3, 3)]
    assert once.shape[1] == 8 * 144 and twice.shape[1] == targets.shape[1] == 2 * 8 * 144
