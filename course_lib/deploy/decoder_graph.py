"""A Llama-like language model as an ONNX graph with a KV cache, for decoding token after token.

``torch.onnx`` traces a forward pass without a cache, which computes all earlier tokens again for every new one. This
graph is written node by node instead. ``GroupQueryAttention`` appends keys and values to a cache in place, rotates
queries and keys (RoPE) and attends; products with one input (query, key and value; gate and up) are one node; packed
weights keep their codes, and a tied output matrix is stored once, for look-up and product.

Source: Ainslie et al., GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints, 2023;
Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.core.validation import check_choice, check_positive
from course_lib.deploy.block_weights import PACKED, BlockWeight, block_weight, join_rows
from course_lib.deploy.nbits import ACCURACY_LEVELS, DEFAULT_LEVEL
from course_lib.deploy.packed_graph import DOMAIN, FLOAT, PackedGraph, empty_model
from course_lib.storage.attached_encodings import check_values

FAMILIES = ("llama", "mistral", "qwen2")
STATIC_ROPE = ("default", "linear", "llama3")
INT32, INT64 = 6, 7  # onnx.TensorProto


def export_decoder(
    model: nn.Module,
    file: str | Path,
    *,
    accuracy_level: int = DEFAULT_LEVEL,
    length: int = 1024,
    beside: bool = False,
) -> Path:
    """Write a language model as an ONNX file with a KV cache, for ``deploy.Decoder``.

    Packed weights keep their codes; all others are stored in fp32.

    Args:
        model: a Llama, Mistral or Qwen2 of transformers.
        accuracy_level, beside: as in ``export_nbits``.
        length: most tokens of prompt and answer together.

    Raises:
        ValueError: if the model is of another kind or uses what the graph does not have, the kernel does not take a
            weight, or an argument is out of range.
    """
    check_choice("accuracy_level", accuracy_level, ACCURACY_LEVELS)
    check_positive("length", length)
    _check_supported(model, length)
    return _DecoderGraph(model, accuracy_level, length).write(file, beside=beside)


class _DecoderGraph(PackedGraph):
    """The graph of one model; tensors are named after its layers."""

    def __init__(self, model: Any, accuracy_level: int, length: int) -> None:
        super().__init__(_empty_model(model.config, length), accuracy_level)
        self.config = model.config
        self.state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
        self.encodings = storage.encodings_of(model)
        for name, encoded in self.encodings.items():
            check_values(name, self.state[name], encoded)
        self._rotations(model.model.rotary_emb, length)
        hidden, skip = self._embedding("model.embed_tokens"), ""
        for layer in range(self.config.num_hidden_layers):
            hidden, skip = self._block(f"model.layers.{layer}", layer, hidden, skip)
        normed, _ = self._norm("model.norm", hidden, skip)
        last = self.add("Gather", [normed, "rows"], "last", axis=1)
        self._products(["model.embed_tokens" if _is_tied(model) else "lm_head"], last, "logits")

    def _block(self, name: str, index: int, hidden: str, skip: str) -> tuple[str, str]:
        """Append attention and feed-forward network; returns their last output and the residual to add to it."""
        attention, mlp = f"{name}.self_attn", f"{name}.mlp"
        x, skip = self._norm(f"{name}.input_layernorm", hidden, skip)
        projected = self._products([f"{attention}.{part}_proj" for part in "qkv"], x, f"{attention}.qkv")
        heads = self._attention(f"{attention}.heads", index, projected)
        (x,) = self._products([f"{attention}.o_proj"], heads, f"{attention}.output")
        x, skip = self._norm(f"{name}.post_attention_layernorm", x, skip)
        gate, up = self._halves(self._products([f"{mlp}.gate_proj", f"{mlp}.up_proj"], x, f"{mlp}.gate_up"), mlp)
        active = self.add("QuickGelu", [gate], f"{mlp}.silu", domain=DOMAIN, alpha=1.0)
        product = self.add("Mul", [active, up], f"{mlp}.product")
        (output,) = self._products([f"{mlp}.down_proj"], product, f"{mlp}.output")
        return output, skip

    def _embedding(self, layer: str) -> str:
        weight = self._weight(layer)
        if isinstance(weight, BlockWeight):
            return self.rows("input_ids", layer, weight, f"{layer}.rows")
        return self.add("Gather", [self.constant(layer, weight), "input_ids"], f"{layer}.rows", axis=0)

    def _norm(self, name: str, x: str, skip: str) -> tuple[str, str]:
        """Append RMSNorm of ``x`` plus the residual ``skip``; returns its output and the sum."""
        weight = self.constant(f"{name}.weight", self.state[f"{name}.weight"].float())
        options = {"epsilon": self.config.rms_norm_eps}
        if not skip:
            return self.add("SimplifiedLayerNormalization", [x, weight], name, axis=-1, **options), x
        total, unused = f"{name}.sum", ("", "")
        self.add("SkipSimplifiedLayerNormalization", [x, skip, weight], name, *unused, total, domain=DOMAIN, **options)
        return name, total

    def _attention(self, name: str, index: int, projected: list[str]) -> str:
        qkv = projected if len(projected) == 3 else [*projected, "", ""]
        past = [f"past_{part}_{index}" for part in ("key", "value")]
        present = [cache.replace("past", "present") for cache in past]
        return self.add(
            "GroupQueryAttention", [*qkv, *past, "seqlens_k", "total_length", "cos", "sin"], name, *present,
            domain=DOMAIN, num_heads=self.config.num_attention_heads, kv_num_heads=self.config.num_key_value_heads,
            do_rotary=1, scale=head_width(self.config) ** -0.5,
        )  # fmt: skip

    def _rotations(self, rotary: Any, length: int) -> None:
        """Cosine and sine of every position, ``(length, head width / 2)``."""
        angles = torch.outer(torch.arange(length).float(), rotary.inv_freq.cpu().float())
        self.constant("cos", angles.cos() * rotary.attention_scaling)
        self.constant("sin", angles.sin() * rotary.attention_scaling)

    def _halves(self, projected: list[str], name: str) -> tuple[str, str]:
        if len(projected) == 1:
            self.add("Split", projected, f"{name}.gate", f"{name}.up", axis=-1, num_outputs=2)
            return f"{name}.gate", f"{name}.up"
        return projected[0], projected[1]

    def _products(self, layers: list[str], x: str, output: str) -> list[str]:
        """Append ``x Wᵀ`` for layers with one input: one node for all if their weights can be joined, else one each."""
        weights = [self._weight(layer) for layer in layers]
        biases = [self.state[name].float() for layer in layers if (name := f"{layer}.bias") in self.state]
        joined = _join(weights) if len(biases) in (0, len(layers)) else None
        if joined is None:
            return [self._products([layer], x, f"{output}.{i}")[0] for i, layer in enumerate(layers)]
        name = " ".join(layers)
        bias = self.constant(f"{name}.bias", torch.cat(biases)) if biases else ""
        if isinstance(joined, BlockWeight):
            return [self.product(x, name, joined, output, bias)]
        return [self._dense_product(x, name, joined, output, bias)]

    def _dense_product(self, x: str, name: str, matrix: Tensor, output: str, bias: str) -> str:
        product = f"{output}.product" if bias else output
        if name in self.constants:  # a tied output matrix, stored as the embedding (vocabulary, width)
            self.add("FusedMatMul", [x, name], product, domain=DOMAIN, transB=1)
        else:
            self.add("MatMul", [x, self.constant(name, matrix.T.contiguous())], product)
        return self.add("Add", [product, bias], output) if bias else output

    def _weight(self, layer: str) -> BlockWeight | Tensor:
        """The packed weight of a layer, or its values ``(N, K)`` in fp32."""
        name = f"{layer}.weight"
        encoded = self.encodings.get(name)
        if encoded is not None and encoded.encoding in PACKED:
            return block_weight(name, encoded)
        return self.state[name].float()


def head_width(config: Any) -> int:
    """Width of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _join(weights: list[BlockWeight | Tensor]) -> BlockWeight | Tensor | None:
    packed = [weight for weight in weights if isinstance(weight, BlockWeight)]
    dense = [weight for weight in weights if isinstance(weight, Tensor)]
    if packed and dense:
        return None
    return join_rows(packed) if packed else torch.cat(dense)


def _is_tied(model: Any) -> bool:
    return model.lm_head.weight is model.model.embed_tokens.weight


def _empty_model(config: Any, length: int) -> Any:
    """An ONNX model with the inputs and outputs of the decoder, and no nodes yet."""
    from onnx import helper

    cache = ["batch", config.num_key_value_heads, length, head_width(config)]
    layers = range(config.num_hidden_layers)
    names = [f"{part}_{layer}" for layer in layers for part in ("key", "value")]
    inputs = [
        helper.make_tensor_value_info("input_ids", INT64, ["batch", "tokens"]),
        helper.make_tensor_value_info("rows", INT64, ["rows"]),
        helper.make_tensor_value_info("seqlens_k", INT32, ["batch"]),
        helper.make_tensor_value_info("total_length", INT32, []),
        *(helper.make_tensor_value_info(f"past_{name}", FLOAT, cache) for name in names),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", FLOAT, ["batch", "rows", config.vocab_size]),
        *(helper.make_tensor_value_info(f"present_{name}", FLOAT, cache) for name in names),
    ]
    return empty_model("decoder", inputs, outputs)


def _check_supported(model: Any, length: int) -> None:
    config: Any = getattr(model, "config", None)
    kind = getattr(config, "model_type", type(model).__name__)
    if kind not in FAMILIES or not hasattr(model, "lm_head"):
        raise ValueError(f"model must be a causal language model of {', '.join(FAMILIES)}; got {kind!r}")
    longest = config.max_position_embeddings
    if length > longest:
        raise ValueError(f"length must be at most {longest}, the positions of the model; got {length}")
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    window = getattr(config, "sliding_window", None) or length
    activation = config.hidden_act
    if rope not in STATIC_ROPE or window < length or activation not in ("silu", "swish"):
        found = f"rope_type {rope!r}, hidden_act {activation!r}, attention to the last {window} of {length} tokens"
        ropes = ", ".join(STATIC_ROPE)
        raise ValueError(f"the graph has SiLU, attention to all tokens and rope types {ropes}; the model has {found}")
