"""Layers with weights: which layers the whole library compresses, and whether their weights can be changed.

A layer counts if each of its outputs is a weighted sum of its inputs: linear layers (also the transposed ``Conv1D`` of
GPT-2), convolutions and transposed convolutions in one to three dimensions.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FUSED = (nn.MultiheadAttention, nn.RNNBase, nn.Bilinear)
REMEDIES = {
    "WeightNorm": "torch.nn.utils.remove_weight_norm(model.get_submodule({layer!r}))",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm(model.get_submodule({layer!r}))",
}
PRUNING_REMEDY = "torch.nn.utils.prune.remove(model.get_submodule({layer!r}), {parameter!r})"
PARAMETRIZE_REMEDY = "torch.nn.utils.parametrize.remove_parametrizations(model.get_submodule({layer!r}), {parameter!r})"


def weighted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name → module of every layer with weights, in the order of the model; a shared module is listed once."""
    return {name: module for name, module in model.named_modules() if is_weighted(module)}


def is_weighted(module: nn.Module) -> bool:
    """Whether a module is a convolution, a transposed convolution or a linear layer."""
    return is_linear(module) or isinstance(module, (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS))


def is_linear(module: nn.Module) -> bool:
    """Whether a module is ``nn.Linear`` or the transposed ``Conv1D`` of GPT-2."""
    return isinstance(module, nn.Linear) or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Whether the weight is stored as ``(in, out)``, as in the ``Conv1D`` of GPT-2."""
    return any(kind.__name__ == "Conv1D" for kind in type(module).__mro__)


def output_axis(layer: nn.Module) -> int:
    """The axis of the weight along which its output channels lie: 1 for transposed layers, else 0."""
    return 1 if is_transposed(layer) or isinstance(layer, TRANSPOSED_CONVOLUTIONS) else 0


def spatial_dimensions(layer: nn.Module) -> int:
    """Dimensions after the channels in inputs and outputs of the layer: 2 for ``Conv2d``, 0 for a linear layer."""
    return 0 if is_linear(layer) else len(layer.kernel_size)  # type: ignore[arg-type]


def fused_weights(model: nn.Module) -> dict[str, Tensor]:
    """Tensor name → weight that a module of torch uses without calling a layer for it.

    These are the projections of ``nn.MultiheadAttention``, the matrices of recurrent layers, and ``nn.Bilinear``.
    """
    return {
        f"{name}.{key}".lstrip("."): parameter
        for name, module in model.named_modules()
        if isinstance(module, FUSED)
        for key, parameter in module.named_parameters(recurse=False)
        if parameter.dim() > 1
    }


def uncalled_layers(model: nn.Module) -> set[str]:
    """Names of layers whose weight is used without calling them, so that no hook sees their input."""
    attention = (name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention))
    return {f"{name}.out_proj".lstrip(".") for name in attention}


def check_no_fused_weights(model: nn.Module, method: str) -> None:
    """Refuse a model with weights that ``method``, which works on layers, would miss.

    Raises:
        ValueError: names the first of these weights (see ``fused_weights``).
    """
    if names := list(fused_weights(model)):
        raise ValueError(
            f"{method} works on layers and cannot reach {names[0]!r}, which its module uses without a layer; replace "
            "the module by one with linear layers, or use post_training_quantization or rtn, which round such weights"
        )


def copy_model(model: nn.Module) -> nn.Module:
    """A deep copy of ``model`` whose weights may be changed.

    Raises:
        ValueError: as ``check_plain_weights``.
    """
    check_plain_weights(model)
    return copy.deepcopy(model)


def check_plain_weights(model: nn.Module) -> None:
    """Refuse a model with a weight that is recomputed before each call: what is written into it would be lost.

    Raises:
        ValueError: names the layer with ``weight_norm``, ``spectral_norm``, a parametrization, or a mask of
            ``torch.nn.utils.prune``, and says how to make its weight a plain parameter.
    """
    for name, module in model.named_modules():
        if found := recomputed_parameter(module):
            kind, parameter, remedy = found
            advice = remedy.format(layer=name, parameter=parameter)
            raise ValueError(
                f"layer {name!r} recomputes its {parameter} before each call ({kind}), so a change of it would be "
                f"lost; make it a plain parameter first: {advice}"
            )


def recomputed_parameter(module: nn.Module) -> tuple[str, str, str] | None:
    """What recomputes a parameter of this module itself, its name, and the remedy; None if all are plain."""
    if parametrize.is_parametrized(module):
        parametrizations: Any = module.parametrizations
        parameter = next(iter(parametrizations))
        return type(parametrizations[parameter][0]).__name__.lstrip("_"), parameter, PARAMETRIZE_REMEDY
    for hook in module._forward_pre_hooks.values():
        kind = type(hook).__name__
        if kind in REMEDIES:
            return kind, str(getattr(hook, "name", "weight")), REMEDIES[kind]
        if hasattr(hook, "_tensor_name"):  # torch.nn.utils.prune.BasePruningMethod
            return f"pruning mask {kind}", str(hook._tensor_name), PRUNING_REMEDY
    weight = vars(module).get("weight")
    if isinstance(weight, Tensor) and "weight" not in module._buffers:
        return "an attribute in place of a parameter", "weight", "model.get_submodule({layer!r}).weight = a Parameter"
    return None
