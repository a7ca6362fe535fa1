"""Edits of an exported ONNX graph that turn a floating-point model into a quantized one.

Nodes are appended in execution order. New tensors are named by suffix (``_q`` for integers, ``_dq`` for dequantized
values), so that the graph can be read in any viewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from course_lib.quantization.affine import QuantizedTensor, QuantParams


class Graph:
    """An ONNX model whose nodes are rewritten one after another.

    Args:
        source: a file, read with its external weights, or a loaded model.
    """

    def __init__(self, source: Any) -> None:
        import onnx

        self.model = onnx.load(source) if isinstance(source, Path) else source
        self.source = list(self.model.graph.node)
        self.constants = {it.name: onnx.numpy_helper.to_array(it) for it in self.model.graph.initializer}
        self.nodes: list[Any] = []
        self.dequantized: set[str] = set()
        self.uses = Counter(name for node in self.source for name in node.input)
        self.outputs = {it.name for it in self.model.graph.output}

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs of the model."""
        return [it.name for it in self.model.graph.input]

    def weight(self, name: str) -> Tensor | None:
        """The constant matrix or kernel ``name`` in floating point; None if it is not one."""
        value = self.constants.get(name)
        if value is None or value.ndim < 2 or value.dtype != numpy.float32:
            return None
        return torch.from_numpy(value.copy())

    def only_consumer(self, name: str) -> Any | None:
        """The only node that reads ``name``; None if there are several, or it is an output of the model."""
        if self.uses[name] != 1 or name in self.outputs:
            return None
        return next(node for node in self.source if name in node.input)

    def add(self, kind: str, inputs: Sequence[str], output: str, *more: str, **attributes: Any) -> str:
        """Append a node with this ``output`` (and ``more``), and return the name of the output."""
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [output, *more], **attributes))
        return output

    def constant(self, name: str, value: Tensor) -> str:
        """Add a constant unless there is one of this name, and return the name."""
        self.constants.setdefault(name, value.detach().numpy())
        return name

    def quantize_dequantize(self, name: str, params: QuantParams) -> str:
        """Append QuantizeLinear and DequantizeLinear for an activation, and return the name of the result."""
        scale = self.constant(f"{name}_scale", params.scale[0])
        zero = self.constant(f"{name}_zero", params.zero_point[0].to(torch.uint8))
        integers = self.add("QuantizeLinear", [name, scale, zero], f"{name}_q")
        return self.add("DequantizeLinear", [integers, scale, zero], f"{name}_dq")

    def integers(self, name: str, weight: QuantizedTensor, axis: int) -> str:
        """Store a constant as integers with scales along ``axis``, and return the name of the dequantized values."""
        scale = self.constant(f"{name}_scale", weight.params.scale)
        zero = self.constant(f"{name}_zero", weight.params.zero_point.to(weight.integers.dtype))
        integers = self.constant(f"{name}_q", weight.integers)
        if f"{name}_dq" in self.dequantized:  # the weight of a layer that is called twice
            return f"{name}_dq"
        self.dequantized.add(f"{name}_dq")
        return self.add("DequantizeLinear", [integers, scale, zero], f"{name}_dq", axis=axis)

    def integer_bias(self, name: str, unit: Tensor, label: str) -> str:
        """Store a constant in int32, as multiples of ``unit``, and return the name of the dequantized values."""
        from course_lib.quantization.integer import quantize_bias

        bias = quantize_bias(torch.from_numpy(self.constants[name].copy()), unit)
        scale, zero = self.constant(f"{label}_unit", unit), self.constant(f"{label}_no", torch.zeros_like(bias))
        return self.add("DequantizeLinear", [self.constant(f"{label}_q", bias), scale, zero], f"{label}_dq", axis=0)

    def look_up(self, node: Any, table: QuantizedTensor) -> None:
        """Replace the Gather of an embedding: integers of the row, times the scale of the row."""
        name, rows, output = node.input[0], node.input[1], node.output[0]
        scale = self.constant(f"{name}_scale", table.params.scale[:, None])
        integers = self.constant(f"{name}_q", table.integers)
        taken = self.add("Gather", [integers, rows], f"{output}_q", axis=0)
        floats = self.add("Cast", [taken], f"{output}_float", to=1)
        self.add("Mul", [floats, self.add("Gather", [scale, rows], f"{output}_scale", axis=0)], output)

    def keep(self, node: Any, renamed: dict[str, str]) -> None:
        """Append a node of the original graph, with some of its inputs renamed."""
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        self.nodes.append(node)

    def save(self, file: Path) -> Path:
        """Write the model into one file, without constants that are no longer used."""
        import onnx

        graph = self.model.graph
        used = {name for node in self.nodes for name in node.input} | self.outputs
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(
            onnx.numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(self.model, file)
        return file
