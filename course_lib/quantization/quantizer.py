"""``AdvancedQuantizer``: post-training quantization or quantization-aware training of any model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from course_lib.data import Split
from course_lib.quantization.calibration import check_calibration, quantizable_layers
from course_lib.quantization.ptq import QuantizationResult, Scheme, post_training_quantization
from course_lib.quantization.qat import TrainedResult, train_quantized


class AdvancedQuantizer:
    """Quantize a model after training, or by quantization-aware training.

    ``model`` is never changed. Both methods start from its weights and return a plain copy with a report, which
    ``storage.save`` writes as packed integers.

    Args:
        model: any model with convolutions or linear layers.
        calibration_data: training or validation examples; QAT needs training examples.

    Raises:
        TestSplitError: if ``calibration_data`` is the test split.
        ValueError: if it is empty, or the model has nothing to quantize.
        TypeError: if it is not a ``Split``, which says what part of the data it is.
    """

    def __init__(self, model: nn.Module, calibration_data: Split) -> None:
        if not isinstance(calibration_data, Split):
            kind = type(calibration_data).__name__
            raise TypeError(
                f"calibration_data must be a Split, for example data.load('fashion_mnist').train, got {kind}"
            )
        check_calibration(calibration_data)
        quantizable_layers(model)
        self.model = model
        self.calibration_data = calibration_data

    def post_training_quantization(
        self, *, bits: int = 8, activation_bits: int | None = 8, examples: int = 256, **options: Any
    ) -> QuantizationResult:
        """Round weights and activations, with ranges calibrated on the calibration data; nothing is trained.

        Args:
            bits: of the weights, with one scale for each channel.
            examples: number of calibration examples.
            options: passed on to ``post_training_quantization``: ``method``, ``embeddings``, ``corrected``, ….
        """
        some = self.calibration_data.subset(examples)
        scheme = {"weights": Scheme(bits), "activation_bits": activation_bits}
        return post_training_quantization(self.model, some, **(scheme | options))

    def quantization_aware_training(
        self,
        *,
        bits: int | Mapping[str, int] = 8,
        activation_bits: int | Mapping[str, int] = 8,
        epochs: int = 3,
        learning_rate: float = 1e-4,
        optimizer: str = "sgd",
        **options: Any,
    ) -> TrainedResult:
        """Fine-tune with fake quantization: three epochs of SGD over the calibration data by default.

        Args:
            bits, activation_bits: of weights and layer inputs, see ``bits_per_layer``.
            options: passed on to ``train_quantized`` and ``training.fit``: ``validation``, ``precision``, ….
        """
        return train_quantized(
            self.model, self.calibration_data, weight_bits=bits, input_bits=activation_bits, epochs=epochs,
            learning_rate=learning_rate, optimizer=optimizer, **options,
        )  # fmt: skip
