"""Surgery: channels are really taken out, and what is left is a plain module with other widths."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.layer_sizes import depthwise, like, settle_heads, sizes
from course_lib.pruning.coupling import Coupling, CouplingError, Group, couple

Kept = Mapping[str, Tensor]


@torch.no_grad()
def remove_channels(model: nn.Module, kept: Kept, coupling: Coupling | None = None) -> nn.Module:
    """A copy of ``model`` in which the groups of ``kept`` have only those channels left.

    Every layer that a group touches is replaced by a smaller one of the same kind; the result is in eval mode, and
    knows its description, so that ``storage`` can save it.

    Args:
        kept: group name → indices of the channels that stay, in any order; groups that are not named stay whole.
        coupling: of this model, if it is at hand.

    Raises:
        CouplingError: if the model is not understood.
        ValueError: if the model is not fit for surgery (see ``check_fit``), a group is unknown or has to stay whole, or
            indices are repeated, out of range, or none.
    """
    coupling = couple(model) if coupling is None else coupling
    groups = {name: coupling[name] for name in kept}
    channels = {name: _checked(groups[name], kept[name]) for name in kept}
    check_fit(model, groups.values())
    removed = _removed_positions(groups, channels)
    pruned = copy.deepcopy(model)
    for layer in sorted({layer for layer, _ in removed}):
        old = pruned.get_submodule(layer)
        pruned.set_submodule(layer, _smaller(old, removed.get((layer, "in")), removed.get((layer, "out"))))
    for name, module in pruned.named_modules():
        settle_heads(name, module)
    _describe(pruned, model, {layer for layer, _ in removed})
    return pruned


def remove_blocks(model: nn.Module, names: Collection[str]) -> nn.Module:
    """A copy of ``model`` without some of its blocks: what went into a block comes out as it was.

    Args:
        names: residual blocks within a ``Sequential`` that change neither width nor resolution (``"layer1.1"``), or
            layers of BERT's encoder (``"bert.encoder.layer.3"``).

    Raises:
        ValueError: if a name is none of these, or no layer of the encoder would be left.
    """
    check_fit(model, ())
    allowed = removable_blocks(model)
    for name in names:
        if name not in allowed:
            raise ValueError(f"names must be among {', '.join(allowed) or 'no block at all'}; got {name!r}")
    names = list(dict.fromkeys(names))
    pruned: Any = copy.deepcopy(model)
    stacked = sorted((int(name.rpartition(".")[2]) for name in names if name.startswith("bert.")), reverse=True)
    if stacked and len(stacked) >= len(pruned.bert.encoder.layer):
        raise ValueError(f"names must leave at least one layer of the encoder, got all {len(stacked)}")
    for position in stacked:
        del pruned.bert.encoder.layer[position]
    for name in names if not stacked else ():
        pruned.set_submodule(name, nn.Identity().eval())
    description = getattr(model, models.ARCHITECTURE_ATTRIBUTE, None)
    if description is not None:
        arguments = _without_blocks(description["arguments"], names, stacked)
        setattr(pruned, models.ARCHITECTURE_ATTRIBUTE, {**description, "arguments": arguments})
    if stacked:
        pruned.config.num_hidden_layers = len(pruned.bert.encoder.layer)
    return pruned


def removable_blocks(model: nn.Module) -> list[str]:
    """Blocks that ``remove_blocks`` can take out, in the order of the model."""
    names = []
    for name, module in model.named_modules():
        residual = getattr(module, "downsample", "none") is None and getattr(module, "stride", 1) == 1
        inverted = getattr(module, "use_res_connect", False)
        stacked = name.startswith("bert.encoder.layer.") and name.count(".") == 3
        if residual or inverted or stacked:
            names.append(name)
    return names


def check_fit(model: nn.Module, groups: Collection[Group]) -> None:
    """Make sure that nothing stands in the way of surgery.

    Raises:
        ValueError: if the model is in training mode, or a layer that would shrink has frozen parameters or weights
            that do not lie in memory one after the other (channels-last is fine).
    """
    if any(module.training for module in model.modules()):
        raise ValueError("model is in training mode, in which its BatchNorm statistics change; call model.eval() first")
    for group in groups:
        for member in group.members:
            for label, parameter in model.get_submodule(member.layer).named_parameters(recurse=False):
                name = f"{member.layer}.{label}"
                if not parameter.requires_grad:
                    raise ValueError(
                        f"{name} is frozen (requires_grad=False), and removing channels of group {group.name!r} would "
                        "change it; unfreeze it, or leave this group out"
                    )
                if not _dense(parameter):
                    raise ValueError(
                        f"{name} is not contiguous (strides {tuple(parameter.stride())}), so it may be a view of "
                        "something else; make it a parameter of its own with .contiguous()"
                    )


def _dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _checked(group: Group, channels: Tensor) -> Tensor:
    """Sorted indices, or an error."""
    if group.kept_whole:
        raise ValueError(f"group {group.name!r} has to stay whole: {group.kept_whole}")
    channels = torch.as_tensor(channels)
    if channels.numel() == 0:
        raise ValueError(f"kept[{group.name!r}] leaves 0 of {group.channels} channels; at least 1 has to stay")
    if channels.dtype not in (torch.int64, torch.int32) or channels.dim() != 1:
        got = f"{channels.dtype} of shape {tuple(channels.shape)}"
        raise ValueError(f"kept[{group.name!r}] must hold whole numbers in one dimension, got {got}")
    channels = channels.long().cpu().sort().values
    if channels.unique().numel() != channels.numel() or channels[0] < 0 or channels[-1] >= group.channels:
        got = f"{len(channels)} from {channels[0]} to {channels[-1]}, {channels.unique().numel()} of them different"
        raise ValueError(f"kept[{group.name!r}] must hold different indices from 0 to {group.channels - 1}, got {got}")
    return channels


def _removed_positions(groups: Mapping[str, Group], kept: Kept) -> dict[tuple[str, str], Tensor]:
    """(layer, side) → positions that go along this dimension."""
    removed: dict[tuple[str, str], Tensor] = {}
    for name, group in groups.items():
        stays = torch.zeros(group.channels, dtype=torch.bool)
        stays[kept[name]] = True
        gone = (~stays).nonzero().flatten()
        for member in group.members if gone.numel() else ():
            key = (member.layer, member.side)
            positions = member.map.positions(gone)
            removed[key] = torch.cat([removed[key], positions]) if key in removed else positions
    return removed


def _smaller(layer: nn.Module, inputs: Tensor | None, outputs: Tensor | None) -> nn.Module:
    """``layer`` without some of its inputs and outputs."""
    before = sizes(layer)
    if before is None:
        raise CouplingError(f"a layer of kind {type(layer).__name__} cannot shrink")
    single = len(before) == 1 or (isinstance(layer, nn.Conv2d) and depthwise(layer))
    row, column = (None, outputs) if isinstance(layer, nn.Embedding) else (outputs, None if single else inputs)
    stay_out = _left(before[-1], outputs)
    after = [len(stay_out)] if len(before) == 1 else [_count(before[0], inputs, outputs, single), len(stay_out)]
    fresh = like(layer, after)
    for name, value in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        new = value.detach()
        if row is not None and new.dim() >= 1 and not isinstance(layer, nn.Embedding):
            new = new.index_select(0, _left(before[-1], row).to(new.device))
        if column is not None and new.dim() >= 2:
            new = new.index_select(1, _left(new.shape[1], column).to(new.device))
        target = fresh.get_parameter(name) if isinstance(value, nn.Parameter) else fresh.get_buffer(name)
        target.data = new.clone(memory_format=torch.contiguous_format)
        target.requires_grad_(value.requires_grad)
    return fresh


def _count(before: int, inputs: Tensor | None, outputs: Tensor | None, single: bool) -> int:
    gone = outputs if single else inputs
    return before - (0 if gone is None else len(gone))


def _left(count: int, gone: Tensor | None) -> Tensor:
    stays = torch.ones(count, dtype=torch.bool)
    if gone is not None:
        stays[gone] = False
    return stays.nonzero().flatten()


def _describe(pruned: nn.Module, model: nn.Module, layers: Collection[str]) -> None:
    """Note the new widths in the description, if the model has one."""
    description = getattr(model, models.ARCHITECTURE_ATTRIBUTE, None)
    if description is None or not layers:
        return
    widths = dict(description["arguments"].get("widths", {}))
    widths |= {layer: sizes(pruned.get_submodule(layer)) for layer in layers}
    ordered = {name: widths[name] for name, _ in pruned.named_modules() if name in widths}
    arguments = {**description["arguments"], "widths": ordered}
    setattr(pruned, models.ARCHITECTURE_ATTRIBUTE, {**description, "arguments": arguments})


def _without_blocks(arguments: Mapping[str, Any], names: list[str], stacked: list[int]) -> dict[str, Any]:
    widths = {}
    for layer, size in arguments.get("widths", {}).items():
        parts = layer.split(".")
        if stacked and layer.startswith("bert.encoder.layer."):
            if int(parts[3]) in stacked:
                continue
            parts[3] = str(int(parts[3]) - sum(position < int(parts[3]) for position in stacked))
        elif any(layer == name or layer.startswith(f"{name}.") for name in names):
            continue
        widths[".".join(parts)] = size
    changed = {**arguments, **({"widths": widths} if widths else {})}
    if stacked:
        return changed | {"num_hidden_layers": arguments.get("num_hidden_layers", 12) - len(stacked)}
    return changed | {"removed": [*arguments.get("removed", []), *names]}
