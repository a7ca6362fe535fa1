"""Signal-to-quantization-noise ratio (SQNR) of the weights and of the output of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.data import Split
from course_lib.models.hooks import capture_outputs
from course_lib.quantization.calibration import check_calibration, quantizable_layers
from course_lib.quantization.packing import pack, quantized_weights

if TYPE_CHECKING:
    import pandas


def sqnr_db(exact: Tensor, approximate: Tensor) -> float:
    """Signal-to-quantization-noise ratio in decibels: 10 log10(sum(exact²) / sum((exact - approximate)²)).

    Six decibels are one bit. Infinite where there is no error; the signal must not be all zeros otherwise.
    """
    signal = exact.double().square().sum().item()
    noise = (exact.double() - approximate.double()).square().sum().item()
    if noise == 0:
        return float("inf")
    return float(10 * torch.log10(torch.tensor(signal / noise, dtype=torch.float64)))


def weight_report(exact: nn.Module, quantized: nn.Module) -> pandas.DataFrame:
    """One row per packed weight: ``tensor``, ``weights``, ``bits``, ``scales``, ``bytes``, ``sqnr_db``."""
    import pandas

    state = exact.state_dict()
    rows = [
        {
            "tensor": name, "weights": it.integers.numel(), "bits": it.params.bits,
            "scales": it.params.scale.numel(), "bytes": pack(it).bytes, "sqnr_db": sqnr_db(state[name], it.values()),
        }
        for name, it in quantized_weights(quantized).items()
    ]  # fmt: skip
    return pandas.DataFrame(rows, columns=["tensor", "weights", "bits", "scales", "bytes", "sqnr_db"])


@torch.no_grad()
def output_report(exact: nn.Module, quantized: nn.Module, calibration: Split, examples: int = 64) -> pandas.DataFrame:
    """SQNR of the output of every layer, with all layers before it quantized too: ``layer``, ``sqnr_db``.

    Raises:
        TestSplitError: if ``calibration`` is the test split (the result decides about layers).
        ValueError: if it is empty.
    """
    import pandas

    check_calibration(calibration)
    inputs = calibration.subset(examples).example(examples)
    names = list(quantizable_layers(exact))
    with models.evaluating(exact), capture_outputs(exact, names) as signal:
        models.call(exact, inputs)
    with models.evaluating(quantized), capture_outputs(quantized, names) as noisy:
        models.call(quantized, inputs)
    rows = [{"layer": name, "sqnr_db": sqnr_db(signal[name], noisy[name])} for name in names if name in signal]
    return pandas.DataFrame(rows, columns=["layer", "sqnr_db"])
