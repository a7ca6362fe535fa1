"""A model as it is deployed: an ONNX file, quantized operators included, that ONNX Runtime executes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.data import Split
from course_lib.profiling.counting import Inputs
from course_lib.profiling.export import input_names
from course_lib.profiling.runtimes import Runner, feed_of, session, session_runner


@dataclass(frozen=True)
class Deployed:
    """An ONNX ``file``, and the exported ``model``, whose parameters and MACs are counted."""

    file: Path
    model: nn.Module = field(repr=False)

    @property
    def stored_bytes(self) -> int:
        """Size of the model: the file, and the file of weights beside it (``FILE.data``) if there is one."""
        beside = self.file.with_name(f"{self.file.name}.data")
        return self.file.stat().st_size + (beside.stat().st_size if beside.exists() else 0)

    def runner(self, inputs: Inputs, threads: int = 2) -> Runner:
        """A runner of this file on ONNX Runtime, for timing."""
        return session_runner(self.file, inputs, threads, self.stored_bytes)

    def logits(self, split: Split, *, batch_size: int = 256, threads: int = 2) -> Tensor:
        """Logits of the runtime, ``(N, classes)``, in the order of the split.

        Raises:
            ValueError: if the split is empty.
        """
        if len(split) == 0:
            raise ValueError(f"split {split.name!r} of {split.dataset} is empty; there is nothing to run")
        onnx_session = session(self.file, threads)
        batches = (feed_of(inputs) for inputs, _ in split.batches(batch_size))
        return torch.cat([torch.from_numpy(onnx_session.run(None, feed)[0]) for feed in batches])

    def kernels(self, inputs: Inputs) -> list[str]:
        """Operators of the graph after the fusions of the runtime, in order, such as ``QLinearConv``."""
        import onnx

        optimized = self.file.with_suffix(".optimized.onnx")
        try:
            session(self.file, 1, optimized=optimized)
            return [node.op_type for node in onnx.load(optimized, load_external_data=False).graph.node]
        finally:
            for part in self.file.parent.glob(f"{optimized.name}*"):
                part.unlink()


def intermediate_values(
    file: Path, split: Split, names: Sequence[str], batch_size: int = 32
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """For each batch: input name → value, and name → value of the tensors ``names`` inside an exported model."""
    import onnx

    model = onnx.load(file, load_external_data=False)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    watched = file.with_name("watched.onnx")
    watched.write_bytes(model.SerializeToString())
    try:
        onnx_session = session(watched, 2)
    finally:
        watched.unlink()
    for inputs, _ in split.batches(batch_size):
        feed = feed_of(inputs)
        values = onnx_session.run(list(names), feed) if names else []
        given = {name: torch.from_numpy(feed[name]) for name in input_names(inputs)}
        yield given, {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
