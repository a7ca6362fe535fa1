"""Planted cases for ``advisor.why_not_faster``: models that are not faster, each for one known reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import onnx
import torch
from torch import nn

from course_lib import assets, data, models, profiling, pruning, quantization, storage

GROUP = 32
HEAD = 16_000


@dataclass(frozen=True)
class Planted:
    """One case: the cause that was planted, and a function that makes both models and their inputs in a folder."""

    cause: str
    make: Callable[[Path], tuple[Any, Any, Any]]
    threads: int | tuple[int, int] = 2
    small: bool = True


def mlp(*sizes: int) -> nn.Module:
    """A network with random weights."""
    torch.manual_seed(0)
    return models.build({"builder": "mlp", "arguments": {"sizes": list(sizes)}})


def rows(count: int, width: int) -> torch.Tensor:
    """Random inputs."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


@cache
def images() -> torch.Tensor:
    """One image."""
    return data.load("fashion_mnist").validation.example(1)


@cache
def sentence() -> dict[str, torch.Tensor]:
    """One sentence."""
    return data.load("sentiment").validation.example(1)


def file_of(name: str) -> nn.Module:
    """A shipped model."""
    return storage.load(assets.path(name))


def edited(
    model: nn.Module, inputs: Any, file: Path, edit: Callable[[Any, Any, dict[str, Any]], list[Any] | None]
) -> profiling.Deployed:
    """The exported model, with the nodes that ``edit(graph, node, constants)`` returns in place of a node."""
    whole = onnx.load(profiling.export_onnx(model, inputs))
    graph, nodes = whole.graph, []
    constants = {it.name: onnx.numpy_helper.to_array(it) for it in graph.initializer}
    for node in graph.node:
        nodes += edit(graph, node, constants) or [node]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    if not any(entry.domain == "com.microsoft" for entry in whole.opset_import):
        whole.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(whole, file)
    return profiling.Deployed(file, model)


def constant(graph: Any, name: str, values: numpy.ndarray) -> str:
    """Add a constant, and return its name."""
    graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return name


def few_bits(largest: int = 10**9) -> Callable[..., list[Any] | None]:
    """Edit: linear layers with at most ``largest`` outputs become MatMulNBits of 4 bits."""

    def edit(graph: Any, node: Any, constants: dict[str, Any]) -> list[Any] | None:
        if node.op_type != "Gemm" or len(constants[node.input[1]]) > largest:
            return None
        weight = constants[node.input[1]]
        n, k = weight.shape
        blocks = weight.reshape(n, k // GROUP, GROUP)
        scales = numpy.abs(blocks).max(axis=2, keepdims=True) / 7
        codes = (numpy.round(blocks / scales) + 8).astype(numpy.uint8)
        packed = codes[:, :, ::2] | (codes[:, :, 1::2] << 4)
        names = [constant(graph, f"{node.name}_codes", packed),
                 constant(graph, f"{node.name}_scales", scales.ravel().astype(numpy.float32))]  # fmt: skip
        product = onnx.helper.make_node(
            "MatMulNBits", [node.input[0], *names], [f"{node.name}_product"], name=f"{node.name}_nbits",
            domain="com.microsoft", K=k, N=n, bits=4, block_size=GROUP,
        )  # fmt: skip
        total = onnx.helper.make_node("Add", [f"{node.name}_product", node.input[2]], list(node.output))
        return [product, total]

    return edit


def integer_weights(graph: Any, node: Any, constants: dict[str, Any]) -> list[Any] | None:
    """Edit: weights in int8, converted to fp32 before each product."""
    if node.op_type != "Gemm":
        return None
    weight = constants[node.input[1]]
    scale = numpy.float32(numpy.abs(weight).max() / 127)
    integers = constant(graph, f"{node.name}_q", numpy.round(weight / scale).astype(numpy.int8))
    unit = constant(graph, f"{node.name}_scale", numpy.array(scale))
    dequantize = onnx.helper.make_node("DequantizeLinear", [integers, unit], [f"{node.name}_dq"])
    product = onnx.helper.make_node(
        "Gemm", [node.input[0], f"{node.name}_dq", node.input[2]], list(node.output), name=node.name, transB=1
    )
    return [dequantize, product]


def rounded_inputs(graph: Any, node: Any, _: dict[str, Any]) -> list[Any] | None:
    """Edit: the input of each layer is quantized and dequantized, its weights stay in floating point."""
    if node.op_type != "Gemm":
        return None
    unit = constant(graph, f"{node.name}_unit", numpy.array(0.05, dtype=numpy.float32))
    zero = constant(graph, f"{node.name}_zero", numpy.array(128, dtype=numpy.uint8))
    quantize = onnx.helper.make_node("QuantizeLinear", [node.input[0], unit, zero], [f"{node.name}_q"])
    dequantize = onnx.helper.make_node("DequantizeLinear", [f"{node.name}_q", unit, zero], [f"{node.name}_dq"])
    node.input[0] = f"{node.name}_dq"
    return [quantize, dequantize, node]


def dense_zeros(folder: Path) -> tuple[Any, Any, Any]:
    """2:4 sparsity."""
    model = mlp(1024, 1024, 1024, 10)
    masks = pruning.semi_structured_masks(model)
    return model, pruning.pruned_copy(model, masks), rows(1, 1024)


def half(model: nn.Module, inputs: Any, file: Path) -> profiling.Deployed:
    """The exported model with weights and arithmetic in fp16."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    whole = onnx.load(profiling.export_onnx(model, inputs))
    onnx.save(convert_float_to_float16(whole, keep_io_types=True), file)
    return profiling.Deployed(file, model)


def dynamic_convolutions(folder: Path) -> tuple[Any, Any, Any]:
    """Convolutions in integers with ranges at run time: ConvInteger."""
    from onnxruntime.quantization import quantize_dynamic

    model = file_of("student_10")
    quantize_dynamic(str(profiling.export_onnx(model, images())), str(folder / "d.onnx"), op_types_to_quantize=["Conv"])
    return model, profiling.Deployed(folder / "d.onnx", model), images()


def simulated(folder: Path) -> tuple[Any, Any, Any]:
    """A fake-quantized network, exported as it is."""
    model = file_of("student_10")
    calibration = data.load("fashion_mnist").train.subset(64)
    return model, quantization.post_training_quantization(model, calibration).model, images()


def quantized_last_layer(folder: Path) -> tuple[Any, Any, Any]:
    """ResNet18 whose last layer alone is in few bits."""
    model = models.load("resnet18")
    return model, edited(model, images(), folder / "e.onnx", few_bits()), images()


def of_mlp(
    sizes: tuple[int, ...], count: int, edit: Callable[..., list[Any] | None]
) -> Callable[[Path], tuple[Any, Any, Any]]:
    """A network beside its edited graph, at ``count`` rows."""

    def make(folder: Path) -> tuple[Any, Any, Any]:
        model, inputs = mlp(*sizes), rows(count, sizes[0])
        return model, edited(model, inputs, folder / "edited.onnx", edit), inputs

    return make


def dynamic(sizes: tuple[int, ...], count: int) -> Callable[[Path], tuple[Any, Any, Any]]:
    """A network beside its dynamically quantized file."""

    def make(folder: Path) -> tuple[Any, Any, Any]:
        model, inputs = mlp(*sizes), rows(count, sizes[0])
        return model, quantization.deploy_dynamic(model, inputs, folder / "dynamic.onnx"), inputs

    return make


def halved(folder: Path) -> tuple[Any, Any, Any]:
    """A network in fp16."""
    model, inputs = mlp(1024, 1024, 1024, 10), rows(4, 1024)
    return model, half(model, inputs, folder / "half.onnx"), inputs


def thinner(folder: Path) -> tuple[Any, Any, Any]:
    """A network with half of the layers."""
    return mlp(2048, 2048, 2048, 2048, 10), mlp(2048, 2048, 2048, 10), rows(64, 2048)


CASES = {
    "ResNet18, 90 % zeros": Planted("zeros in dense kernels", lambda _: (
        models.load("resnet18"), file_of("resnet18_pruned_90"), images()), small=False),
    "MiniLM, 80 % zeros": Planted("zeros in dense kernels", lambda _: (
        models.load("minilm"), pruning.prune_global(models.load("minilm"), 0.8), sentence()), small=False),
    "2:4 zeros": Planted("zeros in dense kernels", dense_zeros),
    "int8 weights, fp32 products": Planted("unfused quantize and dequantize nodes", of_mlp(
        (1024, 1024, 1024, 10), 4, integer_weights)),
    "rounded inputs, fp32 weights": Planted("unfused quantize and dequantize nodes", of_mlp(
        (256, 256, 256, 256, 10), 256, rounded_inputs)),
    "fake-quantized export": Planted("unfused quantize and dequantize nodes", simulated, small=False),
    "fp16": Planted("missing kernel or instruction set", halved),
    "ConvInteger": Planted("missing kernel or instruction set", dynamic_convolutions, small=False),
    "4 bits decoded to fp32": Planted("missing kernel or instruction set", lambda _: (
        mlp(1024, 1024, 1024, 10), quantization.quantize_weights(mlp(1024, 1024, 1024, 10), quantization.Scheme(4)),
        rows(1, 1024))),
    "4 bits of small layers": Planted("weights fit the cache", of_mlp((256, 256, 256, 256, 10), 1, few_bits())),
    "4 bits, 128 rows": Planted("compute-bound batch", of_mlp((1024, 1024, 1024, 10), 128, few_bits())),
    "dynamic, one row": Planted("dynamic quantization", dynamic((256, 256, 256, 10), 1)),
    "dynamic, four rows": Planted("dynamic quantization", dynamic((512, 512, 512, 10), 4)),
    "fewer threads": Planted("threads", thinner, threads=(2, 1)),
    "large head": Planted("unquantized head", of_mlp((512, 512, 512, HEAD), 1, few_bits(HEAD - 1))),
    "only the last layer": Planted("time spent elsewhere", quantized_last_layer, small=False),
}  # fmt: skip
"""Name → case; the small ones are tests too."""
