"""Channel removal: channels are taken out of a copy, whose layers are plain modules with smaller sizes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from course_lib.architectures.channels import channel_tensors
from course_lib.architectures.input_quantizers import GRID
from course_lib.architectures.layer_sizes import is_depthwise, layer_like, sizes, update_head_count
from course_lib.architectures.registry import extend_argument
from course_lib.architectures.tracing import replace_module
from course_lib.architectures.weighted_layers import copy_model
from course_lib.pruning.coupling import Coupling, CouplingError, Group, couple
from course_lib.storage import encodings_of

Kept = Mapping[str, Tensor]


@torch.no_grad()
def remove_channels(model: nn.Module, kept: Kept, coupling: Coupling | None = None) -> nn.Module:
    """A copy of ``model`` in which the groups of ``kept`` have only those channels left.

    Every layer that a group touches is replaced by a smaller one of the same kind; the result is in eval mode, and its
    description has the new sizes, so that ``storage`` can save it.

    Args:
        kept: group name → indices of the channels that stay, in any order; groups that are not named stay whole.
        coupling: of this model, if it is known.

    Raises:
        CouplingError: if the model is not understood.
        ValueError: if the model cannot be pruned (see ``check_prunable``) or recomputes a weight before each call, a
            group is unknown or has to stay whole, or indices are repeated, out of range, or none.
    """
    coupling = couple(model) if coupling is None else coupling
    groups = {name: coupling[name] for name in kept}
    channels = {name: _checked(groups[name], kept[name]) for name in kept}
    check_prunable(model, groups.values())
    removed = _removed_positions(groups, channels)
    pruned = copy_model(model)
    for layer, positions in sorted(removed.items()):
        replace_module(pruned, layer, _smaller(pruned.get_submodule(layer), positions))
    for name, module in pruned.named_modules():
        update_head_count(name, module)
    if removed:
        widths = {name: sizes(layer) for name, layer in pruned.named_modules() if name in removed}
        extend_argument(pruned, "widths", widths)
    return pruned


def check_prunable(model: nn.Module, groups: Collection[Group] = ()) -> None:
    """Refuse a model from which nothing can be removed safely.

    Raises:
        ValueError: if the model is in training mode, or a layer of ``groups`` is quantized, has frozen parameters,
            values that are NaN or infinite, or weights that are not contiguous in memory (channels-last is fine).
    """
    if any(module.training for module in model.modules()):
        raise ValueError("model is in training mode, in which its BatchNorm statistics change; call model.eval() first")
    encoded = encodings_of(model)
    for group in groups:
        for member in group.members:
            if hasattr(model.get_submodule(member.layer), GRID) or f"{member.layer}.weight" in encoded:
                raise ValueError(
                    f"layer {member.layer!r} is quantized, and a smaller layer would lose its grid; remove channels "
                    "first and quantize then"
                )
            for label, parameter in model.get_submodule(member.layer).named_parameters(recurse=False):
                _check_parameter(f"{member.layer}.{label}", parameter, group.name)


def _check_parameter(name: str, parameter: Tensor, group: str) -> None:
    if not parameter.requires_grad:
        raise ValueError(
            f"{name} is frozen (requires_grad=False), and removing channels of group {group!r} would change it; "
            "unfreeze it, or leave this group out"
        )
    if not parameter.isfinite().all():
        raise ValueError(f"{name} must be finite, it holds NaN or infinity: its channels cannot be compared")
    channels_last = parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    if not (parameter.is_contiguous() or channels_last):
        raise ValueError(
            f"{name} is not contiguous (strides {tuple(parameter.stride())}), so it may be a view of something else; "
            "make it a parameter of its own with .contiguous()"
        )


def _checked(group: Group, channels: Tensor) -> Tensor:
    """``channels`` as sorted indices, or an error."""
    if group.kept_whole:
        raise ValueError(f"group {group.name!r} has to stay whole: {group.kept_whole}")
    channels = torch.as_tensor(channels)
    if channels.numel() == 0:
        raise ValueError(f"kept[{group.name!r}] leaves 0 of {group.channels} channels; at least 1 has to stay")
    if channels.dtype not in (torch.int64, torch.int32) or channels.dim() != 1:
        got = f"{channels.dtype} of shape {tuple(channels.shape)}"
        raise ValueError(f"kept[{group.name!r}] must hold whole numbers in one dimension, got {got}")
    channels = channels.long().cpu().sort().values
    different = channels.unique().numel()
    if different != channels.numel() or channels[0] < 0 or channels[-1] >= group.channels:
        got = f"{len(channels)} from {channels[0]} to {channels[-1]}, {different} of them different"
        raise ValueError(f"kept[{group.name!r}] must hold different indices from 0 to {group.channels - 1}, got {got}")
    return channels


def _removed_positions(groups: Mapping[str, Group], kept: Kept) -> dict[str, dict[str, Tensor]]:
    """Layer → side → the positions that are removed along this dimension."""
    removed: dict[str, dict[str, Tensor]] = {}
    for name, group in groups.items():
        channels = _complement(group.channels, kept[name])
        for member in group.members if channels.numel() else ():
            sides = removed.setdefault(member.layer, {})
            earlier = sides.get(member.side, channels.new_empty(0))
            sides[member.side] = torch.cat([earlier, member.map.positions(channels)])
    return removed


def _smaller(layer: nn.Module, removed: Mapping[str, Tensor]) -> nn.Module:
    """``layer`` without the positions in ``removed`` (side → positions)."""
    before = sizes(layer)
    if before is None:
        raise CouplingError(f"a layer of kind {type(layer).__name__} cannot shrink")
    inputs, outputs = (len(removed.get(side, ())) for side in ("in", "out"))
    if is_depthwise(layer):
        inputs = outputs
    smaller = layer_like(layer, [*(size - inputs for size in before[:-1]), before[-1] - outputs])
    values = dict([*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)])
    for side, positions in removed.items():
        for name, tensor, dimension in channel_tensors(layer, side):
            kept = _complement(tensor.shape[dimension], positions).to(tensor.device)
            values[name] = values[name].detach().index_select(dimension, kept)
    for name, value in values.items():
        old, new = (getattr(one, name) for one in (layer, smaller))
        new.data = value.detach().clone(memory_format=torch.contiguous_format)
        new.requires_grad_(old.requires_grad)
    return smaller


def _complement(count: int, positions: Tensor) -> Tensor:
    """Numbers below ``count`` that are not in ``positions``, in order."""
    kept = torch.ones(count, dtype=torch.bool)
    kept[positions] = False
    return kept.nonzero().flatten()
