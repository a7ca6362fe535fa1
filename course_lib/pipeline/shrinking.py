"""Steps that make a model sparse or smaller: prune, remove_channels, factorize."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib import coding, lowrank, pruning, quantization, storage
from course_lib.pipeline.context import Context, Lesson, finished


def prune(model: nn.Module, context: Context, *, sparsity: float, scope: str, epochs: int, **options: Any) -> nn.Module:
    """Set the smallest weights to zero: at once, or gradually in ``epochs`` of training.

    Weights on a grid stay on it.
    """
    choose = {"global": pruning.global_masks, "layerwise": pruning.layerwise_masks}[scope]
    if not epochs:
        masks = choose(model, sparsity)
        return on_same_grid(pruning.pruned_copy(model, masks), masks)
    lesson = Lesson(context, options, context.original)
    with lesson.frozen(model):
        result = pruning.prune_gradually(
            model, lesson.split, final_sparsity=sparsity, choose=choose, epochs=epochs, **lesson.options
        )
    finished(result.history)
    return result.model.requires_grad_(True)


def on_same_grid(pruned: nn.Module, masks: dict[str, Tensor]) -> nn.Module:
    """``pruned`` with its encodings, where dropped weights get the integer that stands for zero; in place."""
    encodings = storage.encodings_of(pruned)
    if odd := sorted({it.encoding for it in encodings.values()} - {"packed", "uniform", "codebook"}):
        raise ValueError(f"weights stored as {odd[0]!r} cannot be pruned on their grid; put prune before quantize")
    quantized, levels = quantization.quantized_weights(pruned), coding.levels_of(pruned)
    shared = [name for name, it in encodings.items() if it.encoding == "codebook"]
    storage.set_encodings(pruned, {})
    for layer, mask in masks.items():
        name = f"{layer}.weight"
        if name in quantized:
            quantized[name] = _with_zeros(quantized[name], mask)
        elif name in levels:
            levels[name] = (levels[name][0] * mask, levels[name][1])
    if levels:
        coding.set_levels(
            pruned, {name: it[0] for name, it in levels.items()}, {name: it[1] for name, it in levels.items()}
        )
    if quantized:
        quantization.set_weights(pruned, quantized)
    if shared:
        share_present_values(pruned, shared)
    return pruned


def _with_zeros(quantized: quantization.QuantizedTensor, mask: Tensor) -> quantization.QuantizedTensor:
    """Integers where ``mask`` is false replaced by the zero-point of their block."""
    params = quantized.params
    blocks = params.blocks(quantized.integers.float())
    zero = params.zero_point.view(-1, 1).expand(blocks.shape)
    kept = params.blocks(mask.float()).bool()
    merged = params.unblock(torch.where(kept, blocks, zero.float()), mask.shape)
    return quantization.QuantizedTensor(merged.to(quantized.integers.dtype), params)


def share_present_values(model: nn.Module, names: list[str]) -> nn.Module:
    """Attach a codebook to each named weight that holds at most 256 different values, in place."""
    encodings = storage.encodings_of(model)
    state = model.state_dict()
    for name in names:
        table, codes = state[name].unique(return_inverse=True)
        if len(table) > 256:
            raise ValueError(f"tensor {name!r} holds {len(table)} values, a codebook at most 256; use fewer bits")
        bits = max(1, (len(table) - 1).bit_length())
        encodings[name] = storage.encode_codebook(codes.to(torch.uint8), table, bits=bits)
    storage.set_encodings(model, encodings)
    return model


def remove_channels(
    model: nn.Module, context: Context, *, criterion: str, multiple: int, blocks: list[str],
    ratio: float | None = None, macs_factor: float | None = None,
) -> nn.Module:  # fmt: skip
    """Remove the least important channels, after the named blocks."""
    inputs = context.splits.train.example(1)
    factor = None
    if macs_factor is not None:
        before = pruning.WorkEstimate(model, inputs).total
        factor = macs_factor
    if blocks:
        model = pruning.remove_blocks(model, blocks)
    coupling = pruning.couple(model)
    counts: Any = ratio
    if factor is not None:
        work = pruning.WorkEstimate(model, inputs, coupling)
        left = max(1.0, factor * work.total / before)
        counts = pruning.counts_for_macs(work, coupling.prunable(), left, multiple=multiple)
    return pruning.prune_channels(
        model, counts, criterion=criterion, multiple=multiple, split=context.splits.train, coupling=coupling,
        seed=context.seed,
    ).model  # fmt: skip


def factorize(
    model: nn.Module, context: Context, *, kind: str, layers: list[str] | None, size: float | None = None,
    energy: float | None = None,
) -> nn.Module:  # fmt: skip
    """Replace layers by the product of thinner ones."""
    if size is not None:
        plan = lowrank.plan_for_size(model, size, kind, layers)
    else:
        plan = lowrank.plan_for_energy(model, energy or 0.0, kind, layers)
    return lowrank.factorize(model, plan).model
