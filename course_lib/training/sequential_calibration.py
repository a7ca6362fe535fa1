"""Sequential calibration: statistics of the inputs of linear layers, one block after another, in bounded memory.

A transformer is a sequence of equal blocks. ``walk`` propagates the hidden states of the calibration examples from
block to block; inside a block it stops at every *stage* (linear layers that share one input, such as query, key and
value), collects the statistics of its input, and lets the caller change its weights. Later stages and blocks get their
inputs from the changed ones, as at inference. Only the statistics of one stage are in memory at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.data import Split, refuse_test
from course_lib.models.hooks import StopForward, forward_hooks, forward_pre_hooks
from course_lib.training.input_statistics import LayerInputs

Hook = Callable[["Stage", "LayerInputs"], None]
ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Stage:
    """Linear layers of one block that share an input: the name of the block, and full name → layer."""

    block: str
    layers: Mapping[str, nn.Module]

    @property
    def width(self) -> int:
        """Number of input channels."""
        return weight_matrix(next(iter(self.layers.values()))).shape[1]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is ``nn.Linear`` or the transposed ``Conv1D`` of GPT-2."""
    return isinstance(module, nn.Linear) or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Whether the weight is stored as ``(in, out)``, as in the ``Conv1D`` of GPT-2."""
    return type(module).__name__ == "Conv1D"


def weight_matrix(module: nn.Module) -> Tensor:
    """The weight as ``(out, in)``, detached."""
    weight: Tensor = module.weight.detach()  # type: ignore[operator]
    return weight.T if is_transposed(module) else weight


def set_weight_matrix(module: nn.Module, matrix: Tensor) -> None:
    """Write ``matrix`` ``(out, in)`` into the weight of the layer, in its layout."""
    weight: Any = module.weight
    weight.data.copy_(matrix.T if is_transposed(module) else matrix)


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Name → block, in order: the entries of the ``ModuleList`` with the most linear layers, or the model itself.

    Raises:
        ValueError: if there is no linear layer at all.
    """
    best, most = {"": model}, 0
    if not any(is_linear(module) for module in model.modules()):
        raise ValueError(f"model {type(model).__name__} has no linear layers; these methods quantize linear layers")
    for name, module in model.named_modules():
        linear = sum(is_linear(inner) for inner in module.modules())
        if isinstance(module, nn.ModuleList) and linear > most:
            best, most = {f"{name}.{index}": block for index, block in enumerate(module)}, linear
    return best


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Full name → linear layer of all blocks; heads and embeddings are not among them."""
    return {name: layer for block, module in blocks(model).items() for name, layer in _linear(block, module).items()}


def _linear(name: str, block: nn.Module) -> dict[str, nn.Module]:
    """Full name → linear layer of one block."""
    inner = {".".join(filter(None, (name, layer))): module for layer, module in block.named_modules()}
    return {layer: module for layer, module in inner.items() if is_linear(module)}


def calibration_batches(split: Split, batch_size: int = ROWS_AT_ONCE) -> list[dict[str, Tensor] | Tensor]:
    """The inputs of a calibration split, in batches.

    Raises:
        TestSplitError: if it is the test split.
        ValueError: if it is empty.
    """
    refuse_test(split, "used for calibration")
    if len(split) == 0:
        raise ValueError(f"calibration must hold at least one example, but {split.dataset}/{split.name} is empty")
    return [inputs for inputs, _ in split.batches(batch_size)]


def layer_inputs(model: nn.Module, split: Split) -> dict[str, LayerInputs]:
    """Full name → statistics of the inputs of each linear layer in the blocks; the model is not changed.

    Errors are those of ``calibration_batches`` and ``walk``.
    """
    found: dict[str, LayerInputs] = {}
    walk(model, calibration_batches(split), lambda stage, inputs: found.update(dict.fromkeys(stage.layers, inputs)))
    return found


@torch.no_grad()
def walk(model: nn.Module, batches: Sequence[Any], at_stage: Hook) -> None:
    """Call ``at_stage(stage, inputs)`` for every stage of every block, in execution order.

    Args:
        batches: model inputs, tensors or dicts of tensors; padding (``attention_mask`` 0) does not count.
        at_stage: may change the weights of the stage; the stages after it get their inputs from the changed weights.

    Raises:
        ValueError: if a layer is never reached, or its input is not finite.
    """
    with models.evaluating(model):
        sequence = _BlockSequence(model, batches)
        for name in sequence.blocks:
            for stage in sequence.stages(name):
                at_stage(stage, sequence.collect(name, stage))
            sequence.advance(name)


class _BlockSequence:
    """The blocks of a model, the hidden states before the current one, and the other arguments of each call."""

    def __init__(self, model: nn.Module, batches: Sequence[Any]) -> None:
        self.model, self.blocks = model, blocks(model)
        self.calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {name: [] for name in self.blocks}
        self.hidden: list[Any] = []
        self.masks = [batch.get("attention_mask") if isinstance(batch, Mapping) else None for batch in batches]
        recorders = {name: self._recorder(name) for name in self.blocks}
        stop_at_last = {next(reversed(self.blocks)): _stop}  # the logits of the head are not needed
        with forward_pre_hooks(model, recorders, with_kwargs=True), forward_hooks(model, stop_at_last):
            for batch in batches:
                with contextlib.suppress(StopForward):
                    _call_model(model, batch)

    def _recorder(self, name: str) -> Callable[..., None]:
        first = next(iter(self.blocks)) == name

        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name and not args:
                args, kwargs = (kwargs["hidden_states"],), {k: v for k, v in kwargs.items() if k != "hidden_states"}
            if first:
                self.hidden.append(args[0] if args else None)
            self.calls[name].append((args[1:], dict(kwargs)))

        return record

    def run(self, name: str, index: int) -> Any:
        """The output of a block for one batch."""
        (args, kwargs), hidden = self.calls[name][index], self.hidden[index]
        output = self.blocks[name](*(args if hidden is None else (hidden, *args)), **kwargs)
        return output[0] if isinstance(output, tuple) else output

    def advance(self, name: str) -> None:
        """Replace the hidden states before a block by those after it."""
        for index in range(len(self.hidden)):
            self.hidden[index] = self.run(name, index)
        self.calls[name].clear()

    def stages(self, name: str) -> list[Stage]:
        """Stages of a block, in the order in which the first batch reaches them."""
        found: list[tuple[Any, dict[str, nn.Module]]] = []
        reached: set[str] = set()
        layers = _linear(name, self.blocks[name])

        def recorder(layer: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
                reached.add(layer)
                if not (found and found[-1][0] is args[0]):
                    found.append((args[0], {}))
                found[-1][1][layer] = module

            return hook

        with forward_pre_hooks(self.model, {layer: recorder(layer) for layer in layers}):
            self.run(name, 0)
        if missing := sorted(set(layers) - reached):
            raise ValueError(f"layer {missing[0]!r} saw no calibration input; more or other examples may reach it")
        return [Stage(name, group) for _, group in found]

    def collect(self, name: str, stage: Stage) -> LayerInputs:
        """Statistics of the current inputs of a stage."""
        inputs = LayerInputs.empty(stage.width)
        mask: Tensor | None = None

        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            rows = args[0].flatten(0, -2)
            padded = mask is not None and mask.numel() == len(rows)
            inputs.add(rows[mask.flatten().bool()] if padded and mask is not None else rows)
            raise StopForward

        with forward_pre_hooks(self.model, {next(iter(stage.layers)): hook}):
            for index, mask in enumerate(self.masks):  # noqa: B007 - the hook reads it
                with contextlib.suppress(StopForward):
                    self.run(name, index)
        return inputs


def _stop(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    raise StopForward


def _call_model(model: nn.Module, batch: Any) -> None:
    inputs = models.to_device(batch, next(model.parameters()).device)
    if isinstance(batch, Mapping):
        extra = {"use_cache": False} if hasattr(getattr(model, "config", None), "use_cache") else {}
        model(**inputs, **extra)
    else:
        model(inputs)
