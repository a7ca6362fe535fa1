"""Export to ONNX, with one traced graph per architecture.

Tracing takes seconds, while pruning and fine-tuning change only weights. So an architecture is traced once; each model
fills in its own weights, and the graph is then optimized (which folds BatchNorm into convolutions).
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib import models
from course_lib.profiling.counting import Inputs
from course_lib.profiling.fingerprint import fingerprint

OPSET = 18
FILE_NAME = "model.onnx"
DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.bool,
)  # fmt: skip

_graphs: dict[str, Any] = {}


def export_onnx(model: nn.Module, inputs: Inputs, *, fresh: bool = False) -> Path:
    """Path of ``model`` as ONNX, in its own folder together with the side file of its weights.

    Batch size and length of token inputs may differ between calls. The folder is deleted when the process ends; the
    same weights are written only once.

    Args:
        fresh: trace this model even if a graph of its architecture is known.

    Raises:
        ValueError: if a tensor has a dtype that cannot be exported.
    """
    _check_dtypes(model)
    signature = _signature(model, inputs)
    folder = _folder() / hashlib.sha256(signature.encode() + _weights_digest(model)).hexdigest()[:24]
    file = folder / FILE_NAME
    if file.exists() and not fresh:
        return file
    if fresh or signature not in _graphs:
        _graphs[signature] = _without_weights(_trace(model, inputs), model)
    _write(_with_weights(_graphs[signature], model), folder)
    return file


def input_names(inputs: Inputs) -> list[str]:
    """Names of the inputs of the exported model."""
    return list(inputs) if isinstance(inputs, Mapping) else ["input"]


def _trace(model: nn.Module, inputs: Inputs) -> Any:
    """The unoptimized graph, in which each weight keeps its name and values."""
    dynamic = torch.export.Dim.DYNAMIC
    arguments: dict[str, Any]
    if isinstance(inputs, Mapping):
        pair = {name: _two_rows(tensor) for name, tensor in inputs.items()}
        shapes = {
            name: {0: dynamic, 1: dynamic} if tensor.dim() == 2 else {0: dynamic} for name, tensor in pair.items()
        }
        arguments = {"args": (), "kwargs": pair, "dynamic_shapes": shapes}
    else:
        arguments = {"args": (_two_rows(inputs),), "input_names": ["input"], "dynamic_shapes": ({0: dynamic},)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with models.evaluating(model), warnings.catch_warnings(), _export_errors(model):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model, **arguments, opset_version=OPSET, dynamo=True, optimize=False, verbose=False)
    assert program is not None
    return program.model


@contextlib.contextmanager
def _export_errors(model: nn.Module) -> Iterator[None]:
    """Turn any error of torch's exporter into a ``ValueError`` of one line that names the model and the remedy."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ or error
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise ValueError(
            f"model {type(model).__name__} cannot be exported to ONNX ({reason}); its forward pass must not depend on "
            "the values of its inputs, so export a module that holds the part without such branches"
        ) from error


def _two_rows(tensor: torch.Tensor) -> torch.Tensor:
    """A batch of two rows: tracing takes a size of one for a constant."""
    return tensor[:1].cpu().expand(2, *tensor.shape[1:]).contiguous()


def _without_weights(graph: Any, model: nn.Module) -> Any:
    """The graph without weights: it is cached, and weights would stay in memory with it."""
    state = model.state_dict()
    for name, value in graph.graph.initializers.items():
        if name in state:
            value.const_value = None
    return graph


def _with_weights(graph: Any, model: nn.Module) -> Any:
    import onnx_ir
    import onnxscript.optimizer

    copy = graph.clone()
    state = model.state_dict()
    for name, value in copy.graph.initializers.items():
        if name in state:
            value.const_value = onnx_ir.tensor(state[name].detach().cpu().contiguous().numpy(), name=name)
    onnxscript.optimizer.optimize(copy)
    return copy


def _write(graph: Any, folder: Path) -> None:
    import onnx_ir

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    onnx_ir.save(graph, folder / FILE_NAME, external_data=f"{FILE_NAME}.data")


def _check_dtypes(model: nn.Module) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.dtype not in DTYPES:
            raise ValueError(
                f"tensor {name!r} has dtype {tensor.dtype}, which ONNX export cannot hold; use model.float()"
            )


def _signature(model: nn.Module, inputs: Inputs) -> str:
    """Models with equal signatures share a graph: same code and settings, tensors, tied parameters and input shapes."""
    shapes = [(name, str(tensor.dtype), list(tensor.shape)) for name, tensor in model.state_dict().items()]
    ties = [name for name, _ in model.named_parameters()]
    if isinstance(inputs, Mapping):
        given = [(name, str(tensor.dtype), list(tensor.shape[2:])) for name, tensor in inputs.items()]
    else:
        given = [("input", str(inputs.dtype), list(inputs.shape[1:]))]
    return json.dumps([fingerprint(model), shapes, ties, given], default=str)


def _weights_digest(model: nn.Module) -> bytes:
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="compression-course-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
