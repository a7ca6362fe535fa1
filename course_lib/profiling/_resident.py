"""The fresh process of ``peak_memory``: ``python -m course_lib.profiling._resident MODEL INPUTS THREADS``."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file

from course_lib import models, storage
from course_lib.storage.container import open_container


def main(model_path: str, inputs_path: str, threads: str) -> None:
    """Print one line of JSON: the peak, and what was resident before the model was loaded."""
    torch.set_num_threads(int(threads))
    tensors = load_file(inputs_path)
    with open_container(Path(model_path)) as stored, torch.device("meta"):
        models.build(stored.architecture)  # imports the libraries that this model needs, and allocates nothing
    forget_peak()
    before = psutil.Process().memory_info().rss
    model = storage.load(model_path)
    with torch.inference_mode():
        models.forward(model, tensors.get("", tensors))
    print(json.dumps({"peak_mb": round(peak_bytes() / 1e6, 1), "before_mb": round(before / 1e6, 1)}))


def forget_peak() -> None:
    """Importing may have needed more than it kept; Linux lets a process reset its own peak."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Peak resident memory of this process.

    On Linux not ``ru_maxrss``: that one survives ``exec``, so it would show the size of the process that started us.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(*sys.argv[1:])
