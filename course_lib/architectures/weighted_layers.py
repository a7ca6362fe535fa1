"""Layers with weights: which layers the whole library compresses, and whether their weights can be changed.

A layer counts if each of its outputs is a weighted sum of its inputs: linear layers (also the transposed ``Conv1D`` of
GPT-2), convolutions and transposed convolutions in one to three dimensions.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
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
        ValueError: as ``check_plain_weights``; if a parameter or a running statistic holds NaN or infinity, or another
            buffer NaN (a mask may be infinite); or if the copy would use a weight of ``model`` itself.
    """
    check_plain_weights(model)
    for name, parameter in model.named_parameters():
        _check_values(name, parameter)
    for name, buffer in model.named_buffers():
        _check_values(name, buffer, infinite=not name.endswith(("running_mean", "running_var")))
    _check_no_captured_parts(model)
    return copy.deepcopy(model)


def _check_values(name: str, tensor: Tensor, *, infinite: bool = False) -> None:
    """Refuse NaN, and infinity unless it is allowed; the sum, one fast pass, is finite where all values are."""
    if not tensor.is_floating_point() or tensor.detach().sum(dtype=torch.float64).isfinite():
        return
    if count := int((tensor.isnan() if infinite else ~tensor.isfinite()).sum()):
        layer, _, kind = name.rpartition(".")
        raise ValueError(
            f"layer {layer!r}: its {kind} holds NaN or infinity in {count:,} of {tensor.numel():,} entries"
        )


def _check_no_captured_parts(model: nn.Module) -> None:
    """Refuse a hook or a replaced ``forward`` that holds a part of the model: in a copy it would hold the original's.

    Bound methods are copied with their module; a function, lambda or closure is not.
    """
    parts = {id(part) for part in (*model.modules(), *model.parameters(), *model.buffers())}
    for name, module in model.named_modules():
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        for function in [*hooks, *([vars(module)["forward"]] if "forward" in vars(module) else [])]:
            if any(id(owner) in parts for owner in _captured(function)):
                raise ValueError(
                    f"layer {name!r} has a hook or a forward function that holds a part of the model, so a copy of the "
                    "model would use the weights of the original; remove it, or make it a method of a module"
                )


def _captured(function: Any) -> Iterator[Any]:
    """What a function keeps in its closure and its defaults, and the owners of bound methods among it."""
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _is_filled(cell)]
    for value in [*cells, *(getattr(function, "__defaults__", None) or ())]:
        yield from (value, getattr(value, "__self__", None))


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


def check_plain_weights(model: nn.Module) -> None:
    """Refuse a model with a weight that is recomputed before each call: what is written into it would be lost.

    Raises:
        ValueError: names the layer with ``weight_norm``, ``spectral_norm``, a parametrization, or a mask of
            ``torch.nn.utils.prune``, and says how to make its weight a plain parameter; or a layer without values,
            which is lazy or on the ``meta`` device.
    """
    check_has_values(model)
    for name, module in model.named_modules():
        if found := recomputed_parameter(module):
            kind, parameter, remedy = found
            advice = remedy.format(layer=name, parameter=parameter)
            raise ValueError(
                f"layer {name!r} recomputes its {parameter} before each call ({kind}), so a change of it would be "
                f"lost; make it a plain parameter first: {advice}"
            )


def check_has_values(model: nn.Module) -> None:
    """Refuse a model with a lazy layer that was not called yet, or with parameters on the ``meta`` device.

    Raises:
        ValueError: names the layer.
    """
    for name, module in model.named_modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if any(map(is_lazy, own)):
            raise ValueError(
                f"layer {name!r} of kind {type(module).__name__} has no weights yet; run the model once on an example, "
                "which gives it its sizes"
            )
        if any(tensor.is_meta for tensor in own):
            raise ValueError(f"layer {name!r} is on the meta device and has no values; load its weights first")


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
