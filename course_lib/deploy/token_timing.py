"""Tokens per second of decoders, measured in turns, and the bytes that each token reads."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from course_lib.core.validation import check_positive
from course_lib.deploy.decoding import Completion, Decoder

PASSED_ON = ("Cast", "Reshape")
ROW_READERS = ("Gather", "GatherBlockQuantized", "GroupQueryAttention")
"""Operators that read some rows of a constant: embeddings, and the rotations of a position."""


@dataclass(frozen=True)
class DecodingSpeed:
    """Medians over all rounds.

    Args:
        first_ms: time to the first token.
        token_ms, token_p95_ms: time of a token after it, median and 95th percentile.
        bytes_per_token: bytes of weights in the file that each token reads.
        tokens: number of timed tokens.
    """

    first_ms: float
    token_ms: float
    token_p95_ms: float
    bytes_per_token: int
    tokens: int

    @property
    def tokens_per_second(self) -> float:
        """Tokens after the first one."""
        return 1000 / self.token_ms

    @property
    def bandwidth_gbs(self) -> float:
        """GB of weights read per second, to be compared with the memory bandwidth of ``profiling.roofline``."""
        return self.bytes_per_token / self.token_ms / 1e6


def decoding_speed(
    decoders: Mapping[str, Decoder], prompt: Tensor, count: int = 64, *, rounds: int = 3
) -> dict[str, DecodingSpeed]:
    """Let every decoder complete ``prompt`` ``(T,)`` by ``count`` tokens, in turns, ``rounds`` times after a warm-up.

    Raises:
        ValueError: if ``count`` is less than 2, or prompt and answer do not fit the cache.
    """
    check_positive("rounds", rounds)
    if count < 2:
        raise ValueError(f"count must be at least 2, so that a token follows the first one; got {count}")
    runs: dict[str, list[Completion]] = {name: [] for name in decoders}
    for decoder in decoders.values():
        decoder.complete(prompt, 2)
    for turn in range(rounds):
        for name in reversed(list(decoders)) if turn % 2 else decoders:
            runs[name].append(decoders[name].complete(prompt, count))
    return {name: _speed(decoders[name], completions) for name, completions in runs.items()}


def weight_bytes(file: Path) -> int:
    """Bytes of the constants that a token of this decoder reads as a whole: matrices and norms, no look-up tables."""
    import onnx

    graph = onnx.load(file, load_external_data=False).graph
    consumers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)

    def kinds(name: str) -> Iterator[str]:
        for node in consumers.get(name, ()):
            if node.op_type in PASSED_ON:
                yield from kinds(node.output[0])
            else:
                yield node.op_type

    return sum(_size(it) for it in graph.initializer if any(kind not in ROW_READERS for kind in kinds(it.name)))


def _size(tensor: Any) -> int:
    import onnx

    count = 1
    for side in tensor.dims:
        count *= side
    return count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _speed(decoder: Decoder, completions: list[Completion]) -> DecodingSpeed:
    times = sorted(time for it in completions for time in it.following_ms)
    p95 = times[max(0, -(-95 * len(times) // 100) - 1)]
    first = statistics.median(it.first_ms for it in completions)
    return DecodingSpeed(first, statistics.median(times), p95, weight_bytes(decoder.file), len(times))
