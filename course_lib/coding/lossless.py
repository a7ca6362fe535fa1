"""Lossless compression of weights: what general compressors make of a file, and why it is so little.

A floating-point number is a sign, an exponent and a mantissa. Signs and mantissas of trained weights look random; only
exponents are predictable, because weights of a layer are about equally large.

Sources: Zhang et al., 70 % Size, 100 % Accuracy: Lossless LLM Compression via Dynamic-Length Float (DFloat11), 2025;
Hershcovitch et al., ZipNN: Lossless Compression for AI Models, 2024.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.coding.huffman import entropy
from course_lib.coding.uniform import weights_of
from course_lib.core.validation import check_choice

Compressor = Callable[[bytes], bytes]


@dataclass(frozen=True)
class FloatFormat:
    """Bits of a floating-point format behind the sign: exponent and mantissa."""

    dtype: torch.dtype
    integers: torch.dtype
    exponent: int
    mantissa: int

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return 1 + self.exponent + self.mantissa


FORMATS = {
    "fp32": FloatFormat(torch.float32, torch.int32, 8, 23),
    "fp16": FloatFormat(torch.float16, torch.int16, 5, 10),
    "bf16": FloatFormat(torch.bfloat16, torch.int16, 8, 7),
}


@dataclass(frozen=True)
class FieldEntropy:
    """Entropy in bits per number of the three fields; of the mantissa an upper limit, each bit taken alone."""

    sign: float
    exponent: float
    mantissa: float

    @property
    def total(self) -> float:
        """Bits per number."""
        return self.sign + self.exponent + self.mantissa


def fields(values: Tensor, number_format: str = "fp32") -> tuple[Tensor, Tensor, Tensor]:
    """Sign, exponent (biased) and mantissa of each number as integers (int64), in the shape of ``values``.

    Raises:
        ValueError: if the format is unknown.
    """
    form = FORMATS[check_choice("number_format", number_format, tuple(FORMATS))]
    words = values.detach().contiguous().to(form.dtype).view(form.integers).long() & (2**form.bits - 1)
    exponent = (words >> form.mantissa) & (2**form.exponent - 1)
    return words >> (form.bits - 1), exponent, words & (2**form.mantissa - 1)


def join_fields(sign: Tensor, exponent: Tensor, mantissa: Tensor, number_format: str = "fp32") -> Tensor:
    """The numbers with these fields: the inverse of ``fields``, bit for bit."""
    form = FORMATS[check_choice("number_format", number_format, tuple(FORMATS))]
    words = (sign << (form.bits - 1)) | (exponent << form.mantissa) | mantissa
    signed = torch.where(words >= 2 ** (form.bits - 1), words - 2**form.bits, words)
    return signed.to(form.integers).view(form.dtype)


def field_entropy(values: Tensor, number_format: str = "fp32") -> FieldEntropy:
    """Entropy of the fields of all ``values`` together.

    Raises:
        ValueError: if there is no value, or the format is unknown.
    """
    if values.numel() == 0:
        raise ValueError("values must hold at least one number, got none")
    sign, exponent, mantissa = fields(values.flatten(), number_format)
    single_bits = [(mantissa >> bit) & 1 for bit in range(FORMATS[number_format].mantissa)]
    return FieldEntropy(_entropy(sign), _entropy(exponent), sum(map(_entropy, single_bits)))


def _entropy(integers: Tensor) -> float:
    return entropy(torch.bincount(integers))


def layer_entropies(model: nn.Module, number_format: str = "fp32") -> dict[str, FieldEntropy]:
    """Parameter name → field entropies of the weights of each convolution, linear layer and embedding."""
    return {name: field_entropy(weight, number_format) for name, weight in weights_of(model).items()}


def exponent_coded_bits(values: Tensor, number_format: str = "bf16") -> float:
    """Bits of all numbers with entropy-coded exponents and everything else as it is: the limit of DFloat11."""
    form = FORMATS[check_choice("number_format", number_format, tuple(FORMATS))]
    return values.numel() * (field_entropy(values, number_format).exponent + 1 + form.mantissa)


def compressors() -> dict[str, Compressor]:
    """Name → general compressor at a high level: gzip and xz, and zstd where its command is installed."""
    found: dict[str, Compressor] = {
        "gzip": lambda content: gzip.compress(content, 9, mtime=0),
        "xz": lambda content: lzma.compress(content, preset=6),
    }
    if command := shutil.which("zstd"):
        options = [command, "-19", "--quiet", "--stdout"]
        found["zstd"] = lambda content: subprocess.run(options, input=content, capture_output=True, check=True).stdout
    return found


def compressed_sizes(content: bytes) -> dict[str, int]:
    """Name of a compressor → bytes that it makes of ``content``, such as a stored model."""
    return {name: len(compress(content)) for name, compress in compressors().items()}
