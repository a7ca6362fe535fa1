"""Peak activation memory of a net, measured: the tensors that exist while it runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Interpreter, symbolic_trace
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.architectures.batchnorm_folding import fold_batchnorm


class LiveTensors(TorchDispatchMode):
    """The bytes of all floating-point tensors that operations have made and that still exist, and their peak.

    Integers are not counted: torch's max pooling makes indices that other runtimes do not need.

    Args:
        ignored: tensors that are not counted, such as weights and the input.
    """

    def __init__(self, ignored: list[Tensor]) -> None:
        super().__init__()
        self.ignored = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in ignored}
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, then count what exists."""
        result = func(*args, **(kwargs or {}))
        self.live = {key: entry for key, entry in self.live.items() if not entry[0].expired()}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                reference = StorageWeakRef(tensor.untyped_storage())
                if reference.cdata not in self.ignored:
                    self.live[reference.cdata] = reference, tensor.untyped_storage().nbytes()
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return result


@torch.no_grad()
def measured_activation_bytes(model: nn.Module, image: Tensor) -> int:
    """Peak bytes of the tensors that exist while ``model`` runs on ``image``, the image included.

    BatchNorm is folded first, and a tensor is freed after its last use. The work space inside an operation is not
    seen.

    Args:
        image: ``(1, C, H, W)``.

    Raises:
        ValueError: if the model cannot be traced.
    """
    graph = symbolic_trace(fold_batchnorm(model))
    with LiveTensors([image, *graph.state_dict().values()]) as counter:
        Interpreter(graph).run(image)
    return image.untyped_storage().nbytes() + counter.peak
