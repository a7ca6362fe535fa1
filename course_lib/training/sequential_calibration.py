"""Sequential calibration: statistics of the inputs of linear layers, one block after another, in bounded memory.

A transformer is a sequence of equal blocks. ``walk`` propagates the hidden states of the calibration examples from
block to block; inside a block it stops at every *stage* (linear layers that share one input, such as query, key and
value), collects the statistics of its input, and lets the caller change its weights. Later stages and blocks get their
inputs from the changed ones, as at inference. Only the statistics of one stage are in memory at a time.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.weighted_layers import (
    check_no_fused_weights,
    check_plain_weights,
    is_linear,
    is_transposed,
)
from course_lib.data import Split, refuse_test
from course_lib.models.hooks import StopForward, first_input, forward_hooks, forward_pre_hooks
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


def weight_matrix(module: nn.Module) -> Tensor:
    """The weight as ``(out, in)``, detached."""
    weight: Tensor = module.weight.detach()  # type: ignore[operator]
    return weight.T if is_transposed(module) else weight


def set_weight_matrix(module: nn.Module, matrix: Tensor) -> None:
    """Write ``matrix`` ``(out, in)`` into the weight of the layer, in its layout."""
    weight: Any = module.weight
    weight.data.copy_(matrix.T if is_transposed(module) else matrix)


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Name → block, in order: the entries of the ``ModuleList`` of blocks, or the model itself if there are several.

    A ``ModuleList`` counts if its entries hold two linear layers or more. An encoder-decoder has two of them, with a
    cross-attention in between, so that its blocks are no sequence; the same holds for lists within a list.

    Raises:
        ValueError: if there is no linear layer at all.
    """
    if not any(is_linear(module) for module in model.modules()):
        raise ValueError(f"model {type(model).__name__} has no linear layers; these methods quantize linear layers")
    lists = block_lists(model)
    if len(lists) != 1 or any(isinstance(block, nn.ModuleList) for block in model.get_submodule(lists[0]).children()):
        return {"": model}
    (name,) = lists
    return {f"{name}.{index}": block for index, block in enumerate(model.get_submodule(name).children())}


def block_lists(model: nn.Module) -> list[str]:
    """Names of the outermost ``ModuleList`` s of blocks; of all with linear layers, if no entry is a block."""
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    for smallest in (2, 1):
        found = [name for name, module in lists if any(_count_linear(block) >= smallest for block in module)]
        if outermost := [name for name in found if not any(name.startswith(f"{other}.") for other in found)]:
            return outermost
    return []


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Full name → linear layer of all blocks, the first of those that share a weight; no heads and embeddings.

    Raises:
        ValueError: as ``blocks``, or if a weight is recomputed before each call.
    """
    check_plain_weights(model)
    prefixes = tuple(f"{name}." for name in block_lists(model)) or ("",)
    blocks(model)
    layers: dict[int, tuple[str, nn.Module]] = {}
    for name, module in model.named_modules():
        if is_linear(module) and name.startswith(prefixes):
            layers.setdefault(id(module.weight), (name, module))
    return dict(layers.values())


def _count_linear(block: nn.Module) -> int:
    return sum(is_linear(module) for module in block.modules())


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

    Blocks are run one after another where each is called once and passes its output to the next one. In other models
    (encoder-decoder, blocks that are called several times as in ALBERT) the whole model is run for each stage.

    Args:
        batches: model inputs, tensors or dicts of tensors; padding (``attention_mask`` 0) does not count.
        at_stage: may change the weights of the stage; the stages after it get their inputs from the changed weights.

    Raises:
        ValueError: if a layer is never reached, or its input is not finite.
    """
    check_no_fused_weights(model, "layer-wise calibration")
    with models.evaluating(model):
        sequence = _BlockSequence(model, batches, blocks(model))
        if not sequence.chained:
            sequence = _BlockSequence(model, batches, {"": model})
        for name in sequence.blocks:
            for stage in sequence.stages(name):
                at_stage(stage, sequence.collect(name, stage))
            sequence.advance(name)


class _BlockSequence:
    """The blocks of a model, the hidden states before the current one, and the other arguments of each call."""

    def __init__(self, model: nn.Module, batches: Sequence[Any], named: Mapping[str, nn.Module]) -> None:
        self.model, self.blocks, self.layers = model, named, linear_layers(model)
        self.calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {name: [] for name in self.blocks}
        self.hidden: list[Any] = []
        self.passed: list[Any] = []
        self.chained = True
        self.calls_of_layer: Counter[str] = Counter()
        self.masks = [batch.get("attention_mask") if isinstance(batch, Mapping) else None for batch in batches]
        recorders = {name: self._recorder(name) for name in self.blocks}
        outputs: dict[str, Callable[..., None]] = dict.fromkeys(self.blocks, self._pass_on)
        with forward_pre_hooks(model, recorders, with_kwargs=True), forward_hooks(model, outputs):
            for batch in batches:
                self.passed.clear()
                with contextlib.suppress(StopForward):
                    _call_model(model, batch)
        self.chained &= all(len(calls) == len(batches) for calls in self.calls.values())

    def _recorder(self, name: str) -> Callable[..., None]:
        first = next(iter(self.blocks)) == name

        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name and not args:
                args = (kwargs.get("hidden_states"),)
                kwargs = {key: value for key, value in kwargs.items() if key != "hidden_states"}
            if first:
                self.hidden.append(args[0] if args else None)
            elif not (self.passed and args[0] is self.passed[-1]):
                self.chained = False
            self.calls[name].append((args[1:], dict(kwargs)))
            if not name:
                raise StopForward  # the whole model: its inputs are all that is needed

        return record

    def _pass_on(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Remember the output of a block; the first batch is run to its end, to see how often each block is called."""
        self.passed.append(output[0] if isinstance(output, tuple) else output)
        seen = len(next(iter(self.calls.values())))
        if seen > 1 and self.chained and module is list(self.blocks.values())[-1]:
            raise StopForward

    def run(self, name: str, index: int) -> Any:
        """The output of a block for one batch."""
        (args, kwargs), hidden = self.calls[name][index], self.hidden[index]
        output = self.blocks[name](*(args if hidden is None else (hidden, *args)), **kwargs)
        return output[0] if isinstance(output, tuple) else output

    def advance(self, name: str) -> None:
        """Replace the hidden states before a block by those after it."""
        for index in range(len(self.hidden)) if len(self.blocks) > 1 else ():
            self.hidden[index] = self.run(name, index)
        self.calls[name].clear()

    def stages(self, name: str) -> list[Stage]:
        """Stages of a block, in the order in which the first batch reaches them."""
        found: list[tuple[Any, dict[str, nn.Module]]] = []
        self.calls_of_layer.clear()
        layers = [layer for layer in self.layers if not name or layer.startswith(f"{name}.")]

        def recorder(layer: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                self.calls_of_layer[layer] += 1
                if self.calls_of_layer[layer] > 1:
                    return
                values = first_input(args, kwargs)
                if not (found and found[-1][0] is values):
                    found.append((values, {}))
                found[-1][1][layer] = module

            return hook

        with forward_pre_hooks(self.model, {layer: recorder(layer) for layer in layers}, with_kwargs=True):
            self.run(name, 0)
        if missing := sorted(set(layers) - set(self.calls_of_layer)):
            raise ValueError(f"layer {missing[0]!r} saw no calibration input; more or other examples may reach it")
        return [Stage(name, group) for _, group in found]

    def collect(self, name: str, stage: Stage) -> LayerInputs:
        """Statistics of the current inputs of a stage, of every call of its first layer."""
        inputs, layer = LayerInputs.empty(stage.width), next(iter(stage.layers))
        mask: Tensor | None = None

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            rows = first_input(args, kwargs).flatten(0, -2)
            padded = mask is not None and mask.numel() == len(rows)
            try:
                inputs.add(rows[mask.flatten().bool()] if padded and mask is not None else rows)
            except ValueError as error:
                raise ValueError(f"input of layer {layer!r}: {error}") from error
            if self.calls_of_layer[layer] == 1:
                raise StopForward

        with forward_pre_hooks(self.model, {layer: hook}, with_kwargs=True):
            for index, mask in enumerate(self.masks):  # noqa: B007 - the hook reads it
                with contextlib.suppress(StopForward):
                    self.run(name, index)
        return inputs


def _call_model(model: nn.Module, batch: Any) -> None:
    inputs = models.to_device(batch, next(model.parameters()).device)
    if isinstance(batch, Mapping):
        extra = {"use_cache": False} if hasattr(getattr(model, "config", None), "use_cache") else {}
        model(**inputs, **extra)
    else:
        model(inputs)
