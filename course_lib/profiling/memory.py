"""Peak memory of loading a stored model and running one batch, measured in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from course_lib.profiling.counting import Inputs

TIMEOUT_SECONDS = 300
MEASURE = [sys.executable, "-m", "course_lib.profiling.memory_process"]


@dataclass(frozen=True)
class PeakMemory:
    """Resident memory of a process in MB (10⁶ bytes): its peak, and with the libraries only, before the model."""

    peak_mb: float
    before_mb: float

    @property
    def model_mb(self) -> float:
        """Memory that loading and running the model added."""
        return self.peak_mb - self.before_mb

    def __str__(self) -> str:
        return f"{self.peak_mb:.0f} MB ({self.model_mb:.0f} MB above the libraries)"


def peak_memory(path: str | Path, inputs: Inputs, *, threads: int = 2) -> PeakMemory:
    """Load the stored model at ``path`` in a fresh process, run ``inputs`` through it once, and read the peak.

    Raises:
        RuntimeError: if that process fails, with the last line of its error output.
    """
    tensors = dict(inputs) if isinstance(inputs, Mapping) else {"": inputs}
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder) / "inputs.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, batch)
        command = [*MEASURE, str(path), str(batch), str(threads)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=_environment(), check=False
        )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"measuring the memory of {Path(path).name} failed: {reason}")
    return PeakMemory(**json.loads(done.stdout.splitlines()[-1]))


def _environment() -> dict[str, str]:
    """Environment in which the new process finds this package, wherever it was imported from."""
    package = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([package, inherited] if inherited else [package])}
