"""Importance: how much a channel matters, by several criteria.

A criterion scores one member of a group at a time, from the weights of its channels ``(channels, n)`` and, where it
needs them, from the gradients of one batch. The scores of a member are divided by their mean, so that every layer of a
group has the same weight; then they are averaged over the members, so that the scores of each group have mean 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib import models, training
from course_lib.architectures.channels import channel_tensors
from course_lib.architectures.layer_sizes import NORMS
from course_lib.architectures.weighted_layers import check_has_values
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
    """How a member is scored: with gradients if ``needs_data``, by the scales of norms alone if ``norms_only``."""

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

    Criteria that use gradients clear those of the model. A group without a norm has no score under
    ``"batchnorm_scale"``.

    Args:
        criterion: a name in ``CRITERIA``.
        split: gradients are computed on it, for ``"taylor"`` and ``"fisher"``.
        batches: how many batches of ``batch_size`` are averaged.
        seed: for ``"random"``, and for the choice of batches.

    Raises:
        TestSplitError: if ``split`` is the test split.
        CouplingError: if the model is not understood.
        ValueError: if the criterion is unknown, needs data and has none, or finds no norm to look at.
    """
    check_choice("criterion", criterion, CRITERIA)
    check_positive("batches", batches)
    check_has_values(model)
    coupling = couple(model) if coupling is None else coupling
    groups = {name: group for name, group in coupling.items() if not group.kept_whole}
    if criterion == "random":
        return _random_scores(groups, seed)
    chosen = CRITERIA[criterion]
    members = _scored_members(model, groups, criterion)
    totals: Scores = {}
    for _ in _gradients(model, split, batches, batch_size, seed) if chosen.needs_data else [None]:
        for name, some in members.items():
            scores = torch.stack([_member_score(model, groups[name], member, chosen) for member in some])
            totals[name] = totals[name] + scores if name in totals else scores
    memory.return_freed()
    return {name: _mean_one(torch.stack([_mean_one(row) for row in rows]).mean(dim=0)) for name, rows in totals.items()}


def _random_scores(groups: Mapping[str, Group], seed: int) -> Scores:
    generator = torch.Generator().manual_seed(seed)
    return {name: _mean_one(torch.rand(group.channels, generator=generator)) for name, group in groups.items()}


def _scored_members(model: nn.Module, groups: Mapping[str, Group], criterion: str) -> dict[str, list[Member]]:
    """Group → its members that the criterion looks at: those with parameters, or the norms alone."""

    def scored(member: Member) -> bool:
        layer = model.get_submodule(member.layer)
        has_parameters = next(layer.parameters(), None) is not None
        return has_parameters and (isinstance(layer, NORMS) or not CRITERIA[criterion].norms_only)

    members = {name: [member for member in group.members if scored(member)] for name, group in groups.items()}
    if not any(members.values()):
        raise ValueError(f"criterion {criterion!r} finds no channel to score in {type(model).__name__}")
    return {name: some for name, some in members.items() if some}


def _member_score(model: nn.Module, group: Group, member: Member, criterion: Criterion) -> Tensor:
    layer = model.get_submodule(member.layer)
    positions = member.map.positions(torch.arange(group.channels))
    if criterion.norms_only:
        return layer.get_parameter("weight").detach().float().cpu().abs()[positions]
    weights, gradients = [], []
    for _, tensor, dimension in channel_tensors(layer, member.side):
        if isinstance(tensor, nn.Parameter) and tensor.grad is None and criterion.needs_data:
            raise ValueError(
                f"a parameter of layer {member.layer!r} has no gradient: it is frozen or not used; unfreeze it, or "
                "take a criterion that needs none, such as 'l2'"
            )
        if isinstance(tensor, nn.Parameter):
            weights.append(_rows(tensor, dimension, positions, group.channels))
        if isinstance(tensor, nn.Parameter) and tensor.grad is not None and criterion.needs_data:
            gradients.append(_rows(tensor.grad, dimension, positions, group.channels))
    return criterion.score(torch.cat(weights, dim=1), torch.cat(gradients, dim=1) if gradients else torch.empty(0))


def _rows(tensor: Tensor, dimension: int, positions: Tensor, channels: int) -> Tensor:
    """The values of each channel, ``(channels, n)``, float32 on the CPU."""
    values = tensor.detach().float().movedim(dimension, 0)
    return values.index_select(0, positions.to(tensor.device)).reshape(channels, -1).cpu()


def _gradients(model: nn.Module, split: Split | None, batches: int, batch_size: int, seed: int) -> Iterator[None]:
    """Leave the gradients of one batch after the other in the parameters; at the end there are none."""
    if split is None:
        raise ValueError("split must be given: 'taylor' and 'fisher' look at gradients; take the train split")
    refuse_test(split, "used to decide which channels to remove")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            "every parameter of the model is frozen, so none has a gradient; unfreeze it with requires_grad_()"
        )
    device = next(model.parameters()).device
    loss = training.cross_entropy()
    with models.evaluating(model), torch.enable_grad():
        for inputs, labels in split.subset(batches * batch_size, seed).batches(batch_size):
            model.zero_grad(set_to_none=True)
            loss(model, models.to_device(inputs, device), labels.to(device)).backward()
            yield
    model.zero_grad(set_to_none=True)


def _mean_one(scores: Tensor) -> Tensor:
    """Scores divided by their mean; all 1 where the mean is 0."""
    mean = scores.mean()
    return scores / mean if mean > 0 else torch.ones_like(scores)
