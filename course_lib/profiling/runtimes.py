"""Runners: a model and its input on eager PyTorch or ONNX Runtime, to be called and timed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.input_quantizers import rounds_inputs
from course_lib.core.validation import check_positive
from course_lib.profiling.counting import Inputs
from course_lib.profiling.cpu_affinity import on_core, separate_cores, worker_affinities
from course_lib.profiling.export import export_onnx, input_names
from course_lib.profiling.roofline import torch_threads

TOLERANCE = 1e-3  # of the largest logit, since kernels sum in different orders
ROUNDED_TOLERANCE = 2e-2  # where inputs of layers are rounded, such a difference can move a value to the next level


class RuntimeMismatchError(RuntimeError):
    """ONNX Runtime and eager PyTorch give different logits for the same model."""


class Runner:
    """A model with its input: each call runs it once and returns the logits.

    Args:
        name: ``"eager"`` or ``"onnx"``.
        run: one forward pass.
        threads: number of threads that it uses.
        ready: a context in which ``run`` is called (threads, cores, eval mode).
        release: called by ``close``.
        bytes: size of the exported files; 0 for ``"eager"``.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], Tensor],
        *,
        threads: int,
        ready: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        release: Callable[[], None] = lambda: None,
        bytes: int = 0,
    ) -> None:
        self.name, self.threads, self.bytes = name, threads, bytes
        self.run, self.ready, self._release = run, ready, release

    def __call__(self) -> Tensor:
        with self.ready():
            return self.run()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Runner({self.name}, {self.threads} threads)"

    def close(self) -> None:
        """Free memory and threads of the runtime; the runner cannot be called afterwards."""
        self._release()
        self._release = lambda: None
        self.run = self._closed

    def _closed(self) -> Tensor:
        raise RuntimeError(f"the {self.name} runner is closed; make a new one")


def eager(model: nn.Module, inputs: Inputs, threads: int = 2) -> Runner:
    """A runner of ``model`` in eager PyTorch, without gradients and with ``threads`` threads."""
    check_positive("threads", threads)

    @contextlib.contextmanager
    def ready() -> Iterator[None]:
        with models.evaluating(model), torch_threads(threads), torch.inference_mode():
            yield

    return Runner("eager", lambda: models.forward(model, inputs), threads=threads, ready=ready)


def onnx(model: nn.Module, inputs: Inputs, threads: int = 2) -> Runner:
    """A runner of ``model``, exported to ONNX (fp32), on ONNX Runtime on the CPU.

    The exported files are kept until the process ends and reused for the same weights; ``bytes`` counts the graph and
    the side file of the weights. The logits are checked against eager PyTorch.

    Raises:
        RuntimeMismatchError: if the exported model gives other logits than ``model``.
    """
    check_positive("threads", threads)
    expected = eager(model, inputs, threads)()
    tolerance = ROUNDED_TOLERANCE if rounds_inputs(model) else TOLERANCE
    for fresh in (False, True):  # the cached graph of another model with the same signature may compute something else
        file = export_onnx(model, inputs, fresh=fresh)
        runner = session_runner(file, inputs, threads, sum(part.stat().st_size for part in file.parent.iterdir()))
        logits = runner()
        if _agrees(logits, expected, tolerance):
            return runner
        runner.close()
    gap = (logits - expected).abs().max().item()
    raise RuntimeMismatchError(f"ONNX Runtime and eager PyTorch differ by up to {gap:.3g} in the logits")


def session_runner(file: Path, inputs: Inputs, threads: int, size: int) -> Runner:
    """A runner of an ONNX file with these inputs; ``size`` becomes its ``bytes``."""
    check_positive("threads", threads)
    cores = separate_cores(threads)
    sessions = [session(file, threads, cores)]
    feed = feed_of(inputs)

    def run() -> Tensor:
        return torch.from_numpy(sessions[0].run(None, feed)[0])

    return Runner("onnx", run, threads=threads, ready=lambda: on_core(cores), release=sessions.clear, bytes=size)


def session(file: Path, threads: int, cores: Any = None, optimized: Path | None = None) -> Any:
    """An ONNX Runtime session on the CPU; the graph after all fusions is written to ``optimized`` if given."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # idle threads that spin would slow down the runner that is timed next
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if cores:
        options.add_session_config_entry("session.intra_op_thread_affinities", worker_affinities(cores))
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def feed_of(inputs: Inputs) -> dict[str, Any]:
    """``inputs`` in the form that ONNX Runtime takes: name → array."""
    tensors = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return {name: tensor.cpu().numpy() for name, tensor in zip(input_names(inputs), tensors, strict=True)}


def _agrees(logits: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> bool:
    scale = expected.abs().max().clamp(min=1.0).item()
    return logits.shape == expected.shape and torch.allclose(logits, expected, rtol=0, atol=tolerance * scale)
