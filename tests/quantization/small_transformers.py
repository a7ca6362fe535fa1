"""Small transformers, one of each kind, with tokens for them, and inputs of single layers."""

from __future__ import annotations

import torch

from course_lib import data, models
from course_lib.quantization import LayerInputs

CONFIGS = {
    "llama": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "vocab_size": 200, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0,
    },
    "opt": {
        "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 200,
        "word_embed_proj_dim": 32, "max_position_embeddings": 40,
    },
    "gpt2": {
        "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 200, "n_positions": 40, "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "bert": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "vocab_size": 200,
    },
}  # fmt: skip
KINDS = tuple(CONFIGS)


def small(kind: str) -> torch.nn.Module:
    """A model of this kind whose weights are exact in fp16, with norms and biases that are not trivial."""
    torch.manual_seed(0)
    builder = "bert" if kind == "bert" else "causal_lm"
    chosen = {} if kind == "bert" else {"model_type": kind}
    model = models.build({"builder": builder, "arguments": {**chosen, **CONFIGS[kind]}})
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
        else:
            parameter.data *= 4 if name.endswith("weight") else 1
        parameter.data = parameter.data.half().float()
    return model


def tokens(name: str = "train", count: int = 16, length: int = 24, seed: int = 0) -> data.Split:
    """Random windows; the last third of every second one is padding."""
    ids = torch.randint(1, 200, (count, length), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1::2, length - length // 3 :] = 0
    return data.Split(
        "fake", name, {"input_ids": ids, "attention_mask": mask}, torch.zeros(count, dtype=torch.int64), ("a",)
    )


def statistics(rows: torch.Tensor) -> LayerInputs:
    """``LayerInputs`` of these rows."""
    inputs = LayerInputs.empty(rows.shape[1])
    inputs.add(rows)
    return inputs


def correlated_rows(count: int = 200, width: int = 32) -> torch.Tensor:
    """Correlated inputs, some of which are large."""
    torch.manual_seed(1)
    mixed = torch.randn(count, width) @ torch.randn(width, width)
    return mixed * torch.logspace(-1, 0.5, width)
