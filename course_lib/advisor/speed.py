"""``why_not_faster``: the main reason why a compressed model is not faster, with the time of each node."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from course_lib import profiling, storage
from course_lib.advisor.node_times import NodeTime, Profile, profile
from course_lib.advisor.speed_causes import CAUSES, Surroundings, book, ranked
from course_lib.core.formatting import duration
from course_lib.profiling.counting import Inputs
from course_lib.profiling.runtimes import session_runner
from course_lib.report.tables import percent, text_table, times

if TYPE_CHECKING:
    import pandas

Model = nn.Module | profiling.Deployed | str | Path
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
SHOWN = 8
THREADS_MATTER = 1.3


@dataclass(frozen=True)
class SpeedDiagnosis:
    """What keeps a compressed model from being faster.

    Args:
        cause: the main one, a key of ``CAUSES``.
        lost_ms: cause → milliseconds of one run that are lost to it, the largest first.
        before_ms, after_ms: median latency, measured in turns.
        nodes: of the compressed model, in order.
    """

    cause: str
    lost_ms: Mapping[str, float]
    before_ms: float
    after_ms: float
    nodes: list[NodeTime] = field(repr=False)
    booked: Mapping[str, Mapping[str, float]] = field(repr=False)

    @property
    def speedup(self) -> float:
        """Latency before / latency after."""
        return self.before_ms / self.after_ms

    @property
    def remedy(self) -> str:
        """What to do about the main cause."""
        return CAUSES[self.cause][1]

    @property
    def frame(self) -> pandas.DataFrame:
        """One row per node: ``node``, ``operator``, ``ms``, ``share``, ``cause`` (empty if nothing is lost there)."""
        import pandas

        causes = {node: cause for cause, nodes in self.booked.items() for node in nodes}
        total = sum(node.ms for node in self.nodes) or 1.0
        rows = [(node.name, node.op, node.ms, node.ms / total, causes.get(node.name, "")) for node in self.nodes]
        return pandas.DataFrame(rows, columns=["node", "operator", "ms", "share", "cause"])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "cause": self.cause, "why": CAUSES[self.cause][0], "remedy": self.remedy, "speedup": self.speedup,
            "before_ms": self.before_ms, "after_ms": self.after_ms, "lost_ms": dict(self.lost_ms),
            "nodes": self.frame.to_dict("records"),
        }  # fmt: skip

    def __str__(self) -> str:
        why, remedy = CAUSES[self.cause]
        total = sum(node.ms for node in self.nodes) or 1.0
        head = (
            f"{times(self.speedup)} as fast ({duration(self.before_ms)} before, {duration(self.after_ms)} after). "
            f"Main cause: {self.cause}: {why}.\nWhat to do: {remedy}.\n"
        )
        causes = [[cause, duration(ms), percent(ms / total, 0)] for cause, ms in self.lost_ms.items()]
        slowest = self.frame.sort_values("ms", ascending=False).head(SHOWN)
        nodes = [
            [str(row["node"]), str(row["operator"]), duration(row["ms"]), percent(row["share"], 0), str(row["cause"])]
            for row in slowest.to_dict("records")
        ]
        return "\n".join([
            head, text_table(["lost to", "per run", "of all nodes"], causes), "",
            text_table(["node", "operator", "time", "share", "lost to"], nodes),
        ])  # fmt: skip

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def why_not_faster(
    before: Model, after: Model, inputs: Inputs, *, threads: int | tuple[int, int] = 2, runs: int = 15
) -> SpeedDiagnosis:
    """Find the main reason why ``after`` is not faster than ``before`` on ONNX Runtime.

    Args:
        before, after: modules (exported in fp32), stored files, ONNX files, or ``profiling.Deployed``.
        inputs: a batch of the size that is used in practice.
        threads: of both, or of each if they differ.
        runs: timed runs; the slower the model, the fewer are needed.

    Raises:
        ValueError: if a model cannot be exported.
    """
    both = (threads, threads) if isinstance(threads, int) else threads
    with _file_of(before, inputs) as old, _file_of(after, inputs) as new:
        latencies = _latencies(old, new, inputs, both, runs)
        profiles = [profile(file, inputs, count, runs) for file, count in zip((old, new), both, strict=True)]
    known = Surroundings(
        profiling.machine(), profiling.roofline(both[0]), second_level_cache() * both[0], profiles[0], _decoded(after)
    )
    booked: dict[str, dict[str, float]] = dict(book(profiles[1], known))
    equal = latencies["after, threads of before"]
    if latencies["after"] > THREADS_MATTER * equal:
        booked["threads"] = {"all nodes": latencies["after"] - equal}  # measured, so it comes before what is booked
    causes = ranked(booked)
    main = "threads" if "threads" in booked else causes[0][0]
    return SpeedDiagnosis(main, dict(causes), latencies["before"], latencies["after"], profiles[1].nodes, booked)


def _latencies(old: Path, new: Path, inputs: Inputs, threads: tuple[int, int], runs: int) -> dict[str, float]:
    """Median latency of both, and of the second with a number of threads that suits this machine and the first."""
    suited = min(threads[0], profiling.machine().cores)
    wanted = {"before": (old, threads[0]), "after": (new, threads[1]), "after, threads of before": (new, suited)}
    if suited == threads[1]:
        del wanted["after, threads of before"]
    runners = {name: session_runner(file, inputs, count, 0) for name, (file, count) in wanted.items()}
    try:
        taken = profiling.interleave(runners, runs=runs, seconds=20)
    finally:
        for runner in runners.values():
            runner.close()
    found = {name: latency.p50_ms for name, latency in taken.items()}
    return {"after, threads of before": found["after"], **found}


@contextmanager
def _file_of(model: Model, inputs: Inputs) -> Iterator[Path]:
    """The ONNX file of a model."""
    if isinstance(model, profiling.Deployed):
        yield model.file
    elif isinstance(model, str | Path) and Path(model).suffix == ".onnx":
        yield Path(model)
    else:
        yield profiling.export_onnx(model if isinstance(model, nn.Module) else storage.load(model), inputs)


def _decoded(model: Model) -> bool:
    """Whether weights of few bits are decoded to fp32 before the model runs."""
    if isinstance(model, profiling.Deployed) or (isinstance(model, str | Path) and Path(model).suffix == ".onnx"):
        return False
    module = model if isinstance(model, nn.Module) else storage.load(model)
    return any(it.encoding in ("packed", "codebook", "uniform") for it in storage.encodings_of(module).values())


def second_level_cache() -> int:
    """Bytes of the second-level cache of one core; 1 MiB where it is not known."""
    for level in CACHES.glob("index*/level") if CACHES.exists() else ():
        if level.read_text().strip() == "2":
            size = level.with_name("size").read_text().strip()
            return int(size.rstrip("KM")) * {"K": 2**10, "M": 2**20}.get(size[-1], 1)
    return 2**20


def profile_of(model: Model, inputs: Inputs, threads: int = 2, runs: int = 15) -> Profile:
    """Times of the nodes of one model on ONNX Runtime."""
    with _file_of(model, inputs) as file:
        return profile(file, inputs, threads, runs)
