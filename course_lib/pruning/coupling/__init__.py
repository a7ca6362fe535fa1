"""Coupling: which channels of a model must be removed together.

Three separate things, as in Torch-Pruning: ``nodes`` (the operations of the model), ``groups`` (what is removed
together) and ``mappings`` (where a channel lies in each tensor). ``operations`` says what an operation does to the
channels that it reads, ``values`` what is known of a tensor, ``protection`` which layers must not change, and
``transformer_blocks`` has the heads and neurons of models that cannot be traced.

Source: Fang et al., DepGraph: Towards Any Structural Pruning, 2023.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from torch import nn

from course_lib.core.validation import check_choice
from course_lib.pruning.coupling.groups import GroupFinder
from course_lib.pruning.coupling.mappings import IndexMap
from course_lib.pruning.coupling.nodes import POINTER, CouplingError, Node, is_bert, trace
from course_lib.pruning.coupling.protection import protected_layers
from course_lib.pruning.coupling.transformer_blocks import block_groups
from course_lib.pruning.coupling.values import UNITS, Group, Member

if TYPE_CHECKING:
    import pandas

__all__ = ["POINTER", "UNITS", "Coupling", "CouplingError", "Group", "IndexMap", "Member", "Node", "couple", "trace"]


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


def couple(model: nn.Module) -> Coupling:
    """Find the groups of ``model``: of any model that torch.fx can trace, and of the transformers library's blocks.

    Channels that an unknown operation reads stay whole, and so do those of layers that are used twice, share a
    parameter, have forward hooks or recompute their weights: ``Group.kept_whole`` says why.

    Raises:
        CouplingError: if the model cannot be traced, or a layer is not used; the message names it.
    """
    protected = protected_layers(model)
    groups = [] if is_bert(model) else block_groups(model, protected)
    if not groups:
        groups = GroupFinder(dict(model.named_modules()), protected).groups(trace(model))
    return Coupling(groups)
