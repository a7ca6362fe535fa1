"""A split of points, small models, and latencies that are known beforehand."""

import pytest
import torch

from course_lib import data, report
from course_lib.profiling import Latency, PeakMemory
from course_lib.report import measuring
from tests.report.models import CLASSES


@pytest.fixture(scope="module")
def split():
    generator = torch.Generator().manual_seed(1)
    return data.Split("points", "test", torch.randn(60, 6, generator=generator), torch.arange(60) % 3, CLASSES)


@pytest.fixture
def timed(monkeypatch):
    """Latencies by formula: the n-th model takes 12 / (n + 1) ms on ONNX Runtime, twice that eagerly."""
    asked = []

    def latencies(measured, protocol):
        asked.append((len(measured), protocol.settings, protocol.runs))
        return [
            {
                report.Setting(runtime, batch, threads): Latency(cost * batch / (index + 1), 30.0, protocol.runs)
                for batch, threads in protocol.settings
                for runtime, cost in (("onnx", 12.0), ("eager", 24.0))
            }
            for index in range(len(measured))
        ]

    monkeypatch.setattr("course_lib.report.comparison.measure_latencies", latencies)
    monkeypatch.setattr(measuring, "_peaks", lambda paths, protocol: [PeakMemory(300.4, 250.0) for _ in paths])
    return asked
