"""An ONNX graph that multiplies by packed weights, written into one file or with its weights beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_lib.deploy.block_weights import BlockWeight
from course_lib.quantization.onnx_edit import Graph

DOMAIN = "com.microsoft"
FLOAT = 1  # onnx.TensorProto.FLOAT
OPSET, IR_VERSION = 18, 10
SIDE = ".data"
SMALLEST_BESIDE = 1024  # bytes; smaller tensors stay in the graph


class PackedGraph(Graph):
    """A graph whose matrix products and look-ups read ``BlockWeight`` s.

    A weight is stored once, however many nodes read it: scales stay fp16 in the file, and a ``Cast``, which the runtime
    evaluates when it loads the file, makes them fp32.

    Args:
        source: file of an exported model, or an ONNX model.
        accuracy_level: of ``MatMulNBits``: 0 multiplies in fp32, 4 rounds its inputs to 8 bits first.
    """

    def __init__(self, source: Any, accuracy_level: int) -> None:
        super().__init__(source)
        self.accuracy_level = accuracy_level
        self.done: set[str] = set()

    def product(self, x: str, name: str, weight: BlockWeight, output: str, bias: str = "") -> str:
        """Append ``x Wᵀ + bias`` for the weight called ``name``."""
        inputs = [self.divided(x, weight.divisor), *self._parts(name, weight), "", bias]
        while not inputs[-1]:
            inputs.pop()
        return self.add(
            "MatMulNBits", inputs, output, domain=DOMAIN, K=weight.inputs, N=weight.outputs, bits=weight.bits,
            block_size=weight.block_size, accuracy_level=self.accuracy_level,
        )  # fmt: skip

    def rows(self, indices: str, name: str, weight: BlockWeight, output: str) -> str:
        """Append the look-up of an embedding in a packed table ``(rows, width)``."""
        codes, scales, zeros = self._parts(name, weight)
        table = self.once("Reshape", [codes, self.shape(weight.outputs, -1)], f"{name}_table")
        inputs = [table, indices, scales, zeros]
        return self.add(
            "GatherBlockQuantized", inputs[: 4 if zeros else 3], output, domain=DOMAIN, bits=weight.bits,
            block_size=weight.block_size, gather_axis=0, quantize_axis=1,
        )  # fmt: skip

    def divided(self, x: str, divisor: Tensor | None) -> str:
        """``x / divisor``, appended once for all products that share it; ``x`` itself without a divisor."""
        if divisor is None:
            return x
        label = f"divisor_{hashlib.sha256(divisor.numpy().tobytes()).hexdigest()[:16]}"
        return self.once("Div", [x, self.as_float(label, divisor)], f"{x}_{label}")

    def as_float(self, name: str, value: Tensor) -> str:
        """A constant in the dtype that it is stored in, and the name of its fp32 values."""
        return self.once("Cast", [self.constant(name, value)], f"{name}_fp32", to=FLOAT)

    def shape(self, *sizes: int) -> str:
        """A constant for ``Reshape``."""
        return self.constant(f"shape_{'_'.join(map(str, sizes))}", torch.tensor(sizes, dtype=torch.int64))

    def once(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """``add``, unless a node with this output is already there."""
        if output not in self.done:
            self.done.add(output)
            self.add(kind, inputs, output, **attributes)
        return output

    def write(self, file: str | Path, *, beside: bool = False) -> Path:
        """Write the model, with its weights inside or beside it (in ``FILE.data``); a file appears complete or not."""
        import onnx

        file = Path(file)
        if not any(it.domain == DOMAIN for it in self.model.opset_import):
            self.model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
        for node in self.nodes:  # where the exporter's trace made it: several hundred bytes a node
            node.ClearField("metadata_props")
        self.model.graph.ClearField("metadata_props")
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
            written = self.save(Path(folder) / file.name)
            side = file.with_name(file.name + SIDE)
            if beside:
                onnx.save(
                    onnx.load(written), written, save_as_external_data=True, location=side.name,
                    size_threshold=SMALLEST_BESIDE,
                )  # fmt: skip
                shutil.copymode(written, written.with_name(side.name))
                os.replace(written.with_name(side.name), side)
            os.replace(written, file)
            if not beside:
                side.unlink(missing_ok=True)
        return file

    def _parts(self, name: str, weight: BlockWeight) -> tuple[str, str, str]:
        codes = self.constant(f"{name}_codes", weight.codes)
        scales = self.as_float(f"{name}_scales", weight.scales)
        zeros = "" if weight.zero_points is None else self.constant(f"{name}_zero_points", weight.zero_points)
        return codes, scales, zeros


def empty_model(name: str, inputs: list[Any], outputs: list[Any]) -> Any:
    """An ONNX model with these inputs and outputs, and no nodes yet."""
    from onnx import helper

    graph = helper.make_graph([], name, inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
