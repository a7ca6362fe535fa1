"""Time of each node of an ONNX graph in ONNX Runtime, with what the node computes on.

The nodes are those after the fusions of the runtime, so they are the kernels that really run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from course_lib.profiling.counting import Inputs
from course_lib.profiling.runtimes import feed_of

WARMUP = 5
KERNEL = "_kernel_time"


@dataclass(frozen=True)
class Weight:
    """A constant matrix or filter that a node reads.

    Args:
        sparsity: fraction of zeros.
        digest: hash of its sorted magnitudes' bytes, equal for equal weights in any layout.
    """

    name: str
    dtype: str
    elements: int
    sparsity: float
    digest: str


@dataclass(frozen=True)
class NodeTime:
    """One node: its name, operator, median milliseconds, constant weight, and the operators that feed and read it."""

    name: str
    op: str
    ms: float
    weight: Weight | None = None
    inputs_from: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    rows: int = 1
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """All nodes of one file, in the order in which they run.

    Args:
        originals: dtypes of the constants of the file before the runtime changed them.
    """

    nodes: list[NodeTime] = field(repr=False)
    originals: frozenset[str] = frozenset()

    @property
    def total_ms(self) -> float:
        """Sum over all nodes."""
        return sum(node.ms for node in self.nodes)

    def of(self, *ops: str) -> float:
        """Milliseconds of all nodes with one of these operators."""
        return sum(node.ms for node in self.nodes if node.op in ops)


def profile(file: Path, inputs: Inputs, threads: int, runs: int = 15) -> Profile:
    """Run an ONNX file ``runs`` times under the profiler of ONNX Runtime."""
    import onnx

    with tempfile.TemporaryDirectory() as folder, _named(file) as named:
        optimized = Path(folder) / "optimized.onnx"
        events = _events(named, feed_of(inputs), threads, runs, Path(folder), optimized)
        model = onnx.load(optimized, load_external_data=False)
        onnx.external_data_helper.load_external_data_for_model(model, str(file.parent))
        graph = model.graph
        original = onnx.load(file, load_external_data=False).graph
    kinds = frozenset(onnx.TensorProto.DataType.Name(it.data_type) for it in original.initializer if len(it.dims) > 1)
    return Profile(_joined(graph, events), kinds)


@contextlib.contextmanager
def _named(file: Path) -> Iterator[Path]:
    """The file with a name for every node, by which the profiler knows it; a copy if some have none."""
    import onnx

    model = onnx.load(file, load_external_data=False)
    nameless = [node for node in model.graph.node if not node.name]
    if not nameless:
        yield file
        return
    for number, node in enumerate(nameless):
        node.name = f"{node.op_type} {number}"
    copy = file.with_name(f".{secrets.token_hex(4)}.named.onnx")
    copy.write_bytes(model.SerializeToString())
    try:
        yield copy
    finally:
        copy.unlink()


def _events(
    file: Path, feed: dict[str, Any], threads: int, runs: int, folder: Path, optimized: Path
) -> list[dict[str, Any]]:
    """What the profiler wrote about each kernel of each run, without the first runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    for _ in range(WARMUP + runs):
        session.run(None, feed)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(KERNEL)]


def _joined(graph: Any, events: Iterable[dict[str, Any]]) -> list[NodeTime]:
    """Nodes of the optimized graph with the median of their times."""
    samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        samples[event["name"].removesuffix(KERNEL)].append(event)
    constants = {it.name: it for it in graph.initializer}
    maker = {output: node.op_type for node in graph.node for output in node.output}
    readers: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node.op_type)
    return [
        NodeTime(
            node.name, node.op_type, statistics.median(one["dur"] for one in samples[node.name][WARMUP:]) / 1000,
            _weight(node, constants), tuple(maker[name] for name in node.input if name in maker),
            tuple(op for output in node.output for op in readers[output]), _rows(samples[node.name][-1]),
            _dtypes(samples[node.name][-1]),
        )
        for node in graph.node if len(samples[node.name]) > WARMUP
    ]  # fmt: skip


def _weight(node: Any, constants: dict[str, Any]) -> Weight | None:
    """The largest constant with two or more dimensions that the node reads."""
    import onnx

    found = [constants[name] for name in node.input if name in constants and len(constants[name].dims) > 1]
    if not found or node.op_type in ("Gather", "Add", "Where", "Slice", "Reshape"):
        return None
    values = onnx.numpy_helper.to_array(max(found, key=lambda it: int(numpy.prod(it.dims))))
    flat = numpy.sort(numpy.abs(values.astype(numpy.float32)).ravel())
    dtype = onnx.TensorProto.DataType.Name(max(found, key=lambda it: int(numpy.prod(it.dims))).data_type)
    return Weight(
        node.name, dtype, values.size, float((flat == 0).mean()), hashlib.sha256(flat.tobytes()).hexdigest()[:16]
    )


def _shapes(event: dict[str, Any], key: str) -> list[tuple[str, list[int]]]:
    return [(kind, shape) for entry in event.get("args", {}).get(key, ()) for kind, shape in entry.items()]


def _rows(event: dict[str, Any]) -> int:
    """Rows of the first input of a matrix product: all of its axes but the last."""
    shapes = _shapes(event, "input_type_shape")
    return int(numpy.prod(shapes[0][1][:-1])) if shapes and shapes[0][1] else 1


def _dtypes(event: dict[str, Any]) -> tuple[str, ...]:
    return tuple(kind for kind, _ in [*_shapes(event, "input_type_shape"), *_shapes(event, "output_type_shape")])
