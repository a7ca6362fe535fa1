"""Magnitude pruning reaches every matrix of a model that is not ours, and refuses what it cannot write."""

from __future__ import annotations

import pytest
import torch
from foreign_families import FAMILIES
from torch import nn
from torch.nn.utils import prune

from course_lib import pruning
from course_lib.pruning import StructuredPruner


def zeros(tensor: torch.Tensor) -> float:
    return (tensor == 0).float().mean().item()


def test_the_matrices_of_gpt2_are_pruned_and_its_embedding_is_not():
    model = FAMILIES["GPT-2"].model()
    result = StructuredPruner(model, 0.9).magnitude_based_pruning()
    block = result.model.transformer.h[0]
    for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
        assert zeros(layer.weight) == pytest.approx(0.9, abs=1e-3)
    assert torch.equal(result.model.transformer.wte.weight, model.transformer.wte.weight)
    assert result.sparsity == pytest.approx(0.9, abs=1e-3) and "lm_head" not in result.masks


def test_the_projections_of_attention_are_pruned():
    model = FAMILIES["ViT (torchvision)"].model()
    pruned = StructuredPruner(model, 0.9).apply_global_pruning()
    attention = "encoder.layers.encoder_layer_0.self_attention"
    assert {f"{attention}.in_proj_weight", f"{attention}.out_proj"} <= set(pruned.masks)
    assert zeros(pruned.model.get_parameter(f"{attention}.in_proj_weight")) > 0.3
    assert pruned.sparsity == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("layer", [nn.Conv1d(3, 8, 5), nn.ConvTranspose2d(3, 8, 5), nn.Conv3d(2, 4, 3), nn.LSTM(4, 6)])
def test_layers_of_every_kind_are_pruned(layer):
    model = nn.ModuleDict({"layer": layer}).eval()
    pruned = StructuredPruner(model, 0.75).magnitude_based_pruning()
    weights = [weight for weight in pruned.model.parameters() if weight.dim() > 1]
    assert [zeros(weight) for weight in weights] == [pytest.approx(0.75, abs=0.02)] * len(weights)


def with_weight_norm(layer: nn.Module) -> nn.Module:
    return torch.nn.utils.parametrizations.weight_norm(layer)


def with_mask(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


@pytest.mark.parametrize(
    ("change", "remedy"), [(with_weight_norm, "remove_parametrizations"), (with_mask, r"prune\.remove")]
)
@pytest.mark.parametrize(
    "use",
    [
        lambda model: StructuredPruner(model, 0.9).magnitude_based_pruning(),
        lambda model: StructuredPruner(model, 0.9).apply_global_pruning(),
        lambda model: StructuredPruner(model, 0.5).structured_pruning(),
        lambda model: pruning.prune_semi_structured(model),
        lambda model: pruning.apply_masks(model, {"0": torch.ones(8, 4, dtype=torch.bool)}),
    ],
)
def test_a_recomputed_weight_is_refused_with_the_remedy(change, remedy, use):
    model = nn.Sequential(change(nn.Linear(4, 8)), nn.Linear(8, 8), nn.Linear(8, 4)).eval()
    with pytest.raises(ValueError, match=rf"layer '0' recomputes its weight.*{remedy}"):
        use(model)


def test_nan_in_a_layer_that_would_shrink_is_refused():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4)).eval()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"0\.weight must be finite, it holds NaN"):
        pruning.prune_channels(model, 0.5)


def test_rows_of_four_need_the_inputs_of_a_layer():
    model = nn.Sequential(nn.ConvTranspose2d(4, 8, 3), nn.Conv2d(8, 4, 3)).eval()
    with pytest.raises(ValueError, match="layer '0' stores its inputs first"):
        pruning.semi_structured_masks(model, ["0"])
    assert list(pruning.semi_structured_masks(model)) == ["1"]
