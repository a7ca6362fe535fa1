"""Models with other layer sizes than their builder gives them, as after structured pruning.

The description of such a model lists the changed layers, ``{"layer1.0.conv1": [64, 32], "layer1.0.bn1": [32]}``
(``[in, out]`` channels, see ``sizes``). ``resized`` builds the model in two steps: the builder makes it on the ``meta``
device, which needs no memory; then the changed layers are replaced by new ones, and the others get memory. The classes
stay those of torchvision and transformers, and nothing larger than the result is allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from course_lib.architectures.meta_building import with_memory, without_memory
from course_lib.architectures.weighted_layers import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS, is_transposed

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
CONVOLUTION_SHAPE = ("kernel_size", "stride", "padding", "dilation", "padding_mode")


def sizes(module: Any) -> list[int] | None:
    """``[in, out]`` of convolutions and linear layers, ``[rows, width]`` of embeddings, ``[n]`` of norms; or None."""
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS)):
        return [module.in_channels, module.out_channels]
    if is_transposed(module):
        return [module.nx, module.nf]
    if isinstance(module, nn.Linear):
        return [module.in_features, module.out_features]
    if isinstance(module, nn.Embedding):
        return [module.num_embeddings, module.embedding_dim]
    if isinstance(module, NORMS):
        return [module.num_features]
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return [module.normalized_shape[0]]
    return None


def is_depthwise(module: Any) -> bool:
    """Whether every channel has its own filter, so that input and output channels are the same."""
    if not isinstance(module, CONVOLUTIONS):
        return False
    return module.groups == module.in_channels == module.out_channels > 1


def resized(
    make: Callable[[], nn.Module], widths: Mapping[str, Sequence[int]], removed: Sequence[str] = ()
) -> nn.Module:
    """The model of ``make`` with other layer sizes, untrained.

    Args:
        widths: layer name → its new sizes (see ``sizes``); other layers keep theirs.
        removed: names of blocks within a ``Sequential`` that become ``nn.Identity``.

    Raises:
        ValueError: if a name is unknown, sizes are not positive whole numbers of the right count, or a layer is of a
            kind that cannot be resized.
    """
    with without_memory():
        model = make()
    for name in removed:
        _remove(model, name)
    modules = dict(model.named_modules())
    for name in widths:
        if name not in modules or sizes(modules[name]) is None:
            raise ValueError(f"widths names {name!r}, which is not a layer of {type(model).__name__} that has a size")
    with_memory(model, {name: partial(layer_like, new=new) for name, new in widths.items()})
    _update_attributes(model)
    return model


def layer_like(module: nn.Module, new: Sequence[int] | None = None) -> nn.Module:
    """A new layer of the same kind with the sizes ``new`` (its own by default), on the default device.

    Raises:
        ValueError: if the layer has no sizes, or ``new`` does not fit its kind.
    """
    old = sizes(module)
    if old is None:
        raise ValueError(f"a layer of kind {type(module).__name__} cannot be made in another size")
    new = old if new is None else list(new)
    if len(new) != len(old) or not all(type(size) is int and size > 0 for size in new):
        raise ValueError(f"sizes of a {type(module).__name__} must be {len(old)} positive whole numbers, got {new}")
    return _new_layer(module, new).train(module.training)


def _new_layer(module: Any, new: Sequence[int]) -> nn.Module:
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS)):
        groups = new[1] if is_depthwise(module) else module.groups
        kept = (*CONVOLUTION_SHAPE, *(["output_padding"] if isinstance(module, TRANSPOSED_CONVOLUTIONS) else []))
        shape = {name: getattr(module, name) for name in kept}
        return type(module)(new[0], new[1], groups=groups, bias=module.bias is not None, **shape)
    if is_transposed(module):
        return type(module)(new[1], new[0])
    if isinstance(module, nn.Linear):
        return nn.Linear(new[0], new[1], bias=module.bias is not None)
    if isinstance(module, nn.Embedding):
        return nn.Embedding(new[0], new[1], padding_idx=module.padding_idx)
    if isinstance(module, nn.LayerNorm):
        return nn.LayerNorm(new[0], module.eps, module.elementwise_affine, bias=module.bias is not None)
    return type(module)(new[0], module.eps, module.momentum, module.affine, module.track_running_stats)


def _remove(model: nn.Module, name: str) -> None:
    parent = name.rpartition(".")[0]
    modules = dict(model.named_modules())
    if name not in modules or not isinstance(modules.get(parent), nn.Sequential):
        raise ValueError(f"removed names {name!r}, which is not a block within a Sequential of {type(model).__name__}")
    model.set_submodule(name, nn.Identity())


def _update_attributes(model: nn.Module) -> None:
    """Update the sizes and position buffers that transformers stores beside its layers."""
    for name, module in model.named_modules():
        update_head_count(name, module)
        if isinstance(getattr(module, "position_ids", None), torch.Tensor):
            count = module.position_ids.shape[-1]
            module.position_ids = torch.arange(count).expand(1, -1)
            module.token_type_ids = torch.zeros(1, count, dtype=torch.long)


def update_head_count(name: str, module: Any) -> None:
    """Set the number of heads of an attention module of transformers from the size of its layers.

    Raises:
        ValueError: if the size is not a multiple of the head size.
    """
    if not type(module).__module__.startswith("transformers."):
        return
    if hasattr(module, "all_head_size"):
        width, size = module.query.out_features, module.attention_head_size
        module.num_attention_heads, module.all_head_size = _heads(f"{name}.query", width, size), width
    elif hasattr(module, "split_size") and hasattr(module, "c_attn") and not hasattr(module, "q_attn"):  # GPT-2
        width = getattr(module.c_attn, "nf", getattr(module.c_attn, "out_features", 0)) // 3  # it may be factored
        module.num_heads, module.split_size = _heads(f"{name}.c_attn", width, module.head_dim), width
    elif isinstance(getattr(module, "q_proj", None), nn.Linear) and hasattr(module, "num_heads"):  # OPT, BART
        module.num_heads = _heads(f"{name}.q_proj", module.q_proj.out_features, module.head_dim)


def _heads(layer: str, width: int, size: int) -> int:
    if width % size:
        raise ValueError(f"{layer} must have a multiple of {size} outputs (the head size), got {width}")
    return width // size
