"""Heads and neurons of the transformers library, whose forward passes torch.fx cannot trace.

The channels between the projections of an attention module, or between the two layers of a feed-forward network, are
used nowhere else. So they can be removed whatever the model around them does; the hidden state stays whole. A class is
listed here only if its forward pass was read, and a subclass from elsewhere is not taken for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from course_lib.architectures.weighted_layers import is_transposed
from course_lib.pruning.coupling.mappings import IndexMap
from course_lib.pruning.coupling.values import Group, Member


@dataclass(frozen=True)
class FeedForward:
    """Layers that make neurons, and the layer that reads them, by their names in the block."""

    makers: tuple[str, ...]
    reader: str


@dataclass(frozen=True)
class Attention:
    """Query, key and value (one name if they are one layer), the output layer, and where the head size is."""

    projections: tuple[str, ...]
    output: str
    head_size: str = "head_dim"


GATED = FeedForward(("gate_proj", "up_proj"), "down_proj")
TWO_LAYERS = FeedForward(("fc1",), "fc2")
BERT_LIKE = FeedForward(("intermediate.dense",), "output.dense")
ROTARY = Attention(("q_proj", "k_proj", "v_proj"), "o_proj")
BART_LIKE = Attention(("q_proj", "k_proj", "v_proj"), "out_proj")
BERT_ATTENTION = Attention(("self.query", "self.key", "self.value"), "output.dense", "self.attention_head_size")

DECODERS = ("Llama", "Qwen2", "Qwen3", "Mistral", "Gemma")
ENCODERS = ("Bert", "Roberta", "XLMRoberta", "Camembert", "Electra")
BLOCKS: Mapping[str, FeedForward | Attention] = {
    **{f"{family}MLP": GATED for family in DECODERS},
    **{f"{family}Attention": ROTARY for family in (*DECODERS, "ViT")},
    **{f"{family}Layer": BERT_LIKE for family in ENCODERS},
    **{f"{family}Attention": BERT_ATTENTION for family in ENCODERS},
    "ViTMLP": TWO_LAYERS,
    "OPTDecoderLayer": TWO_LAYERS,
    "OPTAttention": BART_LIKE,
    "BartEncoderLayer": TWO_LAYERS,
    "BartDecoderLayer": TWO_LAYERS,
    "BartAttention": BART_LIKE,
    "GPT2MLP": FeedForward(("c_fc",), "c_proj"),
    "GPT2Attention": Attention(("c_attn",), "c_proj"),
    "FFN": FeedForward(("lin1",), "lin2"),
    "DistilBertSelfAttention": Attention(("q_lin", "k_lin", "v_lin"), "out_lin", "attention_head_size"),
    "AlbertLayer": FeedForward(("ffn",), "ffn_output"),
    "AlbertAttention": Attention(("query", "key", "value"), "dense", "attention_head_size"),
    "T5DenseActDense": FeedForward(("wi",), "wo"),
    "T5DenseGatedActDense": FeedForward(("wi_0", "wi_1"), "wo"),
}


def block_groups(model: nn.Module, protected: Mapping[str, str]) -> list[Group]:
    """Groups of heads and neurons of every known block, in the order of the model; none if there is no such block.

    Query heads that share a key and a value head (grouped-query attention) are one channel.

    Args:
        protected: layer → why its weights must not change.
    """
    groups = []
    for name, module in model.named_modules():
        block = BLOCKS.get(type(module).__name__)
        if block and type(module).__module__.startswith("transformers.models."):
            prefix = f"{name}." if name else ""
            find = _heads if isinstance(block, Attention) else _neurons
            groups += [_kept_if_protected(group, protected) for group in find(module, prefix, block)]
    return groups


def _neurons(module: nn.Module, prefix: str, block: Any) -> Iterator[Group]:
    makers = [prefix + maker for maker in block.makers]
    layers = [module.get_submodule(name) for name in (*block.makers, block.reader)]
    if all(map(_is_plain, layers)):
        members = [*(Member(maker, "out") for maker in makers), Member(prefix + block.reader, "in")]
        yield Group(makers[0], "neuron", _outputs(layers[0]), tuple(members))


def _heads(module: Any, prefix: str, block: Any) -> Iterator[Group]:
    owner, _, attribute = block.head_size.rpartition(".")
    size = int(getattr(module.get_submodule(owner), attribute))
    layers = [module.get_submodule(name) for name in block.projections]
    if hasattr(module, "q_attn") or not all(map(_is_plain, [*layers, module.get_submodule(block.output)])):
        return
    name = prefix.removesuffix(".") + (f".{owner}" if owner else "")
    if len(layers) == 1:  # query, key and value side by side
        heads = _outputs(layers[0]) // 3 // size
        members = [
            Member(prefix + block.projections[0], "out", IndexMap(part * heads * size, size)) for part in range(3)
        ]
        queries = size
    else:
        heads, queries = _outputs(layers[1]) // size, _outputs(layers[0]) * size // _outputs(layers[1])
        widths = (queries, size, size)
        names = [prefix + projection for projection in block.projections]
        members = [Member(one, "out", IndexMap(0, width)) for one, width in zip(names, widths, strict=True)]
    members.append(Member(prefix + block.output, "in", IndexMap(0, queries)))
    yield Group(name, "head", heads, tuple(members))


def _kept_if_protected(group: Group, protected: Mapping[str, str]) -> Group:
    reasons = dict.fromkeys(protected[member.layer] for member in group.members if member.layer in protected)
    return Group(group.name, group.unit, group.channels, group.members, "; ".join(reasons))


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer is still the one that transformers put there, and not factors of it or a quantized kernel."""
    return type(layer) is nn.Linear or (is_transposed(layer) and type(layer).__module__.startswith("transformers."))


def _outputs(layer: Any) -> int:
    return layer.nf if is_transposed(layer) else layer.out_features
