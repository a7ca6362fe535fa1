"""Parts of benchmarks/deploy.py about whole models: parity, MiniLM, the tiny Llama, smollm2, and onnxruntime-genai.

Prompts for speed and agreement are validation sentences; accuracy is that of the test split, on the runtime.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from common import Row, rows_of, sentiment
from deploy_layers import FOLDER, GROUP
from quantization_llm_calibration import calibration
from resuming import made_once
from torch import nn

from course_lib import deploy, models, profiling, quantization, report, storage, training
from course_lib.data import text_windows

METHODS = {"gptq": quantization.gptq, "awq": quantization.awq}
HEADS = {"fp32": None, "8 bits": 8, "4 bits": 4}
PROMPTS, TOKENS = 20, 256
PROMPT_TOKENS, NEW_TOKENS = 64, 128
LENGTH = 512


@cache
def encoder(name: str) -> Any:
    """The tokenizer of a language model."""
    return text_windows.tokenizer() if name == "tiny_llama" else models.hugging_face_tokenizer(name)


@cache
def windows(name: str, length: int) -> torch.Tensor:
    """Windows ``(N, length)`` of the validation sentences."""
    return text_windows.load(length, encoder(name)).validation.inputs["input_ids"]


def quantized(name: str, method: str, bits: int, embedding_bits: int | None) -> nn.Module:
    """A quantized model, made once and loaded from its file; codes and scales are those of the file."""

    def make() -> nn.Module:
        model, options = models.load(name), {"group_size": GROUP, "embedding_bits": embedding_bits}
        if method == "rtn":
            return quantization.rtn(model, bits, **options).model
        split = calibration(name) if name != "smollm2" else quantization.llm.default_calibration(name, model)
        return METHODS[method](model, split, bits, **options).model

    file = made_once(FOLDER / f"{name}_{method}_{bits}_{embedding_bits}.safetensors", make)
    return storage.load(file)


def exported(name: str, method: str, bits: int, embedding_bits: int | None, level: int) -> Path:
    """The file of ``export_decoder`` of a quantized model, or of the original for 32 bits."""
    file = FOLDER / f"{name}_{method}_{bits}_{embedding_bits}_{level}.onnx"
    if not file.exists():
        model = models.load(name) if bits == 32 else quantized(name, method, bits, embedding_bits)
        deploy.export_decoder(model, file, accuracy_level=level, length=LENGTH)
    return file


def parity() -> Iterator[Row]:
    """Largest difference between runtime and decoded model, as a share of the largest logit, for every group size."""
    model, tokens = models.load("tiny_llama"), windows("tiny_llama", 128)[0]
    for bits in deploy.KERNEL_BITS:
        for group in (16, 32, 64, None):
            for symmetric in (False, True):
                result = quantization.rtn(model, bits, group_size=group, symmetric=symmetric)
                expected = _eager(result.model, tokens)
                row: Row = {"bits": bits, "group_size": group, "zero_points": not symmetric}
                for level in deploy.ACCURACY_LEVELS:
                    file = deploy.export_decoder(result.model, FOLDER / "parity.onnx", accuracy_level=level, length=128)
                    found = deploy.Decoder(file).logits(tokens)
                    error = (found - expected).abs().max() / expected.abs().max()
                    row |= {
                        f"error_level_{level}": error.item(),
                        f"same_token_level_{level}": (found.argmax(1) == expected.argmax(1)).float().mean().item(),
                    }
                yield row


def minilm() -> list[Row]:
    """MiniLM on ONNX Runtime: bytes, accuracy on test and latency at 8, 4 and 2 bits, beside fp32."""
    example = sentiment()["movies"].validation.example(1)
    files = {}
    for method, bits, embedding_bits in (("rtn", 8, 8), ("gptq", 4, 8), ("awq", 4, 8), ("gptq", 4, 4), ("gptq", 2, 8)):
        for level in deploy.ACCURACY_LEVELS:
            name = f"{method} {bits} bits, embeddings {embedding_bits}, level {level}"
            model = quantized("minilm", method, bits, embedding_bits)
            files[name] = deploy.export_nbits(
                model, example, FOLDER / f"minilm_{len(files)}.onnx", accuracy_level=level
            )
    domains = {domain: splits.test for domain, splits in sentiment().items()}
    comparison = report.compare(
        models.load("minilm"), *files.values(), on=domains["movies"], domains=domains, names=["fp32", *files],
        memory=False,
    )  # fmt: skip
    return rows_of(comparison)


def _speed_rows(decoders: dict[str, deploy.Decoder], prompt: torch.Tensor, rounds: int) -> Iterator[Row]:
    limit = profiling.roofline(2).bandwidth_gbs
    speeds = deploy.decoding_speed(decoders, prompt, NEW_TOKENS, rounds=rounds)
    slowest = speeds["fp32"].token_ms
    for name, speed in speeds.items():
        file = decoders[name].file
        size = sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*"))
        yield {
            "model": name, "file_bytes": size, "bytes_per_token": speed.bytes_per_token,
            "first_ms": speed.first_ms, "token_ms": speed.token_ms, "token_p95_ms": speed.token_p95_ms,
            "tokens_per_second": speed.tokens_per_second, "speedup": slowest / speed.token_ms, "tokens": speed.tokens,
            "gbs": speed.bandwidth_gbs, "memory_gbs": limit,
        }  # fmt: skip


def tiny(rounds: int = 5) -> Iterator[Row]:
    """The tiny Llama at 8, 4 and 2 bits: tokens per second."""
    settings = {"fp32": (32, None), "8 bits": (8, 8), "4 bits": (4, 4), "2 bits": (2, 2)}
    files = {name: exported("tiny_llama", "rtn", *bits, 4) for name, bits in settings.items()}
    decoders = {name: deploy.Decoder(file) for name, file in files.items()}
    yield from _speed_rows(decoders, windows("tiny_llama", PROMPT_TOKENS)[0], rounds)


def _head_files() -> dict[str, Path]:
    files = {"fp32": exported("smollm2", "rtn", 32, None, 0)}
    for head, bits in HEADS.items():
        for level in deploy.ACCURACY_LEVELS:
            files[f"head {head}, level {level}"] = exported("smollm2", "gptq", 4, bits, level)
    return files


def heads(rounds: int = 5) -> Iterator[Row]:
    """smollm2, 4-bit GPTQ: tokens per second and bytes by accuracy level and bits of the output matrix."""
    decoders = {name: deploy.Decoder(file) for name, file in _head_files().items()}
    yield from _speed_rows(decoders, windows("smollm2", PROMPT_TOKENS)[0], rounds)


def agreement() -> Iterator[Row]:
    """Share of tokens equal to those of the decoded model under teacher forcing, 20 texts of 256 tokens."""
    texts = windows("smollm2", TOKENS)[:PROMPTS]
    for head, bits in HEADS.items():
        model = quantized("smollm2", "gptq", 4, bits)
        expected = torch.stack([_eager(model, text).argmax(1) for text in texts])
        del model
        for level in deploy.ACCURACY_LEVELS:
            decoder = deploy.Decoder(exported("smollm2", "gptq", 4, bits, level))
            found = torch.stack([decoder.logits(text).argmax(1) for text in texts])
            share = training.Evaluation(found.flatten(), expected.flatten(), 0.0)
            low, high = share.interval
            yield {
                "head": head, "level": level, "tokens": found.numel(), "same": share.accuracy, "same_low": low,
                "same_high": high,
            }  # fmt: skip


def peers(rounds: int = 5) -> Iterator[Row]:
    """onnxruntime-genai's own fp32 and int4 graphs of smollm2, in turns with ours: tokens per second."""
    import onnxruntime_genai
    from deploy_genai import GenaiDecoder

    prompt = windows("smollm2", PROMPT_TOKENS)[0]
    files = {name: file for name, file in _head_files().items() if not name.startswith("head fp32")}
    decoders: dict[str, Any] = {name: deploy.Decoder(file) for name, file in files.items()}
    for precision in ("fp32", "int4"):
        decoders[f"onnxruntime-genai {onnxruntime_genai.__version__} {precision}"] = GenaiDecoder(
            _genai_folder(precision), PROMPT_TOKENS + NEW_TOKENS
        )
    yield from _speed_rows(decoders, prompt, rounds)


def _genai_folder(precision: str) -> Path:
    """smollm2 in the files of onnxruntime-genai's builder, made once; int4 by its own rounding, in groups of 64."""
    folder = FOLDER / f"genai_{precision}"
    if not (folder / "genai_config.json").exists():
        source = FOLDER / "smollm2_hugging_face"
        models.load("smollm2").save_pretrained(source)
        encoder("smollm2").save_pretrained(source)
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder)]
        command += ["-p", precision, "-e", "cpu", "-c", str(FOLDER / "genai_cache")]
        if precision == "int4":
            command += ["--extra_options", f"block_size={GROUP}", "accuracy_level=4"]
        subprocess.run(command, check=True)
    return folder


@torch.no_grad()
def _eager(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    return models.forward(model, {"input_ids": tokens[None]})[0]
