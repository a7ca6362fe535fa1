"""Exact counts: parameters, non-zeros and multiply-accumulates (MACs)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
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

    Convolutions, matrix products, attention, recurrent and bilinear layers are counted as dense work: a zero weight is
    multiplied too. Embeddings, norms and activations count as none.
    """
    with models.evaluating(model), torch.no_grad(), mac_counter(model) as counter:
        models.call(model, inputs)
    return counter.get_total_flops() // 2


@contextlib.contextmanager
def mac_counter(model: nn.Module) -> Iterator[FlopCounterMode]:
    """torch's counter, which counts two operations for each MAC, within a ``with`` block in which ``model`` is run.

    torch does not count its CPU kernel for attention, so BERT would look cheaper under SDPA than under eager, nor the
    fused kernels of ``nn.MultiheadAttention``, ``nn.TransformerEncoderLayer`` and ``nn.LSTM``, which are not used here.
    Use it under ``no_grad``: in inference mode it fails where a weight is recomputed before each call.
    """
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    kernels = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations,
        aten._trilinear: _bilinear_operations,
    }
    with _without_fused_kernels(model), FlopCounterMode(display=False, custom_mapping=kernels) as counter:
        yield counter


@contextlib.contextmanager
def _without_fused_kernels(model: nn.Module) -> Iterator[None]:
    """Switch off the kernels that compute a whole attention or recurrent layer in one uncounted operation."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    fast_attention, onednn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(onednn and not recurrent)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
        torch._C._set_mkldnn_enabled(onednn)


def _bilinear_operations(first: Any, weight: Any, second: Any, *_: Any, **__: Any) -> int:
    """FLOP of ``nn.Bilinear``: each of its weights is used once for each row; the arguments are shapes."""
    return 2 * math.prod(first[:1]) * math.prod(weight)


def _attention_operations(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """FLOP of both matrix products of attention; the arguments are shapes."""
    from torch.utils.flop_counter import sdpa_flop_count

    return sdpa_flop_count(query, key, value)
