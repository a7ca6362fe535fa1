"""Find what a person names on the command line: a model, and the data that it can be measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from course_lib import data, models, storage
from course_lib.core.validation import check_choice
from course_lib.data import Split

# Imagenette's ten classes are these of ImageNet's thousand
IMAGENETTE_IN_IMAGENET = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
IMAGENETTE_EXAMPLES = 500
BASELINE_DATA = {"resnet18": "fashion_mnist", "minilm": "sentiment"}


@dataclass(frozen=True)
class Subject:
    """A model, the split to measure it on, the name for its row, and the file that it was given as, if it was one."""

    name: str
    model: nn.Module
    split: Split
    file: Path | None = None


def find(name: str, split: str = "test") -> Subject:
    """The model with this name, and data that fits it.

    Args:
        name: ``"resnet18"`` or ``"minilm"``, a file made by ``storage.save``, a torchvision classifier (measured on
            Imagenette, which is fetched), or a Hugging Face sentiment classifier (on the shipped sentences).
        split: ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        ValueError: if the split is unknown, or the model's classes are not those of the data.
        FileNotFoundError: if it looks like a stored file and is not there.
        ConnectionError: if something has to be fetched and the network is not there.
    """
    check_choice("split", split, data.SPLIT_NAMES)
    if name in BASELINE_DATA:
        found = Subject(name, models.load(name), getattr(data.load(BASELINE_DATA[name]), split))
    elif Path(name).is_file():
        found = _from_file(Path(name), split)
    elif Path(name).suffix == ".safetensors":
        raise FileNotFoundError(f"there is no file {name}")
    elif name in _torchvision_names():
        found = _from_torchvision(name, split)
    else:
        found = _from_hugging_face(name, split)
    _check_classes(found)
    return found


def _from_file(path: Path, split: str) -> Subject:
    model = storage.load(path)
    dataset = "sentiment" if models.describe(model)["builder"] == "bert" else "fashion_mnist"
    return Subject(path.name, model, getattr(data.load(dataset), split), path)


def _torchvision_names() -> list[str]:
    from torchvision import models as torchvision_models

    return torchvision_models.list_models(module=torchvision_models)


def _from_torchvision(name: str, split: str) -> Subject:
    """Images are prepared as the weights ask for; labels become those of ImageNet."""
    from torchvision.models import get_model_weights

    model = models.load(name, weights="imagenet")
    part = getattr(data.load("imagenette"), split).subset(IMAGENETTE_EXAMPLES)
    prepare = get_model_weights(name).DEFAULT.transforms()
    images = torch.cat([prepare(part.inputs[row : row + 1]) for row in range(len(part))])
    labels = torch.tensor(IMAGENETTE_IN_IMAGENET)[part.labels]
    classes = tuple(str(label) for label in range(1000))
    return Subject(name, model, replace(part, inputs=images, labels=labels, classes=classes))


def _from_hugging_face(name: str, split: str) -> Subject:
    """Sentences are cut into the tokens that this model was trained with."""
    model = models.load(name)
    part = getattr(data.load("sentiment"), split)
    tokens = models.hugging_face_tokenizer(name)(
        list(part.texts), padding=True, truncation=True, max_length=data.MAX_TOKENS, return_tensors="pt"
    )
    inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    return Subject(name, model, replace(part, inputs=inputs))


@torch.no_grad()
def _check_classes(subject: Subject) -> None:
    logits = models.forward(subject.model, subject.split.example(1))
    answers, classes = logits.shape[-1], len(subject.split.classes)
    if logits.dim() != 2 or answers != classes:
        raise ValueError(
            f"{subject.name} answers with {answers} classes, but {subject.split.dataset} has {classes}; "
            f"measure it with course_lib.report.measure on data of your own, or name one of {', '.join(BASELINE_DATA)}"
        )
