"""Before a model is written: does its description rebuild it? The same layers, and the same logits where possible.

A description is made when a model is built. Whoever then replaces a layer, changes an attribute or adds a hook has
another model, which the file could not bring back.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.architectures.modes import evaluating
from course_lib.architectures.weighted_layers import is_weighted
from course_lib.storage.architecture_check import Shapes, check_architecture, empty_model
from course_lib.storage.encodings import FormatError

LARGEST_PROBE = 50_000_000  # parameters: the logits of a larger model are not compared
IMAGE_SIZES = (32, 224)
TOKENS = 6
TOLERANCE = 1e-3  # of the largest logit; buffers that are not stored may have been rounded to half precision
WITHOUT_EFFECT = {"training", "inplace", "gradient_checkpointing", "name_or_path"}
DROPOUTS = ("Dropout", "StochasticDepth", "DropPath")
COMPARED = (bool, int, float, str, types.FunctionType, types.BuiltinFunctionType)
REMEDY = "build it with these layers, by a builder of your own (models.builder) if need be, and save that"


def check_description(model: nn.Module, architecture: Mapping[str, Any], shapes: Shapes) -> None:
    """Check that a file with this description would be loaded as ``model``; without memory for the weights.

    Raises:
        ValueError: names the first tensor, layer or attribute that differs, or says by how much the logits do.
    """
    if hasattr(model, "_orig_mod"):
        raise ValueError("model was compiled by torch.compile, which no description can name; save model._orig_mod")
    try:
        rebuilt = check_architecture(architecture, shapes)
    except FormatError as error:
        raise ValueError(f"model does not fit its description, and could not be loaded: {error}; {REMEDY}") from error
    compare_modules(model, rebuilt)
    if sum(parameter.numel() for parameter in model.parameters()) <= LARGEST_PROBE:
        compare_logits(model, empty_model(architecture))


def compare_modules(model: nn.Module, rebuilt: nn.Module) -> None:
    """Raise ``ValueError`` at the first module that has another class, other settings or another name in ``rebuilt``.

    Settings without effect in eval mode, such as those of dropout, may differ.
    """
    here, there = dict(model.named_modules()), dict(rebuilt.named_modules())
    for name in [*here, *(name for name in there if name not in here)]:
        first, second = (_line(modules[name]) if name in modules else "nothing" for modules in (here, there))
        if first != second:
            raise ValueError(f"model has {first} at {name!r}, but its description has {second}; {REMEDY}")
        for key, value, other in _attributes(here[name], there[name]):
            if value != other:
                where = repr(name) if name else f"the {type(model).__name__} itself"
                raise ValueError(f"model has {key}={value!r} at {where}, but its description has {other!r}; {REMEDY}")


@torch.no_grad()
def compare_logits(model: nn.Module, rebuilt: nn.Module) -> None:
    """Raise ``ValueError`` if ``rebuilt``, with the tensors of ``model``, gives other logits for some small input.

    Nothing is compared if ``model`` cannot be run on such an input.
    """
    for inputs in probes(model):
        try:
            expected = _logits(model, inputs)
        except Exception:
            continue
        rebuilt.load_state_dict(model.state_dict(), assign=True)
        _move_buffers(rebuilt, model)
        logits = _logits(rebuilt, inputs)
        if logits.shape != expected.shape or not torch.allclose(
            logits, expected, rtol=0, atol=TOLERANCE * max(1e-6, expected.abs().max().item()), equal_nan=True
        ):
            gap = (logits - expected).abs().max().item() if logits.shape == expected.shape else float("nan")
            raise ValueError(
                f"model computes something else than its description (logits differ by {gap:.3g}): a hook, a function "
                f"or an attribute was changed; {REMEDY}"
            )
        return


def _move_buffers(rebuilt: nn.Module, model: nn.Module) -> None:
    """Give the buffers of ``rebuilt`` device and dtype of those in ``model``."""
    for name, module in rebuilt.named_modules():
        theirs = model.get_submodule(name)._buffers
        for key, buffer in module._buffers.items():
            if buffer is not None and isinstance(theirs.get(key), Tensor):
                module._buffers[key] = buffer.to(theirs[key])


def probes(model: nn.Module) -> Iterator[Any]:
    """Small inputs that ``model`` may take: token ids for a model with a vocabulary, else images or vectors."""
    config: Any = getattr(model, "config", None)
    generator = torch.Generator().manual_seed(0)
    if vocabulary := getattr(config, "vocab_size", None):
        yield {"input_ids": torch.randint(vocabulary, (2, TOKENS), generator=generator)}
        return
    layer: Any = next((module for module in model.modules() if is_weighted(module)), None)
    if isinstance(layer, nn.Linear):
        yield torch.randn(2, layer.in_features, generator=generator)
    for size in IMAGE_SIZES:
        for channels in sorted({3, getattr(layer, "in_channels", 3)}):
            yield torch.randn(2, channels, size, size, generator=generator)


def _logits(model: nn.Module, inputs: Any) -> Tensor:
    first = next(iter(model.parameters()))
    with evaluating(model), torch.random.fork_rng(devices=[]):
        if isinstance(inputs, Mapping):
            output = model(**{name: tensor.to(first.device) for name, tensor in inputs.items()})
        else:
            output = model(inputs.to(first.device, first.dtype))
    return getattr(output, "logits", output).float()


def _line(module: nn.Module) -> str:
    """Class and settings of one module, as ``print`` shows them; dropout has no settings that matter."""
    kind = type(module).__name__
    if any(name in kind for name in DROPOUTS):
        return kind
    settings = [part for part in module.extra_repr().split(", ") if not part.startswith("inplace")]
    return f"{kind}({', '.join(settings)})"


def _attributes(module: nn.Module, other: nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """Name and both values of the plain attributes that two modules have."""
    if any(name in type(module).__name__ for name in DROPOUTS):
        return
    if "forward" in vars(module):
        yield "forward", "a function of its own", "that of its class"
    for key, value in vars(module).items():
        if key in vars(other) and not key.startswith("_") and key not in WITHOUT_EFFECT and isinstance(value, COMPARED):
            yield key, value, vars(other)[key]
