"""AdaRound: learn for each weight whether to round up or down, so that the output of its layer changes least.

Layers are optimized in the order of the model, without labels. Each is treated as a matrix: a convolution multiplies
its filters with the patches of its input. Inputs come from the model quantized so far, target outputs from the
original, so that a layer can compensate for the errors before it. The patches of one layer are in memory at a time.

Source: Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, 2020.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from course_lib import models
from course_lib.architectures.weighted_layers import check_no_fused_weights, copy_model, output_axis
from course_lib.core.validation import error_prefix
from course_lib.data import Split
from course_lib.models.hooks import StopForward, first_input, forward_pre_hooks
from course_lib.quantization.affine import QuantizedTensor, QuantParams, quantize_tensor
from course_lib.quantization.bit_allocation import EDGE_BITS, Bits, bits_per_layer
from course_lib.quantization.calibration import check_calibration
from course_lib.quantization.mse_scale import best_input_params, best_weight_params
from course_lib.quantization.packing import set_weights
from course_lib.quantization.ptq import QuantizationResult, quantize_activations
from course_lib.quantization.sparse_weights import kept_entries

STRETCH, MARGIN = 1.2, 0.1
WARM_UP, FIRST_BETA, LAST_BETA = 0.2, 20.0, 2.0
BATCH = 128
COLUMNS = 4096  # patches per layer: 75 MB for the widest layers of ResNet18


def adaround(
    model: nn.Module, calibration: Split, *, bits: Bits = 4, input_bits: Bits | None = 8,
    edge_bits: int | None = EDGE_BITS, examples: int = 512, iterations: int = 150, keep_zeros: bool | None = None,
    seed: int = 0, progress: bool = True,
) -> QuantizationResult:  # fmt: skip
    """A quantized copy of ``model``, with rounding optimized layer by layer.

    Args:
        calibration: training or validation examples; labels are not used.
        bits, edge_bits: of the weights, see ``bits_per_layer``.
        input_bits: of the layer inputs; None leaves inputs in floating point.
        examples: number of examples to draw.
        iterations: optimizer steps per layer.
        keep_zeros: whether pruned weights stay zero; None: in layers where at least a tenth of the weights are zero.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, or weights or inputs hold NaN or infinity.
    """
    check_calibration(calibration)
    check_no_fused_weights(model, "AdaRound")
    weight_bits, original = bits_per_layer(model, bits, edge_bits), copy_model(model).eval()
    inputs = {}
    if input_bits is not None:
        inputs = best_input_params(original, calibration, bits_per_layer(model, input_bits, edge_bits))
    rounded = quantize_activations(original, inputs)
    batches = [inputs for inputs, _ in calibration.subset(examples).batches(BATCH)]
    weights = {}
    for name, layer in tqdm(models.prunable_layers(rounded).items(), desc="adaround", disable=not progress):
        weight = layer.get_parameter("weight")
        with error_prefix(f"layer {name!r}"):
            params = best_weight_params(weight, weight_bits[name], output_axis(layer))
        if _is_matrix(layer) and (pair := _inputs_and_targets(original, rounded, name, batches)) is not None:
            kept = kept_entries(weight, keep_zeros)
            quantized = round_adaptively(weight, params, *pair, iterations=iterations, seed=seed, kept=kept)
        else:
            quantized = quantize_tensor(weight, params)
        weight.data.copy_(quantized.values())
        weights[f"{name}.weight"] = quantized
    return QuantizationResult(set_weights(rounded, weights), original)


def rectified_sigmoid(v: Tensor) -> Tensor:
    """``h(v) = clip(1.2 · sigmoid(v) - 0.1, 0, 1)``, which reaches 0 and 1 (Nagel et al., 2020, equation 23)."""
    return (torch.sigmoid(v) * STRETCH - MARGIN).clamp(0, 1)


def round_adaptively(
    weight: Tensor,
    params: QuantParams,
    inputs: Tensor,
    targets: Tensor,
    *,
    iterations: int = 150,
    columns: int = 256,
    learning_rate: float = 0.1,
    pull: float = 10.0,
    seed: int = 0,
    kept: Tensor | None = None,
) -> QuantizedTensor:
    """``weight`` ``(out, …)`` rounded so that ``weight @ inputs`` is close to ``targets``.

    Each integer is ``floor(w / scale) + h(v)`` with ``h(v)`` in [0, 1]. ``v`` is optimized; a regularizer with falling
    exponent pulls ``h(v)`` to 0 or 1.

    Args:
        params: symmetric, one scale per output channel.
        inputs: ``(entries of a row, N)``; targets: ``(out, N)``.
        columns: number of the N columns in each iteration.
        pull: weight of the regularizer, relative to an error that is 1 for rounding to nearest.
        kept: boolean, in the shape of ``weight``; the integers are zero where it is false.
    """
    scale, (low, high) = params.scale[:, None], params.range
    steps = weight.detach().float().flatten(1) / scale
    down = steps.floor()
    allowed = torch.ones_like(steps) if kept is None else kept.flatten(1).float()
    v = torch.logit(((steps - down).clamp(0.01, 0.99) + MARGIN) / STRETCH).requires_grad_()
    nearest_error = _row_errors(steps.round().clamp(low, high) * scale, inputs, targets)
    optimizer = torch.optim.Adam([v], lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    for step in range(iterations):
        batch = torch.randint(inputs.shape[1], (columns,), generator=generator)
        h = rectified_sigmoid(v)
        soft = (down + h).clamp(low, high) * allowed * scale
        loss = (_row_errors(soft, inputs[:, batch], targets[:, batch]) / nearest_error).mean()
        if (beta := _beta(step / iterations)) is not None:
            loss = loss + pull * (1 - (2 * h - 1).abs().pow(beta)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    integers = (down + (v.detach() >= 0)).clamp(low, high) * allowed
    return quantize_tensor((integers * scale).view_as(weight), params)


def _row_errors(weight: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of each output channel."""
    return (weight @ inputs - targets).square().mean(dim=1).clamp_min(1e-12)


def _beta(done: float) -> float | None:
    """Exponent of the regularizer: None during the warm-up, then from 20 (flat) to 2, by a cosine."""
    if done < WARM_UP:
        return None
    cosine = math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))
    return LAST_BETA + (FIRST_BETA - LAST_BETA) * (1 + cosine) / 2


def _is_matrix(layer: nn.Module) -> bool:
    """Whether the layer is one matrix ``(out, in)``; grouped and transposed convolutions are rounded to nearest."""
    plain_convolution = isinstance(layer, nn.Conv2d) and layer.groups == 1 and not isinstance(layer.padding, str)
    return isinstance(layer, nn.Linear) or (plain_convolution and layer.padding_mode == "zeros")


@torch.no_grad()
def _inputs_and_targets(
    original: nn.Module, rounded: nn.Module, name: str, batches: list[Any]
) -> tuple[Tensor, Tensor] | None:
    """Inputs of a layer in the rounded model ``(entries, N)``, outputs in the original ``(out, N)``; None if unused."""
    layer = original.get_submodule(name)
    inputs, targets = [], []
    calls = _count_calls(original, name, batches[0])
    for index, batch in enumerate(batches if calls else ()):
        pairs = [_layer_inputs(model, name, batch, calls) for model in (rounded, original)]
        for noisy, exact in zip(*pairs, strict=True):
            keep = max(1, COLUMNS // (len(batches) * calls * len(exact)))
            inputs.append(patches(layer, noisy.float(), keep, seed=index))
            matrix = layer.get_parameter("weight").float().flatten(1)
            targets.append(matrix @ patches(layer, exact.float(), keep, seed=index))
    return (torch.cat(inputs, dim=1), torch.cat(targets, dim=1)) if calls else None


def patches(layer: nn.Module, inputs: Tensor, per_example: int, seed: int = 0) -> Tensor:
    """Columns that the rows of the layer's weight are multiplied with: ``(entries of a row, N)``.

    Args:
        inputs: of the layer; images for a convolution, ``(…, features)`` for a linear layer.
        per_example: for a convolution, number of positions drawn at random from each image.
    """
    if not isinstance(layer, nn.Conv2d):
        return inputs.flatten(0, -2).T.contiguous()
    padding: Any = layer.padding
    unfolded = F.unfold(inputs, layer.kernel_size, layer.dilation, padding, layer.stride)
    images, entries, positions = unfolded.shape
    draw = torch.rand(images, positions, generator=torch.Generator().manual_seed(seed))
    chosen = draw.topk(min(per_example, positions), dim=1).indices
    taken = unfolded.gather(2, chosen[:, None, :].expand(-1, entries, -1))
    return taken.transpose(0, 1).reshape(entries, -1)


def _count_calls(model: nn.Module, name: str, batch: Any) -> int:
    """How often one forward pass calls a layer; 0 if it is never reached."""
    seen: list[Any] = []
    with forward_pre_hooks(model, {name: lambda *_: seen.append(None)}):
        models.call(model, batch)
    return len(seen)


def _layer_inputs(model: nn.Module, name: str, batch: Any, calls: int) -> list[Tensor]:
    """Input of each of the ``calls`` of a layer, after its input grid if it has one."""
    found: list[Tensor] = []

    def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(first_input(args, kwargs))
        if len(found) == calls:
            raise StopForward

    with contextlib.suppress(StopForward), forward_pre_hooks(model, {name: record}, with_kwargs=True):
        models.call(model, batch)
    return found
