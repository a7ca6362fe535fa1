"""Block removal: whole residual blocks or transformer layers are taken out of a copy (depth pruning)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from course_lib import models, storage, training
from course_lib.architectures.tracing import replace_module
from course_lib.architectures.weighted_layers import copy_model
from course_lib.data import Split, refuse_test
from course_lib.pruning.channel_removal import check_prunable

ENCODER = "bert.encoder.layer."


def removable_blocks(model: nn.Module) -> list[str]:
    """Names of the blocks that ``remove_blocks`` can remove, in the order of the model."""
    names = []
    for name, module in model.named_modules():
        residual = getattr(module, "downsample", "none") is None and getattr(module, "stride", 1) == 1
        inverted = getattr(module, "use_res_connect", False)
        encoder_layer = name.startswith(ENCODER) and name.count(".") == 3
        if residual or inverted or encoder_layer:
            names.append(name)
    return names


@torch.no_grad()
def remove_blocks(model: nn.Module, names: Collection[str]) -> nn.Module:
    """A copy of ``model`` without some of its blocks: the input of a removed block is passed on unchanged.

    Args:
        names: residual blocks within a ``Sequential`` that change neither width nor resolution (``"layer1.1"``), or
            layers of BERT's encoder (``"bert.encoder.layer.3"``).

    Raises:
        ValueError: if a name is none of these, or no layer of the encoder would be left.
    """
    check_prunable(model)
    allowed = removable_blocks(model)
    for name in names:
        if name not in allowed:
            raise ValueError(f"names must be among {', '.join(allowed) or 'no block at all'}; got {name!r}")
    names = list(dict.fromkeys(names))
    pruned: Any = copy_model(model)
    encoder = sorted((int(name.rpartition(".")[2]) for name in names if name.startswith("bert.")), reverse=True)
    if encoder and len(encoder) >= len(pruned.bert.encoder.layer):
        raise ValueError(f"names must leave at least one layer of the encoder, got all {len(encoder)}")
    for position in encoder:
        del pruned.bert.encoder.layer[position]
    for name in names if not encoder else ():
        replace_module(pruned, name, nn.Identity().eval())
    if encoder:
        _renumber(pruned)
    if encodings := storage.encodings_of(model):
        storage.set_encodings(pruned, _without_layers(encodings, names, encoder))
    description = getattr(model, models.ARCHITECTURE_ATTRIBUTE, None)
    if description is not None:
        arguments = _without_blocks(description["arguments"], names, encoder)
        setattr(pruned, models.ARCHITECTURE_ATTRIBUTE, {**description, "arguments": arguments})
    return pruned


def block_importance(model: nn.Module, split: Split, *, batch_size: int = 256) -> dict[str, float]:
    """Block → by how much the loss on ``split`` grows without it.

    Raises:
        TestSplitError: if ``split`` is the test split.
    """
    refuse_test(split, "used to decide which blocks to remove")
    before = training.evaluate(model, split, batch_size=batch_size).loss
    return {
        name: training.evaluate(remove_blocks(model, [name]), split, batch_size=batch_size).loss - before
        for name in removable_blocks(model)
    }


def _without_blocks(arguments: Mapping[str, Any], names: list[str], encoder: Sequence[int]) -> dict[str, Any]:
    """``arguments`` of the builder after removing the blocks ``names``, among them ``encoder`` layers by number."""
    changed = dict(arguments)
    for key in ("widths", "ranks", "input_grids"):
        if key in arguments:
            changed[key] = _without_layers(arguments[key], names, encoder)
    if "folds" in arguments:
        folds = [pair for pair in arguments["folds"] if _without_layers({pair[0]: 0}, names, encoder)]
        changed["folds"] = [[_renumbered(layer, encoder) for layer in pair] for pair in folds]
    if encoder:
        return changed | {"num_hidden_layers": arguments.get("num_hidden_layers", 12) - len(encoder)}
    return changed | {"removed": [*arguments.get("removed", []), *names]}


def _renumber(bert: Any) -> None:
    """Set what a BERT knows about the number of its layers, and each layer about its place."""
    bert.config.num_hidden_layers = len(bert.bert.encoder.layer)
    for place, layer in enumerate(bert.bert.encoder.layer):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place


def _without_layers(values: Mapping[str, Any], names: list[str], encoder: Sequence[int]) -> dict[str, Any]:
    """Layer or tensor → value of those outside the removed blocks ``names``, with their new numbers."""
    inside = tuple(f"{name}." for name in names)
    kept = {layer: value for layer, value in values.items() if layer not in names and not layer.startswith(inside)}
    return {_renumbered(layer, encoder): value for layer, value in kept.items()}


def _renumbered(layer: str, encoder: Sequence[int]) -> str:
    """Name of ``layer`` once the ``encoder`` layers with these numbers are gone."""
    if not encoder or not layer.startswith(ENCODER):
        return layer
    number, dot, rest = layer.removeprefix(ENCODER).partition(".")
    return f"{ENCODER}{int(number) - sum(position < int(number) for position in encoder)}{dot}{rest}"
