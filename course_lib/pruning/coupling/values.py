"""Values: what is known of the channels of a tensor that flows through a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from course_lib.pruning.coupling.mappings import IndexMap

ONE_TO_ONE = IndexMap()
UNITS = ("filter", "neuron", "head", "width")


@dataclass(frozen=True)
class Member:
    """One dimension of one layer: its outputs (``side="out"``, norms too) or its inputs (``"in"``)."""

    layer: str
    side: str
    map: IndexMap = ONE_TO_ONE


@dataclass(frozen=True)
class Group:
    """Channels that must be removed together in all ``members``.

    Args:
        name: of the layer that makes the channels first.
        unit: what one of them is: ``"filter"``, ``"neuron"``, ``"head"``, or ``"width"`` of a hidden state.
        channels: how many there are.
        kept_whole: why none of them may be removed; empty if they may.
    """

    name: str
    unit: str
    channels: int
    members: tuple[Member, ...] = field(repr=False)
    kept_whole: str = ""


@dataclass
class GroupDraft:
    """A group in the making; ``parent`` is the one that it was merged into (union-find)."""

    channels: int
    order: int
    members: list[Member] = field(default_factory=list)
    unit: str = ""
    reasons: list[str] = field(default_factory=list)
    parent: GroupDraft | None = None

    def root(self) -> GroupDraft:
        """The group that this one was merged into, at last."""
        return self if self.parent is None else self.parent.root()

    def finished(self) -> Group:
        """The group as it is now."""
        name = next(member.layer for member in self.members if member.side == "out")
        if self.unit in ("head", "width") and "." in name:
            name = name.rpartition(".")[0]
        return Group(name, self.unit, self.channels, tuple(self.members), "; ".join(dict.fromkeys(self.reasons)))


@dataclass(frozen=True)
class Channels:
    """The channels of a tensor, in order.

    Args:
        segments: groups whose channels follow each other.
        last: whether they are the last dimension of the tensor; else they are dimension 1, before pixels.
        rank: number of dimensions, if it is known.
        flat: whether each channel may take several positions in a row, as after a flatten.
    """

    segments: tuple[GroupDraft, ...]
    last: bool
    rank: int | None = None
    flat: bool = False

    @property
    def width(self) -> int:
        """Number of channels."""
        return sum(group.root().channels for group in self.segments)

    @property
    def dimension(self) -> int | None:
        """Where the channels lie, if that is known: 1, or the last."""
        return 1 if not self.last else None if self.rank is None else self.rank - 1

    def axis(self, dim: int) -> int | None:
        """``dim`` counted from the front, if that is known."""
        return dim if dim >= 0 else None if self.rank is None else self.rank + dim

    def keep_whole(self, reason: str) -> None:
        """No channel may be removed."""
        for group in self.segments:
            group.root().reasons.append(reason)

    def flattened(self) -> Channels | None:
        """The same channels after a flatten of all dimensions but the first; None if they would be repeated."""
        if self.last and self.flat and self.rank != 2:
            return None
        return replace(self, last=True, rank=2, flat=self.flat or not self.last)


@dataclass(frozen=True)
class Shape:
    """The shape of a tensor with these channels; of the model's input, if there are none."""

    of: Channels | None


@dataclass(frozen=True)
class BatchSize:
    """The number of rows of every tensor of this lineage: those that no unknown operation separates from each other."""

    lineage: str


Value = Channels | Shape | BatchSize | None
"""``None`` is a tensor, or a number, that no removal of channels changes."""


def merge(one: GroupDraft, other: GroupDraft) -> None:
    """Make one group of two."""
    first, second = sorted((one, other), key=lambda group: group.order)
    if first is second:
        return
    first.members += second.members
    first.reasons += second.reasons
    first.unit = "width" if "width" in (first.unit, second.unit) else first.unit
    second.parent, second.members = first, []
