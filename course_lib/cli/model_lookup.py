"""Find a model by the name given on the command line, and the data to measure it on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from course_lib import assets, data, models, storage
from course_lib.core.validation import check_choice
from course_lib.data import Split
from course_lib.models.pretrained import check_available

# class numbers of Imagenette's ten classes in ImageNet
IMAGENETTE_IN_IMAGENET = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
IMAGENETTE_EXAMPLES = 500
BASELINE_DATASETS = {"resnet18": "fashion_mnist", "minilm": "sentiment"}


@dataclass(frozen=True)
class FoundModel:
    """A model, the split to measure it on, the name of its row in the report, and its file if it was given as one."""

    name: str
    model: nn.Module
    split: Split
    file: Path | None = None


def find(name: str, split: str = "test") -> FoundModel:
    """The model with this name, and data that it can be measured on.

    Args:
        name: one of ``models.shipped_models()``, a file made by ``storage.save``, a torchvision classifier (measured on
            Imagenette, which is downloaded), or a Hugging Face sentiment classifier (on the shipped sentences).
        split: ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        ValueError: if the split is unknown, or the model's classes are not those of the data.
        FileNotFoundError: if it looks like a stored file and is not there.
        ConnectionError: if something has to be downloaded and there is no network.
    """
    check_choice("split", split, data.SPLIT_NAMES)
    if name in BASELINE_DATASETS:
        found = FoundModel(name, models.load(name), getattr(data.load(BASELINE_DATASETS[name]), split))
    elif name in models.shipped_models():
        found = replace(_from_file(assets.path(name), split), name=name)
    elif Path(name).is_file():
        found = _from_file(Path(name), split)
    elif Path(name).suffix == ".safetensors":
        raise FileNotFoundError(f"there is no file {name}")
    else:
        check_available(name)
        found = (_from_torchvision if name in _torchvision_names() else _from_hugging_face)(name, split)
    _check_classes(found)
    return found


def _from_file(path: Path, split: str) -> FoundModel:
    model = storage.load(path)
    builder = models.describe(model)["builder"]
    if builder == "causal_lm":
        raise ValueError(f"{path.name} is a language model; measure it with course_lib.training.perplexity")
    dataset = "sentiment" if builder in ("bert", "slim_bert") else "fashion_mnist"
    return FoundModel(path.name, model, getattr(data.load(dataset), split), path)


def _torchvision_names() -> list[str]:
    from torchvision import models as torchvision_models

    return torchvision_models.list_models(module=torchvision_models)


def _from_torchvision(name: str, split: str) -> FoundModel:
    """Images are transformed as the weights require; labels become class numbers of ImageNet."""
    from torchvision.models import get_model_weights

    model = models.load(name, weights="imagenet")
    part = getattr(data.load("imagenette"), split).subset(IMAGENETTE_EXAMPLES)
    transform = get_model_weights(name).DEFAULT.transforms()
    images = torch.cat([transform(part.inputs[row : row + 1]) for row in range(len(part))])
    labels = torch.tensor(IMAGENETTE_IN_IMAGENET)[part.labels]
    classes = tuple(str(label) for label in range(1000))
    return FoundModel(name, model, replace(part, inputs=images, labels=labels, classes=classes))


def _from_hugging_face(name: str, split: str) -> FoundModel:
    """Sentences are tokenized with the tokenizer of this model."""
    model = models.load(name)
    part = getattr(data.load("sentiment"), split)
    tokens = models.hugging_face_tokenizer(name)(
        list(part.texts), padding=True, truncation=True, max_length=data.MAX_TOKENS, return_tensors="pt"
    )
    inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    return FoundModel(name, model, replace(part, inputs=inputs))


@torch.no_grad()
def _check_classes(found: FoundModel) -> None:
    logits = models.forward(found.model, found.split.example(1))
    outputs, classes = logits.shape[-1], len(found.split.classes)
    if logits.dim() != 2 or outputs != classes:
        raise ValueError(
            f"{found.name} has {outputs} classes, but {found.split.dataset} has {classes}; measure it with "
            f"course_lib.report.measure on your own data, or name one of {', '.join(BASELINE_DATASETS)}"
        )
