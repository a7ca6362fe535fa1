"""Coupling: which channels of a model must be removed together.

Three separate things, as in Torch-Pruning: ``nodes`` (the operations of the model), ``groups`` (what is removed
together) and ``mappings`` (where a channel lies in each tensor). ``operations`` says what an operation does to the
channels that it reads, ``values`` what is known of a tensor, ``protection`` which layers must not change, and
``transformer_blocks`` has the heads and neurons of models that cannot be traced.

Source: Fang et al., DepGraph: Towards Any Structural Pruning, 2023.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from course_lib.architectures.batchnorm_folding import Inputs, norms_of_sequences
from course_lib.core.validation import check_choice
from course_lib.pruning.coupling.groups import GroupFinder
from course_lib.pruning.coupling.mappings import IndexMap
from course_lib.pruning.coupling.nodes import POINTER, CouplingError, Node, is_bert, traces
from course_lib.pruning.coupling.protection import protected_layers
from course_lib.pruning.coupling.transformer_blocks import block_groups
from course_lib.pruning.coupling.values import UNITS, Group, Member

if TYPE_CHECKING:
    import pandas

__all__ = ["POINTER", "UNITS", "Coupling", "CouplingError", "Group", "IndexMap", "Member", "Node", "couple", "traces"]


class Coupling(Mapping[str, Group]):
    """Name → group, in the order of the model; shows itself as a table.

    Names of groups are those of the layers that make their channels first.
    """

    def __init__(self, groups: Collection[Group]) -> None:
        self._groups = {group.name: group for group in groups}

    def __getitem__(self, name: str) -> Group:
        return self._groups[check_choice("group", name, self._groups)]

    def __contains__(self, name: object) -> bool:
        return name in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def prunable(self, unit: str | None = None) -> dict[str, Group]:
        """The groups that may lose channels, of one ``unit`` if it is given.

        Groups of unit ``"width"`` (the hidden state of a transformer) are returned only on request.
        """
        if unit is not None:
            check_choice("unit", unit, UNITS)
        wanted = {unit} if unit else set(UNITS) - {"width"}
        return {name: group for name, group in self.items() if not group.kept_whole and group.unit in wanted}

    @property
    def table(self) -> pandas.DataFrame:
        """One row per member: group, unit, channels, layer, side, positions of channel i, why it is kept whole."""
        import pandas

        rows = [
            (group.name, group.unit, group.channels, member.layer, member.side, str(member.map), group.kept_whole)
            for group in self.values()
            for member in group.members
        ]
        return pandas.DataFrame(
            rows, columns=["group", "unit", "channels", "layer", "side", "channel i is at", "kept whole"]
        )

    def __repr__(self) -> str:
        lines = []
        for group in self.values():
            note = f", kept whole: {group.kept_whole}" if group.kept_whole else ""
            lines.append(f"{group.name}: {group.channels} × {group.unit}{note}")
            lines += [f"    {member.side:>3} of {member.layer}" for member in group.members]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.table.to_html(index=False)


def couple(model: nn.Module, inputs: Inputs | None = None) -> Coupling:
    """Find the groups of ``model``: of any model that torch.fx can trace, and of the transformers library's blocks.

    Channels that an unknown operation reads stay whole, and so do those of layers that are used twice, share a
    parameter, have forward hooks or recompute their weights, or where an optional argument of the forward pass decides
    what reads them: ``Group.kept_whole`` says why.

    Args:
        inputs: an example. Behind a linear layer ``BatchNorm1d`` is taken to normalize the features of rows ``(B, C)``;
            in sequences ``(B, L, C)`` it normalizes the positions, which only an example shows.

    Raises:
        CouplingError: if the model cannot be traced, or a layer is not used; the message names it.
    """
    protected = protected_layers(model)
    groups = [] if is_bert(model) else block_groups(model, protected)
    if not groups:
        modules = dict(model.named_modules())
        positions = set() if inputs is None else norms_of_sequences(model, inputs)
        groups, *others = [GroupFinder(modules, protected, positions).groups(nodes) for nodes in traces(model)]
        groups = [_kept_if_different(group, others) for group in groups]
    return Coupling(groups)


def _kept_if_different(group: Group, others: Collection[Collection[Group]]) -> Group:
    """``group`` itself if it may lose channels in the other graphs too, else the same kept whole."""
    if group.kept_whole or all(any(_is_equal(group, one) for one in other) for other in others):
        return group
    return replace(group, kept_whole="what reads them depends on an optional argument of the model's forward")


def _is_equal(one: Group, other: Group) -> bool:
    return (one.name, one.unit, set(one.members), "") == (other.name, other.unit, set(other.members), other.kept_whole)
