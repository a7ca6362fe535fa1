"""A model and its input on a runtime, ready to be called and timed: eager PyTorch and ONNX Runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.core.validation import check_positive
from course_lib.profiling.counting import Inputs
from course_lib.profiling.cpu_affinity import on_core, separate_cores, worker_affinities
from course_lib.profiling.export import export_onnx, input_names
from course_lib.profiling.roofline import torch_threads

TOLERANCE = 1e-3  # of the largest logit: kernels sum in different orders


class RuntimeMismatchError(RuntimeError):
    """Two runtimes give different logits for the same model."""


class Runner:
    """Calling it runs the model once on the input that it was made with, and gives the logits.

    Args:
        name: ``"eager"`` or ``"onnx"``.
        run: one forward pass.
        threads: how many threads it uses.
        bytes: size of the exported files, where there are any.
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
        self.run = run
        self.ready = ready
        self._release = release

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
        """Give the runtime's memory and threads back; the runner cannot be called any more."""
        self._release()
        self._release = lambda: None
        self.run = self._closed

    def _closed(self) -> Tensor:
        raise RuntimeError(f"the {self.name} runner is closed; make a new one")


def eager(model: nn.Module, inputs: Inputs, threads: int = 2) -> Runner:
    """``model`` in PyTorch as it is, without gradients, with ``threads`` threads while it runs."""
    check_positive("threads", threads)

    @contextlib.contextmanager
    def ready() -> Iterator[None]:
        with models.evaluating(model), torch_threads(threads), torch.inference_mode():
            yield

    return Runner("eager", lambda: models.forward(model, inputs), threads=threads, ready=ready)


def onnx(model: nn.Module, inputs: Inputs, threads: int = 2) -> Runner:
    """``model`` exported to ONNX (fp32) and run by ONNX Runtime on the CPU.

    The export is kept for the process and used again for the same weights; its weights lie in a side file, and
    ``bytes`` counts both. The logits are checked against eager PyTorch.

    Raises:
        RuntimeMismatchError: if the exported model gives other logits than ``model``.
    """
    check_positive("threads", threads)
    expected = eager(model, inputs, threads)()
    file = export_onnx(model, inputs)
    runner = _exported_runner(file, inputs, threads)
    if not _agrees(runner(), expected):
        # a graph that was exported for another model of the same description does not fit this one
        runner.close()
        file = export_onnx(model, inputs, fresh=True)
        runner = _exported_runner(file, inputs, threads)
    if not _agrees(runner(), expected):
        gap = (runner() - expected).abs().max().item()
        runner.close()
        raise RuntimeMismatchError(f"ONNX Runtime and eager PyTorch differ by up to {gap:.3g} in the logits")
    return runner


def session_runner(file: Path, inputs: Inputs, threads: int, size: int) -> Runner:
    """An ONNX file on ONNX Runtime with these inputs; ``size`` is what the runner gives as its ``bytes``."""
    check_positive("threads", threads)
    cores = separate_cores(threads)
    sessions = [session(file, threads, cores)]
    feed = feed_of(inputs)

    def run() -> Tensor:
        return torch.from_numpy(sessions[0].run(None, feed)[0])

    return Runner("onnx", run, threads=threads, ready=lambda: on_core(cores), release=sessions.clear, bytes=size)


def session(file: Path, threads: int, cores: Any = None, optimized: Path | None = None) -> Any:
    """An inference session on the CPU; the graph after all fusions is written to ``optimized`` if that is given."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # idle threads that spin would slow down whatever is timed next
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if cores:
        options.add_session_config_entry("session.intra_op_thread_affinities", worker_affinities(cores))
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def feed_of(inputs: Inputs) -> dict[str, Any]:
    """Inputs as ONNX Runtime takes them: name → array."""
    tensors = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return {name: tensor.cpu().numpy() for name, tensor in zip(input_names(inputs), tensors, strict=True)}


def _exported_runner(file: Path, inputs: Inputs, threads: int) -> Runner:
    return session_runner(file, inputs, threads, sum(part.stat().st_size for part in file.parent.iterdir()))


def _agrees(logits: Tensor, expected: Tensor) -> bool:
    scale = expected.abs().max().clamp(min=1.0).item()
    return logits.shape == expected.shape and torch.allclose(logits, expected, rtol=0, atol=TOLERANCE * scale)
