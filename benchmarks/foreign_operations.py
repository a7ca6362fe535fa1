"""What is done to the models of foreign families, each with a check that does not use the code it checks.

An operation returns its error, the largest difference to what is right, as a share of the largest right value. It
raises ``NotApplicable`` where there is nothing to do, and ``AssertionError`` where the result is wrong.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import lowrank, models, profiling, pruning, quantization, storage
from course_lib.architectures.batchnorm_folding import fold_batchnorm
from course_lib.architectures.channels import channel_tensors
from course_lib.architectures.factorized import Factored
from course_lib.pruning.coupling import Coupling

EXACT, CLOSE = 1e-5, 1e-4
INT8_ERROR, SMOOTH_ERROR = 0.3, 0.3
GROUP = 16
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

Inputs = Any


class NotApplicable(Exception):
    """There is nothing that this operation could be done to."""


def magnitude(model: nn.Module, family: Any) -> float:
    """Half of every matrix is zero, its smallest entries, and embeddings are as they were."""
    pruned = pruning.StructuredPruner(model, 0.5).magnitude_based_pruning()
    expected = copy.deepcopy(model)
    tables = {id(module.weight) for module in expected.modules() if isinstance(module, nn.Embedding)}
    for parameter in matrices(expected):
        if id(parameter) not in tables:
            order = parameter.detach().abs().flatten().argsort(stable=True)
            parameter.data.view(-1)[order[: round(0.5 * parameter.numel())]] = 0
    if not any(id(parameter) not in tables for parameter in matrices(expected)):
        raise NotApplicable
    assert abs(pruned.sparsity - 0.5) < 1e-3, f"reports a sparsity of {pruned.sparsity}"
    return difference(pruned.model, expected, family.inputs())


def structured(model: nn.Module, family: Any) -> float:
    """Two fifths of the channels of every group are removed; the result equals the masked original, and its file."""
    result = pruning.prune_channels(model, 0.6)
    expected = masked(model, result.coupling, result.kept)
    before, after = (sum(parameter.numel() for parameter in one.parameters()) for one in (model, result.model))
    assert after < 0.95 * before, f"{after:,} of {before:,} parameters are left"
    assert difference(expected, model, family.inputs()) > EXACT, "masking changes nothing, so the check cannot fail"
    return max(difference(result.model, expected, family.inputs()), reloaded(result.model, family.inputs()))


def low_rank(model: nn.Module, family: Any) -> float:
    """Every layer that can be is factored; the result equals the original with the products of the factors."""
    plan = lowrank.plan_for_size(model, 0.6, multiple=1)
    result = lowrank.factorize(model, plan)
    expected: Any = copy.deepcopy(model)
    for name in plan:
        chain = result.model.get_submodule(name)
        assert isinstance(chain, Factored)
        weight = expected.get_submodule(name).weight
        product = lowrank.merge(chain)
        weight.data.copy_(product if product.shape == weight.shape and not is_conv1d(expected, name) else product.T)
    return max(difference(result.model, expected, family.inputs()), reloaded(result.model, family.inputs()))


def ptq_int8(model: nn.Module, family: Any) -> float:
    """Weights and layer inputs in 8 bits: every matrix lies on a grid, and the outputs are near; its file is equal."""
    quantized = quantization.AdvancedQuantizer(model, family.split()).post_training_quantization().model
    for parameter in matrices(quantized):
        assert is_on_a_grid(parameter.detach()), "a matrix does not lie on a grid of 255 steps"
    error = difference(quantized, model, family.inputs())
    assert error < INT8_ERROR, f"outputs differ by {error:.2f}"
    assert reloaded(quantized, family.inputs()) == 0, "the file computes something else"
    return error


def weight_only(model: nn.Module, family: Any) -> float:
    """The linear layers of the blocks in 4 bits: every entry moves by half a step of its group at most."""
    if not any(linear_names(model)):
        raise NotApplicable
    rounded = quantization.rtn(model, 4, group_size=GROUP, embedding_bits=None)
    assert len(rounded.layers) > 1, "one layer was quantized"
    expected: Any = copy.deepcopy(model)
    for row in rounded.layers:
        fused = row["layer"].endswith("in_proj_weight")  # of nn.MultiheadAttention, which has no layer for it
        weight = expected.get_parameter(row["layer"] if fused else f"{row['layer']}.weight")
        swapped = not fused and is_conv1d(expected, row["layer"])
        nearest = round_in_groups(weight.detach().T if swapped else weight.detach())
        weight.data.copy_(nearest.T if swapped else nearest)
    error = difference(rounded.model, expected, family.inputs())
    with tempfile.TemporaryDirectory() as folder:
        again = storage.load(rounded.save(Path(folder) / "model.safetensors"))
    return max(error, difference(again, rounded.model, family.inputs()) / 100)  # other tensors are stored as fp16


def smoothquant(model: nn.Module, family: Any) -> float:
    """Weights and activations of the blocks in 8 bits, with smoothing: outputs are near, its file is equal."""
    if family.architecture["builder"] != "causal_lm":
        raise NotApplicable
    quantized = quantization.smoothquant(model, family.split(), embedding_bits=None).model
    error = difference(quantized, model, family.inputs())
    assert error < SMOOTH_ERROR, f"outputs differ by {error:.2f}"
    assert reloaded(quantized, family.inputs()) == 0, "the file computes something else"
    return error


def fold(model: nn.Module, family: Any) -> float:
    """BatchNorm is folded into the layers before it, wherever it follows one; its file computes the same."""
    count = sum(isinstance(module, NORMS) for module in model.modules())
    if not count:
        raise NotApplicable
    folded = fold_batchnorm(model)
    assert sum(isinstance(module, NORMS) for module in folded.modules()) < count, "no BatchNorm was folded"
    return max(difference(folded, model, family.inputs()), reloaded(folded, family.inputs()))


def macs(model: nn.Module, family: Any) -> float:
    """Multiply-accumulates, against formulas for each layer that is called."""
    inputs = family.inputs()
    expected = macs_by_formula(model, inputs)
    return abs(profiling.count_macs(model, inputs) - expected) / expected


def save_and_load(model: nn.Module, family: Any) -> float:
    """A file is loaded as a model with the same logits."""
    error = reloaded(model, family.inputs())
    assert error == 0, f"outputs differ by {error:.2g}"
    return error


def onnx(model: nn.Module, family: Any) -> float:
    """The exported graph gives the logits of the model, for this batch and for another."""
    errors = []
    for rows in (1, 3):
        with profiling.onnx(model, family.inputs(rows), threads=1) as runner, torch.no_grad():
            errors.append(relative(runner(), models.forward(model, family.inputs(rows))))
    return max(errors)


OPERATIONS: dict[str, tuple[Callable[[nn.Module, Any], float], float]] = {
    "magnitude pruning": (magnitude, EXACT),
    "structured pruning": (structured, EXACT),
    "low rank": (low_rank, CLOSE),
    "PTQ int8": (ptq_int8, INT8_ERROR),
    "weight-only 4 bits": (weight_only, CLOSE),
    "SmoothQuant": (smoothquant, SMOOTH_ERROR),
    "BatchNorm folding": (fold, CLOSE),
    "MACs": (macs, 0.01),
    "save and load": (save_and_load, 0.0),
    "ONNX": (onnx, 1e-3),
}
"""Operation → its function, and the largest error at which it works."""


def difference(model: nn.Module, expected: nn.Module, inputs: Inputs) -> float:
    """Largest difference of the outputs of two models, as a share of the largest output of the second."""
    with torch.no_grad():
        return relative(models.forward(model, inputs), models.forward(expected, inputs))


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest expected value; infinite for NaN or another shape."""
    if found.shape != expected.shape or not found.isfinite().all():
        return float("inf")
    return ((found - expected).abs().max() / expected.abs().max()).item()


def reloaded(model: nn.Module, inputs: Inputs) -> float:
    """Difference that saving and loading makes."""
    with tempfile.TemporaryDirectory() as folder:
        return difference(storage.load(storage.save(model, Path(folder) / "model.safetensors")), model, inputs)


def masked(model: nn.Module, coupling: Coupling, kept: Mapping[str, Tensor]) -> nn.Module:
    """The whole model, in which no layer reads a removed channel."""
    result = copy.deepcopy(model)
    for name, stays in kept.items():
        gone = torch.ones(coupling[name].channels, dtype=torch.bool)
        gone[stays] = False
        for member in coupling[name].members:
            layer = result.get_submodule(member.layer)
            for _, tensor, dimension in channel_tensors(layer, "in") if member.side == "in" else ():
                tensor.data.index_fill_(dimension, member.map.positions(gone.nonzero().flatten()), 0)
    return result


def matrices(model: nn.Module) -> Iterator[nn.Parameter]:
    """Every weight with at least two dimensions that is not an embedding table or part of a norm."""
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            table = isinstance(module, nn.Embedding) or not name.endswith("weight")
            if parameter.dim() > 1 and not table and id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter


def linear_names(model: nn.Module) -> list[str]:
    """Names of the linear layers in lists of equal blocks, in which weight-only quantization is of use."""
    linear = [name for name, module in model.named_modules() if type(module) is nn.Linear or is_conv1d(model, name)]
    return [name for name in linear if not name.startswith("classifier") and any(map(str.isdigit, name.split(".")))]


def is_conv1d(model: nn.Module, name: str) -> bool:
    """Whether a layer is the transposed linear layer of GPT-2."""
    return type(model.get_submodule(name)).__name__ == "Conv1D"


def is_on_a_grid(weight: Tensor) -> bool:
    """Whether rows or columns are whole multiples, from -127 to 127, of one step each."""

    def fits(rows: Tensor) -> bool:
        step = rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / 127
        return bool(((rows / step) - (rows / step).round()).abs().max() < 1e-2)

    return fits(weight.flatten(1)) or fits(weight.transpose(0, 1).flatten(1)) or fits(weight.reshape(1, -1))


def round_in_groups(matrix: Tensor) -> Tensor:
    """A matrix ``(out, in)`` rounded to 16 levels between the ends of each group (zero among them), scales in fp16."""
    groups = matrix.reshape(-1, GROUP)
    low, high = groups.amin(1, keepdim=True).clamp_max(0), groups.amax(1, keepdim=True).clamp_min(0)
    scale = ((high - low) / 15).half().float()
    zero = (-low / scale).round().clamp(0, 15)
    return (((groups / scale + zero).round().clamp(0, 15) - zero) * scale).view_as(matrix)


def macs_by_formula(model: nn.Module, inputs: Inputs) -> int:
    """MACs of convolutions, linear layers and attention, from the shapes that each call sees."""
    total = 0

    def count(layer: Any, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal total
        total += _macs_of(layer, args, output, model)

    hooks = [module.register_forward_hook(count, with_kwargs=True) for module in model.modules()]
    with torch.no_grad():
        models.forward(model, inputs)
    for hook in hooks:
        hook.remove()
    return total


def _macs_of(layer: Any, args: Any, output: Any, model: Any) -> int:
    if isinstance(layer, nn.Conv2d):
        return output.numel() * layer.weight[0].numel()
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    if type(layer).__name__ == "Conv1D":
        return output.numel() * layer.nx
    if isinstance(layer, nn.MultiheadAttention):
        rows, length, width = args[0].shape
        return rows * length * (4 * width * width + 2 * length * width)
    if type(layer).__name__ == "ShiftedWindowAttention":
        rows, height, wide, width = args[0].shape
        window = layer.window_size[0] * layer.window_size[1]
        return rows * height * wide * (4 * width * width + 2 * window * width)
    return _attention_macs(layer, args, output)


ATTENTION_WIDTHS = {
    "query": ("BertSelfAttention", "RobertaSelfAttention", "ElectraSelfAttention", "AlbertAttention"),
    "q_lin": ("DistilBertSelfAttention",),
    "q_proj": tuple(f"{name}Attention" for name in ("ViT", "OPT", "Llama", "Qwen2", "Mistral", "Gemma", "Bart")),
    "c_proj": ("GPT2Attention",),
    "q": ("T5Attention",),
}


def _attention_macs(layer: Any, args: Any, output: Any) -> int:
    """Both matrix products of an attention module of transformers, whose sequences have one length here."""
    for projection, names in ATTENTION_WIDTHS.items():
        if type(layer).__name__ in names:
            width = getattr(layer, projection).weight.shape[0]
            rows, length = output[0].shape[:2]
            return 2 * rows * length * length * width
    return 0
