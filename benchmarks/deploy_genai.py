"""Decoding with onnxruntime-genai, with the interface of ``deploy.Decoder``: for benchmarks only (extra ``peers``)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from course_lib.deploy import Completion

THREADS = 2


class GenaiDecoder:
    """A model that onnxruntime-genai's builder wrote into ``folder``, with room for ``length`` tokens."""

    def __init__(self, folder: Path, length: int) -> None:
        import onnxruntime_genai

        self.file, self.length, self._library = folder / "model.onnx", length, onnxruntime_genai
        settings = folder / "genai_config.json"
        config = json.loads(settings.read_text(encoding="utf-8"))
        config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = THREADS
        settings.write_text(json.dumps(config, indent=1), encoding="utf-8")
        self._model = onnxruntime_genai.Model(str(folder))

    def complete(self, prompt: torch.Tensor, count: int) -> Completion:
        """Greedy completion, timed as that of ``deploy.Decoder``."""
        parameters = self._library.GeneratorParams(self._model)
        parameters.set_search_options(max_length=self.length, min_length=self.length, do_sample=False)
        generator = self._library.Generator(self._model, parameters)
        tokens, times = [], []
        for step in range(count):
            started = time.perf_counter()
            if step == 0:
                generator.append_tokens(prompt.tolist())
            generator.generate_next_token()
            tokens.append(int(generator.get_next_tokens()[0]))
            times.append(1000 * (time.perf_counter() - started))
        return Completion(torch.tensor(tokens), times[0], tuple(times[1:]))
