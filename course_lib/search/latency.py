"""Latency of a subnet from a table of its blocks, measured on this machine (ONNX Runtime, batch 1).

Source: Cai et al., ProxylessNAS, 2018; Wu et al., FBNet, 2018 (look-up tables of latency).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from course_lib.core.validation import check_positive
from course_lib.search.onnx_graphs import Part, graph_of, input_shape, parts_of
from course_lib.search.space import SearchSpace, Subnet

THREADS = 2
RUNS = 30


@dataclass(frozen=True)
class LatencyTable:
    """Part → milliseconds of its median run.

    Args:
        parts_ms: time of each part on its own, with the overhead of one call.
        scale: what a sum of parts is multiplied with to give the time of a net; 1 if it was not fitted.
        offset_ms: what is added.
        threads: with which it was measured.
    """

    parts_ms: Mapping[Part, float] = field(repr=False)
    scale: float = 1.0
    offset_ms: float = 0.0
    threads: int = THREADS

    def __call__(self, subnet: Subnet) -> float:
        """Estimated milliseconds for one image.

        Raises:
            ValueError: if a part of ``subnet`` was not measured.
        """
        return self.scale * self.sum_ms(subnet) + self.offset_ms

    def sum_ms(self, subnet: Subnet) -> float:
        """Sum of the parts, without fitted scale and offset."""
        parts = parts_of(subnet)
        for part in parts:
            if part not in self.parts_ms:
                raise ValueError(f"subnet {subnet} has a part that is not in the latency table: {part}")
        return sum(self.parts_ms[part] for part in parts)

    def fitted(self, subnets: Sequence[Subnet], measured_ms: Sequence[float]) -> LatencyTable:
        """The table with scale and offset fitted to measured nets, by least squares of the relative error.

        Layers run faster one after the other than one by one, because a call has an overhead and results stay in the
        cache and in the runtime's own layout.

        Raises:
            ValueError: if there are fewer than two nets.
        """
        if len(subnets) < 2 or len(subnets) != len(measured_ms):
            raise ValueError(f"subnets and measured_ms must be two or more, got {len(subnets)} and {len(measured_ms)}")
        sums, measured = numpy.array([self.sum_ms(subnet) for subnet in subnets]), numpy.array(measured_ms)
        columns = numpy.stack([sums / measured, 1 / measured], axis=1)
        scale, offset = numpy.linalg.lstsq(columns, numpy.ones(len(sums)), rcond=None)[0]
        return LatencyTable(self.parts_ms, float(scale), float(offset), self.threads)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, for a results file."""
        rows = [[*vars(part).values(), round(ms, 5)] for part, ms in sorted(self.parts_ms.items())]
        return {"scale": self.scale, "offset_ms": self.offset_ms, "threads": self.threads, "parts": rows}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LatencyTable:
        """The table that ``to_json`` wrote."""
        parts = {Part(*row[:-1]): row[-1] for row in content["parts"]}
        return cls(parts, content["scale"], content["offset_ms"], content["threads"])


def all_parts(space: SearchSpace) -> list[Part]:
    """Every part that occurs in some subnet of the space, sorted."""
    parts: set[Part] = set()
    for resolution in space.resolutions:
        for stage in range(len(space.widths)):
            for before in space.widths[max(0, stage - 1)]:
                for width in space.widths[stage]:
                    for expansion in space.expansions[stage]:
                        parts |= set(parts_of(_with_stage(space, resolution, stage, before, width, expansion)))
    return sorted(parts)


def _with_stage(space: SearchSpace, resolution: int, stage: int, before: int, width: int, expansion: float) -> Subnet:
    """The deepest subnet in which one stage has this width, and the stage before it that one."""
    largest = space.largest
    widths, expansions = list(largest.widths), list(largest.expansions)
    widths[max(0, stage - 1)], expansions[stage] = before, expansion
    widths[stage] = width
    return Subnet(resolution, largest.depths, tuple(widths), tuple(expansions))


def measure_table(parts: Iterable[Part], *, threads: int = THREADS, runs: int = RUNS) -> LatencyTable:
    """Time every part on its own."""
    return LatencyTable({part: graph_ms([part], threads=threads, runs=runs) for part in parts}, threads=threads)


def net_ms(subnet: Subnet, *, threads: int = THREADS, runs: int = RUNS) -> float:
    """Measured milliseconds of a whole net for one image, with random weights."""
    return graph_ms(parts_of(subnet), threads=threads, runs=runs)


def graph_ms(parts: Sequence[Part], *, threads: int = THREADS, runs: int = RUNS) -> float:
    """Median milliseconds of ``runs`` calls on one random image, after a tenth as many for warming up."""
    check_positive("runs", runs)
    check_positive("threads", threads)
    session = make_session(graph_of(parts), threads)
    feed = {"input": numpy.random.default_rng(0).normal(size=input_shape(parts)).astype(numpy.float32)}
    times = []
    for _ in range(runs + max(2, runs // 10)):
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    return 1000 * float(numpy.median(times[-runs:]))


def make_session(graph: bytes, threads: int) -> Any:
    """An ONNX Runtime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
