"""Rewriting an exported graph: the few edits that turn a float ONNX model into one that computes with integers.

Nodes are collected in the order in which they run; each edit appends. Names of new tensors end in what they are
(``_q`` integers, ``_dq`` floats again), so that a graph can be read in any viewer.
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
    """An ONNX model whose nodes are written anew, one after another.

    Args:
        file: an exported model; weights in a side file are read too.
    """

    def __init__(self, file: Path) -> None:
        import onnx

        self.model = onnx.load(file)
        self.source = list(self.model.graph.node)
        self.constants = {it.name: onnx.numpy_helper.to_array(it) for it in self.model.graph.initializer}
        self.nodes: list[Any] = []
        self.uses = Counter(name for node in self.source for name in node.input)
        self.outputs = {it.name for it in self.model.graph.output}

    @property
    def inputs(self) -> list[str]:
        return [it.name for it in self.model.graph.input]

    def weight(self, name: str) -> Tensor | None:
        """A constant matrix or kernel in floating point, if ``name`` is one."""
        value = self.constants.get(name)
        if value is None or value.ndim < 2 or value.dtype != numpy.float32:
            return None
        return torch.from_numpy(value.copy())

    def only_consumer(self, name: str) -> Any | None:
        """The node that alone takes ``name``, if it is so."""
        if self.uses[name] != 1 or name in self.outputs:
            return None
        return next(node for node in self.source if name in node.input)

    def add(self, kind: str, inputs: Sequence[str], output: str, *more: str, **attributes: Any) -> str:
        """Append a node; the name of its first output."""
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [output, *more], **attributes))
        return output

    def constant(self, name: str, value: Tensor) -> str:
        """A constant of this name, written once."""
        self.constants.setdefault(name, value.detach().numpy())
        return name

    def round_trip(self, name: str, params: QuantParams) -> str:
        """``name`` → integers → floats again, for an activation; the name of the last."""
        scale = self.constant(f"{name}_scale", params.scale[0])
        zero = self.constant(f"{name}_zero", params.zero_point[0].to(torch.uint8))
        integers = self.add("QuantizeLinear", [name, scale, zero], f"{name}_q")
        return self.add("DequantizeLinear", [integers, scale, zero], f"{name}_dq")

    def integers(self, name: str, weight: QuantizedTensor, axis: int) -> str:
        """The constant ``name`` as integers with scales along ``axis``, and the floats that they stand for."""
        scale, zero = self._scales(name, weight)
        integers = self.constant(f"{name}_q", weight.integers)
        return self.add("DequantizeLinear", [integers, scale, zero], f"{name}_dq", axis=axis)

    def integer_bias(self, name: str, unit: Tensor, label: str) -> str:
        """The constant ``name`` in int32, as multiples of ``unit`` per channel."""
        from course_lib.quantization.integer import quantize_bias

        bias = quantize_bias(torch.from_numpy(self.constants[name].copy()), unit)
        scale, zero = self.constant(f"{label}_unit", unit), self.constant(f"{label}_no", torch.zeros_like(bias))
        return self.add("DequantizeLinear", [self.constant(f"{label}_q", bias), scale, zero], f"{label}_dq", axis=0)

    def look_up(self, node: Any, table: QuantizedTensor) -> None:
        """Instead of a Gather from floats: integers of the row, times the scale of the row."""
        name, rows, output = node.input[0], node.input[1], node.output[0]
        scale = self.constant(f"{name}_scale", table.params.scale[:, None])
        integers = self.constant(f"{name}_q", table.integers)
        taken = self.add("Gather", [integers, rows], f"{output}_q", axis=0)
        floats = self.add("Cast", [taken], f"{output}_float", to=1)
        self.add("Mul", [floats, self.add("Gather", [scale, rows], f"{output}_scale", axis=0)], output)

    def keep(self, node: Any, renamed: dict[str, str]) -> None:
        """Append a node of the source, with some of its inputs replaced."""
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        self.nodes.append(node)

    def save(self, file: Path) -> Path:
        """Write everything into one file; constants that nobody uses any more are left out."""
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

    def _scales(self, name: str, weight: QuantizedTensor) -> tuple[str, str]:
        zeros = weight.params.zero_point.to(weight.integers.dtype)
        return self.constant(f"{name}_scale", weight.params.scale), self.constant(f"{name}_zero", zeros)
