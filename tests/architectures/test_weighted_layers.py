"""One definition of layers with weights; weights that are recomputed before each call are refused by name."""

import copy
import warnings

import pytest
import torch
from torch import nn

from course_lib import models
from course_lib.architectures.batchnorm_folding import fold_batchnorm
from course_lib.architectures.weighted_layers import (
    check_plain_weights,
    copy_model,
    fused_weights,
    output_axis,
    spatial_dimensions,
    uncalled_layers,
    weighted_layers,
)
from course_lib.data import Split
from course_lib.lowrank import add_lora, factorize, merge_lora, plan_for_size
from course_lib.pruning import apply_masks, prune_channels, prune_global, sensitivity_scan
from course_lib.quantization import adaround, equalize, post_training_quantization, quantize_weights, rtn
from tests.unusual_models import (
    OneDimensional,
    WithAttention,
    WithRecurrence,
    image_split,
    recomputed_models,
    tiny_causal_lm,
)

warnings.filterwarnings("ignore", message=".*weight_norm.*")
KINDS = ("weight_norm", "new weight_norm", "parametrize", "prune", "spectral_norm")


def test_layers_of_any_dimension_and_the_transposed_ones_count():
    assert list(weighted_layers(OneDimensional())) == ["down", "up", "head"]
    names = list(models.prunable_layers(tiny_causal_lm("gpt2", layers=1)))
    block = [f"transformer.h.0.{name}" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]
    assert names == [*block, "lm_head"]


def test_outputs_lie_along_the_second_axis_of_transposed_layers():
    model, gpt2 = OneDimensional(), tiny_causal_lm("gpt2", layers=1)
    layers = weighted_layers(model)
    assert [output_axis(layer) for layer in layers.values()] == [0, 1, 0]
    assert output_axis(gpt2.get_submodule("transformer.h.0.mlp.c_fc")) == 1
    assert [spatial_dimensions(layer) for layer in layers.values()] == [1, 1, 0]


def test_weights_that_no_layer_holds_are_listed():
    assert list(fused_weights(WithAttention())) == ["attention.in_proj_weight"]
    assert list(fused_weights(WithRecurrence())) == [
        "recurrent.weight_ih_l0",
        "recurrent.weight_hh_l0",
        "bilinear.weight",
    ]
    assert uncalled_layers(WithAttention()) == {"attention.out_proj"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "entry",
    [
        copy_model,
        fold_batchnorm,
        equalize,
        quantize_weights,
        rtn,
        lambda model: post_training_quantization(model, image_split()),
        lambda model: prune_global(model, 0.5),
        lambda model: apply_masks(model, {"0": torch.ones(4, 3, 3, 3, dtype=torch.bool)}),
        lambda model: sensitivity_scan(model, image_split(), progress=False),
        lambda model: factorize(model, {"4": ("svd", 1)}),
    ],
)
def test_a_recomputed_weight_is_refused_with_its_layer_and_the_remedy(kind, entry):
    with pytest.raises(ValueError, match=r"layer '0' recomputes its weight .*first: torch\.nn\.utils\..*'0'"):
        entry(recomputed_models()[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_the_remedy_works(kind):
    model = recomputed_models()[kind]
    images = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        expected = model(images)
        with pytest.raises(ValueError) as refusal:
            check_plain_weights(model)
        exec(str(refusal.value).rpartition("first: ")[2])
        check_plain_weights(model)
        assert torch.allclose(fold_batchnorm(model)(images), expected, atol=1e-5)


def test_plain_models_are_copied():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LSTM(4, 4), WithAttention())
    assert copy_model(model).state_dict().keys() == copy.deepcopy(model).state_dict().keys()


class WithMask(nn.Module):
    """A norm, a linear layer, and a causal mask, which is infinite on purpose."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["layer.weight", "layer.bias", "norm.weight", "norm.running_var"])
def test_a_copy_of_a_model_with_bad_values_is_refused_by_name(name, bad):
    model = WithMask()
    copy_model(model)
    model.state_dict()[name].view(-1)[0] = bad
    layer, kind = name.split(".")
    with pytest.raises(ValueError, match=rf"layer '{layer}': its {kind} holds NaN or infinity in 1 of \d+ entries"):
        copy_model(model)


def test_a_buffer_may_be_infinite_but_not_nan():
    model = WithMask()
    model.mask[0, 0] = float("nan")
    with pytest.raises(ValueError, match="its mask holds NaN"):
        copy_model(model)


@pytest.mark.parametrize(
    "use",
    [
        fold_batchnorm,
        equalize,
        rtn,
        quantize_weights,
        lambda model: prune_global(model, 0.5),
        lambda model: prune_channels(model, 0.5),
        lambda model: plan_for_size(model, 0.5),
    ],
)
def test_a_model_without_values_is_refused(use):
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8)).eval().to("meta")
    with pytest.raises(ValueError, match="layer '0' is on the meta device and has no values"):
        use(model)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_factors_updates_and_rounding_keep_the_dtype(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)).eval().to(dtype)
    rows = torch.randn(8, 16).to(dtype)
    split = Split("rows", "train", rows, torch.arange(8) % 2, ("a", "b"))
    with torch.enable_grad():
        rounded = adaround(model, split, bits=8, iterations=3, progress=False).model
    adapted = add_lora(model, 2, ["0"])
    for changed in (factorize(model, {"0": ("svd", 4)}).model, adapted, merge_lora(adapted), rounded):
        assert {parameter.dtype for parameter in changed.parameters()} == {dtype}
        assert changed(rows).dtype == dtype
    assert (rounded(rows) - model(rows)).abs().max() < 0.1 * model(rows).abs().max()
