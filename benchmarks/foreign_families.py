"""Model families that the course does not ship, with random weights: how each is made, and what it takes as input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from course_lib import models
from course_lib.data import Split

VOCABULARY, LENGTH, EXAMPLES, CLASSES = 96, 12, 8, 10
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GROUPED = {**SMALL, **SPECIAL, "num_key_value_heads": 2}


@dataclass(frozen=True)
class Family:
    """One family: the description of a small model, and its inputs.

    Args:
        architecture: for ``models.build``; the builders of this file are registered for it.
        image: side of its input images; 0 for tokens.
        decoder_tokens: whether the model needs tokens for its decoder too.
    """

    architecture: dict[str, Any]
    image: int = 0
    decoder_tokens: bool = False

    def model(self) -> nn.Module:
        """The model with random weights, none of them constant, in eval mode."""
        torch.manual_seed(0)
        model = models.build(self.architecture)
        randomize(model)
        return model

    def split(self) -> Split:
        """Random examples as a train split."""
        generator = torch.Generator().manual_seed(1)
        inputs: Any = torch.randn(EXAMPLES, 3, self.image, self.image, generator=generator)
        if not self.image:
            tokens = torch.randint(3, VOCABULARY, (EXAMPLES, LENGTH), generator=generator)
            tokens[:, -1] = SPECIAL["eos_token_id"]
            inputs = {"input_ids": tokens}
            if self.decoder_tokens:
                inputs["decoder_input_ids"] = tokens.flip(1)
        elif self.architecture["builder"] == "classifier":
            inputs = {"pixel_values": inputs}
        labels = torch.arange(EXAMPLES) % CLASSES
        return Split("foreign", "train", inputs, labels, tuple(map(str, range(CLASSES))))

    def inputs(self, rows: int = 2) -> Any:
        """Some of the examples."""
        inputs = self.split().inputs
        return {key: value[:rows] for key, value in inputs.items()} if isinstance(inputs, dict) else inputs[:rows]


@torch.no_grad()
def randomize(model: nn.Module) -> None:
    """Give constant parameters (norms, biases, layer scales, heads that start at zero) and statistics random values."""
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.numel() > 1 and parameter.min() == parameter.max():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))


def torchvision_family(name: str, image: int = 64) -> Family:
    """A classifier of torchvision by name."""
    return Family({"builder": "torchvision", "arguments": {"name": name, "num_classes": CLASSES}}, image)


def own_family(builder: Callable[..., nn.Module], image: int = 0, **options: Any) -> Family:
    """A model of a builder of this file, which takes no arguments."""
    models.builder(builder.__name__)(builder)
    return Family({"builder": builder.__name__, "arguments": {}}, image, **options)


def transformers_family(builder: str, model_type: str, image: int = 0, **config: Any) -> Family:
    """A model of transformers."""
    return Family({"builder": builder, "arguments": {"model_type": model_type, **config}}, image)


def foreign_vgg() -> nn.Module:
    """VGG11 with BatchNorm, and narrow hidden layers in its classifier."""
    from torchvision.models import vgg11_bn

    model: Any = vgg11_bn(num_classes=CLASSES, init_weights=False)
    model.classifier[0], model.classifier[3] = nn.Linear(512 * 49, 32), nn.Linear(32, 32)
    model.classifier[6] = nn.Linear(32, CLASSES)
    return model


def foreign_alexnet() -> nn.Module:
    """AlexNet with narrow hidden layers in its classifier."""
    from torchvision.models import alexnet

    model: Any = alexnet(num_classes=CLASSES)
    model.classifier[1], model.classifier[4] = nn.Linear(256 * 36, 32), nn.Linear(32, 32)
    model.classifier[6] = nn.Linear(32, CLASSES)
    return model


def foreign_googlenet() -> nn.Module:
    """GoogLeNet without its auxiliary heads, which are used in training only."""
    from torchvision.models import googlenet

    return googlenet(num_classes=CLASSES, aux_logits=False, init_weights=False)


def foreign_inception() -> nn.Module:
    """Inception v3 without its auxiliary head."""
    from torchvision.models import inception_v3

    return inception_v3(num_classes=CLASSES, aux_logits=False, init_weights=False)


def foreign_vision_transformer() -> nn.Module:
    """torchvision's Vision Transformer with two layers."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=CLASSES)


def foreign_swin() -> nn.Module:
    """Swin Transformer with two stages."""
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=CLASSES)


def foreign_convnext() -> nn.Module:
    """ConvNeXt with two stages."""
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)], num_classes=CLASSES)


def foreign_bart() -> nn.Module:
    """BART with two layers on each side, as a classifier."""
    from transformers import BartConfig, BartForSequenceClassification

    return BartForSequenceClassification(
        BartConfig(
            vocab_size=VOCABULARY, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64,
            num_labels=CLASSES, decoder_start_token_id=2, forced_eos_token_id=2, **SPECIAL,
        )
    )  # fmt: skip


def foreign_t5() -> nn.Module:
    """T5 with two layers on each side."""
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, use_cache=False)
    )


_classifier = partial(transformers_family, "classifier", num_labels=CLASSES)
_causal = partial(transformers_family, "causal_lm", use_cache=False)
FAMILIES: dict[str, Family] = {
    "ResNet": torchvision_family("resnet18"),
    "VGG": own_family(foreign_vgg, 64),
    "AlexNet": own_family(foreign_alexnet, 64),
    "SqueezeNet": torchvision_family("squeezenet1_1"),
    "DenseNet": torchvision_family("densenet121"),
    "GoogLeNet": own_family(foreign_googlenet, 64),
    "Inception": own_family(foreign_inception, 80),
    "MobileNet v2": torchvision_family("mobilenet_v2"),
    "MobileNet v3": torchvision_family("mobilenet_v3_small"),
    "MNASNet": torchvision_family("mnasnet0_5"),
    "ShuffleNet": torchvision_family("shufflenet_v2_x0_5"),
    "EfficientNet": torchvision_family("efficientnet_b0"),
    "RegNet": torchvision_family("regnet_y_400mf"),
    "ConvNeXt": own_family(foreign_convnext, 32),
    "Swin": own_family(foreign_swin, 32),
    "ViT (torchvision)": own_family(foreign_vision_transformer, 32),
    "BERT": Family({"builder": "bert", "arguments": {**SMALL, "num_labels": CLASSES}}),
    "RoBERTa": _classifier("roberta", **SMALL, **SPECIAL),
    "DistilBERT": _classifier(
        "distilbert", vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64
    ),
    "ELECTRA": _classifier("electra", **SMALL, embedding_size=16),
    "ALBERT": _classifier("albert", **SMALL, **SPECIAL, embedding_size=16),
    "ViT (transformers)": _classifier(
        "vit", image=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        image_size=32, patch_size=8,
    ),
    "GPT-2": _causal("gpt2", vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, **SPECIAL),
    "OPT": _causal(
        "opt", vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64,
        max_position_embeddings=64, word_embed_proj_dim=32, **SPECIAL,
    ),
    "Llama": _causal("llama", **GROUPED),
    "Qwen2": _causal("qwen2", **GROUPED),
    "Mistral": _causal("mistral", **GROUPED),
    "Gemma": _causal("gemma", **GROUPED, head_dim=8),
    "BART": own_family(foreign_bart),
    "T5": own_family(foreign_t5, decoder_tokens=True),
}  # fmt: skip
