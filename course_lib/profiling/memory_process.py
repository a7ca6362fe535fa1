"""The fresh process of ``peak_memory``: ``python -m course_lib.profiling.memory_process MODEL INPUTS THREADS``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file

from course_lib import models, storage
from course_lib.core.memory import peak_bytes, reset_peak
from course_lib.storage.container import open_container


def main(model_path: str, inputs_path: str, threads: str) -> None:
    """Print one line of JSON: the peak, and what was resident before the model was loaded."""
    torch.set_num_threads(int(threads))
    tensors = load_file(inputs_path)
    with open_container(Path(model_path)) as stored, torch.device("meta"):
        models.build(stored.architecture)  # imports the libraries that this model needs, and allocates nothing
    reset_peak()  # imports need more memory for a moment than they keep
    before = psutil.Process().memory_info().rss
    model = storage.load(model_path)
    with torch.inference_mode():
        models.call(model, tensors.get("", tensors))
    print(json.dumps({"peak_mb": round(peak_bytes() / 1e6, 1), "before_mb": round(before / 1e6, 1)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
