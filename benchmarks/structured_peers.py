"""ResNet18 pruned by the library Torch-Pruning, for comparison; needs the extra [peers]."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from course_lib import data, models, profiling
from course_lib.architectures import layer_sizes
from course_lib.architectures.registry import extend_argument


def torch_pruned(factor: float, multiple: int) -> nn.Module:
    """The widest network of Torch-Pruning with at most 1 / factor of the MACs, channels in multiples of ``multiple``.

    Raises:
        ModuleNotFoundError: if Torch-Pruning is not installed.
    """
    library, inputs = _torch_pruning(), data.load("fashion_mnist").validation.example(1)
    limit = profiling.count_macs(models.load("resnet18"), inputs) / factor
    for percent in range(int(100 * (1 - factor**-0.5)) - 8, 100):
        model = models.load("resnet18")
        pruner = library.pruner.BasePruner(
            model, inputs, importance=library.importance.GroupMagnitudeImportance(p=2), pruning_ratio=percent / 100,
            ignored_layers=[model.fc], round_to=multiple,
        )  # fmt: skip
        pruner.step()
        if profiling.count_macs(model, inputs) <= limit:
            break
    widths = {name: size for name, module in model.named_modules() if (size := layer_sizes.sizes(module))}
    extend_argument(model, "widths", widths)
    return model.eval()


def _torch_pruning() -> Any:
    try:
        return importlib.import_module("torch_pruning")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the comparison with Torch-Pruning needs the extra [peers]: pip install -e '.[peers]'; "
            "the other parts run without it (--only curve criteria …)"
        ) from error
