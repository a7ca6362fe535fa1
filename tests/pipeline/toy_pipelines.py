"""A trained toy model with its data, for the tests of pipelines and of the advisor."""

from __future__ import annotations

from functools import cache

import torch

from course_lib import models, training
from course_lib.data import Splits
from tests.toys import vectors

MEASURED = {"latency": False, "memory": False, "progress": False}


@cache
def toy_splits() -> Splits:
    return Splits(vectors("train", 256), vectors("validation", 128), vectors("test", 128))


@cache
def toy_model():
    """A trained network of 12 inputs and 3 classes; it must not be changed."""
    torch.manual_seed(0)
    model = models.build({"builder": "mlp", "arguments": {"sizes": [12, 32, 16, 3]}})
    training.fit(model, toy_splits().train, epochs=20, learning_rate=0.02, batch_size=32, progress=False)
    return model
