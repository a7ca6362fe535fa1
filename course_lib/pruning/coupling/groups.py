"""Groups: channels that must be removed together, found by walking through the nodes once.

Every layer starts channels of its own. Where two streams are added, their channels become one: the same channel has to
go from both. Norms and depthwise convolutions belong to the channels that they see; the next layer reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from course_lib.pruning.coupling.mappings import IndexMap
from course_lib.pruning.coupling.nodes import POINTER, CouplingError, Node

CHANNEL_BY_CHANNEL = IndexMap()
UNITS = ("filter", "neuron", "head", "width")


@dataclass(frozen=True)
class Member:
    """One dimension of one layer: its outputs (``side="out"``, norms too) or its inputs (``"in"``)."""

    layer: str
    side: str
    map: IndexMap = CHANNEL_BY_CHANNEL


@dataclass(frozen=True)
class Group:
    """Channels that live or die together in all ``members``.

    Args:
        name: of the layer that makes the channels first.
        unit: what one of them is: ``"filter"``, ``"neuron"``, ``"head"``, or ``"width"`` of a transformer's stream.
        channels: how many there are.
        kept_whole: why none of them may go; empty if they may.
    """

    name: str
    unit: str
    channels: int
    members: tuple[Member, ...] = field(repr=False)
    kept_whole: str = ""


@dataclass
class _Space:
    """A set of channels while the walk goes on; ``parent`` after it was joined with another one."""

    channels: int
    order: int
    members: list[Member] = field(default_factory=list)
    unit: str = ""
    reasons: list[str] = field(default_factory=list)
    parent: _Space | None = None

    def root(self) -> _Space:
        return self if self.parent is None else self.parent.root()


@dataclass(frozen=True)
class _Value:
    """Channels of a value, one after the other: pieces ``(space, repeat)``; ``last``: they are the last dimension."""

    pieces: tuple[tuple[_Space, int], ...]
    last: bool
    flat: bool = False

    @property
    def width(self) -> int:
        return sum(space.root().channels * repeat for space, repeat in self.pieces)


class Walk:
    """Visits the nodes in order and collects the spaces."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules: dict[str, Any] = modules
        self.values: dict[str, _Value | None] = {}  # None is the model's input, whose width nobody has asked for yet
        self.spaces: list[_Space] = []

    def groups(self, nodes: list[Node]) -> list[Group]:
        for node in nodes:
            self.values[node.key] = getattr(self, f"_{node.kind}")(node)
        return [_group(space) for space in self.spaces if space.parent is None and space.members]

    def _new(self, channels: int, unit: str, reason: str = "") -> _Space:
        space = _Space(channels, len(self.spaces), unit=unit, reasons=[reason] if reason else [])
        self.spaces.append(space)
        return space

    def _input(self, node: Node) -> None:
        return None

    def _output(self, node: Node) -> None:
        for key in node.inputs:
            for space, _ in self._known(key).pieces:
                space.root().reasons.append("the answers of the model")

    def _conv(self, node: Node) -> _Value:
        layer = self.modules[node.name]
        self._read(node.name, self.values[node.inputs[0]], layer.in_channels, last=False)
        return self._made(node.name, layer.out_channels, "filter", last=False)

    def _grouped(self, node: Node) -> _Value:
        layer = self.modules[node.name]
        reason = f"{node.name} works in {layer.groups} groups of equal size"
        self._read(node.name, self.values[node.inputs[0]], layer.in_channels, last=False, reason=reason)
        return self._made(node.name, layer.out_channels, "filter", last=False, reason=reason)

    def _linear(self, node: Node) -> _Value:
        layer = self.modules[node.name]
        self._read(node.name, self.values[node.inputs[0]], layer.in_features, last=True)
        return self._made(node.name, layer.out_features, "neuron", last=True)

    def _norm(self, node: Node) -> _Value | None:
        return self._belongs(node, self.modules[node.name].num_features)

    def _depthwise(self, node: Node) -> _Value | None:
        return self._belongs(node, self.modules[node.name].out_channels)

    def _layernorm(self, node: Node) -> _Value | None:
        return self._belongs(node, self.modules[node.name].normalized_shape[0], "width")

    def _embeddings(self, node: Node) -> _Value:
        """Three tables and a norm, all of one width."""
        layer = self.modules[node.name]
        space = self._new(layer.word_embeddings.embedding_dim, "width")
        tables = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")
        space.members += [Member(f"{node.name}.{table}", "out") for table in tables]
        return _Value(((space, 1),), last=True)

    def _attention(self, node: Node) -> _Value:
        """A head is a block of rows in query, key and value; it comes out as a block of columns."""
        layer = self.modules[node.name]
        space = self._new(layer.num_attention_heads, "head")
        for projection in ("query", "key", "value"):
            name = f"{node.name}.{projection}"
            self._read(name, self.values[node.inputs[0]], getattr(layer, projection).in_features, last=True)
            space.members.append(Member(name, "out", IndexMap(0, layer.attention_head_size)))
        return _Value(((space, layer.attention_head_size),), last=True)

    def _same(self, node: Node) -> _Value | None:
        return self.values[node.inputs[0]]

    def _flatten(self, node: Node) -> _Value | None:
        value = self.values[node.inputs[0]]
        return None if value is None else _Value(value.pieces, last=True, flat=value.flat or not value.last)

    def _join(self, node: Node) -> _Value:
        """Added channel by channel: the channels of both sides become the same ones."""
        one, other = (self._known(key) for key in node.inputs[:2])
        shapes = [[(space.root().channels, repeat) for space, repeat in value.pieces] for value in (one, other)]
        if shapes[0] != shapes[1] or one.last != other.last:
            raise CouplingError(f"the step {node.name!r} joins channels that do not match one by one; {POINTER}")
        for (left, _), (right, _) in zip(one.pieces, other.pieces, strict=True):
            _merge(left.root(), right.root())
        return one

    def _cat(self, node: Node) -> _Value:
        values = [self._known(key) for key in node.inputs]
        if len({(value.last, value.flat) for value in values}) != 1:
            raise CouplingError(f"the step {node.name!r} concatenates values of different kinds; {POINTER}")
        pieces = tuple(piece for value in values for piece in value.pieces)
        return _Value(pieces, values[0].last, values[0].flat)

    def _known(self, key: str) -> _Value:
        value = self.values[key]
        if value is None:
            raise CouplingError(f"the input {key!r} of the model is added or given out as it is; {POINTER}")
        return value

    def _made(self, layer: str, channels: int, unit: str, *, last: bool, reason: str = "") -> _Value:
        space = self._new(channels, unit, reason)
        space.members.append(Member(layer, "out"))
        return _Value(((space, 1),), last)

    def _belongs(self, node: Node, channels: int, unit: str = "") -> _Value | None:
        """A layer that works on each channel of its input, and has numbers for each."""
        value = self.values[node.inputs[0]]
        if value is None:
            return None
        self._attach(node.name, value, channels, "out")
        for space, _ in value.pieces if unit else ():
            space.root().unit = unit
        return value

    def _read(self, layer: str, value: _Value | None, width: int, *, last: bool, reason: str = "") -> None:
        if value is None:
            return
        if value.last != last:
            raise CouplingError(f"the layer {layer!r} does not read the channels of what it is given; {POINTER}")
        self._attach(layer, value, width, "in")
        for space, _ in value.pieces if reason else ():
            space.root().reasons.append(reason)

    def _attach(self, layer: str, value: _Value, width: int, side: str) -> None:
        """Note where each piece lies along a dimension of ``width`` positions."""
        spread, rest = divmod(width, value.width)
        if rest or spread < 1 or (spread > 1 and not value.flat):
            raise CouplingError(f"the layer {layer!r} expects {width} channels and is given {value.width}; {POINTER}")
        offset = 0
        for space, repeat in value.pieces:
            space.root().members.append(Member(layer, side, IndexMap(offset, repeat * spread)))
            offset += space.root().channels * repeat * spread


def _merge(one: _Space, other: _Space) -> None:
    first, second = sorted((one, other), key=lambda space: space.order)
    if first is second:
        return
    first.members += second.members
    first.reasons += second.reasons
    first.unit = "width" if "width" in (first.unit, second.unit) else first.unit
    second.parent, second.members = first, []


def _group(space: _Space) -> Group:
    makers = [member.layer for member in space.members if member.side == "out"]
    name = makers[0].rpartition(".")[0] if space.unit in ("head", "width") and "." in makers[0] else makers[0]
    return Group(name, space.unit, space.channels, tuple(space.members), "; ".join(dict.fromkeys(space.reasons)))
