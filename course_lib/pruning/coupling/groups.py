"""Groups: channels that must be removed together, found in one pass over the nodes.

Every layer makes new channels. Where two values are added, their channels become one group, because the same channel
must be removed from both. Norms and depthwise convolutions belong to the group of their input; the next layer reads it.
Where an operation may mix channels, those that it reads stay whole, so that its result does not change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from course_lib.pruning.coupling.mappings import IndexMap
from course_lib.pruning.coupling.nodes import Node
from course_lib.pruning.coupling.values import BatchSize, Channels, Group, GroupDraft, Member, Shape, Value, merge

ANSWERS = "the answers of the model"
FUSED_HEADS = (
    "its heads cannot be removed, for torch computes them from one matrix that must be as wide as its input; attention "
    "classes of transformers can lose heads"
)


class GroupFinder:
    """Visits the nodes in order and collects coupled channels, with one method for each kind of node.

    Args:
        modules: name → module of the model.
        protected: layer → why its weights must not change; their channels stay whole.
        norms_of_sequences: ``BatchNorm1d`` layers that see ``(examples, …, channels)`` with further dimensions.
    """

    def __init__(
        self,
        modules: dict[str, nn.Module],
        protected: Mapping[str, str] | None = None,
        norms_of_sequences: Collection[str] = (),
    ) -> None:
        self.modules: dict[str, Any] = modules
        self.norms_of_sequences = set(norms_of_sequences)
        self.protected = dict(protected or {})
        self.values: dict[str, Value] = {}
        self.lineages: dict[str, str] = {}
        self.drafts: list[GroupDraft] = []
        self.called: set[str] = set()
        self.made_by: dict[str, GroupDraft] = {}

    def groups(self, nodes: list[Node]) -> list[Group]:
        """The groups of a model with these nodes, in the order of the layers that make them."""
        for node in nodes:
            if node.name in self.modules and node.name in self.called:
                self.protected[node.name] = f"the layer {node.name!r} is shared: it is used more than once"
            self.called.add(node.name)
            self.values[node.key] = getattr(self, f"_{node.kind}")(node)
            self.lineages[node.key] = self._lineage(node)
        drafts = [draft for draft in self.drafts if draft.parent is None and draft.members]
        for draft in drafts:
            reasons = [self.protected[member.layer] for member in draft.members if member.layer in self.protected]
            draft.reasons += reasons
        return [draft.finished() for draft in drafts]

    def _new_group(self, channels: int, unit: str, reason: str = "") -> GroupDraft:
        group = GroupDraft(channels, len(self.drafts), unit=unit, reasons=[reason] if reason else [])
        self.drafts.append(group)
        return group

    def _lineage(self, node: Node) -> str:
        """Name of the first tensor with the same rows, as far as it is known."""
        before = {self.lineages[key] for key in node.inputs}
        known = isinstance(self.values[node.key], Channels) and len(before) == 1
        return before.pop() if known else node.key

    def _input(self, node: Node) -> Value:
        return None

    def _output(self, node: Node) -> Value:
        return self._keep_whole(node, ANSWERS)

    def _opaque(self, node: Node) -> Value:
        if node.name in self.modules:
            layer = self.modules[node.name]
            note = f"; {FUSED_HEADS}" if isinstance(layer, nn.MultiheadAttention) else ""
            return self._keep_whole(node, f"the layer {node.name!r} of kind {type(layer).__name__} may mix them{note}")
        return self._keep_whole(node, f"the operation {node.name!r} (step {node.key!r}) may mix them")

    def _keep_whole(self, node: Node, reason: str) -> Value:
        """Every channel that this node reads has to stay, so what it computes does not change."""
        for value in map(self.values.get, node.inputs):
            channels = value.of if isinstance(value, Shape) else value
            if isinstance(channels, Channels):
                channels.keep_whole(reason)
        return None

    def _parameter(self, node: Node) -> Value:
        """A parameter that is used outside of its layer must not change."""
        self.protected[node.name.rpartition(".")[0]] = f"the parameter {node.name!r} is used outside of a layer"
        return None

    def _conv(self, node: Node, reason: str = "") -> Value:
        layer = self.modules[node.name]
        rank = 2 + len(layer.kernel_size)
        self._read(node, layer.in_channels, last=False, rank=rank, reason=reason)
        return self._make(node, layer.out_channels, "filter", last=False, rank=rank, reason=reason)

    def _grouped(self, node: Node) -> Value:
        return self._conv(node, f"{node.name} works in {self.modules[node.name].groups} groups of equal size")

    def _linear(self, node: Node) -> Value:
        layer = self.modules[node.name]
        value = self.values[node.inputs[0]]
        rank = value.rank if isinstance(value, Channels) else None
        self._read(node, layer.in_features, last=True)
        return self._make(node, layer.out_features, "neuron", last=True, rank=rank)

    def _norm(self, node: Node) -> Value:
        """BatchNorm works along dimension 1; ``(examples, channels)`` are the last dimension too."""
        value, layer = self.values[node.inputs[0]], self.modules[node.name]
        of_rows = isinstance(layer, nn.BatchNorm1d) and isinstance(value, Channels) and value.rank in (2, None)
        of_rows = of_rows and node.name not in self.norms_of_sequences
        if isinstance(value, Channels) and value.last and not of_rows:
            return self._opaque(node)
        return self._follow(node, layer.num_features)

    def _depthwise(self, node: Node) -> Value:
        value = self.values[node.inputs[0]]
        if isinstance(value, Channels) and not value.last:
            return self._follow(node, self.modules[node.name].out_channels)
        return self._grouped(node)

    def _layernorm(self, node: Node) -> Value:
        value, layer = self.values[node.inputs[0]], self.modules[node.name]
        if isinstance(value, Channels) and not (value.last and len(layer.normalized_shape) == 1 and not value.flat):
            return self._opaque(node)
        return self._follow(node, layer.normalized_shape[0], "width")

    def _embeddings(self, node: Node) -> Value:
        """Three tables and a norm, all of one width."""
        layer = self.modules[node.name]
        group = self._new_group(layer.word_embeddings.embedding_dim, "width")
        tables = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")
        group.members += [Member(f"{node.name}.{table}", "out") for table in tables]
        return Channels((group,), last=True, rank=3)

    def _attention(self, node: Node) -> Value:
        """A head is a block of rows in query, key and value, and a block of columns of the output."""
        layer = self.modules[node.name]
        group = self._new_group(layer.num_attention_heads, "head")
        for projection in ("query", "key", "value"):
            name = f"{node.name}.{projection}"
            self._read(replace(node, name=name), getattr(layer, projection).in_features, last=True)
            group.members.append(Member(name, "out", IndexMap(0, layer.attention_head_size)))
        return Channels((group,), last=True, rank=3, flat=True)

    def _pointwise(self, node: Node) -> Value:
        value = self.values[node.inputs[0]]
        return value if isinstance(value, Channels) else self._opaque(node)

    def _spatial(self, node: Node) -> Value:
        """Pooling over pixels; ``detail`` is the number of their dimensions, if the operation has one."""
        value = self.values[node.inputs[0]]
        over_pixels = isinstance(value, Channels) and not value.last and node.detail in (None, (value.rank or 0) - 2)
        return value if over_pixels else self._opaque(node)

    def _flatten(self, node: Node) -> Value:
        value = self.values[node.inputs[0]]
        flattened = value.flattened() if isinstance(value, Channels) else None
        return self._opaque(node) if flattened is None else flattened

    def _batch_flatten(self, node: Node) -> Value:
        rows = self.values[node.inputs[1]]
        same = isinstance(rows, BatchSize) and rows.lineage == self.lineages[node.inputs[0]]
        return self._flatten(replace(node, inputs=node.inputs[:1])) if same else self._opaque(node)

    def _mean(self, node: Node) -> Value:
        """The mean over all pixels leaves ``(examples, channels)``, or one pixel if dimensions are kept."""
        value, (dims, keep) = self.values[node.inputs[0]], node.detail
        if not isinstance(value, Channels) or value.last or value.rank is None:
            return self._opaque(node)
        if {value.axis(dim) for dim in dims} != set(range(2, value.rank)):
            return self._opaque(node)
        return value if keep else replace(value, last=True, rank=2)

    def _elementwise(self, node: Node) -> Value:
        """Added or multiplied channel by channel: both inputs have the same channels."""
        one, other = (self.values[key] for key in node.inputs)
        if not (isinstance(one, Channels) and isinstance(other, Channels)) or not _one_by_one(one, other):
            return self._opaque(node)
        for left, right in zip(one.segments, other.segments, strict=True):
            merge(left.root(), right.root())
        return one

    def _concat(self, node: Node) -> Value:
        values = [value for value in map(self.values.get, node.inputs) if isinstance(value, Channels)]
        first = values[0] if values else None
        if first is None or len(values) < len(node.inputs):
            return self._opaque(node)
        if len({(value.last, value.rank) for value in values}) > 1 or not _along_channels(first, node.detail):
            return self._opaque(node)
        # each part may be flattened with another number of pixels, so only one position for each channel is understood
        flat = first.flat and len(values) == 1
        segments = tuple(segment for value in values for segment in value.segments)
        return replace(first, segments=segments, flat=flat)

    def _shape(self, node: Node) -> Value:
        value = self.values[node.inputs[0]]
        return Shape(value if isinstance(value, Channels) else None)

    def _size(self, node: Node) -> Value:
        return self._size_along(node, self.values[node.inputs[0]], node.detail)

    def _item(self, node: Node) -> Value:
        value = self.values[node.inputs[0]]
        if not isinstance(value, Shape):
            return self._opaque(node)
        if isinstance(node.detail, int):
            return self._size_along(node, value.of, node.detail)
        pixels = node.detail in (slice(2, None), slice(-2, None)) and value.of and value.of.rank == 4
        return None if pixels and value.of and not value.of.last else self._opaque(node)

    def _size_along(self, node: Node, value: Value, dim: int) -> Value:
        """The size of a tensor along a dimension; along that of its channels it would change."""
        axis = value.axis(dim) if isinstance(value, Channels) else dim
        if axis == 0:
            return BatchSize(self.lineages[node.inputs[0]])
        if isinstance(value, Channels) and (axis is None or value.dimension in (axis, None)):
            return self._opaque(node)
        return None

    def _fact(self, node: Node) -> Value:
        return None

    def _make(
        self, node: Node, channels: int, unit: str, *, last: bool, rank: int | None, reason: str = ""
    ) -> Channels:
        group = self._new_group(channels, unit, reason)
        group.members.append(Member(node.name, "out"))
        if node.name in self.made_by:
            merge(self.made_by[node.name].root(), group)
        self.made_by.setdefault(node.name, group)
        return Channels((group,), last, rank)

    def _follow(self, node: Node, channels: int, unit: str = "") -> Value:
        """A layer that works on each channel of its input by itself, and has parameters for each."""
        value = self.values[node.inputs[0]]
        if not isinstance(value, Channels) or not self._attach(node, value, channels, "out"):
            return self._opaque(node)
        for group in value.segments if unit else ():
            group.root().unit = unit
        return value

    def _read(self, node: Node, width: int, *, last: bool, rank: int | None = None, reason: str = "") -> None:
        value = self.values[node.inputs[0]]
        placed = isinstance(value, Channels) and value.last == last and (rank is None or value.rank == rank)
        if isinstance(value, Channels) and not (placed and self._attach(node, value, width, "in")):
            value.keep_whole(f"the layer {node.name!r} reads them in another order")
        elif isinstance(value, Shape):
            self._opaque(node)
        if isinstance(value, Channels) and reason:
            value.keep_whole(reason)

    def _attach(self, node: Node, value: Channels, width: int, side: str) -> bool:
        """Add a member for each segment along a dimension of ``width`` positions; False if they do not fit."""
        spread, rest = divmod(width, value.width)
        if rest or spread < 1 or (spread > 1 and not value.flat):
            return False
        offset = 0
        for group in value.segments:
            group.root().members.append(Member(node.name, side, IndexMap(offset, spread)))
            offset += group.root().channels * spread
        return True


def _one_by_one(one: Channels, other: Channels) -> bool:
    """Whether two values have the same channels in the same places."""
    counts = [[group.root().channels for group in value.segments] for value in (one, other)]
    ranks = None in (one.rank, other.rank) or one.rank == other.rank
    return counts[0] == counts[1] and one.last == other.last and one.flat == other.flat and ranks


def _along_channels(value: Channels, dim: int) -> bool:
    """Whether ``dim`` is the dimension of the channels."""
    return dim == -1 if value.last and dim < 0 else value.axis(dim) == value.dimension is not None
