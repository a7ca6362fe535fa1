"""Models whose layers have other sizes than their builder gives them: what structured pruning leaves behind.

Sizes are plain numbers, so that a description can carry them: ``{"layer1.0.conv1": [64, 32], "layer1.0.bn1": [32]}``.
The builder's model is made without memory, and each of its layers is made anew in its size; the classes stay those of
torchvision and transformers, and nothing larger than the result is ever allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def sizes(module: nn.Module) -> list[int] | None:
    """Sizes of a layer: ``[in, out]`` of a convolution or linear layer, ``[rows, width]`` of an embedding, ``[n]`` of a
    norm; ``None`` for anything else.
    """
    if isinstance(module, nn.Conv2d):
        return [module.in_channels, module.out_channels]
    if isinstance(module, nn.Linear):
        return [module.in_features, module.out_features]
    if isinstance(module, nn.Embedding):
        return [module.num_embeddings, module.embedding_dim]
    if isinstance(module, NORMS):
        return [module.num_features]
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return [module.normalized_shape[0]]
    return None


def depthwise(module: nn.Conv2d) -> bool:
    """Whether every channel has a filter of its own, so that channels go in and out one by one."""
    return module.groups == module.in_channels == module.out_channels > 1


def resized(
    make: Callable[[], nn.Module], widths: Mapping[str, Sequence[int]], removed: Sequence[str] = ()
) -> nn.Module:
    """The model of ``make`` with layers of other sizes, untrained.

    Args:
        make: builds the model as its builder would.
        widths: layer name → its new sizes (see ``sizes``); the other layers keep theirs.
        removed: names of blocks within a ``Sequential`` that become ``nn.Identity``.

    Raises:
        ValueError: if a name is unknown, sizes are not positive whole numbers of the right count, or a layer is of a
            kind that cannot be made in another size.
    """
    with torch.device("meta"):
        model = make()
    for name in removed:
        _remove(model, name)
    modules = dict(model.named_modules())
    for name in widths:
        if name not in modules or sizes(modules[name]) is None:
            raise ValueError(f"widths names {name!r}, which is not a layer of {type(model).__name__} that has a size")
    for name, module in modules.items():
        if sizes(module) is not None:
            model.set_submodule(name, like(module, widths.get(name)))
    _settle(model)
    return model


def like(module: nn.Module, new: Sequence[int] | None = None) -> nn.Module:
    """A fresh layer of the same kind with the sizes ``new`` (its own by default), on the current default device."""
    before = sizes(module)
    if before is None:
        raise ValueError(f"a layer of kind {type(module).__name__} cannot be made in another size")
    new = before if new is None else list(new)
    if len(new) != len(before) or not all(type(size) is int and size > 0 for size in new):
        raise ValueError(f"sizes of a {type(module).__name__} must be {len(before)} positive whole numbers, got {new}")
    fresh = _fresh(module, new)
    return fresh.train(module.training)


def _fresh(module: Any, new: Sequence[int]) -> nn.Module:
    if isinstance(module, nn.Conv2d):
        groups = new[1] if depthwise(module) else module.groups
        shape = {
            name: getattr(module, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        }
        return nn.Conv2d(new[0], new[1], groups=groups, bias=module.bias is not None, **shape)
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


def _settle(model: nn.Module) -> None:
    """Numbers that transformers keeps beside the layers follow their sizes; buffers of positions are made for real."""
    for name, module in model.named_modules():
        settle_heads(name, module)
        if isinstance(getattr(module, "position_ids", None), torch.Tensor):
            count = module.position_ids.shape[-1]
            module.position_ids = torch.arange(count).expand(1, -1)
            module.token_type_ids = torch.zeros(1, count, dtype=torch.long)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_meta and not torch.empty(0).is_meta:
            raise ValueError(
                f"{type(model).__name__} cannot have other widths: nobody taught how to make {name!r} anew"
            )


def settle_heads(name: str, module: Any) -> None:
    """Let an attention module of BERT know how many heads its layers have now.

    Raises:
        ValueError: if a head would be cut in two.
    """
    if not hasattr(module, "all_head_size"):
        return
    width, head = module.query.out_features, module.attention_head_size
    if width % head:
        raise ValueError(f"{name}.query must have a multiple of {head} outputs, one block for each head, got {width}")
    module.num_attention_heads, module.all_head_size = width // head, width
