"""Magnitude pruning: masks, how they are applied, and the sparsity that they leave.

A mask is boolean, has the shape of its weight, and is true where the weight stays. Masks of a model are a dict from
layer name to mask. Applying one writes zeros into the weight tensor: no hooks, no extra buffers, and nothing to store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.architectures.factorized import Factored
from course_lib.architectures.weighted_layers import check_plain_weights, copy_model, fused_weights, weighted_layers
from course_lib.core.validation import check_choice, check_fraction

if TYPE_CHECKING:
    import pandas

Masks = dict[str, Tensor]


def magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    """Boolean mask that keeps the largest-magnitude entries of ``weight``.

    Exactly ``round(sparsity * weight.numel())`` entries are dropped; ties fall to the lower index.

    Args:
        weight: any shape, floating point.
        sparsity: fraction to drop, in [0, 1).

    Raises:
        ValueError: if ``sparsity`` is outside [0, 1), or ``weight`` holds NaN.

    Source: Han et al., Learning both Weights and Connections, 2015.
    """
    check_fraction("sparsity", sparsity)
    magnitude = _without_nan(weight.detach()).abs().flatten()
    dropped = round(sparsity * magnitude.numel())
    if dropped == 0:
        return torch.ones_like(weight, dtype=torch.bool, memory_format=torch.contiguous_format)
    # Selecting one value is ten times as fast as sorting eleven million of them.
    threshold = magnitude.kthvalue(dropped).values
    mask = magnitude > threshold
    ties = (magnitude == threshold).nonzero().flatten()
    ties_dropped = dropped - int((magnitude < threshold).sum())
    mask[ties[ties_dropped:]] = True
    return mask.view(weight.shape)


def layerwise_masks(model: nn.Module, sparsity: float, layers: Collection[str] | None = None) -> Masks:
    """One mask per layer, each dropping the same fraction of its layer.

    Args:
        layers: names of the layers to prune; those of ``layer_weights`` by default. Embeddings can be named.

    Raises:
        ValueError: if ``sparsity`` is outside [0, 1), a name is unknown, there is nothing to prune, or weights are NaN.
    """
    check_fraction("sparsity", sparsity)
    return {name: magnitude_mask(weight, sparsity) for name, weight in weights_to_rank(model, layers).items()}


def global_masks(model: nn.Module, sparsity: float, layers: Collection[str] | None = None) -> Masks:
    """Masks from one threshold over all layers: layers with many small weights lose more.

    Exactly ``round(sparsity * n)`` of the ``n`` weights of all layers together are dropped; ties fall to the earlier
    layer, then to the lower index. Arguments and errors as in ``layerwise_masks``.

    Source: Frankle and Carbin, The Lottery Ticket Hypothesis (section 4), 2019.
    """
    check_fraction("sparsity", sparsity)
    weights = weights_to_rank(model, layers)
    kept = magnitude_mask(torch.cat([weight.flatten() for weight in weights.values()]), sparsity)
    parts = kept.split([weight.numel() for weight in weights.values()])
    return {name: part.view(weight.shape) for (name, weight), part in zip(weights.items(), parts, strict=True)}


def nonzero_masks(model: nn.Module, layers: Collection[str] | None = None) -> Masks:
    """The masks of a model that is pruned already: true wherever its weight is not zero."""
    return {name: weight != 0 for name, weight in layer_weights(model, layers).items()}


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Write zeros into the weights of ``model``, in place, wherever their mask is false.

    Raises:
        ValueError: if a layer is unknown, a mask is not boolean or not of its weight's shape, or a weight of the model
            is recomputed before each call; nothing is written.
    """
    check_plain_weights(model)
    weights = layer_weights(model, masks.keys()) if masks else {}
    for name, mask in masks.items():
        if mask.dtype != torch.bool or mask.shape != weights[name].shape:
            raise ValueError(
                f"masks[{name!r}] must be boolean of shape {tuple(weights[name].shape)}, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
    for name, mask in masks.items():
        # Filling always gives +0.0; multiplying by the mask would give -0.0 and NaN.
        weights[name].masked_fill_(~mask.to(weights[name].device), 0.0)


def pruned_copy(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy of ``model`` with ``masks`` applied; errors as in ``apply_masks``."""
    pruned = copy_model(model)
    apply_masks(pruned, masks)
    return pruned


def prune_global(model: nn.Module, sparsity: float, layers: Collection[str] | None = None) -> nn.Module:
    """A copy of ``model`` with the smallest weights of all layers together set to zero (see ``global_masks``)."""
    return pruned_copy(model, global_masks(model, sparsity, layers))


def prune_layerwise(model: nn.Module, sparsity: float, layers: Collection[str] | None = None) -> nn.Module:
    """A copy of ``model`` with the smallest weights of each layer set to zero (see ``layerwise_masks``)."""
    return pruned_copy(model, layerwise_masks(model, sparsity, layers))


def sparsity(model: nn.Module, layers: Collection[str] | None = None) -> float:
    """Fraction of zeros among the weights of ``layers`` (those of ``layer_weights`` by default)."""
    table = sparsity_table(model, layers)
    return 1 - int(table["kept"].sum()) / max(1, int(table["weights"].sum()))


def sparsity_table(model: nn.Module, layers: Collection[str] | None = None) -> pandas.DataFrame:
    """One row per layer: ``layer``, ``weights``, ``kept`` (not zero), ``sparsity`` (fraction of zeros)."""
    import pandas

    counts = [
        (name, weight.numel(), int(weight.count_nonzero())) for name, weight in layer_weights(model, layers).items()
    ]
    table = pandas.DataFrame(counts, columns=["layer", "weights", "kept"])
    return table.assign(sparsity=1 - table["kept"] / table["weights"].clip(lower=1))


def embedding_layers(model: nn.Module) -> list[str]:
    """Names of the embedding tables, which are not pruned unless they are named (over half of a MiniLM)."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Embedding)]


def make_permanent(model: nn.Module) -> list[str]:
    """Write the masks of ``torch.nn.utils.prune`` into the weights, in place, and return the layers that had some.

    Layers that were never pruned are skipped (``prune.remove`` raises on them). Afterwards the ``state_dict`` holds
    ``weight`` again instead of ``weight_orig`` and ``weight_mask``, half as many values.
    """
    from torch.nn.utils import prune

    changed = []
    for name, module in model.named_modules():
        hooks = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, prune.BasePruningMethod)]
        for hook in hooks:
            prune.remove(module, hook._tensor_name)
        if hooks:
            changed.append(name)
    return changed


def layer_weights(model: nn.Module, layers: Collection[str] | None = None) -> dict[str, Tensor]:
    """Layer name → its weight tensor, detached but sharing memory; a weight that two layers share is listed once.

    By default these are all convolutions and linear layers, and matrices that a module of torch uses without a layer
    (``"self_attention.in_proj_weight"``). A head that shares its weight with an embedding table is left out, as the
    table is.

    Raises:
        ValueError: if a name is unknown, or there is nothing to prune.
    """
    matrices = {name: weight for name, module in model.named_modules() if (weight := _matrix(module)) is not None}
    matrices |= fused_weights(model)
    chosen = _default_names(model, matrices) if layers is None else [layers] if isinstance(layers, str) else layers
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name in chosen:
        weight = matrices[check_choice("layers", name, matrices)]
        if id(weight) not in seen:
            weights[name] = weight.detach()
        seen.add(id(weight))
    if not weights:
        raise ValueError(
            f"model {type(model).__name__} has no convolution or linear layer to prune"
            if layers is None
            else f"layers must name at least one of {', '.join(map(repr, matrices))}; got {list(layers)}"
        )
    return weights


def _default_names(model: nn.Module, matrices: Mapping[str, Tensor]) -> list[str]:
    """Layers with weights and fused weights, without those that are an embedding table too."""
    tables = {id(matrices[name]) for name in embedding_layers(model)}
    names = [*weighted_layers(model), *fused_weights(model)]
    return [name for name in names if id(matrices[name]) not in tables]


def weights_to_rank(model: nn.Module, layers: Collection[str] | None = None) -> dict[str, Tensor]:
    """As ``layer_weights``, but refuses NaN, which cannot be ranked, and weights that are recomputed before each call.

    Raises:
        ValueError: names the layer.
    """
    check_plain_weights(model)
    weights = layer_weights(model, layers)
    for name, weight in weights.items():
        _without_nan(weight, f"the weight of layer {name!r}")
    return weights


def _matrix(module: nn.Module) -> Tensor | None:
    weight = None if isinstance(module, Factored) else getattr(module, "weight", None)
    if isinstance(weight, Tensor) and weight.is_floating_point() and weight.dim() >= 2:
        return weight
    return None


def _without_nan(weight: Tensor, name: str = "weight") -> Tensor:
    count = int(weight.isnan().sum())
    if count:
        raise ValueError(f"{name} must be free of NaN, got {count} NaN in {weight.numel()} values")
    return weight
