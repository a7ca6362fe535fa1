"""Semi-structured pruning: two of every four neighbouring weights are kept (2:4 sparsity).

The sparse tensor cores of NVIDIA GPUs since Ampere skip the zeros of this pattern; on other hardware it makes a file
smaller, but nothing faster.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.architectures.channels import reorder_channels
from course_lib.architectures.weighted_layers import copy_model, output_axis, weighted_layers
from course_lib.core.validation import check_positive
from course_lib.pruning.channel_removal import check_prunable
from course_lib.pruning.coupling import Coupling, couple
from course_lib.pruning.masks import Masks, apply_masks, layer_weights

KEEP, BLOCK = 2, 4
AMPERE = (8, 0)


def two_four_mask(weight: Tensor) -> Tensor:
    """Boolean mask that keeps the two largest magnitudes of every four neighbours along the inputs.

    Args:
        weight: ``(out, in)`` or ``(out, in, height, width)``; ``in`` must be a multiple of 4. Ties fall to the left.

    Raises:
        ValueError: if the number of inputs is not a multiple of 4.

    Source: Mishra et al., Accelerating Sparse Deep Neural Networks, 2021.
    """
    blocks = _blocks(weight.detach().abs())
    order = blocks.sort(dim=-1, descending=True, stable=True).indices
    mask = torch.zeros_like(blocks, dtype=torch.bool).scatter_(-1, order[..., :KEEP], True)
    return mask.flatten(-2).movedim(-1, 1).contiguous()


def semi_structured_layers(model: nn.Module) -> list[str]:
    """Names of the layers whose number of inputs is a multiple of four (the first convolution of a CNN is not one).

    Layers that store their inputs first (transposed convolutions, GPT-2's ``Conv1D``) are not among them.
    """
    rows = {name for name, layer in weighted_layers(model).items() if output_axis(layer) == 0}
    fits = {
        name: weight.shape[1] % BLOCK == 0 and weight.dim() in (2, 4) for name, weight in layer_weights(model).items()
    }
    return [name for name, fit in fits.items() if fit and name in rows]


def semi_structured_masks(model: nn.Module, layers: Collection[str] | None = None) -> Masks:
    """A 2:4 mask for each of ``layers`` (by default those of ``semi_structured_layers``)."""
    chosen = semi_structured_layers(model) if layers is None else layers
    if layers is None and not chosen:
        raise ValueError(f"model {type(model).__name__} has no layer whose number of inputs is a multiple of {BLOCK}")
    for name in chosen:
        layer = weighted_layers(model).get(name)
        if layer is not None and output_axis(layer) == 1:
            raise ValueError(
                f"layer {name!r} stores its inputs first, so it has no rows of four; leave it out of layers"
            )
    return {name: two_four_mask(weight) for name, weight in layer_weights(model, chosen).items()}


def prune_semi_structured(model: nn.Module, layers: Collection[str] | None = None) -> nn.Module:
    """A copy of ``model`` with half of the weights of ``layers`` set to zero, in the pattern 2:4."""
    pruned = copy_model(model)
    apply_masks(pruned, semi_structured_masks(pruned, layers))
    return pruned


def retained_magnitude(weight: Tensor) -> float:
    """Share of the sum of magnitudes that a 2:4 mask keeps; between 0.5 and 1."""
    blocks = _blocks(weight.detach().abs())
    return (blocks.topk(KEEP, dim=-1).values.sum() / blocks.sum().clamp(min=1e-30)).item()


def search_permutation(weight: Tensor, *, passes: int = 20, seed: int = 0) -> Tensor:
    """A permutation of the inputs under which a 2:4 mask keeps more magnitude.

    In each pass the blocks are paired at random, and the eight inputs of a pair are split into two fours in the best of
    the 35 possible ways, so that no pass makes it worse.

    Returns:
        int64 ``(in,)``: ``weight[:, order]`` is the weight to prune.

    Source: Pool and Yu, Channel Permutations for N:M Sparsity, 2021.
    """
    check_positive("passes", passes)
    inputs = weight.detach().abs().movedim(1, -1).flatten(0, -2)
    _blocks(inputs)
    generator = torch.Generator().manual_seed(seed)
    order = torch.arange(inputs.shape[1])
    splits = _splits_of_eight()
    for _ in range(passes):
        blocks = order.view(-1, BLOCK)
        pairs = torch.randperm(len(blocks), generator=generator)[: len(blocks) // 2 * 2].view(-1, 2)
        eights = blocks[pairs].flatten(1)
        columns = inputs[:, eights]
        kept = torch.stack(
            [columns[:, :, split].unflatten(-1, (2, BLOCK)).topk(KEEP).values.sum((0, 2, 3)) for split in splits]
        )
        best = kept.max(dim=0).indices
        order = order.clone()
        order.view(-1, BLOCK)[pairs] = eights.gather(1, splits[best]).view(-1, 2, BLOCK)
    return order


@torch.no_grad()
def permute_channels(model: nn.Module, orders: Mapping[str, Tensor], coupling: Coupling | None = None) -> nn.Module:
    """A copy of ``model`` with its channels reordered in every layer of their group; it computes the same.

    Args:
        orders: group name → order of its channels.

    Raises:
        ValueError: if a group is unknown or has to stay whole, or an order is not one of all its channels.
    """
    coupling = couple(model) if coupling is None else coupling
    groups = {name: coupling[name] for name in orders}
    check_prunable(model, groups.values())
    for name, order in orders.items():
        if groups[name].kept_whole or not torch.equal(order.sort().values, torch.arange(groups[name].channels)):
            raise ValueError(
                f"orders[{name!r}] must be an order of all {groups[name].channels} channels of a free group, "
                f"got {len(order)} entries{' for one that has to stay whole' if groups[name].kept_whole else ''}"
            )
    permuted = copy_model(model)
    for name, order in orders.items():
        channels = torch.arange(groups[name].channels)
        for member in groups[name].members:
            layer = permuted.get_submodule(member.layer)
            reorder_channels(layer, member.side, member.map.positions(channels), member.map.positions(order))
    return permuted


def sparse_tensor_cores() -> tuple[bool, str]:
    """Whether this machine has sparse tensor cores, and the reason in one sentence."""
    if not torch.cuda.is_available():
        return False, "no GPU here: 2:4 gives a smaller file and no speed; its speed needs sparse tensor cores"
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    if capability < AMPERE:
        return False, f"{name} has no sparse tensor cores (they came with Ampere): a smaller file and no speed"
    return True, f"{name} has sparse tensor cores"


def to_sparse_kernels(model: nn.Module) -> Any:
    """A half-precision copy on the GPU whose 2:4 linear layers run on sparse tensor cores.

    Raises:
        RuntimeError: where there are none.
    """
    able, reason = sparse_tensor_cores()
    if not able:
        raise RuntimeError(reason)
    fast = copy_model(model).half().cuda()
    for module in fast.modules():
        if isinstance(module, nn.Linear) and min(module.weight.shape) >= 64 and _is_two_four(module.weight):
            module.weight = nn.Parameter(torch.sparse.to_sparse_semi_structured(module.weight))
    return fast


def _is_two_four(weight: Tensor) -> bool:
    return weight.shape[1] % BLOCK == 0 and bool(((_blocks(weight.detach()) != 0).sum(-1) <= KEEP).all())


def _blocks(weight: Tensor) -> Tensor:
    """Inputs last and in fours: ``(out, …, in / 4, 4)``."""
    if weight.dim() < 2 or weight.shape[1] % BLOCK:
        raise ValueError(f"weight must have a multiple of {BLOCK} inputs for 2:4, got shape {tuple(weight.shape)}")
    return weight.movedim(1, -1).unflatten(-1, (-1, BLOCK))


def _splits_of_eight() -> Tensor:
    """The 35 ways to split eight inputs into two fours, as permutations ``(35, 8)``."""
    firsts = [four for four in itertools.combinations(range(2 * BLOCK), BLOCK) if 0 in four]
    return torch.tensor([[*four, *(set(range(2 * BLOCK)) - set(four))] for four in firsts])
