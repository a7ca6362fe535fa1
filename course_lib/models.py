"""The models of the course, and how to rebuild one from a description.

An *architecture* is a plain dict ``{"builder": name, "arguments": {...}}``. ``build`` makes a model from it,
``describe`` gives it back; stored files carry it, so that they can be loaded with no other information.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import assets, factoring, folds, grids, resizing
from course_lib.arguments import check_choice

BASELINES = ("resnet18", "minilm")
SHIPPED = (*BASELINES, "tiny_llama")
CAUSAL_LMS = {"llama": "Llama", "opt": "OPT", "gpt2": "GPT2"}
ARCHITECTURE_ATTRIBUTE = "course_architecture"
RESIZING = ("widths", "removed", "ranks")
ADDITIONS = (*RESIZING, "folds", "input_grids")
BERT_SHAPE = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id",
)  # fmt: skip

Builder = Callable[..., nn.Module]
BUILDERS: dict[str, Builder] = {}


def builder(name: str) -> Callable[[Builder], Builder]:
    """Register a function that makes a module from JSON-able keyword arguments."""

    def register(function: Builder) -> Builder:
        BUILDERS[name] = function
        return function

    return register


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """Make an untrained model from its description, in eval mode.

    Beside the builder's own arguments there may be ``widths`` and ``removed``: layers of other sizes and blocks that
    are gone, as structured pruning leaves them (see ``resizing.resized``), ``ranks``: layers that are products of
    thinner ones (see ``factoring``), ``folds``: BatchNorm layers that are part of the layer before them (see
    ``folds``), and ``input_grids``: layers that round what goes into them (see ``grids``).

    Raises:
        ValueError: if the builder is unknown or does not take these arguments.
    """
    name, arguments = architecture.get("builder"), dict(architecture.get("arguments", {}))
    check_choice("builder", name, tuple(BUILDERS))
    own = {key: value for key, value in arguments.items() if key not in ADDITIONS}
    changes = {key: value for key, value in arguments.items() if key in RESIZING}
    try:
        make = partial(BUILDERS[str(name)], **own)
        if "ranks" in changes:
            make = partial(factoring.with_factors, make, changes["ranks"])
        model = resizing.resized(make, changes.get("widths", {}), changes.get("removed", ())) if changes else make()
        folds.replace_norms(model, arguments.get("folds", ()))
        grids.add_input_grids(model, arguments.get("input_grids", {}))
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"builder {name!r} cannot use the arguments {arguments}: {error}") from error
    setattr(model, ARCHITECTURE_ATTRIBUTE, {"builder": name, "arguments": arguments})
    return model.eval()


def describe(model: nn.Module) -> dict[str, Any]:
    """The description from which ``build`` makes a model of the same shape.

    Raises:
        ValueError: if the model was not made by ``build`` or ``load``.
    """
    architecture = getattr(model, ARCHITECTURE_ATTRIBUTE, None)
    if architecture is None:
        raise ValueError(
            f"model {type(model).__name__} has no description; make it with models.build or models.load, or "
            "register a builder for it with models.builder"
        )
    return architecture


def load(name: str, *, weights: str = "course") -> nn.Module:
    """A trained model in eval mode, with fp32 weights.

    Args:
        name: ``"resnet18"``, ``"minilm"`` or ``"tiny_llama"`` (shipped), another torchvision classifier with
            ``weights="imagenet"``, or the name or folder of a Hugging Face model.
        weights: ``"course"`` for the shipped ones, ``"imagenet"`` for torchvision's, ``"none"`` for untrained.

    Raises:
        ValueError: if ``weights`` or ``name`` is unknown.
        ConnectionError: if the weights have to be fetched and the network is not there.
    """
    check_choice("weights", weights, ("course", "imagenet", "none"))
    if weights == "imagenet":
        return _fetch(name, _load_torchvision)
    if name not in SHIPPED:
        return _fetch(name, _load_hugging_face)
    from course_lib import storage

    trained = storage.load(assets.path(name))
    return build(describe(trained)) if weights == "none" else trained


def forward(model: nn.Module, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
    """Logits of a vision model (a tensor goes in) or of a transformers model (a dict of tokens goes in)."""
    output = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    return getattr(output, "logits", output)


def to_device(inputs: Tensor | Mapping[str, Tensor], device: torch.device | str) -> Any:
    """Move a tensor or a dict of tensors."""
    if isinstance(inputs, Mapping):
        return {key: value.to(device) for key, value in inputs.items()}
    return inputs.to(device)


def device(choice: str = "auto") -> torch.device:
    """``"auto"`` is a GPU when there is one, else the CPU."""
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(choice)


def prunable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name → module of every convolution and linear layer, in the order of the model."""
    kinds = (nn.Conv2d, nn.Linear)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def hugging_face_tokenizer(name: str) -> Any:
    """The tokenizer that belongs to a Hugging Face model, from its folder or by its name.

    Raises:
        ConnectionError: if it has to be fetched and the network is not there.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except OSError as error:
        raise ConnectionError(
            f"the tokenizer of {name!r} could not be fetched ({str(error).splitlines()[0]})"
        ) from error


@builder("resnet18")
def resnet18(num_classes: int = 10) -> nn.Module:
    """torchvision's ResNet18, unchanged (He et al., Deep Residual Learning, 2015)."""
    from torchvision.models import resnet18 as torchvision_resnet18

    return torchvision_resnet18(num_classes=num_classes)


@builder("torchvision")
def torchvision_classifier(name: str, num_classes: int = 1000) -> nn.Module:
    """One of torchvision's classifiers, unchanged, with random weights."""
    from torchvision import models as torchvision_models

    check_choice("name", name, torchvision_models.list_models(module=torchvision_models))
    return torchvision_models.get_model(name, weights=None, num_classes=num_classes)


@builder("bert")
def bert(attn_implementation: str = "sdpa", **config: Any) -> nn.Module:
    """BERT with a classification head (Devlin et al., 2018); ``config`` are fields of ``BertConfig``.

    Nothing else is passed on: transformers takes other names too, and can be told by them to fetch code.
    """
    from dataclasses import fields

    from transformers import BertConfig, BertForSequenceClassification

    check_choice("attn_implementation", attn_implementation, ("eager", "sdpa"))
    allowed = {"num_labels", *(field.name for field in fields(BertConfig))} - {"dtype"}
    for name in config:
        check_choice("config", name, sorted(allowed))
    options: dict[str, Any] = {**config, "attn_implementation": attn_implementation}
    return BertForSequenceClassification(BertConfig(**options))


@builder("causal_lm")
def causal_lm(model_type: str = "llama", **config: Any) -> nn.Module:
    """A decoder-only language model of transformers: Llama, OPT or GPT-2; ``config`` are fields of its config.

    As with ``bert``, names that are not fields are refused, for transformers could be told by them to fetch code.

    Source: Touvron et al., LLaMA, 2023; Zhang et al., OPT, 2022; Radford et al., GPT-2, 2019.
    """
    import transformers

    family = CAUSAL_LMS[check_choice("model_type", model_type, tuple(CAUSAL_LMS))]
    make_config = getattr(transformers, f"{family}Config")
    for name in config:
        check_choice("config", name, sorted(_config_fields(make_config)))
    suffix = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    return getattr(transformers, f"{family}{suffix}")(make_config(**config))


def _config_fields(make_config: Any) -> set[str]:
    """Fields of a config that shape the model: no version, no dtype, no names of classes."""
    from dataclasses import fields

    return {field.name for field in fields(make_config)} - {"dtype", "architectures", "transformers_version"}


@builder("small_resnet")
def small_resnet(**shape: Any) -> nn.Module:
    """A narrow or depthwise-separable relative of ResNet18; ``shape`` as in ``small_nets.SmallResNet``."""
    from course_lib.small_nets import SmallResNet

    return SmallResNet(**shape)


@builder("slim_bert")
def slim_bert(
    embedding_rows: int, embedding_factor: int, vocab_size: int, hidden_size: int, **config: Any
) -> nn.Module:
    """``bert`` whose word embedding is a ``small_nets.SlimEmbedding`` of so many rows and numbers per row."""
    from course_lib.small_nets import SlimEmbedding

    model: Any = bert(vocab_size=1, hidden_size=hidden_size, **config)
    model.config.vocab_size = vocab_size
    model.bert.embeddings.word_embeddings = SlimEmbedding(vocab_size, embedding_rows, embedding_factor, hidden_size)
    return model


@builder("mlp")
def mlp(sizes: tuple[int, ...] = (784, 300, 100, 10)) -> nn.Module:
    """LeNet-300-100 by default (LeCun et al., 1998): flatten, then linear layers with ReLU between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _fetch(name: str, loader: Callable[[str], nn.Module]) -> nn.Module:
    try:
        return loader(name).eval()
    except OSError as error:
        raise ConnectionError(
            f"model {name!r} is neither shipped nor on this machine and could not be fetched "
            f"({str(error).splitlines()[0]}); connect to the network once, or use one of {', '.join(SHIPPED)}"
        ) from error


def _load_torchvision(name: str) -> nn.Module:
    from torchvision import models as torchvision_models

    check_choice("name", name, torchvision_models.list_models(module=torchvision_models))
    model = torchvision_models.get_model(name, weights="DEFAULT")
    architecture = {"builder": "torchvision", "arguments": {"name": name, "num_classes": 1000}}
    if name == "resnet18":
        architecture = {"builder": name, "arguments": {"num_classes": 1000}}
    setattr(model, ARCHITECTURE_ATTRIBUTE, architecture)
    return model


def _load_hugging_face(name: str) -> nn.Module:
    import transformers

    config = transformers.AutoConfig.from_pretrained(name)
    classifier = any("SequenceClassification" in kind for kind in config.architectures or [])
    maker = transformers.AutoModelForSequenceClassification if classifier else transformers.AutoModelForCausalLM
    model = maker.from_pretrained(name, dtype=torch.float32)
    if not classifier and config.model_type in CAUSAL_LMS:
        fields = {key: value for key, value in config.to_diff_dict().items() if key in _config_fields(type(config))}
        arguments = {"model_type": config.model_type, **fields, "use_cache": False}
        setattr(model, ARCHITECTURE_ATTRIBUTE, {"builder": "causal_lm", "arguments": arguments})
    if classifier and config.model_type == "bert":
        arguments = {field: getattr(config, field) for field in BERT_SHAPE} | {"num_labels": config.num_labels}
        setattr(model, ARCHITECTURE_ATTRIBUTE, {"builder": "bert", "arguments": arguments})
    return model
