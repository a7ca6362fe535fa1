"""One layer on ONNX Runtime: a matrix product with fp32 or packed weights, to be timed at several numbers of rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_lib.core.validation import check_choice, check_positive
from course_lib.deploy.block_weights import block_weight
from course_lib.deploy.nbits import ACCURACY_LEVELS, DEFAULT_LEVEL
from course_lib.deploy.packed_graph import FLOAT, PackedGraph, empty_model
from course_lib.profiling import Runner
from course_lib.profiling.runtimes import session_runner
from course_lib.storage import Encoded


def layer_runner(
    weight: Tensor | Encoded,
    rows: int = 1,
    *,
    threads: int = 2,
    accuracy_level: int = DEFAULT_LEVEL,
    x: Tensor | None = None,
) -> Runner:
    """A runner of ``x Wᵀ`` for one weight ``(N, K)``; its ``bytes`` are those of the weight.

    Args:
        weight: fp32 values, or a packed weight for ``MatMulNBits``.
        rows: number of rows of ``x``: batch size times tokens.
        accuracy_level: as in ``export_nbits``.
        x: fp32 ``(rows, K)``; random by default.

    Raises:
        ValueError: if an argument is out of range, or the kernel does not take the weight.
    """
    check_positive("rows", rows)
    check_choice("accuracy_level", accuracy_level, ACCURACY_LEVELS)
    graph = PackedGraph(_one_product(), accuracy_level)
    if isinstance(weight, Tensor):
        inputs, size = weight.shape[1], weight.numel() * 4
        graph.add("MatMul", ["x", graph.constant("weight", weight.detach().float().T.contiguous())], "y")
    else:
        blocks = block_weight("weight", weight)
        inputs, size = blocks.inputs, blocks.bytes
        graph.product("x", "weight", blocks, "y")
    if x is None:
        x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(prefix="compression-course-") as folder:
        return session_runner(graph.write(Path(folder) / "layer.onnx"), {"x": x}, threads, size)


def _one_product() -> Any:
    """An ONNX model from ``x`` to ``y``, without nodes."""
    from onnx import helper

    inputs = [helper.make_tensor_value_info("x", FLOAT, ["rows", "inputs"])]
    outputs = [helper.make_tensor_value_info("y", FLOAT, ["rows", "outputs"])]
    return empty_model("layer", inputs, outputs)
