"""Parts of benchmarks/deploy.py about single layers: a measured grid, the kernel in numba, a decoder layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from common import Row, timed
from resuming import RUNS

from course_lib import deploy, models, profiling, quantization, storage
from course_lib.deploy import kernels
from course_lib.profiling import Runner
from course_lib.profiling.roofline import torch_threads
from course_lib.storage import Encoded

FOLDER = RUNS / "deploy"
GROUP = 64
TIMED_RUNS = 30
SHAPES = ((1536, 384), (1536, 576), (5632, 2048), (11008, 4096))
"""Outputs × inputs: feed-forward layers of MiniLM, smollm2, TinyLlama-1.1B and Llama-2-7B."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
SETTINGS = ((32, 0), (8, 4), (4, 0), (4, 4), (2, 4))
"""Bits of the weights, and accuracy level."""
KERNEL_SHAPES = ((1536, 576), (5632, 2048), (11008, 4096))
LLAMA_7B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 1,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32, "max_position_embeddings": 4096,
    "tie_word_embeddings": True, "use_cache": False,
}  # fmt: skip


def random_weight(outputs: int, inputs: int, bits: int) -> torch.Tensor | Encoded:
    """Normal weights, in fp32 or packed with a zero-point for each group."""
    matrix = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0))
    if bits == 32:
        return matrix
    params = quantization.weight_params(
        matrix, bits, "group", group_size=GROUP, symmetric=False, scale_dtype="fp16"
    )  # fmt: skip
    return quantization.pack(quantization.quantize_tensor(matrix, params))


def grid(
    shapes: Iterable[tuple[int, int]] = SHAPES, rows: Sequence[int] = ROWS, runs: int = TIMED_RUNS
) -> Iterator[Row]:
    """Milliseconds by layer size, input rows, bits and threads; all bits of one setting in turns."""
    for outputs, inputs in shapes:
        weights = {bits: random_weight(outputs, inputs, bits) for bits in {bits for bits, _ in SETTINGS}}
        for threads in (1, 2):
            for count in rows if threads == 2 else rows[:1]:
                yield from _grid_rows(weights, (outputs, inputs), count, threads, runs)


def _grid_rows(weights: dict[int, Any], shape: tuple[int, int], rows: int, threads: int, runs: int) -> Iterator[Row]:
    with contextlib.ExitStack() as stack:
        runners = {
            f"{bits} {level}": stack.enter_context(
                deploy.layer_runner(weights[bits], rows, threads=threads, accuracy_level=level)
            )
            for bits, level in SETTINGS
        }
        taken = profiling.interleave(runners, runs=runs)
        fp32 = taken["32 0"].p50_ms
        for (bits, level), latency in zip(SETTINGS, taken.values(), strict=True):
            yield {
                "outputs": shape[0], "inputs": shape[1], "rows": rows, "threads": threads, "bits": bits, "level": level,
                "ms": latency.p50_ms, "p95_ms": latency.p95_ms, "runs": latency.runs,
                "bytes": runners[f"{bits} {level}"].bytes, "speedup": fp32 / latency.p50_ms,
            }  # fmt: skip


def kernel(shapes: Iterable[tuple[int, int]] = KERNEL_SHAPES, runs: int = TIMED_RUNS) -> Iterator[Row]:
    """One input row times 4-bit weights: the kernels in numba, fp32 BLAS on one thread, and MatMulNBits."""
    for outputs, inputs in shapes:
        encoded = random_weight(outputs, inputs, 4)
        assert isinstance(encoded, Encoded)
        x = torch.randn(inputs, generator=torch.Generator().manual_seed(1))
        exact = storage.decode(encoded) @ x
        with contextlib.ExitStack() as stack:
            runners = {name: stack.enter_context(runner) for name, runner in _kernel_runners(encoded, x).items()}
            first = {name: timed(runner) for name, runner in runners.items()}
            naive = {"naive": runners.pop("naive")}  # too slow to be timed as often
            taken = profiling.interleave(runners, runs=runs) | profiling.interleave(naive, runs=3, warmup=1)
        blas = taken["fp32 BLAS, 1 thread"].p50_ms
        for name, latency in taken.items():
            seconds, y = first[name]
            error = (y.flatten() - exact).abs().max() / exact.abs().max()
            yield {
                "outputs": outputs, "inputs": inputs, "kernel": name, "ms": latency.p50_ms, "p95_ms": latency.p95_ms,
                "runs": latency.runs, "speedup": blas / latency.p50_ms, "error": error.item(), "first_call_s": seconds,
            }  # fmt: skip


def _kernel_runners(encoded: Encoded, x: torch.Tensor) -> dict[str, Runner]:
    stored = kernels.four_bit_weight(encoded)
    blocks, dense = kernels.block_layout(stored), storage.decode(encoded)
    runners = {
        "fp32 BLAS, 1 thread": Runner("blas", lambda: dense @ x, threads=1, ready=lambda: torch_threads(1)),
        "fp32 BLAS, 2 threads": Runner("blas", lambda: dense @ x, threads=2, ready=lambda: torch_threads(2)),
        "naive": Runner("naive", lambda: kernels.multiply(stored, x), threads=1),
        "blocked": Runner("blocked", lambda: kernels.multiply(blocks, x), threads=1),
        "parallel, 2 threads": Runner("parallel", lambda: kernels.multiply(blocks, x, threads=2), threads=2),
    }
    for threads in (1, 2):
        for level in deploy.ACCURACY_LEVELS:
            name = f"MatMulNBits level {level}, {threads} thread{'s' if threads > 1 else ''}"
            runners[name] = deploy.layer_runner(encoded, 1, threads=threads, accuracy_level=level, x=x[None])
    return runners


def decoder_layer(count: int = 32, rounds: int = 3) -> Iterator[Row]:
    """One decoder layer with Llama-2-7B's shapes, random weights: milliseconds per token and bytes, by bits."""
    with torch.no_grad():
        model = models.build({"builder": "causal_lm", "arguments": LLAMA_7B})
    decoders, prompt = {}, torch.zeros(16, dtype=torch.int64)
    for bits in (32, 8, 4):
        chosen = model if bits == 32 else quantization.rtn(model, bits, group_size=GROUP, embedding_bits=None).model
        file = deploy.export_decoder(chosen, FOLDER / f"llama_layer_{bits}.onnx", length=256)
        decoders[str(bits)] = deploy.Decoder(file)
        del chosen
    speeds = deploy.decoding_speed(decoders, prompt, count, rounds=rounds)
    for name, speed in speeds.items():
        yield {
            "bits": int(name), "ms": speed.token_ms, "p95_ms": speed.token_p95_ms, "first_ms": speed.first_ms,
            "bytes": speed.bytes_per_token, "tokens": speed.tokens, "gbs": speed.bandwidth_gbs,
            "speedup": speeds["32"].token_ms / speed.token_ms,
        }  # fmt: skip
