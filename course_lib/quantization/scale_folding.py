"""Folding the scales of AWQ and SmoothQuant into the layer before: one factor per channel, the same function.

``W x = (W · s)(x / s)``: if ``x`` is the output of a norm or a linear layer, that layer can output ``x / s`` itself, at
no cost at run time. It must feed nothing else. In BERT the norms also feed the residual connection, so only the value
layer of attention can be divided: averaging over positions, between it and the output layer, does not mix channels.

Source: Xiao et al., SmoothQuant, 2022; Lin et al., AWQ, 2023.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.architectures.weighted_layers import is_linear, is_transposed
from course_lib.storage import Encoded
from course_lib.training.sequential_calibration import Stage, weight_matrix

LLAMA = {
    "self_attn.q_proj": "input_layernorm", "self_attn.o_proj": "self_attn.v_proj",
    "mlp.gate_proj": "post_attention_layernorm", "mlp.down_proj": "mlp.up_proj",
}  # fmt: skip
PREVIOUS: dict[str, dict[str, str]] = {
    "bert": {"attention.output.dense": "attention.self.value"},
    "llama": LLAMA,
    "qwen2": LLAMA,
    "mistral": LLAMA,
    # Gemma's norms multiply by 1 + weight, so a divisor is not folded into them
    "gemma": {"self_attn.o_proj": "self_attn.v_proj", "mlp.down_proj": "mlp.up_proj"},
    "opt": {
        "self_attn.q_proj": "self_attn_layer_norm", "self_attn.out_proj": "self_attn.v_proj",
        "fc1": "final_layer_norm", "fc2": "fc1",
    },
    "gpt2": {"attn.c_attn": "ln_1", "mlp.c_fc": "ln_2"},
}  # fmt: skip
"""Model type → first layer of a stage → layer whose output is the input of that stage and of nothing else."""


def previous_layer(model: nn.Module, stage: Stage) -> tuple[str, nn.Module] | None:
    """Name and module of the layer that a divisor of the inputs of ``stage`` can be folded into, if there is one."""
    config: Any = getattr(model, "config", None)
    first = next(iter(stage.layers)).removeprefix(f"{stage.block}.")
    found = PREVIOUS.get(getattr(config, "model_type", ""), {}).get(first)
    if found is None or not _commutes(config, first):
        return None
    name = f"{stage.block}.{found}"
    layer = model.get_submodule(name)
    channels = len(weight_matrix(layer)) if is_linear(layer) else len(layer.weight)  # type: ignore[arg-type]
    return (name, layer) if channels == stage.width else None


@torch.no_grad()
def fold_divisor(
    model: nn.Module, stage: Stage, divisor: Tensor, weights: MutableMapping[str, Encoded] | None = None
) -> bool:
    """Divide the outputs of the layer before ``stage`` by ``divisor`` ``(in,)``, in place, if that is possible.

    Changed parameters are rounded to fp16, so that a file with fp16 values holds them exactly.

    Args:
        weights: packed weights by tensor name; if that of the layer before is among them, its scales are divided.

    Returns:
        Whether it was possible; if not, nothing is changed.
    """
    found = previous_layer(model, stage)
    if found is None:
        return False
    name, layer = found
    weight: Any = layer.weight
    bias: Any = getattr(layer, "bias", None)
    if bias is not None:
        bias.copy_((bias / divisor).half())
    packed = (weights or {}).get(f"{name}.weight")
    if packed is not None and weights is not None:
        weights[f"{name}.weight"] = divided = _divide_scales(packed, divisor)
        weight.copy_(storage.decode(divided))
    else:
        per_output = divisor if not is_linear(layer) or is_transposed(layer) else divisor[:, None]
        weight.copy_((weight / per_output).half())
    return True


def _divide_scales(packed: Encoded, divisor: Tensor) -> Encoded:
    """Packed integers with the scales of each output divided; the integers stay."""
    scales = packed.parts["scales"]
    divided = (scales.float().view(len(divisor), -1) / divisor[:, None]).half().flatten()
    return replace(packed, parts={**packed.parts, "scales": divided})


def _commutes(config: Any, inner: str) -> bool:
    """Whether division passes through what is between; in OPT that depends on the activation and the norm's place."""
    if config.model_type != "opt":
        return True
    relu = config.activation_function == "relu"
    return {"fc2": relu, "self_attn.out_proj": True}.get(inner, config.do_layer_norm_before)
