"""Importance: how much a channel matters, by several criteria that all see the same numbers.

A criterion looks at one member of a group at a time: at the weights of its channels ``(channels, n)`` and, where it
needs them, at the gradients of one batch. A member's scores are divided by their mean, so that every layer of a group
has one vote whatever its size; the votes are averaged, so that the scores of each group have mean 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib import models, training
from course_lib.architectures.layer_sizes import NORMS
from course_lib.core import memory
from course_lib.core.validation import check_choice, check_positive
from course_lib.data import Split, refuse_test
from course_lib.pruning.coupling import Coupling, Group, Member, couple

Scores = dict[str, Tensor]


def l1(weight: Tensor, gradient: Tensor) -> Tensor:
    """Sum of absolute values (Li et al., Pruning Filters for Efficient ConvNets, 2017)."""
    return weight.abs().sum(dim=1)


def l2(weight: Tensor, gradient: Tensor) -> Tensor:
    """Euclidean norm (He et al., Soft Filter Pruning, 2018)."""
    return weight.norm(dim=1)


def taylor(weight: Tensor, gradient: Tensor) -> Tensor:
    """How much the loss would change to first order: |Σ w g| (Molchanov et al., Importance Estimation, 2019)."""
    return (weight * gradient).sum(dim=1).abs()


def fisher(weight: Tensor, gradient: Tensor) -> Tensor:
    """The diagonal of the Hessian, estimated by squared gradients: ½ Σ w² g² (LeCun et al., Optimal Brain Damage, 1989;
    Theis et al., Faster gaze prediction with dense networks and Fisher pruning, 2018).
    """
    return (weight * gradient).square().sum(dim=1) / 2


@dataclass(frozen=True)
class Criterion:
    """How a member is scored; ``norms_only`` looks at the scales of norms alone, ``needs_data`` at gradients."""

    score: Callable[[Tensor, Tensor], Tensor]
    needs_data: bool = False
    norms_only: bool = False


# The scale of a BatchNorm: Liu et al., Learning Efficient Convolutional Networks through Network Slimming, 2017.
CRITERIA: dict[str, Criterion] = {
    "l1": Criterion(l1),
    "l2": Criterion(l2),
    "batchnorm_scale": Criterion(l1, norms_only=True),
    "taylor": Criterion(taylor, needs_data=True),
    "fisher": Criterion(fisher, needs_data=True),
    "random": Criterion(l1),
}
DEFAULT_CRITERION = "l2"


def channel_importance(
    model: nn.Module,
    criterion: str = DEFAULT_CRITERION,
    *,
    split: Split | None = None,
    coupling: Coupling | None = None,
    batches: int = 8,
    batch_size: int = 64,
    seed: int = 0,
) -> Scores:
    """Score of every channel of every group that may lose some; the mean of each group is 1.

    Criteria that look at gradients leave the model without any. A group without a norm has no score under
    ``"batchnorm_scale"``.

    Args:
        criterion: a name in ``CRITERIA``.
        split: gradients are taken on it, for ``"taylor"`` and ``"fisher"``.
        batches: how many batches of ``batch_size`` are averaged.
        seed: for ``"random"``, and for the choice of batches.

    Raises:
        TestSplitError: if ``split`` is the test split.
        CouplingError: if the model is not understood.
        ValueError: if the criterion is unknown, needs data and has none, or finds no norm to look at.
    """
    check_choice("criterion", criterion, CRITERIA)
    check_positive("batches", batches)
    coupling = couple(model) if coupling is None else coupling
    groups = {name: group for name, group in coupling.items() if not group.kept_whole}
    if criterion == "random":
        generator = torch.Generator().manual_seed(seed)
        return {name: _mean_one(torch.rand(group.channels, generator=generator)) for name, group in groups.items()}
    chosen = CRITERIA[criterion]
    members = {name: _members(model, group, chosen) for name, group in groups.items()}
    members = {name: some for name, some in members.items() if some}
    if not members:
        raise ValueError(f"criterion {criterion!r} finds no channel to score in {type(model).__name__}")
    totals: dict[str, list[Tensor]] = {}
    for _ in _gradients(model, split, batches, batch_size, seed) if chosen.needs_data else [None]:
        for name, some in members.items():
            scores = [_member_score(model, groups[name], member, chosen) for member in some]
            past = totals.get(name)
            totals[name] = scores if past is None else [a + b for a, b in zip(past, scores, strict=True)]
    if chosen.needs_data:
        model.zero_grad(set_to_none=True)
    memory.return_freed()
    return {
        name: _mean_one(torch.stack([_mean_one(one) for one in scores]).mean(dim=0)) for name, scores in totals.items()
    }


def block_importance(model: nn.Module, split: Split, *, batch_size: int = 256) -> dict[str, float]:
    """Block → by how much the loss on ``split`` grows without it (granularity: a whole layer).

    Raises:
        TestSplitError: if ``split`` is the test split.
    """
    from course_lib.pruning.surgery import removable_blocks, remove_blocks

    refuse_test(split, "used to decide which blocks to remove")
    before = training.evaluate(model, split, batch_size=batch_size).loss
    return {
        name: training.evaluate(remove_blocks(model, [name]), split, batch_size=batch_size).loss - before
        for name in removable_blocks(model)
    }


def rows(model: nn.Module, member: Member, channels: int, *, gradient: bool = False) -> Tensor:
    """The numbers of each channel of a member, ``(channels, n)``; of its gradient if asked for.

    Outputs of a layer are its weight and bias; inputs are the weight alone.
    """
    layer = model.get_submodule(member.layer)
    positions = member.map.positions(torch.arange(channels))
    first = member.side == "out" and not isinstance(layer, nn.Embedding)
    parts = []
    for name, parameter in layer.named_parameters(recurse=False):
        tensor = parameter.grad if gradient else parameter
        if tensor is None or (name == "bias" and member.side == "in"):
            continue
        lines = tensor.detach().float() if first else tensor.detach().float().transpose(0, 1)
        parts.append(lines.index_select(0, positions.to(tensor.device)).reshape(channels, -1))
    return torch.cat(parts, dim=1).cpu()


def _members(model: nn.Module, group: Group, criterion: Criterion) -> list[Member]:
    """Those that the criterion looks at: all with numbers of their own, or the norms alone."""
    found = [
        member for member in group.members if next(model.get_submodule(member.layer).parameters(), None) is not None
    ]
    norms = [member for member in found if isinstance(model.get_submodule(member.layer), NORMS)]
    return norms if criterion.norms_only else found


def _member_score(model: nn.Module, group: Group, member: Member, criterion: Criterion) -> Tensor:
    if criterion.norms_only:
        return _scale(model, group, member)
    weight = rows(model, member, group.channels)
    gradient = rows(model, member, group.channels, gradient=True) if criterion.needs_data else torch.empty(0)
    return criterion.score(weight, gradient)


def _scale(model: nn.Module, group: Group, member: Member) -> Tensor:
    scale = model.get_submodule(member.layer).get_parameter("weight")
    return scale.detach().float().cpu().abs()[member.map.positions(torch.arange(group.channels))]


def _gradients(model: nn.Module, split: Split | None, batches: int, batch_size: int, seed: int) -> Iterator[None]:
    """Leaves the gradients of one batch after the other in the parameters."""
    if split is None:
        raise ValueError("split must be given: 'taylor' and 'fisher' look at gradients; take the train split")
    refuse_test(split, "used to decide which channels to remove")
    place = next(model.parameters()).device
    loss = training.cross_entropy()
    with models.evaluating(model), torch.enable_grad():
        for inputs, labels in split.subset(batches * batch_size, seed).batches(batch_size):
            model.zero_grad(set_to_none=True)
            loss(model, models.to_device(inputs, place), labels.to(place)).backward()
            yield


def _mean_one(scores: Tensor) -> Tensor:
    """Scores with mean 1; all equal where there is nothing to tell them apart."""
    mean = scores.mean()
    return scores / mean if mean > 0 else torch.ones_like(scores)
