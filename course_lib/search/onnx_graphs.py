"""ONNX graphs of subnets and of their blocks, written directly: exporting a net takes seconds, this a millisecond.

The weights are random and BatchNorm is folded, as ONNX Runtime does it; the time of a dense layer does not depend on
its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from course_lib.search.footprint import halved, stage_sizes
from course_lib.search.space import INPUT_RESOLUTION, Subnet

OPSET, IR_VERSION = 18, 10


@dataclass(frozen=True, order=True)
class Part:
    """A piece of a net that is timed on its own: equal pieces of different subnets take equal time.

    Args:
        kind: ``"stem"`` (7×7 convolution and max pooling), ``"block"`` or ``"head"`` (pooling and classifier).
        inputs: input channels.
        inner: channels between the convolutions of a block; 0 elsewhere.
        outputs: output channels or classes.
        size: height and width of the input.
        stride: of a block, 1 or 2; with a projection shortcut if 2.
    """

    kind: str
    inputs: int
    inner: int
    outputs: int
    size: int
    stride: int = 1


def parts_of(subnet: Subnet, num_classes: int = 10) -> list[Part]:
    """The pieces of a subnet, in order."""
    parts = [Part("stem", 3, 0, subnet.widths[0], subnet.resolution)]
    size, before = stage_sizes(subnet.resolution)[0], subnet.widths[0]
    stages = zip(subnet.depths, subnet.widths, subnet.inner_widths, strict=True)
    for stage, (depth, width, inner) in enumerate(stages):
        for number in range(depth):
            stride = 2 if stage > 0 and number == 0 else 1
            parts.append(Part("block", before, inner, width, size, stride))
            before, size = width, halved(size) if stride == 2 else size
    return [*parts, Part("head", before, 0, num_classes, size)]


def graph_of(parts: Sequence[Part], seed: int = 0) -> bytes:
    """An ONNX model that runs ``parts`` one after the other, for one image; its input is ``"input"``.

    Raises:
        ValueError: if a part does not take what the part before it gives.
    """
    import onnx
    from onnx import TensorProto, helper

    for before, after in zip(parts, parts[1:], strict=False):
        if before.outputs != after.inputs:
            raise ValueError(f"parts must fit together, got {before} before {after}")
    writer = GraphWriter(seed)
    value = "input"
    for part in parts:
        value = WRITERS[part.kind](writer, part, value)
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, input_shape(parts))
    given = helper.make_tensor_value_info(value, TensorProto.FLOAT, output_shape(parts[-1]))
    graph = helper.make_graph(writer.nodes, "net", [taken], [given], writer.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def input_shape(parts: Sequence[Part]) -> list[int]:
    """``[1, channels, height, width]``; a stem takes the course's images and resizes them."""
    size = INPUT_RESOLUTION if parts[0].kind == "stem" else parts[0].size
    return [1, parts[0].inputs, size, size]


def output_shape(part: Part) -> list[int]:
    """``[1, channels, height, width]``, or ``[1, classes]`` after the head."""
    sizes = {"stem": halved(halved(part.size)), "block": halved(part.size) if part.stride == 2 else part.size}
    return [1, part.outputs] if part.kind == "head" else [1, part.outputs, *[sizes[part.kind]] * 2]


class GraphWriter:
    """Nodes and random weights of a graph that grows."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.generator = numpy.random.default_rng(seed)
        self._names: Iterator[str] = (f"v{number}" for number in range(10**6))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        from onnx import helper

        name = next(self._names)
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, *shape: int) -> str:
        """A new random weight whose products keep their size (He initialization)."""
        fan_in = max(1, int(numpy.prod(shape[1:])))
        return self.constant(self.generator.normal(0, (2 / fan_in) ** 0.5, shape).astype(numpy.float32))

    def constant(self, values: Any) -> str:
        """A new stored array."""
        from onnx import numpy_helper

        name = next(self._names)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def convolution(self, value: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        """A convolution with bias, which stands for a folded BatchNorm."""
        weights = self.weight(outputs, inputs, kernel, kernel), self.weight(outputs)
        pads = [kernel // 2] * 4
        return self.node("Conv", value, *weights, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=pads)


def write_stem(writer: GraphWriter, part: Part, value: str) -> str:
    """Bilinear resize, 7×7 convolution of stride 2, ReLU, and max pooling of stride 2."""
    if part.size != INPUT_RESOLUTION:
        sizes = writer.constant(numpy.array([1, part.inputs, part.size, part.size], dtype=numpy.int64))
        value = writer.node("Resize", value, "", "", sizes, mode="linear")
    value = writer.node("Relu", writer.convolution(value, part.inputs, part.outputs, 7, 2))
    return writer.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def write_block(writer: GraphWriter, part: Part, value: str) -> str:
    """The residual block of ResNet18."""
    inner = writer.node("Relu", writer.convolution(value, part.inputs, part.inner, 3, part.stride))
    outer = writer.convolution(inner, part.inner, part.outputs, 3, 1)
    if part.stride > 1:
        value = writer.convolution(value, part.inputs, part.outputs, 1, part.stride)
    return writer.node("Relu", writer.node("Add", outer, value))


def write_head(writer: GraphWriter, part: Part, value: str) -> str:
    """Global average pooling and the classifier."""
    pooled = writer.node("Flatten", writer.node("GlobalAveragePool", value))
    return writer.node("Gemm", pooled, writer.weight(part.outputs, part.inputs), writer.weight(part.outputs), transB=1)


WRITERS = {"stem": write_stem, "block": write_block, "head": write_head}
