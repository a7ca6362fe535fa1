"""How much noise rounding makes, layer by layer: in the weights, and in what comes out of each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.data import Split
from course_lib.models.hooks import forward_hooks
from course_lib.quantization.calibration import check_calibration, quantizable_layers
from course_lib.quantization.packing import pack, quantized_weights, sqnr_db

if TYPE_CHECKING:
    import pandas


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
    """Noise in the output of every layer, with all layers before it quantized too: ``layer``, ``sqnr_db``.

    Raises:
        TestSplitError: if ``calibration`` is the test split (what is found here decides about layers).
        ValueError: if it is empty.
    """
    import pandas

    check_calibration(calibration)
    inputs = calibration.subset(examples).example(examples)
    names = list(quantizable_layers(exact))
    before, after = _outputs(exact, inputs, names), _outputs(quantized, inputs, names)
    rows = [{"layer": name, "sqnr_db": sqnr_db(before[name], after[name])} for name in names if name in before]
    return pandas.DataFrame(rows, columns=["layer", "sqnr_db"])


def _outputs(model: nn.Module, inputs: Any, names: list[str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _: Any, output: Tensor) -> None:
            found[name] = output.detach()

        return hook

    model.eval()
    with forward_hooks(model, {name: keep(name) for name in names}):
        models.forward(model, inputs)
    return found
