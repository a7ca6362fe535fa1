"""Moving a factor per channel from a layer's weights into the layer before it: the function stays the same.

``W x = (W · s)(x / s)``: if ``x`` comes out of a norm or a linear layer, that layer can put out ``x / s`` itself, at no
cost when the model runs. It must feed nothing else: in BERT the norms also feed the residual connection, so only the
values of attention can take a factor there. Between them and the output matrix lies an average over positions, which
does not touch channels.

Source: Xiao et al., SmoothQuant, 2022; Lin et al., AWQ, 2023.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.storage import Encoded
from course_lib.training.sequential_calibration import Stage, is_linear, is_transposed, weight_matrix

PREVIOUS: dict[str, dict[str, str]] = {
    "bert": {"attention.output.dense": "attention.self.value"},
    "llama": {
        "self_attn.q_proj": "input_layernorm", "self_attn.o_proj": "self_attn.v_proj",
        "mlp.gate_proj": "post_attention_layernorm", "mlp.down_proj": "mlp.up_proj",
    },
    "opt": {
        "self_attn.q_proj": "self_attn_layer_norm", "self_attn.out_proj": "self_attn.v_proj",
        "fc1": "final_layer_norm", "fc2": "fc1",
    },
    "gpt2": {"attn.c_attn": "ln_1", "mlp.c_fc": "ln_2"},
}  # fmt: skip
"""Kind of model → first layer of a stage → layer whose output is that stage's input and nothing else's."""


def previous_layer(model: nn.Module, stage: Stage) -> tuple[str, nn.Module] | None:
    """Name and module of the layer that can take a factor for the inputs of ``stage``, if there is one."""
    config: Any = getattr(model, "config", None)
    first = next(iter(stage.layers))
    inner = first.removeprefix(f"{stage.block}.")
    found = PREVIOUS.get(getattr(config, "model_type", ""), {}).get(inner)
    if found is None or not _commutes(config, inner):
        return None
    name = f"{stage.block}.{found}"
    layer = model.get_submodule(name)
    channels = len(weight_matrix(layer)) if is_linear(layer) else len(layer.weight)  # type: ignore[arg-type]
    return (name, layer) if channels == stage.width else None


@torch.no_grad()
def fold_divisor(
    model: nn.Module, stage: Stage, divisor: Tensor, weights: MutableMapping[str, Encoded] | None = None
) -> bool:
    """Make the layer before ``stage`` put out its values divided by ``divisor`` ``(in,)``, in place, if it can.

    What is changed is rounded to fp16, so that a file with fp16 values holds it exactly.

    Args:
        weights: tensors that are packed already, by name; the scales of the layer before are adapted there.

    Returns:
        Whether it could; if not, nothing was changed.
    """
    found = previous_layer(model, stage)
    if found is None:
        return False
    name, layer = found
    weight: Any = layer.weight
    bias: Any = getattr(layer, "bias", None)
    if bias is not None:
        _set(bias, (bias / divisor).half())
    encoded = (weights or {}).get(f"{name}.weight")
    if encoded is not None and weights is not None:
        weights[f"{name}.weight"] = rescaled = _rows_divided(encoded, divisor)
        _set(weight, storage.decode(rescaled))
    else:
        rows = divisor if not is_linear(layer) or is_transposed(layer) else divisor[:, None]
        _set(weight, (weight / rows).half())
    return True


def _rows_divided(encoded: Encoded, divisor: Tensor) -> Encoded:
    """Packed integers whose scales were divided, output by output; the integers stay."""
    scales = encoded.parts["scales"]
    divided = (scales.float().view(len(divisor), -1) / divisor[:, None]).half().flatten()
    return replace(encoded, parts={**encoded.parts, "scales": divided})


def _commutes(config: Any, inner: str) -> bool:
    """OPT: norms come before their layers in most sizes only, and only ReLU lets a positive factor through."""
    if config.model_type != "opt":
        return True
    relu = config.activation_function == "relu"
    return {"fc2": relu, "self_attn.out_proj": True}.get(inner, config.do_layer_norm_before)


def _set(parameter: Any, values: Tensor) -> None:
    parameter.data.copy_(values)
