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
from course_lib.lowrank import factorize
from course_lib.pruning import apply_masks, prune_global, sensitivity_scan
from course_lib.quantization import equalize, post_training_quantization, quantize_weights, rtn
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
