"""Deployment of a model as an int8 file for ONNX Runtime.

Static quantization: ranges of all activations are calibrated, and a convolution maps integers to integers. Dynamic
quantization: each matrix product computes the range of its input at run time. Static ranges and integers are computed
here; the runtime only fuses ``DequantizeLinear → Conv → QuantizeLinear`` into one kernel.

A kernel that multiplies uint8 by int8 saturates at 16 bits on processors without VNNI, see ``saturating_sums``. With
``reduce_range`` the weights have 7 bits, and no pair of products overflows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import profiling
from course_lib.architectures.weighted_layers import is_linear
from course_lib.core.validation import error_prefix
from course_lib.data import Split
from course_lib.quantization.affine import QuantizedTensor, QuantParams, quantize_tensor, weight_params
from course_lib.quantization.calibration import check_calibration, quantizable_layers
from course_lib.quantization.integer import LARGEST_INT32
from course_lib.quantization.observers import make_observer
from course_lib.quantization.onnx_edit import Graph

MATRIX_KINDS = ("Conv", "Gemm", "MatMul")
LINEAR_LAYER_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}


def deploy_static(
    model: nn.Module,
    calibration: Split,
    file: str | Path,
    *,
    method: str = "min-max",
    reduce_range: bool | None = None,
    additions: bool | None = None,
    batch_size: int = 32,
) -> profiling.Deployed:
    """Write ``model`` as an int8 ONNX file with static ranges: weights per channel, activations per tensor.

    Embedding tables are quantized per row.

    Args:
        calibration: train or validation examples, on which the ranges are calibrated.
        method: observer, one of ``OBSERVERS``.
        reduce_range: 7 bits for weights; by default if this processor has no VNNI.
        additions: also add activations, and pool them, in integers; by default in convolutional models.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if it is empty, the model has nothing to quantize, or a value is NaN or infinite.
    """
    check_calibration(calibration)
    layers = quantizable_layers(model)
    if additions is None:
        additions = any(isinstance(layer, nn.Conv2d) for layer in layers.values())
    graph = Graph(profiling.export_onnx(model, calibration.example(1)))
    nodes = [node for node in graph.source if _computes_in_integers(graph, node, additions)]
    names = _quantized_activations(graph, nodes)
    ranges = _calibrate(model, graph, names, calibration, method, batch_size)
    _write_static(graph, {id(node) for node in nodes}, ranges, _weight_bits(reduce_range))
    return profiling.Deployed(graph.save(Path(file)), model)


def deploy_dynamic(
    model: nn.Module, example: Any, file: str | Path, *, reduce_range: bool | None = None
) -> profiling.Deployed:
    """Write ``model`` as an int8 ONNX file whose matrix products compute the range of their input at run time.

    Args:
        example: inputs to trace the model with, such as ``split.example(1)``.
        reduce_range: as in ``deploy_static``.

    Raises:
        ValueError: if the model has no linear layer, or a weight is NaN or infinite.
    """
    if not any(is_linear(layer) for layer in quantizable_layers(model).values()):
        raise ValueError(f"model {type(model).__name__} has no linear layer; convolutions need deploy_static")
    graph = Graph(profiling.export_onnx(model, example))
    bits = _weight_bits(reduce_range)
    quantized_inputs: set[str] = set()
    for node in graph.source:
        weight = graph.weight(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        if weight is not None and _is_linear(node):
            _dynamic_product(
                graph,
                node,
                weight.T if node.op_type == "Gemm" and not _is_transposed(node) else weight,
                bits,
                quantized_inputs,
            )
        elif table := _embedding_table(graph, node):
            graph.look_up(node, table)
        else:
            graph.keep(node, {})
    return profiling.Deployed(graph.save(Path(file)), model)


def _dynamic_product(graph: Graph, node: Any, weight: Tensor, bits: int, quantized_inputs: set[str]) -> None:
    """Append a matrix product in integers; its input is quantized once, at run time, for all products that read it."""
    x, name, output = node.input[0], node.input[1], node.output[0]
    if x not in quantized_inputs:
        quantized_inputs.add(x)
        graph.add("DynamicQuantizeLinear", [x], f"{x}_q", f"{x}_scale", f"{x}_zero")
    quantized = quantize_tensor(weight, weight_params(weight, bits, axis=1))
    matrix = graph.constant(f"{name}_q", quantized.integers.contiguous())
    zeros = graph.constant(f"{name}_zero", torch.zeros(weight.shape[1], dtype=torch.int8))
    scale = graph.constant(f"{name}_scale", quantized.params.scale)
    sums = graph.add("MatMulInteger", [f"{x}_q", matrix, f"{x}_zero", zeros], f"{output}_sums")
    unit = graph.add("Mul", [f"{x}_scale", scale], f"{output}_unit")
    floats = graph.add("Cast", [sums], f"{output}_float", to=1)
    has_bias = node.op_type == "Gemm" and len(node.input) == 3
    product = graph.add("Mul", [floats, unit], f"{output}_product" if has_bias else output)
    if has_bias:
        graph.add("Add", [product, node.input[2]], output)


def _write_static(graph: Graph, chosen: set[int], ranges: Mapping[str, QuantParams], bits: int) -> None:
    """Write all nodes; those with an id in ``chosen`` compute in integers."""
    renamed = {name: graph.quantize_dequantize(name, ranges[name]) for name in graph.inputs if name in ranges}
    for node in graph.source:
        if id(node) in chosen and node.op_type in MATRIX_KINDS:
            _integer_weights(graph, node, ranges[node.input[0]], bits)
        if id(node) not in chosen and (table := _embedding_table(graph, node)):
            graph.look_up(node, table)
        else:
            graph.keep(node, renamed)
        for output in node.output:
            if output in ranges:
                renamed[output] = graph.quantize_dequantize(output, ranges[output])


def _integer_weights(graph: Graph, node: Any, inputs: QuantParams, bits: int) -> None:
    """Replace weight and bias of a node by integers, in place."""
    name = node.input[1]
    weight = graph.weight(name)
    assert weight is not None
    axis = 1 if node.op_type == "MatMul" or _is_transposed(node) else 0
    with error_prefix(f"weight {name!r}"):
        params = weight_params(weight, bits, axis=axis)
        if len(node.input) == 3:
            params = _fit_bias(params, inputs.scale, torch.from_numpy(graph.constants[node.input[2]].copy()))
        quantized = quantize_tensor(weight, params)
        node.input[1] = graph.integers(name, quantized, axis)
        if len(node.input) == 3:
            unit = inputs.scale * quantized.params.scale
            node.input[2] = graph.integer_bias(node.input[2], unit, f"{node.output[0]}_bias")


def _fit_bias(params: QuantParams, input_scale: Tensor, bias: Tensor) -> QuantParams:
    """Larger scales for channels whose bias exceeds 32 bits: beside such a bias, their weights hardly count."""
    smallest = bias.abs().double() / (LARGEST_INT32 // 2) / input_scale.double()
    return replace(params, scale=torch.maximum(params.scale, smallest.float()))


def _computes_in_integers(graph: Graph, node: Any, additions: bool) -> bool:
    if node.op_type in MATRIX_KINDS:
        return graph.weight(node.input[1]) is not None and _is_linear(node)
    if node.op_type == "Add":
        return additions and not any(name in graph.constants for name in node.input)
    return node.op_type == "MaxPool" and additions


def _is_linear(node: Any) -> bool:
    """Whether a node is not a Gemm, or the Gemm of a linear layer: x Wᵀ + b, or x W + b."""
    return node.op_type != "Gemm" or _gemm_attributes(node) | {"transB": 1} == LINEAR_LAYER_GEMM


def _is_transposed(node: Any) -> bool:
    """Whether a node is a Gemm whose weight is stored as (in, out), as that of GPT-2's ``Conv1D``."""
    return node.op_type == "Gemm" and _gemm_attributes(node)["transB"] == 0


def _gemm_attributes(node: Any) -> dict[str, Any]:
    attributes = {it.name: it.f if it.name in ("alpha", "beta") else it.i for it in node.attribute}
    return {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | attributes


def _quantized_activations(graph: Graph, nodes: list[Any]) -> list[str]:
    """Activations to quantize: the inputs of these nodes, and the outputs of convolutions, additions and pooling.

    After a ReLU the range is half as wide, so its output is quantized instead of its input. The result of a matrix
    product stays in floating point (the addition of its bias follows), and so does the output of the model.
    """
    names: dict[str, None] = {}
    for node in nodes:
        data = node.input[:1] if node.op_type != "Add" else node.input
        names |= dict.fromkeys(data)
        if node.op_type == "MatMul":
            continue
        output, follower = node.output[0], graph.only_consumer(node.output[0])
        if follower is not None and follower.op_type == "Relu":
            output = follower.output[0]
        if output not in graph.outputs:
            names[output] = None
    return list(names)


def _calibrate(
    model: nn.Module, graph: Graph, names: list[str], calibration: Split, method: str, batch_size: int
) -> dict[str, QuantParams]:
    observers = {name: make_observer(method) for name in names}
    file = profiling.export_onnx(model, calibration.example(1))
    inputs = set(graph.inputs)
    inner = [name for name in names if name not in inputs]
    for feed, values in profiling.intermediate_values(file, calibration, inner, batch_size):
        for name, value in {**values, **feed}.items():
            if name in observers:
                observers[name].observe(value)
    return {name: observer.params() for name, observer in observers.items()}


def _embedding_table(graph: Graph, node: Any) -> QuantizedTensor | None:
    """The quantized table, if the node looks up an embedding."""
    weight = graph.weight(node.input[0]) if node.op_type == "Gather" else None
    return None if weight is None else quantize_tensor(weight, weight_params(weight, 8))


def _weight_bits(reduce_range: bool | None) -> int:
    reduced = not profiling.machine().vnni if reduce_range is None else reduce_range
    return 7 if reduced else 8
