"""Language models from GGUF files, the format of llama.cpp: weights decoded to fp16 values, and the tokenizer.

Needs the ``gguf`` package (extra ``llm``). Only Llama models with a byte-pair vocabulary are read.

Source: ggml documentation, GGUF; Gerganov et al., llama.cpp.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.core import extras
from course_lib.storage.architecture_check import empty_model

ARCHITECTURE = "llama"
NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
"""Name in GGUF → name in transformers; those of a block follow ``blk.N.``."""
CONTROL = 3  # token type of special tokens
FIELDS = {
    "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
    "max_position_embeddings": "context_length", "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}  # fmt: skip


def load_gguf(path: str | Path) -> nn.Module:
    """A Llama model from a GGUF file, in eval mode: fp32 weights whose values are exact in fp16.

    Raises:
        ExtraMissing: if the ``gguf`` package is not installed.
        ValueError: if the file is no GGUF file, truncated, or holds another kind of model.
    """
    with _readable(Path(path)) as reader:
        fields = _fields(reader)
        arguments = _arguments(fields, {tensor.name: tuple(tensor.shape) for tensor in reader.tensors})
        heads = {"attn_q": arguments["num_attention_heads"], "attn_k": arguments["num_key_value_heads"]}
        state = {name: nn.Parameter(value) for name, value in (_decoded(it, heads) for it in reader.tensors)}
        if arguments["tie_word_embeddings"]:
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
        model = empty_model({"builder": "causal_lm", "arguments": arguments})
        model.load_state_dict(state, assign=True)
    return model.eval()


def gguf_tokenizer(path: str | Path) -> Any:
    """The byte-level BPE tokenizer of a GGUF file, as a tokenizer of transformers.

    Raises:
        ExtraMissing, ValueError: as ``load_gguf``.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    with _readable(Path(path)) as reader:
        fields = _fields(reader)
        kind, splitting = (fields.get(f"tokenizer.ggml.{name}") for name in ("model", "pre"))
        if (kind, splitting) != ("gpt2", "smollm"):
            raise ValueError(f"its tokenizer must be 'gpt2' with pre-tokenizer 'smollm', found {kind!r}, {splitting!r}")
        tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
        merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
        encoder = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, merges))
        encoder.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        encoder.decoder = decoders.ByteLevel()
        special = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL]
        encoder.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
        names = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
        ids = {option: fields.get(f"tokenizer.ggml.{name}_token_id") for name, option in names.items()}
        roles = {option: tokens[number] for option, number in ids.items() if number is not None}
        return PreTrainedTokenizerFast(
            tokenizer_object=encoder, chat_template=fields.get("tokenizer.chat_template"), **roles
        )


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[Any]:
    """A reader of the file; whatever goes wrong while its content is read becomes a ``ValueError`` that names it."""
    extras.check_installed("llm")
    import gguf

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        yield gguf.GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path.name} cannot be read as a GGUF file of a Llama model ({reason}); it is damaged or of another kind"
        ) from error


def _fields(reader: Any) -> dict[str, Any]:
    return {name: field.contents() for name, field in reader.fields.items()}


def _arguments(fields: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Arguments of the builder ``causal_lm``; sizes are those of tensors in the file, so a forged one stays small."""
    found = fields.get("general.architecture")
    if found != ARCHITECTURE:
        raise ValueError(f"its architecture is {found!r}, not {ARCHITECTURE!r}")
    arguments = {name: fields[f"{ARCHITECTURE}.{field}"] for name, field in FIELDS.items()}
    arguments["hidden_size"], arguments["vocab_size"] = map(int, shapes["token_embd.weight"])
    arguments["intermediate_size"] = int(shapes["blk.0.ffn_up.weight"][1])
    arguments["num_hidden_layers"] = sum(name.endswith(".attn_q.weight") for name in shapes)
    return {
        "model_type": "llama", **arguments, "tie_word_embeddings": "output.weight" not in shapes,
        "rope_parameters": {"rope_type": "default", "rope_theta": float(fields[f"{ARCHITECTURE}.rope.freq_base"])},
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"], "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "use_cache": False,
    }  # fmt: skip


def _decoded(tensor: Any, heads: dict[str, int]) -> tuple[str, Tensor]:
    """Name in transformers, and values, of one tensor of the file."""
    from gguf import quants

    *block, kind, suffix = tensor.name.split(".")
    prefix = f"model.layers.{block[1]}." if block else ""
    values = torch.from_numpy(quants.dequantize(tensor.data, tensor.tensor_type).copy()).half().float()
    if kind in heads:
        values = _unpermute(values, heads[kind])
    return f"{prefix}{NAMES[kind]}.{suffix}", values


def _unpermute(weight: Tensor, heads: int) -> Tensor:
    """Rows of queries or keys in the order of transformers, which rotates the halves of a head; llama.cpp pairs."""
    pairs = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return pairs.swapaxes(1, 2).reshape(weight.shape)
