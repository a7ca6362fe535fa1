"""Decoding with a KV cache on ONNX Runtime: logits of a text, greedy completion, tokens per second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from course_lib.core.validation import check_positive
from course_lib.profiling.cpu_affinity import on_core, separate_cores
from course_lib.profiling.runtimes import session


@dataclass(frozen=True)
class Completion:
    """Greedy completion of a prompt.

    Args:
        tokens: ``(count,)``, the new ones.
        first_ms: time to the first token: the whole prompt is read.
        following_ms: time of each token after it.
    """

    tokens: Tensor
    first_ms: float
    following_ms: tuple[float, ...]

    @property
    def tokens_per_second(self) -> float:
        """Tokens after the first one per second, at the median time of a token."""
        return 1000 / float(numpy.median(self.following_ms))


class Decoder:
    """A language model of ``export_decoder`` on ONNX Runtime, with its KV cache; batch size 1.

    The cache is a buffer of full length that each step writes into, so that no step copies it.

    Args:
        file: written by ``export_decoder``.
        threads: number of threads.
    """

    def __init__(self, file: str | Path, threads: int = 2) -> None:
        check_positive("threads", threads)
        self.file, self.threads = Path(file), threads
        self._cores = separate_cores(threads)
        self._session = session(self.file, threads, self._cores)
        caches = {it.name: it.shape for it in self._session.get_inputs() if it.name.startswith("past_")}
        self.length = int(next(iter(caches.values()))[2])
        self._caches = {name: _value(numpy.zeros([1, *shape[1:]], numpy.float32)) for name, shape in caches.items()}
        self.position = 0

    def reset(self) -> None:
        """Forget all tokens."""
        self.position = 0

    def feed(self, tokens: Tensor, *, all_rows: bool = False) -> Tensor:
        """Logits of the token after ``tokens`` ``(T,)``, or after each of them, given all that was fed before.

        Returns:
            ``(1, vocabulary)``, or ``(T, vocabulary)``.

        Raises:
            ValueError: if there is no token, or the cache is too short.
        """
        count = len(tokens)
        if not 0 < count <= self.length - self.position:
            raise ValueError(
                f"tokens must hold 1 to {self.length - self.position} entries (the cache takes {self.length}, "
                f"{self.position} are used), got {count}"
            )
        self.position += count
        rows = numpy.arange(count) if all_rows else numpy.array([count - 1])
        binding = self._session.io_binding()
        binding.bind_output("logits")  # the first one: the caches are never copied out
        binding.bind_cpu_input("input_ids", tokens[None].numpy())
        binding.bind_cpu_input("rows", rows)
        binding.bind_cpu_input("seqlens_k", numpy.array([self.position - 1], numpy.int32))
        binding.bind_cpu_input("total_length", numpy.array(self.position, numpy.int32))
        for name, value in self._caches.items():
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(name.replace("past", "present"), value)
        self._session.run_with_iobinding(binding)
        return torch.from_numpy(binding.get_outputs()[0].numpy())[0]

    def logits(self, tokens: Tensor) -> Tensor:
        """Logits after each of ``tokens`` ``(T,)`` from the start (teacher forcing): ``(T, vocabulary)``."""
        self.reset()
        with on_core(self._cores):
            return self.feed(tokens, all_rows=True)

    def complete(self, prompt: Tensor, count: int) -> Completion:
        """``count`` tokens after ``prompt`` ``(T,)``, each the most likely one."""
        check_positive("count", count)
        self.reset()
        tokens, times = [], []
        with on_core(self._cores):
            fed = prompt
            for _ in range(count):
                started = time.perf_counter()
                fed = self.feed(fed)[0].argmax()[None]
                times.append(1000 * (time.perf_counter() - started))
                tokens.append(fed)
        return Completion(torch.cat(tokens), times[0], tuple(times[1:]))


def _value(array: Any) -> Any:
    """An ``OrtValue`` on the memory of ``array``."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
