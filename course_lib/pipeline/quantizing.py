"""Steps that put weights on a grid: quantize, by several methods, and share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from course_lib import coding, quantization, storage
from course_lib.pipeline.context import Context, Lesson, finished
from course_lib.pipeline.shrinking import share_present_values
from course_lib.quantization import Scheme


def rtn(model: nn.Module, _: Context, *, bits: int, group_size: int | None, embedding_bits: int | None) -> nn.Module:
    """Round weights to nearest, per channel or per group; zeros stay zero."""
    granularity = "per_channel" if group_size is None else "group"
    embeddings = None if embedding_bits is None else Scheme(embedding_bits)
    return quantization.quantize_weights(model, Scheme(bits, granularity, group_size), embeddings=embeddings)


def ptq(
    model: nn.Module, context: Context, *, bits: int, activation_bits: int, observer: str, calibration: int
) -> nn.Module:
    """Weights rounded to nearest and inputs of layers calibrated."""
    return quantization.post_training_quantization(
        model, context.train(calibration), weights=Scheme(bits), activation_bits=activation_bits, method=observer
    ).model


def gptq(model: nn.Module, context: Context, *, bits: int, calibration: int, **options: Any) -> nn.Module:
    """Weights of a transformer by GPTQ."""
    return quantization.gptq(model, context.train(calibration), bits, **options).model


def awq(model: nn.Module, context: Context, *, bits: int, calibration: int, **options: Any) -> nn.Module:
    """Weights of a transformer by AWQ."""
    return quantization.awq(model, context.train(calibration), bits, **options).model


def qat(model: nn.Module, context: Context, *, bits: int, activation_bits: int, **options: Any) -> nn.Module:
    """Quantization-aware training on the labels and on the original's outputs."""
    lesson = Lesson(context, options, context.original)
    with lesson.frozen(model):
        result = quantization.train_quantized(
            model, lesson.split, weight_bits=bits, input_bits=activation_bits, **lesson.options
        )
    finished(result.history)
    return result.model.requires_grad_(True)


def uniform(
    model: nn.Module, context: Context, *, c: float, calibration: int, fisher_temperature: float, damping: float
) -> nn.Module:
    """Uniform grids for an entropy coder (``coding.quantize_sequentially``), after BatchNorm is folded."""
    folded, examples = quantization.fold_batchnorm(model), context.train(calibration)
    fisher = coding.fisher_information(folded, examples, temperature=fisher_temperature, seed=context.seed)
    has_embeddings = any(isinstance(part, nn.Embedding) for part in folded.modules())
    counts = coding.embedding_counts(folded, context.splits.train) if has_embeddings else None
    zeros = any((weight == 0).float().mean() > 0.1 for weight in coding.weights_of(folded).values())
    return coding.quantize_sequentially(
        folded, examples, fisher, c, damping=damping, keep_zeros=zeros, counts=counts
    )  # fmt: skip


METHODS: dict[str, Callable[..., nn.Module]] = {
    "rtn": rtn,
    "ptq": ptq,
    "gptq": gptq,
    "awq": awq,
    "qat": qat,
    "uniform": uniform,
}


def quantize(model: nn.Module, context: Context, *, method: str, **options: Any) -> nn.Module:
    """Fewer bits per weight, by one of ``METHODS``."""
    return METHODS[method](model, context, **options)


def share(model: nn.Module, _: Context, *, bits: int, initialization: str) -> nn.Module:
    """Nonzero weights of each layer share 2^bits values (k-means), stored as a codebook."""
    shared = coding.share_weights(model, bits, method=initialization)
    changed = coding.with_shared_weights(model, shared)
    storage.set_encodings(changed, {})
    return share_present_values(changed, [f"{name}.weight" for name in shared])
