"""Exact counts: parameters, non-zeros and multiply-accumulates (MACs)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib import models

if TYPE_CHECKING:  # importing it loads a compiler, which most users of this module do not need
    from torch.utils.flop_counter import FlopCounterMode

Inputs = Tensor | Mapping[str, Tensor]


def count_parameters(model: nn.Module) -> int:
    """Trainable and frozen parameters; a tensor that is used twice counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_nonzeros(model: nn.Module) -> int:
    """Parameters that are not zero."""
    return sum(int(parameter.count_nonzero()) for parameter in model.parameters())


def count_macs(model: nn.Module, inputs: Inputs) -> int:
    """Multiply-accumulates of one forward pass over the whole batch ``inputs``.

    Convolutions, matrix products and attention are counted as dense work: a zero weight is multiplied too. Embeddings,
    norms and activations count as none.
    """
    with models.evaluating(model), torch.inference_mode(), mac_counter() as counter:
        models.forward(model, inputs)
    return counter.get_total_flops() // 2


def mac_counter() -> FlopCounterMode:
    """torch's counter, which counts two operations for each MAC.

    torch does not count its CPU kernel for attention, so BERT would look cheaper under SDPA than under eager.
    """
    from torch.utils.flop_counter import FlopCounterMode

    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={kernel: _attention_operations})


def _attention_operations(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """FLOP of both matrix products of attention; the arguments are shapes."""
    from torch.utils.flop_counter import sdpa_flop_count

    return sdpa_flop_count(query, key, value)
