"""Groups: channels that must be removed together, found in one pass over the nodes.

Every layer makes new channels. Where two values are added, their channels become one group, because the same channel
must be removed from both. Norms and depthwise convolutions belong to the group of their input; the next layer reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from course_lib.pruning.coupling.mappings import IndexMap
from course_lib.pruning.coupling.nodes import POINTER, CouplingError, Node

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
class _GroupDraft:
    """A group in the making; ``parent`` is the one that it was merged into (union-find)."""

    channels: int
    order: int
    members: list[Member] = field(default_factory=list)
    unit: str = ""
    reasons: list[str] = field(default_factory=list)
    parent: _GroupDraft | None = None

    def root(self) -> _GroupDraft:
        return self if self.parent is None else self.parent.root()

    def finished(self) -> Group:
        name = next(member.layer for member in self.members if member.side == "out")
        if self.unit in ("head", "width") and "." in name:
            name = name.rpartition(".")[0]
        return Group(name, self.unit, self.channels, tuple(self.members), "; ".join(dict.fromkeys(self.reasons)))


@dataclass(frozen=True)
class _Channels:
    """The channels of a value, in order.

    Args:
        segments: groups with the number of positions that each of their channels takes.
        last: whether they are the last dimension of the value.
        flat: whether the value was flattened.
    """

    segments: tuple[tuple[_GroupDraft, int], ...]
    last: bool
    flat: bool = False

    @property
    def width(self) -> int:
        return sum(group.root().channels * repeat for group, repeat in self.segments)


class GroupFinder:
    """Visits the nodes in order and collects coupled channels, with one method for each kind of node."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules: dict[str, Any] = modules
        self.values: dict[str, _Channels | None] = {}  # None: the model's input, which has no channels of a layer
        self.drafts: list[_GroupDraft] = []

    def groups(self, nodes: list[Node]) -> list[Group]:
        """The groups of a model with these nodes, in the order of the layers that make them."""
        for node in nodes:
            self.values[node.key] = getattr(self, f"_{node.kind}")(node)
        return [draft.finished() for draft in self.drafts if draft.parent is None and draft.members]

    def _new_group(self, channels: int, unit: str, reason: str = "") -> _GroupDraft:
        group = _GroupDraft(channels, len(self.drafts), unit=unit, reasons=[reason] if reason else [])
        self.drafts.append(group)
        return group

    def _input(self, node: Node) -> None:
        return None

    def _output(self, node: Node) -> None:
        for key in node.inputs:
            for group, _ in self._require(key).segments:
                group.root().reasons.append("the answers of the model")

    def _conv(self, node: Node) -> _Channels:
        layer = self.modules[node.name]
        self._read(node.name, self.values[node.inputs[0]], layer.in_channels, last=False)
        return self._make(node.name, layer.out_channels, "filter", last=False)

    def _grouped(self, node: Node) -> _Channels:
        layer = self.modules[node.name]
        reason = f"{node.name} works in {layer.groups} groups of equal size"
        self._read(node.name, self.values[node.inputs[0]], layer.in_channels, last=False, reason=reason)
        return self._make(node.name, layer.out_channels, "filter", last=False, reason=reason)

    def _linear(self, node: Node) -> _Channels:
        layer = self.modules[node.name]
        self._read(node.name, self.values[node.inputs[0]], layer.in_features, last=True)
        return self._make(node.name, layer.out_features, "neuron", last=True)

    def _norm(self, node: Node) -> _Channels | None:
        return self._follow(node, self.modules[node.name].num_features)

    def _depthwise(self, node: Node) -> _Channels | None:
        return self._follow(node, self.modules[node.name].out_channels)

    def _layernorm(self, node: Node) -> _Channels | None:
        return self._follow(node, self.modules[node.name].normalized_shape[0], "width")

    def _embeddings(self, node: Node) -> _Channels:
        """Three tables and a norm, all of one width."""
        layer = self.modules[node.name]
        group = self._new_group(layer.word_embeddings.embedding_dim, "width")
        tables = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")
        group.members += [Member(f"{node.name}.{table}", "out") for table in tables]
        return _Channels(((group, 1),), last=True)

    def _attention(self, node: Node) -> _Channels:
        """A head is a block of rows in query, key and value, and a block of columns of the output."""
        layer = self.modules[node.name]
        group = self._new_group(layer.num_attention_heads, "head")
        for projection in ("query", "key", "value"):
            name = f"{node.name}.{projection}"
            self._read(name, self.values[node.inputs[0]], getattr(layer, projection).in_features, last=True)
            group.members.append(Member(name, "out", IndexMap(0, layer.attention_head_size)))
        return _Channels(((group, layer.attention_head_size),), last=True)

    def _channelwise(self, node: Node) -> _Channels | None:
        return self.values[node.inputs[0]]

    def _flatten(self, node: Node) -> _Channels | None:
        value = self.values[node.inputs[0]]
        return None if value is None else _Channels(value.segments, last=True, flat=value.flat or not value.last)

    def _elementwise(self, node: Node) -> _Channels:
        """Added or multiplied channel by channel: both inputs have the same channels."""
        one, other = (self._require(key) for key in node.inputs[:2])
        shapes = [[(group.root().channels, repeat) for group, repeat in value.segments] for value in (one, other)]
        if shapes[0] != shapes[1] or one.last != other.last:
            raise CouplingError(f"the step {node.name!r} joins channels that do not match one by one; {POINTER}")
        for (left, _), (right, _) in zip(one.segments, other.segments, strict=True):
            _merge(left.root(), right.root())
        return one

    def _concat(self, node: Node) -> _Channels:
        values = [self._require(key) for key in node.inputs]
        if len({(value.last, value.flat) for value in values}) != 1:
            raise CouplingError(f"the step {node.name!r} concatenates values of different kinds; {POINTER}")
        segments = tuple(segment for value in values for segment in value.segments)
        return _Channels(segments, values[0].last, values[0].flat)

    def _require(self, key: str) -> _Channels:
        value = self.values[key]
        if value is None:
            raise CouplingError(f"the input {key!r} of the model is added or given out as it is; {POINTER}")
        return value

    def _make(self, layer: str, channels: int, unit: str, *, last: bool, reason: str = "") -> _Channels:
        group = self._new_group(channels, unit, reason)
        group.members.append(Member(layer, "out"))
        return _Channels(((group, 1),), last)

    def _follow(self, node: Node, channels: int, unit: str = "") -> _Channels | None:
        """A layer that works on each channel of its input by itself, and has parameters for each."""
        value = self.values[node.inputs[0]]
        if value is None:
            return None
        self._attach(node.name, value, channels, "out")
        for group, _ in value.segments if unit else ():
            group.root().unit = unit
        return value

    def _read(self, layer: str, value: _Channels | None, width: int, *, last: bool, reason: str = "") -> None:
        if value is None:
            return
        if value.last != last:
            raise CouplingError(f"the layer {layer!r} does not read the channels of what it is given; {POINTER}")
        self._attach(layer, value, width, "in")
        for group, _ in value.segments if reason else ():
            group.root().reasons.append(reason)

    def _attach(self, layer: str, value: _Channels, width: int, side: str) -> None:
        """Add a member for each segment along a dimension of ``width`` positions."""
        spread, rest = divmod(width, value.width)
        if rest or spread < 1 or (spread > 1 and not value.flat):
            raise CouplingError(f"the layer {layer!r} expects {width} channels and is given {value.width}; {POINTER}")
        offset = 0
        for group, repeat in value.segments:
            group.root().members.append(Member(layer, side, IndexMap(offset, repeat * spread)))
            offset += group.root().channels * repeat * spread


def _merge(one: _GroupDraft, other: _GroupDraft) -> None:
    first, second = sorted((one, other), key=lambda group: group.order)
    if first is second:
        return
    first.members += second.members
    first.reasons += second.reasons
    first.unit = "width" if "width" in (first.unit, second.unit) else first.unit
    second.parent, second.members = first, []
