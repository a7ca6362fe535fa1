"""What the linear layers of a model see: calibration inputs, one block after another, in bounded memory.

A transformer is a row of equal blocks. ``walk`` carries the hidden states of the calibration sentences from block to
block; inside a block it stops at every *stage* (linear layers that share one input, such as query, key and value),
sums up what goes into it, and lets the caller change its weights. Later stages and blocks then see what the changed
ones put out, as they will when the model is used. Only one block's statistics are in memory at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """Linear layers that share one input: full name → module, within the block ``block``."""

    block: str
    layers: Mapping[str, nn.Module]

    @property
    def width(self) -> int:
        """Input channels."""
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
    """Write ``matrix`` ``(out, in)`` into the layer, in its own layout."""
    weight: Any = module.weight
    weight.data.copy_(matrix.T if is_transposed(module) else matrix)


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Name → block, in order: the entries of the ``ModuleList`` that holds most linear layers, or the model itself.

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
    """Name → linear layer of every block: what these methods quantize (heads and embeddings are not among them)."""
    return {
        ".".join(filter(None, (block_name, name))): module
        for block_name, block in blocks(model).items()
        for name, module in block.named_modules()
        if is_linear(module)
    }


def calibration_batches(split: Split, batch_size: int = ROWS_AT_ONCE) -> list[dict[str, Tensor] | Tensor]:
    """The inputs of a split for calibration.

    Raises:
        TestSplitError: if it is the test split.
        ValueError: if it is empty.
    """
    refuse_test(split, "used for calibration")
    if len(split) == 0:
        raise ValueError(f"calibration must hold at least one example, but {split.dataset}/{split.name} is empty")
    return [inputs for inputs, _ in split.batches(batch_size)]


def layer_inputs(model: nn.Module, split: Split) -> dict[str, LayerInputs]:
    """Name → what goes into each linear layer of the blocks, summed up over a split; nothing is changed.

    Raises:
        TestSplitError: if it is the test split.
        ValueError: if it is empty, or a layer is never reached.
    """
    seen: dict[str, LayerInputs] = {}
    walk(model, calibration_batches(split), lambda stage, inputs: seen.update(dict.fromkeys(stage.layers, inputs)))
    return seen


@torch.no_grad()
def walk(model: nn.Module, batches: Sequence[Any], at_stage: Hook) -> None:
    """Call ``at_stage(stage, inputs)`` for every stage of every block, in the order in which they are computed.

    Args:
        batches: model inputs, tensors or dicts of tensors; rows where a dict's ``attention_mask`` is 0 do not count.
        at_stage: may change the weights of the stage; what comes after it sees their effect.

    Raises:
        ValueError: if a layer is never reached, or its input is not finite.
    """
    with models.evaluating(model):
        row = _Row(model, batches)
        for name in row.blocks:
            for stage in row.stages(name):
                at_stage(stage, row.collect(name, stage))
            row.advance(name)


@dataclass
class _Call:
    """How a block was called, all but its hidden states."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass
class _Row:
    """The blocks of a model, the hidden states before the current one, and how each was called."""

    model: nn.Module
    batches: Sequence[Any]
    blocks: dict[str, nn.Module] = field(init=False)
    calls: dict[str, list[_Call]] = field(init=False)
    hidden: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = blocks(self.model)
        self.calls = {name: [] for name in self.blocks}
        self.hidden = []
        self.masks = [batch.get("attention_mask") if isinstance(batch, Mapping) else None for batch in self.batches]
        recorders = {name: self._recorder(name) for name in self.blocks}
        stop_at_last = {next(reversed(self.blocks)): _stop}  # the head's logits would only take memory
        with forward_pre_hooks(self.model, recorders, with_kwargs=True), forward_hooks(self.model, stop_at_last):
            for batch in self.batches:
                with contextlib.suppress(StopForward):
                    _call_model(self.model, batch)

    def _recorder(self, name: str) -> Callable[..., None]:
        first = next(iter(self.blocks)) == name

        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name and not args:
                args, kwargs = (kwargs["hidden_states"],), {k: v for k, v in kwargs.items() if k != "hidden_states"}
            if first:
                self.hidden.append(args[0] if args else None)
            self.calls[name].append(_Call(args[1:], dict(kwargs)))

        return record

    def run(self, name: str, index: int) -> Any:
        """The output of a block for one batch."""
        call, hidden = self.calls[name][index], self.hidden[index]
        inputs = call.args if hidden is None else (hidden, *call.args)
        output = self.blocks[name](*inputs, **call.kwargs)
        return output[0] if isinstance(output, tuple) else output

    def advance(self, name: str) -> None:
        """Hidden states after a block become those before the next one."""
        for index in range(len(self.batches)):
            self.hidden[index] = self.run(name, index)
        self.calls[name].clear()

    def stages(self, name: str) -> list[Stage]:
        """Linear layers of a block, in the order in which the first batch reaches them; one input, one stage."""
        seen: list[tuple[Any, dict[str, nn.Module]]] = []
        reached: set[str] = set()
        layers = {
            ".".join(filter(None, (name, inner))): module
            for inner, module in self.blocks[name].named_modules()
            if is_linear(module)
        }

        def note(layer: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
                reached.add(layer)
                if not (seen and seen[-1][0] is args[0]):
                    seen.append((args[0], {}))
                seen[-1][1][layer] = module

            return hook

        with forward_pre_hooks(self.model, {layer: note(layer) for layer in layers}):
            self.run(name, 0)
        if missing := sorted(set(layers) - reached):
            raise ValueError(f"layer {missing[0]!r} saw no calibration input; more or other examples may reach it")
        return [Stage(name, group) for _, group in seen]

    def collect(self, name: str, stage: Stage) -> LayerInputs:
        """The statistics of what goes into a stage now."""
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
    device = next(model.parameters()).device
    if isinstance(batch, Mapping):
        extra = {"use_cache": False} if hasattr(getattr(model, "config", None), "use_cache") else {}
        model(**{key: value.to(device) for key, value in batch.items()}, **extra)
    else:
        model(batch.to(device))
