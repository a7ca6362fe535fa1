"""Builders that a description can name: ResNet18, BERT, causal language models, and compact variants."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from torch import nn

from course_lib.architectures.registry import builder
from course_lib.core.validation import check_choice

CAUSAL_LMS = {
    "llama": "Llama", "opt": "OPT", "gpt2": "GPT2", "qwen2": "Qwen2", "mistral": "Mistral", "gemma": "Gemma",
}  # fmt: skip
CLASSIFIERS = {"distilbert": "DistilBert", "roberta": "Roberta", "electra": "Electra", "albert": "Albert", "vit": "ViT"}
TORCHVISION_OPTIONS = ("aux_logits", "transform_input")
BERT_SHAPE = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id",
)  # fmt: skip


@builder("resnet18")
def resnet18(num_classes: int = 10) -> nn.Module:
    """torchvision's ResNet18, unchanged (He et al., Deep Residual Learning, 2015)."""
    from torchvision.models import resnet18 as torchvision_resnet18

    return torchvision_resnet18(num_classes=num_classes)


@builder("resized_resnet18")
def resized_resnet18(resolution: int, num_classes: int = 10) -> nn.Module:
    """ResNet18 that resizes its images to ``resolution`` first; see ``resized_input.ResizedResNet18``."""
    from course_lib.architectures.resized_input import ResizedResNet18

    return ResizedResNet18(resolution, num_classes)


@builder("torchvision")
def torchvision_classifier(name: str, num_classes: int = 1000, **options: bool) -> nn.Module:
    """One of torchvision's classifiers, unchanged, with random weights.

    Args:
        options: of GoogLeNet and Inception, see ``TORCHVISION_OPTIONS``: whether they have auxiliary heads, which only
            training uses, and whether they normalize their input as the trained weights expect it.
    """
    from torchvision import models as torchvision_models

    check_choice("name", name, torchvision_models.list_models(module=torchvision_models))
    for option in options:
        check_choice("options", option, TORCHVISION_OPTIONS)
    return torchvision_models.get_model(name, weights=None, num_classes=num_classes, **options)


@builder("bert")
def bert(attn_implementation: str = "sdpa", **config: Any) -> nn.Module:
    """BERT with a classification head (Devlin et al., 2018); ``config`` are fields of ``BertConfig``.

    Other names are refused, because transformers has options that download code.
    """
    from transformers import BertConfig, BertForSequenceClassification

    check_choice("attn_implementation", attn_implementation, ("eager", "sdpa"))
    allowed = {"num_labels", *(field.name for field in fields(BertConfig))} - {"dtype"}
    for name in config:
        check_choice("config", name, sorted(allowed))
    return BertForSequenceClassification(BertConfig(**config | {"attn_implementation": attn_implementation}))


@builder("causal_lm")
def causal_lm(model_type: str = "llama", **config: Any) -> nn.Module:
    """A decoder-only language model of transformers, one of ``CAUSAL_LMS``; ``config`` are fields of its config.

    Other names are refused, as in ``bert``.

    Source: Touvron et al., LLaMA, 2023; Zhang et al., OPT, 2022; Radford et al., GPT-2, 2019; Yang et al., Qwen2, 2024;
    Jiang et al., Mistral 7B, 2023; Gemma Team, Gemma, 2024.
    """
    import transformers

    family = CAUSAL_LMS[check_choice("model_type", model_type, tuple(CAUSAL_LMS))]
    make_config = getattr(transformers, f"{family}Config")
    for name in config:
        check_choice("config", name, sorted(config_fields(make_config)))
    suffix = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    return getattr(transformers, f"{family}{suffix}")(make_config(**config))


@builder("classifier")
def classifier(model_type: str, **config: Any) -> nn.Module:
    """An encoder of transformers with a classification head, one of ``CLASSIFIERS``; ``config`` are fields of its
    config, and ``num_labels``. Other names are refused, as in ``bert``.

    Source: Sanh et al., DistilBERT, 2019; Liu et al., RoBERTa, 2019; Clark et al., ELECTRA, 2020; Lan et al., ALBERT,
    2019; Dosovitskiy et al., An Image is Worth 16x16 Words (ViT), 2020.
    """
    import transformers

    family = CLASSIFIERS[check_choice("model_type", model_type, tuple(CLASSIFIERS))]
    make_config = getattr(transformers, f"{family}Config")
    for name in config:
        check_choice("config", name, sorted({"num_labels", *config_fields(make_config)}))
    task = "ImageClassification" if model_type == "vit" else "SequenceClassification"
    return getattr(transformers, f"{family}For{task}")(make_config(**config))


def config_fields(make_config: Any) -> set[str]:
    """Fields of a config that describe the model, without version, dtype and class names."""
    return {field.name for field in fields(make_config)} - {"dtype", "architectures", "transformers_version"}


@builder("small_resnet")
def small_resnet(**shape: Any) -> nn.Module:
    """A narrow or depthwise-separable ResNet; ``shape`` are the arguments of ``compact.SmallResNet``."""
    from course_lib.architectures.compact import SmallResNet

    return SmallResNet(**shape)


@builder("slim_bert")
def slim_bert(
    embedding_rows: int, embedding_factor: int, vocab_size: int, hidden_size: int, **config: Any
) -> nn.Module:
    """``bert`` with a ``compact.SlimEmbedding`` of ``embedding_rows`` rows of width ``embedding_factor``."""
    from course_lib.architectures.compact import SlimEmbedding

    model: Any = bert(vocab_size=1, hidden_size=hidden_size, **config)
    model.config.vocab_size = vocab_size
    model.bert.embeddings.word_embeddings = SlimEmbedding(vocab_size, embedding_rows, embedding_factor, hidden_size)
    return model


@builder("mlp")
def mlp(sizes: tuple[int, ...] = (784, 300, 100, 10)) -> nn.Module:
    """A multilayer perceptron with ReLU, LeNet-300-100 by default (LeCun et al., 1998)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
