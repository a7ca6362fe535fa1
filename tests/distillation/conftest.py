"""Tiny teachers, students and splits."""

from __future__ import annotations

import pytest
import torch

from course_lib import data, distillation, models, training


def token_split(count, name="train", seed=0, length=6):
    """Sentences of the words 5 to 24; a sentence is positive if its words are mostly above 14."""
    words = torch.randint(5, 25, (count, length), generator=torch.Generator().manual_seed(seed))
    labels = (words.double().mean(dim=1) > 14.5).long()
    inputs = {"input_ids": words, "attention_mask": torch.ones_like(words)}
    return data.Split("toy", name, inputs, labels, ("low", "high"))


def image_split(count, name="train", seed=0):
    """Images 8 × 8 with bright or with dark stripes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=generator)
    images = torch.randint(0, 60, (count, 8, 8), generator=generator)
    images[:, ::4] += 150 * labels[:, None, None]
    return data.Split("toy", name, images.to(torch.uint8), labels, ("dark", "bright"))


BERT = {
    "vocab_size": 128, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 16, "num_labels": 2,
}  # fmt: skip


def bert(**changes):
    training.seed_everything(0)
    return models.build({"builder": "bert", "arguments": BERT | changes})


@pytest.fixture
def teacher():
    return bert()


@pytest.fixture
def vision_teacher():
    training.seed_everything(1)
    return distillation.resnet_student([8, 8], [1, 1], num_classes=2, shrink=2)


@pytest.fixture
def vision_student():
    training.seed_everything(2)
    return distillation.resnet_student([4, 4], [1, 1], num_classes=2, shrink=2)


@pytest.fixture
def sentences():
    return token_split(48)


@pytest.fixture
def images():
    return image_split(64)
